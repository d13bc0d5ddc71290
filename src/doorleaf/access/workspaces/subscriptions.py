"""The quota of subscriptions, exactly, in however many processes they are: each one has a numbered place.

A place is a document of ``workspace_subscriptions``, which its process holds for some seconds and prolongs. So those of
a process that was killed come free by themselves. Who finds that another has its place, or that there are fewer places
than before, tries for another one, and else ends the subscription.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable
from datetime import datetime

from doorleaf.access.system_store import SystemStore, as_date
from doorleaf.access.workspaces.tenancy import Workspace
from doorleaf.documents import Document
from doorleaf.errors import DoorleafError, DuplicateKey, QuotaExceeded

COLLECTION = "workspace_subscriptions"
KIND = "subscriptions"
HELD_SECONDS = 15.0
"""How long a place is held that nobody prolongs."""
PROLONG_SECONDS = 3.0

log = logging.getLogger("doorleaf.access")


class Subscription:
    """A subscription that is open: with the ``number`` of its place where the workspace has a quota, and with the
    ``error`` that ends it once it has none any more."""

    __slots__ = ("_places", "error", "number")

    def __init__(self, places: Places) -> None:
        self._places = places
        self.number: int | None = None
        self.error: DoorleafError | None = None

    async def leave(self) -> None:
        """Give the place back."""
        await self._places.leave(self)


class Subscriptions:
    """The subscriptions of this process. ``latest`` gives a workspace as it is now, ``clock`` seconds since 1970."""

    def __init__(
        self, system: SystemStore, latest: Callable[[str], Workspace | None], *, clock: Callable[[], float] = time.time
    ) -> None:
        self._system = system
        self._latest = latest
        self._clock = clock
        self._holder = secrets.token_hex(8)
        self._places: dict[str, Places] = {}
        self._prolonging: asyncio.Task[None] | None = None

    async def prepare(self) -> None:
        """Make the index that is needed, and let places end that nobody holds."""
        await self._system.index(COLLECTION, "workspace")
        await self._system.expire(COLLECTION, "until", 60)

    async def enter(self, place: Workspace) -> Subscription:
        """Count one more; QuotaExceeded where the workspace may have no more."""
        places = self._places.get(place.id)
        if places is None:
            places = self._places[place.id] = Places(self._system, place.id, self._holder, self._clock)
        subscription = Subscription(places)
        places.open.add(subscription)
        if self._prolonging is None or self._prolonging.done():
            self._prolonging = asyncio.create_task(self._prolong(), name="subscriptions")
        try:
            await places.settle(subscription, place.quotas.get(KIND))
        except BaseException:
            places.drop(subscription)
            raise
        return subscription

    async def _prolong(self) -> None:
        """Look at all again and again, as long as there are any."""
        while True:
            await asyncio.sleep(PROLONG_SECONDS)
            for name, places in [*self._places.items()]:
                latest = self._latest(name)
                try:
                    await places.look(None if latest is None else latest.quotas.get(KIND))
                except DoorleafError:
                    continue  # the system database is away; whoever took a place meanwhile is found then
                except Exception:
                    log.exception("looking at the subscriptions of a workspace failed")
                if not places.open:
                    del self._places[name]
            if not self._places:
                return


class Places:
    """The places of one workspace, as far as this process has them."""

    def __init__(self, system: SystemStore, workspace: str, holder: str, clock: Callable[[], float]) -> None:
        self._system = system
        self._workspace = workspace
        self._holder = holder
        self._clock = clock
        self.open: set[Subscription] = set()
        self._left: set[int] = set()
        self._next = 0
        """The place to try first."""
        self._one = asyncio.Lock()

    async def settle(self, subscription: Subscription, most: int | None) -> None:
        """Give a subscription a place below ``most``, None for no quota; QuotaExceeded where there is none."""
        if most is not None:
            async with self._one:
                if subscription.error is not None:  # it was looked at meanwhile
                    raise subscription.error
                if subscription.number is None:
                    subscription.number = await self._take(most)

    def drop(self, subscription: Subscription) -> None:
        """Forget a subscription; its place is given back with the next that is done."""
        self.open.discard(subscription)
        if subscription.number is not None:
            self._left.add(subscription.number)
            subscription.number = None

    async def leave(self, subscription: Subscription) -> None:
        """Give the place back; one that cannot be now comes free by itself."""
        self.drop(subscription)
        if self._left:
            with contextlib.suppress(DoorleafError):
                async with self._one:
                    await self._give_back()

    async def look(self, most: int | None) -> None:
        """Prolong what is held, take what the quota now asks for, and end what has no place."""
        async with self._one:
            await self._give_back()
            held = [one.number for one in self.open if one.number is not None]
            mine = {"_id": {"$in": [*map(self._name, held)]}, "holder": self._holder}
            kept: set[int] = set(held)
            prolonged: Document = {"$set": {"until": self._until()}}
            if held and await self._system.update_many(COLLECTION, mine, prolonged) < len(held):
                kept = {int(one["number"]) for one in await self._system.find(COLLECTION, mine)}
            for one in [*self.open]:
                if one.number is not None and (most is None or one.number >= most or one.number not in kept):
                    self._left |= {one.number} & kept
                    one.number = None
                if most is not None and one.number is None and one.error is None:
                    await self._settle_anew(one, most)
            await self._give_back()

    async def _settle_anew(self, one: Subscription, most: int) -> None:
        try:
            number = await self._take(most)
        except QuotaExceeded as error:
            one.error = error
            return
        if one in self.open:
            one.number = number
        else:  # it left meanwhile
            self._left.add(number)

    async def _give_back(self) -> None:
        left = [*self._left]
        if left:
            names = {"_id": {"$in": [*map(self._name, left)]}, "holder": self._holder}
            await self._system.delete(COLLECTION, names)
            self._left.difference_update(left)
            self._next = min(self._next, *left)

    async def _take(self, most: int) -> int:
        """A place that was free: the next one if that is, else the first one that is found."""
        await self._give_back()
        if self._next < most and await self._insert(self._next):
            self._next += 1
            return self._next - 1
        now, known = as_date(self._clock()), {"workspace": self._workspace}
        held: dict[int, datetime] = {
            int(one["number"]): one["until"] for one in await self._system.find(COLLECTION, known)
        }
        for number in range(most):
            over = number in held and held[number] < now
            if (over and await self._replace(number, now)) or (number not in held and await self._insert(number)):
                self._next = number + 1
                return number
        self._next = most
        raise QuotaExceeded(f"the workspace may have {most} subscriptions at once", fields={"quota": KIND})

    async def _insert(self, number: int) -> bool:
        place = {"_id": self._name(number), "workspace": self._workspace, "number": number}
        try:
            await self._system.insert(COLLECTION, {**place, "holder": self._holder, "until": self._until()})
        except DuplicateKey:
            return False
        return True

    async def _replace(self, number: int, now: datetime) -> bool:
        over = {"_id": self._name(number), "until": {"$lt": now}}
        change = {"$set": {"holder": self._holder, "until": self._until()}}
        return bool(await self._system.update(COLLECTION, over, change))

    def _name(self, number: int) -> str:
        return f"{self._workspace} {number}"

    def _until(self) -> datetime:
        return as_date(self._clock() + HELD_SECONDS)
