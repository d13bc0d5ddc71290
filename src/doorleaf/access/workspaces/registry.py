"""Tenants, workspaces and their keys: documents of the system database, read into memory every two seconds.

A tenant has a ``secret`` that signs the tokens of its workspaces. A workspace has what :class:`Workspace` has. A key is
known by the hash of its text alone. A change is effective in this process at once, in others within five seconds.
"""

from __future__ import annotations

import hmac
import logging
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bson import Int64, ObjectId

from doorleaf.access.callers import Identity, Tell, untold
from doorleaf.access.identity.keys import digest, new_key
from doorleaf.access.request import HttpRequest
from doorleaf.access.system_store import Readings, SystemStore, as_date, as_seconds
from doorleaf.access.workspaces.logins import DatabaseLogins
from doorleaf.access.workspaces.names import (
    check_capabilities,
    check_database,
    check_id,
    check_quotas,
    check_scopes,
    new_id,
)
from doorleaf.access.workspaces.replays import Replays
from doorleaf.access.workspaces.subscriptions import Subscriptions
from doorleaf.access.workspaces.tenancy import CAPABILITIES, Tenancy, Workspace
from doorleaf.access.workspaces.tickets import Tickets
from doorleaf.access.workspaces.tokens import issue
from doorleaf.documents import Document
from doorleaf.errors import DuplicateKey, InvalidParameter, NotFound, RequestError
from doorleaf.operations.places import Places

TENANTS, WORKSPACES, KEYS = "tenants", "workspaces", "workspace_keys"
KEY_PREFIX = "dlw_"
USUAL = ("mongo", "realtime")
"""The capabilities of a workspace that was made without naming any."""

log = logging.getLogger("doorleaf.access")


@dataclass(frozen=True, slots=True)
class WorkspaceKey:
    """A key that is in force."""

    id: str
    name: str
    workspace: str
    scopes: frozenset[str]
    expires: float | None


class Workspaces:
    """The tenants and workspaces of one system database, as this process last read them.

    ``places`` know the data sources; ``logins`` are those to the databases themselves; ``clock`` gives seconds since
    1970; ``audit`` is told of every change.
    """

    def __init__(
        self,
        system: SystemStore,
        places: Places,
        system_database: str,
        logins: DatabaseLogins,
        *,
        clock: Callable[[], float] = time.time,
        audit: Tell = untold,
    ) -> None:
        self.system = system
        self.replays = Replays(system, clock=clock)
        self.tickets = Tickets(system, clock=clock)
        self.subscriptions = Subscriptions(system, self.get, clock=clock)
        self._places = places
        self.logins = logins
        self._system_database = system_database
        self._clock = clock
        self._audit = audit
        self._secrets: Mapping[str, bytes] = {}
        self._workspaces: Mapping[str, Workspace] = {}
        self._read: Mapping[str, Document] = {}
        self._reading = Readings()
        self._keys: Mapping[bytes, WorkspaceKey] = {}

    # --- from memory ---

    def get(self, workspace: str) -> Workspace | None:
        """The workspace with this id."""
        return self._workspaces.get(workspace)

    def secret(self, tenant: str) -> bytes | None:
        """The secret that signs the tokens of a tenant."""
        return self._secrets.get(tenant)

    def key(self, text: str) -> WorkspaceKey | None:
        """The key with this text, if it is in force."""
        found = self._keys.get(digest(text))
        return None if found is None or (found.expires is not None and self._clock() >= found.expires) else found

    def seal(self, tenant: str, content: bytes) -> bytes:
        """A signature of ``content`` that only this server can have made for a tenant."""
        return hmac.digest(self._secrets[tenant], b"seal\0" + content, "sha256")

    async def reload(self) -> None:
        """Read everything again; a workspace that did not change stays the same object."""
        is_latest = self._reading.begin()
        tenants = {str(one["_id"]): bytes(one["secret"]) for one in await self.system.all(TENANTS, {})}
        read: dict[str, Document] = {}
        found: dict[str, Workspace] = {}
        for document in await self.system.all(WORKSPACES, {}):
            name = str(document["_id"])
            read[name] = document
            if document == self._read.get(name):
                found[name] = self._workspaces[name]
            elif document["tenant"] in tenants:
                found[name] = _workspace(document)
        keys = {}
        for document in await self.system.all(KEYS, {"revoked": None}):
            place = found.get(document["workspace"])
            if place is not None and document.get("birth", "") == place.birth:  # else it was for one that is no more
                keys[bytes.fromhex(document["hash"])] = _key(document)
        known = {name: document for name, document in read.items() if name in found}
        if not is_latest():
            return
        self._secrets, self._workspaces, self._read, self._keys = tenants, found, known, keys

    async def prepare(self) -> None:
        """Make the indexes that are needed."""
        await self.system.index(KEYS, "workspace")
        await self.system.index(WORKSPACES, "tenant")
        await self.replays.prepare()
        await self.tickets.prepare()
        await self.subscriptions.prepare()
        await self.logins.prepare()

    # --- tenants ---

    async def create_tenant(self, name: str, *, id: str | None = None, by: HttpRequest | None = None) -> Document:
        """Make a tenant; TenantAlreadyExists for an ``id`` that is taken."""
        if not name or len(name) > 200:
            raise InvalidParameter("name: expected 1 to 200 characters")
        identifier = new_id("tnt_") if id is None else check_id(id, "a tenant's id")
        document: Document = {"_id": identifier, "name": name, "created": as_date(self._clock())}
        try:
            await self.system.insert(TENANTS, {**document, "secret": secrets.token_bytes(32)})
        except DuplicateKey:
            raise RequestError(f"there is a tenant {identifier!r} already", code="TenantAlreadyExists") from None
        await self.reload()
        self._audit("createTenant", target=identifier, by=by)
        return _told(document)

    async def tenants(self) -> list[Document]:
        """Every tenant, oldest first."""
        return [_told(one) for one in sorted(await self.system.all(TENANTS, {}), key=_age)]

    async def delete_tenant(self, tenant: str, *, by: HttpRequest | None = None) -> None:
        """Forget a tenant that has no workspaces; TenantNotFound when there is none."""
        if await self.system.find_one(WORKSPACES, {"tenant": tenant}) is not None:
            raise InvalidParameter("this tenant has workspaces; delete them first")
        if not await self.system.delete(TENANTS, {"_id": tenant}):
            raise _no_tenant(tenant)
        await self.reload()
        self._audit("deleteTenant", target=tenant, by=by)

    # --- workspaces ---

    async def create(
        self,
        tenant: str,
        *,
        id: str | None = None,
        database: str | None = None,
        shared: bool = False,
        data_source: str | None = None,
        quotas: Mapping[str, Any] | None = None,
        capabilities: Iterable[str] | None = None,
        by: HttpRequest | None = None,
    ) -> Document:
        """Make a workspace of a tenant. InvalidParameter, TenantNotFound or WorkspaceAlreadyExists."""
        if await self.system.find_one(TENANTS, {"_id": tenant}) is None:
            raise _no_tenant(tenant)
        identifier = new_id("wks_") if id is None else check_id(id, "a workspace's id")
        if shared and database is None:
            raise InvalidParameter("database: a workspace in a shared database names it")
        document: Document = {
            "_id": identifier,
            "tenant": tenant,
            "data_source": self._places.source(data_source),
            "database": check_database(database or identifier, self._system_database),
            "shared": shared,
            "capabilities": check_capabilities(USUAL if capabilities is None else capabilities),
            "quotas": _kept(check_quotas(quotas or {})),
            "members": {},
            "created": as_date(self._clock()),
            "quotas_since": as_date(self._clock()),
            "birth": secrets.token_hex(8),
        }
        await self._require_free(document)
        try:
            await self.system.insert(WORKSPACES, document)
        except DuplicateKey:
            raise _taken(identifier) from None
        try:
            await self._require_free(document)  # of several that are made at once none has what another has
        except RequestError:
            await self.system.delete(WORKSPACES, {"_id": identifier, "birth": document["birth"]})
            raise
        await self.reload()
        self._audit("createWorkspace", target=identifier, by=by)
        return _shown(document)

    async def _require_free(self, document: Document) -> None:
        """Raise unless nobody else has the database, or all who have it share it."""
        needed = {"data_source": 1, "database": 1, "shared": 1}
        for other in await self.system.all(WORKSPACES, {"_id": {"$ne": document["_id"]}}, projection=needed):
            if other["_id"].casefold() == document["_id"].casefold():
                raise _taken(document["_id"])
            if other["data_source"] != document["data_source"]:
                continue
            if other["database"].casefold() == document["database"].casefold() and not (
                other["shared"] and document["shared"] and other["database"] == document["database"]
            ):
                raise InvalidParameter("database: another workspace has it; only those that all share one may")

    async def listed(self, tenant: str | None = None) -> list[Document]:
        """Every workspace, or those of one tenant, oldest first."""
        filter: Document = {} if tenant is None else {"tenant": tenant}
        return [_shown(one) for one in sorted(await self.system.all(WORKSPACES, filter), key=_age)]

    async def describe(self, workspace: str) -> Document:
        """One workspace; WorkspaceNotFound when there is none."""
        document = await self.system.find_one(WORKSPACES, {"_id": workspace})
        if document is None:
            raise _no_workspace(workspace)
        return _shown(document)

    async def change(
        self,
        workspace: str,
        *,
        quotas: Mapping[str, Any] | None = None,
        capabilities: Iterable[str] | None = None,
        members: Mapping[str, Iterable[str] | None] | None = None,
        end_tokens: bool = False,
        by: HttpRequest | None = None,
    ) -> Document:
        """Change what is given: ``quotas`` and ``members`` one by one, None takes one away; all ``capabilities``.

        ``end_tokens`` ends the tokens that were issued until now.
        """
        put: Document = {}
        away: Document = {}
        for kind, most in check_quotas(quotas or {}).items():
            (away if most is None else put)[f"quotas.{kind}"] = "" if most is None else Int64(most)
        for user, scopes in (members or {}).items():
            check_id(user, "a member")
            (away if scopes is None else put)[f"members.{user}"] = "" if scopes is None else check_scopes(scopes)
        if capabilities is not None:
            put["capabilities"] = check_capabilities(capabilities)
        if end_tokens:
            put["tokens_after"] = as_date(self._clock())
        dated = {"quotas_since": True} if quotas else {}  # by the clock that writes are dated by
        change = {name: it for name, it in (("$set", put), ("$unset", away), ("$currentDate", dated)) if it}
        if not change:
            return await self.describe(workspace)
        if not await self.system.update(WORKSPACES, {"_id": workspace}, change):
            raise _no_workspace(workspace)
        await self.reload()
        self._audit("changeWorkspace", target=workspace, by=by)
        return await self.describe(workspace)

    async def delete(self, workspace: str, *, by: HttpRequest | None = None) -> None:
        """Forget a workspace with its keys; its documents stay where they are."""
        if not await self.system.delete(WORKSPACES, {"_id": workspace}):
            raise _no_workspace(workspace)
        await self.system.delete(KEYS, {"workspace": workspace})
        await self.logins.end_all(workspace)
        await self.reload()
        self._audit("deleteWorkspace", target=workspace, by=by)

    # --- what callers show ---

    async def token(
        self, workspace: str, scopes: Iterable[str], seconds: float, *, by: HttpRequest | None = None
    ) -> tuple[str, datetime]:
        """A token for a workspace that is good for ``seconds``, and when it ends."""
        document = await self.system.find_one(WORKSPACES, {"_id": workspace})
        tenant = None if document is None else await self.system.find_one(TENANTS, {"_id": document["tenant"]})
        if document is None or tenant is None:
            raise _no_workspace(workspace)
        now = self._clock()
        place, given = (workspace, document.get("birth", "")), check_scopes(scopes)
        text, expires = issue(bytes(tenant["secret"]), tenant["_id"], place, given, now, seconds)
        self._audit("createWorkspaceToken", target=workspace, by=by)
        return text, as_date(expires)

    async def create_key(
        self,
        workspace: str,
        name: str,
        *,
        scopes: Iterable[str] = (),
        expires: datetime | None = None,
        by: HttpRequest | None = None,
    ) -> Document:
        """Make a key of a workspace; ``key`` of the answer is its text, which cannot be had again."""
        if not name or len(name) > 100:
            raise InvalidParameter("name: expected 1 to 100 characters")
        place = await self.system.find_one(WORKSPACES, {"_id": workspace})
        if place is None:
            raise _no_workspace(workspace)
        text, birth = new_key(KEY_PREFIX), place.get("birth", "")
        document: Document = {"_id": str(ObjectId()), "workspace": workspace, "birth": birth, "name": name}
        document |= {"scopes": check_scopes(scopes), "created": as_date(self._clock()), "expires": expires}
        await self.system.insert(KEYS, {**document, "hash": digest(text).hex(), "revoked": None})
        await self.reload()
        self._audit("createWorkspaceKey", target=f"{workspace} {document['_id']}", by=by)
        return {**_shown_key(document), "key": text}

    async def keys(self, workspace: str) -> list[Document]:
        """The keys of a workspace, oldest first, without their texts."""
        await self.describe(workspace)
        found = await self.system.all(KEYS, {"workspace": workspace})
        return [_shown_key(document) for document in sorted(found, key=_age)]

    async def revoke_key(self, workspace: str, key: str, *, by: HttpRequest | None = None) -> Document:
        """End a key of a workspace, by its id, for good. WorkspaceKeyNotFound when there is none."""
        place = {"_id": key, "workspace": workspace}
        change = {"$set": {"revoked": as_date(self._clock())}}
        if not await self.system.update(KEYS, {**place, "revoked": None}, change):
            raise NotFound("there is no such key, or it was revoked before", code="WorkspaceKeyNotFound")
        await self.reload()
        self._audit("revokeWorkspaceKey", target=f"{workspace} {key}", by=by)
        return _shown_key(await self.system.find_one(KEYS, place) or {})


def stands_for(name: str, identifier: str, tenancy: Tenancy, *, together: bool) -> Identity:
    """The caller who shows a key or a token of a workspace, who may have a turn ``together`` with others of it."""
    place = tenancy.workspace
    data = {"name": name, "tenant_id": place.tenant, "workspace_id": place.id}
    turn = f"workspace {place.id}" if together else ""
    return Identity(id=identifier, kind="server", provider="workspace", data=data, tenancy=tenancy, together=turn)


def _workspace(document: Document) -> Workspace:
    return Workspace(
        document["_id"],
        document["tenant"],
        document["data_source"],
        document["database"],
        document["shared"] is True,
        frozenset(document["capabilities"]) & frozenset(CAPABILITIES),
        {kind: int(most) for kind, most in document["quotas"].items()},
        {user: frozenset(scopes) for user, scopes in document["members"].items()},
        as_seconds(document.get("tokens_after")) or 0.0,
        as_seconds(document.get("quotas_since")) or 0.0,
        document.get("birth", ""),
    )


def _key(document: Document) -> WorkspaceKey:
    scopes = frozenset(document["scopes"])
    return WorkspaceKey(
        document["_id"], document["name"], document["workspace"], scopes, as_seconds(document["expires"])
    )


def _age(document: Document) -> tuple[datetime, str]:
    return document["created"], document["_id"]


def _told(tenant: Document) -> Document:
    return {"id": tenant["_id"], "name": tenant["name"], "created": tenant["created"]}


def _shown(document: Document) -> Document:
    """A workspace as it is shown."""
    fields = ("tenant", "data_source", "database", "shared", "capabilities", "quotas", "members", "created")
    return {"id": document["_id"], **{name: document[name] for name in fields}}


def _shown_key(document: Document) -> Document:
    """A key as it is shown: without its hash."""
    fields = ("workspace", "name", "scopes", "created", "expires", "revoked")
    return {"id": document["_id"], **{name: document.get(name) for name in fields}}


def _kept(quotas: Mapping[str, int | None]) -> Document:
    return {kind: Int64(most) for kind, most in quotas.items() if most is not None}


def _no_tenant(tenant: str) -> NotFound:
    return NotFound(f"there is no tenant {tenant[:100]!r}", code="TenantNotFound")


def _no_workspace(workspace: str) -> NotFound:
    return NotFound(f"there is no workspace {workspace[:100]!r}", code="WorkspaceNotFound")


def _taken(workspace: str) -> RequestError:
    return RequestError(f"there is a workspace {workspace!r} already", code="WorkspaceAlreadyExists")
