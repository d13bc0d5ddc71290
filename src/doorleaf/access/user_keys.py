"""API keys that users make for themselves: each lets in whoever shows it as that user.

A key is one document of ``user_keys`` in the system database: ``_id`` (24 hexadecimal digits), ``user_id``, ``name``,
``hash``, ``disabled``, ``created``. It is read when it is shown, at most every two seconds.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from typing import Any

from bson import ObjectId

from doorleaf.access.callers import Tell, untold
from doorleaf.access.keys import check_name, digest, new_key
from doorleaf.access.recent import Recent
from doorleaf.access.system_store import SystemStore, as_date
from doorleaf.documents import Document
from doorleaf.errors import DuplicateKey, InvalidParameter, NotFound, RequestError

COLLECTION = "user_keys"
PREFIX = "dlu_"
MOST = 20
"""Keys that one user may have."""
REMEMBERED = 8192

_KEY = re.compile(rf"{PREFIX}[A-Za-z0-9]{{64}}")


class UserKeys:
    """The keys of all users. ``clock`` gives seconds since 1970, ``audit`` is told of every change.

    What is answered about a key is ``{_id, name, disabled}``, and ``key`` once, when it is made.
    """

    def __init__(self, system: SystemStore, *, clock: Callable[[], float] = time.time, audit: Tell = untold) -> None:
        self._system = system
        self._clock = clock
        self._audit = audit
        self._recent: Recent[bytes, str] = Recent(REMEMBERED)

    def fresh(self, key: str) -> str | None:
        """The id of the user whose key this is, if it was read within the last two seconds; asks no database."""
        return self._recent.fresh(digest(key)) if key.startswith(PREFIX) else None

    async def find(self, key: str) -> str | None:
        """The id of the user whose key this is, or None. Only what looks like such a key is looked up."""
        if _KEY.fullmatch(key) is None:
            return None
        hashed = digest(key)
        document = await self._system.find_one(COLLECTION, {"hash": hashed.hex()})
        if document is None or document.get("disabled") is not False:
            self._recent.drop(hashed)
            return None
        self._recent.put(hashed, document["user_id"])
        return str(document["user_id"])

    async def create(self, user_id: str, name: str) -> Document:
        """Make a key; its text is in ``key``, this once. APIKeyAlreadyExists for a name that is taken."""
        check_name(name)
        if len(await self._system.find(COLLECTION, {"user_id": user_id}, limit=MOST)) >= MOST:
            raise InvalidParameter(f"a user can have at most {MOST} API keys")
        key, identifier = new_key(PREFIX), str(ObjectId())
        document = {"_id": identifier, "user_id": user_id, "name": name, "hash": digest(key).hex()}
        try:
            await self._system.insert(COLLECTION, document | {"disabled": False, "created": as_date(self._clock())})
        except DuplicateKey:
            raise RequestError(f"a key named {name!r} exists already", code="APIKeyAlreadyExists") from None
        self._audit("createUserKey", target=identifier)
        return {"_id": identifier, "name": name, "disabled": False, "key": key}

    async def listed(self, user_id: str) -> list[Document]:
        """The keys of a user, oldest first."""
        found = await self._system.find(COLLECTION, {"user_id": user_id}, sort={"_id": 1})
        return [_described(document) for document in found]

    async def get(self, user_id: str, identifier: str) -> Document:
        """One key of a user; APIKeyNotFound when they have none with this id."""
        document = await self._system.find_one(COLLECTION, {"_id": identifier, "user_id": user_id})
        if document is None:
            raise _not_found()
        return _described(document)

    async def set_disabled(self, user_id: str, identifier: str, disabled: bool) -> None:
        """Let a key let in nobody, or its user again."""
        filter = {"_id": identifier, "user_id": user_id}
        if not await self._system.update(COLLECTION, filter, {"$set": {"disabled": disabled}}):
            raise _not_found()
        self._recent.clear()
        self._audit("disableUserKey" if disabled else "enableUserKey", target=identifier)

    async def delete(self, user_id: str, identifier: str) -> None:
        """End a key."""
        if not await self._system.delete(COLLECTION, {"_id": identifier, "user_id": user_id}):
            raise _not_found()
        self._recent.clear()
        self._audit("deleteUserKey", target=identifier)

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
