"""Writes that may take long: computed on a snapshot while others write, then put into the file in a short transaction.

What was computed from a document holds as long as the document is the same: each is looked at again before it is
changed, and where one has changed meanwhile all is computed anew. What cannot be computed before it is written (several
writes that build on each other) and what is too much to keep is carried out in the transaction as a whole.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from doorleaf.documents import Document, Pipeline
from doorleaf.errors import DataError, StoreTimeout, WriteFailed
from doorleaf.mql.context import Context
from doorleaf.operations import (
    Aggregate,
    CreateCollection,
    CreateIndex,
    DropCollection,
    DropIndex,
    Guard,
    InsertMany,
    InsertOne,
    Namespace,
    Operation,
    RenameCollection,
    Write,
)
from doorleaf.operations import Transaction as Together
from doorleaf.stores.embedded import administration
from doorleaf.stores.embedded.catalog import Collection, described
from doorleaf.stores.embedded.file.sharing import Sharing
from doorleaf.stores.embedded.file.storage import Session, begin_writing
from doorleaf.stores.embedded.reading import reads
from doorleaf.stores.embedded.writing import modifying, outputs, together, writes
from doorleaf.stores.embedded.writing.rows import Moves, Rows, Transaction

ATTEMPTS = 5
"""How often a write is computed before it is carried out in the transaction as a whole."""

PLANNED_BYTES = 32 * 1024 * 1024
"""What may be kept of the documents that a write changes."""

WRITES: dict[type, Callable[[Transaction, Any, Context], Any]] = {
    **writes.WRITES,
    CreateIndex: administration.create_index,
    DropIndex: administration.drop_index,
    CreateCollection: administration.create_collection,
    DropCollection: administration.drop_collection,
    RenameCollection: administration.rename_collection,
    Together: together.transaction,
}
"""How each operation that changes something is carried out in a transaction."""

SLICE_SECONDS = 0.05
"""How long one transaction of several may last before others have their turn."""

CROWDED_SECONDS, CROWDED_BYTES = 0.01, 512 * 1024
"""The same while others wait, and how much it may put in then, for its commit takes its time too."""

HELD_SECONDS = 0.1
"""How much of the processor's time a write that callers made long may have while others wait to write."""

ALONE_SECONDS = 0.5
"""The same where nobody waits: what was put in so has to be taken out as well, when somebody does."""

LONGEST_SECONDS = 2.0
"""How long it may take by the clock while others wait, for what waits for a disk uses no processor."""

_LOOK_SECONDS = 0.02
"""How often it looks whether somebody waits."""

_LATE_SECONDS = 0.1

_STEP_SECONDS = 1.5
"""The longest that it looks at no clock, of the processor's time: three times what decoding 16 MB of BSON takes."""

_AS_A_WHOLE = frozenset((InsertMany, DropIndex, DropCollection, RenameCollection, Together))
_ADMINISTRATION = frozenset((DropIndex, DropCollection, RenameCollection))


class _NotPlanned(Exception):
    """This has to be carried out in the transaction as a whole."""


class _Changed(Exception):
    """What was computed on is not there any more."""


class Overdue(StoreTimeout):
    """Raised where one transaction would have kept others from writing for too long: it is undone, and what others of
    the operation have committed stays."""


@dataclass(slots=True)
class Change:
    """One document to put in (``before`` None), to exchange, or to take out (``after`` None), as BSON."""

    row: int
    before: bytes | None
    after: bytes | None
    moves: Moves
    """What else there is to do, which is computed where nobody waits."""
    document: Document | None = None
    """What is put in, decoded."""


class Draft(Transaction):
    """A transaction on a snapshot that notes what it would change."""

    __slots__ = ("_keeps", "_most", "changes", "collection", "logs", "rest", "size")

    def __init__(
        self, session: Session, matched: list[int] | None = None, most: int | None = None, *, keeps: bool = True
    ) -> None:
        """Collect changes, up to ``most`` bytes where that is given.

        ``rest`` are the rows that were found to match and are left then, which are ``matched`` of the next. One that
        does not keep changes is for what looks at them.
        """
        super().__init__(session)
        self.matched = matched
        self.changes: list[Change] = []
        self.collection: Collection | None = None
        self.logs = False
        self.size = 0
        self._most = most
        self._keeps = keeps
        self.rest: list[int] = []

    def those(self, rows: list[int]) -> Iterator[int]:
        for place, row in enumerate(rows):
            if self._most is not None and self.size >= self._most:
                self.rest = rows[place:]
                return
            yield row

    def rows(self, collection: Collection, context: Context, guard: Guard | None = None) -> Rows:
        self.collection = collection
        rows = _PlannedRows(self, collection, context, guard)
        self.logs = rows.logs
        return rows

    def note(self, change: Change) -> None:
        """Keep a change; raises when there is too much of them."""
        if not self._keeps:
            return
        self.size += len(change.before or b"") + len(change.after or b"") + 200
        self.size += change.moves.size
        if self._most is None and self.size > PLANNED_BYTES:
            raise _NotPlanned
        self.changes.append(change)

    def carry_out(self, transaction: Transaction, context: Context, *, unchanged: bool) -> None:
        """Change the file as planned; with ``unchanged`` nobody has written since."""
        if self.collection is None:
            return
        key = (self.collection.database, self.collection.name)
        collection = transaction.session.catalog.collections.get(key)
        if collection is None or _alike(collection) != _alike(self.collection):
            raise _Changed
        rows = Rows(transaction, collection, context)
        if rows.logs != self.logs:
            raise _Changed
        statement = f"SELECT document FROM {collection.table} WHERE id = ?"  # noqa: S608 - an integer id
        for change in self.changes:
            context.check()
            if change.before is None:
                # That nothing matched, so that a document is put in, holds for what was there.
                if not unchanged:
                    raise _Changed
                rows.put(change.document or {}, change.after or b"", change.moves)
                continue
            if not unchanged and transaction.session.execute(statement, (change.row,)).get != change.before:
                raise _Changed
            rows.carry_out(change.row, change.before, change.after, change.moves)


def _alike(collection: Collection) -> tuple[Any, ...]:
    """What of a collection has to be the same for what was computed to hold."""
    return collection.id, described(collection), [index.id for index in collection.indexes]


class _PlannedRows(Rows):
    """Rows that look at everything and change nothing."""

    __slots__ = ()

    def put(self, document: Document, encoded: bytes, moves: Moves | None = None) -> None:
        self._note(Change(0, None, encoded, self.moves(None, document), document))

    def exchange(
        self, row: int, encoded: bytes, before: Document, after: Document, new: bytes, *, replacing: bool
    ) -> None:
        self._note(Change(row, encoded, new, self.moves(before, after, replacing=replacing)))

    def take(self, row: int, encoded: bytes, before: Document) -> None:
        self._note(Change(row, encoded, None, self.moves(before, None)))

    def _note(self, change: Change) -> None:
        assert isinstance(self.transaction, Draft)  # noqa: S101  # who made it
        self.transaction.note(change)


class Writing:
    """How a worker writes: a session to read with, one to write with, and what to call before a commit."""

    def __init__(
        self,
        reader: Session,
        writer: Session,
        prepared: Callable[[], None],
        fold: Callable[[], None] = lambda: None,
    ) -> None:
        self.session = reader
        self.alarm: Callable[[float | None], None] = lambda until: None
        """Called with the instant at which the process ends unless it is called again; None for the usual one."""
        self.watch: Callable[[float], None] = lambda seconds: None
        """Called with the seconds of the processor's time after which it ends unless it is called again; 0 for none."""
        self.begun: Callable[[], None] = lambda: None
        """Called after the commit of what counts for nothing yet."""
        self.turn: Callable[[], None] = lambda: None
        """Called before each transaction; it returns when this operation's turn has come."""
        self.behind = 0.0
        """Seconds that it stands behind others who begin to wait for the turn to write."""
        self.moment = HELD_SECONDS
        """Seconds of the processor's time that a transaction may have while others wait to write."""
        self.sliced = False
        """Whether what takes long is to be done in several transactions."""
        self.committed = False
        """Whether something of the operation has been."""
        self.began = 0.0
        """When the last transaction began to keep others from writing."""
        self.held = 0.0
        """Seconds for which it did, its commit apart."""
        self.crowded = False
        """Whether others waited for it to end."""
        self._writer = writer
        self._prepared = prepared
        self._fold = fold

    def version(self) -> int:
        """A number that changes with every commit of others than the reader."""
        found: int = self.session.execute("PRAGMA data_version").get
        return found

    def wanted(self) -> bool:
        """Whether others wait to write."""
        return self.sharing.wanted()

    def over(self, size: int = 0) -> bool:
        """Whether the transaction at hand, which has put in so many bytes, has to end for others to have their turn."""
        lasted = time.monotonic() - self.began
        if lasted >= SLICE_SECONDS:
            return True
        return (lasted >= CROWDED_SECONDS or size >= CROWDED_BYTES) and self.wanted()

    @property
    def sharing(self) -> Sharing:
        """The file by which the processes of this folder tell one another who waits."""
        return self._writer.storage.sharing

    @contextlib.contextmanager
    def reading(self, context: Context) -> Iterator[Session]:
        """A snapshot."""
        with self.session.reading(context):
            yield self.session

    @contextlib.contextmanager
    def transaction(self, context: Context, *, partial: bool = False) -> Iterator[Transaction]:
        """A transaction that is committed at its end; nothing stays of one that raises, ``WriteFailed`` apart.

        What a ``partial`` one commits is nothing to anybody before the last has been.
        """
        session = self._writer
        sharing = session.storage.sharing
        failed: WriteFailed | None = None
        self.turn()
        sharing.take(self.behind)
        self.began = time.monotonic()
        try:
            session.storage.presence.require()
            begin_writing(session)
            session.refresh()
            limit = session.storage.room.limit(session.connection)
            transaction = Transaction(session)
            with session.limited(context):
                try:
                    yield transaction
                except WriteFailed as error:
                    failed = error
                transaction.finish()
                session.finish()
            context.check_now()
            session.storage.room.require(session.connection, limit)
            session.storage.presence.require()
            self.held, self.crowded = time.monotonic() - self.began, self.wanted()
            if not partial:
                self._prepared()
            session.execute("COMMIT")
            self.committed = self.committed or not partial
            if partial:
                self.begun()
            session.storage.latest = session.catalog
        finally:
            session.end()
            session.catalog = session.storage.latest
            sharing.give()
        self._fold()  # nobody has to wait for the log
        if failed is not None:
            raise failed


class Held(Writing):
    """The same in a transaction that is there already, and ends later."""

    def __init__(self, transaction: Transaction) -> None:
        super().__init__(transaction.session, transaction.session, lambda: None)
        self._transaction = transaction

    def wanted(self) -> bool:
        return False  # others of this process wait behind it as behind any

    @contextlib.contextmanager
    def reading(self, context: Context) -> Iterator[Session]:
        yield self.session

    @contextlib.contextmanager
    def transaction(self, context: Context, *, partial: bool = False) -> Iterator[Transaction]:
        self.began = time.monotonic()
        yield self._transaction


def write(writing: Writing, operation: Operation[Any], context: Context) -> Any:
    """Carry out ``operation``."""
    work = WRITES[type(operation)]
    if isinstance(operation, CreateCollection):
        options = administration.kept_options(operation.options, context)
        with writing.transaction(context) as transaction:
            return administration.create_collection(transaction, operation, context, options)
    if type(operation) not in _AS_A_WHOLE:
        for _ in range(ATTEMPTS):
            try:
                return _planned(writing, work, operation, context)
            except _Changed:
                continue
            except _NotPlanned:
                break
    with writing.transaction(context) as transaction:
        if type(operation) in _ADMINISTRATION:
            return work(transaction, operation, context)
        with for_a_moment(writing, context):
            return work(transaction, operation, context)


@contextlib.contextmanager
def for_a_moment(writing: Writing, context: Context) -> Iterator[None]:
    """End what keeps others from writing for long: with an error where it looks at the clock, else with its process.

    It has ``writing.moment`` of the processor where others wait, and :data:`ALONE_SECONDS` where nobody does; and one
    step more that cannot be interrupted, such as reading a large document.
    """
    deadline, seconds = context.deadline, writing.moment
    began, worked = time.monotonic(), time.process_time()

    def later() -> float | None:
        now, used = time.monotonic(), time.process_time() - worked
        if used >= max(ALONE_SECONDS, seconds) or (deadline is not None and now >= deadline):
            return None
        if (used >= seconds or now - began >= LONGEST_SECONDS) and writing.wanted():
            return None
        writing.watch(_LOOK_SECONDS + _STEP_SECONDS)
        return _first(now + _LOOK_SECONDS, deadline)

    context.deadline, context.later = _first(began + seconds, deadline), later
    writing.alarm(None if deadline is None else deadline + _LATE_SECONDS)
    writing.watch(max(seconds, ALONE_SECONDS) + _STEP_SECONDS)
    try:
        yield
    except StoreTimeout:
        if deadline is None or time.monotonic() < deadline:
            changed = "what was written before stays" if writing.committed else "nothing changed"
            raise Overdue(
                f"the write was ended, and {changed}: it would have kept others from writing for too long; send it in"
                " smaller parts"
            ) from None
        raise
    finally:
        context.deadline, context.later = deadline, None
        writing.alarm(None)
        writing.watch(0)


def _first(instant: float, deadline: float | None) -> float:
    return instant if deadline is None else min(instant, deadline)


def _planned(
    writing: Writing, work: Callable[[Transaction, Any, Context], Any], operation: Operation[Any], context: Context
) -> Any:
    version = writing.version()
    with writing.reading(context) as session:
        if session.catalog.get(operation.namespace) is None:
            raise _NotPlanned
        draft = Draft(session)
        answer = work(draft, operation, context)
    if draft.changes:
        with writing.transaction(context) as transaction, for_a_moment(writing, context):
            # What is put in is the same whatever is there.
            unchanged = isinstance(operation, InsertOne) or writing.version() == version
            draft.carry_out(transaction, context, unchanged=unchanged)
    return answer


def judge(writing: Writing, operations: Sequence[Write], context: Context, *, ordered: bool = True) -> None:
    """Compute all that each write would change on one snapshot, and let its guard see it; raises what that raises, and
    what is known to be refused whatever is stored.

    ``ordered`` ones are not looked at behind the first that fails.
    """
    with writing.reading(context) as session:
        for operation in operations:
            context.check_now()
            try:
                if operation.guard is None or session.catalog.get(operation.namespace) is None:
                    writes.check(operation, context)
                else:
                    WRITES[type(operation)](Draft(session, keeps=False), operation, context)
            except DataError:  # it fails when its turn comes
                if ordered:
                    return


def slice_of(
    writing: Writing, operation: Operation[Any], matched: list[int] | None, most: int, context: Context
) -> tuple[Any, list[int]]:
    """Carry out the next part of a write to many documents, of which the rows ``matched`` are left; what it answers,
    None where there is no collection, and the rows that are left now."""
    work = WRITES[type(operation)]
    for attempt in count():
        context.check_now()
        version = writing.version()
        with writing.reading(context) as session:
            draft = Draft(session, matched, most)
            if session.catalog.get(operation.namespace) is None:
                break
            answer = work(draft, operation, context)
        # MongoDB too puts a document in where it found no match, whatever others have written while it looked.
        regardless = attempt >= ATTEMPTS and all(change.before is None for change in draft.changes)
        try:
            if draft.changes:
                with writing.transaction(context) as transaction, for_a_moment(writing, context):
                    unchanged = regardless or writing.version() == version
                    draft.carry_out(transaction, context, unchanged=unchanged)
            return answer, draft.rest
        except _Changed:
            continue
    return None, []


def modify(
    writing: Writing, namespace: Namespace, options: Document, index: Document | None, context: Context
) -> Document:
    """Carry out a ``collMod``, whose validator is looked at before."""
    kept = administration.kept_options(options, context, "collMod")
    with writing.transaction(context) as transaction:
        return modifying.modify(transaction, namespace, kept, index)


def output(
    writing: Writing, operation: Aggregate, pipeline: Pipeline, target: outputs.Output, context: Context
) -> None:
    """Compute what ``pipeline`` answers on a snapshot, and write it to ``target``."""
    with writing.reading(context) as session:
        found = [*reads.aggregate(session, reads.uncapped(operation), pipeline, context)]
    with writing.transaction(context) as transaction:
        outputs.write_output(transaction, target, found, context)
