"""Answers that go on: pieces sent to a client for as long as it listens and may."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from typing import Any

from doorleaf.errors import DoorleafError

Message = MutableMapping[str, Any]

CHECK_SECONDS = 2.0
"""How often it is asked whether the caller may still listen."""

STALLED_SECONDS = 60.0
"""How long a client may take nothing of what it is sent."""


async def pour(
    pieces: AsyncGenerator[bytes, None],
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
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
    checked = time.monotonic()
    try:
        async for piece in pieces:
            if gone.done() or not await _sent(piece, send):
                return sent
            sent += len(piece)
            if draining():
                break
            if time.monotonic() - checked >= CHECK_SECONDS:
                checked = time.monotonic()
                try:
                    await require()
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


async def _gone(receive: Callable[[], Awaitable[Message]]) -> None:
    """Return when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _sent(piece: bytes, send: Callable[[Message], Awaitable[None]]) -> bool:
    """Send a piece; False when the client has taken nothing for too long."""
    if not piece:
        return True
    try:
        async with asyncio.timeout(STALLED_SECONDS):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    except TimeoutError:
        return False
    return True
