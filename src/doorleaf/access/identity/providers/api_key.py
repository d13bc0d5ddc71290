"""API keys: those of the server, and those that users make for themselves."""

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
from doorleaf.errors import Unauthenticated


class ApiKey(Provider):
    """Callers with a key of :class:`Keys` or of :class:`UserKeys`."""

    name = "api-key"
    form = LoginForm(
        operation="login",
        summary="Trade an API key for an access token and a refresh token",
        body="Login",
        fields={"key": "An API key."},
        example={"key": "<your API key>"},
        refuses=("AuthError", "AddressNotAllowed"),
    )
    headers = {"apiKey": "An API key.", "api-key": "An API key; an older name."}

    def __init__(self, surroundings: Surroundings) -> None:
        super().__init__(surroundings)
        self._require_loaded = surroundings.require_loaded

    def remembered(self, credentials: Credentials) -> Identity | Answer | None:
        """See :class:`Provider`."""
        shown = credentials.api_key
        if shown is None:
            return NOT_MINE
        users = self.directory.users
        key = self.directory.keys.find(shown)
        if key is not None:
            identity = key.identity
            return identity if identity.admin else users.fresh_with_custom_data(identity)
        found = self.directory.user_keys.fresh(shown)
        user = None if found is None else users.fresh(found.user_id)
        return None if found is None or user is None else found.applied(user)

    async def identify(self, credentials: Credentials) -> Identity | None:
        """See :class:`Provider`. StoreUnavailable while keys were never read."""
        shown, user_keys = credentials.api_key, self.directory.user_keys
        if shown is None:
            return None
        key = self.directory.keys.find(shown)
        if key is not None:
            return await self.directory.of_key(key)
        self._require_loaded()
        if user_keys.is_new(shown):
            await self.mistakes.require("key", credentials.address)
        found = await user_keys.find(shown)
        if found is None:
            await self.mistakes.refuse("key", credentials.address)
            raise Unauthenticated(STRANGER)
        return found.applied(await self.caller(found.user_id))

    async def login(self, body: Mapping[str, Any], address: str, device: str) -> LoggedIn:
        """See :class:`Provider`; ``body`` is ``{"key"}``."""
        shown = text(body, "key")
        key = self.directory.keys.find(shown)
        if key is not None:
            identity = await self.directory.users.with_custom_data(key.identity)
            return LoggedIn(identity, key.expires if key.retiring else None)
        self._require_loaded()
        if self.directory.user_keys.is_new(shown):
            await self.mistakes.require("key", address)
        try:
            return await self._by_user_key(shown)
        except Unauthenticated:
            await self.mistakes.refuse("key", address)
            raise

    async def _by_user_key(self, shown: str) -> LoggedIn:
        found = await self.directory.user_keys.find(shown)
        user = None if found is None else await self.directory.users.identity(found.user_id)
        if found is None or user is None:
            raise Unauthenticated("invalid API key", code="AuthError")
        if found.limited:  # a session would be good for all that its user may
            raise Unauthenticated(
                "a key that is limited begins no session; show it with each request", code="AuthError"
            )
        return LoggedIn(user)
