"""Answers to writes that may come again with the same ``Idempotency-Key``, kept for a day.

One is a document of ``workspace_replays``: the hash of what was asked, and the ``answer`` once there is one. Of
requests that come at once exactly one begins.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any

from doorleaf.access.system_store import SystemStore, as_date, as_seconds
from doorleaf.documents import Document
from doorleaf.errors import Conflict, DuplicateKey

COLLECTION = "workspace_replays"
SECONDS = 86_400


class Replays:
    """The answers that are kept; ``clock`` gives seconds since 1970."""

    def __init__(self, system: SystemStore, *, clock: Callable[[], float] = time.time) -> None:
        self._system = system
        self._clock = clock

    async def begin(self, key: str, body: bytes) -> Document | None:
        """Note that a write begins; what is known of it where it began before. Conflict where that was another one."""
        hashed = sha256(body).hexdigest()
        document: Document = {"_id": key, "asked": hashed, "created": as_date(self._clock())}
        for _ in range(2):
            try:
                await self._system.insert(COLLECTION, document)
                return None
            except DuplicateKey:
                known = await self._system.find_one(COLLECTION, {"_id": key})
            if known is not None and (as_seconds(known["created"]) or 0.0) + SECONDS > self._clock():
                if known["asked"] != hashed:
                    raise Conflict("this Idempotency-Key came with another request", code="IdempotencyConflict")
                return known
            await self._system.delete(COLLECTION, {"_id": key, "created": None if known is None else known["created"]})
        raise Conflict("another request with this Idempotency-Key has just begun", code="IdempotencyConflict")

    async def finish(self, key: str, answer: Mapping[str, Any]) -> None:
        """Keep the answer to a write that began."""
        await self._system.update(COLLECTION, {"_id": key}, {"$set": {"answer": dict(answer)}})

    async def forget(self, key: str) -> None:
        """Let a write that did nothing begin anew."""
        await self._system.delete(COLLECTION, {"_id": key})

    async def prepare(self) -> None:
        """Let answers end after a day."""
        await self._system.expire(COLLECTION, "created", SECONDS)
