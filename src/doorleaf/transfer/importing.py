"""Rows into a collection, in batches, so that an import that was cut off can be run again and doubles nothing.

A row without an ``_id`` gets one that follows from the import and the row's place in the file: the same file, read
again, has the same. So a row whose ``_id`` is there already was put in before when the document is the one that this
import makes: then it is counted as ``present``. Any other is rejected as a duplicate.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from itertools import islice
from typing import Any, ParamSpec, Protocol, TypeVar

import bson
from bson import ObjectId, Timestamp
from bson.errors import BSONError

from doorleaf.documents import CODEC, Document, Encoded, Exact, ids_of
from doorleaf.ejson import with_id
from doorleaf.errors import (
    DoorleafError,
    InvalidParameter,
    PayloadTooLarge,
    StoreError,
    TooManyRequests,
    WriteFailed,
)
from doorleaf.operations import BulkWrite, Find, InsertMany, Namespace, Operation, R, ReplaceOne, UpdateOne, Write
from doorleaf.transfer.bson_file import MOST_BYTES, identified, too_large
from doorleaf.transfer.rows import Row, Rows, Unreadable

BATCH_BYTES = 512 * 1024
"""A batch that has so much text is full. As values it may take thirty times the memory, and there are two at once."""

TAKEN_SECONDS = 1.0
"""How long the rows of a batch are read: who waits for the thread has it then."""

LARGE_ROW_BYTES = 1024 * 1024
"""Text that has less is no document of too many bytes."""

ATTEMPTS = 6
FIRST_WAIT = 0.5
LONGEST_WAIT = 30.0
"""How often a batch is sent where the database cannot answer, and the seconds between."""

_NO_BSON = (BSONError, OverflowError, RecursionError)
"""Why values cannot be BSON."""

PROBLEMS = 20
"""Rejected rows that the report itself names."""


class Execute(Protocol):
    """Carries out operations: the service, for some caller, or a server that is spoken to by HTTP."""

    def __call__(self, operation: Operation[R]) -> Awaitable[R]: ...


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan of what to do with rows. With ``keys`` each is put in the place of the document with the same values
    there, its fields alone or, with ``replace``, as a whole; without, each is a new document. ``seed`` tells this
    import from others, and ``seconds`` is what ids that it makes have as their time."""

    namespace: Namespace
    seed: bytes
    seconds: int = 0
    keys: tuple[str, ...] = ()
    replace: bool = False
    ordered: bool = False
    batch: int = 1_000


@dataclass(slots=True)
class Report:
    """The outcome for the rows. ``present`` were there already as they are in the file; ``problems`` are the first rows
    that were rejected, with number and reason; ``stopped`` says why the rest was not read, and ``refused`` is the
    status and code of the error that was why."""

    rows: int = 0
    inserted: int = 0
    present: int = 0
    matched: int = 0
    modified: int = 0
    upserted: int = 0
    rejected: int = 0
    stopped: str = ""
    refused: tuple[int, str] | None = None
    problems: list[tuple[int, str]] = field(default_factory=list)


P = ParamSpec("P")
T = TypeVar("T")
Tell = Callable[[Report], None]
Reject = Callable[[Row], None]


@dataclass(slots=True)
class Batch:
    """Rows that were read together; ``error`` ended the reading behind them, ``last`` says that none are left."""

    rows: list[Row]
    error: Unreadable | None = None
    last: bool = False


Taken = Callable[[Rows, int], Awaitable[Batch]]


async def _taken(rows: Rows, most: int) -> Batch:
    return await asyncio.to_thread(take, rows, most)


def take(rows: Rows, most: int) -> Batch:
    """The next rows: ``most`` of them, or fewer where they are large or take long."""
    batch, size = Batch([]), 0
    until = time.monotonic() + TAKEN_SECONDS
    try:
        for row in islice(rows, most):
            if row.size > LARGE_ROW_BYTES:
                _bounded(row)
            batch.rows.append(row)
            size += row.size
            if size >= BATCH_BYTES or time.monotonic() >= until:
                return batch
    except Unreadable as error:
        batch.error = error.with_traceback(None)  # which has this call, and so what was read
    batch.last = batch.error is not None or len(batch.rows) < most
    return batch


def _bounded(row: Row) -> None:
    """Take the document from a row whose document no database takes: what else that would end is the import."""
    if not row.is_good:
        return
    try:
        size = len(row.bson())
    except _NO_BSON:
        return  # the store says why
    if size > MOST_BYTES:
        row.refuse(too_large(size))


def _placed(rows: Rows) -> Rows:
    """``rows``, counted from 1 on."""
    for place, row in enumerate(rows, 1):
        row.place = place
        yield row


class Importer:
    """Carries out one import. ``tell`` is called after each batch, ``reject`` with each row that was not taken, and
    ``taken`` calls :func:`take` in a thread."""

    def __init__(self, execute: Execute, plan: Plan, tell: Tell, reject: Reject, taken: Taken = _taken) -> None:
        self._taken = taken
        self._execute = execute
        self._plan = plan
        self._tell = tell
        self._reject = reject
        self._tag = blake2b(plan.seed + str(plan.namespace).encode(), digest_size=5).digest()
        self.report = Report()

    async def run(self, rows: Rows) -> Report:
        """Put in all rows; a thread reads the next ones meanwhile. What ends the import early is in the report."""
        rows = _placed(rows)
        batch = await self._taken(rows, self._plan.batch)
        while True:
            following = None if batch.last else asyncio.ensure_future(self._taken(rows, self._plan.batch))
            try:
                await self._take_in(batch.rows)
            except DoorleafError as error:
                self.report.stopped, self.report.refused = error.message, (error.status, error.code)
            finally:
                read = batch if following is None else await following
            self._tell(self.report)
            if following is None and batch.error is not None and not self.report.stopped:
                self.report.stopped = batch.error.message
            if following is None or self.report.stopped:
                return self.report
            batch = read

    async def _take_in(self, rows: list[Row]) -> None:
        good, first_bad = [], None
        for row in rows:
            if not row.is_good:
                if self._plan.ordered:
                    first_bad = row
                    break
                self._refuse(row, row.reason)
            else:
                good.append(row)
        if good:
            await self._write(good)
        if first_bad is not None and not self.report.stopped:
            self._refuse(first_bad, first_bad.reason)

    def _refuse(self, row: Row, reason: str) -> None:
        report = self.report
        report.rows += 1
        report.rejected += 1
        row.reason = reason
        if len(report.problems) < PROBLEMS:
            report.problems.append((row.number, reason))
        self._reject(row)
        if self._plan.ordered:
            report.stopped = f"row {row.number} was rejected"

    async def _write(self, rows: list[Row]) -> None:
        """Put in rows that are documents, and try again where the database could not answer."""
        wait, again = FIRST_WAIT, False
        for attempt in range(ATTEMPTS):
            try:
                if self._plan.keys:
                    await self._merge(rows)
                else:
                    await self._insert(rows, again)
                return
            except (StoreError, TooManyRequests) as error:
                if attempt == ATTEMPTS - 1:
                    raise
                asked = error.headers.get("Retry-After", "")
                await asyncio.sleep(min(float(asked) if asked.isdigit() else wait, LONGEST_WAIT))
                wait, again = min(wait * 2, LONGEST_WAIT), True
            except (InvalidParameter, PayloadTooLarge) as error:
                if len(rows) == 1:
                    self._refuse(rows.pop(), error.message)
                    return
                break
        await self._write(rows[: len(rows) // 2])  # one of them is what is refused
        if not self.report.stopped:
            await self._write(rows[len(rows) // 2 :])

    # --- new documents -----------------------------------------------------------------------------------------------

    async def _insert(self, rows: list[Row], again: bool) -> None:
        """Put in ``rows``, and take those out of the list whose outcome is in the report."""
        while rows and not self.report.stopped:
            size = max(row.size for row in rows)
            documents = await _apart(size, self._documents, rows)
            operation = InsertMany(namespace=self._plan.namespace, documents=documents, ordered=self._plan.ordered)
            errors: dict[int, Document] = {}
            try:
                await self._execute(operation)
            except WriteFailed as error:
                errors = {entry["index"]: entry for entry in error.fields["writeErrors"]}
            doubled = [place for place, entry in errors.items() if entry["code"] == 11000]
            if doubled and self._plan.ordered:  # what comes behind was not tried, and may be there as well
                doubled = [*range(doubled[0], len(rows))]
            ids = ids_of(documents)  # every one has its own by now
            there = await self._there([ids[place] for place in doubled]) if doubled else {}
            ours = await _apart(size, self._ours, rows, documents, doubled, there)
            self._account(rows, errors, ours, again)

    def _account(self, rows: list[Row], errors: dict[int, Document], ours: set[int], again: bool) -> None:
        """Report each of ``rows`` that was tried or is there; the others stay in the list."""
        if not errors:
            self.report.rows += len(rows)
            self.report.inserted += len(rows)
            rows.clear()
            return
        tried = min(errors) if errors and self._plan.ordered else len(rows)
        left = []
        for place, row in enumerate(rows):
            if place in ours:
                if again:
                    self.report.inserted += 1
                else:
                    self.report.present += 1
            elif place in errors:
                self._refuse(row, errors[place]["message"])
                continue
            elif place < tried:
                self.report.inserted += 1
            else:
                left.append(row)
                continue
            self.report.rows += 1
        rows[:] = left

    # --- into documents that are there -------------------------------------------------------------------------------

    async def _merge(self, rows: list[Row]) -> None:
        """Put ``rows`` in their places, and take those out of the list whose outcome is in the report."""
        writes, wrong = self._writes(rows)
        errors: dict[int, Document] = {}
        counts: Document = {}
        if writes:
            operation = BulkWrite(namespace=self._plan.namespace, operations=writes, ordered=self._plan.ordered)
            try:
                counts = (await self._execute(operation)).wire()
            except WriteFailed as error:
                counts, errors = dict(error.fields), {entry["index"]: entry for entry in error.fields["writeErrors"]}
        self.report.matched += counts.get("matchedCount", 0)
        self.report.modified += counts.get("modifiedCount", 0)
        self.report.upserted += counts.get("upsertedCount", 0)
        for place in range(len(writes)):
            if place in errors:
                self._refuse(rows[place], errors[place]["message"])
                if self.report.stopped:
                    break
            else:
                self.report.rows += 1
        if wrong and not self.report.stopped:
            self._refuse(rows[len(writes)], wrong)
        rows.clear()

    def _writes(self, rows: list[Row]) -> tuple[list[Write], str]:
        """The writes of ``rows`` without those that have none; with ``ordered`` up to the first of them, and why."""
        writes: list[Write] = []
        for row in [*rows]:
            try:
                writes.append(merged(self._plan, row))
            except InvalidParameter as error:
                if self._plan.ordered:
                    return writes, error.message
                rows.remove(row)
                self._refuse(row, error.message)
        return writes, ""

    def _documents(self, rows: list[Row]) -> Sequence[Document]:
        """The documents of ``rows`` with their ids: as BSON, or as values where that says nothing of an ``_id``."""
        raw: list[bytes] = []
        ids: list[Any] = []
        try:
            for row in rows:
                found = with_id(row.bson(), partial(self._made, row.place))
                if found is None:
                    return [*map(self._with_id, rows)]
                raw.append(found[0])
                ids.append(found[1])
        except _NO_BSON:
            return [*map(self._with_id, rows)]  # the store says why
        return Encoded(raw, ids)

    def _with_id(self, row: Row) -> Document:
        document = row.document
        assert document is not None  # noqa: S101  # rows without one went before
        if "_id" in document:
            return document
        return identified(document, self._made(row.place))

    def _made(self, place: int) -> ObjectId:
        """The ``_id`` of a row: as drivers make them, of a time, of what tells who made it, and of a counter."""
        seconds = (self._plan.seconds + (place >> 24)) % 2**32
        return ObjectId(seconds.to_bytes(4, "big") + self._tag + (place % 2**24).to_bytes(3, "big"))

    async def _there(self, ids: list[Any]) -> dict[bytes, bytes]:
        """The documents that have these ids, by their ids in BSON."""
        operation = Find(namespace=self._plan.namespace, filter={"_id": {"$in": ids}}, limit=len(ids))
        found = [*(await self._execute(operation)).documents]
        return await _apart(sum(map(len, found)), _by_id, found)

    def _ours(
        self, rows: list[Row], documents: Sequence[Document], doubled: list[int], there: dict[bytes, bytes]
    ) -> set[int]:
        return {place for place in doubled if self._is_ours(rows[place], _exactly(documents, place), there)}

    def _is_ours(self, row: Row, document: Document, there: dict[bytes, bytes]) -> bool:
        stored = there.get(_key(document["_id"]))
        if stored is None:
            return False
        return (row.document is not None and "_id" not in row.document) or _same(document, stored)


async def _apart(size: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call ``work``, in a thread where something of so many bytes is large."""
    if size > LARGE_ROW_BYTES:
        return await asyncio.to_thread(work, *args, **kwargs)
    return work(*args, **kwargs)


def _by_id(documents: list[bytes]) -> dict[bytes, bytes]:
    return {_key(bson.decode(document, CODEC)["_id"]): document for document in documents}


def _exactly(documents: Sequence[Document], place: int) -> Document:
    return Exact(documents.raw[place]) if isinstance(documents, Encoded) else documents[place]


def _key(identity: Any) -> bytes:
    return bson.encode({"": identity}, codec_options=CODEC)


def _same(document: Document, stored: bytes) -> bool:
    """Whether ``document`` is what is stored; a server puts the time in the place of an empty timestamp."""
    if bson.encode(document, codec_options=CODEC) == stored:
        return True
    now = bson.decode(stored, CODEC)
    ordered = {"_id": document["_id"], **document}
    for name, value in ordered.items():
        if value.__class__ is Timestamp and not (value.time or value.inc):
            ordered[name] = now.get(name)
    return bson.encode(ordered, codec_options=CODEC) == stored


# --- into documents that are there -----------------------------------------------------------------------------------


def merged(plan: Plan, row: Row) -> Write:
    """The write that puts ``row`` in its place. Raises InvalidParameter for a row that has none, or cannot be put."""
    document = row.document
    assert document is not None  # noqa: S101  # rows without one went before
    if isinstance(document, Exact):
        if bson.encode(dict(document), codec_options=CODEC) != document.raw:
            raise InvalidParameter("the document has values that only a new document keeps exactly")
        document = dict(document)
    where = {name: {"$eq": _value(document, name)} for name in plan.keys}
    if plan.replace:
        return ReplaceOne(namespace=plan.namespace, filter=where, replacement=document, upsert=True)
    for name in document:
        if "." in name or name.startswith("$") or not name:
            raise InvalidParameter(f"the field {name!r} cannot be set by its name; with --replace it can")
    fields = {name: value for name, value in document.items() if name != "_id"}
    update: Document = {"$set": fields} if fields else {}
    if "_id" in document and "_id" not in plan.keys:
        update["$setOnInsert"] = {"_id": document["_id"]}
    if not update:
        update = {"$setOnInsert": {"_id": document["_id"]}}
    return UpdateOne(namespace=plan.namespace, filter=where, update=update, upsert=True)


def _value(document: Document, path: str) -> Any:
    value: Any = document
    for name in path.split("."):
        if value.__class__ is not dict or name not in value:
            raise InvalidParameter(f"the row has no {path}, by which its document is found")
        value = value[name]
    return value
