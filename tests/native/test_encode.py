"""Documents that are encoded natively have the bytes that the driver's library gives them; all others are its own."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import uuid
from collections import OrderedDict
from datetime import UTC, datetime, timedelta
from typing import Any

import bson
import pytest
from bson import Binary, Code, Decimal128, Int64, MaxKey, ObjectId, Regex, Timestamp
from bson.errors import InvalidDocument
from native_values import Values

from doorleaf.documents import CODEC, Document, Exact, new_id
from doorleaf.ejson import transcoder
from doorleaf.ejson.transcoder import encode

if transcoder.native is None:
    pytest.skip("built without a C compiler", allow_module_level=True)

NATIVE: Any = transcoder.native


class Text(str):
    __slots__ = ()


def nested(depth: int) -> Document:
    return {"a": nested(depth - 1)} if depth else {}


ORDINARY: dict[str, Document] = {
    "nothing": {},
    "names": {"": 1, "é": 1, "漢字": 1, "𝄞": 1, "a" * 300: 1},
    "texts": {"a": "", "b": "\0x\0", "c": "ß漢𝄞", "d": "x" * 5000},
    "integers": {"a": 0, "b": -1, "c": 2**31 - 1, "d": -(2**31), "e": 2**31, "f": -(2**63), "g": 2**63 - 1},
    "wide integers": {"a": Int64(0), "b": Int64(-(2**63)), "c": Int64(2**63 - 1)},
    "doubles": {"a": 0.0, "b": -0.0, "c": 0.1, "d": float("inf"), "e": float("-inf"), "f": 5e-324},
    "the others": {"a": None, "b": True, "c": False, "d": ObjectId()},
    "dates": {
        "a": datetime(2026, 1, 2, 3, 4, 5, 678999),
        "b": datetime(1969, 12, 31, 23, 59, 59, 999999),
        "c": datetime(1, 1, 1),
        "d": datetime(9999, 12, 31, 23, 59, 59, 999999),
        "e": datetime(2000, 2, 29),
        "f": datetime(1900, 2, 28, 23),
        "g": datetime(1600, 3, 1),
    },
    "arrays": {"a": [], "b": [1, [2, []], {}], "c": [None] * 1200},
    "an id that is not the first": {"a": 1, "_id": 7, "b": {"c": 1, "_id": 2}, "c": 7},
    "an id beside its like": {"a": "x", "_id": "x", "b": "x"},
    "deep": nested(90),
}
OTHERS: dict[str, Any] = {
    "a date with a zone": {"a": datetime(2026, 1, 1, tzinfo=UTC)},
    "types that are rare": {"a": Decimal128("1"), "b": Regex("a"), "c": Timestamp(1, 1), "d": MaxKey(), "e": Code("a")},
    "bytes": {"a": b"x", "b": Binary(b"x", 5)},
    "subclasses": {"a": Text("b"), "b": OrderedDict(c=1)},
    "a tuple": {"a": (1, 2)},
    "what was read": Exact(bson.encode({"a": 1})),
    "an ordered document": OrderedDict(a=1),
    "very deep": nested(150),
}
WRONG: dict[str, Any] = {
    "too large": {"a": 2**63},
    "too small": {"a": -(2**63) - 1},
    "a NUL in a name": {"a\0b": 1},
    "a number as a name": {1: 1},
    "a surrogate": {"a": "\ud800"},
    "a surrogate in a name": {"\ud800": 1},
    "an object": {"a": object()},
    "a UUID": {"a": uuid.uuid4()},
    "bytes as a name": {b"a": 1},
}


@pytest.mark.parametrize("name", ORDINARY)
def test_documents_as_most_are(name: str) -> None:
    document = ORDINARY[name]
    assert NATIVE.encode(document) == encode(document) == bson.encode(document, codec_options=CODEC)


@pytest.mark.parametrize("name", OTHERS)
def test_rare_ones_are_the_librarys(name: str) -> None:
    document = OTHERS[name]
    assert NATIVE.encode(document) is None
    assert encode(document) == bson.encode(document, codec_options=CODEC)


@pytest.mark.parametrize("name", WRONG)
def test_wrong_ones_are_refused_by_the_library(name: str) -> None:
    assert NATIVE.encode(WRONG[name]) is None
    with pytest.raises((InvalidDocument, OverflowError, ValueError)) as theirs:
        bson.encode(WRONG[name], codec_options=CODEC)
    with pytest.raises(type(theirs.value)) as raised:
        encode(WRONG[name])
    assert str(raised.value)[:40] == str(theirs.value)[:40]


def test_what_has_no_end_is_refused() -> None:
    endless: Document = {}
    endless["a"] = [endless]
    assert NATIVE.encode(endless) is None
    with pytest.raises(RecursionError):
        encode(endless)


def test_no_memory_for_the_bytes_is_said() -> None:
    testing = pytest.importorskip("_testcapi")
    document, native = {"a": "x" * 2000}, NATIVE.encode

    def without_memory() -> None:
        testing.set_nomemory(1, 2)
        try:
            native(document)
        finally:
            testing.remove_mem_hooks()

    with pytest.raises(MemoryError):
        without_memory()


def test_a_long_text_keeps_no_second_copy_of_itself() -> None:
    long, short = "ß" * 500, "ß" * 10
    size, small = sys.getsizeof(long), sys.getsizeof(short)
    assert NATIVE.encode({"a": long, "b": [long, short]}) is not None
    assert sys.getsizeof(long) == size
    assert sys.getsizeof(short) <= small + 21, "which is as much as it takes"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts private memory under RLIMIT_DATA, and has /proc")
def test_a_large_document_takes_little_more_memory_than_itself_twice() -> None:
    code = """
import resource
from pathlib import Path
from doorleaf.ejson.transcoder import native
text = "x" * 1000
document = {"a": [text] * 17_000}
used = int(Path("/proc/self/statm").read_bytes().split()[5]) * resource.getpagesize()
limit = used + 42 * 1024 * 1024
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
print(len(native.encode(document)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout.strip(), done.stderr) == (str(len(bson.encode({"a": ["x" * 1000] * 17_000}))), "")


def test_any_document() -> None:
    values, taken = Values(7), 0
    for _ in range(1000):
        document = values.document()
        written = NATIVE.encode(document)
        taken += written is not None
        assert written is None or written == bson.encode(document, codec_options=CODEC)
    assert taken > 100
    chance = random.Random(3)
    for _ in range(2000):
        moment = datetime(1, 1, 1) + timedelta(
            seconds=chance.randrange(315537897599), microseconds=chance.randrange(10**6)
        )
        assert NATIVE.encode({"a": moment}) == bson.encode({"a": moment}, codec_options=CODEC)


def test_ids_are_new_in_every_process() -> None:
    ids = [new_id() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert len({found.binary[4:9] for found in ids}) == 1
    assert abs((ids[0].generation_time - datetime.now(UTC)).total_seconds()) < 60
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        os.write(writing, new_id().binary)
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 12)[4:9] != ids[0].binary[4:9]
    os.close(reading)
    os.close(writing)
