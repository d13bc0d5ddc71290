"""Errors of workspaces: one envelope, a few codes, and no name that is not the caller's."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, NotRequired

from pydantic import Field, with_config
from typing_extensions import TypedDict

from doorleaf import ejson
from doorleaf.dialects.base import Reply, Request
from doorleaf.dialects.problems import OPEN
from doorleaf.errors import (
    LEFT_OUT,
    DataError,
    DoorleafError,
    DuplicateKey,
    MalformedJSON,
    RequestError,
    ValidationFailed,
)

CORRELATION = b"x-correlation-id"
_CORRELATION = re.compile(rb"[A-Za-z0-9._:-]{8,128}")
HIDDEN = ("_tenantId", "_workspaceId")

CODES: Mapping[str, str] = {
    "DocumentNotFound": "DOCUMENT_NOT_FOUND",
    "WorkspaceNotFound": "WORKSPACE_NOT_FOUND",
    "CollectionNotFound": "COLLECTION_NOT_FOUND",
    "IndexNotFound": "INDEX_NOT_FOUND",
    "DuplicateKey": "DUPLICATE_KEY",
    "CapabilityDisabled": "CAPABILITY_DISABLED",
    "QuotaExceeded": "QUOTA_EXCEEDED",
    "PreconditionFailed": "PRECONDITION_FAILED",
    "IdempotencyConflict": "IDEMPOTENCY_CONFLICT",
    "CollectionExists": "COLLECTION_EXISTS",
    "Unauthenticated": "UNAUTHENTICATED",
    "InvalidSession": "INVALID_TOKEN",
    "InvalidParameter": "VALIDATION_ERROR",
    "PermissionDenied": "PERMISSION_DENIED",
    "NotFound": "NOT_FOUND",
    "MethodNotAllowed": "METHOD_NOT_ALLOWED",
    "PayloadTooLarge": "PAYLOAD_TOO_LARGE",
    "TooManyRequests": "RATE_LIMITED",
    "StoreUnavailable": "SERVICE_UNAVAILABLE",
    "ExecutionTimeLimitExceeded": "TIMEOUT",
    "ServerBusy": "SERVICE_UNAVAILABLE",
    "ShuttingDown": "SERVICE_UNAVAILABLE",
}
"""What the codes of errors are called here; others are called by their status."""

BY_STATUS: Mapping[int, str] = {
    400: "VALIDATION_ERROR",
    401: "INVALID_TOKEN",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    408: "REQUEST_TIMEOUT",
    409: "CONFLICT",
    413: "PAYLOAD_TOO_LARGE",
    429: "RATE_LIMITED",
    503: "SERVICE_UNAVAILABLE",
    504: "TIMEOUT",
}


@with_config(OPEN)
class WorkspaceProblem(TypedDict):
    """The error of a request."""

    code: Annotated[str, Field(description="For programs.")]
    message: Annotated[str, Field(description="For people.")]
    correlationId: str  # as the envelope has it
    timestamp: datetime
    details: NotRequired[Annotated[dict[str, Any], Field(description="Which operation, stage or field it is about.")]]


@with_config(OPEN)
class WorkspaceError(TypedDict):
    """An error of a workspace."""

    error: WorkspaceProblem


def correlation(request: Request) -> str:
    """The id that the request and its answer are found by: the caller's own, or a new one, the same each time it is
    asked."""
    return _noted(request).correlation


@dataclass(slots=True)
class _Noted:
    """What was found out of a request: its correlation id, and when it was refused."""

    correlation: str
    refused: str = ""


def _noted(request: Request) -> _Noted:
    if not isinstance(request.chosen, _Noted):
        given = request.headers.get(CORRELATION, b"")
        request.chosen = _Noted(given.decode() if _CORRELATION.fullmatch(given) else _new(request))
    return request.chosen


def _new(request: Request) -> str:
    """The id that the log has, where that can be one here."""
    return request.id if _CORRELATION.fullmatch(request.id.encode()) else str(uuid.uuid4())


def correlated(request: Request) -> tuple[bytes, bytes]:
    """The header that answers have it in."""
    return b"x-correlation-id", correlation(request).encode()


def code_of(error: DoorleafError) -> str:
    """The code that an error has here."""
    if isinstance(error, MalformedJSON):
        return "INVALID_JSON"
    known = CODES.get(error.code) or BY_STATUS.get(error.status)
    return known or ("INTERNAL_ERROR" if error.status >= 500 else "VALIDATION_ERROR")


def workspace_error(error: DoorleafError, request: Request) -> Reply:
    """``error`` in the envelope of workspaces."""
    noted = _noted(request)
    noted.refused = noted.refused or datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    identity = request.identity
    place = None if identity is None or identity.tenancy is None else identity.tenancy.workspace
    told: dict[str, Any] = {"code": code_of(error), "message": message_of(error, place)}
    told |= {"correlationId": correlation(request), "timestamp": noted.refused}
    if details := _details(error):
        told["details"] = details
    body = ejson.dumps({"error": told}, ejson.Mode.PLAIN)
    headers = [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in error.headers.items()]
    return Reply(error.status, body, headers=(*headers, correlated(request)))


def sample(error: DoorleafError) -> Reply:
    """``error`` as the documentation shows it, the same each time."""
    noted = _Noted("3f0a9c52-6b1d-4e8f-9a37-5d2c8e714b60", "2026-01-31T12:00:00.000Z")
    return workspace_error(error, Request("GET", "/", {}, chosen=noted))


def message_of(error: DoorleafError, place: Any) -> str:
    """The message of an error for who calls the workspace ``place``, if that is known: of a database's own words none
    that have names or fields of others in them."""
    index = error.fields.get("index")
    where = f"operations[{index}]: " if isinstance(index, int) else ""
    if isinstance(error, DuplicateKey) or (isinstance(error, DataError) and error.number == 11000):
        return f"{where}a document has this value of a unique index already"
    if isinstance(error, ValidationFailed):
        return f"{where}the document does not fit the schema of the collection"
    if isinstance(error, RequestError) or not isinstance(error, DataError):
        return error.message
    text = error.message
    if place is not None:
        text = text.replace(f"{place.database}.{place.prefix}", "").replace(place.prefix or "\0", "")
        # What was left out of a long text may be half of a name.
        if place.tenant in text or place.database in text or LEFT_OUT in text:
            return f"{where}the database refuses this"
    return f"{where}the database refuses this" if any(name in text for name in HIDDEN) else text


def _details(error: DoorleafError) -> dict[str, Any]:
    details = {
        name: error.fields[name] for name in ("index", "operation", "reason", "stage", "quota") if name in error.fields
    }
    reasons = error.fields.get("errInfo")
    if isinstance(reasons, dict):
        found = list(violations(reasons))
        details["violations"] = found
        details["paths"] = [one["path"] for one in found]
    return details


def violations(reasons: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Every failing path with the rule that it fails, from the reasons that a validator gives."""
    details = reasons.get("details")
    seen: set[tuple[str, str]] = set()
    for path, rule in _failing(details, ""):
        if path.partition(".")[0] not in HIDDEN and (path, rule) not in seen:
            seen.add((path, rule))
            yield {"path": path, "rule": rule}


def _failing(reason: Any, path: str) -> Iterator[tuple[str, str]]:
    """The paths at and below ``path`` that a part of the reasons tells of."""
    if isinstance(reason, list):
        for part in reason:
            yield from _failing(part, path)
        return
    if not isinstance(reason, dict):
        return
    rule = str(reason.get("operatorName", ""))
    if "propertyName" in reason:
        path = _joined(path, str(reason["propertyName"]))
    if "itemIndex" in reason:
        path = _joined(path, str(reason["itemIndex"]))
    inside = [part for name, part in reason.items() if name in _INSIDE]
    if missing := reason.get("missingProperties"):
        yield from ((_joined(path, str(name)), rule or "required") for name in missing)
    elif extra := reason.get("additionalProperties"):
        if isinstance(extra, list):
            yield from ((_joined(path, str(name)), rule) for name in extra)
    elif not inside and rule:
        yield path, rule
    for part in inside:
        yield from _failing(part, path)


_INSIDE = ("schemaRulesNotSatisfied", "propertiesNotSatisfied", "details", "clausesNotSatisfied", "schemasNotSatisfied")


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
