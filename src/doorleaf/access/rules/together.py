"""The permit of several operations as one, made of the permits of each."""

from __future__ import annotations

from collections.abc import Sequence

from doorleaf.access.rules.permit import Permit
from doorleaf.errors import DataError, DoorleafError
from doorleaf.mql.context import Context
from doorleaf.operations import Transaction, altered
from doorleaf.operations.results import Result, TransactionResult


def together(operation: Transaction, permits: Sequence[Permit]) -> Permit:
    """The permit of an ``operation`` whose parts have these ``permits``."""
    context = Context() if any(permit.context is not None for permit in permits) else None

    def redact(result: Result) -> Result:
        assert isinstance(result, TransactionResult)  # noqa: S101  # what a transaction answers
        return TransactionResult(
            [_shown(permit, part, context) for permit, part in zip(permits, result.results, strict=True)]
        )

    def conceal(error: DataError) -> DoorleafError:
        index = error.fields.get("index")
        hides = permits[index].conceal if isinstance(index, int) else None
        if hides is None:
            return error
        before, _, _ = error.message.partition(": ")
        told = hides(error)
        told.message = f"{before}: {told.message.removeprefix(before + ': ')}"
        told.fields = {**told.fields, "index": index}
        return told

    changed = altered(operation, operations=[permit.operation for permit in permits])
    hides = any(permit.conceal is not None for permit in permits)
    shows = any(permit.redact is not None for permit in permits)
    return Permit(changed, redact if shows else None, conceal if hides else None, context)


def _shown(permit: Permit, result: Result, context: Context | None) -> Result:
    if permit.redact is None:
        return result
    if permit.context is not None and context is not None:
        permit.context.deadline = context.deadline
    return permit.redact(result)
