"""What is read again and again: a reading that is overtaken brings nothing back that has ended meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from doorleaf.access.identity import recent
from doorleaf.access.identity.directory import Directory
from doorleaf.errors import Unauthenticated
from doorleaf.operations import Find, FindOne, Namespace, Operation
from doorleaf.settings.model import Settings
from doorleaf.stores.embedded.store import EmbeddedStore


class Slow:
    """A store of whose next finds the one with the number ``holds`` is answered when that is ``let``."""

    def __init__(self, store: EmbeddedStore) -> None:
        self._store = store
        self.holds = 0
        self.read, self.let = asyncio.Event(), asyncio.Event()

    async def open(self) -> None:
        await self._store.open()

    async def close(self) -> None:
        await self._store.close()

    async def execute(self, operation: Operation[Any]) -> Any:
        held = False
        if self.holds and type(operation) in (Find, FindOne):
            self.holds -= 1
            held = not self.holds
        result = await self._store.execute(operation)
        if held:
            self.read.set()
            await self.let.wait()
        return result


Scenario = Callable[[Directory], Awaitable[Any]]
"""Makes something that ends: answers what reads it, what ends it, and what says whether it has ended."""


async def a_key(directory: Directory) -> Any:
    keys = directory.keys
    text = await keys.create("used", admin=True)
    await keys.reload()

    async def end() -> None:
        await keys.revoke("used")
        await keys.reload()

    return keys.reload, end, lambda: keys.find(text) is None


async def a_session(directory: Directory) -> Any:
    sessions = directory.sessions
    made = await sessions.create("0" * 24, "local-userpass")
    return sessions.reload, lambda: sessions.revoke(made), lambda: sessions.is_revoked(made)


async def a_key_of_a_workspace(directory: Directory) -> Any:
    workspaces = directory.workspaces
    await workspaces.create_tenant("Acme", id="acme")
    await workspaces.create("acme", id="one")
    made = await workspaces.create_key("one", "k")
    return (
        workspaces.reload,
        lambda: workspaces.revoke_key("one", made["id"]),
        lambda: workspaces.key(made["key"]) is None,
    )


async def a_user(directory: Directory) -> Any:
    users = directory.users
    made = await users.sign_in("anon-user", "someone", {})
    await users.identity(made)

    async def read() -> None:
        users.look_again(made)
        await users.identity(made)

    return read, lambda: users.set_disabled(made, True), lambda: users.fresh(made) is None


async def a_key_of_a_user(directory: Directory) -> Any:
    keys, user = directory.user_keys, "0" * 24
    made = await keys.create(user, "used")
    await keys.find(made["key"])
    return (
        lambda: keys.find(made["key"]),
        lambda: keys.set_disabled(user, made["_id"], True),
        lambda: keys.fresh(made["key"]) is None,
    )


async def a_credential(directory: Directory) -> Any:
    credentials = directory.collection_credentials
    made = await credentials.create(Namespace("shop", "orders", "default"), ["read"])
    text, place = made["read_credential"], made["collection_id"]
    await credentials.find(text, place)
    return (
        lambda: credentials.find(text, place),
        lambda: credentials.revoke(made["ids"]["read"]),
        lambda: credentials.fresh(text, place) is None,
    )


async def a_password(directory: Directory) -> Any:
    accounts, shown = directory.accounts, ("ada@example.com", "correct horse battery")
    await accounts.create(*shown)
    await accounts.user(*shown, "192.0.2.1")

    async def read() -> None:
        with suppress(Unauthenticated):
            await accounts.user(*shown, "192.0.2.1")

    return (
        read,
        lambda: accounts.set_password(shown[0], "another horse battery"),
        lambda: accounts.fresh(*shown) is None,
    )


@pytest.mark.parametrize(
    ("scenario", "finds"),
    [
        (a_key, 1),
        (a_session, 1),
        (a_key_of_a_workspace, 3),
        (a_user, 1),
        (a_key_of_a_user, 1),
        (a_credential, 1),
        (a_password, 1),
    ],
)
def test_what_has_ended_stays_so(
    tmp_path: Path, scenario: Scenario, finds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recent, "FRESH_SECONDS", 3600.0)

    async def live() -> None:
        store = Slow(EmbeddedStore(tmp_path, system_database="doorleaf"))
        await store.open()
        try:
            directory = Directory(Settings(data_dir=tmp_path), store)
            read, end, has_ended = await scenario(directory)
            assert not has_ended()
            store.holds = finds
            reading = asyncio.ensure_future(read())
            await store.read.wait()
            await end()
            assert has_ended()
            store.let.set()
            await reading
            assert has_ended()
            await read()
            assert has_ended()
        finally:
            await store.close()

    asyncio.run(live())
