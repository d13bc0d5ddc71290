"""What all documents of a collection have needs no test, and is known whoever writes; what is hidden is cut out."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator
from typing import Any
from zlib import crc32

import apsw
import bson
import pytest
from opened import DB, C, Run, alter, command, explain, fill, find, run_in

from doorleaf.access.workspaces.tenancy import HIDDEN
from doorleaf.documents import Document
from doorleaf.errors import DataError
from doorleaf.mql.context import Context
from doorleaf.operations import (
    Aggregate,
    CountDocuments,
    DeleteMany,
    Find,
    InsertMany,
    InsertOne,
    Namespace,
    Operation,
    ReplaceOne,
    Transaction,
    UpdateMany,
    UpdateOne,
)
from doorleaf.stores.embedded.catalog import CONSTANT_FIELDS, Collection
from doorleaf.stores.embedded.store import EmbeddedStore
from doorleaf.stores.embedded.writing import rows, writes
from doorleaf.stores.embedded.writing.planned import Draft

OWN: Document = {"_tenantId": "acme", "_workspaceId": "orders"}
OTHER: Document = {"_tenantId": "acme", "_workspaceId": "others"}
HIDING = dict.fromkeys(OWN, 0)


def own(*ids: int, **fields: Any) -> Iterator[Document]:
    return ({"_id": number, "n": number % 3, **fields, **OWN} for number in ids)


async def noted(store: EmbeddedStore) -> Document:
    """What is noted that all documents have."""
    collection = store.now(lambda session: session.catalog.get(C))
    assert collection is not None
    return collection.constants


async def page(store: EmbeddedStore, filter: Document, **options: Any) -> tuple[list[Document], int | None]:
    asked = {"projection": HIDING, "sort": {"_id": 1}, "total": 0, **options}
    result = await store.execute(Find(namespace=C, filter={**OWN, **filter}, **asked))
    return result.documents.decode(), result.total


@pytest.fixture
def run(tmp_path: Any) -> Run:
    return run_in(tmp_path)


def test_the_fields_are_those_that_keep_tenants_apart() -> None:
    assert CONSTANT_FIELDS == HIDDEN


def test_an_index_alone_decides_and_counts(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, *own(*range(300)))
        await command(store, createIndexes="c", indexes=[{"key": {"n": 1, "_id": 1}, "name": "n"}])
        documents, total = await page(store, {"n": 1}, limit=4)
        assert documents == [{"_id": number, "n": 1} for number in (1, 4, 7, 10)]
        assert total == 100
        assert (await page(store, {"n": 1}, limit=4, total=7))[1] == 7
        assert (await page(store, {}, limit=2, skip=299)) == ([{"_id": 299, "n": 2}], 300)
        assert (await page(store, {}, limit=2, skip=400)) == ([], 300)
        for asked in ({"find": "c", "limit": 4}, {"count": "c"}):
            key = "query" if "count" in asked else "filter"
            stats = (await explain(store, **asked, **{key: {**OWN, "n": 1}}))["executionStats"]
            assert stats["totalDocsExamined"] <= 4
        assert (await page(store, {"_workspaceId": "others"}))[0] == []

    run(scenario)


def test_nobody_sees_or_sets_the_note(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, *own(1))
        assert await noted(store) == OWN
        (listed,) = (await command(store, listCollections=1))["cursor"]["firstBatch"]
        assert listed["options"] == {}
        with pytest.raises(DataError):
            await command(store, collMod="c", constants={})
        await command(store, collMod="c", validator={"n": {"$lt": 5}})
        assert await noted(store) == OWN

    run(scenario)


def merging(document: Document) -> Operation[Any]:
    made: list[Document] = [{"$documents": [document]}, {"$merge": {"into": "c"}}]
    return Aggregate(namespace=Namespace("db", "$cmd.aggregate"), pipeline=made)


@pytest.mark.parametrize(
    "write",
    [
        InsertOne(namespace=C, document={"_id": 9}),
        InsertOne(namespace=C, document={"_id": 9, **OTHER}),
        InsertOne(namespace=C, document={"_id": 9, **OWN, "_tenantId": ["acme"]}),
        InsertMany(namespace=C, documents=[{"_id": 1}, {"_id": 9}], ordered=False),
        UpdateOne(namespace=C, filter={"_id": 2}, update={"$unset": {"_tenantId": ""}}),
        UpdateMany(namespace=C, filter={"n": {"$gte": 0}}, update=[{"$set": {"_workspaceId": "others"}}]),
        UpdateOne(namespace=C, filter={"_id": 9}, update={"$set": {"n": 1}}, upsert=True),
        ReplaceOne(namespace=C, filter={"_id": 2}, replacement={"n": 1}),
        merging({"_id": 9}),
        Transaction(
            namespace=DB,
            operations=[InsertOne(namespace=C, document={"_id": 9}), DeleteMany(namespace=C, filter={"_id": 9})],
        ),
    ],
    ids=lambda write: write.name,
)
def test_any_write_of_another_document_ends_it(run: Run, write: Operation[Any]) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, *own(1, 2, 3))
        before = await noted(store)
        try:
            await store.execute(write)
        except DataError:
            assert isinstance(write, InsertMany)  # one of two is there already
        assert before == OWN
        assert await noted(store) == {}
        everything = await find(store)
        mine = [one for one in everything if all(text in (one.get(name) or ()) for name, text in OWN.items())]
        assert await page(store, {}) == ([{k: v for k, v in one.items() if k not in OWN} for one in mine], len(mine))
        assert (await command(store, validate="c"))["valid"]

    run(scenario)


def test_what_is_undone_changes_nothing(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, *own(1, 2))
        foreign, again = InsertOne(namespace=C, document={"_id": 9}), InsertOne(namespace=C, document={"_id": 1})
        with pytest.raises(DataError):
            await store.execute(Transaction(namespace=DB, operations=[foreign, again]))
        assert await noted(store) == OWN
        with pytest.raises(DataError):
            await store.execute(InsertMany(namespace=C, documents=[{"_id": 1}, *own(3)], ordered=False))
        assert await noted(store) == OWN
        assert await page(store, {}) == ([{"_id": 1, "n": 1}, {"_id": 2, "n": 2}, {"_id": 3, "n": 0}], 3)

    run(scenario)


def test_an_empty_collection_begins_anew_and_keeps_it_when_opened_again(run: Run, tmp_path: Any) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, *own(1), {"_id": 2})
        assert await noted(store) == {}
        await store.execute(DeleteMany(namespace=C, filter={}))
        await fill(store, {"_id": 3, **OTHER})
        assert await noted(store) == OTHER
        assert await page(store, {}) == ([], 0)

    async def again(store: EmbeddedStore) -> None:
        assert await noted(store) == OTHER

    run(scenario)
    run(again)
    alter(tmp_path, "UPDATE d1 SET document = ?, sum = ?", *_row({"_id": 3, **OWN}))

    async def damaged(store: EmbeddedStore) -> None:
        (problem,) = (await command(store, validate="c"))["errors"]
        assert "lacks what all are said to have" in problem

    run(damaged)


def _row(document: Document) -> tuple[bytes, int]:
    encoded = bson.encode(document)
    return encoded, crc32(encoded)


def test_what_is_cut_out_is_the_field_and_nothing_that_looks_so(run: Run) -> None:
    element = bson.encode(OWN)[4:-1].decode("latin-1")
    documents: list[Document] = [
        {"_id": 1, "text": element, **OWN},
        {"_id": 2, **OWN, "text": element},
        {"_id": 3, "inner": OWN, **OWN},
        {"_id": 4, "_tenantId": "acme", "between": [OWN], "_workspaceId": "orders"},
        {"_id": 5, "_workspaceId": "orders", "between": 1, "_tenantId": "acme"},
        {**OWN, "_id": 6, "bytes": element.encode("latin-1")},
        {"_id": 7, "x_tenantId": "acme", **OWN},
    ]

    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, *documents)
        assert await noted(store) == OWN
        wanted = [{name: value for name, value in one.items() if name not in OWN} for one in await find(store)]
        assert await page(store, {}) == (wanted, len(documents))
        assert len(wanted) == 7

    run(scenario)


def test_at_random_as_if_nothing_were_noted(run: Run) -> None:
    chance = random.Random(5)

    def document(number: int) -> Document:
        return {"_id": number, "n": chance.randrange(3), **chance.choice([OWN, OWN, OWN, OWN, OTHER, {}])}

    def write() -> Operation[Any]:
        some, number = {"_id": {"$mod": [3, chance.randrange(3)]}}, chance.randrange(20)
        return chance.choice(
            [
                InsertMany(namespace=C, documents=[document(n) for n in chance.sample(range(20), 4)], ordered=False),
                ReplaceOne(namespace=C, filter={"_id": number}, replacement=document(number), upsert=True),
                UpdateMany(namespace=C, filter=some, update={"$set": chance.choice([OWN, OTHER, {"n": 1}])}),
                DeleteMany(namespace=C, filter=chance.choice([{}, some, {"_workspaceId": "others"}])),
            ]
        )

    async def scenario(store: EmbeddedStore) -> None:
        seen = set()
        for _ in range(150):
            with contextlib.suppress(DataError):  # of an ``_id`` that is there
                await store.execute(write())
            everything = await find(store)
            seen.add(frozenset((await noted(store)).items()))
            mine = [one for one in everything if one.items() >= OWN.items()]
            shown = [{name: value for name, value in one.items() if name not in OWN} for one in mine]
            assert await page(store, {}) == (shown, len(mine))
            counting = CountDocuments(namespace=C, filter={**OWN, "n": 1})
            assert (await store.execute(counting)).count == sum(one["n"] == 1 for one in mine)
        assert len(seen) == 3  # its own, the other's, and nothing

    run(scenario)


INDEX = {"key": {"_tenantId": 1, "n": 1}, "name": "own"}


async def stages(store: EmbeddedStore, **asked: Any) -> tuple[str | None, int]:
    """The index that a find uses, and the documents that it looks at."""
    explained = await explain(store, find="c", **asked)
    stage = explained["queryPlanner"]["winningPlan"]
    while "inputStage" in stage:
        stage = stage["inputStage"]
    return stage.get("indexName"), explained["executionStats"]["totalDocsExamined"]


def test_indexes_of_what_all_have_are_of_use(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, *own(*range(150)))
        await command(store, createIndexes="c", indexes=[INDEX])
        assert await noted(store) == OWN
        asked: Document = {**OWN, "n": 1}
        assert await stages(store, filter=asked) == ("own", 50)
        assert await stages(store, filter=asked, hint="own") == ("own", 50)
        assert await stages(store, filter=OWN, sort={"n": 1}, limit=3) == ("own", 3)
        found = await store.execute(Find(namespace=C, filter=asked, limit=5, total=0, max_scan=10))
        assert (len(found.documents), found.total) == (5, 50)
        assert (await store.execute(CountDocuments(namespace=C, filter=OWN))).count == 150

    run(scenario)


@pytest.mark.parametrize("partial", [{"_tenantId": "acme"}, {"$and": [{"_workspaceId": {"$eq": "orders"}}]}])
def test_partial_indexes_of_what_all_have_are_of_use(run: Run, partial: Document) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, *own(*range(150)))
        made = {"key": {"n": 1}, "name": "own", "partialFilterExpression": partial}
        await command(store, createIndexes="c", indexes=[made])
        assert await noted(store) == OWN
        assert await stages(store, filter={**OWN, "n": 1}) == ("own", 50)
        assert await stages(store, filter={"n": 1}) == (None, 150)

    run(scenario)


def test_what_no_index_is_chosen_by_needs_no_test(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, *own(*range(150)))
        await command(store, createIndexes="c", indexes=[{"key": {"other": 1, "_tenantId": 1}, "name": "own"}])
        assert await noted(store) == OWN
        assert len((await store.execute(Find(namespace=C, filter=OWN, limit=5, max_scan=10))).documents) == 5
        assert (await page(store, {}, limit=5))[1] == 150

    run(scenario)


def test_updates_of_many_keep_it(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, *own(*range(20)))
        await store.execute(UpdateMany(namespace=C, filter={"n": {"$gte": 0}}, update=[{"$set": {"n": {"$abs": 7}}}]))
        assert await noted(store) == OWN
        assert (await store.execute(CountDocuments(namespace=C, filter={**OWN, "n": 7}))).count == 20

    run(scenario)


def test_no_total_is_told_unasked(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        assert await page(store, {}, total=None) == ([], None)
        assert await page(store, {}, total=0) == ([], 0)

    run(scenario)


def collection_of(transaction: rows.Transaction) -> Collection:
    found = transaction.session.catalog.get(C)
    assert found is not None
    return found


def test_what_was_planned_holds_whatever_is_noted(run: Run) -> None:
    def work(transaction: rows.Transaction) -> None:
        context = Context()
        draft = Draft(transaction.session)
        changes = UpdateMany(namespace=C, filter=OWN, update={"$set": {"n": 7}})
        writes.WRITES[UpdateMany](draft, changes, context)
        rows.Rows(transaction, collection_of(transaction), context).insert({"_id": 9})
        draft.carry_out(transaction, context, unchanged=False)

    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, *own(1, 2))
        await store.write(work, Context(time.monotonic() + 30))
        assert await noted(store) == {}
        assert await page(store, {}) == ([{"_id": 1, "n": 7}, {"_id": 2, "n": 7}], 2)
        assert await find(store, {"_tenantId": None}) == [{"_id": 9}]

    run(scenario)


def test_nothing_false_is_noted_by_who_has_an_older_view(run: Run) -> None:
    def work(transaction: rows.Transaction) -> None:
        one, other = (rows.Rows(transaction, collection_of(transaction), Context()) for _ in range(2))
        one.insert({"_id": 9, "n": 2})
        other.insert({"_id": 10, "n": [1, 2], **OWN})  # which notes that there are arrays

    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, *own(1))
        await command(store, createIndexes="c", indexes=[{"key": {"n": 1}, "name": "n"}])
        await store.write(work, Context(time.monotonic() + 30))
        assert await noted(store) == {}
        assert await page(store, {}) == ([{"_id": 1, "n": 1}, {"_id": 10, "n": [1, 2]}], 2)
        assert (await command(store, validate="c"))["valid"]

    run(scenario)


def test_an_earlier_version_that_has_the_file_open_writes_no_more(run: Run, tmp_path: Any) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, *own(1))

    run(scenario)
    written = "UPDATE counts SET documents = documents + 1, bytes = bytes + 9 WHERE collection = 1"
    with pytest.raises(apsw.SQLError, match="no such column: bytes"):  # it is in each of its commits with documents
        alter(tmp_path, written)
