"""Guards see every document before and after, and what they raise undoes the write, on every engine alike."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import bson
import pytest
from bson import Binary, Code, DBRef, Decimal128, Int64, MaxKey, Regex, Timestamp
from guards import Looks
from scenarios import NS, THREE, Engine, encoded, everything, placed, unique_database

from doorleaf.documents import CODEC, Document
from doorleaf.errors import DuplicateKey, PermissionDenied, WriteFailed
from doorleaf.mql.updates.basis import identical
from doorleaf.mql.values import type_name
from doorleaf.operations import (
    BulkWrite,
    DeleteMany,
    DeleteOne,
    FindOneAndDelete,
    FindOneAndReplace,
    FindOneAndUpdate,
    InsertMany,
    InsertOne,
    Namespace,
    Operation,
    ReplaceOne,
    UpdateMany,
    UpdateOne,
)
from doorleaf.operations.results import DocumentResult, UpdateResult
from doorleaf.stores.base import Store

INC = {"$inc": {"k": 10}}
Seen = list[tuple[Document | None, Document | None]]

WRITES: dict[str, tuple[Callable[..., Operation[Any]], Seen, list[Document]]] = {
    "insertOne": (
        lambda g: InsertOne(namespace=NS, document={"_id": 9}, guard=g),
        [(None, {"_id": 9})],
        [*THREE, {"_id": 9}],
    ),
    "insertMany": (
        lambda g: InsertMany(namespace=NS, documents=[{"_id": 8}, {"_id": 9}], guard=g),
        [(None, {"_id": 8}), (None, {"_id": 9})],
        [*THREE, {"_id": 8}, {"_id": 9}],
    ),
    "updateOne": (
        lambda g: UpdateOne(namespace=NS, filter={"k": {"$gt": 1}}, update=INC, sort={"k": -1}, guard=g),
        [({"_id": 3, "k": 3}, {"_id": 3, "k": 13})],
        [*THREE[:2], {"_id": 3, "k": 13}],
    ),
    "updateOne, upsert": (
        lambda g: UpdateOne(namespace=NS, filter={"_id": 0}, update=INC, upsert=True, guard=g),
        [(None, {"_id": 0, "k": 10})],
        [{"_id": 0, "k": 10}, *THREE],
    ),
    "updateOne, no match": (lambda g: UpdateOne(namespace=NS, filter={"_id": 7}, update=INC, guard=g), [], THREE),
    "updateMany": (
        lambda g: UpdateMany(namespace=NS, filter={"_id": {"$gte": 2}}, update=INC, guard=g),
        [({"_id": 2, "k": 2}, {"_id": 2, "k": 12}), ({"_id": 3, "k": 3}, {"_id": 3, "k": 13})],
        [THREE[0], {"_id": 2, "k": 12}, {"_id": 3, "k": 13}],
    ),
    "replaceOne": (
        lambda g: ReplaceOne(namespace=NS, filter={"_id": 2}, replacement={"z": 1}, guard=g),
        [({"_id": 2, "k": 2}, {"_id": 2, "z": 1})],
        [THREE[0], {"_id": 2, "z": 1}, THREE[2]],
    ),
    "deleteOne": (
        lambda g: DeleteOne(namespace=NS, filter={"_id": 2}, guard=g),
        [({"_id": 2, "k": 2}, None)],
        [THREE[0], THREE[2]],
    ),
    "deleteMany": (
        lambda g: DeleteMany(namespace=NS, filter={"_id": {"$lte": 2}}, guard=g),
        [({"_id": 1, "k": 1}, None), ({"_id": 2, "k": 2}, None)],
        THREE[2:],
    ),
    "findOneAndUpdate": (
        lambda g: FindOneAndUpdate(namespace=NS, filter={"_id": 2}, update=INC, projection={"_id": 1}, guard=g),
        [({"_id": 2, "k": 2}, {"_id": 2, "k": 12})],
        [THREE[0], {"_id": 2, "k": 12}, THREE[2]],
    ),
    "findOneAndUpdate, upsert": (
        lambda g: FindOneAndUpdate(namespace=NS, filter={"_id": 0}, update=INC, upsert=True, guard=g),
        [(None, {"_id": 0, "k": 10})],
        [{"_id": 0, "k": 10}, *THREE],
    ),
    "findOneAndReplace": (
        lambda g: FindOneAndReplace(namespace=NS, filter={"_id": 2}, replacement={"z": 1}, guard=g),
        [({"_id": 2, "k": 2}, {"_id": 2, "z": 1})],
        [THREE[0], {"_id": 2, "z": 1}, THREE[2]],
    ),
    "findOneAndDelete": (
        lambda g: FindOneAndDelete(namespace=NS, filter={}, sort={"k": -1}, guard=g),
        [({"_id": 3, "k": 3}, None)],
        THREE[:2],
    ),
    "bulkWrite": (
        lambda g: BulkWrite(
            namespace=NS,
            operations=[
                InsertOne(namespace=NS, document={"_id": 9}, guard=g),
                UpdateOne(namespace=NS, filter={"_id": 1}, update=INC, guard=g),
                DeleteOne(namespace=NS, filter={"_id": 2}, guard=g),
            ],
        ),
        [(None, {"_id": 9}), ({"_id": 1, "k": 1}, {"_id": 1, "k": 11}), ({"_id": 2, "k": 2}, None)],
        [{"_id": 1, "k": 11}, THREE[2], {"_id": 9}],
    ),
}


async def on_three(store: Store, make: Callable[..., Operation[Any]], guard: Any) -> tuple[Any, list[bytes]]:
    """Run the write on a collection of three; its outcome or error, and all documents afterwards."""
    database = unique_database()
    await store.execute(InsertMany(namespace=Namespace(database, NS.collection), documents=list(THREE)))
    try:
        outcome: Any = await store.execute(placed(make(Looks(guard)), database))
    except Exception as error:
        outcome = error
    found = await everything(store, database)
    return outcome, found


def by_id(seen: Seen) -> Seen:
    return sorted(seen, key=lambda pair: (pair[0] or pair[1] or {})["_id"])


@pytest.mark.parametrize("name", WRITES)
def test_guards_see_every_document(engine: Engine, name: str) -> None:
    make, wanted, after = WRITES[name]
    seen: Seen = []

    async def body(store: Store) -> None:
        outcome, found = await on_three(store, make, lambda before, then: seen.append((before, then)))
        assert not isinstance(outcome, Exception), outcome
        assert found == encoded(after)
        assert by_id(seen[-len(wanted) :] if wanted else seen) == by_id(wanted)

    engine.run(body)


ODD = [
    2**40,
    Int64(5),
    -0.0,
    Decimal128("1.50"),
    datetime(2024, 2, 29, 12, 0, 0, 250_000),
    {"$ref": "c", "$id": 1, "more": [1]},
    DBRef("c", 2**40),
    Binary(b"x", 0),
    Binary(b"x", 5),
    Regex("a", "i"),
    Code("f", {"a": 2**40}),
    Timestamp(1, 2),
    [[], {}, None, {"a": [True, MaxKey()]}],
]


@pytest.mark.parametrize("value", ODD, ids=repr)
def test_guards_see_what_is_stored(engine: Engine, value: Any) -> None:
    """Rules would judge another document than there is if a value were one thing to them and another when stored."""
    makes: list[Callable[[Any], Operation[Any]]] = [
        lambda g: InsertOne(namespace=NS, document={"_id": 0, "v": value}, guard=g),
        lambda g: InsertMany(namespace=NS, documents=[{"_id": 0, "v": value}], guard=g),
        lambda g: UpdateOne(namespace=NS, filter={"_id": 0}, update={"$set": {"v": value}}, upsert=True, guard=g),
        lambda g: UpdateOne(namespace=NS, filter={"_id": 1}, update={"$set": {"v": value}}, guard=g),
        lambda g: UpdateOne(namespace=NS, filter={"_id": 1}, update=[{"$set": {"v": {"$literal": value}}}], guard=g),
        lambda g: ReplaceOne(namespace=NS, filter={"_id": 1}, replacement={"v": value}, guard=g),
    ]

    async def body(store: Store) -> None:
        for make in makes:
            seen: list[Document | None] = []
            outcome, found = await on_three(store, make, lambda before, after, seen=seen: seen.append(after))
            assert not isinstance(outcome, Exception), outcome
            (stored,) = [document for document in found if document not in encoded(THREE)]
            judged = seen[-1]
            assert judged is not None
            assert encoded([judged]) == [stored]
            read = bson.decode(stored, CODEC)["v"]
            assert type_name(judged["v"]) == type_name(read)
            assert identical(judged["v"], read)

    engine.run(body)


@pytest.mark.parametrize("name", [name for name, (_, seen, _) in WRITES.items() if seen])
def test_what_a_guard_raises_undoes_the_write(engine: Engine, name: str) -> None:
    make, wanted, _ = WRITES[name]
    last = by_id(wanted)[-1]

    def refuse(before: Document | None, after: Document | None) -> None:
        if (before, after) == last:
            raise PermissionDenied("the rule says no")

    async def body(store: Store) -> None:
        outcome, found = await on_three(store, make, refuse)
        assert isinstance(outcome, PermissionDenied)
        assert outcome.message == "the rule says no"
        assert found == encoded(THREE)

    engine.run(body)


def test_results_of_guarded_writes(engine: Engine) -> None:
    def allow(before: Document | None, after: Document | None) -> None:
        return None

    async def body(store: Store) -> None:
        upserted, _ = await on_three(store, WRITES["updateOne, upsert"][0], allow)
        assert upserted == UpdateResult(0, 0, 0)
        found, _ = await on_three(store, WRITES["findOneAndUpdate, upsert"][0], allow)
        assert found == DocumentResult(encoded([{"_id": 0, "k": 10}])[0])
        projected, _ = await on_three(store, WRITES["findOneAndUpdate"][0], allow)
        assert projected == DocumentResult(encoded([{"_id": 2}])[0])
        several, _ = await on_three(store, WRITES["updateMany"][0], allow)
        assert several == UpdateResult(2, 2)
        bulk, _ = await on_three(store, WRITES["bulkWrite"][0], allow)
        assert (bulk.inserted_count, bulk.matched_count, bulk.modified_count, bulk.deleted_count) == (1, 1, 1, 1)
        assert bulk.inserted_ids == {"0": 9}
        duplicate, after = await on_three(store, lambda g: InsertOne(namespace=NS, document={"_id": 1}, guard=g), allow)
        assert isinstance(duplicate, DuplicateKey)
        assert not isinstance(duplicate, WriteFailed)
        assert after == encoded(THREE)

    engine.run(body)


def test_positional_update_under_a_guard(engine: Engine) -> None:
    def allow(before: Document | None, after: Document | None) -> None:
        return None

    async def body(store: Store) -> None:
        database = unique_database()
        namespace = Namespace(database, NS.collection)
        await store.execute(InsertOne(namespace=namespace, document={"_id": 1, "a": [1, 2, 3]}))
        await store.execute(
            UpdateOne(namespace=namespace, filter={"a": 2}, update={"$set": {"a.$": 9}}, guard=Looks(allow))
        )
        assert await everything(store, database) == encoded([{"_id": 1, "a": [1, 9, 3]}])

    engine.run(body)
