"""What callers write is compiled and evaluated off the event loop, with an end, also when rules look at it."""

from __future__ import annotations

import json
import threading
import time
import urllib.parse
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from servers import Doorleaf, doorleaf

APP = "/api/client/v2.0/app/shop-abcde"
CONFIG = """\
providers = ["api-key", "anon-user"]
login_rate = ""

[[rules.default."d.c".roles]]
name = "everybody"
apply_when = {}
insert = true
delete = true
fields = {secret = {}}
additional_fields = {read = true, write = true}
"""
FOR_EVER = {"$regexMatch": {"input": "a" * 60 + "!", "regex": "(a|aa)+$"}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doorleaf]:
    folder = tmp_path_factory.mktemp("loop")
    (folder / "settings.toml").write_text(CONFIG)
    with doorleaf(folder / "data", "--config", str(folder / "settings.toml")) as running:
        running.ok("insertMany", documents=[{"_id": n, "text": "a" * 60 + "!", "secret": n} for n in range(20)])
        yield running
        assert "Traceback" not in running.output()
        assert " 500 " not in running.output()


@pytest.fixture(scope="module")
def anonymous(server: Doorleaf) -> dict[str, str]:
    answer = server.call("POST", f"{APP}/auth/providers/anon-user/login", {})
    return {"Authorization": f"Bearer {answer.json['access_token']}"}


@contextmanager
def answering(server: Doorleaf) -> Iterator[None]:
    """Somebody else is answered all the while."""
    over = threading.Event()
    waited: list[float] = []

    def ask() -> None:
        while not over.is_set():
            began = time.monotonic()
            assert server.act("findOne", filter={"_id": 3}).status == 200
            waited.append(time.monotonic() - began)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield
    finally:
        over.set()
        asking.join()
    assert waited
    assert max(waited) < 1.0, max(waited)


HOSTILE: dict[str, tuple[str, dict[str, Any]]] = {
    "a constant in a projection": ("find", {"filter": {}, "projection": {"x": FOR_EVER}}),
    "a projection": (
        "find",
        {"filter": {}, "projection": {"x": {"$regexMatch": {"input": "$text", "regex": "(a|aa)+$"}}}},
    ),
    "let of a find": ("find", {"filter": {}, "projection": {"x": "$$y"}, "let": {"y": FOR_EVER}}),
    "a projection after a write": (
        "findOneAndUpdate",
        {"filter": {"_id": 1}, "update": {"$set": {"n": 1}}, "projection": {"x": FOR_EVER}},
    ),
    "what failed": (
        "updateOne",
        {
            "filter": {"_id": 2, "$expr": {"$eq": ["$text", {"$cond": [FOR_EVER, 1, 2]}]}},
            "update": {"$inc": {"text": 1}},
        },
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_request_that_would_take_for_ever(server: Doorleaf, anonymous: dict[str, str], name: str) -> None:
    action, fields = HOSTILE[name]
    body = {"database": "d", "collection": "c", "maxTimeMS": 1500, **fields}
    with answering(server):
        began = time.monotonic()
        answer = server.call("POST", f"/data/v1/action/{action}", body, anonymous)
        took = time.monotonic() - began
    assert answer.status in (400, 403, 504), answer.body
    assert took < 6


def test_filters_of_change_streams(server: Doorleaf, anonymous: dict[str, str]) -> None:
    """Compiled when a stream begins, and asked for every event."""
    call = {"name": "watch", "service": "mongodb-atlas", "arguments": [{"database": "d", "collection": "c"}]}

    def path(filter: dict[str, Any]) -> str:
        call["arguments"][0]["filter"] = filter  # type: ignore[index]
        query = urllib.parse.urlencode({"baas_request": b64encode(json.dumps(call).encode()).decode()})
        return f"{APP}/functions/call?{query}"

    with answering(server):
        answer = server.call("GET", path({"$expr": FOR_EVER}), headers=anonymous)
        assert answer.status == 504, answer.body
    streams = []
    with answering(server):
        for _ in range(5):
            connection = server.connection()
            connection.request("GET", path({"fullDocument.text": {"$regex": "(a|aa)+$"}}), headers=anonymous)
            response = connection.getresponse()
            assert response.status == 200
            streams.append((connection, response))
        server.ok("insertOne", document={"text": "a" * 60 + "!"})
        for connection, response in streams:
            assert b"event: error" in response.read()
            connection.close()


def test_many_documents_under_rules(server: Doorleaf, anonymous: dict[str, str]) -> None:
    documents = [{"n": n, "secret": n} for n in range(30_000)]
    with answering(server):
        refused = server.call(
            "POST", "/action/insertMany", {"database": "d", "collection": "c", "documents": documents}, anonymous
        )
        assert refused.status == 403, "nobody writes what is hidden"
        for document in documents:
            del document["secret"]
        body = {"database": "d", "collection": "c", "documents": documents}
        assert server.call("POST", "/action/insertMany", body, anonymous).status == 201
        found = server.call(
            "POST", "/action/find", {"database": "d", "collection": "c", "filter": {}, "limit": 30_000}, anonymous
        )
        assert len(found.json["documents"]) == 30_000
        assert b"secret" not in found.body
