"""What a file is made of, and what ends the reading of one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from doorleaf.documents import Document
from doorleaf.errors import InvalidParameter

CHUNK_BYTES = 512 * 1024
"""How much of a file is read at once."""

MOST_ROW_BYTES = 64 * 1024 * 1024
"""What one row may take as text: a document of 16 MiB of BSON takes no more, unless it is made of very small values."""

Read = Callable[[int], bytes]
"""Reads at most so many bytes; none at the end. What it raises besides OSError is Unreadable."""


@dataclass(slots=True)
class Row:
    """One row of a file: its document, or the ``reason`` why it is none.

    ``number`` is the line where it begins, in BSON its place, both from 1 on. ``source`` is the row as it is in the
    file, as far as it was kept. ``place`` is its place among all rows once somebody counts them: several may begin in
    one line. ``names`` are bytes of names that its document has and its text has not.
    """

    number: int
    document: Document | None
    source: bytes = b""
    reason: str = ""
    place: int = 0
    names: int = 0

    @property
    def size(self) -> int:
        """About how much its document takes as text."""
        return len(self.source) + self.names


Rows = Iterator[Row]
"""Raises Unreadable where no more rows can be told apart; what came before stays."""


class Unreadable(InvalidParameter):
    """The rest of a file cannot be read, or the file is of a kind that is not read."""


def lines(read: Read) -> Iterator[tuple[int, bytes | None]]:
    """Lines with their numbers from 1 on, without their ends; None for one that is longer than a row may be."""
    number, held, size = 1, list[bytes](), 0
    while chunk := read(CHUNK_BYTES):
        first, *others = chunk.split(b"\n")
        held.append(first)
        size += len(first)
        if size > MOST_ROW_BYTES:
            held = []
        if not others:
            continue
        yield number, (b"".join(held) if size <= MOST_ROW_BYTES else None)
        for whole in others[:-1]:
            number += 1
            yield number, whole
        number += 1
        held, size = [others[-1]], len(others[-1])
    if size:
        yield number, (b"".join(held) if size <= MOST_ROW_BYTES else None)


def too_long(number: int) -> Row:
    """The row of a line that was passed over."""
    return Row(number, None, reason=f"the row is longer than {MOST_ROW_BYTES} bytes")
