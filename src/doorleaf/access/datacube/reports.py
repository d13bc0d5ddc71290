"""What became of imports that came with an idempotency key, for whoever sends one again.

One is a document of ``datacube_reports``: ``_id`` is made of the collection (that very one, so that another of its name
begins anew) and the key, ``asked`` is the hash of what was sent, and ``status`` and ``content`` are what was answered.
``database`` and ``collection`` are the ids of those, with which it ends.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any

from doorleaf.access.datacube.databases import REPORTS as COLLECTION
from doorleaf.access.system_store import SystemStore, as_date
from doorleaf.documents import Document
from doorleaf.errors import Conflict, DuplicateKey

SECONDS = 30 * 86_400
"""How long a report is kept."""


class Reports:
    """The reports that are kept; ``clock`` gives seconds since 1970."""

    def __init__(self, system: SystemStore, *, clock: Callable[[], float] = time.time) -> None:
        self._system = system
        self._clock = clock
        self._prepared = False

    async def find(self, collection_id: str, key: str, asked: str) -> tuple[int, Document] | None:
        """The status and the content of the answer to an import, if it is done. IdempotencyConflict where the key came
        with something else."""
        found = await self._system.find_one(COLLECTION, {"_id": _place(collection_id, key)})
        if found is None:
            return None
        if found["asked"] != asked:
            raise Conflict("this idempotency_key came with another file", code="IdempotencyConflict")
        return int(found["status"]), found["content"]

    async def keep(
        self, place: tuple[str, str], key: str, asked: str, status: int, content: Mapping[str, Any]
    ) -> tuple[int, Document]:
        """Keep the answer to an import into the ``place`` of a database and a collection, by their ids; what is to be
        answered, since another process may have been first."""
        database_id, collection_id = place
        if not self._prepared:
            await self._system.index(COLLECTION, "database")
            await self._system.expire(COLLECTION, "created", SECONDS)
            self._prepared = True
        document: Document = {"_id": _place(collection_id, key), "asked": asked, "status": status}
        document |= {"database": database_id, "collection": collection_id, "content": dict(content)}
        document |= {"created": as_date(self._clock())}
        try:
            await self._system.insert(COLLECTION, document)
        except DuplicateKey:
            return await self.find(collection_id, key, asked) or (status, dict(content))
        return status, dict(content)


def _place(collection_id: str, key: str) -> str:
    return sha256(f"{collection_id} {key}".encode("utf-8", "surrogatepass")).hexdigest()
