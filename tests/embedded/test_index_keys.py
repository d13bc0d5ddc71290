"""Index keys sort as values compare: the whole of the engine's correctness stands on it."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import bson
import pytest
from bson import (
    Binary,
    Code,
    DatetimeMS,
    Decimal128,
    Int64,
    MaxKey,
    MinKey,
    ObjectId,
    Regex,
    Timestamp,
)
from hypothesis import example, given, settings
from hypothesis import strategies as st

from doorleaf.documents import CODEC
from doorleaf.errors import DataError
from doorleaf.mql.values import compare
from doorleaf.stores.embedded.keys import ARRAY, NULL, UNDEFINED, KeyPattern, encode, invert, successor


def decimals() -> st.SearchStrategy[Decimal128]:
    small = st.builds(
        lambda sign, digits, exponent: Decimal128(Decimal((sign, tuple(map(int, str(digits))), exponent))),
        st.integers(0, 1),
        st.integers(0, 10**34 - 1),
        st.one_of(st.integers(-40, 40), st.integers(-6176, 6111)),
    )
    return st.one_of(small, st.sampled_from([Decimal128("NaN"), Decimal128("Infinity"), Decimal128("-Infinity")]))


edge_numbers: list[Any] = [
    0, -0.0, 1, 1.0, Int64(1), Decimal128("1"), Decimal128("1.0"), -1, 0.1, Decimal128("0.1"), 2**53, 2**53 + 1,
    float(2**53), -(2**53) - 1, 2**63 - 1, float(2**63), -(2**63), float(-(2**63)), Decimal128("9223372036854775807"),
    Decimal128("9223372036854775807.5"), 5e-324, -5e-324, 1.7976931348623157e308, math.inf, -math.inf, math.nan,
    Decimal128("1E-6176"), Decimal128("-1E-6176"), Decimal128("9E6144"), Decimal128("-9E6144"), Decimal128("-0"),
    Decimal128("0E+10"), Decimal128("NaN"), Decimal128("9007199254740993"), Decimal128("9007199254740992.5"),
]  # fmt: skip

numbers = st.one_of(
    st.sampled_from(edge_numbers),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(2**53 - 3, 2**53 + 3),
    st.integers(-5, 5),
    st.integers(-(2**63), 2**63 - 1).map(Int64),
    st.floats(),
    decimals(),
    st.integers(2**53 - 3, 2**53 + 3).map(lambda value: Decimal128(str(value))),
    st.integers(-5, 5).map(lambda value: Decimal128(str(value) + ".0")),
)
scalars = st.one_of(
    numbers,
    st.none(),
    st.booleans(),
    st.text(max_size=5),
    st.text(alphabet="\x00\x01aé\U0001f600", max_size=5),
    st.binary(max_size=4),
    st.builds(Binary, st.binary(max_size=4), st.sampled_from([0, 4, 5, 128])),
    st.datetimes().map(lambda value: value.replace(microsecond=value.microsecond // 1000 * 1000)),
    st.integers(-(2**63), 2**63 - 1).map(DatetimeMS),
    st.binary(min_size=12, max_size=12).map(ObjectId),
    st.builds(Timestamp, st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)),
    st.builds(Regex, st.text(alphabet="ab\\.", max_size=3), st.sampled_from(["", "i", "im"])),
    st.builds(Code, st.text(max_size=3)),
    st.sampled_from([MinKey(), MaxKey()]),
)
names = st.sampled_from(["a", "b", "ab", "é"])
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(names, inner, max_size=3)),
    max_leaves=6,
)


@settings(max_examples=600, deadline=None)
@given(values, values)
@example(2**53 + 1, float(2**53))
@example(Decimal128("0.1"), 0.1)
@example({"a": math.nan}, {"b": 1})
@example([], [None])
def test_key_order_is_comparison_order(left: Any, right: Any) -> None:
    first, second = encode(left), encode(right)
    expected = compare(left, right)
    assert (first > second) - (first < second) == expected
    assert (invert(first) < invert(second)) - (invert(first) > invert(second)) == expected
    if expected:
        assert not first.startswith(second)
        assert not second.startswith(first)


@settings(max_examples=300, deadline=None)
@given(numbers, numbers)
def test_numbers_of_all_kinds_share_one_order(left: Any, right: Any) -> None:
    first, second = encode(left), encode(right)
    assert (first > second) - (first < second) == compare(left, right)


def test_edge_numbers_against_each_other() -> None:
    for left in edge_numbers:
        for right in edge_numbers:
            first, second = encode(left), encode(right)
            assert (first > second) - (first < second) == compare(left, right), (left, right)


@settings(max_examples=200, deadline=None)
@given(st.tuples(values, values), st.tuples(values, values), st.tuples(st.booleans(), st.booleans()))
def test_compound_keys(left: tuple[Any, Any], right: tuple[Any, Any], descending: tuple[bool, bool]) -> None:
    def key(pair: tuple[Any, Any]) -> bytes:
        parts = [invert(encode(value)) if down else encode(value) for value, down in zip(pair, descending, strict=True)]
        return b"".join(parts)

    expected = 0
    for one, other, down in zip(left, right, descending, strict=True):
        expected = expected or compare(one, other) * (-1 if down else 1)
    assert (key(left) > key(right)) - (key(left) < key(right)) == expected


@settings(max_examples=200, deadline=None)
@given(scalars)
def test_a_key_survives_storage(value: Any) -> None:
    stored = bson.decode(bson.encode({"a": value}), CODEC)["a"]
    assert encode(stored) == encode(value)


def test_not_a_bson_value() -> None:
    with pytest.raises(TypeError):
        encode({1, 2})


@pytest.mark.parametrize(
    ("prefix", "expected"), [(b"a", b"b"), (b"a\xff", b"b"), (b"\xff\xff", None), (b"\x01\x02", b"\x01\x03")]
)
def test_successor(prefix: bytes, expected: bytes | None) -> None:
    assert successor(prefix) == expected


@pytest.mark.parametrize(
    ("fields", "document", "expected", "arrays"),
    [
        (["a"], {"a": 1}, [(1,)], 0),
        (["a"], {}, [(None,)], 0),
        (["a"], {"a": [1, 2, 1]}, [(1,), (2,)], 1),
        (["a"], {"a": []}, [(UNDEFINED,)], 1),
        (["a"], {"a": [[1, 2], 3]}, [([1, 2],), (3,)], 1),
        (["a.b"], {"a": {"b": 1}}, [(1,)], 0),
        (["a.b"], {"a": 5}, [(None,)], 0),
        (["a.b"], {"a": [{"b": 1}, {"b": [2, 3]}, {}]}, [(1,), (2,), (3,), (None,)], 1),
        (["a.b"], {"a": []}, [(None,)], 1),
        (["a.0"], {"a": [7, 8]}, [(7,)], 1),
        (["a", "b"], {"a": 1, "b": [2, 3]}, [(1, 2), (1, 3)], 2),
        (["a.x", "a.y"], {"a": [{"x": 1, "y": 2}, {"x": 3}]}, [(1, 2), (3, None)], 3),
        (["b", "a.x", "a.y"], {"b": 9, "a": [{"x": 1, "y": 2}]}, [(9, 1, 2)], 6),
    ],
)
def test_keys_of_a_document(
    fields: list[str], document: dict[str, Any], expected: list[tuple[Any, ...]], arrays: int
) -> None:
    found, mask = KeyPattern([(name, False) for name in fields]).keys(document)
    wanted = {b"".join(part if part is UNDEFINED else encode(part) for part in row) for row in expected}
    assert set(found) == wanted
    assert mask == arrays


def test_sparse_leaves_out_what_is_missing() -> None:
    single, compound = (
        KeyPattern([("a", False)], sparse=True),
        KeyPattern([("a", False), ("b", True)], sparse=True),
    )
    assert single.keys({"b": 1}) == ([], 0)
    assert single.keys({"a": None}) == ([NULL], 0)
    assert compound.keys({"c": 1}) == ([], 0)
    assert compound.keys({"b": 1}) == ([NULL + invert(encode(1))], 0)


def test_elements_that_are_alike_are_as_much_work_as_others() -> None:
    steps: list[int] = []
    single, _ = KeyPattern([("a.x", False)]).keys({"a": [{}] * 100}, steps.append)
    assert (len(single), steps) == (1, [1] * 100)
    steps.clear()
    KeyPattern([(f"a.x{number}", False) for number in range(32)], sparse=True).keys({"a": [{}] * 100}, steps.append)
    assert steps == [9] * 100


def test_parallel_arrays_are_refused() -> None:
    with pytest.raises(DataError, match=r"cannot index parallel arrays \[b\] \[a\]") as caught:
        KeyPattern([("a", False), ("b", False)]).keys({"a": [1], "b": [2]})
    assert caught.value.number == 171


def test_an_array_is_one_value_inside_a_key() -> None:
    assert encode([1]).startswith(ARRAY)
    assert encode([1]) < encode([1, 0])
