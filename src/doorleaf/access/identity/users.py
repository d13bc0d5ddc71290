"""Users: the people behind email and password, custom tokens and anonymous logins.

A user is one document of ``users`` in the system database: ``_id`` (24 hexadecimal digits), ``data``, ``identities``
(of ``{id, provider_type, data}``, one or as many as were linked), ``created``, ``last_authenticated`` and
``disabled``. Which user an identity belongs to is a document of ``identities``, whose ``_id`` is made of provider and
identity id, so that two processes never make two users of one person. A user comes into being with the first login
and is read when they call, at most every two seconds.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Any

import bson
from bson import ObjectId
from bson.errors import InvalidId

from doorleaf.access.callers import Identity, Provider
from doorleaf.access.identity.happenings import Happenings
from doorleaf.access.identity.recent import Recent
from doorleaf.access.system_store import TIME_LIMIT_MS, SystemStore, as_date
from doorleaf.documents import CODEC, Document
from doorleaf.errors import DuplicateKey, NotFound, RequestError
from doorleaf.operations import FindOne, Namespace
from doorleaf.settings.providers import CustomUserData
from doorleaf.stores.base import Store

COLLECTION = "users"
IDENTITIES = "identities"
MOST_IDENTITIES = 50
"""Identities of one user."""

UNUSED_SECONDS = 90 * 24 * 3600
"""After this long without a login or a new access token an anonymous user is deleted."""
REMEMBERED = 8192
SWEPT_AT_ONCE = 1000


class CustomData:
    """The document that an app keeps about each user, in a collection of its own."""

    def __init__(self, store: Store, where: CustomUserData) -> None:
        self._store = store
        self._namespace = Namespace(where.database, where.collection, where.data_source)
        self._field = where.user_id_field

    @property
    def place(self) -> Document:
        """Where it is: ``data_source`` (null is the default one), ``database``, ``collection`` and ``field``."""
        where = self._namespace
        place = {"data_source": where.data_source, "database": where.database, "collection": where.collection}
        return {**place, "field": self._field}

    async def of(self, user_id: str) -> Document:
        """The user's document, found by their id as a string, else as an ObjectId; {} when there is none.

        Of several the one that was inserted first counts: it is what a database finds first.
        """
        candidates: list[Any] = [user_id]
        with contextlib.suppress(InvalidId):
            candidates.append(ObjectId(user_id))
        for value in candidates:
            operation = FindOne(
                namespace=self._namespace, filter={self._field: {"$eq": value}}, max_time_ms=TIME_LIMIT_MS
            )
            document: Any = (await self._store.execute(operation)).document
            if document is not None:
                return bson.decode(document, CODEC) if isinstance(document, bytes) else dict(document)
        return {}


class Users:
    """The users of one system database. ``happenings`` are told of them, ``custom`` is where their custom data is,
    ``clock`` gives seconds since 1970."""

    def __init__(
        self,
        system: SystemStore,
        happenings: Happenings,
        *,
        custom: CustomData | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._system = system
        self._custom = custom
        self._clock = clock
        self._happenings = happenings
        self._recent: Recent[str, tuple[Any, Identity | None]] = Recent(REMEMBERED)

    # --- who they are ---

    def fresh(self, user_id: str) -> Identity | None:
        """The user, if they were read within the last two seconds and may call; asks no database."""
        found = self._recent.fresh(user_id)
        return None if found is None else found[1]

    async def identity(self, user_id: str) -> Identity | None:
        """The user, or None when there is none, or a disabled one. The same object until something changes."""
        found = self._recent.fresh(user_id)
        if found is None:
            begun = self._recent.begin()
            document = await self._system.find_one(COLLECTION, {"_id": user_id})
            if document is None or document.get("disabled") is True:
                found = (None, None)
            else:
                found = await self._read(user_id, document)
            self._recent.put(user_id, found, begun)
        return found[1]

    def look_again(self, user_id: str) -> None:
        """Read a user or the custom data of a key anew when they are asked for next."""
        self._recent.expire(user_id)

    async def _read(self, user_id: str, document: Document) -> tuple[Any, Identity | None]:
        custom = {} if self._custom is None else await self._custom.of(user_id)
        source = (document.get("data"), document.get("identities"), custom)
        before = self._recent.any(user_id)
        return before if before is not None and before[0] == source else (source, _identity(document, custom))

    async def with_custom_data(self, identity: Identity) -> Identity:
        """``identity`` of a key with its custom data, which is read at most every two seconds."""
        if self._custom is None:
            return identity
        found = self._recent.fresh(identity.id)
        if found is None or found[0][0] is not identity:
            begun = self._recent.begin()
            source = (identity, await self._custom.of(identity.id))
            before = self._recent.any(identity.id)
            same = before is not None and before[0] == source
            found = before if before and same else (source, replace(identity, custom_data=source[1]))
            self._recent.put(identity.id, found, begun)
        return found[1] or identity

    def fresh_with_custom_data(self, identity: Identity) -> Identity | None:
        """The answer of :meth:`with_custom_data` within the last two seconds; asks no database."""
        if self._custom is None:
            return identity
        found = self._recent.fresh(identity.id)
        return None if found is None or found[0][0] is not identity else found[1]

    # --- logins ---

    async def find(self, provider: Provider, identity_id: str) -> str | None:
        """The id of the user who has this identity, or None."""
        found = await self._system.find_one(IDENTITIES, {"_id": _place(provider, identity_id)})
        return None if found is None else str(found["user_id"])

    async def sign_in(
        self, provider: Provider, identity_id: str, data: Mapping[str, Any], *, user_id: str | None = None
    ) -> str:
        """The id of the user who has this identity; the first time the user is made, as ``user_id`` if given.

        ``data`` replaces what the provider said about them before.
        """
        found = await self.find(provider, identity_id)
        if found is None:
            found = await self._claim(_place(provider, identity_id), user_id or str(ObjectId()))
        now = as_date(self._clock())
        identity = {"id": identity_id, "provider_type": provider, "data": dict(data)}
        before = await self._system.find_one(COLLECTION, {"_id": found})
        changed = _with_identity(before, identity)
        changed["last_authenticated"] = now
        update = {"$set": changed, "$setOnInsert": {"created": now, "disabled": False}}
        if before is None:
            async with self._happenings.around("CREATE", [provider], _object(found, changed)):
                await self._sign_in(found, update)
        else:
            await self._sign_in(found, update)
        self._recent.expire(found)
        return found

    async def _sign_in(self, user_id: str, update: Document) -> None:
        try:
            await self._system.update(COLLECTION, {"_id": user_id}, update, upsert=True)
        except DuplicateKey:  # another process made the document in this moment
            await self._system.update(COLLECTION, {"_id": user_id}, {"$set": update["$set"]})

    async def link(
        self, user_id: str, provider: Provider, identity_id: str, data: Mapping[str, Any], *, unused: str | None = None
    ) -> None:
        """Give a user one more identity. IdentityInUse (409) when it is another user's, but for the user ``unused``
        who never logged in and ends with this."""
        place = _place(provider, identity_id)
        if len((await self.get(user_id)).get("identities") or ()) >= MOST_IDENTITIES:
            raise RequestError(f"a user has at most {MOST_IDENTITIES} identities")
        owner = await self._claim(place, user_id)
        if owner != user_id:
            taken = owner == unused and await self._system.update(
                IDENTITIES, {"_id": place, "user_id": owner}, {"$set": {"user_id": user_id}}
            )
            if not taken:
                raise IdentityInUse("the credentials are those of another user")
            await self._system.delete(COLLECTION, {"_id": owner})
            self._recent.expire(owner)
        identity = {"id": identity_id, "provider_type": provider, "data": dict(data)}
        changed = _with_identity(await self.get(user_id), identity)
        await self._system.update(COLLECTION, {"_id": user_id}, {"$set": changed})
        self._recent.expire(user_id)

    async def _claim(self, place: str, user_id: str) -> str:
        try:
            await self._system.insert(IDENTITIES, {"_id": place, "user_id": user_id})
        except DuplicateKey:
            found = await self._system.find_one(IDENTITIES, {"_id": place})
            return user_id if found is None else str(found["user_id"])
        return user_id

    async def used(self, user_id: str) -> None:
        """Note that the user is there still."""
        await self._system.update(
            COLLECTION, {"_id": user_id}, {"$set": {"last_authenticated": as_date(self._clock())}}
        )

    # --- administration: effective here at once, in other processes within two seconds ---

    async def get(self, user_id: str) -> Document:
        """One user as stored, ``_id`` and all; UserNotFound when there is none."""
        document = await self._system.find_one(COLLECTION, {"_id": user_id})
        if document is None:
            raise not_found()
        return document

    async def custom_data(self, user_id: str) -> tuple[Document | None, Document]:
        """Where custom data is kept, None if nowhere, and that of a user or key as it is now."""
        return (None, {}) if self._custom is None else (self._custom.place, await self._custom.of(user_id))

    async def listed(
        self, *, after: str | None = None, limit: int = 50, provider: str | None = None, search: str | None = None
    ) -> list[Document]:
        """Users by id, those after the id ``after``; ids ascend with the time they were made.

        ``search`` is a part of an address or a name in any case, or an id.
        """
        filter: Document = {} if after is None else {"_id": {"$gt": after}}
        if provider is not None:
            filter["identities.provider_type"] = provider
        if search is not None:
            part = {"$regex": re.escape(search), "$options": "i"}
            filter["$or"] = [
                {"data.email": part},
                {"data.name": part},
                {"_id": {"$eq": search}},
                {"identities.id": search},
            ]
        return await self._system.find(COLLECTION, filter, sort={"_id": 1}, limit=limit)

    async def set_disabled(self, user_id: str, disabled: bool) -> None:
        """Let a user call no more, or again. UserNotFound when there is none."""
        if not await self._system.update(COLLECTION, {"_id": user_id}, {"$set": {"disabled": disabled}}):
            raise not_found()
        self._recent.expire(user_id)

    async def delete(self, user_id: str) -> None:
        """Forget a user. UserNotFound when there is none."""
        await self._system.delete(IDENTITIES, {"user_id": user_id})
        document = await self.get(user_id)
        providers = list(dict.fromkeys(identity["provider_type"] for identity in document.get("identities") or ()))
        async with self._happenings.around("DELETE", providers, _object(user_id, document)):
            await self._system.delete(COLLECTION, {"_id": user_id})
        self._recent.expire(user_id)

    async def unused(self) -> list[str]:
        """The ids of anonymous users who were not there for :data:`UNUSED_SECONDS`, some of them."""
        before = as_date(self._clock() - UNUSED_SECONDS)
        # Who has another identity too can come back by it.
        filter = {
            "identities.provider_type": "anon-user",
            "identities.1": {"$exists": False},
            "last_authenticated": {"$lt": before},
        }
        found = await self._system.find(COLLECTION, filter, limit=SWEPT_AT_ONCE)
        return [str(document["_id"]) for document in found]

    async def prepare(self) -> None:
        """Make the indexes that are needed."""
        await self._system.index(COLLECTION, "identities.provider_type", "last_authenticated")
        await self._system.index(IDENTITIES, "user_id")


def _identity(document: Mapping[str, Any], custom: Document) -> Identity:
    identities = tuple(document.get("identities") or ())
    providers = [identity["provider_type"] for identity in identities]
    return Identity(
        id=document["_id"],
        kind="normal",
        provider=next((provider for provider in providers if provider != "anon-user"), providers[0]),
        data=document.get("data") or {},
        custom_data=custom,
        identities=identities,
    )


def _object(user_id: str, document: Mapping[str, Any]) -> Document:
    """The user object of a stored user, without custom data."""
    data, identities = document.get("data") or {}, list(document.get("identities") or ())
    return {"id": user_id, "type": "normal", "data": data, "custom_data": {}, "identities": identities}


def _with_identity(user: Document | None, identity: Document) -> Document:
    """``identities`` with this one, in the order they came, and the ``data`` of all; of two values the later one."""
    known = list((user or {}).get("identities") or ())
    same = [(old["provider_type"], old["id"]) == (identity["provider_type"], identity["id"]) for old in known]
    if any(same):
        known[same.index(True)] = identity
    else:
        known.append(identity)
    data: Document = {}
    for each in known:
        data |= each.get("data") or {}
    return {"identities": known, "data": data}


class IdentityInUse(RequestError):
    """The identity belongs to another user."""

    status = 409
    code = "IdentityInUse"


def _place(provider: str, identity_id: str) -> str:
    # Hashed, since an issuer's ids may be longer than an index takes.
    return f"{provider}:{sha256(identity_id.encode('utf-8', 'surrogatepass')).hexdigest()}"


def not_found() -> NotFound:
    """The error that there is no such user."""
    return NotFound("user not found", code="UserNotFound")
