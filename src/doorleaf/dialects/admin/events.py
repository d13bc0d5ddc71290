"""Server-sent events of the administration."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from doorleaf import ejson
from doorleaf.dialects.base import Reply
from doorleaf.documents import Document
from doorleaf.errors import DoorleafError

LOOK_SECONDS = 1.0
"""How often a stream looks for something to say; the server notices once a second that a client has gone."""

_HEADERS = ((b"cache-control", b"no-cache, no-store"), (b"x-accel-buffering", b"no"))


def live_reply(pieces: AsyncGenerator[bytes, None]) -> Reply:
    """The answer that sends ``pieces``, which are events, or b"" about every second."""
    return Reply(200, content_type=b"text/event-stream", headers=_HEADERS, stream=_until_refused(pieces))


async def _until_refused(pieces: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    try:
        async for piece in pieces:
            yield piece
    except DoorleafError as error:  # the caller may listen no longer
        yield event("error", {"error": error.message, "error_code": error.code})
    finally:
        await pieces.aclose()


def event(kind: str, content: Document) -> bytes:
    """``content`` as a server-sent event."""
    return b"event: " + kind.encode() + b"\ndata: " + ejson.dumps(content, ejson.Mode.PLAIN) + b"\n\n"
