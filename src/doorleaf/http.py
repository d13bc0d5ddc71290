"""The ASGI endpoint: one raw callable that takes a request through its life.

Route, identify, read the body, decode, execute, encode, reply; every error becomes a reply of the route's dialect.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import zlib
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, MutableMapping
from time import perf_counter
from typing import Any, Protocol

from doorleaf.access.addresses import unmapped
from doorleaf.access.admission import Admission
from doorleaf.access.audit import DENIED
from doorleaf.access.identity import Credentials, Identity
from doorleaf.access.request import REQUEST
from doorleaf.dialects.base import Decode, Dialect, Encode, Reply, Request, Route
from doorleaf.dialects.routes import Routes, Target
from doorleaf.errors import (
    DoorleafError,
    InternalError,
    InvalidParameter,
    PayloadTooLarge,
    PermissionDenied,
    RequestError,
    TooManyRequests,
    Unauthenticated,
    Unsupported,
)
from doorleaf.observability import LOG, REQUEST_ID, Answered, Observer
from doorleaf.realtime import pour
from doorleaf.results import DistinctResult, DocumentResult, DocumentsResult, Result
from doorleaf.service import DataService

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

WHOLE_ANSWER = "doorleaf.whole_answer"
"""An extension that our own server offers: a call that writes status, headers and body at once."""

DRAINING = "doorleaf.draining"
"""Another: true once the server waits for its last answers to end."""

MAX_BODY_BYTES = 16 * 1024 * 1024 + 64 * 1024
_MAX_PUBLIC_BODY_BYTES = 1024 * 1024 + 64 * 1024
"""A login may bring a token of a million characters."""
_LARGE_BYTES = 256 * 1024
_MANY_DOCUMENTS = 500
"""From here on a body is decoded or encoded in a thread, so that other requests go on."""

_PROBES = frozenset({"livez", "readyz"})
"""Routes that whoever watches over the server may ask, wherever from and however often."""

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._~:/+=-]{1,128}")
_SINGLE = frozenset(
    {b"authorization", b"apikey", b"api-key", b"email", b"password", b"jwttokenstring"}
    | {b"content-length", b"content-encoding", b"host", b"origin", b"x-request-id"}
)
"""Headers that may come once: two of them is a way to show a proxy one thing and us another."""


class Authenticator(Protocol):
    """Who knows the callers; ``known`` answers from memory."""

    def known(self, credentials: Credentials) -> Identity | None: ...

    async def identify(self, credentials: Credentials) -> Identity: ...


class _Gone(Exception):
    """The client went away before its request was complete."""


class Endpoint:
    """The ASGI application.

    ``observers`` are told of every answer; ``startup`` and ``shutdown`` bound its life; ``origins`` are those whose
    pages may call from a browser; ``admission`` limits and audits requests.
    """

    def __init__(
        self,
        *,
        dialects: Iterable[Dialect],
        service: DataService,
        authenticator: Authenticator,
        observers: Iterable[Observer] = (),
        startup: Callable[[], Awaitable[None]] | None = None,
        shutdown: Callable[[], Awaitable[None]] | None = None,
        max_body_bytes: int = MAX_BODY_BYTES,
        max_streams: int = 100,
        origins: Collection[str] = (),
        admission: Admission | None = None,
    ) -> None:
        listed = tuple(dialects)
        self._routes = Routes(listed)
        self._nowhere = Target(Route("*", "", "unmatched"), Dialect("none", ()))
        self._service = service
        self._authenticator = authenticator
        self._observers = tuple(observers)
        self._startup = startup
        self._shutdown = shutdown
        self._max_body = max_body_bytes
        self._cors = _Cors(origins) if origins else None
        self._admission = admission
        self._audit = admission.audit if admission is not None and admission.audit.on else None
        self._asks_on_arrival = admission is not None and admission.asks_on_arrival
        self._locates = self._audit is not None or (admission is not None and admission.locates)
        self._max_streams = max_streams
        self._streams = 0
        self._id_prefix = os.urandom(6).hex()
        self._ids = itertools.count(1)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._respond(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})

    async def _respond(self, scope: Message, receive: Receive, send: Send) -> None:
        started = perf_counter()
        client = scope.get("client")
        listed = scope["headers"]
        headers = dict(listed)
        given = headers.get(b"x-request-id")
        if given is None or _REQUEST_ID.fullmatch(given) is None:
            request_id = f"{self._id_prefix}{next(self._ids):010x}"
        else:
            request_id = given.decode()
        REQUEST_ID.set(request_id)
        request = Request(
            scope["method"], scope["path"], headers, client[0] if client else "", request_id, scope["query_string"]
        )
        REQUEST.set(request)
        target, code = self._nowhere, ""
        try:
            if len(headers) != len(listed):
                request.headers = _joined(listed)
            if self._locates:
                self._locate(request)
            reply = None
            if self._cors is not None and request.method == "OPTIONS":
                reply = self._cors.preflight(request)
            if reply is None:
                try:
                    target = self._routes.find(request)
                except RequestError:
                    await self._arrive(target.route, request)  # who may not call learns no route either
                    raise
                reply = await self._answer(target, request, receive)
        except _Gone:
            return
        except Exception as error:
            known = self._known(error)
            code, reply = known.code, target.dialect.error(known, request)
            if self._audit is not None and reply.status in DENIED and not known.audited:
                self._audit(target.route.name, error=known)
        if reply.stream is None:
            await self._send(reply, request, scope, send)
        else:
            await self._pour(reply, request, target.dialect, scope, receive, send)
        if self._observers:
            self._tell(target.route, request, reply.status, code, perf_counter() - started)

    def _tell(self, route: Route, request: Request, status: int, code: str, seconds: float) -> None:
        caller = request.identity
        event = Answered(route.name, status, seconds, code, "" if caller is None else caller.shown, request.address)
        for observe in self._observers:
            observe(event)

    def _locate(self, request: Request) -> None:
        """Find out where a request comes from."""
        request.address = unmapped(request.address)
        if self._admission is not None:
            forwarded = request.headers.get(b"x-forwarded-for")
            if forwarded is not None:
                request.address = self._admission.addresses.client(request.address, forwarded.decode("latin-1"))

    async def _arrive(self, route: Route, request: Request) -> None:
        admission = self._admission
        if admission is not None and route.name not in _PROBES and (self._asks_on_arrival or route.login):
            await admission.arrive(request.address, login=route.login)

    async def _answer(self, target: Target, request: Request, receive: Receive) -> Reply:
        """The reply of a route, its caller identified and admitted."""
        route, dialect = target.route, target.dialect
        if self._asks_on_arrival or route.login:
            await self._arrive(route, request)
        if dialect.prepare is not None:
            dialect.prepare(request)
        if route.public:
            return await self._carry_out(route, request, receive, min(self._max_body, _MAX_PUBLIC_BODY_BYTES))
        credentials = dialect.credentials(request)
        identity = self._authenticator.known(credentials)
        if identity is None:
            identity = await self._authenticator.identify(credentials)
        request.identity = identity
        admission = self._admission
        if admission is None or not (admission.asks_callers or identity.limits is not None):
            return await self._carry_out(route, request, receive, self._max_body)
        await admission.enter(identity, request.address)
        try:
            reply = await self._carry_out(route, request, receive, self._max_body)
        except BaseException:
            admission.leave(identity, len(request.body))
            raise
        if reply.stream is None:
            admission.leave(identity, len(request.body) + len(reply.body))
        else:
            reply.done = lambda sent: admission.leave(identity, len(request.body) + sent)
        return reply

    async def _carry_out(self, route: Route, request: Request, receive: Receive, limit: int) -> Reply:
        """The reply of a route to an admitted request, whose body is read here."""
        request.body = body = await _read(request.headers, receive, limit)
        if route.handle is not None:
            return await route.handle(request)
        if route.decode is None or route.encode is None:
            raise InternalError(f"the route {route.name} does nothing")
        if route.streams:
            return await self._begin(route.decode, route.encode, request)
        if len(body) < _LARGE_BYTES:
            operation = route.decode(request)
        else:
            operation = await asyncio.to_thread(route.decode, request)
        result = await self._service.execute(operation, request.identity)
        if _is_large(result):
            return await asyncio.to_thread(route.encode, result, request)
        return route.encode(result, request)

    async def _begin(self, decode: Decode, encode: Encode, request: Request) -> Reply:
        """The beginning of a reply that goes on."""
        operation = decode(request)
        if self._streams >= self._max_streams:
            raise TooManyRequests(
                f"too many streams at once: the limit of this process is {self._max_streams}",
                headers={"Retry-After": "10"},
            )
        self._streams += 1
        try:
            return encode(await self._service.execute(operation, request.identity), request)
        except BaseException:
            self._streams -= 1
            raise

    def _known(self, error: Exception) -> DoorleafError:
        if isinstance(error, DoorleafError):
            if error.status >= 500 and error.__cause__ is not None:
                LOG.warning("%s, because of %s", error.code, type(error.__cause__).__name__)
            return error
        LOG.error("internal error", exc_info=error)
        return InternalError(f"internal error; the log has it under request id {REQUEST_ID.get()}")

    async def _pour(
        self, reply: Reply, request: Request, dialect: Dialect, scope: Message, receive: Receive, send: Send
    ) -> None:
        """Send a reply that goes on."""
        assert reply.stream is not None  # noqa: S101  # what brought us here
        extensions = scope.get("extensions") or {}

        async def require() -> None:
            if await self._authenticator.identify(dialect.credentials(request)) is not request.identity:
                raise Unauthenticated("the rights of the caller have changed; ask again")

        sent = 0
        brief = request.method == "HEAD"
        try:
            headers = [(b"content-type", reply.content_type), (b"x-request-id", request.id.encode()), *reply.headers]
            if self._cors is not None:
                headers += self._cors.headers(request)
            await send({"type": "http.response.start", "status": reply.status, "headers": headers})
            sent = await pour(
                reply.stream, receive, send, require=require, draining=lambda: brief or bool(extensions.get(DRAINING))
            )
        finally:
            self._streams -= 1
            if reply.done is not None:
                reply.done(sent)

    async def _send(self, reply: Reply, request: Request, scope: Message, send: Send) -> None:
        headers: Headers = [
            (b"content-type", reply.content_type),
            (b"content-length", b"%d" % len(reply.body)),
            (b"x-request-id", request.id.encode()),
        ]
        if reply.status == 204:
            del headers[:2]
        if reply.headers:
            headers += reply.headers
        elif self._cors is None and request.method == "POST" and (extensions := scope.get("extensions")):
            answer = extensions.get(WHOLE_ANSWER)
            if answer is not None and answer(reply.status, headers, reply.body):
                return
        if self._cors is not None:
            headers += self._cors.headers(request)
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if request.method == "HEAD" else reply.body})

    async def _live(self, receive: Receive, send: Send) -> None:
        """The lifespan protocol: open before the first request, close after the last."""
        await receive()
        try:
            if self._startup is not None:
                await self._startup()
        except Exception as error:
            known = isinstance(error, DoorleafError)
            LOG.error("cannot start: %s", error if known else type(error).__name__, exc_info=None if known else error)
            await send({"type": "lifespan.startup.failed", "message": ""})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        try:
            if self._shutdown is not None:
                await self._shutdown()
        except Exception:
            LOG.exception("closing failed")
            await send({"type": "lifespan.shutdown.failed", "message": ""})
            return
        await send({"type": "lifespan.shutdown.complete"})


def _joined(listed: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Headers with repeated names joined by commas; those that must be single are refused."""
    joined: dict[bytes, bytes] = {}
    for name, value in listed:
        if name in joined:
            if name in _SINGLE:
                raise InvalidParameter(f"the header {name.decode()} came twice")
            value = joined[name] + b", " + value
        joined[name] = value
    return joined


async def _read(headers: Mapping[bytes, bytes], receive: Receive, limit: int) -> bytes:
    """The body, decompressed. Raises PayloadTooLarge as soon as it is known to be above ``limit`` bytes."""
    length = headers.get(b"content-length")
    if length is not None and (len(length) > 15 or not length.isdigit() or int(length) > limit):
        raise _too_large(limit)
    message = await receive()
    if message["type"] == "http.disconnect":
        raise _Gone
    body: bytes = message.get("body", b"")
    if message.get("more_body", False):
        body = await _rest(bytearray(body), receive, limit)
    elif len(body) > limit:
        raise _too_large(limit)
    encoding = headers.get(b"content-encoding")
    if encoding is not None and encoding.lower() != b"identity":
        return _decompressed(body, encoding, limit)
    return body


async def _rest(body: bytearray, receive: Receive, limit: int) -> bytes:
    while len(body) <= limit:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Gone
        body += message.get("body", b"")
        if not message.get("more_body", False) and len(body) <= limit:
            return bytes(body)
    raise _too_large(limit)


def _decompressed(body: bytes, encoding: bytes, limit: int) -> bytes:
    if encoding.lower() not in (b"gzip", b"x-gzip"):
        name = encoding[:40].decode("latin-1")
        raise Unsupported(f"content-encoding: {name!r} is not supported; send gzip, or nothing")
    inflate = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        content = inflate.decompress(body, limit + 1)
    except zlib.error:
        raise InvalidParameter("the body is not valid gzip") from None
    if len(content) > limit:
        raise _too_large(limit)
    if not inflate.eof or inflate.unused_data:
        raise InvalidParameter("the body is not valid gzip")
    return content


def _too_large(limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"the body is larger than {limit} bytes")


def _is_large(result: Result) -> bool:
    if type(result) is DocumentResult:
        return type(result.document) is bytes and len(result.document) >= _LARGE_BYTES
    if type(result) is DocumentsResult:
        documents = result.documents
        if documents.decoded is not None:  # their bytes are not there, and counting them would make them
            return len(documents.decoded) >= _MANY_DOCUMENTS
        return sum(map(len, documents.batches)) >= _LARGE_BYTES
    return type(result) is DistinctResult and len(result.values) >= _MANY_DOCUMENTS


class _Cors:
    """Which browser pages may call: answers preflights and marks replies."""

    def __init__(self, origins: Collection[str]) -> None:
        self._any = "*" in origins
        self._origins = frozenset(origin.encode("latin-1", "replace") for origin in origins)

    def _allows(self, origin: bytes | None) -> bool:
        return origin is not None and (self._any or origin in self._origins)

    def headers(self, request: Request) -> list[tuple[bytes, bytes]]:
        origin = request.headers.get(b"origin")
        marks = [(b"vary", b"Origin")]
        if origin is not None and self._allows(origin):
            marks.append((b"access-control-allow-origin", b"*" if self._any else origin))
            marks.append((b"access-control-expose-headers", b"X-Request-Id, Retry-After, RateLimit, RateLimit-Policy"))
        return marks

    def preflight(self, request: Request) -> Reply | None:
        """The answer to a preflight; None for an OPTIONS that is none."""
        origin = request.headers.get(b"origin")
        if origin is None or b"access-control-request-method" not in request.headers:
            return None
        if not self._allows(origin):
            raise PermissionDenied("pages of this origin may not call; the setting cors_origins lists those that may")
        allowed = (
            (b"access-control-allow-methods", b"GET, POST, PUT, PATCH, DELETE"),
            (
                b"access-control-allow-headers",
                b"Authorization, apiKey, api-key, email, password, jwtTokenString, Content-Type, Accept, X-Request-Id",
            ),
            (b"access-control-max-age", b"600"),
        )
        return Reply(204, headers=allowed)
