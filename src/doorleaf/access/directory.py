"""Everything that the system database knows about callers: keys, users, accounts and sessions.

The authenticator, the command line and the administration of every API surface work on the same :class:`Directory`. A
change is effective in this process at once and in the others within five seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from doorleaf.access.accounts import Accounts
from doorleaf.access.callers import Tell, untold
from doorleaf.access.keys import Keys
from doorleaf.access.mail import Mail
from doorleaf.access.system_store import SystemStore
from doorleaf.access.tokens import Sessions
from doorleaf.access.user_keys import UserKeys
from doorleaf.access.users import CustomData, Users
from doorleaf.documents import Document
from doorleaf.errors import NotFound
from doorleaf.settings import Settings
from doorleaf.stores.base import Store


class Directory:
    """The callers of one server: ``keys``, ``user_keys``, ``users``, ``accounts`` and ``sessions``.

    ``clock`` gives seconds since 1970, ``audit`` is told of every change.
    """

    def __init__(
        self, settings: Settings, store: Store, *, clock: Callable[[], float] = time.time, audit: Tell = untold
    ) -> None:
        own = settings.data_api_key.get_secret_value() if settings.data_api_key else None
        smtp = settings.smtp_url.get_secret_value() if settings.smtp_url else None
        custom = settings.custom_user_data
        self.system = system = SystemStore(store, settings.system_database)
        self._audit = audit
        self.mail = Mail(smtp, settings.mail_from)
        self.sessions = Sessions(system, clock=clock, audit=audit)
        self.keys = Keys(system, own=own, clock=clock, audit=audit, end_sessions=self.sessions.revoke_of)
        self.user_keys = UserKeys(system, clock=clock, audit=audit)
        self.users = Users(system, custom=None if custom is None else CustomData(store, custom), clock=clock)
        self.accounts = Accounts(
            system, settings, users=self.users, sessions=self.sessions, mail=self.mail, clock=clock, audit=audit
        )

    # --- users, by id ---

    async def user_id(self, name: str) -> str:
        """The user id that ``name``, an address or an id, stands for. UserNotFound."""
        account = await self.accounts.find(name)
        return account["user_id"] if account is not None else str((await self.users.get(name))["_id"])

    async def get(self, user_id: str) -> Document:
        """One user: ``_id``, ``data``, ``identities``, ``created``, ``last_authenticated``, ``disabled``."""
        return await self.users.get(user_id)

    async def listed(self, *, after: str | None = None, limit: int = 50, provider: str | None = None) -> list[Document]:
        """Users by id, as :meth:`get` answers them, those after the id ``after``."""
        return await self.users.listed(after=after, limit=limit, provider=provider)

    async def set_disabled(self, user_id: str, disabled: bool) -> None:
        """Let a user call no more, which ends their sessions, or let them call again. UserNotFound."""
        await self.users.set_disabled(user_id, disabled)
        if disabled:
            await self.sessions.revoke_of(user_id)
        self._audit("disableUser" if disabled else "enableUser", target=user_id)

    async def delete(self, user_id: str) -> None:
        """Forget a user with their account, keys and sessions, also one who never confirmed it. UserNotFound."""
        had_account = await self.accounts.delete_of(user_id)
        await self.user_keys.delete_of(user_id)
        await self.sessions.revoke_of(user_id)
        try:
            await self.users.delete(user_id)
        except NotFound:
            if not had_account:
                raise
        self._audit("deleteUser", target=user_id)

    # --- life ---

    async def prepare(self) -> None:
        """Make the indexes that are needed."""
        for part in (self.sessions, self.users, self.user_keys, self.accounts):
            await part.prepare()

    async def reload(self) -> None:
        """Read keys and ended sessions again."""
        await self.keys.reload()
        await self.sessions.reload()

    async def sweep(self) -> None:
        """Forget what is over: sessions, mail tokens, login failures, and anonymous users who stayed away."""
        await self.sessions.sweep()
        await self.accounts.sweep()
        for user_id in await self.users.unused():
            await self.delete(user_id)
