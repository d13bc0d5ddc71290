"""Updates by pipelines, upserts and replacements."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from bson.objectid import ObjectId
from bson.regex import Regex
from update_checks import NOW, apply, bytes_of, check

from doorleaf.errors import DataError
from doorleaf.mql.updates.compile import replace, upsert_base

PIPELINES = [
    ({"_id": 1, "a": 1}, [{"$set": {"b": {"$add": ["$a", 1]}}}], {"_id": 1, "a": 1, "b": 2}),
    ({"_id": 1, "a": 1}, [{"$set": {"a": 1}}], None),
    ({"_id": 1, "a": 1}, [], None),
    ({"_id": 1, "a": 1, "b": 2}, [{"$unset": "a"}], {"_id": 1, "b": 2}),
    ({"_id": 1, "a": 1, "b": 2}, [{"$unset": ["a", "b"]}], {"_id": 1}),
    ({"_id": 1, "a": 1, "b": 2}, [{"$project": {"a": 1}}], {"_id": 1, "a": 1}),
    ({"_id": 1, "a": {"x": 1}}, [{"$replaceRoot": {"newRoot": "$a"}}], {"_id": 1, "x": 1}),
    ({"_id": 1, "a": {"x": 1}}, [{"$replaceWith": "$a"}], {"_id": 1, "x": 1}),
    ({"_id": 1, "a": 1}, [{"$addFields": {"b": "$$NOW"}}], {"_id": 1, "a": 1, "b": NOW}),
    ({"_id": 1, "a": 1}, [{"$set": {"a": "$$n"}}], {"_id": 1, "a": 7}),
    ({"_id": 1, "a": 1}, [{"$set": {"b": "$a"}}, {"$set": {"a": 2}}], {"_id": 1, "a": 2, "b": 1}),
    ({"_id": 1, "a": 1}, [{"$project": {"_id": 0}}], {"_id": 1, "a": 1}),
    (
        {"_id": 1, "a": 1},
        [{"$set": {"_id": 2}}],
        (66, "(immutable) field '_id' was found to have been altered to _id: 2"),
    ),
    ({"_id": 1, "a": 1}, [{"$match": {}}], (72, "$match is not allowed to be used within an update")),
    ({"_id": 1, "a": 1}, [{"$set": {"a": 1}, "$unset": "b"}], (40323, "must contain exactly one field")),
    ({"_id": 1, "a": 1}, [{"$replaceWith": "$a"}], (40228, "must evaluate to an object")),
    ({"_id": 1, "a": 1}, [5], (14, "Each element of the 'pipeline' array must be an object")),
    ({"_id": 1, "a": 1}, [{"$set": {"a": "$$undefined"}}], (17276, "Use of undefined variable: undefined")),
    ({"_id": 1}, [{"$replaceWith": {"$literal": {"$a": 1}}}], {"_id": 1, "$a": 1}),
]


@pytest.mark.parametrize(("document", "update", "expected"), PIPELINES)
def test_pipelines(document: dict[str, Any], update: Any, expected: Any) -> None:
    check(document, update, expected, variables={"n": 7})


UPSERTS = [
    ({}, {"$set": {"a": 1}}, {"a": 1}),
    ({"a": 5}, {"$set": {"b": 1}}, {"a": 5, "b": 1}),
    ({"_id": 7, "a": 5}, {"$set": {"b": 1}}, {"_id": 7, "a": 5, "b": 1}),
    ({"b": 1, "_id": 7, "a": 5}, {"$setOnInsert": {"c": 1}}, {"_id": 7, "a": 5, "b": 1, "c": 1}),
    ({"a": 5}, {"$setOnInsert": {"_id": 3}}, {"_id": 3, "a": 5}),
    ({"a": {"$eq": 5}}, {"$set": {"b": 1}}, {"a": 5, "b": 1}),
    ({"a": {"$gt": 5}}, {"$set": {"b": 1}}, {"b": 1}),
    ({"a.b": 5}, {"$set": {"a.c": 1}}, {"a": {"b": 5, "c": 1}}),
    ({"a": {"b": 5}}, {"$set": {"a.c": 1}}, {"a": {"b": 5, "c": 1}}),
    ({"$and": [{"a": 1}, {"b": {"$eq": 2}}]}, {"$set": {"c": 1}}, {"a": 1, "b": 2, "c": 1}),
    ({"$or": [{"a": 1}]}, {"$set": {"c": 1}}, {"a": 1, "c": 1}),
    ({"$or": [{"a": 1}, {"b": 1}]}, {"$set": {"c": 1}}, {"c": 1}),
    ({"a": {"$in": [4]}}, {"$set": {"c": 1}}, {"a": 4, "c": 1}),
    ({"a": {"$in": [4, 5]}}, {"$set": {"c": 1}}, {"c": 1}),
    ({"a": {"$all": [4]}}, {"$set": {"c": 1}}, {"a": 4, "c": 1}),
    ({"a": Regex("x")}, {"$set": {"c": 1}}, {"c": 1}),
    ({"a": None}, {"$set": {"c": 1}}, {"a": None, "c": 1}),
    ({"a": [1, 2]}, {"$push": {"a": 3}}, {"a": [1, 2, 3]}),
    ({"a": 5}, {"$inc": {"a": 1}}, {"a": 6}),
    ({"a": 5}, {"$unset": {"a": 1}}, {}),
    ({"_id": 1}, {"$set": {"_id": 1, "a": 1}}, {"_id": 1, "a": 1}),
    ({"_id": 1}, {"$set": {"_id": 2}}, (66, "would modify the immutable field '_id'")),
    ({"a": 1}, {"$set": {"_id": [1]}}, (53, "The '_id' value cannot be of type array")),
    ({"a": 1, "$and": [{"a": 2}]}, {"$set": {"b": 1}}, (54, "path 'a' is matched twice")),
    ({"a": 1, "a.b": 2}, {"$set": {"b": 1}}, (54, "both paths 'a.b' and 'a' are matched")),
    ({"a": {"$all": [1, 2]}}, {"$set": {"b": 1}}, (54, "path 'a' is matched twice")),
    (
        {"$expr": {"$eq": ["$a", 1]}},
        {"$set": {"b": 1}},
        (224, "$expr is not allowed in the query predicate for an upsert"),
    ),
    ({"a": 1}, [{"$set": {"b": "$a"}}], {"a": 1, "b": 1}),
    ({"_id": 1}, [{"$replaceWith": {"b": 1}}], {"_id": 1, "b": 1}),
    ({"a": 1}, {"$set": {"x.$[]": 1}}, (2, "must exist in the document")),
]


@pytest.mark.parametrize(("filter", "update", "expected"), UPSERTS)
def test_upserts(filter: dict[str, Any], update: Any, expected: Any) -> None:
    if isinstance(expected, tuple):
        with pytest.raises(DataError) as caught:
            apply(upsert_base(filter), update, inserting=True)
        assert caught.value.number == expected[0]
        assert expected[1] in caught.value.message
        return
    result = apply(upsert_base(filter), update, inserting=True)
    assert next(iter(result)) == "_id"
    if "_id" not in expected:
        assert isinstance(result.pop("_id"), ObjectId)
    assert bytes_of(result) == bytes_of(expected)


REPLACEMENTS = [
    ({"_id": 1, "a": 1}, {"b": 2}, {"_id": 1, "b": 2}),
    ({"_id": 1, "a": 1}, {}, {"_id": 1}),
    ({"_id": 1, "a": 1}, {"b": 2, "_id": 1}, {"_id": 1, "b": 2}),
    ({"_id": 1, "a": 1}, {"b": 2, "_id": 1.0}, {"_id": 1.0, "b": 2}),
    ({"_id": 1, "a": 1}, {"_id": 1, "a": 1}, None),
    ({"_id": 1, "a": 1}, {"_id": 2}, (66, "(immutable) field '_id' was found to have been altered to _id: 2")),
    ({"_id": 1, "a": 1}, {"a": {"$b": 1}}, {"_id": 1, "a": {"$b": 1}}),
    ({"_id": 1, "a": 1}, {"$set": {"a": 1}}, (52, "The dollar ($) prefixed field '$set' in '$set' is not allowed")),
    ({"_id": 1, "a": 1}, {"a": 1, "$x": 1}, (52, "The dollar ($) prefixed field '$x'")),
    ({"_id": 1}, {"$ref": "c", "$id": 1}, {"_id": 1, "$ref": "c", "$id": 1}),
    ({"_id": 1}, {"$ref": 5, "$id": 1}, (55, "The DBRef $ref field must be a String, not a int")),
    ({"_id": 1}, {"$ref": "c"}, (55, "The DBRef $ref field must be followed by a $id field")),
    ({"_id": 1}, {"$db": "c"}, (55, "Found $db field without a $id before it")),
]


@pytest.mark.parametrize(("document", "replacement", "expected"), REPLACEMENTS)
def test_replacements(document: dict[str, Any], replacement: dict[str, Any], expected: Any) -> None:
    before = copy.deepcopy((document, replacement))
    if isinstance(expected, tuple):
        with pytest.raises(DataError) as caught:
            replace(document, replacement)
        assert caught.value.number == expected[0]
        assert expected[1] in caught.value.message
    else:
        result = replace(document, replacement)
        if expected is None:
            assert result is document
        else:
            assert bytes_of(result) == bytes_of(expected)
    assert (document, replacement) == before


def test_replacement_upserts_take_the_id_of_the_filter_alone() -> None:
    base = upsert_base({"_id": 5, "a": 1}, replacing=True)
    assert replace(base, {"b": 1}, inserting=True) == {"_id": 5, "b": 1}
    made = replace(upsert_base({"a": 1}, replacing=True), {"b": 1}, inserting=True)
    assert list(made) == ["_id", "b"]
    assert isinstance(made["_id"], ObjectId)
    with pytest.raises(DataError) as caught:
        upsert_base({"_id.x": 5}, replacing=True)
    assert caught.value.number == 111
    with pytest.raises(DataError) as caught:
        replace({}, {"_id": [1]}, inserting=True)
    assert caught.value.number == 53
