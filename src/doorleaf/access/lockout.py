"""Back-off after failed logins: for each account name in the system database, for each address in memory.

The first failures are free; from then on each doubles the time until the next password is looked at. Names are counted
whether they exist or not, so that being locked says nothing, and are stored as hashes.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from doorleaf.access.addresses import neighbourhood
from doorleaf.access.limits import account
from doorleaf.access.system_store import SystemStore, as_date, as_seconds
from doorleaf.errors import DuplicateKey

COLLECTION = "login_failures"
FORGOTTEN_SECONDS = 24 * 3600
"""After this long without a failure all is forgotten."""
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


OF_NAME = Patience(free=5, longest=900)
OF_ADDRESS = Patience(free=50, longest=60)
"""Many people may share an address, and one of them may have a program with a wrong password."""


class Lockout:
    """Counts failures. ``clock`` gives seconds since 1970."""

    def __init__(self, system: SystemStore, *, clock: Callable[[], float] = time.time) -> None:
        self._system = system
        self._clock = clock
        self._addresses: OrderedDict[str, tuple[int, float]] = OrderedDict()

    async def locked(self, name: str, address: str) -> bool:
        """Whether no password for ``name`` from ``address`` is looked at now."""
        now = self._clock()
        failures, last = self._addresses.get(neighbourhood(address), (0, 0.0))
        by_address = now < last + OF_ADDRESS.pause(failures)
        document = await self._system.find_one(COLLECTION, {"_id": account(name)})
        if document is None:
            return by_address
        until = (as_seconds(document.get("last")) or 0.0) + OF_NAME.pause(int(document.get("failures", 0)))
        return by_address or now < until

    async def failed(self, name: str, address: str) -> None:
        """A password was wrong, or the account did not exist."""
        now = self._clock()
        place = account(name)
        try:
            await self._count(place, now)
        except DuplicateKey:  # another process made the document in this moment
            await self._count(place, now)
        if not address:
            return
        where = neighbourhood(address)
        failures, last = self._addresses.pop(where, (0, 0.0))
        self._addresses[where] = (failures + 1 if now < last + FORGOTTEN_SECONDS else 1, now)
        if len(self._addresses) > REMEMBERED:
            self._addresses.popitem(last=False)

    async def _count(self, place: str, now: float) -> None:
        change = {"$inc": {"failures": 1}, "$set": {"last": as_date(now)}}
        await self._system.update(COLLECTION, {"_id": place}, change, upsert=True)

    async def succeeded(self, name: str) -> None:
        """The password was right: its failures are forgotten. Those of the address are not."""
        await self._system.delete(COLLECTION, {"_id": account(name)})

    async def sweep(self) -> None:
        """Forget old failures."""
        before = as_date(self._clock() - FORGOTTEN_SECONDS)
        await self._system.delete(COLLECTION, {"last": {"$lt": before}})

    async def prepare(self) -> None:
        """Make the index that :meth:`sweep` needs."""
        await self._system.index(COLLECTION, "last")
