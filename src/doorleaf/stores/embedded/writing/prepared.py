"""Building an index beside the writes of others: its keys are computed on a snapshot, and put in shortly.

What was computed from a document holds if the document is still the same, byte for byte, which a keyed digest tells.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from hashlib import blake2b

import apsw

from doorleaf.documents import Document
from doorleaf.mql.context import Context
from doorleaf.mql.filters.compile import compile_filter
from doorleaf.stores.embedded.catalog import Collection, Index
from doorleaf.stores.embedded.encoding import decode
from doorleaf.stores.embedded.file.storage import Session
from doorleaf.stores.embedded.indexes import build
from doorleaf.stores.embedded.writing.rows import Rows, Transaction

PREPARED_BYTES = 64 * 1024 * 1024
"""Memory that the keys may take; an index of more is built in the transaction as a whole."""

_OVERHEAD = 160
"""Bytes that Python takes about each of them."""


@dataclass(slots=True)
class Prepared:
    """The keys of an index with their rows, in order, and what documents they were made of."""

    arrays: int = 0
    secret: bytes = field(default_factory=lambda: os.urandom(16))
    digests: dict[int, bytes] = field(default_factory=dict)
    entries: list[tuple[bytes, int]] = field(default_factory=list)

    def digest(self, encoded: bytes) -> bytes:
        """What tells a document from every other."""
        return blake2b(encoded, digest_size=8, key=self.secret).digest()


def prepare(session: Session, collection: Collection, wanted: Document, context: Context) -> Prepared | None:
    """The keys of the index ``wanted`` on a snapshot; None where it has to be built in the transaction."""
    index = Index(0, wanted, 0)
    member = compile_filter(index.partial, context) if index.partial is not None else None
    made = Prepared()
    size = 0
    for row, encoded in session.rows(f"SELECT id, document FROM {collection.table}", ()):  # noqa: S608 - an integer id
        context.check()
        made.digests[row] = made.digest(encoded)
        size += _OVERHEAD
        document = decode(encoded)
        if member is None or member(document):
            keys, arrays = index.pattern.keys(document)
            made.arrays |= arrays
            for key in keys:
                made.entries.append((key, row))
                size += len(key) + _OVERHEAD
        if size > PREPARED_BYTES or (made.arrays and index.hashed):
            return None
    made.entries.sort()
    return made


def put(
    transaction: Transaction, collection: Collection, name: str, prepared: Prepared, context: Context
) -> Collection:
    """Fill the empty index called ``name``, with what was prepared where that still holds."""
    session = transaction.session
    index = next(item for item in collection.indexes if item.name == name)
    left, changed = dict(prepared.digests), []
    documents = f"SELECT id, document FROM {collection.table}"  # noqa: S608 - an integer id
    for row, encoded in session.rows(documents, ()):
        context.check()
        if left.pop(row, None) != prepared.digest(encoded):
            changed.append((row, encoded))
    stale = {*left, *(row for row, _ in changed)}
    try:
        session.connection.executemany(
            index.insert, (entry for entry in prepared.entries if not stale or entry[1] not in stale)
        )
    except apsw.ConstraintError:
        # Two documents have one key, and building finds and names them; or had, and it finds none.
        session.execute(f"DELETE FROM {index.table}")  # noqa: S608 - an integer id
        return build(transaction, collection, name, context)
    rows = Rows(transaction, collection, context)
    if prepared.arrays:
        rows.mark_arrays(index, prepared.arrays)
    for row, encoded in changed:
        rows.index(name, row, decode(encoded))
    return rows.collection
