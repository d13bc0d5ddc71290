"""Several operations as one, on every engine alike: all of them, or none."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from scenarios import NS, Engine, everything, shown, unique_database

from doorleaf.documents import Document
from doorleaf.errors import (
    DataError,
    DoorleafError,
    DuplicateKey,
    InvalidParameter,
    PermissionDenied,
    RequestError,
    Unsupported,
)
from doorleaf.operations import (
    Aggregate,
    BulkWrite,
    CountDocuments,
    CreateIndex,
    DeleteMany,
    DeleteOne,
    Distinct,
    DropCollection,
    Find,
    FindOne,
    FindOneAndUpdate,
    InsertMany,
    InsertOne,
    Namespace,
    Operation,
    ReplaceOne,
    Transaction,
    UpdateMany,
    UpdateOne,
)
from doorleaf.operations.results import (
    BulkWriteResult,
    CountResult,
    DeleteResult,
    DistinctResult,
    DocumentResult,
    DocumentsResult,
    InsertManyResult,
    InsertOneResult,
    UpdateResult,
)
from doorleaf.stores.base import Store


class NoDebts:
    """A guard that can be asked in this process alone."""

    portable = False
    small = True
    sufficient = None

    def __call__(self, before: Document | None, after: Document | None) -> None:
        if after is not None and after["sum"] < 0:
            raise PermissionDenied("no debts")


ACCOUNTS: list[Document] = [{"_id": "a", "sum": 10}, {"_id": "b", "sum": 0}]


async def accounts(store: Store) -> Namespace:
    place = Namespace(unique_database(), NS.collection)
    await store.execute(InsertMany(namespace=place, documents=[dict(account) for account in ACCOUNTS]))
    return place


async def together(store: Store, *operations: Operation[Any], **options: Any) -> list[Any]:
    made = Transaction.of(operations)
    for name, value in options.items():
        setattr(made, name, value)
    try:
        return list((await store.execute(made)).results)
    except Unsupported as error:
        if "replica set" in error.message:
            pytest.skip("this MongoDB has no transactions, and says so")
        raise


def plus(place: Namespace, identifier: str, amount: int) -> UpdateOne:
    return UpdateOne(namespace=place, filter={"_id": identifier}, update={"$inc": {"sum": amount}})


def test_every_kind_of_operation_and_each_sees_those_before(engine: Engine) -> None:
    async def body(store: Store) -> None:
        place = await accounts(store)
        other = Namespace(place.database, "others")
        results = await together(
            store,
            plus(place, "a", -4),
            plus(place, "b", 4),
            FindOne(namespace=place, filter={"_id": "b"}),
            InsertOne(namespace=other, document={"_id": 1, "n": 1}),
            InsertMany(namespace=other, documents=[{"_id": 2, "n": 1}, {"_id": 3, "n": 5}]),
            CountDocuments(namespace=other),
            Find(namespace=other, sort={"_id": -1}, limit=2),
            Aggregate(namespace=other, pipeline=[{"$group": {"_id": None, "n": {"$sum": "$n"}}}]),
            Distinct(namespace=other, key="n"),
            UpdateMany(namespace=other, filter={"n": 1}, update={"$set": {"n": 2}}),
            ReplaceOne(namespace=other, filter={"_id": 9}, replacement={"n": 9}, upsert=True),
            FindOneAndUpdate(namespace=other, filter={"_id": 1}, update={"$inc": {"n": 1}}),
            BulkWrite(
                namespace=other,
                operations=[
                    InsertOne(namespace=other, document={"_id": 10}),
                    DeleteOne(namespace=other, filter={"_id": 2}),
                ],
            ),
            DeleteMany(namespace=other, filter={"n": {"$gte": 5}}),
            CountDocuments(namespace=other),
        )
        assert results[:2] == [UpdateResult(1, 1), UpdateResult(1, 1)]
        assert isinstance(results[2], DocumentResult)
        assert shown(results[2].document) == {"_id": "b", "sum": 4}  # type: ignore[arg-type]
        assert results[3] == InsertOneResult(1)
        assert results[4] == InsertManyResult([2, 3])
        assert results[5] == CountResult(3)
        assert isinstance(results[6], DocumentsResult)
        assert results[6].documents.decode() == [{"_id": 3, "n": 5}, {"_id": 2, "n": 1}]
        assert results[7].documents.decode() == [{"_id": None, "n": 7}]
        assert results[8] == DistinctResult([1, 5])
        assert results[9] == UpdateResult(2, 2)
        assert results[10] == UpdateResult(0, 0, 9)
        assert shown(results[11].document) == {"_id": 1, "n": 3}
        assert isinstance(results[12], BulkWriteResult)
        assert (results[12].inserted_count, results[12].deleted_count) == (1, 1)
        assert results[13] == DeleteResult(2)
        assert results[14] == CountResult(2)
        assert [shown(item) for item in await everything(store, place.database)] == [
            {"_id": "a", "sum": 6},
            {"_id": "b", "sum": 4},
        ]
        assert [shown(item) for item in await everything(store, place.database, "others")] == [
            {"_id": 1, "n": 3},
            {"_id": 10},
        ]

    engine.run(body)


def test_one_that_fails_leaves_nothing_of_any(engine: Engine) -> None:
    async def body(store: Store) -> None:
        place = await accounts(store)
        fresh = Namespace(place.database, "fresh")
        failing: list[tuple[Operation[Any], type[DoorleafError], int | None]] = [
            (InsertOne(namespace=place, document={"_id": "a"}), DuplicateKey, 11000),
            (InsertMany(namespace=place, documents=[{"_id": "c"}, {"_id": "a"}]), DuplicateKey, 11000),
            (plus(place, "a", "x"), DataError, 14),  # type: ignore[arg-type]
            (Find(namespace=place, filter={"$nothing": 1}), DataError, 2),
            (
                BulkWrite(
                    namespace=place,
                    operations=[
                        InsertOne(namespace=place, document={"_id": "d"}),
                        InsertOne(namespace=place, document={"_id": "a"}),
                    ],
                    ordered=False,
                ),
                DuplicateKey,
                11000,
            ),
        ]
        for operation, kind, number in failing:
            with pytest.raises(kind) as raised:
                await together(
                    store, plus(place, "a", -5), InsertOne(namespace=fresh, document={}), operation, plus(place, "b", 5)
                )
            error = raised.value
            assert error.message.startswith(f"operations[2] ({operation.name}): "), error.message
            assert error.fields["index"] == 2
            assert "writeErrors" not in error.fields
            assert number is None or getattr(error, "number", None) == number
            assert [shown(item) for item in await everything(store, place.database)] == ACCOUNTS
            assert await everything(store, place.database, "fresh") == []
        await store.execute(plus(place, "b", 1))  # and the store goes on

    engine.run(body)


def test_a_guard_that_refuses_undoes_all(engine: Engine) -> None:
    guard = NoDebts()

    async def body(store: Store) -> None:
        place = await accounts(store)
        less = plus(place, "b", -1)
        less.guard = guard
        with pytest.raises(PermissionDenied, match=r"operations\[1\] \(updateOne\): no debts"):
            await together(store, plus(place, "a", 1), less)
        assert [shown(item) for item in await everything(store, place.database)] == ACCOUNTS
        more = plus(place, "b", 1)
        more.guard = guard
        assert await together(store, plus(place, "a", -1), more) == [UpdateResult(1, 1)] * 2

    engine.run(body)


def test_what_all_answer_together_is_bounded(engine: Engine) -> None:
    async def body(store: Store) -> None:
        place = await accounts(store)
        await store.execute(InsertOne(namespace=place, document={"_id": "t", "t": "x" * 60_000}))
        read = FindOne(namespace=place, filter={"_id": "t"})
        assert len(await together(store, read, max_bytes=100_000)) == 1
        with pytest.raises(RequestError) as raised:
            await together(store, plus(place, "a", 1), read, read, max_bytes=100_000)
        assert raised.value.code == "ReadSizeLimitExceeded"
        assert raised.value.fields["index"] == 2
        assert shown((await everything(store, place.database))[0]) == ACCOUNTS[0]

    engine.run(body)


def test_others_see_all_of_it_or_nothing(engine: Engine) -> None:
    """Many at once move what there is from one account to another: the sum stays, whenever somebody looks."""
    if engine.name == "secantus":
        pytest.skip("this server does not isolate transactions")

    async def body(store: Store) -> None:
        place = await accounts(store)

        async def move(amount: int) -> None:
            await together(store, plus(place, "a", -amount), plus(place, "b", amount))

        async def look() -> None:
            total = Aggregate(namespace=place, pipeline=[{"$group": {"_id": None, "sum": {"$sum": "$sum"}}}])
            assert (await store.execute(total)).documents.decode() == [{"_id": None, "sum": 10}]

        await asyncio.gather(*(work for number in range(20) for work in (move(number), look())))
        await look()

    engine.run(body)


def test_what_cannot_be_part_of_one_is_refused() -> None:
    place = Namespace("db", "c", "default")
    wrong: list[tuple[Operation[Any], str]] = [
        (DropCollection(namespace=place), "dropCollection cannot"),
        (CreateIndex(namespace=place, keys={"a": 1}), "createIndex cannot"),
        (Aggregate(namespace=place, pipeline=[{"$out": "x"}]), "out and"),
        (FindOne(namespace=Namespace("db", "c", "other")), "another data source"),
        (Transaction.of([FindOne(namespace=place)]), "transaction cannot"),
    ]
    for operation, says in wrong:
        with pytest.raises(InvalidParameter, match=says) as raised:
            Transaction.of([FindOne(namespace=place), operation]).require_possible()
        assert raised.value.message.startswith("operations[1]")
    with pytest.raises(InvalidParameter, match="at least one"):
        Transaction.of([])
    with pytest.raises(InvalidParameter, match="1 to 1000"):
        Transaction.of([FindOne(namespace=place)] * 1001).require_possible()
