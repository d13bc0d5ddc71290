"""Replies as most are, without headers of their own: written at once, with a head that is mostly there already."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol

from doorleaf.dialects.base import Reply, Request
from doorleaf.http.body import Message
from doorleaf.http.compression import COMPRESSED_BYTES, Headers, Pieces, chosen
from doorleaf.http.marks import WHOLE_ANSWER


class Answer(Protocol):
    """What writes a whole answer at once."""

    def take(self, limit: int) -> bytes | None:
        """The body of the request, if all of it is there and nobody took it; None where there are more than ``limit``
        bytes, too: it comes as ASGI says."""
        ...

    def short(self, status: int, content_type: bytes, request_id: str, body: bytes, *, varies: bool) -> bool:
        """Write one that has no other headers, if that can be done without waiting; whether it was.

        One that ``varies`` is another for clients that take it compressed.
        """
        ...

    def whole(self, status: int, headers: Headers, body: bytes | Pieces) -> Awaitable[None] | None:
        """Write any; what to wait for where the client does not take all of it at once."""
        ...


def answer_of(scope: Message) -> Answer | None:
    """What writes a whole answer to the request of ``scope``, where the server can do that."""
    extensions = scope.get("extensions")
    return None if extensions is None else extensions.get(WHOLE_ANSWER)


def sends_short(reply: Reply, request: Request, scope: Message) -> bool:
    """Send ``reply`` if it is one as most are and can go at once; whether it was."""
    body, answer = reply.body, answer_of(scope)
    varies = len(body) >= COMPRESSED_BYTES and reply.compressible
    if (
        answer is None
        or reply.headers
        or reply.pieces is not None
        or (varies and chosen(request.headers.get(b"accept-encoding")) is not None)
        or reply.status == 204
        or request.method == "HEAD"
        or not answer.short(reply.status, reply.content_type, request.id, body, varies=varies)
    ):
        return False
    if reply.done is not None:
        reply.done(len(body))
    return True
