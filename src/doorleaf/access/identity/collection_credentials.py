"""Credentials for one collection each: 64 random characters that read it or write it, known only by their hash.

A credential is one document of ``collection_credentials`` in the system database: ``_id`` (24 hexadecimal digits),
``collection_id``, ``data_source``, ``database``, ``collection``, ``kind``, ``hash``, ``created``, ``expires``,
``last_used``, what it is limited to (:data:`RIGHTS`), ``revoked`` once it is, and after a rotation ``previous``, as
keys have it. The id of a collection is one document of ``collection_ids``. A credential is read when it is shown, at
most every two seconds, so that one that was revoked is let in nowhere after that.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from bson import ObjectId

from doorleaf.access.callers import Identity, Tell, untold
from doorleaf.access.guards.checks import Guards
from doorleaf.access.guards.scopes import Scope
from doorleaf.access.identity.keys import check_rights, described, digest, new_key
from doorleaf.access.identity.recent import Recent
from doorleaf.access.limits.rates import key_limits
from doorleaf.access.request import HttpRequest
from doorleaf.access.system_store import SystemStore, as_date, as_seconds
from doorleaf.documents import Document
from doorleaf.errors import DoorleafError, DuplicateKey, InvalidParameter, NotFound, RequestError
from doorleaf.operations import InsertOne, Namespace

CREDENTIALS = "collection_credentials"
COLLECTIONS = "collection_ids"
PREFIXES = {"read": "dlcr_", "write": "dlcw_"}
"""Each kind of credential, and how its text begins."""
RIGHTS = ("addresses", "rate", "quotas")
"""What a credential may be limited to, as a key."""
USED_EVERY = 60
"""Seconds between two writes of ``last_used``."""
REMEMBERED = 8192

_CREDENTIAL = re.compile(rf"(?:{'|'.join(PREFIXES.values())})[A-Za-z0-9]{{64}}")


@dataclass(frozen=True, slots=True)
class _Known:
    """A credential as it was last read. ``ends`` is in seconds since 1970, or None."""

    identity: Identity
    collection_id: str
    ends: float | None


class CollectionCredentials:
    """The credentials of all collections. ``system_database`` is the one that none is for; ``clock`` gives seconds
    since 1970, ``audit`` is told of every change."""

    def __init__(
        self,
        system: SystemStore,
        system_database: str,
        *,
        clock: Callable[[], float] = time.time,
        audit: Tell = untold,
    ) -> None:
        self._system = system
        self._guards = Guards(system_database=system_database)
        self._clock = clock
        self._audit = audit
        self._recent: Recent[bytes, _Known] = Recent(REMEMBERED)

    # --- who calls ---

    def fresh(self, text: str, collection_id: str) -> Identity | None:
        """Whom the credential ``text`` lets in to a collection, if it was read within the last two seconds."""
        if _CREDENTIAL.fullmatch(text) is None:
            return None
        known = self._recent.fresh(digest(text))
        return None if known is None else self._let_in(known, collection_id)

    def is_new(self, text: str) -> bool:
        """Whether ``text`` looks like a credential and never was one in this process."""
        return _CREDENTIAL.fullmatch(text) is not None and self._recent.any(digest(text)) is None

    async def find(self, text: str, collection_id: str) -> Identity | None:
        """Whom the credential ``text`` lets in to a collection; None for any other collection than its own, too."""
        if _CREDENTIAL.fullmatch(text) is None:
            return None
        hashed, begun = digest(text), self._recent.begin()
        either = {"$or": [{"hash": hashed.hex()}, {"previous.hash": hashed.hex()}]}
        document = await self._system.find_one(CREDENTIALS, either)
        if document is None or "revoked" in document:
            self._recent.drop(hashed)
            return None
        before, ends = self._recent.any(hashed), _end(document, hashed.hex())
        identity = _identity_of(document)
        if before is not None and before.identity.version == identity.version:
            identity = before.identity
        known = _Known(identity, document["collection_id"], ends)
        self._recent.put(hashed, known, begun)
        found = self._let_in(known, collection_id)
        if found is not None:
            await self._use(document)
        return found

    def _let_in(self, known: _Known, collection_id: str) -> Identity | None:
        if known.collection_id != collection_id or (known.ends is not None and self._clock() >= known.ends):
            return None
        return known.identity

    async def _use(self, document: Document) -> None:
        now, used = self._clock(), as_seconds(document["last_used"])
        if used is None or now - used >= USED_EVERY:
            with contextlib.suppress(DoorleafError):  # that it was used is not worth a refusal
                change = {"$max": {"last_used": as_date(now)}}
                await self._system.update(CREDENTIALS, {"_id": document["_id"]}, change)

    # --- administration: effective in every process within two seconds ---

    async def create(
        self,
        namespace: Namespace,
        kinds: Collection[str] = tuple(PREFIXES),
        *,
        expires: datetime | None = None,
        rights: Mapping[str, Any] | None = None,
        by: HttpRequest | None = None,
    ) -> Document:
        """Make a credential of each of ``kinds`` for a collection, whose data source ``namespace`` names; what is
        answered has their texts, which cannot be had again, as ``read_credential`` and ``write_credential``.

        ``expires`` is naive UTC, ``rights`` has fields of :data:`RIGHTS`. The collection need not be there yet.
        """
        self._guards.check(InsertOne(namespace=namespace, document={}))
        given = check_rights(rights or {}, admin=True)
        if others := given.keys() - RIGHTS:
            raise InvalidParameter(f"{min(others)}: no such field; there are {', '.join(RIGHTS)}")
        await self.prepare()
        place = {
            "data_source": namespace.data_source,
            "database": namespace.database,
            "collection": namespace.collection,
        }
        collection_id = await self._collection_id(place)
        made: Document = {"collection_id": collection_id, **place, "expires": expires, "ids": {}}
        for kind in PREFIXES:
            made[f"{kind}_credential"] = None
        for kind in kinds:
            text, identifier = new_key(PREFIXES[kind]), str(ObjectId())
            document: Document = {"_id": identifier, "collection_id": collection_id, **place, "kind": kind}
            document |= {"hash": digest(text).hex(), "created": as_date(self._clock()), "expires": expires}
            await self._system.insert(CREDENTIALS, document | {"last_used": None} | given)
            self._audit("createCollectionCredential", target=f"{identifier} {kind} {namespace}", by=by)
            made[f"{kind}_credential"], made["ids"][kind] = text, identifier
        return made

    async def _collection_id(self, place: Document) -> str:
        """The id of a collection, which it keeps."""
        found = await self._system.find_one(COLLECTIONS, place)
        if found is None:
            with contextlib.suppress(DuplicateKey):  # somebody else asked at the same moment
                await self._system.insert(COLLECTIONS, {"_id": str(ObjectId()), **place})
            found = await self._system.find_one(COLLECTIONS, place)
        if found is None:
            raise RequestError("the collection's id was just taken away; try again")
        return str(found["_id"])

    async def rotate(self, identifier: str, overlap: float = 0, *, by: HttpRequest | None = None) -> Document:
        """Give a credential a new text, and answer it as ``credential`` beside what :meth:`get` answers.

        The text before stays valid for ``overlap`` seconds more.
        """
        document = await self._required(identifier)
        if "revoked" in document:
            raise InvalidParameter("the credential was revoked for good; make another one")
        text = new_key(PREFIXES[document["kind"]])
        change: Document = {"$set": {"hash": digest(text).hex(), "rotated": as_date(self._clock())}}
        if overlap > 0:
            until = as_date(self._clock()) + timedelta(seconds=overlap)
            change["$set"]["previous"] = {"hash": document["hash"], "until": until}
        else:
            change["$unset"] = {"previous": ""}
        if not await self._system.update(CREDENTIALS, {"_id": identifier, "hash": document["hash"]}, change):
            raise RequestError("the credential was just rotated by somebody else")
        self._recent.clear()
        self._audit("rotateCollectionCredential", target=identifier, by=by)
        return {**await self.get(identifier), "credential": text}

    async def revoke(self, identifier: str, *, by: HttpRequest | None = None) -> Document:
        """End a credential for good; it stays listed. Answers what :meth:`get` does."""
        change = {"$set": {"revoked": as_date(self._clock())}, "$unset": {"previous": ""}}
        if not await self._system.update(CREDENTIALS, {"_id": identifier}, change):
            raise _not_found()
        self._recent.clear()
        self._audit("revokeCollectionCredential", target=identifier, by=by)
        return await self.get(identifier)

    async def get(self, identifier: str) -> Document:
        """One credential, without its hash; CredentialNotFound without one."""
        return _shown(await self._required(identifier))

    async def listed(self) -> list[Document]:
        """Every credential, oldest first, without its hash."""
        return [_shown(document) for document in await self._system.all(CREDENTIALS, {})]

    async def _required(self, identifier: str) -> Document:
        document = await self._system.find_one(CREDENTIALS, {"_id": identifier})
        if document is None:
            raise _not_found()
        return document

    async def prepare(self) -> None:
        """Make the indexes that are needed."""
        await self._system.index(CREDENTIALS, "hash")
        await self._system.index(CREDENTIALS, "previous.hash")
        await self._system.index(COLLECTIONS, "data_source", "database", "collection", unique=True)


def _identity_of(document: Mapping[str, Any]) -> Identity:
    """The caller that a credential's document stands for: no rules judge it, and it is limited to its collection."""
    identifier, place = document["_id"], {name: document[name] for name in ("data_source", "database", "collection")}
    data = {"collection_id": document["collection_id"], "kind": document["kind"], **place}
    return Identity(
        id=identifier,
        kind="server",
        provider="collection-credential",
        admin=True,
        key_name=f"collection-credential:{identifier}",  # no key's name has a colon
        data=data,
        identities=({"id": identifier, "provider_type": "collection-credential", "data": data},),
        scope=Scope(
            data_sources=frozenset((document["data_source"],)),
            databases=frozenset((document["database"],)),
            collections=frozenset((f"{document['database']}.{document['collection']}",)),
            actions=frozenset((document["kind"],)),
        ),
        limits=key_limits(document),
        ends=document["expires"] is not None,
    )


def _end(document: Mapping[str, Any], hashed: str) -> float | None:
    """The end of the text with the hash ``hashed``, in seconds since 1970; None is never."""
    ends = as_seconds(document["expires"])
    if document["hash"] == hashed:
        return ends
    until = as_seconds(document["previous"]["until"]) or 0.0
    return until if ends is None else min(until, ends)


def _shown(document: Mapping[str, Any]) -> Document:
    shown = described(document)
    state = "active"
    if "revoked" in shown:
        state = "revoked"
    elif shown["expires"] is not None and shown["expires"] <= datetime.now(UTC).replace(tzinfo=None):
        state = "expired"
    return {"id": shown.pop("_id"), **shown, "state": state}


def _not_found() -> NotFound:
    return NotFound("there is no such credential", code="CredentialNotFound")
