"""What commands need of a database: where it is, and the callers that it knows."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from doorleaf.access.audit import NO_AUDIT, audit_of
from doorleaf.access.identity.directory import Directory
from doorleaf.access.system_store import SystemStore
from doorleaf.settings.model import Settings
from doorleaf.settings.show import masked_uri
from doorleaf.settings.sources import DataSource
from doorleaf.stores.making import system_router

T = TypeVar("T")


def where(source: DataSource) -> str:
    """The place where the data of ``source`` is, without a password."""
    return masked_uri(source.uri.get_secret_value()) if source.uri else f"embedded in {source.data_dir}"


def with_directory(
    settings: Settings, use: Callable[[Directory], Awaitable[T]], *, makes: bool = False, looks: bool = False
) -> T:
    """Have ``use`` work on the callers that ``settings`` lead to, and return its answer; what it changes is audited.

    Only a command that ``makes`` callers may make a database for them; one that only ``looks`` leaves no trace.
    """

    async def run() -> T:
        store = system_router(settings, makes=makes)
        await store.open()
        try:
            audit = NO_AUDIT
            if not looks:
                audit = audit_of(settings, SystemStore(store, settings.system_database), provider="command line")
            await audit.start()
            try:
                return await use(Directory(settings, store, audit=audit))
            finally:
                await audit.stop()
        finally:
            await store.close()

    return asyncio.run(run())
