"""Who is calling: credentials → identity, without a database round trip per request.

A request is asked for credentials in this order: a bearer token, an API key, a custom token, email and password. The
provider whose credentials are there answers; when they are wrong, no other is asked. A provider that is off does not
look at what is its own.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from doorleaf.access.audit import NO_AUDIT, Audit
from doorleaf.access.callers import ANYBODY as ANYBODY
from doorleaf.access.callers import SYSTEM
from doorleaf.access.callers import Credentials as Credentials
from doorleaf.access.callers import Identity as Identity
from doorleaf.access.identity.directory import Directory
from doorleaf.access.identity.logins import Admit, Logins
from doorleaf.access.identity.mistakes import NO_MISTAKES, Mistakes
from doorleaf.access.identity.providers.base import NOT_MINE, STRANGER, Surroundings
from doorleaf.access.identity.providers.table import providers_of
from doorleaf.access.identity.tokens import Tokens, signing_secret
from doorleaf.access.identity.upkeep import LOCAL_SECONDS, START_SECONDS, Upkeep
from doorleaf.access.workspaces.callers import WorkspaceCallers, trusting
from doorleaf.errors import Unauthenticated
from doorleaf.settings.model import Settings
from doorleaf.stores.base import Store

NO_COLLECTION = "there is no such credential for a collection with this id"
ACTING = 4096
"""Callers who act as somebody else that are remembered."""

log = logging.getLogger("doorleaf.access")


class Authenticator:
    """Knows callers by what they show. ``directory`` has keys, users and sessions, ``logins`` begins and ends sessions,
    ``providers`` are the ways to authenticate that are on.

    ``announce`` is given the text of the first key, if this process is the one that makes it. ``clock`` gives
    seconds since 1970. ``mistakes`` counts wrong credentials. ``admit_key`` is asked before a key begins or renews a
    session.
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
        admit_key: Admit | None = None,
    ) -> None:
        secret = settings.token_secret.get_secret_value() if settings.token_secret else None
        tokens = Tokens(
            signing_secret(secret, settings.data_dir), clock=clock, refresh_seconds=settings.refresh_token_seconds
        )
        self._is_remote = settings.sources[settings.default_source].uri is not None
        self._open_to_all = settings.insecure_no_auth
        self._run_as = {surface: who for surface, who in settings.run_as.items() if who != "application"}
        if "actions" in self._run_as:
            self._run_as["downloads"] = self._run_as["actions"]  # a file has what the page shows, by an action
        self._acting: dict[tuple[Identity, Identity], Identity] = {}
        self._mistakes = mistakes
        self.directory = Directory(settings, store, clock=clock, audit=audit, mistakes=mistakes)
        self.keys = self.directory.keys
        first_key = settings.data_api_key is None and not self._open_to_all and "api-key" in settings.providers
        self.upkeep = Upkeep(self.directory, announce or _print_key if first_key else None)
        behind = Surroundings(settings, self.directory, tokens, self.upkeep.require_loaded, mistakes, clock)
        self.providers = providers_of(behind)
        self._asked = tuple(self.providers.values())
        self.logins = Logins(behind, self.providers, admit=admit_key, audit=audit)
        self._issuer = None if settings.workspace_issuer is None else trusting(settings.workspace_issuer, clock)
        self._of_workspaces = WorkspaceCallers(
            self.directory.workspaces,
            self.logins.identify,
            issuer=self._issuer,
            mistakes=mistakes,
            open_to_all=self._open_to_all,
            clock=clock,
        )

    # --- from memory ---

    def known(self, credentials: Credentials, surface: str = "") -> Identity | None:
        """Who calls the dialect ``surface``, if memory alone can tell: the quick way of every request."""
        if credentials.workspace is not None or credentials.ticket is not None:
            return None
        if credentials.collection is not None:  # it says which collection, so that it is needed even where all is open
            return self.directory.collection_credentials.fresh(credentials.api_key or "", credentials.collection)
        if self._open_to_all:
            return ANYBODY
        identity = None
        if credentials.bearer is not None:
            identity = self.logins.remembered(credentials.bearer)
        else:
            for provider in self._asked:
                answer = provider.remembered(credentials)
                if answer is not NOT_MINE:
                    identity = answer
                    break
        if identity is None or surface not in self._run_as:
            return identity
        who = self._run_as[surface]
        other = SYSTEM if who == "system" else self.directory.fresh(who)
        return None if other is None else self._acting_as(identity, other)

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
        other = SYSTEM if who == "system" else await self.directory.identity(who)
        if other is None:
            raise Unauthenticated(STRANGER)
        return other if caller is None else self._acting_as(caller, other)

    # --- with the database ---

    async def identify(self, credentials: Credentials, surface: str = "") -> Identity:
        """Who calls the dialect ``surface``; Unauthenticated without credentials, with half of some, or wrong ones.

        A bearer token is looked at first, and when it is wrong nothing else is. StoreUnavailable when keys or users
        cannot be read. Who stands at the door of a workspace is a caller of that, whatever the dialect.
        """
        if credentials.ticket is not None:
            credentials = await self.directory.downloads.claim(credentials.ticket, credentials.address)
        if credentials.workspace is not None:
            self.upkeep.require_loaded()
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
        try:
            return await self.acting(identity, who)
        except Unauthenticated:
            log.error("run_as.%s: there is no user %s, or a disabled one", surface, who)
            raise

    async def _caller(self, credentials: Credentials) -> Identity:
        if credentials.bearer is not None:
            return await self.logins.identify(credentials.bearer, credentials.age)
        for provider in self._asked:
            found = await provider.identify(credentials)
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

    # --- life ---

    async def start(self, patience: float = START_SECONDS) -> None:
        """Read keys and sessions and go on reading them.

        Without a MongoDB it starts anyway after ``patience`` seconds and reads them later.
        """
        await self.upkeep.start(patience if self._is_remote else LOCAL_SECONDS)

    async def stop(self) -> None:
        """End the reading; mails on their way are sent and when keys were last used is written first."""
        await self.upkeep.stop()
        await self.directory.mail.stop()
        for provider in self._asked:
            await provider.close()
        if self._issuer is not None:
            await self._issuer.close()
        await self.upkeep.write_used()


def _print_key(key: str) -> None:
    print(f"First start: the API key is {key}\nKeep it; it is not shown again.", flush=True)  # noqa: T201
