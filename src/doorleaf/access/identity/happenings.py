"""What happens to users, for the triggers that want to know: it waits in the system database until each was told.

The document of a trigger in ``triggers`` says what it wants, so that any process, the command line too, knows. What is
about to happen is written down before it does, as not sure: whoever reads it later sees by the user whether it did.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal, get_args

import bson
from bson import ObjectId

from doorleaf.access.system_store import SystemStore, as_date
from doorleaf.documents import CODEC, Document

TRIGGERS = "triggers"
EVENTS = "trigger_events"
KEPT_SECONDS = 7 * 24 * 3600
"""How long an event waits for its trigger."""
MOST_BYTES = 1024 * 1024
"""Of a user's custom data; what is larger is left out of events."""

Happening = Literal["LOGIN", "CREATE", "DELETE"]
KINDS: tuple[Happening, ...] = get_args(Happening)


class Happenings:
    """Events of users. ``clock`` gives seconds since 1970.

    What triggers want to know is kept in memory once :meth:`reload` has read it; without that, as on the command line,
    the database is asked each time.
    """

    def __init__(self, system: SystemStore, *, clock: Callable[[], float] = time.time) -> None:
        self._system = system
        self._clock = clock
        self._triggers: list[Document] | None = None

    async def reload(self) -> None:
        """Read which triggers there are for users."""
        self._triggers = await self._listening()

    async def _listening(self) -> list[Document]:
        fields: Document = {"operations": 1, "providers": 1}
        return await self._system.find(TRIGGERS, {"operations": {"$in": list(KINDS)}}, projection=fields)

    async def tell(self, kind: Happening, providers: Sequence[str], user: Mapping[str, Any]) -> None:
        """Note what has happened to ``user``, an object as :attr:`Identity.user` is one."""
        await self._note(kind, providers, user, sure=True)

    @asynccontextmanager
    async def around(self, kind: Happening, providers: Sequence[str], user: Mapping[str, Any]) -> AsyncIterator[None]:
        """Let something happen within this, and note it."""
        noted = await self._note(kind, providers, user, sure=False)
        yield
        if noted:
            await self._system.update_many(EVENTS, {"_id": {"$in": noted}}, {"$set": {"sure": True}})

    async def _note(
        self, kind: Happening, providers: Sequence[str], user: Mapping[str, Any], *, sure: bool
    ) -> list[ObjectId]:
        listening = await self._listening() if self._triggers is None else self._triggers
        triggers = [
            trigger
            for trigger in listening
            if kind in trigger["operations"] and not set(providers).isdisjoint(trigger.get("providers") or ())
        ]
        if not triggers:
            return []
        at = as_date(self._clock())
        custom = user.get("custom_data") or {}
        if len(bson.encode(custom, codec_options=CODEC)) > MOST_BYTES:
            custom = {}
        event = {
            "operationType": kind,
            "providers": list(providers),
            "user": {**user, "custom_data": custom},
            "time": at,
        }
        documents: list[Document] = [
            {"_id": ObjectId(), "trigger": trigger["_id"], "at": at, "sure": sure, "event": event}
            for trigger in triggers
        ]
        await self._system.insert_many(EVENTS, documents)
        return [document["_id"] for document in documents]
