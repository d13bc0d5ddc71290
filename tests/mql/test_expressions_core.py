"""Literals, field paths, variables, and how expressions are refused."""

from __future__ import annotations

from typing import Any

import pytest
from bson import Code, DBRef, Int64, ObjectId, Regex
from expression_checks import NOW, ErrorRow, Row, assert_error, assert_row, assert_same, evaluate

from doorleaf.errors import DataError, Unsupported
from doorleaf.mql.context import Context
from doorleaf.mql.expressions import REDACT_VARIABLES, Constant, compile_expression
from doorleaf.mql.values import MISSING

NESTED: dict[str, Any] = {"a": [{"b": 1}, {"b": [2, 3]}, {"c": 4}, 5, [{"b": 6}]], "o": {"p": {"q": "deep"}}, "x": 1}
REFERENCE = {"r": DBRef("people", 7)}

ROWS: list[Row] = [
    ({}, 5, 5),
    ({}, Int64(5), Int64(5)),
    ({}, 2.5, 2.5),
    ({}, None, None),
    ({}, True, True),
    ({}, "plain", "plain"),
    ({}, "a$b", "a$b"),
    ({}, Regex("^x", "i"), Regex("^x", "i")),
    ({}, Code("$x"), Code("$x")),
    ({}, b"bytes", b"bytes"),
    ({}, {}, {}),
    ({}, [], []),
    ({"x": 1}, ["$x", "$none", 2], [1, None, 2]),
    ({"x": 1}, {"k": "$x", "gone": "$none", "n": {"m": [{"z": "$x"}]}}, {"k": 1, "n": {"m": [{"z": 1}]}}),
    ({}, {"b": 1, "a": 2}, {"b": 1, "a": 2}),
    (NESTED, "$x", 1),
    (NESTED, "$o.p.q", "deep"),
    (NESTED, "$o.p.none", MISSING),
    (NESTED, "$none", MISSING),
    (NESTED, "$none.more", MISSING),
    (NESTED, "$x.more", MISSING),
    (NESTED, "$a.b", [1, [2, 3]]),
    (NESTED, "$a.none", []),
    (NESTED, "$a.0", []),
    ({"a": {"0": "field"}}, "$a.0", "field"),
    ({"a": [{"b": [{"c": 1}, {"c": 2}]}, {"b": {"c": 3}}]}, "$a.b.c", [[1, 2], 3]),
    (REFERENCE, "$r.$id", 7),
    (NESTED, "$$ROOT.x", 1),
    (NESTED, "$$CURRENT.o.p.q", "deep"),
    ({"x": 1}, "$$ROOT", {"x": 1}),
    ({}, "$$NOW", NOW),
    ({}, "$$NOW.x", MISSING),
    ({}, "$$REMOVE", MISSING),
    ({}, {"a": "$$REMOVE"}, {}),
    ({}, {"$let": {"vars": {"x": 1, "y": {"$add": [1, 1]}}, "in": {"$add": ["$$x", "$$y"]}}}, 3),
    (NESTED, {"$let": {"vars": {"v": "$o"}, "in": "$$v.p.q"}}, "deep"),
    (NESTED, {"$let": {"vars": {"v": "$a"}, "in": "$$v.b"}}, [1, [2, 3]]),
    ({"x": 1}, {"$let": {"vars": {"x": 2}, "in": ["$x", "$$x"]}}, [1, 2]),
    ({}, {"$let": {"vars": {"x": 1}, "in": {"$let": {"vars": {"x": 2, "y": "$$x"}, "in": ["$$x", "$$y"]}}}}, [2, 1]),
    ({"a": {"b": 9}}, {"$let": {"vars": {"CURRENT": "$a"}, "in": "$b"}}, 9),
    ({}, {"$let": {"vars": {"gone": "$none"}, "in": {"$type": "$$gone"}}}, "missing"),
    ({}, {"$let": {"vars": {"été": 1}, "in": "$$été"}}, 1),
    ({}, {"$literal": "$x"}, "$x"),
    ({}, {"$literal": {"$add": [1, 2]}}, {"$add": [1, 2]}),
    ({}, {"$const": 3}, 3),
]

ERRORS: list[ErrorRow] = [
    ({}, {"$foo": 1}, 168, "Unrecognized expression '$foo'"),
    ({}, {"$add": [1], "$subtract": [2, 1]}, 15983, "must have exactly one field"),
    ({}, {"$add": [1], "b": 1}, 15983, "must have exactly one field"),
    ({}, {"b": 1, "$add": [1]}, 16410, "may not start with '$'"),
    ({}, {"a.b": 1}, 16412, "may not contain '.'"),
    ({}, {"": 1}, 15998, "may not be empty strings"),
    ({}, "$", 16872, "'$' by itself is not a valid FieldPath"),
    ({}, "$a.", 40353, "must not end with a '.'"),
    ({}, "$a..b", 15998, "may not be empty"),
    ({}, "$.a", 15998, "may not be empty"),
    ({}, "$a.$b", 16410, "may not start with '$'"),
    ({}, "$a\0b", 16411, "may not contain"),
    ({}, "$$", 9, "empty variable names are not allowed"),
    ({}, "$$x", 17276, "Use of undefined variable: x"),
    ({}, "$$KEEP", 17276, "Use of undefined variable: KEEP"),
    ({}, "$$a-b", 9, "invalid character for a variable name: '-'"),
    ({}, {"$let": {"vars": {"x": 1}, "in": "$$x."}}, 40353, "must not end"),
    ({}, {"$let": {"vars": {"X": 1}, "in": 1}}, 9, "starts with an invalid character"),
    ({}, {"$let": {"vars": {"": 1}, "in": 1}}, 9, "empty variable names"),
    ({}, {"$let": {"vars": {"a": 1, "b": "$$a"}, "in": 1}}, 17276, "undefined variable: a"),
    ({}, {"$let": 5}, 16874, "$let only supports an object"),
    ({}, {"$let": {"vars": {}, "in": 1, "x": 1}}, 16875, "x"),
    ({}, {"$let": {"in": 1}}, 16876, "Missing 'vars'"),
    ({}, {"$let": {"vars": {}}}, 16877, "Missing 'in'"),
    ({}, {"$let": {"vars": 5, "in": 1}}, 10065, "expected an object"),
    ({}, {"$abs": [1, 2]}, 16020, "Expression $abs takes exactly 1 arguments. 2 were passed in."),
    ({}, {"$eq": 1}, 16020, "Expression $eq takes exactly 2 arguments. 1 were passed in."),
    (
        {},
        {"$slice": [[1]]},
        28667,
        "Expression $slice takes at least 2 arguments, and at most 3, but 1 were passed in.",
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=repr)
def test_value(row: Row) -> None:
    assert_row(row)


@pytest.mark.parametrize("row", ERRORS, ids=repr)
def test_error(row: ErrorRow) -> None:
    assert_error(row)


@pytest.mark.parametrize(
    "expression",
    [
        {"$function": {"body": "function() {}", "args": [], "lang": "js"}},
        {"$accumulator": {}},
        {"$where": "1"},
        {"$meta": "textScore"},
        {"$sigmoid": 1},
        {"$toHashedIndexKey": 1},
        "$$CLUSTER_TIME",
        "$$SEARCH_META",
        "$$USER_ROLES",
    ],
)
def test_what_exists_elsewhere_is_refused_by_name(expression: Any) -> None:
    name = next(iter(expression)) if isinstance(expression, dict) else expression
    with pytest.raises(Unsupported) as raised:
        compile_expression({"a": [expression]}, Context())
    assert name in raised.value.message


def test_declared_variables_are_seen_and_others_are_not() -> None:
    context = Context()
    compiled = compile_expression(["$$limit", "$$user.name", "$$list.n"], context, ("limit", "user", "list"))
    variables = {"limit": 3, "user": {"name": "Ada"}, "list": [{"n": 1}, 2, {"n": 3}]}
    assert compiled({}, variables) == [3, "Ada", [1, 3]]
    assert variables == {"limit": 3, "user": {"name": "Ada"}, "list": [{"n": 1}, 2, {"n": 3}]}
    with pytest.raises(DataError):
        compile_expression("$$other", context, ("limit",))


def test_redact_variables_exist_only_where_declared() -> None:
    compiled = compile_expression(["$$KEEP", "$$PRUNE", "$$DESCEND"], Context(), REDACT_VARIABLES)
    assert compiled({}, {}) == ["keep", "prune", "descend"]


def test_constants_are_computed_once() -> None:
    compiled = compile_expression({"a": [{"$add": [1, {"$multiply": [2, 3]}]}]}, Context())
    assert isinstance(compiled, Constant)
    assert compiled.value == {"a": [7]}
    assert not isinstance(compile_expression({"$add": [1, "$x"]}, Context()), Constant)


def test_errors_of_constants_come_before_the_first_document() -> None:
    with pytest.raises(DataError, match="zero"):
        compile_expression({"$ifNull": ["$x", {"$divide": [1, 0]}]}, Context())
    unused = {"$switch": {"branches": [{"case": False, "then": {"$divide": [1, 0]}}], "default": "ok"}}
    assert compile_expression(unused, Context())({}, {}) == "ok"
    with pytest.raises(DataError, match="Unrecognized"):
        compile_expression({"$cond": [True, 1, {"$foo": 1}]}, Context())


def test_a_value_made_is_of_the_documents_own_types() -> None:
    oid = ObjectId()
    assert_same(evaluate({"i": oid, "l": Int64(1)}, {"i": "$i", "l": "$l"}), {"i": oid, "l": Int64(1)})
