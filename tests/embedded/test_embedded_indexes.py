"""Indexes, expiry, collections and validators of the embedded store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from opened import DB, C, Run, command, explain, fill, find

from doorleaf.documents import Document
from doorleaf.errors import (
    DataError,
    DuplicateKey,
    ValidationFailed,
)
from doorleaf.operations import (
    CreateCollection,
    CreateIndex,
    DropCollection,
    DropIndex,
    Find,
    InsertOne,
    ListCollections,
    ListDatabases,
    ListIndexes,
    Namespace,
    Operation,
    UpdateMany,
    UpdateOne,
)
from doorleaf.stores.embedded.store import EmbeddedStore

# --- indexes ---------------------------------------------------------------------------------------------------------


def test_create_index_counts_and_repeats(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        first = await store.execute(CreateIndex(namespace=C, keys={"a": 1, "b": -1}))
        assert first.wire() == {
            "createdCollectionAutomatically": True,
            "numIndexesBefore": 1,
            "numIndexesAfter": 2,
            "ok": 1,
        }
        again = await store.execute(CreateIndex(namespace=C, keys={"a": 1, "b": -1}))
        assert (again.created_collection_automatically, again.num_indexes_before, again.num_indexes_after) == (
            False,
            2,
            2,
        )
        assert (await store.execute(CreateIndex(namespace=C, keys={"_id": 1}))).num_indexes_after == 2
        await store.execute(CreateIndex(namespace=C, keys={"c": 1.0}, options={"sparse": True, "hidden": True}))
        assert (await store.execute(ListIndexes(namespace=C))).indexes == [
            {"v": 2, "key": {"_id": 1}, "name": "_id_"},
            {"v": 2, "key": {"a": 1, "b": -1}, "name": "a_1_b_-1"},
            {"v": 2, "key": {"c": 1.0}, "name": "c_1", "sparse": True, "hidden": True},
        ]
        dropped = await store.execute(DropIndex(namespace=C, index="a_1_b_-1"))
        assert dropped.wire() == {"nIndexesWas": 3, "ok": 1}

    run(scenario)


@pytest.mark.parametrize(
    ("keys", "options", "number"),
    [
        ({"a": -1}, {"name": "a_1"}, 86),
        ({"a": 1}, {"unique": True}, 86),
        ({"a": 1}, {"name": "other"}, 85),
        ({"a": 1}, {"expireAfterSeconds": 5}, 85),
        ({"a": 1}, {"nope": 1}, 197),
        ({"_id": 1}, {"unique": True}, 197),
        ({"a": 0}, {}, 67),
        ({"a": "nope"}, {}, 67),
        ({}, {}, 67),
        ({"a": True}, {}, 67),
        ({"$a": 1}, {}, 67),
        ({"a..b": 1}, {}, 67),
        ({"b": 1, "c": 1}, {"expireAfterSeconds": 5}, 67),
        ({"b": 1}, {"expireAfterSeconds": -5}, 67),
        ({"b": 1}, {"partialFilterExpression": {"a": {"$ne": 1}}}, 67),
        ({"b": 1}, {"partialFilterExpression": {"a": {"$exists": False}}}, 67),
        ({"b": 1}, {"partialFilterExpression": {"a": 1}, "sparse": True}, 67),
        ({"d": 1}, {"unique": True}, 11000),
        ({"x": 1, "y": 1}, {}, 171),
        ({"x": "hashed"}, {}, 16766),
    ],
)
def test_indexes_that_cannot_be(run: Run, keys: Document, options: Document, number: int) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await store.execute(CreateIndex(namespace=C, keys={"a": 1}))
        await fill(store, {"_id": 1, "d": 1}, {"_id": 2, "d": 1.0}, {"_id": 3, "x": [1], "y": [2]})
        with pytest.raises(DataError) as caught:
            await store.execute(CreateIndex(namespace=C, keys=keys, options=options))
        assert caught.value.number == number
        assert len((await store.execute(ListIndexes(namespace=C))).indexes) == 2
        assert len(await find(store)) == 3

    run(scenario)


def test_unique_sparse_and_partial(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await store.execute(CreateIndex(namespace=C, keys={"email": 1}, options={"unique": True, "sparse": True}))
        partial = {"unique": True, "partialFilterExpression": {"active": True}}
        await store.execute(CreateIndex(namespace=C, keys={"name": 1}, options=partial))
        await fill(
            store, {"_id": 1}, {"_id": 2}, {"_id": 3, "email": "a"}, {"_id": 4, "name": "n"}, {"_id": 5, "name": "n"}
        )
        await fill(store, {"_id": 6, "name": "n", "active": True})
        expected = r'E11000 duplicate key error collection: db\.c index: email_1 dup key: \{ email: "a" \}'
        with pytest.raises(DuplicateKey, match=expected):
            await store.execute(InsertOne(namespace=C, document={"email": "a"}))
        with pytest.raises(DuplicateKey, match="name_1"):
            await store.execute(UpdateOne(namespace=C, filter={"_id": 5}, update={"$set": {"active": True}}))
        await store.execute(UpdateOne(namespace=C, filter={"_id": 6}, update={"$set": {"active": False}}))
        await store.execute(UpdateOne(namespace=C, filter={"_id": 5}, update={"$set": {"active": True}}))
        # A document may have a key twice itself.
        await fill(store, {"_id": 7, "email": ["b", "b"]})
        with pytest.raises(DuplicateKey):
            await store.execute(
                UpdateMany(namespace=C, filter={"_id": {"$in": [1, 2]}}, update={"$set": {"email": "z"}})
            )
        assert await find(store, {"email": "z"}) == []
        assert (await command(store, validate="c"))["valid"]

    run(scenario)


def test_expired_documents_go(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        for number, direction in enumerate((1, -1)):
            name = f"c{number}"
            namespace = Namespace("db", name)
            await store.execute(
                CreateIndex(namespace=namespace, keys={"at": direction}, options={"expireAfterSeconds": 60})
            )
            now = datetime.now(UTC).replace(tzinfo=None)
            old, young = now - timedelta(seconds=90), now - timedelta(seconds=10)
            await fill(
                store,
                *({"_id": 1, "at": old}, {"_id": 2, "at": young}, {"_id": 3, "at": [young, old]}, {"_id": 4}),
                *({"_id": 5, "at": 5}, {"_id": 6, "at": None}, {"_id": 7, "at": "1970"}),
                namespace=namespace,
            )
        assert await store.sweep() == 4
        for name in ("c0", "c1"):
            left = (await store.execute(Find(namespace=Namespace("db", name)))).documents.decode()
            assert [document["_id"] for document in left] == [2, 4, 5, 6, 7]
            assert (await command(store, validate=name))["valid"]
        assert await store.sweep() == 0

    run(scenario)


def test_reads_examine_no_more_than_they_must(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, *({"_id": n, "a": n, "b": n % 2, "tags": [n, -n]} for n in range(2000)))
        await store.execute(CreateIndex(namespace=C, keys={"a": 1}))
        await store.execute(CreateIndex(namespace=C, keys={"tags": 1}))
        cases: list[tuple[Document, int, str]] = [
            ({"find": "c", "filter": {}, "sort": {"a": -1}, "limit": 20}, 20, "IXSCAN"),
            ({"find": "c", "filter": {"_id": 5}}, 1, "IXSCAN"),
            ({"find": "c", "filter": {"a": {"$gt": 10, "$lt": 20}}}, 9, "IXSCAN"),
            ({"find": "c", "filter": {"a": {"$in": [1, 2, 5000]}}}, 2, "IXSCAN"),
            ({"find": "c", "filter": {"b": 1}, "sort": {"a": 1}, "limit": 10}, 20, "IXSCAN"),
            ({"find": "c", "filter": {"tags": 7}}, 1, "IXSCAN"),
            ({"find": "c", "filter": {"b": 1}, "limit": 5}, 10, "COLLSCAN"),
            ({"find": "c", "filter": {"b": 1}, "hint": {"$natural": 1}}, 2000, "COLLSCAN"),
        ]
        for asked, most, stage in cases:
            plan = await explain(store, **asked)
            assert plan["executionStats"]["totalDocsExamined"] <= most, asked
            assert stage in repr(plan["queryPlanner"]["winningPlan"]), asked
        hinted = await explain(store, find="c", filter={"b": 1}, hint="a_1")
        assert "a_1" in repr(hinted["queryPlanner"]["winningPlan"])
        counted = await explain(store, count="c", query={"a": {"$lt": 5}})
        assert counted["queryPlanner"]["winningPlan"]["stage"] == "COUNT"

    run(scenario)


# --- collections and validators --------------------------------------------------------------------------------------


def test_validators(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await store.execute(CreateCollection(namespace=C, options={"validator": {"a": {"$gte": 0}}}))
        await fill(store, {"_id": 1, "a": 1})
        operations: list[Operation[Any]] = [
            InsertOne(namespace=C, document={"_id": 2, "a": -1}),
            UpdateOne(namespace=C, filter={}, update={"$inc": {"a": -5}}),
        ]
        for operation in operations:
            with pytest.raises(ValidationFailed, match="Document failed validation"):
                await store.execute(operation)
        assert await find(store) == [{"_id": 1, "a": 1}]
        lax = Namespace("db", "lax")
        await store.execute(
            CreateCollection(namespace=lax, options={"validator": {"a": 1}, "validationAction": "warn"})
        )
        await store.execute(InsertOne(namespace=lax, document={"a": 2}))
        listed = (await command(store, listCollections=1, filter={"name": "c"}))["cursor"]["firstBatch"]
        assert [item["options"] for item in listed] == [{"validator": {"a": {"$gte": 0}}}]

    run(scenario)


def test_lists(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        for name in ("b", "a", "c"):
            await store.execute(CreateCollection(namespace=Namespace("db", name)))
        await fill(store, {"x": 1}, namespace=Namespace("other", "z"))
        listed = (await store.execute(ListCollections(namespace=DB))).collections
        assert listed == [{"name": name, "type": "collection"} for name in ("a", "b", "c")]
        databases = await store.execute(ListDatabases(namespace=DB))
        assert [item["name"] for item in databases.databases] == ["db", "other"]
        assert databases.total_size == sum(item["sizeOnDisk"] for item in databases.databases) > 0
        await store.execute(DropCollection(namespace=Namespace("other", "z")))
        assert [item["name"] for item in (await store.execute(ListDatabases(namespace=DB))).databases] == ["db"]

    run(scenario)
