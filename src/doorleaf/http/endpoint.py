"""The ASGI endpoint: one raw callable that takes a request through its life.

Route, identify, read the body, decode, execute, encode, reply; every error becomes a reply of the route's dialect.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import Any, Protocol

from doorleaf.access.addresses import neighbourhood, unmapped
from doorleaf.access.audit import DENIED
from doorleaf.access.callers import Caller, Credentials, Identity
from doorleaf.access.limits.admission import Admission, writes
from doorleaf.access.limits.rates import Streams
from doorleaf.apart import CODING, SMALL_BYTES, TURN, time_limit
from doorleaf.dialects.base import Decode, Dialect, Encode, Later, Reply, Request, Route
from doorleaf.dialects.routes import Routes, Target
from doorleaf.ejson import require_few
from doorleaf.errors import (
    DoorleafError,
    InternalError,
    RequestError,
    Unsupported,
    let_go,
)
from doorleaf.http import faults
from doorleaf.http.body import Gone, Message, Receive, Send, check_length, decompressed, read
from doorleaf.http.bounds import ConnectionBounds
from doorleaf.http.cors import PREFLIGHT, Cors
from doorleaf.http.heads import id_of, joined_headers, repeated_headers, segments
from doorleaf.http.lifespan import lives
from doorleaf.http.marks import DRAINING, READING
from doorleaf.http.memory import MEMORY, Bodies, Coming, is_small
from doorleaf.http.sending import send_whole
from doorleaf.http.short import Short, Whole, answer_of, sends_short, short_ways
from doorleaf.http.streams import Identifying, held, listening, live, taking, while_let_in
from doorleaf.http.uploads import Upload
from doorleaf.http.websocket import Sessions
from doorleaf.observability import LOG, REQUEST_ID, Answered, Observer
from doorleaf.operations import Aggregate, Effect, Operation
from doorleaf.service import DataService

GONE, _LEFT = 499, "ClientGone"
"""The status and the code that logs and metrics have for a request whose client left before its answer."""

MAX_BODY_BYTES = 16 * 1024 * 1024 + 64 * 1024
_MAX_PUBLIC_BODY_BYTES = 1024 * 1024 + 64 * 1024
"""A login may bring a token of a million characters."""
_PUBLIC_VALUES = 10_000
_HANDLED_VALUES = 100_000
"""How many values the body of a request that is no operation may have: it is read on the event loop."""

_WEIGHED_BYTES = 8 * 1024
"""From here on what is read from a body is counted."""

_LARGE_BODY = 64 * 1024
"""From here on a body is read in a thread."""

_LARGE_BYTES = 256 * 1024
_MANY_DOCUMENTS = 500
"""From here on an answer is written in a thread, so that other requests go on."""

_DECODING_SECONDS = 30.0
"""What reading a body may take: only then is it known how much time its operation has."""

_PREFIX = re.compile(rb"(?=.{1,200}$)(/[A-Za-z0-9._~!$&'()*+,;=:@-]+)+/?")


class Authenticator(Identifying, Protocol):
    """Who knows the callers; ``known`` answers from memory."""

    def known(self, credentials: Credentials, surface: str = "") -> Identity | None: ...


class Endpoint:
    """The ASGI application.

    ``observers`` are told of every answer, ``of_failures`` of those that tell of an error; ``startup`` and ``shutdown``
    bound its life; ``origins`` are those whose pages may call from a browser; ``admission`` limits and audits requests;
    ``bounds`` are for the server's connections.
    """

    def __init__(
        self,
        *,
        dialects: Iterable[Dialect],
        service: DataService,
        authenticator: Authenticator,
        observers: Iterable[Observer] = (),
        of_failures: Iterable[Observer] = (),
        startup: Callable[[], Awaitable[None]] | None = None,
        shutdown: Callable[[], Awaitable[None]] | None = None,
        max_body_bytes: int = MAX_BODY_BYTES,
        body_memory: int = MEMORY,
        max_streams: int = 100,
        origins: Collection[str] = (),
        admission: Admission | None = None,
        bounds: ConnectionBounds | None = None,
    ) -> None:
        self.bounds = bounds
        """What our own server lets connections take."""
        self.dialects = tuple(dialects)
        self._routes = Routes(self.dialects)
        self._nowhere = Target(Route("*", "", "unmatched"), Dialect("none", ()))
        self._service = service
        self._authenticator = authenticator
        self._observers, self._of_failures = tuple(observers), tuple(of_failures)
        self._startup = startup
        self._shutdown = shutdown
        self._max_body = max_body_bytes
        self._cors = Cors(origins) if origins else None
        self._admission = admission
        self._audit = admission.audit if admission is not None and admission.audit.on else None
        self._asks_on_arrival = admission is not None and admission.asks_on_arrival
        self._locates = self._audit is not None or (admission is not None and admission.locates)
        alone = self._cors is None and not (self._locates or self._asks_on_arrival)
        asks_callers = admission is not None and admission.asks_callers
        self._short = {} if asks_callers or not alone else short_ways(self._routes)
        """By the bytes of their paths, the routes that nobody has to be asked about."""
        self._short_bytes = min(max_body_bytes, _WEIGHED_BYTES - 1)
        self._streams = Streams(max_streams)
        self._bodies = Bodies(body_memory)
        self._retired = False
        asked = (self._locate, self._arrive, lambda: self._retired, self._tell)
        self._sessions = Sessions(self._routes, self._streams, admission, self._cors, authenticator, *asked)
        self.in_flight = 0
        """Requests whose answers are not sent."""
        self._id_prefix = os.urandom(6).hex()
        self._ids = itertools.count(1)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await lives(self, receive, send)
            return
        self.in_flight += 1
        try:
            if scope["type"] == "http":
                await self._respond(scope, receive, send)
            elif scope["type"] == "websocket":
                await self._sessions.serve(self._new_id(), self._nowhere, scope, receive, send)
        finally:
            self.in_flight -= 1

    # --- the short way ---

    def ordinary(self, came: Whole) -> Awaitable[None]:
        """Answer a request that came whole: the short way where nobody but its caller and its operation is asked."""
        headers, way = came.headers, self._short.get(came.target)
        if way is None or came.method != "POST" or b"content-encoding" in headers or len(headers) != len(came.fields):
            return self(came.asgi(), came.receive, came.send)
        started, request_id = perf_counter(), self._id_of(headers, b"")
        request = Request("POST", way.path, headers, came.address, request_id, started=started)
        return self._respond_short(came, way, request)

    async def _respond_short(self, came: Whole, way: Short, request: Request) -> None:
        """Answer a request as most are: :meth:`_respond` without what such a one does not need."""
        self.in_flight += 1
        REQUEST_ID.set(request.id)
        target, decode, encode, _ = way
        dialect, scope = target.dialect, came.scope
        try:
            try:
                credentials = dialect.credentials(request)
                identity = None if credentials is None else self._authenticator.known(credentials, dialect.name)
                if identity is None or identity.limits is not None or (body := came.take(self._short_bytes)) is None:
                    reply = await self._answer(target, request, came.receive, scope)
                else:
                    request.body, request.identity = body, identity
                    request.surface, request.shown = dialect.name, credentials
                    TURN.set(identity.turn)
                    reply = await self._operate(decode, encode, request, scope, request.started)
            except BaseException as error:
                if (failed := self._failed(error, target, request, scope)) is None:
                    return
                reply = failed
            if sends_short(reply, request, came):
                self._tell(target.route, request, reply)
            else:
                await self._finish(reply, request, target, scope, came.receive, came.send)
        finally:
            self.in_flight -= 1
            request.body = b""  # whatever began while it was answered remembers the request

    # --- the way of any request ---

    async def _respond(self, scope: Message, receive: Receive, send: Send) -> None:
        headers = dict(listed := scope["headers"])
        address = (scope.get("client") or ("",))[0]
        path, query = scope["path"], scope["query_string"]
        request_id = self._id_of(headers, path.encode("utf-8", "replace") + b"?" + query)
        request = Request(scope["method"], path, headers, address, request_id, query)
        request.started = perf_counter()
        REQUEST_ID.set(request.id)
        if b"%2" in scope.get("raw_path", b""):
            request.segments = segments(scope["raw_path"])
        target = self._nowhere
        try:
            if len(headers) != len(listed):
                request.headers, request.repeated = joined_headers(listed), repeated_headers(listed)
            if self._locates:
                self._locate(request)
            reply = None
            if self._cors is not None and request.method == "OPTIONS" and PREFLIGHT in request.headers:
                await self._arrive(target.route, request)  # who may not call learns no origin either
                reply = self._cors.preflight(request)
            if reply is None:
                try:
                    target = self._routes.find(request)
                except RequestError:
                    target = await self._lost(request)
                    raise
                reply = await self._answer(target, request, receive, scope)
        except BaseException as error:
            if (failed := self._failed(error, target, request, scope)) is None:
                return
            reply = failed
        await self._finish(reply, request, target, scope, receive, send)
        request.body = b""  # whatever began while it was answered remembers the request

    def _id_of(self, headers: Mapping[bytes, bytes], target: bytes) -> str:
        """The id that a request brings, or else a new one."""
        given = id_of(headers, target) if b"x-request-id" in headers else None
        return self._new_id() if given is None else given

    def _new_id(self) -> str:
        return f"{self._id_prefix}{next(self._ids):010x}"

    def _failed(self, error: BaseException, target: Target, request: Request, scope: Message) -> Reply | None:
        """The reply to a request that failed with ``error``; None where nobody waits for one. Raises what is no failure
        of a request."""
        if isinstance(error, Gone):
            return None
        if isinstance(error, asyncio.CancelledError):
            if (scope.get("extensions") or {}).get(DRAINING):
                return self._refused(faults.cut(), target, request)
            if not scope.get(READING):
                raise error
            self._tell(target.route, request, Reply(GONE, code=_LEFT))  # who left while it was read for
            let_go(error)
            return None
        if not isinstance(error, Exception):
            raise error
        reply = self._refused(faults.known(error), target, request)
        let_go(error)
        return reply

    async def _finish(
        self, reply: Reply, request: Request, target: Target, scope: Message, receive: Receive, send: Send
    ) -> None:
        """Send a reply, and tell of it."""
        answer = answer_of(scope)
        try:
            if reply.stream is not None:
                await self._pour(reply, request, scope, receive, send)
            elif reply.pieces is not None and isinstance(reply.pieces, AsyncIterator):
                require = listening(self._authenticator, request)
                reply.pieces = while_let_in(reply.pieces, require)
                await send_whole(reply, request, answer, send, self._cors, scope.get("http_version"))
            elif self._cors is not None or not sends_short(reply, request, answer):
                await send_whole(reply, request, answer, send, self._cors, scope.get("http_version"))
        except asyncio.CancelledError:
            if not scope.get(READING):
                raise
        self._tell(target.route, request, reply)

    async def _lost(self, request: Request) -> Target:
        """No route, in the dialect that has the path with another method; who may not call does not learn that."""
        await self._arrive(self._nowhere.route, request)
        return replace(self._nowhere, dialect=self._routes.dialect(request) or self._nowhere.dialect)

    def _refused(self, error: DoorleafError, target: Target, request: Request) -> Reply:
        """The reply that tells of ``error``; the audit is told of denials."""
        reply = target.dialect.error(error, request)
        if self._audit is not None and reply.status in DENIED and not request.audited:
            self._audit(target.route.name, error=error, by=request)
        reply.code, reply.reason = error.code, faults.reason(error) if error.status >= 500 else ""
        return reply

    def _tell(self, route: Route, request: Request, reply: Reply) -> None:
        """Tell the observers of an answer."""
        caller, upload, seconds = request.identity, request.upload, perf_counter() - request.started
        shown = "" if caller is None else caller.shown
        sizes = len(request.body) if upload is None else upload.received, reply.sent or len(reply.body)
        goes_on = (reply.stream is not None or reply.pieces is not None) and reply.goes_on
        who = shown, request.address, request.namespace
        event = Answered(route.name, reply.status, seconds, reply.code, *who, *sizes, reply.reason, goes_on)
        for observe in self._observers:
            observe(event)
        if reply.status >= 400 or reply.code:
            for observe in self._of_failures:
                observe(event)

    def _locate(self, request: Request) -> None:
        """Find out where a request comes from."""
        request.address = peer = unmapped(request.address)
        if self._admission is not None:
            prefix = request.headers.get(b"x-forwarded-prefix")
            if prefix is not None and _PREFIX.fullmatch(prefix) and self._admission.addresses.trusts(peer):
                request.prefix = prefix.rstrip(b"/").decode()
            forwarded = request.headers.get(b"x-forwarded-for")
            if forwarded is not None:
                request.address = self._admission.addresses.client(request.address, forwarded.decode("latin-1"))

    async def _arrive(self, route: Route, request: Request) -> None:
        admission = self._admission
        if admission is not None and not route.probe and (self._asks_on_arrival or route.login):
            await admission.arrive(request.address, login=route.login)

    async def _answer(self, target: Target, request: Request, receive: Receive, scope: Message) -> Reply:
        """The reply of a route, its caller identified and admitted.

        Who was let in leaves when the reply has been sent, not before: an answer that nobody reads is one in flight.
        """
        route, dialect = target.route, target.dialect
        if self._asks_on_arrival or route.login:
            await self._arrive(route, request)
        if dialect.prepare is not None:
            dialect.prepare(request)
        if route.public:
            limit = min(self._max_body, _MAX_PUBLIC_BODY_BYTES)
            return await self._carry_out(target, request, receive, limit, scope)
        credentials = dialect.credentials(request)
        if credentials is None:
            return await self._carry_out(target, request, receive, self._max_body, scope)
        identity = self._authenticator.known(credentials, dialect.name)
        if identity is None:
            identity = await self._authenticator.identify(credentials, dialect.name)
        request.identity, request.surface, request.shown = identity, dialect.name, credentials
        TURN.set(identity.turn)
        admission = self._admission
        if admission is None or not (admission.asks_callers or identity.limits is not None):
            return await self._carry_out(target, request, receive, self._max_body, scope)
        await admission.enter(identity, request.address)
        try:
            reply = await self._carry_out(target, request, receive, self._max_body, scope)
        except BaseException:
            admission.leave(identity, request.received)
            raise
        size, ended = request.received, reply.done

        def done(sent: int) -> None:
            if ended is not None:
                ended(sent)
            admission.leave(identity, size + sent)

        reply.done = done
        return reply

    async def _carry_out(self, target: Target, request: Request, receive: Receive, limit: int, scope: Message) -> Reply:
        """The reply of a route to an admitted request, whose body is read here, or by the route as it comes."""
        route = target.route
        if route.session is not None:
            raise Unsupported("this path is for WebSocket sessions (RFC 6455): ask to upgrade the connection")
        if route.reads == "stream" and route.handle is not None:
            check = taking(self._authenticator, request)
            request.upload = upload = Upload(request.headers, receive, route.limit or limit, check)
            try:
                return await self._held(await route.handle(request), request)
            finally:
                upload.let_go()
        if is_small(request.headers):
            body = None if (answer := answer_of(scope)) is None else answer.take(limit)
            request.body = await read(request.headers, receive, limit) if body is None else body
            return await self._reply(route, request, scope, None)
        check_length(request.headers, limit)
        stranger = route.public or request.identity is None  # who calls a function that needs no credentials
        turn = neighbourhood(request.address) if stranger else request.identity.turn
        scope[READING] = True
        coming = await self._bodies.let_in(request.headers, limit, turn, stranger=stranger)
        try:
            async with coming.reading():
                body = await read(request.headers, receive, limit, coming)
            request.body = body = await decompressed(request.headers, body, limit)
            coming.is_whole(len(body))
            scope[READING] = False
            return await self._reply(route, request, scope, coming)
        finally:
            coming.release()

    async def _reply(self, route: Route, request: Request, scope: Message, coming: Coming | None) -> Reply:
        """The reply of a route to a request whose body is there."""
        body = request.body
        if route.handle is not None:
            if len(body) >= SMALL_BYTES and not route.raw:
                require_few(body, _PUBLIC_VALUES if route.public else _HANDLED_VALUES)
            return await self._held(await route.handle(request), request)
        if route.decode is None or route.encode is None:
            raise InternalError(f"the route {route.name} does nothing")
        began = perf_counter()
        if len(body) < _WEIGHED_BYTES:
            return await self._operate(route.decode, route.encode, request, scope, began)
        room = await self._bodies.take(body, request.identity.turn)
        try:
            if coming is not None:
                coming.release()
            return await self._operate(route.decode, route.encode, request, scope, began)
        finally:
            room.release()

    async def _operate(self, decode: Decode, encode: Encode, request: Request, scope: Message, began: float) -> Reply:
        """The reply to an operation whose body is there since ``began``."""
        body = request.body
        if len(body) < _LARGE_BODY:
            operation = decode(request)
        else:
            operation = await CODING.run(_DECODING_SECONDS, decode, request)
        if isinstance(operation, Later):
            return await operation.reply()
        request.namespace = operation.namespace
        if operation.lasts:
            scope[READING] = True
            return await self._begin(operation, encode, request, began)
        scope[READING] = operation.effect is Effect.READ and (type(operation) is not Aggregate or not writes(operation))
        caller = Caller(request.identity, request, request.surface)
        result = await self._service.execute(operation, caller, len(body), perf_counter() - began)
        scope[READING] = False
        if result.is_large(_LARGE_BYTES, _MANY_DOCUMENTS):
            return await CODING.run(time_limit(operation) - (perf_counter() - began), encode, result, request)
        return encode(result, request)

    async def _begin(self, operation: Operation[Any], encode: Encode, request: Request, began: float) -> Reply:
        """The beginning of a reply that goes on, which has its place among the streams before anything is done."""
        leave = self._streams.enter(request.identity.shown, request.address)
        try:
            spent = perf_counter() - began
            result = await self._service.execute(operation, request.caller, len(request.body), spent)
            reply = encode(result, request)
        except BaseException:
            leave()
            raise
        reply.done = lambda sent: leave()
        return reply

    async def _held(self, reply: Reply, request: Request) -> Reply:
        """The reply of a handle: one that goes on takes its place among the streams, or ends where there is none."""
        if reply.goes_on:
            caller = request.address if request.identity is None else request.identity.shown
            await held(reply, partial(self._streams.enter, caller, request.address))
        return reply

    async def _pour(self, reply: Reply, request: Request, scope: Message, receive: Receive, send: Send) -> None:
        """Send a live reply."""
        extensions = scope.get("extensions") or {}
        brief = request.method == "HEAD"

        def draining() -> bool:
            return brief or self._retired or bool(extensions.get(DRAINING))

        headers = [(b"content-type", reply.content_type), (b"x-request-id", request.id.encode()), *reply.headers]
        if self._cors is not None:
            headers = self._cors.marked(headers, request)
        require = listening(self._authenticator, request)
        await live(reply, headers, receive, send, require=require, draining=draining)

    # --- life ---

    async def open(self) -> bool:
        """Open what requests need; False when that fails, which is logged."""
        try:
            if self._startup is not None:
                await self._startup()
        except Exception as error:
            known = isinstance(error, DoorleafError)
            LOG.error("cannot start: %s", error if known else type(error).__name__, exc_info=None if known else error)
            return False
        return True

    async def close(self) -> bool:
        """Close what :meth:`open` opened; False when that fails, which is logged."""
        try:
            if self._shutdown is not None:
                await self._shutdown()
        except Exception:
            LOG.exception("closing failed")
            return False
        return True

    @property
    def streams(self) -> int:
        """Replies that go on at this moment."""
        return self._streams.open

    def retire(self) -> None:
        """Let streams end in order, since another endpoint takes this one's place."""
        self._retired = True

    def reopen(self) -> None:
        """Open the audit file by its name again."""
        if self._audit is not None:
            self._audit.reopen()
