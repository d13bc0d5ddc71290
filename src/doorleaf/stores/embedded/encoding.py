"""Documents to BSON and back, and what BSON cannot hold."""

from __future__ import annotations

from typing import Any

import bson
from bson.errors import BSONError

from doorleaf.documents import CODEC, Document
from doorleaf.ejson import transcoder
from doorleaf.errors import DataError, InvalidParameter

MAX_DEPTH = 100
"""Levels of documents and arrays that a document may have."""

_CONTAINERS = frozenset((dict, list))


def decode(document: bytes) -> Document:
    """A stored document as Python values."""
    return bson.decode(document, CODEC)


def check_depth(document: Document) -> None:
    """Raise code 15 for a document that is nested too deeply."""
    level: list[Any] = [document]
    for _ in range(MAX_DEPTH):
        deeper: list[Any] = []
        for node in level:
            values = node.values() if node.__class__ is dict else node
            deeper += [value for value in values if value.__class__ in _CONTAINERS]
        if not deeper:
            return
        level = deeper
    raise DataError(f"the document is nested deeper than {MAX_DEPTH} levels", number=15)


def check_bson(what: str, value: Any) -> None:
    """Raise ``InvalidParameter`` when ``value`` holds what BSON cannot, such as an integer beyond 64 bits."""
    encode({"": value}, what)


def encode(document: Document, what: str = "the document") -> bytes:
    """The BSON of ``document``; raises ``InvalidParameter`` for what BSON cannot hold."""
    try:
        encoded = transcoder.encode(document)
    except (BSONError, OverflowError, TypeError, ValueError) as error:
        raise InvalidParameter(f"{what} is no BSON: {_first_line(error)}") from None
    return encoded


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
