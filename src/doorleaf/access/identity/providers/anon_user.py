"""Anonymous users: whoever asks becomes a new one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bson import ObjectId

from doorleaf.access.identity.providers.base import LoggedIn, LoginForm, Provider


class AnonUser(Provider):
    """Users who show nothing, and come back by their refresh token alone."""

    name = "anon-user"
    form = LoginForm(
        operation="loginAnonymously",
        summary="Log in as a new anonymous user",
        body="AnonymousLogin",
        fields={},
        example={},
    )
    session_seconds = 50 * 365 * 24 * 3600  # there is no other way to come back

    async def login(self, body: Mapping[str, Any], address: str, device: str) -> LoggedIn:
        """See :class:`Provider`; ``body`` is ``{}``."""
        await self.mistakes.refuse("password", address)  # each makes a user, so each counts
        return await self.user(await self.directory.users.sign_in(self.name, str(ObjectId()), {}))
