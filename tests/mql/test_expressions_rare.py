"""What is rare of conversions, substrings, dates in texts and decimal functions: every form, bound and refusal."""

from __future__ import annotations

import struct
from datetime import datetime
from typing import Any

import pytest
from bson import Binary, Decimal128, Int64
from expression_checks import ErrorRow, Row, assert_error, assert_row

D = Decimal128
UUID_BYTES = bytes(range(16))
UUID_TEXT = "00010203-0405-0607-0809-0a0b0c0d0e0f"
AS_UUID = {"type": "binData", "subtype": 4}


def convert(value: Any, to: Any, **arguments: Any) -> dict[str, Any]:
    return {"$convert": {"input": value, "to": to, **arguments}}


def dated(text: str, form: str | None = None, **arguments: Any) -> dict[str, Any]:
    return {"$dateFromString": {"dateString": text, **({"format": form} if form else {}), **arguments}}


BINARY: list[Row] = [
    ({}, convert("é", "binData", format="utf8"), "é".encode()),
    ({}, convert("aGk=", "binData", format="base64"), b"hi"),
    ({}, convert("Pj4-Pg", "binData", format="base64url"), b">>>>"),
    ({}, convert(UUID_TEXT, AS_UUID, format="uuid"), Binary(UUID_BYTES, 4)),
    ({"b": b"x"}, convert("$b", "binData"), b"x"),
    ({}, convert(1.5, "binData"), struct.pack("<d", 1.5)),
    ({}, convert(Int64(7), "binData", byteOrder="big"), struct.pack(">q", 7)),
    ({}, convert(7, {"type": "binData", "subtype": 5}, byteOrder=None), Binary(b"\7\0\0\0", 5)),
    ({"b": Binary(UUID_BYTES, 4)}, convert("$b", "string", format="uuid"), UUID_TEXT),
    ({"b": Binary(UUID_BYTES, 4)}, convert("$b", "string", format="auto"), UUID_TEXT),
    ({"b": b"hi"}, convert("$b", "string", format="auto"), "aGk="),
    ({"b": b"hi"}, convert("$b", "string", format="base64"), "aGk="),
    ({"b": b"\xab\x01"}, convert("$b", "string", format="hex"), "AB01"),
    ({"b": Binary(b"hi", 2)}, convert("$b", "string", format="hex"), "020000006869"),
    ({"b": struct.pack("<f", 1.5)}, convert("$b", "double"), 1.5),
    ({"b": struct.pack(">d", -2.0)}, convert("$b", "double", byteOrder="big"), -2.0),
    ({"b": struct.pack("<q", 2**40)}, convert("$b", "long"), Int64(2**40)),
    ({"b": b"\xff"}, convert("$b", "int"), -1),
    ({"b": b"\1\2\3"}, convert("$b", "int", onError="three"), "three"),
]

TEXTS: list[Row] = [
    ({}, {"$substrBytes": ["hello", D("1.5"), D("2.5")]}, "ll"),
    ({}, {"$substr": ["hello", 1, D("1E30")]}, "ello"),
    ({}, {"$substrBytes": ["hello", 1.9, -1]}, "ello"),
    ({}, {"$substrBytes": ["hello", 5, 1]}, ""),
    ({}, {"$indexOfBytes": [None, "a"]}, None),
    ({}, {"$indexOfCP": [None, "a"]}, None),
    ({}, {"$indexOfCP": ["", ""]}, 0),
    ({}, {"$indexOfCP": ["", "", 1]}, -1),
]

DATES: list[Row] = [
    ({}, dated("2024-W10-2"), datetime(2024, 3, 5)),
    ({}, dated("2024W10"), datetime(2024, 3, 4)),
    ({}, dated("2024-061"), datetime(2024, 3, 1)),
    ({}, dated("Feb 29 12:30 2024"), datetime(2024, 2, 29, 12, 30)),
    ({}, dated("Thu, 29 Feb 2024 1pm"), datetime(2024, 2, 29, 13)),
    ({}, dated("29 Feb 2024 12 am"), datetime(2024, 2, 29)),
    ({}, dated("2024-02-29T12:00 +02:30"), datetime(2024, 2, 29, 9, 30)),
    ({}, dated("2024-02-29 12 +90", "%Y-%m-%d %H %Z"), datetime(2024, 2, 29, 10, 30)),
    ({}, dated("2024-02-29 12 GMT+2", "%Y-%m-%d %H %z"), datetime(2024, 2, 29, 10)),
    ({}, dated("100% 29 February 2024", "100%% %d %B %Y"), datetime(2024, 2, 29)),
    ({}, dated("13 2024", "%d %Y", onError="none"), "none"),
]

PI_OVER_4, THREE_PI_OVER_4 = D("0.7853981633974483096156608458198757"), D("2.356194490192344928846982537459627")
INFINITE, MINUS_INFINITE = D("Infinity"), D("-Infinity")
DECIMALS: list[Row] = [
    ({}, {"$atan2": [INFINITE, INFINITE]}, PI_OVER_4),
    ({}, {"$atan2": [INFINITE, MINUS_INFINITE]}, THREE_PI_OVER_4),
    ({}, {"$atan2": [D("1"), D("-1")]}, THREE_PI_OVER_4),
    ({}, {"$atan2": [D("-0"), D("1")]}, D("-0")),
    ({}, {"$tanh": D("-200")}, D("-1")),
    ({}, {"$asinh": D("1E-50")}, D("1E-50")),
    ({}, {"$asinh": D("-1E+50")}, D("-115.8224018302622295103168048556764")),
    ({}, {"$acosh": D("1E+50")}, D("115.8224018302622295103168048556764")),
    ({}, {"$atanh": D("1E-50")}, D("1E-50")),
    ({}, {"$atanh": D("-1")}, D("-Infinity")),
]

ERRORS: list[ErrorRow] = [
    ({}, convert("x", "binData", format=5), 4341114, "requires that 'format' be a string, found: int"),
    ({}, convert("x", "binData", format="rot13"), 4341125, "Invalid 'format' argument for $convert: rot13"),
    ({}, convert(1, "binData", byteOrder=5), 9130001, "requires that 'byteOrder' be a string, found: int"),
    ({}, convert(1, "binData", byteOrder="middle"), 9130002, "Invalid 'byteOrder' argument for $convert: middle"),
    ({}, convert(1, {"type": "binData", "subtype": "x"}), 4341108, "'subtype' must be a number, but is string"),
    ({}, convert(1, {"type": "binData", "subtype": 1.5}), 4341106, "numeric 'subtype' argument is not an integer"),
    ({}, convert(1, {"type": "binData", "subtype": 50}), 4341107, "does not correspond to a BinData type: 50"),
    ({}, convert("x", "binData"), 4341115, "Format must be specified when converting from 'string' to 'binData'"),
    ({"b": b"x"}, convert("$b", "string"), 4341115, "Format must be specified when converting from 'binData'"),
    ({"b": b"x"}, convert("$b", AS_UUID), 241, "Conversions between different BinData subtypes are not supported"),
    ({}, convert(UUID_TEXT, "binData", format="uuid"), 241, "Only the UUID format is allowed with the UUID subtype"),
    ({}, convert("a+/=", "binData", format="base64url"), 241, "Input string is not valid as 'base64url'"),
    ({}, convert("a", "binData", format="base64"), 241, "Input string is not valid as 'base64'"),
    ({}, convert("abc", "binData", format="hex"), 241, "Input string is not valid as 'hex'"),
    ({}, convert("0-0", AS_UUID, format="uuid"), 241, "Input string is not valid as 'uuid'"),
    ({"b": b"x"}, convert("$b", "string", format="uuid"), 241, "Only 16 bytes of the UUID subtype"),
    ({"b": b"\xff"}, convert("$b", "string", format="utf8"), 241, "BinData is not valid UTF-8"),
    ({"b": b"\1\2\3"}, convert("$b", "int"), 241, "to int because of invalid length: 3"),
    ({}, {"$substrBytes": ["hello", "x", 1]}, 16034, "starting index must be a numeric type (is BSON type string)"),
    ({}, {"$substrBytes": ["hello", 1, "x"]}, 16035, "length must be a numeric type (is BSON type string)"),
    ({}, {"$substrBytes": ["hello", 1, 1e300]}, 31109, "Can't coerce out of range value"),
    ({}, {"$substrBytes": ["hello", D("NaN"), 1]}, 50752, "starting index must be non-negative"),
    ({}, {"$substrCP": ["hello", "x", 1]}, 34450, "starting index must be a numeric type"),
    ({}, {"$substrCP": ["hello", 1, 1.5]}, 34453, "length cannot be represented as a 32-bit integral value: 1.5"),
    ({}, {"$indexOfCP": ["a", 5]}, 40094, "requires a string as the second argument, found: int"),
    ({}, dated("Mon, 29 Feb 2024"), 241, "the day of the week does not belong to the date"),
    ({}, dated("2024-02-29 2024-02-28"), 241, "Double date specification"),
    ({}, dated("29 Feb 2024 12:00 2023"), 241, "Double date specification"),
    ({}, dated("2024-02-29 ?"), 241, "Unexpected character '?' at position 11"),
    ({}, dated("2024-W60"), 241, "The parsed date was invalid"),
    ({}, dated("2024-400"), 241, "The parsed date was invalid"),
    ({}, dated("2024-02-29 13pm"), 241, "Unexpected hour"),
    ({}, dated("2024-02-29 25:00"), 241, "The parsed time was invalid"),
    ({}, dated("10", "%V"), 241, "an incomplete date/time string has been found"),
    ({}, dated("2024/02/29", "%Y-%m-%d"), 241, "Format literal not found: '-'"),
    ({}, dated("2024-x", "%Y-%m"), 241, "no value found for '%m' at position 5"),
    ({}, dated("2024-02-29!", "%Y-%m-%d"), 241, "Trailing data"),
    ({}, dated("29 Foo 2024", "%d %b %Y"), 241, "A textual month could not be found"),
]


@pytest.mark.parametrize("row", [*BINARY, *TEXTS, *DATES, *DECIMALS], ids=str)
def test_value(row: Row) -> None:
    assert_row(row)


@pytest.mark.parametrize("row", ERRORS, ids=str)
def test_error(row: ErrorRow) -> None:
    assert_error(row)
