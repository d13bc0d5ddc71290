"""Queries and pipelines that callers of the console keep under a name.

A caller's are one document of ``console_saved`` in the system database: ``_id`` is the caller's id, ``saved`` an array
of what was saved, and ``version`` counts the changes, so that of two that come at once none is lost.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

from doorleaf.access.system_store import SystemStore
from doorleaf.documents import Document
from doorleaf.errors import Conflict, DuplicateKey, InvalidParameter, NotFound

COLLECTION = "console_saved"
MOST = 100
"""How many one caller may keep."""

PLACE = ("kind", "name", "dataSource", "database", "collection")
"""What two that are the same one agree in."""

_ATTEMPTS = 8


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

        def put(saved: list[Document]) -> list[Document]:
            others = [item for item in saved if item["id"] != made["id"]]
            if len(others) >= MOST:
                raise InvalidParameter(f"{MOST} are saved already, which is the most: delete one first")
            return sorted([*others, made], key=lambda item: (item["name"], item["id"]))

        await self._change(owner, put)
        return made

    async def delete(self, owner: str, identifier: str) -> None:
        """Forget what has this id. NotFound."""

        def take(saved: list[Document]) -> list[Document]:
            left = [item for item in saved if item["id"] != identifier]
            if len(left) == len(saved):
                raise NotFound(f"nothing is saved with the id {identifier[:40]!r}")
            return left

        await self._change(owner, take)

    async def delete_of(self, owner: str) -> None:
        """Forget everything of somebody who is gone."""
        await self._system.delete(COLLECTION, {"_id": owner})

    async def _change(self, owner: str, change: Callable[[list[Document]], list[Document]]) -> None:
        for _ in range(_ATTEMPTS):
            found = await self._system.find_one(COLLECTION, {"_id": owner})
            saved = change([] if found is None else found["saved"])
            if found is None:
                try:
                    await self._system.insert(COLLECTION, {"_id": owner, "saved": saved, "version": 1})
                except DuplicateKey:
                    continue
                return
            known = {"_id": owner, "version": found["version"]}
            if await self._system.update(COLLECTION, known, {"$set": {"saved": saved}, "$inc": {"version": 1}}):
                return
        raise Conflict("others of the same caller are saved at this moment; try again")


def _id_of(one: Document) -> str:
    return sha256("\0".join(one[name] for name in PLACE).encode("utf-8", "surrogatepass")).hexdigest()[:32]
