"""A request's body in pieces: read from the client when its route asks, bounded and decompressed."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping

from doorleaf.apart import CODING
from doorleaf.errors import InvalidParameter
from doorleaf.http.body import Gone, Receive, check_length, require_known, too_large

PIECE_BYTES = 256 * 1024
"""Most that a piece may become by being decompressed."""

_MEMBERS = 1_000
_SECONDS = 30.0


class Upload:
    """See :class:`doorleaf.dialects.base.Upload`. ``limit`` is for what comes, and for what that becomes."""

    def __init__(
        self, headers: Mapping[bytes, bytes], receive: Receive, limit: int, check: Callable[[], Awaitable[None]]
    ) -> None:
        check_length(headers, limit)
        encoding = headers.get(b"content-encoding", b"identity").lower()
        require_known(encoding)
        self.received = 0
        self.check = check
        self._receive = receive
        self._limit = limit
        self._pieces = self._coming() if encoding == b"identity" else self._inflated()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._pieces

    def let_go(self) -> None:
        """Hold nothing of the request any more, which holds this; nobody reads on."""
        del self.check, self._pieces, self._receive

    async def _coming(self) -> AsyncIterator[bytes]:
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise Gone
            piece: bytes = message.get("body", b"")
            more = message.get("more_body", False)
            self.received += len(piece)
            if self.received > self._limit:
                raise too_large(self._limit)
            await self.check()
            if piece:
                yield piece

    async def _inflated(self) -> AsyncIterator[bytes]:
        """What the members of a body in gzip have (RFC 1952, 2.2), in pieces of :data:`PIECE_BYTES` at most."""
        members, made = _Members(), 0
        async for came in self._coming():
            steps = members.add(came)
            while (piece := await CODING.run(_SECONDS, next, steps, None)) is not None:
                made += len(piece)
                if made > self._limit:
                    raise too_large(self._limit)
                if piece:
                    yield piece
        members.require_whole()


class _Members:
    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        self._begun = 0

    def add(self, came: bytes) -> Iterator[bytes]:
        """What is in ``came``, which goes on where the one before ended, step by step."""
        while came:
            if self._inflate.eof or not self._begun:
                self._begin()
            try:
                piece = self._inflate.decompress(came, PIECE_BYTES)
            except zlib.error:
                raise InvalidParameter("the body is not valid gzip") from None
            came = self._inflate.unused_data if self._inflate.eof else self._inflate.unconsumed_tail
            yield piece
            while len(piece) == PIECE_BYTES and not came and not self._inflate.eof:
                piece = self._inflate.decompress(b"", PIECE_BYTES)
                yield piece

    def _begin(self) -> None:
        self._begun += 1
        if self._begun > _MEMBERS:
            raise InvalidParameter(f"the body has more than {_MEMBERS} members of gzip")
        self._inflate = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)

    def require_whole(self) -> None:
        """Raise InvalidParameter where the last member has no end."""
        if not self._inflate.eof:
            raise InvalidParameter("the body is not valid gzip")
