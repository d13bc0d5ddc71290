"""Rule expressions: what is taken, what is refused and with which words, and conditions as queries and in memory."""

from __future__ import annotations

import json
from typing import Any

import pytest
from bson import ObjectId, Regex
from hypothesis import given, settings
from hypothesis import strategies as st

from doorleaf.access.rules.conditions import at_path, bind, in_query, matcher, mentions_this
from doorleaf.access.rules.expressions import FIELD, NOTHING, WHOLE, RuleError, mentions_request, parse
from doorleaf.access.rules.roles import parse_role, parse_rules
from doorleaf.mql.context import Context
from doorleaf.mql.filters.compile import compile_filter

CALLER: dict[str, Any] = {
    "user": {"id": "u1", "type": "normal", "data": {"n": 5, "list": [1, 2], "regex": [Regex("^a"), "b"]}},
    "values": {},
    "environment": {},
    "request": {},
}


@pytest.mark.parametrize(
    ("expression", "scopes", "text"),
    [
        ("owner", WHOLE, "x: expected true, false or an object, got string"),
        (1, WHOLE, "x: expected true, false or an object, got int"),
        (None, WHOLE, "x: expected true, false or an object, got null"),
        ([], WHOLE, "x: expected true, false or an object, got array"),
        ({"%who": []}, WHOLE, "x.%who: unknown operator '%who'"),
        ({"$where": "1"}, WHOLE, "x.$where: unknown operator '$where'"),
        ({"a": {"%regex": "x"}}, WHOLE, "x.a.%regex: unknown operator '%regex'"),
        ({"a": {"%eq": 1, "b": 2}}, WHOLE, "x.a.b: unknown operator 'b'"),
        ({"a": {"b": {"$gt": 1}}}, WHOLE, "x.a.b: unknown operator '$gt'"),
        ({"%function": {}}, WHOLE, "x.%function.name: expected the name of a function"),
        ({"%%true": {"%function": {"name": 1}}}, WHOLE, "x.%%true.%function.name: expected the name of a function"),
        ({"a": {"%function": {"name": "f"}}}, WHOLE, "x.a.%function: %function is a condition of its own"),
        ({"%and": [{"a": {"%eq": {"%function": {}}}}]}, WHOLE, "%function is a condition of its own"),
        ({"%stringToOid": "x"}, WHOLE, "x.%stringToOid: %stringToOid converts a value"),
        ({"%exists": True}, WHOLE, "x.%exists: %exists compares something"),
        ({"%or": {"a": 1}}, WHOLE, "x.%or: expected an array of expressions, got object"),
        ({"%%nobody.id": 1}, WHOLE, "x.%%nobody.id: unknown expansion '%%nobody'"),
        ({"%%args.id": 1}, WHOLE, "unknown expansion '%%args'; it belongs to services"),
        ({"%%partition": 1}, WHOLE, "unknown expansion '%%partition'; it belongs to sync"),
        ({"a": "%%rooot.b"}, WHOLE, "x.a: unknown expansion '%%rooot'"),
        ({"a": {"%exists": "yes"}}, WHOLE, "x.a.%exists: expected true or false"),
        ({"a": {"%exists": "%%user.data.x"}}, WHOLE, "x.a.%exists: expected true or false"),
        ({"a": {"%in": 5}}, WHOLE, "x.a.%in: expected an array or an expansion"),
        ({"a": {"%in": ["%%root.b"]}}, WHOLE, "x.a.%in[0]: a list cannot hold fields of the document"),
        ({"a": Regex("^x")}, WHOLE, "x.a: a regular expression is not a value of rules"),
        ({"a": {"%in": [Regex("^x")]}}, WHOLE, "a regular expression is not a value of rules"),
        ({"%%this": 1}, WHOLE, "x.%%this: %%this has no meaning here"),
        ({"a": "%%prev"}, WHOLE, "x.a: %%prev has no meaning here"),
        ({"a": 1}, NOTHING, "x.a: %%root has no meaning here"),
        ({"%%user.id": "%%root.a"}, NOTHING, "%%root has no meaning here"),
        ({"%%root": {"a": 1}}, WHOLE, "x.%%root: the whole document can only be asked for with %exists"),
        ({"%%prevRoot": None}, WHOLE, "the whole document can only be asked for with %exists"),
        ({"%%root": {"%gt": "%%prevRoot"}}, WHOLE, "the whole document can only be asked for with %exists"),
        ({"%%root..a": 1}, WHOLE, "'%%root..a' is no path"),
        ({"%%root.$a": 1}, WHOLE, "'%%root.$a' is no path"),
        ({"a": {"%stringToOid": {"%oidToString": "%%root.b"}}}, WHOLE, "%stringToOid takes one plain value"),
        ({"a": {"%stringToUuid": "%%root.b"}}, WHOLE, "takes a value of the caller, not of the document"),
    ],
    ids=str,
)
def test_what_is_refused(expression: Any, scopes: frozenset[str], text: str) -> None:
    with pytest.raises(RuleError) as caught:
        parse(expression, "x", scopes)
    assert text in caught.value.message


@pytest.mark.parametrize(
    ("role", "text"),
    [
        ({}, "r.name: expected a string of 1 to 100 characters"),
        ({"name": "x" * 101}, "r.name: expected a string of 1 to 100 characters"),
        ({"name": "a", "raed": True}, "r: unknown key 'raed'"),
        ({"name": "a", "document_filters": {"reed": True}}, "r.document_filters: unknown key 'reed'"),
        ({"name": "a", "fields": {"b": {"reads": True}}}, "r.fields.b: unknown key 'reads'"),
        ({"name": "a", "fields": {"b": True}}, "r.fields.b: expected an object, got bool"),
        ({"name": "a", "fields": {"b.c": {}}}, "r.fields.b.c: is no field's name; a nested field is written"),
        ({"name": "a", "fields": {"$b": {}}}, "r.fields.$b: is no field's name"),
        (
            {"name": "a", "fields": {"b": {"fields": {"c": {"write": {"%x": 1}}}}}},
            "r.fields.b.fields.c.write.%x: unknown",
        ),
        ({"name": "a", "additional_fields": {"fields": {}}}, "r.additional_fields: unknown key 'fields'"),
        ({"name": "a", "apply_when": {"%%this": 1}}, "r.apply_when.%%this: %%this has no meaning here"),
        ({"name": "a", "apply_when": "yes"}, "r.apply_when: expected true, false or an object"),
    ],
    ids=str,
)
def test_roles_that_are_refused(role: Any, text: str) -> None:
    with pytest.raises(RuleError) as caught:
        parse_role(role, "r")
    assert text in caught.value.message


@pytest.mark.parametrize(
    ("rules", "text"),
    [
        ({"rules": []}, "f: unknown key 'rules'"),
        ({"roles": {}}, "f.roles: expected an array, got object"),
        ({"roles": [5]}, "f.roles[0]: expected an object, got int"),
        ({"roles": [{"name": "a"}, {"name": "a"}]}, "f.roles: two roles have the name 'a'"),
        ({"filters": [{"querry": {}}]}, "f.filters[0]: unknown key 'querry'"),
        ({"filters": [{"apply_when": {"owner": 1}}]}, "f.filters[0].apply_when.owner: %%root has no meaning here"),
        ({"filters": [{"query": {"a": "%%root.b"}}]}, "f.filters[0].query.a: %%root has no meaning here"),
        ({"filters": [{"query": False}]}, "f.filters[0].query: expected an object, got bool"),
        ({"filters": [{"query": []}]}, "f.filters[0].query: expected an object, got array"),
        ({"filters": [{"projection": 0}]}, "f.filters[0].projection: expected an object, got int"),
        ({"filters": [{"query": {"%%user.id": 1}}]}, "f.filters[0].query: '%%user.id' cannot be a key"),
        ({"filters": [{"query": {"%function": 1}}]}, "f.filters[0].query: %function is a condition"),
        ({"filters": [{"projection": {"a": 1, "b": 0}}]}, "f.filters[0].projection: includes some fields and excludes"),
        ({"filters": [{"projection": {"a": {"$slice": 1}}}]}, "f.filters[0].projection.a: expected 0 or 1"),
        ({"filters": [{"projection": {"a": 1}, "project": {}}]}, "projection and project are the same thing"),
        ({"filters": [{"name": "x" * 101}]}, "f.filters[0].name: expected a string of at most 100 characters"),
        ({"schema": {"bsonTipe": "object"}}, "f.schema: unknown keyword 'bsonTipe'"),
    ],
    ids=str,
)
def test_rules_that_are_refused(rules: Any, text: str) -> None:
    with pytest.raises(RuleError) as caught:
        parse_rules(rules, "f")
    assert text in caught.value.message


@pytest.mark.parametrize(
    ("expression", "query"),
    [
        ({"owner": "%%user.id"}, {"owner": {"$eq": "u1"}}),
        ({"%%root.a.b": {"$gt": "%%user.data.n"}}, {"a.b": {"$gt": 5}}),
        ({"%%prevRoot.a": 1, "b": 2}, {"$and": [{"a": {"$eq": 1}}, {"b": {"$eq": 2}}]}),
        ({"%or": [{"a": 1}, False, {"a": 1}]}, {"a": {"$eq": 1}}),
        ({"a": {"%ne": "%%user.id"}}, {"a": {"$ne": "u1"}}),
        ({"a": "%%user.data.list"}, {"a": {"$in": [[1, 2], 1, 2]}}),
        ({"%%user.id": {"%in": "%%root.members"}}, {"members": {"$eq": "u1"}}),
        ({"%%user.data.n": {"%lt": "%%root.max"}}, {"max": {"$gt": 5}}),
        ({"%not": {"a": 1}}, {"$nor": [{"a": {"$eq": 1}}]}),
        ({"a": {"%stringToOid": "64b7f0000000000000000001"}}, {"a": {"$eq": ObjectId("64b7f0000000000000000001")}}),
        ({"%%root": {"%exists": True}}, {"_id": {"$exists": True}}),
        ({"a": {"%in": "%%user.data.regex"}}, {"$or": [{"a": {"$eq": Regex("^a")}}, {"a": {"$eq": "b"}}]}),
        ({"%%user.type": "normal", "a": 1}, {"a": {"$eq": 1}}),
        ({"%%user.type": "server", "a": 1}, False),
        ({"a": "%%user.data.missing"}, False),
        ({"%%user.data.n": {"%gt": 1}}, True),
        ({}, True),
    ],
    ids=str,
)
def test_conditions_as_queries(expression: Any, query: Any) -> None:
    assert in_query(bind(parse(expression, "x"), CALLER)) == query


def test_a_condition_on_a_field_is_said_of_the_document() -> None:
    tree = parse({"%%this.x": {"%gt": 1}, "%%prev": {"%exists": True}, "kind": "k", "%%this.y": "%%root.z"}, "x", FIELD)
    condition = bind(tree, CALLER)
    assert mentions_this(condition)
    moved = at_path(condition, "a.b")
    assert not mentions_this(moved)
    assert "root.a.b.x" in json.dumps(moved)
    assert in_query(moved)["$and"][:3] == [{"a.b.x": {"$gt": 1}}, {"a.b": {"$exists": True}}, {"kind": {"$eq": "k"}}]  # type: ignore[index]


def test_what_looks_at_the_request() -> None:
    assert mentions_request(parse({"%or": [{"a": "%%request.httpMethod"}]}, "x"))
    assert mentions_request(parse({"a": {"%stringToOid": "%%request.rawQueryString"}}, "x"))
    assert not mentions_request(parse({"a": "%%user.id", "%%values.x": 1}, "x"))
    assert parse_rules(
        {"roles": [{"name": "a", "fields": {"b": {"read": {"%%request.httpMethod": "GET"}}}}]}, "r"
    ).looks_at_request
    assert parse_rules({"filters": [{"query": {"a": "%%request.remoteIPAddress"}}]}, "r").looks_at_request
    assert parse_rules({"schema": {"validate": {"%%request.httpMethod": "GET"}}}, "r").looks_at_request
    assert not parse_rules({"roles": [{"name": "a", "read": {"a": "%%user.id"}}]}, "r").looks_at_request


# --- queries and memory decide alike ---------------------------------------------------------------------------------

leaves = st.sampled_from([None, 0, 1, 5, "a", "b", "u1", True, 1.5, [1], ["a", "u1"], [], {"a": 1}, {}])
documents = st.fixed_dictionaries({"_id": st.just(1)}, optional=dict.fromkeys(("a", "b", "c"), leaves))
operands = st.one_of(
    leaves.filter(lambda value: not isinstance(value, dict)),
    st.sampled_from(["%%root.a", "%%prevRoot.b", "%%root.c.a", "%%user.id", "%%user.data.n", "%%user.data.none",
    "%%user.data.list"]),
)  # fmt: skip
keys = st.sampled_from(["a", "b", "%%root.c", "%%prevRoot.a", "c.a", "%%user.id", "%%user.data.n", "%%user.data.none"])
comparisons = st.one_of(
    st.builds(lambda key, value: {key: value}, keys, operands),
    st.builds(
        lambda key, name, value: {key: {name: value}}, keys, st.sampled_from(["%eq", "%ne", "$gt", "%lte"]), operands
    ),
    st.builds(
        lambda key, name, value: {key: {name: value}},
        keys,
        st.sampled_from(["%in", "%nin"]),
        st.sampled_from([["a", 1], ["%%user.id"], [], "%%root.a", "%%user.data.list"]),
    ),
    st.builds(lambda key, value: {key: {"%exists": value}}, keys, st.booleans()),
)
trees = st.recursive(
    comparisons | st.booleans(),
    lambda inside: st.builds(lambda name, parts: {name: parts}, st.sampled_from(["%and", "%or", "%nor"]),
                             st.lists(inside, max_size=3)) | st.builds(lambda part: {"%not": part}, inside),
    max_leaves=5,
)  # fmt: skip


@settings(max_examples=500, deadline=None)
@given(trees, documents)
def test_a_query_finds_what_memory_says(expression: Any, document: dict[str, Any]) -> None:
    condition = bind(parse(expression, "x"), CALLER)
    if isinstance(condition, bool):
        return
    found = compile_filter(in_query(condition), Context())(document)
    assert matcher(condition)(document, document, None, None) == found


@settings(max_examples=300, deadline=None)
@given(trees, documents)
def test_not_is_the_opposite(expression: Any, document: dict[str, Any]) -> None:
    yes, no = (bind(parse(tree, "x"), CALLER) for tree in (expression, {"%not": expression}))
    answers = [
        value if isinstance(value, bool) else matcher(value)(document, document, None, None) for value in (yes, no)
    ]
    assert answers[0] != answers[1]
