"""Sessions over HTTP: log in with a provider, refresh, log out; also at the paths of the App Services client API."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Protocol
from urllib.parse import parse_qs

from doorleaf.dialects.actions import app_check
from doorleaf.dialects.base import Dialect, Reply, Request, Route, header_credentials, json
from doorleaf.documents import Document
from doorleaf.ejson import loads
from doorleaf.errors import Unsupported

LOGIN_PATHS = (
    "/auth/providers/{provider}/login",
    "/api/client/v2.0/app/{app_id}/auth/providers/{provider}/login",
)
SESSION_PATHS = ("/auth/session", "/api/client/v2.0/auth/session")

_NOT_STORED = ((b"cache-control", b"no-store"),)


class Sessions(Protocol):
    """Who gives and takes sessions; each raises AccessError or RequestError."""

    async def login(self, provider: str, body: Mapping[str, Any], *, address: str = "") -> Document: ...

    async def refresh(self, bearer: str | None) -> Document: ...

    async def logout(self, bearer: str | None) -> None: ...


def auth(sessions: Sessions, *, app_ids: Collection[str] = ()) -> Dialect:
    """The dialect of logins and sessions. Answers are plain JSON and must not be cached."""

    async def login(request: Request) -> Reply:
        if parse_qs(request.query.decode("latin-1")).get("link", ["false"]) != ["false"]:
            raise Unsupported("linking identities is not supported", code="NotCallable")
        body = loads(request.body or b"{}")
        return _reply(await sessions.login(request.params["provider"], body, address=request.address))

    async def refresh(request: Request) -> Reply:
        return _reply(await sessions.refresh(header_credentials(request).bearer))

    async def logout(request: Request) -> Reply:
        await sessions.logout(header_credentials(request).bearer)
        return Reply(204, headers=_NOT_STORED)

    routes = [Route("POST", path, "login", handle=login, public=True, login=True) for path in LOGIN_PATHS]
    for path in SESSION_PATHS:
        routes.append(Route("POST", path, "refreshSession", handle=refresh, public=True))
        routes.append(Route("DELETE", path, "endSession", handle=logout, public=True))
    return Dialect("auth", tuple(routes), prepare=app_check(app_ids))


def _reply(content: Document) -> Reply:
    return Reply(200, json(content), headers=_NOT_STORED)
