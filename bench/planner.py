#!/usr/bin/env python3
"""What the embedded engine's planner reads: each case beside the least that it has to read.

Every line is one question to a collection with indexes: index keys and documents that were read, the least that any
plan can do with, and the time that ``explain`` took, which is planning and reading. A case reads no more than twice
what it must, and two entries to see where an index ends; a line that does says so. The last column is the plan.

    python bench/planner.py [--sizes 1000 100000 1000000] [--only WORD]
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from doorleaf.operations import CreateIndex, InsertMany, Namespace, RunCommand
from doorleaf.stores.embedded.store import EmbeddedStore

C = Namespace("bench", "items")
INDEXES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"k": 1}, {}),
    ({"two": 1}, {}),
    ({"day": 1}, {}),
    ({"group": 1, "k": 1}, {}),
    ({"tags": 1}, {}),
    ({"lines.sku": 1, "lines.size": 1}, {}),
    ({"rare": 1}, {"sparse": True}),
    ({"seldom": 1}, {}),
    ({"mixed": 1}, {}),
    ({"kind": 1}, {}),
]
PATIENCE = 600_000
"""Milliseconds for anything: the machine may be slow, what is read is not."""

FEW = 10
"""Documents that have what few have, whatever the size; also the documents of one day."""


@dataclass(frozen=True)
class Case:
    """One question; ``least`` is the fewest index keys and documents together that answer it."""

    name: str
    command: dict[str, Any]
    least: int

    @property
    def most(self) -> int:
        """What it may read."""
        return 2 * self.least + 2


def documents(size: int) -> Iterator[dict[str, Any]]:
    """The documents of the collection, in natural order."""
    every = size // FEW
    for number in range(size):
        few = number % every == 0
        made = {
            "_id": number,
            "k": number,
            "two": number % 2,
            "day": number // FEW,
            "group": number % 20,
            "kind": ("a", "b", "c", "d")[number % 4],
            "tags": ["all", f"t{number % every}"],
            "lines": [{"sku": number % every, "size": number % 3}, {"sku": (number + 1) % every, "size": 5}],
            "mixed": "text" if few else number,
            "note": "a note that is as long as notes are",
        }
        yield {**made, "rare": number, "seldom": number} if few else made


def find(filter: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A find."""
    return {"find": "items", "filter": filter, **more}


def pipeline(*stages: dict[str, Any]) -> dict[str, Any]:
    """An aggregation."""
    return {"aggregate": "items", "pipeline": list(stages), "cursor": {}}


def count(query: dict[str, Any]) -> dict[str, Any]:
    """A count."""
    return {"count": "items", "query": query}


def distinct(key: str, query: dict[str, Any] | None = None) -> dict[str, Any]:
    """A distinct."""
    return {"distinct": "items", "key": key, "query": query or {}}


def cases(size: int) -> list[Case]:
    """The cases for a collection of ``size`` documents, a multiple of 1,000."""
    middle, every = size // 2, size // FEW
    day = middle // FEW
    page = {"$or": [{"day": {"$gt": day}}, {"day": day, "_id": {"$gt": middle + 4}}]}
    key_page = {"$or": [{"k": {"$gt": middle}}, {"k": middle, "_id": {"$gt": middle}}]}
    joined = {"$match": {"$expr": {"$eq": ["$k", "$$wanted"]}}}
    lookup = {"$lookup": {"from": "items", "let": {"wanted": "$k"}, "pipeline": [joined], "as": "same"}}
    twenty = [{"$match": {"k": {"$gte": 100, "$lt": 120}}}]
    last_twenty: list[dict[str, Any]] = [{"$sort": {"k": -1}}, {"$limit": 20}]
    few = 2 * FEW
    return [
        Case("one of two indexes", find({"two": 1, "k": 5}), 2),
        Case("one of three indexes", find({"two": 1, "group": middle % 20, "day": day}), few),
        Case("narrow, then sorted", find({"day": every - 1}, sort={"k": 1}, limit=20), few),
        Case("in order, then tested", find({"two": 1}, sort={"k": 1}, limit=20), 80),
        Case("in the order of a leading field", find({}, sort={"day": -1, "_id": -1}, limit=20), 40),
        Case("$or of one field", find({"$or": [{"k": 5}, {"k": 6}]}), 4),
        Case("$or of two indexes", find({"$or": [{"k": 5}, {"day": 7}]}), 2 + few),
        Case("$or beside a poor index", find({"two": 1, "$or": [{"k": 5}, {"day": 7}]}), 2 + few),
        Case("keyset page", find(key_page, sort={"k": 1, "_id": 1}, limit=20), 40),
        Case("keyset page with ties", find(page, sort={"day": 1, "_id": 1}, limit=20), 50),
        Case("$in, sorted by the next field", find({"group": {"$in": [1, 2, 3]}}, sort={"k": -1}, limit=20), 40),
        Case("$expr equality", find({"$expr": {"$eq": ["$k", 5]}}), 2),
        Case("$expr range", find({"$expr": {"$and": [{"$gte": ["$k", 5]}, {"$lt": ["$k", 15]}]}}), few),
        Case("$all", find({"tags": {"$all": ["all", "t7"]}}), few),
        Case("$elemMatch", find({"lines": {"$elemMatch": {"sku": 7, "size": 5}}}), few),
        Case("$exists", find({"rare": {"$exists": True}}), few),
        Case("$ne null", find({"seldom": {"$ne": None}}), few),
        Case("$type", find({"mixed": {"$type": "string"}}), few),
        Case("rules around a filter", find({"$and": [{"two": 1}, {"$nor": [{"$nor": [{"k": 5}]}]}]}), 2),
        Case("distinct", distinct("group"), 40),
        Case("distinct of a field with arrays", distinct("tags"), 2 * (every + 1)),
        Case("distinct within a range", distinct("day", {"day": {"$gte": day, "$lt": day + 10}}), 20),
        Case("count", count({"day": {"$gte": day, "$lt": day + 10}}), 100),
        Case("count of an $or", count({"$or": [{"k": 5}, {"day": 7}]}), 1 + FEW),
        Case("$match after $project", pipeline({"$project": {"key": "$k", "two": 1}}, {"$match": {"key": 5}}), 2),
        Case("$match after $addFields", pipeline({"$addFields": {"x": {"$add": ["$k", 1]}}}, {"$match": {"k": 5}}), 2),
        Case("$match after $unwind", pipeline({"$unwind": "$tags"}, {"$match": {"k": 5}}), 2),
        Case("$match after $sort", pipeline({"$sort": {"note": 1}}, {"$match": {"day": day}}), few),
        Case("$match after $lookup", pipeline(lookup, {"$match": {"k": 5}}), 4),
        Case("$sort and $limit after $project", pipeline({"$project": {"k": 1}}, *last_twenty), 40),
        Case("$lookup with $expr", pipeline(*twenty, lookup), 80),
    ]


async def fill(store: EmbeddedStore, size: int) -> None:
    """Make the collection."""
    for keys, options in INDEXES:
        name = "_".join(keys)
        await store.execute(CreateIndex(namespace=C, keys=keys, options={**options, "name": name}))
    batch: list[dict[str, Any]] = []
    for document in documents(size):
        batch.append(document)
        if len(batch) == 5_000 or document["_id"] == size - 1:
            await store.execute(InsertMany(namespace=C, documents=batch, max_time_ms=PATIENCE))
            batch = []


@dataclass(frozen=True)
class Reading:
    """What a case read, how long it took, and by which plan."""

    keys: int
    documents: int
    seconds: float
    plan: str


async def read(store: EmbeddedStore, case: Case) -> Reading:
    """Explain a case with everything that it reads."""
    command = {"explain": case.command, "verbosity": "executionStats"}
    started = time.perf_counter()
    answer = (
        await store.execute(RunCommand(namespace=Namespace("bench"), command=command, max_time_ms=PATIENCE))
    ).result
    seconds = time.perf_counter() - started
    whole = answer["stages"][0]["$cursor"] if "stages" in answer else answer
    stats, joined = whole["executionStats"], answer.get("joined", {})
    return Reading(
        stats["totalKeysExamined"] + joined.get("totalKeysExamined", 0),
        stats["totalDocsExamined"] + joined.get("totalDocsExamined", 0),
        seconds,
        shown(whole["queryPlanner"]["winningPlan"]),
    )


def shown(stage: dict[str, Any]) -> str:
    """A plan in one line."""
    inner = stage.get("inputStages", [stage["inputStage"]] if "inputStage" in stage else [])
    name = f"{stage['stage']} {stage['indexName']}" if "indexName" in stage else stage["stage"]
    return f"{name} ({', '.join(map(shown, inner))})" if inner else name


async def measure(size: int, only: str) -> None:
    """Print a line for each case."""
    with tempfile.TemporaryDirectory() as folder:
        store = EmbeddedStore(Path(folder), synchronous="OFF")
        await store.open()
        try:
            await fill(store, size)
            print(f"\n{size:,} documents")
            print(f"{'case':34} {'keys':>8} {'docs':>8} {'least':>8} {'x':>5} {'ms':>9}  plan")
            for case in cases(size):
                if only in case.name:
                    readings = [await read(store, case) for _ in range(3)]
                    best = min(readings, key=lambda reading: reading.seconds)
                    ratio = (best.keys + best.documents) / case.least
                    late = best.keys + best.documents > case.most
                    print(
                        f"{case.name:34} {best.keys:8} {best.documents:8} {case.least:8} {ratio:5.2f}"
                        f" {best.seconds * 1000:9.2f}  {best.plan}{'   MORE THAN TWICE' if late else ''}"
                    )
        finally:
            await store.close()


def main() -> None:
    """Measure each size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 100_000, 1_000_000])
    parser.add_argument("--only", default="", help="cases whose name has this in it")
    arguments = parser.parse_args()
    for size in arguments.sizes:
        asyncio.run(measure(size, arguments.only))


if __name__ == "__main__":
    main()
