"""A page by cursor reads as much wherever it is: what it reads is counted, not how long it takes."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import bson
import pytest
from bson import Decimal128, Int64
from opened import C, Run, command, explain, fill, find, run_in

from doorleaf.dialects.workspaces.cursors import following, passed
from doorleaf.documents import Document
from doorleaf.operations import CreateIndex, DeleteMany, Find, InsertOne
from doorleaf.stores.embedded.store import EmbeddedStore

MANY = 600
LIMIT = 5


def document(number: int) -> Document:
    return {"_id": number, "pair": number // 2, "text": f"{number // 2:04}", "day": {"n": number}}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("pages")
    runner = run_in(folder)

    async def filled(store: EmbeddedStore) -> None:
        await fill(store, *map(document, range(MANY)))
        for keys in ({"pair": 1}, {"text": 1, "_id": 1}, {"day.n": -1}):
            await store.execute(CreateIndex(namespace=C, keys=keys, options={}))

    runner(filled)
    return runner


@pytest.mark.parametrize(
    "sort",
    [
        {"_id": 1},
        {"_id": -1},
        {"pair": 1, "_id": 1},
        {"pair": -1, "_id": 1},
        {"text": 1, "_id": 1},
        {"text": -1, "_id": -1},
        {"day.n": 1, "_id": 1},
        {"day.n": -1, "_id": 1},
    ],
    ids=lambda sort: " ".join(f"{path}{way:+}" for path, way in sort.items()),
)
def test_a_page_reads_no_more_at_the_end_than_at_the_beginning(run: Run, sort: dict[str, int]) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        order = sorted(range(MANY), key=lambda number: [_key(number, path, way) for path, way in sort.items()])
        for place in (0, 1, MANY // 2, MANY - LIMIT - 2, MANY - 2, MANY - 1):
            found, read = await page(store, sort, order[place])
            assert found == order[place + 1 : place + 1 + LIMIT], place
            assert read <= 3 * LIMIT, place

    run(scenario)


def _key(number: int, path: str, way: int) -> int:
    return way * (number // 2 if path in ("pair", "text") else number)


async def page(store: EmbeddedStore, sort: Document, last: int) -> tuple[list[int], int]:
    """The ids behind a document, and how much was read for them."""
    values = [_value(document(last), path) for path in sort]
    found: list[int] = []
    read = 0
    for filter in following(sort, values):
        asked = {"filter": filter, "sort": sort, "limit": LIMIT - len(found)}
        stats = (await explain(store, find="c", **asked))["executionStats"]
        read += stats["totalDocsExamined"]
        found += [one["_id"] for one in (await command(store, find="c", **asked))["cursor"]["firstBatch"]]
        if len(found) == LIMIT:
            break
    return found, read


def _value(found: Any, path: str) -> Any:
    for part in path.split("."):
        found = found[part]
    return found


TIED: list[Any] = [1, 1.0, Int64(1), Decimal128("1"), 2, None, "a", "a\0", "", float("nan"), Decimal128("NaN"), {}, 2.5]


@pytest.mark.parametrize("direction", [1, -1])
def test_what_an_index_leaves_tied_comes_in_the_order_of_the_sort(tmp_path: Path, direction: int) -> None:
    """Whatever comes first of it is what sorting everything has first."""
    rng = random.Random(direction)

    async def scenario(store: EmbeddedStore) -> None:
        ids = rng.sample(range(10_000), 400)
        await fill(
            store,
            *({"_id": number, "g": rng.randrange(3), "n": rng.choice([*TIED, *range(200)])} for number in ids),
            *({"_id": -number, "g": 1} for number in range(5)),
        )
        await store.execute(CreateIndex(namespace=C, keys={"g": 1, "n": 1}, options={}))
        for sort in ({"n": direction, "_id": 1}, {"n": direction, "_id": -1}, {"n": direction, "g": 1, "_id": 1}):
            everything = [one["_id"] for one in await find(store, {"g": 1}, sort=sort)]
            for limit, skip in ((1, 0), (7, 0), (7, 30), (150, 0), (len(everything), 0)):
                some = await find(store, {"g": 1}, sort=sort, limit=limit, skip=skip)
                assert [one["_id"] for one in some] == everything[skip : skip + limit], (sort, limit, skip)

    run_in(tmp_path)(scenario)


def test_a_total_that_is_remembered_is_that_of_now(tmp_path: Path) -> None:
    """Whoever writes: this store, or another process, which another store is like."""

    async def scenario(store: EmbeddedStore) -> None:
        other = EmbeddedStore(tmp_path)
        await other.open()
        try:
            await fill(store, *({"_id": number, "g": number % 2} for number in range(100)))
            await store.execute(CreateIndex(namespace=C, keys={"g": 1}, options={}))

            async def totals() -> list[int | None]:
                asked = [Find(namespace=C, filter={"g": g}, limit=5, total=most) for g in (0, 1) for most in (0, 20)]
                return [(await store.execute(one)).total for one in [*asked, *asked]]

            assert await totals() == [50, 20, 50, 20] * 2
            for number, writer in enumerate((store, other, store, other), 1):
                await writer.execute(InsertOne(namespace=C, document={"_id": -number, "g": 0}))
                assert await totals() == [50 + number, 20, 50, 20] * 2
            await other.execute(DeleteMany(namespace=C, filter={"g": 1, "_id": {"$lt": 50}}))
            assert await totals() == [54, 20, 25, 20] * 2
        finally:
            await other.close()

    run_in(tmp_path)(scenario)


def test_a_page_goes_on_behind_its_document_in_whatever_order_the_database_has() -> None:
    sort, values = {"a": 1, "_id": 1}, ["B", 2]
    found = [bson.encode(one) for one in ({"_id": 1, "a": "b"}, {"_id": 2, "a": "B"}, {"_id": 3, "a": "c"})]
    assert passed(found, sort, values) == 2  # a collation takes b and B for the same
    assert passed(found[2:], sort, values) is None  # it was deleted: what follows is asked for in another way
    changed = [found[0], bson.encode({"_id": 2, "a": "d"})]
    assert passed(changed, sort, values) is None
    assert passed([bson.encode({"_id": True, "a": "B"}), bson.encode({"a": "B"})], sort, ["B", 1]) is None
