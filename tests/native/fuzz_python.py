"""Gives what is native and knows Python damaged BSON, and documents of everything that Python has.

``fuzz_python.py FOLDER ROUNDS SEED``, in a process that AddressSanitizer looks at: prints how many of both were taken,
and how many declined. ``fuzz_python`` in FOLDER is the module of ``fuzz_python.c``.
"""

from __future__ import annotations

import importlib
import random
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import bson
from bson import Int64, ObjectId
from bson.errors import BSONError
from native_values import Values

from doorleaf.documents import CODEC

FIRST = datetime(1, 1, 1)


class Text(str):
    __slots__ = ()


class Whole(int):
    pass


class Odd:
    """An object that lies about what it is."""

    def __init__(self, shown: type) -> None:
        self.shown = shown

    @property
    def __class__(self) -> type:
        return self.shown

    @__class__.setter
    def __class__(self, value: type) -> None:
        self.shown = value


def strange_id(content: Any) -> ObjectId:
    """An id whose bytes are something else."""
    made = ObjectId()
    made._ObjectId__id = content  # type: ignore[attr-defined]
    return made


class Everything(Values):
    """Values of the types that are encoded natively, of their likes, and of all others."""

    def other(self, depth: int) -> Any:
        draw = self.random
        makers = (
            lambda: FIRST + timedelta(seconds=draw.randrange(315537897600), microseconds=draw.randrange(10**6)),
            lambda: datetime(2026, 1, 1, tzinfo=UTC),
            lambda: draw.choice((-1, 0, 1)) * 2 ** draw.randrange(70) + draw.randrange(-2, 3),
            lambda: Int64(draw.choice((2**63 - 1, -(2**63), 2**70, 0))),
            lambda: strange_id(draw.choice((b"", b"x" * 11, b"x" * 13, "x" * 12, None, b"y" * 12))),
            lambda: draw.choice((object(), Odd(dict), Odd(list), Odd(str), {1}, (1, 2), b"x", Text("a"), Whole(7))),
            lambda: draw.choice(("\ud800", "\0", "a\0b", "x" * draw.randrange(70_000), "\U0010ffff" * 20)),
            lambda: self.deep(draw.randrange(90, 140)),
            lambda: {self.name(): self.value(depth + 1) for _ in range(draw.randrange(6))},
            lambda: [self.value(depth + 1)] * draw.randrange(200) if depth < 3 else [],
        )
        return draw.choice(makers)()

    def name(self) -> Any:
        return self.random.choice(("", "_id", "a", "a\0b", "\ud800", "$ref", 1, None, b"a", Text("t"), self.text()))

    def deep(self, levels: int) -> Any:
        found: Any = {}
        for _ in range(levels):
            found = {"a": found} if self.random.random() < 0.5 else [found]
        return found

    def value(self, depth: int) -> Any:
        return self.other(depth) if self.random.random() < 0.3 else super().value(depth)


def mutated(draw: random.Random, document: bytes) -> bytes:
    """``document`` with bytes changed, moved or cut off."""
    changed = bytearray(document)
    for _ in range(draw.randrange(1, 4)):
        at = draw.randrange(len(changed))
        match draw.randrange(6):
            case 0:
                changed[at] = draw.randrange(256)
            case 1:
                changed[at] ^= 1 << draw.randrange(8)
            case 2:
                changed[at] = draw.choice(b"\x00\x01\x02\x03\x04\x05\x07\x08\x09\x0a\x10\x12\x7f\x80\xff")
            case 3:
                size = draw.choice((0, 1, 4, 5, len(changed), len(changed) + 1, 2**31 - 1, 2**32 - 1))
                changed[at : at + 4] = size.to_bytes(4, "little")
            case 4:
                length = draw.randrange(1, 40)
                changed[at : at + length] = changed[draw.randrange(len(changed)) :][:length]
            case _:
                del changed[max(1, at) :]
    if draw.random() < 0.7 and len(changed) >= 5:  # else most would be declined at their first four bytes
        changed[:4] = len(changed).to_bytes(4, "little")
        changed[-1] = 0
    return bytes(changed)


def main() -> None:
    sys.path.insert(0, sys.argv[1])
    native: Any = importlib.import_module("fuzz_python")

    rounds, told = int(sys.argv[2]), [0, 0, 0, 0]
    everything, ordinary = Everything(int(sys.argv[3])), Values(int(sys.argv[3]))
    for _ in range(rounds):
        given = {everything.name(): everything.value(0) for _ in range(everything.random.randrange(5))}
        written = native.encode(given)
        told[written is None] += 1
        if written is not None:
            assert written == bson.encode(given, codec_options=CODEC), given
        plain = bson.encode(ordinary.document(), codec_options=CODEC) if written is None else written
        for number in range(5):
            damaged = mutated(everything.random, plain) if number else plain
            try:
                found = native.values(damaged)
            except (UnicodeDecodeError, ValueError):
                found = None
            told[2 + (found is None)] += 1
            if found is not None:
                compare(found, damaged)
    print(*told)


def compare(found: Any, damaged: bytes) -> None:
    """Fail where the library reads something else; it knows more mistakes."""
    try:
        theirs = bson.decode(damaged, CODEC)
    except (BSONError, ValueError):
        return
    assert bson.encode(found, codec_options=CODEC) == bson.encode(theirs, codec_options=CODEC), damaged


if __name__ == "__main__":
    main()
