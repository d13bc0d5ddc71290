"""The App Services client API: where apps log in, look after their account and call the service's functions.

Clients made for App Services, such as ``realm-web``, find here what they ask for: the app's location, profiles, users'
own API keys, accounts with email and password, and function calls. Logging in and sessions are in
:mod:`doorleaf.dialects.auth`, at the same paths.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace

from doorleaf.access.identity import Credentials
from doorleaf.dialects.actions import app_check
from doorleaf.dialects.base import Dialect, Reply, Request, Route, header_credentials, json
from doorleaf.dialects.client_auth import Self, account_routes
from doorleaf.dialects.client_errors import client_envelope
from doorleaf.dialects.client_functions import SourceName, function_routes
from doorleaf.dialects.client_watch import parameters
from doorleaf.dialects.decode import DefaultDatabase
from doorleaf.errors import InvalidParameter

_HOST = re.compile(r"[A-Za-z0-9._-]+(:\d{1,5})?|\[[0-9A-Fa-f:.]+\](:\d{1,5})?")


def client(
    own: Self,
    *,
    source_name: SourceName,
    default_database: DefaultDatabase,
    app_ids: Collection[str] = (),
    public_url: str | None = None,
    max_documents: int = 50_000,
) -> Dialect:
    """The dialect of the client API; ``own`` is what users may do about themselves.

    ``public_url`` is where clients reach the server; without it they are told the host that they asked. ``app_ids``
    are the app ids that paths may have, empty for any; ``max_documents`` is the ``limit`` of a find without one.
    """

    async def location(request: Request) -> Reply:
        base = public_url or _asked(request)
        where = {
            "deployment_model": "GLOBAL",
            "location": "US-VA",
            "hostname": base,
            "ws_hostname": "ws" + base.removeprefix("http"),
        }
        return Reply(200, json(where), headers=((b"cache-control", b"no-store"),))

    routes = (
        Route("GET", "/api/client/v2.0/app/{app_id}/location", "location", handle=location, public=True),
        *account_routes(own),
        *function_routes(source_name=source_name, default_database=default_database, max_documents=max_documents),
    )
    return Dialect("client", routes, credentials=_bearer_only, error=client_envelope, prepare=app_check(app_ids))


def _asked(request: Request) -> str:
    """The URL that the client used, as far as its own headers tell; the answer goes to nobody else."""
    host = request.headers.get(b"host", b"").decode("latin-1")
    if _HOST.fullmatch(host) is None:
        raise InvalidParameter("the header Host names no host")
    secure = request.headers.get(b"x-forwarded-proto") == b"https"
    return f"{'https' if secure else 'http'}://{host}"


def _bearer_only(request: Request) -> Credentials:
    """This API takes access tokens alone; without one the caller has shown a wrong one.

    Clients that cannot set headers for a stream have the token in its query.
    """
    given = header_credentials(request)
    bearer = given.bearer
    if bearer is None and request.method == "GET" and request.path.rstrip("/").endswith("/functions/call"):
        bearer = parameters(request).get("baas_at")
    return replace(given, bearer=bearer or "", api_key=None, email=None, password=None, jwt=None)
