"""Databases that users own: what each is called, what is in it, and who reaches it.

A database is one document of ``datacube`` in the system database: ``_id`` (24 hexadecimal digits), ``user_id``,
``name`` (in lower case, one of a kind for each user), ``physical`` (the database's real name, one of a kind),
``created``, ``updated``, ``size`` (collections in it), ``collections`` (of ``{id, name, fields, enforce, created}``),
``place`` (which of the user's databases it is, one of a kind too, so that nobody has more than they may, however many
they make at once), and ``dropping`` once it is being dropped. The real name ends with digits by chance, so that
nobody's is another's whatever they call theirs.

Whoever asks for a database that is not theirs learns what they would learn of one that is not there.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import bson
from bson import ObjectId

from doorleaf.access.callers import Identity, Tell, untold
from doorleaf.access.guards.scopes import Scope
from doorleaf.access.request import HttpRequest
from doorleaf.access.system_store import SystemStore, as_date
from doorleaf.documents import CODEC, Document
from doorleaf.errors import DuplicateKey, InvalidParameter, NotFound, PermissionDenied, RequestError

COLLECTION = "datacube"
REPORTS = "datacube_reports"
"""Where answers to imports are: see :mod:`doorleaf.access.datacube.reports`."""
MOST = 1_000
"""Databases that one user may have."""
MOST_COLLECTIONS = 2_000
"""Collections that one database may have."""
MOST_BYTES = 1024 * 1024
"""What is known of one database."""

_LONGEST_PHYSICAL = 63
_ID = re.compile(r"[0-9a-f]{24}", re.IGNORECASE)


class DatabaseExists(RequestError):
    """The user has a database of this name."""

    code = "DatabaseExists"


@dataclass(frozen=True, slots=True)
class Database:
    """A database of a user. ``physical`` is its real name."""

    id: str
    user_id: str
    name: str
    physical: str
    collections: Sequence[Mapping[str, Any]]
    size: int
    created: Any
    updated: Any

    def collection(self, name: str) -> Mapping[str, Any] | None:
        """The document about the collection ``name``; None where there is none."""
        return next((one for one in self.collections if one["name"] == name), None)


class Databases:
    """The databases of all users. ``clock`` gives seconds since 1970, ``audit`` is told of every change."""

    def __init__(self, system: SystemStore, *, clock: Callable[[], float] = time.time, audit: Tell = untold) -> None:
        self._system = system
        self._clock = clock
        self._audit = audit
        self._prepared = False

    # --- who may ---

    def require(self, identity: Identity, effect: str, *, everywhere: bool = False) -> None:
        """Raise PermissionDenied unless the caller has databases, and their key may do what has ``effect``: in one
        that it reaches, or ``everywhere``."""
        if identity.kind == "server":
            raise PermissionDenied("a key of the server owns no databases here; use one that a user made, or log in")
        scope = identity.scope
        if scope is None:
            return
        if scope.actions is not None and effect not in scope.actions:
            raise PermissionDenied(f"this API key does not have the permission {effect!r}")
        if everywhere and scope.databases is not None:
            raise PermissionDenied("this API key is limited to some databases")

    async def acting(self, identity: Identity, identifier: str, effect: str) -> tuple[Database, Identity]:
        """A database of the caller, and who they are inside of it. NotFound for one that is not theirs."""
        found = await self.find(identity, identifier, effect)
        return found, self.inside(identity, found)

    def inside(self, identity: Identity, database: Database) -> Identity:
        """Its owner, who may do everything in the database that their key allows, and nothing outside of it."""
        actions = None if identity.scope is None else identity.scope.actions
        return replace(identity, admin=True, scope=Scope(databases=frozenset({database.physical}), actions=actions))

    # --- which there are ---

    async def find(self, identity: Identity, identifier: str, effect: str, *, dropping: bool = False) -> Database:
        """A database of the caller; NotFound for one that is not theirs, PermissionDenied as in :meth:`require`."""
        self.require(identity, effect)
        if _ID.fullmatch(identifier) is None:
            raise InvalidParameter("database_id: expected 24 hexadecimal digits")
        filter: Document = {"_id": identifier.lower(), "user_id": identity.id}
        document = await self._system.find_one(COLLECTION, filter)
        if document is None or (document.get("dropping") and not dropping):
            raise _not_found()
        found = _database(document)
        scope = identity.scope
        if scope is not None and scope.databases is not None and found.physical not in scope.databases:
            raise _not_found()
        return found

    async def listed(self, identity: Identity, search: str = "") -> list[Database]:
        """The caller's databases by name, those whose names have ``search`` in them; without their collections."""
        self.require(identity, "read")
        filter: Document = {"user_id": identity.id, "dropping": {"$exists": False}}
        if search:
            filter["name"] = {"$regex": re.escape(search.lower())}
        if identity.scope is not None and identity.scope.databases is not None:
            filter["physical"] = {"$in": sorted(identity.scope.databases)}
        found = await self._system.find(COLLECTION, filter, sort={"name": 1}, projection={"collections": 0})
        return [_database(document) for document in found]

    async def physical(self, user_id: str, ids: list[str]) -> list[str]:
        """The real names of databases of a user. NotFound for one that is not theirs."""
        filter = {"_id": {"$in": [identifier.lower() for identifier in ids]}, "user_id": user_id}
        found = await self._system.find(COLLECTION, filter, projection={"physical": 1})
        if len(found) < len({identifier.lower() for identifier in ids}):
            raise _not_found()
        return [str(document["physical"]) for document in found]

    # --- changes ---

    async def create(
        self, identity: Identity, name: str, collections: Sequence[Document], *, by: HttpRequest | None = None
    ) -> Database:
        """Make a database, of which nothing is in the store yet. DatabaseExists for a name that is taken."""
        self.require(identity, "admin", everywhere=True)
        await self._prepare()
        now, identifier = as_date(self._clock()), str(ObjectId())
        document: Document = {"_id": identifier, "user_id": identity.id, "name": name}
        document |= {"physical": _physical(name), "created": now, "updated": now, "size": len(collections)}
        document["collections"] = [self._made(collection) for collection in collections]
        _check_size(document)
        await self._insert(document)
        self._audit("createDatabase", target=identifier, by=by)
        return _database(document)

    async def _insert(self, document: Document) -> None:
        """Put a database in a place that is free; somebody else may take that in this moment."""
        user_id, name = document["user_id"], document["name"]
        while True:
            found = await self._system.find(COLLECTION, {"user_id": user_id}, projection={"place": 1})
            taken = {one["place"] for one in found if "place" in one}
            rooms = MOST - (len(found) - len(taken))
            free = [place for number in range(rooms) if (place := f"{user_id} {number}") not in taken]
            if not free:
                raise InvalidParameter(f"a user can have at most {MOST} databases")
            try:
                await self._system.insert(COLLECTION, document | {"place": secrets.choice(free)})
                return
            except DuplicateKey:
                if await self._system.find_one(COLLECTION, {"user_id": user_id, "name": name}) is not None:
                    raise DatabaseExists(f"A database named '{name}' exists already.") from None

    def require_room(self, database: Database, collections: Sequence[Document]) -> None:
        """Raise InvalidParameter unless ``collections`` may be in a database beside those that are."""
        known = {one["name"] for one in database.collections}
        made = [self._made(collection) for collection in collections if collection["name"] not in known]
        if len(known) + len(made) > MOST_COLLECTIONS:
            raise _full()
        _check_size({"collections": [*database.collections, *made]})

    async def add(
        self, database: Database, collections: Sequence[Document], *, by: HttpRequest | None = None
    ) -> list[str]:
        """Note collections, each unless there is one of its name; the names of those that are new. InvalidParameter
        where there is no room for one; those before it are in."""
        self.require_room(database, collections)
        made: list[Document] = []
        for collection in collections:
            name = collection["name"]
            change = {"$push": {"collections": self._made(collection)}, "$inc": {"size": 1}, "$set": self._now()}
            filter = {"_id": database.id, "collections.name": {"$ne": name}, "dropping": {"$exists": False}}
            filter[f"collections.{MOST_COLLECTIONS - 1}"] = {"$exists": False}
            if await self._system.update(COLLECTION, filter, change):
                made.append(collection)
                self._audit("addCollection", target=database.id, by=by)
                continue
            now = await self._system.find_one(COLLECTION, {"_id": database.id, "dropping": {"$exists": False}})
            if now is None:
                raise _not_found()
            if _database(now).collection(name) is None:
                raise _full()
        return [str(collection["name"]) for collection in made]

    async def forget_collections(
        self, database: Database, names: Sequence[str], *, by: HttpRequest | None = None
    ) -> None:
        """Note that collections are no more, and forget what became of their imports."""
        for name in names:
            if (known := database.collection(name)) is not None:
                await self._system.delete(REPORTS, {"database": database.id, "collection": known["id"]})
            change = {"$pull": {"collections": {"name": name}}, "$inc": {"size": -1}, "$set": self._now()}
            await self._system.update(COLLECTION, {"_id": database.id, "collections.name": name}, change)
            self._audit("dropCollection", target=database.id, by=by)

    async def begin_dropping(self, database: Database) -> None:
        """Let nobody reach a database any more."""
        await self._system.update(COLLECTION, {"_id": database.id}, {"$set": {"dropping": True}})

    async def forget(self, database: Database, *, by: HttpRequest | None = None) -> None:
        """Forget a database of which nothing is in the store any more, and what became of its imports."""
        await self._system.delete(REPORTS, {"database": database.id})
        await self._system.delete(COLLECTION, {"_id": database.id})
        self._audit("dropDatabase", target=database.id, by=by)

    async def of(self, user_id: str) -> list[Database]:
        """All databases of a user, those that are half dropped as well; without their collections."""
        found = await self._system.find(COLLECTION, {"user_id": user_id}, projection={"collections": 0})
        return [_database(document) for document in found]

    # --- for whoever runs the server ---

    async def all(self) -> list[Database]:
        """The databases of all users, those that are half dropped as well; without their collections."""
        found = await self._system.all(COLLECTION, {}, projection={"collections": 0})
        return [_database(document) for document in sorted(found, key=lambda one: (one["user_id"], one["name"]))]

    def _made(self, collection: Mapping[str, Any]) -> Document:
        return {"id": str(ObjectId()), **collection, "created": as_date(self._clock())}

    def _now(self) -> Document:
        return {"updated": as_date(self._clock())}

    async def _prepare(self) -> None:
        """Make the indexes that are needed, once."""
        if not self._prepared:
            await self._system.index(COLLECTION, "user_id", "name", unique=True)
            await self._system.index(COLLECTION, "physical", unique=True)
            await self._system.index(COLLECTION, "place", unique=True, sparse=True)
            self._prepared = True


def _physical(name: str) -> str:
    """A name that no database has: as much of ``name`` as there is room for, and digits by chance."""
    end = f"_{secrets.token_hex(8)}_V2"
    return name.encode()[: _LONGEST_PHYSICAL - len(end)].decode(errors="ignore") + end


def _check_size(document: Mapping[str, Any]) -> None:
    if len(bson.encode(document, codec_options=CODEC)) > MOST_BYTES:
        raise InvalidParameter(f"collections: their names and fields take more than {MOST_BYTES} bytes")


def _database(document: Mapping[str, Any]) -> Database:
    return Database(
        str(document["_id"]),
        str(document["user_id"]),
        str(document["name"]),
        str(document["physical"]),
        tuple(document.get("collections", ())),
        int(document.get("size", 0)),
        document.get("created"),
        document.get("updated"),
    )


def _full() -> InvalidParameter:
    return InvalidParameter(f"a database can have at most {MOST_COLLECTIONS} collections")


def _not_found() -> NotFound:
    return NotFound("Database not found.", code="DatabaseNotFound")
