"""What every document of a collection has (:data:`doorleaf.stores.embedded.catalog.CONSTANTS`), and what follows of it.

Conditions that every document meets need no test, so that an index alone decides. And where fields are hidden that all
documents have, they are cut out of the bytes.
"""

from __future__ import annotations

from functools import lru_cache

import bson

from doorleaf.documents import CODEC, Document, is_string
from doorleaf.ejson.transcoder import without
from doorleaf.stores.embedded.catalog import Collection


def unmet(constants: dict[str, str], filter: Document) -> Document:
    """The part of ``filter`` that is left where every document has these ``constants``."""
    if not constants or filter.keys().isdisjoint(constants):
        return filter
    return {name: value for name, value in filter.items() if not (is_string(value) and constants.get(name) == value)}


def all_meet(collection: Collection, filter: Document) -> bool:
    """Whether every document of ``collection`` meets ``filter`` for sure."""
    constants = collection.constants
    return all(is_string(value) and constants.get(name) == value for name, value in filter.items())


class Cut:
    """Takes ``fields``, names with the values that all documents have in them, out of BSON."""

    __slots__ = ("_elements", "_names", "_together")

    def __init__(self, fields: tuple[tuple[str, str], ...]) -> None:
        self._names = [name.encode() + b"\0" for name, _ in fields]
        self._elements = [bson.encode({name: value}, codec_options=CODEC)[4:-1] for name, value in fields]
        self._together = b"".join(self._elements)

    def all(self, documents: list[bytes]) -> list[bytes | None]:
        """Each document without the fields; None in the place of one that takes a look inside."""
        if without is None:
            return [self._one(document) for document in documents]
        found = without(documents, self._together)
        if None in found:
            return [left or self._one(document) for document, left in zip(documents, found, strict=True)]
        return found

    def _one(self, document: bytes) -> bytes | None:
        # Each is there, as a field of the document itself: what is there once is that, and no text that looks so.
        for name in self._names:
            if document.count(name) != 1:
                return None
        for element in self._elements:
            before, found, behind = document.partition(element)
            if not found:
                return None
            document = before + behind
        return len(document).to_bytes(4, "little") + document[4:]


def cut(collection: Collection, projection: Document | None) -> Cut | None:
    """Make what carries out a projection that only leaves out what all documents have; None for any other."""
    constants = collection.constants
    if not projection or not constants:
        return None
    fields = []
    for name, value in projection.items():
        constant = constants.get(name)
        if constant is None or value.__class__ is not int or value:
            return None
        fields.append((name, constant))
    return _cut(tuple(fields))


_cut = lru_cache(maxsize=256)(Cut)
