"""Writing Extended JSON: a table of values in each mode, results, and what JSON has no way to say."""

from __future__ import annotations

import json
import math
import struct
from datetime import datetime
from typing import Any

import bson
import pytest
from bson import (
    Binary,
    Code,
    DatetimeMS,
    DBRef,
    Decimal128,
    Int64,
    MaxKey,
    MinKey,
    Regex,
    Timestamp,
)
from bson.errors import InvalidBSON
from ejson_values import DATE, HEX, OID

from doorleaf.documents import CODEC, Documents
from doorleaf.ejson import Mode, dumps, encode_document, encode_documents, encode_result, mode_of
from doorleaf.errors import DataError
from doorleaf.operations.results import DocumentResult, DocumentsResult, InsertOneResult, UpdateResult


@pytest.mark.parametrize("tail", [bytes(4), b"\4\0\0\0\0", b"\3"])
def test_documents_that_are_too_short_to_be_any_end_the_walk(tail: bytes) -> None:
    batch = bson.encode({"a": 1}) + tail
    for walk in (len, list, lambda documents: [*documents.parts(10, 10)]):
        with pytest.raises(InvalidBSON, match="5 bytes"):
            walk(Documents([batch]))


ACCEPT = [
    (None, Mode.PLAIN),
    ("", Mode.PLAIN),
    ("*/*", Mode.PLAIN),
    ("text/html", Mode.PLAIN),
    ("application/json", Mode.PLAIN),
    ("application/ejson", Mode.CANONICAL),
    (b"application/ejson", Mode.CANONICAL),
    ("Application/EJSON", Mode.CANONICAL),
    ("application/ejson; charset=utf-8", Mode.CANONICAL),
    ("application/ejson; mode=canonical", Mode.CANONICAL),
    ("application/ejson; mode=relaxed", Mode.RELAXED),
    ('application/ejson;mode="relaxed"; q=0.5', Mode.RELAXED),
    ("application/json, application/ejson", Mode.PLAIN),
    ("application/ejson, application/json", Mode.CANONICAL),
    ("application/json;q=0.5, application/ejson", Mode.CANONICAL),
    ("application/ejson;q=0.5, application/json;q=0.9", Mode.PLAIN),
    ("application/ejson, */*", Mode.CANONICAL),
    ("*/*, application/ejson", Mode.CANONICAL),
    ("application/ejson;q=0", Mode.PLAIN),
    ("application/ejson;q=x", Mode.PLAIN),
    (";,;,=", Mode.PLAIN),
    ("," * 99 + "application/ejson", Mode.CANONICAL),
    ("," * 100 + "application/ejson", Mode.PLAIN),
]


@pytest.mark.parametrize(("accept", "mode"), ACCEPT)
def test_accept(accept: str | bytes | None, mode: Mode) -> None:
    assert mode_of(accept) is mode


WRITTEN = [
    (None, "null", "null", "null"),
    (True, "true", "true", "true"),
    ("é😀", '"é😀"', '"é😀"', '"é😀"'),
    (5, "5", '{"$numberInt":"5"}', "5"),
    (Int64(5), "5", '{"$numberLong":"5"}', "5"),
    (2**31, "2147483648", '{"$numberLong":"2147483648"}', "2147483648"),
    (Int64(2**53 + 1), "9007199254740993", '{"$numberLong":"9007199254740993"}', "9007199254740993"),
    (Int64(-(2**63)), "-9223372036854775808", '{"$numberLong":"-9223372036854775808"}', "-9223372036854775808"),
    (10.5, "10.5", '{"$numberDouble":"10.5"}', "10.5"),
    (10.0, "10.0", '{"$numberDouble":"10.0"}', "10.0"),
    (-0.0, "-0.0", '{"$numberDouble":"-0.0"}', "-0.0"),
    (math.nan, *3 * ['{"$numberDouble":"NaN"}']),
    (math.inf, *3 * ['{"$numberDouble":"Infinity"}']),
    (-math.inf, *3 * ['{"$numberDouble":"-Infinity"}']),
    (OID, f'"{HEX}"', *2 * [f'{{"$oid":"{HEX}"}}']),
    (
        DATE,
        '"2023-03-29T15:54:47.069Z"',
        '{"$date":{"$numberLong":"1680105287069"}}',
        '{"$date":"2023-03-29T15:54:47.069Z"}',
    ),
    (
        datetime(2023, 3, 29, 15, 54, 47),
        '"2023-03-29T15:54:47.000Z"',
        '{"$date":{"$numberLong":"1680105287000"}}',
        '{"$date":"2023-03-29T15:54:47Z"}',
    ),
    (datetime(1, 1, 1), '"0001-01-01T00:00:00.000Z"', *2 * ['{"$date":{"$numberLong":"-62135596800000"}}']),
    (DatetimeMS(2**62), *3 * [f'{{"$date":{{"$numberLong":"{2**62}"}}}}']),
    (Decimal128("128452.420523"), '"128452.420523"', *2 * ['{"$numberDecimal":"128452.420523"}']),
    (Decimal128("NaN"), '"NaN"', *2 * ['{"$numberDecimal":"NaN"}']),
    (b"hi", '{"Subtype":0,"Data":"aGk="}', *2 * ['{"$binary":{"base64":"aGk=","subType":"00"}}']),
    (Binary(b"hi", 5), '{"Subtype":5,"Data":"aGk="}', *2 * ['{"$binary":{"base64":"aGk=","subType":"05"}}']),
    (
        Regex("^a", "xi"),
        '{"Pattern":"^a","Options":"ix"}',
        *2 * ['{"$regularExpression":{"pattern":"^a","options":"ix"}}'],
    ),
    (Timestamp(1, 2), '{"T":1,"I":2}', *2 * ['{"$timestamp":{"t":1,"i":2}}']),
    (MinKey(), "{}", *2 * ['{"$minKey":1}']),
    (MaxKey(), "{}", *2 * ['{"$maxKey":1}']),
    (Code("f()"), '"f()"', *2 * ['{"$code":"f()"}']),
    (
        Code("f()", {"n": Int64(1)}),
        '{"Code":"f()","Scope":{"n":1}}',
        '{"$code":"f()","$scope":{"n":{"$numberLong":"1"}}}',
        '{"$code":"f()","$scope":{"n":1}}',
    ),
    (
        DBRef("c", OID, "d"),
        f'{{"$ref":"c","$id":"{HEX}","$db":"d"}}',
        *2 * [f'{{"$ref":"c","$id":{{"$oid":"{HEX}"}},"$db":"d"}}'],
    ),
    (
        [{"b": 1, "a": [1.5]}],
        '[{"b":1,"a":[1.5]}]',
        '[{"b":{"$numberInt":"1"},"a":[{"$numberDouble":"1.5"}]}]',
        '[{"b":1,"a":[1.5]}]',
    ),
]


@pytest.mark.parametrize(("value", "plain", "canonical", "relaxed"), WRITTEN, ids=[repr(row[0]) for row in WRITTEN])
def test_written(value: Any, plain: str, canonical: str, relaxed: str) -> None:
    for mode, expected in ((Mode.PLAIN, plain), (Mode.CANONICAL, canonical), (Mode.RELAXED, relaxed)):
        member = f'{{"v":{expected}}}'
        document = bson.encode({"v": value}, codec_options=CODEC)
        assert dumps(value, mode).decode() == expected
        assert encode_document(document, mode).decode() == member
        assert encode_documents(Documents([document * 2, document]), mode).decode() == f"[{member},{member},{member}]"


def test_results() -> None:
    document = bson.encode({"_id": OID, "n": 1})
    assert encode_result(DocumentResult(None), Mode.PLAIN) == b'{"document":null}'
    assert encode_result(DocumentResult(None), Mode.CANONICAL) == b'{"document":null}'
    assert encode_result(DocumentResult(document), Mode.PLAIN) == f'{{"document":{{"_id":"{HEX}","n":1}}}}'.encode()
    assert encode_result(DocumentResult({"n": Int64(1)}), Mode.CANONICAL) == b'{"document":{"n":{"$numberLong":"1"}}}'
    assert encode_result(DocumentsResult(Documents([])), Mode.PLAIN) == b'{"documents":[]}'
    assert (
        encode_result(DocumentsResult(Documents([document])), Mode.CANONICAL)
        == f'{{"documents":[{{"_id":{{"$oid":"{HEX}"}},"n":{{"$numberInt":"1"}}}}]}}'.encode()
    )
    assert encode_result(UpdateResult(1, 0), Mode.PLAIN) == b'{"matchedCount":1,"modifiedCount":0}'
    assert (
        encode_result(UpdateResult(0, 0, 0), Mode.CANONICAL)
        == b'{"matchedCount":{"$numberInt":"0"},"modifiedCount":{"$numberInt":"0"},"upsertedId":{"$numberInt":"0"}}'
    )
    assert encode_result(InsertOneResult(b"id"), Mode.PLAIN) == b'{"insertedId":{"Subtype":0,"Data":"aWQ="}}'
    assert dumps({"documents": Documents([document]), "n": (1, 2)}, Mode.PLAIN) == (
        f'{{"documents":[{{"_id":"{HEX}","n":1}}],"n":[1,2]}}'.encode()
    )


@pytest.mark.parametrize("fill", ["\x01", "\x7f", "\x01\x00", "\x00\x7f", "\U000ff07f"])
@pytest.mark.parametrize(
    ("value", "shown"),
    [(math.nan, '{"$numberDouble":"NaN"}'), (-math.inf, '{"$numberDouble":"-Infinity"}'), (1.5, "1.5")],
)
def test_no_text_makes_the_search_for_nan_long(fill: str, value: float, shown: str) -> None:
    """Looking for what may be a NaN must not take time with the square of such a text, which would be minutes."""
    text = fill * 400_000
    document = bson.encode({"text": text, "none": None, "value": value})
    written = encode_documents(Documents([document]), Mode.PLAIN)
    assert written.endswith(f'"none":null,"value":{shown}}}]'.encode())
    assert json.loads(written)[0]["text"] == text


@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize("name", ["", "a", "\x01", "\x7f", "ÿ", "x" * 300])
@pytest.mark.parametrize("bits", [0x7FF0 << 48, 0xFFF0 << 48, 0x7FF8 << 48, 0xFFFFFFFFFFFFFFFF, 0x7FF0000000000001])
def test_every_double_that_is_not_finite_is_found(bits: int, name: str, place: int) -> None:
    (value,) = struct.unpack("<d", struct.pack("<Q", bits))
    members: list[tuple[str, object]] = [("n", 7), ("none", None)]
    members.insert(place, (name, value))
    written = encode_documents(Documents([bson.encode({"z": 1}), bson.encode(dict(members))]), Mode.PLAIN)
    assert b'{"$numberDouble":"' in written
    assert written.count(b"null") == 1


def test_bare_json_has_no_objects_for_binary_and_no_numbers() -> None:
    value = {"b": Binary(b"\0\1", 5), "n": [math.nan, -math.inf, 1.5, None], "c": Code("f", {"b": b"\2"})}
    written = b'{"b":"AAE=","n":[null,null,1.5,null],"c":{"Code":"f","Scope":{"b":"Ag=="}}}'
    encoded = bson.encode(value, codec_options=CODEC)
    assert dumps(value, Mode.BARE) == encode_document(encoded, Mode.BARE) == written
    both = Documents([encoded, bson.encode({"a": 1})])
    assert encode_documents(both, Mode.BARE, b"<", b">") == b"<[" + written + b',{"a":1}]>'
    alike = {"$numberDouble": "a text", "at": DATE, "id": OID, "Subtype": [1], "s": '"Subtype":'}
    assert dumps(alike, Mode.BARE) == dumps(alike, Mode.PLAIN) != dumps(alike, Mode.CANONICAL)
    assert encode_document(bson.encode(alike), Mode.BARE) == dumps(alike, Mode.PLAIN)


def test_integers_that_are_no_number_of_javascript_keep_their_type() -> None:
    safe, beyond = 2**53 - 1, 2**53
    values = [5, Int64(5), Int64(safe), Int64(-safe), safe, Int64(beyond), Int64(-beyond), beyond, 2.0, math.nan]
    text = f'[5,5,{safe},-{safe},{safe},{{"$numberLong":"{beyond}"}},{{"$numberLong":"-{beyond}"}},'
    text += f'{{"$numberLong":"{beyond}"}},2.0,{{"$numberDouble":"NaN"}}]'
    assert dumps(values, Mode.JAVASCRIPT).decode() == text
    assert encode_document(bson.encode({"v": values}), Mode.JAVASCRIPT).decode() == f'{{"v":{text}}}'


def test_null_beside_nan() -> None:
    """A null makes the writer look for doubles that JSON has not; both come out right."""
    documents = Documents([bson.encode({"a": None, "b": [math.nan, 1.5], "c": Int64(-1)})])
    assert encode_documents(documents, Mode.PLAIN) == b'[{"a":null,"b":[{"$numberDouble":"NaN"},1.5],"c":-1}]'
    documents = Documents([bson.encode({"a": None, "b": -1, "c": "null"})])
    assert encode_documents(documents, Mode.PLAIN) == b'[{"a":null,"b":-1,"c":"null"}]'


def test_stored_bytes_that_are_not_utf8() -> None:
    document = bson.encode({"ok": 1, "bad": "x!"}).replace(b"x!", b"\xff!")
    for mode in Mode:
        assert json.loads(encode_document(document, mode))["bad"] == "\ufffd!"


def test_nested_beyond_orjson() -> None:
    value: Any = 1
    for _ in range(300):
        value = [value]
    for mode in Mode:
        assert dumps(value, mode).startswith(b"[" * 300)


@pytest.mark.parametrize("mode", Mode)
def test_nested_beyond_what_can_be_walked(mode: Mode) -> None:
    value: Any = 1
    for _ in range(5_000):
        value = {"a": value}
    for written in (value, [value]):
        with pytest.raises(DataError) as caught:
            dumps(written, mode)
        assert caught.value.number == 15


def test_what_bson_cannot_hold() -> None:
    for mode in Mode:
        with pytest.raises(TypeError, match="a object is no BSON value"):
            dumps({"a": object()}, mode)
