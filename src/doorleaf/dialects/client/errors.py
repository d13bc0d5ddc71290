"""Errors of the App Services client API: its envelope, and its codes."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, with_config

from doorleaf.dialects.base import Reply, Request, envelope
from doorleaf.dialects.problems import OPEN, Error
from doorleaf.errors import DataError, DoorleafError

_OF_RULES = "SchemaValidationFailedWrite"


@with_config(OPEN)
class ClientError(Error, total=False):
    """An error of the App Services client API."""

    code: Annotated[int, Field(description="Of a `MongoDBError`, the database's number of the error.")]
    code_name: Annotated[str, Field(description="Of a `MongoDBError`, the name of that number.")]


def client_envelope(error: DoorleafError, request: Request) -> Reply:
    """``error`` with the codes of this API: what the database refuses is a ``MongoDBError``, its own name beside it."""
    if not isinstance(error, DataError) or error.code == _OF_RULES:
        return envelope(error, request)
    shown = DataError(
        error.message,
        number=error.number,
        code="MongoDBError",
        fields={**error.fields, "code": error.number, "code_name": error.code},
    )
    shown.status = error.status  # type: ignore[misc]  # one instance differs from its class
    return envelope(shown, request)
