"""What keeps keys, sessions and workspaces in memory as the system database has them, and sweeps what is over."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable

from doorleaf.access.identity.directory import Directory
from doorleaf.errors import DoorleafError, StoreError, StoreUnavailable

RELOAD_SECONDS = 2.0
"""How often keys and revoked sessions are read again; a change is effective everywhere within five seconds."""
SWEEP_SECONDS = 3600.0
START_SECONDS = 1.5
"""How long a start waits for a MongoDB that does not answer: the process is alive without it, and not ready."""
LOCAL_SECONDS = 30.0
"""How long it waits for an embedded database, which is never away, but slow on a machine that has much to do."""

log = logging.getLogger("doorleaf.access")


class Upkeep:
    """Reads ``directory`` every two seconds. ``announce`` is given the text of the first key, if this process is the
    one that makes it; without it none is made."""

    def __init__(self, directory: Directory, announce: Callable[[str], None] | None) -> None:
        self._directory = directory
        self._announce = announce
        self._loaded = asyncio.Event()
        self._tried = asyncio.Event()
        self._trouble = ""
        self._task: asyncio.Task[None] | None = None

    def require_loaded(self) -> None:
        """Raise StoreUnavailable until keys and sessions were read once."""
        if not self._loaded.is_set():
            raise StoreUnavailable("the database cannot be reached")

    def require_ready(self) -> None:
        """Raise StoreUnavailable, with the reason, while keys and sessions cannot be read."""
        if self._trouble or not self._loaded.is_set():
            raise StoreUnavailable(self._trouble or "keys and sessions are not read yet")

    async def start(self, patience: float) -> None:
        """Read, and go on reading. Returns when that was done once or failed, or after ``patience`` seconds."""
        self._task = asyncio.create_task(self._reload_forever(), name="access")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._tried.wait()

    async def stop(self) -> None:
        """End the reading."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def write_used(self) -> None:
        """Write when keys were last used, as far as the database can be reached."""
        if self._loaded.is_set():
            with contextlib.suppress(DoorleafError):
                await self._directory.write_used()

    async def _reload_forever(self) -> None:
        prepared, swept = False, time.monotonic()
        while True:
            try:
                if not prepared:
                    await self._prepare()
                    prepared = True
                await self._directory.reload()
                self._loaded.set()
                await self._directory.write_used()
                if time.monotonic() - swept > SWEEP_SECONDS:
                    await self._directory.sweep()
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
            self._tried.set()
            await asyncio.sleep(RELOAD_SECONDS)

    async def _prepare(self) -> None:
        if self._announce is not None:
            await self._directory.keys.first(self._announce)
        await self._directory.prepare()
