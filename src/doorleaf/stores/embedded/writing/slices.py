"""Writes of much, in several short transactions: between two of them others have their turn to write.

As on a server each document is written by itself: what went before stays when a later one fails, or the time is over.
Where rules have to see all of it first, they see it before, or all of it is one transaction.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import apsw
import bson

from doorleaf.documents import CODEC, Document, Documents, Encoded
from doorleaf.errors import DataError, DoorleafError, RequestError, StoreTimeout
from doorleaf.mql.context import Context
from doorleaf.operations import BulkWrite, CreateIndex, DeleteMany, Guard, InsertMany, Operation, UpdateMany, Write
from doorleaf.operations.results import BulkWriteResult, DeleteResult, Result, UpdateResult
from doorleaf.stores.base import Failures
from doorleaf.stores.embedded.administration import collection_for_write
from doorleaf.stores.embedded.encoding import check_depth, decode, encode
from doorleaf.stores.embedded.processes.memory import out_of_memory
from doorleaf.stores.embedded.processes.wire import BATCH_BYTES, Values
from doorleaf.stores.embedded.reading import small
from doorleaf.stores.embedded.reading.budget import Budget, Postponed
from doorleaf.stores.embedded.writing import building, planned
from doorleaf.stores.embedded.writing.planned import CROWDED_SECONDS, SLICE_SECONDS, Writing
from doorleaf.stores.embedded.writing.rows import Refused, Rows, Transaction, identified
from doorleaf.stores.embedded.writing.writes import WRITES

SLICE_BYTES = 2 * 1024 * 1024
"""How much may change in one of them that was computed before."""

MANY = 2_000
"""An insert of more documents is one of much from the beginning."""

_DOCUMENTS, _BYTES = 100, 256 * 1024
"""What one of several writes may look at in a transaction with others."""


def is_sliceable(operation: Operation[Any]) -> bool:
    """Whether ``operation`` may be carried out in several transactions."""
    return isinstance(operation, (BulkWrite, UpdateMany, DeleteMany, CreateIndex))


def write(writing: Writing, operation: Operation[Any], context: Context) -> Any:
    """Carry out ``operation``, in slices where ``writing`` says so."""
    if isinstance(operation, CreateIndex):
        wanted = [(operation.keys, operation.options)]
        return building.create_indexes(writing, operation.namespace, wanted, context)
    if isinstance(operation, BulkWrite):
        return _bulk_write(writing, operation, context)
    if writing.sliced and isinstance(operation, (UpdateMany, DeleteMany)):
        return _many(writing, operation, context)
    return planned.write(writing, operation, context)


@contextlib.contextmanager
def _telling(writing: Writing, done: Callable[[], Document]) -> Iterator[None]:
    """Add what has been ``done``, and stays, to the error that ends an operation in the middle."""
    try:
        try:
            yield
        except (MemoryError, apsw.NoMemError):
            raise out_of_memory() from None
    except DoorleafError as error:
        if writing.committed:
            error.fields = {**error.fields, **done()}
        raise


class _Most:
    """How many bytes a slice may change: as many as take about as long to put in as one may last."""

    def __init__(self) -> None:
        self.bytes = SLICE_BYTES // 4

    def adapt(self, seconds: float, *, crowded: bool) -> None:
        """Change as much more or less, by how long the last slice kept others from writing, and whether they wait."""
        fitting = self.bytes * (CROWDED_SECONDS if crowded else SLICE_SECONDS) / max(seconds, 0.001)
        self.bytes = int(min(max(fitting, 1), 2 * self.bytes, SLICE_BYTES))

    def shrink(self) -> bool:
        """Change less, because the last slice was ended; whether that can be, for one has a document at least."""
        if self.bytes == 1:
            return False
        self.bytes = self.bytes // 8 if self.bytes > SLICE_BYTES // 1024 else 1
        return True


def _many(writing: Writing, operation: UpdateMany | DeleteMany, context: Context) -> Result:
    """Change or take out all matches, some at a time.

    Rules see all of it before the first is changed. A document that others change meanwhile is judged again in its
    slice; when it is refused then, what went before stays.
    """
    if operation.guard is not None:
        planned.judge(writing, [operation], context)
    most = _Most()
    result, rest = _next(writing, operation, None, most, context)
    if result is None:
        return planned.write(writing, operation, context)  # type: ignore[no-any-return]  # a result
    if rest and isinstance(operation, UpdateMany):
        operation = replace(operation, upsert=False)
    with _telling(writing, lambda: result.wire()):
        while rest:
            answer, rest = _next(writing, operation, rest, most, context)
            if isinstance(answer, DeleteResult):
                result.deleted_count += answer.deleted_count
            elif isinstance(answer, UpdateResult):
                result.matched_count += answer.matched_count
                result.modified_count += answer.modified_count
    return result  # type: ignore[no-any-return]  # as above


def _next(
    writing: Writing, operation: UpdateMany | DeleteMany, matched: list[int] | None, most: _Most, context: Context
) -> tuple[Any, list[int]]:
    """The next slice, and how much may be in the one after it. One that takes too long is made smaller."""
    while True:
        try:
            found = planned.slice_of(writing, operation, matched, most.bytes, context)
        except planned.Overdue:
            if not most.shrink():
                raise
        else:
            most.adapt(writing.held, crowded=writing.crowded)
            return found


# --- several writes --------------------------------------------------------------------------------------------------


class _Bulk:
    """How far a bulk write is."""

    def __init__(self, operation: BulkWrite) -> None:
        self.writes = operation.operations
        self.ordered = operation.ordered
        self.number = 0
        self.result = BulkWriteResult()
        self.failures = Failures()
        self.refused: Refused | RequestError | None = None
        """What rules refused in the end that they let pass on what was stored, or what there is not."""

    @property
    def over(self) -> bool:
        over = self.number >= len(self.writes) or (self.ordered and bool(self.failures.entries))
        return over or self.refused is not None

    @property
    def next(self) -> Write:
        return self.writes[self.number]

    def add(self, answer: Result | DataError) -> None:
        if isinstance(answer, DataError):
            self.failures.add(self.number, answer.number, answer)
        else:
            self.result.add(self.number, answer)
        self.number += 1

    def add_part(self, fields: Mapping[str, Any]) -> None:
        """Account for what the next write has done of its own, which was ended: the ``fields`` of its error."""
        self.result.matched_count += fields.get("matchedCount", 0)
        self.result.modified_count += fields.get("modifiedCount", 0)
        self.result.deleted_count += fields.get("deletedCount", 0)


def _bulk_write(writing: Writing, operation: BulkWrite, context: Context) -> BulkWriteResult:
    """Carry out the writes: some at a time, or all in one transaction, with the same outcome.

    Rules see each of them on what is stored before the first is written. One that they refuse because of what those
    before it have changed ends the operation, and says what stays.
    """
    planned.judge(writing, operation.operations, context, ordered=operation.ordered)
    bulk = _Bulk(operation)
    if writing.sliced:
        with _telling(writing, lambda: bulk.result.wire()):
            _in_slices(writing, bulk, context)
    else:
        with writing.transaction(context) as transaction, planned.for_a_moment(writing, context):
            _at_once(transaction, bulk, context)
    if bulk.refused is not None:
        refusal = bulk.refused.error if isinstance(bulk.refused, Refused) else bulk.refused
        if bulk.number and isinstance(refusal, DoorleafError):
            refusal.fields = {**refusal.fields, **bulk.result.wire()}
        raise bulk.refused
    if bulk.failures.entries:
        raise bulk.failures.error(bulk.result.wire())
    return bulk.result


def _in_slices(writing: Writing, bulk: _Bulk, context: Context) -> None:
    while not bulk.over:
        context.check_now()
        if small.write(bulk.next) is not None:
            before, result = bulk.number, bulk.result.copy()
            try:
                with writing.transaction(context) as transaction:
                    _some(writing, transaction, bulk, context)
            except BaseException:
                bulk.result = result  # which is what stays
                raise
            if bulk.number > before:
                continue
        try:
            bulk.add(write(writing, bulk.next, context))
        except (Refused, RequestError) as error:
            bulk.refused = error
        except DataError as error:
            bulk.add(error)
        except StoreTimeout as error:
            bulk.add_part(error.fields)
            raise


def _at_once(transaction: Transaction, bulk: _Bulk, context: Context) -> None:
    while not bulk.over:
        context.check_now()
        _one(transaction, bulk, context)


def _one(transaction: Transaction, bulk: _Bulk, context: Context) -> None:
    """Carry out the next write in a transaction with others; what it raises has changed nothing."""
    try:
        with transaction.attempt(explains=bulk.failures.explains):
            answer = WRITES[type(bulk.next)](transaction, bulk.next, context)
    except (Refused, RequestError) as error:
        bulk.refused = error  # what was written before stays
    except DataError as error:
        bulk.add(error)
    else:
        bulk.add(answer)


def _some(writing: Writing, transaction: Transaction, bulk: _Bulk, context: Context) -> None:
    """Carry out the next writes until one of them may take long, or the slice is over."""
    while not bulk.over:
        context.check_now()
        tests = small.write(bulk.next)
        if tests is None:
            return
        transaction.budget = Budget(_DOCUMENTS, _BYTES, tests)
        try:
            _one(transaction, bulk, context)
        except Postponed:
            return
        finally:
            transaction.budget = None
        if writing.over():
            return


# --- many documents --------------------------------------------------------------------------------------------------


def batches(documents: Sequence[Document]) -> list[bytes]:
    """Documents as BSON, many end to end. Raises ``InvalidParameter`` for what BSON cannot hold."""
    found: list[bytes] = []
    held: list[bytes] = []
    size = 0
    for encoded in documents.raw if isinstance(documents, Encoded) else map(encode, documents):
        held.append(encoded)
        size += len(held[-1])
        if size >= BATCH_BYTES:
            found.append(b"".join(held))
            held, size = [], 0
    return [*found, b"".join(held)] if held else found


def insert_many(writing: Writing, operation: InsertMany, given: list[bytes], context: Context) -> Values:
    """Put in the documents of the batches ``given``; their ids. Raises ``WriteFailed`` with those that went in."""
    if operation.guard is not None:
        _judge(given, operation.guard, context)
    documents = enumerate(Documents(given))
    ids, failures = Values(), Failures()
    count, over = 0, False
    with _telling(writing, lambda: {"insertedCount": count}):
        while not over:
            with writing.transaction(context) as transaction, planned.for_a_moment(writing, context):
                some, over = _insert_some(writing, transaction, operation, documents, failures, context)
            count += len(some)
            ids += [bson.encode({"v": some}, codec_options=CODEC)]
    if failures.entries:
        inserted = [identity for piece in ids for identity in bson.decode(piece, CODEC)["v"]]
        raise failures.error({"insertedCount": count, "insertedIds": inserted})
    return ids


def _judge(given: list[bytes], guard: Guard, context: Context) -> None:
    """Ask ``guard`` about all documents before the first goes in: what it refuses ends the whole operation."""
    for number, batch in enumerate(given):
        kept = []
        for document in bson.decode_iter(batch, CODEC):
            context.check()
            try:
                document = identified(document)
                check_depth(document)
            except DataError:  # it is refused when its turn comes
                kept.append(encode(document))
                continue
            kept.append(encode(document))
            Rows.look_at(guard, None, document)
        given[number] = b"".join(kept)


def _insert_some(
    writing: Writing,
    transaction: Transaction,
    operation: InsertMany,
    documents: Iterator[tuple[int, bytes]],
    failures: Failures,
    context: Context,
) -> tuple[list[Any], bool]:
    """The ids of the next documents, and whether it is over."""
    rows = transaction.rows(collection_for_write(transaction, operation.namespace), context)
    ids: list[Any] = []
    size = 0
    for number, encoded in documents:
        context.check()
        try:
            with transaction.attempt(explains=failures.explains):
                ids.append(rows.insert(decode(encoded), encoded))
        except DataError as error:
            rows.collection = collection_for_write(transaction, operation.namespace)
            failures.add(number, error.number, error)
            if operation.ordered:
                return ids, True
        size += len(encoded)
        if writing.sliced and writing.over(size):
            return ids, False
    return ids, True
