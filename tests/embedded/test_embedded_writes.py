"""Inserting, updating and writing several at once in the embedded store."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import bson
import pytest
from bson import Decimal128, Int64, ObjectId, Regex
from guards import Looks
from opened import DB, C, Run, fill, find

from doorleaf.documents import ABSENT, CODEC, Document
from doorleaf.errors import (
    DataError,
    DuplicateKey,
    InvalidParameter,
    Unsupported,
    WriteFailed,
)
from doorleaf.operations import (
    Aggregate,
    BulkWrite,
    CountDocuments,
    CreateCollection,
    CreateIndex,
    DeleteMany,
    DeleteOne,
    Distinct,
    DropIndex,
    Find,
    FindOne,
    FindOneAndDelete,
    FindOneAndReplace,
    FindOneAndUpdate,
    InsertMany,
    InsertOne,
    ListCollections,
    Namespace,
    ReplaceOne,
    RunCommand,
    UpdateMany,
    UpdateOne,
    Write,
)
from doorleaf.stores.embedded.store import EmbeddedStore

# --- inserting -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "number"),
    [
        ({"_id": [1]}, 53),
        ({"_id": Regex("a")}, 53),
        ({"_id": {"$a": 1}}, 52),
        ({"a": "x" * (16 * 1024 * 1024)}, 10334),
    ],
)
def test_documents_that_cannot_be(run: Run, document: Document, number: int) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        with pytest.raises(DataError) as caught:
            await store.execute(InsertOne(namespace=C, document=document))
        assert caught.value.number == number
        assert (await store.execute(ListCollections(namespace=DB))).collections == []

    run(scenario)


def test_a_document_as_large_and_as_deep_as_may_be(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        deep: Document = {"leaf": 1}
        for _ in range(99):
            deep = {"n": deep}
        await fill(store, {"_id": 1, "data": "x" * (16 * 1024 * 1024 - 64)}, {"_id": 2, **deep})
        assert [document["_id"] for document in await find(store)] == [1, 2]
        with pytest.raises(DataError, match="deeper than 100"):
            await store.execute(InsertOne(namespace=C, document={"n": deep}))
        with pytest.raises(InvalidParameter):
            await store.execute(InsertOne(namespace=C, document={"a": object()}))

    run(scenario)


def test_ids_are_first_made_when_missing_and_one_across_number_types(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        made = (await store.execute(InsertOne(namespace=C, document={"a": 1}))).inserted_id
        assert isinstance(made, ObjectId)
        await fill(store, {"b": 1, "_id": 1})
        found = (await store.execute(FindOne(namespace=C, filter={"_id": 1}))).document
        assert found == bson.encode({"_id": 1, "b": 1})
        for same in (1.0, Int64(1), Decimal128("1.0")):
            with pytest.raises(DuplicateKey, match=r"E11000 duplicate key error collection: db.c index: _id_ dup key"):
                await store.execute(InsertOne(namespace=C, document={"_id": same}))
            assert len(await find(store, {"_id": same})) == 1
        await fill(store, {"_id": True}, {"_id": "1"}, {"_id": None}, {"_id": {}})
        assert (await store.execute(CountDocuments(namespace=C))).count == 6

    run(scenario)


def test_stored_bytes_come_back_as_they_are(run: Run) -> None:
    document = {
        "_id": 1,
        "int": 5,
        "long": Int64(5),
        "double": 5.0,
        "decimal": Decimal128("5.10"),
        "z": 1,
        "a": 2,
        "binary": bson.Binary(b"x", 4 + 124),
        "date": datetime(2020, 1, 1, 12, 0, 0, 1000),
        "null": None,
        "regex": Regex("a.b", "i"),
        "timestamp": bson.Timestamp(1, 2),
        "min": bson.MinKey(),
        "empty": {},
        "list": [],
    }

    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, document)
        expected = bson.encode(document, codec_options=CODEC)
        assert (await store.execute(FindOne(namespace=C))).document == expected
        assert list((await store.execute(Find(namespace=C, filter={"z": 1}))).documents) == [expected]
        await store.execute(UpdateOne(namespace=C, filter={}, update={"$set": {"new": 1}}))
        assert (await store.execute(FindOne(namespace=C))).document == bson.encode({**document, "new": 1})

    run(scenario)


# --- several writes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ordered", "inserted"), [(True, [1, 2]), (False, [1, 2, 3])])
def test_insert_many_keeps_what_succeeded(run: Run, ordered: bool, inserted: list[int]) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        documents: list[Document] = [{"_id": 1}, {"_id": 2}, {"_id": 1}, {"_id": 3}, {"_id": [4]}]
        with pytest.raises(WriteFailed) as caught:
            await store.execute(InsertMany(namespace=C, documents=documents, ordered=ordered))
        assert caught.value.status == 409
        assert caught.value.fields["insertedIds"] == inserted
        errors = [(entry["index"], entry["code"]) for entry in caught.value.fields["writeErrors"]]
        assert errors == ([(2, 11000)] if ordered else [(2, 11000), (4, 53)])
        assert [document["_id"] for document in await find(store)] == inserted

    run(scenario)


def _bulk(*writes: Write, ordered: bool = True) -> BulkWrite:
    return BulkWrite(namespace=C, operations=list(writes), ordered=ordered)


def test_bulk_write_counts(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        result = await store.execute(
            _bulk(
                InsertOne(namespace=C, document={"_id": 1, "a": 1}),
                InsertOne(namespace=C, document={"_id": 2, "a": 1}),
                UpdateMany(namespace=C, filter={"a": 1}, update={"$set": {"a": 2}}),
                UpdateOne(namespace=C, filter={"_id": 0}, update={"$set": {"a": 9}}, upsert=True),
                ReplaceOne(namespace=C, filter={"_id": 1}, replacement={"b": 1}),
                DeleteOne(namespace=C, filter={"_id": 2}),
                DeleteMany(namespace=C, filter={"zz": 1}),
            )
        )
        assert result.wire() == {
            "insertedCount": 2,
            "matchedCount": 3,
            "modifiedCount": 3,
            "deletedCount": 1,
            "upsertedCount": 1,
            "upsertedIds": {"3": 0},
            "insertedIds": {"0": 1, "1": 2},
        }
        assert await find(store) == [{"_id": 0, "a": 9}, {"_id": 1, "b": 1}]

    run(scenario)


@pytest.mark.parametrize("ordered", [True, False])
def test_bulk_write_that_fails_in_the_middle(run: Run, ordered: bool) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        with pytest.raises(WriteFailed) as caught:
            await store.execute(
                _bulk(
                    InsertOne(namespace=C, document={"_id": 1}),
                    UpdateOne(namespace=C, filter={"_id": 1}, update={"$inc": {"_id": 1}}),
                    InsertOne(namespace=C, document={"_id": 2}),
                    ordered=ordered,
                )
            )
        assert caught.value.status == 400
        assert caught.value.fields["insertedCount"] == (1 if ordered else 2)
        assert [(entry["index"], entry["code"]) for entry in caught.value.fields["writeErrors"]] == [(1, 66)]
        assert len(await find(store)) == (1 if ordered else 2)

    run(scenario)


def test_what_this_database_lacks_undoes_a_whole_bulk_write(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        with pytest.raises(Unsupported):
            await store.execute(
                _bulk(
                    InsertOne(namespace=C, document={"_id": 1}),
                    DeleteOne(namespace=C, filter={"$where": "true"}),
                    ordered=False,
                )
            )
        assert await find(store) == []

    run(scenario)


# --- updating --------------------------------------------------------------------------------------------------------


def test_updates_of_one_and_many(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, *({"_id": n, "a": n % 2, "tags": [1, 2, 3]} for n in range(4)))
        one = await store.execute(UpdateOne(namespace=C, filter={"a": 1}, update={"$set": {"b": 1}}, sort={"_id": -1}))
        assert one.wire() == {"matchedCount": 1, "modifiedCount": 1}
        assert [document["_id"] for document in await find(store, {"b": 1})] == [3]
        many = await store.execute(UpdateMany(namespace=C, filter={"a": 1}, update={"$set": {"b": 1}}))
        assert (many.matched_count, many.modified_count, many.upserted_id) == (2, 1, ABSENT)
        await store.execute(UpdateMany(namespace=C, filter={"_id": 0, "tags": 2}, update={"$set": {"tags.$": 20}}))
        filters: list[Document] = [{"x": {"$gte": 3}}]
        update = {"$inc": {"tags.$[x]": 1}}
        await store.execute(UpdateMany(namespace=C, filter={"_id": 0}, update=update, array_filters=filters))
        assert (await find(store, {"_id": 0}))[0]["tags"] == [1, 21, 4]
        await store.execute(UpdateOne(namespace=C, filter={"_id": 1}, update=[{"$set": {"c": {"$add": ["$a", 1]}}}]))
        assert (await find(store, {"_id": 1}))[0]["c"] == 2

    run(scenario)


def test_a_document_that_a_guard_looks_at_is_read_once(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    read, seen = 0, 0
    decode = bson.decode

    def counting(document: Any, *more: Any) -> Any:
        nonlocal read
        read += len(document) > 1_000_000
        return decode(document, *more)

    def look(before: Document | None, after: Document | None) -> None:
        nonlocal seen
        seen += 1
        assert before is None or before["l"] == large["l"]
        assert after is None or after["l"] == large["l"]

    large = {"_id": 1, "n": 1, "l": ["x" * 100] * 12_000}
    writes: list[tuple[Any, int]] = [
        (InsertOne(namespace=C, document=large, guard=Looks(look)), 0),
        (UpdateOne(namespace=C, filter={"_id": 1}, update={"$set": {"n": 2}}, guard=Looks(look)), 1),
        (UpdateOne(namespace=C, filter={"_id": 1}, update={"$set": {"n": 2}}, guard=Looks(look)), 1),
        (ReplaceOne(namespace=C, filter={"_id": 1}, replacement=large, guard=Looks(look)), 1),
        (DeleteOne(namespace=C, filter={"_id": 1}, guard=Looks(look)), 1),
    ]

    async def scenario(store: EmbeddedStore) -> None:
        nonlocal read, seen
        monkeypatch.setattr(bson, "decode", counting)
        for write, times in writes:
            read = seen = 0
            await store.execute(write)
            assert (seen, read) == (1, times), write.name

    run(scenario)


@pytest.mark.parametrize("identity", [0, "", False, None, 1.5, {"a": 1}])
def test_upserts_answer_any_id(run: Run, identity: Any) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        result = await store.execute(
            UpdateOne(namespace=C, filter={"_id": identity}, update={"$set": {"a": 1}}, upsert=True)
        )
        assert result.wire() == {"matchedCount": 0, "modifiedCount": 0, "upsertedId": identity}
        assert await find(store) == [{"_id": identity, "a": 1}]
        again = await store.execute(
            ReplaceOne(namespace=C, filter={"_id": identity}, replacement={"a": 2}, upsert=True)
        )
        assert again.wire() == {"matchedCount": 1, "modifiedCount": 1}

    run(scenario)


def test_find_one_and(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, {"_id": 1, "a": 1}, {"_id": 2, "a": 5})

        async def answer(operation: Any) -> Document | None:
            found = (await store.execute(operation)).document
            return None if found is None else bson.decode(found)

        inc = {"$inc": {"a": 1}}
        assert await answer(FindOneAndUpdate(namespace=C, filter={}, update=inc, sort={"a": -1})) == {"_id": 2, "a": 6}
        old = FindOneAndUpdate(
            namespace=C, filter={"_id": 1}, update=inc, return_new_document=False, projection={"a": 1}
        )
        assert await answer(old) == {"_id": 1, "a": 1}
        assert await answer(FindOneAndUpdate(namespace=C, filter={"_id": 9}, update=inc)) is None
        upsert = FindOneAndUpdate(namespace=C, filter={"_id": 9}, update=inc, upsert=True, projection={"_id": 0})
        assert await answer(upsert) == {"a": 1}
        fresh = FindOneAndReplace(
            namespace=C, filter={"_id": 10}, replacement={"b": 1}, upsert=True, return_new_document=False
        )
        assert await answer(fresh) is None
        assert await answer(FindOneAndDelete(namespace=C, filter={"_id": 10})) == {"_id": 10, "b": 1}
        assert await answer(FindOneAndDelete(namespace=C, filter={"_id": 10})) is None

    run(scenario)


@pytest.mark.parametrize(
    ("operation", "number"),
    [
        (UpdateOne(namespace=C, filter={}, update={"a": 1}), 9),
        (UpdateOne(namespace=C, filter={}, update={}), 9),
        (UpdateOne(namespace=C, filter={}, update={"$nope": {"a": 1}}), 9),
        (UpdateOne(namespace=C, filter={}, update={"$set": {"_id": 5}}), 66),
        (ReplaceOne(namespace=C, filter={}, replacement={"_id": 5}), 66),
        (ReplaceOne(namespace=C, filter={}, replacement={"$set": {"a": 1}}), 52),
        (DeleteMany(namespace=C, filter={"$nope": 1}), 2),
        (Find(namespace=C, filter={"a": {"$nope": 1}}), 2),
        (Find(namespace=C, sort={"a": 5}), 15975),
        (Find(namespace=C, hint="nope"), 2),
        (Aggregate(namespace=C, pipeline=[{"$nope": 1}]), 40324),
        (CreateIndex(namespace=Namespace("db", "a$b"), keys={"a": 1}), 73),
        (CreateCollection(namespace=Namespace("db", "system.users")), 73),
        (CreateCollection(namespace=Namespace("a.b", "c")), 73),
        (InsertOne(namespace=Namespace("DB", "c"), document={}), 13297),
        (DropIndex(namespace=C, index="nope"), 27),
        (DropIndex(namespace=C, index="_id_"), 72),
        (DropIndex(namespace=Namespace("db", "nope"), index="a"), 26),
        (CreateCollection(namespace=C), 48),
        (CreateCollection(namespace=Namespace("db", "x"), options={"nope": 1}), 40415),
    ],
)
def test_mistakes_have_the_servers_numbers(run: Run, operation: Any, number: int) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, {"_id": 1})
        with pytest.raises(DataError) as caught:
            await store.execute(operation)
        assert caught.value.number == number
        assert await find(store) == [{"_id": 1}]

    run(scenario)


GERMAN = {"locale": "de"}


@pytest.mark.parametrize(
    ("operation", "named"),
    [
        (Find(namespace=C, collation=GERMAN), "de"),
        (CountDocuments(namespace=C, collation=GERMAN), "de"),
        (Distinct(namespace=C, key="a", collation=GERMAN), "de"),
        (Aggregate(namespace=C, pipeline=[], collation=GERMAN), "de"),
        (UpdateMany(namespace=C, filter={}, update={"$set": {"a": 1}}, collation=GERMAN), "de"),
        (DeleteMany(namespace=C, filter={}, collation=GERMAN), "de"),
        (CreateIndex(namespace=C, keys={"a": "text"}), "text"),
        (CreateIndex(namespace=C, keys={"a": "2dsphere"}), "2dsphere"),
        (CreateIndex(namespace=C, keys={"a": "2d"}), "2d"),
        (CreateIndex(namespace=C, keys={"$**": 1}), "wildcard"),
        (CreateIndex(namespace=C, keys={"a": 1}, options={"collation": GERMAN}), "de"),
        (CreateCollection(namespace=Namespace("db", "x"), options={"capped": True, "size": 5}), "capped"),
        (CreateCollection(namespace=Namespace("db", "x"), options={"viewOn": "c"}), "viewOn"),
        (Find(namespace=C, filter={"$where": "1"}), "$where"),
        (Find(namespace=C, filter={"$text": {"$search": "x"}}), "$text"),
        (RunCommand(namespace=DB, command={"explain": {"aggregate": 1, "pipeline": []}}), "without a collection"),
        (
            RunCommand(namespace=DB, command={"explain": {"aggregate": "c", "pipeline": [{"$indexStats": {}}]}}),
            "$index",
        ),
        (RunCommand(namespace=DB, command={"find": "c", "batchSize": 2}), "batchSize"),
    ],
)
def test_what_is_not_there_is_refused_by_name(run: Run, operation: Any, named: str) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, {"_id": 1})
        with pytest.raises(Unsupported) as caught:
            await store.execute(operation)
        assert named in caught.value.message
        assert await find(store) == [{"_id": 1}]

    run(scenario)
