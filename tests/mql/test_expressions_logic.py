"""Comparison, boolean and conditional operators; documents; types and sizes."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

import pytest
from bson import Binary, Code, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from expression_checks import ErrorRow, Row, assert_error, assert_row, evaluate

from doorleaf.mql.values import MISSING

D = Decimal128
FAILS: dict[str, Any] = {"$divide": ["$one", "$zero"]}
ZERO = {"one": 1, "zero": 0, "yes": True}

ROWS: list[Row] = [
    ({}, {"$cmp": [1, 2]}, -1),
    ({}, {"$cmp": [2, 2.0]}, 0),
    ({}, {"$cmp": ["a", 5]}, 1),
    ({}, {"$cmp": ["$none", None]}, -1),
    ({}, {"$cmp": [[1, 2], [1, 3]]}, -1),
    ({}, {"$eq": [1, Int64(1)]}, True),
    ({}, {"$eq": [1, D("1.0")]}, True),
    ({}, {"$eq": [{"a": 1, "b": 2}, {"b": 2, "a": 1}]}, False),
    ({}, {"$eq": [math.nan, math.nan]}, True),
    ({}, {"$eq": ["$none", None]}, False),
    ({}, {"$eq": [True, 1]}, False),
    ({}, {"$ne": [1, "1"]}, True),
    ({}, {"$ne": [[1], [1.0]]}, False),
    ({}, {"$gt": [2, 1]}, True),
    ({}, {"$gt": ["a", 100]}, True),
    ({}, {"$gt": [MaxKey(), "z"]}, True),
    ({}, {"$gte": [2, 2]}, True),
    ({}, {"$lt": [None, 0]}, True),
    ({}, {"$lt": [MinKey(), None]}, True),
    ({}, {"$lt": ["$none", None]}, True),
    ({}, {"$lte": ["b", "a"]}, False),
    ({}, {"$and": []}, True),
    ({"x": 1}, {"$and": ["$x", "a", True]}, True),
    ({"x": 0}, {"$and": [True, "$x"]}, False),
    (ZERO, {"$and": [{"$not": "$yes"}, FAILS]}, False),
    ({}, {"$or": []}, False),
    ({"x": None}, {"$or": ["$x", "$none", 0]}, False),
    (ZERO, {"$or": ["$yes", FAILS]}, True),
    ({}, {"$not": [0]}, True),
    ({}, {"$not": "x"}, False),
    ({}, {"$not": [[False]]}, False),
    ({}, {"$not": [D("0.0")]}, True),
    ({"x": 5}, {"$cond": [{"$gt": ["$x", 3]}, "big", "small"]}, "big"),
    ({"x": 1}, {"$cond": {"if": {"$gt": ["$x", 3]}, "then": "big", "else": "small"}}, "small"),
    ({}, {"$cond": [True, "$none", 1]}, MISSING),
    (ZERO, {"$cond": ["$yes", 1, FAILS]}, 1),
    ({"b": 2}, {"$ifNull": ["$a", None, "$b", 3]}, 2),
    ({}, {"$ifNull": ["$a", "$b"]}, MISSING),
    ({}, {"$ifNull": [None, "dflt"]}, "dflt"),
    (ZERO, {"$ifNull": ["$one", FAILS]}, 1),
    (
        {"x": 2},
        {"$switch": {"branches": [{"case": {"$eq": ["$x", 1]}, "then": "a"}, {"case": True, "then": "b"}]}},
        "b",
    ),
    ({"x": 2}, {"$switch": {"branches": [{"case": {"$eq": ["$x", 1]}, "then": 1}], "default": "$none"}}, MISSING),
    ({}, {"$mergeObjects": [{"a": 1, "b": 2}, None, {"b": 3, "c": 4}]}, {"a": 1, "b": 3, "c": 4}),
    ({"l": [{"a": 1}, {"b": 2}]}, {"$mergeObjects": "$l"}, {"a": 1, "b": 2}),
    ({}, {"$mergeObjects": "$none"}, {}),
    ({"a.b": 1, "x": {"$y": 2}}, {"$getField": "a.b"}, 1),
    ({"x": {"$y": 2}}, {"$getField": {"field": {"$literal": "$y"}, "input": "$x"}}, 2),
    ({"k": "z", "z": 5}, {"$getField": {"field": "$k", "input": "$$ROOT"}}, 5),
    ({}, {"$getField": {"field": "a", "input": None}}, None),
    ({}, {"$getField": {"field": "a", "input": 5}}, MISSING),
    ({}, {"$getField": "none"}, MISSING),
    ({}, {"$setField": {"field": "a.b", "input": {"x": 1}, "value": 2}}, {"x": 1, "a.b": 2}),
    ({}, {"$setField": {"field": "x", "input": {"x": 1, "y": 2}, "value": "$$REMOVE"}}, {"y": 2}),
    ({}, {"$setField": {"field": "x", "input": None, "value": 2}}, None),
    ({}, {"$unsetField": {"field": {"$literal": "$y"}, "input": {"$literal": {"$y": 1, "z": 2}}}}, {"z": 2}),
    ({}, {"$type": "$none"}, "missing"),
    ({}, {"$type": None}, "null"),
    ({}, {"$type": 1}, "int"),
    ({}, {"$type": Int64(1)}, "long"),
    ({}, {"$type": 2**40}, "long"),
    ({}, {"$type": 1.5}, "double"),
    ({}, {"$type": D("1")}, "decimal"),
    ({}, {"$type": "x"}, "string"),
    ({}, {"$type": {}}, "object"),
    ({}, {"$type": [[]]}, "array"),
    ({}, {"$type": b"x"}, "binData"),
    ({}, {"$type": ObjectId("64224f3cd79f54ad342dd9b1")}, "objectId"),
    ({}, {"$type": True}, "bool"),
    ({}, {"$type": datetime(2024, 1, 1)}, "date"),
    ({}, {"$type": Regex("x")}, "regex"),
    ({}, {"$type": Timestamp(1, 1)}, "timestamp"),
    ({}, {"$type": Code("x")}, "javascript"),
    ({}, {"$type": MinKey()}, "minKey"),
    ({}, {"$type": MaxKey()}, "maxKey"),
    ({}, {"$isNumber": D("NaN")}, True),
    ({}, {"$isNumber": "1"}, False),
    ({}, {"$isNumber": True}, False),
    ({}, {"$binarySize": "café"}, 5),
    ({}, {"$binarySize": Binary(b"abc", 5)}, 3),
    ({}, {"$binarySize": None}, None),
    ({"a": 1}, {"$bsonSize": "$$ROOT"}, 12),
    ({}, {"$bsonSize": "$none"}, None),
    ({"t": Timestamp(7, 9)}, {"$tsSecond": "$t"}, Int64(7)),
    ({"t": Timestamp(7, 9)}, {"$tsIncrement": "$t"}, Int64(9)),
    ({}, {"$tsSecond": None}, None),
]

ERRORS: list[ErrorRow] = [
    ({}, {"$cmp": [1]}, 16020, "Expression $cmp takes exactly 2 arguments. 1 were passed in."),
    ({}, {"$not": [1, 2]}, 16020, "Expression $not takes exactly 1 arguments. 2 were passed in."),
    ({}, {"$cond": [1, 2]}, 16020, "Expression $cond takes exactly 3 arguments. 2 were passed in."),
    ({}, {"$cond": {"then": 1, "else": 2}}, 17080, "Missing 'if' parameter to $cond"),
    ({}, {"$cond": {"if": 1, "else": 2}}, 17081, "Missing 'then' parameter to $cond"),
    ({}, {"$cond": {"if": 1, "then": 2}}, 17082, "Missing 'else' parameter to $cond"),
    ({}, {"$cond": {"if": 1, "then": 2, "else": 3, "x": 1}}, 17083, "Unrecognized parameter to $cond: x"),
    ({}, {"$ifNull": [1]}, 1257300, "$ifNull needs at least two arguments, had: 1"),
    ({}, {"$switch": 5}, 40060, "$switch requires an object as an argument, found: int"),
    ({}, {"$switch": {"branches": 5}}, 40061, "expected an array for 'branches', found: int"),
    ({}, {"$switch": {"branches": [5]}}, 40062, "expected each branch to be an object, found: int"),
    ({}, {"$switch": {"branches": [{"case": 1, "then": 1, "x": 1}]}}, 40063, "unknown argument to a branch: x"),
    ({}, {"$switch": {"branches": [{"then": 1}]}}, 40064, "have a 'case' expression"),
    ({}, {"$switch": {"branches": [{"case": 1}]}}, 40065, "have a 'then' expression"),
    ({}, {"$switch": {"branches": [], "x": 1}}, 40067, "unknown argument: x"),
    ({}, {"$switch": {"branches": []}}, 40068, "requires at least one branch"),
    ({}, {"$switch": {"branches": [{"case": "$none", "then": 1}]}}, 40069, "could not find a matching branch"),
    ({}, {"$mergeObjects": [1]}, 40400, "$mergeObjects requires object inputs, but input 1 is of type int"),
    ({}, {"$getField": {"field": 5, "input": {}}}, 3041704, "type String, but got int"),
    ({}, {"$getField": {"field": "a"}}, 3041703, "requires 'input' to be specified"),
    ({}, {"$getField": {"field": "a", "input": {}, "x": 1}}, 3041701, "unknown argument: x"),
    ({}, {"$setField": {"field": "$a", "input": {}, "value": 1}}, 4161108, "$literal"),
    ({}, {"$setField": {"field": {"$concat": ["a"]}, "input": {}, "value": 1}}, 4161106, "constant"),
    ({}, {"$setField": {"field": 1, "input": {}, "value": 1}}, 4161107, "type String, but got int"),
    ({}, {"$setField": {"field": "a", "input": 1, "value": 1}}, 4161105, "type Object"),
    ({}, {"$unsetField": {"field": "a", "input": {}, "value": 1}}, 4161101, "unknown argument: value"),
    ({}, {"$rand": [1]}, 3040501, "$rand does not currently accept arguments"),
    ({}, {"$binarySize": 1}, 51276, "requires a string or BinData argument, found: int"),
    ({}, {"$bsonSize": 1}, 31393, "requires a document input, found: int"),
    ({}, {"$tsSecond": 1}, 5687301, "must be a timestamp, but is int"),
    ({}, {"$tsIncrement": "x"}, 5687302, "must be a timestamp, but is string"),
]


@pytest.mark.parametrize("row", ROWS, ids=repr)
def test_value(row: Row) -> None:
    assert_row(row)


@pytest.mark.parametrize("row", ERRORS, ids=repr)
def test_error(row: ErrorRow) -> None:
    assert_error(row)


def test_rand_is_a_fresh_double_each_time() -> None:
    found = {evaluate({}, {"$rand": {}}) for _ in range(20)}
    assert len(found) > 1
    assert all(isinstance(value, float) and 0 <= value < 1 for value in found)
