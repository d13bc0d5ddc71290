"""What a file is made of, and what ends the reading of one."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from doorleaf.documents import Document
from doorleaf.ejson.parts import decode
from doorleaf.ejson.transcoder import encode
from doorleaf.errors import InvalidParameter

CHUNK_BYTES = 512 * 1024
"""How much of a file is read at once."""

MOST_ROW_BYTES = 64 * 1024 * 1024
"""What one row may take as text: a document of 16 MiB of BSON takes no more, unless it is made of very small values."""

MOST_BLANK_BYTES = 1024 * 1024
"""White space that there may be between two rows: somebody reads it to find the next."""

Read = Callable[[int], bytes]
"""Reads at most so many bytes; none at the end. What it raises besides OSError is Unreadable."""


class Row:
    """One row of a file: its document, or the ``reason`` why it is none.

    ``number`` is the line where it begins, in BSON its place, both from 1 on. ``source`` is the row as it is in the
    file, as far as it was kept. ``place`` is its place among all rows once somebody counts them: several may begin in
    one line. ``names`` are bytes of names that its document has and its text has not. ``raw`` is its document as BSON
    where the reader has that; values become of it once somebody asks for its ``document``.
    """

    __slots__ = ("_document", "names", "number", "place", "raw", "reason", "source")

    def __init__(
        self,
        number: int,
        document: Document | None,
        source: bytes = b"",
        reason: str = "",
        names: int = 0,
        raw: bytes | None = None,
    ) -> None:
        self.number = number
        self._document = document
        self.source = source
        self.reason = reason
        self.place = 0
        self.names = names
        self.raw = raw

    @property
    def document(self) -> Document | None:
        """The document as values."""
        if self._document is None and self.raw is not None:
            self._document = decode(self.raw)
        return self._document

    @property
    def is_good(self) -> bool:
        """Whether the row has a document."""
        return self._document is not None or self.raw is not None

    def refuse(self, reason: str) -> None:
        """Take the document from the row, for ``reason``."""
        self._document, self.raw, self.reason = None, None, reason

    def bson(self) -> bytes:
        """Its document as BSON. Raises what the encoder raises for what that cannot hold."""
        return encode(self._document or {}) if self.raw is None else self.raw

    @property
    def size(self) -> int:
        """About how much its document takes as text."""
        return len(self.source) + self.names


Rows = Iterator[Row]
"""Raises Unreadable where no more rows can be told apart; what came before stays."""


class Unreadable(InvalidParameter):
    """The rest of a file cannot be read, or the file is of a kind that is not read."""


def lines(read: Read, passed: Callable[[bytes], None] = lambda piece: None) -> Iterator[tuple[int, bytes | None]]:
    """Lines with their numbers from 1 on, without their ends; None for one that is longer than a row may be, whose
    pieces ``passed`` is told before."""
    number, held, size = 1, list[bytes](), 0
    while chunk := read(CHUNK_BYTES):
        first, *others = chunk.split(b"\n")
        held.append(first)
        size += len(first)
        if size > MOST_ROW_BYTES:
            for piece in held:
                passed(piece)
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


class Blank:
    """The white space since the last row, counted."""

    def __init__(self) -> None:
        self._bytes = 0

    def add(self, size: int, line: int) -> None:
        """Account for so much of it before ``line``; raises Unreadable for too much."""
        self._bytes += size
        if self._bytes > MOST_BLANK_BYTES:
            raise Unreadable(f"line {line}: there is no row in more than {MOST_BLANK_BYTES} bytes before it")

    def over(self) -> None:
        """Here is a row."""
        self._bytes = 0


def too_long(number: int) -> Row:
    """The row of a line that was passed over."""
    return Row(number, None, reason=f"the row is longer than {MOST_ROW_BYTES} bytes")
