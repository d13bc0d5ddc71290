"""What functions are given: arguments on the event loop or too long for it, and the headers of a request; and what they
answer."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from bson import Code, DBRef, Regex

from doorleaf import ejson
from doorleaf.apart import SMALL_BYTES
from doorleaf.apart.sizes import is_small
from doorleaf.dialects.base import Request
from doorleaf.documents import ABSENT
from doorleaf.functions.request import headers_told
from doorleaf.functions.runtime import object_answer

LONG = "x" * SMALL_BYTES
NESTED: Any = "end"
for _ in range(SMALL_BYTES):
    NESTED = [NESTED]


@pytest.mark.parametrize(
    "value", [[], [ABSENT, None, 1, 1.5, True], [{"a": {"b": ["c"] * 100}}], ["x" * 10_000], [{1: 2}]]
)
def test_what_is_short_is_written_at_once(value: Any) -> None:
    assert is_small(value)


@pytest.mark.parametrize(
    "value",
    [
        *(LONG, LONG.encode(), {LONG: 1}, [1] * SMALL_BYTES, dict.fromkeys(map(str, range(SMALL_BYTES)))),
        *(
            Regex(LONG),
            Code(LONG),
            Code("", {"a": LONG}),
            DBRef("c", LONG),
            NESTED,
            (1,) * SMALL_BYTES,
            [["x" * 99]] * 200,
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_long_is_not(value: Any) -> None:
    assert not is_small([{"a": value}])


def test_long_names_of_headers_are_shown_as_others_are_and_not_kept() -> None:
    names = [b"x-a", b"x-" + b"long" * 15_000]
    before = [sys.getrefcount(name) for name in names]
    told = headers_told(Request("GET", "/", dict.fromkeys(names, b"1"), "192.0.2.1", "id"))
    assert told == {"X-A": ["1"], "X-L" + "ong" + "long" * 14_999: ["1"]}
    assert [sys.getrefcount(name) for name in names] == [before[0] + 1, before[1]]


@pytest.mark.parametrize("mode", ejson.Mode)
@pytest.mark.parametrize(
    "value",
    [
        b'{"_id":{"$oid":"64224f3cd79f54ad342dd9b1"},"at":{"$date":"1969-07-20T20:17:40.5Z"},"n":5,"half":0.5,"whole":5.0}',
        b'{"a":[{"$numberLong":"9007199254740993"},{"$numberDouble":"-0.0"},{"$numberDouble":"NaN"},null],"b":{},"c":""}',
        b'{"late":{"$date":{"$numberLong":"253402300800000"}},"\xc3\xa9":"\xf0\x9f\x98\x80\\u2028","x":{"$maxKey":1}}',
    ],
)
def test_an_object_is_answered_as_its_values_are(value: bytes, mode: ejson.Mode) -> None:
    text = b'{"value":' + value + b"}"
    assert object_answer(text, mode) in (None, ejson.dumps(ejson.loads(text)["value"], mode))
    assert ejson.loads_bson(text) is None or object_answer(text, mode) is not None


@pytest.mark.parametrize(
    "text",
    [
        b'{"value":{"a":1},"b":{}}',
        b'{"value":{"a":1}}}',
        b'{"value":{"a":1,"a":2}}',
        b'{"value":{"$oid":"64224f3cd79f54ad342dd9b1"}}',
        b'{"value":{"a":{"$oid":"short"}}}',
        b'{"value":{}}',
        b'{"value":[{"a":1}]}',
        b'{"value":null}',
        b'{"value":{"a":"' + LONG.encode() + b'"}}',
        b'{"said":{"status":200,"headers":[]}}',
    ],
    ids=lambda text: text[:40].decode(),
)
def test_what_may_be_no_object_is_looked_at(text: bytes) -> None:
    assert object_answer(text, ejson.Mode.PLAIN) is None
