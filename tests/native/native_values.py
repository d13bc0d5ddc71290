"""What the tests of the native part have in common: random documents, and programs under AddressSanitizer."""

from __future__ import annotations

import os
import random
import shutil
import struct
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from bson import Binary, Code, DatetimeMS, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp

ROOT = Path(__file__).parents[2]


class Values:
    """Random documents of every type, from a seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def text(self) -> str:
        draw = self.random
        if draw.random() < 0.3:
            ranges = ((0x20, 0x800), (0x800, 0xD800), (0xE000, 0x110000))
            return "".join(chr(draw.randrange(*draw.choice(ranges))) for _ in range(draw.randrange(12)))
        return "".join(chr(draw.randrange(1, 128)) for _ in range(draw.randrange(30)))

    def double(self) -> float:
        draw = self.random
        found: float = draw.choice(
            (
                struct.unpack("<d", draw.randbytes(8))[0],
                draw.randrange(-(10**6), 10**6) / draw.choice((1, 10, 100, 1000, 7, 3)),
                float(draw.randrange(-(10**18), 10**18)),
                draw.random() * 10 ** draw.randrange(-20, 20),
                round(draw.random() * 1000, draw.randrange(6)),
                2.0 ** draw.randrange(-1000, 1000),
            )
        )
        return found

    def decimal(self) -> Decimal128:
        draw = self.random
        if draw.random() < 0.3:
            return Decimal128.from_bid(draw.randbytes(16))
        return Decimal128(
            f"{draw.choice(('', '-'))}{draw.randrange(10 ** draw.randrange(1, 34))}E{draw.randrange(-50, 50)}"
        )

    def moment(self) -> DatetimeMS:
        draw = self.random
        low, high = -62135596800000, 253402300799999
        return DatetimeMS(
            draw.choice(
                (
                    draw.randrange(low - 5, high + 6),
                    draw.randrange(-(2**63), 2**63),
                    draw.randrange(2**31) * 1000,
                    low,
                    high,
                )
            )
        )

    def value(self, depth: int) -> Any:
        draw = self.random
        makers = (
            self.text, self.double, self.decimal, self.moment,
            lambda: draw.randrange(-(2**31), 2**31),
            lambda: Int64(draw.randrange(-(2**63), 2**63)),
            lambda: ObjectId(draw.randbytes(12)),
            lambda: draw.choice((True, False, None, MinKey(), MaxKey(), Code('x"'), Code("x", {"a": 1}))),
            lambda: Binary(draw.randbytes(draw.randrange(20)), draw.choice((0, 1, 2, 3, 4, 5, 9, 128))),
            lambda: Regex(self.text(), draw.choice((0, 2, 8, 10, 16, 64))),
            lambda: Timestamp(draw.randrange(2**32), draw.randrange(2**32)),
            lambda: self.document(depth + 1),
            lambda: [self.value(depth + 1) for _ in range(draw.randrange(5))] if depth < 5 else 1,
        )  # fmt: skip
        return draw.choice(makers)()

    def document(self, depth: int = 0) -> dict[str, Any]:
        draw = self.random
        if depth > 5:
            return {}
        return {
            f"k{number}" if draw.random() < 0.7 else self.text(): self.value(depth)
            for number in range(draw.randrange(draw.choice((4, 14))))
        }

    def damaged(self, document: bytes) -> bytes:
        changed = bytearray(document)
        for _ in range(self.random.randrange(1, 4)):
            changed[self.random.randrange(len(changed))] = self.random.randrange(256)
        return bytes(changed)


NATIVE_SOURCES = ROOT / "src/doorleaf/ejson/native"
SANITIZED = ("-std=c11", "-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
"""The flags of a build that ends at the first byte that is not its own."""


def sanitizing_compiler(folder: Path) -> str:
    """The compiler, where it knows them; else the test is skipped."""
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("there is no C compiler")
    empty, program = folder / "empty.c", folder / "empty"
    empty.write_text("int main(void) { return 0; }")
    command = [compiler, *SANITIZED, str(empty), "-o", str(program)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("the compiler has no sanitizers")
    return compiler


def sanitized(name: str, folder: Path, only: str = "*.c") -> Path:
    """The program ``name`` of this folder with what is native and knows no Python."""
    compiler, program = sanitizing_compiler(folder), folder / "program"
    of_python = ("module.c", "encode.c", "values.c")
    sources = [source for source in sorted(NATIVE_SOURCES.glob(only)) if source.name not in of_python]
    own = Path(__file__).with_name(name)
    command = [compiler, *SANITIZED, f"-I{NATIVE_SOURCES}", str(own), *map(str, sources), "-lm", "-o", str(program)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr[-2000:]
    return program


def fuzz(program: Path, files: Iterable[Path]) -> tuple[int, int]:
    """Run it on ``files``: how many of their changed forms were taken, and how many declined."""
    rounds = os.environ.get("DOORLEAF_TEST_FUZZ_ROUNDS", "1000")
    command = [str(program), rounds, "1", *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    taken, declined = map(int, done.stdout.split())
    return taken, declined
