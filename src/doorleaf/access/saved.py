"""Queries and pipelines that callers of the console keep under a name.

A caller's are one document of ``console_saved`` in the system database: ``_id`` is the caller's id, ``saved`` an array
of what was saved, by name. Each change is one update of it, so that of those that come at once none is lost.
"""

from __future__ import annotations

from contextlib import suppress
from hashlib import sha256

from doorleaf.access.system_store import SystemStore
from doorleaf.documents import Document
from doorleaf.errors import DuplicateKey, InvalidParameter, NotFound

COLLECTION = "console_saved"
MOST = 100
"""How many one caller may keep."""

PLACE = ("kind", "name", "dataSource", "database", "collection")
"""What two that are the same one agree in."""


class SavedQueries:
    """The queries that the callers of one server have saved."""

    def __init__(self, system: SystemStore) -> None:
        self._system = system

    async def listed(self, owner: str) -> list[Document]:
        """All that ``owner`` saved, by name: each with its ``id``."""
        found = await self._system.find_one(COLLECTION, {"_id": owner})
        return [] if found is None else found["saved"]

    async def save(self, owner: str, one: Document) -> Document:
        """Keep ``one``, in place of what is called so, and answer it. InvalidParameter where there are too many."""
        made = {"id": _id_of(one), **one}
        called_so = {"_id": owner, "saved.id": made["id"]}
        room = {"_id": owner, "saved.id": {"$ne": made["id"]}, f"saved.{MOST - 1}": {"$exists": False}}
        put = {"$push": {"saved": {"$each": [made], "$sort": {"name": 1, "id": 1}}}}
        for _ in range(3):  # somebody else may have saved the same, or the first, in this moment
            if await self._system.update(COLLECTION, called_so, {"$set": {"saved.$": made}}):
                return made
            with suppress(DuplicateKey):
                await self._system.update(COLLECTION, room, put, upsert=True)
                return made
        raise InvalidParameter(f"{MOST} are saved already, which is the most: delete one first")

    async def delete(self, owner: str, identifier: str) -> None:
        """Forget what has this id. NotFound."""
        has = {"_id": owner, "saved.id": {"$eq": identifier}}
        if not await self._system.update(COLLECTION, has, {"$pull": {"saved": {"id": {"$eq": identifier}}}}):
            raise NotFound(f"nothing is saved with the id {identifier[:40]!r}")

    async def delete_of(self, owner: str) -> None:
        """Forget everything of somebody who is gone."""
        await self._system.delete(COLLECTION, {"_id": owner})


def _id_of(one: Document) -> str:
    return sha256("\0".join(one[name] for name in PLACE).encode("utf-8", "surrogatepass")).hexdigest()[:32]
