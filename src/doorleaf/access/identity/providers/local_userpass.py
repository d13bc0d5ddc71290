"""Email and password, which :mod:`doorleaf.access.identity.accounts` keeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from doorleaf.access.callers import Credentials, Identity
from doorleaf.access.identity.providers.base import (
    NOT_MINE,
    STRANGER,
    Answer,
    LoggedIn,
    LoginForm,
    Provider,
    Surroundings,
    text,
)
from doorleaf.access.request import HttpRequest
from doorleaf.errors import Unauthenticated


class LocalUserpass(Provider):
    """Users with an account here."""

    name = "local-userpass"
    form = LoginForm(
        operation="loginWithPassword",
        summary="Log in with email and password",
        body="PasswordLogin",
        fields={"username": "The email address.", "password": "The password."},
        example={"username": "ada@example.com", "password": "<your password>"},
        refuses=("InvalidPassword", "AuthError", "UserDisabled", "PermissionDenied", "IdentityInUse"),
        links=True,
    )
    headers = {"email": "A user's email address, with `password`.", "password": "That user's password."}
    together = True

    def __init__(self, surroundings: Surroundings) -> None:
        super().__init__(surroundings)
        self._gave_device = surroundings.tokens.gave_device

    def remembered(self, credentials: Credentials) -> Identity | Answer | None:
        """See :class:`Provider`."""
        if credentials.email is None or credentials.password is None:
            return NOT_MINE
        user_id = self.directory.accounts.fresh(credentials.email, credentials.password)
        return None if user_id is None else self.directory.users.fresh(user_id)

    async def identify(self, credentials: Credentials) -> Identity | None:
        """See :class:`Provider`."""
        if credentials.email is None or credentials.password is None:
            return None
        try:
            user_id = await self.directory.accounts.user(credentials.email, credentials.password, credentials.address)
        except (Unauthenticated, ValueError):
            raise Unauthenticated(STRANGER) from None
        return await self.caller(user_id)

    async def login(self, body: Mapping[str, Any], address: str, device: str) -> LoggedIn:
        """See :class:`Provider`; ``body`` is ``{"username" or "email", "password"}``."""
        email, password = text(body, "username", "email"), text(body, "password")
        given = device if self._gave_device(device) else ""
        return await self.user(await self.directory.accounts.log_in(email, password, address, given))

    async def link(
        self, user_id: str, body: Mapping[str, Any], address: str, device: str, by: HttpRequest | None
    ) -> None:
        """See :class:`Provider`."""
        email, password = text(body, "username", "email"), text(body, "password")
        given = device if self._gave_device(device) else ""
        await self.directory.accounts.link(user_id, email, password, address, given, by=by)
