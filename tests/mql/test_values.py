"""Values: one order over all BSON types, equality and its keys, types, truth, arithmetic."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from typing import Any

import bson
import pytest
from bson import DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.binary import Binary
from bson.code import Code
from bson.datetime_ms import DatetimeMS
from hypothesis import given
from hypothesis import strategies as st

from doorleaf.documents import CODEC
from doorleaf.errors import DataError, StoreTimeout
from doorleaf.mql import paths
from doorleaf.mql.context import Context
from doorleaf.mql.display import display
from doorleaf.mql.numbers import integral, to_decimal, to_decimal128
from doorleaf.mql.values import (
    MISSING,
    TYPE_CODES,
    add,
    approximate_size,
    canonical,
    compare,
    copy,
    date_millis,
    equal,
    is_number,
    millis_date,
    multiply,
    sort_token,
    subtract,
    truthy,
    type_name,
    type_order,
)

NAN = float("nan")
INF = float("inf")

ORDERED: list[list[Any]] = [
    [MinKey()],
    [MISSING],
    [None],
    [NAN, Decimal128("NaN"), Decimal128("sNaN")],
    [-INF, Decimal128("-Infinity")],
    [Decimal128("-1E+6000")],
    [-1e308],
    [Int64(-(2**63)), -float(2**63)],
    [-1, -1.0, Int64(-1), Decimal128("-1.0")],
    [0, 0.0, -0.0, Int64(0), Decimal128("-0E+10")],
    [Decimal128("1E-6000")],
    [5e-324],
    [Decimal128("0.1")],
    [0.1],
    [1, 1.0, Int64(1), Decimal128("1.000")],
    [1.5, Decimal128("1.5")],
    [9007199254740992, 9007199254740992.0],
    [9007199254740993, Decimal128("9007199254740993")],
    [2**63 - 1, Int64(2**63 - 1)],
    [float(2**63)],
    [1e308],
    [Decimal128("1E+6000")],
    [INF, Decimal128("Infinity")],
    [""],
    ["A"],
    ["a"],
    ["a\x00"],
    ["ab"],
    ["é"],
    ["\uffff"],
    ["\U0001f600"],
    [{}],
    [{"b": None}],
    [{"a": 1}, {"a": 1.0}],
    [{"a": 1, "b": 1}],
    [{"b": NAN}],
    [{"b": 1}],
    [{"$ref": "c", "$id": {}}, DBRef("c", {})],
    [{"a": "x"}],
    [{"a": {}}],
    [[]],
    [[None]],
    [[1], [1.0]],
    [[1, 2]],
    [[2]],
    [["a"]],
    [[[]]],
    [b""],
    [b"b", Binary(b"b", 0)],
    [Binary(b"a", 5)],
    [b"aa"],
    [ObjectId("0" * 24)],
    [ObjectId("f" * 24)],
    [False],
    [True],
    [DatetimeMS(-(10**16))],
    [datetime(1969, 12, 31, 23, 59, 59, 999000), DatetimeMS(-1)],
    [datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 1)],
    [DatetimeMS(10**16)],
    [Timestamp(1, 1)],
    [Timestamp(1, 2)],
    [Timestamp(2, 0)],
    [Regex("a")],
    [Regex("a", "i")],
    [Regex("b")],
    [Code("a")],
    [Code("b")],
    [Code("a", {"x": 1}), Code("a", {"x": 1.0})],
    [MaxKey()],
]


def test_comparison_order() -> None:
    """Each row above sorts before the next, and its members are equal."""
    for (low, first), (high, second) in itertools.combinations(enumerate(ORDERED), 2):
        for left, right in itertools.product(first, second):
            assert compare(left, right) == -1, (low, high, left, right)
            assert compare(right, left) == 1, (low, high, left, right)
            assert not equal(left, right), (left, right)
            assert canonical(left) != canonical(right), (left, right)
            assert sort_token(left) < sort_token(right), (left, right)
    for row in ORDERED:
        for left, right in itertools.product(row, row):
            assert compare(left, right) == 0, (left, right)
            assert equal(left, right), (left, right)
            assert canonical(left) == canonical(right), (left, right)
            assert hash(canonical(left)) == hash(canonical(right)), (left, right)


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(-3, 3),
    st.integers(-3, 3).map(Int64),
    st.floats(),
    st.sampled_from([0.0, -0.0, 1.0, 2.5, -3.0]),
    st.sampled_from(["NaN", "0", "-0", "1", "2.5", "1E+40", "-3.00", "Infinity", "0.1"]).map(Decimal128),
    st.text(max_size=3),
    st.binary(max_size=3),
    st.binary(min_size=12, max_size=12).map(ObjectId),
    st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)),
    st.integers(-(2**55), 2**55).map(DatetimeMS),
    st.builds(Timestamp, st.integers(0, 3), st.integers(0, 3)),
    st.sampled_from([Regex("a"), Regex("a", "im"), Code("x"), Code("x", {}), MinKey(), MaxKey(), Binary(b"a", 128)]),
)
NAMES = st.sampled_from(["a", "b", "c"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)


@given(VALUES, VALUES, VALUES)
def test_comparison_is_a_total_order(a: Any, b: Any, c: Any) -> None:
    assert compare(a, a) == 0
    assert compare(a, b) == -compare(b, a)
    if compare(a, b) <= 0 and compare(b, c) <= 0:
        assert compare(a, c) <= 0
    low, middle, high = sorted([a, b, c], key=sort_token)
    assert compare(low, middle) <= 0
    assert compare(middle, high) <= 0
    assert compare(low, high) <= 0


@given(VALUES, VALUES)
def test_keys_agree_with_comparison(a: Any, b: Any) -> None:
    same = compare(a, b) == 0
    assert equal(a, b) is same
    assert (canonical(a) == canonical(b)) is same
    assert (sort_token(a) == sort_token(b)) is same
    if same:
        assert hash(canonical(a)) == hash(canonical(b))
        assert hash(sort_token(a)) == hash(sort_token(b))
        assert type_order(a) == type_order(b)


@given(VALUES)
def test_values_are_the_same_after_bson(value: Any) -> None:
    decoded = bson.decode(bson.encode({"v": value}, codec_options=CODEC), CODEC)["v"]
    assert equal(value, decoded)
    assert canonical(value) == canonical(decoded)
    assert type_name(value) == type_name(decoded)
    assert equal(copy(decoded), value)
    assert approximate_size(value) > 0
    assert isinstance(display(value), str)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (1, "int"),
        (2**31 - 1, "int"),
        (2**31, "long"),
        (Int64(1), "long"),
        (1.0, "double"),
        (Decimal128("1"), "decimal"),
        ("x", "string"),
        ({}, "object"),
        (DBRef("c", 1), "object"),
        ([], "array"),
        (b"x", "binData"),
        (Binary(b"x", 3), "binData"),
        (ObjectId(), "objectId"),
        (True, "bool"),
        (datetime(2024, 1, 1), "date"),
        (DatetimeMS(10**16), "date"),
        (None, "null"),
        (Regex("x"), "regex"),
        (Timestamp(1, 1), "timestamp"),
        (MinKey(), "minKey"),
        (MaxKey(), "maxKey"),
        (Code("x"), "javascript"),
        (Code("x", {}), "javascriptWithScope"),
        (MISSING, "missing"),
    ],
)
def test_type_names(value: Any, name: str) -> None:
    assert type_name(value) == name
    assert name in TYPE_CODES or name == "missing"


def test_what_is_no_value() -> None:
    for value in (object(), {1}, 1j, range(3)):
        with pytest.raises(TypeError, match="not a BSON value"):
            compare(value, 1)


@pytest.mark.parametrize("value", [1, -1, 0.5, Int64(1), Decimal128("1"), "x", "", [], {}, NAN, True, b"", MinKey()])
def test_true_values(value: Any) -> None:
    assert truthy(value)


@pytest.mark.parametrize("value", [0, 0.0, -0.0, Int64(0), Decimal128("0"), Decimal128("-0E+5"), None, False, MISSING])
def test_false_values(value: Any) -> None:
    assert not truthy(value)


@pytest.mark.parametrize(
    ("function", "left", "right", "expected", "kind"),
    [
        (add, 1, 2, 3, "int"),
        (add, 2**31 - 1, 1, 2**31, "long"),
        (add, Int64(1), 1, 2, "long"),
        (add, 1, 2.5, 3.5, "double"),
        (add, 2**63 - 1, 1, float(2**63), "double"),
        (add, 1, Decimal128("2.50"), Decimal128("3.50"), "decimal"),
        (add, 0.1, Decimal128("0.2"), Decimal128("0.300000000000000"), "decimal"),
        (subtract, 1, 2, -1, "int"),
        (subtract, -(2**31), 1, -(2**31) - 1, "long"),
        (multiply, 3, 4, 12, "int"),
        (multiply, 2**31 - 1, 2, 2**32 - 2, "long"),
        (multiply, Int64(2), 3, 6, "long"),
        (multiply, 2, 1.5, 3.0, "double"),
        (multiply, Decimal128("1.10"), 2, Decimal128("2.20"), "decimal"),
    ],
)
def test_arithmetic(function: Any, left: Any, right: Any, expected: Any, kind: str) -> None:
    result = function(left, right)
    assert (type_name(result), str(result)) == (kind, str(expected))


def test_strict_arithmetic_refuses_overflow() -> None:
    for function, left, right in ((add, 2**63 - 1, 1), (subtract, -(2**63), 1), (multiply, 2**62, 4)):
        with pytest.raises(OverflowError):
            function(left, right, strict=True)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, 1),
        (1.0, 1),
        (1.5, None),
        (Decimal128("2.0"), 2),
        (Decimal128("NaN"), None),
        (Decimal128("1E+6000"), None),
        (NAN, None),
        (INF, None),
        (1e19, None),
        (-float(2**63), -(2**63)),
        (True, None),
        ("1", None),
    ],
)
def test_integral(value: Any, expected: int | None) -> None:
    assert integral(value) == expected


def test_doubles_become_decimals_with_fifteen_digits() -> None:
    assert str(to_decimal(1.5)) == "1.50000000000000"
    assert str(to_decimal(0.1)) == "0.100000000000000"
    assert str(to_decimal128(to_decimal(1 / 3))) == "0.333333333333333"
    assert to_decimal(NAN).is_nan()
    assert not is_number(True)


def test_dates() -> None:
    moment = datetime(2024, 5, 17, 12, 30, 0, 250999)
    assert millis_date(date_millis(moment)) == moment.replace(microsecond=250000)
    assert date_millis(datetime(1969, 12, 31, 23, 59, 59, 999999)) == -1
    assert isinstance(millis_date(10**16), DatetimeMS)
    assert millis_date(0) == datetime(1970, 1, 1)


def test_copies_are_independent() -> None:
    value = {"a": [1, {"b": [2]}], "c": OID}
    copied = copy(value)
    copied["a"][1]["b"].append(3)
    assert value == {"a": [1, {"b": [2]}], "c": OID}
    assert copied == {"a": [1, {"b": [2, 3]}], "c": OID}


OID = ObjectId()


@pytest.mark.parametrize(
    ("document", "path", "expected"),
    [
        ({"a": 5}, "a", [5]),
        ({"a": [5, 6]}, "a", [5, 6, [5, 6]]),
        ({}, "a", [MISSING]),
        ({"a": 4}, "a.b", [MISSING]),
        ({"a": [4]}, "a.b", []),
        ({"a": {"b": []}}, "a.b", [[]]),
        ({"a": [{"b": 5}, 3, {}, {"b": [9, 11]}, {"b": 7}]}, "a.b", [5, MISSING, 9, 11, [9, 11], 7]),
        ({"a": [5, 7, 3]}, "a.1", [7]),
        ({"a": [5, [2, 4], 3]}, "a.1", [[2, 4]]),
        ({"a": [5, {"1": 4}, 3]}, "a.1", [4, {"1": 4}]),
        ({"a": [5, {"b": 4}, 3]}, "a.1.b", [MISSING, 4]),
        ({"a": [5, [{"b": 4}], 3]}, "a.1.b", [4]),
    ],
)
def test_query_paths(document: Any, path: str, expected: Any) -> None:
    assert list(paths.lookup(document, path)) == expected


@pytest.mark.parametrize(
    ("document", "path", "expected"),
    [
        ({"a": {"b": 1}}, "a.b", 1),
        ({"a": [{"b": 1}, {"c": 2}, 3, {"b": 4}]}, "a.b", [1, 4]),
        ({"a": [[{"b": 1}]]}, "a.b", []),
        ({"a": [{"b": [{"c": 1}]}]}, "a.b.c", [[1]]),
        ({"a": [1, 2]}, "a.0", []),
        ({"a": {"0": 5}}, "a.0", 5),
        ({"a": 5}, "a.b", MISSING),
        ({}, "a", MISSING),
    ],
)
def test_expression_paths(document: Any, path: str, expected: Any) -> None:
    assert paths.field_path(document, path.split(".")) == expected


@pytest.mark.parametrize(
    ("document", "path", "expected"),
    [
        ({"a": 9}, "a", 9),
        ({"a": {"b": {"c": 9}}}, "a.b.c", 9),
        ({"a": [1, 9]}, "a.1", 9),
        ({"a": [{"b": 9}]}, "a.0.b", 9),
        ({"a": {"0": 9}}, "a.0", 9),
        ({"a": DBRef("c", 9)}, "a.$id", 9),
        ({"a": [{"b": 9}]}, "a.b", MISSING),
        ({"a": [1]}, "a.1", MISSING),
        ({"a": [1]}, "a.-1", MISSING),
        ({"a": 1}, "a.b", MISSING),
        ({}, "a", MISSING),
    ],
)
def test_update_paths(document: Any, path: str, expected: Any) -> None:
    assert paths.get(document, path.split(".")) == expected


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": 1, "b": "x"}, '{ a: 1, b: "x" }'),
        ([1.0, 2.5, None, True], "[ 1.0, 2.5, null, true ]"),
        ({}, "{}"),
        (ObjectId("0" * 24), f"ObjectId('{'0' * 24}')"),
        (datetime(1970, 1, 1, 0, 0, 1), "new Date(1000)"),
        (b"\x01\xff", "BinData(0, 01FF)"),
        (Regex("a", "i"), "/a/i"),
        (MinKey(), "MinKey"),
        (Timestamp(1, 2), "Timestamp(1, 2)"),
    ],
)
def test_display(value: Any, text: str) -> None:
    assert display(value) == text


def test_long_values_are_cut_in_messages() -> None:
    assert len(display("x" * 10**6)) < 2000


def test_context() -> None:
    context = Context(memory_limit=1000)
    context.charge(900)
    context.release(500)
    context.charge(600)
    with pytest.raises(DataError) as caught:
        context.charge(1)
    assert caught.value.number == 292
    context.check_now()
    assert context.remaining() is None
    late = Context(deadline=0.0)
    with pytest.raises(StoreTimeout):
        late.remaining()
    for _ in range(63):
        late.check()
    with pytest.raises(StoreTimeout):
        late.check()
    assert Context(now=datetime(2024, 1, 1, 0, 0, 0, 1999)).now == datetime(2024, 1, 1, 0, 0, 0, 1000)


CRAFTED = [
    [Decimal128(str(12345 + number * (2**61 - 1))) for number in range(1000)],
    [[Decimal128(str(1 + number * (2**61 - 1)))] for number in range(1000)],
    [{"a": Decimal128(str(1 + number * (2**61 - 1)))} for number in range(1000)],
    [Decimal128(f"{number}E+{61 * number % 3000}") for number in range(1, 1000)],
]


@pytest.mark.parametrize("values", CRAFTED)
def test_no_values_can_be_chosen_whose_keys_share_a_hash(values: list[Any]) -> None:
    keys = [canonical(value) for value in values]
    assert len(set(keys)) == len(values)
    assert len({hash(key) for key in keys}) > len(values) * 0.9


def test_keys_of_documents_and_arrays_have_a_secret_in_their_hash() -> None:
    """Python's hash of a tuple of numbers can be computed by anybody; that of bytes has a secret of the process."""
    for value in ([1, 2], {"a": [1, 2]}, DBRef("c", 1), [Timestamp(1, 1)], Code("x", {"a": 1})):
        assert isinstance(canonical(value), bytes)
