"""Handlers made of what a route is about: they read the body and the query, and write what was done as the answer."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

from doorleaf import ejson
from doorleaf.apart import CODING, SMALL_BYTES
from doorleaf.dialects.about import About
from doorleaf.dialects.base import Reply, Request, Route
from doorleaf.documents import Document
from doorleaf.errors import InvalidParameter, UnsupportedMediaType

_READING_SECONDS = 30.0
"""What reading a body may take."""

NOT_STORED = ((b"cache-control", b"no-store"),)

Act = Callable[[Request, Any], Awaitable[Any]]
"""What a route does with a request and what it brings (a body's or a query's model, or None); answers the content."""


def handled(
    method: str,
    path: str,
    name: str,
    act: Act,
    about: About,
    *,
    mode: ejson.Mode = ejson.Mode.PLAIN,
    before: Callable[[Request], Awaitable[None]] | None = None,
    public: bool = False,
    login: bool = False,
) -> Route:
    """The route that does ``act``. Answers are not to be cached; ``mode`` writes their values.

    ``before`` may refuse a request before its body is looked at; ``public`` and ``login`` are the route's.
    """
    gives = about.gives

    async def handle(request: Request) -> Reply:
        if before is not None:
            await before(request)
        given: Any = None
        if about.query is not None:
            given = about.query.read(parameters(request))
        elif about.takes is not None:
            given = about.takes.read(await body_of(request.body or b"{}"))
        content = await act(request, given)
        body = b"" if gives.content is None else ejson.dumps(content, mode)
        return Reply(gives.status, body, headers=NOT_STORED)

    return Route(method, path, name, handle=handle, about=about, public=public, login=login)


async def body_of(body: bytes) -> Document:
    """The object that a body is, a long one read in a thread. Raises InvalidParameter for anything else."""
    if len(body) < SMALL_BYTES:
        return ejson.loads(body)
    return await CODING.run(_READING_SECONDS, ejson.loads, body)


_JSON = re.compile(rb"\s*application/(?:[\w.-]+\+)?e?json\s*(?:;.*)?", re.IGNORECASE | re.DOTALL)


def require_json(request: Request) -> None:
    """Raise UnsupportedMediaType for a body that says it is no JSON; one that says nothing is taken for it."""
    kind = request.headers.get(b"content-type", b"")
    if kind.strip() and _JSON.fullmatch(kind) is None:
        shown = kind[:100].decode("latin-1")
        raise UnsupportedMediaType(f"Content-Type: expected application/json, got {shown!r}")


def parameters(request: Request) -> dict[str, str]:
    """The parameters in the query string, each once."""
    pairs = parse_qsl(request.query.decode("latin-1"), keep_blank_values=True)
    query = dict(pairs)
    if len(query) != len(pairs):
        raise InvalidParameter("a parameter of the query string came twice")
    return query
