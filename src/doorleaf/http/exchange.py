"""A request and its answer as the server has them: uvicorn's, without what a request that comes whole never needs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import cached_property, lru_cache, partial
from typing import Any
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from doorleaf.http.answers import WHOLE_BYTES, Heads

HEADS = Heads()
_LONGEST_URL = 256
"""Bytes of a URL that is remembered; most are asked for again and again."""


class Exchange(RequestResponseCycle):
    """One request on a connection. What is the same for most is on the class, so that none of it is set each time.

    The application finds it in the scope, and can ask it to write a whole answer.
    """

    disconnected = False
    access_log = False
    more_body = True
    response_started = False
    response_complete = False
    told = False
    """Whether something has come, or nothing will, since it was asked for last, where there is no event yet."""
    chunked_encoding: bool | None = None
    expected_content_length = 0
    task: asyncio.Task[None]
    logger = logging.getLogger("uvicorn.error")
    """Where uvicorn says what it thinks of applications."""

    def __init__(self, connection: Any, scope: Any, *, keep_alive: bool) -> None:
        # Not uvicorn's own beginning: it takes as long as reading the head did.
        self.scope = scope
        self.connection = connection
        self.transport = connection.transport
        self.flow = connection.flow
        self.default_headers = connection.server_state.default_headers
        self.on_response = connection.on_response_complete
        self.keep_alive = keep_alive
        self.waiting_for_100_continue = connection.expect_100_continue
        self.body = bytearray()

    @cached_property
    def message_event(self) -> asyncio.Event:  # type: ignore[override]
        """Is set when something has come or nothing will; made for whoever waits, which most requests never do."""
        event = asyncio.Event()
        if self.told:
            event.set()
        return event

    def tell(self) -> None:
        """Say that something has come, or nothing will."""
        self.told = True
        if "message_event" in self.__dict__:
            self.message_event.set()

    def take(self, limit: int) -> bytes | None:
        """The body, if all of it is there, untaken, of no more than ``limit`` bytes, and its client awaits no word."""
        event, body = self.__dict__.get("message_event"), self.body
        there = self.told if event is None else event.is_set()
        if self.more_body or not there or self.waiting_for_100_continue or len(body) > limit:
            return None
        if self.disconnected or self.response_complete:
            return None
        self.told, self.body = False, bytearray()
        if event is not None:
            event.clear()
        self.flow.resume_reading()
        return bytes(body)

    async def receive(self) -> Any:
        """Receive as uvicorn does, at once what is there."""
        event = self.message_event
        if not self.waiting_for_100_continue and event.is_set() and not (self.disconnected or self.response_complete):
            self.flow.resume_reading()
            event.clear()
            self.told = False
            body, self.body = self.body, bytearray()
            return {"type": "http.request", "body": bytes(body), "more_body": self.more_body}
        return await super().receive()

    def short(self, status: int, content_type: bytes, request_id: str, body: bytes, *, varies: bool) -> bool:
        """Write an answer with a head as most have it, if that can be done at once; whether it was."""
        connection = self.connection
        if (
            self.disconnected
            or self.more_body
            or not self.keep_alive
            or len(body) > WHOLE_BYTES
            or self.flow.write_paused
        ):
            return False
        self.waiting_for_100_continue = False
        self.response_started = self.response_complete = True
        head = HEADS.of(status, content_type, len(body), request_id, self.default_headers, varies=varies)
        connection.sending.write_both(head, body)
        self.tell()
        connection.on_response_complete()
        return True

    def whole(self, status: int, headers: Any, body: Any) -> Awaitable[None] | None:
        """Write an answer; what to wait for where the client does not take all of it at once."""
        waiting: Awaitable[None] | None = self.connection.answer(self, status, headers, body)
        return waiting

    def answered(self, app: Callable[..., Awaitable[None]]) -> Awaitable[None]:
        """Have ``app`` answer."""
        return app(self.scope, self.receive, self.send)

    async def run(self, app: Callable[..., Awaitable[None]], running: set[asyncio.Task[None]]) -> None:
        """Let ``app`` answer, and be no task of ``running`` any more."""
        scope: Any = self.scope
        try:
            await self.answered(app)
            if not (self.response_complete or self.disconnected):
                await self.run_asgi(_nothing)
        except BaseException as error:
            await self.run_asgi(partial(_failing, error))
        finally:
            # The scope knows its own request: a circle that only the collector would find.
            scope["extensions"].clear()
            running.discard(self.task)


async def _nothing(*_: Any) -> None:
    """An application that does not answer, so that uvicorn says so."""


async def _failing(error: BaseException, *_: Any) -> None:
    """An application that fails, so that uvicorn says so."""
    raise error


def place(url: bytes, root: str) -> tuple[str, bytes, bytes]:
    """The decoded path of a request's target, the path as it came, and the query."""
    return (_remembered if len(url) <= _LONGEST_URL else _place)(url, root)


def _place(url: bytes, root: str) -> tuple[str, bytes, bytes]:
    parsed = httptools.parse_url(url)
    raw_path: bytes = parsed.path
    path = raw_path.decode("ascii")
    if "%" in path:
        path = unquote(path)
    return root + path, root.encode("ascii") + raw_path, parsed.query or b""


_remembered = lru_cache(maxsize=512)(_place)
