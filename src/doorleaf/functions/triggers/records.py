"""What is known of triggers in the system database: who runs each, how far it has come, and how it went."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import timedelta
from typing import Any

from doorleaf.access.callers import Tell, untold
from doorleaf.access.identity import happenings
from doorleaf.access.identity.happenings import EVENTS, TRIGGERS
from doorleaf.access.request import HttpRequest
from doorleaf.access.system_store import SystemStore
from doorleaf.documents import Document
from doorleaf.errors import Conflict, DuplicateKey, NotFound
from doorleaf.functions.triggers.config import Trigger
from doorleaf.functions.triggers.times import next_time, now

PAGE = 100
UNSURE_SECONDS = 60
"""After so long, what was about to happen to a user has happened or never will."""


class Records:
    """One document for each trigger of the app ``app``, whose ``_id`` is ``<app>/<name>``.

    A lease is the name of its ``holder`` and a ``beat``, a number that the holder moves on: whoever sees the same one
    for long enough takes the trigger over, whatever the clocks of the machines say. ``state`` is ``running`` or
    ``suspended``. ``at`` is the moment up to which a schedule has run, ``token`` the place behind the last change that
    was told. ``changed`` is called when there are others than before.
    """

    def __init__(
        self, system: SystemStore, app: str, audit: Tell = untold, changed: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        self._system = system
        self._app = app
        self._audit = audit
        self._changed = changed

    def _id(self, name: str) -> str:
        return f"{self._app}/{name}"

    async def prepare(self) -> None:
        """Make the indexes that are needed."""
        await self._system.index(EVENTS, "trigger", "at")
        await self._system.expire(EVENTS, "at", happenings.KEPT_SECONDS)

    async def all(self) -> dict[str, Document]:
        """The documents of the app's triggers by name."""
        return {document["name"]: document for document in await self._system.find(TRIGGERS, {"app": self._app})}

    async def keep(self, triggers: Mapping[str, Trigger], named: Collection[str] | None) -> None:
        """Let there be a document for each of ``triggers``, and none for what is not ``named``, if that is known."""
        found = await self.all()
        for name, trigger in triggers.items():
            listens = not trigger.disabled
            told: Document = {
                "app": self._app, "name": name, "kind": trigger.kind, "place": trigger.place,
                "operations": list(trigger.operations) if listens else [], "providers": list(trigger.providers),
            }  # fmt: skip
            before = found.get(name, {})
            if before.items() >= told.items():
                continue
            begins = (before.get("kind"), before.get("place")) != (trigger.kind, trigger.place)
            if begins or (trigger.watched is not None and trigger.disabled and trigger.skips):
                told |= {"at": now(), "token": None}
            made = {"made": now(), "state": "running", "failures": 0, "error": "", "holder": None, "beat": 0}
            try:
                update = {"$set": told, "$setOnInsert": made}
                await self._system.update(TRIGGERS, {"_id": self._id(name)}, update, upsert=True)
            except DuplicateKey:
                pass  # another process wrote the same in this moment
        gone = [] if named is None else [record["_id"] for name, record in found.items() if name not in named]
        if gone:
            await self._system.delete(TRIGGERS, {"_id": {"$in": gone}})
            await self._system.delete(EVENTS, {"trigger": {"$in": gone}})
        if self._changed is not None:
            await self._changed()

    # --- the lease ---

    async def take(self, record: Document, holder: str) -> bool:
        """Take a trigger over from whoever had it in ``record``; False when somebody else was faster."""
        as_read = {"_id": record["_id"], "holder": record["holder"], "beat": record["beat"]}
        return bool(await self._system.update(TRIGGERS, as_read, {"$set": {"holder": holder}, "$inc": {"beat": 1}}))

    async def renew(self, holder: str) -> None:
        """Move on the beats of all that ``holder`` has."""
        await self._system.update_many(TRIGGERS, {"app": self._app, "holder": holder}, {"$inc": {"beat": 1}})

    async def release(self, holder: str, names: Collection[str]) -> None:
        """Let others have ``names`` at once."""
        held = {"_id": {"$in": [self._id(name) for name in names]}, "holder": holder}
        await self._system.update_many(TRIGGERS, held, {"$set": {"holder": None}})

    async def progress(self, name: str, holder: str, fields: Mapping[str, Any]) -> bool:
        """Write down how far a trigger has come; False when ``holder`` has it no longer."""
        update = {"$set": dict(fields)}
        return bool(await self._system.update(TRIGGERS, {"_id": self._id(name), "holder": holder}, update))

    # --- events of users ---

    async def waiting(self, name: str) -> list[Document]:
        """The first events of users that wait for a trigger, in the order that they happened in."""
        sort = {"at": 1, "_id": 1}
        events = await self._system.find(EVENTS, {"trigger": self._id(name)}, sort=sort, limit=PAGE)
        return [event for event in events if event["sure"] or await self._decided(event)]

    async def _decided(self, event: Document) -> bool:
        """Whether something has happened that was about to; what never did is forgotten."""
        if now() - event["at"] < timedelta(seconds=UNSURE_SECONDS):
            return False
        told = event["event"]
        there = await self._system.find_one("users", {"_id": told["user"]["id"]}) is not None
        if there is (told["operationType"] == "CREATE"):
            return True
        await self.told(event)
        return False

    async def told(self, event: Document) -> None:
        """Forget an event that its trigger knows of."""
        await self._system.delete(EVENTS, {"_id": event["_id"]})

    # --- for whoever looks after them ---

    async def resume(self, name: str, *, from_now: bool = False, by: HttpRequest | None = None) -> None:
        """Let a suspended trigger go on where it was, or ``from_now`` without what has happened until now. NotFound;
        Conflict where it is not suspended."""
        suspended = {"_id": self._id(name), "state": "suspended"}
        changed: Document = {"failures": 0} | ({"at": now(), "token": None} if from_now else {})
        if not await self._system.update(TRIGGERS, suspended, {"$set": changed}):
            if await self._system.find_one(TRIGGERS, {"_id": self._id(name)}) is not None:
                raise Conflict(f"the trigger {name!r} is not suspended")
            raise NotFound(f"there is no trigger {name[:100]!r}, or no server has run it yet", code="TriggerNotFound")
        if from_now:  # before it runs again, which could tell of them
            await self._system.delete(EVENTS, {"trigger": self._id(name)})
        await self._system.update(TRIGGERS, suspended, {"$set": {"state": "running", "error": ""}})
        self._audit("resumeTrigger", target=name, by=by)

    async def listed(self, triggers: Mapping[str, Trigger]) -> list[Document]:
        """How each of ``triggers`` is."""
        records = await self.all()
        return [_described(trigger, records.get(name, {})) for name, trigger in sorted(triggers.items())]


def _described(trigger: Trigger, record: Document) -> Document:
    """``state`` is ``disabled``, ``waiting`` (no server has run it yet), ``running`` or ``suspended``."""
    state = "disabled" if trigger.disabled else record.get("state", "waiting")
    due = trigger.schedule and state == "running" and record.get("at")
    return {
        "name": trigger.name, "type": trigger.kind, "function": trigger.function, "state": state,
        "failures": record.get("failures", 0), "error": record.get("error", ""), "ran": record.get("ran"),
        "next": next_time(trigger.schedule, due) if due else None,
    }  # fmt: skip
