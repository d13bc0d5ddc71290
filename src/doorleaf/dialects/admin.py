"""Administration over HTTP: API keys, users, sessions, and why a request would be allowed or refused.

Only administrators whose key is limited in nothing are let in. Errors are in the house's envelope.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Protocol

from doorleaf.dialects.admin_body import answer, body_of, text
from doorleaf.dialects.admin_keys import key_routes
from doorleaf.dialects.admin_users import Directory, session_routes, user_routes
from doorleaf.dialects.base import Dialect, Reply, Request, Route
from doorleaf.dialects.decode import Decoder, DefaultDatabase
from doorleaf.dialects.fields import wrong
from doorleaf.documents import Document
from doorleaf.ejson import Mode
from doorleaf.errors import InvalidParameter, MissingParameter, PermissionDenied, RequestError
from doorleaf.operations import OPERATIONS, Operation

EXPLAIN = "/api/admin/v1/explain"

Handle = Callable[[Request], Awaitable[Reply]]
Explain = Callable[[Operation[Any], Any, Document | None], Awaitable[Document]]
"""What becomes of an operation of a caller, and of one stored document if there is one. The caller is a user's id, a
key's name, or an object that describes a user. Raises RequestError for a caller that is none."""


class Tell(Protocol):
    """Accounts for something that was done."""

    def __call__(self, action: str, *, target: str = "") -> None: ...


def admin(directory: Directory, *, explain: Explain, default_database: DefaultDatabase, audit: Tell) -> Dialect:
    """The dialect of administration. ``audit`` is told who looks at what; ``directory`` tells it of changes."""
    explained = Route("POST", EXPLAIN, "adminExplain", handle=_explain(explain, default_database))
    routes = (*key_routes(directory.keys), *user_routes(directory), *session_routes(directory.sessions), explained)
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
            audit(route.name, target=next(iter(request.params.values()), ""))
        return reply

    return checked


def _explain(explain: Explain, default_database: DefaultDatabase) -> Handle:
    decoders = {name: Decoder(operation, default_database) for name, operation in OPERATIONS.items()}

    async def handle(request: Request) -> Reply:
        body = body_of(request, ("action", "body", "as", "document"))
        decoder = decoders.get(text(body, "action"))
        if decoder is None:
            raise InvalidParameter("action: there is no such action")
        asked, caller, document = body.get("body"), body.get("as"), body.get("document")
        if type(asked) is not dict:
            raise wrong("body", "an object, what the action would be sent", asked)
        if caller is None:
            raise MissingParameter("as is required: a user's id, a key's name, or an object that describes a user")
        if type(caller) not in (str, dict):
            raise wrong("as", "a user's id, a key's name, or an object", caller)
        if document is not None and type(document) is not dict:
            raise wrong("document", "an object, a document as it is stored", document)
        try:
            operation = decoder(asked)
        except RequestError as error:
            raise type(error)(f"body.{error.message}", code=error.code) from None
        told = await explain(operation, caller, document)
        return answer(200, told, Mode.RELAXED)  # a filter has types that plain JSON would hide

    return handle
