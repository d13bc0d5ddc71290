"""A matrix of faults between the store and MongoDB, each beside what PyMongo alone makes of it in the same run.

Of every case: the outcome is PyMongo's, nothing is applied twice, what was not done is not told as done, the operation
ends with its time limit, and the next one gets an answer of its own.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import bson
import pymongo
import pytest
from pymongo import AsyncMongoClient
from pymongo.errors import AutoReconnect, BulkWriteError, ExecutionTimeout, NetworkTimeout, OperationFailure
from wire_proxy import HOST_UNREACHABLE, NOT_PRIMARY, OVERLOADED, Proxy, retrying

from doorleaf.documents import Document
from doorleaf.errors import StoreTimeout, StoreUnavailable, WriteFailed, WriteOutcomeUnknown
from doorleaf.operations import (
    Aggregate,
    CountDocuments,
    DeleteMany,
    Find,
    FindOne,
    FindOneAndUpdate,
    InsertMany,
    InsertOne,
    ListIndexes,
    Namespace,
    Operation,
    UpdateOne,
)
from doorleaf.stores.mongo import MongoStore
from doorleaf.stores.mongo.arguments import GRACE

DATABASE = "mongo_faults"
FILLED = Namespace(DATABASE, "filled")
MANY = 1_100
"""More documents than a first batch has."""

LIMIT_MS = 400
SLACK = 3.0
"""Seconds for a busy machine, beyond the time limit and its grace: less than any patience that was there before."""

_NUMBERS = itertools.count()


@dataclass(frozen=True)
class Kind:
    """One kind of operation: which command is harmed, how the store runs it on a collection, and how PyMongo does."""

    harmed: str
    operation: Callable[[Namespace], Operation[Any]]
    pymongo: Callable[[Any, Any], Awaitable[Any]]
    writes: bool = False


async def _batches(cursor: Any) -> int:
    return len([document async for document in cursor])


async def _piped(filled: Any) -> int:
    return await _batches(await filled.aggregate([{"$match": {"_id": {"$lt": 5}}}]))


async def _listed(filled: Any) -> int:
    return await _batches(await filled.list_indexes())


INC = {"$inc": {"a": 1}}
KINDS = {
    "read": Kind("find", lambda _: FindOne(namespace=FILLED, filter={"_id": 3}), lambda f, _: f.find_one({"_id": 3})),
    "aggregate": Kind(
        "aggregate",
        lambda _: Aggregate(namespace=FILLED, pipeline=[{"$match": {"_id": {"$lt": 5}}}]),
        lambda filled, _: _piped(filled),
    ),
    "cursor": Kind(
        "getMore", lambda _: Find(namespace=FILLED), lambda filled, _: _batches(filled.find(batch_size=1_000))
    ),
    "count": Kind(
        "aggregate", lambda _: CountDocuments(namespace=FILLED), lambda filled, _: filled.count_documents({})
    ),
    "listIndexes": Kind("listIndexes", lambda _: ListIndexes(namespace=FILLED), lambda filled, _: _listed(filled)),
    "write": Kind(
        "insert",
        lambda own: InsertOne(namespace=own, document={"_id": 2}),
        lambda _, own: own.insert_one({"_id": 2}),
        writes=True,
    ),
    "change": Kind(
        "update",
        lambda own: UpdateOne(namespace=own, filter={"_id": 1}, update=INC),
        lambda _, own: own.update_one({"_id": 1}, INC),
        writes=True,
    ),
    "findAndModify": Kind(
        "findAndModify",
        lambda own: FindOneAndUpdate(namespace=own, filter={"_id": 1}, update=INC),
        lambda _, own: own.find_one_and_update({"_id": 1}, INC),
        writes=True,
    ),
    "many": Kind(
        "insert",
        lambda own: InsertMany(namespace=own, documents=[{"_id": 2}, {"_id": 3}]),
        lambda _, own: own.insert_many([{"_id": 2}, {"_id": 3}]),
        writes=True,
    ),
}

FAULTS: dict[str, Any] = {
    "close": "lost",
    "close after": "unanswered",
    "cut": "cut",
    "silence": "silence",
    "delay": 0.05,
    "late": 3.0,
    "overload": OVERLOADED,
    "stepdown": NOT_PRIMARY,
    "unreachable": HOST_UNREACHABLE,
}
SLOW = ("silence", "late")
MAY_BE_DONE = ("close", "close after", "cut", *SLOW)


@pytest.fixture(scope="module")
def filled_uri(mongodb_uri: str) -> str:
    async def fill() -> None:
        store = MongoStore(mongodb_uri)
        await store.open()
        await store.execute(DeleteMany(namespace=FILLED, filter={}))
        await store.execute(InsertMany(namespace=FILLED, documents=[{"_id": number} for number in range(MANY)]))
        await store.close()

    asyncio.run(fill())
    return mongodb_uri


@dataclass
class Outcome:
    """``end`` is ``done``, ``down``, ``late``, ``refused`` or ``unknown``; ``left`` are the documents afterwards."""

    end: str
    seconds: float
    left: list[Document]
    commands: int


async def by_store(uri: str, kind: Kind, fault: str, times: int, retries: bool) -> Outcome:
    own = Namespace(DATABASE, f"own{next(_NUMBERS)}")
    async with Proxy(uri, harmed=(kind.harmed,)) as proxy:
        store = MongoStore(proxy.uri(retrying(retries)))
        await store.open()
        try:
            await store.execute(InsertOne(namespace=own, document={"_id": 1, "a": 0}))
            await store.execute(FindOne(namespace=FILLED, filter={"_id": 1}))
            operation = kind.operation(own)
            if fault in SLOW:
                operation.max_time_ms = LIMIT_MS
            begun, seen = time.monotonic(), len(proxy.seen)
            proxy.plan += [FAULTS[fault]] * times
            try:
                await store.execute(operation)
                end = "done"
            except WriteOutcomeUnknown:
                end = "unknown"
            except WriteFailed:
                end = "refused"
            except StoreTimeout:
                end = "late"
            except StoreUnavailable:
                end = "down"
            seconds, commands = time.monotonic() - begun, len(proxy.seen) - seen
            # What comes next is not answered with what came too late, and connections are whole.
            proxy.plan.clear()
            for number in (7, 8, 9):
                found = await store.execute(FindOne(namespace=FILLED, filter={"_id": number}))
                assert found.document == bson.encode({"_id": number})
            await asyncio.gather(*list(store._lanes._tasks))
            assert store._lanes.usable
            assert store._lanes._held == len(store._lanes._free)
            left = (await store.execute(Find(namespace=own, sort={"_id": 1}))).documents.decode()
        finally:
            await store.close()
        return Outcome(end, seconds, left, commands)


async def by_pymongo(uri: str, name: str, fault: str, times: int, retries: bool) -> Outcome:
    kind = KINDS[name]
    async with (
        Proxy(uri, harmed=(kind.harmed,)) as proxy,
        AsyncMongoClient[Document](proxy.uri(retrying(retries))) as it,
    ):
        filled, own = it[DATABASE]["filled"], it[DATABASE][f"own{next(_NUMBERS)}"]
        await own.insert_one({"_id": 1, "a": 0})
        await filled.find_one({"_id": 1})
        begun, seen = time.monotonic(), len(proxy.seen)
        proxy.plan += [FAULTS[fault]] * times
        # With a limit of its own PyMongo would repeat as long as it holds, and without one once, as is done on lanes.
        limit = LIMIT_MS / 1000 if fault in SLOW else None
        try:
            with pymongo.timeout(limit):
                await kind.pymongo(filled, own)
            end = "done"
        except (NetworkTimeout, ExecutionTimeout):
            end = "late"
        except BulkWriteError:
            end = "refused"
        except (AutoReconnect, OperationFailure):
            end = "down"
        seconds, commands = time.monotonic() - begun, len(proxy.seen) - seen
        proxy.plan.clear()
        left = await own.find(sort={"_id": 1}).to_list()
        return Outcome(end, seconds, left, commands)


CASES = [
    (fault, times, retries)
    for fault in FAULTS
    for times in ((1,) if fault in (*SLOW, "delay") else (1, 3))  # after silence there is no time for another
    for retries in (True, False)
]
AT_ONCE = 3
"""Kinds of operations that are tried side by side: most of the time they wait."""


@pytest.mark.parametrize(("fault", "times", "retries"), CASES)
def test_the_outcome_is_pymongos(filled_uri: str, fault: str, times: int, retries: bool) -> None:
    async def both(name: str, turn: asyncio.Semaphore) -> tuple[Outcome, Outcome]:
        async with turn:
            return await asyncio.gather(
                by_store(filled_uri, KINDS[name], fault, times, retries),
                by_pymongo(filled_uri, name, fault, times, retries),
            )

    async def all_kinds() -> list[tuple[Outcome, Outcome]]:
        turn = asyncio.Semaphore(AT_ONCE)
        return await asyncio.gather(*(both(name, turn) for name in KINDS))

    for name, (mine, theirs) in zip(KINDS, asyncio.run(all_kinds()), strict=True):
        assert_alike(name, fault, retries, mine, theirs)


def assert_alike(name: str, fault: str, retries: bool, mine: Outcome, theirs: Outcome) -> None:
    kind = KINDS[name]
    if mine.end == "unknown":
        assert kind.writes, "a read has no outcome that matters"
        assert fault in MAY_BE_DONE, "the server said that it did nothing"
        assert theirs.end in ("down", "late")
    elif name == "cursor" and mine.end == "done":
        assert theirs.end == "done" or retries, "nothing was given out yet, so the whole find may begin anew"
    else:
        assert mine.end == theirs.end, name
    if kind.writes:
        assert mine.end in ("done", "unknown", "refused") or fault not in MAY_BE_DONE
        assert_done_once(name, mine)
    assert mine.commands <= theirs.commands or name == "cursor"
    assert mine.seconds < (LIMIT_MS / 1000 if fault in SLOW else 3.0) + GRACE + SLACK


def assert_done_once(name: str, outcome: Outcome) -> None:
    before = [{"_id": 1, "a": 0}]
    after = {
        "write": [*before, {"_id": 2}],
        "change": [{"_id": 1, "a": 1}],
        "findAndModify": [{"_id": 1, "a": 1}],
        "many": [*before, {"_id": 2}, {"_id": 3}],
    }[name]
    if outcome.end == "refused":
        # The server for tests does not know several documents again, and finds their keys taken; MongoDB does.
        assert (name, outcome.left) == ("many", after)
    elif outcome.end == "done":
        assert outcome.left == after
    elif outcome.end == "unknown":
        assert outcome.left in (before, after)
    else:
        assert outcome.left == before
