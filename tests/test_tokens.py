"""Sessions: login, access and refresh tokens, their ends, and tokens that nobody issued."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import stat
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import jwt
import pytest

from doorleaf.access.identity import upkeep as identity_module
from doorleaf.access.identity.authenticator import Authenticator, Credentials
from doorleaf.access.identity.keys import Keys
from doorleaf.access.identity.tokens import REMEMBERED, Sessions, Tokens, signing_secret
from doorleaf.access.system_store import SystemStore
from doorleaf.errors import DoorleafError, Unauthenticated
from doorleaf.settings.model import Settings
from doorleaf.stores.embedded.store import EmbeddedStore

SECRET = "a secret of at least 32 characters, for tests"
MINUTE = 60
DAY = 24 * 3600


class Clock:
    """A clock that a test can move."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class House:
    """An authenticator on an embedded database, its clock and its first key."""

    def __init__(self, folder: Path, store: EmbeddedStore, clock: Clock) -> None:
        self.clock = clock
        self.key = ""
        self.system = SystemStore(store, "doorleaf")
        settings = Settings(data_dir=folder, token_secret=SECRET)  # type: ignore[arg-type]  # coerced
        self.door = Authenticator(settings, store, announce=self._take, clock=clock)

    def _take(self, key: str) -> None:
        self.key = key

    async def login(self) -> dict[str, Any]:
        return await self.door.logins.login("api-key", {"key": self.key})

    def lets_in(self, token: str) -> bool:
        """Whether an access token is accepted, by memory or by verification."""
        return self.door.known(Credentials(bearer=token)) is not None

    async def verifies(self, token: str) -> bool:
        try:
            await self.door.identify(Credentials(bearer=token))
        except Unauthenticated as error:
            if error.message != "invalid session: error finding user for endpoint":
                raise
            return False
        return True


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what another task will bring about; the test's own time limit ends a wait in vain."""
    while not condition():  # noqa: ASYNC110  # nobody can signal it: that is what is tested
        await asyncio.sleep(0.01)


@asynccontextmanager
async def house(folder: Path) -> AsyncIterator[House]:
    store = EmbeddedStore(folder)
    await store.open()
    built = House(folder, store, Clock())
    await built.door.start(patience=30)
    try:
        yield built
    finally:
        await built.door.stop()
        await store.close()


def claims(token: str) -> dict[str, Any]:
    decoded: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return decoded


async def refusal(call: Any) -> DoorleafError:
    with pytest.raises(DoorleafError) as caught:
        await call
    return caught.value


def test_a_token_that_was_shown_in_time_outlives_its_end_but_not_its_session(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with house(tmp_path) as home:
            reply = await home.login()
            token, refresh = reply["access_token"], reply["refresh_token"]
            home.clock.now += 30 * MINUTE + 10
            assert not await home.verifies(token)
            for age, good in ((9.0, False), (11.0, True)):
                shown = Credentials(bearer=token, age=age)
                if good:
                    assert (await home.door.identify(shown)).admin
                    assert not home.lets_in(token)
                    await home.door.logins.logout(refresh)
                assert (await refusal(home.door.identify(shown))).status == 401

    asyncio.run(scenario())


def test_login_answers_with_two_tokens(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with house(tmp_path) as home:
            reply = await home.login()
            assert list(reply) == [
                "access_token",
                "refresh_token",
                "token_type",
                "expires_in",
                "user_id",
                "device_id",
            ]
            assert (reply["token_type"], reply["expires_in"]) == ("Bearer", 1800)
            device = {"options": {"device": {"deviceId": reply["device_id"]}}}
            again = await home.door.logins.login("api-key", {"key": home.key, **device})
            assert re.fullmatch("[0-9a-f]{24}", reply["device_id"])
            assert again["device_id"] == reply["device_id"] == claims(again["access_token"])["baas_device_id"]
            nobody = {"options": {"device": {"deviceId": "0" * 24}}}
            other = await home.door.logins.login("api-key", {"key": home.key, **nobody})
            assert other["device_id"] not in (reply["device_id"], "0" * 24)
            assert await home.verifies(reply["access_token"])
            assert home.lets_in(reply["access_token"])
            identity = home.door.known(Credentials(bearer=reply["access_token"]))
            assert identity is not None
            assert identity == home.door.known(Credentials(api_key=home.key))
            assert identity.id == reply["user_id"]
            access, refresh = claims(reply["access_token"]), claims(reply["refresh_token"])
            assert access["typ"] == "access"
            assert access["exp"] - access["iat"] == 30 * MINUTE
            assert refresh["typ"] == "refresh"
            assert refresh["exp"] - refresh["iat"] == 60 * DAY
            assert access["sub"] == refresh["sub"] == reply["user_id"]
            assert access["iss"] == refresh["baas_id"]
            assert {"baas_device_id", "baas_domain_id", "stitch_devId"} <= set(access)
            assert refresh["baas_identity"]["provider_type"] == "api-key"
            assert home.key not in str(access | refresh)

    asyncio.run(scenario())


def test_logins_that_are_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with house(tmp_path) as home:
            for body in ({}, {"key": None}, {"key": ""}):
                error = await refusal(home.door.logins.login("api-key", body))
                assert (error.status, error.code) == (400, "InvalidParameter")
            error = await refusal(home.door.logins.login("api-key", {"key": 5}))
            assert (error.status, error.code) == (400, "InvalidParameter")
            for wrong in ("x", home.key + "x", "api-key-123"):
                error = await refusal(home.door.logins.login("api-key", {"key": wrong}))
                assert (error.status, error.code, error.message) == (401, "AuthError", "invalid API key")
            error = await refusal(home.door.logins.login("oauth2-google", {"key": home.key}))
            assert (error.status, error.code) == (404, "AuthProviderNotFound")

    asyncio.run(scenario())


def test_access_tokens_die_after_30_minutes_and_refresh_tokens_after_60_days(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with house(tmp_path) as home:
            reply = await home.login()
            first = reply["access_token"]
            home.clock.now += 30 * MINUTE - 1
            assert await home.verifies(first)
            home.clock.now += 1
            assert not home.lets_in(first)
            assert not await home.verifies(first)
            renewed = await home.door.logins.refresh(reply["refresh_token"])
            assert set(renewed) == {"access_token", "token_type", "expires_in"}
            assert renewed["expires_in"] == 1800
            assert await home.verifies(renewed["access_token"])
            assert not await home.verifies(first)
            home.clock.now += 60 * DAY - 30 * MINUTE - 1
            assert await home.verifies((await home.door.logins.refresh(reply["refresh_token"]))["access_token"])
            home.clock.now += 1
            assert (await refusal(home.door.logins.refresh(reply["refresh_token"]))).status == 401

    asyncio.run(scenario())


def test_each_token_only_where_it_belongs(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with house(tmp_path) as home:
            reply = await home.login()
            assert not await home.verifies(reply["refresh_token"])
            for call in (home.door.logins.refresh, home.door.logins.logout):
                error = await refusal(call(reply["access_token"]))
                assert (error.status, error.message) == (401, "invalid refresh token: incorrect token type")
                error = await refusal(call(None))
                assert error.message == "expected Authorization header with JWT (Bearer schema)"
                assert (await refusal(call("x"))).status == 401

    asyncio.run(scenario())


def test_logout_ends_the_session_and_no_other(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with house(tmp_path) as home:
            one, other = await home.login(), await home.login()
            assert await home.verifies(one["access_token"])
            await home.door.logins.logout(one["refresh_token"])
            assert not home.lets_in(one["access_token"])
            assert not await home.verifies(one["access_token"])
            error = await refusal(home.door.logins.refresh(one["refresh_token"]))
            assert (error.status, error.code) == (401, "InvalidSession")
            assert await home.verifies(other["access_token"])
            await home.door.logins.refresh(other["refresh_token"])

    asyncio.run(scenario())


def test_sessions_end_in_other_processes_and_with_their_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity_module, "RELOAD_SECONDS", 0.01)

    async def scenario() -> None:
        async with house(tmp_path) as home:
            one, other = await home.login(), await home.login()
            for reply in (one, other):
                assert await home.verifies(reply["access_token"])
            elsewhere = Sessions(home.system, clock=home.clock)
            await elsewhere.revoke(claims(one["access_token"])["iss"])
            await until(lambda: not home.lets_in(one["access_token"]))
            assert home.lets_in(other["access_token"])
            await Keys(home.system).revoke("default")
            await until(lambda: not home.lets_in(other["access_token"]))
            assert not await home.verifies(other["access_token"])
            assert (await refusal(home.door.logins.refresh(other["refresh_token"]))).status == 401

    asyncio.run(scenario())


def test_sessions_that_are_over_are_swept(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with house(tmp_path) as home:
            await home.login()
            sessions = Sessions(home.system, clock=home.clock)
            await sessions.sweep()
            assert len(await home.system.find("sessions", {})) == 1
            home.clock.now += 60 * DAY + 1
            await sessions.sweep()
            assert await home.system.find("sessions", {}) == []

    asyncio.run(scenario())


def part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def forgeries(genuine: str) -> list[str]:
    """Tokens that nobody issued, made from one that was."""
    header, payload, signature = genuine.split(".")
    content = claims(genuine)
    other = {**content, "sub": "0" * 24}
    return [
        f"{part({'alg': 'none', 'typ': 'JWT'})}.{payload}.",
        f"{part({'alg': 'None', 'typ': 'JWT'})}.{payload}.{signature}",
        f"{part({'alg': 'RS256', 'typ': 'JWT'})}.{payload}.{signature}",
        f"{header}.{part(other)}.{signature}",
        f"{header}.{payload}.",
        f"{header}.{payload}",
        f"{header}.{payload}.{signature[:-4]}AAAA",
        f"{header}.{payload}.{signature}.x",
        jwt.encode(content, "another secret of at least 32 characters", algorithm="HS256"),
        jwt.encode(content, SECRET * 2, algorithm="HS512"),
        jwt.encode({name: content[name] for name in content if name != "exp"}, SECRET, algorithm="HS256"),
        jwt.encode({**content, "exp": "tomorrow"}, SECRET, algorithm="HS256"),
        jwt.encode({**content, "typ": "other"}, SECRET, algorithm="HS256"),
        jwt.encode({**content, "sub": "0" * 24}, SECRET, algorithm="HS256"),
        genuine + "é",
        "",
        ".",
        "..",
        "null",
    ]


def test_forged_tokens_are_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with house(tmp_path) as home:
            genuine = (await home.login())["access_token"]
            assert await home.verifies(genuine)
            for forged in forgeries(genuine):
                assert not home.lets_in(forged), forged
                assert not await home.verifies(forged), forged

    asyncio.run(scenario())


def test_no_more_than_some_verified_tokens_are_remembered() -> None:
    tokens = Tokens(SECRET.encode(), clock=Clock())
    issued = [tokens.access("user", str(number)) for number in range(REMEMBERED + 10)]
    for token in issued[:REMEMBERED]:
        tokens.verify(token, "access")
    assert tokens.remembered(issued[0]) is not None, "it is used, so it stays"
    for token in issued[REMEMBERED:]:
        tokens.verify(token, "access")
    assert tokens.remembered(issued[0]) is not None
    assert [tokens.remembered(token) for token in issued[1:11]] == [None] * 10
    assert tokens.remembered(issued[-1]) is not None


def test_the_secret_is_made_once_and_private(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    secret = signing_secret(None, folder)
    assert len(secret) >= 32
    assert stat.S_IMODE((folder / "token.secret").stat().st_mode) == 0o600
    assert [path.name for path in folder.iterdir()] == ["token.secret"]
    (folder / "token.secret").chmod(0o644)
    assert signing_secret(None, folder) == secret
    assert stat.S_IMODE((folder / "token.secret").stat().st_mode) == 0o600
    assert signing_secret(SECRET, folder) == SECRET.encode()


def test_processes_that_start_at_once_agree_on_the_secret(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        secrets = set(pool.map(lambda _: signing_secret(None, tmp_path / "data"), range(64)))
    assert len(secrets) == 1


def test_a_damaged_secret_is_named_and_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "token.secret").write_text("short")
    with pytest.raises(ValueError, match=r"token\.secret is damaged"):
        signing_secret(None, tmp_path)
    assert (tmp_path / "token.secret").read_text() == "short"
