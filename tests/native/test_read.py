"""The native part reads what the Python reads, to the same values, or declines; whatever text it is given."""

from __future__ import annotations

import json
import random
import struct
from pathlib import Path
from typing import Any

import bson
import pytest
from native_values import Values, fuzz, sanitized

from doorleaf.documents import CODEC
from doorleaf.ejson import Mode, dumps, encode_document, loads, read
from doorleaf.errors import InvalidParameter

if read.native is None:
    pytest.skip("built without a C compiler", allow_module_level=True)

NATIVE: Any = read.native

ORDINARY = {
    "empty": "{}",
    "white space": ' \t\r\n{ "a" :\n[ 1 ,\t2 , [ ] , { } ] , "b" : null } \n',
    "texts": r'{"a": "", "b": "\"\\\/\b\f\n\r\t", "c": "\u0000\u00e9\u20AC\ud83d\uDE42", "é漢𝄞": "ß語🙂"}',
    "long texts": json.dumps({"a": "x" * 100, "b": ("y" * 7 + "\n") * 40, "k" * 300: "é" * 99}, ensure_ascii=False),
    "integers": '{"a": [0, -0, 1, -1, 2147483647, -2147483648, 2147483648, -2147483649]}',
    "long integers": '{"a": [9223372036854775807, -9223372036854775808, 1000000000000000000]}',
    "doubles": '{"a": [0.0, -0.0, 1.5, -10.0, 0.1, 1e3, 1E+3, 1e-7, 123456789.123456789, 0.00000000000000000001]}',
    "far doubles": '{"a": [5e-324, 2.2250738585072014e-308, 1e-40, 9007199254740993.0, 3e-23, 1.79769313486231e-300]}',
    "literals": '{"a": [true, false, null]}',
    "keys": '{"": 1, " ": 2, "a.b": 3, "$set": {"$inc": 4}, "$oid": "at the root it is a key", "1": {"_id": 1}}',
    "ids": '{"a": {"$oid": "64224f3cd79f54ad342DD9B1"}, "b": { "$oid" : "000000000000000000000000" } }',
    "dates": '{"a": [{"$date": "2024-05-31T16:08:37.171Z"}, {"$date": "0001-01-01T00:00:00Z"}, {"$date": 0}]}',
    "offsets": '{"a": [{"$date": "2024-02-29T23:59:59.9999999+05:30"}, {"$date": "2024-01-01T00:00:00-0130"}]}',
    "far dates": '{"a": [{"$date": "9999-12-31T23:59:59.999-23:59"}, {"$date": {"$numberLong": "-62135596800001"}}]}',
    "numbers": '{"a": [{"$numberInt": "-007"}, {"$numberLong": "-0"}, {"$numberDouble": "+.5E1"}]}',
    "no numbers": '{"a": [{"$numberDouble": "NaN"}, {"$numberDouble": "Infinity"}, {"$numberDouble": "-Infinity"}]}',
    "decimals": json.dumps({"a": [{"$numberDecimal": text} for text in (
        "0", "-0", "+1.50", "1E+3", "1e-7", "0.000001", "9" * 34, "0" * 6 + "1.", "-0.00E+5", "1E-6176", "1E6111"
    )]}),
    "binaries": '{"a": [{"$binary": {"base64": "", "subType": "0"}}, {"$binary": {"base64":"aGk=","subType":"80"}}]}',
    "uuids": '{"a": {"$uuid": "11223344-5566-7788-99aA-BbCcDdEeFf00"}}',
    "expressions": r'{"a": {"$regularExpression": {"pattern": "^\"é/\\d", "options": "xms"}}, "b": {"$regex": "a"}}',
    "others": '{"a": [{"$timestamp": {"t": 4294967295, "i": 0}}, {"$minKey": 1}, {"$maxKey": 1}]}',
    "the deepest": '{"a": ' + "[" * 100 + "]" * 100 + "}",
    "many keys": json.dumps({f"field{number}": number for number in range(500)}),
}  # fmt: skip

LEFT_TO_PYTHON = [
    "", "{", "}", "[]", "1", '{"a"}', '{"a":}', '{"a":1,}', '{,}', '{"a":1}}', '{"a":1} x', '{a:1}', "{'a':1}",
    '{"a":[1,]}', '{"a":[,]}', '{"a":[1 2]}', '{"a":"', '{"a":"\\', '{"a":"\\u12', '{"a":"\\x"}', '{"a":"\n"}',
    '{"a":"\\ud800"}', '{"a":"\\udc00"}', '{"a":"\\ud800\\u0041"}', '{"a":tru}', '{"a":True}', '{"a":nul',
    '{"a":01}', '{"a":-}', '{"a":+1}', '{"a":1.}', '{"a":.5}', '{"a":1e}', '{"a":1e+}', '{"a":0x1}', '{"a":NaN}',
    '{"a":9223372036854775808}', '{"a":-9223372036854775809}', '{"a":1e400}', '{"a":1e19}',
    '{"a":-9223372036854775808.0}',
    '{"a":1,"a":2}', '{"a":1,"\\u0061":2}', '{"a":{"b":1,"b":1}}', '{"a\\u0000":1}', '{"\\ud800":1}',
    '{"a":{"b":1,"$oid":"64224f3cd79f54ad342dd9b1"}}', '{"a":{"$oid":"64224f3cd79f54ad342dd9b1","b":1}}',
    '{"a":{"\\u0024oid":"64224f3cd79f54ad342dd9b1"}}', '{"a":{"$oid":"64224f3cd79f54ad342dd9b"}}', '{"a":{"$oid":1}}',
    '{"a":{"$oid":"64224f3cd79f54ad342dd9bg"}}', '{"a":{"$date":"2023-02-29T00:00:00Z"}}', '{"a":{"$date":"2023"}}',
    '{"a":{"$date":"2024-01-01T24:00:00Z"}}', '{"a":{"$date":"2024-01-01T00:00:00"}}', '{"a":{"$date":1.5}}',
    '{"a":{"$date":"0000-01-01T00:00:00Z"}}', '{"a":{"$date":"2024-01-01T00:00:00.Z"}}', '{"a":{"$date":01}}',
    '{"a":{"$date":"2024-01-01T00:00:00+24:00"}}', '{"a":{"$date":{"$numberLong":1}}}',
    '{"a":{"$numberInt":"2147483648"}}',
    '{"a":{"$numberInt":"1.0"}}', '{"a":{"$numberLong":""}}', '{"a":{"$numberLong":"9223372036854775808"}}',
    '{"a":{"$numberDouble":"0x10"}}', '{"a":{"$numberDouble":"inf"}}', '{"a":{"$numberDouble":"1e999"}}',
    '{"a":{"$numberDouble":"."}}', '{"a":{"$numberDecimal":"1e6145"}}', '{"a":{"$numberDecimal":"."}}',
    '{"a":{"$binary":{"base64":"a","subType":"0"}}}', '{"a":{"$binary":{"base64":"====","subType":"0"}}}',
    '{"a":{"$binary":{"base64":"aGk=","subType":"100"}}}', '{"a":{"$uuid":"11223344556677889900aabbccddeeff"}}',
    '{"a":{"$regularExpression":{"pattern":"a\\u0000","options":""}}}', '{"a":{"$minKey":2}}',
    '{"a":{"$minKey":1.0}}',
    '{"a":{"$regularExpression":{"pattern":"a","options":"ii"}}}', '{"a":{"$timestamp":{"t":-1,"i":0}}}',
    '{"a": ' + "[" * 101 + "]" * 101 + "}", '{"a":' * 5000, '{"a":{"$code":"x","$scope":{}}}',
    '{"a":{"$undefined":true}}',
    '{"a":{"$ref":"c","$id":1}}', '{"a":{"$symbol":"x"}}', "\ufeff{}",
]  # fmt: skip


def natively(body: bytes) -> bytes | None:
    found: bytes | None = NATIVE.bson(body)
    return found


def in_python(body: bytes) -> Any:
    """What the Python makes of it; its error's message."""
    kept, read.native = read.native, None
    try:
        return loads(body)
    except InvalidParameter as error:
        return error.message
    finally:
        read.native = kept


def exact(value: Any) -> Any:
    """``value`` with all that equality passes over."""
    if isinstance(value, dict):
        return "dict", type(value), [(key, exact(item)) for key, item in value.items()]
    if isinstance(value, list):
        return "list", [exact(item) for item in value]
    if isinstance(value, float):
        return "float", struct.pack("<d", value)
    return (
        type(value),
        repr(value),
        value if not isinstance(value, bytes) else (bytes(value), getattr(value, "subtype", 0)),
    )


def assert_same(body: bytes) -> bool:
    """Whether it was read natively, and then as by the Python."""
    found = natively(body)
    if found is None:
        return False
    expected = in_python(body)
    assert not isinstance(expected, str), (expected, body)
    assert exact(bson.decode(found, CODEC)) == exact(expected), body
    return True


@pytest.mark.parametrize("name", ORDINARY)
def test_what_is_ordinary_is_read(name: str) -> None:
    assert assert_same(ORDINARY[name].encode())


@pytest.mark.parametrize("text", LEFT_TO_PYTHON)
def test_what_is_rare_or_wrong_is_left_to_python(text: str) -> None:
    padded = text.encode() + b" " * read.NATIVE_BYTES
    assert natively(padded) is None
    told = in_python(padded)
    if isinstance(told, str):
        with pytest.raises(InvalidParameter) as raised:
            loads(padded)
        assert raised.value.message == told
    else:
        assert exact(loads(padded)) == exact(told)


@pytest.mark.parametrize("raw", [b'{"a":"\xff"}', b'{"a":"\xc3"}', b'{"\xed\xa0\x80":1}', b'{"a":"\xf4\x90\x80\x80"}'])
def test_what_is_not_utf8_is_declined(raw: bytes) -> None:
    assert natively(raw) is None


def test_arguments() -> None:
    for wrong in ("{}", bytearray(b"{}"), None):
        with pytest.raises(TypeError):
            NATIVE.bson(wrong)


def test_objects_of_very_many_keys_are_left_to_python() -> None:
    assert natively(json.dumps({f"field{number}": 1 for number in range(600)}).encode()) is None


def number(draw: random.Random) -> str:
    digits = "".join(draw.choice("0123456789") for _ in range(draw.randrange(1, draw.choice((4, 12, 22, 40)))))
    digits = digits.lstrip("0") or "0"
    if draw.random() < 0.6:
        digits += "." + "".join(draw.choice("0123456789") for _ in range(draw.randrange(1, draw.choice((4, 12, 30)))))
    if draw.random() < 0.4:
        digits += draw.choice("eE") + draw.choice(("", "+", "-")) + str(draw.randrange(draw.choice((5, 30, 330))))
    return draw.choice(("", "-")) + digits


def test_numbers_are_the_nearest() -> None:
    draw, took = random.Random(7), 0
    for _ in range(4000):
        written = number(draw)
        took += assert_same(f'{{"a": {written}, "b": {{"$numberDouble": "{written}"}}}}'.encode())
        took += assert_same(f'{{"a": {{"$numberDecimal": "{written}"}}}}'.encode())
    assert took > 4000


@pytest.mark.parametrize("seed", range(4))
def test_both_ways_read_the_same(seed: int) -> None:
    values = Values(seed)
    draw, took = values.random, 0
    for round in range(400):
        document = bson.decode(bson.encode(values.document(), codec_options=CODEC), CODEC)
        mode = (Mode.CANONICAL, Mode.RELAXED, Mode.PLAIN)[round % 3]
        text = dumps(document, mode)
        if draw.random() < 0.3:
            text = json.dumps(json.loads(text), indent=draw.randrange(3)).encode()
        took += assert_same(text)
        for _ in range(3):
            assert_same(values.damaged(text))
    assert took > 100


def test_what_was_read_is_written_as_it_was() -> None:
    for text in ORDINARY.values():
        found = natively(text.encode())
        assert found is not None
        assert in_python(encode_document(found, Mode.CANONICAL)) == in_python(text.encode()) or "NaN" in text


def test_no_byte_is_touched_that_is_not_its_own(tmp_path: Path) -> None:
    program = sanitized("fuzz_read.c", tmp_path)
    values, files = Values(98), []
    for number in range(30):
        files.append(tmp_path / f"{number}.json")
        files[-1].write_bytes(dumps(values.document(), (Mode.CANONICAL, Mode.RELAXED)[number % 2]))
    for name, ordinary in ORDINARY.items():
        files.append(tmp_path / f"{name}.json")
        files[-1].write_bytes(ordinary.encode())
    taken, declined = fuzz(program, files)
    assert taken > 1000
    assert declined > 1000


FIRST, LAST = -62135596800000, 253402300799999
"""The milliseconds of the years 1 to 9999."""


def values(text: str) -> Any:
    """What the native part makes of a request, which is what the driver makes of its BSON, or None."""
    found = NATIVE.values(text.encode())
    if found is not None:
        assert repr(found) == repr(bson.decode(NATIVE.bson(text.encode()), CODEC))
    return found


@pytest.mark.parametrize("name", ORDINARY)
def test_values_are_those_of_the_bson(name: str) -> None:
    rare = {"far dates", "decimals", "binaries", "uuids", "expressions", "others"}
    assert (values(ORDINARY[name]) is None) == (name in rare)


@pytest.mark.parametrize("text", LEFT_TO_PYTHON)
def test_there_are_no_values_of_what_is_left_to_python(text: str) -> None:
    assert NATIVE.values(text.encode()) is None


def test_values_of_dates_and_of_what_may_be_a_reference() -> None:
    chance = random.Random(7)
    for moment in (FIRST, LAST, -1, 0, *(chance.randint(FIRST, LAST) for _ in range(5000))):
        assert values(json.dumps({"a": {"$date": {"$numberLong": str(moment)}}})) is not None
    for moment in (FIRST - 1, LAST + 1, -(2**63), 2**63 - 1):
        assert values(json.dumps({"a": {"$date": {"$numberLong": str(moment)}}})) is None
    assert values('{"a": {"$ref": "a", "$id": 1}}') is None
    with pytest.raises(TypeError):
        NATIVE.values("{}")
