"""Keys with limits, and a clock, for the tests of limits, quotas and the audit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from doorleaf.access.identity.keys import Keys
from doorleaf.access.system_store import SystemStore
from doorleaf.stores.embedded.store import EmbeddedStore


class Clock:
    """A clock that a test can move."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def on_store(folder: Path, scenario: Callable[[SystemStore], Awaitable[Any]]) -> Any:
    """Run ``scenario`` with the system database in ``folder``."""

    async def run() -> Any:
        store = EmbeddedStore(folder)
        await store.open()
        try:
            return await scenario(SystemStore(store, "doorleaf"))
        finally:
            await store.close()

    return asyncio.run(run())


def make_key(folder: Path, name: str, **rights: Any) -> str:
    """A key with full rights and these limits, made before the server starts."""
    text: str = on_store(folder, lambda system: Keys(system).create(name, admin=True, rights=rights))
    return text
