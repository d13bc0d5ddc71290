"""Rates, the concurrency cap, and what a key's own document says of them."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from asgi import KEY, Answer, Application, application
from limited import Clock, make_key
from servers import free_port

from doorleaf.access.limits.rates import Concurrency, KeyLimits, RateLimits, Windows, key_limits, rates
from doorleaf.errors import TooManyRequests
from doorleaf.http import Message
from doorleaf.settings.load import SettingsError, load
from doorleaf.settings.model import Settings
from doorleaf.settings.show import shown

PING = b'{"database": "app", "command": {"ping": 1}}'


def admitted(limits: RateLimits, subject: Any, name: str, times: int, own: str | None = None) -> int:
    """How many of so many requests are let in."""

    async def run() -> int:
        count = 0
        for _ in range(times):
            try:
                await limits.admit(subject, name, own)
            except TooManyRequests:
                continue
            count += 1
        return count

    return asyncio.run(run())


# --- rates ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "windows"),
    [
        ("5/second", [(5, 1)]),
        ("50/second;20000/hour", [(50, 1), (20000, 3600)]),
        ("10/minute", [(10, 60)]),
        ("3/2 minutes", [(3, 120)]),
        ("1 / day", [(1, 86400)]),
        (" 7/seconds ; 8/hours", [(7, 1), (8, 3600)]),
    ],
)
def test_rates_in_words(text: str, windows: list[tuple[int, int]]) -> None:
    assert [(item.amount, item.seconds) for item in rates(text)] == windows


@pytest.mark.parametrize("text", ["", "5", "0/second", "-1/second", "5/fortnight", "5/second;", "x/second", "5 second"])
def test_text_that_is_no_rate(text: str) -> None:
    with pytest.raises(ValueError, match="is no rate such as '20/second;5000/hour'"):
        rates(text)
    with pytest.raises(ValueError, match="is no rate"):
        Settings(rate_limits={"key": text})
    if text:
        with pytest.raises(ValueError, match="is no rate"):
            Settings(login_rate=text)


def test_settings_name_what_can_be_limited() -> None:
    with pytest.raises(ValueError, match="there is no rate for 'ip'; there are key, user, address, data_source"):
        Settings(rate_limits={"ip": "5/second"})
    with pytest.raises(ValueError, match="must begin with redis://"):
        Settings(redis_url="http://localhost")  # type: ignore[arg-type]  # as the environment gives it
    assert Settings(login_rate="").login_rate == ""


def test_tables_of_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "doorleaf.toml"
    file.write_text('[rate_limits]\nkey = "5/second"\n[quotas]\nrequests_per_day = 7\n')
    settings = load(config=file)
    assert (settings.rate_limits, settings.quotas) == ({"key": "5/second"}, {"requests_per_day": 7})
    assert shown(settings, "rate_limits") == "key = 5/second"
    monkeypatch.setenv("DOORLEAF_QUOTAS", '{"bytes_per_month": 9}')
    assert load(config=file).quotas == {"bytes_per_month": 9}
    monkeypatch.setenv("DOORLEAF_REDIS_URL", "redis://user:hunter2@localhost")
    assert "hunter2" not in shown(load(config=file), "redis_url")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[rate_limits]\nkey = 5", "rate_limits.key: expected a string, got an integer"),
        ('[rate_limits]\nip = "5/second"', "there is no rate for 'ip'"),
        ('[quotas]\nrequests_per_day = "5"', "quotas.requests_per_day: expected an integer, got a string"),
        ("[quotas]\nrequests_per_day = -1", "requests_per_day: expected a number from 0 on"),
        ("quotas = 5", "quotas: expected a table, got an integer"),
        ('ip_access_list = "127.0.0.1"', "ip_access_list: expected an array of strings"),
        ("audit_collection_days = -1", "audit_collection_days"),
    ],
)
def test_tables_that_are_none(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "doorleaf.toml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=re.escape(said)):
        load(config=file)


def test_variables_that_are_no_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for value, said in (("{", "expected a JSON object"), ('{"requests_per_day": "x"}', "expected an integer")):
        monkeypatch.setenv("DOORLEAF_QUOTAS", value)
        with pytest.raises(SettingsError, match=said):
            load()


def test_a_window_begins_with_its_first_request() -> None:
    clock = Clock()
    limits = RateLimits({"key": "3/minute"}, clock=clock)
    assert admitted(limits, "key", "a", 5) == 3
    assert admitted(limits, "key", "b", 2) == 2
    assert admitted(limits, "user", "a", 9) == 9
    clock.now += 59.9
    assert admitted(limits, "key", "a", 1) == 0
    clock.now += 0.2
    assert admitted(limits, "key", "a", 5) == 3


def test_a_burst_and_a_sustained_rate() -> None:
    clock = Clock()
    limits = RateLimits({"key": "5/second;12/hour"}, clock=clock)
    taken = []
    for _ in range(4):
        taken.append(admitted(limits, "key", "a", 7))
        clock.now += 1.01
    assert taken == [5, 5, 2, 0]


def test_a_rate_of_its_own_replaces_the_general_one() -> None:
    limits = RateLimits({"key": "2/hour"}, clock=Clock())
    assert admitted(limits, "key", "a", 9, own="4/hour") == 4
    assert admitted(limits, "key", "b", 9) == 2
    assert admitted(RateLimits({}, clock=Clock()), "key", "a", 9, own="1/hour") == 1


def test_the_answer_says_when_to_come_back() -> None:
    clock = Clock()
    limits = RateLimits({"key": "100/second;2/minute"}, clock=clock)
    assert admitted(limits, "key", "a", 2) == 2
    clock.now += 17.5
    with pytest.raises(TooManyRequests) as caught:
        asyncio.run(limits.admit("key", "a"))
    assert caught.value.message == "too many requests: the limit is 2 in 60 s; try again in 43 s"
    assert caught.value.headers == {
        "Retry-After": "43",
        "RateLimit-Policy": '"key";q=2;w=60',
        "RateLimit": '"key";r=0;t=43',
    }


def test_windows_that_ended_are_forgotten() -> None:
    clock = Clock()
    windows = Windows(clock)
    for number in range(25_000):
        windows.count(f"address/{number}", 1)
        clock.now += 0.001
    assert len(windows._windows) < 12_000
    assert windows.counted("address/24999") == 1
    assert windows.counted("address/0") == 0


def test_windows_do_not_last_longer_when_the_time_of_day_is_put_back() -> None:
    limits = RateLimits({"key": "1/second"})
    assert limits._clock is limits._local._clock is time.monotonic


def test_the_cap_on_requests_at_once() -> None:
    concurrency = Concurrency(2)
    concurrency.enter("a")
    concurrency.enter("a")
    concurrency.enter("b")
    with pytest.raises(TooManyRequests, match="too many requests at once: the limit is 2") as caught:
        concurrency.enter("a")
    assert caught.value.headers == {"Retry-After": "1"}
    concurrency.leave("a")
    concurrency.enter("a")
    for caller in "aab":
        concurrency.leave(caller)
    assert concurrency._running == {}
    unbounded = Concurrency(0)
    for _ in range(1000):
        unbounded.enter("a")


# --- a key's own limits --------------------------------------------------------------------------------------------


def test_limits_in_a_key_document() -> None:
    assert key_limits({"_id": "a", "rate": None}) is None
    found = key_limits({"addresses": ["10.0.0.0/8", "::1"], "rate": "5/second", "quotas": {"bytes_per_day": 9}})
    assert found is not None
    assert [str(item) for item in found.addresses or ()] == ["10.0.0.0/8", "::1/128"]
    assert (found.rate, found.quotas) == ("5/second", {"bytes_per_day": 9})
    assert key_limits({"addresses": []}) == KeyLimits(addresses=())


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"addresses": "10.0.0.1"}, "addresses: expected an array of strings"),
        ({"addresses": [5]}, "addresses: expected an array of strings"),
        ({"addresses": ["x"]}, "'x' is no IP address"),
        ({"rate": 5}, "rate: expected a string"),
        ({"rate": "fast"}, "'fast' is no rate"),
        ({"quotas": 5}, "quotas: expected an object"),
        ({"quotas": {"requests": 5}}, "there is no quota 'requests'"),
        ({"quotas": {"requests_per_day": -1}}, "requests_per_day: expected a number from 0 on"),
        ({"quotas": {"requests_per_day": True}}, "requests_per_day: expected a number"),
        ({"quotas": {"requests_per_day": 1.5}}, "requests_per_day: expected a number"),
    ],
)
def test_limits_that_are_none(document: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        key_limits(document)


def test_a_key_has_addresses_and_a_rate_of_its_own(tmp_path: Path) -> None:
    elsewhere = make_key(tmp_path, "elsewhere", addresses=["203.0.113.0/24", "2001:db8::1"])
    here = make_key(tmp_path, "here", addresses=["127.0.0.1"], rate="3/hour")
    with application(tmp_path, rate_limits={"key": "5/hour"}, trusted_proxies=["127.0.0.1"]) as app:
        answer = app.act("runCommand", PING, key=elsewhere)
        assert (answer.status, answer.json) == (
            403,
            {"error": "this key may not be used from this address", "error_code": "AddressNotAllowed"},
        )
        behind = {"X-Forwarded-For": "203.0.113.77"}
        assert app.act("runCommand", PING, key=elsewhere, headers=behind).status == 200
        assert app.act("runCommand", PING, key=here, headers=behind).status == 403
        login = ("POST", "/auth/providers/api-key/login", orjson.dumps({"key": elsewhere}))
        assert app.call(*login).status == 403
        session = app.call(*login, behind).json
        bearer = {"Authorization": f"Bearer {session['access_token']}"}
        assert app.call("POST", "/action/runCommand", PING, bearer).status == 403
        assert app.call("POST", "/action/runCommand", PING, bearer | behind).status == 200
        assert [app.act("runCommand", PING, key=here).status for _ in range(5)] == [200, 200, 200, 429, 429]
        assert [app.act("runCommand", PING).status for _ in range(7)] == [200] * 5 + [429] * 2


# --- through the application ---------------------------------------------------------------------------------------


def refused(answer: Answer, subject: str, most: int, seconds: int) -> None:
    assert answer.status == 429
    assert answer.json["error_code"] == "TooManyRequests"
    assert f"the limit is {most} in {seconds} s" in answer.json["error"]
    assert 0 < int(answer.headers["retry-after"]) <= seconds
    assert answer.headers["ratelimit-policy"] == f'"{subject}";q={most};w={seconds}'
    assert answer.headers["ratelimit"] == f'"{subject}";r=0;t={answer.headers["retry-after"]}'


def test_a_rate_for_keys(tmp_path: Path) -> None:
    with application(tmp_path, rate_limits={"key": "3/hour"}) as app:
        for _ in range(5):  # nobody's request is nobody's
            assert app.act("runCommand", PING, key="wrong").status == 401
        login = ("POST", "/auth/providers/api-key/login", orjson.dumps({"key": KEY}))
        bearer = {"Authorization": f"Bearer {app.call(*login).json['access_token']}"}
        answers = [app.act("runCommand", PING) for _ in range(4)]
        assert [answer.status for answer in answers] == [200, 200, 429, 429]
        refused(answers[-1], "key", 3, 3600)
        assert "ratelimit" not in answers[0].headers
        refused(app.call(*login), "key", 3, 3600)
        assert app.call("POST", "/action/runCommand", PING, bearer).status == 429, "a session of the key is the key"
        assert app.call("GET", "/livez").status == 200


def test_a_rate_for_addresses_counts_before_credentials(tmp_path: Path) -> None:
    with application(tmp_path, rate_limits={"address": "4/hour"}, trusted_proxies=["127.0.0.1"]) as app:

        def statuses(address: str, key: str, times: int) -> list[int]:
            headers = {"X-Forwarded-For": address}
            return [app.act("runCommand", PING, key=key, headers=headers).status for _ in range(times)]

        assert statuses("203.0.113.1", "wrong", 5) == [401] * 4 + [429]
        assert statuses("203.0.113.1", KEY, 1) == [429]
        assert statuses("203.0.113.2", KEY, 5) == [200] * 4 + [429]
        assert statuses("2001:db8::1", KEY, 2) + statuses("2001:db8::2", KEY, 3) == [200] * 4 + [429]
        assert [app.call("GET", "/nothing", b"", {}).status for _ in range(5)] == [404] * 4 + [429]
        for _ in range(9):
            assert app.call("GET", "/livez").status == 200
            assert app.call("GET", "/readyz").status == 200


def test_a_rate_for_users_is_not_for_keys(tmp_path: Path) -> None:
    with application(tmp_path, rate_limits={"user": "2/hour"}) as app:
        assert [app.act("runCommand", PING).status for _ in range(4)] == [200] * 4
    with application(tmp_path, rate_limits={"user": "2/hour"}, insecure_no_auth=True, data_api_key=None) as app:
        answers = [app.call("POST", "/action/runCommand", PING) for _ in range(4)]
        assert [answer.status for answer in answers] == [200, 200, 429, 429]
        refused(answers[-1], "user", 2, 3600)


def test_a_rate_for_data_sources_goes_by_their_names(tmp_path: Path) -> None:
    sources = {
        "main": {"data_dir": tmp_path / "main", "default": True, "aliases": ["Cluster0"]},
        "archive": {"data_dir": tmp_path / "archive"},
    }
    with application(tmp_path, data_sources=sources, rate_limits={"data_source": "4/hour"}) as app:

        def statuses(*names: str | None) -> list[int]:
            return [
                app.act("find", {"database": "a", "collection": "b"} | ({"dataSource": name} if name else {})).status
                for name in names
            ]

        assert statuses("unknown", "unknown") == [400, 400]
        assert statuses("main", "Cluster0", None, "main", "Cluster0", None) == [200] * 4 + [429] * 2
        assert statuses("archive") == [200]
        refused(app.act("find", {"database": "a", "collection": "b"}), "data_source", 4, 3600)


def test_logins_have_a_rate_of_their_own(tmp_path: Path) -> None:
    with application(tmp_path, login_rate="4/hour") as app:
        paths = ["/auth/providers/api-key/login", "/api/client/v2.0/app/x-abcde/auth/providers/api-key/login"]
        answers = [app.call("POST", paths[turn % 2], orjson.dumps({"key": "wrong"})) for turn in range(6)]
        assert [answer.status for answer in answers] == [401] * 4 + [429] * 2
        refused(answers[-1], "login", 4, 3600)
        for _ in range(6):  # what is right is no failure
            assert app.call("POST", paths[0], orjson.dumps({"key": KEY})).status == 200
            assert app.act("runCommand", PING).status == 200
    with application(tmp_path, login_rate="") as app:
        for _ in range(40):
            assert app.call("POST", paths[0], orjson.dumps({"key": "wrong"})).status == 401


def test_the_cap_on_requests_at_once_through_the_application(tmp_path: Path) -> None:
    with application(tmp_path, max_concurrent_requests=2) as app:
        assert app.run(_at_once(app, 4)) == [200, 200, 429, 429]
        assert app.run(_at_once(app, 2)) == [200, 200]
        for _ in range(5):  # those that end badly end too
            assert app.act("find", b"{").status == 400
        assert app.run(_gone(app)) == 0
        assert app.run(_at_once(app, 2)) == [200, 200]


async def _at_once(app: Application, count: int) -> list[int]:
    """The statuses of requests whose bodies come only when all of them have begun."""
    go, statuses = asyncio.Event(), []

    async def request() -> None:
        async def receive() -> Message:
            await go.wait()
            return {"type": "http.request", "body": PING}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        await app.endpoint(_scope(), receive, send)

    tasks = [asyncio.create_task(request()) for _ in range(count)]
    for _ in range(20):
        await asyncio.sleep(0)
    go.set()
    await asyncio.gather(*tasks)
    return sorted(statuses)


async def _gone(app: Application) -> int:
    """How many messages a client gets that went away before its body came."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await app.endpoint(_scope(), receive, send)
    return len(sent)


def _scope() -> Message:
    headers = [(b"apikey", KEY.encode()), (b"content-length", b"%d" % len(PING))]
    path = {"path": "/action/runCommand", "query_string": b"", "headers": headers}
    return {"type": "http", "method": "POST", "client": ("127.0.0.1", 5), **path}


# --- Redis ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    """A Redis server on a free port of this machine."""
    command = shutil.which("redis-server")
    if command is None:
        pytest.skip("there is no redis-server on this machine")
    pytest.importorskip("redis", reason="the extra doorleaf[redis] is not installed")
    port = free_port()
    process = subprocess.Popen(
        [command, "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if "ready to accept connections" in line.lower():
                break
        assert process.poll() is None
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def test_processes_count_together_in_redis(redis_url: str) -> None:
    async def run() -> None:
        first, second = (RateLimits({"key": "5/hour"}, redis_url=redis_url) for _ in range(2))
        count = 0
        for limits in (first, second) * 4:
            try:
                await limits.admit("key", "together")
                count += 1
            except TooManyRequests as error:
                last = error
        assert count == 5
        assert 0 < int(last.headers["Retry-After"]) <= 3600
        assert last.headers["RateLimit-Policy"] == '"key";q=5;w=3600'
        await first.close()
        await second.close()

    asyncio.run(run())


def test_servers_share_their_rates_through_redis(tmp_path: Path, redis_url: str) -> None:
    chosen: dict[str, Any] = {"rate_limits": {"key": "6/hour"}, "redis_url": redis_url}
    with application(tmp_path / "one", **chosen) as one, application(tmp_path / "two", **chosen) as two:
        statuses = [app.act("runCommand", PING).status for app in (one, two) * 4]
        assert statuses == [200] * 6 + [429] * 2
        refused(one.act("runCommand", PING), "key", 6, 3600)


def test_a_redis_that_is_away_leaves_each_process_to_count_for_itself(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("redis", reason="the extra doorleaf[redis] is not installed")
    url = f"redis://user:hunter2@127.0.0.1:{free_port()}/0"
    with application(tmp_path, rate_limits={"key": "3/hour"}, redis_url=url) as app:
        assert [app.act("runCommand", PING).status for _ in range(5)] == [200, 200, 200, 429, 429]
    assert "Redis does not answer" in caplog.text
    assert "hunter2" not in caplog.text


def test_a_url_that_cannot_be_used_is_not_quoted() -> None:
    pytest.importorskip("redis", reason="the extra doorleaf[redis] is not installed")
    with pytest.raises(ValueError, match="redis_url: cannot be used") as caught:
        RateLimits({}, redis_url="redis://user:hunter2/x@localhost/0")
    assert "hunter2" not in str(caught.value)


def test_without_the_extra_the_error_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    with (
        pytest.raises(ValueError, match=r"redis_url: needs the packages redis and limits.*install doorleaf\[redis\]"),
        application(tmp_path, redis_url="redis://127.0.0.1/0"),
    ):
        pass
