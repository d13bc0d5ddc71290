"""Quotas: how many requests, written documents and bytes a key may use in a day and a month (UTC).

What was used is one document of ``usage`` in the system database for each key and period. Requests and documents are
reserved there before they are let in, so that all processes together let through what the quota says and no more. A
process reserves a few at a time while much is left, one by one towards the end, and gives back every two seconds what
it did not use. Bytes are known afterwards and added then.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from doorleaf.access.callers import Identity
from doorleaf.access.system_store import SystemStore, as_date
from doorleaf.documents import Document
from doorleaf.errors import DoorleafError, DuplicateKey, QuotaExceeded, StoreUnavailable

COLLECTION = "usage"
FLUSH_SECONDS = 2.0
START_SECONDS = 1.5
"""How long a start waits for the system database."""
KEPT = {"day": timedelta(days=62), "month": timedelta(days=400)}
"""How long what was used is kept after the end of its period."""
WHAT = ("requests", "documents", "bytes")
MOST_HELD = 100
SHARE_HELD = 20
"""What a process reserves ahead: at most so many, and at most this part of what is left."""
ALONE_SECONDS = 5.0
"""How long a process counts by itself once the database was away."""

log = logging.getLogger("doorleaf.access")


@dataclass(frozen=True, slots=True)
class Period:
    """A day or month: ``name`` is ``2030-01-31`` or ``2030-01``, ``end`` seconds since 1970."""

    kind: str
    name: str
    end: float


@dataclass(slots=True, eq=False)
class Used:
    """The use of one key in one period: as the database has it, what this process has yet to add, and what it holds:
    what it reserved there and did not use. ``turn`` is for those who reserve."""

    key: str
    period: Period
    stored: dict[str, int] = field(default_factory=dict)
    pending: dict[str, int] = field(default_factory=dict)
    held: dict[str, int] = field(default_factory=dict)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    def total(self, what: str) -> int:
        return self.stored.get(what, 0) + self.pending.get(what, 0) - self.held.get(what, 0)

    def hold(self, what: str, amount: int) -> None:
        """Have ``amount`` more to use."""
        self.held[what] = self.held.get(what, 0) + amount

    def use(self, what: str, amount: int) -> bool:
        """Use ``amount`` of what is held, if that is enough."""
        if self.held.get(what, 0) < amount:
            return False
        self.held[what] -= amount
        return True

    def add(self, what: str, amount: int) -> None:
        """Count ``amount`` that was not reserved."""
        self.pending[what] = self.pending.get(what, 0) + amount


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
        self._turns: dict[str, tuple[asyncio.Lock, int]] = {}
        self._alone_until = 0.0
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

    async def begin(self, identity: Identity) -> None:
        """Count a request; raises :class:`QuotaExceeded` when the requests or bytes are used up."""
        for what, most, used in self._bounds(identity):
            if what == "bytes" and used.total(what) >= most:
                raise self._used_up(what, most, used.period)
        await self.take(identity, "requests", 1)

    async def take(self, identity: Identity, what: str, count: int) -> None:
        """Count ``count`` of requests or documents before they are; raises :class:`QuotaExceeded` for too many."""
        if identity.key_name is None or not self.of(identity):
            return
        taken: list[Used] = []
        try:
            for name, most, used in self._bounds(identity):
                if name == what:
                    await self._reserve(identity.shown, used, what, count, most)
                    taken.append(used)
        except BaseException:
            for used in taken:
                used.hold(what, count)
            raise
        for used in self._places(identity):
            if used not in taken:
                used.add(what, count)

    async def _reserve(self, identifier: str, used: Used, what: str, count: int, most: int) -> None:
        if used.use(what, count):
            return
        async with used.turn:
            while not used.use(what, count):
                if time.monotonic() < self._alone_until:
                    left = most - used.total(what)
                    if count > left:
                        raise self._too_many(what, count, left, most, used.period)
                    used.add(what, count)
                    return
                await self._hold_more(identifier, used, what, count, most)

    async def _hold_more(self, identifier: str, used: Used, what: str, count: int, most: int) -> None:
        """Reserve what ``count`` needs and a little ahead; QuotaExceeded when not even that is left."""
        short = count - used.held.get(what, 0)
        left = most - used.stored.get(what, 0) - used.pending.get(what, 0)
        ahead = max(short, min(MOST_HELD, left // SHARE_HELD))
        for wanted in dict.fromkeys((ahead, short)) if left > 0 else ():
            bound = most - used.pending.get(what, 0)
            try:
                document = await self._system.reserve(
                    COLLECTION, f"{identifier}:{used.period.name}", what, wanted, bound, _fields(used)
                )
            except StoreUnavailable:
                self._alone_until = time.monotonic() + ALONE_SECONDS
                return
            if document is not None:
                used.stored = _amounts(document)
                used.hold(what, wanted)
                return
        if left > 0:
            found = await self._system.find_one(COLLECTION, {"_id": f"{identifier}:{used.period.name}"})
            used.stored = _amounts(found or {})
        raise self._too_many(what, count, most - used.total(what), most, used.period)

    def _too_many(self, what: str, count: int, left: int, most: int, period: Period) -> QuotaExceeded:
        if left <= 0 or what != "documents":
            return self._used_up(what, most, period)
        return self._exceeded(
            f"this would write {count} documents, and of the quota of {most} per {period.kind} {left} are left", period
        )

    async def settle(self, identity: Identity, reserved: int, written: int) -> None:
        """Make good what was reserved for an operation by what it has written."""
        if identity.key_name is None or not self.of(identity) or reserved == written:
            return
        bounded = [used for what, _, used in self._bounds(identity) if what == "documents"]
        for used in self._places(identity):
            if used in bounded and written < reserved:
                used.hold("documents", reserved - written)
                continue
            used.add("documents", written - reserved)
            if used in bounded:  # more than anybody could know before: the others have to know at once
                with contextlib.suppress(DoorleafError):
                    await self._write(identity.shown, used)

    @contextlib.asynccontextmanager
    async def one_at_a_time(self, identity: Identity) -> AsyncIterator[None]:
        """Wait for the caller's other writes of which nobody knows how much they write."""
        lock, waiting = self._turns.get(identity.shown) or (asyncio.Lock(), 0)
        self._turns[identity.shown] = (lock, waiting + 1)
        try:
            async with lock:
                yield
        finally:
            waiting = self._turns[identity.shown][1] - 1
            if waiting:
                self._turns[identity.shown] = (lock, waiting)
            else:
                del self._turns[identity.shown]

    def limits_documents(self, identity: Identity) -> bool:
        """Whether the caller has a quota of documents."""
        quotas = self.of(identity)
        return bool(quotas.get("documents_per_day") or quotas.get("documents_per_month"))

    def add(self, identity: Identity, **amounts: int) -> None:
        """Count what a caller who has a quota used, and what nobody reserved: ``bytes``, above all."""
        if identity.key_name is None or not self.of(identity):
            return
        for used in self._places(identity):
            for what, amount in amounts.items():
                if amount:
                    used.add(what, amount)

    def _places(self, identity: Identity) -> list[Used]:
        return [self._at(identity.shown, identity.key_name or "", period) for period in self._now()]

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
            if used.pending or any(used.held.values()):
                await self._write(identifier, used)
        current = {period.name: period for period in self._now()}
        self._used = {
            place: used
            for place, used in self._used.items()
            if used.period.name in current or used.pending or any(used.held.values())
        }
        for document in await self._system.all(COLLECTION, {"period": {"$in": list(current)}}):
            identifier, _, name = str(document["_id"]).rpartition(":")
            self._at(identifier, str(document.get("key")), current[name]).stored = _amounts(document)

    async def _write(self, identifier: str, used: Used) -> None:
        """Add what is pending, and give back what is held."""
        pending, used.pending = used.pending, {}
        held, used.held = used.held, {}
        adding = {what: pending.get(what, 0) - held.get(what, 0) for what in {**pending, **held}}
        place, fields = f"{identifier}:{used.period.name}", _fields(used)
        try:
            try:
                document = await self._system.add(COLLECTION, place, adding, fields)
            except DuplicateKey:  # another process made the document in this moment
                document = await self._system.add(COLLECTION, place, adding, fields)
        except BaseException:
            for what, amount in pending.items():
                used.add(what, amount)
            for what, amount in held.items():
                used.hold(what, amount)
            raise
        used.stored = _amounts(document)

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
        if any(used.pending or any(used.held.values()) for used in self._used.values()):
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
                if (self._used or self.has_general) and not failing:
                    log.error("quotas cannot be shared with other processes now: %s", error.message)
                    failing = True
            except Exception:  # a loop that died in silence would forget what was used
                log.exception("counting quotas failed")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FLUSH_SECONDS):
                    await self._stopping.wait()


def _fields(used: Used) -> Document:
    """What a document of ``usage`` is made with."""
    end = as_date(used.period.end) + KEPT[used.period.kind]
    return {"key": used.key, "period": used.period.name, "expires": end}


def _amounts(document: Mapping[str, Any]) -> dict[str, int]:
    return {what: int(document[what]) for what in WHAT if isinstance(document.get(what), int)}


async def usage(system: SystemStore, key: str) -> list[Document]:
    """The use of the key called ``key``: one document for each day and month that is kept, newest first."""
    found = await system.find(COLLECTION, {"key": key}, sort={"period": -1})
    return [{"period": document["period"], **_amounts(document)} for document in found]
