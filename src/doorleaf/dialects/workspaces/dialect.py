"""The dialect of workspaces: documents as REST resources, under a predicate that no caller gets around.

The names of collections become those of the database here; what keeps an operation inside its workspace is behind the
door that every operation passes.
"""

from __future__ import annotations

from typing import Protocol

from doorleaf.dialects.base import Dialect, Reply, Request, Route
from doorleaf.dialects.workspaces.bulk import bulk_route
from doorleaf.dialects.workspaces.changes import changes_route
from doorleaf.dialects.workspaces.collections import collection_routes
from doorleaf.dialects.workspaces.credentials import Logins, credentials_route
from doorleaf.dialects.workspaces.documents import Sealing, document_routes
from doorleaf.dialects.workspaces.door import BASE, Door, Execute, Replays, credentials
from doorleaf.dialects.workspaces.envelope import WorkspaceError, correlation, sample, workspace_error
from doorleaf.dialects.workspaces.gateway import Identify, Tickets, gateway_routes, ticket_route
from doorleaf.dialects.workspaces.pipelines import aggregate_route
from doorleaf.errors import NotFound


class Known(Protocol):
    """The registry of workspaces, as this dialect needs it. ``seal`` signs cursors for a tenant, ``logins`` are to
    databases."""

    @property
    def replays(self) -> Replays: ...

    @property
    def seal(self) -> Sealing: ...

    @property
    def logins(self) -> Logins: ...

    @property
    def tickets(self) -> Tickets: ...


def workspaces(execute: Execute, known: Known, identify: Identify) -> Dialect:
    """The dialect; ``execute`` is the service's, ``identify`` knows callers."""
    door = Door(execute, known.replays)
    routes = (
        *document_routes(door, known.seal),
        bulk_route(door),
        aggregate_route(door),
        *collection_routes(door),
        credentials_route(door, known.logins),
        changes_route(door),
        ticket_route(door, known.tickets),
    )
    nowhere = Route("*", f"{BASE}/{{rest...}}", "workspaceUnknown", handle=_unknown, public=True, raw=True)
    return Dialect(
        "workspaces",
        (*routes, *gateway_routes(execute, identify, known.tickets), nowhere),
        credentials=credentials,
        error=workspace_error,
        prepare=_prepare,
        security=({"bearer": []}, {"apiKey": []}),
        problem=WorkspaceError,
        sample=sample,
    )


def _prepare(request: Request) -> None:
    correlation(request)  # known from here on, whatever becomes of the request


async def _unknown(request: Request) -> Reply:
    raise NotFound("there is no such route in a workspace")
