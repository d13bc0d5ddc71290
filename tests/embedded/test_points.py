"""The short way of a findOne answers as the ordinary one does, whatever others do to the file in between."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import bson
import pytest
from bson import Decimal128, Int64, ObjectId
from hypothesis import given, settings
from hypothesis import strategies as st
from opened import C, Run, alter, fill

from doorleaf.documents import CODEC, Document
from doorleaf.errors import StoreUnavailable
from doorleaf.operations import CreateIndex, DropCollection, DropIndex, Find, FindOne, Namespace, UpdateOne
from doorleaf.stores.embedded.reading.points import find_point
from doorleaf.stores.embedded.store import EmbeddedStore

NUMBERS = (0, 1, 1.0, Int64(1), Decimal128("1"), float("nan"), -0.0)
OTHERS = (True, False, "a", "A", "", "1", None, b"a", ObjectId("64224f3cd79f54ad342dd9b1"))
SCALARS: Any = st.sampled_from([*NUMBERS, *OTHERS])
VALUES: Any = st.one_of(
    SCALARS, st.lists(SCALARS, max_size=2), st.dictionaries(st.sampled_from("ab"), SCALARS, max_size=2)
)
NAMES = st.sampled_from(["k", "o", "d.a", "d"])
DOCUMENTS: Any = st.lists(st.dictionaries(st.sampled_from("kod"), VALUES, max_size=3), max_size=6)
CONDITIONS: Any = st.one_of(VALUES, st.builds(lambda value: {"$eq": value}, VALUES), st.just({"$gt": 0}))
FILTERS: Any = st.dictionaries(NAMES, CONDITIONS, min_size=1, max_size=3)


def short(store: EmbeddedStore, filter: Document, **options: Any) -> Any:
    """What the short way answers, as Python values; None where it leaves the matter to the ordinary one."""
    session = store._inline
    assert session is not None
    found = find_point(session, FindOne(namespace=C, filter=filter, **options))
    if found is None:
        return None
    document = found.document
    return bson.decode(document, CODEC) if isinstance(document, bytes) else document


async def one(store: EmbeddedStore, filter: Document, **options: Any) -> Any:
    document = (await store.execute(FindOne(namespace=C, filter=filter, **options))).document
    return bson.decode(document, CODEC) if isinstance(document, bytes) else document


@settings(deadline=None)
@given(DOCUMENTS, FILTERS)
def test_it_finds_what_the_ordinary_way_finds(documents: list[Document], filter: Document) -> None:
    async def whole(folder: Path) -> None:
        store = EmbeddedStore(folder, synchronous="OFF")
        await store.open()
        try:
            await store.execute(CreateIndex(namespace=C, keys={"k": 1}))
            if documents:
                await fill(store, *({"_id": number, **document} for number, document in enumerate(documents)))
            every = [
                repr(found) for found in (await store.execute(Find(namespace=C, filter=filter))).documents.decode()
            ]
            found = await one(store, filter)
            assert (found is None) == (not every)
            assert found is None or repr(found) in every
        finally:
            await store.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(whole(Path(folder)))


def test_what_it_takes(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await store.execute(CreateIndex(namespace=C, keys={"k": 1}))
        document = {"_id": 1, "k": "x", "o": "mine", "n": 1}
        await fill(store, document)
        await one(store, {"_id": 1})
        assert short(store, {"_id": 1}) == document
        assert short(store, {"_id": 1.0}) == document
        assert short(store, {"k": "x"}) == document
        assert short(store, {"o": "mine", "k": "x", "n": {"$eq": 1}}) == document
        for filter in (
            {"_id": 2},
            {"o": "mine"},
            {"k": "x", "o": "theirs"},
            {"k": "x", "n": 1.0},
            {"k": {"$gt": "a"}},
            {},
        ):
            assert short(store, filter) is None
        assert short(store, {"k": "x", "gone": None}) is None
        await fill(store, {"_id": 9, "k": "dots", "d.a": 1, "": 1})
        assert short(store, {"k": "dots", "d.a": 1}) is None
        assert await one(store, {"k": "dots", "d.a": 1}) is None
        assert (await one(store, {"k": "dots", "": 1}))["_id"] == 9
        for options in ({"projection": {"k": 1}}, {"sort": {"k": 1}}, {"skip": 1}, {"hint": "k_1"}, {"let": {"a": 1}}):
            assert short(store, {"k": "x"}, **options) is None
        # Once any document has an array there, equality is more than one key.
        await fill(store, {"_id": 2, "k": ["x", "y"]})
        assert short(store, {"k": "x"}) is None
        assert (await one(store, {"k": "y"}))["_id"] == 2
        assert short(store, {"_id": 1}) == document

    run(scenario)


def test_it_notices_what_others_do(tmp_path: Path) -> None:
    async def whole() -> None:
        here, there = EmbeddedStore(tmp_path), EmbeddedStore(tmp_path)
        await here.open()
        await there.open()
        try:
            await there.execute(CreateIndex(namespace=C, keys={"k": 1}))
            await fill(there, {"_id": 1, "k": "x", "n": 1})
            assert await one(here, {"k": "x"}) == {"_id": 1, "k": "x", "n": 1}
            await there.execute(UpdateOne(namespace=C, filter={"_id": 1}, update={"$set": {"n": 2}}))
            assert short(here, {"k": "x"}) == {"_id": 1, "k": "x", "n": 2}
            await fill(there, {"_id": 2, "k": ["y"]})
            assert short(here, {"k": "x"}) is None
            assert (await one(here, {"k": "y"}))["_id"] == 2
            await there.execute(DropIndex(namespace=C, index="k_1"))
            assert (await one(here, {"k": "x"}))["_id"] == 1
            assert short(here, {"_id": 1}) is not None
            await there.execute(DropCollection(namespace=C))
            assert short(here, {"_id": 1}) is None
            assert await one(here, {"_id": 1}) is None
            await fill(there, {"_id": 1, "again": True})
            assert await one(here, {"_id": 1}) == {"_id": 1, "again": True}
            await fill(there, {"_id": 1, "other": True}, namespace=Namespace("db", "other"))
            assert await one(here, {"_id": 1}) == {"_id": 1, "again": True}
        finally:
            await there.close()
            await here.close()

    asyncio.run(whole())


def test_a_damaged_document_is_an_error(tmp_path: Path, run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, {"_id": 1, "n": 1})
        assert await one(store, {"_id": 1}) == {"_id": 1, "n": 1}
        alter(tmp_path, "UPDATE d1 SET document = ?", bson.encode({"_id": 1, "n": 2}))
        with pytest.raises(StoreUnavailable) as raised:
            await one(store, {"_id": 1})
        assert "damaged" in raised.value.message

    run(scenario)
