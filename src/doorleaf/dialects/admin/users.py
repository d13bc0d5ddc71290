"""Users and their sessions over HTTP, for administrators.

A user is ``{id, type, data, identities, created, last_authenticated, disabled}``. Accounts with email and password that
nobody confirmed have no user; they are listed apart, as ``{email, user_id, confirmed, created}``.
"""

from __future__ import annotations

from functools import partial
from typing import Protocol

from doorleaf.dialects.about import About, Gives
from doorleaf.dialects.admin.collection_credentials import CollectionCredentials
from doorleaf.dialects.admin.keys import TAG, Keys
from doorleaf.dialects.admin.models import (
    AdminAccount,
    AdminAccounts,
    AdminAddress,
    AdminCustomData,
    AdminEnded,
    AdminPage,
    AdminPassword,
    AdminSession,
    AdminSessions,
    AdminUser,
    AdminUserRequest,
    AdminUsers,
    AdminUsersPage,
)
from doorleaf.dialects.base import Request, Route
from doorleaf.dialects.bodies import Nothing
from doorleaf.dialects.handling import Act, handled
from doorleaf.documents import Document
from doorleaf.ejson import Mode
from doorleaf.errors import NotFound

USERS = "/api/admin/v1/users"
ACCOUNTS = "/api/admin/v1/accounts"
SESSIONS = "/api/admin/v1/sessions"


class Accounts(Protocol):
    """The keeper of the accounts with email and password; every method may raise RequestError."""

    async def create(self, email: str, password: str, *, by: Request) -> str: ...

    async def find(self, name: str) -> Document | None: ...

    async def pending(self, *, after: str | None, limit: int) -> list[Document]: ...

    async def confirm_by_administrator(self, email: str, *, by: Request) -> str: ...

    async def set_password(self, email: str, password: str, *, by: Request) -> None: ...


class Sessions(Protocol):
    """The keeper of the sessions."""

    async def of(self, user_id: str) -> list[Document]: ...

    async def revoke(self, session: str, *, by: Request) -> bool: ...

    async def revoke_of(self, user_id: str, *, by: Request) -> int: ...

    async def revoke_all(self, *, by: Request) -> int: ...


class Directory(Protocol):
    """Everything that is known of callers; users are found by id. Each raises RequestError."""

    @property
    def accounts(self) -> Accounts: ...

    @property
    def sessions(self) -> Sessions: ...

    @property
    def keys(self) -> Keys: ...

    @property
    def collection_credentials(self) -> CollectionCredentials: ...

    async def get(self, user_id: str) -> Document: ...

    async def listed(
        self, *, after: str | None, limit: int, provider: str | None, search: str | None
    ) -> list[Document]: ...

    async def custom_data(self, user_id: str) -> tuple[Document | None, Document]: ...

    async def set_disabled(self, user_id: str, disabled: bool, *, by: Request) -> None: ...

    async def delete(self, user_id: str, *, by: Request) -> None: ...


_about = partial(About, tag=TAG)
_of_one = partial(About, tag=TAG, refuses=("UserNotFound",))

LIST_USERS = _about(summary="List users by id", query=AdminUsersPage, gives=Gives(content=AdminUsers))
CREATE_USER = _about(
    summary="Make a user with email and password",
    takes=AdminUserRequest,
    example={"email": "ada@example.com", "password": "correct horse battery"},
    gives=Gives(content=AdminUser, status=201, description="Made."),
    refuses=("AccountNameInUse",),
)
GET_USER = _of_one(summary="Describe a user", gives=Gives(content=AdminUser))
GET_CUSTOM_DATA = _of_one(
    summary="Tell the custom data of a user or key, and where it is kept", gives=Gives(content=AdminCustomData)
)
RESET_PASSWORD = _of_one(
    summary="Set a user's password",
    takes=AdminPassword,
    example={"password": "another horse battery"},
    gives=Gives(status=204),
)
DISABLE_USER = _of_one(summary="Let a user call no more", takes=Nothing, optional=True, gives=Gives(content=AdminUser))
ENABLE_USER = _of_one(summary="Let a user call again", takes=Nothing, optional=True, gives=Gives(content=AdminUser))
DELETE_USER = _of_one(summary="Delete a user with all that is theirs", gives=Gives(status=204))
LIST_ACCOUNTS = _about(
    summary="List accounts that are not confirmed", query=AdminPage, gives=Gives(content=AdminAccounts)
)
CONFIRM_ACCOUNT = _about(
    summary="Confirm an account; its user comes into being",
    takes=AdminAddress,
    example={"email": "ada@example.com"},
    gives=Gives(content=AdminUser),
    refuses=("UserAlreadyConfirmed", "UserNotFound"),
)
LIST_SESSIONS = _about(summary="List the sessions of a user or key", gives=Gives(content=AdminSessions))
END_SESSIONS_OF = _about(summary="End all sessions of a user or key", gives=Gives(content=AdminEnded))
END_SESSION = _about(summary="End a session", gives=Gives(status=204), refuses=("SessionNotFound",))
END_ALL_SESSIONS = _about(summary="End every session", gives=Gives(content=AdminEnded))


def user_routes(users: Directory) -> tuple[Route, ...]:
    """The routes of users and of accounts that wait to be confirmed."""
    accounts = users.accounts
    one = f"{USERS}/{{user_id}}"

    async def listed(request: Request, given: AdminUsersPage) -> AdminUsers:
        found = await users.listed(
            after=given.after, limit=given.limit + 1, provider=given.provider, search=given.search
        )
        shown = [_shown(user) for user in found[: given.limit]]
        return {"users": shown, "next": shown[-1]["id"] if len(found) > given.limit else None}

    async def get(request: Request, given: None) -> AdminUser:
        return _shown(await users.get(request.params["user_id"]))

    async def create(request: Request, given: AdminUserRequest) -> AdminUser:
        return _shown(await users.get(await accounts.create(given.email, given.password, by=request)))

    async def reset(request: Request, given: AdminPassword) -> None:
        await accounts.set_password(await _email(accounts, request.params["user_id"]), given.password, by=request)

    async def delete(request: Request, given: None) -> None:
        await users.delete(request.params["user_id"], by=request)

    async def pending(request: Request, given: AdminPage) -> AdminAccounts:
        found = await accounts.pending(after=given.after, limit=given.limit + 1)
        shown = [_account(account) for account in found[: given.limit]]
        return {"accounts": shown, "next": shown[-1]["email"] if len(found) > given.limit else None}

    async def confirm(request: Request, given: AdminAddress) -> AdminUser:
        return _shown(await users.get(await accounts.confirm_by_administrator(given.email, by=request)))

    return (
        handled("GET", USERS, "adminListUsers", listed, LIST_USERS),
        handled("POST", USERS, "adminCreateUser", create, CREATE_USER),
        handled("GET", one, "adminGetUser", get, GET_USER),
        _custom_data_route(users),
        handled("POST", f"{one}/reset-password", "adminResetPassword", reset, RESET_PASSWORD),
        handled("POST", f"{one}/disable", "adminDisableUser", _switch(users, True), DISABLE_USER),
        handled("POST", f"{one}/enable", "adminEnableUser", _switch(users, False), ENABLE_USER),
        handled("DELETE", one, "adminDeleteUser", delete, DELETE_USER),
        handled("GET", ACCOUNTS, "adminListAccounts", pending, LIST_ACCOUNTS),
        handled("POST", f"{ACCOUNTS}/confirm", "adminConfirmAccount", confirm, CONFIRM_ACCOUNT),
    )


def _switch(users: Directory, disabled: bool) -> Act:
    async def act(request: Request, given: Nothing) -> AdminUser:
        user_id = request.params["user_id"]
        await users.set_disabled(user_id, disabled, by=request)
        return _shown(await users.get(user_id))

    return act


def _custom_data_route(users: Directory) -> Route:
    async def told(request: Request, given: None) -> Document:
        place, found = await users.custom_data(request.params["user_id"])
        return {"custom_data": found, "place": place}

    # An app's own documents have types that plain JSON would hide.
    path = f"{USERS}/{{user_id}}/custom-data"
    return handled("GET", path, "adminGetCustomData", told, GET_CUSTOM_DATA, mode=Mode.RELAXED)


def session_routes(sessions: Sessions) -> tuple[Route, ...]:
    """The routes of sessions, of users and of API keys alike."""
    own = f"{USERS}/{{user_id}}/sessions"

    async def listed(request: Request, given: None) -> AdminSessions:
        return {"sessions": [_session(session) for session in await sessions.of(request.params["user_id"])]}

    async def end_own(request: Request, given: None) -> AdminEnded:
        return {"ended": await sessions.revoke_of(request.params["user_id"], by=request)}

    async def end(request: Request, given: None) -> None:
        if not await sessions.revoke(request.params["session_id"], by=request):
            raise NotFound("session not found", code="SessionNotFound")

    async def end_all(request: Request, given: None) -> AdminEnded:
        return {"ended": await sessions.revoke_all(by=request)}

    return (
        handled("GET", own, "adminListSessions", listed, LIST_SESSIONS),
        handled("DELETE", own, "adminEndSessionsOfUser", end_own, END_SESSIONS_OF),
        handled("DELETE", f"{SESSIONS}/{{session_id}}", "adminEndSession", end, END_SESSION),
        handled("DELETE", SESSIONS, "adminEndAllSessions", end_all, END_ALL_SESSIONS),
    )


async def _email(accounts: Accounts, user_id: str) -> str:
    account = await accounts.find(user_id)
    if account is None or account["user_id"] != user_id:
        raise NotFound("user not found, or without email and password", code="UserNotFound")
    email: str = account["_id"]
    return email


def _shown(user: Document) -> AdminUser:
    return {
        "id": user["_id"],
        "type": "normal",
        "data": user.get("data") or {},
        "identities": user.get("identities") or [],
        "created": user.get("created"),
        "last_authenticated": user.get("last_authenticated"),
        "disabled": user.get("disabled") is True,
    }


def _account(account: Document) -> AdminAccount:
    return {
        "email": account["_id"],
        "user_id": account["user_id"],
        "confirmed": account["confirmed"],
        "created": account["created"],
    }


def _session(session: Document) -> AdminSession:
    return {
        "id": session["_id"],
        "user_id": session["user_id"],
        "provider": session["provider"],
        "created": session["created"],
        "expires": session["expires"],
        "device": session.get("device"),
    }
