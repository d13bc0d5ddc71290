"""Every error that Doorleaf answers with, drawn as one tree.

::

    DoorleafError
    ├── RequestError     InvalidParameter 400 · MissingParameter 400 · Unsupported 400 · NotFound 404
    │                    MethodNotAllowed 405 · Conflict 409 · PreconditionFailed 412 · PayloadTooLarge 413
    │                    UnsupportedMediaType 415
    ├── AccessError      Unauthenticated 401 · PermissionDenied 403 · TooManyRequests 429 · QuotaExceeded 429
    ├── DataError        400, with MongoDB's own code and name · DuplicateKey 409 · ValidationFailed 400
    │                    WriteFailed 400 (or its first write error's status)
    ├── StoreError       StoreUnavailable 503 · StoreTimeout 504 · WriteOutcomeUnknown 504
    ├── FunctionError    FunctionFailed 400 · FunctionTimeout 504 · FunctionsUnavailable 503
    └── InternalError    500

An error says what the client may know and nothing else: no host, URI, key, token or stack.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

MOST_TOLD = 1_500
"""The most characters of a message: a value as the engine shows one, which are 1,000, and what is said of it."""

LEFT_OUT = " … "
"""What stands for the middle of a message that is longer."""


def shortened(message: str) -> str:
    """``message`` with its beginning and end alone where it is too long: it may quote all that a client sent."""
    return message if len(message) <= MOST_TOLD else f"{message[:1_200]}{LEFT_OUT}{message[-200:]}"


class DoorleafError(Exception):
    """An answer that is not a result.

    ``status`` is the HTTP status, ``code`` the word a program may branch on (``error_code`` on the wire),
    ``fields`` are further members of the error envelope and ``headers`` of the response. No message is longer than
    :data:`MOST_TOLD`, but for a function's own (``whole``).
    """

    status: ClassVar[int] = 500
    whole: ClassVar[bool] = False
    code: str = "InternalServerError"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        fields: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        message = message if self.whole else shortened(message)
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code
        self.fields: Mapping[str, Any] = fields or {}
        self.headers: Mapping[str, str] = headers or {}


class RequestError(DoorleafError):
    """The request is wrong and would be wrong against any database."""

    status = 400
    code = "BadRequest"


class InvalidParameter(RequestError):
    """A field has a value that it cannot have; the message names the field, what came and what was expected."""

    code = "InvalidParameter"


class MalformedJSON(InvalidParameter):
    """Refuses a body that is no JSON; the message says at which byte."""


class MissingParameter(RequestError):
    """A required field is absent."""

    code = "MissingParameter"


class Unsupported(RequestError):
    """Refuses what exists in MongoDB, and this server or data source does not have."""

    code = "Unsupported"


class NotFound(RequestError):
    """No such route, action or app."""

    status = 404
    code = "NotFound"


class MethodNotAllowed(RequestError):
    """The route exists with other methods; ``Allow`` lists them."""

    status = 405
    code = "MethodNotAllowed"


class Conflict(RequestError):
    """Refuses a request that something which exists stands in the way of."""

    status = 409
    code = "Conflict"


class PreconditionFailed(RequestError):
    """Refuses a request whose document is no longer the one that it knows (``If-Match``)."""

    status = 412
    code = "PreconditionFailed"


class PayloadTooLarge(RequestError):
    """The body is larger than the server takes."""

    status = 413
    code = "PayloadTooLarge"


class UnsupportedMediaType(RequestError):
    """The body has a content type that is not understood here."""

    status = 415
    code = "UnsupportedMediaType"


class RequestTimeout(RequestError):
    """The rest of the request did not come in time."""

    status = 408
    code = "RequestTimeout"


class ServerBusy(RequestError):
    """There is no room for the request at present; ``Retry-After`` says when to come back. Nothing was begun."""

    status = 503
    code = "ServerBusy"


class AccessError(DoorleafError):
    """The caller is not known, or may not."""

    status = 403
    code = "PermissionDenied"


class Unauthenticated(AccessError):
    """No valid credentials."""

    status = 401
    code = "InvalidSession"


class PermissionDenied(AccessError):
    """Known, and refused."""


class TooManyRequests(AccessError):
    """A rate limit; ``Retry-After`` says when to come back."""

    status = 429
    code = "TooManyRequests"


class QuotaExceeded(AccessError):
    """A quota of the day or month is used up."""

    status = 429
    code = "QuotaExceeded"


class DataError(DoorleafError):
    """The database refused: ``number`` and ``code`` are MongoDB's error code and its name."""

    status = 400
    code = "BadValue"

    def __init__(
        self, message: str, *, number: int = 2, code: str | None = None, fields: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message, code=code or CODE_NAMES.get(number, f"Location{number}"), fields=fields)
        self.number = number


class DuplicateKey(DataError):
    """A unique index holds the key already (E11000)."""

    status = 409

    def __init__(self, message: str, *, fields: Mapping[str, Any] | None = None) -> None:
        super().__init__(message, number=11000, fields=fields)


class ValidationFailed(DataError):
    """The document fails the collection's validator or schema."""

    def __init__(self, message: str, *, fields: Mapping[str, Any] | None = None) -> None:
        super().__init__(message, number=121, fields=fields)


class WriteFailed(DataError):
    """Some writes of several failed; ``fields`` carries the counts and ``writeErrors`` (index, code, message).

    The status is that of the first write error, so that a duplicate key stays a 409.
    """

    def __init__(self, message: str, *, number: int, fields: Mapping[str, Any]) -> None:
        super().__init__(message, number=number, fields=fields)
        if number == 11000:
            self.status = 409  # type: ignore[misc]  # one instance differs from its class


class StoreError(DoorleafError):
    """The database could not answer."""

    status = 503
    code = "StoreUnavailable"


class StoreUnavailable(StoreError):
    """The database cannot be reached, is shutting down or overloaded; nothing was written."""


class StoreTimeout(StoreError):
    """The operation exceeded its time limit (``maxTimeMS``)."""

    status = 504
    code = "ExecutionTimeLimitExceeded"


class WriteOutcomeUnknown(StoreError):
    """Nobody knows whether the write was carried out: its answer never came, or it was not replicated as asked."""

    status = 504
    code = "WriteOutcomeUnknown"


class FunctionError(DoorleafError):
    """A function of the app has no result."""

    status = 400
    whole = True
    code = "FunctionExecutionError"


class FunctionFailed(FunctionError):
    """A function of the app threw, used too much memory, or answered too much; the message is its own.

    ``thrown`` and ``stack`` are for the log: the name of what it threw, and where.
    """

    thrown = "Error"
    stack = ""


class FunctionTimeout(FunctionError):
    """A function of the app took longer than it may, and was ended."""

    status = 504
    code = "ExecutionTimeLimitExceeded"


class FunctionsUnavailable(FunctionError):
    """The process that ran the function has ended, or cannot be started."""

    status = 503
    code = "FunctionsUnavailable"


class InternalError(DoorleafError):
    """A fault of ours; the log has it under the request id."""


CODE_NAMES: dict[int, str] = {
    1: "InternalError",
    2: "BadValue",
    9: "FailedToParse",
    13: "Unauthorized",
    14: "TypeMismatch",
    15: "Overflow",
    16: "InvalidLength",
    20: "IllegalOperation",
    26: "NamespaceNotFound",
    27: "IndexNotFound",
    28: "PathNotViable",
    34: "CannotBackfillArray",
    40: "ConflictingUpdateOperators",
    48: "NamespaceExists",
    50: "MaxTimeMSExpired",
    51: "ManualInterventionRequired",
    52: "DollarPrefixedFieldName",
    53: "InvalidIdField",
    54: "NotSingleValueField",
    55: "InvalidDBRef",
    56: "EmptyFieldName",
    57: "DottedFieldName",
    59: "CommandNotFound",
    66: "ImmutableField",
    67: "CannotCreateIndex",
    68: "IndexAlreadyExists",
    72: "InvalidOptions",
    73: "InvalidNamespace",
    85: "IndexOptionsConflict",
    86: "IndexKeySpecsConflict",
    111: "NotExactValueField",
    112: "WriteConflict",
    115: "CommandNotSupported",
    121: "DocumentValidationFailure",
    146: "ExceededMemoryLimit",
    168: "InvalidPipelineOperator",
    171: "CannotIndexParallelArrays",
    197: "InvalidIndexSpecificationOption",
    224: "QueryFeatureNotAllowed",
    232: "MaxSubPipelineDepthExceeded",
    237: "CursorKilled",
    239: "SnapshotTooOld",
    241: "ConversionFailure",
    260: "InvalidResumeToken",
    280: "ChangeStreamFatalError",
    286: "ChangeStreamHistoryLost",
    291: "NoQueryExecutionPlans",
    292: "QueryExceededMemoryLimitNoDiskUseAllowed",
    10334: "BSONObjectTooLarge",
    11000: "DuplicateKey",
}
"""MongoDB's error codes and their names; a code that has no name is ``Location<code>``, as in the server."""


@dataclass(frozen=True, slots=True)
class Code:
    """The meaning of an ``error_code``: the statuses that it comes with, and when."""

    statuses: tuple[int, ...]
    meaning: str


CODES: dict[str, Code] = {
    "InvalidParameter": Code(
        (400, 401),
        "A field has a value that it cannot have; the message names the field, what came and what was expected. "
        "With a 401 there were no credentials at all.",
    ),
    "MissingParameter": Code((400, 401), "A required field is absent; with a 401 a part of the credentials is."),
    "BadRequest": Code((400,), "The request cannot be what it says it is, such as HTTP that is not valid."),
    "Unsupported": Code(
        (400,), "What was asked for exists in MongoDB, and this server or data source does not have it."
    ),
    "NotCallable": Code((400,), "What was called is not here, or is called with another method."),
    "ReadSizeLimitExceeded": Code((400,), "The answer would be larger than the server answers."),
    "InvalidSession": Code((401,), "The key or token is unknown, wrong or over, or its session was ended."),
    "Unauthenticated": Code((401,), "A request to a workspace shows no credentials."),
    "TokenExpired": Code((401,), "The token of a workspace has ended."),
    "AuthError": Code((401,), "A login fails: a wrong key, a token that is not believed, an account to be confirmed."),
    "InvalidPassword": Code((401,), "A login has an unknown address or a wrong password, or the account is locked."),
    "InvalidSignature": Code((401,), "The secret or the signature of a request to an endpoint is missing or wrong."),
    "UserDisabled": Code((401,), "A login of a user who is disabled."),
    "PermissionDenied": Code((403,), "The caller is known, and refused."),
    "AddressNotAllowed": Code((403,), "The caller is refused where the request comes from."),
    "NoMatchingRuleFound": Code((403,), "There is no rule for the collection."),
    "FieldNotReadable": Code((403,), "The request asks about a field that the caller may not read."),
    "Unauthorized": Code((403,), "The database does not let Doorleaf do this."),
    "NotFound": Code((404,), "There is no such route, action or app."),
    "AuditNotKept": Code((404,), "The audit is kept in no collection: `audit_collection_days` is 0."),
    "AuthProviderNotFound": Code((404,), "There is no such authentication provider, or it is off."),
    "FunctionNotFound": Code((404,), "There is no such function."),
    "ServiceNotFound": Code((404,), "There is no such data source."),
    "UserNotFound": Code((404,), "There is no such user or account."),
    "APIKeyNotFound": Code((404,), "There is no such key."),
    "TenantNotFound": Code((404,), "There is no such tenant."),
    "WorkspaceNotFound": Code((404,), "There is no such workspace."),
    "WorkspaceKeyNotFound": Code((404,), "There is no such key of the workspace."),
    "CredentialNotFound": Code((404,), "There is no such credential for a collection."),
    "DocumentNotFound": Code((404,), "No document matches what an update looks for, and it may not insert one."),
    "SecretNotFound": Code((404,), "There is no such secret."),
    "TriggerNotFound": Code((404,), "There is no such trigger, or no server has run it yet."),
    "SessionNotFound": Code((404,), "There is no such session."),
    "DatabaseNotFound": Code((404,), "The caller has no such database."),
    "CollectionNotFound": Code((404,), "The database has no such collection."),
    "DatabaseExists": Code((400,), "The caller has a database of this name."),
    "MethodNotAllowed": Code((405,), "The route exists with other methods; `Allow` lists them."),
    "RequestTimeout": Code((408,), "The rest of a request did not come in time."),
    "Conflict": Code((409,), "What is there stands in the way of the request."),
    "CollectionExists": Code((409,), "A workspace has a collection of this name."),
    "IdempotencyConflict": Code(
        (409,), "An `Idempotency-Key` came before with another body, or what became of it is not known."
    ),
    "PreconditionFailed": Code((412,), "A document is not what `If-Match` says."),
    "CapabilityDisabled": Code((403,), "The workspace has not what this takes."),
    "DuplicateKey": Code((409,), "A unique index holds the key already (E11000)."),
    "AccountNameInUse": Code((409,), "The address has an account."),
    "IdentityInUse": Code((409,), "The credentials to be linked are another user's."),
    "APIKeyAlreadyExists": Code((400,), "Another key has the name."),
    "TenantAlreadyExists": Code((400,), "Another tenant has the id."),
    "WorkspaceAlreadyExists": Code((400,), "Another workspace has the id."),
    "UserAlreadyConfirmed": Code((400,), "Nothing is left to confirm."),
    "UserpassTokenInvalid": Code((400,), "The token of a mail is wrong, spent or too old."),
    "DocumentValidationFailure": Code((400,), "The collection's validator refuses the document."),
    "SchemaValidationFailedWrite": Code((400,), "A schema of the rules refuses the document."),
    "MongoDBError": Code(
        (400, 409), "In the client API: the database refuses, for the reason that `code` and `code_name` give."
    ),
    "PayloadTooLarge": Code((413,), "The body is larger than the server takes."),
    "UnsupportedMediaType": Code((415,), "The body has a content type that is not understood."),
    "TooManyRequests": Code((429,), "A rate limit; `Retry-After` says when to come back."),
    "QuotaExceeded": Code((429,), "A quota of the day or month is used up."),
    "TooManyConnections": Code(
        (429, 503), "The client, or everybody together, has as many connections as there may be."
    ),
    "HeaderFieldsTooLarge": Code((431,), "The head of the request is too large."),
    "FunctionExecutionError": Code(
        (400,), "A function of the app threw, used too much memory, or answered too much; the message is its own."
    ),
    "FunctionsUnavailable": Code(
        (503,), "The process that ran a function has ended or cannot be started, or what it needs is not installed."
    ),
    "InternalServerError": Code((500,), "A fault of ours; the log has it under the request id."),
    "StoreUnavailable": Code(
        (503,),
        "The database cannot be reached, is shutting down or overloaded; nothing was written, unless the message says "
        "that a part was.",
    ),
    "ServerBusy": Code(
        (503,), "The server has no room for the request at present; `Retry-After` says when to come back."
    ),
    "ShuttingDown": Code((503,), "The server ends, and cut the request; whether a write was applied is not known."),
    "ExecutionTimeLimitExceeded": Code(
        (504,), "The operation exceeded its time limit (`maxTimeMS`), or a function its own."
    ),
    "WriteOutcomeUnknown": Code(
        (504,),
        "Nobody knows whether the write was carried out: its answer never came, or it was not replicated as asked.",
    ),
}
"""Every ``error_code`` of ours. What the database refuses has MongoDB's name of its number, :data:`CODE_NAMES`."""


def let_go(error: BaseException | None) -> None:
    """Take from an error that has been told what it was raised through.

    Those frames hold the error in turn, and with it the request and all that was made of it, until somebody looks for
    garbage.
    """
    while error is not None:
        error.__traceback__ = None
        before = error.__cause__ or error.__context__
        error.__cause__ = error.__context__ = None
        error = before
