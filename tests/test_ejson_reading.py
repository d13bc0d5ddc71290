"""Reading Extended JSON: a table of values, and refusals with their paths."""

from __future__ import annotations

import json
import math
import random
from datetime import datetime
from decimal import DecimalException
from typing import Any

import orjson
import pytest
from bson import (
    Binary,
    Code,
    DatetimeMS,
    Decimal128,
    Int64,
    MaxKey,
    MinKey,
    Regex,
    Timestamp,
)
from ejson_values import DATE, HEX, OID, TEXTS, same
from hypothesis import given
from hypothesis import strategies as st

from doorleaf.ejson import loads
from doorleaf.errors import InvalidParameter


def read(text: str) -> Any:
    """The value of the JSON ``text``, read as a member."""
    return loads(b'{"v":' + text.encode() + b"}")["v"]


READ = [
    ("null", None),
    ("true", True),
    ('"text"', "text"),
    (f'"{HEX}"', HEX),
    ('"2023-03-29T15:54:47.069Z"', "2023-03-29T15:54:47.069Z"),
    ("5", 5),
    ("-0", 0),
    ("2147483647", 2147483647),
    ("2147483648", Int64(2147483648)),
    ("-2147483648", -2147483648),
    ("-2147483649", Int64(-2147483649)),
    ("9007199254740993", Int64(9007199254740993)),
    ("9223372036854775807", Int64(2**63 - 1)),
    ("-9223372036854775808", Int64(-(2**63))),
    ("1.0", 1.0),
    ("-0.0", -0.0),
    ("1e3", 1000.0),
    ("1e300", 1e300),
    ("9223372036854775808.0", 9223372036854775808.0),
    ("[1, 1.0, 2147483648, [true]]", [1, 1.0, Int64(2147483648), [True]]),
    (f'{{"$oid": "{HEX}"}}', OID),
    (f'{{"$oid": "{HEX.upper()}"}}', OID),
    (f'{{"\\u0024oid": "{HEX}"}}', OID),
    ('{"$date": "2023-03-29T15:54:47.069Z"}', DATE),
    ('{"$date": "2023-03-29T15:54:47Z"}', datetime(2023, 3, 29, 15, 54, 47)),
    ('{"$date": "2023-03-29T17:54:47.069+02:00"}', DATE),
    ('{"$date": "2023-03-29T17:54:47.069+0200"}', DATE),
    ('{"$date": "2023-03-29T15:54:47.069999+00:00"}', DATE),
    ('{"$date": 1680105287069}', DATE),
    ('{"$date": {"$numberLong": "1680105287069"}}', DATE),
    ('{"$date": {"$numberLong": "-1"}}', datetime(1969, 12, 31, 23, 59, 59, 999000)),
    ('{"$date": "0001-01-01T00:00:00+01:00"}', DatetimeMS(-62135600400000)),
    ('{"$date": "9999-12-31T23:59:59.999-01:00"}', DatetimeMS(253402304399999)),
    ('{"$date": {"$numberLong": "253402300800000"}}', DatetimeMS(253402300800000)),
    ('{"$uuid": "00112233-4455-6677-8899-aabbccddeeff"}', Binary(bytes.fromhex("00112233445566778899aabbccddeeff"), 4)),
    ('{"$numberInt": "5"}', 5),
    ('{"$numberLong": "5"}', Int64(5)),
    ('{"$numberLong": "-9223372036854775808"}', Int64(-(2**63))),
    ('{"$numberDouble": "5"}', 5.0),
    ('{"$numberDouble": "-0.0"}', -0.0),
    ('{"$numberDouble": "NaN"}', math.nan),
    ('{"$numberDouble": "Infinity"}', math.inf),
    ('{"$numberDouble": "-Infinity"}', -math.inf),
    ('{"$numberDecimal": "128452.420523"}', Decimal128("128452.420523")),
    ('{"$numberDecimal": "1.50"}', Decimal128("1.50")),
    ('{"$numberDecimal": "NaN"}', Decimal128("NaN")),
    ('{"$binary": {"base64": "aGk=", "subType": "05"}}', Binary(b"hi", 5)),
    ('{"$binary": {"subType": "0", "base64": "aGk="}}', b"hi"),
    ('{"$binary": "aGk=", "$type": "05"}', Binary(b"hi", 5)),
    ('{"$type": "80", "$binary": "aGk="}', Binary(b"hi", 0x80)),
    ('{"$regularExpression": {"pattern": "^a", "options": "ix"}}', Regex("^a", "ix")),
    ('{"$regex": "^a", "$options": "i"}', {"$regex": "^a", "$options": "i"}),
    ('{"$regex": "^a"}', {"$regex": "^a"}),
    (
        '{"$regex": {"$regularExpression": {"pattern": "a", "options": ""}}}',
        {"$regex": Regex("a", 0)},
    ),
    ('{"$type": 2}', {"$type": 2}),
    ('{"$type": "05"}', {"$type": "05"}),
    ('{"$timestamp": {"t": 4294967295, "i": 1}}', Timestamp(4294967295, 1)),
    ('{"$minKey": 1}', MinKey()),
    ('{"$maxKey": 1}', MaxKey()),
    ('{"$undefined": true}', None),
    ('{"$symbol": "word"}', "word"),
    ('{"$code": "f()"}', Code("f()")),
    ('{"$code": "f()", "$scope": {"n": {"$numberLong": "1"}}}', Code("f()", {"n": Int64(1)})),
    (f'{{"$dbPointer": {{"$ref": "c", "$id": {{"$oid": "{HEX}"}}}}}}', {"$ref": "c", "$id": OID}),
    (f'{{"$ref": "c", "$id": {{"$oid": "{HEX}"}}, "$db": "d"}}', {"$ref": "c", "$id": OID, "$db": "d"}),
    ('{"$dateAdd": {"startDate": "$at", "unit": "day"}}', {"$dateAdd": {"startDate": "$at", "unit": "day"}}),
    ('{"$dateToString": {"date": "$at"}}', {"$dateToString": {"date": "$at"}}),
    ('{"oid": "x", "$oidx": 1}', {"oid": "x", "$oidx": 1}),
]


@pytest.mark.parametrize(("text", "value"), READ, ids=[text for text, _ in READ])
def test_read(text: str, value: Any) -> None:
    assert same(read(text), value)
    assert same(read(f"[{text}]"), [value])
    assert same(read(f'{{"b": {text}, "a": 1}}'), {"b": value, "a": 1})
    assert same(loads(f'{{"v" :\n{text} , "c" \t: "a:b \\" :\\":"}}'.encode())["v"], value), "the exact reader agrees"


REFUSED = [
    (
        '{"filter": {"_id": {"$oid": "abc"}}}',
        "filter._id.$oid: expected 24 hexadecimal digits, got a string of length 3",
    ),
    ('{"a": {"$oid": "64224f3cd79f54ad342dd9bz"}}', "a.$oid: expected 24 hexadecimal digits, got other characters"),
    ('{"a": {"$oid": "64 224f3cd79f54ad342dd9b"}}', "a.$oid: expected 24 hexadecimal digits"),
    ('{"a": {"$oid": 5}}', "a.$oid: expected 24 hexadecimal digits, got an integer"),
    (f'{{"a": {{"$oid": "{HEX}", "x": 1}}}}', 'a: $oid is alone in its object, and here is also "x"'),
    (f'{{"a": {{"x": 1, "$oid": "{HEX}"}}}}', 'a: $oid is alone in its object, and here is also "x"'),
    ('{"d": [0, {"at": {"$date": "yesterday"}}]}', "d.1.at.$date: expected an ISO 8601 date and time"),
    ('{"a": {"$date": "2023-03-29"}}', "a.$date: expected an ISO 8601 date and time with Z or an offset"),
    ('{"a": {"$date": "2023-03-29T15:54:47"}}', "a.$date: expected an ISO 8601 date and time with Z or an offset"),
    ('{"a": {"$date": "2023-02-30T15:54:47Z"}}', "a.$date: there is no such date and time"),
    ('{"a": {"$date": {"$numberLong": 5}}}', "a.$date.$numberLong: expected a string with an integer, got an integer"),
    ('{"a": {"$date": 1.5}}', "a.$date: expected an ISO 8601"),
    ('{"a": {"$date": null}}', "a.$date: expected an ISO 8601"),
    ('{"a": {"$uuid": "00112233445566778899aabbccddeeff"}}', "a.$uuid: expected a UUID of 8-4-4-4-12"),
    ('{"a": {"$numberInt": 5}}', "a.$numberInt: expected a string with an integer, got an integer"),
    ('{"a": {"$numberInt": "2147483648"}}', "a.$numberInt: the integer is beyond 32 bits"),
    ('{"a": {"$numberLong": "9223372036854775808"}}', "a.$numberLong: the integer is beyond 64 bits"),
    ('{"a": {"$numberLong": "1.0"}}', "a.$numberLong: expected a string with an integer"),
    ('{"a": {"$numberLong": "' + "9" * 9999 + '"}}', "a.$numberLong: the integer is beyond 64 bits"),
    ('{"a": {"$numberDouble": "inf"}}', "a.$numberDouble: expected a string with a number"),
    ('{"a": {"$numberDouble": "1_0"}}', "a.$numberDouble: expected a string with a number"),
    ('{"a": {"$numberDouble": "1e999"}}', "a.$numberDouble: the number is beyond a double"),
    ('{"a": {"$numberDecimal": "x"}}', "a.$numberDecimal: expected a string with a decimal number"),
    ('{"a": {"$numberDecimal": "1E+99999"}}', "a.$numberDecimal: the number does not fit"),
    ('{"a": {"$numberDecimal": "' + "1" * 35 + '"}}', "a.$numberDecimal: the number does not fit"),
    ('{"a": {"$binary": {"base64": "?", "subType": "0"}}}', "a.$binary.base64: the string is not base64"),
    ('{"a": {"$binary": {"base64": "aGk", "subType": "0"}}}', "a.$binary.base64: the string is not base64"),
    ('{"a": {"$binary": {"base64": "aGk=", "subType": 5}}}', "a.$binary.subType: expected one or two hexadecimal"),
    ('{"a": {"$binary": {"base64": "aGk="}}}', "a.$binary: expected an object of base64 and subType"),
    ('{"a": {"$binary": "aGk="}}', "a.$binary: expected an object of base64 and subType, got a string"),
    ('{"a": {"$binary": "aGk=", "$type": 5}}', "a.$type: expected one or two hexadecimal digits, got an integer"),
    ('{"a": {"$regularExpression": {"pattern": "a"}}}', "a.$regularExpression: expected an object of pattern"),
    (
        '{"a": {"$regularExpression": {"pattern": "a", "options": "g"}}}',
        "a.$regularExpression.options: expected a string of the letters",
    ),
    (
        '{"a": {"$regularExpression": {"pattern": "a\\u0000", "options": ""}}}',
        "a.$regularExpression.pattern: expected a string, got one with a NUL",
    ),
    ('{"a": {"$timestamp": {"t": -1, "i": 0}}}', "a.$timestamp.t: expected an integer of 32 bits"),
    ('{"a": {"$timestamp": {"t": 1}}}', "a.$timestamp: expected an object of t and i"),
    ('{"a": {"$minKey": 2}}', "a.$minKey: expected 1, got an integer"),
    ('{"a": {"$minKey": true}}', "a.$minKey: expected 1, got true"),
    ('{"a": {"$undefined": false}}', "a.$undefined: expected true, got false"),
    ('{"a": {"$symbol": 1}}', "a.$symbol: expected a string"),
    ('{"a": {"$code": 1}}', "a.$code: expected a string"),
    ('{"a": {"$code": "f", "$scope": 1}}', "a.$scope: expected an object"),
    ('{"a": {"$code": "f", "$scope": {"b": {"$oid": 1}}}}', "a.$scope.b.$oid: expected 24"),
    ('{"a": {"$dbPointer": {"$ref": "c", "$id": {"$oid": "x"}}}}', "a.$dbPointer.$id.$oid: expected 24"),
    ('{"a": {"b": [18446744073709551616]}}', "a.b.0: the integer 18446744073709551616 is beyond 64 bits"),
    ('{"a": 9223372036854775808}', "a: the integer 9223372036854775808 is beyond 64 bits"),
    ('{"a": -9223372036854775809}', "a: the integer -9223372036854775809 is beyond 64 bits"),
    ('{"a": ' + "1" * 5000 + "}", "a: the integer 1111"),
    ('{"a": 1e999}', "a: the number is beyond a double"),
    ('{"a": {"b": 1, "b": 2}}', "a.b: the key is there twice"),
    ('{"a": [{"b": ":", "c": "\\":", "b": 2}]}', "a.0.b: the key is there twice"),
    ('{"a" : 1, "x": 2, "a"\n\n:2}', "a: the key is there twice"),
    ('{"a": 1, "\\u0061": 2}', "a: the key is there twice"),
    (f'{{"a": {{"$oid": "{HEX}", "$oid": "{HEX}"}}}}', "a.$oid: the key is there twice"),
    ('{"a": {"b\\u0000c": 1}}', "a.b\\0c: a key cannot have a NUL"),
    ('{"a": ["\\ud800"]}', "a.0: the string has half a surrogate pair"),
    ('{"a": {"\\udc00": 1}}', "a.?: a key cannot have"),
    ("", "malformed JSON at byte 0: "),
    ('{"a": 1', "malformed JSON at byte 7: "),
    ('{"é": x}', "malformed JSON at byte 7: "),
    ('{"a": 1} 2', "malformed JSON at byte 9: "),
    ("{'a': 1}", "malformed JSON at byte 1: "),
    ('{"a": NaN}', 'malformed JSON: write NaN as {"$numberDouble": "NaN"}'),
    ('{"a": -Infinity}', "malformed JSON: write -Infinity as"),
    ('{"a": "\x01"}', "malformed JSON at byte 7: "),
    ('{"a": 01}', "malformed JSON at byte "),
    ("[]", "the body must be a JSON object, got an array"),
    ("null", "the body must be a JSON object, got null"),
    ('"x"', "the body must be a JSON object, got a string of length 1"),
    ('{"a":' * 102 + "1" + "}" * 102, "the body nests deeper than 100 levels"),
    ('{"a":' + "[" * 101 + "]" * 101 + "}", "the body nests deeper than 100 levels"),
    ('{"a":' * 100_000 + "1" + "}" * 100_000, "the body nests deeper than 100 levels"),
    ("[" * 100_000, "the body nests deeper than 100 levels"),
]


@pytest.mark.parametrize(("text", "message"), REFUSED, ids=[text[:60] for text, _ in REFUSED])
def test_refused_with_the_path(text: str, message: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        loads(text.encode())
    assert caught.value.message.startswith(message)
    assert len(caught.value.message) < 300
    assert caught.value.status == 400


def test_refused_bytes() -> None:
    with pytest.raises(InvalidParameter, match=r"^malformed JSON at byte 6: invalid UTF-8$"):
        loads(b'{"a":"\xff"}')
    with pytest.raises(InvalidParameter, match=r"^malformed JSON at byte 9: invalid UTF-8$"):
        loads(b'\xef\xbb\xbf{"a":"\xff"}')
    with pytest.raises(InvalidParameter, match=r"^malformed JSON"):
        loads('{"a": 1}'.encode("utf-16"))


def test_read_leaves_what_is_fine() -> None:
    assert loads(b'\xef\xbb\xbf {"b": 1, "a": {"z": 1, "y": 2}} \n') == {"b": 1, "a": {"z": 1, "y": 2}}
    assert list(loads(b'{"b": 1, "a": 2, "c": 3}')) == ["b", "a", "c"]
    assert loads(f'{{"$oid": "{HEX}"}}'.encode()) == {"$oid": HEX}, "the root is never a wrapper"
    assert loads(b'{"a": "\\u0000", "b": "\\ud83d\\ude00 \\\\u0000"}') == {"a": "\0", "b": "😀 \\u0000"}
    deepest = '{"a":' * 100 + f'{{"$oid": "{HEX}"}}' + "}" * 100
    assert loads(deepest.encode())
    assert loads(('{"a":' + "[" * 100 + "]" * 100 + "}").encode())
    wide = [{"a": {"$numberLong": str(n)}, "t": "1:2"} for n in range(1000)]
    assert len(loads(json.dumps({"documents": wide}).encode())["documents"]) == 1000


@pytest.mark.parametrize("wrapper", ["$numberDouble", "$numberDecimal", "$numberLong", "$date"])
@pytest.mark.parametrize("text", ["1" * 400_000 + "x", "1." + "1" * 400_000 + "x", "1e" + "1" * 400_000 + "x"])
def test_no_text_makes_it_long_to_see_that_it_is_no_number(wrapper: str, text: str) -> None:
    with pytest.raises(InvalidParameter) as raised:
        loads(json.dumps({"a": {wrapper: text}}).encode())
    assert raised.value.message.startswith(f"a.{wrapper}: expected")
    assert len(raised.value.message) < 300


@given(
    st.recursive(
        st.one_of(st.none(), st.integers(-(2**65), 2**65), st.floats(allow_nan=False, allow_infinity=False), TEXTS),
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.lists(st.tuples(TEXTS, inner), max_size=3).map(tuple)),
        max_leaves=10,
    )
)
def test_duplicates_and_large_integers_are_never_missed(tree: Any) -> None:
    """Objects are drawn as tuples of pairs, so that they may have a key twice; the text says what is right."""

    def written(value: Any) -> str:
        if isinstance(value, tuple):
            return "{" + ", ".join(f"{json.dumps(key)}: {written(member)}" for key, member in value) + "}"
        if isinstance(value, list):
            return "[" + ", ".join(map(written, value)) + "]"
        return json.dumps(value)

    def fine(value: Any) -> bool:
        if isinstance(value, tuple):
            keys = [key for key, _ in value]
            return len(set(keys)) == len(keys) and all("\0" not in key and fine(member) for key, member in value)
        if isinstance(value, list):
            return all(map(fine, value))
        return not isinstance(value, int) or -(2**63) <= value < 2**63

    def plain(value: Any) -> Any:
        if isinstance(value, tuple):
            return {key: plain(member) for key, member in value}
        return [plain(member) for member in value] if isinstance(value, list) else value

    body = ('{"v": ' + written(tree) + "}").encode()
    if fine(tree):
        assert loads(body) == {"v": plain(tree)}
    else:
        with pytest.raises(InvalidParameter):
            loads(body)


def test_decimals_are_those_of_the_driver_however_they_are_read() -> None:
    draw = random.Random(5)
    edges = [
        "0",
        "-0",
        "+0",
        "0.000",
        "1.",
        "00",
        "-0E+6111",
        "0E6200",
        "0E-6177",
        "1E6111",
        "1E6112",
        "1E-6176",
        "1E-6177",
    ]
    edges += ["9" * 34, "9" * 34 + "E6111", "1" + "0" * 34, "9." + "9" * 33, "0." + "0" * 40, "1e5", ".5", "1E99999"]

    def digits(most: int) -> str:
        return "".join(draw.choice("0123456789") for _ in range(draw.randrange(1, most)))

    def random_decimal() -> str:
        fraction = draw.choice(("", f".{digits(30)}"))
        exponent = draw.choice(("", f"{draw.choice('eE')}{draw.choice(('+', '-', ''))}{draw.randrange(6300)}"))
        return draw.choice(("", "-", "+")) + digits(36) + fraction + exponent

    for text in [*edges, *(random_decimal() for _ in range(3000))]:
        try:
            expected = Decimal128(text)
        except (DecimalException, ValueError, OverflowError):
            with pytest.raises(InvalidParameter, match="does not fit a Decimal128"):
                loads(orjson.dumps({"d": {"$numberDecimal": text}}))
        else:
            found = loads(orjson.dumps({"d": {"$numberDecimal": text}}))["d"]
            assert found.bid == expected.bid, text
