"""Who is calling: credentials → identity, without a database round trip per request.

A request is asked for credentials in this order: a bearer token, an API key, a custom token, email and password. The
provider whose credentials are there answers; when they are wrong, no other is asked. A provider that is off does not
look at what is its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from doorleaf.access.audit import NO_AUDIT, Audit
from doorleaf.access.callers import ANYBODY as ANYBODY
from doorleaf.access.callers import SYSTEM
from doorleaf.access.callers import Credentials as Credentials
from doorleaf.access.callers import Identity as Identity
from doorleaf.access.identity.custom_tokens import CustomTokens
from doorleaf.access.identity.directory import Directory
from doorleaf.access.identity.keys import Key
from doorleaf.access.identity.logins import Admit, Logins
from doorleaf.access.identity.mistakes import NO_MISTAKES, Mistakes
from doorleaf.access.identity.tokens import ACCESS_SECONDS, Claims, Tokens, signing_secret
from doorleaf.access.request import HttpRequest
from doorleaf.access.workspaces.callers import WorkspaceCallers, trusting
from doorleaf.documents import Document, is_string
from doorleaf.errors import DoorleafError, PermissionDenied, StoreError, StoreUnavailable, Unauthenticated
from doorleaf.settings.model import Settings
from doorleaf.stores.base import Store

RELOAD_SECONDS = 2.0
"""How often keys and revoked sessions are read again; a change is effective everywhere within five seconds."""
SWEEP_SECONDS = 3600.0
START_SECONDS = 1.5
"""How long a start waits for the system database."""
STRANGER = "invalid session: error finding user for endpoint"
NO_COLLECTION = "there is no such credential for a collection with this id"
ACTING = 4096
"""Callers who act as somebody else that are remembered."""

log = logging.getLogger("doorleaf.access")


class Authenticator:
    """Knows callers by what they show, and logs them in and out. ``directory`` has keys, users and sessions.

    ``announce`` is given the text of the first key, if this process is the one that makes it. ``clock`` gives
    seconds since 1970. ``mistakes`` counts wrong credentials. ``admit_mail`` is asked before an account is sent a mail,
    ``admit_key`` before a key begins or renews a session.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        *,
        announce: Callable[[str], None] | None = None,
        clock: Callable[[], float] = time.time,
        audit: Audit = NO_AUDIT,
        mistakes: Mistakes = NO_MISTAKES,
        admit_mail: Callable[[str], Awaitable[None]] | None = None,
        admit_key: Admit | None = None,
    ) -> None:
        secret = settings.token_secret.get_secret_value() if settings.token_secret else None
        self._open_to_all = settings.insecure_no_auth
        self._on = frozenset(settings.providers)
        self._needs_first_key = settings.data_api_key is None and not self._open_to_all and "api-key" in self._on
        self._run_as = {surface: who for surface, who in settings.run_as.items() if who != "application"}
        self._acting: dict[tuple[Identity, Identity], Identity] = {}
        self._announce = announce or _print_key
        self._audit = audit
        self._mistakes = mistakes
        self._admit_mail = admit_mail
        self._admit_key = admit_key
        self.directory = Directory(settings, store, clock=clock, audit=audit, mistakes=mistakes)
        self.keys, self._users = self.directory.keys, self.directory.users
        self._sessions, self._accounts = self.directory.sessions, self.directory.accounts
        self._tokens = Tokens(
            signing_secret(secret, settings.data_dir), clock=clock, refresh_seconds=settings.refresh_token_seconds
        )
        self._custom: CustomTokens | None = None
        if settings.custom_token is not None:
            self._custom = CustomTokens(settings.custom_token, audience=settings.app_ids, clock=clock)
        self._creates_users = settings.custom_token is not None and settings.custom_token.create_user_on_auth
        self._logins = Logins(self.directory, self._custom, self._tokens, self._on, admit_key)
        self._issuer = None if settings.workspace_issuer is None else trusting(settings.workspace_issuer, clock)
        self._of_workspaces = WorkspaceCallers(
            self.directory.workspaces,
            self._by_bearer,
            issuer=self._issuer,
            mistakes=mistakes,
            open_to_all=self._open_to_all,
            clock=clock,
        )
        self._loaded = asyncio.Event()
        self._trouble = ""
        self._task: asyncio.Task[None] | None = None

    # --- from memory ---

    def known(self, credentials: Credentials, surface: str = "") -> Identity | None:
        """Who calls the dialect ``surface``, if memory alone can tell: the quick way of every request."""
        if credentials.workspace is not None:
            return None
        if credentials.collection is not None:  # it says which collection, so that it is needed even where all is open
            return self.directory.collection_credentials.fresh(credentials.api_key or "", credentials.collection)
        if self._open_to_all:
            return ANYBODY
        identity = self._remembered(credentials)
        if identity is None or surface not in self._run_as:
            return identity
        who = self._run_as[surface]
        key = self.keys.by_id(who)
        other = SYSTEM if who == "system" else self._users.fresh(who) if key is None else self._of_key_now(key)
        return None if other is None else self._acting_as(identity, other)

    def _remembered(self, credentials: Credentials) -> Identity | None:
        if credentials.bearer is not None:
            claims = self._tokens.remembered(credentials.bearer)
            return None if claims is None else self._holder_now(claims)
        if credentials.api_key is not None and "api-key" in self._on:
            key = self.keys.find(credentials.api_key)
            if key is not None:
                identity = key.identity
                return identity if identity.admin else self._users.fresh_with_custom_data(identity)
            found = self.directory.user_keys.fresh(credentials.api_key)
            user = None if found is None else self._users.fresh(found.user_id)
            return None if found is None or user is None else found.applied(user)
        if credentials.jwt is not None and self._custom is not None:
            user_id = self._custom.remembered(credentials.jwt)
        elif credentials.email is not None and credentials.password is not None and "local-userpass" in self._on:
            user_id = self._accounts.fresh(credentials.email, credentials.password)
        else:
            return None
        return None if user_id is None else self._users.fresh(user_id)

    def _holder_now(self, claims: Claims) -> Identity | None:
        if self._sessions.is_revoked(claims.session) or claims.provider not in self._on:
            return None
        key = self.keys.by_id(claims.user_id, retiring=claims.retiring)
        return self._users.fresh(claims.user_id) if key is None else self._of_key_now(key)

    def _of_key_now(self, key: Key) -> Identity | None:
        return key.identity if key.identity.admin else self._users.fresh_with_custom_data(key.identity)

    def _acting_as(self, caller: Identity, other: Identity) -> Identity:
        """``other`` on behalf of ``caller``; the same object each time."""
        acting = self._acting.get((caller, other))
        if acting is None:
            if len(self._acting) >= ACTING:
                self._acting.clear()
            # What the caller's key is limited to holds whoever they act as.
            kept: dict[str, Any] = {"scope": caller.scope, "limits": caller.limits, "key_name": caller.key_name}
            acting = self._acting[caller, other] = replace(other, caller=caller.id, **kept)
        return acting

    async def acting(self, caller: Identity | None, who: str) -> Identity:
        """Who acts for ``caller``: ``system``, or the key or user with the id ``who``; Unauthenticated without one."""
        other = SYSTEM if who == "system" else await self._user(who)
        return other if caller is None else self._acting_as(caller, other)

    # --- with the database ---

    async def identify(self, credentials: Credentials, surface: str = "") -> Identity:
        """Who calls the dialect ``surface``; Unauthenticated without credentials, with half of some, or wrong ones.

        A bearer token is looked at first, and when it is wrong nothing else is. StoreUnavailable when keys or users
        cannot be read. Who stands at the door of a workspace is a caller of that, whatever the dialect.
        """
        if credentials.workspace is not None:
            self._must_be_loaded()
            return await self._of_workspaces.identify(credentials, credentials.workspace)
        identity = self.known(credentials, surface)
        if identity is not None:
            return identity
        if credentials.collection is not None:
            return await self._by_collection(credentials.api_key or "", credentials.collection, credentials.address)
        identity = await self._caller(credentials)
        who = self._run_as.get(surface)
        if who is None:
            return identity
        if who == "system":
            return self._acting_as(identity, SYSTEM)
        try:
            return self._acting_as(identity, await self._user(who))
        except Unauthenticated:
            log.error("run_as.%s: there is no user %s, or a disabled one", surface, who)
            raise

    async def _caller(self, credentials: Credentials) -> Identity:
        if credentials.bearer is not None:
            return await self._by_bearer(credentials.bearer)
        for provider in (self._by_key, self._by_custom_token, self._by_password):
            found = await provider(credentials)
            if found is not None:
                return found
        if credentials.api_key is None and credentials.jwt is None:
            if credentials.email is None and credentials.password is None:
                raise Unauthenticated("no authentication methods were specified", code="InvalidParameter")
            if credentials.email is None or credentials.password is None:
                raise Unauthenticated(
                    "must specify some form of authentication (either email+password, api-key, or jwt) "
                    "in the request header or body",
                    code="MissingParameter",
                )
        raise Unauthenticated(STRANGER)

    async def _by_bearer(self, token: str) -> Identity:
        try:
            claims = self._tokens.verify(token, "access")
        except Unauthenticated:
            raise Unauthenticated(STRANGER) from None
        self._must_be_loaded()
        if self._sessions.is_revoked(claims.session) or claims.provider not in self._on:
            raise Unauthenticated(STRANGER)
        return await self._user(claims.user_id, retiring=claims.retiring)

    async def _by_key(self, credentials: Credentials) -> Identity | None:
        """The caller with this API key; None when none is shown, Unauthenticated when it is wrong."""
        if credentials.api_key is None or "api-key" not in self._on:
            return None
        key = self.keys.find(credentials.api_key)
        if key is not None:
            return await self._of_key(key)
        self._must_be_loaded()
        user_keys = self.directory.user_keys
        if user_keys.is_new(credentials.api_key):
            await self._mistakes.require("key", credentials.address)
        found = await user_keys.find(credentials.api_key)
        if found is None:
            await self._mistakes.refuse("key", credentials.address)
            raise Unauthenticated(STRANGER)
        return found.applied(await self._user(found.user_id))

    async def _by_collection(self, text: str, collection_id: str, address: str) -> Identity:
        """The caller with this credential for this collection; whatever is wrong is told alike."""
        credentials = self.directory.collection_credentials
        if credentials.is_new(text):
            await self._mistakes.require("key", address)
        identity = await credentials.find(text, collection_id)
        if identity is None:
            await self._mistakes.refuse("key", address)
            raise Unauthenticated(NO_COLLECTION)
        return identity

    async def _by_custom_token(self, credentials: Credentials) -> Identity | None:
        """The caller with this custom token; None when none is shown, Unauthenticated when it is wrong."""
        token, custom = credentials.jwt, self._custom
        if token is None or custom is None:
            return None
        user_id = custom.remembered(token)
        identity = None if user_id is None else await self._users.identity(user_id)
        if identity is not None:
            return identity
        try:
            verified = await custom.verify(token)
        except Unauthenticated:
            raise Unauthenticated(STRANGER) from None
        creates = self._creates_users if credentials.creates_users is None else credentials.creates_users
        if not creates and await self._users.find("custom-token", verified.subject) is None:
            raise Unauthenticated(STRANGER)
        user_id = await self._users.sign_in("custom-token", verified.subject, verified.data)
        custom.remember(token, user_id, verified)
        return await self._user(user_id)

    async def _by_password(self, credentials: Credentials) -> Identity | None:
        """The caller with this email and password; None when they are not shown, Unauthenticated when wrong."""
        email, password = credentials.email, credentials.password
        if email is None or password is None or "local-userpass" not in self._on:
            return None
        try:
            user_id = await self._accounts.user(email, password, credentials.address)
        except (Unauthenticated, ValueError):
            raise Unauthenticated(STRANGER) from None
        return await self._user(user_id)

    async def _user(self, user_id: str, *, retiring: bool = False) -> Identity:
        """The key or user with this id, who must be allowed to call."""
        key = self.keys.by_id(user_id, retiring=retiring)
        identity = await self._users.identity(user_id) if key is None else await self._of_key(key)
        if identity is None:
            raise Unauthenticated(STRANGER)
        return identity

    async def _of_key(self, key: Key) -> Identity:
        if key.admin:
            return key.identity
        return await self._users.with_custom_data(
            key.identity, lambda custom: replace(key.identity, custom_data=custom)
        )

    def _must_be_loaded(self) -> None:
        if not self._loaded.is_set():
            raise StoreUnavailable("the database cannot be reached")

    # --- sessions ---

    async def login(
        self, provider: str, body: Mapping[str, Any], *, address: str = "", by: HttpRequest | None = None
    ) -> Document:
        """Begin a session; the answer has both tokens, ``user_id`` and ``device_id``.

        ``body`` is for ``api-key`` ``{"key"}``, for ``local-userpass`` ``{"username" or "email", "password"}``, for
        ``custom-token`` ``{"token" or "key"}``, for ``anon-user`` ``{}``; and with each ``options.device``. NotFound
        (AuthProviderNotFound) for a provider that is off.
        """
        account = body.get("username") or body.get("email")
        target = f"{provider} {account}" if is_string(account) else provider
        try:
            if provider == "anon-user":
                await self._mistakes.refuse("password", address)  # each makes a user, so each counts
            if provider == "api-key" and not self.keys.find(str(body.get("key"))):
                self._logins.check("api-key", body)
                self._must_be_loaded()
            identity, answer = await self._begin(provider, body, address)
        except DoorleafError as error:
            self._audit("login", target=target, error=error, by=by)
            raise
        self._audit("login", target=target, identity=identity, by=by)
        return answer

    async def _begin(self, provider: str, body: Mapping[str, Any], address: str) -> tuple[Identity, Document]:
        """A login; a wrong key or token counts, as a wrong password does where it is looked at."""
        key = body.get("key")
        if provider == "api-key" and is_string(key) and self.directory.user_keys.is_new(key):
            await self._mistakes.require("key", address)
        try:
            return await self._logins.begin(provider, body, address)
        except Unauthenticated:
            if provider in ("api-key", "custom-token"):
                await self._mistakes.refuse("key", address)
            raise

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
        identity = await self._by_bearer(bearer or "")
        if identity.kind != "normal":
            raise PermissionDenied("only a user has identities; a key has none")
        try:
            answer = await self._logins.link(self._tokens.verify(bearer or "", "access"), provider, body, address, by)
        except Unauthenticated:
            if provider == "custom-token":
                await self._mistakes.refuse("key", address)
            raise
        self._audit("link", target=provider, identity=identity, by=by)
        return answer

    async def admit_mail(self, account: str) -> None:
        """Count a mail to ``account``; raises TooManyRequests."""
        if self._admit_mail is not None:
            await self._admit_mail(account)

    async def refresh(self, bearer: str | None, *, address: str = "", rotates: bool = False) -> Document:
        """A new access token for a refresh token; who asks is read anew, with their custom data.

        With ``rotates`` the refresh token is traded for the next, ``refresh_token``. One that was traded is wrong,
        and ends the session, but for a few seconds in which it is answered the same.
        """
        claims, session, identity = await self._session(bearer, anew=True)
        if self._admit_key is not None and identity.key_name is not None:
            await self._admit_key(identity, address)
        if identity.kind == "normal":
            await self._users.used(identity.id)
        until = claims.expires if claims.retiring else None
        access = self._logins.access_token(identity, claims.session, claims.provider, session.get("device"), until)
        answer: Document = {"access_token": access, "token_type": "Bearer", "expires_in": ACCESS_SECONDS}
        if rotates:
            rotated = await self._sessions.rotate(session, claims)
            if rotated is None:
                raise Unauthenticated("invalid session: failed to find refresh token")
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
        self._must_be_loaded()
        session = await self._sessions.held(claims)
        if session is None or claims.provider not in self._on:
            raise Unauthenticated("invalid session: failed to find refresh token")
        if anew:
            self._users.look_again(claims.user_id)
        try:
            return claims, session, await self._user(claims.user_id, retiring=claims.retiring)
        except Unauthenticated:
            raise Unauthenticated("invalid session: failed to find refresh token") from None

    # --- life ---

    def require_ready(self) -> None:
        """Raise StoreUnavailable, with the reason, while keys and sessions cannot be read."""
        if self._trouble or not self._loaded.is_set():
            raise StoreUnavailable(self._trouble or "keys and sessions are not read yet")

    async def start(self, patience: float = START_SECONDS) -> None:
        """Read keys and sessions and go on reading them.

        Without a database it starts anyway after ``patience`` seconds and reads them later.
        """
        self._task = asyncio.create_task(self._reload_forever(), name="access")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._loaded.wait()

    async def stop(self) -> None:
        """End the reading; mails on their way are sent and when keys were last used is written first."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        await self.directory.mail.stop()
        for issuer in (self._custom, self._issuer):
            if issuer is not None:
                await issuer.close()
        if self._loaded.is_set():
            with contextlib.suppress(DoorleafError):
                await self.directory.write_used()

    async def _reload_forever(self) -> None:
        prepared, swept = False, time.monotonic()
        while True:
            try:
                if not prepared:
                    await self._prepare()
                    prepared = True
                await self._reload()
                if time.monotonic() - swept > SWEEP_SECONDS:
                    await self.directory.sweep()
                    swept = time.monotonic()
                self._trouble = ""
            except DoorleafError as error:
                reason = error.message if isinstance(error, StoreError) else f"the system database refused: {error}"
                if reason != self._trouble:
                    told = reason.replace("the database cannot", "the system database cannot", 1)
                    log.error("%s; keys and sessions are as last read", told)
                self._trouble = reason
            except Exception:  # a loop that died in silence would keep revoked keys alive
                log.exception("reading keys and sessions failed")
            await asyncio.sleep(RELOAD_SECONDS)

    async def _prepare(self) -> None:
        if self._needs_first_key:
            key = await self.keys.first()
            if key is not None:
                self._announce(key)
        await self.directory.prepare()

    async def _reload(self) -> None:
        await self.directory.reload()
        self._loaded.set()
        await self.directory.write_used()


def _print_key(key: str) -> None:
    print(f"First start: the API key is {key}\nKeep it; it is not shown again.", flush=True)  # noqa: T201
