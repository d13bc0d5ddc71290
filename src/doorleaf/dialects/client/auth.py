"""Accounts in the App Services client API: profile, deletion, API keys of one's own, email and password."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from doorleaf.dialects.about import About, Gives
from doorleaf.dialects.base import Request, Route, header_credentials
from doorleaf.dialects.client.models import (
    AccountAddress,
    MailedToken,
    NewUserKey,
    Nothing,
    PasswordReset,
    Profile,
    Registration,
    UserKey,
    UserKeyName,
)
from doorleaf.dialects.handling import Act, handled
from doorleaf.documents import Document
from doorleaf.ejson import Mode
from doorleaf.errors import NotFound, PermissionDenied, Unsupported

AUTH = "/api/client/v2.0/auth"
USERPASS = "/api/client/v2.0/app/{app_id}/auth/providers/local-userpass"

LONGEST = 254
"""Characters of an address that a text shows."""

TAG = "Client"
_MODE = Mode.RELAXED


class Accounts(Protocol):
    """The keeper of the accounts with email and password; every method may raise RequestError."""

    async def register(self, email: str, password: str, *, address: str, by: Request) -> None: ...

    async def confirm(self, token: str, token_id: str, *, by: Request) -> None: ...

    async def send_confirmation(self, email: str) -> None: ...

    async def reset(self, token: str, token_id: str, password: str, *, address: str, by: Request) -> None: ...

    async def send_reset(self, email: str) -> None: ...

    def call_confirmation(self, email: str) -> None: ...


class UserKeys(Protocol):
    """The keeper of the API keys that users make for themselves; every method may raise RequestError."""

    async def create(self, user_id: str, name: str, *, by: Request) -> Document: ...

    async def listed(self, user_id: str) -> list[Document]: ...

    async def get(self, user_id: str, identifier: str) -> Document: ...

    async def set_disabled(self, user_id: str, identifier: str, disabled: bool, *, by: Request) -> None: ...

    async def delete(self, user_id: str, identifier: str, *, by: Request) -> None: ...


class DeleteUser(Protocol):
    """Forgets a user; raises RequestError."""

    async def __call__(self, user_id: str, *, by: Request) -> None: ...


@dataclass(frozen=True, slots=True)
class Self:
    """The things that users may do about themselves.

    ``owner`` answers whose a refresh token is; ``admit_mail`` lets a mail to an account be sent; ``providers`` are
    the ways to authenticate that are on.
    """

    accounts: Accounts
    keys: UserKeys
    delete_user: DeleteUser
    owner: Callable[[str | None], Awaitable[Any]]
    admit_mail: Callable[[str], Awaitable[None]]
    providers: Collection[str]

    def require(self, provider: str) -> None:
        """AuthProviderNotFound unless ``provider`` is on."""
        if provider not in self.providers:
            raise NotFound(f"authentication provider not found: {provider!r}", code="AuthProviderNotFound")


_about = partial(About, tag=TAG)
_of_keys = partial(
    About,
    tag=TAG,
    security=({"refreshToken": []},),
    refuses=("InvalidSession", "PermissionDenied", "APIKeyNotFound"),
    provider="api-key",
)
_of_passwords = partial(About, tag=TAG, provider="local-userpass")
_MAILED = {"token": "<from the mail>", "tokenId": "<from the mail>"}

PROFILE = _about(summary="Describe the user", gives=Gives(content=Profile))
DELETE_USER = _about(summary="Delete the user who asks, with all that is theirs", gives=Gives(status=204))

CREATE_KEY = _of_keys(
    summary="Make an API key for oneself",
    takes=UserKeyName,
    example={"name": "laptop"},
    gives=Gives(content=NewUserKey, status=201, description="Made."),
    refuses=("InvalidSession", "PermissionDenied", "APIKeyAlreadyExists"),
)
LIST_KEYS = _of_keys(summary="List one's own API keys", gives=Gives(content=list[UserKey]))
GET_KEY = _of_keys(summary="Describe one of one's own API keys", gives=Gives(content=UserKey))
DELETE_KEY = _of_keys(summary="End one of one's own API keys", gives=Gives(status=204))
ENABLE_KEY = _of_keys(summary="Let one of one's own API keys let in again", gives=Gives(status=204))
DISABLE_KEY = _of_keys(summary="Let one of one's own API keys let in nobody", gives=Gives(status=204))

_DONE = Gives(content=Nothing)
REGISTER = _of_passwords(
    summary="Make an account with email and password",
    takes=Registration,
    example={"email": "ada@example.com", "password": "<your password>"},
    gives=Gives(content=Nothing, status=201, description="Made."),
    refuses=("BadRequest", "AccountNameInUse"),
)
CONFIRM = _of_passwords(
    summary="Confirm an account by what a mail said",
    takes=MailedToken,
    example=_MAILED,
    gives=_DONE,
    refuses=("UserpassTokenInvalid", "UserAlreadyConfirmed"),
)
SEND_CONFIRMATION = _of_passwords(
    summary="Send the mail that confirms an account again",
    takes=AccountAddress,
    example={"email": "ada@example.com"},
    gives=_DONE,
    refuses=("UserAlreadyConfirmed", "UserNotFound", "Unsupported"),
)
CALL_CONFIRMATION = _of_passwords(
    summary="Refused: there is no function that could confirm an account",
    takes=AccountAddress,
    example={"email": "ada@example.com"},
    gives=_DONE,
    refuses=("NotCallable", "UserAlreadyConfirmed"),
)
RESET = _of_passwords(
    summary="Set another password by what a mail said",
    takes=PasswordReset,
    example={"password": "<your new password>", **_MAILED},
    gives=_DONE,
    refuses=("BadRequest", "UserpassTokenInvalid"),
)
SEND_RESET = _of_passwords(
    summary="Send the mail by which another password is set",
    takes=AccountAddress,
    example={"email": "ada@example.com"},
    gives=_DONE,
    refuses=("UserNotFound", "Unsupported"),
)
CALL_RESET = _of_passwords(
    summary="Refused: there is no function that could set a password",
    takes=Registration,
    example={"email": "ada@example.com", "password": "<your new password>"},
    gives=_DONE,
    refuses=("NotCallable",),
)


def account_routes(own: Self) -> tuple[Route, ...]:
    """The routes of accounts."""
    return (*_own_routes(own), *_key_routes(own), *_password_routes(own))


def _own_routes(own: Self) -> tuple[Route, ...]:
    async def profile(request: Request, given: None) -> Profile:
        user = request.identity.user
        return {
            "user_id": user["id"],
            "type": user["type"],
            "data": user["data"],
            "custom_data": user["custom_data"],
            "identities": user["identities"],
        }

    async def delete(request: Request, given: None) -> None:
        if request.identity.kind != "normal":
            raise PermissionDenied("only a user can delete itself; administrators delete keys")
        await own.delete_user(request.identity.id, by=request)

    return (
        handled("GET", f"{AUTH}/profile", "profile", profile, PROFILE, mode=_MODE),
        handled("DELETE", f"{AUTH}/delete", "deleteUser", delete, DELETE_USER, mode=_MODE),
    )


def _key_routes(own: Self) -> tuple[Route, ...]:
    """Users' own keys, which are shown the refresh token and not the access token."""

    async def identify(request: Request) -> None:
        own.require("api-key")
        request.identity = identity = await own.owner(header_credentials(request).bearer)
        if identity.kind != "normal" or identity.provider == "anon-user":
            raise PermissionDenied("API keys are for users who can log in again, not for anonymous ones or servers")

    async def create(request: Request, given: UserKeyName) -> Document:
        return await own.keys.create(request.identity.id, given.name, by=request)

    async def listed(request: Request, given: None) -> list[Document]:
        return await own.keys.listed(request.identity.id)

    async def get(request: Request, given: None) -> Document:
        return await own.keys.get(request.identity.id, request.params["key_id"])

    async def delete(request: Request, given: None) -> None:
        await own.keys.delete(request.identity.id, request.params["key_id"], by=request)

    def switch(disabled: bool) -> Act:
        async def act(request: Request, given: None) -> None:
            await own.keys.set_disabled(request.identity.id, request.params["key_id"], disabled, by=request)

        return act

    route = partial(handled, mode=_MODE, before=identify, public=True)
    keys, key = f"{AUTH}/api_keys", f"{AUTH}/api_keys/{{key_id}}"
    return (
        route("POST", keys, "createUserKey", create, CREATE_KEY),
        route("GET", keys, "listUserKeys", listed, LIST_KEYS),
        route("GET", key, "getUserKey", get, GET_KEY),
        route("DELETE", key, "deleteUserKey", delete, DELETE_KEY),
        route("PUT", f"{key}/enable", "enableUserKey", switch(False), ENABLE_KEY),
        route("PUT", f"{key}/disable", "disableUserKey", switch(True), DISABLE_KEY),
    )


def _password_routes(own: Self) -> tuple[Route, ...]:
    """Registering, confirming and resetting: whoever calls is not logged in."""
    accounts = own.accounts

    async def require(request: Request) -> None:
        own.require("local-userpass")

    async def register(request: Request, given: Registration) -> Nothing:
        await accounts.register(given.email, given.password, address=request.address, by=request)
        return {}

    async def confirm(request: Request, given: MailedToken) -> Nothing:
        await accounts.confirm(given.token, given.tokenId, by=request)
        return {}

    async def send_confirmation(request: Request, given: AccountAddress) -> Nothing:
        await own.admit_mail(given.email)
        await accounts.send_confirmation(given.email)
        return {}

    async def reset(request: Request, given: PasswordReset) -> Nothing:
        await accounts.reset(given.token, given.tokenId, given.password, address=request.address, by=request)
        return {}

    async def send_reset(request: Request, given: AccountAddress) -> Nothing:
        await own.admit_mail(given.email)
        await accounts.send_reset(given.email)
        return {}

    async def call_confirmation(request: Request, given: AccountAddress) -> Nothing:
        accounts.call_confirmation(given.email)
        return {}

    async def call_reset(request: Request, given: Registration) -> Nothing:
        # There is no function that could reset it; clients show this text, and look for it.
        raise Unsupported(f'failed to reset password for user "{given.email[:LONGEST]}"', code="NotCallable")

    route = partial(handled, mode=_MODE, before=require, public=True, login=True)
    return (
        route("POST", f"{USERPASS}/register", "registerUser", register, REGISTER),
        route("POST", f"{USERPASS}/confirm", "confirmUser", confirm, CONFIRM),
        route("POST", f"{USERPASS}/confirm/send", "sendConfirmation", send_confirmation, SEND_CONFIRMATION),
        route("POST", f"{USERPASS}/confirm/call", "callConfirmation", call_confirmation, CALL_CONFIRMATION),
        route("POST", f"{USERPASS}/reset", "resetPassword", reset, RESET),
        route("POST", f"{USERPASS}/reset/send", "sendReset", send_reset, SEND_RESET),
        route("POST", f"{USERPASS}/reset/call", "callReset", call_reset, CALL_RESET),
    )
