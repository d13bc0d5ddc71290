"""What is long in JSON: numbers, white space and texts of more than a MiB, by every reader."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from doorleaf.ejson import loads, loads_rest
from doorleaf.ejson.wrappers import LONGEST_NUMBER
from doorleaf.errors import InvalidParameter

READERS = pytest.mark.parametrize("read", [loads, loads_rest], ids=["native", "python"])
LONG = 1_200_000


def refusal(read: Any, body: bytes) -> str:
    with pytest.raises(InvalidParameter) as refused:
        read(body)
    return refused.value.message


@READERS
@pytest.mark.parametrize("body", [b'{"a":%b}', b'{"a":[1,%b]}', b'{"b":1, "a": {"c": %b }}', b"%b"])
@pytest.mark.parametrize(
    ("begin", "end"), [(b"1", b""), (b"-1", b""), (b"0.", b"1"), (b"1e", b"1"), (b"0." + b"0" * 9, b"e-1")]
)
def test_a_number_that_is_too_long_is_refused_as_that(read: Any, body: bytes, begin: bytes, end: bytes) -> None:
    number = begin + b"1" * (LONG - len(begin) - len(end)) + end
    said = refusal(read, body % number)
    assert said == f"malformed JSON: the number {number[:40].decode()}… has more than 1048576 characters"


@READERS
@pytest.mark.parametrize("digit", [b"1", b"0"])
def test_the_longest_number_is_read(read: Any, digit: bytes) -> None:
    longest = b"0." + digit * (LONGEST_NUMBER - 2)
    assert read(b'{"a":%b,"b":[%b]}' % (longest, longest)) == {"a": float(longest), "b": [float(longest)]}
    assert "has more than 1048576 characters" in refusal(read, b'{"a":%b0}' % longest)
    assert "is beyond 64 bits" in refusal(read, b'{"a":%b}' % (b"1" * LONGEST_NUMBER))


@READERS
@pytest.mark.parametrize("wrapper", ["$numberInt", "$numberLong", "$numberDouble", "$numberDecimal"])
def test_a_number_in_a_wrapper_is_no_longer(read: Any, wrapper: str) -> None:
    body = b'{"a":{"%b":"%%b"}}' % wrapper.encode()
    assert read(body % (b"0" * (LONGEST_NUMBER - 1) + b"1"))["a"] is not None
    assert read(body % b"-0005")["a"] == read(body % b"-5")["a"]
    said = refusal(read, body % (b"0" * LONGEST_NUMBER + b"1"))
    assert said == f"a.{wrapper}: the number has 1048577 characters, and 1048576 is the most"


@READERS
@pytest.mark.parametrize("text", ["1" * LONG, ": " + "1" * LONG, "\n" * LONG, "é" * LONG, "\U0001f600" * LONG])
def test_a_long_text_stays_what_it_is(read: Any, text: str) -> None:
    for ascii_only in (True, False):
        assert read(json.dumps({"a": text, "b": 2}, ensure_ascii=ascii_only).encode()) == {"a": text, "b": 2}


@pytest.mark.parametrize("before", ["x" * LONG, "é" * LONG, "é" * (256 * 1024 - 1), "é" * (256 * 1024)])
def test_half_a_pair_is_found_wherever_it_is(before: str) -> None:
    body = f'{{"b":"{"x" * LONG}","a":"{before}\\ud83d"}}'.encode()
    assert refusal(loads, body) == "a: the string has half a surrogate pair"
    assert refusal(loads_rest, body) == "a: the string has half a surrogate pair"


@READERS
@pytest.mark.parametrize("size", [LONG, 4 * 256 * 1024, 4 * 256 * 1024 - 1, 4 * 256 * 1024 + 1])
def test_white_space_may_be_long(read: Any, size: int) -> None:
    space = b" " * size
    body = b'%b{%b"a"%b:%b[%b1%b,%b2%b]%b}%b'.replace(b"%b", space)
    assert read(body) == {"a": [1, 2]}
    assert refusal(read, body.replace(b"2", b"x")).startswith("malformed JSON at byte ")


@READERS
@pytest.mark.parametrize("size", [LONG, LONG + 1, LONG + 2])
def test_binary_data_of_any_length(read: Any, size: int) -> None:
    data = bytes(range(256)) * (size // 256) + bytes(size % 256)
    body = json.dumps({"a": {"$binary": {"base64": "%", "subType": "00"}}})
    text = base64.b64encode(data).decode()
    assert read(body.replace("%", text).encode()) == {"a": data}
    for wrong in (text[:-1] + "A=A", text[: 256 * 1024 - 1] + "=" + text[256 * 1024 :], "é" + text[1:], text + "A"):
        assert refusal(read, body.replace("%", wrong).encode()) == "a.$binary.base64: the string is not base64"


@READERS
def test_options_of_a_regular_expression_are_few(read: Any) -> None:
    body = b'{"a":{"$regularExpression":{"pattern":"","options":"%b"}}}'
    assert read(body % b"ilmsux")["a"].flags
    for options in (b"i" * LONG, b"ilmsuxi"):
        assert refusal(read, body % options) == (
            "a.$regularExpression.options: expected a string of the letters i l m s u x"
        )
