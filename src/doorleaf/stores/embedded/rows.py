"""Documents going in and out of tables: the row, its index keys and the counts, together or not at all."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any
from zlib import crc32

from bson.objectid import ObjectId

from doorleaf.documents import Document
from doorleaf.errors import DataError, DoorleafError, DuplicateKey, ValidationFailed
from doorleaf.mql.context import Context
from doorleaf.mql.display import display
from doorleaf.mql.match import Matcher, compile_filter
from doorleaf.mql.paths import get
from doorleaf.mql.update import MAX_DOCUMENT_SIZE, check_id, check_size
from doorleaf.mql.values import MISSING
from doorleaf.operations import Guard
from doorleaf.stores.embedded.catalog import Catalog, Collection, Index
from doorleaf.stores.embedded.change_log import log_of
from doorleaf.stores.embedded.encoding import check_depth, decode, encode
from doorleaf.stores.embedded.storage import Session


class Refused(Exception):
    """A guard said no: what it raised ends the whole operation, whatever ``ordered`` says."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(slots=True)
class Mark:
    """What of a transaction lives in memory, to go back to with a savepoint."""

    catalog: Catalog
    counts: dict[int, tuple[int, int]]


class Transaction:
    """A batch's transaction: the writing session, and the changes of counts that its end writes down."""

    __slots__ = ("_counts", "session")

    def __init__(self, session: Session) -> None:
        self.session = session
        self._counts: dict[int, tuple[int, int]] = {}

    def mark(self) -> Mark:
        """Remember this moment."""
        return Mark(self.session.catalog, dict(self._counts))

    def restore(self, mark: Mark) -> None:
        """Go back to ``mark``; the caller rolls the savepoint back."""
        self.session.catalog = mark.catalog
        self._counts = mark.counts

    @contextlib.contextmanager
    def attempt(self) -> Iterator[None]:
        """One write of several: what raises inside is undone alone."""
        mark, execute = self.mark(), self.session.execute
        execute("SAVEPOINT write")
        try:
            yield
        except BaseException:
            if self.session.connection.in_transaction:
                execute("ROLLBACK TO write")
                execute("RELEASE write")
                self.restore(mark)
            raise
        execute("RELEASE write")

    def count(self, collection: Collection, documents: int, size: int) -> None:
        """Note that ``collection`` has so many more documents and bytes."""
        known = self._counts.get(collection.id, (0, 0))
        self._counts[collection.id] = (known[0] + documents, known[1] + size)

    def counted(self, collection: Collection) -> tuple[int, int]:
        """Documents and bytes of ``collection``, this transaction's changes included."""
        documents, size = counts(self.session, collection)
        more = self._counts.get(collection.id, (0, 0))
        return documents + more[0], size + more[1]

    def finish(self) -> None:
        """Write the counts, once for the batch."""
        for number, (documents, size) in self._counts.items():
            self.session.execute(
                "UPDATE counts SET documents = documents + ?, bytes = bytes + ? WHERE collection = ?",
                (documents, size, number),
            )
        self._counts = {}


def counts(session: Session, collection: Collection) -> tuple[int, int]:
    """Documents and bytes of ``collection`` as of the last commit."""
    found = session.execute("SELECT documents, bytes FROM counts WHERE collection = ?", (collection.id,)).fetchone()
    return found if found is not None else (0, 0)


class Rows:
    """Changes to one collection on behalf of one operation."""

    __slots__ = ("_context", "_guard", "_log", "_members", "_validator", "collection", "transaction")

    def __init__(
        self, transaction: Transaction, collection: Collection, context: Context, guard: Guard | None = None
    ) -> None:
        self.transaction = transaction
        self.collection = collection
        self._context = context
        self._guard = guard
        self._validator = _validator(collection, context)
        self._members: dict[int, Matcher] = {}
        self._log = log_of(transaction.session, collection)

    def insert(self, document: Document) -> Any:
        """Put in a new document; answers its ``_id``, made here when it has none."""
        document = identified(document)
        check_depth(document)
        encoded = encode(document)
        if len(encoded) > MAX_DOCUMENT_SIZE:
            raise DataError(
                f"BSONObj size: {len(encoded)} is invalid. Size must be between 0 and {MAX_DOCUMENT_SIZE}", number=10334
            )
        if self._validator is not None and not self._validator(document):
            raise invalid(document)
        if self._guard is not None:
            self._look(self._guard, None, decode(encoded))
        cursor = self.transaction.session.execute(
            f"INSERT INTO {self.collection.table} (document, sum) VALUES (?, ?)",  # noqa: S608 - an integer id
            (encoded, crc32(encoded)),
        )
        row = cursor.lastrowid or 0
        for index in self.collection.indexes:
            for key in self._keys(index, document):
                self._add(index, key, row, document)
        self.transaction.count(self.collection, 1, len(encoded))
        if self._log is not None:
            self._log.inserted(document["_id"], encoded)
        return document["_id"]

    def index(self, name: str, row: int, document: Document) -> None:
        """Put a stored document into the index called ``name``, which is being built."""
        index = next(item for item in self.collection.indexes if item.name == name)
        for key in self._keys(index, document):
            self._add(index, key, row, document)

    def replace(self, row: int, encoded: bytes, before: Document, after: Document, *, replacing: bool = False) -> bytes:
        """Put ``after`` in the place of ``before``; answers its BSON. ``replacing`` says that it is a new document."""
        check_depth(after)
        new = encode(after)
        check_size(new)
        if self._validator is not None and not self._validator(after) and not self._excused(self._validator, before):
            raise invalid(after)
        if self._guard is not None:
            self._look(self._guard, before, decode(new))
        execute = self.transaction.session.execute
        execute(
            f"UPDATE {self.collection.table} SET document = ?, sum = ? WHERE id = ?",  # noqa: S608
            (new, crc32(new), row),
        )
        for index in self.collection.indexes:
            if index.name == "_id_":
                continue
            old_keys, new_keys = self._keys(index, before), self._keys(index, after)
            if old_keys == new_keys:
                continue
            kept = set(old_keys).intersection(new_keys)
            for key in old_keys:
                if key not in kept:
                    execute(index.delete, (key, row))
            for key in new_keys:
                if key not in kept:
                    self._add(index, key, row, after)
        self.transaction.count(self.collection, 0, len(new) - len(encoded))
        if self._log is not None:
            self._log.changed(before, after, new, replacing=replacing)
        return new

    def delete(self, row: int, encoded: bytes, before: Document) -> None:
        """Take a document out."""
        if self._guard is not None:
            self._look(self._guard, before, None)
        execute = self.transaction.session.execute
        execute(f"DELETE FROM {self.collection.table} WHERE id = ?", (row,))  # noqa: S608
        for index in self.collection.indexes:
            for key in self._keys(index, before):
                execute(index.delete, (key, row))
        self.transaction.count(self.collection, -1, -len(encoded))
        if self._log is not None:
            self._log.deleted(before["_id"], encoded)

    def look(self, document: Document) -> None:
        """Show the guard a document that an update matched and did not change."""
        if self._guard is not None:
            self._look(self._guard, document, document)

    @staticmethod
    def _look(guard: Guard, before: Document | None, after: Document | None) -> None:
        try:
            guard(before, after)
        except Exception as error:
            raise Refused(error) from error

    def _keys(self, index: Index, document: Document) -> list[bytes]:
        if index.partial is not None and not self._belongs(index, index.partial, document):
            return []
        keys, arrays = index.pattern.keys(document)
        if arrays & ~index.arrays:
            self._mark_arrays(index, arrays)
        return keys

    def _belongs(self, index: Index, partial: Document, document: Document) -> bool:
        member = self._members.get(index.id)
        if member is None:
            member = self._members[index.id] = compile_filter(partial, self._context)
        return member(document)

    def _mark_arrays(self, index: Index, arrays: int) -> None:
        """Note that fields of ``index`` hold arrays, before any plan can rely on the opposite."""
        if index.hashed:
            raise DataError("hashed indexes do not currently support array values", number=16766)
        marked = replace(index, arrays=index.arrays | arrays)
        session = self.transaction.session
        session.execute("UPDATE indexes SET arrays = ? WHERE id = ?", (marked.arrays, index.id))
        indexes = tuple(marked if item.id == index.id else item for item in self.collection.indexes)
        self.collection = replace(self.collection, indexes=indexes)
        session.bump(session.catalog.changed(self.collection))

    def _add(self, index: Index, key: bytes, row: int, document: Document) -> None:
        try:
            self.transaction.session.execute(index.insert, (key, row))
        except sqlite3.IntegrityError as error:
            if not index.unique:
                raise
            raise duplicate(self.collection, index, key, document) from error

    def _excused(self, validator: Matcher, before: Document) -> bool:
        """With level ``moderate`` a document that was invalid already may stay so."""
        return self.collection.options.get("validationLevel") == "moderate" and not validator(before)


def invalid(document: Document) -> ValidationFailed:
    """The error of a document that its collection's validator refuses."""
    return ValidationFailed("Document failed validation", fields={"failingDocumentId": document.get("_id")})


def _validator(collection: Collection, context: Context) -> Matcher | None:
    options = collection.options
    if not options.get("validator") or options.get("validationLevel") == "off":
        return None
    if options.get("validationAction") == "warn":
        return None
    return compile_filter(options["validator"], context)


def identified(document: Document) -> Document:
    """``document`` as it is stored: with an ``_id``, first. Raises 53 or 52 for names and ids that cannot be."""
    for name in document:
        if name[:1] == "$":
            raise DataError(f"The dollar ($) prefixed field '{name}' in '{name}' is not valid for storage.", number=52)
    identity = document.get("_id", MISSING)
    if identity is MISSING:
        return {"_id": ObjectId(), **document}
    if identity.__class__ is not ObjectId:
        check_id(identity)
    if next(iter(document)) == "_id":
        return document
    return {"_id": identity, **{name: value for name, value in document.items() if name != "_id"}}


def duplicate(collection: Collection, index: Index, key: bytes, document: Document) -> DoorleafError:
    """The error for a key that a unique index holds already; it shows the values of ``document``."""
    names = index.specification["key"]
    shown = {name: None if (value := get(document, name.split("."))) is MISSING else value for name in names}
    return DuplicateKey(
        f"E11000 duplicate key error collection: {collection.namespace} index: {index.name} dup key: {display(shown)}"
    )
