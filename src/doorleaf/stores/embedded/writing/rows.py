"""Documents going in and out of tables: the row, its index keys and the counts, together or not at all."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any
from zlib import crc32

import apsw
import bson
from bson.objectid import ObjectId

from doorleaf.documents import CODEC, Document, Exact, is_string, new_id
from doorleaf.errors import DataError, DoorleafError, DuplicateKey, ValidationFailed
from doorleaf.mql.context import Context
from doorleaf.mql.difference import difference
from doorleaf.mql.display import display
from doorleaf.mql.filters.compile import Matcher, compile_filter
from doorleaf.mql.filters.refusal import refusal
from doorleaf.mql.filters.refusal_schema import Known
from doorleaf.mql.paths import get
from doorleaf.mql.updates.compile import MAX_DOCUMENT_SIZE, check_id, check_size
from doorleaf.mql.updates.operators import stamped
from doorleaf.mql.values import MISSING
from doorleaf.operations import Guard
from doorleaf.stores.embedded.catalog import (
    CONSTANT_FIELDS,
    CONSTANTS,
    Catalog,
    Collection,
    Index,
    described,
    seal_collection,
    seal_index,
)
from doorleaf.stores.embedded.changes.log import log_of
from doorleaf.stores.embedded.encoding import check_depth, decode, encode
from doorleaf.stores.embedded.file.storage import Session, counts
from doorleaf.stores.embedded.reading import small
from doorleaf.stores.embedded.reading.budget import Budget, Postponed

KEY_BYTES = 48
"""Bytes of memory that Python takes about each key."""


class Refused(Exception):
    """A guard said no: what it raised ends the whole operation, whatever ``ordered`` says."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(slots=True)
class Mark:
    """The parts of a transaction that live in memory, to go back to with a savepoint."""

    catalog: Catalog
    counts: dict[int, tuple[int, int]]


class Transaction:
    """A batch's transaction: the writing session, and the changes of counts that its end writes down.

    ``budget`` bounds what the operation at hand may read, None for anything: see :class:`Budget`. ``matched`` are rows
    that were found to match before, None where nobody has looked.
    """

    __slots__ = ("_counts", "budget", "explains", "matched", "session")

    def __init__(self, session: Session) -> None:
        self.session = session
        self.budget: Budget | None = None
        self.matched: list[int] | None = None
        self.explains = True
        self._counts: dict[int, tuple[int, int]] = {}

    def rows(self, collection: Collection, context: Context, guard: Guard | None = None) -> Rows:
        """A writer of the rows of ``collection``. Raises Postponed where that is too large for the budget."""
        if self.budget is not None and not is_small(collection):
            raise Postponed
        return Rows(self, collection, context, guard)

    def those(self, rows: list[int]) -> Iterator[int]:
        """Which of the ``rows`` that match are to be changed now."""
        return iter(rows)

    def mark(self) -> Mark:
        """Remember this moment."""
        return Mark(self.session.catalog, dict(self._counts))

    def restore(self, mark: Mark) -> None:
        """Go back to ``mark``; the caller rolls the savepoint back."""
        self.session.catalog = mark.catalog
        self._counts = mark.counts

    @contextlib.contextmanager
    def attempt(self, *, explains: bool = True) -> Iterator[None]:
        """One write of several: what raises inside is undone alone. Without ``explains`` nobody will read why a
        document is refused."""
        mark, execute = self.mark(), self.session.execute
        execute("SAVEPOINT write")
        self.explains = explains
        try:
            yield
        except BaseException:
            if self.session.connection.in_transaction:
                execute("ROLLBACK TO write")
                execute("RELEASE write")
                self.restore(mark)
            raise
        finally:
            self.explains = True
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
                "UPDATE counts SET documents = documents + ?, size = size + ? WHERE collection = ?",
                (documents, size, number),
            )
        self._counts = {}


def is_small(collection: Collection) -> bool:
    """Whether what is done to a document of ``collection`` takes little for what its options and indexes say."""
    validator = collection.options.get("validator")
    conditions = [*([validator] if validator else []), *(item.partial for item in collection.indexes if item.partial)]
    return all(small.filter_tests(condition) is not None for condition in conditions)


@dataclass(slots=True)
class Moves:
    """The work that changing a document causes beside storing it: which of :data:`CONSTANT_FIELDS` it has now, by the
    number of an index the keys that go, those that come and the fields that have arrays, and for who watches what is
    different."""

    identity: Any
    constants: Document = field(default_factory=dict)
    keys: list[tuple[int, list[bytes], list[bytes], int]] = field(default_factory=list)
    description: Document | None = None

    @property
    def size(self) -> int:
        """About how many bytes of memory it takes."""
        return sum(sum(map(len, keys)) + KEY_BYTES * len(keys) for _, *both, _ in self.keys for keys in both)


class Rows:
    """Changes to one collection on behalf of one operation."""

    __slots__ = ("_context", "_guard", "_known", "_log", "_members", "_validator", "collection", "transaction")

    def __init__(
        self, transaction: Transaction, collection: Collection, context: Context, guard: Guard | None = None
    ) -> None:
        self.transaction = transaction
        self.collection = collection
        self._context = context
        self._guard = guard
        self._validator = _validator(collection, context)
        self._members: dict[int, Matcher] = {}
        self._known: Known = {}
        self._log = log_of(transaction.session, collection)

    @property
    def logs(self) -> bool:
        """Whether somebody watches the collection."""
        return self._log is not None

    def insert(self, given: Document, encoded: bytes | None = None) -> Any:
        """Put in a new document, whose BSON may be known; answers its ``_id``, made here when it has none."""
        if given.__class__ is Exact:
            given, encoded = dict(given), given.raw  # type: ignore[attr-defined]  # it is an Exact
        document = identified(given)
        check_depth(document)
        if encoded is None or document is not given:
            encoded = encode(document)
        if len(encoded) > MAX_DOCUMENT_SIZE:
            raise DataError(
                f"BSONObj size: {len(encoded)} is invalid. Size must be between 0 and {MAX_DOCUMENT_SIZE}", number=10334
            )
        if self._validator is not None and not self._validator(document):
            raise self._invalid(document)
        if self._guard is not None:
            self.look_at(self._guard, None, document)
        self.put(document, encoded)
        return document["_id"]

    def put(self, document: Document, encoded: bytes, moves: Moves | None = None) -> None:
        """Put in a document that was found to be right; ``moves`` are its keys, where they are known."""
        self._note_constants(document)
        self.transaction.session.execute(
            f"INSERT INTO {self.collection.table} (document, sum) VALUES (?, ?)",  # noqa: S608 - an integer id
            (encoded, crc32(encoded)),
        )
        row = self.transaction.session.connection.last_insert_rowid()
        if moves is None:
            for index in self.collection.indexes:
                for key in self._keys(index, document):
                    self._add(index, key, row, document)
        else:
            self._move(moves, row, document)
        self.transaction.count(self.collection, 1, len(encoded))
        if self._log is not None:
            self._log.inserted(document["_id"], encoded)

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
            raise self._invalid(after)
        if self._guard is not None:
            self.look_at(self._guard, before, after)
        self.exchange(row, encoded, before, after, new, replacing=replacing)
        return new

    def exchange(
        self, row: int, encoded: bytes, before: Document, after: Document, new: bytes, *, replacing: bool
    ) -> None:
        """Put ``after``, whose BSON is ``new``, in the place of ``before``; it was found to be right."""
        self.carry_out(row, encoded, new, self.moves(before, after, replacing=replacing))

    def moves(self, before: Document | None, after: Document | None, *, replacing: bool = False) -> Moves:
        """The work beside storing ``after`` in the place of ``before``, putting it in where ``before`` is None, or
        taking that out where ``after`` is None."""
        moves = Moves((before or after or {})["_id"])
        if after is not None:
            moves.constants = {name: after[name] for name in CONSTANT_FIELDS if name in after}
            if self._log is not None and before is not None and not replacing:
                moves.description = difference(before, after, self._context)
        for index in self.collection.indexes:
            if index.name == "_id_" and before is not None and after is not None:
                continue
            old, _ = ([], 0) if before is None else self._keys_of(index, before)
            new, arrays = ([], 0) if after is None else self._keys_of(index, after)
            if old != new:
                kept = set(old).intersection(new) if new else ()
                old, new = [key for key in old if key not in kept], [key for key in new if key not in kept]
                moves.keys.append((index.id, old, new, arrays))
            elif arrays & ~index.arrays:
                moves.keys.append((index.id, [], [], arrays))
        return moves

    def carry_out(self, row: int, encoded: bytes, new: bytes | None, moves: Moves) -> None:
        """Store ``new`` in the place of ``encoded``, or take that out where it is None."""
        execute = self.transaction.session.execute
        if new is None:
            execute(f"DELETE FROM {self.collection.table} WHERE id = ?", (row,))  # noqa: S608
        else:
            self._note_constants(moves.constants)
            execute(
                f"UPDATE {self.collection.table} SET document = ?, sum = ? WHERE id = ?",  # noqa: S608
                (new, crc32(new), row),
            )
        self._move(moves, row, new or b"")
        if new is None:
            self.transaction.count(self.collection, -1, -len(encoded))
            if self._log is not None:
                self._log.deleted(moves.identity, encoded)
        else:
            self.transaction.count(self.collection, 0, len(new) - len(encoded))
            if self._log is not None:
                self._log.changed(moves.identity, encoded, new, moves.description)

    def _move(self, moves: Moves, row: int, document: Document | bytes) -> None:
        """Take out and put in the keys of a row."""
        for number, gone, come, arrays in moves.keys:
            index = next(item for item in self.collection.indexes if item.id == number)
            if arrays & ~index.arrays:
                self.mark_arrays(index, arrays)
            for key in gone:
                self._context.check()
                self.transaction.session.execute(index.delete, (key, row))
            for key in come:
                self._add(index, key, row, document)

    def delete(self, row: int, encoded: bytes, before: Document) -> None:
        """Take a document out."""
        if self._guard is not None:
            self.look_at(self._guard, before, None)
        self.take(row, encoded, before)

    def take(self, row: int, encoded: bytes, before: Document) -> None:
        """Take out a document that may be."""
        self.carry_out(row, encoded, None, self.moves(before, None))

    def look(self, document: Document) -> None:
        """Show the guard a document that an update matched and did not change."""
        if self._guard is not None:
            self.look_at(self._guard, document, document)

    @staticmethod
    def look_at(guard: Guard, before: Document | None, after: Document | None) -> None:
        """Ask ``guard``; raises ``Refused`` with what it raises."""
        try:
            guard(before, after)
        except Exception as error:
            raise Refused(error) from error

    def _keys(self, index: Index, document: Document) -> list[bytes]:
        """The keys of ``document``, once it is noted in which fields it has arrays."""
        keys, arrays = self._keys_of(index, document)
        if arrays & ~index.arrays:
            self.mark_arrays(index, arrays)
        return keys

    def _keys_of(self, index: Index, document: Document) -> tuple[list[bytes], int]:
        if index.partial is not None and not self._belongs(index, index.partial, document):
            return [], 0
        self._context.check_now()
        return index.pattern.keys(document, self._step)

    def _step(self, weight: int) -> None:
        """Account for a key that is to be made."""
        self._context.check(weight)
        if self.transaction.budget is not None:
            self.transaction.budget.index(weight)

    def _belongs(self, index: Index, partial: Document, document: Document) -> bool:
        member = self._members.get(index.id)
        if member is None:
            member = self._members[index.id] = compile_filter(partial, self._context)
        return member(document)

    def mark_arrays(self, index: Index, arrays: int) -> None:
        """Note that fields of ``index`` hold arrays, before any plan can rely on the opposite."""
        if index.hashed:
            raise DataError("hashed indexes do not currently support array values", number=16766)
        marked = replace(index, arrays=index.arrays | arrays)
        session = self.transaction.session
        encoded = session.execute("SELECT specification FROM indexes WHERE id = ?", (index.id,)).get
        seal_index(session.connection, index.id, self.collection.id, encoded, marked.arrays)
        indexes = tuple(marked if item.id == index.id else item for item in self.collection.indexes)
        self.collection = replace(self.collection, indexes=indexes)
        session.bump(session.catalog.changed(self.collection))

    def _note_constants(self, document: Document) -> None:
        """Note what all documents have in common once ``document`` is among them, before any plan relies on more."""
        session = self.transaction.session
        here = session.catalog.collections.get((self.collection.database, self.collection.name))
        if here is not None and here.id == self.collection.id:
            self.collection = here  # others of this transaction may have changed what is known of it, or undone that
        known = self.collection.constants
        if not known and CONSTANT_FIELDS[0] not in document:
            return
        if known and all(is_string(found := document.get(name)) and found == text for name, text in known.items()):
            return
        constants = {}
        if not self.transaction.counted(self.collection)[0]:
            constants = {name: value for name in CONSTANT_FIELDS if is_string(value := document.get(name))}
        if constants == known:
            return
        options = described(self.collection)
        if constants:
            options[CONSTANTS] = constants
        self.collection = replace(self.collection, options=options)
        seal_collection(session.connection, self.collection, bson.encode(options, codec_options=CODEC))
        session.bump(session.catalog.changed(self.collection))

    def _add(self, index: Index, key: bytes, row: int, document: Document | bytes) -> None:
        self._context.check()
        try:
            self.transaction.session.execute(index.insert, (key, row))
        except apsw.ConstraintError as error:
            if not index.unique:
                raise
            shown = decode(document) if isinstance(document, bytes) else document
            raise duplicate(self.collection, index, key, shown) from error

    def _invalid(self, document: Document) -> ValidationFailed:
        """The error of a document that the collection's validator refuses, with the reasons in ``errInfo``."""
        fields = {}
        if self.transaction.explains:
            validator = self.collection.options["validator"]
            fields["errInfo"] = refusal(validator, document, self._context, self._known)
        return ValidationFailed("Document failed validation", fields=fields)

    def _excused(self, validator: Matcher, before: Document) -> bool:
        """Whether a document may stay invalid, which it may with level ``moderate`` if it was before."""
        return self.collection.options.get("validationLevel") == "moderate" and not validator(before)


def _validator(collection: Collection, context: Context) -> Matcher | None:
    options = collection.options
    if not options.get("validator") or options.get("validationLevel") == "off":
        return None
    if options.get("validationAction") == "warn":
        return None
    return compile_filter(options["validator"], context)


def identified(document: Document) -> Document:
    """``document`` as it is stored: with an ``_id``, first, and the time for empty timestamps. Raises 53 or 52 for ids
    that cannot be; other names may begin with ``$``."""
    document = stamped(document)
    identity = document.get("_id", MISSING)
    if identity is MISSING:
        return {"_id": new_id(), **document}
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
