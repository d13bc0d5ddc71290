"""The quotas of workspaces, exactly: the writes of a workspace that has some are done one after the other.

What a workspace has is a document of ``workspace_usage``: ``documents`` and ``bytes``, who writes now (``holder``,
for ``seconds`` from ``at`` on at the longest), and how many writes ``begun`` and ``ended``. Whoever finds that one did
not end, or was not sure what it did, counts anew. Nothing is written that would be beyond a quota. Times are by the
clock of the database, the one that all servers have in common.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import bson
from bson import Int64

from doorleaf.access.system_store import SystemStore, as_seconds
from doorleaf.access.workspaces.ledger import Ledger
from doorleaf.access.workspaces.tenancy import Workspace
from doorleaf.apart import JUDGING, time_limit
from doorleaf.documents import CODEC, Document
from doorleaf.errors import (
    AccessError,
    DataError,
    DuplicateKey,
    PermissionDenied,
    QuotaExceeded,
    RequestError,
    ServerBusy,
)
from doorleaf.mql.context import Context
from doorleaf.mql.updates.compile import compile_update
from doorleaf.operations import (
    Aggregate,
    CreateCollection,
    CreateIndex,
    DeleteOne,
    DropCollection,
    DropIndex,
    Effect,
    FindOne,
    FindOneAndReplace,
    FindOneAndUpdate,
    InsertOne,
    ListCollections,
    Namespace,
    Operation,
    RunCommand,
    Transaction,
    altered,
)
from doorleaf.operations.capabilities import Guarded, Upserting
from doorleaf.operations.results import DeleteResult, Result, TransactionResult

COLLECTION = "workspace_usage"
WAIT_SECONDS = 10.0
SLACK_SECONDS = 5.0
"""How much longer than its operation a write may hold its place."""
RENEWED_SECONDS = 1.0
"""How long a place is held until the next operation begins by renewing it."""
LATE_SECONDS = 6.0
"""How long after a change of quotas another process may write without knowing of it."""
LOOK_SECONDS = 0.25
"""How often it is looked whether whoever has a place has had it for too long."""
_PAUSE = 0.01
_SIMULATED_SECONDS = 1.0


class Execute(Protocol):
    """Carries out an operation."""

    def __call__(self, operation: Operation[Any]) -> Awaitable[Any]: ...


@dataclass(slots=True)
class Usage:
    """The use of a workspace, counted at ``measured``; ``sure`` says whether it is known when a write has ended."""

    documents: int
    bytes: int
    measured: float = 0.0
    sure: bool = True

    def add(self, documents: int, size: int) -> None:
        """Account for what a write did."""
        self.documents += documents
        self.bytes += size


class Metering:
    """Carries out writes within the quotas of their workspace."""

    def __init__(self, system: SystemStore) -> None:
        self._system = system
        self._locks: dict[str, asyncio.Lock] = {}

    @staticmethod
    def concerns(operation: Operation[Any], place: Workspace) -> bool:
        """Whether a quota of the workspace has to do with an operation."""
        counted = ("collections", "documents", "bytes")
        return operation.effect is not Effect.READ and not place.quotas.keys().isdisjoint(counted)

    async def carry_out(self, operation: Operation[Any], place: Workspace, execute: Execute) -> Any:
        """Have ``execute`` carry out ``operation``; QuotaExceeded where it would be too much."""
        if type(operation) not in _METERED:
            raise PermissionDenied(f"{operation.name} is not available in a workspace with quotas")
        async with self._alone(place, operation, execute) as (usage, execute):
            await self._require_collections(operation, place, execute)
            try:
                return await _METERED[type(operation)](operation, place, usage, execute)
            except (DuplicateKey, RequestError, AccessError):
                raise  # nothing was written
            except DataError:
                usage.sure = not isinstance(operation, CreateCollection | DropCollection | CreateIndex)
                raise
            except BaseException:
                usage.sure = False
                raise

    @asynccontextmanager
    async def _alone(
        self, place: Workspace, operation: Operation[Any], execute: Execute
    ) -> AsyncIterator[tuple[Usage, Execute]]:
        """Hold the place of the one who writes in a workspace, and give what it has, and what carries out operations
        for as long as the place is held: each begins with time enough for it."""
        lock = self._locks.setdefault(place.id, asyncio.Lock())
        holder, until = secrets.token_hex(8), asyncio.get_running_loop().time() + WAIT_SECONDS
        async with contextlib.AsyncExitStack() as stack:
            try:
                async with asyncio.timeout_at(until):
                    await stack.enter_async_context(lock)
            except TimeoutError:
                raise _busy() from None
            usage = Usage(0, 0, sure=False)
            seconds, loop = time_limit(operation) + SLACK_SECONDS, asyncio.get_running_loop()
            renewed = 0.0

            async def in_place(operation: Operation[Any]) -> Any:
                nonlocal renewed
                if loop.time() - renewed > RENEWED_SECONDS:
                    now = loop.time()
                    await self._renew(place, holder, seconds)
                    renewed = now
                return await execute(operation)

            try:
                await self._acquire(place, holder, seconds, until)
                renewed = loop.time()
                state = await self._system.find_one(COLLECTION, {"_id": place.id}) or {}
                if _is_sure(state, place):
                    usage = Usage(int(state["documents"]), int(state["bytes"]), state["measured"])
                else:
                    usage = await _measured(place, operation, in_place, as_seconds(state.get("at")) or 0.0)
                yield usage, in_place
            finally:
                await asyncio.shield(self._release(place, holder, usage))

    async def _acquire(self, place: Workspace, holder: str, seconds: float, until: float) -> None:
        """Take the place for ``holder``. ServerBusy after ``until``, by the loop's clock, once what was asked for is
        answered: it could have taken the place."""
        held: Document = {"$set": {"holder": holder, "seconds": seconds}, "$currentDate": {"at": True}}
        held |= {"$inc": {"begun": 1}, "$unset": {"until": ""}}
        loop, looked = asyncio.get_running_loop(), -math.inf
        free: Document = {"_id": place.id, "holder": None}
        while not await self._system.update(COLLECTION, free, held):
            if loop.time() > until:
                raise _busy()
            free = {"_id": place.id, "holder": None}
            if loop.time() - looked > LOOK_SECONDS:
                looked = loop.time()
                free = await self._left_behind(place, seconds) or free
            await asyncio.sleep(_PAUSE)

    async def _left_behind(self, place: Workspace, seconds: float) -> Document | None:
        """What finds a place whose holder has had it for too long, as long as nothing happens there; None where nobody
        has. One that does not say since when is held for ``seconds`` from now on."""
        found = await self._system.dated(COLLECTION, place.id, "looked")
        if found is None:
            with contextlib.suppress(DuplicateKey):
                await self._system.insert(COLLECTION, {"_id": place.id, "holder": None, "begun": 0, "ended": 0})
            return None
        as_found = {"_id": place.id, "holder": found["holder"], "at": found.get("at")}
        # A server of a version before says ``until``, and leaves of the rest what others have written.
        if found.get("at") is None or "until" in found:
            change = {"$set": {"seconds": seconds}, "$currentDate": {"at": True}, "$unset": {"until": ""}}
            await self._system.update(COLLECTION, as_found, change)
            return None
        return as_found if (found["looked"] - found["at"]).total_seconds() > found["seconds"] else None

    async def _renew(self, place: Workspace, holder: str, seconds: float) -> None:
        """Hold the place for longer. ServerBusy where somebody else has it."""
        mine, change = {"_id": place.id, "holder": holder}, {"$set": {"seconds": seconds}, "$currentDate": {"at": True}}
        if not await self._system.update(COLLECTION, mine, change):
            raise _busy()

    async def _release(self, place: Workspace, holder: str, usage: Usage) -> None:
        change: Document = {"$set": {"holder": None}}
        if usage.sure:
            state = await self._system.find_one(COLLECTION, {"_id": place.id}) or {}
            change["$set"] |= {"documents": Int64(usage.documents), "bytes": Int64(usage.bytes)}
            change["$set"] |= {"measured": usage.measured, "ended": state.get("begun", 0)}
        await self._system.update(COLLECTION, {"_id": place.id, "holder": holder}, change)

    async def _require_collections(self, operation: Operation[Any], place: Workspace, execute: Execute) -> None:
        """Raise QuotaExceeded where a collection would come into being that is one too many."""
        most = place.quotas.get("collections")
        if most is None:
            return
        wanted = {part.namespace.collection for part in operation.parts or (operation,) if _may_create(part)}
        if not wanted:
            return
        there = await _collections(place, operation, execute)
        if wanted - set(there) and len(there) + len(wanted - set(there)) > most:
            raise exceeded("collections", most)


def _is_sure(state: Document, place: Workspace) -> bool:
    """Whether what is noted of a workspace is true: no write before is unsure, and none went by without a quota."""
    ended = state.get("begun") == state.get("ended", 0) + 1 and "measured" in state
    return ended and bool(state["measured"] > place.quotas_since + LATE_SECONDS)


def _busy() -> ServerBusy:
    return ServerBusy("too many write in this workspace at once", headers={"Retry-After": "1"})


def exceeded(kind: str, most: int) -> QuotaExceeded:
    """The error of a write that would be beyond a quota."""
    return QuotaExceeded(f"the workspace may have {most} {kind}, and this would be more", fields={"quota": kind})


def _may_create(operation: Operation[Any]) -> bool:
    upserts = isinstance(operation, Upserting) and operation.upsert
    return upserts or isinstance(operation, InsertOne | CreateCollection | CreateIndex)


def require_room(place: Workspace, usage: Usage, documents: int, size: int) -> None:
    """Raise QuotaExceeded where so much more would be too much; what does not grow is let pass."""
    for kind, has, more in (("documents", usage.documents, documents), ("bytes", usage.bytes, size)):
        most = place.quotas.get(kind)
        if most is not None and more > 0 and has + more > most:
            raise exceeded(kind, most)


async def _collections(place: Workspace, operation: Operation[Any], execute: Execute) -> list[str]:
    """The workspace's collections, as the database calls them."""
    listing = ListCollections(namespace=place.namespace(), max_time_ms=operation.max_time_ms, turn=operation.turn)
    names = [item["name"] for item in (await execute(listing)).collections]
    return [name for name in names if place.called(name)]


async def _measured(place: Workspace, operation: Operation[Any], execute: Execute, now: float) -> Usage:
    """What the workspace has, counted."""
    usage = Usage(0, 0, now)
    total = {"_id": None, "n": {"$sum": 1}, "b": {"$sum": {"$bsonSize": "$$ROOT"}}}
    for name in await _collections(place, operation, execute):
        counting = Aggregate(
            namespace=Namespace(place.database, name, place.data_source),
            pipeline=[{"$match": place.predicate}, {"$group": total}],
            max_time_ms=operation.max_time_ms,
            turn=operation.turn,
        )
        for found in (await execute(counting)).documents.decode():
            usage.add(int(found["n"]), int(found["b"]))
    return usage


# --- the writes ------------------------------------------------------------------------------------------------------


def size_of(document: Document) -> int:
    """The bytes of a document as it is stored."""
    return len(bson.encode(document, codec_options=CODEC))


async def _insert(operation: InsertOne, place: Workspace, usage: Usage, execute: Execute) -> Result:
    size = size_of(operation.document)
    require_room(place, usage, 1, size)
    result: Result = await execute(operation)
    usage.add(1, size)
    return result


async def _before(operation: FindOneAndUpdate | FindOneAndReplace | DeleteOne, execute: Execute) -> Document | None:
    """The document that a write of one will change, whole."""
    asked = FindOne(
        namespace=operation.namespace,
        filter=operation.filter,
        max_time_ms=operation.max_time_ms,
        turn=operation.turn,
    )
    found = (await execute(asked)).document
    return bson.decode(found, CODEC) if isinstance(found, bytes) else found


async def _update(
    operation: FindOneAndUpdate | FindOneAndReplace, place: Workspace, usage: Usage, execute: Execute
) -> Any:
    """Change one document, of which nobody else in the workspace can change anything meanwhile."""
    before = await _before(operation, execute)
    if before is None:
        return await execute(operation)
    if isinstance(operation, FindOneAndReplace):
        after = {"_id": before["_id"], **operation.replacement}
    else:
        after = await JUDGING.run(_SIMULATED_SECONDS, _simulated, operation, before)
    growth = size_of(after) - size_of(before)
    require_room(place, usage, 0, growth)
    pinned = altered(operation, filter={"$and": [{"_id": {"$eq": before["_id"]}}, operation.filter]})
    result = await execute(pinned)
    if result.document is not None:
        usage.add(0, growth)
    return result


def _simulated(operation: FindOneAndUpdate, before: Document) -> Document:
    """What an update makes of a document; what is wrong with it the database shall say."""
    try:
        update = compile_update(operation.update, Context(time.monotonic() + _SIMULATED_SECONDS))
        return update.apply(bson.decode(bson.encode(before, codec_options=CODEC), CODEC))
    except DataError:
        return before


async def _delete(operation: DeleteOne, place: Workspace, usage: Usage, execute: Execute) -> DeleteResult:
    before = await _before(operation, execute)
    if before is not None:
        operation = altered(operation, filter={"$and": [{"_id": {"$eq": before["_id"]}}, operation.filter]})
    result: DeleteResult = await execute(operation)
    if before is not None and result.deleted_count:
        usage.add(-1, -size_of(before))
    return result


async def _together(operation: Transaction, place: Workspace, usage: Usage, execute: Execute) -> Result:
    """Several writes, whose documents are weighed inside the transaction: what is too much undoes all of it."""
    ledger = Ledger(partial(require_room, place, usage))
    parts = [
        altered(part, guard=ledger.page(part.guard)) if isinstance(part, Guarded) else part
        for part in operation.operations
    ]
    result: TransactionResult = await execute(altered(operation, operations=parts))
    usage.add(*(result.added or (ledger.documents, ledger.bytes)))
    return result


async def _unsure(operation: Operation[Any], place: Workspace, usage: Usage, execute: Execute) -> Any:
    """Do what is counted anew afterwards."""
    usage.sure = False
    return await execute(operation)


async def _alike(operation: Operation[Any], place: Workspace, usage: Usage, execute: Execute) -> Any:
    return await execute(operation)


_METERED: dict[type, Callable[..., Awaitable[Any]]] = {
    InsertOne: _insert,
    FindOneAndUpdate: _update,
    FindOneAndReplace: _update,
    DeleteOne: _delete,
    Transaction: _together,
    DropCollection: _unsure,
    CreateCollection: _alike,
    CreateIndex: _alike,
    DropIndex: _alike,
    RunCommand: _alike,
}
"""How each write is done; one that is not here is refused where there are quotas."""
