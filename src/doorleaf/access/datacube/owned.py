"""The end of what a user owns: databases with all that is in them, and what is known of them."""

from __future__ import annotations

from doorleaf.access.datacube.databases import Database, Databases
from doorleaf.access.request import HttpRequest
from doorleaf.errors import DoorleafError
from doorleaf.operations import DropCollection, ListCollections, Namespace, Operation, R
from doorleaf.stores.base import Store

TIME_LIMIT_MS = 60_000
"""What one of these operations may take."""


class Owned:
    """Drops databases of users, whoever asks for it: their owner's account ends, or who runs the server frees one."""

    def __init__(self, databases: Databases, store: Store) -> None:
        self.databases = databases
        self._store = store

    async def end(self, user_id: str, *, by: HttpRequest | None = None) -> None:
        """Drop all databases of a user. Whatever it raises, those that are left can be dropped by the same again."""
        for one in await self.databases.of(user_id):
            await self.drop(one, by=by)

    async def drop(self, database: Database, *, by: HttpRequest | None = None) -> None:
        """Drop one: nobody reaches it from now on, and its name is free once nothing is left."""
        await self.databases.begin_dropping(database)
        place = Namespace(database.physical)
        for one in (await self._execute(ListCollections(namespace=place))).collections:
            name = str(one["name"])
            if name.startswith("system."):
                continue
            try:
                await self._execute(DropCollection(namespace=Namespace(database.physical, name)))
            except DoorleafError as error:
                if error.code != "NamespaceNotFound":
                    raise
        await self.databases.forget(database, by=by)

    async def _execute(self, operation: Operation[R]) -> R:
        operation.max_time_ms = TIME_LIMIT_MS
        return await self._store.execute(operation)
