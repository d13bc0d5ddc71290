"""An index makes a query faster and never different: the same answers with any set of indexes and with none."""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from bson import Decimal128, Int64, MinKey, ObjectId, Regex
from hypothesis import given, settings
from hypothesis import strategies as st

from doorleaf.documents import Document
from doorleaf.errors import DataError
from doorleaf.mql.order import compile_sort
from doorleaf.mql.values import canonical
from doorleaf.operations import (
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
from doorleaf.stores.embedded.bounds import conditions
from doorleaf.stores.embedded.catalog import Collection, Index
from doorleaf.stores.embedded.planner import Plan, plan
from doorleaf.stores.embedded.store import EmbeddedStore

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
        if depth < 2 and self.random.random() < 0.25:
            parts = [self.filter(depth + 1) for _ in range(self.random.randrange(1, 3))]
            made[self.random.choice(["$and", "$and", "$or", "$nor"])] = parts
        return made

    def sort(self) -> Document | None:
        if self.random.random() < 0.4:
            return None
        return {self.random.choice(self.paths): self.random.choice([1, -1]) for _ in range(self.random.randrange(1, 3))}

    def update(self) -> Document | None:
        if self.random.random() < 0.3:
            return None
        name = self.random.choice(["a", "b", "c", "a.x"])
        return {"$unset": {name: 1}} if self.random.random() < 0.3 else {"$set": {name: self.value(arrays=name != "c")}}


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


async def _ask(store: EmbeddedStore, filter: Document, sort: Document | None, skip: int, limit: int) -> None:
    answers: list[list[Document]] = []
    counts = []
    distinct = []
    for namespace in (PLAIN, INDEXED):
        try:
            found = await store.execute(Find(namespace=namespace, filter=filter, sort=sort, skip=skip, limit=limit))
        except DataError as error:
            # Only sorting by parallel arrays fails, and an index in that order cannot exist.
            if error.number != 2 or not sort:
                raise
            return
        answers.append(found.documents.decode())
        counts.append((await store.execute(CountDocuments(namespace=namespace, filter=filter))).count)
        if not sort:
            values = (await store.execute(Distinct(namespace=namespace, key="c", filter=filter))).values
            distinct.append({canonical(value) for value in values})
    assert counts[0] == counts[1]
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
    for number in range(make.random.randrange(1, 30)):
        document = make.document(number)
        try:
            await store.execute(InsertMany(namespace=INDEXED, documents=[document]))
        except DataError as error:
            if error.number not in (171, 16766):
                raise
            continue
        await store.execute(InsertMany(namespace=PLAIN, documents=[document]))


async def _compare(store: EmbeddedStore, make: Maker) -> None:
    wanted = [(make.random.choice(PATTERNS), make.random.choice(OPTIONS)) for _ in range(make.random.randrange(1, 5))]
    for keys, _ in wanted:
        make.paths += list(keys) * 6
    first = make.random.random() < 0.5
    if first:
        await _index(store, wanted)
    await _fill(store, make)
    if not first:
        await _index(store, wanted)
    for _ in range(make.random.randrange(3)):
        await _change(store, (make.filter(), make.update()))
    for _ in range(20):
        filter, sort = make.filter(), make.sort()
        await _ask(store, filter, sort, 0, 0)
        await _ask(store, filter, sort, make.random.randrange(3), make.random.randrange(6))
    report = await store.execute(RunCommand(namespace=Namespace("db"), command={"validate": "indexed"}))
    assert report.result["valid"], report.result


@settings(max_examples=120, deadline=None)
@given(st.integers(0, 2**32))
def test_the_same_answers_with_any_indexes(seed: int) -> None:
    async def scenario(folder: str) -> None:
        store = EmbeddedStore(Path(folder), synchronous="OFF")
        await store.open()
        try:
            await _compare(store, Maker(seed))
        finally:
            await store.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(scenario(folder))


# --- chosen plans ----------------------------------------------------------------------------------------------------


def collection(*indexes: tuple[Document, Document], arrays: dict[str, int] | None = None) -> Collection:
    made = [Index(1, {"v": 2, "key": {"_id": 1}, "name": "_id_"}, 0)]
    for number, (keys, options) in enumerate(indexes, 2):
        name = "_".join(keys)
        made.append(Index(number, {"v": 2, "key": keys, "name": name, **options}, (arrays or {}).get(name, 0)))
    return Collection(1, "db", "c", {}, tuple(made))


Spec = tuple[Document, Document]
A: Spec = ({"a": 1}, {})
AB: Spec = ({"a": 1, "b": -1}, {})
B: Spec = ({"b": 1}, {})


@pytest.mark.parametrize(
    ("indexes", "filter", "sort", "expected"),
    [
        ([A], {"a": 1}, None, ("a", True, True)),
        ([A], {"a": {"$gt": 1, "$lte": 5}}, None, ("a", True, True)),
        ([A], {"a": {"$in": [1, 2]}}, None, ("a", True, True)),
        ([A], {"a": None}, None, ("a", False, True)),
        ([A], {"a": {"$ne": 1}}, None, (None, False, True)),
        ([A], {"a": 1, "z": 2}, None, ("a", False, True)),
        ([A], {}, {"a": -1}, ("a", True, True)),
        ([A], {}, {"z": 1}, (None, True, False)),
        ([AB], {"b": 1}, None, (None, False, True)),
        ([AB], {"a": 1, "b": 2}, None, ("a_b", True, True)),
        ([AB], {"a": 1}, {"b": 1}, ("a_b", True, True)),
        ([AB], {"a": 1}, {"b": -1}, ("a_b", True, True)),
        ([AB], {}, {"a": 1, "b": -1}, ("a_b", True, True)),
        ([AB], {}, {"a": -1, "b": 1}, ("a_b", True, True)),
        ([AB], {}, {"a": 1, "b": 1}, (None, True, False)),
        ([AB], {"a": {"$gt": 1}}, {"b": 1}, ("a_b", True, False)),
        ([AB], {"a": {"$in": [1, 2]}}, {"b": 1}, ("a_b", True, False)),
        ([A, B], {"a": 1, "b": {"$gt": 2}}, None, ("a", False, True)),
        ([A], {"_id": 5, "a": 1}, None, ("_id_", False, True)),
        ([A], {"$or": [{"a": 1}, {"b": 1}]}, None, (None, False, True)),
        ([A], {"$and": [{"a": {"$gt": 1}}, {"a": {"$lt": 4}}]}, None, ("a", True, True)),
        ([({"a": 1}, {"sparse": True})], {"a": 1}, None, ("a", True, True)),
        ([({"a": 1}, {"sparse": True})], {"a": None}, None, (None, False, True)),
        ([({"a": 1}, {"sparse": True})], {}, {"a": 1}, (None, True, False)),
        ([({"a": 1}, {"hidden": True})], {"a": 1}, None, (None, False, True)),
        ([({"a": 1}, {"partialFilterExpression": {"b": {"$gt": 5}}})], {"a": 1}, None, (None, False, True)),
        ([({"a": 1}, {"partialFilterExpression": {"b": {"$gt": 5}}})], {"a": 1, "b": 7}, None, ("a", False, True)),
        ([({"a": 1}, {"partialFilterExpression": {"b": {"$gt": 5}}})], {"a": 1, "b": 3}, None, (None, False, True)),
        (
            [({"a": 1}, {"partialFilterExpression": {"b": {"$gt": 5}}})],
            {"a": 1, "b": {"$gt": 5}},
            None,
            ("a", False, True),
        ),
        ([({"a.0": 1}, {})], {"a.0": 1}, None, (None, False, True)),
        ([A], {"a": Regex("^abc")}, None, ("a", False, True)),
        ([A], {"a": Regex("abc")}, None, (None, False, True)),
        ([A], {"a": Regex("^abc", "i")}, None, (None, False, True)),
    ],
)
def test_plans(
    indexes: list[tuple[Document, Document]],
    filter: Document,
    sort: Document | None,
    expected: tuple[str | None, bool, bool],
) -> None:
    made = plan(collection(*indexes), filter, sort)
    assert (made.index.name if made.index else None, made.exact, made.sorted) == expected


def test_one_bound_alone_on_an_array_field() -> None:
    made = plan(collection(A, arrays={"a": 1}), {"a": {"$gt": 1, "$lt": 5}})
    assert len(made.intervals) == 1
    assert not made.exact
    scalar = plan(collection(A), {"a": {"$gt": 1, "$lt": 5}})
    low, high = made.intervals[0]
    narrow_low, narrow_high = scalar.intervals[0]
    assert (low == narrow_low) != (high == narrow_high)
    assert not made.distinct


def test_two_fields_of_one_array_are_not_bound_together() -> None:
    pair: Spec = ({"a.x": 1, "a.y": 1}, {})
    bound = plan(collection(pair, arrays={"a.x_a.y": 3}), {"a.x": 1, "a.y": 2})
    free = plan(collection(pair), {"a.x": 1, "a.y": 2})
    assert bound.intervals[0][1], "an interval over a.x alone"
    assert not free.intervals[0][1], "a single key"


def test_an_array_field_gives_no_order() -> None:
    assert plan(collection(A, arrays={"a": 1}), {}, {"a": 1}).index is None
    assert plan(collection(AB, arrays={"a_b": 2}), {"a": 1}, {"a": 1}).sorted


@pytest.mark.parametrize("hint", ["a", {"a": 1}])
def test_a_hint_is_honoured(hint: Any) -> None:
    made: Plan = plan(collection(A, B), {"b": 1}, hint=hint)
    assert made.index is not None
    assert made.index.name == "a"


def test_a_hint_of_no_index_is_refused() -> None:
    with pytest.raises(DataError, match="hint provided does not correspond to an existing index") as caught:
        plan(collection(A), {"a": 1}, hint="nope")
    assert caught.value.number == 2


def test_natural_order_by_hint_and_by_sort() -> None:
    assert plan(collection(A), {"a": 1}, hint={"$natural": 1}).index is None
    backwards = plan(collection(A), {}, {"$natural": -1})
    assert (backwards.index, backwards.reverse, backwards.sorted) == (None, True, True)
    with pytest.raises(DataError):
        plan(collection(A), {}, {"$natural": 2})


def test_an_index_in_order_is_the_alternative_of_one_that_narrows() -> None:
    made = plan(collection(A, B), {"a": 1}, {"b": 1})
    assert made.index is not None
    assert made.index.name == "a"
    assert made.alternative is not None
    assert made.alternative.index is not None
    assert made.alternative.index.name == "b"


def test_what_is_slow_to_test_stays_off_the_event_loop() -> None:
    assert conditions({"a": 1, "b": {"$exists": True}}).cheap
    assert not conditions({"a": 1, "b": Regex("x")}).cheap
    assert not conditions({"a": 1, "$expr": {"$eq": ["$a", 1]}}).cheap
    assert not conditions({"$or": [{"a": 1}, {"b": {"$regex": "x"}}]}).cheap
