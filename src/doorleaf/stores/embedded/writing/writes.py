"""The writing operations inside a transaction: inserts, updates, replacements, deletions, bulk writes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import repeat
from typing import Any

import bson

from doorleaf.documents import CODEC, Document, Encoded
from doorleaf.errors import DataError
from doorleaf.mql.context import Context
from doorleaf.mql.filters.compile import compile_filter, compile_positional
from doorleaf.mql.order import validate_collation
from doorleaf.mql.projections.compile import compile_projection
from doorleaf.mql.updates.compile import check_replacement, compile_update, replace, upsert_base, validate_update
from doorleaf.mql.updates.operators import stamped
from doorleaf.operations import (
    BulkWrite,
    DeleteMany,
    DeleteOne,
    FindOneAndDelete,
    FindOneAndReplace,
    FindOneAndUpdate,
    InsertMany,
    InsertOne,
    ReplaceOne,
    UpdateMany,
    UpdateOne,
    Write,
)
from doorleaf.operations.capabilities import Sorted
from doorleaf.operations.results import (
    BulkWriteResult,
    DeleteResult,
    DocumentResult,
    InsertManyResult,
    InsertOneResult,
    UpdateResult,
)
from doorleaf.stores.base import Failures
from doorleaf.stores.embedded.administration import collection_for_write
from doorleaf.stores.embedded.encoding import check_bson, check_depth, decode, encode
from doorleaf.stores.embedded.reading.matches import Matches, Query
from doorleaf.stores.embedded.reading.reads import check_filter, let_values
from doorleaf.stores.embedded.reading.scan import Row
from doorleaf.stores.embedded.writing.rows import Rows, Transaction, identified

Updating = UpdateOne | UpdateMany | ReplaceOne | FindOneAndUpdate | FindOneAndReplace
Deleting = DeleteOne | DeleteMany | FindOneAndDelete
Change = Callable[[Document, int | None, bool], Document]
"""(before, positional index, inserting) → after."""


def insert_one(transaction: Transaction, operation: InsertOne, context: Context) -> InsertOneResult:
    """Put in one document, and the collection when there is none."""
    collection = collection_for_write(transaction, operation.namespace)
    return InsertOneResult(transaction.rows(collection, context, operation.guard).insert(operation.document))


def insert_many(transaction: Transaction, operation: InsertMany, context: Context) -> InsertManyResult:
    """Put in each document by itself; raises ``WriteFailed`` with the ids that went in."""
    collection = collection_for_write(transaction, operation.namespace)
    rows = transaction.rows(collection, context, operation.guard)
    ids: list[Any] = []
    failures = Failures()
    given = operation.documents
    raw: Iterable[bytes | None] = given.raw if isinstance(given, Encoded) else repeat(None)
    for number, (document, encoded) in enumerate(zip(given, raw, strict=False)):
        context.check()
        try:
            with transaction.attempt(explains=failures.explains):
                ids.append(rows.insert(document, encoded))
        except DataError as error:
            rows.collection = collection_for_write(transaction, operation.namespace)
            failures.add(number, error.number, error)
            if operation.ordered:
                break
    if failures.entries:
        raise failures.error({"insertedCount": len(ids), "insertedIds": ids})
    return InsertManyResult(ids)


# --- updates ---------------------------------------------------------------------------------------------------------


def _variables(operation: Updating | Deleting, context: Context) -> dict[str, Any]:
    return let_values(operation.let, context) if operation.let else {}


def _found(
    transaction: Transaction, operation: Updating | Deleting, context: Context, *, many: bool
) -> Iterator[tuple[Rows, Row, Document]]:
    """Row and document of each match, the first alone unless ``many``, and the rows that they are changed through."""
    validate_collation(operation.collation)
    variables = _variables(operation, context)
    collection = transaction.session.catalog.get(operation.namespace)
    if collection is None:
        check_filter(operation.filter, context, variables)
        return
    rows = transaction.rows(collection, context, operation.guard)
    query = Query(
        collection,
        operation.filter,
        (operation.sort or None) if isinstance(operation, Sorted) else None,
        limit=0 if many else 1,
        hint=operation.hint or None,
        variables=variables or None,
    )
    matches = Matches(transaction.session, query, context, transaction.budget)
    if not many:
        first = next(matches.rows(), None)
        if first is not None:
            row, document = first
            yield rows, row, decode(row[1]) if document is None else document
        return
    # All matches are known before the first is changed, so that none is met again where it was moved to.
    numbers, member = transaction.matched, None
    if numbers is None:
        numbers = [row[0] for row, _ in matches.rows()]
    else:  # long ago
        member = compile_filter(operation.filter, context, variables=variables)
    statement = f"SELECT document FROM {collection.table} WHERE id = ?"  # noqa: S608 - an integer id
    for number in transaction.those(numbers):
        context.check()
        encoded = transaction.session.execute(statement, (number,)).get
        if member is not None and encoded is None:
            continue
        found = decode(encoded)
        if member is None or member(found):
            yield rows, (number, encoded), found


def _change(operation: Updating, context: Context, variables: Mapping[str, Any]) -> tuple[Change, bool]:
    """What the operation does to a document, and whether it needs to know the array element that matched."""
    if isinstance(operation, (ReplaceOne, FindOneAndReplace)):
        if not operation.upsert or next(iter(operation.replacement), "").startswith("$"):
            check_replacement(operation.replacement)
        replacement = stamped(operation.replacement)
        return (lambda before, position, inserting: replace(before, replacement, inserting=inserting)), False
    if validate_update(operation.update) == "replacement":
        raise DataError("the update has no update operators: its fields must start with $", number=9)
    check_bson("the update", operation.update)
    update = compile_update(operation.update, context, array_filters=operation.array_filters, variables=variables)
    return (
        lambda before, position, inserting: update.apply(before, position, inserting=inserting)
    ), update.needs_positional


def _update(
    transaction: Transaction, operation: Updating, context: Context, *, many: bool
) -> tuple[UpdateResult, bytes | None, bytes | None]:
    """Carry out an update; answers also the BSON of the (last) document before and after it."""
    variables = _variables(operation, context)
    change, needs_position = _change(operation, context, variables)
    position_of = compile_positional(operation.filter, context, variables=variables) if needs_position else None
    matched = modified = 0
    replacing = isinstance(operation, (ReplaceOne, FindOneAndReplace))
    before: bytes | None = None
    after: bytes | None = None
    for rows, (row, encoded), document in _found(transaction, operation, context, many=many):
        matched += 1
        position = position_of(document)[1] if position_of is not None else None
        before = after = encoded
        try:
            changed = change(document, position, False)
            if changed is not document:
                after = rows.replace(row, encoded, document, changed, replacing=replacing)
                modified += 1
        except DataError:
            # Who may not write the document is told that, and not what stands in the way of writing it.
            rows.look(document)
            raise
        if changed is document:
            rows.look(document)
    if matched or not operation.upsert:
        return UpdateResult(matched, modified), before, after
    document = identified(change(upsert_base(operation.filter, replacing=replacing), None, True))
    check_depth(document)
    after = encode(document)
    collection = collection_for_write(transaction, operation.namespace)
    identity = transaction.rows(collection, context, operation.guard).insert(document, after)
    return UpdateResult(0, 0, identity), None, after


def update_one(transaction: Transaction, operation: UpdateOne | ReplaceOne, context: Context) -> UpdateResult:
    """Change the first match."""
    return _update(transaction, operation, context, many=False)[0]


def update_many(transaction: Transaction, operation: UpdateMany, context: Context) -> UpdateResult:
    """Change every match, all or none."""
    return _update(transaction, operation, context, many=True)[0]


def _delete(transaction: Transaction, operation: Deleting, context: Context, *, many: bool) -> tuple[int, bytes | None]:
    deleted = 0
    before = None
    for rows, (row, encoded), document in _found(transaction, operation, context, many=many):
        rows.delete(row, encoded, document)
        deleted += 1
        before = encoded
    return deleted, before


def delete_one(transaction: Transaction, operation: DeleteOne, context: Context) -> DeleteResult:
    """Take out the first match."""
    return DeleteResult(_delete(transaction, operation, context, many=False)[0])


def delete_many(transaction: Transaction, operation: DeleteMany, context: Context) -> DeleteResult:
    """Take out every match, all or none."""
    return DeleteResult(_delete(transaction, operation, context, many=True)[0])


# --- find and change -------------------------------------------------------------------------------------------------


def find_one_and_update(
    transaction: Transaction, operation: FindOneAndUpdate | FindOneAndReplace, context: Context
) -> DocumentResult:
    """Change the first match and answer with it, as it was or as it is."""
    project = _projection(operation, context)
    _, before, after = _update(transaction, operation, context, many=False)
    return DocumentResult(project(after if operation.return_new_document else before))


def find_one_and_delete(transaction: Transaction, operation: FindOneAndDelete, context: Context) -> DocumentResult:
    """Take out the first match and answer with it."""
    project = _projection(operation, context)
    return DocumentResult(project(_delete(transaction, operation, context, many=False)[1]))


def _projection(
    operation: FindOneAndUpdate | FindOneAndReplace | FindOneAndDelete, context: Context
) -> Callable[[bytes | None], bytes | None]:
    variables = let_values(operation.let, context)
    project = compile_projection(operation.projection, context, filter=operation.filter, variables=variables)

    def projected(document: bytes | None) -> bytes | None:
        if document is None or project is None:
            return document
        return bson.encode(project(decode(document)), codec_options=CODEC)

    return projected


def check(operation: Write, context: Context) -> None:
    """Raise what is wrong with a write whatever there is, its documents and what it would have to compute apart."""
    if isinstance(operation, InsertOne):
        return
    validate_collation(operation.collation)
    if operation.let or _computes(operation.filter):
        return
    check_filter(operation.filter, context, {})
    if isinstance(operation, ReplaceOne) or (isinstance(operation, Updating) and not _computes(operation.update)):
        _change(operation, context, {})


def _computes(asked: Any) -> bool:
    """Whether compiling a filter or an update takes more than a look at it: what is constant in it is computed."""
    waiting = [asked]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if "$expr" in value:
                return True
            waiting += value.values()
        elif isinstance(value, list):
            if value is asked:  # a pipeline
                return True
            waiting += value
    return False


# --- several writes --------------------------------------------------------------------------------------------------


def bulk_write(transaction: Transaction, operation: BulkWrite, context: Context) -> BulkWriteResult:
    """Carry out each write by itself; raises ``WriteFailed`` with what was done and what failed."""
    result = BulkWriteResult()
    failures = Failures()
    for number, write in enumerate(operation.operations):
        context.check_now()
        try:
            with transaction.attempt(explains=failures.explains):
                answer = WRITES[type(write)](transaction, write, context)
        except DataError as error:
            failures.add(number, error.number, error)
            if operation.ordered:
                break
            continue
        result.add(number, answer)
    if failures.entries:
        raise failures.error(result.wire())
    return result


WRITES: dict[type, Callable[[Transaction, Any, Context], Any]] = {
    InsertOne: insert_one,
    InsertMany: insert_many,
    UpdateOne: update_one,
    ReplaceOne: update_one,
    UpdateMany: update_many,
    DeleteOne: delete_one,
    DeleteMany: delete_many,
    FindOneAndUpdate: find_one_and_update,
    FindOneAndReplace: find_one_and_update,
    FindOneAndDelete: find_one_and_delete,
    BulkWrite: bulk_write,
}
"""How each writing operation is carried out."""
