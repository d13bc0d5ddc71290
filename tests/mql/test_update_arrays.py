"""Updates of arrays: operators, positions and array filters."""

from __future__ import annotations

from typing import Any

import pytest
from bson.regex import Regex
from update_checks import L, Rows, check

ARRAYS: Rows = [
    # $push
    ({"_id": 1}, {"$push": {"a": 1}}, {"_id": 1, "a": [1]}),
    ({"_id": 1, "a": [1]}, {"$push": {"a": 1}}, {"_id": 1, "a": [1, 1]}),
    ({"_id": 1, "a": [1]}, {"$push": {"a": [2, 3]}}, {"_id": 1, "a": [1, [2, 3]]}),
    ({"_id": 1}, {"$push": {"a.b": {"x": 1}}}, {"_id": 1, "a": {"b": [{"x": 1}]}}),
    ({"_id": 1, "a": [1]}, {"$push": {"a": {"$each": [2, 3]}}}, {"_id": 1, "a": [1, 2, 3]}),
    ({"_id": 1, "a": [1]}, {"$push": {"a": {"$each": []}}}, None),
    ({"_id": 1}, {"$push": {"a": {"$each": []}}}, {"_id": 1, "a": []}),
    ({"_id": 1, "a": [1, 2]}, {"$push": {"a": {"$each": [9], "$position": 0}}}, {"_id": 1, "a": [9, 1, 2]}),
    ({"_id": 1, "a": [1, 2]}, {"$push": {"a": {"$each": [9, 8], "$position": 1}}}, {"_id": 1, "a": [1, 9, 8, 2]}),
    ({"_id": 1, "a": [1, 2]}, {"$push": {"a": {"$each": [9], "$position": 99}}}, {"_id": 1, "a": [1, 2, 9]}),
    ({"_id": 1, "a": [1, 2]}, {"$push": {"a": {"$each": [9], "$position": -1}}}, {"_id": 1, "a": [1, 9, 2]}),
    ({"_id": 1, "a": [1, 2]}, {"$push": {"a": {"$each": [9], "$position": -9}}}, {"_id": 1, "a": [9, 1, 2]}),
    ({"_id": 1, "a": [1, 2]}, {"$push": {"a": {"$each": [3], "$slice": 2}}}, {"_id": 1, "a": [1, 2]}),
    ({"_id": 1, "a": [1, 2]}, {"$push": {"a": {"$each": [3], "$slice": -2}}}, {"_id": 1, "a": [2, 3]}),
    ({"_id": 1, "a": [1, 2]}, {"$push": {"a": {"$each": [3], "$slice": 0}}}, {"_id": 1, "a": []}),
    ({"_id": 1, "a": [1, 2]}, {"$push": {"a": {"$each": [], "$slice": 1}}}, {"_id": 1, "a": [1]}),
    ({"_id": 1, "a": [1, 2]}, {"$push": {"a": {"$each": [], "$slice": 5.0}}}, None),
    ({"_id": 1, "a": [3, 1]}, {"$push": {"a": {"$each": [2], "$sort": 1}}}, {"_id": 1, "a": [1, 2, 3]}),
    ({"_id": 1, "a": [3, 1]}, {"$push": {"a": {"$each": [2], "$sort": -1}}}, {"_id": 1, "a": [3, 2, 1]}),
    ({"_id": 1, "a": [1, "x", None]}, {"$push": {"a": {"$each": [], "$sort": 1}}}, {"_id": 1, "a": [None, 1, "x"]}),
    (
        {"_id": 1, "a": [{"k": 2, "v": 1}, {"k": 1, "v": 2}]},
        {"$push": {"a": {"$each": [{"k": 3, "v": 0}], "$sort": {"k": -1}, "$slice": 2}}},
        {"_id": 1, "a": [{"k": 3, "v": 0}, {"k": 2, "v": 1}]},
    ),
    (
        {"_id": 1, "a": [{"k": {"x": 2}}, 5, {"k": {"x": 1}}]},
        {"$push": {"a": {"$each": [], "$sort": {"k.x": 1}}}},
        {"_id": 1, "a": [5, {"k": {"x": 1}}, {"k": {"x": 2}}]},
    ),
    (
        {"_id": 1, "a": [{"k": 1, "v": 1}, {"k": 1, "v": 2}, {"k": 0, "v": 3}]},
        {"$push": {"a": {"$each": [], "$sort": {"k": 1, "v": -1}}}},
        {"_id": 1, "a": [{"k": 0, "v": 3}, {"k": 1, "v": 2}, {"k": 1, "v": 1}]},
    ),
    (
        {"_id": 1, "a": 5},
        {"$push": {"a": 1}},
        (2, "The field 'a' must be an array but is of type int in document {_id: 1}"),
    ),
    ({"_id": 1}, {"$push": {"a": {"$each": 5}}}, (2, "must be an array but it was of type: int")),
    ({"_id": 1}, {"$push": {"a": {"$each": [], "x": 1}}}, (2, "Unrecognized clause in $push: x")),
    ({"_id": 1}, {"$push": {"a": {"$each": [], "$slice": "x"}}}, (2, "The value for $slice must be an integer value")),
    ({"_id": 1}, {"$push": {"a": {"$each": [], "$slice": 1.5}}}, (2, "was given type: double")),
    ({"_id": 1}, {"$push": {"a": {"$each": [], "$position": None}}}, (2, "The value for $position must be an integer")),
    ({"_id": 1}, {"$push": {"a": {"$each": [], "$sort": 2}}}, (2, "The sort element value must be either 1 or -1")),
    ({"_id": 1}, {"$push": {"a": {"$each": [], "$sort": "x"}}}, (2, "The $sort is invalid")),
    ({"_id": 1}, {"$push": {"a": {"$each": [], "$sort": {}}}}, (2, "The sort pattern is empty")),
    ({"_id": 1}, {"$push": {"a": {"$each": [], "$sort": {"x": 3}}}}, (2, "must be either 1 or -1")),
    ({"_id": 1}, {"$push": {"a": {"$each": [], "$sort": {"x..y": 1}}}}, (2, "has an empty part: x..y")),
    ({"_id": 1, "a": [[1]]}, {"$push": {"a.0": 2}}, {"_id": 1, "a": [[1, 2]]}),
    # $addToSet
    ({"_id": 1}, {"$addToSet": {"a": 1}}, {"_id": 1, "a": [1]}),
    ({"_id": 1, "a": [1]}, {"$addToSet": {"a": 1}}, None),
    ({"_id": 1, "a": [1]}, {"$addToSet": {"a": 1.0}}, None),
    ({"_id": 1, "a": [1]}, {"$addToSet": {"a": True}}, {"_id": 1, "a": [1, True]}),
    ({"_id": 1, "a": [1]}, {"$addToSet": {"a": "1"}}, {"_id": 1, "a": [1, "1"]}),
    ({"_id": 1, "a": [1, 1]}, {"$addToSet": {"a": 2}}, {"_id": 1, "a": [1, 1, 2]}),
    ({"_id": 1, "a": [1]}, {"$addToSet": {"a": {"$each": [3, 1, 2, 3]}}}, {"_id": 1, "a": [1, 3, 2]}),
    ({"_id": 1}, {"$addToSet": {"a": {"$each": [2, 2, 1]}}}, {"_id": 1, "a": [2, 1]}),
    ({"_id": 1}, {"$addToSet": {"a": {"$each": []}}}, {"_id": 1, "a": []}),
    ({"_id": 1, "a": [1]}, {"$addToSet": {"a": [1]}}, {"_id": 1, "a": [1, [1]]}),
    ({"_id": 1, "a": [{"x": 1, "y": 2}]}, {"$addToSet": {"a": {"x": 1, "y": 2}}}, None),
    (
        {"_id": 1, "a": [{"x": 1, "y": 2}]},
        {"$addToSet": {"a": {"y": 2, "x": 1}}},
        {"_id": 1, "a": [{"x": 1, "y": 2}, {"y": 2, "x": 1}]},
    ),
    ({"_id": 1, "a": 5}, {"$addToSet": {"a": 1}}, (2, "Field named 'a' has non-array type int")),
    ({"_id": 1}, {"$addToSet": {"a": {"$each": 1}}}, (14, "must be an array but it was of type int")),
    ({"_id": 1}, {"$addToSet": {"a": {"$each": [], "x": 1}}}, (2, "Found unexpected fields after $each in $addToSet")),
    # $pop
    ({"_id": 1, "a": [1, 2, 3]}, {"$pop": {"a": 1}}, {"_id": 1, "a": [1, 2]}),
    ({"_id": 1, "a": [1, 2, 3]}, {"$pop": {"a": -1}}, {"_id": 1, "a": [2, 3]}),
    ({"_id": 1, "a": [1]}, {"$pop": {"a": 1.0}}, {"_id": 1, "a": []}),
    ({"_id": 1, "a": []}, {"$pop": {"a": 1}}, None),
    ({"_id": 1}, {"$pop": {"a": 1}}, None),
    ({"_id": 1, "a": {}}, {"$pop": {"a.b.c": 1}}, None),
    ({"_id": 1, "a": 5}, {"$pop": {"a": 1}}, (14, "Path 'a' contains an element of non-array type 'int'")),
    (
        {"_id": 1, "a": 5},
        {"$pop": {"a.b": 1}},
        (28, "Cannot use the part (b) of (a.b) to traverse the element ({a: 5})"),
    ),
    ({"_id": 1, "a": [1]}, {"$pop": {"a": 2}}, (9, "$pop expects 1 or -1, found: 2")),
    ({"_id": 1, "a": [1]}, {"$pop": {"a": "x"}}, (9, 'Expected a number in: a: "x"')),
    ({"_id": 1, "a": [1]}, {"$pop": {"a": 1.5}}, (9, "Expected an integer: a: 1.5")),
    # $pull
    ({"_id": 1, "a": [1, 2, 1]}, {"$pull": {"a": 1}}, {"_id": 1, "a": [2]}),
    ({"_id": 1, "a": [1, 2]}, {"$pull": {"a": 9}}, None),
    ({"_id": 1, "a": [1.0, L(1), True]}, {"$pull": {"a": 1}}, {"_id": 1, "a": [True]}),
    ({"_id": 1, "a": [1, 5, 9]}, {"$pull": {"a": {"$gt": 4}}}, {"_id": 1, "a": [1]}),
    ({"_id": 1, "a": [1, 5, 9]}, {"$pull": {"a": {"$in": [1, 9]}}}, {"_id": 1, "a": [5]}),
    ({"_id": 1, "a": [1, None]}, {"$pull": {"a": None}}, {"_id": 1, "a": [1]}),
    ({"_id": 1, "a": ["ab", "cd", 1]}, {"$pull": {"a": Regex("^a")}}, {"_id": 1, "a": ["cd", 1]}),
    ({"_id": 1, "a": [{"x": 1, "y": 2}, {"x": 2}]}, {"$pull": {"a": {"x": 1}}}, {"_id": 1, "a": [{"x": 2}]}),
    ({"_id": 1, "a": [{"x": 1}, {"x": 5}]}, {"$pull": {"a": {"x": {"$gte": 5}}}}, {"_id": 1, "a": [{"x": 1}]}),
    ({"_id": 1, "a": [{"x": 1}, 5]}, {"$pull": {"a": {"x": {"$ne": 1}}}}, None),
    ({"_id": 1, "a": [{"x": 1}, {"x": 2}, 3]}, {"$pull": {"a": {"$or": [{"x": 1}, {"x": 2}]}}}, {"_id": 1, "a": [3]}),
    ({"_id": 1, "a": [{"x": 1}, 5]}, {"$pull": {"a": {}}}, {"_id": 1, "a": [5]}),
    ({"_id": 1, "a": [[1], [2], 1]}, {"$pull": {"a": [1]}}, {"_id": 1, "a": [[2], 1]}),
    ({"_id": 1, "a": [{"r": [{"q": 1}]}]}, {"$pull": {"a": {"r": {"$elemMatch": {"q": 1}}}}}, {"_id": 1, "a": []}),
    ({"_id": 1}, {"$pull": {"a": 1}}, None),
    ({"_id": 1, "a": {"b": [1, 2]}}, {"$pull": {"a.b": 1}}, {"_id": 1, "a": {"b": [2]}}),
    ({"_id": 1, "a": 5}, {"$pull": {"a": 1}}, (2, "Cannot apply $pull to a non-array value")),
    ({"_id": 1, "a": 5}, {"$pull": {"a.b": 1}}, (28, "Cannot use the part (b) of (a.b)")),
    ({"_id": 1, "a": []}, {"$pull": {"a": {"$nope": 1}}}, (2, "$nope")),
    ({"_id": 1, "a": []}, {"$pull": {"a": {"x": {"$nope": 1}}}}, (2, "unknown operator: $nope")),
    ({"_id": 1, "a": []}, {"$pull": {"a": {"$expr": True}}}, (224, "$expr is not allowed in this context")),
    # $pullAll
    ({"_id": 1, "a": [1, 2, 3, 1]}, {"$pullAll": {"a": [1, 3]}}, {"_id": 1, "a": [2]}),
    ({"_id": 1, "a": [1]}, {"$pullAll": {"a": [9]}}, None),
    (
        {"_id": 1, "a": [{"x": 1}, {"x": 1, "y": 1}]},
        {"$pullAll": {"a": [{"x": 1}]}},
        {"_id": 1, "a": [{"x": 1, "y": 1}]},
    ),
    ({"_id": 1, "a": [1]}, {"$pullAll": {"a": 5}}, (2, "$pullAll requires an array argument but was given a int")),
    ({"_id": 1, "a": 1}, {"$pullAll": {"a": [5]}}, (2, "Cannot apply $pull to a non-array value")),
]


@pytest.mark.parametrize(("document", "update", "expected"), ARRAYS)
def test_arrays(document: dict[str, Any], update: Any, expected: Any) -> None:
    check(document, update, expected)


POSITIONAL = [
    ({"_id": 1, "a": [1, 2, 3]}, {"$set": {"a.$": 9}}, 1, {"_id": 1, "a": [1, 9, 3]}),
    ({"_id": 1, "a": [{"b": 1}, {"b": 2}]}, {"$inc": {"a.$.b": 5}}, 1, {"_id": 1, "a": [{"b": 1}, {"b": 7}]}),
    ({"_id": 1, "a": [1, 2]}, {"$unset": {"a.$": 1}}, 0, {"_id": 1, "a": [None, 2]}),
    ({"_id": 1, "a": [{"b": [1]}]}, {"$push": {"a.$.b": 2}}, 0, {"_id": 1, "a": [{"b": [1, 2]}]}),
    (
        {"_id": 1, "a": [{"b": 1}, {"b": 2}]},
        {"$set": {"a.$.c": 5, "a.0.d": 6}},
        0,
        {"_id": 1, "a": [{"b": 1, "c": 5, "d": 6}, {"b": 2}]},
    ),
    (
        {"_id": 1, "a": [{"b": 1}, {"b": 2}]},
        {"$set": {"a.$.c": 5, "a.1.d": 6}},
        0,
        {"_id": 1, "a": [{"b": 1, "c": 5}, {"b": 2, "d": 6}]},
    ),
    ({"_id": 1, "a": [1, 2]}, {"$set": {"a.$": 5, "a.0": 6}}, 0, (40, "Update created a conflict at 'a.0'")),
    ({"_id": 1, "a": [1]}, {"$set": {"a.$": 5}}, 3, {"_id": 1, "a": [1, None, None, 5]}),
    ({"_id": 1, "a": 5}, {"$set": {"a.$": 5}}, 0, (28, "Cannot create field '0' in element {a: 5}")),
    ({"_id": 1, "a": [1, 2]}, {"$set": {"b": 5}}, None, {"_id": 1, "a": [1, 2], "b": 5}),
]


@pytest.mark.parametrize(("document", "update", "positional", "expected"), POSITIONAL)
def test_positional(document: dict[str, Any], update: Any, positional: int | None, expected: Any) -> None:
    check(document, update, expected, positional=positional)


FILTERED = [
    ({"_id": 1, "a": [1, 2]}, {"$inc": {"a.$[]": 10}}, [], {"_id": 1, "a": [11, 12]}),
    ({"_id": 1, "a": []}, {"$inc": {"a.$[]": 10}}, [], None),
    ({"_id": 1, "a": [{"b": 1}, {}]}, {"$set": {"a.$[].b": 1}}, [], {"_id": 1, "a": [{"b": 1}, {"b": 1}]}),
    ({"_id": 1, "a": [[1], [2, 3]]}, {"$inc": {"a.$[].$[]": 1}}, [], {"_id": 1, "a": [[2], [3, 4]]}),
    ({"_id": 1, "a": [1, 5, 9]}, {"$set": {"a.$[x]": 0}}, [{"x": {"$gt": 4}}], {"_id": 1, "a": [1, 0, 0]}),
    ({"_id": 1, "a": [1, 5]}, {"$set": {"a.$[x]": 0}}, [{"x": {"$gt": 50}}], None),
    ({"_id": 1, "a": [1, 5]}, {"$unset": {"a.$[x]": 0}}, [{"x": 5}], {"_id": 1, "a": [1, None]}),
    (
        {"_id": 1, "a": [{"b": 1, "c": 1}, {"b": 2, "c": 2}]},
        {"$set": {"a.$[e].c": 0}},
        [{"e.b": 2}],
        {"_id": 1, "a": [{"b": 1, "c": 1}, {"b": 2, "c": 0}]},
    ),
    (
        {"_id": 1, "a": [{"b": 1, "c": 1}, {"b": 2, "c": 2}]},
        {"$set": {"a.$[e].d": 0}},
        [{"e.b": 2, "e.c": {"$gt": 1}}],
        {"_id": 1, "a": [{"b": 1, "c": 1}, {"b": 2, "c": 2, "d": 0}]},
    ),
    (
        {"_id": 1, "a": [{"b": [1, 5]}, {"b": [7]}]},
        {"$set": {"a.$[].b.$[n]": 0}},
        [{"n": {"$gte": 5}}],
        {"_id": 1, "a": [{"b": [1, 0]}, {"b": [0]}]},
    ),
    (
        {"_id": 1, "a": [1, 2, 3]},
        {"$set": {"a.$[x]": 0}},
        [{"$or": [{"x": 1}, {"x": 3}]}],
        {"_id": 1, "a": [0, 2, 0]},
    ),
    (
        {"_id": 1, "a": [{"k": 1}, {"k": 2}]},
        {"$set": {"a.$[x].m": 1, "a.$[y].n": 2}},
        [{"x.k": 1}, {"y.k": {"$gte": 1}}],
        {"_id": 1, "a": [{"k": 1, "m": 1, "n": 2}, {"k": 2, "n": 2}]},
    ),
    (
        {"_id": 1, "a": [1, 2]},
        {"$set": {"a.$[x]": 1, "a.$[y]": 2}},
        [{"x": 1}, {"y": {"$gte": 1}}],
        (40, "Update created a conflict at 'a.0'"),
    ),
    ({"_id": 1, "a": [5]}, {"$set": {"a.$[x].b": 1}}, [{"x": 5}], (28, "Cannot create field 'b' in element {0: 5}")),
    ({"_id": 1}, {"$set": {"a": 1}}, [{"x": 1}], (9, "The array filter for identifier 'x' was not used in the update")),
    ({"_id": 1}, {"$set": {"a.$[x]": 1}}, [{"y": 1}], (2, "No array filter found for identifier 'x'")),
    ({"_id": 1}, {"$set": {"a.$[x]": 1}}, [{"x": 1, "y": 1}], (9, "single top-level field name, found 'x' and 'y'")),
    ({"_id": 1}, {"$set": {"a.$[x]": 1}}, [{"x": 1}, {"x": 2}], (9, "Found multiple array filters")),
    ({"_id": 1}, {"$set": {"a.$[X]": 1}}, [{"X": 1}], (2, "beginning with a lowercase letter, found 'X'")),
    ({"_id": 1}, {"$set": {"a.$[x]": 1}}, [{}], (9, "without a top-level field name in arrayFilters")),
    ({"_id": 1}, {"$set": {"a.$[x]": 1}}, [{"x": {"$nope": 1}}], (2, "unknown operator: $nope")),
    ({"_id": 1}, [{"$set": {"a": 1}}], [{"x": 1}], (9, "may not be specified for pipeline-style updates")),
]


@pytest.mark.parametrize(("document", "update", "filters", "expected"), FILTERED)
def test_array_filters(document: dict[str, Any], update: Any, filters: list[Any], expected: Any) -> None:
    check(document, update, expected, array_filters=filters)
