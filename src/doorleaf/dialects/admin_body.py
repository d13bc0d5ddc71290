"""Bodies and answers of the administration routes; every mistake names its field."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from doorleaf import ejson
from doorleaf.dialects.base import Reply, Request
from doorleaf.dialects.fields import count, wrong
from doorleaf.documents import Document
from doorleaf.errors import InvalidParameter, MissingParameter

_NOT_STORED = ((b"cache-control", b"no-store"),)


def answer(status: int, content: Document, mode: ejson.Mode = ejson.Mode.PLAIN) -> Reply:
    """``content`` as JSON, dates as text unless ``mode`` says otherwise; not to be cached."""
    return Reply(status, ejson.dumps(content, mode), headers=_NOT_STORED)


def done() -> Reply:
    """An answer that has nothing to say."""
    return Reply(204, headers=_NOT_STORED)


def body_of(request: Request, fields: Collection[str]) -> Document:
    """The body, which may be left out and may have ``fields`` and no others."""
    body = ejson.loads(request.body or b"{}")
    _require_known(body, fields, "field")
    return body


def query_of(request: Request, names: Collection[str]) -> dict[str, str]:
    """The parameters in the query string, which may be ``names`` and no others, each once."""
    pairs = parse_qsl(request.query.decode("latin-1"), keep_blank_values=True)
    query = dict(pairs)
    if len(query) != len(pairs):
        raise InvalidParameter("a parameter of the query string came twice")
    _require_known(query, names, "parameter")
    return query


def _require_known(given: Collection[str], names: Collection[str], what: str) -> None:
    for name in given:
        if name not in names:
            listed = f"there are {', '.join(names)}" if names else "there are none"
            raise InvalidParameter(f"{name[:100]}: no such {what}; {listed}")


def text(body: Document, name: str, *, longest: int = 1024) -> str:
    """A required text."""
    value = body.get(name)
    if value is None:
        raise MissingParameter(f"{name} is required")
    if type(value) is not str or not value:
        raise wrong(name, "a non-empty string", value)
    if len(value) > longest:
        raise InvalidParameter(f"{name}: is longer than {longest} characters")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidParameter(f"{name}: must be Unicode text") from None
    return value


def flag(body: Document, name: str) -> bool | None:
    """true, false, or None when it is not there."""
    value = body.get(name)
    if value is None or isinstance(value, bool):
        return value
    raise wrong(name, "true or false", value)


def seconds(body: Document, name: str, most: int) -> int:
    """A number of seconds from 0 to ``most``; 0 when it is not there."""
    given = body.get(name)
    value = 0 if given is None else count(given, name)
    if value > most:
        raise InvalidParameter(f"{name}: {value} is above {most}")
    return value


def moment(body: Document, name: str) -> datetime | None:
    """A date in the future, as ISO 8601 or Extended JSON, in naive UTC; None when it is not there."""
    value: Any = body.get(name)
    if value is None:
        return None
    if type(value) is str:
        try:
            value = datetime.fromisoformat(value)
            value = value if value.tzinfo is None else value.astimezone(UTC).replace(tzinfo=None)
        except (ValueError, OverflowError):
            raise InvalidParameter(f"{name}: expected a date such as 2030-01-31T00:00:00Z") from None
    if not isinstance(value, datetime):
        raise wrong(name, "a date such as 2030-01-31T00:00:00Z", value)
    if value <= datetime.now(UTC).replace(tzinfo=None):
        raise InvalidParameter(f"{name}: is in the past")
    return value
