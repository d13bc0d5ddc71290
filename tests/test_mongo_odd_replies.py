"""A server that answers what no MongoDB does: the answer is that the database failed, and of a write that nobody knows.

It may be a fault of the network, of a proxy, or of a server that only resembles MongoDB; never one of the client.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from bson import Int64
from wire_proxy import Proxy, retrying

from doorleaf.documents import Document
from doorleaf.errors import DataError, DoorleafError, StoreError, StoreUnavailable, WriteOutcomeUnknown
from doorleaf.operations import (
    Aggregate,
    BulkWrite,
    CountDocuments,
    DeleteMany,
    Distinct,
    EstimatedDocumentCount,
    Find,
    FindOneAndUpdate,
    InsertMany,
    InsertOne,
    ListCollections,
    ListIndexes,
    Namespace,
    Operation,
    Scan,
    UpdateOne,
)
from doorleaf.stores.mongo import MongoStore

PLACE = Namespace("mongo_odd", "things")
SET: Document = {"$set": {"a": 1}}
OPERATIONS: list[Operation[Any]] = [
    Find(namespace=PLACE, collation={"locale": "en"}),
    Aggregate(namespace=PLACE, pipeline=[{"$match": {}}]),
    CountDocuments(namespace=PLACE, filter={"a": 1}),
    EstimatedDocumentCount(namespace=PLACE),
    Distinct(namespace=PLACE, key="a"),
    ListIndexes(namespace=PLACE),
    ListCollections(namespace=Namespace(PLACE.database)),
    InsertOne(namespace=PLACE, document={"a": 1}),
    InsertMany(namespace=PLACE, documents=[{"a": 1}, {"a": 2}], ordered=False),
    UpdateOne(namespace=PLACE, filter={}, update={"$set": {"a.$[x]": 1}}, upsert=True, array_filters=[{"x": 1}]),
    FindOneAndUpdate(namespace=PLACE, filter={}, update=SET),
    DeleteMany(namespace=PLACE, filter={}),
    BulkWrite(namespace=PLACE, operations=[UpdateOne(namespace=PLACE, filter={}, update=SET)]),
    Scan.of(Find(namespace=PLACE)),
]
HARMED = ("find", "aggregate", "count", "distinct", "listIndexes", "listCollections", "insert", "update", "delete")
REPLIES: list[Document | bytes] = [
    {"ok": 1.0, "cursor": 5, "n": "x", "value": 5, "values": 7},
    {"ok": 1.0, "cursor": {}, "writeErrors": 5},
    {"ok": 1.0, "cursor": {"id": "x", "ns": 5, "firstBatch": 7}, "upserted": 5, "writeErrors": [5]},
    {"ok": 1.0, "n": 1, "upserted": [5], "writeErrors": [{"index": "x", "code": "y", "errmsg": 7}]},
    {"ok": 1.0, "n": 0, "writeErrors": [{"index": 99, "code": 1, "errmsg": "m"}]},
    {"ok": 1.0, "cursor": {"id": Int64(7), "ns": "", "firstBatch": []}, "writeConcernError": 5},
    {"ok": 0.0, "code": "x", "errmsg": 5},
    {"ok": 0.0, "code": 121, "errInfo": 5, "errmsg": {"a": 1}, "codeName": 7, "errorLabels": 5},
    {},
    b"\x10\x00\x00\x00\x02a\x00\x04\x00\x00\x00\xff\xfe\xfd\x00\x00",
    b"\xff\xff\xff\x7f\x00",
    b"",
]


@pytest.mark.parametrize("lanes", [True, False])
def test_an_odd_reply_is_a_fault_of_the_database(
    mongodb_uri: str, caplog: pytest.LogCaptureFixture, lanes: bool
) -> None:
    async def outcome(store: MongoStore, operation: Operation[Any]) -> DoorleafError | None:
        try:
            result = await store.execute(operation)
            if isinstance(operation, Scan):
                async with asyncio.timeout(30):
                    while await result.documents.next() is not None:
                        pass
                    await result.documents.close()
        except DoorleafError as error:
            return error
        return None

    async def scenario() -> list[tuple[Operation[Any], Any, DoorleafError | None]]:
        async with Proxy(mongodb_uri, [], (*HARMED, "findAndModify", "getMore")) as proxy:
            store = MongoStore(proxy.uri(retrying(False)), lanes=lanes)
            await store.open()
            found = []
            for operation in OPERATIONS:
                for reply in REPLIES:
                    proxy.plan = [reply] * 3
                    found.append((operation, reply, await outcome(store, operation)))
            proxy.plan = []
            assert await outcome(store, OPERATIONS[0]) is None, "the next one gets an answer"
            await store.close()
            return found

    kinds: dict[type, int] = {}
    for operation, reply, error in asyncio.run(scenario()):
        told = operation.name, reply, error and error.message
        kinds[type(error)] = kinds.get(type(error), 0) + 1
        # What looks like a refusal, or like an answer, is taken for it.
        assert error is None or isinstance(error, StoreError | DataError), told
        assert error is None or error.message.isprintable(), told
        if isinstance(reply, bytes) or not reply:
            assert isinstance(error, StoreUnavailable | WriteOutcomeUnknown), told
    assert kinds[StoreUnavailable] > 50
    assert kinds[WriteOutcomeUnknown] > 20
    logged = [one for one in caplog.records if one.name.startswith("doorleaf") and one.levelno >= logging.ERROR]
    assert len(logged) == 1, "once a minute"
    assert "the database answered what cannot be read" in logged[0].getMessage()
