"""Documents that are hard to keep as they are, and files as pipes give them."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable


def reader(data: bytes, piece: int = 1 << 20) -> Callable[[int], bytes]:
    """Reads ``data`` in pieces, as a pipe would give it."""
    file = io.BytesIO(data)
    return lambda size: file.read(min(size, piece))


def raw(kind: int, name: bytes, value: bytes) -> bytes:
    element = bytes([kind]) + name + b"\0" + value
    return struct.pack("<i", len(element) + 5) + element + b"\0"


ODD = [
    raw(0x0E, b"symbol", struct.pack("<i", 4) + b"abc\0"),
    raw(0x06, b"undefined", b""),
    raw(0x0C, b"pointer", struct.pack("<i", 5) + b"db.c\0" + b"x" * 12),
    raw(0x0B, b"regex", b"a\0z\0"),
    raw(0x01, b"nan", bytes.fromhex("0100000000fcff7f")),
    raw(0x02, b"text", struct.pack("<i", 3) + b"\xff\xfe\0"),
    raw(0x04, b"places", raw(0x10, b"7", struct.pack("<i", 1))),
]
"""Documents with values that Python has no type for, or none with all of their bits."""
