"""Expressions that are computed where the document is read, and those that have to be computed in a worker."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import bson
import pytest
from opened import C, Run, fill

from doorleaf.documents import Document
from doorleaf.errors import DataError
from doorleaf.mql.context import Context
from doorleaf.operations import (
    Aggregate,
    CountDocuments,
    CreateIndex,
    DeleteOne,
    Find,
    FindOne,
    InsertMany,
    InsertOne,
    Namespace,
    UpdateOne,
)
from doorleaf.stores.embedded import store as opening
from doorleaf.stores.embedded.reading import reads, small
from doorleaf.stores.embedded.reading.budget import Budget, Postponed
from doorleaf.stores.embedded.store import EmbeddedStore
from doorleaf.stores.embedded.writing.rows import Transaction
from doorleaf.stores.embedded.writing.writes import WRITES

OTHER = Namespace("db", "other")


@pytest.fixture(autouse=True)
def no_worker_is_made_before_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "WARM_SECONDS", 3600.0)


DOCUMENT: Document = {
    "_id": 1,
    "n": 7,
    "m": 2.5,
    "t": "Häuser",
    "d": datetime(2024, 2, 29, 12, 30, 5),
    "a": [3, 1, 2],
    "o": {"p": 1, "q": [1, {"r": 2}]},
}

CHEAP: list[Any] = [
    {"$add": ["$n", 1, "$m"]},
    {"$multiply": ["$n", {"$subtract": ["$m", 1]}]},
    {"$round": [{"$divide": ["$n", 3]}, 2]},
    {"$concat": ["$t", "!", {"$toUpper": "$t"}, {"$toString": "$n"}]},
    {"$cond": [{"$gt": ["$n", 5]}, "much", "little"]},
    {"$cond": {"if": {"$in": [3, "$a"]}, "then": "$o", "else": "$$REMOVE"}},
    {"$switch": {"branches": [{"case": {"$eq": ["$n", 7]}, "then": "$a"}], "default": None}},
    {"$ifNull": ["$nowhere", "$o.q.r", {"$literal": "$5"}]},
    {"$dateToString": {"date": "$d", "format": "%Y-%m-%d %H:%M"}},
    [{"$year": "$d"}, {"$month": "$d"}],
    {"$mergeObjects": ["$o", {"s": "$n"}]},
    {"$slice": ["$a", 2]},
    {"$substrCP": ["$t", 1, 2]},
    [{"$sum": "$a"}, {"$max": "$a"}, {"$arrayElemAt": ["$a", -1]}, {"$size": "$a"}],
    "$$ROOT",
    {"$type": "$nowhere"},
]


@pytest.mark.parametrize("expression", CHEAP, ids=str)
def test_a_cheap_expression_needs_no_worker_and_answers_the_same(run: Run, expression: Any) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, DOCUMENT)
        wrapped = {"k": expression}
        pipelines: tuple[list[Document], ...] = (
            [{"$match": {"_id": 1}}, {"$replaceWith": wrapped}],
            [{"$match": {"_id": 1}}, {"$addFields": {"x": expression}}, {"$match": {"n": 7}}],
            [{"$match": {"_id": 1}}, {"$replaceRoot": {"newRoot": wrapped}}, {"$group": {"_id": "$k"}}],
        )
        found = [
            (await store.execute(Aggregate(namespace=C, pipeline=stages))).documents.decode() for stages in pipelines
        ]
        assert all(found)
        assert store.workers().started == 0
        for stages, answer in zip(pipelines, found, strict=True):
            beside = Aggregate(namespace=C, pipeline=[*stages, {"$facet": {"all": []}}])
            assert (await store.execute(beside)).documents.decode() == [{"all": answer}]
        assert store.workers().started > 0

    run(scenario)


def test_a_find_that_computes_fields_needs_no_worker(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, *({"_id": number, "n": number} for number in range(50)))
        shown = {"n": 1, "double": {"$multiply": ["$n", 2]}}
        found = await store.execute(Find(namespace=C, filter={"_id": {"$lt": 3}}, projection=shown, sort={"_id": 1}))
        assert found.documents.decode() == [{"_id": n, "n": n, "double": 2 * n} for n in range(3)]
        one = await store.execute(FindOne(namespace=C, filter={"_id": 9}, projection={"_id": 0, **shown}))
        assert isinstance(one.document, bytes)
        assert bson.decode(one.document) == {"n": 9, "double": 18}
        with pytest.raises(DataError, match="can't \\$divide by zero"):
            await store.execute(Find(namespace=C, projection={"x": {"$divide": ["$n", "$n"]}}))
        assert store.workers().started == 0

    run(scenario)


def test_a_group_of_cheap_expressions_needs_no_worker(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, *({"_id": number, "n": number, "price": 2} for number in range(5)))
        total = {"$group": {"_id": None, "total": {"$sum": {"$multiply": ["$n", "$price"]}}, "last": {"$max": "$n"}}}
        answer = await store.execute(Aggregate(namespace=C, pipeline=[total]))
        assert answer.documents.decode() == [{"_id": None, "total": 20, "last": 4}]
        assert store.workers().started == 0

    run(scenario)


def test_documents_that_are_too_large_for_what_is_computed_go_to_a_worker(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, {"_id": 1, "t": "x" * 40_000})
        for stages, started in (([{"$project": {"n": {"$strLenCP": "$t"}}}], 0), ([{"$project": {"t": 1}}], 0)):
            await store.execute(Aggregate(namespace=C, pipeline=[{"$match": {"_id": 1}}, *stages]))
            assert store.workers().started == started
        often = {f"n{number}": {"$toUpper": "$t"} for number in range(10)}
        await store.execute(Aggregate(namespace=C, pipeline=[{"$match": {"_id": 1}}, {"$project": often}]))
        assert store.workers().started > 0

    run(scenario)


def test_what_meets_documents_over_and_over_is_not_done_on_the_event_loop(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        def count(filter: Document) -> int:
            counting = CountDocuments(namespace=C, filter=filter)
            return store.now(lambda session: reads.count(session, counting, Context(), Budget(100, 262_144)))

        def found(filter: Document, limit: int) -> tuple[int, int | None]:
            finding = Find(namespace=C, filter=filter, limit=limit, total=0)
            budget = Budget(100, 262_144)
            page, total = store.now(lambda session: reads.find_soon(session, finding, Context(), budget))
            return len(page), total

        await store.execute(CreateIndex(namespace=C, keys={"tags": 1}))
        await fill(store, *({"_id": number, "tags": [*range(4_000)]} for number in range(2)))
        few: Document = {"tags": {"$gt": 3_996}}
        assert count(few) == 2
        assert found(few, 1) == (1, 2)
        assert found(few, 3) == (2, 2)
        many: Document = {"tags": {"$gte": 0}}
        with pytest.raises(Postponed):
            count(many)
        assert found(many, 1) == (1, None)
        with pytest.raises(Postponed):
            found(many, 3)
        assert (await store.execute(CountDocuments(namespace=C, filter=many))).count == 2
        assert (await store.execute(Find(namespace=C, filter=many, limit=1, total=0))).total == 2
        assert len((await store.execute(Find(namespace=C, filter=many, limit=3))).documents) == 2

    run(scenario)


def _nested(levels: int) -> Any:
    expression: Any = "$a"
    for _ in range(levels):
        expression = {"$add": [expression, 1]}
    return expression


COSTLY: list[list[Document]] = [
    [{"$addFields": {"x": {"$regexMatch": {"input": "$t", "regex": "(a|aa)+$"}}}}],
    [{"$addFields": {"x": {"$map": {"input": "$a", "in": "$$this"}}}}],
    [{"$addFields": {"x": {"$reduce": {"input": "$a", "initialValue": 0, "in": 1}}}}],
    [{"$addFields": {"x": {"$filter": {"input": "$a", "cond": True}}}}],
    [{"$addFields": {"x": {"$range": [0, 1_000_000]}}}],
    [{"$addFields": {"x": {"$zip": {"inputs": ["$a"]}}}}],
    [{"$addFields": {"x": {"$setUnion": ["$a", "$a"]}}}],
    [{"$addFields": {"x": {"$mod": ["$n", 3]}}}],
    [{"$addFields": {"x": {"$pow": ["$n", 3]}}}],
    [{"$addFields": {"x": {"$toDouble": "$t"}}}],
    [{"$addFields": {"x": {"$let": {"vars": {"y": 1}, "in": "$$y"}}}}],
    [{"$addFields": {"x": {"$function": {"body": "x", "args": [], "lang": "js"}}}}],
    [{"$addFields": {"x": {"$cond": {"if": {"$range": [0, 9]}, "then": 1, "else": 2}}}}],
    [{"$addFields": {"x": {"$switch": {"branches": [{"case": True, "then": {"$range": [0, 9]}}]}}}}],
    [{"$addFields": {"x": {"$dateToString": {"date": "$d", "format": "%Y" * 1000}}}}],
    [{"$addFields": {}}],
    [{"$addFields": {"x": {"$dateToString": {"date": "$d", "timezone": "$t"}}}}],
    [{"$addFields": {"a.b": "$t"}}],
    [{"$addFields": {"a": {"b": "$t"}}}],
    [{"$addFields": {"x": _nested(40)}}],
    [{"$addFields": {f"x{number}": "$a"}} for number in range(7)],
    [{"$project": {"x": {"$concat": ["$t"] * 40}}}, {"$project": {"x": {"$concat": ["$x"] * 2}}}],
    [{"$replaceWith": {"a": "$$ROOT", "b": "$$ROOT"}}] * 4,
    [{"$addFields": {"x": "$a", "t": "y" * 40_000}}, {"$addFields": {"z": "$x"}}],
    [{"$project": {"x": "$$this"}}],
    [{"$project": {"a.$": 1}}],
    [{"$group": {"_id": None, "x": {"$first": "$$ROOT"}}}],
    [{"$group": {"_id": None, "x": {"$push": {"$add": ["$n", 1]}}}}],
    [{"$group": {"_id": {"$add": ["$n", 1]}}}],
    [{"$set": {"x": {"$add": ["$n", 1]}}}, {"$group": {"_id": "$x"}}, {"$group": {"_id": "$_id"}}],
    [{"$set": {"x": 1}}, {"$match": {"$expr": {"$eq": ["$x", 1]}}}],
    [{"$set": 5}],
    [{"$replaceRoot": {"newRoot": "$a", "more": 1}}],
    [{"$lookup": {"from": "c", "as": "x", "pipeline": []}}],
]


@pytest.mark.parametrize("stages", COSTLY, ids=lambda stages: str(stages)[:80])
def test_what_could_take_long_is_not_cheap(stages: list[Document]) -> None:
    assert small.pipeline(Aggregate(namespace=C, pipeline=stages)) is None


@pytest.mark.parametrize(
    "projection",
    [
        {"a.$": 1, "x": {"$add": [1, "$n"]}},
        {"a": {"$elemMatch": {"b": 1}}},
        {"x": {"$meta": "textScore"}},
        {"a.b": "$c"},
    ],
    ids=str,
)
def test_projections_that_are_not_cheap(projection: Document) -> None:
    assert small.tests(Find(namespace=C, projection=projection)) is None


MANY_FIELDS = {f"a.x{number}": 1 for number in range(32)}
ARRAYS: list[Document] = [{"_id": number, "a": [{}] * 4_000} for number in range(3)]


@pytest.mark.parametrize(
    "reading",
    [
        Find(namespace=C, sort=MANY_FIELDS),
        Aggregate(namespace=C, pipeline=[{"$sort": MANY_FIELDS}]),
        Aggregate(namespace=C, pipeline=[{"$unset": "z"}, {"$sort": MANY_FIELDS}]),
    ],
    ids=lambda reading: str(type(reading).__name__),
)
def test_elements_are_not_sorted_by_many_fields_on_the_event_loop(run: Run, reading: Any) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, *ARRAYS)
        for sort in ({"a": 1}, {"a.x": -1, "_id": -1}):
            await store.execute(Find(namespace=C, sort=sort))
            await store.execute(Aggregate(namespace=C, pipeline=[{"$unset": "z"}, {"$sort": sort}]))
        assert store.workers().started == 0
        assert len((await store.execute(reading)).documents) == len(ARRAYS)
        assert store.workers().started > 0

    run(scenario)


@pytest.mark.parametrize(
    "writing",
    [
        InsertOne(namespace=C, document={"_id": 9, "a": [{}] * 4_000}),
        UpdateOne(namespace=C, filter={"_id": 1}, update={"$set": {"z": 1}}),
        DeleteOne(namespace=C, filter={"_id": 1}),
        UpdateOne(namespace=OTHER, filter={}, update={"$set": {"z": 1}}, sort=MANY_FIELDS),
    ],
    ids=["insert", "update", "delete", "sorted"],
)
def test_a_key_for_each_of_many_elements_is_not_made_in_the_writers_thread(run: Run, writing: Any) -> None:
    """That all of them have one key in the end takes as long as if each had one of its own."""

    async def scenario(store: EmbeddedStore) -> None:
        def quickly(transaction: Transaction) -> Any:
            transaction.budget = Budget(opening.INLINE_DOCUMENTS, opening.INLINE_BYTES)
            return WRITES[type(writing)](transaction, writing, Context())

        await store.execute(CreateIndex(namespace=C, keys=MANY_FIELDS, options={"name": "all"}))
        for namespace in (C, OTHER):
            await store.execute(InsertMany(namespace=namespace, documents=ARRAYS))
        with pytest.raises(Postponed):
            await store.write(quickly, Context())
        await store.execute(writing)

    run(scenario)
