"""What callers write is compiled and evaluated off the event loop, with an end, also when rules look at it."""

from __future__ import annotations

import json
import threading
import time
import urllib.parse
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from servers import Doorleaf, doorleaf

APP = "/api/client/v2.0/app/shop-abcde"
CONFIG = """\
providers = ["api-key", "anon-user", "local-userpass"]
login_rate = ""
datacube = true
auto_confirm = true
default_max_time_ms = 3000

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
def doing(work: Callable[[], None], most: float = 3.0) -> Iterator[None]:
    """Somebody else does ``work`` all the while, which takes less than ``most`` seconds."""
    over = threading.Event()
    took: list[float] = []

    def again() -> None:
        while not over.is_set():
            began = time.monotonic()
            work()
            took.append(time.monotonic() - began)

    working = threading.Thread(target=again)
    working.start()
    try:
        yield
    finally:
        over.set()
        working.join()
    assert took
    assert sum(one >= most for one in took) <= 1 + len(took) // 8, took  # a machine may be held up


@contextmanager
def answering(server: Doorleaf) -> Iterator[None]:
    """Somebody else is answered all the while."""

    def ask() -> None:
        assert server.act("findOne", filter={"_id": 3}).status == 200

    with doing(ask, 1.0):
        yield


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
    place: dict[str, Any] = {"database": "d", "collection": "c", "maxTimeMS": 60_000}
    with answering(server):
        refused = server.call("POST", "/action/insertMany", {**place, "documents": documents}, anonymous)
        assert refused.status == 403, "nobody writes what is hidden"
        for document in documents:
            del document["secret"]
        body = {**place, "documents": documents}
        assert server.call("POST", "/action/insertMany", body, anonymous).status == 201
        found = server.call("POST", "/action/find", {**place, "filter": {}, "limit": 30_000}, anonymous)
        assert len(found.json["documents"]) == 30_000
        assert b"secret" not in found.body


# --- the other dialects ----------------------------------------------------------------------------------------------

PASSWORD = "a-strong-and-secure-password"
EVIL = {"text": {"$regex": "(a|aa)+$"}}
HERE = "/collections/things"


class Dialects:
    """Places of the other dialects, with documents that take for ever to be looked at."""

    def __init__(self, server: Doorleaf) -> None:
        self.server = server
        things = [{"text": "a" * 60 + "!"} for _ in range(5)]
        self.admin("/tenants", {"name": "t", "id": "t"})
        self.admin("/workspaces", {"tenant": "t", "id": "one"})
        self.admin("/workspaces", {"tenant": "t", "id": "few", "quotas": {"documents": 1000}})
        self.tokens = {name: self.admin(f"/workspaces/{name}/token", {})["token"] for name in ("one", "few")}
        for name, token in self.tokens.items():
            writes = [{"insertOne": {"document": thing}} for thing in things]
            self.post(f"/v1/mongo/{name}{HERE}/bulk", {"operations": writes}, token)
        server.ok("insertMany", collection="things", documents=things)
        made = self.admin("/connectome", {"database": "d", "collection": "things"})
        self.read, self.written = (
            f"{made[f'{kind}_credential']}/{made['collection_id']}" for kind in ("read", "write")
        )
        person = {"email": "ada@example.com", "password": PASSWORD}
        self.post("/core/register", {**person, "firstName": "Ada", "lastName": "L"})
        self.cube = self.post("/core/login", person)["access"]
        database = self.post("/api/create_database", {"db_name": "x", "collections": [{"name": "things"}]}, self.cube)
        self.where = {"database_id": database["database"]["id"], "collection_name": "things"}
        self.post("/api/crud", {**self.where, "data": things}, self.cube)

    def admin(self, path: str, body: dict[str, Any]) -> Any:
        return self.answer("POST", f"/api/admin/v1{path}", body, {"apiKey": self.server.key})

    def post(self, path: str, body: dict[str, Any], token: str = "") -> Any:
        return self.answer("POST", path, body, {"Authorization": f"Bearer {token}"} if token else {})

    def answer(self, method: str, path: str, body: Any, headers: dict[str, str]) -> Any:
        answer = self.server.call(method, path, body, headers)
        assert answer.status in (200, 201), answer.body
        return answer.json

    def hostile(self, door: str) -> tuple[str, str, Any, str]:
        """Method, path, body and token of a request that would take for ever."""
        one, few = self.tokens["one"], self.tokens["few"]
        asked = urllib.parse.urlencode({**self.where, "filters": json.dumps(EVIL)})
        change = {"operations": [{"updateMany": {"filter": EVIL, "update": {"$set": {"n": 1}}}}]}
        return {
            "query": ("GET", f"/v1/mongo/one{HERE}/documents?filter.text[regex]=(a%7Caa)%2B$", None, one),
            "pipeline": ("POST", f"/v1/mongo/one{HERE}/aggregate", {"pipeline": [{"$match": EVIL}]}, one),
            "bulk": ("POST", f"/v1/mongo/one{HERE}/bulk", change, one),
            "bulk with quotas": ("POST", f"/v1/mongo/few{HERE}/bulk", change, few),
            "cube": ("GET", f"/api/v2/crud?{asked}", None, self.cube),
            "cube delete": ("DELETE", "/api/crud", {**self.where, "filters": EVIL}, self.cube),
            "connectome": ("POST", f"/collection/readwithquery/{self.read}", {"query": EVIL}, ""),
            "connectome delete": ("DELETE", f"/collection/batchdelete/{self.written}", EVIL, ""),
        }[door]


@pytest.fixture(scope="module")
def dialects(server: Doorleaf) -> Dialects:
    return Dialects(server)


DOORS = ("query", "pipeline", "bulk", "bulk with quotas", "cube", "cube delete", "connectome", "connectome delete")


def test_evil_patterns_close_no_door_of_a_dialect(server: Doorleaf, dialects: Dialects) -> None:
    """Four requests of each caller at once, through every door, and others who read and write."""
    answered: list[tuple[str, int, float]] = []

    def send(door: str) -> None:
        method, path, body, token = dialects.hostile(door)
        began = time.monotonic()
        answer = server.call(method, path, body, {"Authorization": f"Bearer {token}"} if token else {})
        answered.append((door, answer.status, time.monotonic() - began))

    def working() -> None:
        assert server.act("insertOne", collection="others", document={}).status == 201

    sending = [threading.Thread(target=send, args=(door,)) for door in DOORS for _ in range(4)]
    with answering(server), doing(working):
        for thread in sending:
            thread.start()
        for thread in sending:
            thread.join()
    assert len(answered) == 4 * len(DOORS)
    for door, status, took in answered:
        assert status == 504 or (door == "bulk with quotas" and status == 503), (door, status)
        assert took < 15, (door, took)
