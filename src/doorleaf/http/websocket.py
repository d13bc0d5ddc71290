"""WebSocket sessions (RFC 6455): routes that talk with their callers for as long as these may and both want to."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from doorleaf.access.callers import Identity
from doorleaf.access.lasting import CHECK_SECONDS
from doorleaf.access.limits.admission import Admission
from doorleaf.access.limits.rates import Streams
from doorleaf.dialects.base import Dialect, Messages, Reply, Request, Route
from doorleaf.dialects.routes import Routes, Target
from doorleaf.errors import DoorleafError, NotFound, PermissionDenied
from doorleaf.http import faults
from doorleaf.http.body import Gone, Message, Receive
from doorleaf.http.cors import Cors
from doorleaf.http.heads import joined_headers
from doorleaf.http.streams import Identifying, Send
from doorleaf.observability import REQUEST_ID

MESSAGE_BYTES = 1024 * 1024
"""The longest message that a client may send."""

STALLED_SECONDS = 30.0
"""How long a client may take nothing of what it is sent."""

IDLE_SECONDS = 600.0
"""How long nobody may say anything; pings, which tell that somebody is there, are not counted."""

GONE = "doorleaf.gone"
"""An extension of our own server's: an event that is set when the connection is lost."""

TEXTS = "doorleaf.texts"
"""An extension of our own server's: sends several texts at once."""

Texts = Callable[[Messages], Awaitable[None]]

CLOSED, GOING, REFUSED, TOO_SLOW, FAILED, RESTARTING = 1000, 1001, 1008, 1008, 1011, 1012


class Session:
    """See :class:`doorleaf.dialects.base.Session`."""

    def __init__(self, receive: Receive, send: Send, texts: Texts | None = None) -> None:
        self._receive = receive
        self._send = send
        self._texts = texts
        self._closed = False
        self.spoke = asyncio.get_running_loop().time()
        self.received = self.sent = 0
        self.admitted: Callable[[str], None] = lambda caller: None

    async def receive(self) -> str | bytes:
        """The next message; raises Gone when there will be none."""
        message = await self._receive()
        if message["type"] != "websocket.receive":
            self._closed = True
            raise Gone
        self.spoke = asyncio.get_running_loop().time()
        text: str | None = message.get("text")
        said: str | bytes = message["bytes"] if text is None else text
        self.received += len(said)
        return said

    def __aiter__(self) -> Session:
        return self

    async def __anext__(self) -> str | bytes:
        try:
            return await self.receive()
        except Gone:
            raise StopAsyncIteration from None

    async def send(self, message: str | bytes) -> None:
        """Say something; raises Gone when nobody listens, or takes too long to."""
        kind = "text" if isinstance(message, str) else "bytes"
        await self._sent(self._send({"type": "websocket.send", kind: message}), len(message))

    async def send_all(self, messages: Messages) -> None:
        """Say several things, texts in UTF-8, as :meth:`send` does."""
        if self._texts is None:
            for message in messages:
                await self.send(message.decode())
            return
        await self._sent(self._texts(messages), sum(map(len, messages)))

    async def _sent(self, sending: Awaitable[None], size: int) -> None:
        try:
            async with asyncio.timeout(STALLED_SECONDS):
                await sending
        except (TimeoutError, OSError):
            raise Gone from None
        self.sent += size
        self.spoke = asyncio.get_running_loop().time()

    async def close(self, code: int = CLOSED, reason: str = "") -> None:
        """End the session; a second time does nothing."""
        if not self._closed:
            self._closed = True
            with contextlib.suppress(TimeoutError, OSError, RuntimeError):
                async with asyncio.timeout(STALLED_SECONDS):
                    told = reason.encode()[:120].decode(errors="ignore")  # RFC 6455, 5.5: 125 bytes with the code
                    await self._send({"type": "websocket.close", "code": code, "reason": told})


@dataclass(slots=True)
class Sessions:
    """The parts of their endpoint that sessions need. ``retired`` says that another endpoint has taken this one's
    place; ``tell`` is told of each that is over."""

    routes: Routes
    streams: Streams
    admission: Admission | None
    cors: Cors | None
    authenticator: Identifying
    locate: Callable[[Request], None]
    arrive: Callable[..., Awaitable[None]]
    retired: Callable[[], bool]
    tell: Callable[[Route, Request, Reply], None]

    async def serve(self, request_id: str, target: Target, scope: Message, receive: Receive, send: Send) -> None:
        """A session from its handshake to its end; what is wrong before is an answer as any other's."""
        code, status = "", 101
        REQUEST_ID.set(request_id)
        client = scope.get("client")
        address = client[0] if client else ""
        query = scope.get("query_string", b"")
        request = Request("GET", scope["path"], {}, address, request_id, query, started=perf_counter())
        await receive()  # websocket.connect
        session = Session(receive, send, (scope.get("extensions") or {}).get(TEXTS))
        accepted = False
        try:
            request.headers = joined_headers(scope["headers"])
            self.locate(request)
            target = self.routes.find(request)
            await self._meet(target, request)
            caller = await self._caller(target, request)
            with self._place(request, session, caller), contextlib.suppress(Gone):
                offered = scope.get("subprotocols") or ()
                agreed = next((name for name in target.route.protocols if name in offered), None)
                accept = {"type": "websocket.accept", "headers": [(b"x-request-id", request.id.encode())]}
                await send(accept if agreed is None else accept | {"subprotocol": agreed})
                accepted = True
                await self._talk(session, request, target, scope)
        except Exception as error:
            known = faults.known(error)
            code, status = known.code, known.status
            if accepted:
                await session.close(FAILED if known.status >= 500 else REFUSED, known.message)
            else:
                await _deny(known, request, target.dialect, send)
        finally:
            self.tell(target.route, request, Reply(status, sent=session.sent, code=code))

    async def _meet(self, target: Target, request: Request) -> None:
        """Find out who calls, and whether they may."""
        await self.arrive(target.route, request)
        if target.route.session is None:
            raise NotFound("no WebSocket session on this path")
        origin = request.headers.get(b"origin")
        if origin is not None and (self.cors is None or not self.cors.allows(origin)):
            raise PermissionDenied("pages of this origin may not call; the setting cors_origins lists those that may")
        if target.dialect.prepare is not None:
            target.dialect.prepare(request)
        identity = None if target.route.public else await self._identify(target.dialect, request)
        if identity is not None:
            if self.admission is not None:
                await self.admission.enter(identity, request.address)
            request.identity, request.surface = identity, target.dialect.name

    async def _identify(self, dialect: Dialect, request: Request) -> Identity | None:
        credentials = dialect.credentials(request)
        if credentials is None:
            return None
        return await self.authenticator.identify(credentials, dialect.name)

    async def _caller(self, target: Target, request: Request) -> str:
        """Whose place among the streams a session takes; "" where nobody has said who they are."""
        identity = request.identity
        if identity is None and target.route.public:
            with contextlib.suppress(DoorleafError):  # the route says what is wrong, in its own way
                identity = await self._identify(target.dialect, request)
        return "" if identity is None else identity.shown

    @contextmanager
    def _place(self, request: Request, session: Session, caller: str) -> Iterator[None]:
        """A place among the streams, for as long as the session lasts."""
        identity = request.identity
        leaving: list[Callable[[], None]] = []

        def admitted(caller: str) -> None:
            while leaving:
                leaving.pop()()
            leaving.append(self.streams.enter(caller, request.address))

        try:
            admitted(caller)
            session.admitted = admitted
            yield
        finally:
            while leaving:
                leaving.pop()()
            if self.admission is not None and identity is not None:
                self.admission.leave(identity, session.received + session.sent)

    async def _talk(self, session: Session, request: Request, target: Target, scope: Message) -> None:
        """Let the route talk; it is ended when its client has gone, or may not listen any more."""
        assert target.route.session is not None  # noqa: S101  # looked at before
        talking = asyncio.ensure_future(target.route.session(request, session))
        try:
            await self._watch(talking, session, request, target, scope)
        finally:
            if not talking.done():
                talking.cancel()
                await asyncio.wait({talking})
        if not talking.cancelled():
            talking.result()
        await session.close()

    async def _watch(
        self, talking: asyncio.Future[None], session: Session, request: Request, target: Target, scope: Message
    ) -> None:
        event = (scope.get("extensions") or {}).get(GONE)
        gone = None if event is None else asyncio.ensure_future(event.wait())
        waited: set[asyncio.Future[Any]] = {talking} if gone is None else {talking, gone}
        try:
            while not talking.done():
                await asyncio.wait(waited, timeout=CHECK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                if gone is not None and gone.done():
                    return None
                if self.retired():
                    return await session.close(RESTARTING, "the settings of the server have changed; connect again")
                silent = asyncio.get_running_loop().time() - session.spoke
                if silent > IDLE_SECONDS and not target.route.listens:
                    return await session.close(GOING, "nothing was said for too long")
                if request.identity is not None:
                    identity = await self._identify(target.dialect, request)
                    if identity is None or identity.version != request.identity.version:
                        return await session.close(REFUSED, "the rights of the caller have changed; connect again")
        finally:
            if gone is not None:
                gone.cancel()
        return None


async def _deny(error: DoorleafError, request: Request, dialect: Dialect, send: Send) -> None:
    """Answer a handshake with an error, in the envelope of its dialect."""
    reply = dialect.error(error, request)
    headers = [
        (b"content-type", reply.content_type),
        (b"content-length", b"%d" % len(reply.body)),
        (b"x-request-id", request.id.encode()),
        *reply.headers,
    ]
    await send({"type": "websocket.http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": reply.body})
