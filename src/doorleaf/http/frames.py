"""Connections that have become WebSocket sessions: uvicorn's protocol over the websockets library, and its bounds."""

from __future__ import annotations

import asyncio
import os
from asyncio import BaseTransport
from typing import Any

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State

from doorleaf.dialects.base import Messages
from doorleaf.http import answers
from doorleaf.http.bounds import Door
from doorleaf.http.websocket import GONE, STALLED_SECONDS, TEXTS

HANDSHAKE_BYTES = 16 * 1024
"""The longest head of a handshake: the library takes longer to read one than that of other requests."""

FRAGMENTS = 1_000
"""Most frames of one message: an empty one costs its client hardly anything."""

UNREAD_BYTES = 256 * 1024
"""Most that may wait for a client beside what it was sent: answers to its pings."""

_TOO_BIG = 1009
_NO_TEXT = 1007


class Frames(WebSocketsSansIOProtocol):
    """One connection. The library bounds a message, and pings tell whether anybody is there; the rest is here.

    What comes is read in rounds, and nothing more comes before it has been and all its messages are taken.
    """

    _counted = ""
    _pending = 0
    _changed = 0.0
    _waits = False

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)
        http: Any = self.transport.get_protocol()  # still; what it counted for, this counts for from now on
        self._door: Door = http.door
        self._counted, http.counted = http.counted, ""
        self._unread = bytearray()

    def handle_connect(self, event: Any) -> None:
        super().handle_connect(event)
        if self.response.status_code == 101:
            self._gone = asyncio.Event()
            scope: Any = self.scope
            scope["extensions"][GONE] = self._gone
            scope["extensions"][TEXTS] = self.send_texts

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._unread.clear()
        self._door.leave(self._counted)
        gone: asyncio.Event | None = getattr(self, "_gone", None)
        if gone is not None:
            gone.set()

    def data_received(self, data: bytes) -> None:
        if self.handshake_initiated:
            self._unread += data
            self._go_on()
            return
        if len(data) <= HANDSHAKE_BYTES:
            super().data_received(data)
        if not self.handshake_initiated:  # the library has bounds of its own for fields, and says nothing
            told = "the handshake is too long, or has too many fields"
            self.transport.write(answers.refusal(431, "HeaderFieldsTooLarge", told, os.urandom(11).hex()))
            self.transport.close()

    def _go_on(self) -> None:
        """Read on, where there is more, or let more come."""
        if self.transport.is_closing():
            self._unread.clear()
        elif self._unread:
            self.transport.pause_reading()
            if not self.read_paused and not self._waits:
                self._waits = True
                self._door.rounds.add(self)
        elif not self.read_paused:
            self.transport.resume_reading()

    def read_some(self, most: int) -> int:
        self._waits = False
        some = bytes(self._unread[:most])
        if some:
            del self._unread[:most]
            try:
                super().data_received(some)
            except Exception:
                self.transport.abort()
                raise
            self.read_paused = self.read_paused or self._is_choked()
            self._go_on()
        return len(some)

    def _is_choked(self) -> bool:
        """Whether too much waits for the client: what a route sends waits for room, answers to pings do not."""
        return not self.writable.is_set() and self.transport.get_write_buffer_size() > UNREAD_BYTES

    def resume_writing(self) -> None:
        super().resume_writing()
        self._take()

    async def receive(self) -> Any:
        message = await self.queue.get()
        self._take()
        return message

    async def send(self, message: Any) -> None:
        await super().send(message)
        if message["type"] == "websocket.http.response.body":
            self.handshake_complete = True  # by an answer, after which the library waits for none
        self._take()

    def _take(self) -> None:
        """Go on where all messages have been taken."""
        if self.queue.empty() and not self._is_choked():
            self.read_paused = False
        self._go_on()

    def handle_cont(self, event: Frame) -> None:
        super().handle_cont(event)
        if len(self.frames) > FRAGMENTS:
            self.frames = []
            self.conn.fail(_TOO_BIG, "too many fragments")
            self.handle_parser_exception()

    def send_receive_event_to_app(self) -> None:
        if self.curr_msg_data_type == "text" and not self.close_sent:
            self.frames = [b"".join(self.frames)]
            try:
                self.frames[0].decode()
            except UnicodeDecodeError:  # uvicorn would write where it noticed to the log
                self.frames = []
                self.conn.fail(_NO_TEXT, "a text is UTF-8")
                self.handle_parser_exception()
                return
        super().send_receive_event_to_app()

    async def send_texts(self, messages: Messages) -> None:
        """Send texts, as soon as the client has room for them."""
        await self.writable.wait()
        if self.disconnected or self.close_sent or self.conn.state is not State.OPEN:
            raise ClientDisconnected
        if messages.frames is None:  # nothing is compressed, so that they are the same for everybody
            messages.frames = b"".join([Frame(Opcode.TEXT, message).serialize(mask=False) for message in messages])
        self.transport.write(messages.frames)

    def look(self, now: float) -> None:
        """End it where its client takes nothing of what it is sent."""
        size = self.transport.get_write_buffer_size()
        if size != self._pending or not size:
            self._pending, self._changed = size, now
        elif now - self._changed > STALLED_SECONDS:
            self.transport.abort()

    def is_idle(self) -> bool:
        """Never: a session lasts."""
        return False
