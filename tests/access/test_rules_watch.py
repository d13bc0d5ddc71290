"""What callers with rules see of a change stream: their documents, without what is hidden, and nothing to guess by."""

from __future__ import annotations

import asyncio
import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ruled import ADMIN, ME, NS, YOU, App, operation, user

from doorleaf.access.callers import Caller, Identity
from doorleaf.access.guards.checks import Guards
from doorleaf.access.rules.watching import SeenChanges
from doorleaf.documents import Document
from doorleaf.errors import DoorleafError
from doorleaf.operations import Namespace, Watch, WatchDatabase, WatchServer
from doorleaf.operations.results import ChangesResult
from doorleaf.service import DataService
from doorleaf.stores.embedded.store import EmbeddedStore

OWN = {"name": "own", "apply_when": {"owner": "%%user.id"}, "read": True, "write": True}
HIDING = {
    "name": "hiding",
    "apply_when": {},
    "fields": {"secret": {}, "home": {"fields": {"street": {}}, "additional_fields": {"read": True}}},
    "additional_fields": {"read": True},
}
TOWN = {"fields": {"town": {"read": True}}}
MINE = {"_id": 1, "owner": ME, "n": 1}
THEIRS = {"_id": 2, "owner": YOU, "n": 1, "secret": "SESAME"}
FULL = {"_id": 1, "a": 1, "secret": "SESAME", "home": {"street": "SESAME 7", "town": "Bergen"}, "list": [1, 2]}


async def watched(
    app: App, writes: list[Any], identity: Identity, filter: Document | None = None, namespace: Namespace = NS
) -> list[Document]:
    """The events that ``identity`` gets of ``writes``, which an administrator makes."""
    with tempfile.TemporaryDirectory() as folder:
        store = EmbeddedStore(Path(folder), synchronous="OFF")
        await store.open()
        try:
            service = DataService(store, Guards(), None, app.ruleset())
            for name, documents in app.documents.items():
                await service.execute(
                    operation("insertMany", Namespace("app", name), documents=list(documents)), Caller(ADMIN)
                )
            changes = (await service.execute(Watch(namespace=namespace, filter=filter or {}), Caller(identity))).changes
            everything = (await service.execute(Watch(namespace=namespace), Caller(ADMIN))).changes
            for write in writes:
                await service.execute(write, Caller(ADMIN))
            made = await everything.next() or []
            found = await changes.next() or []
            assert len(made) >= len(writes) - 1, "the writes are all changes"
            await changes.close()
            await everything.close()
            return found
        finally:
            await store.close()


def told(event: Document) -> Document:
    kept = {name: value for name, value in event.items() if name not in ("_id", "clusterTime", "wallTime", "ns")}
    description = kept.get("updateDescription")
    if description is not None:
        kept["updateDescription"] = {name: value for name, value in description.items() if value}
    return kept


@dataclass
class Row:
    name: str
    roles: list[Any]
    documents: list[Document]
    writes: list[Any]
    expected: list[Document]
    filter: Document = field(default_factory=dict)
    filters: list[Any] = field(default_factory=list)

    def __str__(self) -> str:
        return self.name


def insert(document: Document) -> Any:
    return operation("insertOne", document=document)


def update(identity: Any, change: Any) -> Any:
    return operation("updateOne", filter={"_id": identity}, update=change)


def replace(identity: Any, document: Document) -> Any:
    return operation("replaceOne", filter={"_id": identity}, replacement=document)


def delete(identity: Any) -> Any:
    return operation("deleteOne", filter={"_id": identity})


def inserted(document: Document) -> Document:
    return {"operationType": "insert", "fullDocument": document, "documentKey": {"_id": document["_id"]}}


def updated(document: Document, **description: Any) -> Document:
    key = {"_id": document["_id"]}
    whole = {"operationType": "update", "fullDocument": document, "documentKey": key}
    return whole | {"updateDescription": description}


SEEN_FULL = {"_id": 1, "a": 1, "home": {"town": "Bergen"}, "list": [1, 2]}

ROWS = [
    Row("documents of others do not come", [OWN], [], [insert(THEIRS), insert(MINE)], [inserted(MINE)]),
    Row(
        "an update of mine",
        [OWN],
        [MINE, THEIRS],
        [update(2, {"$set": {"n": 2}}), update(1, {"$set": {"n": 2}})],
        [updated({**MINE, "n": 2}, updatedFields={"n": 2})],
    ),
    Row(
        "what becomes somebody else's is deleted",
        [OWN],
        [MINE],
        [update(1, {"$set": {"owner": YOU, "n": 9}}), update(1, {"$set": {"n": 10}})],
        [{"operationType": "delete", "documentKey": {"_id": 1}}],
    ),
    Row(
        "what becomes mine is inserted",
        [OWN],
        [THEIRS],
        [update(2, {"$set": {"owner": ME}}), update(2, {"$set": {"n": 2}})],
        [inserted({**THEIRS, "owner": ME}), updated({**THEIRS, "owner": ME, "n": 2}, updatedFields={"n": 2})],
    ),
    Row(
        "a replacement moves in and out as well",
        [OWN],
        [MINE, THEIRS],
        [replace(1, {"owner": YOU}), replace(2, {"owner": ME})],
        [{"operationType": "delete", "documentKey": {"_id": 1}}, inserted({"_id": 2, "owner": ME})],
    ),
    Row(
        "a filter is asked about what a caller sees",
        [OWN],
        [MINE, THEIRS],
        [update(1, {"$set": {"owner": YOU}}), update(2, {"$set": {"owner": ME}})],
        [{"operationType": "delete", "documentKey": {"_id": 1}}],
        filter={"operationType": {"$in": ["delete", "update"]}},
    ),
    Row(
        "replacements",
        [OWN],
        [MINE, THEIRS],
        [replace(1, {"owner": ME, "x": 1}), replace(2, {"owner": YOU, "x": 1})],
        [{"operationType": "replace", "fullDocument": {"_id": 1, "owner": ME, "x": 1}, "documentKey": {"_id": 1}}],
    ),
    Row(
        "deletions of mine",
        [OWN],
        [MINE, THEIRS],
        [delete(2), delete(1)],
        [{"operationType": "delete", "documentKey": {"_id": 1}}],
    ),
    Row("hidden fields are not there", [HIDING], [], [insert(FULL)], [inserted(SEEN_FULL)]),
    Row(
        "hidden fields of an update are not there",
        [HIDING],
        [FULL],
        [update(1, {"$set": {"secret": "SESAME 2", "a": 2, "home.street": "SESAME 8", "home.town": "Oslo"}})],
        [
            updated(
                {**SEEN_FULL, "a": 2, "home": {"town": "Oslo"}},
                updatedFields={"a": 2, "home.town": "Oslo"},
            )
        ],
    ),
    Row(
        "of a whole value only what may be read",
        [HIDING],
        [{"_id": 1, "a": 1}],
        [update(1, {"$set": {"home": {"street": "SESAME 7", "town": "Bergen"}}})],
        [
            updated(
                {"_id": 1, "a": 1, "home": {"town": "Bergen"}},
                updatedFields={"home": {"town": "Bergen"}},
            )
        ],
    ),
    Row("an update of hidden fields is none", [HIDING], [FULL], [update(1, {"$set": {"secret": "SESAME 2"}})], []),
    Row("nor is one that takes them out", [HIDING], [FULL], [update(1, {"$unset": {"secret": 1}})], []),
    Row("nor is one of a hidden nested field", [HIDING], [FULL], [update(1, {"$unset": {"home.street": 1}})], []),
    Row(
        "fields that go",
        [HIDING],
        [FULL],
        [update(1, {"$unset": {"secret": 1, "a": 1}, "$pop": {"list": 1}})],
        [
            updated(
                {"_id": 1, "home": {"town": "Bergen"}, "list": [1]},
                removedFields=["a"],
                truncatedArrays=[{"field": "list", "newSize": 1}],
            )
        ],
    ),
    Row(
        "a field that may be read in part is gone",
        [HIDING],
        [FULL],
        [update(1, {"$unset": {"home": 1}})],
        [updated({"_id": 1, "a": 1, "list": [1, 2]}, removedFields=["home"])],
    ),
    Row(
        "what may be seen of a field is gone, and of another nothing was",
        [{"name": "town", "apply_when": {}, "fields": {"_id": {"read": True}, "home": TOWN}}],
        [{"_id": 1, "home": {"street": "SESAME 7"}}, {"_id": 2, "home": "SESAME"}],
        [update(2, {"$unset": {"home": 1}}), update(1, {"$set": {"home": "SESAME"}})],
        [updated({"_id": 1}, removedFields=["home"])],
    ),
    Row(
        "an array that may be read in part is shorter",
        [{"name": "homes", "apply_when": {}, "fields": {"_id": {"read": True}, "homes": TOWN}}],
        [{"_id": 1, "homes": ["SESAME", {"town": "Bergen", "street": "SESAME 7"}, {"town": "Oslo"}, "SESAME"]}],
        [update(1, {"$pop": {"homes": 1}}), update(1, {"$pop": {"homes": 1}})],
        [updated({"_id": 1, "homes": [{"town": "Bergen"}]}, truncatedArrays=[{"field": "homes", "newSize": 1}])],
    ),
    Row(
        "a deletion where all may be seen",
        [HIDING],
        [FULL],
        [delete(1)],
        [{"operationType": "delete", "documentKey": {"_id": 1}}],
    ),
    Row(
        "a hidden _id",
        [{"name": "no id", "apply_when": {}, "fields": {"_id": {}}, "additional_fields": {"read": True}}],
        [],
        [insert({"_id": "SESAME", "a": 1}), delete("SESAME")],
        [{"operationType": "insert", "fullDocument": {"a": 1}}, {"operationType": "delete"}],
    ),
    Row(
        "a filter over what may be seen",
        [HIDING],
        [],
        [insert(FULL), insert({**FULL, "_id": 2, "a": 2})],
        [inserted({**SEEN_FULL, "_id": 2, "a": 2})],
        {"fullDocument.a": 2},
    ),
    Row("a filter cannot ask for what is hidden", [HIDING], [], [insert(FULL)], [], {"fullDocument.secret": "SESAME"}),
    Row(
        "nor for its absence",
        [HIDING],
        [],
        [insert(FULL)],
        [inserted(SEEN_FULL)],
        {"fullDocument.secret": {"$exists": False}},
    ),
    Row(
        "a filter of kinds",
        [OWN],
        [MINE],
        [update(1, {"$set": {"n": 5}}), delete(1)],
        [{"operationType": "delete", "documentKey": {"_id": 1}}],
        {"operationType": "delete"},
    ),
    Row(
        "fields by document",
        [
            {
                "name": "mixed",
                "apply_when": {},
                "fields": {"secret": {"read": {"owner": "%%user.id"}}},
                "additional_fields": {"read": True},
            }
        ],
        [],
        [insert({**MINE, "secret": "mine"}), insert(THEIRS)],
        [inserted({**MINE, "secret": "mine"}), inserted({"_id": 2, "owner": YOU, "n": 1})],
    ),
    Row(
        "roles by document",
        [OWN, {"name": "others", "apply_when": {}, "fields": {"n": {"read": True}, "_id": {"read": True}}}],
        [],
        [insert(MINE), insert(THEIRS)],
        [inserted(MINE), inserted({"_id": 2, "n": 1})],
    ),
    Row(
        "the filters of rules",
        [{"name": "all", "apply_when": {}, "read": True}],
        [],
        [insert(MINE), insert(THEIRS)],
        [inserted({"_id": 1, "n": 1})],
        filters=[
            {"name": "mine", "apply_when": {}, "query": {"owner": "%%user.id"}, "projection": {"owner": 0}},
        ],
    ),
    Row("nothing may be read", [{"name": "none", "apply_when": {}, "read": False}], [], [insert(MINE)], []),
    Row(
        "insert only",
        [{"name": "in", "apply_when": {}, "insert": True, "write": {"%%prevRoot": {"%exists": False}}, "read": False}],
        [MINE],
        [update(1, {"$set": {"n": 3}})],
        [],
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_events(row: Row) -> None:
    app = App({"things": {"roles": row.roles, "filters": row.filters}}, {"things": row.documents or [{"_id": "x"}]})
    found = asyncio.run(watched(app, row.writes, user(), row.filter))
    assert [told(event) for event in found] == row.expected
    if "SESAME" not in json.dumps(row.expected):
        assert "SESAME" not in repr(found)
    hidden_id = any("_id" in role.get("fields", {}) and not role["fields"]["_id"] for role in row.roles)
    assert all(("_id" in event) is not hidden_id for event in found)
    assert all(event["ns"] == {"db": "app", "coll": "things"} for event in found)
    assert all("fullDocumentBeforeChange" not in event for event in found)


def test_a_rule_that_allows_all_changes_nothing() -> None:
    app = App({"things": {"roles": [{"name": "all", "apply_when": {}, "read": True}]}}, {"things": [MINE]})
    writes = [insert(THEIRS), update(1, {"$set": {"n": 3}}), delete(2)]
    mine = asyncio.run(watched(app, writes, user()))
    all_of_it = asyncio.run(watched(app, writes, ADMIN))
    assert [told(event) for event in mine] == [told(event) for event in all_of_it]
    hiding = App({"things": {"roles": [HIDING]}}, {"things": [MINE]})
    shown = asyncio.run(watched(hiding, writes, user()))
    assert [list(event) for event in shown] == [list(event) for event in all_of_it]


def test_a_dropped_collection_ends_the_stream() -> None:
    app = App({"things": {"roles": [OWN]}}, {"things": [THEIRS]})
    found = asyncio.run(watched(app, [operation("dropCollection")], user()))
    assert [event["operationType"] for event in found] == ["drop", "invalidate"]


@pytest.mark.parametrize(
    ("filter", "namespace", "text"),
    [
        ({"$who": 1}, NS, "$who"),
        ({"$where": "1"}, NS, "$where"),
        ({"fullDocument.a": {"$regex": "("}}, NS, "regular expression"),
        ({}, Namespace("app", "elsewhere"), "no rule exists for namespace 'app.elsewhere'"),
        ({}, Namespace("doorleaf", "keys"), "not reachable"),
        ({}, Namespace("Doorleaf", "keys"), "not reachable"),
    ],
)
def test_what_is_refused(filter: Document, namespace: Namespace, text: str) -> None:
    app = App({"things": {"roles": [OWN]}}, {"things": [MINE]})
    with pytest.raises(DoorleafError) as raised:
        asyncio.run(watched(app, [], user(), filter, namespace))
    assert raised.value.status in (400, 403)
    assert text.lower() in raised.value.message.lower()


class Told:
    """A change stream of events that are given, as another database may make them."""

    def __init__(self, *events: Document) -> None:
        self._events = list(events)
        self.token: Document | None = None

    async def next(self) -> list[Document]:
        events, self._events = self._events, []
        return events

    async def close(self) -> None:
        pass


def seen(role: Any, *events: Document) -> list[Document]:
    """What ``user()`` sees of the events, which are of the collection ``things``."""
    view = App({"things": {"roles": [role]}}).ruleset().view(NS, Caller(user()))
    result = ChangesResult(SeenChanges(Told(*events), view, Watch(namespace=NS)))
    return asyncio.run(result.changes.next()) or []


EVENT = {
    "_id": {"_data": "82"},
    "operationType": "update",
    "lsid": {"id": "SESAME"},
    "txnNumber": 7,
    "fullDocument": {"_id": 1, "owner": ME, "n": 9, "tags": ["new"]},
    "ns": {"db": "app", "coll": "things"},
    "documentKey": {"_id": 1, "shard": "SESAME"},
}


def test_values_from_the_time_of_another_owner_are_not_told() -> None:
    """A document is looked up when the event is read, and by then it may have come to somebody else."""
    old = {"updatedFields": {"n": 5, "owner": ME, "note": "SESAME", "tags.0": "SESAME"}, "removedFields": ["gone", "n"]}
    (event,) = seen(OWN, {**EVENT, "updateDescription": old})
    assert event["updateDescription"] == {
        "updatedFields": {"owner": ME},
        "removedFields": ["gone"],
        "truncatedArrays": [],
    }
    assert "SESAME" not in repr(event)
    assert event["beforeUnknown"] is True
    fields = {"_id", "operationType", "fullDocument", "ns", "documentKey", "updateDescription"}
    assert set(event) - {"beforeUnknown"} == fields


def test_a_document_that_is_gone_already_is_not_told() -> None:
    assert seen(OWN, {**EVENT, "fullDocument": None, "updateDescription": {"updatedFields": {"n": 1}}}) == []


def test_a_deletion_of_what_nobody_can_judge_is_not_told() -> None:
    deletion = {name: EVENT[name] for name in ("_id", "ns", "documentKey")} | {"operationType": "delete"}
    assert seen(OWN, deletion) == []
    (event,) = seen(
        {"name": "all", "apply_when": {}, "fields": {"x": {}}, "additional_fields": {"read": True}}, deletion
    )
    assert event["documentKey"] == {"_id": 1}


def test_events_that_name_other_collections_are_not_told() -> None:
    rename = {**EVENT, "operationType": "rename", "to": {"db": "app", "coll": "SESAME"}}
    assert seen(OWN, rename, {**EVENT, "operationType": "shardCollection"}) == []


def test_what_comes_with_an_event_is_what_was_asked_for() -> None:
    before = {"_id": 1, "owner": ME, "n": 8, "secret": "SESAME"}
    event = {**EVENT, "updateDescription": {"updatedFields": {"n": 9}}, "fullDocumentBeforeChange": before}
    role = {**OWN, "fields": {"secret": {}}, "additional_fields": {"read": True}}
    del role["read"], role["write"]
    view = App({"things": {"roles": [role]}}).ruleset().view(NS, Caller(user()))

    def asked(**options: str) -> Document:
        stream = SeenChanges(Told(event), view, Watch(namespace=NS, **options))  # type: ignore[arg-type]
        (found,) = asyncio.run(stream.next()) or []
        assert "SESAME" not in repr(found)
        assert stream.token == event["_id"]
        return found

    assert {"fullDocument", "fullDocumentBeforeChange"} & set(asked(full_document="default")) == set()
    assert asked(full_document_before_change="required")["fullDocumentBeforeChange"] == {"_id": 1, "owner": ME, "n": 8}
    assert "beforeUnknown" not in asked()


def test_a_whole_database_is_not_for_callers_with_rules() -> None:
    for asked in (
        WatchDatabase(namespace=Namespace("app")),
        WatchServer(namespace=Namespace("admin")),
        Watch(namespace=NS, full_document="whenAvailable"),
    ):
        with pytest.raises(DoorleafError) as raised:
            App({"things": {"roles": [OWN]}}).ruleset().permit(asked, Caller(user()))
        assert raised.value.status in (400, 403)


def test_a_regular_expression_that_explodes_ends_the_stream() -> None:
    role = {"name": "r", "apply_when": {}, "read": {"text": {"$regex": "^(a|aa)+$"}}}
    document = {"_id": 1, "text": "a" * 60 + "b"}
    try:
        found = seen(role, {**EVENT, "operationType": "insert", "fullDocument": document})
    except DoorleafError as error:
        assert error.status in (400, 403, 504)  # noqa: PT017 - either way nothing of the document is told
    else:
        assert found == []
