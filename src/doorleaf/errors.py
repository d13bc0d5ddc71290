"""Every error that Doorleaf answers with, drawn as one tree.

::

    DoorleafError
    ├── RequestError     InvalidParameter 400 · MissingParameter 400 · Unsupported 400 · NotFound 404
    │                    MethodNotAllowed 405 · PayloadTooLarge 413
    ├── AccessError      Unauthenticated 401 · PermissionDenied 403 · TooManyRequests 429 · QuotaExceeded 429
    ├── DataError        400, with MongoDB's own code and name · DuplicateKey 409 · ValidationFailed 400
    │                    WriteFailed 400 (or its first write error's status)
    ├── StoreError       StoreUnavailable 503 · StoreTimeout 504
    └── InternalError    500

An error says what the client may know and nothing else: no host, URI, key, token or stack.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class DoorleafError(Exception):
    """An answer that is not a result.

    ``status`` is the HTTP status, ``code`` the word a program may branch on (``error_code`` on the wire),
    ``fields`` are further members of the error envelope and ``headers`` of the response. ``audited`` is set once
    somebody accounted for it, so that nobody does again.
    """

    status: ClassVar[int] = 500
    code: str = "InternalServerError"
    audited: bool = False

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        fields: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
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


class MissingParameter(RequestError):
    """A required field is absent."""

    code = "MissingParameter"


class Unsupported(RequestError):
    """What was asked for exists in MongoDB, and this server or data source does not have it."""

    code = "Unsupported"


class NotFound(RequestError):
    """No such route, action or app."""

    status = 404
    code = "NotFound"


class MethodNotAllowed(RequestError):
    """The route exists with other methods; ``Allow`` lists them."""

    status = 405
    code = "MethodNotAllowed"


class PayloadTooLarge(RequestError):
    """The body is larger than the server takes."""

    status = 413
    code = "PayloadTooLarge"


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
    """The database cannot be reached, or is shutting down."""


class StoreTimeout(StoreError):
    """The operation exceeded its time limit (``maxTimeMS``)."""

    status = 504
    code = "ExecutionTimeLimitExceeded"


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
    115: "CommandNotSupported",
    121: "DocumentValidationFailure",
    146: "ExceededMemoryLimit",
    168: "InvalidPipelineOperator",
    171: "CannotIndexParallelArrays",
    197: "InvalidIndexSpecificationOption",
    224: "QueryFeatureNotAllowed",
    232: "MaxSubPipelineDepthExceeded",
    241: "ConversionFailure",
    286: "ChangeStreamHistoryLost",
    291: "NoQueryExecutionPlans",
    292: "QueryExceededMemoryLimitNoDiskUseAllowed",
    10334: "BSONObjectTooLarge",
    11000: "DuplicateKey",
}
"""MongoDB's error codes and their names; a code that has no name is ``Location<code>``, as in the server."""


def database_error(number: int, message: str, *, code: str | None = None) -> DoorleafError:
    """The error for MongoDB's ``number``: the one mapping that both engines use."""
    if number in (11000, 11001, 12582):
        return DuplicateKey(message)
    if number == 121:
        return ValidationFailed(message)
    if number in (50, 262):
        return StoreTimeout(message)
    if number in (13, 18, 8000):
        return PermissionDenied(message, code="Unauthorized")
    if number in (6, 7, 89, 91, 189, 9001, 10107, 11600, 11602, 13435, 13436):
        return StoreUnavailable("the database cannot be reached")
    return DataError(message, number=number, code=code)
