"""Strings, regular expressions and conversions."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

import pytest
from bson import Binary, Decimal128, Int64, MaxKey, ObjectId, Regex, Timestamp
from expression_checks import ErrorRow, Row, assert_error, assert_row

D = Decimal128
OID = ObjectId("65a000000000000000000000")
DAY = datetime(2024, 2, 29, 13, 4, 5, 678_000)


def convert(value: Any, to: Any, **arguments: Any) -> dict[str, Any]:
    return {"$convert": {"input": value, "to": to, **arguments}}


def replace(name: str, text: Any, find: Any, replacement: Any) -> dict[str, Any]:
    return {name: {"input": text, "find": find, "replacement": replacement}}


def regex(name: str, text: Any, pattern: Any, **arguments: Any) -> dict[str, Any]:
    return {name: {"input": text, "regex": pattern, **arguments}}


ROWS: list[Row] = [
    ({"a": "x"}, {"$concat": ["$a", "-", "y"]}, "x-y"),
    ({}, {"$concat": []}, ""),
    ({}, {"$concat": ["a", None]}, None),
    ({}, {"$toLower": "ÀBC"}, "Àbc"),
    ({}, {"$toLower": None}, ""),
    ({}, {"$toUpper": "abcé"}, "ABCé"),
    ({}, {"$toUpper": 1.5}, "1.5"),
    ({}, {"$toUpper": 1234567.0}, "1.23457E+06"),
    ({}, {"$toLower": DAY}, "2024-02-29t13:04:05.678z"),
    ({}, {"$toLower": Timestamp(1, 2)}, "jan  1 00:00:01:2"),
    ({}, {"$strcasecmp": ["ABC", "abd"]}, -1),
    ({}, {"$strcasecmp": ["b", "A"]}, 1),
    ({}, {"$strcasecmp": [None, ""]}, 0),
    ({}, {"$strLenBytes": "café"}, 5),
    ({}, {"$strLenCP": "café"}, 4),
    ({}, {"$strLenCP": "😀"}, 1),
    ({}, {"$trim": {"input": "  \t x y\n\u00a0"}}, "x y"),
    ({}, {"$trim": {"input": "xxhixx", "chars": "x"}}, "hi"),
    ({}, {"$trim": {"input": "x", "chars": None}}, None),
    ({}, {"$ltrim": {"input": "  x "}}, "x "),
    ({}, {"$rtrim": {"input": "  x "}}, "  x"),
    ({}, {"$rtrim": {"input": None}}, None),
    ({}, {"$split": ["a-b--c", "-"]}, ["a", "b", "", "c"]),
    ({}, {"$split": ["abc", "x"]}, ["abc"]),
    ({}, {"$split": [None, "x"]}, None),
    ({}, replace("$replaceOne", "aXbXc", "X", "-"), "a-bXc"),
    ({}, replace("$replaceAll", "aXbXc", "X", "--"), "a--b--c"),
    ({}, replace("$replaceAll", "ab", "", "-"), "-a-b-"),
    ({}, replace("$replaceOne", "a", "x", "y"), "a"),
    ({}, replace("$replaceAll", None, "x", "y"), None),
    ({}, {"$substr": ["hello", 1, 3]}, "ell"),
    ({}, {"$substr": [12345, 1, 2]}, "23"),
    ({}, {"$substrBytes": ["café", 0, 5]}, "café"),
    ({}, {"$substrBytes": ["hello", 2, -1]}, "llo"),
    ({}, {"$substrBytes": ["hello", 9, 1]}, ""),
    ({}, {"$substrBytes": [None, 0, 1]}, ""),
    ({}, {"$substrCP": ["café!", 3, 2]}, "é!"),
    ({}, {"$substrCP": ["x", 5, 1]}, ""),
    ({}, {"$indexOfBytes": ["cafétéria", "é"]}, 3),
    ({}, {"$indexOfBytes": ["cafétéria", "é", 4]}, 6),
    ({}, {"$indexOfCP": ["cafétéria", "é", 4]}, 5),
    ({}, {"$indexOfCP": ["abcabc", "c", 0, 2]}, -1),
    ({}, {"$indexOfCP": ["abc", "x"]}, -1),
    ({}, {"$indexOfCP": [None, "x"]}, None),
    ({}, regex("$regexMatch", "line one", "ONE$", options="i"), True),
    ({}, regex("$regexMatch", "x", Regex("^Y", "i")), False),
    ({}, regex("$regexMatch", None, "x"), False),
    ({}, regex("$regexFind", "café au lait", "a(.)"), {"match": "af", "idx": 1, "captures": ["f"]}),
    ({}, regex("$regexFind", "été lait", "l(x)?"), {"match": "l", "idx": 4, "captures": [None]}),
    ({}, regex("$regexFind", "abc", "z"), None),
    (
        {},
        regex("$regexFindAll", "a1b22", r"\d+"),
        [{"match": "1", "idx": 1, "captures": []}, {"match": "22", "idx": 3, "captures": []}],
    ),
    ({}, regex("$regexFindAll", None, "x"), []),
    ({}, regex("$regexFindAll", "ab", ""), [{"match": "", "idx": i, "captures": []} for i in (0, 1)]),
    ({}, {"$toBool": 0}, False),
    ({}, {"$toBool": "false"}, True),
    ({}, {"$toBool": D("0.0")}, False),
    ({}, {"$toBool": math.nan}, True),
    ({}, {"$toBool": [[]]}, True),
    ({}, {"$toBool": None}, None),
    ({}, {"$toInt": 1.9}, 1),
    ({}, {"$toInt": -1.9}, -1),
    ({}, {"$toInt": "-0042"}, -42),
    ({}, {"$toInt": True}, 1),
    ({}, {"$toInt": D("7.9")}, 7),
    ({}, {"$toInt": "$none"}, None),
    ({}, {"$toLong": 5}, Int64(5)),
    ({}, {"$toLong": "9223372036854775807"}, Int64(2**63 - 1)),
    ({}, {"$toLong": datetime(1970, 1, 2)}, Int64(86_400_000)),
    ({}, {"$toDouble": "1.5e3"}, 1500.0),
    ({}, {"$toDouble": "-Infinity"}, -math.inf),
    ({}, {"$toDouble": D("1.5")}, 1.5),
    ({}, {"$toDouble": False}, 0.0),
    ({}, {"$toDecimal": "1.50"}, D("1.50")),
    ({}, {"$toDecimal": 2.5}, D("2.50000000000000")),
    ({}, {"$toDecimal": 0.1}, D("0.100000000000000")),
    ({}, {"$toDecimal": 7}, D("7")),
    ({}, {"$toString": 2.5}, "2.5"),
    ({}, {"$toString": 1.0}, "1"),
    ({}, {"$toString": 0.1 + 0.2}, "0.30000000000000004"),
    ({}, {"$toString": 1e16}, "1e+16"),
    ({}, {"$toString": -0.0}, "-0"),
    ({}, {"$toString": math.inf}, "Infinity"),
    ({}, {"$toString": D("1E+3")}, "1E+3"),
    ({}, {"$toString": True}, "true"),
    ({}, {"$toString": OID}, "65a000000000000000000000"),
    ({}, {"$toString": DAY}, "2024-02-29T13:04:05.678Z"),
    ({}, {"$toString": Binary(b"hello", 0)}, "aGVsbG8="),
    ({}, {"$toObjectId": "65A000000000000000000000"}, OID),
    ({}, {"$toDate": Int64(86_400_000)}, datetime(1970, 1, 2)),
    ({}, {"$toDate": 1.9}, datetime(1970, 1, 1, 0, 0, 0, 1000)),
    ({}, {"$toDate": "2024-02-29"}, datetime(2024, 2, 29)),
    ({}, {"$toDate": ObjectId("00000e100000000000000000")}, datetime(1970, 1, 1, 1)),
    ({}, {"$toDate": Timestamp(60, 5)}, datetime(1970, 1, 1, 0, 1)),
    ({}, {"$toUUID": "01020304-0506-0708-090a-0b0c0d0e0f10"}, Binary(bytes(range(1, 17)), 4)),
    ({}, convert("5", "int"), 5),
    ({}, convert(5, 2), "5"),
    ({}, convert("x", "int", onError="bad"), "bad"),
    ({}, convert(None, "int", onNull="none"), "none"),
    ({}, convert(5, None), None),
    ({}, convert(5, {"type": "string"}), "5"),
    ({}, convert("68656C6c6f", "binData", format="hex"), b"hello"),
    ({}, convert(b">>>>", "string", format="base64url"), "Pj4-Pg"),
    ({}, convert(b"hello", "string", format="utf8"), "hello"),
    ({}, convert(42, "binData", byteOrder="big"), b"\0\0\0*"),
    ({}, convert(b"*\0\0\0", "int"), 42),
]

ERRORS: list[ErrorRow] = [
    ({}, {"$concat": ["a", 1]}, 16702, "$concat only supports strings, not int"),
    ({}, {"$toLower": [[1]]}, 16007, "can't convert from BSON type array to String"),
    ({}, {"$strLenCP": None}, 34471, "$strLenCP requires a string argument, found: null"),
    ({}, {"$strLenBytes": "$none"}, 34473, "$strLenBytes requires a string argument, found: missing"),
    ({}, {"$trim": "x"}, 50696, "$trim"),
    ({}, {"$trim": {"chars": "x"}}, 50695, "$trim requires an 'input' field"),
    ({}, {"$trim": {"input": 5}}, 50699, "got 5 (of type int) instead"),
    ({}, {"$trim": {"input": "x", "chars": 5}}, 50700, "requires 'chars' to be a string"),
    ({}, {"$split": ["a", ""]}, 40087, "$split requires a non-empty separator"),
    ({}, {"$split": [5, "x"]}, 40085, "as a first argument, found: int"),
    ({}, {"$split": ["x", 5]}, 10503900, "as a second argument, found: int"),
    ({}, replace("$replaceOne", 5, "x", "y"), 10503904, "'input' be a string, found: 5"),
    ({}, replace("$replaceAll", "a", 5, "y"), 10503901, "'find' be a string, found: 5"),
    ({}, {"$replaceOne": {"input": "x", "find": "y"}}, 51747, "requires 'replacement' to be specified"),
    ({}, {"$substrBytes": ["café", 4, 1]}, 28656, "starting index is a UTF-8 continuation byte"),
    ({}, {"$substrBytes": ["café", 0, 4]}, 28657, "in the middle of a UTF-8 character"),
    ({}, {"$substrBytes": ["x", -1, 1]}, 50752, "must be non-negative (got: -1)"),
    ({}, {"$substr": ["x", "y", 1]}, 16034, "starting index must be a numeric type (is BSON type string)"),
    ({}, {"$substrCP": ["x", -1, 1]}, 34455, "nonnegative integer"),
    ({}, {"$substrCP": ["x", 0, -1]}, 34454, "length must be a nonnegative integer"),
    ({}, {"$indexOfBytes": [5, "x"]}, 40091, "string as the first argument, found: int"),
    ({}, {"$indexOfCP": ["x", 5]}, 40094, "string as the second argument, found: int"),
    ({}, {"$indexOfCP": ["x", "y", -1]}, 40097, "nonnegative starting index, found: -1"),
    ({}, {"$regexMatch": 5}, 51103, "$regexMatch expects an object of named arguments but found: int"),
    ({}, regex("$regexMatch", 5, "x"), 51104, "$regexMatch needs 'input' to be of type string"),
    ({}, regex("$regexFind", "x", 5), 51105, "needs 'regex' to be of type string or regex"),
    ({}, regex("$regexFind", "x", "y", options=5), 51106, "needs 'options' to be of type string"),
    ({}, regex("$regexFind", "x", Regex("y", "i"), options="i"), 51107, "both 'regex' and 'option' fields"),
    ({}, regex("$regexFind", "x", "y", options="z"), 51108, "invalid flag in regex options: z"),
    ({}, regex("$regexFind", "x", "("), 51111, "Invalid Regex in $regexFind"),
    ({}, {"$toInt": "x"}, 241, "Failed to parse number 'x' in $convert with no onError value"),
    ({}, {"$toInt": "1.5"}, 241, "Failed to parse number '1.5'"),
    ({}, {"$toInt": ""}, 241, "Failed to parse number ''"),
    ({}, {"$toInt": 2**31}, 241, "Conversion would overflow target type in $convert with no onError value: 2147483648"),
    ({}, {"$toInt": math.nan}, 241, "Attempt to convert NaN value to integer type"),
    ({}, {"$toLong": math.inf}, 241, "Attempt to convert infinity value to integer type"),
    ({}, {"$toInt": DAY}, 241, "Unsupported conversion from date to int in $convert with no onError value"),
    ({}, {"$toDouble": "1e999"}, 241, "Out of range"),
    ({}, {"$toDate": 5}, 241, "Unsupported conversion from int to date"),
    ({}, {"$toDate": "tomorrow"}, 241, "Error parsing date string 'tomorrow'"),
    ({}, {"$toObjectId": "x"}, 241, "Invalid string length for parsing to OID, expected 24 but found 1"),
    ({}, {"$toObjectId": "z" * 24}, 241, "Invalid character found in hex string"),
    ({}, {"$toString": MaxKey()}, 241, "Unsupported conversion from maxKey to string"),
    ({}, {"$toInt": [1, 2]}, 50723, "$toInt requires a single argument, got 2"),
    ({}, convert(1, "thing"), 2, "Unknown type name: thing"),
    ({}, convert(1, 1.5), 9, "not an integer"),
    ({}, convert("x", "binData"), 4341115, "Format must be specified"),
    ({}, convert("x", "binData", format="morse"), 4341125, "morse"),
    ({}, {"$convert": {"input": 1}}, 9, "Missing 'to' parameter to $convert"),
]


@pytest.mark.parametrize("row", ROWS, ids=repr)
def test_value(row: Row) -> None:
    assert_row(row)


@pytest.mark.parametrize("row", ERRORS, ids=repr)
def test_error(row: ErrorRow) -> None:
    assert_error(row)
