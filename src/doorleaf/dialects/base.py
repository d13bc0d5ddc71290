"""What a dialect is made of: requests, replies and routes, all plain values.

A dialect turns a :class:`Request` into an operation and its result into a :class:`Reply`, and renders errors in its
own envelope. It takes only ``Credentials`` from access and nothing from stores or from a web framework, so that it
can be tested without a server.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from doorleaf import ejson
from doorleaf.access.identity import Credentials
from doorleaf.errors import DoorleafError, InvalidParameter
from doorleaf.operations import Operation

JSON = b"application/json"
EJSON = b"application/ejson"


@dataclass(slots=True)
class Request:
    """One HTTP request. ``headers`` have lower-case names and single values; ``params`` are the path's variables.

    ``identity`` is set once the caller is known, ``body`` once it was read (decompressed, within the limit).
    """

    method: str
    path: str
    headers: Mapping[bytes, bytes]
    address: str = ""
    id: str = "-"
    query: bytes = b""
    body: bytes = b""
    params: Mapping[str, str] = field(default_factory=dict)
    identity: Any = None


@dataclass(slots=True)
class Reply:
    """One HTTP response; the endpoint adds its length and the request id.

    One with a ``stream`` goes on, piece by piece, and has no ``body``; ``done`` is told how many bytes that were.
    """

    status: int
    body: bytes = b""
    content_type: bytes = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()
    stream: AsyncGenerator[bytes, None] | None = None
    done: Callable[[int], None] | None = None


Decode = Callable[[Request], Operation[Any]]
Encode = Callable[[Any, Request], Reply]


@dataclass(frozen=True, slots=True)
class Route:
    """A method and a path, and what happens there.

    ``path`` has literal segments and ``{variables}``; method ``*`` is any. A route either has ``decode`` (request →
    operation) with ``encode`` (result → reply), or a ``handle`` of its own. ``public`` routes take no credentials;
    ``login`` ones are those where credentials can be tried out, and count against the rate of logins. ``streams`` says
    that its replies go on, which only so many may do at once.
    ``name`` is what logs and metrics call it; ``operation`` is what OpenAPI describes.
    """

    method: str
    path: str
    name: str
    decode: Decode | None = None
    encode: Encode | None = None
    handle: Callable[[Request], Awaitable[Reply]] | None = None
    public: bool = False
    login: bool = False
    streams: bool = False
    operation: type[Operation[Any]] | None = None


def header_credentials(request: Request) -> Credentials:
    """The credentials in the headers ``Authorization: Bearer``, ``apiKey`` or ``api-key``, ``email`` with
    ``password``, and ``jwtTokenString``; which of them counts is for access to say."""
    headers = request.headers
    key = headers.get(b"apikey")
    other = headers.get(b"api-key")
    if key is None:
        key = other
    elif other is not None and other != key:
        raise InvalidParameter("the headers apiKey and api-key differ; send one of them")
    authorization = headers.get(b"authorization")
    return Credentials(
        bearer=None if authorization is None else _bearer(authorization),
        api_key=None if key is None else key.decode("latin-1"),
        email=_text(headers.get(b"email")),
        password=_text(headers.get(b"password")),
        jwt=_text(headers.get(b"jwttokenstring")),
        address=request.address,
    )


def _bearer(authorization: bytes) -> str | None:
    scheme, _, token = authorization.partition(b" ")
    return token.strip().decode("latin-1") if scheme.lower() == b"bearer" else None


def _text(value: bytes | None) -> str | None:
    # Passwords are UTF-8 when a client can send them at all; latin-1 is what remains of other bytes.
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def envelope(error: DoorleafError, request: Request) -> Reply:
    """``error`` as ``{"error", "error_code", …fields}``: always JSON, whatever the client accepts."""
    content: dict[str, Any] = {"error": error.message}
    if error.code:
        content["error_code"] = error.code
    if error.fields:
        content.update(error.fields)
        body = ejson.dumps(content, ejson.Mode.PLAIN)
    else:
        body = json(content)
    headers = tuple(
        (name.lower().encode(), value.encode("latin-1", "replace")) for name, value in error.headers.items()
    )
    return Reply(error.status, body, headers=headers)


def json(content: Any) -> bytes:
    """``content`` (plain JSON values) as bytes; text that is no Unicode is replaced, never an error."""
    try:
        return orjson.dumps(content)
    except TypeError:
        readable = {
            key: value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
            for key, value in content.items()
        }
        return orjson.dumps(readable)


@dataclass(frozen=True, slots=True)
class Dialect:
    """A way to speak HTTP: its routes, where its credentials are, and its error envelope.

    ``prepare`` may refuse a request before anything else looks at it.
    """

    name: str
    routes: tuple[Route, ...]
    credentials: Callable[[Request], Credentials] = header_credentials
    error: Callable[[DoorleafError, Request], Reply] = envelope
    prepare: Callable[[Request], None] | None = None
