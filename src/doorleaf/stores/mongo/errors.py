"""PyMongo's exceptions as our errors: the one place where they are told apart.

No message names a host, an URI or a user: connection errors have fixed texts, and addresses are cut out of the
server's own.
"""

from __future__ import annotations

import re
from typing import Any

from bson.errors import BSONError, InvalidDocument
from pymongo import errors as driver

from doorleaf.errors import (
    DataError,
    DoorleafError,
    InternalError,
    InvalidParameter,
    StoreTimeout,
    StoreUnavailable,
    Unsupported,
    WriteFailed,
    database_error,
)

_ADDRESS = re.compile(r"(?:(?:[A-Za-z0-9-]+\.)+[A-Za-z0-9-]+|localhost|\[[0-9A-Fa-f:]+\]):\d{2,5}\b")
_URI = re.compile(r"mongodb(?:\+srv)?://\S+")
_LONGEST = 1_000
_TRANSACTIONS_MISSING = frozenset({20, 59, 115, 238, 251, 263})
_SHUTTING_DOWN = "the connection to the database is closed"

UNREACHABLE = "the database cannot be reached"
TOO_SLOW = "the operation exceeded its time limit"


def without_addresses(message: str) -> str:
    """``message`` with addresses and URIs of servers cut out, and no longer than a thousand characters."""
    if len(message) > 2 * _LONGEST:
        # A message may quote all that a client sent, and looking for addresses in that would take too long. What may be
        # half an address goes too.
        message = message[: 2 * _LONGEST].rpartition(" ")[0] + " …"
    shown = _ADDRESS.sub("(address)", _URI.sub("(uri)", message))
    return shown if len(shown) <= _LONGEST else shown[: _LONGEST - 1] + "…"


def mapped(error: Exception) -> DoorleafError:
    """The error that says what ``error`` may tell a client."""
    if isinstance(error, driver.WaitQueueTimeoutError):
        return StoreUnavailable("every connection to the database is busy")
    if isinstance(error, driver.ServerSelectionTimeoutError):
        # After a refused handshake the driver forgets the server, and tells only here why.
        refused = "authentication failed" in str(error).lower()
        return _refusal(18, "", None) if refused else StoreUnavailable(UNREACHABLE)
    if isinstance(error, (driver.NetworkTimeout, driver.ExecutionTimeout, driver.WTimeoutError, TimeoutError)):
        return StoreTimeout(TOO_SLOW)
    if isinstance(error, driver.ConnectionFailure):
        return StoreUnavailable(UNREACHABLE)
    if isinstance(error, driver.OperationFailure):
        return operation_failure(error)
    if isinstance(error, (BSONError, OverflowError)):
        return _unencodable(error)
    return _misuse(error)


def operation_failure(error: driver.OperationFailure) -> DoorleafError:
    """The error of a command that the server refused, with MongoDB's code and its name."""
    details: Any = error.details or {}
    failures = details.get("writeErrors") or details.get("writeConcernErrors")
    if failures:
        return write_error(failures[0])
    message = str(details.get("errmsg") or error).partition(", full error:")[0]
    return _refusal(error.code or 8, message, details.get("codeName"))


def write_error(entry: dict[str, Any]) -> DoorleafError:
    """The error of one entry of ``writeErrors`` or ``writeConcernErrors``."""
    return _refusal(int(entry.get("code", 8)), str(entry.get("errmsg", "")), entry.get("codeName"))


def _refusal(number: int, message: str, name: str | None) -> DoorleafError:
    if number in (13, 8000):
        message = "the database user of this server is not authorized to do this"
    elif number == 18:
        message = "the database refused the credentials of this server"
    elif number == 64:
        return StoreTimeout("the write was not replicated within its time limit; it may have been applied")
    elif number not in (11000, 11001, 12582):  # a duplicate key's value may well look like an address
        message = without_addresses(message)
    return database_error(number, message, code=name)


def transactions_missing(error: driver.OperationFailure) -> bool:
    """Whether the server refused the command because it knows no transactions."""
    message = str(error).lower()
    return error.code in _TRANSACTIONS_MISSING and ("transaction" in message or "session" in message)


def _unencodable(error: Exception) -> DoorleafError:
    if isinstance(error, driver.DocumentTooLarge):
        return DataError("the document is larger than the 16 MiB that MongoDB stores", number=10334)
    if isinstance(error, InvalidDocument):
        return InvalidParameter(f"a value has no BSON form: {without_addresses(str(error))[:200]}")
    if isinstance(error, OverflowError):
        return InvalidParameter("an integer is outside the 64 bits that BSON has")
    return InvalidParameter(f"a value has no BSON form: {without_addresses(str(error))[:200]}")


def _misuse(error: Exception) -> DoorleafError:
    if isinstance(error, driver.DocumentTooLarge):
        return DataError("the document is larger than the 16 MiB that MongoDB stores", number=10334)
    if isinstance(error, driver.InvalidName):
        return DataError(f"Invalid namespace specified: {error}", number=73)
    if isinstance(error, driver.InvalidOperation):
        closed = "close" in str(error)
        return StoreUnavailable(_SHUTTING_DOWN) if closed else InvalidParameter(without_addresses(str(error)))
    if isinstance(error, driver.ConfigurationError):
        return Unsupported(without_addresses(str(error)))
    return InternalError("the database driver failed")


def write_failed(error: driver.BulkWriteError, fields: dict[str, Any]) -> DoorleafError:
    """The error of several writes of which some failed; ``fields`` says what was done.

    Where no write failed and only its replication did, it is that error with the same fields.
    """
    entries = [_described(entry) for entry in (error.details or {}).get("writeErrors", [])]
    if not entries:
        plain = operation_failure(error)
        plain.fields = {**plain.fields, **fields}
        return plain
    first = entries[0]
    return WriteFailed(first["message"], number=first["code"], fields={**fields, "writeErrors": entries})


def _described(entry: dict[str, Any]) -> dict[str, Any]:
    return {"index": entry["index"], "code": entry["code"], "message": write_error(entry).message}
