"""Fields that rules hide: trees and projections agree, and what a request refers to is found."""

from __future__ import annotations

from typing import Any

import pytest
from bson import DBRef
from hypothesis import given, settings
from hypothesis import strategies as st

from doorleaf.access.rules.fields import Branch, Tree, allows, both, hidden, limit_of, projections, redact, simplify
from doorleaf.access.rules.references import expression_paths, filter_paths, may_fail, projection_paths, update_writes
from doorleaf.documents import Document
from doorleaf.mql.context import Context
from doorleaf.mql.projections.compile import compile_project, compile_projection

# --- trees and projections -------------------------------------------------------------------------------------------

names = st.sampled_from(["a", "b", "_id"])
trees = st.recursive(
    st.booleans(),
    lambda inside: st.builds(Branch, st.dictionaries(names, inside, max_size=3), st.booleans()),
    max_leaves=8,
)
values = st.recursive(
    st.sampled_from([1, "x", None]),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "c"]), inside, max_size=3),
    max_leaves=8,
)
documents = st.dictionaries(st.sampled_from(["a", "b", "c", "_id"]), values, max_size=4).filter(
    lambda document: not isinstance(document.get("_id"), list)
)


@settings(max_examples=800, deadline=None)
@given(trees.map(simplify), documents)
def test_projections_hide_what_trees_hide(tree: Tree, document: Document) -> None:
    stages = projections(tree)
    if stages is None:
        return
    shown = redact(tree, document)
    piped = document
    for stage in stages:
        piped = compile_project(stage, Context())(piped)
    assert piped == shown
    if len(stages) == 1:
        found = compile_projection(stages[0], Context())
        assert found is not None
        assert found(document) == shown


@settings(max_examples=500, deadline=None)
@given(trees.map(simplify), trees.map(simplify), documents)
def test_both_is_one_after_the_other(one: Tree, other: Tree, document: Document) -> None:
    assert bare(redact(both(one, other), document)) == bare(redact(other, redact(one, document)))


def bare(value: Any) -> Any:
    """A value without the empty documents and arrays that remain where everything inside is hidden."""
    if isinstance(value, dict):
        return {name: part for name, item in value.items() if (part := bare(item)) not in ({}, [])}
    return [part for item in value if (part := bare(item)) not in ({}, [])] if isinstance(value, list) else value


@pytest.mark.parametrize(
    ("projection", "shown"),
    [
        ({"a": 1}, {"_id": 1, "a": {"b": 1, "c": 2}}),
        ({"a.b": 1}, {"_id": 1, "a": {"b": 1}}),
        ({"a": 1, "_id": 0}, {"a": {"b": 1, "c": 2}}),
        ({"a": 0}, {"_id": 1, "d": 4}),
        ({"a.b": 0}, {"_id": 1, "a": {"c": 2}, "d": 4}),
        ({"_id": 0}, {"a": {"b": 1, "c": 2}, "d": 4}),
        ({"_id": 1}, {"_id": 1}),
        ({"a": 0, "_id": 0}, {"d": 4}),
    ],
    ids=str,
)
def test_projections_of_filters_as_trees(projection: Document, shown: Document) -> None:
    assert redact(limit_of(projection), {"_id": 1, "a": {"b": 1, "c": 2}, "d": 4}) == shown


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("x", True), ("s", False), ("s.x", False), ("", False), ("n", False), ("n.x", True), ("n.s", False), ("n.0.s",
        False),
        ("n.0.x", True), ("n.0", False), ("n.$.x", True), ("n.$[].s", False), ("n.$[i].x", True), ("0", True), ("x.0",
        True),
        ("x.s", True), ("o", False), ("o.p", True), ("o.p.q", True), ("o.z", False),
    ],
)  # fmt: skip
def test_paths_of_a_tree(path: str, allowed: bool) -> None:
    tree = Branch({"s": False, "n": Branch({"s": False}, True), "o": Branch({"p": True}, False)}, True)
    assert allows(tree, path) is allowed


def test_references_to_database_documents_are_documents() -> None:
    tree = Branch({"link": Branch({"secret": False}, True)}, True)
    document = {"link": DBRef("c", 1, secret="MARK", open=1)}
    assert "MARK" not in repr(redact(tree, document))
    assert redact(tree, document)["link"] == {"$ref": "c", "$id": 1, "open": 1}


def test_what_is_hidden_has_names() -> None:
    tree = Branch({"s": False, "n": Branch({"x": True}, False), "c": {"root.k": 1}}, True)
    assert list(hidden(tree)) == ["s", "n.*", "c?"]


# --- what requests refer to ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"a": 1, "b.c": {"$gt": 1}}, ["a", "b.c"]),
        ({"$or": [{"a": 1}, {"$and": [{"b": 1}]}]}, ["a", "b"]),
        ({"a": {"$elemMatch": {"b": 1}}}, ["a.b"]),
        ({"a": {"$elemMatch": {"$gt": 1}}}, ["a"]),
        ({"a": {"$elemMatch": {}}}, ["a"]),
        ({"a": {"$elemMatch": {"$comment": "x"}}}, ["a"]),
        ({"a": {"$elemMatch": {"$elemMatch": {"s": 1}}}}, ["a.s"]),
        ({"a": {"$not": {"$elemMatch": {"s": 1}}}}, ["a.s"]),
        ({"a": {"$all": []}}, ["a"]),
        ({"a": {"$all": [{"$elemMatch": {"s": 1}}, 5]}}, ["a.s", "a"]),
        ({"$expr": {"$gt": ["$a", "$$ROOT.b"]}}, ["a", "b"]),
        ({"$expr": "$$ROOT"}, [""]),
        ({"$jsonSchema": {}}, [""]),
        ({"$text": {"$search": "x"}}, [""]),
        ({"$comment": "x"}, []),
    ],
    ids=str,
)
def test_paths_of_filters(query: Document, found: list[str]) -> None:
    assert list(filter_paths(query)) == found


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("$a.b", ["a.b"]), ("a", []), ("$$CURRENT.a", ["a"]), ("$$NOW", []), ("$$x.y", []), ("$$USER_ROLES", [""]),
        ({"$literal": "$a"}, []), ({"$const": "$a"}, ["a"]), ({"$getField": "s"}, ["s"]),
        ({"$getField": {"$literal": "$s"}}, [""]),
        ({"$getField": {"field": "s", "input": "$$ROOT"}}, ["s"]), ({"$getField": {"field": "s", "input": "$n"}},
        ["n"]),
        ({"$getField": {"$concat": ["s", ""]}}, [""]), ({"$getField": "a.b"}, [""]), ({"$meta": "indexKey"}, [""]),
        ({"$meta": "textScore"}, []), ({"$meta": {"$x": 1}}, [""]), ({"$objectToArray": "$$ROOT"}, [""]),
        ({"$let": {"vars": {"x": "$$ROOT"}, "in": "$$x.s"}}, [""]), ({"$let": {"vars": {"CURRENT": "$n"},
        "in": "$s"}}, ["n", "s"]),
        ({"p": {"q": ["$a", {"r": "$b"}]}}, ["a", "b"]),
    ],
    ids=str,
)  # fmt: skip
def test_paths_of_expressions(expression: Any, found: list[str]) -> None:
    assert set(expression_paths(expression)) == set(found)


@pytest.mark.parametrize(
    ("projection", "found"),
    [
        ({"a": 1, "b.$": True}, ["a", "b"]), ({"a": 0}, []), ({"n": {"x": 1, "y": {"z": 1}}}, ["n.x", "n.y.z"]),
        ({"n": {"p": "$s"}}, ["s"]), ({"n": {"p": {"q": ["$s"]}}}, ["s"]), ({"n": {"p": {"$toUpper": "$s"}}}, ["s"]),
        ({"a": {"$slice": 1}}, ["a"]), ({"a": {"$slice": ["$s", 1]}}, ["a", "s"]), ({"a": {"$elemMatch": {"s": 1}}},
        ["a", "a.s"]),
        ({"a": "$$ROOT"}, [""]), ({"a": ["$s"]}, ["s"]),
    ],
    ids=str,
)  # fmt: skip
def test_paths_of_projections(projection: Document, found: list[str]) -> None:
    assert list(projection_paths(projection)) == found


@pytest.mark.parametrize(
    ("update", "found"),
    [
        ({"$set": {"a.$.b": 1}, "$rename": {"c": "d"}}, {"a.$.b", "c", "d"}),
        ([{"$set": {"a": 1}}, {"$unset": ["b", "c"]}], {"a", "b", "c"}),
        ([{"$replaceWith": {}}], {""}),
        ([{"$project": {"a": 1}}], {""}),
        ([{"$unset": "b"}], {"b"}),
    ],
    ids=lambda value: str(sorted(value)) if isinstance(value, set) else str(value),
)
def test_paths_of_updates(update: Any, found: set[str]) -> None:
    assert update_writes(update) == found


@pytest.mark.parametrize(
    ("query", "fails"),
    [
        ({"a": {"$gt": 1}}, False), ({"$expr": {"$gt": ["$a", {"$ifNull": ["$b", 0]}]}}, False),
        ({"$expr": {"$cond": {"if": "$a", "then": 1, "else": {"$literal": {"$toInt": 1}}}}}, False),
        ({"$expr": {"$eq": [1, {"$toInt": "$a"}]}}, True), ({"$or": [{"$expr": {"$divide": [1, "$a"]}}]}, True),
        ({"$expr": {"$in": [1, "$a"]}}, True), ({"$nor": [{"$and": [{"$expr": {"$strLenCP": "$a"}}]}]}, True),
    ],
    ids=str,
)  # fmt: skip
def test_expressions_that_can_fail(query: Document, fails: bool) -> None:
    assert may_fail(query) is fails
