"""Errors of the App Services client API: its envelope, and its codes."""

from __future__ import annotations

from doorleaf.dialects.base import Reply, Request, envelope
from doorleaf.errors import DataError, DoorleafError

_RULES_CODES = frozenset({"SchemaValidationFailedWrite", "SchemaValidationFailedRead"})


def client_envelope(error: DoorleafError, request: Request) -> Reply:
    """``error`` with the codes of this API: what the database refuses is a ``MongoDBError``, its own name beside it."""
    if not isinstance(error, DataError) or error.code in _RULES_CODES:
        return envelope(error, request)
    shown = DataError(
        error.message,
        number=error.number,
        code="MongoDBError",
        fields={**error.fields, "code": error.number, "code_name": error.code},
    )
    shown.status = error.status  # type: ignore[misc]  # one instance differs from its class
    return envelope(shown, request)
