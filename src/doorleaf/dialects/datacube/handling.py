"""Handlers of the DataCube API: at both of its prefixes, with what was sent in the body or in the query string."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

from doorleaf import ejson
from doorleaf.access.callers import Credentials
from doorleaf.apart import CODING
from doorleaf.dialects.about import About
from doorleaf.dialects.base import Handle, Later, Reply, Request, Route
from doorleaf.dialects.handling import NOT_STORED, require_json
from doorleaf.documents import Document
from doorleaf.errors import InvalidParameter, Unauthenticated

PREFIXES = ("/api", "/api/v2")
"""Where the routes of data are served; the first is the documented one."""

_KEY = "dlu_"
_WRITING_SECONDS = 30.0
_MANY = 200
"""Members of an answer's lists from here on which it is written in a thread."""

Act = Callable[[Request, Any], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Made:
    """An answer with a status of its own."""

    status: int
    content: Any


def credentials(request: Request) -> Credentials:
    """The credentials in ``Authorization: Api-Key …`` and ``Bearer …``, which may have a key as well."""
    scheme, _, shown = request.headers.get(b"authorization", b"").strip().partition(b" ")
    scheme, text = scheme.lower(), shown.strip().decode("latin-1")
    if scheme not in (b"bearer", b"api-key"):
        return Credentials(address=request.address)
    if not text or " " in text:
        what = "Token string should not contain spaces." if text else "No credentials provided."
        message = f"Invalid token header. {what}"
        raise Unauthenticated(message, fields={"error": "InvalidSession", "detail": message})
    if scheme == b"api-key" or text.startswith(_KEY):
        return Credentials(api_key=text, address=request.address)
    return Credentials(bearer=text, address=request.address)


def data_routes(method: str, name: str, act: Act, about: About, *, path: str = "") -> list[Route]:
    """The routes of ``act`` at both prefixes."""
    path = path or f"/{name}"
    return [route(method, f"{prefix}{path}", act, about, name) for prefix in PREFIXES]


def route(method: str, path: str, act: Act, about: About, name: str = "") -> Route:
    """The route of ``act`` for a caller who is known. What it is given is read apart where it is large."""

    def decode(request: Request) -> Later:
        return Later(partial(_done, request, act, _given(request, about), about))

    return Route(method, path, name or about.name, decode=decode, encode=_nothing, about=about)


def public(path: str, act: Act, about: About, *, method: str = "POST", counts: bool = True) -> Route:
    """The route of ``act`` for somebody who has not logged in; what ``counts`` does so against the rate of logins."""

    async def handle(request: Request) -> Reply:
        return await _done(request, act, _given(request, about), about)

    return Route(method, path, about.name, handle=handle, about=about, public=True, login=counts)


def finished(act: Act, about: About) -> Handle:
    """The handler of ``act``, which reads what it is given by itself."""

    async def handle(request: Request) -> Reply:
        return await _done(request, act, None, about)

    return handle


def also(about: About, name: str) -> About:
    """``about``, of a route that does the same by another method."""
    return replace(about, name=name)


def _given(request: Request, about: About) -> Any:
    """The body or the parameters by the model of what is taken."""
    if about.query is not None:
        return about.query.read(parameters(request))
    if about.takes is None:
        return None
    given: Document = {}
    if request.body.strip():
        require_json(request)
        given = ejson.loads(request.body)
    elif request.query:
        given = dict(parameters(request))
    return about.takes.read(given)


def parameters(request: Request) -> dict[str, str]:
    """The parameters in the query string, each once, as UTF-8."""
    try:
        pairs = parse_qsl(request.query.decode(), keep_blank_values=True, errors="strict", max_num_fields=50)
    except ValueError:
        raise InvalidParameter("the query string is malformed") from None
    query = dict(pairs)
    if len(query) != len(pairs):
        raise InvalidParameter("a parameter of the query string came twice")
    return query


async def _done(request: Request, act: Act, given: Any, about: About) -> Reply:
    content = await act(request, given)
    if isinstance(content, Reply):
        return content
    status = about.gives.status
    if isinstance(content, Made):
        status, content = content.status, content.content
    if content is None:
        return Reply(status, headers=NOT_STORED)
    mode = ejson.bare_mode_of(request.headers.get(b"accept"))
    body = await written(content, mode)
    return Reply(status, body, mode.content_type, headers=NOT_STORED)


async def written(content: Any, mode: ejson.Mode) -> bytes:
    """``content`` as JSON; what is long is written in a thread."""
    listed = content.values() if isinstance(content, dict) else (content,)
    if any(isinstance(value, list) and len(value) >= _MANY for value in listed):
        return await CODING.run(_WRITING_SECONDS, _dumps, content, mode)
    return _dumps(content, mode)


def _dumps(content: Any, mode: ejson.Mode) -> bytes:
    if isinstance(content, dict):
        return ejson.dumps(content, mode)
    return ejson.dumps({"": content}, mode)[4:-1]


def _nothing(result: Any, request: Request) -> Reply:
    raise TypeError("a route has to say how results are written, but here decoding answers with the reply itself")
