"""The shortest read: one document by the value of an indexed field, in one statement that is a snapshot of its own."""

from __future__ import annotations

from typing import Any
from zlib import crc32

import apsw
import bson
from bson.objectid import ObjectId

from doorleaf.documents import CODEC, Document
from doorleaf.operations import FindOne
from doorleaf.operations.results import DocumentResult
from doorleaf.stores.embedded.file.sqlite import DamagedDatabase
from doorleaf.stores.embedded.file.storage import Session
from doorleaf.stores.embedded.reading.planner import STRAIGHT, point_key

_COMPARED = frozenset((str, int, bool, ObjectId))
"""Types whose values match those of the same type that are equal, and arrays apart no others."""


def find_point(session: Session, operation: FindOne) -> DocumentResult | None:
    """The first document that has the values that ``operation`` names; None when the ordinary way has to look.

    That is where nothing is found at once, where the catalog has changed since ``session`` last read it, and for every
    query that is more than a few equalities, one of them on an indexed field.
    """
    filter = operation.filter
    if operation.projection or operation.sort or operation.skip or not 0 < len(filter) <= STRAIGHT:
        return None
    if operation.hint or operation.let or operation.collation:
        return None
    collection = session.catalog.get(operation.namespace)
    if collection is None:
        return None
    points = collection.points
    for path in filter:
        if path in points and (key := point_key(filter[path])) is not None:
            break
    else:
        return None
    document = _first(session, points[path], key)
    if document is None or len(filter) == 1:
        return None if document is None else DocumentResult(document)
    values = bson.decode(document, CODEC)
    for name, value in filter.items():
        if name is not path and not _has(values, name, value):
            return None
    return DocumentResult(values, document)


def _first(session: Session, statement: str, key: bytes) -> bytes | None:
    try:
        found: list[tuple[int, bytes | None, int]] = list(session.execute(statement, (key,)))
    except apsw.SQLError:  # the ordinary way meets it too, unless the table is gone with its collection
        return None
    if not found:
        return None
    ((version, document, checksum),) = found
    if version != session.catalog.version:
        return None
    if document is None or crc32(document) != checksum:
        raise DamagedDatabase("the database file is damaged")
    return document


def _has(values: Document, name: str, value: Any) -> bool:
    """Whether a top-level field certainly matches ``value``, which may be written with ``$eq``."""
    if value.__class__ is dict and len(value) == 1:
        value = value.get("$eq")
    found = values.get(name)
    if found.__class__ not in _COMPARED or found.__class__ is not value.__class__ or found != value:
        return False
    return "." not in name and name[:1] != "$"  # a path, or an operator, whatever fields are called
