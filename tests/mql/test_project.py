"""Projections: what comes out, in which order, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from bson import DBRef, Decimal128, Int64, ObjectId

from doorleaf.errors import DataError, Unsupported
from doorleaf.mql.context import Context
from doorleaf.mql.projections.compile import compile_project, compile_projection, is_inclusion

Row = tuple[dict[str, Any], dict[str, Any], dict[str, Any]]

INCLUSION: list[Row] = [
    ({"a": 1}, {"_id": 7, "a": 1, "b": 2}, {"_id": 7, "a": 1}),
    ({"a": True}, {"_id": 7, "a": 1, "b": 2}, {"_id": 7, "a": 1}),
    ({"a": 2.5}, {"_id": 7, "a": 1, "b": 2}, {"_id": 7, "a": 1}),
    ({"a": Int64(1)}, {"a": 1, "b": 2}, {"a": 1}),
    ({"a": Decimal128("1")}, {"a": 1, "b": 2}, {"a": 1}),
    ({"a": -1}, {"a": 1, "b": 2}, {"a": 1}),
    ({"a": 1, "_id": 0}, {"_id": 7, "a": 1, "b": 2}, {"a": 1}),
    ({"_id": 0, "a": 1}, {"_id": 7, "a": 1, "b": 2}, {"a": 1}),
    ({"_id": 1}, {"_id": 7, "a": 1}, {"_id": 7}),
    ({"b": 1, "a": 1}, {"_id": 7, "a": 1, "b": 2}, {"_id": 7, "a": 1, "b": 2}),
    ({"a": 1}, {"a": 1, "_id": 7}, {"a": 1, "_id": 7}),
    ({"z": 1}, {"_id": 7, "a": 1}, {"_id": 7}),
    ({"a.b": 1}, {"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 1}}),
    ({"a.b": 1}, {"a": {"c": 2}}, {"a": {}}),
    ({"a.b": 1}, {"a": 5}, {}),
    ({"a.b": 1}, {"a": None}, {}),
    ({"a.b": 1}, {"a": []}, {"a": []}),
    ({"a.b": 1}, {"a": [{"b": 1, "c": 2}, {"c": 3}, 5, {"b": [1]}]}, {"a": [{"b": 1}, {}, {"b": [1]}]}),
    ({"a.b": 1}, {"a": [[{"b": 1, "c": 2}, 5], 6]}, {"a": [[{"b": 1}]]}),
    ({"a.b.c": 1}, {"a": [{"b": [{"c": 1, "d": 2}]}]}, {"a": [{"b": [{"c": 1}]}]}),
    ({"a.0": 1}, {"a": [1, 2]}, {"a": []}),
    ({"a.0": 1}, {"a": {"0": 5, "1": 6}}, {"a": {"0": 5}}),
    ({"a": {"b": 1}}, {"a": {"b": 1, "c": 2}}, {"a": {"b": 1}}),
    ({"a": {"b": 1, "c": {"d": 1}}}, {"a": {"b": 1, "c": {"d": 2, "e": 3}}}, {"a": {"b": 1, "c": {"d": 2}}}),
    ({"a": {"b.c": 1}}, {"a": {"b": {"c": 1, "d": 2}}}, {"a": {"b": {"c": 1}}}),
    ({"a": {"b": 1}, "a.c": 1}, {"a": {"b": 1, "c": 2, "d": 3}}, {"a": {"b": 1, "c": 2}}),
    ({"a.c": 1, "a.b": 1}, {"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 2}}),
    ({"_id.x": 1}, {"_id": {"x": 1, "y": 2}, "a": 1}, {"_id": {"x": 1}}),
    ({"a.$id": 1}, {"a": DBRef("c", 1)}, {"a": {"$id": 1}}),
    ({"a": 1}, {"a": DBRef("c", 1)}, {"a": DBRef("c", 1)}),
]

EXCLUSION: list[Row] = [
    ({"a": 0}, {"_id": 7, "a": 1, "b": 2}, {"_id": 7, "b": 2}),
    ({"a": False}, {"_id": 7, "a": 1}, {"_id": 7}),
    ({"a": 0.0}, {"_id": 7, "a": 1}, {"_id": 7}),
    ({"a": Decimal128("0")}, {"_id": 7, "a": 1}, {"_id": 7}),
    ({"_id": 0}, {"_id": 7, "a": 1}, {"a": 1}),
    ({"_id": 0, "a": 0}, {"_id": 7, "a": 1, "b": 2}, {"b": 2}),
    ({"_id": 1, "a": 0}, {"_id": 7, "a": 1, "b": 2}, {"_id": 7, "b": 2}),
    ({"a.b": 0}, {"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"c": 2}, "d": 3}),
    ({"a.b": 0}, {"a": 5}, {"a": 5}),
    ({"a.b": 0}, {"a": [{"b": 1, "c": 2}, 5, [{"b": 1}]]}, {"a": [{"c": 2}, 5, [{}]]}),
    ({"a": {"b": 0}}, {"a": {"b": 1, "c": 2}}, {"a": {"c": 2}}),
    ({"a.b": 0, "c": 0}, {"a": {"b": 1}, "c": 1}, {"a": {}}),
    ({"z": 0}, {"a": 1}, {"a": 1}),
    ({"a.0": 0}, {"a": [1, 2]}, {"a": [1, 2]}),
    ({"a.$id": 0}, {"a": DBRef("c", 1)}, {"a": {"$ref": "c"}}),
    ({"_id.x": 0}, {"_id": {"x": 1, "y": 2}}, {"_id": {"y": 2}}),
]

SLICES: list[Row] = [
    ({"a": {"$slice": 2}}, {"_id": 7, "a": [1, 2, 3], "b": 1}, {"_id": 7, "a": [1, 2], "b": 1}),
    ({"a": {"$slice": -2}}, {"a": [1, 2, 3]}, {"a": [2, 3]}),
    ({"a": {"$slice": 0}}, {"a": [1, 2, 3]}, {"a": []}),
    ({"a": {"$slice": 9}}, {"a": [1]}, {"a": [1]}),
    ({"a": {"$slice": -9}}, {"a": [1]}, {"a": [1]}),
    ({"a": {"$slice": [1, 2]}}, {"a": [1, 2, 3, 4]}, {"a": [2, 3]}),
    ({"a": {"$slice": [-3, 2]}}, {"a": [1, 2, 3, 4]}, {"a": [2, 3]}),
    ({"a": {"$slice": [-9, 2]}}, {"a": [1, 2, 3]}, {"a": [1, 2]}),
    ({"a": {"$slice": [9, 2]}}, {"a": [1]}, {"a": []}),
    ({"a": {"$slice": 1.9}}, {"a": [1, 2]}, {"a": [1]}),
    ({"a": {"$slice": 1}}, {"a": 5}, {"a": 5}),
    ({"a": {"$slice": 1}}, {"b": 5}, {"b": 5}),
    ({"a": {"$slice": 1}, "b": 1}, {"_id": 7, "a": [1, 2], "b": 1, "c": 1}, {"_id": 7, "a": [1], "b": 1}),
    ({"a": {"$slice": 1}, "b": 0}, {"_id": 7, "a": [1, 2], "b": 1, "c": 1}, {"_id": 7, "a": [1], "c": 1}),
    ({"a": {"$slice": 1}, "_id": 1}, {"_id": 7, "a": [1, 2], "b": 1}, {"_id": 7, "a": [1]}),
    ({"a": {"$slice": 1}, "_id": 0}, {"_id": 7, "a": [1, 2], "b": 1}, {"a": [1], "b": 1}),
    ({"a.b": {"$slice": 1}}, {"a": {"b": [1, 2], "c": 3}}, {"a": {"b": [1], "c": 3}}),
    ({"a.b": {"$slice": 1}}, {"a": [{"b": [1, 2]}, 5, {"c": 1}]}, {"a": [{"b": [1]}, 5, {"c": 1}]}),
    ({"a.b": {"$slice": 1}, "c": 1}, {"a": {"b": [1, 2], "d": 3}, "c": 1}, {"a": {"b": [1]}, "c": 1}),
    ({"a": {"b": {"$slice": 1}}}, {"a": {"b": [1, 2], "c": 3}}, {"a": {"b": [1], "c": 3}}),
    ({"a": {"$slice": ["$a", 1]}}, {"_id": 7, "a": [1, 2], "b": 1}, {"_id": 7, "a": [1]}),
]

ELEMENTS: list[Row] = [
    ({"a": {"$elemMatch": {"$gt": 1}}}, {"_id": 7, "a": [1, 2, 3], "b": 1}, {"_id": 7, "a": [2]}),
    (
        {"a": {"$elemMatch": {"b": 2}}},
        {"_id": 7, "a": [{"b": 1}, {"b": 2, "c": 1}, {"b": 2}]},
        {"_id": 7, "a": [{"b": 2, "c": 1}]},
    ),
    ({"a": {"$elemMatch": {"b": 9}}}, {"_id": 7, "a": [{"b": 1}]}, {"_id": 7}),
    ({"a": {"$elemMatch": {"b": 9}}}, {"_id": 7, "a": 5}, {"_id": 7}),
    ({"a": {"$elemMatch": {"b": 9}}}, {"_id": 7}, {"_id": 7}),
    ({"_id": 0, "a": {"$elemMatch": {"$gt": 1}}}, {"_id": 7, "a": [1, 2], "b": 1}, {"a": [2]}),
    ({"a": {"$elemMatch": {"$gt": 1}}, "b": 1}, {"_id": 7, "a": [1, 2], "b": 1}, {"_id": 7, "b": 1, "a": [2]}),
    ({"a": {"$elemMatch": {"$gt": 1}}, "b": 0}, {"_id": 7, "a": [1, 2], "b": 1, "c": 1}, {"_id": 7, "a": [2], "c": 1}),
]

COMPUTED: list[Row] = [
    ({"c": {"$add": ["$a", 1]}}, {"_id": 7, "a": 1}, {"_id": 7, "c": 2}),
    ({"c": "$a"}, {"_id": 7, "a": 1}, {"_id": 7, "c": 1}),
    ({"c": "$a.b"}, {"a": [{"b": 1}, {"b": 2}]}, {"c": [1, 2]}),
    ({"c": "text"}, {"_id": 7, "a": 1}, {"_id": 7, "c": "text"}),
    ({"c": None}, {"_id": 7}, {"_id": 7, "c": None}),
    ({"c": ["$a", 5]}, {"a": 1}, {"c": [1, 5]}),
    ({"c": {"$literal": 1}}, {"a": 1}, {"c": 1}),
    ({"c": {"$literal": {"$x": 1}}}, {"a": 1}, {"c": {"$x": 1}}),
    ({"c": "$missing", "a": 1}, {"_id": 7, "a": 1}, {"_id": 7, "a": 1}),
    ({"b": 1, "z": "$a", "y": "$b"}, {"_id": 7, "a": 1, "b": 2}, {"_id": 7, "b": 2, "z": 1, "y": 2}),
    ({"a": "$b", "b": "$a"}, {"_id": 7, "a": 1, "b": 2}, {"_id": 7, "a": 2, "b": 1}),
    ({"_id": "$a"}, {"_id": 7, "a": 1}, {"_id": 1}),
    ({"_id": 0, "c": "$a"}, {"_id": 7, "a": 1}, {"c": 1}),
    ({"a.b": "$x"}, {"a": {"c": 1}, "x": 5}, {"a": {"b": 5}}),
    ({"a.b": "$x", "a.c": 1}, {"a": {"c": 1, "d": 2}, "x": 5}, {"a": {"c": 1, "b": 5}}),
    ({"a.b": "$x"}, {"a": [{"c": 1}, 7], "x": 5}, {"a": [{"b": 5}, {"b": 5}]}),
    ({"a.b": "$x"}, {"x": 5}, {"a": {"b": 5}}),
    ({"a.b": "$x"}, {"a": 1, "x": 5}, {"a": {"b": 5}}),
    ({"a": {"b": "$x", "c": {"d": "$x"}}}, {"x": 5}, {"a": {"b": 5, "c": {"d": 5}}}),
    (
        {"a": {"b": 1, "n": "$x"}},
        {"a": [{"b": 1, "c": 2}, {"b": 3}], "x": 5},
        {"a": [{"b": 1, "n": 5}, {"b": 3, "n": 5}]},
    ),
    ({"c": "$$ROOT"}, {"a": 1}, {"c": {"a": 1}}),
    ({"c": {"$concatArrays": ["$a", [3]]}}, {"a": [1]}, {"c": [1, 3]}),
]

AREAS = {
    "inclusion": INCLUSION,
    "exclusion": EXCLUSION,
    "slices": SLICES,
    "elements": ELEMENTS,
    "computed": COMPUTED,
}


def same(left: Any, right: Any) -> bool:
    """Equal with the same order of fields."""
    return repr(left) == repr(right)


@pytest.mark.parametrize("area", AREAS)
def test_projections(area: str) -> None:
    for projection, document, expected in AREAS[area]:
        before = repr(document)
        project = compile_projection(projection, Context())
        assert project is not None
        assert same(project(document), expected), (projection, project(document))
        assert repr(document) == before, projection


@pytest.mark.parametrize("area", ["inclusion", "exclusion", "computed"])
def test_project_stage(area: str) -> None:
    """The stage has the rules of ``find`` for what both have."""
    for projection, document, expected in AREAS[area]:
        assert same(compile_project(projection, Context())(document), expected), projection


def test_slice_in_a_stage_is_the_expression() -> None:
    assert compile_project({"a": {"$slice": ["$a", 1]}}, Context())({"a": [1, 2], "b": 1}) == {"a": [1]}


@pytest.mark.parametrize("projection", [None, {}])
def test_no_projection(projection: Any) -> None:
    assert compile_projection(projection, Context()) is None
    assert not is_inclusion(projection)


POSITIONAL: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ({"a.$": 1}, {"a": 2}, {"_id": 7, "a": [1, 2, 3], "b": 1}, {"_id": 7, "a": [2]}),
    ({"a.$": 1}, {"a": {"$gt": 1}}, {"a": [1, 2, 3]}, {"a": [2]}),
    ({"a.$": 1, "_id": 0}, {"a.b": 2}, {"_id": 7, "a": [{"b": 1}, {"b": 2, "c": 3}]}, {"a": [{"b": 2, "c": 3}]}),
    ({"a.$": 1}, {"a": {"$elemMatch": {"b": 2}}}, {"a": [{"b": 1}, {"b": 2}]}, {"a": [{"b": 2}]}),
    ({"a.b.$": 1}, {"a.b": 2}, {"a": {"b": [1, 2], "c": 1}}, {"a": {"b": [2]}}),
    ({"a.b.$": 1}, {"a.b": 2}, {"a": [{"b": 1, "c": 1}, {"b": 2, "c": 2}]}, {"a": [{"b": 2}]}),
    ({"a.$": 1, "b": 1}, {"a": 2}, {"a": [1, 2], "b": 5, "c": 6}, {"a": [2], "b": 5}),
    ({"a.$": 1}, {"a": 2}, {"a": 2}, {"a": 2}),
    ({"a.$": 1}, {"b": 1, "a": 3}, {"a": [1, 3], "b": 1}, {"a": [3]}),
    ({"a.$": 1}, {"$and": [{"a": 3}]}, {"a": [1, 3]}, {"a": [3]}),
]


@pytest.mark.parametrize(("projection", "condition", "document", "expected"), POSITIONAL)
def test_positional(projection: Any, condition: Any, document: Any, expected: Any) -> None:
    before = repr(document)
    project = compile_projection(projection, Context(), filter=condition)
    assert project is not None
    assert same(project(document), expected)
    assert repr(document) == before


def test_positional_without_an_element() -> None:
    project = compile_projection({"a.$": 1}, Context(), filter={"a": {"$ne": 5}})
    assert project is not None
    with pytest.raises(DataError, match="couldn't find a matching element") as caught:
        project({"a": [1]})
    assert caught.value.number == 51246


REFUSALS: list[tuple[dict[str, Any], int, str]] = [
    ({"a": 1, "b": 0}, 31254, "Cannot do exclusion on field b in inclusion projection"),
    ({"a": 0, "b": 1}, 31253, "Cannot do inclusion on field b in exclusion projection"),
    ({"a": {"b": 1, "c": 0}}, 31254, "Cannot do exclusion on field c in inclusion projection"),
    ({"a": 1, "_id.x": 0}, 31254, "Cannot do exclusion on field _id.x in inclusion projection"),
    ({"a": 1, "a.b": 1}, 31249, "Path collision at a.b remaining portion b"),
    ({"a.b": 1, "a": 1}, 31250, "Path collision at a"),
    ({"a.b": 1, "a.b.c.d": 1}, 31249, "Path collision at a.b.c.d remaining portion c.d"),
    ({"a": {"b": 1}, "a.b": 1}, 31250, "Path collision at a.b"),
    ({"a": "$x", "a.b": 1}, 31249, "Path collision at a.b remaining portion b"),
    ({"": 1}, 40352, "FieldPath cannot be constructed with empty string"),
    ({"a.": 1}, 40353, "FieldPath must not end with a '.'."),
    ({"a..b": 1}, 15998, "FieldPath field names may not be empty strings."),
    ({"$a": 1}, 16410, "FieldPath field names may not start with '$'."),
    ({"a.$b": 1}, 16410, "FieldPath field names may not start with '$'."),
    ({"a": {"b": 1, "$c": 1}}, 16410, "FieldPath field names may not start with '$'."),
    ({"a": {}}, 51270, "An empty sub-projection is not a valid value."),
    ({"a": {"$foo": 1}}, 31325, "Unknown expression $foo"),
    ({"a": 0, "b": {"$add": [1, 2]}}, 31252, "Cannot use expression other than $meta in exclusion projection"),
    ({"a": {"$add": [1, 2]}, "b": 0}, 31254, "Cannot do exclusion on field b in inclusion projection"),
    ({"a": 0, "b": "x"}, 31310, 'Cannot use an expression b: "x" in an exclusion projection'),
    ({"a": {"$elemMatch": 1}}, 31274, "elemMatch: Invalid argument, object required, but got int"),
    ({"a.b": {"$elemMatch": {"c": 1}}}, 31275, "Cannot use $elemMatch projection on a nested field."),
    ({"a": {"b": {"$elemMatch": {"c": 1}}}}, 31275, "Cannot use $elemMatch projection on a nested field."),
    ({"a": {"$elemMatch": {"$foo": 1}}}, 2, "unknown operator: $foo"),
    ({"a.$": 1, "b.$": 1}, 31276, "Cannot specify more than one positional projection per query."),
    ({"a": {"$elemMatch": {"c": 1}}, "b.$": 1}, 31256, "Cannot specify positional operator and $elemMatch."),
    ({"b.$": 1, "a": {"$elemMatch": {"c": 1}}}, 31255, "Cannot specify positional operator and $elemMatch."),
    ({"a.$.b": 1}, 31394, "it's illegal to specify positional operator in the middle of a path"),
    ({"a.$": {"b": 1}}, 31271, "positional projection cannot be used with an expression or sub object"),
    ({"a.$": "x"}, 31308, "positional projection cannot be used with a literal"),
    ({"z.$": 1}, 31277, "Positional projection 'z.$' does not match the query document."),
    ({"a": {"$slice": "x"}}, 28667, "Invalid $slice syntax"),
    ({"a": {"$slice": [1, 2, 3, 4]}}, 28667, "Location31272: $slice array argument should be of form [skip, limit]"),
]


@pytest.mark.parametrize(("projection", "number", "text"), REFUSALS)
def test_malformed_projections(projection: Any, number: int, text: str) -> None:
    with pytest.raises(DataError) as caught:
        compile_projection(projection, Context(), filter={"a": 1, "b": 1})
    assert (caught.value.number, text in caught.value.message) == (number, True), caught.value.message


@pytest.mark.parametrize(
    ("specification", "number", "text"),
    [
        ({"a": 1, "b": 0}, 31254, "Invalid $project :: caused by :: Cannot do exclusion on field b in inclusion"),
        ({}, 51272, "Invalid $project :: caused by :: projection specification must have at least one field"),
        ({"a.$": 1}, 31324, "Cannot use positional projection in aggregation projection"),
        ({"a": {"$elemMatch": {"b": 1}}}, 168, "Cannot use $elemMatch in this context"),
        ({"a": {"$slice": 1}}, 28667, "Expression $slice takes at least 2 arguments"),
        ([], 15969, "$project specification must be an object"),
    ],
)
def test_malformed_stages(specification: Any, number: int, text: str) -> None:
    with pytest.raises(DataError) as caught:
        compile_project(specification, Context())
    assert (caught.value.number, text in caught.value.message) == (number, True), caught.value.message


def test_what_is_refused_by_name() -> None:
    with pytest.raises(Unsupported, match=r"\$meta"):
        compile_projection({"score": {"$meta": "textScore"}}, Context())


def test_positional_needs_a_filter() -> None:
    with pytest.raises(DataError) as caught:
        compile_projection({"a.$": 1}, Context())
    assert caught.value.number == 51050


def test_projection_that_is_no_document() -> None:
    with pytest.raises(DataError, match="must be an object"):
        compile_projection([], Context())  # type: ignore[arg-type]


def test_variables() -> None:
    project = compile_projection({"c": {"$add": ["$a", "$$n"]}}, Context(), variables={"n": 5})
    assert project is not None
    assert project({"_id": 7, "a": 1}) == {"_id": 7, "c": 6}
    assert compile_project({"c": "$$n"}, Context(), {"n": 5})({"a": 1}) == {"c": 5}


@pytest.mark.parametrize(
    ("projection", "expected"),
    [
        ({"a": 1}, True),
        ({"a": 0}, False),
        ({"_id": 1}, True),
        ({"_id": 0}, False),
        ({"_id": 0, "a": 1}, True),
        ({"_id": 1, "a": 0}, False),
        ({"a": {"$slice": 1}}, False),
        ({"a": {"$slice": 1}, "_id": 1}, True),
        ({"a": {"$elemMatch": {"b": 1}}}, True),
        ({"a": "$b"}, True),
        ({"a.$": 1}, True),
        ({"a": {"b": 0}}, False),
    ],
)
def test_kinds(projection: Any, expected: bool) -> None:
    assert is_inclusion(projection) is expected


def test_results_can_be_changed_at_the_top() -> None:
    document = {"_id": ObjectId(), "a": {"b": 1}}
    for projection in ({"a": 1}, {"z": 0}, {"a": {"b": 1}}):
        project = compile_projection(projection, Context())
        assert project is not None
        project(document)["new"] = 1
    assert "new" not in document
