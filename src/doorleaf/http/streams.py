"""What goes on for as long as its caller may: live answers, sent to a client while it listens, long ones, and bodies
that are read as they come."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Protocol

from doorleaf.access.lasting import CHECK_SECONDS, Identify, renew
from doorleaf.dialects.base import Reply, Request
from doorleaf.errors import DoorleafError, Unauthenticated
from doorleaf.http.body import Message, Receive
from doorleaf.http.compression import Pieces

STALLED_SECONDS = 60.0
"""How long a client may take nothing of what it is sent."""


Headers = list[tuple[bytes, bytes]]
Send = Callable[[Message], Awaitable[None]]


class Identifying(Protocol):
    """Who knows the callers."""

    @property
    def identify(self) -> Identify: ...


async def live(
    reply: Reply,
    headers: Headers,
    receive: Receive,
    send: Send,
    *,
    require: Callable[[], Awaitable[None]],
    draining: Callable[[], bool],
) -> None:
    """Send a live reply with ``headers``; the rest is as :func:`pour` has it."""
    assert reply.stream is not None  # noqa: S101  # what makes it one
    sent = 0
    try:
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        sent = await pour(reply.stream, receive, send, require=require, draining=draining)
    finally:
        await over(reply, sent)


def listening(authenticator: Identifying, request: Request) -> Callable[[], Awaitable[None]]:
    """A check that raises as soon as the caller of ``request`` may no longer listen."""

    async def require() -> None:
        before = request.identity
        await renew(request, authenticator.identify)
        if request.identity is not before and request.identity.version != before.version:
            raise Unauthenticated("the rights of the caller have changed; ask again")

    return require


def taking(authenticator: Identifying, request: Request) -> Callable[[], Awaitable[None]]:
    """A check that raises as soon as the caller of ``request`` is none any more; what is asked for with the rest of its
    body is judged by what they may then."""
    return now_and_then(partial(renew, request, authenticator.identify))


def now_and_then(require: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
    """``require``, asked every :data:`CHECK_SECONDS` however often it is called."""
    asked = time.monotonic()

    async def check() -> None:
        nonlocal asked
        if time.monotonic() - asked >= CHECK_SECONDS:
            asked = time.monotonic()
            await require()

    return check


async def while_let_in(pieces: AsyncIterator[bytes], require: Callable[[], Awaitable[None]]) -> AsyncIterator[bytes]:
    """``pieces`` of a long answer, until ``require`` raises."""
    check = now_and_then(require)
    async for piece in pieces:
        await check()
        yield piece


async def over(reply: Reply, sent: int) -> None:
    """Let go of what a reply that goes on has, of which ``sent`` bytes have been sent."""
    try:
        if reply.close is not None:
            await reply.close()
    finally:
        if reply.done is not None:
            reply.done(sent)


async def held(reply: Reply, enter: Callable[[], Callable[[], None]]) -> None:
    """Give a reply that goes on its place, which ``enter`` finds and answers how to leave; what it has is let go of
    where there is none."""
    try:
        leave, ended = enter(), reply.done
    except DoorleafError:
        await over(reply, 0)
        raise

    def done(sent: int) -> None:
        leave()
        if ended is not None:
            ended(sent)

    reply.done = done


async def each(body: Pieces, send: Send) -> bool:
    """Send a body piece by piece where a server is not our own; whether it came to its end."""
    async for piece in body:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    return body.failure is None


async def pour(
    pieces: AsyncGenerator[bytes, None],
    receive: Receive,
    send: Send,
    *,
    require: Callable[[], Awaitable[None]],
    draining: Callable[[], bool],
) -> int:
    """Send ``pieces`` as the body of an answer that has begun; how many bytes those were.

    ``pieces`` yields something about every second, b"" when there is nothing to say. It ends by itself, or when the
    client has gone, when the server is ``draining``, or when ``require`` raises: that error is thrown into it, so that
    its last piece can tell.
    """
    gone = asyncio.ensure_future(_gone(receive))
    sent = 0
    check = now_and_then(require)
    try:
        async for piece in pieces:
            if gone.done() or not await _sent(piece, send):
                return sent
            sent += len(piece)
            if draining():
                break
            try:
                await check()
            except DoorleafError as error:
                last = await pieces.athrow(error)
                await _sent(last, send)
                sent += len(last)
                break
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        return sent
    finally:
        gone.cancel()
        await pieces.aclose()


async def _gone(receive: Receive) -> None:
    """Return when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _sent(piece: bytes, send: Send) -> bool:
    """Send a piece; False when the client has taken nothing for too long."""
    if not piece:
        return True
    try:
        async with asyncio.timeout(STALLED_SECONDS):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    except TimeoutError:
        return False
    return True
