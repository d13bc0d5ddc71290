"""What every document of a collection has (:data:`doorleaf.stores.embedded.catalog.CONSTANTS`), and what follows of it.

Conditions that every document meets need no test, so that an index alone decides. And where fields are hidden that all
documents have, they are cut out of the bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import bson

from doorleaf.documents import CODEC, Document, is_string
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


Cut = Callable[[bytes], bytes | None]
"""Takes fields out of a document's BSON; None where it takes a look inside."""


def cut(collection: Collection, projection: Document | None) -> Cut | None:
    """A function that carries out a projection that only leaves out what all documents have; None for any other."""
    constants = collection.constants
    if not projection or not constants or not projection.keys() <= constants.keys():
        return None
    if any(value.__class__ is not int or value for value in projection.values()):
        return None
    return _without(tuple((name, constants[name]) for name in projection))


@lru_cache(maxsize=256)
def _without(fields: tuple[tuple[str, str], ...]) -> Cut:
    names = [name.encode() + b"\0" for name, _ in fields]
    elements = [bson.encode({name: value}, codec_options=CODEC)[4:-1] for name, value in fields]
    together = b"".join(elements)
    tail, first, size = together + b"\0", names[0], len(together)

    def without(document: bytes) -> bytes | None:
        # Each is there, as a field of the document itself: what is there once is that, and no text that looks so. Of
        # fields that are together it is enough to know where the first one is.
        if document.endswith(tail) and document.count(first) == 1:
            return b"".join(((len(document) - size).to_bytes(4, "little"), document[4 : -size - 1], b"\0"))
        for name in names:
            if document.count(name) != 1:
                return None
        for element in elements:
            before, found, behind = document.partition(element)
            if not found:
                return None
            document = before + behind
        return len(document).to_bytes(4, "little") + document[4:]

    return without
