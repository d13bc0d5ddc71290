"""Answers that are files to save, read from the database as their client takes them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import quote

from doorleaf.apart import CODING
from doorleaf.dialects.about import Gives
from doorleaf.dialects.base import Reply
from doorleaf.dialects.handling import NOT_STORED
from doorleaf.dialects.lines import PIECE_BYTES, PIECE_DOCUMENTS, WRITING_SECONDS
from doorleaf.errors import DoorleafError
from doorleaf.operations.results import DocumentStream
from doorleaf.transfer.writing import Format

MOST_COLUMNS = 5_000
"""Columns that a table may have."""
TYPES = {"ndjson": b"application/x-ndjson", "json": b"application/json", "csv": b"text/csv; charset=utf-8"}
"""The formats of files by their names, with their content types."""
FILE = Gives(
    content=Any, description="The file.", content_types=("application/x-ndjson", "text/csv", "application/json")
)
"""The answer that is a file, as it is described."""


def file_reply(
    documents: DocumentStream, form: Format, kind: str, collection: str, told: Callable[[DoorleafError], bytes]
) -> Reply:
    """The answer with ``documents`` in a file of the format ``kind``, named for the collection; an error in the middle
    cuts it behind a line with what it is ``told`` as."""
    named = b"attachment; filename*=UTF-8''" + quote(f"{collection}.{kind}", errors="replace").encode()
    return Reply(
        200,
        content_type=TYPES[kind],
        headers=(*NOT_STORED, (b"content-disposition", named)),
        pieces=_pieces(documents, form),
        compressible=True,
        last=lambda error: b"\n" + told(error) + b"\n",
        close=documents.close,
    )


async def _pieces(documents: DocumentStream, form: Format) -> AsyncIterator[bytes]:
    while (found := await documents.next()) is not None:
        for part in found.parts(PIECE_BYTES, PIECE_DOCUMENTS):
            if piece := await CODING.run(WRITING_SECONDS, form.encode, part):
                yield piece
    if end := form.end():
        yield end
