"""Compressed answers (RFC 9110, 8.4 and 12.5.3): gzip, and Zstandard (RFC 8878) for clients that take it."""

from __future__ import annotations

import sys
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from functools import lru_cache
from typing import Any, Protocol

from doorleaf.apart import CODING
from doorleaf.dialects.base import Reply, Request
from doorleaf.errors import DoorleafError

COMPRESSED_BYTES = 8 * 1024
"""A shorter body is sent as it is: what would be saved is not worth the work."""

WRITING_SECONDS = 30.0
"""What making a piece of an answer may take."""

Headers = list[tuple[bytes, bytes]]

VARY = (b"vary", b"Accept-Encoding")
"""What says that an answer is another one for clients that take it compressed."""

_LEVEL = 1
_KNOWN = (b"zstd", b"gzip")
"""In the order in which they are chosen among equals."""

_LONGEST = 128
_Gzip = type(zlib.compressobj())


class Compressor(Protocol):
    """Makes a compressed body of its parts."""

    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


def compressor(encoding: bytes) -> Compressor:
    """A compressor of one body in ``encoding``."""
    if encoding == b"zstd":
        # A server whose clients do not take it keeps a megabyte.
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd

        return zstd.ZstdCompressor(_LEVEL)
    return zlib.compressobj(_LEVEL, zlib.DEFLATED, zlib.MAX_WBITS | 16)


def compressed(body: bytes, encoding: bytes) -> bytes:
    """``body`` in ``encoding``."""
    making = compressor(encoding)
    return making.compress(body) + making.flush()


def chosen(accepted: bytes | None) -> bytes | None:
    """The encoding for a client that sent this ``Accept-Encoding``; None for none."""
    if not accepted:
        return None
    return _remembered(accepted) if len(accepted) <= _LONGEST else _chosen(accepted)


def _chosen(accepted: bytes) -> bytes | None:
    qualities: dict[bytes, float] = {}
    for part in accepted.lower().split(b","):
        name, _, parameter = part.partition(b";")
        quality = 1.0
        if parameter:
            key, _, written = parameter.partition(b"=")
            try:
                quality = float(written) if key.strip() == b"q" else 1.0
            except ValueError:
                quality = 0.0
        qualities[name.strip().replace(b"x-gzip", b"gzip")] = quality
    rest = qualities.get(b"*", 0.0)
    best = max(_KNOWN, key=lambda name: qualities.get(name, rest))
    quality = qualities.get(best, rest)
    return best if quality > 0 and quality >= qualities.get(b"identity", 0.0) else None


class Pieces:
    """The parts of a long body as they are sent, each made when the one before has been taken, in a thread if it is
    not made asynchronously.

    ``made`` counts their bytes before compression. What an asynchronous body raises is its ``failure``, as ``known``
    makes it one of ours, and ends it behind what ``reply.last`` tells of it. One that is not ``chunked`` ends with its
    connection.
    """

    def __init__(
        self, reply: Reply, encoding: bytes | None, known: Callable[[Exception], DoorleafError], *, chunked: bool
    ) -> None:
        self.made = 0
        self.chunked = chunked
        self.failure: DoorleafError | None = None
        self._reply = reply
        self._known = known
        self._compressor = None if encoding is None else compressor(encoding)

    def __aiter__(self) -> AsyncIterator[bytes]:
        pieces = self._reply.pieces
        if isinstance(pieces, AsyncIterator):
            return self._taken(pieces)
        assert pieces is not None  # noqa: S101  # what made it one
        return self._threaded(pieces)

    async def _threaded(self, pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
        over = False
        while not over:
            piece, over = await CODING.run(WRITING_SECONDS, self._next, pieces)
            if piece:
                yield piece

    def _next(self, pieces: Iterator[bytes]) -> tuple[bytes, bool]:
        making = self._compressor
        piece = next(pieces, None)
        if piece is None:
            return (b"" if making is None else making.flush()), True
        self.made += len(piece)
        return (piece if making is None else making.compress(piece)), False

    async def _taken(self, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        try:
            async for piece in pieces:
                yield await self._shaped(piece)
        except Exception as error:
            self.failure = self._known(error)
            if self._reply.last is not None:
                yield await self._shaped(self._reply.last(self.failure))
        if self._compressor is not None:
            yield self._compressor.flush()

    async def _shaped(self, piece: bytes) -> bytes:
        self.made += len(piece)
        if self._compressor is None:
            return piece
        return await CODING.run(WRITING_SECONDS, _bordered, self._compressor, piece)


def _bordered(making: Any, piece: bytes) -> bytes:
    """A compressed piece that can be read before the next has come."""
    border = zlib.Z_SYNC_FLUSH if isinstance(making, _Gzip) else making.FLUSH_BLOCK
    return bytes(making.compress(piece) + making.flush(border))


async def shaped(
    reply: Reply, request: Request, known: Callable[[Exception], DoorleafError], *, whole: bool
) -> tuple[bytes | Pieces, Headers]:
    """The body of a long answer as its client takes it, and the headers that say so.

    A ``whole`` one comes as one, unless it goes on: then it is not in chunks. An answer to HEAD is not compressed: it
    says nothing of another length.
    """
    headers: Headers = []
    encoding = None
    if reply.compressible:
        headers.append(VARY)
        if request.method != "HEAD":
            encoding = chosen(request.headers.get(b"accept-encoding"))
    if encoding is not None:
        headers.append((b"content-encoding", encoding))
    pieces = reply.pieces
    if pieces is not None and request.method != "HEAD" and (not whole or isinstance(pieces, AsyncIterator)):
        if not whole:
            headers.append((b"transfer-encoding", b"chunked"))
        return Pieces(reply, encoding, known, chunked=not whole), headers
    body = reply.body
    if pieces is not None and not isinstance(pieces, AsyncIterator):
        body = await CODING.run(WRITING_SECONDS, b"".join, pieces)
    if encoding is not None:
        body = await CODING.run(WRITING_SECONDS, compressed, body, encoding)
    return body, headers


_remembered = lru_cache(maxsize=256)(_chosen)
