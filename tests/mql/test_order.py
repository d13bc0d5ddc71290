"""Sorting: specifications, keys, arrays, the first n."""

from __future__ import annotations

import random
from typing import Any

import pytest
from bson import Decimal128, Int64, MaxKey, MinKey
from hypothesis import given
from hypothesis import strategies as st

from doorleaf.errors import DataError, StoreTimeout, Unsupported
from doorleaf.mql.context import Context
from doorleaf.mql.order import compile_sort, key_values, sort_documents, top, validate_collation
from doorleaf.mql.values import MISSING

NAN = float("nan")

ROWS: list[tuple[dict[str, Any], list[dict[str, Any]]]] = [
    ({"a": 1}, [{"a": 1}, {"a": 2}, {"a": 10}]),
    ({"a": -1}, [{"a": 10}, {"a": 2}, {"a": 1}]),
    ({"a": 1.0}, [{"a": 1}, {"a": 2}]),
    ({"a": Int64(-1)}, [{"a": 2}, {"a": 1}]),
    ({"a": Decimal128("-1")}, [{"a": 2}, {"a": 1}]),
    (
        {"a": 1},
        [
            {"a": MinKey()},
            {"a": []},
            {"a": None},
            {"a": NAN},
            {"a": -5},
            {"a": Decimal128("0.1")},
            {"a": 0.1},
            {"a": "a"},
            {"a": {}},
            {"a": [[]]},
            {"a": b""},
            {"a": False},
            {"a": MaxKey()},
        ],
    ),
    ({"a": -1}, [{"a": MaxKey()}, {"a": True}, {"a": "b"}, {"a": 1}, {}, {"a": []}, {"a": MinKey()}]),
    ({"a": 1}, [{"a": [9, 1]}, {"a": 2}, {"a": [3, 4]}]),
    ({"a": -1}, [{"a": [1, 9]}, {"a": 8}, {"a": [3, 4]}]),
    ({"a": 1}, [{"a": [None, 5]}, {"a": [1]}]),
    ({"a": 1}, [{"a": [[1], 3]}, {"a": [[0]]}]),
    ({"a": 1, "b": 1}, [{"a": 1, "b": 1}, {"a": 1, "b": 2}, {"a": 2, "b": 0}]),
    ({"a": 1, "b": -1}, [{"a": 1, "b": 2}, {"a": 1, "b": 1}, {"a": 1}, {"a": 2, "b": 9}]),
    ({"a": -1, "b": 1}, [{"a": 2, "b": 1}, {"a": 2, "b": 2}, {"a": 1}]),
    ({"a.b": 1}, [{}, {"a": {"b": 1}}, {"a": [{"b": 2}, {"b": 9}]}, {"a": {"b": 3}}]),
    ({"a.b": -1}, [{"a": [{"b": 2}, {"b": 9}]}, {"a": {"b": 3}}, {"a": 5}]),
    ({"a.b": 1}, [{"a": [{}, {"b": 9}]}, {"a": {"b": -1}}]),
    ({"a.b": 1}, [{"a": {"b": []}}, {"a": []}, {"a": {"b": 1}}]),
    ({"a.0": 1}, [{"a": [1, 9]}, {"a": [2, 0]}, {"a": {"0": 3}}]),
    ({"a.0.b": 1}, [{"a": [{"b": 1}, {"b": 0}]}, {"a": [{"b": 2}]}]),
    ({"a.x": 1, "a.y": 1}, [{"a": [{"x": 1, "y": 3}, {"x": 1, "y": 9}]}, {"a": [{"x": 1, "y": 5}, {"x": 2, "y": 0}]}]),
    ({"a.x": 1, "a.y": -1}, [{"a": [{"x": 1, "y": 3}, {"x": 1, "y": 9}]}, {"a": [{"x": 1, "y": 5}, {"x": 2, "y": 0}]}]),
    ({"a": 1, "b": 1}, [{"a": [1, 5], "b": 2}, {"a": [2, 1], "b": 3}, {"a": [2], "b": 0}]),
]


@pytest.mark.parametrize(("specification", "expected"), ROWS)
def test_sorting(specification: Any, expected: list[dict[str, Any]]) -> None:
    shuffled = list(expected)
    random.Random(5).shuffle(shuffled)
    key = compile_sort(specification)
    assert repr(sorted(shuffled, key=key)) == repr(expected)
    assert repr(sort_documents(shuffled, key, Context())) == repr(expected)
    assert repr(top(shuffled, key, 2, Context())) == repr(expected[:2])


@pytest.mark.parametrize(
    ("specification", "documents"),
    [
        ({"a": 1}, [{"a": None}, {}]),
        ({"a": -1}, [{}, {"a": None}]),
        ({"a": 1}, [{"a": 1}, {"a": 1.0}, {"a": Decimal128("1")}, {"a": [1, 2]}]),
        ({"a": -1}, [{"a": 2}, {"a": [1, 2]}]),
        ({"a.b": 1}, [{}, {"a": 5}, {"a": {}}, {"a": []}, {"a": [5]}, {"a": {"b": None}}]),
        ({}, [{"a": 2}, {"a": 1}]),
    ],
)
def test_equal_keys_keep_their_order(specification: Any, documents: list[dict[str, Any]]) -> None:
    key = compile_sort(specification)
    assert sorted(documents, key=key) == documents
    backwards = documents[::-1]
    assert sorted(backwards, key=key) == backwards


@pytest.mark.parametrize(
    ("specification", "number", "text"),
    [
        ({"a": 0}, 15975, "$sort key ordering must be 1 (for ascending) or -1 (for descending)"),
        ({"a": 2}, 15975, "$sort key ordering must be 1 (for ascending) or -1 (for descending)"),
        ({"a": NAN}, 15975, "$sort key ordering must be 1"),
        ({"a": 0.5}, 15975, "$sort key ordering must be 1"),
        ({"a": "desc"}, 15974, 'Illegal key in $sort specification: a: "desc"'),
        ({"a": True}, 15974, "Illegal key in $sort specification: a: true"),
        ({"a": None}, 15974, "Illegal key in $sort specification: a: null"),
        ({"a": {"b": 1}}, 17312, "$meta is the only expression supported by $sort right now"),
        ({"": 1}, 40352, "FieldPath cannot be constructed with empty string"),
        ({"a.": 1}, 40353, "FieldPath must not end with a '.'."),
        ({"a..b": 1}, 15998, "FieldPath field names may not be empty strings."),
        ({"$a": 1}, 16410, "FieldPath field names may not start with '$'."),
        ({"a" + ".b" * 200: 1}, 5984700, "FieldPath is too long"),
        ({f"f{n}": 1 for n in range(33)}, 13103, "too many compound keys"),
        ([("a", 1)], 14, "the sort specification must be an object"),
    ],
)
def test_bad_specifications(specification: Any, number: int, text: str) -> None:
    with pytest.raises(DataError) as caught:
        compile_sort(specification)
    assert (caught.value.number, text in caught.value.message) == (number, True), caught.value.message


def test_text_score_is_refused() -> None:
    with pytest.raises(Unsupported, match=r"\$meta"):
        compile_sort({"score": {"$meta": "textScore"}})


def test_thirty_two_keys_are_allowed() -> None:
    key = compile_sort({f"f{n}": 1 for n in range(32)})
    assert key({}) == key({"f0": None})


def test_parallel_arrays_are_refused() -> None:
    key = compile_sort({"a": 1, "b": 1})
    assert key({"a": [1], "b": 1})
    with pytest.raises(DataError, match="cannot sort with keys that are parallel arrays") as caught:
        key({"a": [1], "b": [2]})
    assert caught.value.number == 2


def test_index_that_is_a_field_too_is_refused() -> None:
    key = compile_sort({"a.0": 1})
    with pytest.raises(DataError, match="Ambiguous field name found in array") as caught:
        key({"a": [{"0": 1}]})
    assert caught.value.number == 16746


@pytest.mark.parametrize(
    ("document", "paths", "expected"),
    [
        ({"a": 1, "b": 2}, ["a", "b"], [(1, 2)]),
        ({"a": [1, 2], "b": 3}, ["a", "b"], [(1, 3), (2, 3)]),
        ({"a": [{"x": 1, "y": 2}, {"x": 3}]}, ["a.x", "a.y"], [(1, 2), (3, None)]),
        ({"a": [{"x": [1, 2], "y": 5}]}, ["a.x", "a.y"], [(1, 5), (2, 5)]),
        ({"a": [{"x": 1}], "b": 7}, ["b", "a.x"], [(7, 1)]),
        ({"a": [5, {"x": 1}]}, ["a.x"], [(None,), (1,)]),
        ({"a": [[1, 2]]}, ["a"], [([1, 2],)]),
        ({"a": [[1, 2]]}, ["a.0"], [([1, 2],)]),
        ({"a": [[]]}, ["a.0"], [(MISSING,)]),
        ({"a": [[{"b": 1}, {"b": 2}]]}, ["a.0.b"], [(1,), (2,)]),
        ({"a": [{"b": 1}, {"b": 2}]}, ["a.0.b", "a.b"], [(1, 1), (1, 2)]),
        ({"a": []}, ["a", "a.b", "a.0"], [(MISSING, None, None)]),
        ({"a": [{"1": 5}]}, ["a.1"], [(5,)]),
    ],
)
def test_key_values(document: Any, paths: list[str], expected: Any) -> None:
    assert key_values(document, [path.split(".") for path in paths]) == expected


@given(st.lists(st.integers(0, 5)), st.integers(0, 12))
def test_top_is_the_head_of_the_sort(numbers: list[int], n: int) -> None:
    documents = [{"_id": index, "a": number} for index, number in enumerate(numbers)]
    for direction in (1, -1):
        key = compile_sort({"a": direction})
        assert top(iter(documents), key, n, Context()) == sorted(documents, key=key)[:n]


def test_top_holds_little() -> None:
    key = compile_sort({"a": 1})
    documents = ({"a": -n, "pad": "x" * 1000} for n in range(3000))
    found = top(documents, key, 3, Context(memory_limit=600_000))
    assert [document["a"] for document in found] == [-2999, -2998, -2997]


def test_sort_memory_is_bounded() -> None:
    documents = [{"a": n, "pad": "x" * 1000} for n in range(3000)]
    with pytest.raises(DataError) as caught:
        sort_documents(documents, compile_sort({"a": 1}), Context(memory_limit=600_000))
    assert caught.value.number == 292


def test_sort_ends_at_the_deadline() -> None:
    with pytest.raises(StoreTimeout):
        sort_documents(({"a": n} for n in range(1000)), compile_sort({"a": 1}), Context(deadline=0.0))
    with pytest.raises(StoreTimeout):
        top(({"a": n} for n in range(1000)), compile_sort({"a": 1}), 5, Context(deadline=0.0))


@pytest.mark.parametrize("collation", [None, {}, {"locale": "simple"}])
def test_binary_collation_is_accepted(collation: Any) -> None:
    validate_collation(collation)


@pytest.mark.parametrize("collation", [{"locale": "en"}, {"locale": "de", "strength": 1}])
def test_other_collations_are_refused(collation: Any) -> None:
    with pytest.raises(Unsupported, match="collation"):
        validate_collation(collation)


@pytest.mark.parametrize("collation", ["en", {"strength": 2}, {"locale": "simple", "strength": 1}])
def test_malformed_collations(collation: Any) -> None:
    with pytest.raises(DataError, match="collation"):
        validate_collation(collation)
