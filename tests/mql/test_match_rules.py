"""Filters: what is refused, deadlines, which element matched, expressions."""

from __future__ import annotations

import time
from typing import Any

import pytest
from bson import Regex

from doorleaf.errors import DataError, DoorleafError, StoreTimeout, Unsupported
from doorleaf.mql.context import Context
from doorleaf.mql.filters.compile import compile_filter, compile_positional, mentions

NAN = float("nan")

REFUSALS: list[tuple[Any, int, str]] = [
    ({"a": {"$foo": 1}}, 2, "unknown operator: $foo"),
    ({"a": {"$gt": 1, "b": 2}}, 2, "unknown operator: b"),
    ({"a": {"$not": {"b": 1}}}, 2, "unknown operator: b"),
    ({"a": {"$elemMatch": {"$gt": 1, "b": 2}}}, 2, "unknown operator: b"),
    (
        {"$foo": 1},
        2,
        (
            "unknown top level operator: $foo. If you have a field name that starts with a '$' symbol,"
            " consider using $getField or $setField."
        ),
    ),
    ({"$gt": 1}, 2, "unknown top level operator: $gt"),
    ({"$and": {}}, 2, "$and must be an array"),
    ({"$or": 1}, 2, "$or must be an array"),
    ({"$and": []}, 2, "$and/$or/$nor must be a nonempty array"),
    ({"$nor": []}, 2, "$and/$or/$nor must be a nonempty array"),
    ({"$or": [1]}, 2, "$or/$and/$nor entries need to be full objects"),
    ({"a": {"$and": [{"b": 1}]}}, 2, "unknown operator: $and"),
    ({"a": {"$in": 1}}, 2, "$in needs an array"),
    ({"a": {"$nin": {}}}, 2, "$nin needs an array"),
    ({"a": {"$in": [{"$gt": 1}]}}, 2, "cannot nest $ under $in"),
    ({"a": {"$not": 1}}, 2, "$not needs a regex or a document"),
    ({"a": {"$not": {}}}, 2, "$not cannot be empty"),
    ({"a": {"$ne": Regex("x")}}, 2, "Can't have regex as arg to $ne."),
    ({"a": {"$gt": Regex("x")}}, 2, "Can't have RegEx as arg to predicate over field 'a'."),
    ({"a": {"$all": 1}}, 2, "$all needs an array"),
    ({"a": {"$all": [{"$gt": 1}]}}, 2, "no $ expressions in $all"),
    ({"a": {"$all": [{"$elemMatch": {}}, 1]}}, 2, "$all/$elemMatch has to be consistent"),
    ({"a": {"$elemMatch": 1}}, 2, "$elemMatch needs an Object"),
    ({"a": {"$size": "x"}}, 2, 'Failed to parse $size. Expected a number in: $size: "x"'),
    ({"a": {"$size": -1}}, 2, "Failed to parse $size. Expected a non-negative number in: $size: -1"),
    ({"a": {"$size": 1.5}}, 2, "Failed to parse $size. Expected an integer: $size: 1.5"),
    ({"a": {"$size": NAN}}, 2, "Failed to parse $size. Expected an integer, but found NaN in: $size: nan.0"),
    ({"a": {"$mod": 1}}, 2, "malformed mod, needs to be an array"),
    ({"a": {"$mod": [1]}}, 2, "malformed mod, not enough elements"),
    ({"a": {"$mod": [1, 2, 3]}}, 2, "malformed mod, too many elements"),
    ({"a": {"$mod": ["x", 2]}}, 2, "malformed mod, divisor not a number"),
    ({"a": {"$mod": [2, "x"]}}, 2, "malformed mod, remainder not a number"),
    ({"a": {"$mod": [0, 0]}}, 2, "divisor cannot be 0"),
    ({"a": {"$mod": [0.5, 0]}}, 2, "divisor cannot be 0"),
    ({"a": {"$mod": [NAN, 0]}}, 2, "divisor value is invalid :: caused by :: Unable to coerce NaN/Inf"),
    ({"a": {"$mod": [1, 1e300]}}, 2, "remainder value is invalid :: caused by :: Out of bounds coercing"),
    ({"a": {"$type": "foo"}}, 2, "Unknown type name alias: foo"),
    ({"a": {"$type": "missing"}}, 2, "'missing' is not a legal type name."),
    ({"a": {"$type": 0}}, 2, "Invalid numerical type code: 0. Instead use {$exists:false}."),
    ({"a": {"$type": 99}}, 2, "Invalid numerical type code: 99"),
    ({"a": {"$type": 1.5}}, 2, "Invalid numerical type code: 1.5"),
    ({"a": {"$type": []}}, 9, "a must match at least one type"),
    ({"a": {"$type": None}}, 14, "type must be represented as a number or a string"),
    ({"a": {"$regex": 1}}, 2, "$regex has to be a string"),
    ({"a": {"$regex": "x", "$options": 1}}, 2, "$options has to be a string"),
    ({"a": {"$options": "i"}}, 2, "$options needs a $regex"),
    ({"a": {"$regex": "x", "$options": "q"}}, 51108, "invalid flag in regex options: q"),
    ({"a": {"$regex": Regex("x", "i"), "$options": "m"}}, 51075, "options set in both $regex and $options"),
    ({"a": {"$options": "m", "$regex": Regex("x", "i")}}, 51074, "options set in both $regex and $options"),
    ({"a": {"$regex": "(x"}}, 51091, "Regular expression is invalid: missing closing parenthesis"),
    ({"a": {"$regex": "[x"}}, 51091, "Regular expression is invalid: missing terminating ]"),
    ({"a": {"$regex": "*x"}}, 51091, "quantifier does not follow a repeatable item"),
    ({"a": {"$regex": "x**"}}, 51091, "quantifier does not follow a repeatable item"),
    ({"a": {"$regex": "\\u0041"}}, 51091, "unrecognized character follows"),
    ({"a": {"$regex": "(*ACCEPT)"}}, 51091, "(*ACCEPT) is not supported"),
    ({"a": {"$regex": "a{3,1}"}}, 51091, "numbers out of order in {} quantifier"),
    ({"a": {"$regex": "((a{1000}){1000}){1000}"}}, 51091, "regular expression is too large"),
    ({"a": {"$regex": "\\p{Nonsense}"}}, 51091, "Regular expression is invalid"),
    ({"a": {"$regex": "a\x00b"}}, 2, "Regular expression cannot contain an embedded null byte"),
    ({"a": {"$bitsAllSet": "x"}}, 2, 'a takes an Array, a number, or a BinData but received: $bitsAllSet: "x"'),
    ({"a": {"$bitsAllSet": -1}}, 9, "Expected a non-negative number in: $bitsAllSet: -1"),
    ({"a": {"$bitsAllSet": 1.5}}, 9, "Expected an integer: $bitsAllSet: 1.5"),
    ({"a": {"$bitsAnySet": ["x"]}}, 2, "Failed to parse bit position. Expected a number in"),
    ({"a": {"$bitsAnySet": [-1]}}, 2, "Failed to parse bit position. Expected a non-negative number in"),
    ({"a": {"$where": "1"}}, 2, "$where cannot be applied to a field"),
    ({"a": {"$elemMatch": {"$expr": True}}}, 2, "$expr can only be applied to the top-level document"),
    ({"$alwaysTrue": 2}, 9, "$alwaysTrue must be an integer value of 1"),
    ({"$sampleRate": "x"}, 2, "argument to $sampleRate must be a numeric type"),
    ({"$sampleRate": 2}, 2, "numeric argument to $sampleRate must be in [0, 1]"),
    ({"$jsonSchema": 1}, 14, "$jsonSchema must be an object"),
    ([], 9, "the match filter must be an expression in an object"),
    (5, 9, "the match filter must be an expression in an object"),
    (None, 9, "the match filter must be an expression in an object"),
    ("x", 9, "the match filter must be an expression in an object"),
]


@pytest.mark.parametrize(("condition", "number", "text"), REFUSALS)
def test_malformed_filters(condition: Any, number: int, text: str) -> None:
    with pytest.raises(DataError) as caught:
        compile_filter(condition, Context())
    assert (caught.value.number, text in caught.value.message) == (number, True), caught.value.message


@pytest.mark.parametrize(
    ("condition", "name"),
    [
        ({"$where": "true"}, "$where"),
        ({"$text": {"$search": "x"}}, "$text"),
        ({"$and": [{"$where": "true"}]}, "$where"),
        ({"a": {"$elemMatch": {"$where": "1"}}}, "$where"),
        ({"a": {"$near": [0, 0]}}, "$near"),
        ({"a": {"$nearSphere": [0, 0]}}, "$nearSphere"),
        ({"a": {"$geoWithin": {}}}, "$geoWithin"),
        ({"a": {"$geoIntersects": {}}}, "$geoIntersects"),
        ({"a": {"$not": {"$geoWithin": {}}}}, "$geoWithin"),
    ],
)
def test_operators_that_are_not_there_are_refused_by_name(condition: Any, name: str) -> None:
    with pytest.raises(Unsupported, match=f"\\{name} is not supported"):
        compile_filter(condition, Context())


def test_deeply_nested_filter() -> None:
    condition: dict[str, Any] = {"a": 1}
    for _ in range(150):
        condition = {"$and": [condition]}
    with pytest.raises(DoorleafError, match="nesting depth"):
        compile_filter(condition, Context())


@pytest.mark.parametrize("pattern", ["(x+x+)+y", "(x+)+(x+)+(x+)+y"])
def test_exploding_regular_expression_ends_at_the_deadline(pattern: str) -> None:
    matches = compile_filter({"a": {"$regex": pattern}}, Context(time.monotonic() + 0.2))
    with pytest.raises(StoreTimeout):
        matches({"a": "x" * 10000 + "c"})


@pytest.mark.parametrize("collation", [None, {}, {"locale": "simple"}])
def test_binary_collation(collation: Any) -> None:
    assert not compile_filter({"a": "x"}, Context(), collation=collation)({"a": "X"})


def test_other_collations_are_refused() -> None:
    with pytest.raises(Unsupported, match="collation"):
        compile_filter({"a": "x"}, Context(), collation={"locale": "en", "strength": 2})


POSITIONS: list[tuple[dict[str, Any], dict[str, Any], int | None]] = [
    ({"a": 2}, {"a": [1, 2, 2]}, 1),
    ({"a": {"$gte": 2}}, {"a": [1, 2, 3]}, 1),
    ({"a": 1}, {"a": 1}, None),
    ({"a": [1, 2]}, {"a": [1, 2]}, None),
    ({"a.b": 2}, {"a": [{"b": 1}, {"b": 2}]}, 1),
    ({"a.b": 2}, {"a": [{"b": [1]}, {"b": [0, 0, 2]}]}, 1),
    ({"a.b": 2}, {"a": {"b": [1, 2]}}, 1),
    ({"a.1": 2}, {"a": [1, 2]}, None),
    ({"a": {"$in": [3, 2]}}, {"a": [1, 2, 3]}, 1),
    ({"a": {"$elemMatch": {"b": 1, "c": 2}}}, {"a": [{"b": 1}, {"b": 1, "c": 2}]}, 1),
    ({"a": {"$elemMatch": {"$gt": 1, "$lt": 3}}}, {"a": [1, 3, 2]}, 2),
    ({"a.b": {"$elemMatch": {"c": 1}}}, {"a": {"b": [{}, {"c": 1}]}}, 1),
    ({"a.b": {"$elemMatch": {"c": 1}}}, {"a": [{"b": []}, {}, {"b": [{}, {"c": 1}]}]}, 2),
    ({"a": Regex("y")}, {"a": ["x", "y"]}, 1),
    ({"x": 1, "a": 2}, {"x": 1, "a": [2]}, 0),
    ({"a": 1, "b": 5}, {"a": [0, 1], "b": [5]}, 0),
    ({"$and": [{"a": 2}]}, {"a": [1, 2]}, 1),
    ({"$or": [{"a": 2}]}, {"a": [1, 2]}, None),
    ({"a": {"$ne": 5}}, {"a": [1, 2]}, None),
    ({"a": {"$all": [2]}}, {"a": [1, 2]}, 1),
    ({"a": {"$size": 2}}, {"a": [1, 2]}, None),
    ({}, {"a": [1]}, None),
]


@pytest.mark.parametrize(("condition", "document", "position"), POSITIONS)
def test_which_element_matched(condition: Any, document: Any, position: int | None) -> None:
    assert compile_positional(condition, Context())(document) == (True, position)
    assert compile_positional({"$nor": [condition]}, Context())(document) == (False, None)


def test_mentions() -> None:
    condition = {"a.b": 1, "$or": [{"c": 1}, {"$and": [{"d.e": {"$gt": 1}}]}], "$comment": "f"}
    assert [name for name in "abcdef" if mentions(condition, name, Context())] == ["a", "c", "d"]


@pytest.mark.parametrize(
    ("condition", "variables", "document", "expected"),
    [
        ({"$expr": {"$gt": ["$a", "$b"]}}, {}, {"a": 2, "b": 1}, True),
        ({"$expr": {"$gt": ["$a", "$b"]}}, {}, {"a": 1, "b": 2}, False),
        ({"$expr": {"$eq": ["$a", "$$v"]}}, {"v": 7}, {"a": 7}, True),
        ({"$expr": {"$eq": ["$a", "$$v"]}}, {"v": 7}, {"a": 8}, False),
        ({"$expr": "$a"}, {}, {"a": 0}, False),
        ({"$expr": "$a"}, {}, {"a": "x"}, True),
        ({"$expr": "$missing"}, {}, {"a": "x"}, False),
        ({"$or": [{"$expr": {"$lt": ["$a", 0]}}, {"b": 1}]}, {}, {"a": 1, "b": 1}, True),
    ],
)
def test_expressions(condition: Any, variables: Any, document: Any, expected: bool) -> None:
    assert compile_filter(condition, Context(), variables=variables)(document) is expected


def test_filters_do_not_change_what_they_are_given() -> None:
    condition = {"a": {"$in": [1, {"b": [1]}]}, "$or": [{"c": {"$elemMatch": {"d": 1}}}, {"a": 1}]}
    document = {"a": [1, {"b": [1]}], "c": [{"d": 1}]}
    before = repr((condition, document))
    assert compile_filter(condition, Context())(document)
    assert repr((condition, document)) == before
