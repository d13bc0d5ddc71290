"""Starting: the first time, the second time, twice at once, with several workers, and where it cannot."""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urljoin

import psutil
import pytest
from servers import INSTALLED, Doorleaf, run_doorleaf, start_doorleaf

KEY = re.compile(r"dl_[A-Za-z0-9]{64}")
IDLE_MEGABYTES = {"embedded": 72, "mongodb": 63}
EFFECTIVE = 5.0
"""Seconds within which a change of keys is known everywhere."""


@contextlib.contextmanager
def started(folder: Path, *args: str) -> Iterator[Doorleaf]:
    """A server with the key that it prints, or with none; keys may be wrong as often as a test asks."""
    server = start_doorleaf(folder, *args, key=None, env={"DOORLEAF_LOGIN_RATE": ""}, command=[INSTALLED])
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.stop()


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    """Whether ``condition`` comes true in time; asked last when the time is over."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.05)
    return condition()


def pages(server: Doorleaf) -> dict[str, int]:
    """The documentation page and everything it loads, by their statuses."""
    page = server.call("GET", "/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert b"://" not in re.sub(rb'xmlns="[^"]*"', b"", page.body), "nothing is loaded from elsewhere"
    loaded = [name.decode() for name in re.findall(rb'(?:src|href)="([^"#]+)"', page.body)]
    assert loaded
    asked = [urljoin("/docs", name) for name in loaded]
    return {path: server.call("GET", path).status for path in ["/docs", "/openapi.json", *asked]}


def test_first_start_second_start_and_two_at_once(tmp_path: Path) -> None:
    with started(tmp_path / "data") as first:
        output = first.output()
        key = first.key
        assert KEY.fullmatch(key)
        assert output.count(key) == 2, "alone, and in the request that can be pasted"
        [line] = [line for line in output.splitlines() if line.strip().startswith("curl ")]
        assert f"{first.url}/docs" in output
        assert set(pages(first).values()) == {200}
        assert first.call("GET", "/").headers["location"] == "/docs"
        if shutil.which("curl"):
            done = subprocess.run(line, shell=True, capture_output=True, text=True, timeout=30, check=False)
            assert done.returncode == 0
            assert re.fullmatch(r'\{"insertedId":"[0-9a-f]{24}"\}', done.stdout)
        else:
            where = {"database": "test", "collection": "greetings"}
            assert first.act("insertOne", document={"hello": "world"}, **where).status == 201
        assert key.encode() not in first.call("GET", "/metrics", headers={"apiKey": key}).body
        assert megabytes(first) < IDLE_MEGABYTES["embedded"]
        assert first.stop() == 0
    assert not list((tmp_path / "data").glob("*-wal")), "closing folds the log into the file"

    with started(tmp_path / "data") as second, started(tmp_path / "data", "--workers", "1") as third:
        for server in (second, third):
            assert not KEY.search(server.output())
            assert "curl" not in server.output()
            server.key = key
            assert server.ok("find", database="test", collection="greetings")["documents"][0]["hello"] == "world"
        see_each_other(second, third)
        keys_and_sessions_end_everywhere(tmp_path, second, third)
        assert (second.stop(), third.stop()) == (0, 0)


def see_each_other(one: Doorleaf, other: Doorleaf) -> None:
    for number in range(20):
        one.ok("insertOne", document={"_id": number, "n": number})
        assert other.ok("findOne", filter={"_id": number}) == {"document": {"_id": number, "n": number}}
        other.ok("updateOne", filter={"_id": number}, update={"$inc": {"n": 100}})
        assert one.ok("findOne", filter={"n": 100 + number})["document"]["_id"] == number
    one.ok("createIndex", keys={"n": 1}, options={"unique": True})
    assert [index["name"] for index in other.ok("listIndexes")["indexes"]] == ["_id_", "n_1"]
    refused = other.act("insertOne", document={"_id": "again", "n": 107})
    assert (refused.status, refused.json["error_code"]) == (409, "DuplicateKey")
    other.ok("dropIndex", name="n_1")
    assert one.act("insertOne", document={"_id": "again", "n": 107}).status == 201
    other.ok("createCollection", collection="made")
    names = {item["name"] for item in one.ok("listCollections")["collections"]}
    assert names == {"c", "made"}
    one.ok("dropCollection", collection="made")
    assert other.ok("countDocuments", collection="made") == {"count": 0}
    one.ok("dropCollection")
    assert other.ok("find") == {"documents": []}
    other.ok("insertOne", document={"_id": 1})
    assert one.ok("find") == {"documents": [{"_id": 1}]}


def keys_and_sessions_end_everywhere(folder: Path, one: Doorleaf, other: Doorleaf) -> None:
    made = run_doorleaf(folder, "keys", "create", "visitor", "--data-dir", "data")
    visitor = made.stdout.strip()
    assert KEY.fullmatch(visitor), made.stderr

    def known(headers: dict[str, str]) -> list[bool]:
        """Whether each server knows the caller; what it may do there is another matter."""
        body = {"database": "d", "collection": "c"}
        asked = [server.call("POST", "/action/findOne", body, headers).status for server in (one, other)]
        assert set(asked) <= {200, 401, 403}
        return [status != 401 for status in asked]

    assert within(EFFECTIVE, lambda: known({"apiKey": visitor}) == [True, True])
    login = one.call("POST", "/auth/providers/api-key/login", {"key": visitor})
    bearer = {"Authorization": f"Bearer {login.json['access_token']}"}
    refresh = {"Authorization": f"Bearer {login.json['refresh_token']}"}
    assert known(bearer) == [True, True]
    own = one.call("POST", "/auth/providers/api-key/login", {"key": one.key}).json
    own_bearer = {"Authorization": f"Bearer {own['access_token']}"}
    assert known(own_bearer) == [True, True]
    assert one.call("DELETE", "/auth/session", None, {"Authorization": f"Bearer {own['refresh_token']}"}).status == 204

    assert run_doorleaf(folder, "keys", "revoke", "visitor", "--data-dir", "data").returncode == 0
    assert within(EFFECTIVE, lambda: known({"apiKey": visitor}) == [False, False])
    assert within(EFFECTIVE, lambda: known(bearer) == [False, False])
    assert within(EFFECTIVE, lambda: known(own_bearer) == [False, False])
    assert other.call("POST", "/auth/session", None, refresh).status == 401
    assert one.call("POST", "/auth/providers/api-key/login", {"key": visitor}).status == 401
    assert known({"apiKey": one.key}) == [True, True]
    for server in (one, other):
        assert visitor not in server.output()
        assert login.json["access_token"] not in server.output()


def test_several_workers_are_one_server(tmp_path: Path) -> None:
    with started(tmp_path / "data", "--workers", "2") as server:
        assert len(KEY.findall(server.output())) == 2, "one key, shown once, alone and in a request"
        workers = children(server)
        assert len(workers) == 2
        connections = [server.connection() for _ in range(24)]
        for number, connection in enumerate(connections):
            server.ok("insertOne", document={"_id": number}, on=connection)
        for connection in connections:
            assert server.ok("countDocuments", on=connection) == {"count": 24}

        def everywhere_counted() -> bool:
            return {metric(server, connection) for connection in connections} == {24.0}

        assert within(20, everywhere_counted), "each worker shows the numbers of all"

        for connection in connections:
            connection.close()
        workers[0].kill()
        assert within(20, lambda: len(children(server)) == 2 and workers[0] not in children(server))
        workers = children(server)
        assert within(20, lambda: server.ok("countDocuments") == {"count": 24})
        assert len(KEY.findall(server.output())) == 2
        connections = [server.connection() for _ in range(24)]

        assert run_doorleaf(tmp_path, "keys", "revoke", "default", "--data-dir", "data").returncode == 0

        def everywhere_dead() -> bool:
            return {server.act("findOne", on=connection).status for connection in connections} == {401}

        assert within(EFFECTIVE, everywhere_dead)
        for connection in connections:
            connection.close()
        assert server.stop() == 0
        assert not any(worker.is_running() for worker in workers)
        assert "Traceback" not in server.output()


def children(server: Doorleaf) -> list[psutil.Process]:
    """The processes of the workers."""
    found = []
    for child in psutil.Process(server.pid).children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if child.status() != psutil.STATUS_ZOMBIE and "resource_tracker" not in " ".join(child.cmdline()):
                found.append(child)
    return found


def metric(server: Doorleaf, connection: object) -> float:
    """How many inserts succeeded, as the metrics have it."""
    answer = server.call("GET", "/metrics", None, {"apiKey": server.key}, on=connection)  # type: ignore[arg-type]
    [value] = re.findall(rb'^doorleaf_requests_total\{action="insertOne",status="201"\} (\S+)$', answer.body, re.M)
    return float(value)


def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run_doorleaf(tmp_path, "serve", "--port", str(port), "--data-dir", "data")
        checked = run_doorleaf(tmp_path, "check", "--port", str(port), "--data-dir", "data")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == f"doorleaf: cannot listen on 127.0.0.1:{port}: address already in use\n"
    assert checked.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}: address already in use" in checked.stderr
    assert not (tmp_path / "data").exists()


def test_check_says_what_is_right_and_what_is_wrong(tmp_path: Path) -> None:
    good = run_doorleaf(tmp_path, "check", "--data-dir", "data")
    assert (good.returncode, good.stderr) == (0, "")
    assert good.stdout.startswith("settings: ok\n")
    (tmp_path / "doorleaf.toml").write_text(
        '[data_sources.far]\nuri = "mongodb://u:geheim@127.0.0.1:1/?serverSelectionTimeoutMS=300"\ndefault = true'
    )
    bad = run_doorleaf(tmp_path, "check")
    assert bad.returncode == 1
    assert "data source far" in bad.stderr
    assert "geheim" not in bad.stdout + bad.stderr
    (tmp_path / "doorleaf.toml").write_text("port = 'many'")
    assert run_doorleaf(tmp_path, "check").returncode == 1


def megabytes(server: Doorleaf) -> float:
    """The resident memory of a server of one process."""
    return float(psutil.Process(server.pid).memory_info().rss) / 1024**2


def test_memory_of_a_worker_in_front_of_mongodb(tmp_path: Path, mongodb_uri: str) -> None:
    with started(tmp_path / "data", "--uri", mongodb_uri) as server:
        server.ok("insertOne", document={"_id": 1})
        assert server.ok("findOne", filter={"_id": 1}) == {"document": {"_id": 1}}
        assert megabytes(server) < IDLE_MEGABYTES["mongodb"]
        assert server.stop() == 0


def test_what_few_servers_need_is_not_imported_by_all() -> None:
    asked = "import doorleaf.cli.main, doorleaf.cli.serve; from doorleaf.settings.load import for_trial, Settings"
    asked += (
        "; doorleaf.app.build(for_trial(Settings(uri='mongodb://127.0.0.1:1/'))); print(*doorleaf.cli.main.sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, timeout=60, check=True)
    imported = set(done.stdout.split())
    assert {"uvicorn", "pydantic", "pymongo", "doorleaf.app", "doorleaf.access.rules.permit"} <= imported
    few = {"apsw", "argon2", "cryptography", "httpx", "jwt", "limits", "pydantic_settings", "regex", "rich", "smtplib"}
    few |= {"tomlkit", "watchfiles", "websockets", "zstandard", "doorleaf.functions", "doorleaf.mql.expressions"}
    few |= {
        "click",
        "html",
        "multiprocessing",
        "wsgiref",
        "http.server",
        "pymongo.synchronous.collection",
        "uvicorn.main",
    }
    few |= {"doorleaf.dialects.datacube", "doorleaf.http.frames", "doorleaf.mql.stages.compile", "doorleaf.openapi"}
    assert imported & few == set()


@pytest.mark.parametrize("signal_first", [False, True])
def test_ending_while_it_starts(tmp_path: Path, signal_first: bool) -> None:
    """A SIGTERM at any moment of the start ends it in order; the next start is as if nothing had been."""
    server = start_doorleaf(tmp_path / "data", wait=False, command=[INSTALLED])
    if not signal_first:
        time.sleep(0.6)
    server.process.terminate()
    assert server.process.wait(30) in (0, -15)
    assert "Traceback" not in server.output()
    with started(tmp_path / "data") as again:
        assert KEY.fullmatch(again.key)
