"""The action ``watch`` over HTTP: server-sent events, resumed by ``Last-Event-ID``, within scopes and rules."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from live import watching
from servers import Doorleaf, doorleaf

CONFIG = """\
providers = ["api-key", "anon-user"]
login_rate = ""

[[rules.default."d.ruled".roles]]
name = "open"
apply_when = {}
document_filters = {read = {public = true}, write = false}
fields = {secret = {}}
additional_fields = {read = true}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doorleaf]:
    folder = tmp_path_factory.mktemp("watch")
    (folder / "settings.toml").write_text(CONFIG)
    with doorleaf(folder / "data", "--config", str(folder / "settings.toml")) as running:
        yield running


def test_changes_of_a_collection(server: Doorleaf) -> None:
    with watching(server, database="d", collection="a") as events:
        server.ok("insertOne", collection="a", document={"_id": 1, "at": {"$date": "2024-01-01T00:00:00Z"}})
        server.ok("insertOne", collection="other", document={"_id": 1})
        server.ok("updateOne", collection="a", filter={"_id": 1}, update={"$set": {"n": 2}})
        inserted, updated = events.change(), events.change()
        assert inserted["fullDocument"] == {"_id": 1, "at": "2024-01-01T00:00:00.000Z"}
        assert events.id == updated["_id"]["_data"]
        assert updated["updateDescription"]["updatedFields"] == {"n": 2}
        server.ok("dropCollection", collection="a")
        assert [events.change()["operationType"] for _ in range(2)] == ["drop", "invalidate"]
        assert events.next() == {}


def test_an_event_source_goes_on_where_it_was(server: Doorleaf) -> None:
    with watching(server, database="d", collection="b") as events:
        server.ok("insertMany", collection="b", documents=[{"_id": n} for n in range(3)])
        assert events.change()["documentKey"] == {"_id": 0}
        last = events.id
    server.ok("insertOne", collection="b", document={"_id": 3})
    with watching(server, last=last, database="d", collection="b") as events:
        assert [events.change()["documentKey"]["_id"] for _ in range(3)] == [1, 2, 3]
        end = events.id
    with watching(server, last=end, database="d", collection="b", startAfter={"_data": last}) as events:
        server.ok("insertOne", collection="b", document={"_id": 4})
        assert events.change()["documentKey"] == {"_id": 4}, "the header says more than the body"


def test_a_stream_that_has_seen_nothing_can_go_on_as_well(server: Doorleaf) -> None:
    with watching(server, database="d", collection="quiet") as events:
        last = events.heartbeat()
        assert last
    server.ok("insertOne", collection="quiet", document={"_id": 1})
    with watching(server, last=last, database="d", collection="quiet") as events:
        assert events.change()["documentKey"] == {"_id": 1}


def test_a_database_and_everything(server: Doorleaf) -> None:
    with watching(server, database="whole") as one, watching(server, accept="application/ejson") as all_of_them:
        server.ok("insertOne", database="whole", collection="x", document={"_id": 1})
        server.ok("insertOne", database="else", collection="y", document={"_id": 2})
        server.ok("insertOne", database="whole", collection="z", document={"_id": 3})
        assert [one.change()["ns"]["coll"] for _ in range(2)] == ["x", "z"]
        found = [all_of_them.change() for _ in range(3)]
        assert [event["ns"]["db"] for event in found] == ["whole", "else", "whole"]
        assert found[0]["documentKey"] == {"_id": {"$numberInt": "1"}}


def test_documents_before_and_filters(server: Doorleaf) -> None:
    options: Any = {"fullDocument": "default", "fullDocumentBeforeChange": "whenAvailable"}
    wanted = {"operationType": {"$ne": "insert"}}
    with watching(server, database="d", collection="images", filter=wanted, **options) as events:
        server.ok("insertOne", collection="images", document={"_id": 1, "n": 1})
        server.ok("updateOne", collection="images", filter={"_id": 1}, update={"$set": {"n": 2}})
        server.ok("deleteOne", collection="images", filter={"_id": 1})
        updated, deleted = events.change(), events.change()
        assert "fullDocument" not in updated
        assert updated["fullDocumentBeforeChange"] == {"_id": 1, "n": 1}
        assert deleted["fullDocumentBeforeChange"] == {"_id": 1, "n": 2}


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"fullDocument": "all"}, "fullDocument: expected one of default"),
        ({"fullDocument": 1}, "fullDocument"),
        ({"fullDocumentBeforeChange": "on"}, "fullDocumentBeforeChange: expected one of off"),
        ({"resumeAfter": {"_data": "00"}, "startAfter": {"_data": "00"}}, "startAfter: a stream begins at one place"),
        ({"resumeAfter": {}}, "resumeAfter: expected a resume token"),
        ({"resumeAfter": {"_data": "zz"}}, "resume token is not one of this database"),
        ({"startAtOperationTime": "now"}, "startAtOperationTime: expected a timestamp"),
        ({"filter": {"$who": 1}}, "$who"),
        ({"filter": {"$where": "1"}}, "$where"),
        ({"database": "doorleaf"}, "not reachable"),
        ({"collection": "a$b"}, "Invalid collection name"),
        ({"last": "nonsense"}, "resume token is not one of this database"),
    ],
)
def test_what_is_refused(server: Doorleaf, fields: dict[str, Any], text: str) -> None:
    body = {"database": "d", "collection": "c"} | fields
    last = {"Last-Event-ID": body.pop("last")} if "last" in body else {}
    answer = server.call("POST", "/data/v1/action/watch", body, {"apiKey": server.key, **last})
    assert answer.status in (400, 403), answer.body
    assert text in answer.json["error"]


def test_a_key_is_held_to_its_scope(server: Doorleaf) -> None:
    scope = {"name": "narrow", "admin": True, "collections": ["d.mine"], "actions": ["watch"]}
    made = server.call("POST", "/api/admin/v1/keys", scope, {"apiKey": server.key})
    assert made.status == 201, made.body
    narrow = {"apiKey": made.json["key"]}
    with watching(server, narrow, database="d", collection="mine") as events:
        server.ok("insertOne", collection="mine", document={"_id": 1})
        assert events.change()["documentKey"] == {"_id": 1}
    for place in ({"database": "d", "collection": "other"}, {"database": "d"}, {}):
        assert server.call("POST", "/data/v1/action/watch", place, narrow).status == 403
    assert server.call("POST", "/data/v1/action/watch", {"database": "d"}, {"apiKey": "x" * 40}).status == 401


def test_rules_hold_for_every_event(server: Doorleaf) -> None:
    login = server.call("POST", "/api/client/v2.0/app/a/auth/providers/anon-user/login", {})
    credentials = {"Authorization": f"Bearer {login.json['access_token']}"}
    ruled = {"database": "d", "collection": "ruled"}
    with watching(server, credentials, **ruled) as events:
        documents = [{"_id": 1, "public": True, "secret": "SESAME"}, {"_id": 2, "public": False}]
        server.ok("insertMany", collection="ruled", documents=documents)
        server.ok("updateOne", collection="ruled", filter={"_id": 1}, update={"$set": {"public": False}})
        server.ok("updateOne", collection="ruled", filter={"_id": 2}, update={"$set": {"public": True}})
        told = [events.change() for _ in range(3)]
        kinds = [(event["operationType"], event["documentKey"]["_id"]) for event in told]
        assert kinds == [("insert", 1), ("delete", 1), ("insert", 2)]
        assert "SESAME" not in json.dumps(told)
        last = events.id
        server.ok("deleteOne", collection="ruled", filter={"_id": 2})
    with watching(server, credentials, last=last, **ruled) as events:
        assert events.change()["operationType"] == "delete"
    for place in ({"database": "d", "collection": "unruled"}, {"database": "d"}, {}):
        assert server.call("POST", "/data/v1/action/watch", place, credentials).status == 403
