"""Administration over HTTP: API keys, users, sessions, rules, why a request is allowed or refused, and the server.

Only administrators whose key is limited in nothing are let in. Errors are in the house's envelope.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

from doorleaf.dialects.about import About, Gives
from doorleaf.dialects.admin.collection_credentials import credential_routes
from doorleaf.dialects.admin.functions import App, function_routes
from doorleaf.dialects.admin.keys import TAG, key_routes
from doorleaf.dialects.admin.models import AdminExplainRequest
from doorleaf.dialects.admin.now import Effective, Pulse, Trail, server_routes
from doorleaf.dialects.admin.rules import Judge, Written, rule_routes
from doorleaf.dialects.admin.triggers import Triggers, trigger_routes
from doorleaf.dialects.admin.users import Directory, session_routes, user_routes
from doorleaf.dialects.admin.workspaces import Workspaces, tenant_routes, workspace_routes
from doorleaf.dialects.base import Dialect, Handle, Reply, Request, Route
from doorleaf.dialects.handling import Act, handled
from doorleaf.documents import Document
from doorleaf.ejson import Mode
from doorleaf.errors import InvalidParameter, PermissionDenied, RequestError
from doorleaf.operations import OPERATIONS, Operation
from doorleaf.operations.decode import Decoder
from doorleaf.operations.places import Places

EXPLAIN = "/api/admin/v1/explain"


class Explain(Protocol):
    """Tells what becomes of an operation of a caller, and of one stored document if there is one. The caller is a
    user's id, a key's name, or an object that describes a user. Raises RequestError for a caller that is none."""

    async def __call__(
        self, operation: Operation[Any], who: Any, document: Document | None, *, request: Request
    ) -> Document: ...


class Tell(Protocol):
    """Accounts for something that was done."""

    def __call__(self, action: str, *, target: str = "", by: Request) -> None: ...


@dataclass(frozen=True, slots=True)
class Server:
    """The sources of what is told of the server itself; see :mod:`doorleaf.dialects.admin.now` and ``rules``."""

    pulse: Pulse
    trail: Trail
    effective: Effective
    rules: Written
    judge: Judge


def admin(
    directory: Directory,
    workspaces: Workspaces,
    *,
    explain: Explain,
    places: Places,
    audit: Tell,
    server: Server,
    app: App | None = None,
    triggers: Triggers | None = None,
) -> Dialect:
    """The dialect of administration. ``audit`` is told who looks at what; ``directory`` tells it of changes;
    ``app`` has the functions, if there is one, and ``triggers`` are its triggers."""
    # A filter has types that plain JSON would hide.
    explained = handled("POST", EXPLAIN, "adminExplain", _explain(explain, places), _EXPLAIN, mode=Mode.RELAXED)
    routes = (*key_routes(directory.keys), *user_routes(directory), *session_routes(directory.sessions), explained)
    routes += (*tenant_routes(workspaces), *workspace_routes(workspaces))
    routes += (*server_routes(server.pulse, server.trail, server.effective), *rule_routes(server.rules, server.judge))
    routes += credential_routes(directory.collection_credentials, places)
    if app is not None:
        routes += function_routes(app)
    if triggers is not None:
        routes += trigger_routes(triggers)
    return Dialect("admin", tuple(replace(route, handle=_for_administrators(route, audit)) for route in routes))


def _for_administrators(route: Route, audit: Tell) -> Handle:
    handle = route.handle
    assert handle is not None  # noqa: S101  # every route here has one
    looks = route.method == "GET" or route.path == EXPLAIN

    async def checked(request: Request) -> Reply:
        if not request.identity.administers:
            raise PermissionDenied("administration takes an administrator's key that is limited in nothing")
        reply = await handle(request)
        if looks:
            audit(route.name, target=next(iter(request.params.values()), ""), by=request)
        return reply

    return checked


_EXPLAIN = About(
    summary="Why a request would be allowed or refused",
    tag=TAG,
    takes=AdminExplainRequest,
    example={
        "action": "find",
        "body": {"database": "shop", "collection": "orders", "filter": {"total": {"$gt": 20}}},
        "as": "reports",
    },
    gives=Gives(content=dict[str, Any], description="The roles, the filter, the hidden fields, or what refused."),
    refuses=("UserNotFound",),
)


def _explain(explain: Explain, places: Places) -> Act:
    decoders = {name: Decoder(operation, places) for name, operation in OPERATIONS.items()}

    async def act(request: Request, given: AdminExplainRequest) -> Document:
        decoder = decoders.get(given.action)
        if decoder is None:
            raise InvalidParameter("action: there is no such action")
        try:
            operation = decoder(given.body)
        except RequestError as error:
            raise type(error)(f"body.{error.message}", code=error.code) from None
        return await explain(operation, given.as_, given.document, request=request)

    return act
