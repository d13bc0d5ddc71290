"""Operations by the short way and by the driver's: the same answers, refusals and documents."""

from __future__ import annotations

from typing import Any

import pytest
from bson import ObjectId
from mongo_writing import NS, count, directly, insert

from doorleaf.errors import (
    DataError,
    DoorleafError,
    DuplicateKey,
    InvalidParameter,
)
from doorleaf.operations import (
    Aggregate,
    CountDocuments,
    DeleteMany,
    DeleteOne,
    Distinct,
    EstimatedDocumentCount,
    Find,
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
from doorleaf.operations.results import DocumentsResult
from doorleaf.stores.mongo import MongoStore
from doorleaf.stores.mongo.lanes.connections import Lanes


def test_the_short_way_writes_what_the_other_writes(mongodb_uri: str) -> None:
    async def body(store: MongoStore, lanes: Lanes) -> None:
        made = await insert(store, {"a": 1}, comment={"who": "me"})
        assert isinstance(made, ObjectId)
        for identity in (0, "", {"b": 1.0, "a": [None]}, 2**40):
            assert await insert(store, {"x": 1, "_id": identity}) == identity
        assert lanes._held == 1
        with pytest.raises(DuplicateKey) as raised:
            await insert(store, {"_id": 0})
        assert raised.value.message.startswith("E11000 duplicate key error")
        found = (await store.execute(Find(namespace=NS, filter={"_id": made}))).documents.decode()
        assert found == [{"_id": made, "a": 1}]
        assert list(found[0]) == ["_id", "a"]
        with pytest.raises((InvalidParameter, DataError)):
            await insert(store, {"_id": 2**70})
        assert (lanes._held, len(lanes._free)) == (1, 1)
        assert await count(store) == 5

    directly(mongodb_uri, body)


ROWS = [{"_id": 1, "k": "b", "n": 2}, {"_id": 2, "k": "B", "n": 1}, {"_id": 3, "k": "c", "l": [1, 5]}]
INSENSITIVE = {"locale": "en", "strength": 2}
SAME: list[Operation[Any]] = [
    UpdateOne(namespace=NS, filter={"n": {"$gt": 0}}, update={"$set": {"x": 1}}, sort={"n": 1}),
    UpdateOne(namespace=NS, filter={"_id": 2}, update=[{"$set": {"x": "$$y"}}], let={"y": 7}),
    UpdateOne(namespace=NS, filter={"_id": 3}, update={"$inc": {"l.$[i]": 1}}, array_filters=[{"i": {"$gt": 2}}]),
    UpdateOne(namespace=NS, filter={"_id": 9}, update={"$set": {"x": 1}}),
    UpdateOne(namespace=NS, filter={"_id": None}, update={"$set": {"x": 1}}, upsert=True),
    UpdateOne(namespace=NS, filter={"_id": {"a": 1}}, update={"$set": {"x": 1}}, upsert=True, hint="_id_"),
    UpdateOne(namespace=NS, filter={"n": 2}, update={"$set": {"n": 2}}, hint={"_id": 1}, comment="why"),
    UpdateOne(namespace=NS, filter={}, update={"$set": {"_id": 7}}),
    UpdateOne(namespace=NS, filter={}, update={"$nope": {"a": 7}}),
    UpdateOne(namespace=NS, filter={}, update={"a": 7}),
    UpdateOne(namespace=NS, filter={"a": 2**70}, update={"$set": {"a": 7}}),
    ReplaceOne(namespace=NS, filter={"_id": 9}, replacement={"_id": 9, "x": [None]}, upsert=True),
    ReplaceOne(namespace=NS, filter={"_id": 1}, replacement={"_id": 2}),
    ReplaceOne(namespace=NS, filter={"_id": 1}, replacement={}),
    ReplaceOne(namespace=NS, filter={"_id": 1}, replacement={"$set": {"a": 1}}),
    DeleteOne(namespace=NS, filter={"k": "C"}, collation=INSENSITIVE),
    DeleteOne(namespace=NS, filter={"_id": 2}, hint={"_id": 1.0}, let={"a": 1}),
    DeleteOne(namespace=NS, filter={"_id": 2}, hint="nope"),
    DeleteOne(namespace=NS, filter={"$nope": 2}),
    InsertOne(namespace=NS, document={"_id": 1}),
    InsertOne(namespace=NS, document={"_id": [1]}),
    InsertMany(namespace=NS, documents=[{"_id": 8, "a": None}, {"_id": 9}], comment="why"),
    InsertMany(namespace=NS, documents=[{"_id": 8}, {"_id": 1}, {"_id": 9}, {"_id": 2}]),
    InsertMany(namespace=NS, documents=[{"_id": 8}, {"_id": 1}, {"_id": 9}, {"_id": 2}], ordered=False),
    InsertMany(namespace=NS, documents=[{"_id": 8}, {"_id": [1]}]),
    InsertMany(namespace=NS, documents=[{"_id": 8}, {"a": 2**70, "_id": 9}]),
    UpdateMany(namespace=NS, filter={"n": {"$gt": 0}}, update={"$set": {"n": 1}}, hint="_id_", comment="why"),
    UpdateMany(namespace=NS, filter={"k": "B"}, update={"$set": {"x": 1}}, collation=INSENSITIVE),
    UpdateMany(namespace=NS, filter={"l": {"$exists": True}}, update={"$inc": {"l.$[]": 1}}),
    UpdateMany(namespace=NS, filter={"_id": 9}, update=[{"$set": {"x": "$$y"}}], let={"y": 7}, upsert=True),
    UpdateMany(namespace=NS, filter={}, update={"$set": {"_id": 7}}),
    UpdateMany(namespace=NS, filter={}, update={"$nope": {"a": 7}}),
    UpdateMany(namespace=NS, filter={}, update={"a": 7}),
    DeleteMany(namespace=NS, filter={"k": "b"}, collation=INSENSITIVE, hint={"_id": 1}),
    DeleteMany(namespace=NS, filter={}),
    DeleteMany(namespace=NS, filter={"$nope": 2}),
    FindOneAndUpdate(namespace=NS, filter={"n": {"$gt": 0}}, update={"$set": {"x": 1}}, sort={"n": 1}),
    FindOneAndUpdate(
        namespace=NS, filter={"_id": 2}, update={"$inc": {"n": 1}}, return_new_document=True, comment="why"
    ),
    FindOneAndUpdate(namespace=NS, filter={"_id": 2}, update=[{"$set": {"x": "$$y"}}], let={"y": 7}, hint={"_id": 1}),
    FindOneAndUpdate(
        namespace=NS, filter={"_id": 3}, update={"$inc": {"l.$[i]": 1}}, array_filters=[{"i": {"$gt": 2}}]
    ),
    FindOneAndUpdate(namespace=NS, filter={"_id": 9}, update={"$set": {"x": 1}}, upsert=True, return_new_document=True),
    FindOneAndUpdate(namespace=NS, filter={"_id": 9}, update={"$set": {"x": 1}}, upsert=True),
    FindOneAndUpdate(namespace=NS, filter={"_id": 9}, update={"$set": {"x": 1}}),
    FindOneAndUpdate(namespace=NS, filter={}, update={"$nope": {"a": 7}}),
    FindOneAndUpdate(namespace=NS, filter={}, update={"a": 7}),
    FindOneAndUpdate(namespace=NS, filter={"k": "B"}, update={"$set": {"_id": 1}}),
    FindOneAndReplace(namespace=NS, filter={"_id": 2}, replacement={"z": 1}, projection={"_id": 0}),
    FindOneAndReplace(namespace=NS, filter={"_id": 5}, replacement={"_id": 5}, upsert=True, return_new_document=True),
    FindOneAndReplace(namespace=NS, filter={"_id": 5}, replacement={"_id": 1}, upsert=True),
    FindOneAndDelete(namespace=NS, filter={"k": {"$exists": True}}, sort={"_id": -1}, projection={"k": 1}),
    FindOneAndDelete(namespace=NS, filter={"_id": 9}),
    FindOneAndDelete(namespace=NS, filter={"k": "b"}, collation=INSENSITIVE, sort={"_id": -1}),
    CountDocuments(namespace=NS, filter={"n": {"$gt": 0}}),
    CountDocuments(namespace=NS, filter={}, skip=1, limit=1, hint="_id_"),
    CountDocuments(namespace=NS, filter={"k": "nothing"}),
    CountDocuments(namespace=NS, filter={"k": {"$nope": 1}}),
    CountDocuments(namespace=Namespace("mongo_write_lanes", "not there")),
    EstimatedDocumentCount(namespace=NS),
    EstimatedDocumentCount(namespace=Namespace("mongo_write_lanes", "not there")),
    Distinct(namespace=NS, key="k", filter={"n": {"$gt": 0}}),
    Distinct(namespace=NS, key="l"),
    Distinct(namespace=NS, key="k", filter={"$nope": 1}),
    Distinct(namespace=Namespace("mongo_write_lanes", "not there"), key="k"),
    Aggregate(namespace=NS, pipeline=[{"$match": {"n": {"$gt": "$$no"}}}, {"$set": {"y": "$$y"}}], let={"y": 1}),
    Aggregate(namespace=NS, pipeline=[{"$set": {"y": "$$y"}}], let={"y": 1}, hint={"_id": 1}, allow_disk_use=True),
    Aggregate(namespace=NS, pipeline=[{"$nope": {}}]),
    Aggregate(namespace=NS, pipeline=[], cap=2),
    Aggregate(namespace=NS, pipeline=[], cap=3),
]


def plain(outcome: Any) -> Any:
    """A result with its documents as values, which compare."""
    if isinstance(outcome, DocumentsResult):
        return outcome.documents.decode()
    return outcome


@pytest.mark.parametrize("operation", SAME, ids=lambda operation: str(operation.name))
def test_both_ways_answer_and_refuse_alike(mongodb_uri: str, operation: Operation[Any]) -> None:
    async def body(store: MongoStore, lanes: Lanes) -> None:
        outcomes = []
        for usable in (True, False):
            await store.execute(DeleteMany(namespace=NS, filter={}))
            await store.execute(InsertMany(namespace=NS, documents=list(ROWS)))
            lanes._usable = usable
            outcome: Any
            try:
                outcome = plain(await store.execute(operation))
            except DoorleafError as error:
                outcome = (
                    type(error),
                    error.status,
                    error.code,
                    error.message,
                    getattr(error, "number", None),
                    error.fields,
                )
            left = (await store.execute(Find(namespace=NS, sort={"_id": 1}))).documents.decode()
            outcomes.append((outcome, left))
        assert outcomes[0] == outcomes[1]

    directly(mongodb_uri, body)


def test_what_is_large_goes_the_other_way(mongodb_uri: str) -> None:
    async def body(store: MongoStore, lanes: Lanes) -> None:
        assert await insert(store, {"_id": 1, "text": "x" * 2_000_000}) == 1
        assert lanes._held == 0
        with pytest.raises(DataError) as raised:
            await insert(store, {"_id": 2, "text": "x" * 17_000_000})
        assert raised.value.number == 10334

    directly(mongodb_uri, body)


@pytest.mark.parametrize(("words", "held"), [("w=0", 0), ("w=1", 1), ("w=1&journal=true&wtimeoutMS=5000", 1)])
def test_the_write_concern_of_the_uri_is_kept(mongodb_uri: str, words: str, held: int) -> None:
    async def body(store: MongoStore, lanes: Lanes) -> None:
        assert await insert(store, {"_id": 1}) == 1
        assert lanes._held == held

    directly(mongodb_uri, body, f"{'&' if '?' in mongodb_uri else '?'}{words}")
