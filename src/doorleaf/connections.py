"""Connections as they come off the socket: bounds on what a client may leave unsaid, and JSON for what is no HTTP."""

from __future__ import annotations

import logging
import os
import re
from asyncio import TimerHandle, Transport
from functools import partial
from http import HTTPStatus
from typing import Any

import orjson
from httptools import HttpParserError, HttpParserUpgrade
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from doorleaf.http import DRAINING, WHOLE_ANSWER, Headers
from doorleaf.observability import REQUEST_ID

HEAD_BYTES = 64 * 1024
"""Most bytes that a request may have before its body."""

SILENCE_SECONDS = 20.0
"""How long a client may say nothing in the middle of a request, or on a new connection."""

WHOLE_BYTES = 64 * 1024
"""The longest body that is copied behind its head."""

_UPGRADE = re.compile(rb"\r\nupgrade:[ \t]*h2c[ \t]*(?=\r\n)", re.IGNORECASE)
_HEAD_END = b"\r\n\r\n"
_CODES = {400: "BadRequest", 408: "RequestTimeout", 431: "HeaderFieldsTooLarge"}

LOG = logging.getLogger("doorleaf")


class Connection(HttpToolsProtocol):
    """A connection of one client, with HTTP/1.1 requests one after another."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head = 0  # bytes so far of a head that is not complete
        self._over = False  # nothing more is read
        self._silence: TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._listen()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_listening()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._stop_listening()
        self._unset_keepalive_if_required()
        if self._over:
            return
        if not self._in_body():
            if len(data) + self._head > HEAD_BYTES and self._head_is_too_long(data):
                self._refuse(431, f"what comes before the body is longer than {HEAD_BYTES} bytes")
                return
            if b"h2c" in data:
                data = _without_upgrade(data)
        try:
            self.parser.feed_data(data)
        except HttpParserError:
            self._refuse(400, "this is not a valid HTTP/1.1 request")
            return
        except HttpParserUpgrade:
            if self._should_upgrade():
                self.handle_websocket_upgrade()
                return
        in_head = self._in_head()
        self._head = self._head + len(data) if in_head else 0
        if in_head or self._in_body():
            self._listen()

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        cycle = self.cycle
        if cycle is not None and cycle.scope is self.scope:
            scope: Any = cycle.scope
            scope["extensions"] = {WHOLE_ANSWER: partial(_answer, cycle)}

    def shutdown(self) -> None:
        super().shutdown()
        if self.cycle is not None:
            scope: Any = self.cycle.scope
            scope.get("extensions", {})[DRAINING] = True

    def _in_head(self) -> bool:
        return self.scope is not None and (self.cycle is None or self.cycle.scope is not self.scope)

    def _in_body(self) -> bool:
        cycle = self.cycle
        return cycle is not None and cycle.more_body and cycle.scope is self.scope

    def _head_is_too_long(self, data: bytes) -> bool:
        end = data.find(_HEAD_END)
        return self._head + (len(data) if end < 0 else end) > HEAD_BYTES

    # --- silence -----------------------------------------------------------------------------------------------------

    def _listen(self) -> None:
        if not self._over and not self.transport.is_closing():
            self._silence = self.loop.call_later(SILENCE_SECONDS, self._was_silent)

    def _stop_listening(self) -> None:
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None

    def _was_silent(self) -> None:
        self._silence = None
        cycle = self.cycle
        answering = self.pipeline or (cycle is not None and not cycle.response_complete and not cycle.more_body)
        if answering or self.flow.read_paused:  # it is us who make the client wait
            self._listen()
        elif self.scope is None or (self._in_body() and (cycle.response_started or cycle.response_complete)):
            self.transport.close()
        else:
            self._refuse(408, f"the rest of the request did not come within {SILENCE_SECONDS:g} seconds")

    def _refuse(self, status: int, message: str) -> None:
        """Answer and close: what follows on this connection could not be told apart from this request.

        Requests that came whole before this one have their answers first, and theirs are the last.
        """
        self._over = True
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete and not cycle.more_body:
            cycle.keep_alive = False
            return
        request_id = os.urandom(11).hex()
        body = orjson.dumps({"error": message, "error_code": _CODES[status]})
        head = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nx-request-id: {request_id}\r\nconnection: close\r\n\r\n"
        )
        if not self.pipeline and (cycle is None or cycle.response_complete or not cycle.response_started):
            self.transport.write(head.encode() + body)
        self.transport.close()
        address = self.client[0] if self.client else "-"
        REQUEST_ID.set(request_id)
        LOG.info("connection %d %s from %s", status, _CODES[status], address)


def _answer(cycle: RequestResponseCycle, status: int, headers: Headers, body: bytes) -> bool:
    """Write a whole answer at once, or answer False where the ordinary way has to.

    What it saves are two messages and a system call. ``headers`` are trusted and have the length of ``body``.
    """
    if cycle.disconnected or cycle.response_started or cycle.flow.write_paused or len(body) > WHOLE_BYTES:
        return False
    parts = [STATUS_LINE[status]]
    for name, value in (*cycle.default_headers, *headers):
        parts += (name, b": ", value, b"\r\n")
    if not cycle.keep_alive:
        parts.append(b"connection: close\r\n")
    parts += (b"\r\n", body)
    cycle.waiting_for_100_continue = False
    cycle.response_started = cycle.response_complete = True
    cycle.transport.write(b"".join(parts))
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()
    return True


def _without_upgrade(data: bytes) -> bytes:
    """``data`` whose head does not offer HTTP/2: the parser takes what follows such an offer for HTTP/2."""
    head, end, body = data.partition(_HEAD_END)
    return _UPGRADE.sub(b"", head + b"\r\n")[:-2] + end + body
