"""Logins: what each provider wants to be shown, and the session that is answered."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import replace
from typing import Any, cast

import orjson
from bson import ObjectId

from doorleaf import ejson
from doorleaf.access.callers import Identity
from doorleaf.access.custom_tokens import CustomTokens
from doorleaf.access.directory import Directory
from doorleaf.access.tokens import ACCESS_SECONDS, NO_DEVICE, Tokens
from doorleaf.documents import Document
from doorleaf.errors import InvalidParameter, NotFound, Unauthenticated

EMBEDDED_BYTES = 4096
"""Custom data above this many bytes of JSON is left out of access tokens, which travel in headers."""

_DEVICE_FIELDS = 16

Login = Callable[[Mapping[str, Any], str], Awaitable[Identity]]


class Logins:
    """The logins of the providers in ``on``."""

    def __init__(self, directory: Directory, custom: CustomTokens | None, tokens: Tokens, on: Collection[str]) -> None:
        self._directory = directory
        self._custom = custom
        self._tokens = tokens
        logins: dict[str, Login] = {
            "api-key": self._by_key,
            "local-userpass": self._by_password,
            "custom-token": self._by_custom_token,
            "anon-user": self._anonymous,
        }
        self._logins = {name: login for name, login in logins.items() if name in on}

    def check(self, provider: str, body: Mapping[str, Any]) -> None:
        """Raise what is wrong with a login whatever the database says."""
        if provider not in self._logins:
            raise NotFound(f"authentication provider not found: {provider!r}", code="AuthProviderNotFound")
        if provider == "api-key":
            text(body, "key")

    async def begin(self, provider: str, body: Mapping[str, Any], address: str) -> tuple[Identity, Document]:
        """Who logged in, and the answer: both tokens and whom they are for."""
        self.check(provider, body)
        device = _device(body)
        identity = await self._logins[provider](body, address)
        session = await self._directory.sessions.create(
            identity.id, provider, seconds=self._tokens.life(provider), device=device
        )
        own = identity.identities[0]["id"] if identity.identities else None
        return identity, {
            "access_token": self.access_token(identity, session, provider, device),
            "refresh_token": self._tokens.refresh(identity.id, session, provider, identity_id=own),
            "token_type": "Bearer",
            "expires_in": ACCESS_SECONDS,
            "user_id": identity.id,
            "device_id": device.get("deviceId", NO_DEVICE),
        }

    def access_token(self, identity: Identity, session: str, provider: str, device: Mapping[str, Any] | None) -> str:
        """A new access token of a session."""
        custom = None
        if identity.custom_data:
            written = ejson.dumps(dict(identity.custom_data), ejson.Mode.RELAXED)
            custom = orjson.loads(written) if len(written) <= EMBEDDED_BYTES else None
        device_id = (device or {}).get("deviceId", NO_DEVICE)
        return self._tokens.access(identity.id, session, provider=provider, device=device_id, custom_data=custom)

    async def _by_key(self, body: Mapping[str, Any], address: str) -> Identity:
        shown = text(body, "key")
        key = self._directory.keys.find(shown)
        if key is not None:
            return await self._directory.users.with_custom_data(
                key.identity, lambda custom: replace(key.identity, custom_data=custom)
            )
        user_id = await self._directory.user_keys.find(shown)
        identity = None if user_id is None else await self._directory.users.identity(user_id)
        if identity is None:
            raise Unauthenticated("invalid API key", code="AuthError")
        return identity

    async def _by_password(self, body: Mapping[str, Any], address: str) -> Identity:
        email, password = text(body, "username", "email"), text(body, "password")
        return await self._user(await self._directory.accounts.log_in(email, password, address))

    async def _by_custom_token(self, body: Mapping[str, Any], address: str) -> Identity:
        shown = text(body, "token", "key")
        verified = await cast(CustomTokens, self._custom).verify(shown)
        return await self._user(await self._directory.users.sign_in("custom-token", verified.subject, verified.data))

    async def _anonymous(self, body: Mapping[str, Any], address: str) -> Identity:
        return await self._user(await self._directory.users.make_anonymous())

    async def _user(self, user_id: str) -> Identity:
        identity = await self._directory.users.identity(user_id)
        if identity is None:
            raise Unauthenticated("the user is disabled", code="UserDisabled")
        return identity


def text(body: Mapping[str, Any], *names: str) -> str:
    """The first of ``names`` that ``body`` has, which must be a string that is not empty."""
    for name in names:
        value = body.get(name)
        if value is None or value == "":
            continue
        if not isinstance(value, str):
            raise InvalidParameter(f"{name}: expected a string")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise InvalidParameter(f"{name}: must be Unicode text") from None
        return value
    raise InvalidParameter(f"missing required field: {names[0]}")


def _device(body: Mapping[str, Any]) -> Document:
    """What a client says of its device in ``options.device``: texts, and ``deviceId`` of 24 hexadecimal digits."""
    options = body.get("options")
    if options is None:
        return {}
    if not isinstance(options, dict) or not isinstance(options.get("device", {}), dict):
        raise InvalidParameter("options.device: expected an object")
    device: Document = {}
    for name, given in options.get("device", {}).items():
        if given is None:
            continue
        value = str(given) if isinstance(given, ObjectId) else given  # an id as Extended JSON has it
        if not isinstance(value, str) or len(value) > 200 or len(name) > 50 or len(device) >= _DEVICE_FIELDS:
            raise InvalidParameter("options.device: expected up to 16 short strings")
        device[name.replace("$", "_").replace(".", "_")] = value
    identifier = device.get("deviceId", NO_DEVICE)
    if not re.fullmatch(r"[0-9a-f]{24}", identifier):
        raise InvalidParameter("options.device.deviceId: expected 24 hexadecimal digits")
    return device
