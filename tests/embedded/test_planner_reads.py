"""No plan reads more than twice what it must: the cases of ``bench/planner.py`` on a small collection."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from doorleaf.documents import Document
from doorleaf.operations import Aggregate, Namespace, RunCommand
from doorleaf.stores.embedded.reading.conditions import MOST_CONDITIONS, conditions
from doorleaf.stores.embedded.store import EmbeddedStore

SIZE = 2_000


def _bench() -> ModuleType:
    place = Path(__file__).parents[2] / "bench" / "planner.py"
    spec = importlib.util.spec_from_file_location("bench_planner", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["bench_planner"] = module
    spec.loader.exec_module(module)
    return module


BENCH = _bench()


@pytest.fixture(scope="module")
def readings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What each case read."""

    async def scenario() -> dict[str, Any]:
        store = EmbeddedStore(tmp_path_factory.mktemp("planner"), synchronous="OFF")
        await store.open()
        try:
            await BENCH.fill(store, SIZE)
            return {case.name: await BENCH.read(store, case) for case in BENCH.cases(SIZE)}
        finally:
            await store.close()

    return asyncio.run(scenario())


@pytest.mark.parametrize("case", BENCH.cases(SIZE), ids=lambda case: case.name)
def test_no_more_than_twice_what_must_be_read(readings: dict[str, Any], case: Any) -> None:
    reading = readings[case.name]
    assert reading.keys + reading.documents <= case.most, reading
    assert "COLLSCAN" not in reading.plan


def test_explain_tells_what_was_weighed(tmp_path: Path) -> None:
    async def scenario() -> Document:
        store = EmbeddedStore(tmp_path, synchronous="OFF")
        await store.open()
        try:
            await BENCH.fill(store, 100)
            command = {"explain": BENCH.find({"two": 1, "k": 5}), "verbosity": "executionStats"}
            return (await store.execute(RunCommand(namespace=Namespace("bench"), command=command))).result
        finally:
            await store.close()

    answer = asyncio.run(scenario())
    planner = answer["queryPlanner"]
    assert planner["winningPlan"]["inputStage"]["indexName"] == "k"
    (rejected,) = planner["rejectedPlans"]
    assert rejected["inputStage"]["indexName"] == "two"
    assert 0 < rejected["keysExamined"] < answer["executionStats"]["totalKeysExamined"]


# --- planning ends ---------------------------------------------------------------------------------------------------


def test_only_so_many_conditions_are_looked_at() -> None:
    wide = conditions({"$and": [{f"f{number}": number} for number in range(1 << 16)]})
    assert len(wide.predicates) <= MOST_CONDITIONS
    assert not wide.complete
    branches = conditions({"$or": [{f"f{number}": number} for number in range(200_000)]})
    assert not branches.unions
    assert not branches.complete
    assert not branches.cheap


def test_an_or_of_one_field_is_a_list_of_any_length() -> None:
    found = conditions({"$or": [{"k": number} for number in range(200_000)]})
    assert [predicate.operator for predicate in found.predicates] == ["$in"]
    assert found.complete


def test_pipelines_in_pipelines_are_compiled_once(tmp_path: Path) -> None:
    pipeline: list[Document] = [{"$match": {"k": 5}}]
    for _ in range(19):
        pipeline = [{"$match": {"k": 5}}, {"$lookup": {"from": "items", "pipeline": pipeline, "as": "inner"}}]

    async def scenario() -> list[Document]:
        store = EmbeddedStore(tmp_path, synchronous="OFF")
        await store.open()
        try:
            await BENCH.fill(store, 100)
            asked = Aggregate(namespace=BENCH.C, pipeline=pipeline, max_time_ms=20_000)
            return (await store.execute(asked)).documents.decode()
        finally:
            await store.close()

    (answer,) = asyncio.run(scenario())
    depth = 0
    while answer.get("inner"):
        (answer,) = answer["inner"]
        depth += 1
    assert depth == 19
