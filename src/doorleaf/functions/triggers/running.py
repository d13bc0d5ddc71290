"""The triggers of an app in service: each is run by one of all processes that serve the database."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from doorleaf.access.request import HttpRequest
from doorleaf.documents import Document
from doorleaf.errors import DoorleafError
from doorleaf.functions.load import Loaded
from doorleaf.functions.triggers import changes, scheduled, users
from doorleaf.functions.triggers.config import Trigger
from doorleaf.functions.triggers.turn import LOG, Ended, Means, Turn

RENEW_SECONDS = 2.0
LEASE_SECONDS = 8.0
"""After so long without a sign of life, another process takes a trigger over."""
SURE_SECONDS = 6.0
"""So long after its last sign of life a process takes its triggers for its own."""
STOP_SECONDS = 5.0
"""How long functions may go on when the server ends or the trigger changes."""

RUN: dict[str, Callable[[Turn], Awaitable[None]]] = {
    "DATABASE": changes.run,
    "SCHEDULED": scheduled.run,
    "AUTHENTICATION": users.run,
}
"""What runs each kind of trigger until its turn ends."""


@dataclass(slots=True)
class _Held:
    """A trigger that this process has. ``ended`` is when its task ended, ``ending`` when that was asked to, each by
    ``time.monotonic()``; ``trouble`` is what was logged last."""

    trigger: Trigger
    turn: Turn | None = None
    task: asyncio.Task[None] | None = None
    ended: float = 0.0
    ending: float = 0.0
    trouble: str = ""

    def end(self, moment: float) -> None:
        """Let the turn begin nothing more."""
        self.ending = self.ending or moment
        if self.turn is not None:
            self.turn.end()

    def is_over(self, wanted: Trigger | None, moment: float) -> bool:
        """Whether the turn is to be cut at ``moment``, because another trigger, or none, is wanted in its place."""
        if wanted == self.trigger:
            return False
        self.end(moment)
        return self.task is None or moment - self.ending > STOP_SECONDS


class Triggers:
    """Takes triggers nobody runs, and runs them until they change, another process has them, or the server ends."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._functions, self._records, self._holder = means.functions, means.records, means.holder
        self._held: dict[str, _Held] = {}
        self._seen: dict[str, tuple[object, float]] = {}
        self._kept: Loaded | None = None
        self._prepared = False
        self._renewed = 0.0
        self._trouble = ""
        self._task: asyncio.Task[None] | None = None

    async def listed(self) -> list[Document]:
        """How each trigger of the app is."""
        return await self._records.listed(self._functions.version.loaded.triggers)

    async def resume(self, name: str, *, from_now: bool, by: HttpRequest | None = None) -> None:
        """Let a suspended trigger go on: see :meth:`Records.resume`."""
        await self._records.resume(name, from_now=from_now, by=by)

    # --- life ---

    async def start(self) -> None:
        """Begin to look for triggers to run."""
        self._task = asyncio.create_task(self._look_on(), name="triggers")

    async def stop(self) -> None:
        """End all turns in order, and let other processes have the triggers at once."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        with contextlib.suppress(DoorleafError):  # others find out by themselves
            await self._end()

    async def _look_on(self) -> None:
        while True:
            # With triggers in hand there is only so much time until another process takes them.
            until = self._renewed + SURE_SECONDS if self._held else time.monotonic() + LEASE_SECONDS
            try:
                async with asyncio.timeout(max(0.0, until - time.monotonic())):
                    await self._look()
                self._trouble = ""
            except (DoorleafError, TimeoutError) as error:
                self._told(error)
                if time.monotonic() + RENEW_SECONDS >= until:
                    await self._cancel([*self._held])
            except Exception:  # a loop that died in silence would keep the triggers from everybody
                LOG.exception("looking for triggers failed")
            await asyncio.sleep(RENEW_SECONDS)

    def _told(self, error: Exception) -> None:
        text = getattr(error, "message", "") or "the system database did not answer in time"
        if text != self._trouble:
            LOG.error("triggers wait: %s", text)
        self._trouble = text

    # --- who has which ---

    async def _look(self) -> None:
        loaded, began = self._functions.version.loaded, time.monotonic()
        if loaded is not self._kept:
            await self._keep(loaded)
        records = await self._records.all()
        mine = {name for name, record in records.items() if record["holder"] == self._holder}
        await self._cancel([name for name in self._held if name not in mine])
        wanted = {name: it for name, it in loaded.triggers.items() if not it.disabled}
        await self._cancel([name for name, held in self._held.items() if held.is_over(wanted.get(name), began)])
        for name, trigger in wanted.items():
            record = records.get(name)
            if record is None:  # somebody deleted it
                self._kept = None
            elif name in mine or (self._is_free(record) and await self._records.take(record, self._holder)):
                self._go_on(trigger, record, began)
        if unwanted := [name for name in mine if name not in wanted and name not in self._held]:
            await self._records.release(self._holder, unwanted)
        if self._held:
            renewing = time.monotonic()
            await self._records.renew(self._holder)
            self._renewed = renewing

    async def _keep(self, loaded: Loaded) -> None:
        if not self._prepared:
            await self._records.prepare()
            self._prepared = True
        await self._records.keep(loaded.triggers, loaded.named)
        self._kept = loaded

    def _is_free(self, record: Document) -> bool:
        """Whether a trigger may be taken: nobody has it, or whoever has it showed no life for long enough."""
        if record["holder"] is None:
            return True
        seen, moment = (record["holder"], record["beat"]), time.monotonic()
        before = self._seen.get(record["name"])
        if before is None or before[0] != seen:
            self._seen[record["name"]] = (seen, moment)
            return False
        return moment - before[1] >= LEASE_SECONDS

    def _go_on(self, trigger: Trigger, record: Document, read: float) -> None:
        """Begin a turn if there is none, and the trigger, as it was at the moment ``read``, is not suspended."""
        held = self._held.get(trigger.name)
        if held is None:
            if not self._held:
                self._renewed = read
            held = self._held[trigger.name] = _Held(trigger)
            LOG.info("trigger %s runs in this process", trigger.name, extra={"fields": {"trigger": trigger.name}})
        if held.task is None and held.trigger == trigger and record["state"] == "running" and held.ended < read:
            held.turn = Turn(self._means, trigger, record)
            held.task = asyncio.create_task(self._run(held, held.turn), name=f"trigger {trigger.name}")

    async def _run(self, held: _Held, turn: Turn) -> None:
        try:
            await RUN[turn.trigger.kind](turn)
        except Ended:
            pass
        except DoorleafError as error:
            if error.message != held.trouble:
                turn.log(logging.WARNING, f"waits: {error.message}")
            held.trouble = error.message
        except Exception:
            LOG.exception("trigger %s: internal error", turn.trigger.name)
        finally:
            held.turn = held.task = None
            held.ended = time.monotonic()

    # --- ending ---

    async def _end(self) -> None:
        """End all turns after what runs at this moment, and let others have the triggers."""
        for held in self._held.values():
            held.end(time.monotonic())
        if tasks := [held.task for held in self._held.values() if held.task is not None]:
            await asyncio.wait(tasks, timeout=STOP_SECONDS)
        names = [*self._held]
        await self._cancel(names)
        if names:
            await self._records.release(self._holder, names)

    async def _cancel(self, names: Iterable[str]) -> None:
        """End turns at once."""
        tasks = [held.task for name in names if (held := self._held.pop(name)).task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
