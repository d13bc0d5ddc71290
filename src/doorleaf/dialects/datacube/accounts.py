"""Accounts in the DataCube API: register, log in and out, verify an address, reset a password, the profile."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from doorleaf.dialects.about import About, Gives
from doorleaf.dialects.base import Request, Route
from doorleaf.dialects.datacube import models
from doorleaf.dialects.datacube.handling import public, route
from doorleaf.documents import Document
from doorleaf.errors import DoorleafError, MissingParameter, NotFound, PermissionDenied, RequestError, Unauthenticated

TAG = "DataCube accounts"
REGISTERED = "User registered successfully. Please check your email to verify your account."
SENT = "If an account matches, an email was sent."
_IDENTIFIER = 24
"""Characters of the id that the code in a mail begins with."""


class Accounts(Protocol):
    """The keeper of accounts; every method may raise RequestError."""

    async def register(
        self, email: str, password: str, *, address: str, profile: Document, open_to_all: bool, by: Request
    ) -> None: ...

    async def find(self, name: str) -> Document | None: ...

    async def confirm(self, token: str, token_id: str, *, by: Request) -> None: ...

    async def send_confirmation(self, email: str) -> None: ...

    async def reset(self, token: str, token_id: str, password: str, *, address: str, by: Request) -> None: ...

    def can_reset(self, *, by_code: bool) -> None: ...

    async def send_reset(self, email: str, *, by_code: bool) -> None: ...

    async def profile(self, user_id: str) -> Document: ...

    async def set_profile(self, user_id: str, changes: Mapping[str, Any]) -> None: ...

    async def verify(self, user_id: str, password: str, address: str) -> None: ...


class End(Protocol):
    """Ends an account with all that its user has."""

    async def __call__(self, user_id: str, *, by: Request) -> None: ...


class Sessions(Protocol):
    """The giver and taker of sessions; every method may raise AccessError or RequestError."""

    async def login(self, provider: str, body: Mapping[str, Any], *, address: str, by: Request) -> Document: ...

    async def refresh(self, bearer: str | None, *, address: str, rotates: bool) -> Document: ...

    async def logout(self, bearer: str | None, *, by: Request) -> None: ...


@dataclass(frozen=True, slots=True)
class People:
    """Those who have accounts. ``admit_mail`` lets a mail to an account be sent, ``end`` ends an account. ``by_code``
    says that mails have a code, because there is no page that they could link to."""

    accounts: Accounts
    sessions: Sessions
    admit_mail: Callable[[str], Awaitable[None]]
    end: End
    by_code: bool


_about = partial(About, tag=TAG, security=({},))
REGISTER = _about(
    name="cubeRegister",
    summary="Make an account",
    description="The address is taken in lower case. Where the server sends mails and the setting `auto_confirm` is "
    "off, the address has to be verified before the first login.",
    takes=models.CubeRegistration,
    example={"email": "ada@example.com", "firstName": "Ada", "lastName": "L", "password": "<your password>"},
    gives=Gives(content=models.CubeMessage, status=201, description="Registered."),
    refuses=("MissingParameter", "InvalidParameter"),
)
LOGIN = _about(
    name="cubeLogin",
    summary="Trade email and password for tokens",
    takes=models.CubeLogin,
    example={"email": "ada@example.com", "password": "<your password>"},
    gives=Gives(content=models.CubeLoggedIn, description="Logged in."),
    refuses=("InvalidPassword", "PermissionDenied"),
)
REFRESH = _about(
    name="cubeRefresh",
    summary="Trade a refresh token for an access token and the next refresh token",
    description="The old one is good for 30 seconds more, for whom the answer did not reach, and answered the same. "
    "Whoever shows it later ends the session.",
    takes=models.CubeRefresh,
    example={"refresh": "<your refresh token>"},
    gives=Gives(content=models.CubeTokens, description="New tokens."),
    refuses=("InvalidSession",),
)
LOGOUT = _about(
    name="cubeLogout",
    summary="End the session of a refresh token, with its access tokens",
    takes=models.CubeRefresh,
    example={"refresh": "<your refresh token>"},
    gives=Gives(status=204, description="Ended."),
    refuses=("InvalidSession",),
)
VERIFY = _about(
    name="cubeVerify",
    summary="Verify an address by the link of a mail",
    gives=Gives(content=models.CubeMessage, description="Verified."),
    query=models.CubeMailed,
    refuses=("UserpassTokenInvalid",),
)
VERIFY_CODE = _about(
    name="cubeVerifyCode",
    summary="Verify an address by the id and the token of a mail, one behind the other",
    gives=Gives(content=models.CubeMessage, description="Verified."),
    refuses=("UserpassTokenInvalid",),
)
RESEND = _about(
    name="cubeResend",
    summary="Send the mail to verify an address once more",
    takes=models.CubeAddress,
    example={"email": "ada@example.com"},
    gives=Gives(content=models.CubeMessage, description="Sent, if there is such an account."),
)
ASK_RESET = _about(
    name="cubeAskReset",
    summary="Send a mail to choose a new password",
    takes=models.CubeAddress,
    example={"email": "ada@example.com"},
    gives=Gives(content=models.CubeMessage, description="Sent, if there is such an account."),
    refuses=("BadRequest",),
)
RESET = _about(
    name="cubeReset",
    summary="Choose a new password by the code of a mail; all sessions end",
    takes=models.CubeCodeReset,
    example={"code": "<the code>", "password": "<your new password>"},
    gives=Gives(content=models.CubeMessage, description="Set."),
    refuses=("UserpassTokenInvalid",),
)
RESET_BY_PATH = _about(
    name="cubeResetByPath",
    summary="Choose a new password by the code of a mail in the path",
    takes=models.CubeReset,
    example={"password": "<your new password>"},
    gives=Gives(content=models.CubeMessage, description="Set."),
    refuses=("UserpassTokenInvalid",),
)
PROFILE = About(
    name="cubeProfile",
    tag=TAG,
    summary="Say who the caller is",
    gives=Gives(content=models.CubeProfile),
)
SET_PROFILE = About(
    name="cubeSetProfile",
    tag=TAG,
    summary="Change the caller's names",
    takes=models.CubeNewProfile,
    example={"firstName": "Ada"},
    gives=Gives(content=models.CubeProfile),
    refuses=("UserNotFound",),
)
END = About(
    name="cubeEnd",
    tag=TAG,
    summary="End the caller's account, with their databases, keys and sessions, for good",
    takes=models.CubeFarewell,
    example={"password": "<your password>"},
    gives=Gives(status=204, description="Ended."),
    refuses=("InvalidPassword", "PermissionDenied", "BadRequest"),
)


def account_routes(people: People) -> list[Route]:
    """The routes of accounts."""
    return [*_logins(people), *_verifying(people), *_resetting(people), *_profiles(people)]


def _logins(people: People) -> list[Route]:
    async def register(request: Request, given: models.CubeRegistration) -> models.CubeMessage:
        names = {"firstName": given.firstName, "lastName": given.lastName}
        email, by = given.email.lower(), request
        try:
            await people.accounts.register(
                email, given.password, address=request.address, profile=names, open_to_all=True, by=by
            )
        except RequestError as error:
            raise _told(error) from error
        return {"message": REGISTERED}

    async def login(request: Request, given: models.CubeLogin) -> models.CubeLoggedIn:
        if not given.email or not given.password:
            text = "Email and password are required"
            raise MissingParameter(text, fields={"error": text})
        # Those who registered elsewhere may have an address with capital letters.
        name = given.email if await people.accounts.find(given.email) is not None else given.email.lower()
        try:
            body = {"username": name, "password": given.password}
            made = await people.sessions.login("local-userpass", body, address=request.address, by=request)
        except Unauthenticated as error:
            raise _not_let_in(error) from error
        found = await people.accounts.profile(made["user_id"])
        return {
            "refresh": made["refresh_token"],
            "access": made["access_token"],
            "firstName": found.get("firstName", ""),
            "lastName": found.get("lastName", ""),
            "role": "developer",
            "email_verified": True,
        }

    async def refresh(request: Request, given: models.CubeRefresh) -> models.CubeTokens:
        made = await people.sessions.refresh(given.refresh, address=request.address, rotates=True)
        return {"access": made["access_token"], "refresh": made["refresh_token"]}

    async def logout(request: Request, given: models.CubeRefresh) -> None:
        await people.sessions.logout(given.refresh, by=request)

    return [
        *(public(path, register, REGISTER) for path in ("/core/register", "/api/register")),
        *(public(path, login, LOGIN, counts=False) for path in ("/core/login", "/api/login")),
        public("/core/token/refresh", _session(refresh), REFRESH, counts=False),
        public("/core/auth/token/refresh", _session(refresh), REFRESH, counts=False),
        public("/core/logout", _session(logout), LOGOUT, counts=False),
    ]


def _session(act: Any) -> Any:
    """``act``, whose refresh token is told of as its clients know it."""

    async def told(request: Request, given: models.CubeRefresh) -> Any:
        try:
            return await act(request, given)
        except Unauthenticated as error:
            text = "Token is invalid or expired"
            fields = {"error": error.code, "detail": text, "code": "token_not_valid"}
            raise Unauthenticated(text, code=error.code, fields=fields) from error

    return told


def _verifying(people: People) -> list[Route]:
    accounts = people.accounts

    async def verify(request: Request, given: models.CubeMailed) -> models.CubeMessage:
        return await _verified(given.token, given.tokenId, request)

    async def verify_code(request: Request, given: None) -> models.CubeMessage:
        identifier, token = _parts(request.params["token"])
        return await _verified(token, identifier, request)

    async def _verified(token: str, identifier: str, request: Request) -> models.CubeMessage:
        try:
            await accounts.confirm(token, identifier, by=request)
        except RequestError as error:
            text = "Invalid or expired verification link."
            raise RequestError(text, code=error.code, fields={"error": text}) from error
        return {"message": "Email verified successfully!"}

    async def resend(request: Request, given: models.CubeAddress) -> models.CubeMessage:
        await people.admit_mail(given.email.lower())
        with suppress(NotFound, RequestError):
            await accounts.send_confirmation(given.email.lower())
        return {"message": SENT}

    path = "/core/verify-email"
    return [
        public(path, verify, VERIFY, method="GET"),
        public(f"{path}/resend", resend, RESEND),
        public(f"{path}/{{token}}", verify_code, VERIFY_CODE, method="GET"),
    ]


def _resetting(people: People) -> list[Route]:
    accounts = people.accounts

    async def ask(request: Request, given: models.CubeAddress) -> models.CubeMessage:
        accounts.can_reset(by_code=people.by_code)
        await people.admit_mail(given.email.lower())
        with suppress(NotFound):
            await accounts.send_reset(given.email.lower(), by_code=people.by_code)
        return {"message": SENT}

    async def reset(request: Request, given: models.CubeCodeReset) -> models.CubeMessage:
        return await _reset(given.code, given.password, request)

    async def reset_by_path(request: Request, given: models.CubeReset) -> models.CubeMessage:
        return await _reset(request.params["token"], given.password, request)

    async def _reset(code: str, password: str, request: Request) -> models.CubeMessage:
        identifier, token = _parts(code)
        await accounts.reset(token, identifier, password, address=request.address, by=request)
        return {"message": "Password has been reset."}

    return [
        public("/core/password-reset/request", ask, ASK_RESET),
        public("/core/password-reset/confirm", reset, RESET),
        public("/core/password-reset/confirm/{token}", reset_by_path, RESET_BY_PATH),
    ]


def _profiles(people: People) -> list[Route]:
    async def shown(request: Request, given: None) -> models.CubeProfile:
        identity = request.identity
        found = await people.accounts.profile(identity.id)
        return {
            "id": identity.id,
            "email": str(found.get("email", identity.data.get("email", ""))),
            "firstName": found.get("firstName", ""),
            "lastName": found.get("lastName", ""),
            "role": "developer",
            "is_email_verified": bool(found.get("confirmed", False)),
        }

    async def change(request: Request, given: models.CubeNewProfile) -> models.CubeProfile:
        if request.identity.scope is not None:
            raise PermissionDenied("this API key is limited and changes no profile")
        names = {"firstName": given.firstName, "lastName": given.lastName}
        changes = {name: value for name, value in names.items() if value is not None}
        if not changes:
            raise MissingParameter("firstName or lastName is required")
        await people.accounts.set_profile(request.identity.id, changes)
        return await shown(request, None)

    async def end(request: Request, given: models.CubeFarewell) -> None:
        if request.identity.scope is not None:
            raise PermissionDenied("this API key is limited and ends no account")
        try:
            await people.accounts.verify(request.identity.id, given.password, request.address)
        except Unauthenticated as error:
            raise _not_let_in(error) from error
        await people.end(request.identity.id, by=request)

    return [
        route("DELETE", "/core/account", end, END),
        route("GET", "/core/profile", shown, PROFILE),
        route("PATCH", "/core/profile", change, SET_PROFILE),
    ]


def _parts(code: str) -> tuple[str, str]:
    """The id and the token in the code of a mail."""
    return code[:_IDENTIFIER], code[_IDENTIFIER:] or "-"


def _told(error: RequestError) -> DoorleafError:
    """The error of a registration, told at the field that it is about."""
    if error.status == 409:
        return models.mistake("email", "This email is already registered.")
    if error.message == "email invalid":
        return models.mistake("email", "Enter a valid email address.")
    if error.message.startswith("password"):
        return models.mistake("password", f"{error.message[:1].upper()}{error.message[1:]}.")
    return error


def _not_let_in(error: Unauthenticated) -> DoorleafError:
    if error.message == "confirmation required":
        text = "Email not verified."
        return PermissionDenied(text, fields={"error": text, "code": "email_unverified"})
    text = "Invalid credentials"
    return Unauthenticated(text, code="InvalidPassword", fields={"error": text})
