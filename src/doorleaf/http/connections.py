"""Connections as they come off the socket: bounds on what a client may leave unsaid or unread, and how long.

Everything a client does has an end here: a head, a body, trailers, reading the answer, saying nothing. One look at
all connections every second sees to it, so that a request costs no timer.
"""

from __future__ import annotations

import logging
import os
from asyncio import Task, Transport
from collections.abc import Awaitable, Callable
from typing import Any, cast
from weakref import WeakKeyDictionary

import uvicorn
from httptools import HttpParserError, HttpParserUpgrade
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
from uvicorn.server import ServerState

from doorleaf.http import answers
from doorleaf.http.bounds import ConnectionBounds, Door
from doorleaf.http.compression import Headers, Pieces
from doorleaf.http.exchange import Exchange
from doorleaf.http.marks import DRAINING, READING, WHOLE_ANSWER
from doorleaf.http.offers import PassingOver
from doorleaf.http.ordinary import Fields, Ordinary, scope_of, whole
from doorleaf.observability import REQUEST_ID

KNOWN = "0.54."
"""The version of uvicorn whose insides are known: :class:`Connection` replaces some of them."""

HEAD_BYTES = 64 * 1024
"""Most bytes that a request may have before its body, between two parts of it, and behind it."""

HEAD_SECONDS, SILENCE_SECONDS = 30.0, 20.0
"""How long a head may take in all, and how long a client may say nothing in a request or on a new connection."""

BODY_BYTES_PER_SECOND = 500
"""How fast a body has to come on average, after its first :data:`SILENCE_SECONDS`."""

PARTS = 2_000
PART_BYTES = 16
"""How many parts of a body may come before they have to be this long on average: each takes as long as a long one."""

READ_BYTES = 4 * 1024
"""Most that is read at once of what is no plain body: of more, that of one connection is, and then others have their
turn. Many short lines take long."""

PIPELINED = 256
"""Most requests that may wait behind another one on its connection."""

FRESH_SECONDS = 1.0
"""How long a new connection has to bring its first request while others need its place."""

LINGERING_SECONDS = 30.0
LINGERING_SILENCE = 2.0
LINGERING_BYTES = 64 * 1024 * 1024
"""How long, and how much, what still comes is read and dropped after an early answer, so that the client gets it:
closing at once would take it away from who is still sending."""

SHORT_BYTES = 256 * 1024
"""The longest body that is read to its end after an early answer, so that the connection can be used again."""

LOOK_SECONDS = 1.0
"""How often somebody looks whether clients keep their times."""

_HEAD_END = b"\r\n\r\n"
_CODES = {
    400: "BadRequest",
    408: "RequestTimeout",
    429: "TooManyConnections",
    431: "HeaderFieldsTooLarge",
    503: "TooManyConnections",
}
_DOORS: WeakKeyDictionary[ServerState, Door] = WeakKeyDictionary()

LOG = logging.getLogger("doorleaf")


def protocol() -> Any:
    """The protocol of HTTP for uvicorn: :class:`Connection`, or uvicorn's own where its insides are not known."""
    if uvicorn.__version__.startswith(KNOWN):
        return Connection
    LOG.warning(
        "uvicorn %s is not known here (%sx is): connections have uvicorn's own bounds alone", uvicorn.__version__, KNOWN
    )
    return "httptools"


class Connection(PassingOver):
    """A connection of one client, with HTTP/1.1 requests one after another."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        bounds = getattr(self.app, "bounds", None) or ConnectionBounds()
        self.lenient = bounds.lenient_lines
        self.parser = self.new_parser()
        self._chunked = False  # whether the request at hand has a transfer encoding
        self.door = door = _DOORS.setdefault(self.server_state, _DOORS.get(self.server_state) or Door(bounds))
        door.follow(bounds)
        self.counted = ""
        self._head = 0  # bytes so far of a head that is not complete
        self._body = self._length = 0  # bytes of the body so far, and those that it is said to have
        self._parts = 0  # in how many chunks they came; one in each piece of the network's is free
        self._framing = 0  # bytes since the last of the body: sizes of chunks and their extensions, trailers
        self._held = bytearray()  # what waits to be read
        self._over = False  # no further request is read
        self._lingers_since: float | None = None
        self._dropped = 0
        self._heard = self._began = self._idle = 0.0
        self._running: Exchange | None = None
        self._task: Task[None] | None = None

    # --- the life of a connection ------------------------------------------------------------------------------------

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.sending = answers.Sending(self.loop, transport, self.flow, self.door)
        self._heard = self._idle = self.loop.time()
        door = self.door
        if not door.swept:
            door.swept = True
            self.loop.call_later(LOOK_SECONDS, _look_at_all, self.loop.time, self.connections, door)
        if door.is_full(len(self.connections)) and not self._make_room():
            self._refuse(503, "too many connections; come back in a moment")
            return
        counted = door.enter(self.client[0] if self.client else "")
        if counted is None:
            self._refuse(429, "too many connections from this address")
        else:
            self.counted = counted
            door.fresh[self] = self._idle

    def _make_room(self) -> bool:
        """End the connection on which nothing has happened for the longest."""
        ended: Connection | None = self.door.ended_for_another(self.loop.time() - FRESH_SECONDS)
        if ended is None:
            return False
        ended.transport.close()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.door.leave(self.counted)
        self._is_in_use()
        super().connection_lost(exc)
        self.sending.lost()
        cycle = self._running
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.tell()
            # Nobody waits for what it reads any more; a write is carried through.
            if self._task is not None and cycle.scope.get(READING):
                self._task.cancel()
        # What knows the connection it knows itself: a circle that only the collector would find.
        self._running = self._task = None
        self.cycle = None  # type: ignore[assignment]  # as it was before the first request
        self._held.clear()
        self.pipeline.clear()

    def shutdown(self) -> None:
        super().shutdown()
        for cycle in (self._running, self.cycle):
            if cycle is not None:
                scope: Any = cycle.scope
                scope.get("extensions", {})[DRAINING] = True

    def is_idle(self) -> bool:
        """Whether a request has been answered here and no other has begun."""
        return (
            self.cycle is not None
            and self.cycle.scope is self.scope
            and self.cycle.response_complete
            and not self.cycle.more_body
            and not self.pipeline
            and not self.transport.is_closing()
        )

    def _is_in_use(self) -> None:
        self.door.fresh.pop(self, None)
        self.door.idle.pop(self, None)

    # --- what comes --------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        self._heard = self.loop.time()
        if self._over:
            self._drop(len(data))
        elif not (self._head or self._framing or self._held) and (came := whole(self, data)) is not None:
            self._begin(*came)
        elif self._held or (len(data) > READ_BYTES and not self._is_plain(len(data))):
            if not self._held:
                self.door.rounds.add(self)
            self._held += data
            self.flow.pause_reading()
        else:
            self._read(data)

    def _is_plain(self, size: int) -> bool:
        """Whether so many bytes are nothing but a part of a body whose length is known."""
        return self._in_body() and not self._chunked and self._body + size <= self._length

    def read_some(self, most: int) -> int:
        """Read all that waits: where a request in it ends is known when it has been read."""
        data, self._held = bytes(self._held), bytearray()
        if self._over:  # since it came
            self._drop(len(data))
        elif data and not self.transport.is_closing():
            self.flow.resume_reading()
            self._read(data)
        return len(data)

    def _read(self, data: bytes) -> None:
        in_body = self._in_body()
        if not in_body and len(data) + self._head > HEAD_BYTES and self._head_is_too_long(data):
            self._refuse(431, f"what comes before the body is longer than {HEAD_BYTES} bytes")
            return
        body = self._body
        self._parts -= self._parts > 0
        try:
            self.feed(data)
        except HttpParserError:
            what = "this is not a valid HTTP/1.1 request"
            if self._is_crumbs():
                what = "the body comes in too many small chunks"
            self._refuse(400, what)
            return
        except HttpParserUpgrade:
            self._is_in_use()  # nor will it be idle again: the session is another's
            self.handle_websocket_upgrade()
            return
        if self._in_head():
            if not self._head:
                self._began = self._heard
            self._head += len(data)
            return
        self._head = 0
        if self._in_body():
            if not in_body:
                self._began = self._heard
            self._framing = 0 if self._body != body else self._framing + len(data)
            if self._framing > HEAD_BYTES:
                self._refuse(431, f"more than {HEAD_BYTES} bytes have come between two parts of the body, or behind it")

    def _begin(self, target: bytes, fields: Fields, body: bytes) -> None:
        """Have a request answered that came whole."""
        self.headers = fields
        self.expect_100_continue = False
        self._body, self._parts = len(body), 0
        self.cycle = cycle = Ordinary(self, target, fields, body)
        self.scope = cycle.scope
        self._is_in_use()
        self._start_asgi_task(cycle, self.app)

    def _drop(self, size: int) -> None:
        """What comes after the last answer of a connection."""
        self._dropped += size
        if self._dropped > LINGERING_BYTES:
            self.transport.abort()

    def on_message_begin(self) -> None:
        if self.again:
            return
        if len(self.pipeline) >= PIPELINED:
            raise ValueError("too many requests at once")
        self.url = b""
        self.expect_100_continue = False
        self.headers = []
        self.scope = {"type": "http", "headers": self.headers}  # type: ignore[typeddict-item]  # the rest comes later
        self._body = self._framing = self._parts = self._length = 0
        self._chunked = self._host = False

    def on_header(self, name: bytes, value: bytes) -> None:
        cycle = self.cycle
        if cycle is not None and cycle.scope is self.scope:
            return  # a trailer: nobody asked for it; or a head that is read again
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        elif name == b"transfer-encoding":
            if value.strip(b" \t").lower() != b"chunked":
                raise ValueError("a transfer encoding that is not known")
            self._chunked = True
        elif name == b"host":
            self._host = True
        elif name == b"content-length" and value.isdigit():
            self._length = int(value[:18])
        self.headers.append((name, value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        if self.again:
            return
        parser = self.parser
        version = parser.get_http_version()
        if not (self._host if version == "1.1" else version == "1.0" and not self._chunked):  # RFC 9112, 2.3, 3.2, 6.1
            raise ValueError("another version, or no Host")
        scope: Any = self.scope
        scope |= scope_of(self, self.url, self.headers, version, parser.get_method().decode("ascii"))
        if parser.should_upgrade() and self._should_upgrade():
            return
        before = self.cycle
        self.cycle = cycle = Exchange(self, scope, keep_alive=version != "1.0" and parser.should_keep_alive())
        scope["extensions"] = {WHOLE_ANSWER: cycle}
        self._is_in_use()
        if before is None or before.response_complete:
            self._start_asgi_task(cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self.app))

    def on_body(self, body: bytes) -> None:
        self._body += len(body)
        self._parts += 1
        if self._parts > PARTS and self._is_crumbs():
            raise ValueError("too many small chunks")
        super().on_body(body)

    def _is_crumbs(self) -> bool:
        return self._parts > PARTS and self._parts * PART_BYTES > self._body

    def _in_head(self) -> bool:
        return self.scope is not None and (self.cycle is None or self.cycle.scope is not self.scope)

    def _in_body(self) -> bool:
        cycle = self.cycle
        return cycle is not None and cycle.more_body and cycle.scope is self.scope

    def _head_is_too_long(self, data: bytes) -> bool:
        end = data.find(_HEAD_END)
        if self.lenient and (other := data.find(b"\n\n")) >= 0:
            end = other if end < 0 else min(end, other)
        return self._head + (len(data) if end < 0 else end) > HEAD_BYTES

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Callable[..., Any]) -> None:
        exchange = cast("Exchange", cycle)
        exchange.task = task = self.loop.create_task(exchange.run(app, self.tasks))
        self.tasks.add(task)
        self._running, self._task = exchange, task

    # --- what goes ---------------------------------------------------------------------------------------------------

    def answer(self, cycle: Exchange, status: int, headers: Headers, body: bytes | Pieces) -> Awaitable[None] | None:
        """Write a whole answer; what to wait for when the client does not take it at once.

        ``headers`` are trusted and have the length of ``body``, or say that it comes in chunks.
        """
        if cycle.disconnected:
            return None
        if cycle.more_body and not _is_short(cycle):
            cycle.keep_alive = False  # what is left of the request is not read, so nothing can follow it
        cycle.waiting_for_100_continue = False
        if isinstance(body, Pieces) and not body.chunked:
            cycle.keep_alive = False
        head = answers.head(status, (*cycle.default_headers, *headers), keep_alive=cycle.keep_alive)
        cycle.response_started = True
        if isinstance(body, Pieces) or len(body) > answers.WHOLE_BYTES or self.flow.write_paused:
            return self._send(cycle, head, body)
        self.sending.write_both(head, body)
        self._complete(cycle)
        return None

    async def _send(self, cycle: Exchange, head: bytes, body: bytes | Pieces) -> None:
        sending = self.sending
        try:
            whole = await (sending.each_of(head, body) if isinstance(body, Pieces) else sending.all_of(head, body))
        except BaseException:
            self.transport.abort()  # what was sent of it must not look like all of it
            raise
        if whole:
            self._complete(cycle)
        else:
            cycle.disconnected = True

    def _complete(self, cycle: Exchange) -> None:
        cycle.response_complete = True
        cycle.tell()
        if not cycle.keep_alive:
            if self._over or (self._in_body() and cycle is self.cycle):
                self._linger()
            else:
                self.transport.close()
        cycle.on_response()

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        self._running = self._task = None
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self._idle = self.loop.time()
            self.door.idle[self] = None

    def _refuse(self, status: int, message: str) -> None:
        """Answer and close: what follows on this connection could not be told apart from this request.

        Requests that came whole before this one have their answers first, and theirs are the last.
        """
        self._over = True
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete and not cycle.more_body:
            cycle.keep_alive = False
            return
        if self.pipeline:  # the last of them is the one that is wrong
            self.pipeline.popleft()
            before = self.pipeline[0][0] if self.pipeline else self._running
            if before is not None:
                before.keep_alive = False
                return
        request_id = os.urandom(11).hex()
        if cycle is None or cycle.response_complete or not cycle.response_started:
            self.sending.write(answers.refusal(status, _CODES[status], message, request_id))
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cast("Exchange", cycle).tell()
        self._linger()
        address = self.client[0] if self.client else "-"
        REQUEST_ID.set(request_id)
        LOG.info("connection %d %s from %s", status, _CODES[status], address)

    def _linger(self) -> None:
        """Say that nothing more goes, and read on for a while what nobody wants."""
        self._over = True
        self._lingers_since = self.loop.time()
        self.flow.resume_reading()
        if not self.transport.is_closing() and self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()

    # --- the time that clients take ----------------------------------------------------------------------------------

    def look(self, now: float) -> None:
        """End what takes too long."""
        if self.sending.is_stuck(now, streams=self._streams()):
            self.transport.abort()
        elif self.transport.is_closing():
            return
        elif self._lingers_since is not None:
            if now - self._heard > LINGERING_SILENCE or now - self._lingers_since > LINGERING_SECONDS:
                self.transport.close()
        elif not self._is_ours():
            self._look_at_request(now)

    def _look_at_request(self, now: float) -> None:
        cycle, silent = self.cycle, now - self._heard > SILENCE_SECONDS
        if self._in_head():
            if silent or now - self._began > HEAD_SECONDS:
                self._refuse(408, "the rest of the request did not come in time")
        elif self._in_body():
            if self.flow.read_paused:  # it is us who make the client wait
                self._heard, self._began = now, self._began + LOOK_SECONDS
            elif silent or self._body < (now - self._began - SILENCE_SECONDS) * BODY_BYTES_PER_SECOND:
                if cycle.response_started:
                    self.transport.close()
                else:
                    self._refuse(408, "the rest of the request did not come in time")
        elif now - self._idle > (SILENCE_SECONDS if cycle is None else self.timeout_keep_alive):
            self.transport.close()

    def _is_ours(self) -> bool:
        """Whether a request has come whole and is being answered, or something waits to be read."""
        cycle = self.cycle
        if not (
            self._held or self.pipeline or (cycle is not None and not cycle.response_complete and not cycle.more_body)
        ):
            return False
        self._heard = self._began = self.loop.time()
        return True

    def _streams(self) -> bool:
        cycle = self._running
        return cycle is not None and cycle.chunked_encoding is True and not cycle.response_complete

    def timeout_keep_alive_handler(self) -> None:
        """Nothing: :meth:`look` does it."""


def _look_at_all(clock: Callable[[], float], connections: set[Any], door: Door) -> None:
    now = clock()
    for connection in tuple(connections):
        try:
            connection.look(now)
        except Exception:  # one must not keep the others from being looked at, ever after
            LOG.exception("a connection is ended")
            connection.transport.abort()
    if not connections:
        door.swept = False
        return
    loop = next(iter(connections)).loop
    loop.call_later(LOOK_SECONDS, _look_at_all, clock, connections, door)


def _is_short(cycle: RequestResponseCycle) -> bool:
    """Whether the body is short enough to be read to its end although nobody wants it."""
    length = dict(cycle.scope["headers"]).get(b"content-length", b"")
    return length.isdigit() and int(length) <= SHORT_BYTES
