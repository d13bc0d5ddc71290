"""Quotas: how many requests, written documents and bytes a key may use in a day and a month (UTC).

What was used is one document of ``usage`` in the system database for each key and period. Every process counts in
memory and adds its counts there every two seconds, reading what the others added; so together they may let through
what is asked for within that time, and no more.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from doorleaf.access.callers import Identity
from doorleaf.access.system_store import SystemStore, as_date
from doorleaf.documents import Document
from doorleaf.errors import DoorleafError, DuplicateKey, QuotaExceeded

COLLECTION = "usage"
FLUSH_SECONDS = 2.0
START_SECONDS = 1.5
"""How long a start waits for the system database."""
KEPT = {"day": timedelta(days=62), "month": timedelta(days=400)}
"""How long what was used is kept after the end of its period."""
WHAT = ("requests", "documents", "bytes")

log = logging.getLogger("doorleaf.access")


@dataclass(frozen=True, slots=True)
class Period:
    """A day or month: ``name`` is ``2030-01-31`` or ``2030-01``, ``end`` seconds since 1970."""

    kind: str
    name: str
    end: float


@dataclass(slots=True)
class Used:
    """What one key used in one period: as the database has it, and what this process has yet to add."""

    key: str
    period: Period
    stored: dict[str, int] = field(default_factory=dict)
    pending: dict[str, int] = field(default_factory=dict)

    def total(self, what: str) -> int:
        return self.stored.get(what, 0) + self.pending.get(what, 0)


def periods(now: float) -> tuple[Period, Period]:
    """The day and the month that ``now``, in seconds since 1970, lies in."""
    date = datetime.fromtimestamp(now, UTC)
    midnight = date.replace(hour=0, minute=0, second=0, microsecond=0)
    first = midnight.replace(day=1)
    next_first = (first + timedelta(days=32)).replace(day=1)
    return (
        Period("day", f"{midnight:%Y-%m-%d}", (midnight + timedelta(days=1)).timestamp()),
        Period("month", f"{first:%Y-%m}", next_first.timestamp()),
    )


class Quotas:
    """The quotas of all keys: ``general`` by name, which a key's own replace one by one; 0 is none.

    ``clock`` gives seconds since 1970.
    """

    def __init__(
        self, system: SystemStore, general: Mapping[str, int], *, clock: Callable[[], float] = time.time
    ) -> None:
        self._system = system
        self._general = dict(general)
        self._clock = clock
        self._periods = periods(clock())
        self._used: dict[tuple[str, str], Used] = {}
        self._task: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self.has_general = bool(general)
        """Whether every key has a quota."""

    def of(self, identity: Identity) -> Mapping[str, int]:
        """The quotas of a caller, by name; only keys have any."""
        if identity.key_name is None:
            return {}
        own = None if identity.limits is None else identity.limits.quotas
        return {**self._general, **own} if own else self._general

    def begin(self, identity: Identity) -> None:
        """Count a request; raises :class:`QuotaExceeded` when the requests or bytes are used up."""
        for what, most, used in self._bounds(identity):
            if what != "documents" and used.total(what) >= most:
                raise self._used_up(what, most, used.period)
        self.add(identity, requests=1)

    def require_documents(self, identity: Identity, count: int) -> None:
        """Raise :class:`QuotaExceeded` when ``count`` documents more may not be written."""
        for what, most, used in self._bounds(identity):
            if what != "documents":
                continue
            left = most - used.total(what)
            if left <= 0:
                raise self._used_up(what, most, used.period)
            if count > left:
                raise self._exceeded(
                    f"this would write {count} documents, and of the quota of {most} per {used.period.kind} "
                    f"{left} are left",
                    used.period,
                )

    def limits_documents(self, identity: Identity) -> bool:
        """Whether the caller has a quota of documents."""
        quotas = self.of(identity)
        return bool(quotas.get("documents_per_day") or quotas.get("documents_per_month"))

    def add(self, identity: Identity, **amounts: int) -> None:
        """Count ``requests``, ``documents`` or ``bytes`` of a caller who has a quota."""
        if identity.key_name is None or not self.of(identity):
            return
        for period in self._now():
            pending = self._at(identity.shown, identity.key_name, period).pending
            for what, amount in amounts.items():
                if amount:
                    pending[what] = pending.get(what, 0) + amount

    def _bounds(self, identity: Identity) -> Iterator[tuple[str, int, Used]]:
        """What, how much of it, and what was used, for every quota that the caller has."""
        quotas = self.of(identity)
        if not quotas:
            return
        by_kind = {period.kind: self._at(identity.shown, identity.key_name or "", period) for period in self._now()}
        for name, most in quotas.items():
            if most:
                what, _, kind = name.partition("_per_")
                yield what, most, by_kind[kind]

    def _at(self, identifier: str, key: str, period: Period) -> Used:
        place = (identifier, period.name)
        used = self._used.get(place)
        if used is None:
            used = self._used[place] = Used(key, period)
        return used

    def _now(self) -> tuple[Period, Period]:
        now = self._clock()
        if now >= self._periods[0].end:
            self._periods = periods(now)
        return self._periods

    def _used_up(self, what: str, most: int, period: Period) -> QuotaExceeded:
        return self._exceeded(f"the quota of {most} {what} per {period.kind} is used up", period)

    def _exceeded(self, message: str, period: Period) -> QuotaExceeded:
        wait = max(1, math.ceil(period.end - self._clock()))
        until = datetime.fromtimestamp(period.end, UTC)
        return QuotaExceeded(
            f"{message}; it begins anew at {until:%Y-%m-%dT%H:%M:%SZ}", headers={"Retry-After": str(wait)}
        )

    # --- the database ---

    async def flush(self) -> None:
        """Add what was counted to the database, and read what other processes added."""
        for (identifier, _), used in list(self._used.items()):
            if used.pending:
                await self._write(identifier, used)
        current = {period.name: period for period in self._now()}
        self._used = {place: used for place, used in self._used.items() if used.pending or used.period.name in current}
        for document in await self._system.find(COLLECTION, {"period": {"$in": list(current)}}):
            identifier, _, name = str(document["_id"]).rpartition(":")
            self._at(identifier, str(document.get("key")), current[name]).stored = _amounts(document)

    async def _write(self, identifier: str, used: Used) -> None:
        adding = dict(used.pending)
        end = as_date(used.period.end) + KEPT[used.period.kind]
        fields = {"key": used.key, "period": used.period.name, "expires": end}
        place = f"{identifier}:{used.period.name}"
        try:
            document = await self._system.add(COLLECTION, place, adding, fields)
        except DuplicateKey:  # another process made the document in this moment
            document = await self._system.add(COLLECTION, place, adding, fields)
        used.stored = _amounts(document)
        # Requests were counted while the database worked; only what it has now is no longer pending.
        used.pending = {what: rest for what, amount in used.pending.items() if (rest := amount - adding.get(what, 0))}

    async def start(self, patience: float = START_SECONDS) -> None:
        """Read what was used, and go on adding and reading. A database that is away is read later."""
        loaded = asyncio.Event()
        self._stopping.clear()
        self._task = asyncio.create_task(self._flush_forever(loaded), name="quotas")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await loaded.wait()

    async def stop(self) -> None:
        """End the adding, after the last time."""
        if self._task is None:
            return
        self._stopping.set()  # not cancelled: an addition cut short would be made twice
        await self._task
        self._task = None
        if any(used.pending for used in self._used.values()):
            with contextlib.suppress(DoorleafError):
                await self.flush()

    async def _flush_forever(self, loaded: asyncio.Event) -> None:
        prepared, failing = False, False
        while not self._stopping.is_set():
            try:
                if self._used or not loaded.is_set():
                    await self.flush()
                    loaded.set()
                if self._used and not prepared:
                    await self._system.index(COLLECTION, "period")
                    await self._system.expire(COLLECTION, "expires", 0)
                    prepared = True
                failing = False
            except DoorleafError as error:
                if not failing:
                    log.error("quotas cannot be shared with other processes now: %s", error.message)
                failing = True
            except Exception:  # a loop that died in silence would forget what was used
                log.exception("counting quotas failed")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FLUSH_SECONDS):
                    await self._stopping.wait()


def _amounts(document: Mapping[str, Any]) -> dict[str, int]:
    return {what: int(document[what]) for what in WHAT if isinstance(document.get(what), int)}


async def usage(system: SystemStore, key: str) -> list[Document]:
    """What the key called ``key`` used: one document for each day and month that is kept, newest first."""
    found = await system.find(COLLECTION, {"key": key}, sort={"period": -1})
    return [{"period": document["period"], **_amounts(document)} for document in found]
