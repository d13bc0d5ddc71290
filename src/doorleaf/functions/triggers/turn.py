"""A trigger in the hands of this process: how its function is called, tried again, and given up."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import bson

from doorleaf.access.callers import SYSTEM
from doorleaf.apart import CODING, SMALL_BYTES
from doorleaf.documents import CODEC, Document
from doorleaf.errors import DoorleafError
from doorleaf.functions.runtime import Functions
from doorleaf.functions.triggers.config import Trigger
from doorleaf.functions.triggers.records import Records
from doorleaf.functions.triggers.times import now

LOG = logging.getLogger("doorleaf.triggers")
LONGEST_WAIT_SECONDS = 60.0
BUSY_SECONDS = 0.1
"""How often it is looked whether a function may run when as many run as may."""
MOST_TEXT = 500
COPY_SECONDS = 10.0

Observe = Callable[[str, str, float], None]
"""Is told of every call: the trigger's name, ``ok`` or an error's code, and the seconds."""


class Ended(Exception):
    """The turn is over: the trigger is suspended, or is no longer this process's."""


@dataclass(frozen=True, slots=True)
class Means:
    """The parts that turns are made with. ``holder`` is the name of this process in leases; ``most`` failures of a
    function in a row suspend its trigger."""

    records: Records
    functions: Functions
    observe: Observe
    most: int
    holder: str = field(default_factory=lambda: uuid.uuid4().hex)


class Turn:
    """``trigger`` while this process has it; ``record`` is its document when the turn began.

    A function that fails is called again after a second, two, four … and a minute at most, until it is given up.
    """

    def __init__(self, means: Means, trigger: Trigger, record: Document) -> None:
        self.means = means
        self.trigger = trigger
        self.record = record
        self._carried: int = record.get("failures", 0)
        self._ending = asyncio.Event()

    def end(self) -> None:
        """Begin nothing more."""
        self._ending.set()

    def check(self) -> None:
        """Raise Ended if nothing more is to begin."""
        if self._ending.is_set():
            raise Ended

    async def pause(self, seconds: float) -> None:
        """Wait. Raises Ended."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ending.wait()
        self.check()

    async def progress(self, **fields: Any) -> None:
        """Write down how far the trigger has come. Raises Ended when another process has it."""
        if not await self.means.records.progress(self.trigger.name, self.means.holder, fields):
            raise Ended

    async def deliver(self, *arguments: Any) -> datetime:
        """Call the function until it answers; when that was. Raises Ended."""
        failures, self._carried = self._carried, 0
        while (error := await self._called(arguments)) is not None:
            failures += 1
            await self._failed(failures, error)
        if failures:
            await self.progress(failures=0, error="")
        return now()

    async def _called(self, arguments: Sequence[Any]) -> DoorleafError | None:
        """Call the function once, as soon as it may run; what it failed with."""
        self.check()
        while self.means.functions.busy:
            await self.pause(BUSY_SECONDS)
        began, outcome = time.perf_counter(), "cancelled"
        try:
            await self.means.functions.run(self.trigger.function, await _copied(arguments), SYSTEM)
            outcome = "ok"
        except DoorleafError as error:
            outcome = error.code
            return error
        finally:
            self.means.observe(self.trigger.name, outcome, time.perf_counter() - began)
        return None

    async def _failed(self, failures: int, error: DoorleafError) -> None:
        """Wait after a failure, or give up."""
        text = error.message[:MOST_TEXT]
        if failures >= self.means.most:
            await self.suspend(text, failures)
        wait = min(2.0 ** (failures - 1), LONGEST_WAIT_SECONDS)
        self.log(logging.WARNING, f"failed, and is tried again in {wait:g} seconds: {text}")
        await self.progress(failures=failures, error=text)
        await self.pause(wait)

    async def suspend(self, text: str, failures: int = 0) -> None:
        """Let the trigger rest until somebody resumes it. Raises Ended."""
        await self.progress(state="suspended", failures=failures, error=text)
        after = f" after {failures} failures" if failures else ""
        self.log(logging.ERROR, f"is suspended{after}: {text}")
        raise Ended

    def log(self, level: int, text: str) -> None:
        """Write a line about the trigger to the log."""
        name = self.trigger.name
        LOG.log(level, "trigger %s %s", name, text, extra={"fields": {"trigger": name}})


async def _copied(arguments: Sequence[Any]) -> list[Any]:
    """``arguments`` for one call: others are told of the same event, and what a function makes of it is its own."""
    if not arguments:
        return []
    text = bson.encode({"": arguments}, codec_options=CODEC)
    if len(text) < SMALL_BYTES:
        return _decoded(text)
    return await CODING.run(COPY_SECONDS, _decoded, text)


def _decoded(text: bytes) -> list[Any]:
    found: list[Any] = bson.decode(text, CODEC)[""]
    return found
