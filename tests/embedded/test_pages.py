"""A page by cursor reads as much wherever it is: what it reads is counted, not how long it takes."""

from __future__ import annotations

from typing import Any

import pytest
from opened import C, Run, command, explain, fill, run_in

from doorleaf.dialects.workspaces.cursors import following
from doorleaf.documents import Document
from doorleaf.operations import CreateIndex
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
