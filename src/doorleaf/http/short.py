"""Replies as most are, without headers of their own: written at once, with a head that is mostly there already."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import NamedTuple, Protocol

from doorleaf.dialects.base import Decode, Encode, Reply, Request
from doorleaf.dialects.routes import Routes, Target
from doorleaf.http.body import Message
from doorleaf.http.compression import COMPRESSED_BYTES, Headers, Pieces, chosen
from doorleaf.http.marks import WHOLE_ANSWER


class Answer(Protocol):
    """Writes a whole answer at once."""

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
    """A function that writes a whole answer to the request of ``scope``, where the server can do that."""
    extensions = scope.get("extensions")
    return None if extensions is None else extensions.get(WHOLE_ANSWER)


class Whole(Answer, Protocol):
    """A request that came whole, and what writes its answer. ``fields`` are its ``headers`` one by one."""

    method: str
    target: bytes
    fields: Headers
    headers: dict[bytes, bytes]
    scope: Message

    @property
    def address(self) -> str: ...

    def asgi(self) -> Message:
        """The scope, with all that ASGI has in one."""
        ...

    async def receive(self) -> Message: ...

    async def send(self, message: Message) -> None: ...


class Short(NamedTuple):
    """A route that only carries out operations, for callers who are known."""

    target: Target
    decode: Decode
    encode: Encode
    path: str


def short_ways(routes: Routes) -> dict[bytes, Short]:
    """The routes that requests may take which came whole, by the bytes of their paths."""
    found = {}
    for path, target in routes.exact("POST"):
        route = target.route
        if route.decode is None or route.encode is None or route.public or route.login or target.by_type is not None:
            continue
        if target.dialect.prepare is None:
            found[path.encode()] = Short(target, route.decode, route.encode, path)
    return found


def sends_short(reply: Reply, request: Request, answer: Answer | None) -> bool:
    """Send ``reply`` by ``answer`` if it is one as most are and can go at once; whether it was."""
    body = reply.body
    varies = len(body) >= COMPRESSED_BYTES and reply.compressible
    if (
        answer is None
        or reply.headers
        or reply.pieces is not None
        or reply.stream is not None
        or (varies and chosen(request.headers.get(b"accept-encoding")) is not None)
        or reply.status == 204
        or request.method == "HEAD"
        or not answer.short(reply.status, reply.content_type, request.id, body, varies=varies)
    ):
        return False
    if reply.done is not None:
        reply.done(len(body))
    return True
