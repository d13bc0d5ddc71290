"""Writes of many parts on MongoDB: PyMongo's bulk writes, some of the parts at a time.

Every function takes the session of a transaction, or None.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import bson
from bson.raw_bson import RawBSONDocument
from pymongo import operations as models
from pymongo.errors import BulkWriteError, PyMongoError

from doorleaf.documents import CODEC, Document, Encoded, Exact, ids_of
from doorleaf.errors import DoorleafError, InvalidParameter, RequestError, StoreError, Unsupported, WriteOutcomeUnknown
from doorleaf.operations import (
    BulkWrite,
    DeleteMany,
    DeleteOne,
    InsertMany,
    InsertOne,
    ReplaceOne,
    UpdateMany,
    UpdateOne,
    Write,
)
from doorleaf.operations.capabilities import Sorted
from doorleaf.operations.results import BulkWriteResult, InsertManyResult, size_of
from doorleaf.stores.base import MOST_RESULT_BYTES, Failures
from doorleaf.stores.mongo.arguments import check_replacement, check_update, hinted, present
from doorleaf.stores.mongo.codes import RETRYABLE
from doorleaf.stores.mongo.errors import MALFORMED, OUTCOME_UNKNOWN, mapped_write, operation_failure, write_error
from doorleaf.stores.mongo.writes import Database, Session, identified

PARTS = 2_000
"""How many parts the driver gets at once: it looks at each, and at each failure, in one turn of the event loop, while
everybody else waits."""

COMPUTED_PARTS = 8
"""The same where upserts compute what they insert: the ``_id`` that comes back of each may have 16 MiB."""

Answer = Mapping[str, Any]
"""Counts, ``upserted``, ``writeErrors`` and ``writeConcernErrors``, as the driver adds them up."""

TOO_MUCH = (
    f"the ids of the documents that were upserted have more than {MOST_RESULT_BYTES} bytes, the most that this server "
    "answers: no further write was sent"
)

Model = (
    models.InsertOne[Document]
    | models.UpdateOne
    | models.UpdateMany
    | models.ReplaceOne[Document]
    | models.DeleteOne
    | models.DeleteMany
)


class Outcome:
    """The parts that were sent so far, and what became of them; ``order`` has all indexes in the order of sending."""

    def __init__(self, order: Sequence[int], *, ordered: bool) -> None:
        self._order = order
        self._ordered = ordered
        self._answered = 0
        self._failures = Failures()
        self._cause: BulkWriteError | None = None
        self._room = MOST_RESULT_BYTES
        self.result = BulkWriteResult()

    def add(self, answer: Answer, start: int, end: int) -> None:
        """Account for the parts from ``start`` to ``end``."""
        self.result.inserted_count += answer.get("nInserted", 0)
        self.result.matched_count += answer.get("nMatched", 0)
        self.result.modified_count += answer.get("nModified", 0)
        self.result.deleted_count += answer.get("nRemoved", 0)
        self.result.upserted_count += answer.get("nUpserted", 0)
        for entry in answer.get("upserted", ()):
            self._room -= size_of(entry["_id"])
            if self._room >= 0:
                self.result.upserted_ids[str(self._order[start + entry["index"]])] = entry["_id"]
        self._answered = end

    def fail(self, error: BulkWriteError, start: int, end: int) -> bool:
        """Account for parts of which some failed or were not replicated, and tell whether that is the end."""
        details = error.details or {}
        self.add(details, start, end)
        failures = details.get("writeErrors", [])
        for entry in failures:
            place = start + entry["index"]
            index = self._order[place] if 0 <= place < end else place
            # Looking through a message takes a while, and nobody reads those that are left out.
            told = entry if self._failures.tells else {**entry, "errmsg": ""}
            self._failures.add(index, entry["code"], write_error(told))
        self._cause = error
        # After these codes the driver does not send the rest of what it was given.
        halted = any(entry.get("code") in RETRYABLE for entry in details.get("writeConcernErrors", []))
        return self._ordered and bool(failures or halted)

    def done(self) -> list[int]:
        """The indexes of the parts that were carried out, in the order of sending."""
        failed = {entry["index"] for entry in self._failures.entries}
        end = min(failed) if self._ordered and failed else self._answered
        return [index for index in self._order[:end] if index not in failed]

    def error(self, fields: Document) -> DoorleafError:
        """The error of the whole, of which ``fields`` say what was done.

        Where no part failed and only its replication did, it is that error.
        """
        if self._failures.entries:
            self._failures.entries.sort(key=lambda entry: entry["index"])
            return self._failures.error(fields)
        assert self._cause is not None  # noqa: S101  # whoever calls has looked
        plain = operation_failure(self._cause)
        plain.fields = {**plain.fields, **fields}
        return plain

    def broken_off(self, error: Exception, fields: Document) -> DoorleafError:
        """The error when ``error`` came after parts that were carried out, of which ``fields`` tell."""
        told = mapped_write(error)
        if isinstance(told, StoreError):
            told = WriteOutcomeUnknown(OUTCOME_UNKNOWN)
        failures = {"writeErrors": self._failures.entries} if self._failures.entries else {}
        told.fields = {**told.fields, **fields, **failures}
        return told

    async def complete(
        self,
        send: Callable[[int, int], Awaitable[Answer]],
        fields: Callable[[], Document],
        session: Session,
        parts: int,
    ) -> None:
        """Have all sent, so many ``parts`` at a time; raises what failed, with ``fields`` that say what was done."""
        for start in range(0, len(self._order), parts):
            end = min(start + parts, len(self._order))
            if start:
                await asyncio.sleep(0)
            try:
                self.add(await send(start, end), start, end)
            except BulkWriteError as error:
                # A failure is the end of a transaction.
                if self.fail(error, start, end) or session is not None:
                    break
            except (PyMongoError, *MALFORMED) as error:
                if not start or session is not None:
                    raise
                raise self.broken_off(error, fields()) from error
            if self._room < 0:
                raise RequestError(TOO_MUCH, code="ReadSizeLimitExceeded", fields=fields())
        if self._cause is not None:
            raise self.error(fields()) from self._cause


async def insert_many(database: Database, operation: InsertMany, session: Session = None) -> InsertManyResult:
    given = operation.documents
    named = given if isinstance(given, Encoded) else [*map(identified, given)]
    ids = ids_of(named)
    if len(ids) > PARTS and not isinstance(named, Encoded):
        for index, document in enumerate(named):
            if index and not index % PARTS:
                await asyncio.sleep(0)
            bson.encode(document, codec_options=CODEC)  # where this fails, nothing is sent
    collection = database[operation.namespace.collection]
    outcome = Outcome(range(len(ids)), ordered=operation.ordered)

    async def send(start: int, end: int) -> Answer:
        some = named[start:end]
        documents: list[Any] = (
            [*map(RawBSONDocument, some.raw)] if isinstance(some, Encoded) else [*map(_exactly, some)]
        )
        await collection.insert_many(documents, ordered=operation.ordered, session=session, comment=operation.comment)
        return {}

    await outcome.complete(send, lambda: _inserted(outcome, ids), session, PARTS)
    return InsertManyResult(ids)


def _exactly(document: Document) -> Any:
    """What the driver writes as it is: of a dictionary with its BSON it would write the values."""
    return RawBSONDocument(document.raw) if isinstance(document, Exact) else document


def _inserted(outcome: Outcome, ids: list[Any]) -> Document:
    inserted = [ids[index] for index in outcome.done()]
    return {"insertedCount": len(inserted), "insertedIds": inserted}


def insert_failed(error: BulkWriteError, ids: list[Any], *, ordered: bool) -> DoorleafError:
    """The error of an insert of documents with ``ids``, of which some or all failed; it says which went in."""
    outcome = Outcome(range(len(ids)), ordered=ordered)
    outcome.fail(error, 0, len(ids))
    return outcome.error(_inserted(outcome, ids))


async def bulk_write(database: Database, operation: BulkWrite, session: Session = None) -> BulkWriteResult:
    """PyMongo's bulk write; insert ids are known before anything is sent, so a failure can tell which went in."""
    writes = operation.operations
    parts = COMPUTED_PARTS if any(map(_computes, writes)) else PARTS
    many = len(writes) > parts
    ids: dict[int, Any] = {}
    requests: list[Model] = []
    for index, write in enumerate(writes):
        if index and not index % PARTS:
            await asyncio.sleep(0)
        if isinstance(write, InsertOne):
            document = identified(write.document)
            ids[index] = document["_id"]
            requests.append(models.InsertOne(document))
        else:
            requests.append(_model(write))
        if many:
            bson.encode(_values(write), codec_options=CODEC)  # where this fails, nothing is sent
    variables = _common_variables(writes)
    # In any order means to MongoDB's drivers: inserts, updates, deletes. So it does for all of them together.
    order = (
        range(len(writes))
        if operation.ordered or not many
        else sorted(range(len(writes)), key=lambda index: _rank(writes[index]))
    )
    outcome = Outcome(order, ordered=operation.ordered)
    collection = database[operation.namespace.collection]

    async def send(start: int, end: int) -> Answer:
        some = [requests[index] for index in order[start:end]] if many else requests
        done = await collection.bulk_write(
            some, ordered=operation.ordered, session=session, let=variables, comment=operation.comment
        )
        return done.bulk_api_result

    def result() -> BulkWriteResult:
        inserted = {str(index): ids[index] for index in outcome.done() if index in ids} if ids else {}
        return replace(outcome.result, inserted_ids=inserted)

    await outcome.complete(send, lambda: result().wire(), session, parts)
    return result()


def _model(write: UpdateOne | UpdateMany | ReplaceOne | DeleteOne | DeleteMany) -> Model:
    options = present(collation=write.collation, hint=hinted(write.hint))
    if isinstance(write, DeleteOne):
        return models.DeleteOne(write.filter, **options)
    if isinstance(write, DeleteMany):
        return models.DeleteMany(write.filter, **options)
    if isinstance(write, ReplaceOne):
        check_replacement(write.replacement, upsert=write.upsert)
        sort = write.sort or None
        return models.ReplaceOne(write.filter, write.replacement, upsert=write.upsert, sort=sort, **options)
    check_update(write.update)
    options |= present(array_filters=write.array_filters or None)
    if isinstance(write, UpdateMany):
        return models.UpdateMany(write.filter, write.update, upsert=write.upsert, **options)
    return models.UpdateOne(write.filter, write.update, upsert=write.upsert, sort=write.sort or None, **options)


def _common_variables(writes: list[Write]) -> Document | None:
    """The ``let`` of the writes: MongoDB takes one for all of them, and no comment for a single one."""
    common: Document | None = None
    for index, write in enumerate(writes):
        if write.comment is not None:
            raise InvalidParameter(f"operations[{index}].comment: a comment belongs to the bulkWrite as a whole")
        variables = None if isinstance(write, InsertOne) else write.let
        if variables is None:
            continue
        # Mostly all have the same one, which may be large.
        if common is not None and variables is not common and variables != common:
            raise Unsupported(f"operations[{index}].let differs from an earlier one: MongoDB takes one for all writes")
        common = variables
    return common


def _computes(write: Write) -> bool:
    """Whether ``write`` may insert an ``_id`` that nobody sent."""
    return isinstance(write, (UpdateOne, UpdateMany)) and write.upsert and not isinstance(write.update, dict)


def _rank(write: Write) -> int:
    if isinstance(write, InsertOne):
        return 0
    return 2 if write.deletes else 1


def _values(write: Write) -> Document:
    """What of ``write`` becomes BSON."""
    if isinstance(write, InsertOne):
        return write.document
    values: Document = {"q": write.filter, "collation": write.collation, "hint": write.hint}
    if isinstance(write, Sorted):
        values["sort"] = write.sort
    if isinstance(write, ReplaceOne):
        values["u"] = write.replacement
    elif isinstance(write, (UpdateOne, UpdateMany)):
        values |= {"u": write.update, "arrayFilters": write.array_filters}
    return values
