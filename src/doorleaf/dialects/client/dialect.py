"""The App Services client API: where apps log in, look after their account and call the service's functions.

Clients made for App Services, such as ``realm-web``, find here what they ask for: the app's location, profiles, users'
own API keys, accounts with email and password, and function calls. Logging in and sessions are in
:mod:`doorleaf.dialects.auth`, at the same paths.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace

from doorleaf.access.identity.authenticator import Credentials
from doorleaf.dialects.about import About, Gives
from doorleaf.dialects.actions import app_check
from doorleaf.dialects.base import Dialect, Request, header_credentials
from doorleaf.dialects.client.auth import TAG, Self, account_routes
from doorleaf.dialects.client.errors import ClientError, client_envelope
from doorleaf.dialects.client.functions import Run, function_routes
from doorleaf.dialects.client.models import Location
from doorleaf.dialects.client.watch import parameters
from doorleaf.dialects.handling import handled
from doorleaf.errors import InvalidParameter
from doorleaf.operations.places import Places

LOCATION = "/api/client/v2.0/app/{app_id}/location"
_WHERE = About(
    summary="Say where clients of the app reach the server", tag=TAG, gives=Gives(content=Location), stores=False
)
_HOST = re.compile(r"[A-Za-z0-9._-]+(:\d{1,5})?|\[[0-9A-Fa-f:.]+\](:\d{1,5})?")


def client(
    own: Self,
    *,
    places: Places,
    app_ids: Collection[str] = (),
    public_url: str | None = None,
    max_documents: int = 50_000,
    run: Run | None = None,
) -> Dialect:
    """The dialect of the client API; ``own`` is what users may do about themselves.

    ``public_url`` is where clients reach the server; without it they are told the host that they asked. ``app_ids``
    are the app ids that paths may have, empty for any; ``max_documents`` is the ``limit`` of a find without one;
    ``run`` runs the app's own functions.
    """

    async def location(request: Request, given: None) -> Location:
        base = public_url or _asked(request) + request.prefix
        where: Location = {
            "deployment_model": "GLOBAL",
            "location": "US-VA",
            "hostname": base,
            "ws_hostname": "ws" + base.removeprefix("http"),
        }
        return where

    routes = (
        handled("GET", LOCATION, "location", location, _WHERE, public=True),
        *account_routes(own),
        *function_routes(places=places, max_documents=max_documents, run=run),
    )
    return Dialect(
        "client",
        routes,
        credentials=_bearer_only,
        error=client_envelope,
        prepare=app_check(app_ids),
        security=({"bearer": []},),
        problem=ClientError,
    )


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
