"""Writing answers: heads, and bodies to clients that read as slowly as they like, but not for ever."""

from __future__ import annotations

from asyncio import AbstractEventLoop, Transport
from collections.abc import Collection
from typing import Any

import orjson
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from doorleaf.http.bounds import Door
from doorleaf.http.compression import VARY, Pieces

WHOLE_BYTES = 64 * 1024
"""The longest body that is copied behind its head."""

COPIED_BYTES = 8 * 1024
"""A body of fewer bytes is copied behind its head, which costs less than to hand over two parts."""

SLICE_BYTES = 256 * 1024
"""How much of a longer one is written at once."""

STALLED_SECONDS = 30.0
"""How long a client may take nothing of what it is sent."""

READ_BYTES_PER_SECOND = 1000
"""How fast an answer has to be read on average, after its first :data:`STALLED_SECONDS`."""

_YOUNG_SECONDS = 5.0
"""An answer's pace says nothing before."""


def head(status: int, headers: Collection[tuple[bytes, bytes]], *, keep_alive: bool) -> bytes:
    """The bytes before a body. ValueError for a value with a line end in it."""
    parts = [STATUS_LINE[status]]
    for name, value in headers:
        parts += (name, b": ", value, b"\r\n")
    parts.append(b"\r\n" if keep_alive else b"connection: close\r\n\r\n")
    written = b"".join(parts)
    if not written.count(b"\n") == written.count(b"\r") == len(headers) + (2 if keep_alive else 3):
        raise ValueError("a header's value has a line end in it")
    return written


def refusal(status: int, code: str, message: str, request_id: str) -> bytes:
    """The last answer of a connection, to what is no request that anybody else could answer."""
    body = orjson.dumps({"error": message, "error_code": code})
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"x-request-id", request_id.encode()),
    ]
    if status in (429, 503):
        headers.append((b"retry-after", b"5"))
    return head(status, headers, keep_alive=False) + body


class Heads:
    """The heads of most answers, which differ in little: of each kind all but that is made once a second."""

    __slots__ = ("_begun", "_defaults")

    def __init__(self) -> None:
        self._defaults: Any = None
        self._begun: dict[tuple[int, bytes, bool], bytes] = {}

    def of(self, status: int, content_type: bytes, size: int, request_id: str, defaults: Any, *, varies: bool) -> bytes:
        """The head of an answer whose connection stays, with the server's ``defaults``: the list that it changes for
        another one when the time has changed. Everything here is trusted not to have a line end in it."""
        if defaults is not self._defaults:
            self._defaults = defaults
            self._begun.clear()
        begun = self._begun.get((status, content_type, varies))
        if begun is None:
            headers = (*defaults, (b"content-type", content_type), *((VARY,) if varies else ()))
            begun = self._begun[status, content_type, varies] = head(status, headers, keep_alive=True)[:-2]
        return b"%bcontent-length: %d\r\nx-request-id: %b\r\n\r\n" % (begun, size, request_id.encode())


class Sending:
    """The answers that one connection sends, and how its client takes it."""

    __slots__ = ("_changed", "_door", "_flow", "_now", "_pending", "_since", "_taken_before", "_transport", "_written")

    def __init__(self, loop: AbstractEventLoop, transport: Transport, flow: FlowControl, door: Door) -> None:
        self._now = loop.time
        self._transport: Any = transport
        self._flow = flow
        self._door = door
        self._written = 0
        self._pending = 0  # what waited when it was looked at last
        self._since = self._changed = 0.0  # since when something waits, and since when it is the same
        self._taken_before = 0

    def write(self, data: bytes | memoryview) -> None:
        """Write what need not be waited for."""
        self._written += len(data)
        self._transport.write(data)

    def write_both(self, head: bytes, body: bytes) -> None:
        """The same for an answer of two parts, at once and without a copy of a long one."""
        self._written += len(head) + len(body)
        if len(body) < COPIED_BYTES:
            self._transport.write(head + body)
        else:
            self._transport.writelines((head, body))

    async def all_of(self, head: bytes, body: bytes) -> bool:
        """Write an answer as fast as the client reads it; False when it has gone, or was too slow."""
        flow, door, transport = self._flow, self._door, self._transport
        self._since = self._changed = self._now()
        self._taken_before = self._written
        view, at = memoryview(body), 0
        door.hold(self, len(body))
        try:
            self.write(head)
            while at < len(body) and not transport.is_closing():
                if flow.write_paused:
                    await flow.drain()
                    continue
                self.write(view[at : at + SLICE_BYTES])
                at += SLICE_BYTES
                door.hold(self, max(len(body) - at, 1))
            while flow.write_paused and not transport.is_closing():
                await flow.drain()
        finally:
            door.release(self)
        return at >= len(body) and not transport.is_closing()

    async def each_of(self, head: bytes, pieces: Pieces) -> bool:
        """The same for a body that is made piece by piece, in chunks (RFC 9112, 7.1) where its client knows those.

        One that fails in the middle is cut behind its last piece, so that it looks like no whole one.
        """
        transport, flow = self._transport, self._flow
        self._since = self._changed = self._now()
        self._taken_before = self._written
        self.write(head)
        async for piece in pieces:
            self._door.hold(self, len(piece))
            if piece:
                self.write(b"%x\r\n%b\r\n" % (len(piece), piece) if pieces.chunked else piece)
            while flow.write_paused and not transport.is_closing():
                await flow.drain()
            self._door.release(self)
            if transport.is_closing():
                return False
        if pieces.failure is not None:
            transport.close()
            return False
        if pieces.chunked:
            self.write(b"0\r\n\r\n")
        return True

    def lost(self) -> None:
        """The connection is over."""
        self._door.release(self)

    def is_stuck(self, now: float, *, streams: bool) -> bool:
        """Whether the client takes what it is sent too slowly. A stream has no pace of its own to keep."""
        size: int = self._transport.get_write_buffer_size()
        if not size:
            self._pending = 0
            return False
        if not self._pending:
            self._since = self._changed = now
            self._taken_before = self._written - size
        elif size != self._pending:
            self._changed = now
        self._pending = size
        if now - self._changed > STALLED_SECONDS:
            return True
        taken = self._written - size - self._taken_before
        return not streams and taken < (now - self._since - STALLED_SECONDS) * READ_BYTES_PER_SECOND

    def pace(self) -> float:
        """Bytes a second that the client takes; of a new answer infinitely many, for nobody knows."""
        elapsed = self._now() - self._since
        if elapsed < _YOUNG_SECONDS:
            return float("inf")
        waiting: int = self._transport.get_write_buffer_size()
        return (self._written - waiting - self._taken_before) / elapsed

    def cut(self) -> None:
        """End the connection at once: others need the memory."""
        self._transport.abort()
