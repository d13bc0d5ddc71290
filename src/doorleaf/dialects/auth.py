"""Sessions over HTTP: log in with a provider, refresh, log out; also at the paths of the App Services client API."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from typing import Annotated, Any, Literal, Protocol
from urllib.parse import parse_qs

from pydantic import ConfigDict, Field, create_model
from typing_extensions import TypedDict

from doorleaf.dialects.about import About, Gives
from doorleaf.dialects.actions import app_check
from doorleaf.dialects.base import Dialect, Handle, Reply, Request, Route, header_credentials, json
from doorleaf.dialects.bodies import Body, NonEmpty, Query
from doorleaf.dialects.handling import NOT_STORED
from doorleaf.documents import Document
from doorleaf.ejson import loads
from doorleaf.errors import InvalidParameter, Unauthenticated

LOGIN_PATHS = (
    "/auth/providers/{provider}/login",
    "/api/client/v2.0/app/{app_id}/auth/providers/{provider}/login",
)
SESSION_PATHS = ("/auth/session", "/api/client/v2.0/auth/session")


class Sessions(Protocol):
    """The giver and taker of sessions; every method may raise AccessError or RequestError."""

    async def login(self, provider: str, body: Mapping[str, Any], *, address: str, by: Request) -> Document: ...

    async def link(
        self, bearer: str | None, provider: str, body: Mapping[str, Any], *, address: str, by: Request
    ) -> Document: ...

    async def refresh(self, bearer: str | None, *, address: str = "") -> Document: ...

    async def logout(self, bearer: str | None, *, by: Request) -> None: ...


class _Login(Body):
    """The body of a login, which the provider judges."""

    model_config = ConfigDict(extra="allow")


class LoginForm(Protocol):
    """The description of a provider's login, by the provider itself."""

    @property
    def operation(self) -> str: ...

    @property
    def summary(self) -> str: ...

    @property
    def body(self) -> str: ...

    @property
    def fields(self) -> Mapping[str, str]: ...

    @property
    def example(self) -> Mapping[str, str]: ...

    @property
    def refuses(self) -> tuple[str, ...]: ...

    @property
    def links(self) -> bool: ...


class Linking(Query):
    link: Annotated[
        bool,
        Field(
            description="Whether to give the user whose access token is shown one more way to log in, instead of "
            "logging in. Credentials that are another user's are a 409, `IdentityInUse`."
        ),
    ] = False


Token = Annotated[str, Field(description="A signed JWT.")]


class AccessToken(TypedDict):
    access_token: Token
    token_type: Literal["Bearer"]
    expires_in: Annotated[int, Field(description="Seconds that the access token lives.")]


class LinkedSession(AccessToken):
    """The answer with `link=true`: another access token of the same session."""

    user_id: str
    device_id: str


class Session(AccessToken):
    refresh_token: Token
    user_id: str
    device_id: str


_about = partial(About, tag="Sessions")
_about_login = partial(_about, gives=Gives(content=Session, description="Logged in."))
_LINKS = partial(
    About,
    tag="Sessions",
    query=Linking,
    gives=Gives(content=Session | LinkedSession, description="Logged in, or with `link=true` linked."),
    security=({}, {"bearer": []}),
)
_WITH_REFRESH_TOKEN: tuple[Mapping[str, list[str]], ...] = ({"refreshToken": []},)


def _login_about(provider: str, form: LoginForm) -> About:
    texts: dict[str, Any] = {
        name: Annotated[NonEmpty, Field(description=meaning)] for name, meaning in form.fields.items()
    }
    body = create_model(form.body, __base__=_Login, __module__=__name__, **texts)
    about = partial(
        _LINKS if form.links else _about_login,
        name=form.operation,
        summary=form.summary,
        takes=body,
        example=dict(form.example),
        refuses=form.refuses,
        provider=provider,
    )
    return about()


_REFRESH = _about(
    summary="Get a new access token for a refresh token",
    gives=Gives(content=AccessToken, description="A new access token."),
    refuses=("InvalidSession",),
    security=_WITH_REFRESH_TOKEN,
)
_END = _about(
    summary="Revoke a refresh token and its access tokens",
    gives=Gives(status=204, description="Revoked."),
    refuses=("InvalidSession",),
    security=_WITH_REFRESH_TOKEN,
)


def auth(sessions: Sessions, forms: Mapping[str, LoginForm], *, app_ids: Collection[str] = ()) -> Dialect:
    """The dialect of logins and sessions. Answers are plain JSON and must not be cached. ``forms`` says of each
    provider that there is how its login looks."""
    logins = {provider: _login_about(provider, form) for provider, form in forms.items()}

    async def refresh(request: Request) -> Reply:
        return _reply(await sessions.refresh(header_credentials(request).bearer, address=request.address))

    async def logout(request: Request) -> Reply:
        await sessions.logout(header_credentials(request).bearer, by=request)
        return Reply(204, headers=NOT_STORED)

    routes = []
    for path in LOGIN_PATHS:
        for provider, about in logins.items():
            known = path.replace("{provider}", provider)
            handle = _login(sessions, provider)
            routes.append(Route("POST", known, "login", handle=handle, public=True, about=about))
        routes.append(Route("POST", path, "login", handle=_login(sessions), public=True))
    for path in SESSION_PATHS:
        routes.append(Route("POST", path, "refreshSession", handle=refresh, public=True, about=_REFRESH))
        routes.append(Route("DELETE", path, "endSession", handle=logout, public=True, about=_END))
    return Dialect("auth", tuple(routes), prepare=app_check(app_ids))


def _login(sessions: Sessions, known: str = "") -> Handle:
    """The handler of logins with the provider ``known``; without one, with that in the path, which there is not."""

    async def login(request: Request) -> Reply:
        provider = known or request.params["provider"]
        linking = parse_qs(request.query.decode("latin-1")).get("link", ["false"])
        body = loads(request.body or b"{}")
        if linking != ["false"]:
            if linking != ["true"]:
                raise InvalidParameter("link: expected true or false")
            bearer = header_credentials(request).bearer
            return _reply(await sessions.link(bearer, provider, body, address=request.address, by=request))
        try:
            return _reply(await sessions.login(provider, body, address=request.address, by=request))
        except Unauthenticated as error:
            if "app_id" not in request.params or not _is_wrong(provider, error):
                raise
            # What clients of that API look for. Not when they link: they would ask for another access token, and again.
            raise Unauthenticated("unauthorized", code=error.code) from error

    return login


def _is_wrong(provider: str, error: Unauthenticated) -> bool:
    """Whether a password or key was wrong, of which nothing more is told."""
    return error.code == "InvalidPassword" or (provider == "api-key" and error.code == "AuthError")


def _reply(content: Document) -> Reply:
    return Reply(200, json(content), headers=NOT_STORED)
