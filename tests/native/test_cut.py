"""The native part takes the last fields out of a document where they are that, and of no other document anything."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import bson
import pytest
from native_values import Values, fuzz, sanitized

from doorleaf.documents import CODEC
from doorleaf.ejson.transcoder import native

if native is None:
    pytest.skip("built without a C compiler", allow_module_level=True)

NATIVE: Any = native
LAST = {"_t": "b", "_w": "c"}
FIELDS = bson.encode(LAST)[4:-1]


def raw(elements: bytes) -> bytes:
    return struct.pack("<i", len(elements) + 5) + elements + b"\0"


def without(document: bytes) -> bytes | None:
    [found] = NATIVE.without([document], FIELDS)
    return found  # type: ignore[no-any-return]  # or it is no list of one


def test_fields_behind_values_of_every_type() -> None:
    values, taken = Values(5), 0
    for _ in range(2000):
        document = {f"k{number}": values.value(0) for number in range(values.random.randrange(6))}
        whole = bson.encode({**document, **LAST}, codec_options=CODEC)
        found = without(whole)
        if found is None:
            assert any(type(value) is bson.Regex or type(value) is bson.Code for value in document.values())
            continue
        assert found == bson.encode(document, codec_options=CODEC)
        taken += 1
    assert taken > 1000


@pytest.mark.parametrize(
    "document",
    [
        bson.encode({"a": 1}),
        bson.encode({**LAST, "a": 1}),
        bson.encode({"_w": "c", "_t": "b"}),
        bson.encode({"_t": "b", "_w": "d"}),
        bson.encode({"a": {**LAST}}),
        raw(b"\x02a\0" + struct.pack("<i", len(FIELDS) + 2) + b"x" + FIELDS + b"\0"),  # text that looks so
        raw(b"\x02a\0" + struct.pack("<i", len(FIELDS) + 1) + b"x" + FIELDS),  # whose own NUL is part of it
        raw(b"\x05a\0" + struct.pack("<i", len(FIELDS)) + b"\0" + FIELDS),
        raw(b"\x06a\0" + FIELDS),
        raw(b"\x02a\0\xff\xff\xff\x7f" + FIELDS),
        raw(b"\x03a\0\x00\0\0\0" + FIELDS),
        raw(b"\x03a\0\x04\0\0\0" + FIELDS),
        raw(b"\x02a\0\x00\0\0\0" + FIELDS),
        raw(b"\x0fa\0\x0d\0\0\0\x01\0\0\0\0" + b"\x05\0\0\0" + FIELDS),
        raw(b"\x10a" + FIELDS),
        raw(FIELDS)[:-1],
        raw(FIELDS) + b"\0",
        b"",
        b"\x05\0\0\0\0",
    ],
)
def test_what_does_not_end_with_them(document: bytes) -> None:
    assert without(document) is None


def test_each_of_some_documents() -> None:
    one, other = bson.encode({"a": 1, **LAST}), bson.encode({"a": 1})
    assert NATIVE.without([one, other, one], FIELDS) == [other, None, other]
    assert NATIVE.without([bson.encode(LAST)], FIELDS) == [bson.encode({})]
    assert NATIVE.without([], FIELDS) == []
    for given in ("x", [1], (one,), [bytearray(one)]):
        with pytest.raises(TypeError):
            NATIVE.without(given, FIELDS)


def test_no_byte_is_touched_that_is_not_its_own(tmp_path: Path) -> None:
    program = sanitized("fuzz_cut.c", tmp_path, "cut.c")
    values, files = Values(6), []
    for number in range(40):
        document = {f"k{place}": values.value(0) for place in range(values.random.randrange(1, 5))}
        files.append(tmp_path / f"{number}.bson")
        files[-1].write_bytes(bson.encode({**document, **LAST}, codec_options=CODEC))
    taken, declined = fuzz(program, files)
    assert taken > 1000
    assert declined > 1000
