"""The service for commands that carry out operations: what takes long to load of callers is not on their way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from doorleaf.access.callers import SYSTEM, Caller
from doorleaf.access.guards.checks import Guards
from doorleaf.operations import Operation, R
from doorleaf.service import Bounds, DataService
from doorleaf.settings.model import Settings
from doorleaf.stores.making import make_router, require_database
from doorleaf.transfer.importing import Execute

OPERATION_MS = 300_000
"""What one operation of a command may take."""


@asynccontextmanager
async def service_for(settings: Settings, *, makes: bool) -> AsyncIterator[Execute]:
    """A function that carries out operations on the data sources of ``settings``, for whoever runs the server.

    Only what ``makes`` documents may make an embedded database for them.
    """
    if not makes:
        require_database(settings)
    router = make_router(settings)
    bounds = Bounds(OPERATION_MS, OPERATION_MS, default_limit=settings.default_limit, max_documents=50_000)
    service = DataService(router, Guards(system_database=settings.system_database), bounds)

    async def execute(operation: Operation[R]) -> R:
        return await service.execute(operation, Caller(SYSTEM))

    await router.open()
    try:
        yield execute
    finally:
        await router.close()
