"""Nothing freezes or fills the process: deadlines, sizes, depths; and every operator is in a table."""

from __future__ import annotations

import contextlib
import importlib.util
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from expression_checks import evaluate

from doorleaf.errors import DataError, StoreTimeout
from doorleaf.mql.context import Context
from doorleaf.mql.expressions import OPERATORS, compile_expression

LISTED = (
    "abs add ceil divide exp floor ln log log10 mod multiply pow round sqrt subtract trunc bitAnd bitOr bitXor "
    "bitNot sin cos tan asin acos atan atan2 sinh cosh tanh asinh acosh atanh degreesToRadians radiansToDegrees "
    "arrayElemAt arrayToObject concatArrays filter first firstN in indexOfArray isArray last lastN map maxN minN "
    "objectToArray range reduce reverseArray size slice sortArray zip and not or cmp eq ne gt gte lt lte cond ifNull "
    "switch dateAdd dateSubtract dateDiff dateTrunc dateFromParts dateToParts dateFromString dateToString dayOfMonth "
    "dayOfWeek dayOfYear hour isoDayOfWeek isoWeek isoWeekYear millisecond minute month second week year toDate "
    "concat indexOfBytes indexOfCP ltrim rtrim trim regexFind regexFindAll regexMatch replaceOne replaceAll split "
    "strLenBytes strLenCP strcasecmp substr substrBytes substrCP toLower toUpper toString allElementsTrue "
    "anyElementTrue setDifference setEquals setIntersection setIsSubset setUnion convert isNumber toBool toDecimal "
    "toDouble toInt toLong toObjectId toUUID type mergeObjects getField setField unsetField let literal rand "
    "binarySize bsonSize tsSecond tsIncrement sum avg min max stdDevPop stdDevSamp median percentile "
)

IN_CODE = {"$rand"}
"""Operators whose value no table can hold; a test of their own has them."""

TOO_LARGE = {10334, 16493}
DOUBLING: list[Any] = [
    ["$$value", "$$value"],
    {"a": "$$value", "b": "$$value"},
    {"$concatArrays": [{"$ifNull": ["$$value", []]}, "$$value"]},
    {"$map": {"input": [1, 2], "as": "n", "in": "$$value"}},
    {"$map": {"input": [1, 2], "as": "n", "in": {"k": ["$$value"]}}},
    {"$zip": {"inputs": ["$$value", "$$value"]}},
    {"$setField": {"field": "a", "input": {"b": "$$value"}, "value": "$$value"}},
    {"$mergeObjects": [{"a": "$$value"}, {"b": "$$value"}]},
    {"$arrayToObject": [[["a", "$$value"], ["b", "$$value"]]]},
]


def reduce_times(count: int, start: Any, body: Any) -> dict[str, Any]:
    return {"$reduce": {"input": {"$range": [0, count]}, "initialValue": start, "in": body}}


@pytest.mark.parametrize("body", DOUBLING, ids=repr)
def test_values_that_double_are_stopped(body: Any) -> None:
    with pytest.raises(DataError) as raised:
        evaluate({}, reduce_times(100, list(range(500)), body))
    assert raised.value.number in TOO_LARGE


@pytest.mark.parametrize(
    "body",
    [
        {"$concat": ["$$value", "$$value"]},
        {"$replaceAll": {"input": "$$value", "find": "a", "replacement": "aa"}},
        {"$replaceAll": {"input": "$$value", "find": "a", "replacement": "$$value"}},
    ],
    ids=repr,
)
def test_strings_that_double_are_stopped(body: Any) -> None:
    with pytest.raises(DataError) as raised:
        evaluate({}, reduce_times(100, "aa", body))
    assert raised.value.number == 16493


def test_values_that_nest_without_end_are_stopped() -> None:
    with pytest.raises(DataError, match="nested") as raised:
        evaluate({}, reduce_times(1000, [1], ["$$value"]))
    assert raised.value.number == 15


def test_doubling_without_a_loop_is_stopped_too() -> None:
    expression: Any = "$x"
    for level in range(60):
        name = f"v{level}"
        expression = {"$let": {"vars": {name: expression}, "in": [f"$${name}", f"$${name}"]}}
    with pytest.raises(DataError) as raised:
        evaluate({"x": [1]}, expression)
    assert raised.value.number in TOO_LARGE


def test_matches_that_repeat_the_whole_text_are_stopped() -> None:
    with pytest.raises(DataError) as raised:
        evaluate({"t": "a" * 20_000}, {"$regexFindAll": {"input": "$t", "regex": "(?=(a*))"}})
    assert raised.value.number == 51151


@pytest.mark.parametrize(
    "expression",
    [
        {"$map": {"input": {"$range": [0, 2_000_000]}, "in": {"$add": ["$$this", 1]}}},
        {"$filter": {"input": {"$range": [0, 2_000_000]}, "cond": {"$gt": ["$$this", "$x"]}}},
        reduce_times(2_000_000, 0, {"$add": ["$$value", "$$this"]}),
        {"$regexMatch": {"input": "$t", "regex": "(a|aa)+$"}},
    ],
    ids=["map", "filter", "reduce", "regular expression"],
)
def test_the_deadline_ends_long_work(expression: Any) -> None:
    context = Context(time.monotonic() + 0.05)
    compiled = compile_expression(expression, context)
    with pytest.raises(StoreTimeout):
        compiled({"x": 5, "t": "a" * 60 + "b"}, {})


@pytest.mark.parametrize(
    "expression",
    [
        {"$pow": [10, 2**31 - 1]},
        {"$toInt": "9" * 100_000},
        {"$toLong": "0" * 100_000 + "5"},
        {"$toDecimal": "1e999999999999999999999"},
        {"$toDouble": "1e-999999999999999999999"},
        {"$dateFromString": {"dateString": "1" * 100_000}},
        {"$dateAdd": {"startDate": "$$NOW", "unit": "year", "amount": 2**62}},
        {"$dateTrunc": {"date": "$$NOW", "unit": "day", "binSize": 2**62}},
        {"$trunc": [1e308, -20]},
    ],
    ids=lambda expression: repr(expression)[:60],
)
def test_huge_numbers_cost_nothing_and_break_nothing(expression: Any) -> None:
    with contextlib.suppress(DataError):
        assert evaluate({}, expression) is not None


# --- every operator is in a table ------------------------------------------------------------------------------------


def names_in(expression: Any) -> Iterator[str]:
    """The operators used anywhere in an expression."""
    if isinstance(expression, dict):
        for name, inner in expression.items():
            yield name
            yield from names_in(inner)
    elif isinstance(expression, list):
        for inner in expression:
            yield from names_in(inner)


def table_names() -> set[str]:
    """The operators in the rows of all tables of values."""
    names: set[str] = set()
    for path in Path(__file__).parent.glob("test_expressions_*.py"):
        spec = importlib.util.spec_from_file_location(f"rows_of_{path.stem}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        for row in getattr(module, "ROWS", []):
            names.update(names_in(row[1]))
    return names


def test_every_operator_that_must_be_there_is_there() -> None:
    assert {f"${name}" for name in LISTED.split()} - set(OPERATORS) == set()
    assert list(OPERATORS) == sorted(set(OPERATORS))
    assert not {"$function", "$accumulator", "$where", "$meta"} & set(OPERATORS)


def test_every_operator_has_a_row() -> None:
    assert set(OPERATORS) - table_names() - IN_CODE == set()


@pytest.mark.parametrize("operator", ["$toInt", "$toLong", "$toDouble", "$toDecimal", "$toDate"])
@pytest.mark.parametrize(
    "text", ["0" * 300_000 + "x", "1" * 300_000 + "x", "1." + "1" * 300_000 + "x", "0x" + "f" * 300_000 + "!"]
)
def test_no_text_makes_it_long_to_see_that_it_is_no_number(operator: str, text: str) -> None:
    with pytest.raises(DataError) as raised:
        evaluate({"text": text}, {operator: "$text"})
    assert raised.value.number == 241
