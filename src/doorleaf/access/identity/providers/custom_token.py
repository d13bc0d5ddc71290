"""JSON Web Tokens of the issuer that the table ``custom_token`` of the settings trusts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from doorleaf.access.identity.custom_tokens import Verified


class CustomToken(Provider):
    """Users whom another issuer knows. ``tokens`` verifies what they show."""

    name = "custom-token"
    form = LoginForm(
        operation="loginWithToken",
        summary="Log in with a JSON Web Token of a trusted issuer",
        body="TokenLogin",
        fields={"token": "The token."},
        example={"token": "<your token>"},
        refuses=("AuthError", "UserDisabled", "PermissionDenied", "IdentityInUse"),
        links=True,
    )
    headers = {"jwtTokenString": "A JSON Web Token of a trusted issuer."}

    def __init__(self, surroundings: Surroundings) -> None:
        from doorleaf.access.identity.custom_tokens import CustomTokens  # with cryptography, for whom trusts an issuer

        super().__init__(surroundings)
        settings = surroundings.settings
        if settings.custom_token is None:
            raise ValueError("custom_token: the provider custom-token needs this table")
        self.tokens = CustomTokens(settings.custom_token, audience=settings.app_ids, clock=surroundings.clock)
        self._creates_users = settings.custom_token.create_user_on_auth
        self.asks: Callable[[], bool | None] = lambda: None
        """Whether the app's Data API says that the token of a stranger makes a user, or none; set once there is an
        app."""

    def remembered(self, credentials: Credentials) -> Identity | Answer | None:
        """See :class:`Provider`."""
        if credentials.jwt is None:
            return NOT_MINE
        user_id = self.tokens.remembered(credentials.jwt)
        return None if user_id is None else self.directory.users.fresh(user_id)

    async def identify(self, credentials: Credentials) -> Identity | None:
        """See :class:`Provider`."""
        token = credentials.jwt
        if token is None:
            return None
        user_id = self.tokens.remembered(token)
        identity = None if user_id is None else await self.directory.users.identity(user_id)
        if identity is not None:
            return identity
        try:
            verified = await self.tokens.verify(token, credentials.age)
        except Unauthenticated:
            raise Unauthenticated(STRANGER) from None
        if not self._creates(credentials) and await self.directory.users.find(self.name, verified.subject) is None:
            raise Unauthenticated(STRANGER)
        user_id = await self._sign_in(verified)
        self.tokens.remember(token, user_id, verified)
        return await self.caller(user_id)

    async def login(self, body: Mapping[str, Any], address: str, device: str) -> LoggedIn:
        """See :class:`Provider`; ``body`` is ``{"token" or "key"}``."""
        try:
            return await self.user(await self._sign_in(await self.tokens.verify(text(body, "token", "key"))))
        except Unauthenticated:
            await self.mistakes.refuse("key", address)
            raise

    async def link(
        self, user_id: str, body: Mapping[str, Any], address: str, device: str, by: HttpRequest | None
    ) -> None:
        """See :class:`Provider`."""
        try:
            verified = await self.tokens.verify(text(body, "token", "key"))
        except Unauthenticated:
            await self.mistakes.refuse("key", address)
            raise
        await self.directory.users.link(user_id, self.name, verified.subject, verified.data)

    async def close(self) -> None:
        """Stop reading the issuer's keys."""
        await self.tokens.close()

    def _creates(self, credentials: Credentials) -> bool:
        """Whether somebody who shows ``credentials`` and has no user yet becomes one."""
        for said in (credentials.creates_users, self.asks()):
            if said is not None:
                return said
        return self._creates_users

    async def _sign_in(self, verified: Verified) -> str:
        return await self.directory.users.sign_in(self.name, verified.subject, verified.data)
