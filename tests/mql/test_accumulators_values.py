"""Accumulators: values, result types, order, memory and errors."""

from __future__ import annotations

import math
from typing import Any

import pytest
from bson import Decimal128, Int64
from expression_checks import accumulate, assert_same, stored

from doorleaf.errors import DataError, Unsupported
from doorleaf.mql.accumulators.compile import ACCUMULATORS, compile_accumulator
from doorleaf.mql.context import Context

D = Decimal128
Documents = list[dict[str, Any]]

ABC: Documents = [{"v": 3, "k": "a"}, {"v": 1, "k": "b"}, {"k": "c"}, {"v": None, "k": "d"}, {"v": "x", "k": "e"}]
RANKED: Documents = [{"s": 2, "n": "b"}, {"s": 1, "n": "a"}, {"s": 3, "n": "c"}, {"s": 1, "n": "z"}, {"n": "none"}]
BIG = Int64(2**63 - 1)


def of(*values: Any) -> Documents:
    return [{"v": value} for value in values]


ROWS: list[tuple[Documents, dict[str, Any], Any]] = [
    (ABC, {"$sum": "$v"}, 4),
    (ABC, {"$sum": 1}, 5),
    ([], {"$sum": "$v"}, 0),
    (of("x", None), {"$sum": "$v"}, 0),
    (of(2**31 - 1, 1), {"$sum": "$v"}, Int64(2**31)),
    (of(1, Int64(1)), {"$sum": "$v"}, Int64(2)),
    (of(BIG, 1), {"$sum": "$v"}, float(2**63)),
    (of(BIG, 1, Int64(-1)), {"$sum": "$v"}, BIG),
    (of(1, 2.5), {"$sum": "$v"}, 3.5),
    (of(*[0.1] * 10), {"$sum": "$v"}, 1.0),
    (of(1e308, 1e308, -1e308), {"$sum": "$v"}, math.inf),
    (of(math.inf, -math.inf), {"$sum": "$v"}, math.nan),
    (of(D("0.10"), D("0.20"), 1), {"$sum": "$v"}, D("1.30")),
    (of(D("1"), 0.5), {"$sum": "$v"}, D("1.5")),
    (of([1, 2], 3), {"$sum": "$v"}, 3),
    (ABC, {"$sum": {"$cond": [{"$isNumber": "$v"}, 1, 0]}}, 2),
    (ABC, {"$avg": "$v"}, 2.0),
    (of(1, 2), {"$avg": "$v"}, 1.5),
    (of("x"), {"$avg": "$v"}, None),
    ([], {"$avg": "$v"}, None),
    (of(D("1"), 2), {"$avg": "$v"}, D("1.5")),
    (ABC, {"$min": "$v"}, 1),
    (ABC, {"$max": "$v"}, "x"),
    (of(None), {"$min": "$v"}, None),
    (of(2, 2.0, Int64(2)), {"$max": "$v"}, 2),
    (of([1, 5], [3]), {"$max": "$v"}, [3]),
    (ABC, {"$first": "$v"}, 3),
    (ABC, {"$last": "$v"}, "x"),
    ([], {"$first": "$v"}, None),
    (ABC, {"$push": "$v"}, [3, 1, None, "x"]),
    (ABC[:2], {"$push": {"k": "$k", "gone": "$none"}}, [{"k": "a"}, {"k": "b"}]),
    ([], {"$push": "$v"}, []),
    (of(1, 1.0, "a", Int64(1), "a", None), {"$addToSet": "$v"}, [1, "a", None]),
    ([{}, {"v": [1]}, {"v": [1]}], {"$addToSet": "$v"}, [[1]]),
    (of(2, 4, 4, 4, 5, 5, 7, 9, "x"), {"$stdDevPop": "$v"}, 2.0),
    (of(1, 3), {"$stdDevSamp": "$v"}, math.sqrt(2)),
    (of(1), {"$stdDevSamp": "$v"}, None),
    (of("x"), {"$stdDevPop": "$v"}, None),
    (ABC, {"$count": {}}, 5),
    (of({"a": 1}, None, {"b": 2, "a": 3}), {"$mergeObjects": "$v"}, {"a": 3, "b": 2}),
    ([], {"$mergeObjects": "$v"}, {}),
    (of([1, 2], [2, 3]), {"$setUnion": "$v"}, [1, 2, 3]),
    (of([1], [1, [2]]), {"$concatArrays": "$v"}, [1, 1, [2]]),
    (ABC, {"$firstN": {"input": "$v", "n": 3}}, [3, 1, None]),
    (ABC, {"$lastN": {"input": "$k", "n": 2}}, ["d", "e"]),
    (ABC, {"$lastN": {"input": "$v", "n": 3}}, [None, None, "x"]),
    (ABC, {"$minN": {"input": "$v", "n": 2}}, [1, 3]),
    (ABC, {"$maxN": {"input": "$v", "n": Int64(9)}}, ["x", 3, 1]),
    (RANKED, {"$top": {"output": "$n", "sortBy": {"s": -1}}}, "c"),
    (RANKED, {"$top": {"output": ["$s", "$n"], "sortBy": {"s": 1, "n": -1}}}, [None, "none"]),
    (RANKED, {"$bottom": {"output": "$n", "sortBy": {"s": -1}}}, "none"),
    (RANKED, {"$topN": {"n": 2, "output": "$n", "sortBy": {"s": -1}}}, ["c", "b"]),
    (RANKED, {"$topN": {"n": 3, "output": "$s", "sortBy": {"s": 1, "n": 1}}}, [None, 1, 1]),
    (RANKED, {"$bottomN": {"n": 2, "output": "$n", "sortBy": {"s": 1}}}, ["b", "c"]),
    (RANKED, {"$topN": {"n": 2, "output": "$n", "sortBy": {"x": 1}}}, ["b", "a"]),
    (RANKED, {"$bottomN": {"n": 2, "output": "$n", "sortBy": {"x": 1}}}, ["b", "a"]),
    ([], {"$top": {"output": "$n", "sortBy": {"s": 1}}}, None),
    (of(5, 1, 3, "x"), {"$median": {"input": "$v", "method": "approximate"}}, 3.0),
    (of(4, 3, 2, 1), {"$percentile": {"input": "$v", "p": [0.5, 0.9], "method": "approximate"}}, [2.0, 4.0]),
    ([], {"$percentile": {"input": "$v", "p": [0.5], "method": "approximate"}}, [None]),
]

ERRORS: list[tuple[dict[str, Any], int, str]] = [
    ({"$foo": 1}, 15952, "unknown group operator '$foo'"),
    ({"$add": [1, 2]}, 15952, "unknown group operator '$add'"),
    ({"$sum": ["$a", "$b"]}, 40237, "The $sum accumulator is a unary operator"),
    ({"$push": ["$a"]}, 40237, "The $push accumulator is a unary operator"),
    ({"$sum": 1, "$avg": 1}, 40238, "one accumulator"),
    ({"$sum": {"$foo": 1}}, 168, "Unrecognized expression '$foo'"),
    ({"$count": 1}, 9, "$count takes no arguments"),
    ({"$mergeObjects": "$v"}, 40400, "$mergeObjects requires object inputs, but input 5 is of type int"),
    ({"$firstN": {"input": "$v", "n": 0}}, 5787908, "'n' must be greater than 0, found 0"),
    ({"$firstN": {"input": "$v"}}, 5787906, "Missing value for 'n'"),
    ({"$minN": {"input": "$v", "n": "x"}}, 5787902, "must be of integral type"),
    ({"$lastN": {"input": "$v", "n": 1.5}}, 5787903, "must be of integral type, but found 1.5"),
    ({"$maxN": {"input": "$v", "n": 1, "x": 1}}, 5787901, "x"),
    ({"$top": {"sortBy": {"a": 1}}}, 5788004, "Missing value for 'output'"),
    ({"$top": {"output": 1}}, 5788005, "Missing value for 'sortBy'"),
    ({"$topN": {"output": 1, "sortBy": {"a": 1}}}, 5788003, "Missing value for 'n'"),
    ({"$top": {"output": 1, "sortBy": {"a": 1}, "n": 1}}, 5788002, "'n'"),
    ({"$bottom": {"output": 1, "sortBy": 1}}, 10065, "expected an object (sortBy)"),
    ({"$percentile": {"input": "$v", "p": [2], "method": "approximate"}}, 7750303, "[0.0, 1.0]"),
    ({"$setUnion": "$v"}, 14, "requires array inputs, but input 5 is of type int"),
    ({"$concatArrays": "$v"}, 14, "requires array inputs, but input 5 is of type int"),
]


@pytest.mark.parametrize(("documents", "spec", "expected"), ROWS, ids=repr)
def test_value(documents: Documents, spec: dict[str, Any], expected: Any) -> None:
    assert_same(accumulate(documents, spec), expected)


@pytest.mark.parametrize(("spec", "number", "text"), ERRORS, ids=repr)
def test_error(spec: dict[str, Any], number: int, text: str) -> None:
    with pytest.raises(DataError) as raised:
        accumulate([{"v": 5}], spec)
    assert (raised.value.number, text in raised.value.message) == (number, True), raised.value.message


def test_every_accumulator_has_a_row() -> None:
    assert set(ACCUMULATORS) == {name for _, spec, _ in ROWS for name in spec}


def test_server_side_javascript_is_refused_by_name() -> None:
    for name in ("$accumulator", "$function"):
        with pytest.raises(Unsupported) as raised:
            compile_accumulator({name: {}}, Context())
        assert name in raised.value.message


def test_groups_do_not_share_state_and_n_may_depend_on_the_group() -> None:
    count = {"$cond": [{"$eq": ["$game", "G2"]}, 1, 3]}
    make = compile_accumulator({"$topN": {"n": count, "output": "$n", "sortBy": {"s": -1}}}, Context())
    first, second = make({"game": "G1"}), make({"game": "G2"})
    for document in RANKED:
        first.add(stored(document), {})
        second.add(stored(document), {})
    assert first.result() == ["c", "b", "a"]
    assert second.result() == ["c"]


def test_variables_reach_the_expression() -> None:
    total = compile_accumulator({"$sum": {"$multiply": ["$v", "$$rate"]}}, Context(), ("rate",))()
    for document in of(1, 2):
        total.add(document, {"rate": 10})
    assert total.result() == 30


@pytest.mark.parametrize(
    "spec",
    [
        {"$push": "$v"},
        {"$addToSet": {"$concat": ["$v", {"$toString": "$i"}]}},
        {"$firstN": {"input": "$v", "n": 1000}},
        {"$topN": {"n": 1000, "output": "$v", "sortBy": {"i": 1}}},
        {"$maxN": {"input": "$v", "n": 1000}},
    ],
    ids=repr,
)
def test_memory_is_bounded(spec: dict[str, Any]) -> None:
    accumulator = compile_accumulator(spec, Context(memory_limit=100_000))()

    def fill() -> None:
        for index in range(1000):
            accumulator.add({"v": "x" * 1000, "i": index}, {})

    with pytest.raises(DataError) as raised:
        fill()
    assert raised.value.number == 146


@pytest.mark.parametrize(
    "spec",
    [
        {"$lastN": {"input": "$v", "n": 3}},
        {"$topN": {"n": 3, "output": "$v", "sortBy": {"i": -1}}},
        {"$minN": {"input": "$i", "n": 3}},
    ],
    ids=repr,
)
def test_what_is_dropped_is_not_counted(spec: dict[str, Any]) -> None:
    accumulator = compile_accumulator(spec, Context(memory_limit=100_000))()
    for index in range(5000):
        accumulator.add({"v": "x" * 1000, "i": index}, {})
    assert len(accumulator.result()) == 3
