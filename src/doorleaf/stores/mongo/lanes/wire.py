"""MongoDB's wire protocol on a connection that PyMongo opened: one message, and the one that answers it.

The driver reads a message in two steps, and stops and starts reading around each. Here it comes as the network has it.
What is not exactly the answer to what was asked ends the connection.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass
from struct import Struct
from typing import Any

from pymongo.compression_support import decompress
from pymongo.errors import ProtocolError

from doorleaf.ejson.transcoder import native
from doorleaf.stores.mongo.limits import Limits

OP_MSG = 2013
PLAIN = b"\0\0\0\0\0"
"""An OP_MSG without flags whose first section is the command."""

_OP_COMPRESSED = 2012
_HEADER = Struct("<iiii").unpack_from
_COMPRESSED = Struct("<iiB").unpack_from
_SIZE = Struct("<i").unpack_from
_HEAD_BYTES = 16
_COMPRESSED_HEAD_BYTES = 25


@dataclass(slots=True)
class Reply:
    """A command's reply that somebody has to look at, as BSON."""

    bson: bytes


Answer = bytes | tuple[int, int] | Reply
"""Of a reply as most are its content alone: all documents of a cursor, end to end; or how many documents a write
matched (inserted, deleted), and how many it changed."""


def _unread(message: bytes | bytearray, asked: int, known: int) -> None:
    """Answer as ``native.reply`` does for what it does not read."""


_content: Callable[[bytes | bytearray, int, int], bytes | tuple[int, int] | None] = (
    _unread if native is None else native.reply
)


class Wire(asyncio.Protocol):
    """A connection that was the driver's, until it is given back. One question at a time."""

    __slots__ = (
        "_begun", "_come", "_driver", "_known", "_limits", "_longest", "_loop", "_number", "_transport", "_waiter",
        "_whole", "deadline", "is_closing",
    )  # fmt: skip

    def __init__(self, connection: Any, limits: Limits) -> None:
        """``connection`` is the driver's; AttributeError when it is not what it was."""
        self._loop = asyncio.get_running_loop()
        self._limits = limits
        self._driver: Any = connection.conn.get_conn
        self._longest: int = connection.max_message_size
        self._transport: Any = self._driver.transport
        self._number = self._known = 0
        self._waiter: asyncio.Future[Answer] | None = None
        self._begun = b""
        self._whole: bytearray | None = None
        """A message that comes in several pieces, with room for all of it, of which ``_come`` bytes are there."""
        self._come = 0
        self.deadline = math.inf
        self.is_closing: Callable[[], bool] = self._transport.is_closing
        self._transport.set_protocol(self)
        self._transport.resume_reading()

    def ask(self, number: int, message: bytes, known: int = 0, deadline: float = math.inf) -> asyncio.Future[Answer]:
        """Send ``message``, whose request id is ``number``; the command's reply comes.

        A reply that tells of a later cluster time than ``known`` is one to look at. Raises OSError, and the future has
        OSError or ProtocolError, when there is none; TimeoutError at ``deadline``, a time of the loop's.
        """
        if self._waiter is not None or self.is_closing():
            raise OSError("the connection is closed")
        self._number, self._known = number, known
        self._waiter = waiter = self._loop.create_future()
        if deadline != math.inf:
            self.deadline = deadline
            self._limits.begin(self)
        self._transport.write(message)
        return waiter

    def end(self) -> None:
        """Tell who waits that it took too long."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(TimeoutError())

    def release(self) -> None:
        """Give the connection back to the driver, which reads when it wants to."""
        self._limits.running.discard(self)
        if not self.is_closing():
            self._transport.pause_reading()
            self._transport.set_protocol(self._driver)

    # --- what the event loop calls -------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        message = self._joined(data) if self._whole is not None or self._begun else data
        waiter = self._waiter
        if message and waiter is not None and not waiter.done():
            content = _content(message, self._number, self._known)
            if content is not None:
                self._waiter = None
                self._limits.running.discard(self)
                waiter.set_result(content)
                return
        if message:
            self._look(message)

    def _joined(self, data: bytes) -> bytes | bytearray:
        """What has come of a message; nothing while more is missing, and more than it where too much has come."""
        whole, begin = self._whole, self._come
        if whole is None:
            data, self._begun = self._begun + data, b""
            return data
        self._come = end = begin + len(data)
        if end > len(whole):
            self._whole = None
            return bytes(whole[:begin]) + data
        whole[begin:end] = data
        if end < len(whole):
            return b""
        self._whole = None
        return whole

    def _look(self, data: bytes | bytearray) -> None:
        """Take what came, and is not the whole of a reply as most are."""
        if len(data) < _HEAD_BYTES:
            self._begun = bytes(data)
            return
        size, _, asked, operation = _HEADER(data)
        if size > len(data) and size <= self._longest:
            self._whole, self._come = bytearray(size), len(data)
            self._whole[: len(data)] = data
            return
        waiter = self._waiter
        if waiter is None or waiter.done():  # nobody asked, or nobody waits any more
            self._transport.abort()
            return
        self._waiter = None
        self._limits.running.discard(self)
        try:
            if size != len(data) or asked != self._number:
                raise ProtocolError("a reply to another question")
            reply = _reply(data) if operation == OP_MSG else _uncompressed(data, operation, self._longest)
        except Exception as error:  # of the libraries that decompress, too
            self._transport.abort()
            known = isinstance(error, ProtocolError)
            waiter.set_exception(error if known else ProtocolError(f"a reply that cannot be read: {error}"))
            return
        waiter.set_result(Reply(reply))

    def connection_lost(self, exc: Exception | None) -> None:
        waiter, self._waiter = self._waiter, None
        self._limits.running.discard(self)
        if waiter is not None and not waiter.done():
            waiter.set_exception(OSError("the connection is closed"))
        self._driver.connection_lost(exc)


def _reply(message: bytes | bytearray, start: int = _HEAD_BYTES) -> bytes:
    """The document of an OP_MSG that has nothing else."""
    if message[start : start + 5] == PLAIN:
        reply = bytes(memoryview(message)[start + 5 :])
        if len(reply) >= 5 and _SIZE(reply)[0] == len(reply):
            return reply
    raise ProtocolError("a reply of an unknown form")


def _uncompressed(message: bytes | bytearray, operation: int, longest: int) -> bytes:
    if operation != _OP_COMPRESSED or len(message) <= _COMPRESSED_HEAD_BYTES:
        raise ProtocolError("a reply of an unknown form")
    inner, size, compressor = _COMPRESSED(message, _HEAD_BYTES)
    if inner != OP_MSG or not 0 < size <= longest - _HEAD_BYTES:
        raise ProtocolError("a reply of an unknown form")
    return _reply(decompress(memoryview(message)[_COMPRESSED_HEAD_BYTES:], compressor, longest - _HEAD_BYTES), 0)
