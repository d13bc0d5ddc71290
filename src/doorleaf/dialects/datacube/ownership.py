"""A caller's database as the DataCube API sees it: what is known of it, and how its documents are asked for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from doorleaf.access.callers import Caller
from doorleaf.dialects.base import Request
from doorleaf.documents import Document
from doorleaf.errors import DoorleafError, NotFound
from doorleaf.operations import DropCollection, ListCollections, Namespace, Operation

Execute = Callable[[Operation[Any], Caller, int], Awaitable[Any]]
"""The service's."""


class Database(Protocol):
    """A database of a user. ``physical`` is its real name; nobody else's is the same."""

    @property
    def id(self) -> str: ...

    @property
    def user_id(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def physical(self) -> str: ...

    @property
    def collections(self) -> Sequence[Mapping[str, Any]]: ...

    @property
    def size(self) -> int: ...

    @property
    def created(self) -> Any: ...

    @property
    def updated(self) -> Any: ...

    def collection(self, name: str) -> Mapping[str, Any] | None: ...


class Databases(Protocol):
    """The keeper of databases. One that is not the caller's is NotFound, whatever is asked; what a key may not do is
    PermissionDenied."""

    async def acting(self, identity: Any, identifier: str, effect: str) -> tuple[Database, Any]: ...

    def inside(self, identity: Any, database: Any) -> Any: ...

    async def find(self, identity: Any, identifier: str, effect: str, *, dropping: bool = False) -> Database: ...

    async def listed(self, identity: Any, search: str = "") -> Sequence[Database]: ...

    async def create(self, identity: Any, name: str, collections: Sequence[Document], *, by: Request) -> Database: ...

    def require_room(self, database: Any, collections: Sequence[Document]) -> None: ...

    async def add(self, database: Any, collections: Sequence[Document], *, by: Request) -> list[str]: ...

    async def forget_collections(self, database: Any, names: Sequence[str], *, by: Request) -> None: ...

    async def begin_dropping(self, database: Any) -> None: ...

    async def forget(self, database: Any, *, by: Request) -> None: ...

    async def physical(self, user_id: str, ids: list[str]) -> list[str]: ...


@dataclass(frozen=True, slots=True)
class Inside:
    """A database with its caller inside of it, who reaches nothing else."""

    database: Database
    caller: Caller
    execute: Execute

    def at(self, collection: str = "") -> Namespace:
        """Where a collection is, or the database."""
        return Namespace(self.database.physical, collection)

    def known(self, collection: str) -> Mapping[str, Any]:
        """The document about a collection. CollectionNotFound where there is none."""
        found = self.database.collection(collection)
        if found is None:
            raise NotFound(f"Collection '{collection[:100]}' was not found in the database.", code="CollectionNotFound")
        return found

    async def run(self, operation: Operation[Any], size: int = 0) -> Any:
        """The result of ``operation``, which came in ``size`` bytes."""
        return await self.execute(operation, self.caller, size)


@dataclass(frozen=True, slots=True)
class Cubes:
    """All databases, and the way to their documents."""

    databases: Databases
    execute: Execute

    async def enter(self, request: Request, identifier: str, effect: str) -> Inside:
        """The caller inside a database of theirs."""
        database, identity = await self.databases.acting(request.identity, identifier, effect)
        request.namespace = Namespace(database.physical)
        return Inside(database, Caller(identity, request, request.surface), self.execute)

    def inside(self, request: Request, database: Database) -> Inside:
        """The caller inside ``database``, which is theirs."""
        identity = self.databases.inside(request.identity, database)
        return Inside(database, Caller(identity, request, request.surface), self.execute)

    async def put(self, request: Request, inside: Inside, operation: Operation[Any], size: int = 0) -> Any:
        """The result of ``operation``, which may make a collection; NotFound as :meth:`require_still` has it."""
        try:
            return await inside.run(operation, size)
        finally:
            await self.require_still(request, inside.database)

    async def require_still(self, request: Request, database: Database) -> None:
        """Raise NotFound where ``database`` was dropped while something was put in; that is taken away, since whoever
        dropped it may not have seen it."""
        owner = replace(request.identity, scope=None)  # what a key may reach by now says nothing of what there is
        try:
            await self.databases.find(owner, database.id, "write")
        except NotFound:
            inside = self.databases.inside(owner, database)
            await drop_all(Inside(database, Caller(inside, request, request.surface), self.execute))
            raise


async def stored(inside: Inside) -> list[str]:
    """The names of the collections that the store has."""
    found = await inside.run(ListCollections(namespace=inside.at()))
    return sorted(str(one["name"]) for one in found.collections if not str(one["name"]).startswith("system."))


async def drop_all(inside: Inside) -> None:
    """Drop every collection of a database."""
    for name in await stored(inside):
        await drop(inside, name)


async def drop(inside: Inside, name: str) -> None:
    """Drop a collection, unless it is gone."""
    try:
        await inside.run(DropCollection(namespace=inside.at(name)))
    except DoorleafError as error:
        if error.code != "NamespaceNotFound":
            raise
