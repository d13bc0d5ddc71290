"""Bulks that go to MongoDB some parts at a time have the outcome that they would have as a whole."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from guards import Looks
from mongo_writing import NS, count, insert, numbers, through
from wire_proxy import NOT_PRIMARY, Proxy

from doorleaf.documents import Document
from doorleaf.errors import (
    DataError,
    DoorleafError,
    DuplicateKey,
    InvalidParameter,
    RequestError,
    StoreTimeout,
    WriteFailed,
    WriteOutcomeUnknown,
)
from doorleaf.operations import (
    BulkWrite,
    DeleteMany,
    DeleteOne,
    Find,
    InsertMany,
    InsertOne,
    Operation,
    ReplaceOne,
    Transaction,
    UpdateMany,
    UpdateOne,
)
from doorleaf.stores.mongo import MongoStore, bulks, guard, together


@pytest.fixture(autouse=True)
def some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulks, "PARTS", 3)


def many(*ids: Any, ordered: bool = True, **options: Any) -> InsertMany:
    return InsertMany(namespace=NS, documents=[{"_id": id_} for id_ in ids], ordered=ordered, **options)


def one(id_: Any) -> InsertOne:
    return InsertOne(namespace=NS, document={"_id": id_})


def update(id_: int, number: int, *, upsert: bool = False) -> UpdateOne:
    return UpdateOne(namespace=NS, filter={"_id": id_}, update={"$inc": {"n": number}}, upsert=upsert)


def bulk(*writes: Any, ordered: bool = True) -> BulkWrite:
    return BulkWrite(namespace=NS, operations=[*writes], ordered=ordered)


EVERY = UpdateMany(namespace=NS, filter={}, update={"$inc": {"n": 1}})
NONE = DeleteMany(namespace=NS, filter={})
GONE = DeleteOne(namespace=NS, filter={"_id": 1})
NEW = ReplaceOne(namespace=NS, filter={"_id": 6}, replacement={"n": 6}, upsert=True)
BAD = UpdateOne(namespace=NS, filter={"_id": 0}, update={"$set": {"_id": 5}})

Failing = tuple[list[int], Document]
"""The indexes of the parts that failed, and some fields of the answer."""

ROWS: dict[str, tuple[Operation[Any], int, Document | Failing, list[Document]]] = {
    "inserts": (many(*range(1, 8)), 3, {"insertedIds": [*range(1, 8)]}, [{"_id": id_} for id_ in range(8)]),
    "three": (many(1, 2, 3), 1, {"insertedIds": [1, 2, 3]}, [{"_id": id_} for id_ in range(4)]),
    "in order": (
        many(1, 2, 3, 4, 2, 5, 6, 7, 8),
        2,
        ([4], {"insertedIds": [1, 2, 3, 4], "insertedCount": 4}),
        [{"_id": id_} for id_ in range(5)],
    ),
    "in any order": (
        many(0, 1, 2, 3, 4, 1, 0, 5, ordered=False),
        3,
        ([0, 5, 6], {"insertedIds": [1, 2, 3, 4, 5], "insertedCount": 5}),
        [{"_id": id_} for id_ in range(6)],
    ),
    "upserts": (
        bulk(update(0, 1), update(0, 1), one(1), update(7, 1), update(8, 2, upsert=True), NEW, one(2), GONE),
        5,
        {
            "insertedCount": 2, "matchedCount": 2, "modifiedCount": 2, "upsertedCount": 2, "deletedCount": 1,
            "insertedIds": {"2": 1, "6": 2}, "upsertedIds": {"4": 8, "5": 6},
        },
        [{"_id": 0, "n": 2}, {"_id": 2}, {"_id": 6, "n": 6}, {"_id": 8, "n": 2}],
    ),
    "ends at a failure": (
        bulk(one(1), one(2), update(0, 1), one(3), BAD, one(4), one(5)),
        4,
        ([4], {"insertedCount": 3, "modifiedCount": 1, "insertedIds": {"0": 1, "1": 2, "3": 3}}),
        [{"_id": 0, "n": 1}, {"_id": 1}, {"_id": 2}, {"_id": 3}],
    ),
    # In any order the driver sends inserts, then updates, then deletes.
    "by kinds": (
        bulk(GONE, EVERY, one(1), one(0), update(9, 1, upsert=True), BAD, one(2), ordered=False),
        3,
        (
            [3, 5],
            {
                "insertedCount": 2, "matchedCount": 3, "upsertedCount": 1, "deletedCount": 1,
                "insertedIds": {"2": 1, "6": 2}, "upsertedIds": {"4": 9},
            },
        ),
        [{"_id": 0, "n": 1}, {"_id": 2, "n": 1}, {"_id": 9, "n": 1}],
    ),
    "nothing is left": (bulk(one(1), one(2), NONE, NONE, ordered=False), 3, {"deletedCount": 3}, []),
}  # fmt: skip


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("row", ROWS)
def test_a_bulk_has_the_outcome_of_the_whole(
    mongodb_uri: str, monkeypatch: pytest.MonkeyPatch, row: str, whole: bool
) -> None:
    operation, commands, expected, after = ROWS[row]
    if whole:
        monkeypatch.undo()

    async def body(store: MongoStore, proxy: Proxy) -> None:
        await insert(store, {"_id": 0})
        proxy.seen.clear()
        if isinstance(expected, tuple):
            with pytest.raises(WriteFailed) as raised:
                await store.execute(operation)
            told = raised.value.fields
            assert [entry["index"] for entry in told["writeErrors"]] == expected[0]
            assert raised.value.message == told["writeErrors"][0]["message"]
            assert {**told, **expected[1]} == told
        else:
            told = (await store.execute(operation)).wire()
            assert {**told, **expected} == told
        found = await store.execute(Find(namespace=NS, sort={"_id": 1}))
        assert found.documents.decode() == after
        assert whole or len(proxy.seen) == commands

    through(mongodb_uri, [], body, retries=False)


REFUSED = {"ok": 0.0, "code": 40415, "codeName": "IDLUnknownField", "errmsg": "BSON field 'x' is unknown"}
LATE = {"ok": 0.0, "code": 50, "codeName": "MaxTimeMSExpired", "errmsg": "operation exceeded time limit"}
INSERTS = many(*range(1, 9))
UPDATES = bulk(*(update(0, 1) for _ in range(8)))


@pytest.mark.parametrize(
    ("operation", "plan", "kind", "sent"),
    [
        (INSERTS, ["pass", "lost"], WriteOutcomeUnknown, 2),
        (UPDATES, ["pass", "pass", NOT_PRIMARY], WriteOutcomeUnknown, 3),
        (UPDATES, ["pass", LATE], WriteOutcomeUnknown, 2),
        (INSERTS, ["pass", REFUSED], DataError, 2),
        (UPDATES, ["pass", REFUSED], DataError, 2),
        (INSERTS, [LATE], StoreTimeout, 1),
        (UPDATES, [REFUSED], DataError, 1),
    ],
    ids=["lost", "no primary", "late", "refused insert", "refused update", "late at first", "refused at first"],
)
def test_who_is_not_answered_is_told_what_is_done(
    mongodb_uri: str, operation: Operation[Any], plan: list[Any], kind: type[DoorleafError], sent: int
) -> None:
    done = 3 * (sent - 1)

    async def body(store: MongoStore, proxy: Proxy) -> None:
        await insert(store, {"_id": 0, "n": 0})
        proxy.seen.clear()
        proxy.plan += plan
        with pytest.raises(kind) as raised:
            await store.execute(operation)
        assert type(raised.value) is kind
        assert len(proxy.seen) == sent
        told = raised.value.fields
        if not done:
            assert told == {}
        elif operation is INSERTS:
            assert told == {"insertedCount": done, "insertedIds": [*range(1, done + 1)]}
        else:
            assert (told["matchedCount"], told["modifiedCount"]) == (done, done)
        found = (await store.execute(Find(namespace=NS, filter={"_id": 0}))).documents.decode()
        assert await count(store) + found[0]["n"] == 1 + done

    through(mongodb_uri, [], body, retries=False)


def unreplicated(code: int) -> Document:
    return {"ok": 1.0, "n": 3, "nModified": 3, "writeConcernError": {"code": code, "errmsg": "not replicated"}}


@pytest.mark.parametrize(("ordered", "code", "sent"), [(True, 64, 3), (False, 64, 3), (True, 91, 1), (False, 91, 3)])
def test_what_is_not_replicated_is_told_in_the_end(mongodb_uri: str, ordered: bool, code: int, sent: int) -> None:
    """After some codes the driver sends nothing more, and in order nothing may come after that."""

    async def body(store: MongoStore, proxy: Proxy) -> None:
        await insert(store, {"_id": 0})
        proxy.seen.clear()
        proxy.plan.append(unreplicated(code))
        with pytest.raises(WriteOutcomeUnknown, match="not replicated") as raised:
            await store.execute(many(*range(1, 9), ordered=ordered))
        assert raised.value.fields["insertedCount"] == (8 if sent == 3 else 3)
        assert len(proxy.seen) == sent

    through(mongodb_uri, [], body, retries=False)


def test_parts_are_sent_again_as_others_are(mongodb_uri: str) -> None:
    async def body(store: MongoStore, proxy: Proxy) -> None:
        await insert(store, {"_id": 0, "n": 0})
        proxy.seen.clear()
        proxy.plan += ["pass", "lost"]
        assert (await store.execute(UPDATES)).wire()["modifiedCount"] == 8
        first, second, again, third = numbers(proxy)
        assert second == again, "the server would know it again"
        assert len({first, second, third}) == 3

    through(mongodb_uri, [], body, retries=True)


def test_the_time_limit_is_that_of_all_parts(mongodb_uri: str) -> None:
    async def body(store: MongoStore, proxy: Proxy) -> None:
        proxy.plan += [0.1, 0.1]
        await store.execute(many(*range(8), max_time_ms=20_000))
        first, second, third = (command["maxTimeMS"] for command in proxy.seen)
        assert 20_000 >= first >= second + 100 >= third + 200

    through(mongodb_uri, [], body, retries=False)


@pytest.mark.parametrize(
    "operation",
    [
        many(*range(7), 2**70),
        bulk(*map(one, range(7)), one(2**70)),
        bulk(*map(one, range(7)), update(2**70, 1)),
        bulk(*map(one, range(7)), ReplaceOne(namespace=NS, filter={}, replacement={"a\0b": 1})),
        bulk(*map(one, range(7)), UpdateOne(namespace=NS, filter={}, update={"a": 1})),
    ],
    ids=["insertMany", "insertOne", "updateOne", "replaceOne", "no operators"],
)
def test_nothing_is_sent_where_a_late_part_cannot_be(mongodb_uri: str, operation: Operation[Any]) -> None:
    async def body(store: MongoStore, proxy: Proxy) -> None:
        with pytest.raises((InvalidParameter, DataError)):
            await store.execute(operation)
        assert proxy.seen == []

    through(mongodb_uri, [], body, retries=False)


@pytest.mark.parametrize("ordered", [True, False])
def test_a_failure_ends_a_transaction(mongodb_uri: str, ordered: bool) -> None:
    async def body(store: MongoStore, proxy: Proxy) -> None:
        with pytest.raises(DuplicateKey) as raised:
            await store.execute(Transaction.of([many(1, 2, 3, 4, 1, 5, 6, 7, ordered=ordered)]))
        assert raised.value.fields == {"index": 0}
        assert len(proxy.seen) == 2
        assert await count(store) == 0
        await store.execute(Transaction.of([many(*range(8), ordered=ordered)]))
        assert await count(store) == 8

    through(mongodb_uri, [], body, retries=True)


@pytest.mark.parametrize("kind", [InsertMany, BulkWrite])
def test_guards_see_few_documents_in_one_turn(
    mongodb_uri: str, monkeypatch: pytest.MonkeyPatch, kind: type[Operation[Any]]
) -> None:
    monkeypatch.setattr(guard, "ASKED", 3)
    turn = 0
    seen: list[tuple[int, Any]] = []
    looks = Looks(lambda before, after: seen.append((turn, after["_id"])))
    inserts = [InsertOne(namespace=NS, document={"_id": id_}, guard=looks) for id_ in range(10)]

    async def others() -> None:
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    async def body(store: MongoStore, proxy: Proxy) -> None:
        waiting = asyncio.create_task(others())
        operation: Operation[Any] = many(*range(10), guard=looks) if kind is InsertMany else bulk(*inserts)
        await store.execute(operation)
        waiting.cancel()
        assert await count(store) == 10

    through(mongodb_uri, [], body, retries=False)
    assert [id_ for _, id_ in seen] == [*range(10)]
    assert max(Counter(turn for turn, _ in seen).values()) == 3


def computing(number: int) -> UpdateOne:
    """An upsert whose ``_id`` has about a thousand bytes and is computed by the server."""
    made = {"$concat": [{"$toString": {"$literal": number}}, "x" * 1_000]}
    return UpdateOne(namespace=NS, filter={"n": number}, update=[{"$set": {"_id": made}}], upsert=True)


@pytest.mark.parametrize("ordered", [True, False])
def test_ids_that_upserts_compute_are_told_up_to_a_bound(
    mongodb_uri: str, monkeypatch: pytest.MonkeyPatch, ordered: bool
) -> None:
    """A few bytes may ask for ids of megabytes each, so few are asked for at a time and no more than can be told."""
    monkeypatch.setattr(bulks, "COMPUTED_PARTS", 2)
    monkeypatch.setattr(bulks, "PARTS", 100)
    monkeypatch.setattr(bulks, "MOST_RESULT_BYTES", 3_500)

    async def body(store: MongoStore, proxy: Proxy) -> None:
        await store.execute(bulk(*map(computing, range(3))))
        await store.execute(NONE)
        proxy.seen.clear()
        with pytest.raises(RequestError, match="ids of the documents that were upserted") as raised:
            await store.execute(bulk(*map(computing, range(7)), ordered=ordered))
        assert raised.value.code == "ReadSizeLimitExceeded"
        told = raised.value.fields
        assert (told["upsertedCount"], [*told["upsertedIds"]]) == (4, ["0", "1", "2"])
        assert await count(store) == 4
        assert len(proxy.seen) == 2

    through(mongodb_uri, [], body, retries=False)


def test_ids_that_a_transaction_upserts_are_bounded_too(mongodb_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "MOST_RESULT_BYTES", 3_500)
    monkeypatch.setattr(together, "MOST_RESULT_BYTES", 3_500)

    async def body(store: MongoStore, proxy: Proxy) -> None:
        refused: list[list[Operation[Any]]] = [[*map(computing, range(4))], [bulk(*map(computing, range(4)))]]
        for parts in refused:
            with pytest.raises(DoorleafError, match="the answer has more than 3500 bytes"):
                await store.execute(Transaction(namespace=NS, operations=parts))
            assert await count(store) == 0
        assert (
            len((await store.execute(Transaction(namespace=NS, operations=[*map(computing, range(3))]))).results) == 3
        )

    through(mongodb_uri, [], body, retries=False)
