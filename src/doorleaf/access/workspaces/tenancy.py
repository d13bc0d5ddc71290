"""What a workspace is, and how a caller stands in one: plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from doorleaf.documents import Document
from doorleaf.operations.places import Namespace

TENANT, WORKSPACE = "_tenantId", "_workspaceId"
HIDDEN = (TENANT, WORKSPACE)
"""The fields of every document that say whose it is; no caller sees or sets them."""

READ, WRITE, ADMIN, REALTIME = "mongo:read", "mongo:write", "mongo:admin", "realtime:read"
SCOPES = (READ, WRITE, ADMIN, REALTIME)
SUBSCRIBE = "realtime:subscribe"
"""Another name of :data:`REALTIME`."""

CAPABILITIES = ("mongo", "realtime", "credentials")
QUOTAS = ("collections", "documents", "bytes", "credentials", "subscriptions")


@dataclass(frozen=True, slots=True)
class Workspace:
    """A place of one tenant: a database of its own, or of a ``shared`` one the collections that begin with its id.

    ``quotas`` has what it is limited to, by :data:`QUOTAS`. ``members`` has the scopes of users, by their ids.
    ``tokens_after`` is the moment, in seconds since 1970, until which no token of ours may have been issued,
    ``quotas_since`` when its quotas were last changed. ``birth`` tells it from others of its id, before and after it.
    """

    id: str
    tenant: str
    data_source: str
    database: str
    shared: bool = False
    capabilities: frozenset[str] = frozenset(("mongo", "realtime"))
    quotas: Mapping[str, int] = field(default_factory=dict)
    members: Mapping[str, frozenset[str]] = field(default_factory=dict)
    tokens_after: float = 0.0
    quotas_since: float = 0.0
    birth: str = ""

    @property
    def predicate(self) -> Document:
        """The conditions that every document of the workspace fulfils, and the fields that it has."""
        return {TENANT: self.tenant, WORKSPACE: self.id}

    @property
    def prefix(self) -> str:
        """The beginning of its collections' names in the database."""
        return f"{self.id}." if self.shared else ""

    def namespace(self, collection: str = "") -> Namespace:
        """Where the collection that the workspace calls ``collection`` is; without one, its database."""
        name = self.prefix + collection if collection else ""
        return Namespace(self.database, name, self.data_source)

    def called(self, collection: str) -> str | None:
        """The name that the workspace has for a collection of its database; None for one that is not its own."""
        if not collection.startswith(self.prefix) or collection.startswith("system."):
            return None
        return collection.removeprefix(self.prefix)

    def has(self, namespace: Namespace) -> bool:
        """Whether ``namespace`` is a collection of the workspace."""
        return (
            namespace.data_source == self.data_source
            and namespace.database == self.database
            and bool(self.called(namespace.collection))
        )


@dataclass(frozen=True, slots=True)
class Tenancy:
    """How a caller stands in a workspace: with which of :data:`SCOPES`, and until when (seconds since 1970)."""

    workspace: Workspace
    scopes: frozenset[str]
    ends: float | None = None

    @property
    def described(self) -> tuple[Any, ...]:
        """Everything about it that a caller's rights depend on."""
        place = self.workspace
        return (place.id, place.tenant, place.namespace(), sorted(place.capabilities), sorted(self.scopes), self.ends)
