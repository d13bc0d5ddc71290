"""Accounts in the App Services client API: profile, deletion, API keys of one's own, email and password."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Any, Protocol

from doorleaf import ejson
from doorleaf.dialects.base import Reply, Request, Route, header_credentials
from doorleaf.documents import Document
from doorleaf.errors import InvalidParameter, NotFound, PermissionDenied, Unsupported

AUTH = "/api/client/v2.0/auth"
USERPASS = "/api/client/v2.0/app/{app_id}/auth/providers/local-userpass"

_NOT_STORED = ((b"cache-control", b"no-store"),)


class Accounts(Protocol):
    """Who keeps the accounts with email and password; each raises RequestError."""

    async def register(self, email: str, password: str) -> None: ...

    async def confirm(self, token: str, token_id: str) -> None: ...

    async def send_confirmation(self, email: str) -> None: ...

    async def reset(self, token: str, token_id: str, password: str) -> None: ...

    async def send_reset(self, email: str) -> None: ...


class UserKeys(Protocol):
    """Who keeps the API keys that users make for themselves; each raises RequestError."""

    async def create(self, user_id: str, name: str) -> Document: ...

    async def listed(self, user_id: str) -> list[Document]: ...

    async def get(self, user_id: str, identifier: str) -> Document: ...

    async def set_disabled(self, user_id: str, identifier: str, disabled: bool) -> None: ...

    async def delete(self, user_id: str, identifier: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Self:
    """What users may do about themselves.

    ``owner`` answers whose a refresh token is; ``admit`` lets something about an account name be tried; ``providers``
    are the ways to authenticate that are on.
    """

    accounts: Accounts
    keys: UserKeys
    delete_user: Callable[[str], Awaitable[None]]
    owner: Callable[[str | None], Awaitable[Any]]
    admit: Callable[[str], Awaitable[None]]
    providers: Collection[str]

    def require(self, provider: str) -> None:
        """AuthProviderNotFound unless ``provider`` is on."""
        if provider not in self.providers:
            raise NotFound(f"authentication provider not found: {provider!r}", code="AuthProviderNotFound")


def account_routes(own: Self) -> tuple[Route, ...]:
    """The routes of accounts."""
    return (*_own_routes(own), *_key_routes(own), *_password_routes(own))


def _own_routes(own: Self) -> tuple[Route, ...]:
    async def profile(request: Request) -> Reply:
        user = request.identity.user
        return _answer(
            200,
            {
                "user_id": user["id"],
                "type": user["type"],
                "data": user["data"],
                "custom_data": user["custom_data"],
                "identities": user["identities"],
            },
        )

    async def delete(request: Request) -> Reply:
        if request.identity.kind != "normal":
            raise PermissionDenied("only a user can delete itself; administrators delete keys")
        await own.delete_user(request.identity.id)
        return _done()

    return (
        Route("GET", f"{AUTH}/profile", "profile", handle=profile),
        Route("DELETE", f"{AUTH}/delete", "deleteUser", handle=delete),
    )


def _key_routes(own: Self) -> tuple[Route, ...]:
    """Users' own keys, which are shown the refresh token and not the access token."""

    async def user_of(request: Request) -> str:
        own.require("api-key")
        request.identity = identity = await own.owner(header_credentials(request).bearer)
        if identity.kind != "normal" or identity.provider == "anon-user":
            raise PermissionDenied("API keys are for users who can log in again, not for anonymous ones or servers")
        user_id: str = identity.id
        return user_id

    async def create(request: Request) -> Reply:
        user_id = await user_of(request)
        return _answer(201, await own.keys.create(user_id, _text(_body(request), "name")))

    async def listed(request: Request) -> Reply:
        return _answer(200, await own.keys.listed(await user_of(request)))

    async def get(request: Request) -> Reply:
        return _answer(200, await own.keys.get(await user_of(request), request.params["key_id"]))

    async def delete(request: Request) -> Reply:
        await own.keys.delete(await user_of(request), request.params["key_id"])
        return _done()

    def switch(disabled: bool) -> Callable[[Request], Awaitable[Reply]]:
        async def handle(request: Request) -> Reply:
            await own.keys.set_disabled(await user_of(request), request.params["key_id"], disabled)
            return _done()

        return handle

    keys, key = f"{AUTH}/api_keys", f"{AUTH}/api_keys/{{key_id}}"
    return (
        Route("POST", keys, "createUserKey", handle=create, public=True),
        Route("GET", keys, "listUserKeys", handle=listed, public=True),
        Route("GET", key, "getUserKey", handle=get, public=True),
        Route("DELETE", key, "deleteUserKey", handle=delete, public=True),
        Route("PUT", f"{key}/enable", "enableUserKey", handle=switch(False), public=True),
        Route("PUT", f"{key}/disable", "disableUserKey", handle=switch(True), public=True),
    )


def _password_routes(own: Self) -> tuple[Route, ...]:
    """Registering, confirming and resetting: whoever calls is not logged in."""

    async def register(body: Document) -> int:
        email, password = _text(body, "email"), _text(body, "password")
        await own.admit(email)
        await own.accounts.register(email, password)
        return 201

    async def confirm(body: Document) -> int:
        await own.accounts.confirm(_text(body, "token"), _text(body, "tokenId"))
        return 200

    async def send_confirmation(body: Document) -> int:
        email = _text(body, "email")
        await own.admit(email)
        await own.accounts.send_confirmation(email)
        return 200

    async def reset(body: Document) -> int:
        await own.accounts.reset(_text(body, "token"), _text(body, "tokenId"), _text(body, "password"))
        return 200

    async def send_reset(body: Document) -> int:
        email = _text(body, "email")
        await own.admit(email)
        await own.accounts.send_reset(email)
        return 200

    def refused(path: str) -> Callable[[Document], Awaitable[int]]:
        async def call(body: Document) -> int:
            raise Unsupported(f"{path} is not supported: there are no functions that it could call", code="NotCallable")

        return call

    def handled(act: Callable[[Document], Awaitable[int]]) -> Callable[[Request], Awaitable[Reply]]:
        async def handle(request: Request) -> Reply:
            own.require("local-userpass")
            return _answer(await act(_body(request)), {})

        return handle

    acts = {
        "register": ("registerUser", register),
        "confirm": ("confirmUser", confirm),
        "confirm/send": ("sendConfirmation", send_confirmation),
        "confirm/call": ("callConfirmation", refused("confirm/call")),
        "reset": ("resetPassword", reset),
        "reset/send": ("sendReset", send_reset),
        "reset/call": ("callReset", refused("reset/call")),
    }
    return tuple(
        Route("POST", f"{USERPASS}/{path}", name, handle=handled(act), public=True, login=True)
        for path, (name, act) in acts.items()
    )


def _body(request: Request) -> Document:
    return ejson.loads(request.body or b"{}")


def _text(body: Document, name: str) -> str:
    value = body.get(name)
    if type(value) is not str or not value:
        raise InvalidParameter(f"'{name}' is a required string.")
    return value


def _answer(status: int, content: Any) -> Reply:
    return Reply(status, ejson.dumps(content, ejson.Mode.RELAXED), headers=_NOT_STORED)


def _done() -> Reply:
    return Reply(204, headers=_NOT_STORED)
