"""Everything that the system database knows about callers: keys, users, accounts, sessions and workspaces.

The authenticator, the command line and the administration of every API surface work on the same :class:`Directory`. A
change is effective in this process at once and in the others within five seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from doorleaf.access.callers import Identity, Tell, untold
from doorleaf.access.datacube.databases import Databases
from doorleaf.access.datacube.owned import Owned
from doorleaf.access.downloads import Downloads
from doorleaf.access.identity.accounts import Accounts
from doorleaf.access.identity.collection_credentials import CollectionCredentials
from doorleaf.access.identity.happenings import Happenings
from doorleaf.access.identity.keys import Key, Keys
from doorleaf.access.identity.mail import Mail
from doorleaf.access.identity.mistakes import NO_MISTAKES, Mistakes
from doorleaf.access.identity.tokens import Sessions
from doorleaf.access.identity.user_keys import UserKeys
from doorleaf.access.identity.users import CustomData, Users
from doorleaf.access.request import HttpRequest
from doorleaf.access.saved import SavedQueries
from doorleaf.access.system_store import SystemStore
from doorleaf.access.workspaces.logins import DatabaseLogins, host_of
from doorleaf.access.workspaces.registry import Workspaces
from doorleaf.documents import Document
from doorleaf.errors import NotFound
from doorleaf.settings.model import Settings
from doorleaf.stores.base import Store


class Directory:
    """The callers of one server: ``keys``, ``user_keys``, ``users``, ``accounts``, ``sessions``, ``workspaces`` and
    ``collection_credentials``.

    ``clock`` gives seconds since 1970, ``audit`` is told of every change, ``mistakes`` counts wrong passwords.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        *,
        clock: Callable[[], float] = time.time,
        audit: Tell = untold,
        mistakes: Mistakes = NO_MISTAKES,
    ) -> None:
        own = settings.data_api_key.get_secret_value() if settings.data_api_key else None
        smtp = settings.smtp_url.get_secret_value() if settings.smtp_url else None
        custom = settings.custom_user_data
        self.system = system = SystemStore(store, settings.system_database)
        self.audit = audit
        self.happenings = Happenings(system, clock=clock)
        self.mail = Mail(smtp, settings.mail_from)
        self.sessions = Sessions(system, clock=clock, audit=audit)
        self.saved = SavedQueries(system)
        self.downloads = Downloads(system, clock=clock)
        ends = self.sessions.revoke_of
        self.keys = Keys(system, own=own, clock=clock, audit=audit, end_sessions=ends, forget=self.saved.delete_of)
        uris = {name: source.uri for name, source in settings.sources.items()}
        hosts = {name: host_of(uri.get_secret_value()) for name, uri in uris.items() if uri is not None}
        logins = DatabaseLogins(system, store, hosts, clock=clock, audit=audit)
        self.workspaces = Workspaces(
            system, settings.places, settings.system_database, logins, clock=clock, audit=audit
        )
        self.user_keys = UserKeys(system, clock=clock, audit=audit)
        self.collection_credentials = CollectionCredentials(system, settings.system_database, clock=clock, audit=audit)
        self.users = Users(
            system, self.happenings, custom=None if custom is None else CustomData(store, custom), clock=clock
        )
        self.owned = Owned(Databases(system, clock=clock, audit=audit), store)
        self.accounts = Accounts(
            system,
            settings,
            users=self.users,
            sessions=self.sessions,
            mail=self.mail,
            clock=clock,
            audit=audit,
            mistakes=mistakes,
        )

    # --- callers, by id ---

    async def identity(self, user_id: str, *, retiring: bool = False) -> Identity | None:
        """The user or key with this id, or None; ``retiring`` where a key showed the text before its rotation."""
        key = self.keys.by_id(user_id, retiring=retiring)
        return await self.users.identity(user_id) if key is None else await self.of_key(key)

    def fresh(self, user_id: str, *, retiring: bool = False) -> Identity | None:
        """The answer of :meth:`identity`, if memory alone can tell."""
        key = self.keys.by_id(user_id, retiring=retiring)
        if key is None:
            return self.users.fresh(user_id)
        return key.identity if key.identity.admin else self.users.fresh_with_custom_data(key.identity)

    async def of_key(self, key: Key) -> Identity:
        """The caller with a key; rules, which do not judge an administrator, may ask for the custom data."""
        return key.identity if key.admin else await self.users.with_custom_data(key.identity)

    # --- users, by id ---

    async def user_id(self, name: str) -> str:
        """The user id that ``name``, an address or an id, stands for. UserNotFound."""
        account = await self.accounts.find(name)
        return account["user_id"] if account is not None else str((await self.users.get(name))["_id"])

    async def get(self, user_id: str) -> Document:
        """One user: ``_id``, ``data``, ``identities``, ``created``, ``last_authenticated``, ``disabled``."""
        return await self.users.get(user_id)

    async def listed(
        self, *, after: str | None = None, limit: int = 50, provider: str | None = None, search: str | None = None
    ) -> list[Document]:
        """Users by id, as :meth:`get` answers them, those after the id ``after``."""
        return await self.users.listed(after=after, limit=limit, provider=provider, search=search)

    async def custom_data(self, user_id: str) -> tuple[Document | None, Document]:
        """Where custom data is kept, and that of a user or a key. UserNotFound."""
        if not self.keys.name_of(user_id):
            await self.users.get(user_id)
        return await self.users.custom_data(user_id)

    def name_of(self, identifier: str) -> str:
        """The name of the key with this user id, "" where there is none; asks no database."""
        return self.keys.name_of(identifier)

    async def set_disabled(self, user_id: str, disabled: bool, *, by: HttpRequest | None = None) -> None:
        """Let a user call no more, which ends their sessions, or let them call again. UserNotFound."""
        await self.users.set_disabled(user_id, disabled)
        if disabled:
            await self.sessions.revoke_of(user_id, by=by)
        self.audit("disableUser" if disabled else "enableUser", target=user_id, by=by)

    async def delete(self, user_id: str, *, by: HttpRequest | None = None) -> None:
        """Forget a user with their databases, account, keys and sessions, also one who never confirmed it.
        UserNotFound."""
        await self.owned.end(user_id, by=by)
        had_account = await self.accounts.delete_of(user_id)
        await self.user_keys.delete_of(user_id)
        await self.saved.delete_of(user_id)
        await self.sessions.revoke_of(user_id, by=by)
        await self.owned.end(user_id, by=by)  # what they made meanwhile
        try:
            await self.users.delete(user_id)
        except NotFound:
            if not had_account:
                raise
        self.audit("deleteUser", target=user_id, by=by)

    # --- life ---

    async def prepare(self) -> None:
        """Make the indexes that are needed."""
        own = (self.workspaces, self.collection_credentials, self.downloads)
        for part in (self.sessions, self.users, self.user_keys, self.accounts, *own):
            await part.prepare()

    async def reload(self) -> None:
        """Read keys, ended sessions, workspaces and what triggers want to know of users again."""
        await self.keys.reload()
        await self.happenings.reload()
        await self.workspaces.reload()
        await self.workspaces.logins.sweep()
        await self.sessions.reload()

    async def write_used(self) -> None:
        """Write when keys were last used."""
        await self.keys.write_used()
        await self.user_keys.write_used()

    async def sweep(self) -> None:
        """Forget what is over: sessions, mail tokens, login failures, and anonymous users who stayed away and own
        nothing."""
        await self.sessions.sweep()
        await self.accounts.sweep()
        for user_id in await self.users.unused():
            if not await self.owned.databases.of(user_id):
                await self.delete(user_id)
