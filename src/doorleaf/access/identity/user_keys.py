"""API keys that users make for themselves: each lets in whoever shows it as that user.

A key is one document of ``user_keys`` in the system database: ``_id`` (24 hexadecimal digits), ``user_id``, ``name``,
``hash``, ``disabled``, ``created``, and maybe ``used``, ``expires`` and what it is limited to: ``actions``,
``databases``, and the ids that its user knows those by, ``database_ids``. It is read when it is shown, at most every
two seconds.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from bson import ObjectId

from doorleaf.access.callers import Identity, Tell, untold
from doorleaf.access.guards.scopes import Scope, scope_of
from doorleaf.access.identity.keys import check_name, digest, new_key
from doorleaf.access.identity.recent import Recent
from doorleaf.access.request import HttpRequest
from doorleaf.access.system_store import SystemStore, as_date, as_seconds
from doorleaf.documents import Document
from doorleaf.errors import DuplicateKey, InvalidParameter, NotFound, RequestError

COLLECTION = "user_keys"
PREFIX = "dlu_"
LONGEST_NAME = 100
MOST = 20
"""Keys that one user may have."""
REMEMBERED = 8192
USED_EVERY = 60.0
"""How many seconds pass before it is written again that a key was used."""

_KEY = re.compile(rf"{PREFIX}[A-Za-z0-9]{{64}}")


@dataclass(slots=True)
class UserKey:
    """A key that was read: whose it is, what it is limited to, and when it ends, in seconds since 1970."""

    id: str
    user_id: str
    scope: Scope | None = None
    expires: float | None = None
    _applied: tuple[Identity, Identity] | None = field(default=None, compare=False, repr=False)

    @property
    def limited(self) -> bool:
        """Whether it is good for less than its user may."""
        return self.scope is not None or self.expires is not None

    def applied(self, identity: Identity) -> Identity:
        """Its user as far as the key goes; the same object each time."""
        if not self.limited:
            return identity
        if self._applied is None or self._applied[0] is not identity:
            self._applied = identity, replace(identity, scope=self.scope, ends=self.expires is not None)
        return self._applied[1]


class UserKeys:
    """The keys of all users. ``clock`` gives seconds since 1970, ``audit`` is told of every change.

    What is answered about a key is ``{_id, name, disabled}``, and ``key`` once, when it is made.
    """

    def __init__(self, system: SystemStore, *, clock: Callable[[], float] = time.time, audit: Tell = untold) -> None:
        self._system = system
        self._clock = clock
        self._audit = audit
        self._recent: Recent[bytes, UserKey] = Recent(REMEMBERED)
        self._used: dict[str, float] = {}
        self._written: Recent[str, float] = Recent(REMEMBERED)

    def fresh(self, key: str) -> UserKey | None:
        """The key with this text, if it was read within the last two seconds; asks no database."""
        found = self._recent.fresh(digest(key)) if key.startswith(PREFIX) else None
        return None if found is None or not self._in_force(found) else found

    def is_new(self, key: str) -> bool:
        """Whether ``key`` looks like a user's and never was one in this process: it takes a look into the database."""
        return _KEY.fullmatch(key) is not None and self._recent.any(digest(key)) is None

    async def find(self, key: str) -> UserKey | None:
        """The key with this text, if it is in force. Only what looks like such a key is looked up."""
        if _KEY.fullmatch(key) is None:
            return None
        hashed, begun = digest(key), self._recent.begin()
        document = await self._system.find_one(COLLECTION, {"hash": hashed.hex()})
        if document is None or document.get("disabled") is not False:
            self._recent.drop(hashed)
            return None
        found = UserKey(
            str(document["_id"]), str(document["user_id"]), scope_of(document), as_seconds(document.get("expires"))
        )
        before = self._recent.any(hashed)
        found = before if before is not None and before == found else found
        self._recent.put(hashed, found, begun)
        return found if self._in_force(found) else None

    def _in_force(self, key: UserKey) -> bool:
        now = self._clock()
        if key.expires is not None and now >= key.expires:
            return False
        self._used[key.id] = now
        return True

    async def write_used(self) -> None:
        """Write when keys were last used, at most once a minute for each."""
        for identifier, used in list(self._used.items()):
            if used >= (self._written.any(identifier) or 0.0) + USED_EVERY:
                await self._system.update(COLLECTION, {"_id": identifier}, {"$max": {"used": as_date(used)}})
                self._written.put(identifier, used, self._written.begin())
            self._used.pop(identifier, None)

    async def create(
        self,
        user_id: str,
        name: str,
        *,
        limits: Mapping[str, Any] | None = None,
        expires: datetime | None = None,
        by: HttpRequest | None = None,
    ) -> Document:
        """Make a key; its text is in ``key``, this once. APIKeyAlreadyExists for a name that is taken.

        One with ``limits`` (``actions``, ``databases``, ``database_ids``) may have any name that can be read.
        """
        if limits is None:
            check_name(name)
        elif not name.isprintable() or not name.strip() or len(name) > LONGEST_NAME:
            raise InvalidParameter(f"name: expected up to {LONGEST_NAME} characters that can be read")
        if len(await self._system.find(COLLECTION, {"user_id": user_id}, limit=MOST)) >= MOST:
            raise InvalidParameter(f"a user can have at most {MOST} API keys")
        key, identifier = new_key(PREFIX), str(ObjectId())
        document: Document = {"_id": identifier, "user_id": user_id, "name": name, "hash": digest(key).hex()}
        document |= {field: value for field, value in (limits or {}).items() if value is not None}
        document |= {} if expires is None else {"expires": expires}
        try:
            await self._system.insert(COLLECTION, document | {"disabled": False, "created": as_date(self._clock())})
        except DuplicateKey:
            raise RequestError(f"a key named {name!r} exists already", code="APIKeyAlreadyExists") from None
        self._audit("createUserKey", target=identifier, by=by)
        return {"_id": identifier, "name": name, "disabled": False, "key": key}

    async def listed(self, user_id: str) -> list[Document]:
        """The keys of a user, oldest first."""
        found = await self._system.find(COLLECTION, {"user_id": user_id}, sort={"_id": 1})
        return [_described(document) for document in found]

    async def shown(self, user_id: str) -> list[Document]:
        """The keys of a user with all that is known of them but their hashes, oldest first."""
        found = await self._system.find(COLLECTION, {"user_id": user_id}, sort={"_id": 1})
        return [{name: value for name, value in document.items() if name != "hash"} for document in found]

    async def get(self, user_id: str, identifier: str) -> Document:
        """One key of a user; APIKeyNotFound when they have none with this id."""
        document = await self._system.find_one(COLLECTION, {"_id": identifier, "user_id": user_id})
        if document is None:
            raise _not_found()
        return _described(document)

    async def set_disabled(
        self, user_id: str, identifier: str, disabled: bool, *, by: HttpRequest | None = None
    ) -> None:
        """Let a key let in nobody, or its user again."""
        filter = {"_id": identifier, "user_id": user_id}
        if not await self._system.update(COLLECTION, filter, {"$set": {"disabled": disabled}}):
            raise _not_found()
        self._recent.clear()
        self._audit("disableUserKey" if disabled else "enableUserKey", target=identifier, by=by)

    async def delete(self, user_id: str, identifier: str, *, by: HttpRequest | None = None) -> None:
        """End a key."""
        if not await self._system.delete(COLLECTION, {"_id": identifier, "user_id": user_id}):
            raise _not_found()
        self._recent.clear()
        self._audit("deleteUserKey", target=identifier, by=by)

    async def delete_of(self, user_id: str) -> None:
        """End all keys of a user."""
        await self._system.delete(COLLECTION, {"user_id": user_id})
        self._recent.clear()

    async def prepare(self) -> None:
        """Make the indexes that are needed."""
        await self._system.index(COLLECTION, "hash")
        await self._system.index(COLLECTION, "user_id", "name", unique=True)


def _described(document: Mapping[str, Any]) -> Document:
    return {"_id": document["_id"], "name": document["name"], "disabled": document["disabled"]}


def _not_found() -> NotFound:
    return NotFound("API key not found", code="APIKeyNotFound")
