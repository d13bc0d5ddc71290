"""What the errors of a write may tell, and how long compiling what a caller wrote may take."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

from doorleaf.documents import Document
from doorleaf.errors import DataError, DoorleafError, DuplicateKey, ValidationFailed, WriteFailed
from doorleaf.mql.context import Context
from doorleaf.mql.filters.compile import compile_filter
from doorleaf.mql.updates.compile import compile_update
from doorleaf.operations import Operation
from doorleaf.operations.capabilities import Filtered, Parametrized, Updating

COMPILING_SECONDS = 1.0
"""What compiling an operation's expressions may take: all that is constant in them is computed at once."""

_INDEX = re.compile(r"index: ([^\s{]+)")


def compiling(operation: Operation[Any]) -> Context:
    """The context for compiling what is in ``operation``."""
    limit = (operation.max_time_ms or 30_000) / 1000
    return Context(time.monotonic() + min(limit, COMPILING_SECONDS))


def let(operation: object, context: Context) -> Document:
    """The values of the operation's ``let``."""
    given = (operation.let or {}) if isinstance(operation, Parametrized) else {}
    if not given:
        return {}
    from doorleaf.mql.expressions import compile_expression  # a megabyte with all operators

    return {name: compile_expression(value, context)({}, {}) for name, value in given.items()}


def concealing(operation: Operation[Any]) -> Callable[[DataError], DoorleafError]:
    """Make what an error of an update may tell somebody who cannot read all of the document that it met.

    A mistake that is in the request itself is told as it is.
    """

    def conceal(error: DataError) -> DoorleafError:
        if error.code == "SchemaValidationFailedWrite":
            return error
        if isinstance(error, WriteFailed):
            # Nothing else of an entry is told: what a database adds may quote the document.
            entries = [
                {"index": entry["index"], "code": entry["code"], "message": _told(entry["message"], entry["code"])}
                for entry in error.fields.get("writeErrors", [])
            ]
            fields = {**error.fields, "writeErrors": entries}
            return WriteFailed(_told(error.message, error.number), number=error.number, fields=fields)
        mistake = _mistake(operation)
        if mistake is not None:
            return mistake
        text = _told(error.message, error.number)
        if isinstance(error, DuplicateKey):
            return DuplicateKey(text)
        if isinstance(error, ValidationFailed):
            return ValidationFailed(text)
        return DataError(text, number=error.number, code=error.code)

    return conceal


def without_reasons(error: DataError) -> DoorleafError:
    """``error`` without a validator's reasons, for somebody who cannot read all of a collection: they quote rules about
    fields that such a caller is not told of."""
    fields = {name: value for name, value in error.fields.items() if name != "errInfo"}
    if "writeErrors" in fields:
        fields["writeErrors"] = [
            {name: value for name, value in entry.items() if name != "errInfo"} for entry in fields["writeErrors"]
        ]
    error.fields = fields
    return error


def _mistake(operation: Operation[Any]) -> DataError | None:
    """What is wrong with the request whatever it meets."""
    context = compiling(operation)
    try:
        variables = let(operation, context)
        if isinstance(operation, Filtered):
            compile_filter(operation.filter, context, variables=variables)
        if isinstance(operation, Updating):
            compile_update(operation.update, context, array_filters=operation.array_filters, variables=variables)
    except DataError as error:
        return error
    except DoorleafError:
        return None
    return None


def _told(message: str, number: int) -> str:
    if number in (11000, 11001, 12582):
        index = _INDEX.search(message)
        return "E11000 duplicate key error" + (f" index: {index[1]}" if index else "")
    return f"the update cannot be carried out (code {number})"
