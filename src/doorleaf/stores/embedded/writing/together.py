"""Several operations in one savepoint: all are carried out, or nothing of any is there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from doorleaf.documents import Documents
from doorleaf.errors import DataError, DoorleafError, RequestError
from doorleaf.mql.context import Context
from doorleaf.operations import Aggregate, CountDocuments, Distinct, Find, FindOne, Operation
from doorleaf.operations import Transaction as Together
from doorleaf.operations.capabilities import Counting
from doorleaf.operations.results import (
    CountResult,
    DistinctResult,
    DocumentResult,
    DocumentsResult,
    Result,
    TransactionResult,
)
from doorleaf.stores.base import MOST_RESULT_BYTES, answer_too_large, failed_part
from doorleaf.stores.embedded.file.storage import Session
from doorleaf.stores.embedded.reading import reads
from doorleaf.stores.embedded.writing.rows import Refused, Transaction
from doorleaf.stores.embedded.writing.writes import WRITES


def transaction(writing: Transaction, operation: Together, context: Context) -> TransactionResult:
    """Carry out every operation; whoever calls undoes all where one raises."""
    left = most = operation.max_bytes or MOST_RESULT_BYTES
    results: list[Result] = []
    for index, part in enumerate(operation.operations):
        context.check_now()
        context.max_bytes = left
        try:
            result = _one(writing, part, context)
            left -= result.size()
            if left < 0:
                raise answer_too_large(most)
        except Refused as refusal:
            error = refusal.error
            raise Refused(failed_part(index, part, error) if isinstance(error, DoorleafError) else error) from None
        except (DataError, RequestError) as error:
            raise failed_part(index, part, error) from None
        results.append(result)
    context.max_bytes = None
    counted = [guard.added for guard in operation.guards if isinstance(guard, Counting)]
    if not counted:
        return TransactionResult(results)
    return TransactionResult(results, (sum(added[0] for added in counted), sum(added[1] for added in counted)))


def _one(writing: Transaction, part: Operation[Any], context: Context) -> Result:
    write = WRITES.get(type(part))
    if write is not None:
        return write(writing, part, context)  # type: ignore[no-any-return]  # a result
    writing.finish()  # what was counted so far is looked up by reads
    writing.session.finish()
    return _READS[type(part)](writing.session, part, context)


def _find(session: Session, part: Find, context: Context) -> Result:
    return DocumentsResult(Documents([*reads.find(session, part, context)]))


def _find_one(session: Session, part: FindOne, context: Context) -> Result:
    return DocumentResult(next(iter([*reads.find(session, part, context)]), None))


def _aggregate(session: Session, part: Aggregate, context: Context) -> Result:
    return DocumentsResult(Documents([*reads.aggregate(session, part, part.pipeline, context)]))


def _count(session: Session, part: CountDocuments, context: Context) -> Result:
    return CountResult(reads.count(session, part, context))


def _distinct(session: Session, part: Distinct, context: Context) -> Result:
    return DistinctResult(reads.distinct(session, part, context))


_READS: dict[type[Operation[Any]], Callable[[Session, Any, Context], Result]] = {
    Find: _find,
    FindOne: _find_one,
    Aggregate: _aggregate,
    CountDocuments: _count,
    Distinct: _distinct,
}
