"""Server-sent events: changes as they happen, for as long as their caller listens."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncGenerator, Callable, Hashable

from doorleaf.apart import CODING, TURN
from doorleaf.dialects.base import Messages, Reply, Request
from doorleaf.documents import Document
from doorleaf.errors import DoorleafError, InvalidParameter
from doorleaf.operations import OWN_TURN
from doorleaf.operations.results import ChangeStream, Event, Events

EVENT_STREAM = b"text/event-stream"
HEADERS = ((b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no"))

RETRY = b"retry: 3000\n\n"
"""After so many milliseconds an EventSource that was cut off comes back."""

_WRITING_SECONDS = 30.0
_QUIET = 15
"""After so many waits without an event (a second each) a comment tells that the stream is alive."""

_LONGEST_TOKEN = 16 * 1024

_AT_ONCE_BYTES = 64 * 1024
"""Events of less BSON than that are written on the event loop."""

Write = Callable[[Document], bytes]
"""Makes the lines of an event, the empty one at its end included."""


def last_token(request: Request) -> Document | None:
    """The resume token in ``Last-Event-ID``, which is the id of the last event that the client has; None without."""
    given = request.headers.get(b"last-event-id")
    if not given:
        return None
    if len(given) > _LONGEST_TOKEN or not given.isascii():
        raise InvalidParameter("Last-Event-ID: expected the id of an event of this stream")
    return {"_data": given.decode()}


def events_reply(
    changes: ChangeStream, kind: Hashable, write: Write, failed: Callable[[DoorleafError], bytes]
) -> Reply:
    """The answer that goes on. What ``write`` makes of an event is the same for all of a ``kind``; ``failed`` makes
    what an event called ``error`` has in its data."""
    stream = _events(changes, kind, write, failed)
    return Reply(200, content_type=EVENT_STREAM, headers=HEADERS, stream=stream, close=changes.close)


async def _events(
    changes: ChangeStream, kind: Hashable, write: Write, failed: Callable[[DoorleafError], bytes]
) -> AsyncGenerator[bytes, None]:
    quiet, told = 0, None
    try:
        yield RETRY + _heartbeat(changes.token)  # so that the client knows at once that it is heard
        while (events := await changes.next()) is not None:
            quiet = 0 if events else quiet + 1
            if events:
                yield (await written(events, kind, write)).joined
            elif quiet == _QUIET:
                quiet = 0
                yield _heartbeat(changes.token if changes.token != told else None)
                told = changes.token
            else:
                yield b""
    except DoorleafError as error:
        yield b"event: error\ndata: " + failed(error) + b"\n\n"


def _heartbeat(token: Document | None) -> bytes:
    """A comment, with the id to come back with where that is another one: it makes no event."""
    return b":\n\n" if token is None else b":\n" + id_line(token) + b"\n"


async def written(events: list[Document], kind: Hashable, write: Write) -> Messages:
    """Events as they are sent; each may have a document of 16 MB in it, and another as it was before.

    What several are told together is written once, in the server's own turn. Who waited for what another had begun, and
    failed, tries once more.
    """
    if type(events) is not Events:
        return await _written(events, kind, write)
    made: Messages | asyncio.Task[Messages] | None = events.told.get(kind)
    if isinstance(made, asyncio.Task):
        try:
            return await asyncio.shield(made)
        except DoorleafError:
            made = events.told.get(kind)
    if made is None:
        made = events.told[kind] = _begun(events, kind, write)
    return made if isinstance(made, Messages) else await asyncio.shield(made)


def _begun(events: Events, kind: Hashable, write: Write) -> asyncio.Task[Messages]:
    """Write what several are told, for whoever comes first as for all others."""
    context = contextvars.copy_context()
    context.run(TURN.set, OWN_TURN)
    task = asyncio.get_running_loop().create_task(_written(events, kind, write), context=context)
    task.add_done_callback(lambda done: _keep(events, kind, done))
    return task


def _keep(events: Events, kind: Hashable, done: asyncio.Future[Messages]) -> None:
    if done.cancelled() or done.exception() is not None:
        events.told.pop(kind, None)  # the next one tries again
    else:
        events.told[kind] = done.result()


async def _written(events: list[Document], kind: Hashable, write: Write) -> Messages:
    unwritten = sum(_weight(event, kind) for event in events)
    if unwritten < _AT_ONCE_BYTES:
        return _each(events, kind, write)
    return await CODING.run(_WRITING_SECONDS, _each, events, kind, write)


def _weight(event: Document, kind: Hashable) -> int:
    """How much there is to write; of an event that is its caller's alone nobody knows that."""
    if type(event) is not Event:
        return _AT_ONCE_BYTES
    return 0 if kind in event.told else event.size


def _each(events: list[Document], kind: Hashable, write: Write) -> Messages:
    return Messages([_told(event, kind, write) if type(event) is Event else write(event) for event in events])


def _told(event: Event, kind: Hashable, write: Write) -> bytes:
    found: bytes | None = event.told.get(kind)
    if found is None:
        found = event.told[kind] = write(event)
    return found


def id_line(token: Document | None) -> bytes:
    return b"" if token is None else b"id: " + str(token["_data"]).encode() + b"\n"
