"""Sessions of the console, which is a page in a browser: it has the access token in memory, and the refresh token is in
a cookie that no script can read.

The cookie goes to these routes alone (``Path``), over HTTPS or to this machine alone (``Secure``, which browsers take
from ``http://localhost`` and ``http://127.0.0.1`` too), and with requests of the console's own pages alone
(``SameSite=Strict``). It ends with the browser. Other pages can make no request here: a header is asked for that a page
of another origin may only send when the server allows it to with credentials, which it never does, and what the browser
says of where a request comes from is believed (``Sec-Fetch-Site``), since to a cookie all ports of a machine are one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping
from functools import partial
from typing import Annotated, Any, Literal, Protocol
from urllib.parse import urlsplit

from pydantic import Field
from typing_extensions import TypedDict

from doorleaf.dialects.about import About, Gives
from doorleaf.dialects.auth import Token
from doorleaf.dialects.base import Dialect, Handle, Reply, Request, Route, json
from doorleaf.dialects.bodies import Body, Flag, NonEmpty, optional, text
from doorleaf.dialects.handling import NOT_STORED
from doorleaf.documents import Document
from doorleaf.ejson import loads
from doorleaf.errors import AccessError, InvalidParameter, MissingParameter, PermissionDenied, Unauthenticated
from doorleaf.settings.providers import PROVIDERS, ProviderName

PATH = "/api/console/v1/session"
COOKIE = "doorleaf"
HEADER = "X-Doorleaf-Console"

_LONGEST_TOKEN = 1024 * 1024


class Sessions(Protocol):
    """The giver and taker of sessions; every method may raise AccessError or RequestError."""

    async def login(self, provider: str, body: Mapping[str, Any], *, address: str, by: Request) -> Document: ...

    async def refresh(self, bearer: str | None, *, address: str = "") -> Document: ...

    async def logout(self, bearer: str | None, *, by: Request) -> None: ...

    async def identify(self, token: str) -> Any: ...


def _token(value: Any, name: str) -> str:
    if type(value) is not str or not 0 < len(value) <= _LONGEST_TOKEN:
        raise InvalidParameter(f"{name}: expected a JSON Web Token")
    return value


class ConsoleLogin(Body):
    """A key, an address with its password, a token, or nothing but ``anonymous``."""

    key: Annotated[str | None, optional(text, NonEmpty), Field(description="An API key.")] = None
    email: Annotated[str | None, optional(text, NonEmpty), Field(description="A user's address.")] = None
    password: Annotated[str | None, optional(text, NonEmpty), Field(description="That user's password.")] = None
    token: Annotated[
        str | None, optional(_token, NonEmpty), Field(description="A JSON Web Token of a trusted issuer.")
    ] = None
    anonymous: Annotated[Flag, Field(description="Whether to become a new anonymous user.")] = None

    def asked(self) -> tuple[ProviderName, Document]:
        """The provider that is meant and what it is to be shown; MissingParameter or InvalidParameter."""
        ways: list[tuple[ProviderName, Document]] = []
        if self.key is not None:
            ways.append(("api-key", {"key": self.key}))
        if self.email is not None or self.password is not None:
            ways.append(("local-userpass", {"username": self.email, "password": self.password}))
        if self.token is not None:
            ways.append(("custom-token", {"token": self.token}))
        if self.anonymous:
            ways.append(("anon-user", {}))
        if not ways:
            raise MissingParameter("key is required, or email with password, token, or anonymous")
        if len(ways) > 1:
            raise InvalidParameter("expected one way to sign in: key, email with password, token, or anonymous")
        for name in ("email", "password"):
            if ways[0][0] == "local-userpass" and getattr(self, name) is None:
                raise MissingParameter(f"{name} is required")
        return ways[0]


class ConsoleUser(TypedDict):
    id: str
    type: Literal["normal", "server", "system"]
    provider: str
    name: Annotated[str, Field(description="The key's name or the user's address, else the id.")]
    admin: Annotated[bool, Field(description="Whether rules do not judge the caller.")]
    administers: Annotated[bool, Field(description="Whether the caller may use the administration.")]


class ConsoleSession(TypedDict):
    access_token: Token
    token_type: Literal["Bearer"]
    expires_in: Annotated[int, Field(description="Seconds that the access token lives.")]
    user: ConsoleUser


class ConsoleWays(TypedDict):
    providers: Annotated[list[ProviderName], Field(description="The ways to sign in.")]
    open: Annotated[bool, Field(description="Whether everybody is let in without credentials.")]
    begun: Annotated[bool, Field(description="Whether the request brought a session's cookie.")]


_ASKED = f"Takes the header `{HEADER}: 1`, which no page of another origin can send."
_BROWSER: tuple[Mapping[str, list[str]], ...] = ({"consoleSession": []},)
_about = partial(About, tag="Console")
_WAYS = _about(summary="Tell how to sign in to the console", gives=Gives(content=ConsoleWays), stores=False)
_LOGIN = _about(
    summary="Sign in to the console; the refresh token is a cookie",
    description=_ASKED,
    takes=ConsoleLogin,
    example={"email": "ada@example.com", "password": "<your password>"},
    gives=Gives(content=ConsoleSession, description="Signed in."),
    refuses=("AuthError", "InvalidPassword", "UserDisabled", "AddressNotAllowed", "AuthProviderNotFound"),
)
_REFRESH = _about(
    summary="Get a new access token for the console's cookie",
    description=_ASKED,
    gives=Gives(content=ConsoleSession, description="A new access token."),
    refuses=("InvalidSession",),
    security=_BROWSER,
)
_LOGOUT = _about(
    summary="Sign out of the console, which revokes the session",
    description=_ASKED,
    gives=Gives(status=204, description="Signed out."),
    security=_BROWSER,
)


def console(sessions: Sessions, *, providers: Collection[str], opened: bool, prefix: str = "") -> Dialect:
    """The dialect of the console's sessions.

    ``providers`` are those that are on, ``opened`` says that nobody needs one, ``prefix`` is the path below which
    browsers find the server where a request does not say.
    """

    async def ways(request: Request) -> Reply:
        known = [name for name in PROVIDERS if name in providers]
        told = {"providers": known, "open": opened, "begun": _cookie(request) is not None}
        return Reply(200, json(told), headers=NOT_STORED)

    async def login(request: Request) -> Reply:
        provider, shown = ConsoleLogin.read(loads(request.body or b"{}")).asked()
        begun = await sessions.login(provider, shown, address=request.address, by=request)
        before = _cookie(request)
        if before is not None:  # nobody could end it any more
            with contextlib.suppress(AccessError):
                await sessions.logout(before, by=request)
        told = await _told(sessions, begun, request)
        return Reply(200, json(told), headers=(*NOT_STORED, _set(request, begun["refresh_token"], prefix)))

    async def refresh(request: Request) -> Reply:
        try:
            renewed = await sessions.refresh(_required(request), address=request.address)
            return Reply(200, json(await _told(sessions, renewed, request)), headers=NOT_STORED)
        except Unauthenticated as error:
            forget = {"Set-Cookie": _set(request, "", prefix)[1].decode()}
            raise Unauthenticated(error.message, code=error.code, headers=forget) from error

    async def logout(request: Request) -> Reply:
        # Whoever signs out is signed out afterwards: a session that is over already is no mistake.
        with contextlib.suppress(Unauthenticated):
            await sessions.logout(_required(request), by=request)
        return Reply(204, headers=(*NOT_STORED, _set(request, "", prefix)))

    routes = (
        Route("GET", PATH, "consoleWays", handle=ways, public=True, about=_WAYS),
        Route("POST", PATH, "consoleLogin", handle=_own(login), public=True, about=_LOGIN),
        Route("POST", f"{PATH}/refresh", "consoleRefresh", handle=_own(refresh), public=True, about=_REFRESH),
        Route("DELETE", PATH, "consoleLogout", handle=_own(logout), public=True, about=_LOGOUT),
    )
    return Dialect("console", routes)


def _own(handle: Handle) -> Handle:
    """``handle`` for requests of the console's own pages alone."""

    async def checked(request: Request) -> Reply:
        if request.headers.get(HEADER.lower().encode()) is None:
            raise MissingParameter(f"the header {HEADER} is required")
        if request.headers.get(b"sec-fetch-site", b"same-origin") != b"same-origin":
            raise PermissionDenied("only the console's own pages may call this")
        return await handle(request)

    return checked


async def _told(sessions: Sessions, begun: Document, request: Request) -> ConsoleSession:
    token = begun["access_token"]
    identity = await sessions.identify(token)
    user: ConsoleUser = {
        "id": identity.id,
        "type": identity.kind,
        "provider": identity.provider,
        "name": str(identity.key_name or identity.data.get("email") or identity.data.get("name") or identity.id),
        "admin": identity.admin,
        "administers": identity.administers,
    }
    return {"access_token": token, "token_type": "Bearer", "expires_in": begun["expires_in"], "user": user}


def _required(request: Request) -> str:
    shown = _cookie(request)
    if shown is None:
        raise Unauthenticated("nobody is signed in")
    return shown


def _cookie(request: Request) -> str | None:
    """The refresh token that the browser has."""
    name = _name(request)
    for part in request.headers.get(b"cookie", b"").decode("latin-1").split(";"):
        found, _, value = part.strip().partition("=")
        if found == name and value:
            return value
    return None


def _name(request: Request) -> str:
    """The cookie's name. It has the port, since cookies know none, and two servers of a machine are two."""
    try:
        port = urlsplit("//" + request.headers.get(b"host", b"").decode("latin-1")).port
    except ValueError:
        port = None
    return COOKIE if port is None else f"{COOKIE}-{port}"


def _set(request: Request, token: str, prefix: str) -> tuple[bytes, bytes]:
    """The header that keeps ``token``, or forgets what was kept."""
    path = (request.prefix or prefix).rstrip("/") + PATH
    over = "" if token else "; Max-Age=0"
    return b"set-cookie", f"{_name(request)}={token}; Path={path}{over}; HttpOnly; Secure; SameSite=Strict".encode()
