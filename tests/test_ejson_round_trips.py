"""Extended JSON there and back, of any document, and beside what the driver writes."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
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
    json_util,
)
from ejson_values import TEXTS, same
from hypothesis import given
from hypothesis import strategies as st

from doorleaf.documents import CODEC, Documents
from doorleaf.ejson import Mode, dumps, encode_document, encode_documents, loads

KEYS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8).filter(
    lambda key: not key.startswith("$")
)
DATES = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999999)).map(
    lambda value: value - timedelta(microseconds=value.microsecond % 1000)
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    TEXTS,
    st.integers(-(2**31), 2**31 - 1),
    st.integers(-(2**63), 2**63 - 1).map(Int64),
    st.floats(),
    st.binary(min_size=12, max_size=12).map(ObjectId),
    DATES,
    st.one_of(st.integers(-(2**62), -62135596800001), st.integers(253402300800000, 2**62)).map(DatetimeMS),
    st.integers(-(10**34) + 1, 10**34 - 1).map(str).map(Decimal128),
    st.sampled_from(["NaN", "Infinity", "-Infinity", "-0E+3", "1.50", "9.999999999999999999999999999999999E+6144"]).map(
        Decimal128
    ),
    st.binary(max_size=20),
    st.builds(Binary, st.binary(max_size=20), st.sampled_from([1, 3, 4, 5, 6, 7, 0x80, 0xFF])),
    st.builds(
        Regex, TEXTS.filter(lambda text: "\0" not in text), st.sets(st.sampled_from("imsx")).map(lambda s: "".join(s))
    ),
    st.builds(Timestamp, st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)),
    st.just(MinKey()),
    st.just(MaxKey()),
    st.builds(Code, TEXTS),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(KEYS, inner, max_size=4),
        st.builds(Code, TEXTS, st.dictionaries(KEYS, inner, max_size=2)),
    ),
    max_leaves=12,
)


@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_canonical_round_trip(document: dict[str, Any]) -> None:
    written = dumps(document, Mode.CANONICAL)
    assert same(loads(written), document)
    stored = bson.encode(document, codec_options=CODEC)
    assert encode_document(stored, Mode.CANONICAL) == written


@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_relaxed_round_trip(document: dict[str, Any]) -> None:
    """Relaxed loses the width of small int64; everything else comes back, and a second trip changes nothing."""
    written = dumps(document, Mode.RELAXED)
    again = loads(written)
    assert dumps(again, Mode.RELAXED) == written
    assert json.loads(dumps(again, Mode.PLAIN)) == json.loads(dumps(document, Mode.PLAIN))


@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_plain_is_json(document: dict[str, Any]) -> None:
    stored = bson.encode(document, codec_options=CODEC)
    written = encode_document(stored, Mode.PLAIN)
    json.loads(written, parse_constant=pytest.fail)
    assert written == dumps(document, Mode.PLAIN)
    assert written == encode_documents(Documents([stored]), Mode.PLAIN)[1:-1]


@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_agrees_with_the_driver(document: dict[str, Any]) -> None:
    decoded = bson.decode(bson.encode(document, codec_options=CODEC), CODEC)
    for mode, options in (
        (Mode.CANONICAL, json_util.CANONICAL_JSON_OPTIONS),
        (Mode.RELAXED, json_util.RELAXED_JSON_OPTIONS),
    ):
        assert json.loads(dumps(decoded, mode)) == json.loads(json_util.dumps(decoded, json_options=options))
