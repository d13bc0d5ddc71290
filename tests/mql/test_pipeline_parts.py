"""Parts of pipelines: the head that a store carries out, the output, and the namespaces that are reached."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from pipeline_checks import GRAPH, LOOKUP

from doorleaf.errors import DataError
from doorleaf.mql.context import Context
from doorleaf.mql.stages.compile import compile_pipeline, pushdown, split_output
from doorleaf.mql.stages.reach import pipeline_namespaces

A, B, S = {"$match": {"a": 1}}, {"$match": {"b": 2}}, {"$sort": {"a": 1}}
HEADS = [
    ([], (None, None, 0, None, 0)),
    ([A], ({"a": 1}, None, 0, None, 0)),
    ([A, B], ({"$and": [{"a": 1}, {"b": 2}]}, None, 0, None, 0)),
    ([A, S, {"$skip": 2}, {"$limit": 3}, {"$count": "n"}], ({"a": 1}, {"a": 1}, 2, 3, 1)),
    ([S, A], ({"a": 1}, {"a": 1}, 0, None, 0)),
    ([{"$limit": 3}, {"$limit": 2}, {"$skip": 1}], (None, None, 0, 2, 1)),
    ([{"$skip": 3}, {"$skip": 2}], (None, None, 5, None, 0)),
    ([{"$limit": 3}, A], (None, None, 0, 3, 1)),
    ([{"$group": {"_id": 1}}, A], (None, None, 0, None, 2)),
    ([{"$match": 5}], (None, None, 0, None, 1)),
    ([{"$sort": {}}], (None, None, 0, None, 1)),
]


@pytest.mark.parametrize(("pipeline", "expected"), HEADS)
def test_heads(pipeline: Any, expected: Any) -> None:
    before = copy.deepcopy(pipeline)
    head = pushdown(pipeline)
    assert (head.filter, head.sort, head.skip, head.limit, len(head.rest)) == expected
    assert head.rest == pipeline[len(pipeline) - len(head.rest) :]
    assert pipeline == before


def test_a_match_that_is_none_is_joined_with_no_other() -> None:
    pipeline: list[Any] = [{"$match": 5}, {"$set": {"x": {"$reverseArray": "$n"}}}, A]
    assert pushdown(pipeline).rest == [{"$match": 5}, A, pipeline[1]]
    with pytest.raises(DataError, match="the match filter must be an expression in an object"):
        compile_pipeline(pipeline, Context())


def test_a_head_with_a_mistake_raises() -> None:
    with pytest.raises(DataError) as caught:
        pushdown([{"$limit": 0}])
    assert caught.value.number == 15958


def test_outputs() -> None:
    assert split_output([A, {"$out": "x"}]) == ([A], {"$out": "x"})
    assert split_output([{"$merge": {"into": "x"}}]) == ([], {"$merge": {"into": "x"}})
    assert split_output([A]) == ([A], None)
    assert split_output([]) == ([], None)


NAMESPACES = [
    ([A, S], []),
    ([{"$lookup": LOOKUP}], [(None, "stock", "read")]),
    ([{"$lookup": {"from": {"db": "d", "coll": "c"}, "as": "x", "pipeline": []}}], [("d", "c", "read")]),
    (
        [{"$lookup": {"from": "a", "as": "x", "pipeline": [{"$unionWith": "b"}, {"$graphLookup": GRAPH}]}}],
        [(None, "a", "read"), (None, "b", "read"), (None, "people", "read")],
    ),
    ([{"$lookup": {"as": "x", "pipeline": [{"$documents": []}]}}], []),
    ([{"$unionWith": {"coll": "a", "pipeline": [{"$unionWith": "b"}]}}], [(None, "a", "read"), (None, "b", "read")]),
    (
        [{"$facet": {"x": [{"$lookup": LOOKUP}], "y": [{"$unionWith": "b"}]}}],
        [(None, "stock", "read"), (None, "b", "read")],
    ),
    ([{"$out": "x"}], [(None, "x", "write")]),
    ([{"$out": {"db": "d", "coll": "x"}}], [("d", "x", "write")]),
    ([{"$merge": "x"}], [(None, "x", "write")]),
    ([{"$merge": {"into": "x"}}], [(None, "x", "write")]),
    ([{"$merge": {"into": {"db": "d", "coll": "x"}}}], [("d", "x", "write")]),
    ([{"$lookup": {"from": "a", "as": "x", "pipeline": [{"$out": "b"}]}}], [(None, "a", "read"), (None, "b", "write")]),
]


@pytest.mark.parametrize(("pipeline", "expected"), NAMESPACES)
def test_namespaces(pipeline: Any, expected: Any) -> None:
    assert list(pipeline_namespaces(pipeline)) == expected


@pytest.mark.parametrize(
    "pipeline",
    [
        5,
        [5],
        [{"$lookup": {"from": 5, "as": "x"}}],
        [{"$lookup": {"as": "x"}}],
        [{"$unionWith": 5}],
        [{"$merge": {}}],
        [{"$out": {"db": 5, "coll": "x"}}],
        [{"$facet": {"a": 5}}],
        [{"$lookup": {"from": "a", "pipeline": [{"$unionWith": {"coll": {}}}]}}],
    ],
)
def test_a_namespace_that_cannot_be_told_raises(pipeline: Any) -> None:
    with pytest.raises(DataError):
        list(pipeline_namespaces(pipeline))
