"""Logins: what each provider wants to be shown, and the session that is answered."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import orjson
from bson import ObjectId

from doorleaf import ejson
from doorleaf.access.callers import Identity
from doorleaf.access.identity.custom_tokens import CustomTokens
from doorleaf.access.identity.directory import Directory
from doorleaf.access.identity.tokens import ACCESS_SECONDS, NO_DEVICE, Claims, Tokens
from doorleaf.access.request import HttpRequest
from doorleaf.documents import Document, is_string
from doorleaf.errors import InvalidParameter, NotFound, Unauthenticated, Unsupported
from doorleaf.operations.fields import unicode_text

EMBEDDED_BYTES = 4096
"""Custom data above this many bytes of JSON is left out of access tokens, which travel in headers."""

_DEVICE_FIELDS = 16

Admit = Callable[[Identity, str], Awaitable[None]]
"""Lets a caller from an address in; raises AccessError."""


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """Who logged in; ``until`` is when a key ends that is retiring, in seconds since 1970."""

    identity: Identity
    until: float | None = None


Login = Callable[[Mapping[str, Any], str, str], Awaitable[LoggedIn]]
"""What the body of a login, the address and the device's id make of it."""


class Logins:
    """The logins of the providers in ``on``; ``admit`` lets the key that is shown in, by its own limits."""

    def __init__(
        self,
        directory: Directory,
        custom: CustomTokens | None,
        tokens: Tokens,
        on: Collection[str],
        admit: Admit | None = None,
    ) -> None:
        self._directory = directory
        self._custom = custom
        self._tokens = tokens
        self._admit = admit
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
        if device.get("deviceId", NO_DEVICE) == NO_DEVICE:
            device["deviceId"] = self._tokens.new_device()
        found = await self._logins[provider](body, address, device["deviceId"])
        identity, until = found.identity, found.until
        if self._admit is not None and identity.key_name is not None:
            await self._admit(identity, address)
        session = await self._directory.sessions.create(
            identity.id, provider, seconds=self._tokens.life(provider), device=device
        )
        await self._directory.happenings.tell("LOGIN", [provider], identity.user)
        own = identity.identities[0]["id"] if identity.identities else None
        return identity, {
            "access_token": self.access_token(identity, session, provider, device, until),
            "refresh_token": self._tokens.refresh(identity.id, session, provider, identity_id=own, until=until),
            "token_type": "Bearer",
            "expires_in": ACCESS_SECONDS,
            "user_id": identity.id,
            "device_id": device["deviceId"],
        }

    async def link(
        self,
        claims: Claims,
        provider: str,
        body: Mapping[str, Any],
        address: str,
        by: HttpRequest | None = None,
    ) -> Document:
        """Give the user of a session one more identity; answers a new access token of the session."""
        self.check(provider, body)
        if provider not in ("local-userpass", "custom-token"):
            raise Unsupported(f"credentials of {provider!r} cannot be linked to a user", code="NotCallable")
        device = _device(body)
        users = self._directory.users
        if provider == "local-userpass":
            given = device.get("deviceId", NO_DEVICE)
            email, password = text(body, "username", "email"), text(body, "password")
            given = given if self._tokens.gave_device(given) else ""
            await self._directory.accounts.link(claims.user_id, email, password, address, given, by=by)
        else:
            verified = await cast(CustomTokens, self._custom).verify(text(body, "token", "key"))
            await users.link(claims.user_id, "custom-token", verified.subject, verified.data)
        identity = (await self._user(claims.user_id)).identity
        return {
            "access_token": self.access_token(identity, claims.session, claims.provider, device),
            "token_type": "Bearer",
            "expires_in": ACCESS_SECONDS,
            "user_id": identity.id,
            "device_id": device.get("deviceId", NO_DEVICE),
        }

    def access_token(
        self,
        identity: Identity,
        session: str,
        provider: str,
        device: Mapping[str, Any] | None,
        until: float | None = None,
    ) -> str:
        """A new access token of a session; ``until`` is when a retiring key ends."""
        custom = None
        if identity.custom_data:
            written = ejson.dumps(dict(identity.custom_data), ejson.Mode.RELAXED)
            custom = orjson.loads(written) if len(written) <= EMBEDDED_BYTES else None
        device_id = (device or {}).get("deviceId", NO_DEVICE)
        return self._tokens.access(
            identity.id, session, provider=provider, device=device_id, custom_data=custom, until=until
        )

    async def _by_key(self, body: Mapping[str, Any], address: str, device: str) -> LoggedIn:
        shown = text(body, "key")
        key = self._directory.keys.find(shown)
        if key is not None:
            identity = await self._directory.users.with_custom_data(
                key.identity, lambda custom: replace(key.identity, custom_data=custom)
            )
            return LoggedIn(identity, key.expires if key.retiring else None)
        found = await self._directory.user_keys.find(shown)
        user = None if found is None else await self._directory.users.identity(found.user_id)
        if found is None or user is None:
            raise Unauthenticated("invalid API key", code="AuthError")
        if found.limited:  # a session would be good for all that its user may
            raise Unauthenticated(
                "a key that is limited begins no session; show it with each request", code="AuthError"
            )
        return LoggedIn(user)

    async def _by_password(self, body: Mapping[str, Any], address: str, device: str) -> LoggedIn:
        email, password = text(body, "username", "email"), text(body, "password")
        given = device if self._tokens.gave_device(device) else ""
        return await self._user(await self._directory.accounts.log_in(email, password, address, given))

    async def _by_custom_token(self, body: Mapping[str, Any], address: str, device: str) -> LoggedIn:
        shown = text(body, "token", "key")
        verified = await cast(CustomTokens, self._custom).verify(shown)
        return await self._user(await self._directory.users.sign_in("custom-token", verified.subject, verified.data))

    async def _anonymous(self, body: Mapping[str, Any], address: str, device: str) -> LoggedIn:
        return await self._user(await self._directory.users.make_anonymous())

    async def _user(self, user_id: str) -> LoggedIn:
        identity = await self._directory.users.identity(user_id)
        if identity is None:
            raise Unauthenticated("the user is disabled", code="UserDisabled")
        return LoggedIn(identity)


def text(body: Mapping[str, Any], *names: str) -> str:
    """The first of ``names`` that ``body`` has, which must be a string that is not empty."""
    for name in names:
        value = body.get(name)
        if value is None or value == "":
            continue
        if not is_string(value):
            raise InvalidParameter(f"{name}: expected a string")
        return unicode_text(value, name)
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
        if not is_string(value) or len(value) > 200 or len(name) > 50 or len(device) >= _DEVICE_FIELDS:
            raise InvalidParameter("options.device: expected up to 16 short strings")
        device[name.replace("$", "_").replace(".", "_")] = value
    identifier = device.get("deviceId", NO_DEVICE)
    if not re.fullmatch(r"[0-9a-f]{24}", identifier):
        raise InvalidParameter("options.device.deviceId: expected 24 hexadecimal digits")
    return device
