"""Writes by the short way: as safe as by the driver's. A proxy breaks connections and answers in a server's name."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import bson
import pytest
from bson import Int64, Timestamp
from mongo_writing import NS, count, insert, numbers, through
from wire_proxy import NOT_PRIMARY, OVERLOADED, Proxy

from doorleaf.documents import Document
from doorleaf.errors import (
    DataError,
    DoorleafError,
    DuplicateKey,
    StoreTimeout,
    StoreUnavailable,
    WriteOutcomeUnknown,
)
from doorleaf.operations import (
    DeleteMany,
    DeleteOne,
    Find,
    InsertMany,
    Operation,
    ReplaceOne,
    UpdateMany,
    UpdateOne,
)
from doorleaf.operations.results import DeleteResult, UpdateResult
from doorleaf.stores.mongo import MongoStore

SOCKET = {"ok": 0.0, "errmsg": "socket", "code": 9001, "errorLabels": ["RetryableWriteError"]}
ENDING = {
    "ok": 1.0,
    "n": 1,
    "writeConcernError": {"code": 91, "errmsg": "shutting down"},
    "errorLabels": ["RetryableWriteError"],
}


@pytest.mark.parametrize(
    "what",
    ["lost", "unanswered", NOT_PRIMARY, SOCKET, ENDING],
    ids=["lost", "unanswered", "10107", "9001", "write concern 91"],
)
def test_a_write_is_retried_and_done_once(mongodb_uri: str, what: Any) -> None:
    async def body(store: MongoStore, proxy: Proxy) -> None:
        assert await insert(store, {"_id": 1}) == 1
        proxy.plan.append(what)
        assert await insert(store, {"_id": 2}) == 2
        assert await count(store) == 2
        first, second, again = numbers(proxy)
        assert second == again, "the server knows it again"
        assert (second[0], second[1]) == (first[0], first[1] + 1)
        # Whatever comes later cannot be taken for it.
        await asyncio.gather(*(insert(store, {"_id": number}) for number in range(3, 9)))
        assert await count(store) == 8
        later = numbers(proxy)[3:]
        assert len(set(later)) == len(later)
        assert second not in later
        assert store._lanes._usable

    through(mongodb_uri, [], body, retries=True)


@pytest.mark.parametrize("what", ["lost", "unanswered"])
def test_a_write_that_nobody_knows_again_is_sent_once(mongodb_uri: str, what: str) -> None:
    async def body(store: MongoStore, proxy: Proxy) -> None:
        await insert(store, {"_id": 1})
        proxy.plan.append(what)
        with pytest.raises(WriteOutcomeUnknown) as raised:
            await insert(store, {"_id": 2})
        assert "cannot be reached" not in raised.value.message
        assert len(proxy.seen) == 2
        assert all("txnNumber" not in command for command in proxy.seen)
        assert await insert(store, {"_id": 3}) == 3
        assert await count(store) == (2 if what == "lost" else 3)

    through(mongodb_uri, [], body, retries=False)


def test_a_refusal_is_not_repeated_where_nothing_is(mongodb_uri: str) -> None:
    """Without retries a server that is no primary is asked once, and the driver is told to look for another."""

    async def body(store: MongoStore, proxy: Proxy) -> None:
        await insert(store, {"_id": 1})
        picture = store._lanes._client.topology_description
        proxy.plan.append(NOT_PRIMARY)
        with pytest.raises(StoreUnavailable) as raised:
            await insert(store, {"_id": 2})
        assert raised.value.message == "the database cannot be reached"
        assert len(proxy.seen) == 2
        assert store._lanes._client.topology_description is not picture
        assert await insert(store, {"_id": 3}) == 3

    through(mongodb_uri, [], body, retries=False)


CHANGES: list[tuple[Operation[Any], Any, Document | None]] = [
    (UpdateOne(namespace=NS, filter={"_id": 1}, update={"$inc": {"a": 1}}), UpdateResult(1, 1), {"_id": 1, "a": 1}),
    (ReplaceOne(namespace=NS, filter={"_id": 1}, replacement={"b": 2}), UpdateResult(1, 1), {"_id": 1, "b": 2}),
    (DeleteOne(namespace=NS, filter={}), DeleteResult(1), None),
]


@pytest.mark.parametrize("what", ["lost", "unanswered"])
@pytest.mark.parametrize(("change", "result", "left"), CHANGES, ids=lambda value: getattr(value, "name", None))
def test_a_change_is_retried_and_done_once(
    mongodb_uri: str, change: Operation[Any], result: Any, left: Document | None, what: str
) -> None:
    async def body(store: MongoStore, proxy: Proxy) -> None:
        await insert(store, {"_id": 1, "a": 0})
        proxy.plan.append(what)
        assert await store.execute(change) == result
        found = (await store.execute(Find(namespace=NS))).documents.decode()
        assert found == ([] if left is None else [left])
        assert len(set(numbers(proxy))) == len(proxy.seen) - 1
        # The driver would have put it into the command.
        assert not any({"updates", "deletes"} & command.keys() for command in proxy.seen)

    through(mongodb_uri, [], body, retries=True)


@pytest.mark.parametrize("second", [OVERLOADED, {**SOCKET, "errorLabels": ["NoWritesPerformed"], "code": 2}])
def test_a_second_attempt_that_did_nothing_tells_nothing(mongodb_uri: str, second: Document) -> None:
    """The first may have been carried out: that is what is said, and the write is not begun anew."""

    async def body(store: MongoStore, proxy: Proxy) -> None:
        await insert(store, {"_id": 1})
        proxy.plan += ["unanswered", *[second] * (3 if second is OVERLOADED else 1)]
        with pytest.raises(WriteOutcomeUnknown):
            await insert(store, {"_id": 2})
        assert len(proxy.seen) == (4 if second is OVERLOADED else 3)
        assert await count(store) == 2

    through(mongodb_uri, [], body, retries=True)


def test_an_overloaded_server_is_asked_again(mongodb_uri: str) -> None:
    async def body(store: MongoStore, proxy: Proxy) -> None:
        await insert(store, {"_id": 1})
        proxy.plan.append(OVERLOADED)
        assert await insert(store, {"_id": 2}) == 2
        assert len(proxy.seen) == 3
        assert await count(store) == 2

    through(mongodb_uri, [], body, retries=True)


def test_data_that_looks_like_a_label_is_data(mongodb_uri: str) -> None:
    async def body(store: MongoStore, proxy: Proxy) -> None:
        await insert(store, {"_id": "RetryableWriteError"})
        with pytest.raises(DuplicateKey):
            await insert(store, {"_id": "RetryableWriteError"})
        assert len(proxy.seen) == 2

    through(mongodb_uri, [], body, retries=True)


def test_sessions_are_few_and_none_is_old(mongodb_uri: str) -> None:
    async def body(store: MongoStore, proxy: Proxy) -> None:
        for number in range(5):
            await insert(store, {"_id": number})
            store._lanes.renew()
            await asyncio.gather(*store._lanes._tasks)
        (first,) = {session for session, _ in numbers(proxy)}
        for idle in store._lanes._client._topology._session_pool:
            idle.last_use -= 29 * 60 + 1  # the server forgets a session after 30 minutes
        await insert(store, {"_id": 5})
        assert numbers(proxy)[-1][0] != first
        assert len(set(numbers(proxy))) == 6

    through(mongodb_uri, [], body, retries=True)


@pytest.mark.parametrize("plan", [["lost", "lost"], ["unanswered", "unanswered"], [NOT_PRIMARY, NOT_PRIMARY]])
def test_it_is_retried_only_once(mongodb_uri: str, plan: list[Any]) -> None:
    async def body(store: MongoStore, proxy: Proxy) -> None:
        await insert(store, {"_id": 1})
        proxy.plan += plan
        with pytest.raises(StoreUnavailable if plan[0] is NOT_PRIMARY else WriteOutcomeUnknown):
            await insert(store, {"_id": 2})
        assert len(proxy.seen) == 3
        assert await insert(store, {"_id": 3}) == 3

    through(mongodb_uri, [], body, retries=True)


def test_many_writes_at_once_survive_a_break(mongodb_uri: str) -> None:
    """All connections break at once, and more writes wait than there are connections."""

    async def body(store: MongoStore, proxy: Proxy) -> None:
        await asyncio.gather(*(insert(store, {"_id": f"a{number}"}) for number in range(10)))
        proxy.plan += ["unanswered", "lost", "unanswered"]
        answers = await asyncio.gather(*(insert(store, {"_id": number}) for number in range(30)))
        assert answers == list(range(30))
        assert await count(store) == 40

    through(mongodb_uri, [], body, retries=True)


def test_a_write_that_is_cancelled_gives_its_connection_up(mongodb_uri: str) -> None:
    async def body(store: MongoStore, proxy: Proxy) -> None:
        await insert(store, {"_id": "first"})
        for number in range(5):
            task = asyncio.create_task(insert(store, {"_id": number}))
            await asyncio.sleep(0.0005)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            assert await insert(store, {"_id": f"after {number}"}) == f"after {number}"
        await asyncio.gather(*store._lanes._tasks)
        assert store._lanes._held == len(store._lanes._free)

    through(mongodb_uri, [], body, retries=True)


REFUSALS: list[tuple[Document, type[DoorleafError], int, str]] = [
    ({"ok": 0.0, "errmsg": "no", "code": 13, "codeName": "Unauthorized"}, DoorleafError, 403, "not authorized"),
    ({"ok": 0.0, "errmsg": "operation exceeded time limit", "code": 50}, StoreTimeout, 504, "time limit"),
    ({"ok": 1.0, "n": 0, "writeErrors": [{"index": 0, "code": 121, "errmsg": "bad"}]}, DataError, 400, "bad"),
    ({"ok": 1.0, "n": 1, "writeConcernError": {"code": 64, "errmsg": "w"}}, WriteOutcomeUnknown, 504, "not replicated"),
    (
        {"ok": 1.0, "n": 1, "writeConcernError": {"code": 100, "errmsg": "w"}},
        WriteOutcomeUnknown,
        504,
        "not replicated",
    ),
]


@pytest.mark.parametrize(("reply", "kind", "status", "text"), REFUSALS)
def test_what_a_server_refuses(
    mongodb_uri: str, reply: Document, kind: type[DoorleafError], status: int, text: str
) -> None:
    async def body(store: MongoStore, proxy: Proxy) -> None:
        await insert(store, {"_id": 1})
        proxy.plan.append(reply)
        with pytest.raises(kind) as raised:
            await insert(store, {"_id": 2})
        assert (raised.value.status, text in raised.value.message) == (status, True), raised.value.message
        assert len(proxy.seen) == 2
        assert store._lanes._held == len(store._lanes._free)

    through(mongodb_uri, [], body, retries=True)


GARBLED = bson.encode({"ok": 1.0}).replace(b"\x01ok", b"\x99ok")
NO_ERRORS: list[Document] = [
    {"ok": 0.0, "errmsg": "e", "code": {"a": 1}},
    {"ok": 0.0, "errmsg": "e", "code": "x"},
    {"ok": 0.0, "errmsg": "e", "code": float("inf")},
    {"ok": 0.0, "errmsg": "e", "code": 91, "errorLabels": 5},
]
NO_CURSORS: list[Any] = [5, {}, {"id": 0, "firstBatch": [5]}, {"id": {}, "firstBatch": []}]
NO_REPLIES: list[tuple[str, list[Document]]] = [
    ("find", NO_ERRORS),
    ("find", [{"ok": 1.0, "cursor": odd} for odd in NO_CURSORS]),
    ("insert", NO_ERRORS),
    ("insert", [{"ok": 1.0, "n": 1, "writeErrors": odd} for odd in (5, [5], {"a": 1}, [{"index": 0, "code": {}}])]),
    ("insert", [{"ok": 1.0, "n": 1, "writeConcernError": odd} for odd in (5, [1], {"code": [1]}, {"errInfo": 5})]),
]


def test_a_reply_that_cannot_be_read_is_as_none_and_leaves_no_lane(mongodb_uri: str) -> None:
    async def body(store: MongoStore, proxy: Proxy) -> None:
        proxy.plan += [GARBLED, "pass"]
        assert await insert(store, {"_id": 1}) == 1, "it was sent again"
        proxy.plan += [GARBLED, GARBLED]
        with pytest.raises(WriteOutcomeUnknown):
            await insert(store, {"_id": 2})
        proxy.plan += [GARBLED, GARBLED]
        with pytest.raises(StoreUnavailable):
            await store.execute(Find(namespace=NS))
        assert await count(store) == 1
        await asyncio.gather(*store._lanes._tasks)
        assert store._lanes._held == len(store._lanes._free)

    through(mongodb_uri, [], body, retries=True, harmed=("insert", "find"))


@pytest.mark.parametrize(("name", "replies"), NO_REPLIES)
def test_a_reply_of_other_kinds_than_mongodbs_is_as_none(mongodb_uri: str, name: str, replies: list[Document]) -> None:
    async def body(store: MongoStore, proxy: Proxy) -> None:
        for number, reply in enumerate(replies):
            proxy.plan += [reply, "pass"]
            if name == "find":
                assert (await store.execute(Find(namespace=NS))).documents.decode() == []
            else:
                assert await insert(store, {"_id": number}) == number
            proxy.plan += [reply, reply]
            with pytest.raises(StoreUnavailable if name == "find" else WriteOutcomeUnknown):
                await (store.execute(Find(namespace=NS)) if name == "find" else insert(store, {"_id": -1}))
        odd = {"a": {"clusterTime": Timestamp(9, 1)}}
        proxy.plan.append({"ok": 1.0, "cursor": {"firstBatch": [], "id": Int64(0)}, "$clusterTime": odd})
        if name == "find":
            assert (await store.execute(Find(namespace=NS))).documents.decode() == []
        await asyncio.gather(*store._lanes._tasks)
        assert store._lanes.usable
        assert store._lanes._held == len(store._lanes._free)

    through(mongodb_uri, [], body, retries=True, harmed=("insert", "find"))


@pytest.mark.parametrize(
    ("operation", "left"),
    [
        (InsertMany(namespace=NS, documents=[{"_id": 2}, {"_id": 3}]), [1, 2, 3]),
        (UpdateMany(namespace=NS, filter={}, update={"$set": {"a": 1}}), [1]),
        (DeleteMany(namespace=NS, filter={}), []),
    ],
    ids=["insertMany", "updateMany", "deleteMany"],
)
def test_writes_of_many_are_sent_again_if_their_server_knows_them(
    mongodb_uri: str, operation: Operation[Any], left: list[int]
) -> None:
    async def body(store: MongoStore, proxy: Proxy) -> None:
        assert await insert(store, {"_id": 1}) == 1
        before, proxy.plan[:] = len(proxy.seen), ["unanswered"]
        if isinstance(operation, InsertMany):
            await store.execute(operation)
            assert [command["txnNumber"] for command in proxy.seen[before:]] == [2, 2]
        else:
            with pytest.raises(WriteOutcomeUnknown):
                await store.execute(operation)
            assert ["txnNumber" in command for command in proxy.seen[before:]] == [False]
        found = (await store.execute(Find(namespace=NS, sort={"_id": 1}))).documents.decode()
        assert [document["_id"] for document in found] == left

    through(mongodb_uri, [], body, retries=True)
