"""What functions are told of the HTTP request that caused their call."""

from __future__ import annotations

from functools import lru_cache
from urllib.parse import parse_qsl

from doorleaf.access.request import raw_query
from doorleaf.dialects.base import Request
from doorleaf.documents import Document
from doorleaf.errors import InvalidParameter

MOST_PARAMETERS = 1000

_LONGEST_NAME = 64
"""Bytes of a header's name that is remembered: clients choose names, and nearly all are shorter."""


def request_told(request: Request | None) -> Document:
    """``context.request``: what there is to know about the HTTP request, without a secret in its query."""
    if request is None:
        return {}
    headers = headers_told(request)
    return {**request_facts(request, headers), "requestHeaders": headers}


def request_facts(request: Request, headers: dict[str, list[str]]) -> Document:
    """``context.request`` without ``requestHeaders``, which are these ``headers``."""
    return {
        "httpMethod": request.method,
        "httpReferrer": ", ".join(headers.get("Referer", [])),
        "httpUserAgent": ", ".join(headers.get("User-Agent", [])),
        "rawQueryString": raw_query(request.query),
        "remoteIPAddress": request.address,
        "webhookUrl": request.path,
    }


def query_told(request: Request) -> dict[str, str]:
    """The first value of each parameter in the query. InvalidParameter for too many."""
    if not request.query:
        return {}
    try:
        pairs = parse_qsl(request.query.decode("latin-1"), keep_blank_values=True, max_num_fields=MOST_PARAMETERS)
    except ValueError:
        raise InvalidParameter(f"the query has more than {MOST_PARAMETERS} parameters") from None
    query: dict[str, str] = {}
    for name, value in pairs:
        query.setdefault(name, value)
    return query


def headers_told(request: Request) -> dict[str, list[str]]:
    """Headers as App Services gives them: each name as HTTP writes it, with a list of values as they came."""
    headers = {_shown(name): [value.decode("latin-1")] for name, value in request.headers.items()}
    for name, values in (request.repeated or {}).items():
        headers[_shown(name)] = [value.decode("latin-1") for value in values]
    return headers


def _shown(name: bytes) -> str:
    return (_remembered if len(name) <= _LONGEST_NAME else _written)(name)


def _written(name: bytes) -> str:
    return "-".join(part.capitalize() for part in name.decode("latin-1").split("-"))


_remembered = lru_cache(maxsize=1000)(_written)
