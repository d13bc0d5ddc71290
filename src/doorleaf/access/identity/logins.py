"""Sessions: how they begin with a login, go on and end, and whose a token is."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
from bson import ObjectId

from doorleaf import ejson
from doorleaf.access.audit import NO_AUDIT, Audit
from doorleaf.access.callers import Identity
from doorleaf.access.identity.providers.base import STRANGER, LoggedIn, Provider, Surroundings
from doorleaf.access.identity.tokens import ACCESS_SECONDS, NO_DEVICE, Claims
from doorleaf.access.request import HttpRequest
from doorleaf.documents import Document, is_string
from doorleaf.errors import DoorleafError, InvalidParameter, NotFound, PermissionDenied, Unauthenticated

EMBEDDED_BYTES = 4096
"""Custom data above this many bytes of JSON is left out of access tokens, which travel in headers."""

_DEVICE_FIELDS = 16
ENDED = "invalid session: failed to find refresh token"

Admit = Callable[[Identity, str], Awaitable[None]]
"""Lets a caller from an address in; raises AccessError."""


class Logins:
    """The sessions that callers begin with ``providers``. ``admit`` lets the key that begins or renews one in, by its
    own limits."""

    def __init__(
        self,
        surroundings: Surroundings,
        providers: Mapping[str, Provider],
        *,
        admit: Admit | None = None,
        audit: Audit = NO_AUDIT,
    ) -> None:
        self._directory = surroundings.directory
        self._sessions = surroundings.directory.sessions
        self._tokens = surroundings.tokens
        self._require_loaded = surroundings.require_loaded
        self._providers = providers
        self._admit = admit
        self._audit = audit

    # --- whose an access token is ---

    def remembered(self, token: str) -> Identity | None:
        """The caller with an access token, if memory alone can tell."""
        claims = self._tokens.remembered(token)
        if claims is None or self._sessions.is_revoked(claims.session) or claims.provider not in self._providers:
            return None
        return self._directory.fresh(claims.user_id, retiring=claims.retiring)

    async def identify(self, token: str, age: float = 0.0) -> Identity:
        """The caller with an access token that was shown ``age`` seconds ago; Unauthenticated, StoreUnavailable while
        sessions were never read."""
        try:
            claims = self._tokens.verify(token, "access", age)
        except Unauthenticated:
            raise Unauthenticated(STRANGER) from None
        self._require_loaded()
        if self._sessions.is_revoked(claims.session) or claims.provider not in self._providers:
            raise Unauthenticated(STRANGER)
        return await self._holder(claims, STRANGER)

    # --- begin ---

    async def login(
        self, provider: str, body: Mapping[str, Any], *, address: str = "", by: HttpRequest | None = None
    ) -> Document:
        """Begin a session; the answer has both tokens, ``user_id`` and ``device_id``.

        ``body`` is what the provider takes (:meth:`Provider.login`), and with each ``options.device``. NotFound
        (AuthProviderNotFound) for a provider that is off.
        """
        account = body.get("username") or body.get("email")
        target = f"{provider} {account}" if is_string(account) else provider
        try:
            identity, answer = await self._begin(self._provider(provider), body, address)
        except DoorleafError as error:
            self._audit("login", target=target, error=error, by=by)
            raise
        self._audit("login", target=target, identity=identity, by=by)
        return answer

    def _provider(self, name: str) -> Provider:
        provider = self._providers.get(name)
        if provider is None:
            raise NotFound(f"authentication provider not found: {name!r}", code="AuthProviderNotFound")
        return provider

    async def _begin(self, provider: Provider, body: Mapping[str, Any], address: str) -> tuple[Identity, Document]:
        device = _device(body)
        if device.get("deviceId", NO_DEVICE) == NO_DEVICE:
            device["deviceId"] = self._tokens.new_device()
        found: LoggedIn = await provider.login(body, address, device["deviceId"])
        identity, until = found.identity, found.until
        if self._admit is not None and identity.key_name is not None:
            await self._admit(identity, address)
        seconds = provider.session_seconds or self._tokens.refresh_seconds
        session = await self._sessions.create(identity.id, provider.name, seconds=seconds, device=device)
        await self._directory.happenings.tell("LOGIN", [provider.name], identity.user)
        own = identity.identities[0]["id"] if identity.identities else None
        refresh = self._tokens.refresh(
            identity.id, session, provider.name, seconds=seconds, identity_id=own, until=until
        )
        return identity, {
            "access_token": self._access_token(identity, session, provider.name, device, until),
            "refresh_token": refresh,
            "token_type": "Bearer",
            "expires_in": ACCESS_SECONDS,
            "user_id": identity.id,
            "device_id": device["deviceId"],
        }

    async def link(
        self,
        bearer: str | None,
        provider: str,
        body: Mapping[str, Any],
        *,
        address: str = "",
        by: HttpRequest | None = None,
    ) -> Document:
        """Give the user of an access token one more identity; answers another token. IdentityInUse (409)."""
        before = await self.identify(bearer or "")
        if before.kind != "normal":
            raise PermissionDenied("only a user has identities; a key has none")
        claims, device = self._tokens.verify(bearer or "", "access"), _device(body)
        given = device.get("deviceId", NO_DEVICE)
        linking = self._provider(provider)
        await linking.link(claims.user_id, body, address, given, by)
        identity = (await linking.user(claims.user_id)).identity
        answer = {
            "access_token": self._access_token(identity, claims.session, claims.provider, device),
            "token_type": "Bearer",
            "expires_in": ACCESS_SECONDS,
            "user_id": identity.id,
            "device_id": given,
        }
        self._audit("link", target=provider, identity=before, by=by)
        return answer

    def _access_token(
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

    # --- go on, and end ---

    async def refresh(self, bearer: str | None, *, address: str = "", rotates: bool = False) -> Document:
        """A new access token for a refresh token; who asks is read anew, with their custom data.

        With ``rotates`` the refresh token is traded for the next, ``refresh_token``. One that was traded is wrong,
        and ends the session, but for a few seconds in which it is answered the same.
        """
        claims, session, identity = await self._session(bearer, anew=True)
        if self._admit is not None and identity.key_name is not None:
            await self._admit(identity, address)
        if identity.kind == "normal":
            await self._directory.users.used(identity.id)
        until = claims.expires if claims.retiring else None
        access = self._access_token(identity, claims.session, claims.provider, session.get("device"), until)
        answer: Document = {"access_token": access, "token_type": "Bearer", "expires_in": ACCESS_SECONDS}
        if rotates:
            rotated = await self._sessions.rotate(session, claims)
            if rotated is None:
                raise Unauthenticated(ENDED)
            token = self._tokens.successor(bearer or "", rotated["generation"], rotated["rotated"])
            answer["refresh_token"] = token
        return answer

    async def logout(self, bearer: str | None, *, by: HttpRequest | None = None) -> None:
        """Revoke the session of a refresh token; its access tokens end within five seconds in every worker."""
        claims, _, identity = await self._session(bearer)
        await self._sessions.revoke(claims.session, logout=True)
        self._audit("logout", identity=identity, by=by)

    async def holder(self, bearer: str | None) -> Identity:
        """Whose refresh token this is, for the calls of the client API that show one."""
        return (await self._session(bearer))[2]

    async def _session(self, bearer: str | None, *, anew: bool = False) -> tuple[Claims, Document, Identity]:
        if bearer is None:
            raise Unauthenticated("expected Authorization header with JWT (Bearer schema)")
        claims = self._tokens.verify(bearer, "refresh")
        self._require_loaded()
        session = await self._sessions.held(claims)
        if session is None or claims.provider not in self._providers:
            raise Unauthenticated(ENDED)
        if anew:
            self._directory.users.look_again(claims.user_id)
        return claims, session, await self._holder(claims, ENDED)

    async def _holder(self, claims: Claims, otherwise: str) -> Identity:
        identity = await self._directory.identity(claims.user_id, retiring=claims.retiring)
        if identity is None:
            raise Unauthenticated(otherwise)
        return identity


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
