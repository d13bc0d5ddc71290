"""Collections, indexes, databases and commands, on every engine alike."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from scenarios import NS, Engine, Scenario, check, unique_database

from doorleaf.documents import Document
from doorleaf.errors import DataError, DuplicateKey, InvalidParameter
from doorleaf.operations import (
    Aggregate,
    CreateCollection,
    CreateIndex,
    DropCollection,
    DropIndex,
    Find,
    FindOne,
    InsertMany,
    InsertOne,
    ListCollections,
    ListDatabases,
    ListIndexes,
    Namespace,
    RenameCollection,
    RunCommand,
)
from doorleaf.operations.results import CollectionsResult, CreateIndexResult, DropIndexResult, IndexesResult, OkResult
from doorleaf.stores.base import Store

THREE = [{"_id": 1, "k": 1, "s": "a"}, {"_id": 2, "k": 2, "s": "b"}, {"_id": 3, "k": 2, "s": "c"}]
ON_K: list[tuple[Document, Document]] = [({"k": 1}, {})]
NOWHERE = Namespace("db", "nowhere")
ID_INDEX = {"v": 2, "key": {"_id": 1}, "name": "_id_"}


def create(keys: dict[str, object], **options: object) -> CreateIndex:
    return CreateIndex(namespace=NS, keys=keys, options=options)


def names(*wanted: str) -> Any:
    return lambda result: [index["name"] for index in result.indexes] == list(wanted)


INDEXES = [
    Scenario("on a new collection", create({"k": 1}), result=CreateIndexResult(True, 1, 2)),
    Scenario("on a collection", create({"k": 1}), THREE, result=CreateIndexResult(False, 1, 2)),
    Scenario("that is there", create({"k": 1}), THREE, indexes=ON_K, result=CreateIndexResult(False, 2, 2)),
    Scenario("compound, named", create({"k": 1, "s": -1}, name="mine"), THREE, result=CreateIndexResult(False, 1, 2)),
    Scenario(
        "sparse and partial",
        create({"k": 1}, partialFilterExpression={"s": {"$gt": "a"}}),
        THREE,
        result=CreateIndexResult(False, 1, 2),
    ),
    Scenario("unique over duplicates", create({"k": 1}, unique=True), THREE, error=DuplicateKey, number=11000),
    Scenario(
        "same keys, other name",
        create({"k": 1}, name="other"),
        THREE,
        indexes=ON_K,
        error=DataError,
        number=85,
    ),
    Scenario("same name, other keys", create({"s": 1}, name="k_1"), THREE, indexes=ON_K, error=DataError, number=86),
    Scenario("no keys", create({}), THREE, error=DataError),
    Scenario(
        "direction 0",
        create({"k": 0}),
        THREE,
        error=DataError,
        number=67,
        excused={"secantus": "takes 0 as a direction"},
    ),
    Scenario("unknown type", create({"k": "nope"}), THREE, error=DataError, number=67),
    Scenario(
        "unknown option",
        create({"k": 1}, nope=True),
        THREE,
        error=DataError,
        number=197,
        excused={"secantus": "answers another code"},
    ),
    Scenario("dropped", DropIndex(namespace=NS, index="k_1"), THREE, indexes=ON_K, result=DropIndexResult(2)),
    Scenario("not there", DropIndex(namespace=NS, index="x_1"), THREE, error=DataError, number=27),
    Scenario("no collection", DropIndex(namespace=NOWHERE, index="x_1"), error=DataError, number=26),
    Scenario("on _id", DropIndex(namespace=NS, index="_id_"), THREE, error=DataError, number=72),
    Scenario(
        "all of them", DropIndex(namespace=NS, index="*"), THREE, indexes=ON_K, error=InvalidParameter, says=["*"]
    ),
    Scenario("on _id only", ListIndexes(namespace=NS), THREE, result=IndexesResult([ID_INDEX])),
    Scenario(
        "with options",
        ListIndexes(namespace=NS),
        THREE,
        indexes=[({"s": 1}, {"unique": True, "name": "u"})],
        result=IndexesResult([ID_INDEX, {"v": 2, "key": {"s": 1}, "name": "u", "unique": True}]),
    ),
    Scenario(
        "generated names",
        ListIndexes(namespace=NS),
        THREE,
        indexes=[({"k": 1, "s": -1}, {}), ({"s": 1.0}, {})],
        check=names("_id_", "k_1_s_-1", "s_1"),
    ),
    Scenario("no collection", ListIndexes(namespace=NOWHERE), result=IndexesResult([])),
]

TAKEN: dict[str, list[Document]] = {"taken": [{"_id": 9}]}


def rename(to: str, *, drop_target: bool = False) -> RenameCollection:
    return RenameCollection(namespace=NS, to=to, drop_target=drop_target)


COLLECTIONS = [
    Scenario(
        "one",
        ListCollections(namespace=NS),
        THREE,
        result=CollectionsResult([{"name": "things", "type": "collection"}]),
    ),
    Scenario("none", ListCollections(namespace=NS), result=CollectionsResult([])),
    Scenario("new", CreateCollection(namespace=NS), result=OkResult(), after=[]),
    Scenario("there already", CreateCollection(namespace=NS), THREE, error=DataError, number=48, after=THREE),
    Scenario("there already, empty", CreateCollection(namespace=NS), options={}, error=DataError, number=48),
    Scenario(
        "with a validator", CreateCollection(namespace=NS, options={"validator": {"a": {"$gt": 1}}}), result=OkResult()
    ),
    Scenario("unknown option", CreateCollection(namespace=NS, options={"nope": 1}), error=DataError),
    Scenario("bad name", CreateCollection(namespace=Namespace("db", "a$b")), error=DataError, number=73),
    Scenario("dropped", DropCollection(namespace=NS), THREE, result=OkResult(), after=[]),
    Scenario(
        "to a name that is free",
        rename("others"),
        THREE,
        indexes=ON_K,
        result=OkResult(),
        after=[],
    ),
    Scenario("to a name that is taken", rename("taken"), THREE, others=TAKEN, error=DataError, number=48, after=THREE),
    Scenario("in the place of another", rename("taken", drop_target=True), THREE, others=TAKEN, result=OkResult()),
    Scenario(
        "to its own name",
        rename("things"),
        THREE,
        error=DataError,
        number=20,
        after=THREE,
        excused={"secantus": "says yes to it"},
    ),
    Scenario("of what is not there", rename("others"), error=DataError, number=26),
    Scenario(
        "to a bad name",
        rename("a$b"),
        THREE,
        error=DataError,
        number=73,
        after=THREE,
        excused={"secantus": "takes any name"},
    ),
    Scenario("drop of what is not there", DropCollection(namespace=NOWHERE), result=OkResult()),
]


def ok(**more: object) -> Any:
    def holds(result: Any) -> bool:
        reply = result.result
        assert type(reply["ok"]) is int
        assert reply["ok"] == 1
        assert not {"$clusterTime", "operationTime", "signature"} & set(reply)
        return all(reply[name] == value for name, value in more.items())

    return holds


def command(**document: object) -> RunCommand:
    return RunCommand(namespace=NS, command=document)


COMMANDS = [
    Scenario("ping", command(ping=1), check=ok()),
    Scenario(
        "hello", command(hello=1), check=lambda r: ok(isWritablePrimary=True)(r) and r.result["maxWireVersion"] >= 13
    ),
    Scenario("buildInfo", command(buildInfo=1), check=lambda r: ok()(r) and isinstance(r.result["version"], str)),
    Scenario("count", command(count="things", query={"k": 2}), THREE, check=ok(n=2)),
    Scenario("distinct", command(distinct="things", key="k"), THREE, check=ok(values=[1, 2])),
    Scenario(
        "dbStats",
        command(dbStats=1),
        THREE,
        check=lambda r: ok()(r) and r.result["collections"] == 1 and r.result["objects"] == 3,
    ),
    Scenario("collStats", command(collStats="things"), THREE, check=lambda r: ok()(r) and r.result["count"] == 3),
    Scenario(
        "listCollections",
        command(listCollections=1),
        THREE,
        check=lambda r: ok()(r) and [c["name"] for c in r.result["cursor"]["firstBatch"]] == ["things"],
    ),
    Scenario(
        "listIndexes",
        command(listIndexes="things"),
        THREE,
        check=lambda r: ok()(r) and len(r.result["cursor"]["firstBatch"]) == 1,
    ),
    Scenario(
        "documents without a collection",
        command(aggregate=1, pipeline=[{"$documents": [{"a": 1}, {"a": 2}]}, {"$match": {"a": 2}}], cursor={}),
        check=lambda r: ok()(r) and r.result["cursor"]["firstBatch"] == [{"a": 2}],
    ),
    Scenario(
        "no documents",
        command(aggregate=1, pipeline=[{"$match": {}}], cursor={}),
        error=DataError,
        number=73,
        excused={"secantus": "the test server takes every pipeline"},
    ),
    Scenario("another validator", command(collMod="things", validator={"k": {"$gt": 0}}), THREE, check=ok()),
    Scenario("validator of nothing", command(collMod="nowhere", validator={}), error=DataError, number=26),
    Scenario(
        "an index hidden",
        command(collMod="things", index={"name": "k_1", "hidden": True}),
        THREE,
        indexes=ON_K,
        check=ok(hidden_old=False, hidden_new=True),
        excused={"secantus": "the test server does not say what has changed"},
    ),
    Scenario(
        "an index that documents expire by",
        command(collMod="things", index={"keyPattern": {"k": 1}, "expireAfterSeconds": 5}),
        THREE,
        indexes=[({"k": 1}, {"expireAfterSeconds": 50})],
        check=ok(expireAfterSeconds_old=50, expireAfterSeconds_new=5),
    ),
    Scenario(
        "no such index",
        command(collMod="things", index={"name": "no", "hidden": True}),
        THREE,
        error=DataError,
        number=27,
    ),
    Scenario(
        "statistics of a collection",
        Aggregate(namespace=NS, pipeline=[{"$collStats": {"count": {}}}, {"$project": {"count": 1}}]),
        THREE,
        documents=[{"count": 3}],
    ),
    Scenario(
        "statistics of indexes",
        Aggregate(
            namespace=NS, pipeline=[{"$indexStats": {}}, {"$project": {"name": 1, "key": 1}}, {"$sort": {"name": 1}}]
        ),
        THREE,
        indexes=ON_K,
        documents=[{"name": "_id_", "key": {"_id": 1}}, {"name": "k_1", "key": {"k": 1}}],
    ),
    Scenario("unknown", command(nope=1), error=DataError, number=59),
    Scenario("unknown, in other letters", command(PING=1), error=DataError, number=59),
]


@pytest.mark.parametrize("scenario", INDEXES + COLLECTIONS + COMMANDS, ids=str)
def test_administration(engine: Engine, scenario: Scenario, request: pytest.FixtureRequest) -> None:
    check(engine, scenario, request)


def test_databases(engine: Engine) -> None:
    async def body(store: Store) -> None:
        database = unique_database()
        await store.execute(InsertOne(namespace=Namespace(database, "things"), document={"_id": 1}))
        found = await store.execute(ListDatabases(namespace=Namespace("admin")))
        await store.execute(RunCommand(namespace=Namespace(database), command={"dropDatabase": 1}))
        after = await store.execute(ListDatabases(namespace=Namespace("admin")))
        entry = next(item for item in found.databases if item["name"] == database)
        assert set(entry) == {"name", "sizeOnDisk", "empty"}
        assert entry["empty"] is False
        assert entry["sizeOnDisk"] >= 0
        assert found.ok == 1
        assert found.total_size >= entry["sizeOnDisk"]
        assert database not in [item["name"] for item in after.databases]

    engine.run(body)


def test_a_renamed_collection_keeps_what_it_has(engine: Engine) -> None:
    async def body(store: Store) -> None:
        old = Namespace(unique_database(), "old")
        new = replace(old, collection="new")
        await store.execute(InsertMany(namespace=old, documents=[*THREE]))
        await store.execute(CreateIndex(namespace=old, keys={"k": 1}))
        assert await store.execute(RenameCollection(namespace=old, to="new")) == OkResult()
        listed = await store.execute(ListCollections(namespace=Namespace(old.database)))
        assert [item["name"] for item in listed.collections] == ["new"]
        assert [item["name"] for item in (await store.execute(ListIndexes(namespace=new))).indexes] == ["_id_", "k_1"]
        assert (await store.execute(Find(namespace=new, filter={"k": 2}, sort={"_id": 1}))).documents.decode() == THREE[
            1:
        ]
        assert (await store.execute(Find(namespace=old))).documents.decode() == []
        await store.execute(InsertOne(namespace=old, document={"k": 0}))  # a collection that came with it
        await store.execute(RenameCollection(namespace=new, to="old", drop_target=True))
        assert (await store.execute(Find(namespace=old, sort={"_id": 1}))).documents.decode() == THREE

    engine.run(body)


@pytest.mark.parametrize("database", ["a b", "a.b", "a/b", "a$b", 'a"b', "x" * 64])
def test_bad_database_names(engine: Engine, database: str) -> None:
    async def body(store: Store) -> None:
        with pytest.raises(DataError) as raised:
            await store.execute(InsertOne(namespace=Namespace(database, "things"), document={"_id": 1}))
        assert raised.value.number == 73

    engine.run(body)


def test_after_closing(engine: Engine) -> None:
    async def body(store: Store) -> None:
        await store.close()
        with pytest.raises(Exception, match="clos") as raised:
            await store.execute(FindOne(namespace=NS))
        assert type(raised.value).__name__ == "StoreUnavailable"

    engine.run(body)
