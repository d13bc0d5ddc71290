"""API keys: 64 random characters, known to the server only by their hash.

A key is one document of ``keys`` in the system database: ``_id`` is its name, ``id`` its user id, ``hash`` the SHA-256
of the whole key (it has more entropy than a slow hash could add), then ``created``, ``expires``, ``last_used``,
``disabled``, ``revoked``, ``admin``, what it is limited to (:data:`RIGHTS`), and after a rotation ``previous`` with the
``hash`` of the key before and ``until`` when that one is valid. Checking a key reads a map in memory;
:meth:`Keys.reload` refreshes it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import logging
import re
import secrets
import string
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from bson import ObjectId

from doorleaf.access.callers import Identity, Tell, untold
from doorleaf.access.guards.scopes import FIELDS, scope_of
from doorleaf.access.limits.rates import key_limits
from doorleaf.access.request import HttpRequest
from doorleaf.access.system_store import Readings, SystemStore, as_date, as_seconds
from doorleaf.documents import Document, is_string
from doorleaf.errors import DuplicateKey, InvalidParameter, NotFound, RequestError

COLLECTION = "keys"
PREFIX = "dl_"
FIRST = "default"
"""The name of the key that the first start makes."""
ALPHABET = string.ascii_letters + string.digits
USED_EVERY = 60
"""Seconds between two writes of a key's ``last_used``."""
RIGHTS = ("roles", *FIELDS, "addresses", "rate", "quotas")
"""The fields of a key's document that say what it may do; none of them has to be there."""

log = logging.getLogger("doorleaf.access")


@dataclass(frozen=True, slots=True)
class Key:
    """A key that is in force and the caller it stands for. ``expires`` is in seconds since 1970 or None; ``retiring``
    is one by its text before the last rotation."""

    identity: Identity
    expires: float | None
    retiring: bool = False

    @property
    def id(self) -> str:
        """The user id: 24 hexadecimal digits."""
        return self.identity.id

    @property
    def name(self) -> str:
        """The key's name."""
        return self.identity.key_name or ""

    @property
    def admin(self) -> bool:
        """Whether the key is not judged by rules."""
        return self.identity.admin


def new_key(prefix: str = PREFIX) -> str:
    """A key that nobody has."""
    return prefix + "".join(secrets.choice(ALPHABET) for _ in range(64))


def digest(key: str) -> bytes:
    """The hash that is stored and compared instead of ``key``."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def check_name(name: str) -> None:
    """InvalidParameter unless ``name`` can be a key's."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,100}", name):
        raise InvalidParameter("name: can only contain ASCII letters, numbers, underscores, and hyphens")


def check_rights(rights: Mapping[str, Any], *, admin: bool) -> Document:
    """``rights`` without those that are None; InvalidParameter names what is wrong with the others.

    An empty list is refused: it could be meant as nothing or as everything.
    """
    given = {name: value for name, value in rights.items() if value is not None}
    for name, value in given.items():
        if name not in RIGHTS:
            raise InvalidParameter(f"{name}: no such field; there are {', '.join(RIGHTS)}")
        if value in ([], {}, ""):
            raise InvalidParameter(f"{name}: must not be empty; leave it out for no restriction")
    if admin and "roles" in given:
        raise InvalidParameter("roles: an administrator is judged by no roles; give roles or admin")
    try:
        _roles(given)
        scope_of(given)
        key_limits(given)
    except ValueError as error:
        raise InvalidParameter(str(error)) from None
    return given


def _roles(document: Mapping[str, Any]) -> tuple[str, ...]:
    roles = document.get("roles") or []
    if not isinstance(roles, list) or not all(is_string(role) and 0 < len(role) <= 100 for role in roles):
        raise ValueError("roles: expected an array of names of up to 100 characters")
    return tuple(roles)


def identity_of(document: Mapping[str, Any]) -> Identity:
    """The caller that a key's document stands for; ValueError, KeyError or TypeError when it is damaged."""
    if not is_string(document["id"]) or not is_string(document["_id"]):
        raise TypeError("a name is a string")
    data = {"name": document["_id"]}
    identity = {"id": document["id"], "provider_type": "api-key", "data": data}
    return Identity(
        id=document["id"],
        kind="server",
        provider="api-key",
        admin=document["admin"] is True,
        key_name=document["_id"],
        data=data,
        identities=(identity,),
        roles=_roles(document),
        scope=scope_of(document),
        limits=key_limits(document),
        ends=document.get("expires") is not None,
    )


def described(document: Mapping[str, Any]) -> Document:
    """A key's document as it may be shown: without hashes."""
    shown = {name: value for name, value in document.items() if name != "hash"}
    if "previous" in shown:
        shown["previous"] = {"until": shown["previous"]["until"]}
    return shown


class Keys:
    """The keys of one system database, as this process last read them.

    ``own`` is a key given by a setting, which is nowhere stored. ``clock`` gives seconds since 1970, ``audit`` is told
    of every change, ``end_sessions`` ends those of the key with a user id, ``forget`` takes away
    what else such a key has.
    """

    def __init__(
        self,
        system: SystemStore,
        *,
        own: str | None = None,
        clock: Callable[[], float] = time.time,
        audit: Tell = untold,
        end_sessions: Callable[..., Awaitable[Any]] | None = None,
        forget: Callable[[str], Awaitable[None]] | None = None,
    ) -> None:
        self._system = system
        self._clock = clock
        self._audit = audit
        self._end_sessions = end_sessions
        self._forget = forget
        self._by_digest: dict[bytes, Key] = {}
        self._by_id: dict[str, Key] = {}
        self._retiring: dict[str, Key] = {}
        self._read: dict[str, tuple[Document, Key, Key | None]] = {}
        self._reading = Readings()
        self._used: dict[str, float] = {}
        self._written: dict[str, float] = {}
        self._digests: dict[str, bytes] = {}
        """Those of keys that were shown and found, so no more than there are keys; forgotten when any key changes."""
        self._own: tuple[bytes, Key] | None = None
        if own is not None:
            # The id depends on the key, so that sessions of an earlier key end when the setting changes.
            identifier = hmac.new(digest(own), b"user id", "sha256").hexdigest()[:24]
            identity = identity_of({"_id": "DATA_API_KEY", "id": identifier, "admin": True})
            self._own = (digest(own), Key(identity, expires=None))
            self._by_id[identifier] = self._own[1]

    def find(self, key: str) -> Key | None:
        """The key with this text, if it is in force. Asks no database."""
        hashed = self._digests.get(key) or digest(key)
        if self._own is not None and hmac.compare_digest(hashed, self._own[0]):
            self._digests[key] = hashed
            return self._own[1]
        found = self._by_digest.get(hashed)
        if found is None or not self._in_force(found):
            return None
        self._digests[key] = hashed
        self._used[found.name] = self._clock()
        return found

    def by_id(self, identifier: str, *, retiring: bool = False) -> Key | None:
        """The key with this user id, if it is in force; with ``retiring`` by its text before. Asks no database."""
        found = (self._retiring if retiring else self._by_id).get(identifier)
        if found is None or not self._in_force(found):
            return None
        if self._own is None or found is not self._own[1]:
            self._used[found.name] = self._clock()
        return found

    def name_of(self, identifier: str) -> str:
        """The name of the key with this user id, "" where there is none; this is no use of it."""
        found = self._by_id.get(identifier)
        return "" if found is None else found.name

    def _in_force(self, key: Key) -> bool:
        return key.expires is None or self._clock() < key.expires

    async def reload(self) -> None:
        """Read the keys again; what was revoked since is unknown from here on, what did not change stays as it was."""
        is_latest = self._reading.begin()
        documents = await self._system.all(COLLECTION, {"disabled": {"$ne": True}})
        if not is_latest():
            return
        by_digest: dict[bytes, Key] = {}
        by_id: dict[str, Key] = {}
        retiring: dict[str, Key] = {}
        read: dict[str, tuple[Document, Key, Key | None]] = {}
        for document in documents:
            document.pop("last_used", None)
            before = self._read.get(str(document["_id"]))
            try:
                if before is not None and before[0] == document:
                    _, key, old = before
                else:
                    key = Key(identity_of(document), as_seconds(document["expires"]))
                    old = _retiring(document, key)
                by_digest[bytes.fromhex(document["hash"])] = key
                if old is not None:
                    by_digest[bytes.fromhex(document["previous"]["hash"])] = retiring[key.id] = old
            except (KeyError, TypeError, ValueError, AttributeError):
                log.error("the key document %r is damaged and authorises nobody", document.get("_id"))
                continue
            read[key.name], by_id[key.id] = (document, key, old), key
        if self._own is not None:
            by_id[self._own[1].id] = self._own[1]
        if by_digest.keys() != self._by_digest.keys():
            self._digests = {}
        self._by_digest, self._by_id, self._retiring, self._read = by_digest, by_id, retiring, read

    async def write_used(self) -> None:
        """Write when keys were last used, at most once a minute for each."""
        for name, used in list(self._used.items()):
            if used < self._written.get(name, 0) + USED_EVERY:
                continue
            await self._system.update(COLLECTION, {"_id": name}, {"$max": {"last_used": as_date(used)}})
            self._written[name] = used

    # --- administration: effective in every process when it reloads ---

    async def create(
        self,
        name: str,
        *,
        expires: datetime | None = None,
        admin: bool = False,
        rights: Mapping[str, Any] | None = None,
        by: HttpRequest | None = None,
    ) -> str:
        """Make a key and answer its text, which cannot be had again.

        Without ``admin`` the key is judged by rules. ``expires`` is naive UTC; ``rights`` has fields of
        :data:`RIGHTS`, None for what is not limited. InvalidParameter for a name with other characters or for rights
        that are none; APIKeyAlreadyExists for a name that is taken.
        """
        check_name(name)
        given = check_rights(rights or {}, admin=admin)
        key = new_key()
        document: Document = {"_id": name, "id": str(ObjectId()), "hash": digest(key).hex()}
        document |= {"created": as_date(self._clock()), "expires": expires, "last_used": None}
        try:
            await self._system.insert(COLLECTION, document | {"disabled": False, "admin": admin} | given)
        except DuplicateKey:
            raise RequestError(f"a key named {name!r} exists already", code="APIKeyAlreadyExists") from None
        self._audit("createKey", target=name, by=by)
        return key

    async def first(self, announce: Callable[[str], None]) -> None:
        """Make the first key, an administrator, if there is none, not even a revoked one, and ``announce`` its text.

        Of several processes that start at once exactly one does. One that is stopped meanwhile shows what it has made.
        """
        if await self._system.find_one(COLLECTION, {}) is not None:
            return
        making = asyncio.create_task(self._make_first(announce))
        try:
            await asyncio.shield(making)
        except asyncio.CancelledError:
            # It has a limit of time, and a key that nobody saw would keep everybody out. Where it fails, this is
            # stopped all the same.
            await asyncio.wait([making])
            raise

    async def _make_first(self, announce: Callable[[str], None]) -> None:
        with contextlib.suppress(RequestError):
            announce(await self.create(FIRST, admin=True))

    async def change(
        self,
        name: str,
        rights: Mapping[str, Any],
        *,
        expires: datetime | None = None,
        unlimited: bool = False,
        by: HttpRequest | None = None,
    ) -> None:
        """Replace all of a key's ``rights``; ``expires`` replaces its end, and ``unlimited`` takes the end away."""
        document = await self._required(name)
        given = check_rights(rights, admin=document["admin"] is True)
        change: Document = {"$set": dict(given)}
        if expires is not None or unlimited:
            change["$set"]["expires"] = None if unlimited else expires
        absent = {field: "" for field in RIGHTS if field not in given}
        await self._system.update(COLLECTION, {"_id": name}, change | ({"$unset": absent} if absent else {}))
        self._audit("changeKey", target=name, by=by)

    async def rotate(self, name: str, overlap: float = 0, *, by: HttpRequest | None = None) -> str:
        """Give a key a new text and answer it. The text before stays valid for ``overlap`` seconds more.

        Without an overlap the key's sessions end too. The key before that one, if it was still valid, ends at once. A
        disabled key is refused.
        """
        document = await self._required(name)
        if document.get("disabled") is True:
            raise InvalidParameter(f"the key {name!r} is disabled; enable it first")
        key = new_key()
        change: Document = {"$set": {"hash": digest(key).hex(), "rotated": as_date(self._clock())}}
        if overlap > 0:
            until = as_date(self._clock()) + timedelta(seconds=overlap)
            change["$set"]["previous"] = {"hash": document["hash"], "until": until}
        else:
            change["$unset"] = {"previous": ""}
        if not await self._system.update(COLLECTION, {"_id": name, "hash": document["hash"]}, change):
            raise RequestError(f"the key {name!r} was just rotated by somebody else")
        if overlap <= 0 and self._end_sessions is not None:
            # Who has the key before may have begun sessions with it.
            await self._end_sessions(document["id"], by=by)
        self._audit("rotateKey", target=name, by=by)
        return key

    async def disable(self, name: str, *, by: HttpRequest | None = None) -> None:
        """Let a key authorise nobody until it is enabled again."""
        await self._required(name)
        await self._system.update(COLLECTION, {"_id": name}, {"$set": {"disabled": True}})
        self._audit("disableKey", target=name, by=by)

    async def enable(self, name: str, *, by: HttpRequest | None = None) -> None:
        """Take back :meth:`disable`; a revoked key is refused."""
        if "revoked" in await self._required(name):
            raise InvalidParameter(f"the key {name!r} was revoked for good; make another one")
        await self._system.update(COLLECTION, {"_id": name}, {"$set": {"disabled": False}})
        self._audit("enableKey", target=name, by=by)

    async def revoke(self, name: str, *, by: HttpRequest | None = None) -> None:
        """End a key for good; it stays listed. NotFound when there is none of this name."""
        change = {"$set": {"disabled": True, "revoked": as_date(self._clock())}, "$unset": {"previous": ""}}
        if not await self._system.update(COLLECTION, {"_id": name}, change):
            raise _not_found(name)
        self._audit("revokeKey", target=name, by=by)

    async def delete(self, name: str, *, by: HttpRequest | None = None) -> None:
        """End a key and forget it; its name may be used again."""
        document = await self._required(name)
        if not await self._system.delete(COLLECTION, {"_id": name}):
            raise _not_found(name)
        if self._forget is not None:
            await self._forget(document["id"])
        self._audit("deleteKey", target=name, by=by)

    async def get(self, name: str) -> Document:
        """One key, without its hash; APIKeyNotFound when there is none of this name."""
        return described(await self._required(name))

    async def listed(self) -> list[Document]:
        """Every key, oldest first, without its hash."""
        found = await self._system.all(COLLECTION, {})
        return [described(document) for document in sorted(found, key=lambda one: one["created"])]

    async def _required(self, name: str) -> Document:
        document = await self._system.find_one(COLLECTION, {"_id": name})
        if document is None:
            raise _not_found(name)
        return document


def _retiring(document: Mapping[str, Any], key: Key) -> Key | None:
    """The key by its text before the last rotation, which is good for a while and so limited; None without one."""
    previous = document.get("previous")
    if previous is None:
        return None
    bytes.fromhex(previous["hash"])  # a damaged one raises here
    until = as_seconds(previous["until"]) or 0.0
    ends = until if key.expires is None else min(until, key.expires)
    return Key(replace(key.identity, ends=True), ends, retiring=True)


def _not_found(name: str) -> NotFound:
    return NotFound(f"API key not found: {name!r}", code="APIKeyNotFound")
