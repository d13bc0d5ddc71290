"""A proxy that stands between a MongoDB client and its server, understands where messages end, and does harm."""

from __future__ import annotations

import asyncio
import contextlib
import re
import struct
from typing import Any
from urllib.parse import urlsplit

import bson
import pytest
from servers import mongodb_uri_from_environment

from doorleaf.documents import CODEC, Document

NOT_PRIMARY = {
    "ok": 0.0,
    "errmsg": "not primary",
    "code": 10107,
    "codeName": "NotWritablePrimary",
    "errorLabels": ["RetryableWriteError"],
}
OVERLOADED = {
    "ok": 0.0,
    "errmsg": "busy",
    "code": 462,
    "errorLabels": ["SystemOverloadedError", "RetryableError", "NoWritesPerformed"],
    "baseBackoffMS": 1,
}
HOST_UNREACHABLE = {"ok": 0.0, "errmsg": "no host", "code": 6, "codeName": "HostUnreachable"}
WRITES = ("insert", "update", "delete")


def retrying(retries: bool) -> str:
    """Options of a URI with which reads and writes are retried, or not."""
    word = "true" if retries else "false"
    return f"retryReads={word}&retryWrites={word}&serverSelectionTimeoutMS=2000&maxPoolSize=8"


class Proxy:
    """``plan`` says what becomes of each command of one of the names ``harmed``, in turn:

    - ``pass``;
    - ``lost``: the connection closes before the server has it;
    - ``unanswered``: it closes after the server has carried it out;
    - ``cut``: it closes in the middle of the answer;
    - ``silence``: the server carries it out, and nothing more is heard;
    - seconds: the answer comes so much later;
    - a document to answer with, in the server's name, or bytes that are none.

    ``seen`` are the harmed commands that came, as the server would have read them, and ``others`` the names of all the
    rest. A connection that was silent for ``patience`` seconds is closed, or forgotten with ``forgets``: nothing that
    is sent on it then arrives. ``extra`` are fields that every answer of the server gets. It knows no TLS and no
    authentication.
    """

    def __init__(
        self,
        uri: str,
        plan: list[Any] | None = None,
        harmed: tuple[str, ...] = WRITES,
        *,
        patience: float | None = None,
        forgets: bool = False,
        extra: Document | None = None,
    ) -> None:
        address = urlsplit(uri.replace("mongodb://", "http://"))
        self._server = (address.hostname, address.port)
        self._harmed = re.compile(rb"^[\x01-\x13](%s)\x00" % b"|".join(name.encode() for name in harmed))
        self.plan: list[Any] = plan or []
        self.seen: list[Document] = []
        self.others: list[str] = []
        self.commands: list[Document] = []
        self.port = 0
        self.open = 0
        self._patience = patience
        self._forgets = forgets
        self.extra = extra or {}
        self._clients: set[asyncio.Task[None]] = set()
        self._ends: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Proxy:
        if mongodb_uri_from_environment():
            pytest.skip("the proxy knows no TLS and no authentication")
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()
        for client in self._clients:
            client.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)
        for end in self._ends:  # of who came so late that nobody looked after it
            end.close()
            with contextlib.suppress(OSError):
                await end.wait_closed()

    def cut(self) -> None:
        """Close all connections there are."""
        for end in self._ends:
            end.close()

    def uri(self, words: str = "") -> str:
        """How to reach the server by this way; ``words`` are further options."""
        # How soon the driver looks again at a server that was no primary.
        return f"mongodb://127.0.0.1:{self.port}/?directConnection=true&heartbeatFrequencyMS=500{words and '&'}{words}"

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._ends.add(writer)
        self._clients.add(asyncio.create_task(self._client(reader, writer)))

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back: asyncio.StreamWriter | None = None
        self.open += 1
        try:
            there, back = await asyncio.open_connection(*self._server)
            self._ends.add(back)
            while True:
                message = await self._next(reader)
                if not await self._one(message, writer, there, back):
                    return
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError, TimeoutError):
            pass  # one of the two ends has gone, or the test is over
        finally:
            self.open -= 1
            for end in (writer, *([back] if back is not None else [])):
                end.close()
                self._ends.discard(end)
                with contextlib.suppress(OSError):
                    await end.wait_closed()

    async def _next(self, reader: asyncio.StreamReader) -> bytes:
        try:
            async with asyncio.timeout(self._patience):
                return await _message(reader)
        except TimeoutError:
            if self._forgets:
                await asyncio.Event().wait()
            raise

    async def _one(
        self, message: bytes, writer: asyncio.StreamWriter, there: asyncio.StreamReader, back: asyncio.StreamWriter
    ) -> bool:
        """Treat one message; whether the connection goes on."""
        what: Any = "pass"
        command = message[25 : message.index(0, 26) + 1] if len(message) > 26 else b""
        decoded = bson.decode(message[21 : 21 + _size(message, 21)], CODEC)
        if self._harmed.match(command):
            self.seen.append(decoded)
            what = self.plan.pop(0) if self.plan else "pass"
        else:
            self.others.append(next(iter(decoded), ""))
        self.commands.append(decoded)
        if what == "lost":
            return False
        if isinstance(what, (dict, bytes)):
            writer.write(_reply(message, what))
            return True
        back.write(message)
        # One reply for one message: the driver's own streaming of `hello` has a connection of its own.
        answer = await _message(there)
        if what == "unanswered":
            return False
        if what == "silence":
            await asyncio.Event().wait()
        if what == "cut":
            writer.write(answer[: len(answer) // 2])
            await writer.drain()
            return False
        if isinstance(what, float):
            await asyncio.sleep(what)
        writer.write(self._with_extra(answer))
        while answer[16] & 2:  # more to come
            answer = await _message(there)
            writer.write(answer)
        return True

    def _with_extra(self, answer: bytes) -> bytes:
        if not self.extra or answer[16] & 2:
            return answer
        document = bson.decode(answer[21:], CODEC) | self.extra
        body = bson.encode(document, codec_options=CODEC)
        return struct.pack("<i", 21 + len(body)) + answer[4:21] + body


def _size(message: bytes, at: int) -> int:
    size: int = struct.unpack_from("<i", message, at)[0]
    return size


async def _message(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readexactly(4)
    return head + await reader.readexactly(_size(head, 0) - 4)


def _reply(message: bytes, document: Document | bytes) -> bytes:
    body = document if isinstance(document, bytes) else bson.encode(document, codec_options=CODEC)
    return struct.pack("<iiiiIB", 21 + len(body), 1, _size(message, 4), 2013, 0, 0) + body
