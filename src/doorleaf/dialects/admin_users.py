"""Users and their sessions over HTTP, for administrators.

A user is ``{id, type, data, identities, created, last_authenticated, disabled}``. Accounts with email and password that
nobody confirmed have no user; they are listed apart, as ``{email, user_id, confirmed, created}``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from doorleaf.dialects.admin_body import answer, body_of, done, query_of, text
from doorleaf.dialects.admin_keys import Keys
from doorleaf.dialects.base import Reply, Request, Route
from doorleaf.documents import Document
from doorleaf.errors import InvalidParameter, NotFound

USERS = "/api/admin/v1/users"
ACCOUNTS = "/api/admin/v1/accounts"
SESSIONS = "/api/admin/v1/sessions"
PAGE, LARGEST_PAGE = 50, 500
PROVIDERS = ("local-userpass", "custom-token", "anon-user")


class Accounts(Protocol):
    """Who keeps the accounts with email and password; each raises RequestError."""

    async def create(self, email: str, password: str) -> str: ...

    async def find(self, name: str) -> Document | None: ...

    async def pending(self, *, after: str | None, limit: int) -> list[Document]: ...

    async def confirm_by_administrator(self, email: str) -> str: ...

    async def set_password(self, email: str, password: str) -> None: ...


class Sessions(Protocol):
    """Who keeps the sessions."""

    async def of(self, user_id: str) -> list[Document]: ...

    async def revoke(self, session: str, user_id: str | None = None) -> bool: ...

    async def revoke_of(self, user_id: str) -> int: ...

    async def revoke_all(self) -> int: ...


class Directory(Protocol):
    """Everything that is known of callers; users are found by id. Each raises RequestError."""

    @property
    def accounts(self) -> Accounts: ...

    @property
    def sessions(self) -> Sessions: ...

    @property
    def keys(self) -> Keys: ...

    async def get(self, user_id: str) -> Document: ...

    async def listed(self, *, after: str | None, limit: int, provider: str | None) -> list[Document]: ...

    async def set_disabled(self, user_id: str, disabled: bool) -> None: ...

    async def delete(self, user_id: str) -> None: ...


def user_routes(users: Directory) -> tuple[Route, ...]:
    """The routes of users and of accounts that wait to be confirmed."""
    accounts = users.accounts
    one = f"{USERS}/{{user_id}}"

    async def listed(request: Request) -> Reply:
        query = query_of(request, ("after", "limit", "provider"))
        provider = query.get("provider")
        if provider is not None and provider not in PROVIDERS:
            raise InvalidParameter(f"provider: expected one of {', '.join(PROVIDERS)}")
        found = await users.listed(after=query.get("after"), limit=_limit(query) + 1, provider=provider)
        return _page("users", [_shown(user) for user in found], _limit(query), "id")

    async def get(request: Request) -> Reply:
        return answer(200, _shown(await users.get(request.params["user_id"])))

    async def create(request: Request) -> Reply:
        body = body_of(request, ("email", "password"))
        user_id = await accounts.create(text(body, "email"), text(body, "password"))
        return answer(201, _shown(await users.get(user_id)))

    async def reset(request: Request) -> Reply:
        password = text(body_of(request, ("password",)), "password")
        await accounts.set_password(await _email(accounts, request.params["user_id"]), password)
        return done()

    def switch(disabled: bool) -> Callable[[Request], Awaitable[Reply]]:
        async def handle(request: Request) -> Reply:
            body_of(request, ())
            user_id = request.params["user_id"]
            await users.set_disabled(user_id, disabled)
            return answer(200, _shown(await users.get(user_id)))

        return handle

    async def delete(request: Request) -> Reply:
        await users.delete(request.params["user_id"])
        return done()

    async def pending(request: Request) -> Reply:
        query = query_of(request, ("after", "limit"))
        found = await accounts.pending(after=query.get("after"), limit=_limit(query) + 1)
        return _page("accounts", [_account(account) for account in found], _limit(query), "email")

    async def confirm(request: Request) -> Reply:
        body = body_of(request, ("email",))
        user_id = await accounts.confirm_by_administrator(text(body, "email"))
        return answer(200, _shown(await users.get(user_id)))

    return (
        Route("GET", USERS, "adminListUsers", handle=listed),
        Route("POST", USERS, "adminCreateUser", handle=create),
        Route("GET", one, "adminGetUser", handle=get),
        Route("POST", f"{one}/reset-password", "adminResetPassword", handle=reset),
        Route("POST", f"{one}/disable", "adminDisableUser", handle=switch(True)),
        Route("POST", f"{one}/enable", "adminEnableUser", handle=switch(False)),
        Route("DELETE", one, "adminDeleteUser", handle=delete),
        Route("GET", ACCOUNTS, "adminListAccounts", handle=pending),
        Route("POST", f"{ACCOUNTS}/confirm", "adminConfirmAccount", handle=confirm),
    )


def session_routes(sessions: Sessions) -> tuple[Route, ...]:
    """The routes of sessions, of users and of API keys alike."""
    own = f"{USERS}/{{user_id}}/sessions"

    async def listed(request: Request) -> Reply:
        found = await sessions.of(request.params["user_id"])
        return answer(200, {"sessions": [_session(session) for session in found]})

    async def end_own(request: Request) -> Reply:
        return answer(200, {"ended": await sessions.revoke_of(request.params["user_id"])})

    async def end(request: Request) -> Reply:
        if not await sessions.revoke(request.params["session_id"]):
            raise NotFound("session not found", code="SessionNotFound")
        return done()

    async def end_all(request: Request) -> Reply:
        return answer(200, {"ended": await sessions.revoke_all()})

    return (
        Route("GET", own, "adminListSessions", handle=listed),
        Route("DELETE", own, "adminEndSessionsOfUser", handle=end_own),
        Route("DELETE", f"{SESSIONS}/{{session_id}}", "adminEndSession", handle=end),
        Route("DELETE", SESSIONS, "adminEndAllSessions", handle=end_all),
    )


async def _email(accounts: Accounts, user_id: str) -> str:
    account = await accounts.find(user_id)
    if account is None or account["user_id"] != user_id:
        raise NotFound("user not found, or without email and password", code="UserNotFound")
    email: str = account["_id"]
    return email


def _limit(query: dict[str, str]) -> int:
    text = query.get("limit", str(PAGE))
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:6]) <= LARGEST_PAGE:
        raise InvalidParameter(f"limit: expected a number from 1 to {LARGEST_PAGE}")
    return int(text)


def _page(name: str, found: list[Document], limit: int, key: str) -> Reply:
    """One page; ``next`` is what ``after`` has to be for the one that follows, null on the last."""
    shown = found[:limit]
    return answer(200, {name: shown, "next": shown[-1][key] if len(found) > limit else None})


def _shown(user: Document) -> Document:
    return {
        "id": user["_id"],
        "type": "normal",
        "data": user.get("data") or {},
        "identities": user.get("identities") or [],
        "created": user.get("created"),
        "last_authenticated": user.get("last_authenticated"),
        "disabled": user.get("disabled") is True,
    }


def _account(account: Document) -> Document:
    return {"email": account["_id"], **{name: account[name] for name in ("user_id", "confirmed", "created")}}


def _session(session: Document) -> Document:
    shown = {"id": session["_id"]}
    return shown | {name: session.get(name) for name in ("user_id", "provider", "created", "expires", "device")}
