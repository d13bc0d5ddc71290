"""What a scan need not decode: never a document that matches."""

from __future__ import annotations

import struct
from datetime import datetime
from typing import Any

import bson
import pytest
from bson import Code, Decimal128, Int64, ObjectId
from hypothesis import given, settings
from hypothesis import strategies as st
from test_same_answers import Maker

from doorleaf.documents import CODEC, Document
from doorleaf.mql.context import Context
from doorleaf.mql.filters.compile import compile_filter
from doorleaf.stores.embedded.reading.conditions import conditions
from doorleaf.stores.embedded.reading.needles import needle_test


def passes(filter: Document, document: Document | bytes) -> bool:
    test = needle_test(conditions(filter).predicates)
    assert test is not None
    return test(document if isinstance(document, bytes) else bson.encode(document, codec_options=CODEC))


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32))
def test_every_match_passes(seed: int) -> None:
    make = Maker(seed)
    make.paths += ["a", "a.x", "b", "c", "a.1"] * 3
    documents = [make.document(number) for number in range(10)]
    for _ in range(20):
        filter = make.filter()
        test = needle_test(conditions(filter).predicates)
        if test is None or "$$" in str(filter):
            continue
        matches = compile_filter(filter, Context())
        for document in documents:
            encoded = bson.encode(document, codec_options=CODEC)
            assert test(encoded) or not matches(bson.decode(encoded, CODEC)), (filter, document)


NUMBERS: list[Any] = [
    *(0, 1, -1, 5, 2**31 - 1, -(2**31), 2**31, -(2**31) - 1, 2**53, 2**53 + 1, 2**63 - 1, -(2**63)),
    *(0.0, -0.0, 1.0, 2.5, -1.0, float(2**31), float(2**53), float(2**63), float("inf"), -float("inf"), 1e300),
    *(Int64(5), Int64(-1), Int64(0), Decimal128("5"), Decimal128("5.0"), Decimal128("0"), Decimal128("-0")),
]


@pytest.mark.parametrize("wanted", [number for number in NUMBERS if not isinstance(number, Decimal128)])
def test_a_number_is_found_however_it_is_written(wanted: Any) -> None:
    matches = compile_filter({"a": wanted}, Context())
    matched = 0
    for number in NUMBERS:
        for document in ({"a": number}, {"a": [number]}, {"b": 0, "a": [7, number, 8]}):
            decoded = bson.decode(bson.encode(document, codec_options=CODEC), CODEC)
            if matches(decoded):
                matched += 1
                assert passes({"a": wanted}, document), document
    assert matched >= 3


@pytest.mark.parametrize(
    ("filter", "document", "expected"),
    [
        ({"a": "x"}, {"a": "x"}, True),
        ({"a": "x"}, {"a": "xy"}, False),
        ({"a": "x"}, {"b": "x"}, False),
        ({"a": "x"}, {"a": ["w", "x"]}, True),
        ({"a.b": "x"}, {"a": [{"b": "x"}]}, True),
        ({"a.b": "x"}, {"a": {"b": "y"}}, False),
        ({"a.0": "x"}, {"a": ["x"]}, True),
        ({"a": {"$in": ["x", "y"]}}, {"a": "y"}, True),
        ({"a": {"$in": ["x", "y"]}}, {"a": "z"}, False),
        ({"a": ObjectId("0" * 24)}, {"a": ObjectId("0" * 24)}, True),
        ({"a": ObjectId("0" * 24)}, {"a": ObjectId("1" * 24)}, False),
        ({"a": datetime(2020, 1, 1)}, {"a": datetime(2020, 1, 1)}, True),
        ({"a": datetime(2020, 1, 1)}, {"a": datetime(2020, 1, 2)}, False),
        ({"a": 5, "b": "x"}, {"a": 5, "b": "y"}, False),
        ({"a": "x"}, {"a": Code("x")}, True),
        ({"a": "ü€"}, {"a": "ü€"}, True),
    ],
)
def test_what_passes(filter: Document, document: Document, expected: bool) -> None:
    assert passes(filter, document) is expected


def test_a_symbol_is_a_string() -> None:
    symbol = b"\x0ea\x00" + struct.pack("<i", 2) + b"x\x00"
    document = struct.pack("<i", 5 + len(symbol)) + symbol + b"\x00"
    assert compile_filter({"a": "x"}, Context())(bson.decode(document, CODEC))
    assert passes({"a": "x"}, document)


@pytest.mark.parametrize(
    "filter",
    [
        {"a": None},
        {"a": True},
        {"a": float("nan")},
        {"a": {"$in": ["x", None]}},
        {"a": {"$in": list(range(20))}},
        {"a": {"$gt": 5}},
        {"a": Decimal128("5")},
        {"a": [1]},
        {"a.$id": 5},
        {"a": {"x": 1}},
        {"$or": [{"a": 1}, {"b": 1}]},
        {"$nor": [{"a": 1}]},
        {},
    ],
)
def test_what_no_bytes_tell(filter: Document) -> None:
    assert needle_test(conditions(filter).predicates) is None
