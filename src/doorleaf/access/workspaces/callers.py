"""Who calls a workspace: a key of it, a token of ours or of a trusted issuer, or a member with a session.

Refusals come in this order: nobody is known (401), there is no such workspace (404), it is not theirs (403).
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING

from doorleaf.access.callers import Credentials, Identity
from doorleaf.access.identity.mistakes import NO_MISTAKES, Mistakes
from doorleaf.access.workspaces.registry import KEY_PREFIX, Workspaces, stands_for
from doorleaf.access.workspaces.tenancy import REALTIME, SCOPES, SUBSCRIBE, Tenancy, Workspace
from doorleaf.access.workspaces.tokens import Said, said, tenant_of, verify
from doorleaf.errors import NotFound, PermissionDenied, Unauthenticated
from doorleaf.settings.providers import CustomToken, MetadataField

if TYPE_CHECKING:
    from doorleaf.access.identity.custom_tokens import CustomTokens

REMEMBERED = 4096
CLAIMS = ("tenant_id", "workspace_id", "workspaces", "scope", "scopes")
"""What is read from the token of a trusted issuer, beside who shows it."""
_EVERYTHING = frozenset(SCOPES)


def trusting(issuer: CustomToken, clock: Callable[[], float]) -> CustomTokens:
    """The verifier of a trusted issuer's tokens."""
    from doorleaf.access.identity.custom_tokens import CustomTokens  # with cryptography, for whom trusts an issuer

    claims = tuple(MetadataField(name=name) for name in CLAIMS)
    return CustomTokens(issuer.model_copy(update={"metadata_fields": claims}), clock=clock)


class WorkspaceCallers:
    """Knows the callers of workspaces.

    ``by_session`` finds the user of an access token; ``issuer`` verifies the tokens of a trusted issuer, if there is
    one; ``mistakes`` counts wrong credentials; ``open_to_all`` lets in everybody, with every scope.
    """

    def __init__(
        self,
        workspaces: Workspaces,
        by_session: Callable[[str], Awaitable[Identity]],
        *,
        issuer: CustomTokens | None = None,
        mistakes: Mistakes = NO_MISTAKES,
        open_to_all: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._workspaces = workspaces
        self._by_session = by_session
        self._issuer = issuer
        self._mistakes = mistakes
        self._open = open_to_all
        self._clock = clock
        self._said: OrderedDict[str, tuple[Said, bytes]] = OrderedDict()
        self._identities: OrderedDict[tuple[str, str], Identity] = OrderedDict()

    async def identify(self, credentials: Credentials, workspace: str) -> Identity:
        """Who calls ``workspace``; Unauthenticated, NotFound (WorkspaceNotFound) or PermissionDenied."""
        shown = credentials.api_key if credentials.bearer is None else credentials.bearer
        if shown is None:
            if self._open:
                return self._made("", "anybody", self._place(workspace), _EVERYTHING, None)
            raise Unauthenticated("show a bearer token or a key of the workspace", code="Unauthenticated")
        if shown.startswith(KEY_PREFIX):
            return await self._by_key(shown, workspace, credentials.address)
        if (remembered := self._remembered(shown)) is not None:
            return self._by_token(shown, remembered, workspace)
        tenant = tenant_of(shown)
        if tenant is not None:
            return await self._by_own(shown, tenant, workspace, credentials.address)
        if self._issuer is not None:
            return await self._by_issuer(shown, workspace, credentials.address)
        return await self._by_member(shown, workspace, credentials.address)

    async def _by_key(self, text: str, workspace: str, address: str) -> Identity:
        key = self._workspaces.key(text)
        if key is None:
            await self._mistakes.require("key", address)
            raise await self._wrong(address)
        place = self._place(workspace)
        if key.workspace != place.id:
            raise _elsewhere()
        return self._made(text, key.name, place, key.scopes, key.expires, key.id)

    async def _by_own(self, token: str, tenant: str, workspace: str, address: str) -> Identity:
        secret = self._workspaces.secret(tenant)
        try:
            if secret is None:
                raise Unauthenticated("the token is not valid")
            found = verify(token, secret, tenant)
        except Unauthenticated:
            raise await self._wrong(address) from None
        self._said[token] = found, secret
        if len(self._said) > REMEMBERED:
            self._said.popitem(last=False)
        return self._by_token(token, found, workspace)

    async def _by_issuer(self, token: str, workspace: str, address: str) -> Identity:
        """A caller with a token of the trusted issuer, or with a session of ours where it is none of the issuer's."""
        assert self._issuer is not None  # noqa: S101  # asked by who has one
        try:
            verified = await self._issuer.verify(token)
        except Unauthenticated:
            return await self._by_member(token, workspace, address)
        try:
            found = said({**verified.data, "sub": verified.subject}, self._clock(), verified.expires)
        except (ValueError, KeyError):
            raise _no_tenant() from None
        return self._by_token(token, found, workspace)

    async def _by_member(self, token: str, workspace: str, address: str) -> Identity:
        try:
            user = await self._by_session(token)
        except Unauthenticated:
            raise await self._wrong(address) from None
        place = self._place(workspace)
        scopes = place.members.get(user.id)
        if scopes is None or user.kind != "normal":
            raise _elsewhere()
        known = self._identities.get((token, place.id))
        tenancy = Tenancy(place, scopes)
        if known is not None and known.tenancy == tenancy and known.data is user.data:
            return known
        return self._keep(token, place, replace(user, tenancy=tenancy))

    def _by_token(self, token: str, found: Said, workspace: str) -> Identity:
        if self._clock() >= found.expires:
            raise Unauthenticated("the token has ended", code="TokenExpired")
        place = self._place(workspace)
        if found.tenant != place.tenant or (found.workspaces is not None and place.id not in found.workspaces):
            raise _elsewhere()
        if found.issued <= place.tokens_after or found.birth not in (None, place.birth):
            raise Unauthenticated("the token was ended", code="InvalidSession")
        # Each token of ours is for somebody of its own, so that who gets another one is one caller more.
        return self._made(token, found.subject, place, found.scopes, found.expires, together=found.birth is not None)

    def _remembered(self, token: str) -> Said | None:
        found, secret = self._said.get(token, (None, None))
        if found is not None and self._workspaces.secret(found.tenant) != secret:
            del self._said[token]  # the tenant was deleted
            return None
        return found

    def _place(self, workspace: str) -> Workspace:
        place = self._workspaces.get(workspace)
        if place is None:
            raise NotFound("there is no such workspace", code="WorkspaceNotFound")
        return place

    def _made(
        self,
        shown: str,
        name: str,
        place: Workspace,
        scopes: frozenset[str],
        ends: float | None,
        id: str = "",
        *,
        together: bool = False,
    ) -> Identity:
        """The caller who showed something; the same object as long as nothing about them changes."""
        known = self._identities.get((shown, place.id))
        held = known.tenancy if known is not None else None
        if known is not None and held is not None and held.workspace is place and held.ends == ends:
            return known
        given = scopes | {REALTIME} if SUBSCRIBE in scopes else scopes
        identifier = id or sha256(f"{place.tenant}\0{name}".encode("utf-8", "surrogatepass")).hexdigest()[:24]
        tenancy = Tenancy(place, given & _EVERYTHING, ends)
        return self._keep(shown, place, stands_for(name, identifier, tenancy, together=together))

    def _keep(self, shown: str, place: Workspace, identity: Identity) -> Identity:
        self._identities[shown, place.id] = identity
        if len(self._identities) > REMEMBERED:
            self._identities.popitem(last=False)
        return identity

    async def _wrong(self, address: str) -> Unauthenticated:
        await self._mistakes.refuse("key", address)
        return Unauthenticated("the token or key is not valid", code="InvalidSession")


def _elsewhere() -> PermissionDenied:
    return PermissionDenied("these credentials are not for this workspace")


def _no_tenant() -> PermissionDenied:
    return PermissionDenied("the token names no tenant (tenant_id), or its claims are of other types")
