"""Answers that have a document on each line, read from the database as their client reads them."""

from __future__ import annotations

from collections.abc import AsyncIterator

from doorleaf import ejson
from doorleaf.apart import CODING
from doorleaf.dialects.base import Reply, Request, envelope
from doorleaf.errors import DoorleafError
from doorleaf.operations.results import DocumentStream

PIECE_BYTES = 256 * 1024
PIECE_DOCUMENTS = 250
"""What is written at once."""

WRITING_SECONDS = 30.0


def lines_reply(documents: DocumentStream, mode: ejson.Mode, request: Request) -> Reply:
    """The answer with ``documents``; an error in the middle is its last line, in the envelope that errors have."""

    def last(error: DoorleafError) -> bytes:
        return envelope(error, request).body + b"\n"

    return Reply(
        200,
        content_type=ejson.lines_type(mode),
        pieces=_lines(documents, mode),
        compressible=True,
        last=last,
        close=documents.close,
    )


async def _lines(documents: DocumentStream, mode: ejson.Mode) -> AsyncIterator[bytes]:
    while (found := await documents.next()) is not None:
        for part in found.parts(PIECE_BYTES, PIECE_DOCUMENTS):
            yield await CODING.run(WRITING_SECONDS, ejson.encode_lines, part, mode)
