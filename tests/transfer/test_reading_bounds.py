"""How much of a file is read to find one row: neither nothing nor a row may go on without end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from odd import reader

from doorleaf.transfer import json_file, ndjson, rows, tables
from doorleaf.transfer.rows import Row, Unreadable


def until_unreadable(given: Iterator[Row]) -> tuple[list[Any], str]:
    """The documents before the place where no more can be read, and why that is."""
    found = []
    try:
        for row in given:
            found.append(row.document)  # noqa: PERF401  # what came before the error counts
    except Unreadable as error:
        return found, error.message
    raise AssertionError("all of it can be read")


@pytest.mark.parametrize(
    ("read", "text", "line"),
    [
        (ndjson.rows, b'{"a":1}\n%b{"a":2}\n', b"\n"),
        (ndjson.rows, b'{"a":1}\n%b{"a":2}\n', b"  \r\n"),
        (json_file.rows, b'[{"a":1},%b{"a":2}]', b" \t\r\n"),
        (json_file.rows, b'{"a":1}%b{"a":2}', b" "),
        (lambda read: tables.Table(read).rows(), b"a\n1\n%b2\n", b"\n"),
    ],
    ids=["lines", "long lines", "array", "objects", "table"],
)
def test_nothing_may_be_between_two_rows_but_not_without_end(read: Any, text: bytes, line: bytes) -> None:
    some = line * (rows.MOST_BLANK_BYTES // len(line) - 2)
    assert [row.document for row in read(reader(text % some))] == [{"a": 1}, {"a": 2}]
    found, why = until_unreadable(read(reader(text % (some * 4))))
    assert found == [{"a": 1}]
    assert "there is no row in more than 1048576 bytes" in why


def test_a_row_is_no_longer_than_it_may_be_wherever_its_end_is() -> None:
    longest = b'{"a":"%b"}' % (b"x" * (rows.MOST_ROW_BYTES - 8))
    for before in (0, 1_000_000):
        begin = b"[" + b" " * before
        row = next(json_file.rows(reader(begin + longest + b"]")))
        assert row.size == rows.MOST_ROW_BYTES
        assert row.number == 1
        found, why = until_unreadable(json_file.rows(reader(begin + longest.replace(b"x", b"xx", 1) + b"]")))
        assert (found, why) == ([], f"line 1: the row is longer than {rows.MOST_ROW_BYTES} characters")


@pytest.mark.parametrize("more", [0, 1, rows.CHUNK_BYTES // 2])
def test_very_many_backslashes_before_a_quote_are_counted_at_once(more: int) -> None:
    slashes = b"\\\\" * (rows.CHUNK_BYTES + more)
    found = [row.document for row in json_file.rows(reader(b'[{"a":"x%b"},{"a":"x%b\\",\\\\"}]' % (slashes, slashes)))]
    assert found == [{"a": "x" + "\\" * (len(slashes) // 2)}, {"a": "x" + "\\" * (len(slashes) // 2) + '",\\'}]


def test_lines_are_counted_behind_a_large_row() -> None:
    large = b'{"a":"%b",\n\n"b":1}' % (b"x" * 2_000_000)
    assert [row.number for row in json_file.rows(reader(b"[\n" + large + b',\n{"a":1}]'))] == [2, 5]


def test_what_is_long_in_a_row_is_read_in_pieces() -> None:
    for size in (3_000_000, 3 * rows.CHUNK_BYTES, 6 * rows.CHUNK_BYTES):
        for space in (b" ", b"\n"):
            text = b'[{"a":1},{"b":%b2,"c":"%b","d":[%b]},%b{"e":5}]'
            given = text % (space * size, b"]}" * size, b"1," * 10_000 + b"1", space * rows.CHUNK_BYTES * 2)
            found = list(json_file.rows(reader(given[:-1] + b"]")))
            assert [row.document for row in found] == [
                {"a": 1},
                {"b": 2, "c": "]}" * size, "d": [1] * 10_001},
                {"e": 5},
            ]
            lines = size + 2 * rows.CHUNK_BYTES if space == b"\n" else 0
            assert [row.number for row in found] == [1, 1, 1 + lines]


def test_a_long_row_that_is_no_object() -> None:
    text = b"x" * 3_000_000
    found = list(json_file.rows(reader(b'["%b\\"",{"a":1},"%b"]' % (text, text))))
    assert [row.document for row in found] == [None, {"a": 1}, None]
    assert found[0].reason == "the row must be a JSON object, got a string of length 3000001"
    for digits in (b"1" * 3_000_000, b"0." + b"1" * 3_000_000):
        documents, why = until_unreadable(json_file.rows(reader(b'[{"a":1},%b,{"b":2}]' % digits)))
        assert documents == [{"a": 1}]
        assert why.endswith("… has more than 1048576 characters")
        row, *others = json_file.rows(reader(b'[{"a":%b},{"b":2}]' % digits))
        assert row.document is None
        assert row.reason.endswith("… has more than 1048576 characters")
        assert [other.document for other in others] == [{"b": 2}]
