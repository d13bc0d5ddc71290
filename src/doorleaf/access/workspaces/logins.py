"""Logins to the database itself that end: MongoDB users who may read the database of one workspace.

Each takes a place of its workspace in ``workspace_logins``, which has the user's name and when it ends. Whatever
becomes of a process, another one removes the user then; so one that was only begun ends as well.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from doorleaf.access.callers import Tell, untold
from doorleaf.access.request import HttpRequest
from doorleaf.access.system_store import SystemStore, as_date
from doorleaf.access.workspaces.tenancy import Workspace
from doorleaf.documents import Document
from doorleaf.errors import DataError, DoorleafError, DuplicateKey, PermissionDenied, QuotaExceeded
from doorleaf.operations import OWN_TURN, Namespace, RunCommand
from doorleaf.stores.base import Store

COLLECTION = "workspace_logins"
SHORTEST, USUAL, LONGEST = 60, 3600, 3600
"""Seconds that a login is good for."""
MOST = 20
"""Logins that a workspace without a quota may have at once."""
_NO_USER, _USER_THERE = 11, 51003
_LIMIT_MS = 5000

log = logging.getLogger("doorleaf.access")


class DatabaseLogins:
    """Makes and removes logins; ``hosts`` has those of the data sources that are a MongoDB."""

    def __init__(
        self,
        system: SystemStore,
        store: Store,
        hosts: Mapping[str, str],
        *,
        clock: Callable[[], float] = time.time,
        audit: Tell = untold,
    ) -> None:
        self._system = system
        self._store = store
        self._hosts = hosts
        self._clock = clock
        self._audit = audit

    async def make(self, place: Workspace, seconds: int, *, by: HttpRequest | None = None) -> Document:
        """Make a login that reads the database of a workspace. PermissionDenied (CapabilityDisabled) says why not."""
        host = await self._require_possible(place)
        expires = as_date(self._clock() + min(max(seconds, SHORTEST), LONGEST))
        name, password = await self._take(place, expires), secrets.token_urlsafe(32)
        try:
            await self._create(place, name, password)
        except DoorleafError as error:
            await self._system.update(COLLECTION, {"user": name}, {"$set": {"expires": as_date(self._clock())}})
            if isinstance(error, DataError | PermissionDenied):
                raise _impossible("the database does not let the server make users") from None
            raise
        self._audit("createDatabaseLogin", target=f"{place.id} {name}", by=by)
        ends = expires.replace(tzinfo=UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        made = {"host": host, "database": place.database, "username": name, "password": password}
        return {**made, "expiresAt": ends, "permissions": ["find", "aggregate"]}

    async def _require_possible(self, place: Workspace) -> str:
        """The host that a login is for."""
        if place.shared:
            raise _impossible("this workspace shares its database with others")
        host = self._hosts.get(place.data_source)
        if host is None:
            raise _impossible("the workspace is in the embedded database, which has no users")
        status = await self._run("admin", place.data_source, {"connectionStatus": 1})
        if not (status.get("authInfo") or {}).get("authenticatedUsers"):
            raise _impossible("the database asks nobody who they are, so that a login would limit nothing")
        return host

    async def _take(self, place: Workspace, expires: datetime) -> str:
        """The name of a user who is not there yet; QuotaExceeded where there are as many as there may be."""
        most = min(place.quotas.get("credentials", MOST), MOST * 5)
        for number in range(most):
            name = f"{place.id}_readonly" + (f"_{number}" if number else "")
            document = {"_id": f"{place.id} {number}", "workspace": place.id, "user": name, "expires": expires}
            place_of = {"data_source": place.data_source, "database": place.database}
            try:
                await self._system.insert(COLLECTION, {**document, **place_of})
            except DuplicateKey:
                continue
            return name
        raise QuotaExceeded(f"the workspace may have {most} credentials at once", fields={"quota": "credentials"})

    async def _create(self, place: Workspace, name: str, password: str) -> None:
        roles = [{"role": "read", "db": place.database}]
        command = {"createUser": name, "pwd": password, "roles": roles}
        try:
            await self._run(place.database, place.data_source, command)
        except DataError as error:
            if error.number != _USER_THERE:
                raise
            await self._run(place.database, place.data_source, {"dropUser": name})  # left by somebody who was cut off
            await self._run(place.database, place.data_source, command)

    async def _run(self, database: str, source: str, command: Document) -> dict[str, Any]:
        there = Namespace(database, "", source)
        operation = RunCommand(namespace=there, command=command, max_time_ms=_LIMIT_MS, turn=OWN_TURN)
        return (await self._store.execute(operation)).result

    async def end_all(self, workspace: str) -> None:
        """Let the logins of a workspace end now; who sweeps removes them."""
        await self._system.update_many(
            COLLECTION, {"workspace": workspace}, {"$set": {"expires": as_date(self._clock())}}
        )

    async def sweep(self) -> None:
        """Remove the users whose time is over."""
        for ended in await self._system.find(COLLECTION, {"expires": {"$lte": as_date(self._clock())}}, limit=100):
            try:
                await self._run(ended["database"], ended["data_source"], {"dropUser": ended["user"]})
            except DataError as error:
                if error.number != _NO_USER:
                    log.error("the database user %s of a workspace cannot be removed: %s", ended["user"], error.code)
                    continue
            except DoorleafError as error:
                log.warning("the database user %s of a workspace is not removed yet: %s", ended["user"], error.code)
                continue
            await self._system.delete(COLLECTION, {"_id": ended["_id"], "expires": ended["expires"]})
            self._audit("endDatabaseLogin", target=f"{ended['workspace']} {ended['user']}")

    async def prepare(self) -> None:
        """Make the index that is needed."""
        await self._system.index(COLLECTION, "expires")


def _impossible(reason: str) -> PermissionDenied:
    return PermissionDenied(f"there are no credentials here: {reason}", code="CapabilityDisabled")


def host_of(uri: str) -> str:
    """The first host that a connection string of MongoDB names, with its port."""
    scheme, _, rest = uri.partition("://")
    hosts = rest.partition("/")[0].partition("?")[0].rpartition("@")[2]
    host = hosts.partition(",")[0]
    return host if scheme.endswith("+srv") or ":" in host.rpartition("]")[2] else f"{host}:27017"
