"""Reading and aggregating in the embedded store."""

from __future__ import annotations

from typing import Any

import pytest
from opened import DB, C, Run, fill, find

from doorleaf.documents import Document
from doorleaf.errors import (
    DataError,
    DuplicateKey,
    InvalidParameter,
)
from doorleaf.mql.context import Context
from doorleaf.operations import (
    Aggregate,
    CountDocuments,
    CreateIndex,
    DeleteMany,
    Distinct,
    DropCollection,
    EstimatedDocumentCount,
    Find,
    FindOne,
    ListDatabases,
    ListIndexes,
    Namespace,
)
from doorleaf.stores.embedded.reading import reads
from doorleaf.stores.embedded.store import EmbeddedStore

# --- reading ---------------------------------------------------------------------------------------------------------


def test_find_options(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, *({"_id": n, "a": n % 5, "b": -n} for n in range(250)))

        async def ids(**options: Any) -> list[int]:
            found = await store.execute(Find(namespace=C, **options))
            return [document["_id"] for document in found.documents.decode()]

        assert await ids() == list(range(250))
        assert await ids(limit=3, skip=2) == [2, 3, 4]
        assert await ids(sort={"b": 1}, limit=2) == [249, 248]
        assert await ids(sort={"a": 1, "_id": -1}, limit=2, skip=49) == [0, 246]
        assert await ids(sort={"$natural": -1}, limit=2) == [249, 248]
        assert await ids(filter={"_id": {"$in": [5, 1, 3, 999]}}, skip=1) == [3, 5]
        assert await ids(filter={"$expr": {"$eq": ["$a", "$$x"]}}, let={"x": 4}, limit=2) == [4, 9]
        projected = Find(namespace=C, filter={"_id": 7}, projection={"b": 1, "_id": 0})
        assert (await store.execute(projected)).documents.decode() == [{"b": -7}]
        assert (await store.execute(FindOne(namespace=C, filter={"_id": -1}))).document is None
        assert (await store.execute(FindOne(namespace=C, sort={"_id": -1}, skip=1))).document is not None
        await store.execute(CreateIndex(namespace=C, keys={"a": 1, "b": 1}))
        assert await ids(sort={"a": -1, "b": -1}, limit=2) == [4, 9]
        assert await ids(filter={"a": {"$in": [1, 2]}}, skip=49, limit=3) == [1, 247, 242]

    run(scenario)


def test_counts(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, *({"_id": n, "a": n % 10, "tags": [n, n + 1]} for n in range(1000)))

        async def count(**options: Any) -> int:
            return (await store.execute(CountDocuments(namespace=C, **options))).count

        async def check() -> None:
            assert await count() == 1000
            assert await count(skip=990, limit=50) == 10
            assert await count(filter={"a": 3}) == 100
            assert await count(filter={"a": 3}, limit=7) == 7
            assert await count(filter={"a": 3}, skip=95) == 5
            assert await count(filter={"a": 3}, skip=200) == 0
            assert await count(filter={"a": {"$gte": 8}}) == 200
            assert await count(filter={"tags": {"$gte": 10, "$lte": 12}}) == 4
            assert await count(filter={"a": {"$ne": 3}}) == 900

        await check()
        await store.execute(CreateIndex(namespace=C, keys={"a": 1}))
        await store.execute(CreateIndex(namespace=C, keys={"tags": 1}))
        await check()
        assert (await store.execute(EstimatedDocumentCount(namespace=C))).count == 1000
        await store.execute(DeleteMany(namespace=C, filter={"a": 3}))
        assert (await store.execute(EstimatedDocumentCount(namespace=C))).count == 900 == await count()

    run(scenario)


def test_what_does_not_exist_reads_as_empty(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        assert (await store.execute(CountDocuments(namespace=C))).count == 0
        assert (await store.execute(EstimatedDocumentCount(namespace=C))).count == 0
        assert (await store.execute(Distinct(namespace=C, key="a"))).values == []
        assert (await store.execute(ListIndexes(namespace=C))).indexes == []
        assert await find(store) == []
        assert (await store.execute(DropCollection(namespace=C))).ok == 1
        assert (await store.execute(DeleteMany(namespace=C, filter={}))).deleted_count == 0
        assert (await store.execute(ListDatabases(namespace=DB))).databases == []
        with pytest.raises(DataError):
            await store.execute(Find(namespace=C, filter={"$nope": 1}))

    run(scenario)


def test_distinct(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, {"a": 1}, {"a": 1.0}, {"a": [2, [3], 1]}, {"b": 1}, {"a": None}, {"a": {"x": [5, 6]}})
        values = (await store.execute(Distinct(namespace=C, key="a"))).values
        assert values == [1, 2, [3], None, {"x": [5, 6]}]
        assert (await store.execute(Distinct(namespace=C, key="a.x"))).values == [5, 6]
        assert (await store.execute(Distinct(namespace=C, key="a", filter={"a": 2}))).values == [2, [3], 1]

    run(scenario)


@pytest.mark.parametrize("indexed", [False, True])
def test_distinct_is_charged_for_what_it_holds(run: Run, indexed: bool) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, *({"a": n} for n in range(1_000)))
        if indexed:
            await store.execute(CreateIndex(namespace=C, keys={"a": 1}))
        operation = Distinct(namespace=C, key="a")
        values = store.now(lambda session: reads.distinct(session, operation, Context()))
        assert values == [*range(1_000)]
        few = store.now(lambda session: reads.distinct(session, operation, Context(memory_limit=500_000)))
        assert few == values
        with pytest.raises(DataError, match=r"^distinct used too much memory") as raised:
            store.now(lambda session: reads.distinct(session, operation, Context(memory_limit=50_000)))
        assert raised.value.number == 146

    run(scenario)


def test_aggregate(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, *({"_id": n, "a": n % 3} for n in range(30)))
        await fill(store, *({"_id": n, "name": f"n{n}"} for n in range(3)), namespace=Namespace("db", "names"))

        async def answer(*pipeline: Document, **options: Any) -> list[Document]:
            return (await store.execute(Aggregate(namespace=C, pipeline=list(pipeline), **options))).documents.decode()

        assert await answer({"$match": {"a": 1}}, {"$count": "n"}) == [{"n": 10}]
        assert await answer({"$sort": {"_id": -1}}, {"$limit": 2}, {"$project": {"a": 1}}) == [
            {"_id": 29, "a": 2},
            {"_id": 28, "a": 1},
        ]
        join = {"$lookup": {"from": "names", "localField": "a", "foreignField": "_id", "as": "n"}}
        (joined,) = await answer({"$match": {"_id": 4}}, join)
        assert joined["n"] == [{"_id": 1, "name": "n1"}]
        with pytest.raises(InvalidParameter, match="more than 5 documents"):
            await answer({"$match": {}}, cap=5)
        assert len(await answer({"$limit": 5}, cap=5)) == 5
        by_variable = {"$match": {"$expr": {"$eq": ["$_id", "$$id"]}}}
        assert await answer(by_variable, let={"id": 3}) == [{"_id": 3, "a": 0}]

    run(scenario)


def test_out_and_merge(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        target = Namespace("db", "target")
        await fill(store, {"_id": 1, "a": 1}, {"_id": 2, "a": 2})
        await fill(store, {"_id": 9}, namespace=target)
        await store.execute(CreateIndex(namespace=target, keys={"a": 1}, options={"unique": True}))

        async def stored() -> list[Document]:
            return (await store.execute(Find(namespace=target, sort={"_id": 1}))).documents.decode()

        await store.execute(Aggregate(namespace=C, pipeline=[{"$out": "target"}]))
        assert await stored() == [{"_id": 1, "a": 1}, {"_id": 2, "a": 2}]
        assert len((await store.execute(ListIndexes(namespace=target))).indexes) == 2
        with pytest.raises(DuplicateKey):
            await store.execute(Aggregate(namespace=C, pipeline=[{"$set": {"a": 7}}, {"$out": "target"}]))
        assert await stored() == [{"_id": 1, "a": 1}, {"_id": 2, "a": 2}]
        await store.execute(Aggregate(namespace=C, pipeline=[{"$project": {"b": "$a"}}, {"$merge": "target"}]))
        assert await stored() == [{"_id": 1, "a": 1, "b": 1}, {"_id": 2, "a": 2, "b": 2}]
        into: Document = {"into": "target", "on": "a", "whenMatched": "fail", "whenNotMatched": "discard"}
        with pytest.raises(DataError):
            await store.execute(Aggregate(namespace=C, pipeline=[{"$merge": into}]))
        into = {"into": "target", "whenMatched": [{"$set": {"b": "$$new.a"}}], "whenNotMatched": "insert"}
        pipeline: list[Document] = [
            {"$set": {"_id": {"$add": ["$_id", 1]}, "a": {"$add": ["$a", 5]}}},
            {"$merge": into},
        ]
        await store.execute(Aggregate(namespace=C, pipeline=pipeline))
        assert await stored() == [{"_id": 1, "a": 1, "b": 1}, {"_id": 2, "a": 2, "b": 6}, {"_id": 3, "a": 7}]

    run(scenario)
