"""What functions are given: arguments on the event loop or too long for it, and the headers of a request."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from bson import Code, DBRef, Regex

from doorleaf.apart import SMALL_BYTES
from doorleaf.apart.sizes import is_small
from doorleaf.dialects.base import Request
from doorleaf.documents import ABSENT
from doorleaf.functions.request import headers_told

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
