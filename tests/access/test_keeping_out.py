"""Nobody keeps another out: not by wrong passwords, nor by registering, nor by filling what all share."""

from __future__ import annotations

import asyncio
import re
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from argon2 import PasswordHasher
from asgi import KEY, Answer, Application, application

from doorleaf.access.identity.passwords import WAITING_OF_ONE
from doorleaf.access.limits.rates import Concurrency, Streams
from doorleaf.access.limits.turns import Turns
from doorleaf.errors import TooManyRequests
from doorleaf.http import Message

ANN, PASSWORD = "ann@example.com", "correct horse"
USERPASS = "/api/client/v2.0/app/shop-abcde/auth/providers/local-userpass"
HOME, ATTACKER = "192.0.2.1", "198.51.100.66"
PING = b'{"database": "app", "command": {"ping": 1}}'
FIND = b'{"database": "app", "collection": "things"}'
CHOSEN: dict[str, Any] = {
    "providers": ("api-key", "local-userpass", "anon-user"),
    "auto_confirm": True,
    "trusted_proxies": ("127.0.0.1",),
}


class House:
    """An application and requests to it from any address."""

    def __init__(self, app: Application) -> None:
        self.app = app

    def call(self, path: str, body: Any, address: str, **headers: str) -> Answer:
        given = {"X-Forwarded-For": address, **headers}
        return self.app.call("POST", path, body if isinstance(body, bytes) else orjson.dumps(body), given)

    def log_in(self, password: str, address: str, *, name: str = ANN, device: str | None = None) -> Answer:
        body: dict[str, Any] = {"username": name, "password": password}
        if device is not None:
            body["options"] = {"device": {"deviceId": device}}
        return self.call("/auth/providers/local-userpass/login", body, address)

    def header(self, password: str, address: str) -> Answer:
        return self.call("/data/v1/action/find", FIND, address, email=ANN, password=password)

    def register(self, address: str, name: str = ANN) -> Answer:
        return self.call(f"{USERPASS}/register", {"email": name, "password": PASSWORD}, address)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[House]:
    with application(tmp_path, **CHOSEN) as app:
        house = House(app)
        stop_clock(app)
        hash_quickly(app)
        assert house.register("203.0.113.9").status == 201
        yield house


def stop_clock(app: Application) -> None:
    """Let no pause end by itself, however slow the machine is."""
    lockout = accounts(app).lockout
    now = lockout._clock()
    lockout._clock = lambda: now


def hash_quickly(app: Application) -> None:
    """Hash hundreds of passwords with little work for each: who is refused does not depend on it."""
    accounts(app)._passwords._hasher = PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1)


def accounts(app: Application) -> Any:
    return app.endpoint._authenticator.directory.accounts  # type: ignore[attr-defined]


ATTACKS = {
    "wrong passwords": lambda home, n: home.log_in(f"guess {n}", ATTACKER),
    "wrong passwords in headers": lambda home, n: home.header(f"guess {n}", ATTACKER),
    "registering": lambda home, n: home.register(ATTACKER),
    "registering from everywhere": lambda home, n: home.register(f"198.51.100.{n}"),
    "wrong passwords from everywhere": lambda home, n: home.log_in(f"guess {n}", f"198.51.100.{n}"),
    "confirmations": lambda home, n: home.call(f"{USERPASS}/confirm/send", {"email": ANN}, f"198.51.100.{n}"),
    "resets": lambda home, n: home.call(f"{USERPASS}/reset/send", {"email": ANN}, f"198.51.100.{n}"),
    "chosen devices": lambda home, n: home.log_in(f"guess {n}", ATTACKER, device=f"{n:024x}"),
    "wrong keys": lambda home, n: home.call("/data/v1/action/find", FIND, ATTACKER, apiKey=f"dl_{n}"),
    "logins with wrong keys": lambda home, n: home.call("/auth/providers/api-key/login", {"key": f"dl_{n}"}, ATTACKER),
    "anonymous users": lambda home, n: home.call("/auth/providers/anon-user/login", {}, ATTACKER),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_owner_gets_in_from_elsewhere(home: House, attack: str) -> None:
    statuses = {ATTACKS[attack](home, number).status for number in range(30)}
    if attack != "anonymous users":
        assert 200 not in statuses
        assert 201 not in statuses
    assert home.log_in(PASSWORD, HOME).status == 200
    assert home.header(PASSWORD, "192.0.2.3").status == 403, "known, and no rule allows it"
    assert home.log_in("wrong horse", HOME).status == 401


@pytest.mark.parametrize("attack", ["wrong passwords", "wrong passwords in headers", "registering", "anonymous users"])
def test_the_owner_gets_in_beside_the_attacker_from_a_known_device(home: House, attack: str) -> None:
    device = home.log_in(PASSWORD, HOME).json["device_id"]
    assert re.fullmatch("[0-9a-f]{24}", device)
    for number in range(30):
        ATTACKS[attack](home, number)
    again = home.log_in(PASSWORD, ATTACKER, device=device)
    assert (again.status, again.json.get("device_id")) == (200, device)
    # A device that this server did not give is none: its id can be guessed.
    made_up = home.log_in(PASSWORD, "192.0.2.5", device="a" * 24)
    assert made_up.json["device_id"] == "a" * 24
    assert home.log_in("wrong horse", ATTACKER, device="a" * 24).status == 429


def test_a_stranger_still_may_not_guess(home: House) -> None:
    assert [home.log_in(f"guess {number}", ATTACKER).status for number in range(25)] == [401] * 20 + [429] * 5
    assert home.log_in(PASSWORD, ATTACKER).status == 429, "not even the right one, without a device that is known"
    assert home.header(PASSWORD, ATTACKER).status == 429, "in headers as in a login"
    assert home.log_in(PASSWORD, ATTACKER, name="bob@example.com").status == 429
    assert home.log_in(PASSWORD, HOME).status == 200


def test_five_wrong_passwords_lock_their_place_alone(home: House) -> None:
    for number in range(5):
        assert home.log_in(f"guess {number}", ATTACKER).status == 401
    assert home.log_in(PASSWORD, ATTACKER).json["error_code"] == "InvalidPassword"
    assert home.log_in(PASSWORD, HOME).status == 200
    for number in range(5):
        assert home.log_in(f"guess {number}", HOME).status == 401
    assert home.log_in(PASSWORD, HOME).json["error_code"] == "InvalidPassword", "what is known is bounded too"
    assert home.log_in(PASSWORD, "192.0.2.2").status == 200


def test_who_logged_in_here_before_is_not_refused_for_a_neighbour(home: House) -> None:
    assert home.log_in(PASSWORD, HOME).status == 200
    assert home.register(HOME, "ben@example.com").status == 201
    for number in range(25):
        home.log_in(f"guess {number}", HOME, name="carl@example.com")
    assert home.log_in("guess", HOME, name="carl@example.com").status == 429
    assert home.log_in(PASSWORD, HOME, name="ben@example.com").status == 429, "nobody knows him here yet"
    assert home.log_in(PASSWORD, HOME).status == 200


# --- keys ------------------------------------------------------------------------------------------------------------


def test_wrong_keys_have_a_rate_and_right_ones_none(home: House) -> None:
    def ask(key: str, address: str) -> int:
        return home.call("/data/v1/action/find", FIND, address, apiKey=key).status

    def wrong(number: int) -> str:
        return f"dlu_{number:064d}" if number % 2 else f"dl_{number:064d}"

    session = home.log_in(PASSWORD, HOME).json
    bearer = {"Authorization": f"Bearer {session['refresh_token']}"}
    made = [home.call("/api/client/v2.0/auth/api_keys", {"name": f"k{n}"}, HOME, **bearer).json["key"] for n in (1, 2)]
    assert ask(made[0], HOME) == 403, "known, and no rule allows it"
    assert [ask(wrong(number), ATTACKER) for number in range(25)] == [401] * 20 + [429] * 5
    for _ in range(3):
        assert ask(KEY, ATTACKER) == 200, "a key is never refused for what is wrong beside it"
        assert home.call("/auth/providers/api-key/login", {"key": KEY}, ATTACKER).status == 200
        assert ask(made[0], ATTACKER) == 403, "a user's key that was seen before"
    assert ask(made[1], ATTACKER) == 429, "one that never was is looked up no more from this address"
    assert ask(made[1], HOME) == 403
    assert ask(made[1], ATTACKER) == 403
    assert home.log_in(PASSWORD, ATTACKER).status == 200, "keys and passwords count apart"
    assert ask("wrong", HOME) == 401


# --- the gate of the password hash -----------------------------------------------------------------------------------


def test_a_flood_from_one_address_leaves_others_their_turn(tmp_path: Path) -> None:
    with application(tmp_path, **CHOSEN, login_rate="") as app:
        home = House(app)
        for number in range(12):
            assert home.register(f"192.0.2.{number}", f"p{number}@example.com").status == 201

        async def one(path: str, address: str, body: bytes, **headers: str) -> int:
            answer = await app.request("POST", path, body, {"X-Forwarded-For": address, **headers})
            return answer.status

        async def all_at_once() -> tuple[list[int], list[int]]:
            flood = [
                asyncio.create_task(
                    one("/data/v1/action/find", ATTACKER, FIND, email=f"x{n}@example.com", password="x")
                )
                for n in range(80)
            ]
            await asyncio.sleep(0)
            good = [
                one(
                    "/auth/providers/local-userpass/login",
                    f"192.0.2.{number}",
                    orjson.dumps({"username": f"p{number}@example.com", "password": PASSWORD}),
                )
                for number in range(12)
            ]
            return await asyncio.gather(*good), await asyncio.gather(*flood)

        good, flood = app.run(all_at_once())
        assert good == [200] * 12
        assert set(flood) == {401, 429}
        assert flood.count(401) >= WAITING_OF_ONE


def test_turns_go_round() -> None:
    async def scenario() -> list[str]:
        turns, done = Turns(1, of_one=3, of_all=6), []

        async def work(caller: str, *, first: bool = False) -> None:
            async with turns.turn(caller, first=first):
                done.append(caller)
                await asyncio.sleep(0)

        wanted = [work("a"), work("a"), work("a"), work("a"), work("b"), work("c"), work("b")]
        tasks = [asyncio.create_task(each) for each in wanted]
        await asyncio.sleep(0)
        tasks.append(asyncio.create_task(work("known", first=True)))
        await asyncio.gather(*tasks)
        return done

    assert asyncio.run(scenario()) == ["a", "a", "known", "b", "c", "a", "b", "a"]


def test_who_waits_with_most_makes_room() -> None:
    async def scenario() -> dict[str, list[Any]]:
        turns = Turns(1, of_one=3, of_all=4)
        outcomes: dict[str, list[Any]] = {}

        async def work(caller: str) -> None:
            try:
                async with turns.turn(caller):
                    await asyncio.sleep(0)
                outcomes.setdefault(caller, []).append("done")
            except TooManyRequests:
                outcomes.setdefault(caller, []).append("refused")

        await asyncio.gather(*(work(caller) for caller in ["x", *"aaaaa", *"b", "c", "d", "e", "f"]))
        assert turns._counts == {True: 0, False: 0}
        assert turns._free == 1
        return outcomes

    outcomes = asyncio.run(scenario())
    assert sorted(outcomes["a"]) == ["done"] + ["refused"] * 4
    assert [outcomes[name] for name in "xbcd"] == [["done"]] * 4
    assert outcomes["e"] == outcomes["f"] == ["refused"], "there is room for four"


def test_a_turn_that_nobody_wants_any_more_goes_on() -> None:
    async def scenario() -> None:
        turns = Turns(1, of_one=3, of_all=6)

        async def work() -> str:
            async with turns.turn("a"):
                await asyncio.sleep(0)
                return "done"

        tasks = [asyncio.create_task(work()) for _ in range(4)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        tasks[3].cancel()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert [found[0], found[2]] == ["done", "done"]
        assert isinstance(found[1], asyncio.CancelledError)
        async with asyncio.timeout(5):
            assert await work() == "done"
        assert (turns._free, turns._counts) == (1, {True: 0, False: 0})

    asyncio.run(scenario())


# --- streams ---------------------------------------------------------------------------------------------------------


def test_a_stream_is_a_share() -> None:
    streams = Streams(8)
    mine = [streams.enter("me", HOME) for _ in range(2)]
    with pytest.raises(TooManyRequests, match="too many streams of one caller at once: the limit is 2"):
        streams.enter("me", "192.0.2.2")
    mine += [streams.enter(f"anonymous {number}", HOME) for number in range(2)]
    with pytest.raises(TooManyRequests, match="too many streams from one address at once: the limit is 4"):
        streams.enter("anonymous 3", HOME)
    others = [streams.enter(f"other {number}", f"192.0.2.{number + 2}") for number in range(4)]
    with pytest.raises(TooManyRequests, match="the limit of this process is 8"):
        streams.enter("late", "192.0.2.9")
    for leave in (*mine, *others):
        leave()
    leave = streams.enter("", HOME)
    with pytest.raises(TooManyRequests, match="of such callers from one address at once: the limit is 1"):
        streams.enter("", HOME)
    streams.enter("", "192.0.2.2")
    with pytest.raises(TooManyRequests, match="of callers who have not said who they are at once: the limit is 2"):
        streams.enter("", "192.0.2.3")
    leave()
    leave()
    assert streams.open == 1, "the second time does nothing"
    assert [streams.enter("me", HOME) for _ in range(2)]
    assert Concurrency(0).bounds is False


def test_one_caller_leaves_streams_to_others(tmp_path: Path) -> None:
    with application(tmp_path, **CHOSEN, login_rate="", max_streams=4) as app:
        home = House(app)
        tokens = {
            address: home.call("/auth/providers/api-key/login", {"key": KEY}, address).json["access_token"]
            for address in (HOME, ATTACKER)
        }
        tokens["me again"] = home.call("/auth/providers/api-key/login", {"key": KEY}, HOME).json["access_token"]

        async def watch(token: str, address: str, opened: asyncio.Event, end: asyncio.Event) -> int:
            call = {"name": "watch", "service": "default", "arguments": [{"database": "app", "collection": "things"}]}
            query = b"baas_request=" + b64encode(orjson.dumps(call)) + b"&baas_at=" + token.encode()
            statuses: list[int] = []

            body = iter([{"type": "http.request", "body": b"", "more_body": False}])

            async def receive() -> Message:
                for message in body:
                    return message
                await end.wait()
                return {"type": "http.disconnect"}

            async def send(message: Message) -> None:
                if message["type"] == "http.response.start":
                    statuses.append(message["status"])
                opened.set()

            scope = {"type": "http", "method": "GET", "path": "/api/client/v2.0/app/shop-abcde/functions/call"}
            headers = [(b"x-forwarded-for", address.encode())]
            await app.endpoint(
                {**scope, "query_string": query, "headers": headers, "client": ("127.0.0.1", 1)}, receive, send
            )
            return statuses[0]

        async def scenario() -> list[int]:
            end = asyncio.Event()
            tasks = []
            for token, address in ((HOME, HOME), ("me again", HOME), (ATTACKER, ATTACKER)):
                opened = asyncio.Event()
                tasks.append(asyncio.create_task(watch(tokens[token], address, opened, end)))
                await opened.wait()
            end.set()
            return await asyncio.gather(*tasks)

        # It is one caller, however many sessions it has and wherever from; and once a stream has ended it may again.
        assert app.run(scenario()) == [200, 429, 429]
        assert app.run(scenario()) == [200, 429, 429]
