"""One catalogue of stages: whoever reads a pipeline sees the same of it, in every stage and however deep.

Every known stage, inside every stage that nests, is shown to each reader: what scopes are told, what guards are asked,
what the settings refuse, what callers with rules get, and what the embedded engine compiles.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from doorleaf.access.guards.checks import Guards
from doorleaf.access.guards.operators import Scan
from doorleaf.access.guards.scopes import Scope, Scopes
from doorleaf.access.rules.pipelines import secured
from doorleaf.access.rules.roles import parse_rules
from doorleaf.access.rules.view import View
from doorleaf.errors import DataError, DoorleafError, PermissionDenied, Unsupported
from doorleaf.mql.context import Context
from doorleaf.mql.stages import compile as stages
from doorleaf.mql.stages import reach
from doorleaf.operations import Aggregate, Namespace

Stage = dict[str, Any]
READER = parse_rules({"roles": [{"name": "reader", "apply_when": {}, "read": True}]}, "rules")
NAMESPACE = Namespace("test", "things")
SECRET = "secret"

ARGUMENTS: dict[str, Any] = {
    "$facet": {"a": []},
    "$graphLookup": {
        "from": SECRET, "startWith": "$a", "connectFromField": "a", "connectToField": "b", "as": "c"
    },
    "$lookup": {"from": SECRET, "localField": "a", "foreignField": "b", "as": "c"},
    "$merge": {"into": SECRET},
    "$out": SECRET,
    "$unionWith": {"coll": SECRET},
}  # fmt: skip
"""Arguments that name a collection where the stage can; the others are told apart by their names alone."""

NESTS: dict[str, Callable[[list[Stage]], Stage]] = {
    "top": lambda inner: inner[0],
    "$facet": lambda inner: {"$facet": {"x": [], "y": inner}},
    "$lookup": lambda inner: {"$lookup": {"from": "other", "pipeline": inner, "as": "x"}},
    "$lookup without a collection": lambda inner: {"$lookup": {"pipeline": [{"$documents": []}, *inner], "as": "x"}},
    "$unionWith": lambda inner: {"$unionWith": {"coll": "other", "pipeline": inner}},
    "$merge": lambda inner: {"$merge": {"into": "other", "whenMatched": inner}},
    "$rankFusion": lambda inner: {"$rankFusion": {"input": {"pipelines": {"a": inner}}}},
    "$scoreFusion": lambda inner: {"$scoreFusion": {"input": {"pipelines": {"a": inner}}}},
}


def stage(name: str) -> Stage:
    return {name: ARGUMENTS.get(name, {})}


def cases() -> Iterator[tuple[str, str, list[Stage]]]:
    for outer, nest in NESTS.items():
        for name in reach.STAGES:
            yield outer, name, [nest([stage(name)])]
            yield f"$facet of {outer}", name, [{"$facet": {"z": [nest([stage(name)])]}}]


LISTED = [pytest.param(name, pipeline, id=f"{name} in {outer}") for outer, name, pipeline in cases()]


def test_every_stage_that_nests_is_tried_and_every_one_that_reaches() -> None:
    assert {name for name, known in reach.STAGES.items() if known.inner} == {
        name.partition(" ")[0] for name in NESTS if name != "top"
    }
    reaching = {name for name, known in reach.STAGES.items() if known.places or known.bare}
    assert reaching == ARGUMENTS.keys() - {"$facet"}
    assert set(reach.OUTPUTS) == {"$out", "$merge"}


def test_the_engine_knows_no_stage_beside_the_catalogue() -> None:
    assert set(stages.STAGES) <= reach.STAGES.keys()
    assert set(stages.STAGES).isdisjoint(stages.REFUSED_STAGES)
    assert {*stages.STAGES, *stages.REFUSED_STAGES, *reach.OUTPUTS} == reach.STAGES.keys()


@pytest.mark.parametrize(("name", "pipeline"), LISTED)
def test_all_readers_see_the_same(name: str, pipeline: list[Stage]) -> None:
    known = reach.STAGES[name]
    reaches = bool(known.places or known.bare)

    visited = [visit.name for visit in reach.walk(pipeline)]
    assert visited.count(name) >= 1

    told = {(collection, effect) for _, collection, effect in reach.pipeline_namespaces(pipeline)}
    assert ((SECRET, "write" if known.writes else "read") in told) is reaches

    asked: set[str | None] = set()

    def judge(database: str | None, collection: str | None, *, writing: bool = False) -> None:
        asked.add(collection)

    open_scan = Scan(output_stages=True, namespace=judge)
    if known.others:
        with pytest.raises(PermissionDenied):
            open_scan.pipeline(pipeline, "test")
    else:
        open_scan.pipeline(pipeline, "test")
        assert (SECRET in asked) is reaches

    with pytest.raises(PermissionDenied):
        Scan(output_stages=True, namespace=judge, refuse_stages=[name]).stages(pipeline)
    with pytest.raises(PermissionDenied):
        Scan(output_stages=True, namespace=judge, allow_stages=set(reach.STAGES) - {name}).stages(pipeline)

    scope = Scope(collections=frozenset({"test.things", "test.other"}))
    operation = Aggregate(namespace=NAMESPACE, pipeline=pipeline)
    if reaches:
        with pytest.raises(PermissionDenied):
            Scopes().check(scope, operation)
    else:
        Scopes().check(scope, operation)


@pytest.mark.parametrize(("name", "pipeline"), LISTED)
def test_callers_with_rules_reach_only_what_has_been_judged(name: str, pipeline: list[Stage]) -> None:
    """Whatever is let through has been cut down: the view of every collection that is named was asked for."""
    asked: set[str] = set()

    def asking(database: str, collection: str) -> View:
        asked.add(collection)
        return views(database, collection)

    try:
        secured(pipeline, "test", views("test", "things"), asking)
    except DoorleafError:
        return
    assert reach.STAGES[name].rules
    assert {collection for _, collection, _ in reach.pipeline_namespaces(pipeline)} <= asked


def views(database: str, collection: str) -> View:
    return View(f"{database}.{collection}", READER, {})


UNKNOWN = [pytest.param(nest([{"$nosuch": {"from": SECRET}}]), id=outer) for outer, nest in NESTS.items()]


@pytest.mark.parametrize("nested", UNKNOWN)
def test_an_unknown_stage_is_refused_by_all(nested: Stage) -> None:
    pipeline = [nested]
    with pytest.raises(DataError, match=r"Unrecognized pipeline stage name: '\$nosuch'"):
        list(reach.walk(pipeline))
    with pytest.raises(DataError, match="Unrecognized"):
        Guards(system_database="doorleaf", allow_output_stages=True).check(
            Aggregate(namespace=NAMESPACE, pipeline=pipeline)
        )
    with pytest.raises(DataError, match="Unrecognized"):
        Scopes().check(
            Scope(collections=frozenset({"things", "other"})), Aggregate(namespace=NAMESPACE, pipeline=pipeline)
        )
    with pytest.raises(DoorleafError):
        secured(pipeline, "test", views("test", "things"), views)
    with pytest.raises((DataError, Unsupported)):
        stages.compile_pipeline(pipeline, Context())
