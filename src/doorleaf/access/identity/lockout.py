"""Back-off after failed logins, so that nobody guesses a password and nobody keeps its owner out.

Failures are counted for the pair of an account and the place that tried it, and that pair is locked first. A *place* is
a device that this server gave its id, or an address (of IPv6 a /64). A place from which the account's password was
right lately is *known*: nothing that others do locks it. All other places together are locked with the account once
very many passwords were wrong, and an address that tries many accounts is locked for them.

The first failures are free; from then on each doubles the time until the next password is looked at. Names are counted
whether they exist or not, so that being locked says nothing, and are stored as hashes.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from doorleaf.access.addresses import neighbourhood
from doorleaf.access.limits.rates import account
from doorleaf.access.system_store import SystemStore, as_date, as_seconds
from doorleaf.documents import Document
from doorleaf.errors import DuplicateKey

COLLECTION = "login_failures"
PLACES = "login_places"
FORGOTTEN_SECONDS = 24 * 3600
"""After this long without a failure all is forgotten."""
KNOWN_SECONDS = 30 * 24 * 3600
"""How long a place is known after the password was right there."""
NOTED_SECONDS = 24 * 3600
"""How old the note of a known place may grow before it is written again."""
REMEMBERED = 10_000
"""Addresses that are remembered."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How many failures are free, and the longest pause in seconds that further ones can bring."""

    free: int
    longest: float

    def pause(self, failures: int) -> float:
        """Seconds until the next password is looked at."""
        return 0.0 if failures < self.free else min(2.0 ** min(failures - self.free, 30), self.longest)


OF_PLACE = Patience(free=5, longest=900)
OF_ACCOUNT = Patience(free=100, longest=900)
"""For all places together that are not known; what a hundred of them can try is bounded as what one can."""
OF_ADDRESS = Patience(free=50, longest=60)
"""Many people may share an address, and one of them may have a program with a wrong password."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """Somebody at ``address`` who shows a password for the account ``name``; ``device`` is the id of a device that
    this server gave, "" without one."""

    name: str
    address: str
    device: str = ""

    @property
    def account(self) -> str:
        """The name of the account in the counts."""
        return account(self.name)

    @property
    def by_address(self) -> str:
        """The name of the account and the address together."""
        return account(f"{self.account} {neighbourhood(self.address)}")

    @property
    def by_device(self) -> str | None:
        """The name of the account and the device together; None without a device."""
        return account(f"{self.account} device {self.device}") if self.device else None


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether no password of an attempt is looked at now (``locked``), and whether its place is ``known``.

    ``place`` is where its failure counts, ``failed`` whether there are failures already, and ``noted`` when each known
    place was last written down, in seconds since 1970.
    """

    locked: bool
    known: bool
    place: str
    failed: bool
    noted: dict[str, float]


class Lockout:
    """Counts failures. ``clock`` gives seconds since 1970."""

    def __init__(self, system: SystemStore, *, clock: Callable[[], float] = time.time) -> None:
        self._system = system
        self._clock = clock
        self._addresses: OrderedDict[str, tuple[int, float]] = OrderedDict()

    async def standing(self, attempt: Attempt) -> Standing:
        """How an attempt stands before its password is looked at."""
        now = self._clock()
        by_device, by_address, whole = attempt.by_device, attempt.by_address, attempt.account
        noted = await self._noted([place for place in (by_device, by_address) if place is not None], now)
        place = by_device if by_device is not None and by_device in noted else by_address
        wanted = {"_id": {"$in": [place, whole]}}
        failures = {document["_id"]: document for document in await self._system.find(COLLECTION, wanted, limit=2)}
        locked = now < _until(failures.get(place), OF_PLACE)
        if not noted:
            count, last = self._addresses.get(neighbourhood(attempt.address), (0, 0.0))
            locked = locked or now < _until(failures.get(whole), OF_ACCOUNT) or now < last + OF_ADDRESS.pause(count)
        return Standing(locked, bool(noted), place, place in failures, noted)

    async def _noted(self, places: list[str], now: float) -> dict[str, float]:
        filter = {"_id": {"$in": places}, "last": {"$gte": as_date(now - KNOWN_SECONDS)}}
        found = await self._system.find(PLACES, filter, limit=len(places))
        return {document["_id"]: as_seconds(document["last"]) or 0.0 for document in found}

    async def failed(self, attempt: Attempt, standing: Standing) -> None:
        """A password was wrong, or the account did not exist."""
        now = self._clock()
        await self._count(standing.place, attempt, now)
        if standing.known:
            return
        await self._count(attempt.account, attempt, now)
        if not attempt.address:
            return
        where = neighbourhood(attempt.address)
        failures, last = self._addresses.pop(where, (0, 0.0))
        self._addresses[where] = (failures + 1 if now < last + FORGOTTEN_SECONDS else 1, now)
        if len(self._addresses) > REMEMBERED:
            self._addresses.popitem(last=False)

    async def _count(self, place: str, attempt: Attempt, now: float) -> None:
        change = {"$inc": {"failures": 1}, "$set": {"last": as_date(now), "account": attempt.account}}
        await self._upsert(COLLECTION, place, change)

    async def succeeded(self, attempt: Attempt, standing: Standing) -> None:
        """The password was right: its place is known from now on, and what failed there is forgotten.

        What failed elsewhere is not, else whoever guesses would only wait for the owner's next login.
        """
        if standing.failed:
            await self._system.delete(COLLECTION, {"_id": standing.place})
        now = self._clock()
        change = {"$set": {"last": as_date(now), "account": attempt.account}}
        for place in (attempt.by_device, attempt.by_address):
            if place is not None and standing.noted.get(place, 0.0) < now - NOTED_SECONDS:
                await self._upsert(PLACES, place, change)

    async def _upsert(self, collection: str, place: str, change: Document) -> None:
        try:
            await self._system.update(collection, {"_id": place}, change, upsert=True)
        except DuplicateKey:  # another process made the document in this moment
            await self._system.update(collection, {"_id": place}, change)

    async def forget(self, name: str) -> None:
        """The account has another password: forget what failed, and which places were known by the one before."""
        for collection in (COLLECTION, PLACES):
            await self._system.delete(collection, {"account": account(name)})

    async def sweep(self) -> None:
        """Forget old failures and places."""
        for collection, seconds in ((COLLECTION, FORGOTTEN_SECONDS), (PLACES, KNOWN_SECONDS)):
            await self._system.delete(collection, {"last": {"$lt": as_date(self._clock() - seconds)}})

    async def prepare(self) -> None:
        """Make the indexes that are needed."""
        for collection in (COLLECTION, PLACES):
            await self._system.index(collection, "last")
            await self._system.index(collection, "account")


def _until(document: dict[str, Any] | None, patience: Patience) -> float:
    """The time at which the next password is looked at, in seconds since 1970."""
    if document is None:
        return 0.0
    return (as_seconds(document.get("last")) or 0.0) + patience.pause(int(document.get("failures", 0)))
