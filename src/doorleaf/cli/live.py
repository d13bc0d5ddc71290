"""A server that goes on while its settings change: SIGHUP reads them and the rules again."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
from collections.abc import Awaitable, Callable
from time import monotonic, process_time
from typing import Any

from doorleaf.apart import collecting
from doorleaf.cli.shared import reason
from doorleaf.ejson.transcoder import native
from doorleaf.errors import DoorleafError
from doorleaf.http import Endpoint, Message
from doorleaf.metrics import resident
from doorleaf.settings.model import Settings

LOG = logging.getLogger("doorleaf")

FIXED = ("host", "port", "workers")
"""Settings that take a restart."""

LOOK_SECONDS = 0.05
"""How often it is looked whether the last request by the settings before has ended."""

QUIET_SECONDS = 5.0
"""How often it is looked whether nobody asks for anything, so that memory that is free can be given back."""

GROWN_SECONDS = 1.0
"""How often it is looked whether memory has grown by :data:`MUCH_BYTES`."""

_WORKED_SECONDS = 0.05
"""Processor time without which there is nothing to give back, and with which a while was not quiet."""

COLLECTIONS = (20_000, 20, 20)
"""When Python looks for objects that only each other hold: no request leaves any, so it is seldom worth its time."""

BUSY_SECONDS = 600.0
"""After so long they are looked for among all there is, though there was no quiet while, in which nobody waits."""

MUCH_BYTES = 256 * 1024 * 1024
"""What memory may grow by until then: few such objects may hold the large bodies of many requests."""

TOLD = tuple(getattr(signal, name) for name in ("SIGHUP", "SIGUSR1") if hasattr(signal, name))
"""The signals that an application listens to: read the settings again, and only open files anew."""

Make = Callable[[], tuple[Settings, Endpoint]]
"""Makes an application from the settings as they are now. Raises SettingsError, DoorleafError, OSError, ValueError."""

_NO_SIGNALS = (AttributeError, NotImplementedError, RuntimeError, ValueError)
"""What is raised where signals cannot be heard: in a thread that is not the main one, on a system that lacks these,
and by a loop without handlers for them, as that of Windows is."""


class Live:
    """The ASGI application of a process: an endpoint, and after SIGHUP another one.

    A request is served by one endpoint from its beginning to its end. ``apply`` is told the new settings.
    """

    def __init__(self, settings: Settings, endpoint: Endpoint, make: Make, apply: Callable[[Settings], None]) -> None:
        self._settings = settings
        self._endpoint = endpoint
        self.ordinary = endpoint.ordinary
        """Answers a request that came whole."""
        self._make = make
        self._apply = apply
        self._reloading: asyncio.Task[None] | None = None
        self._again = False
        self._leaving: set[asyncio.Task[None]] = set()
        self._giving: asyncio.Task[None] | None = None

    @property
    def bounds(self) -> Any:
        """The bounds of connections."""
        return self._endpoint.bounds

    def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> Awaitable[None]:
        if scope["type"] == "lifespan":
            return self._live(receive, send)
        return self._endpoint(scope, receive, send)

    async def _live(
        self, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        """The lifespan protocol. What opened first and what closes last may be two endpoints."""
        await receive()
        if not await self._endpoint.open():
            await send({"type": "lifespan.startup.failed", "message": ""})
            return
        _settle()
        self._giving = asyncio.create_task(self._give_back(), name="memory")
        self._listen()
        await send({"type": "lifespan.startup.complete"})
        try:
            await receive()
        except asyncio.CancelledError:
            return  # another SIGINT ends the process at once: nobody asks for an end in order, and none is told
        self._listen_no_more()
        self._giving.cancel()
        if self._reloading is not None:
            await self._reloading
        closed = await self._endpoint.close()
        for task in self._leaving:
            task.cancel()
        await asyncio.gather(*self._leaving, return_exceptions=True)
        await send({"type": f"lifespan.shutdown.{'complete' if closed else 'failed'}", "message": ""})

    async def _give_back(self) -> None:
        """Give back memory that requests have left, once nobody has asked for anything for a while: whoever needs
        memory waits meanwhile, and under load it would be taken anew at once."""
        given = last = process_time()
        looked = settled = monotonic()
        size = resident()
        while True:
            await asyncio.sleep(GROWN_SECONDS)
            has_grown = resident() - size > MUCH_BYTES
            if not has_grown and monotonic() - looked < QUIET_SECONDS:
                continue
            now, looked = process_time(), monotonic()
            is_quiet = now - last < _WORKED_SECONDS and not self._endpoint.in_flight
            is_due = collecting.is_due() and (is_quiet or looked - settled > BUSY_SECONDS)
            if is_due or has_grown:
                collecting.settle()
                settled = monotonic()
            if has_grown or (is_quiet and now - given > _WORKED_SECONDS):
                if native is not None:
                    await asyncio.to_thread(native.give_back)
                given = now = process_time()
                size = resident()  # or what was given back would count as growth no more
            last = now

    def _listen(self) -> None:
        with contextlib.suppress(*_NO_SIGNALS):
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGHUP, self.reload)
            loop.add_signal_handler(signal.SIGUSR1, lambda: self._endpoint.reopen())
            signal.pthread_sigmask(signal.SIG_UNBLOCK, TOLD)  # what came since the settings were read comes now

    def _listen_no_more(self) -> None:
        with contextlib.suppress(*_NO_SIGNALS):
            for number in (signal.SIGHUP, signal.SIGUSR1):
                asyncio.get_running_loop().remove_signal_handler(number)
                signal.signal(number, signal.SIG_IGN)  # what it does by itself is to kill

    def reload(self) -> None:
        """Begin to read settings and rules again; asked while that goes on, do it once more."""
        if self._reloading is not None and not self._reloading.done():
            self._again = True
            return
        self._reloading = asyncio.create_task(self._reload(), name="reload")

    async def _reload(self) -> None:
        self._again = True
        while self._again:
            self._again = False
            self._endpoint.reopen()
            try:
                settings, made = await asyncio.to_thread(self._make)
            except (DoorleafError, OSError, ValueError) as error:
                told_unchanged(error)
                continue
            if not await made.open():  # which has told why
                told_unchanged(None)
                continue
            before, self._endpoint, self.ordinary = self._endpoint, made, made.ordinary
            tell_fixed(self._settings, settings)
            self._settings = settings
            self._apply(settings)
            LOG.info("settings and rules are read again")
            leaving = asyncio.create_task(_leave(before), name="leave")
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)


def _settle() -> None:
    """Keep what is there now, which stays to the end, out of every later collection."""
    gc.set_threshold(*COLLECTIONS)
    collecting.settle()
    if native is not None:
        native.give_back()


async def _leave(endpoint: Endpoint) -> None:
    """Close ``endpoint`` when its last request has ended; its streams end now, in order."""
    try:
        endpoint.retire()
        while endpoint.in_flight:  # noqa: ASYNC110  # telling an event of it would cost every request
            await asyncio.sleep(LOOK_SECONDS)
    finally:
        await endpoint.close()
        _settle()


def told_unchanged(error: Exception | None) -> None:
    """Log, in a line, that settings could not be read and stay as they were."""
    why = "the database or the files cannot be opened" if error is None else "; ".join(reason(error).splitlines())
    LOG.error("the settings stay as they were: %s", why)


def tell_fixed(before: Settings, now: Settings) -> None:
    """Log which changed settings are not in effect."""
    names = [name for name in FIXED if getattr(before, name) != getattr(now, name)]
    if names:
        LOG.warning("a change of %s takes a restart", ", ".join(names))
