"""A MongoDB that is not there: Doorleaf starts, says so, answers quickly, hides where it is, and finds it later."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from servers import Answer, Doorleaf, MongoServer, free_port, start_doorleaf

SELECTION_MS = 400
QUICKLY = 8.0
"""Seconds: the selection of a server, on a busy machine, and far below the 30 seconds an operation may take."""

CONFIG = """
[data_sources.main]
uri = "mongodb://127.0.0.1:{port}/?directConnection=true&retryWrites=false&serverSelectionTimeoutMS={wait}"
default = true
[data_sources.far]
uri = "mongodb://operator:geheim%40wort@localhost:{nowhere}/shop?serverSelectionTimeoutMS={wait}&authSource=admin"
"""
KEY = re.compile(r"dl_[A-Za-z0-9]{64}")


def until(condition: Callable[[], bool], seconds: float = 40.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.1)
    return condition()


def is_unavailable(answer: Answer, *, hidden: tuple[str, ...]) -> None:
    assert answer.status == 503
    assert answer.headers["content-type"] == "application/json"
    assert answer.json == {"error": "the database cannot be reached", "error_code": "StoreUnavailable"}
    for secret in (*hidden, "127.0.0.1", "localhost", "geheim", "operator", "mongodb"):
        assert secret not in str(answer.headers) + answer.body.decode()


def ready(server: Doorleaf) -> bool:
    return server.call("GET", "/readyz").status == 200


def test_it_is_away_comes_goes_and_comes_back(tmp_path: Path) -> None:
    port, nowhere = free_port(), free_port()
    (tmp_path / "doorleaf.toml").write_text(CONFIG.format(port=port, nowhere=nowhere, wait=SELECTION_MS))
    started = time.monotonic()
    server = start_doorleaf(tmp_path / "data", key=None)
    mongodb = MongoServer(tmp_path / "mongodb", port=port)
    hidden = (str(port), str(nowhere))
    try:
        assert time.monotonic() - started < 30
        assert server.call("GET", "/livez").json == {"status": "alive"}
        is_unavailable(server.call("GET", "/readyz"), hidden=hidden)
        assert not KEY.search(server.output()), "there is nowhere yet to keep one"
        server.key = "dl_" + "x" * 64
        asked: list[tuple[str, dict[str, Any]]]
        asked = [("findOne", {}), ("insertOne", {"document": {}}), ("listDatabases", {})]
        for action, fields in asked:
            begun = time.monotonic()
            is_unavailable(server.act(action, **fields), hidden=hidden)
            assert time.monotonic() - begun < QUICKLY
        is_unavailable(server.call("POST", "/auth/providers/api-key/login", {"key": server.key}), hidden=hidden)
        assert server.call("GET", "/openapi.json").status == server.call("GET", "/docs").status == 200
        assert server.act("nothing").status == 404

        mongodb.start()
        assert until(lambda: ready(server) and bool(KEY.search(server.output())))
        found = KEY.search(server.output())
        assert found
        server.key = found[0]
        assert until(lambda: server.act("insertOne", document={"_id": 1}).status == 201)
        begun = time.monotonic()
        is_unavailable(server.act("findOne", dataSource="far"), hidden=hidden)
        is_unavailable(server.act("insertOne", dataSource="far", document={}), hidden=hidden)
        assert time.monotonic() - begun < 2 * QUICKLY
        assert server.act("findOne", dataSource="other").status == 400
        assert server.act("findOne").json == {"document": {"_id": 1}}

        mongodb.kill()
        asked = [("findOne", {}), ("insertOne", {"document": {"_id": 2}}), ("aggregate", {"pipeline": []})]
        for action, fields in asked:
            begun = time.monotonic()
            is_unavailable(server.act(action, **fields), hidden=hidden)
            assert time.monotonic() - begun < QUICKLY
        assert not ready(server)
        assert server.call("GET", "/livez").status == 200
        mongodb.start()
        assert until(lambda: ready(server))
        assert until(lambda: server.act("insertOne", document={"_id": 3}).status == 201)
        assert server.act("findOne", filter={"_id": 3}).json == {"document": {"_id": 3}}
    finally:
        code = server.stop()
        mongodb.stop()
    assert code == 0
    output = server.output()
    assert "the system database cannot be reached" in output
    for secret in ("geheim", "Traceback", "ServerDescription", "Topology"):
        assert secret not in output
    banner, _, log = output.partition("listens on")
    assert "far: mongodb://operator:***@" in log.splitlines()[0], "the operator is told once, without the password"
    assert str(port) not in banner + "\n".join(log.splitlines()[1:])


def test_ending_while_it_is_away(tmp_path: Path) -> None:
    uri = f"mongodb://127.0.0.1:{free_port()}/?serverSelectionTimeoutMS=2000"
    server = start_doorleaf(tmp_path / "data", "--uri", uri)
    begun = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - begun < 15
    assert "Traceback" not in server.output()
