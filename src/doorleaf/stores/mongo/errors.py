"""PyMongo's exceptions as our errors: the one place where they are told apart.

No message names a host, an URI or a user: connection errors have fixed texts, and addresses are cut out of the
server's own.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from struct import error as StructError
from typing import Any

import bson
from bson.errors import BSONError, InvalidBSON, InvalidDocument
from bson.raw_bson import RawBSONDocument
from pymongo import errors as driver

from doorleaf.documents import CODEC, is_string
from doorleaf.errors import (
    DataError,
    DoorleafError,
    InternalError,
    InvalidParameter,
    StoreError,
    StoreTimeout,
    StoreUnavailable,
    Unsupported,
    ValidationFailed,
    WriteOutcomeUnknown,
)
from doorleaf.stores.base import MOST_EXPLAINED
from doorleaf.stores.mongo.codes import CREDENTIALS, DUPLICATE_KEY, TOO_SLOW, UNREACHABLE, refusal

_ADDRESS = re.compile(
    r"(?:(?<![A-Za-z0-9.-])(?=[A-Za-z0-9-]*+\.|[A-Za-z0-9-]*localhost:)[A-Za-z0-9.-]++|\[[0-9A-Fa-f:]++\]):\d{2,5}\b"
)
"""Tried once for each word, and never again for a part of one: time must not grow with the square of its length."""
_URI = re.compile(r"mongodb(?:\+srv)?://\S+")
_NAME = re.compile(r"[A-Za-z]\w{0,99}", re.ASCII)
_LONGEST = 1_000
_TRANSACTIONS_MISSING = frozenset({20, 59, 115, 238, 251, 263})
_SHUTTING_DOWN = "the connection to the database is closed"
_ATLAS = 8000
"""AtlasError: what MongoDB's cloud puts in front of its servers refuses, for reasons that only its text tells."""

MALFORMED = (
    *(BSONError, StructError, LookupError, ValueError, TypeError, AttributeError, OverflowError),
    *(AssertionError, ZeroDivisionError),
)
"""What reading a reply raises that is no BSON, or whose fields are of other kinds than MongoDB's."""
UNREADABLE = "the database answered what cannot be read"

OUTCOME_UNKNOWN = "the write's answer never came from the database: the write may have been carried out, or not"
NOT_REPLICATED = "the write was carried out and not replicated as the connection string asks; it may be lost again"
BUSY = "every connection to the database is busy"


class Misconfigured(StoreUnavailable):
    """The database cannot be used as it is set up. ``advice`` tells its operator what to do, and goes to the log."""

    def __init__(self, message: str, advice: str) -> None:
        super().__init__(message)
        self.advice = advice


def without_addresses(message: str) -> str:
    """``message`` with addresses and URIs of servers cut out, and no longer than a thousand characters."""
    if len(message) > 2 * _LONGEST:
        # A message may quote all that a client sent, and looking for addresses in that would take too long. What may be
        # half an address goes too.
        message = message[: 2 * _LONGEST].rpartition(" ")[0] + " …"
    shown = _ADDRESS.sub("(address)", _URI.sub("(uri)", message))
    return shown if len(shown) <= _LONGEST else shown[: _LONGEST - 1] + "…"


def mapped(error: Exception) -> DoorleafError:
    """The error that says what ``error`` may tell a client; for a write see :func:`mapped_write` as well."""
    if isinstance(error, driver.WaitQueueTimeoutError):
        return StoreUnavailable(BUSY)
    if isinstance(error, driver.ServerSelectionTimeoutError):
        # After a refused handshake the driver forgets the server, and tells only here why.
        told = str(error).lower()
        refused = "authentication failed" in told or "bad auth" in told
        return _credentials_refused() if refused else StoreUnavailable(UNREACHABLE)
    if isinstance(error, driver.WTimeoutError):
        return WriteOutcomeUnknown(NOT_REPLICATED)
    if isinstance(error, (driver.NetworkTimeout, driver.ExecutionTimeout, TimeoutError)):
        return StoreTimeout(TOO_SLOW)
    if isinstance(error, (driver.ConnectionFailure, driver.ProtocolError)):
        return StoreUnavailable(UNREACHABLE)
    if isinstance(error, driver.OperationFailure):
        return _refused(error)
    if isinstance(error, InvalidBSON):
        return StoreUnavailable(UNREADABLE)
    if isinstance(error, (BSONError, OverflowError, UnicodeEncodeError)):
        return _unencodable(error)
    return StoreUnavailable(UNREADABLE) if isinstance(error, MALFORMED) else _misuse(error)


def array(value: Any) -> list[Any]:
    """``value``, which has to be a list; else TypeError, which :data:`MALFORMED` has."""
    if type(value) is not list:
        raise TypeError("expected an array")
    return value


def _refused(error: driver.OperationFailure) -> DoorleafError:
    try:
        return StoreUnavailable(UNREADABLE) if _says_nothing(error) else operation_failure(error)
    except MALFORMED:
        return StoreUnavailable(UNREADABLE)


def _says_nothing(error: Exception) -> bool:
    """Whether the server's reply was neither an answer nor a refusal."""
    if not isinstance(error, driver.OperationFailure) or error.details is None or error.code is not None:
        return False
    return error.details.keys().isdisjoint(("errmsg", "writeErrors", "writeConcernErrors", "writeConcernError"))


def mapped_write(error: Exception) -> DoorleafError:
    """The error of a write that failed with ``error``: who may have been obeyed is not said to be out of reach."""
    told = mapped(error)
    return WriteOutcomeUnknown(OUTCOME_UNKNOWN) if isinstance(told, StoreError) and _may_be_done(error) else told


def _may_be_done(error: Exception) -> bool:
    """Whether the write that failed with ``error`` may have been carried out."""
    if isinstance(error, driver.PyMongoError):
        if error.has_error_label("UnknownTransactionCommitResult"):
            return True
        if error.has_error_label("TransientTransactionError"):
            return False  # nothing is left of a transaction that was not committed
    # The error may be that of a second attempt, which says nothing about the first.
    number, last = _attempts_before(error)
    if last is None:
        return _leaves_open(error)
    # Of several attempts the driver keeps the last that may have done something; if that one did nothing, none did.
    in_between = number > 1 and not (
        isinstance(last, driver.PyMongoError) and last.has_error_label("NoWritesPerformed")
    )
    return in_between or _leaves_open(error) or _leaves_open(last)


def _leaves_open(error: Exception) -> bool:
    """Whether the attempt that failed with ``error`` may have reached the server, and been obeyed."""
    if isinstance(error, (driver.ServerSelectionTimeoutError, driver.NotPrimaryError, driver.WaitQueueTimeoutError)):
        return False
    if isinstance(error, driver.ConnectionFailure):
        # The driver says of connections that could not be made that the system is overloaded.
        return not error.has_error_label("SystemOverloadedError") and "connection pool paused" not in str(error)
    if isinstance(error, (BSONError, OverflowError, UnicodeEncodeError)):
        return isinstance(error, InvalidBSON)  # the others are of what was to be sent
    return isinstance(error, (TimeoutError, driver.ProtocolError, *MALFORMED)) or _says_nothing(error)


def _attempts_before(error: Exception) -> tuple[int, Exception | None]:
    """How many attempts the driver made before the one that raised ``error``, and what it kept of their failures.

    Nothing but the frame of the driver's loop has it.
    """
    trace = error.__traceback__
    while trace is not None:
        loop = trace.tb_frame.f_locals.get("self")
        number, last = getattr(loop, "_attempt_number", 0), getattr(loop, "_last_error", None)
        if isinstance(number, int) and number > 0 and isinstance(last, Exception):
            return number, last
        trace = trace.tb_next
    return 0, None


def operation_failure(error: driver.OperationFailure) -> DoorleafError:
    """The error of a command that the server refused, with MongoDB's code and its name."""
    details: Any = error.details or {}
    if failures := details.get("writeErrors"):
        return write_error(failures[0])
    if isinstance(error, driver.WriteConcernError) or details.get("writeConcernErrors"):
        return WriteOutcomeUnknown(NOT_REPLICATED)
    message = str(details.get("errmsg") or error).partition(", full error:")[0]
    return _explained(_refusal(int(error.code or 8), message, details.get("codeName")), details)


def write_error(entry: dict[str, Any]) -> DoorleafError:
    """The error of one entry of ``writeErrors``."""
    return _explained(_refusal(int(entry.get("code", 8)), str(entry.get("errmsg", "")), entry.get("codeName")), entry)


def _explained(error: DoorleafError, reply: Mapping[str, Any]) -> DoorleafError:
    """``error`` with what the server says of a document that a validator refuses, which may be a part of its reply
    that nobody has decoded."""
    reasons = reply.get("errInfo")
    if not isinstance(error, ValidationFailed) or not isinstance(reasons, (dict, RawBSONDocument)):
        return error
    encoded = reasons.raw if isinstance(reasons, RawBSONDocument) else bson.encode(reasons, codec_options=CODEC)
    # It may quote the document several times over; what is said of it then are the server's own words.
    short = len(encoded) <= MOST_EXPLAINED
    error.fields = {"errInfo": bson.decode(encoded, CODEC) if short else {"note": "detailed error was too large"}}
    return error


def _refusal(number: int, message: str, name: Any) -> DoorleafError:
    told = message.lower()
    known = is_string(name) and _NAME.fullmatch(name)
    atlas = number == _ATLAS
    if number in CREDENTIALS or (number == 13 and "authentication" in told) or (atlas and "auth" in told):
        return _credentials_refused()
    if number == 13 and told.startswith("resume token"):
        return refusal(260, "the resume token is not one of this change stream")
    if number == 13 or (atlas and "not allowed" in told):
        return refusal(13, "the database user of this server is not authorized to do this")
    if number == 64:
        return WriteOutcomeUnknown(NOT_REPLICATED)
    if number not in DUPLICATE_KEY:  # a duplicate key's value may well look like an address
        message = without_addresses(message)
    return refusal(number, message, code=name if known else None)


def _credentials_refused() -> Misconfigured:
    return Misconfigured(
        "the database refuses the credentials of this server",
        "MongoDB refuses the user name or password of a data source's URI. Put the right ones into the URI (with "
        "authSource, if the user is not in 'admin'), or give the database user this password again; then restart.",
    )


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
    if isinstance(error, UnicodeEncodeError):
        return InvalidParameter("a string has half a surrogate pair")
    return InvalidParameter(f"a value has no BSON form: {without_addresses(str(error))[:200]}")


def _misuse(error: Exception) -> DoorleafError:
    if isinstance(error, driver.InvalidName):
        return DataError(f"Invalid namespace specified: {error}", number=73)
    if isinstance(error, driver.InvalidOperation):
        closed = "close" in str(error)
        return StoreUnavailable(_SHUTTING_DOWN) if closed else InvalidParameter(without_addresses(str(error)))
    if isinstance(error, driver.ConfigurationError):
        return _configuration(error)
    return InternalError("the database driver failed")


def _configuration(error: driver.ConfigurationError) -> DoorleafError:
    """What is wrong with a URI, as far as the driver only notices at the first operation."""
    text = str(error)
    if error.__cause__ is not None or "SRV" in text or "TXT record" in text:
        return Misconfigured(
            UNREACHABLE,
            "the mongodb+srv:// address of a data source cannot be resolved: look at the host name in the URI, and at "
            "this machine's DNS.",
        )
    if "wire version" in text:
        return Misconfigured(
            "the database's version is not supported",
            "the MongoDB server of a data source is too old or too new for this version of the driver.",
        )
    return Unsupported(without_addresses(text))


def overlook(task: asyncio.Task[Any]) -> None:
    """Take the error of a task that has ended, which asyncio would log where nobody waits for it any more."""
    if not task.cancelled():
        task.exception()
