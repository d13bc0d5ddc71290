"""An index makes a query faster and never different: the same answers with any set of indexes and with none."""

from __future__ import annotations

import asyncio
import os
import random
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import bson
from bson import Decimal128, Int64, MinKey, ObjectId, Regex
from hypothesis import given, settings
from hypothesis import strategies as st

from doorleaf.documents import CODEC, Document
from doorleaf.errors import DataError
from doorleaf.mql.context import Context
from doorleaf.mql.order import compile_sort
from doorleaf.mql.stages.compile import compile_pipeline
from doorleaf.mql.values import canonical
from doorleaf.operations import (
    Aggregate,
    CountDocuments,
    CreateIndex,
    DeleteMany,
    Distinct,
    Find,
    InsertMany,
    Namespace,
    RunCommand,
    UpdateMany,
)
from doorleaf.stores.embedded.store import EmbeddedStore

EXAMPLES = int(os.environ.get("DOORLEAF_TEST_EXAMPLES", "30"))
"""Stores, each with documents, indexes and dozens of questions of its own: others every time."""

PLAIN, INDEXED = Namespace("db", "plain"), Namespace("db", "indexed")

# --- random questions ------------------------------------------------------------------------------------------------

RARE: list[Any] = [
    *(1.0, 2.5, Int64(2), Decimal128("2.5"), Decimal128("NaN"), float("nan"), -1, 2**53 + 1, float(2**53), ""),
    *(None, None, "a", "ab", "abc", "b", True, False, ObjectId("0" * 24), MinKey(), Regex("^a"), datetime(2020, 1, 1)),
]
PATHS = ["a", "a", "a", "b", "b", "c", "a.x", "a.x", "a.y", "b.x", "a.0", "_id"]
OPERATORS = ["$eq", "$gt", "$gte", "$lt", "$lte", "$gt", "$gte", "$lt", "$lte", "$ne"]
PATTERNS: list[Document] = [
    *(
        {"a": 1},
        {"a": -1},
        {"b": 1},
        {"c": 1},
        {"a.x": 1},
        {"a.y": -1},
        {"a.0": 1},
        {"a": 1, "b": 1},
        {"a": 1, "b": -1},
    ),
    *({"c": 1, "a": 1}, {"c": -1, "a": 1, "b": 1}, {"a.x": 1, "a.y": 1}, {"c": 1, "a.x": -1}, {"b": 1, "_id": 1}),
    *({"a.x": 1, "b": 1}, {"b.x": 1, "a.x": 1}, {"a": "hashed"}),
]
OPTIONS: list[Document] = [
    *({}, {}, {}, {}, {"sparse": True}, {"sparse": True}),
    *({"partialFilterExpression": {"c": {"$gt": 0}}}, {"partialFilterExpression": {"c": {"$exists": True}}}),
    *({"partialFilterExpression": {"b": 1}}, {"partialFilterExpression": {"a": {"$lte": 2}, "c": {"$type": "int"}}}),
]


class Maker:
    """Random documents, conditions and orders over few fields and few values, so that much is met and much collides."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.arrays = self.random.random() < 0.7
        self.paths = list(PATHS)

    def scalar(self) -> Any:
        return self.random.choice(RARE) if self.random.random() < 0.15 else self.random.randrange(4)

    def part(self) -> Document:
        return {name: self.scalar() for name in ("x", "y") if self.random.random() < 0.7}

    def value(self, *, arrays: bool = True) -> Any:
        kind = self.random.random()
        if kind < 0.35:
            return self.scalar()
        if kind < 0.5 or not (arrays and self.arrays):
            return self.part()
        size = self.random.randrange(4)
        if kind < 0.8:
            return [self.scalar() for _ in range(size)]
        if kind < 0.95:
            return [self.random.choice([self.part, self.part, self.scalar])() for _ in range(size)]
        return [self.random.choice([self.scalar(), [self.scalar()], []]) for _ in range(size)]

    def document(self, number: int) -> Document:
        document: Document = {"_id": number}
        for name in ("a", "b", "c"):
            if self.random.random() < 0.85:
                document[name] = self.value(arrays=name != "c")
        return document

    def comparable(self) -> Any:
        value = self.scalar()
        return 1 if isinstance(value, Regex) else value

    def operand(self) -> Any:
        return self.comparable() if self.random.random() < 0.9 else self.value()

    def condition(self) -> Any:
        kind = self.random.random()
        if kind < 0.35:
            return self.operand()
        if kind < 0.55:
            return {self.random.choice(OPERATORS): self.comparable()}
        if kind < 0.75:
            low, high = self.random.choice(["$gt", "$gte"]), self.random.choice(["$lt", "$lte"])
            if self.random.random() < 0.2:
                return {low: self.comparable(), high: self.comparable()}
            # Often crossing: only an array, whose elements may meet them one each, matches then.
            return {low: self.random.randrange(4), high: self.random.randrange(4)}
        if kind < 0.85:
            return {"$in": [self.operand() for _ in range(self.random.randrange(4))]}
        return self.random.choice(
            [
                {"$exists": self.random.random() < 0.5},
                {"$not": {self.random.choice(OPERATORS): self.comparable()}},
                {"$elemMatch": {"$gte": self.random.randrange(3), "$lt": 3}},
                {"$elemMatch": {"x": self.comparable(), "y": self.comparable()}},
                {"$nin": [self.comparable(), self.comparable()]},
                {"$all": [self.comparable(), self.comparable()]},
                {"$all": [self.operand()]},
                {"$all": [{"$elemMatch": {"x": self.comparable()}}, {"$elemMatch": {"y": {"$gt": 0}}}]},
                {"$elemMatch": {"$in": [self.operand(), self.operand()]}},
                {"$elemMatch": {self.random.choice(["$eq", "$ne", "$gte"]): self.comparable()}},
                {"$elemMatch": {"$type": self.random.choice(["array", "number", "null", "object"])}},
                {"$elemMatch": {"x": {"$gt": 0, "$lte": 2}, "y": {"$ne": None}}},
                {"$elemMatch": {"$and": [{"x": self.operand()}, {"y": {"$exists": self.random.random() < 0.5}}]}},
                {"$ne": None},
                {"$nin": [None]},
                {"$not": {"$ne": self.comparable()}},
                {"$not": {"$nin": [self.comparable(), self.comparable()]}},
                {"$not": {"$exists": self.random.random() < 0.5}},
                {"$type": self.random.choice(["string", "null", "array", "object", 1, 16, ["int", "bool"], "date"])},
                {"$size": self.random.randrange(3)},
                {"$type": "number"},
                Regex("^a"),
                Regex("^ab"),
                {"$regex": "^a"},
                Regex("^A", "i"),
            ]
        )

    def filter(self, depth: int = 0) -> Document:
        made = {self.random.choice(self.paths): self.condition() for _ in range(self.random.randrange(1, 4))}
        if depth < 2 and self.random.random() < 0.35:
            parts = [self.filter(depth + 1) for _ in range(self.random.randrange(1, 4))]
            made[self.random.choice(["$and", "$and", "$or", "$or", "$nor"])] = parts
        if self.random.random() < 0.2:
            made = {"$expr": self.expression(), **(made if self.random.random() < 0.3 else {})}
        kind = self.random.random()
        if kind < 0.1:
            made = {"$or": [self.filter(depth + 1) for _ in range(self.random.randrange(2, 4))]} if depth < 2 else made
        elif kind < 0.2:
            made = {"$nor": [{"$nor": [made]}]}
        elif kind < 0.25:
            made = {"$nor": [{self.random.choice(self.paths): {"$ne": self.comparable()}}]}
        elif kind < 0.35:
            made = self.page()
        return made

    def page(self) -> Document:
        """What follows a document in the order of two fields."""
        first, second = self.random.choice(self.paths), self.random.choice(["_id", "b", "c"])
        value, step = self.comparable(), self.random.choice(["$gt", "$lt"])
        return {"$or": [{first: {step: value}}, {first: value, second: {step: self.random.randrange(4)}}]}

    def expression(self, depth: int = 0) -> Document:
        kind = self.random.random()
        if depth < 2 and kind < 0.3:
            parts = [self.expression(depth + 1) for _ in range(self.random.randrange(1, 3))]
            return {"$not": parts[:1]} if kind < 0.05 else {self.random.choice(["$and", "$or"]): parts}
        path = f"${self.random.choice(self.paths)}"
        constant = self.random.choice([self.operand(), "$$known", "$$part.x", {"$literal": self.operand()}])
        if self.random.random() < 0.15:
            return {"$in": [path, self.random.choice([[self.operand(), self.operand()], "$$list"])]}
        pair = [path, constant] if self.random.random() < 0.7 else [constant, path]
        return {self.random.choice(["$eq", "$eq", "$gt", "$gte", "$lt", "$lte", "$ne"]): pair}

    def let(self) -> Document:
        """The variables that expressions use."""
        return {
            "known": {"$literal": self.operand()},
            "part": {"$literal": self.random.choice([{"x": self.operand()}, {}, [{"x": 1}], 5])},
            "list": {"$literal": [self.operand() for _ in range(self.random.randrange(3))]},
        }

    def sort(self) -> Document | None:
        if self.random.random() < 0.4:
            return None
        return {self.random.choice(self.paths): self.random.choice([1, -1]) for _ in range(self.random.randrange(1, 3))}

    def update(self) -> Document | None:
        if self.random.random() < 0.3:
            return None
        name = self.random.choice(["a", "b", "c", "a.x"])
        return {"$unset": {name: 1}} if self.random.random() < 0.3 else {"$set": {name: self.value(arrays=name != "c")}}


# --- random pipelines ------------------------------------------------------------------------------------------------


class Piper(Maker):
    """Random pipelines in which filters, sorts and limits may be moved forward."""

    def condition_stage(self) -> Document:
        filter = self.filter()
        return {"$match": filter if "$$" not in str(filter) else {self.random.choice(["d", "a"]): self.condition()}}

    def shaping(self) -> Document:
        name = self.random.choice(["a", "b", "c", "d", "a.x"])
        other = self.random.choice(["a", "b", "c", "a.x"])
        value = self.random.choice([f"${other}", f"${other}", {"$ifNull": [f"${other}", 0]}, "$$REMOVE"])
        return self.random.choice(
            [
                {self.random.choice(["$addFields", "$set"]): {name: value}},
                {"$project": {"a": 1, "b": self.random.choice([1, True, f"${other}"]), "d": value}},
                {"$project": {name: 0}},
                {"$project": {"_id": self.random.choice([0, 1, "$a"]), "c": 1, "a": f"${other}"}},
                {"$project": {"a": {"x": 1}, "b": 1}},
                {"$unset": [name]},
                {"$unwind": f"${name}"},
                {"$unwind": {"path": f"${name}", "preserveNullAndEmptyArrays": True, "includeArrayIndex": "n"}},
                {"$lookup": {"from": "indexed", "localField": name, "foreignField": other, "as": "j"}},
            ]
        )

    def joining(self) -> Document:
        inner: list[Document] = [{"$match": {"$expr": {"$eq": [f"${self.random.choice(self.paths)}", "$$v"]}}}]
        if self.random.random() < 0.5:
            inner.insert(self.random.randrange(2), {"$addFields": {"e": "$b"}})
        if self.random.random() < 0.5:
            inner += [{"$sort": {self.random.choice(["a", "b", "c"]): 1, "_id": 1}}, {"$limit": 2}]
        if self.random.random() < 0.2:
            return {"$unionWith": {"coll": "indexed", "pipeline": [self.condition_stage(), {"$unset": "c"}]}}
        let = {"v": self.random.choice(["$a", "$b", "$c", "$a.x", 1])}
        return {"$lookup": {"from": "indexed", "let": let, "pipeline": inner, "as": "j"}}

    def pipeline(self) -> list[Document]:
        made: list[Document] = []
        for _ in range(self.random.randrange(1, 4)):
            made.append(self.random.choice([self.condition_stage, self.shaping, self.shaping, self.joining])())
            if self.random.random() < 0.4:
                made.append(self.condition_stage())
        if self.random.random() < 0.4 and not any("$unwind" in stage or "$unionWith" in stage for stage in made):
            made = [*made, {"$sort": {self.random.choice(["a", "b", "c", "d"]): -1, "_id": 1}}]
            if not any(stage.get("$project", {}).get("_id", 1) != 1 for stage in made):
                made += self.random.choice([[], [{"$limit": 3}], [{"$skip": 1}, {"$limit": 2}]])
        return made


async def _pipe(store: EmbeddedStore, pipeline: list[Document]) -> None:
    """The same as every document through every stage, in the order they were written."""
    everything = (await store.execute(Find(namespace=PLAIN, filter={}))).documents.decode()
    try:
        transform = compile_pipeline(pipeline, Context(), {}, lambda name, database=None: everything)
        answers = [bson.decode(bson.encode(document, codec_options=CODEC), CODEC) for document in transform(everything)]
        expected = Counter(canonical(document) for document in answers)
    except DataError as error:
        if error.number not in (2, 16746):  # sorting by parallel arrays, or by what is an index and a field at once
            raise
        return
    found = await store.execute(Aggregate(namespace=INDEXED, pipeline=pipeline))
    assert Counter(canonical(document) for document in found.documents.decode()) == expected, pipeline


async def _index(store: EmbeddedStore, wanted: Sequence[tuple[Document, Document]]) -> None:
    for number, (keys, options) in enumerate(wanted):
        try:
            await store.execute(CreateIndex(namespace=INDEXED, keys=keys, options={**options, "name": f"i{number}"}))
        except DataError as error:
            # Parallel arrays cannot be in one index, arrays not in a hashed one, and one index is not made twice.
            if error.number not in (171, 85, 16766):
                raise


async def _change(store: EmbeddedStore, change: tuple[Document, Document | None]) -> None:
    filter, update = change
    outcomes = []
    for namespace in (INDEXED, PLAIN):
        try:
            if update is None:
                outcomes.append((await store.execute(DeleteMany(namespace=namespace, filter=filter))).wire())
            else:
                outcomes.append(
                    (await store.execute(UpdateMany(namespace=namespace, filter=filter, update=update))).wire()
                )
        except DataError as error:
            # A path that runs into a scalar or an index that cannot take an array: refused in the first collection.
            if error.number not in (171, 16766, 28) or namespace is PLAIN:
                raise
            return
    assert outcomes[0] == outcomes[1]


async def _ask(
    store: EmbeddedStore, filter: Document, let: Document, sort: Document | None, skip: int, limit: int
) -> None:
    answers: list[list[Document]] = []
    counts = []
    distinct = []
    for namespace in (PLAIN, INDEXED):
        try:
            asked = Find(namespace=namespace, filter=filter, let=let, sort=sort, skip=skip, limit=limit)
            found = await store.execute(asked)
        except DataError as error:
            # Only sorting by parallel arrays fails, and an index in that order cannot exist.
            if error.number != 2 or not sort:
                raise
            return
        answers.append(found.documents.decode())
        if "$$" in str(filter):
            continue  # only find declares variables
        counts.append((await store.execute(CountDocuments(namespace=namespace, filter=filter))).count)
        if not sort:
            values = (await store.execute(Distinct(namespace=namespace, key="c", filter=filter))).values
            distinct.append({canonical(value) for value in values})
    assert counts[:1] == counts[1:]
    assert distinct[:1] == distinct[1:]
    plain, indexed = answers
    assert len(plain) == len(indexed)
    if sort:
        key = compile_sort(sort)
        assert [key(document) for document in plain] == [key(document) for document in indexed]
    if not skip and not limit:
        assert sorted(document["_id"] for document in plain) == sorted(document["_id"] for document in indexed)
    assert len({document["_id"] for document in indexed}) == len(indexed)


async def _fill(store: EmbeddedStore, make: Maker) -> None:
    taken = []
    for number in range(make.random.choice([make.random.randrange(1, 30), make.random.randrange(30, 150)])):
        document = make.document(number)
        try:
            await store.execute(InsertMany(namespace=INDEXED, documents=[document]))
        except DataError as error:
            if error.number not in (171, 16766):
                raise
            continue
        taken.append(document)
    if taken:
        await store.execute(InsertMany(namespace=PLAIN, documents=taken))


async def _prepare(store: EmbeddedStore, make: Maker) -> None:
    wanted = [(make.random.choice(PATTERNS), make.random.choice(OPTIONS)) for _ in range(make.random.randrange(1, 5))]
    for keys, _ in wanted:
        make.paths += list(keys) * 6
    first = make.random.random() < 0.5
    if first:
        await _index(store, wanted)
    await _fill(store, make)
    if not first:
        await _index(store, wanted)


async def _compare(store: EmbeddedStore, seed: int) -> None:
    make = Maker(seed)
    await _prepare(store, make)
    for _ in range(make.random.randrange(3)):
        filter = make.filter()
        await _change(store, (filter if "$$" not in str(filter) else {"a": 1}, make.update()))
    for _ in range(20):
        filter, sort = make.filter(), make.sort()
        let = make.let()
        await _ask(store, filter, let, sort, 0, 0)
        await _ask(store, filter, let, sort, make.random.randrange(3), make.random.randrange(6))
    report = await store.execute(RunCommand(namespace=Namespace("db"), command={"validate": "indexed"}))
    assert report.result["valid"], report.result


async def _compare_pipelines(store: EmbeddedStore, seed: int) -> None:
    make = Piper(seed)
    await _prepare(store, make)
    for _ in range(30):
        await _pipe(store, make.pipeline())


def _with_store(scenario: Callable[[EmbeddedStore, int], Awaitable[None]], seed: int) -> None:
    async def whole(folder: str) -> None:
        store = EmbeddedStore(Path(folder), synchronous="OFF")
        await store.open()
        try:
            await scenario(store, seed)
        finally:
            await store.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(whole(folder))


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.integers(0, 2**32))
def test_the_same_answers_with_any_indexes(seed: int) -> None:
    _with_store(_compare, seed)


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.integers(0, 2**32))
def test_the_same_answers_of_pipelines(seed: int) -> None:
    _with_store(_compare_pipelines, seed)
