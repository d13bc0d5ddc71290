"""BSON documents end to end, as ``mongodump`` writes a collection, and the metadata that it writes beside them."""

from __future__ import annotations

import json
from typing import Any

import bson
from bson.errors import BSONError

from doorleaf import ejson
from doorleaf.documents import CODEC, Document, Exact
from doorleaf.errors import DoorleafError
from doorleaf.transfer.rows import CHUNK_BYTES, Read, Row, Rows, Unreadable

ARCHIVE = b"\x6d\xe2\x99\x81"
"""How an archive of ``mongodump --archive`` begins."""

MOST_BYTES = 16 * 1024 * 1024
"""What a document may have."""

_FRAMED = 64 * 1024 * 1024
"""A length beyond this is none, and nothing behind it can be read."""


def rows(read: Read) -> Rows:
    """The rows of a file; each document comes as :class:`Exact`."""
    number, held = 1, b""
    while True:
        at = 0
        while len(held) - at >= 4:
            size = int.from_bytes(held[at : at + 4], "little", signed=True)
            if held[at : at + 4] == ARCHIVE:
                raise Unreadable("the file is an archive of mongodump --archive; write it anew without --archive")
            if not 5 <= size <= _FRAMED:
                raise Unreadable(f"document {number}: the file is no BSON here, or damaged: a length of {size}")
            if len(held) - at < size:
                break
            yield _row(number, held[at : at + size])
            number, at = number + 1, at + size
        held = held[at:]
        wanted = int.from_bytes(held[:4], "little") - len(held) if len(held) >= 4 else 0
        chunk = _at_least(read, wanted)
        if not chunk:
            break
        held += chunk
    if held:
        raise Unreadable(f"document {number}: the file ends within a document")


def too_large(size: int) -> str:
    """Why a document of ``size`` bytes is none."""
    return f"the document has {size} bytes, and {MOST_BYTES} is the most"


def _at_least(read: Read, size: int) -> bytes:
    """The next bytes, ``size`` or more unless the file ends before."""
    pieces: list[bytes] = []
    got = 0
    while not pieces or got < size:
        chunk = read(CHUNK_BYTES)
        if not chunk:
            break
        pieces.append(chunk)
        got += len(chunk)
    return b"".join(pieces)


def _row(number: int, encoded: bytes) -> Row:
    if len(encoded) > MOST_BYTES:
        return Row(number, None, b"", too_large(len(encoded)))
    try:
        document = Exact(encoded)
        if "_id" in document and next(iter(document)) != "_id":
            document = _id_first(document, encoded)
    except (BSONError, ValueError, OverflowError, RecursionError) as error:
        return Row(number, None, encoded, f"the document is damaged: {str(error)[:200]}")
    return Row(number, document, encoded, raw=document.raw)


def _id_first(document: Exact, encoded: bytes) -> Exact:
    """``document`` as a server stores it, with its ``_id`` first."""
    ordered = {"_id": document["_id"], **document}
    moved = bson.encode(ordered, codec_options=CODEC)
    if len(moved) != len(encoded) or bson.encode(dict(document), codec_options=CODEC) != encoded:
        raise ValueError("its _id is not first, and it has values that cannot be moved without a change")
    return Exact(moved, ordered)


def identified(document: Document, identity: Any) -> Document:
    """``document``, which has no ``_id``, with ``identity``."""
    if not isinstance(document, Exact):
        return {"_id": identity, **document}
    named = {"_id": identity}
    whole = bson.encode(named, codec_options=CODEC)[4:-1] + document.raw[4:]
    return Exact((len(whole) + 4).to_bytes(4, "little") + whole, named | document)


# --- metadata --------------------------------------------------------------------------------------------------------


def metadata(text: bytes) -> tuple[Document, list[Document]]:
    """Options and indexes of a collection by its ``.metadata.json``. Raises Unreadable."""
    try:
        found = ejson.loads(text)
        options, indexes = found.get("options") or {}, found.get("indexes") or []
        if type(options) is not dict or type(indexes) is not list or not all(type(item) is dict for item in indexes):
            raise Unreadable("options is an object, and indexes an array of objects")
    except DoorleafError as error:
        raise Unreadable(f"the metadata cannot be read: {error.message}") from None
    return options, indexes


def metadata_text(collection: str, options: Document, indexes: list[Document]) -> bytes:
    """The ``.metadata.json`` of a collection, which ``mongorestore`` reads."""
    written = ejson.dumps({"options": options, "indexes": indexes}, ejson.Mode.CANONICAL)
    return json.dumps({**json.loads(written), "collectionName": collection, "type": "collection"}).encode()
