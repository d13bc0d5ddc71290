"""What changed between two documents, as change events say it."""

from __future__ import annotations

import copy
from typing import Any

import bson
import pytest
from bson import Int64, ObjectId
from hypothesis import given
from hypothesis import strategies as st

from doorleaf.documents import Document
from doorleaf.mql.context import Context
from doorleaf.mql.difference import difference

ID = ObjectId("64224f3cd79f54ad342dd9b1")

ROWS: list[tuple[Document, Document, Document]] = [
    ({"a": 1}, {"a": 1}, {}),
    ({"a": 1}, {"a": 2}, {"updatedFields": {"a": 2}}),
    ({"a": 1}, {"a": 1, "b": None}, {"updatedFields": {"b": None}}),
    ({"a": 1, "b": 2}, {"b": 2}, {"removedFields": ["a"]}),
    ({"a": 1}, {"a": 1.0}, {"updatedFields": {"a": 1.0}}),
    ({"a": 1}, {"a": Int64(1)}, {"updatedFields": {"a": Int64(1)}}),
    ({"a": True}, {"a": 1}, {"updatedFields": {"a": 1}}),
    ({"a": 0.0}, {"a": -0.0}, {"updatedFields": {"a": -0.0}}),
    ({"a": ID}, {"a": str(ID)}, {"updatedFields": {"a": str(ID)}}),
    ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}, {"updatedFields": {"a.c": 3}}),
    ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}}, {"removedFields": ["a.c"]}),
    ({"a": {"b": 1}}, {"a": {"b": 1, "c": {"d": []}}}, {"updatedFields": {"a.c": {"d": []}}}),
    ({"a": {"b": 1}}, {"a": {"c": 1}}, {"updatedFields": {"a": {"c": 1}}}),
    ({"a": {"b": 1}}, {"a": {}}, {"updatedFields": {"a": {}}}),
    # An order of fields that no path can make is the whole value.
    ({"a": {"b": 1, "c": 2}}, {"a": {"c": 2, "b": 1}}, {"updatedFields": {"a": {"c": 2, "b": 1}}}),
    ({"a": {"b": 1}}, {"a": {"x": 0, "b": 1}}, {"updatedFields": {"a": {"x": 0, "b": 1}}}),
    # Names that a path cannot have.
    ({"a": {"b.c": 1}}, {"a": {"b.c": 2}}, {"updatedFields": {"a": {"b.c": 2}}}),
    ({"a": {"$b": 1, "c": 1}}, {"a": {"$b": 1, "c": 2}}, {"updatedFields": {"a": {"$b": 1, "c": 2}}}),
    ({"a": {"": 1, "c": 1}}, {"a": {"": 1, "c": 2}}, {"updatedFields": {"a": {"": 1, "c": 2}}}),
    ({"a": [1, 2, 3]}, {"a": [1, 5, 3]}, {"updatedFields": {"a.1": 5}}),
    ({"a": [1]}, {"a": [1, 2, 3]}, {"updatedFields": {"a.1": 2, "a.2": 3}}),
    ({"a": [1, 2, 3]}, {"a": [1]}, {"truncatedArrays": [{"field": "a", "newSize": 1}]}),
    (
        {"a": [1, 2, 3]},
        {"a": [0, 2]},
        {"updatedFields": {"a.0": 0}, "truncatedArrays": [{"field": "a", "newSize": 2}]},
    ),
    ({"a": [1]}, {"a": []}, {"updatedFields": {"a": []}}),
    ({"a": []}, {"a": [1]}, {"updatedFields": {"a.0": 1}}),
    ({"a": [{"b": 1, "c": 1}]}, {"a": [{"b": 2, "c": 1}]}, {"updatedFields": {"a.0.b": 2}}),
    ({"a": [[1, 2]]}, {"a": [[1]]}, {"truncatedArrays": [{"field": "a.0", "newSize": 1}]}),
    ({"a": [1]}, {"a": {"0": 1}}, {"updatedFields": {"a": {"0": 1}}}),
    ({"a": {"0": 1}}, {"a": [1]}, {"updatedFields": {"a": [1]}}),
]


@pytest.mark.parametrize(("before", "after", "expected"), ROWS)
def test_differences(before: Document, after: Document, expected: Document) -> None:
    kept = copy.deepcopy((before, after))
    found = difference(before, after, Context())
    whole = {"updatedFields": {}, "removedFields": [], "truncatedArrays": [], **expected}
    assert bson.encode(found) == bson.encode(whole)
    assert (before, after) == kept


def applied(document: Document, change: Document) -> Document:
    """``document`` with ``change`` carried out, as somebody who keeps a copy would."""
    made: Any = copy.deepcopy(document)
    for cut in change["truncatedArrays"]:
        array = _at(made, cut["field"].split("."))
        del array[cut["newSize"] :]
    for path in change["removedFields"]:
        *way, last = path.split(".")
        del _at(made, way)[last]
    for path, value in change["updatedFields"].items():
        *way, last = path.split(".")
        holder = _at(made, way)
        if isinstance(holder, list) and int(last) == len(holder):
            holder.append(value)
        else:
            holder[int(last) if isinstance(holder, list) else last] = value
    return made  # type: ignore[no-any-return]


def _at(value: Any, way: list[str]) -> Any:
    for part in way:
        value = value[int(part)] if isinstance(value, list) else value[part]
    return value


NAMES = st.sampled_from(["a", "b", "c", "0", "1"])
SCALARS = st.one_of(st.integers(-2, 2), st.sampled_from([1.0, None, True, "x", Int64(1)]))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(NAMES, inner, max_size=4)),
    max_leaves=12,
)
DOCUMENTS = st.dictionaries(NAMES, VALUES, max_size=4)


@given(DOCUMENTS, DOCUMENTS)
def test_a_difference_applied_gives_the_document(before: Document, after: Document) -> None:
    made = applied(before, difference(before, after, Context()))
    # The order of top-level fields is the one thing that an update never tells.
    assert bson.encode(dict(sorted(made.items()))) == bson.encode(dict(sorted(after.items())))


def test_paths_that_repeat_long_names_are_the_whole_fields() -> None:
    name = "n" * 1_000
    before = {"a": 1, "gone": 1, "same": [1], "b": {name: [1] * 10_000}}
    after = {"a": 1, "same": [1], "b": {name: [2] * 10_000}}
    found = difference(before, after, Context())
    assert found == {"updatedFields": {"b": after["b"]}, "removedFields": ["gone"], "truncatedArrays": []}


class Counting(Context):
    """Counts the members that are looked at."""

    checks = 0

    def check(self, weight: int = 1) -> None:
        self.checks += 1


def test_each_member_is_compared_once() -> None:
    deep: Any = [0] * 1_000
    for _ in range(150):
        deep = [deep, 1]
    other = copy.deepcopy(deep)
    at = other
    while isinstance(at[0], list):
        at = at[0]
    at[-1] = 5
    context = Counting()
    found = difference({"a": deep}, {"a": other}, context)
    assert [*found["updatedFields"].values()] == [5]
    assert 1_000 < context.checks < 2_000


@given(DOCUMENTS)
def test_a_document_does_not_differ_from_itself(document: Document) -> None:
    assert not any(difference(document, copy.deepcopy(document), Context()).values())
