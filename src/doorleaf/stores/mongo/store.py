"""MongoDB as a store: PyMongo's asynchronous client, one for each process.

Discovery, failover, TLS, authentication, pools and retries are the driver's. Here an operation finds its function,
gets its time limit, and what the driver raises becomes an error of ours.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import math
import time
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any
from urllib.parse import parse_qsl

import pymongo
from bson.errors import BSONError
from bson.raw_bson import RawBSONDocument
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.driver_info import DriverInfo
from pymongo.errors import PyMongoError

import doorleaf
from doorleaf import operations as op
from doorleaf.documents import CODEC, Document
from doorleaf.errors import DoorleafError, InvalidParameter, StoreError, StoreUnavailable, Unsupported, let_go
from doorleaf.operations import OWN_TURN, Effect, Operation, R
from doorleaf.operations.results import ChangesResult, ScanResult
from doorleaf.stores.mongo import admin, bulks, changes, flows, guard, held, reads, scans, together, writes
from doorleaf.stores.mongo.arguments import DEFAULT_TIME_LIMIT, GRACE, may_write
from doorleaf.stores.mongo.codes import UNREACHABLE
from doorleaf.stores.mongo.errors import MALFORMED, UNREADABLE, Misconfigured, mapped, mapped_write
from doorleaf.stores.mongo.lanes import reads as short_reads
from doorleaf.stores.mongo.lanes import writes as short_writes
from doorleaf.stores.mongo.lanes.commands import ShortWay
from doorleaf.stores.mongo.lanes.connections import Lanes
from doorleaf.stores.mongo.limits import Limits
from doorleaf.stores.mongo.places import Places

Database = AsyncDatabase[Document]

SHORT: dict[type[Operation[Any]], Callable[[ShortWay, Any, float], Awaitable[Any]]] = {
    **short_reads.READS,
    **short_writes.WRITES,
}
"""The operations that are most of the traffic and have a way of their own."""

READS: dict[type[Operation[Any]], Callable[[Database, Any], Awaitable[Any]]] = {
    op.FindOne: reads.find_one,
    op.Find: reads.find,
    op.Aggregate: reads.aggregate,
    op.CountDocuments: reads.count_documents,
    op.EstimatedDocumentCount: reads.estimated_document_count,
    op.Distinct: reads.distinct,
    op.ListIndexes: reads.list_indexes,
    op.ListCollections: reads.list_collections,
    op.ListDatabases: reads.list_databases,
    op.CreateIndex: admin.create_index,
    op.DropIndex: admin.drop_index,
    op.CreateCollection: admin.create_collection,
    op.DropCollection: admin.drop_collection,
    op.RenameCollection: admin.rename_collection,
    op.RunCommand: admin.run_command,
}
"""The operations whose commands carry their own time limit."""

WRITES: dict[type[Operation[Any]], Callable[[Database, Any], Awaitable[Any]]] = {
    op.InsertOne: writes.insert_one,
    op.InsertMany: bulks.insert_many,
    op.UpdateOne: writes.update_one,
    op.UpdateMany: writes.update_many,
    op.ReplaceOne: writes.replace_one,
    op.DeleteOne: writes.delete_one,
    op.DeleteMany: writes.delete_many,
    op.FindOneAndUpdate: writes.find_one_and_update,
    op.FindOneAndReplace: writes.find_one_and_replace,
    op.FindOneAndDelete: writes.find_one_and_delete,
    op.BulkWrite: bulks.bulk_write,
}
"""The operations whose time limit PyMongo puts into every command it sends for them."""

_WITHOUT_PLACE = frozenset({op.EndTransaction, op.Scan, op.Watch, op.WatchDatabase, op.WatchServer})
"""What waits for no turn: the end of a transaction, for which others may wait; changes, which have a client of their
own; and scans: each of their batches has its turn, and so has what is asked before."""

LOG = logging.getLogger("doorleaf.stores")
_READING = {"datetime_conversion": "DATETIME_AUTO", "unicode_decode_error_handler": "replace"}
"""How a client reads that is asked for a stream of all databases, which has no options of its own: as CODEC says."""

_IDLE_MS = 10_000
"""A connection that was silent for longer is not used again: load balancers and address translators forget silent ones,
some after fifteen seconds, and tell nobody."""

_SHORTEST = 0.001
"""Seconds: to the driver, none at all would be no limit."""

_OWN_LANES = 2
_OWN_CONNECTIONS = 4
"""Connections beside those for callers, opened at need: for what the server itself asks, which waits for no caller,
half of them for what that sends the driver's own way, and for cursors that are to be ended."""

_QUIET_SECONDS = 60.0
_MOST_DATABASES = 512


@functools.cache
def _tell(text: str) -> None:
    """Log, once, what is passed over in a URI."""
    LOG.warning("the MongoDB URI: %s", text)


class MongoStore:
    """A MongoDB deployment behind the store port.

    ``uri`` is a MongoDB connection string; what it says wins over ``max_pool_size`` (connections to each server that
    callers have, and so how many of their operations are in work at once) and ``server_selection_timeout`` (seconds to
    wait for a usable server). Without ``lanes`` everything goes the driver's own way.
    """

    def __init__(
        self, uri: str, *, max_pool_size: int = 100, server_selection_timeout: float = 5.0, lanes: bool = True
    ) -> None:
        self._uri = uri
        self._with_lanes = lanes
        self._options: dict[str, Any] = {
            "maxPoolSize": max_pool_size,
            "maxIdleTimeMS": _IDLE_MS,
            "serverSelectionTimeoutMS": int(server_selection_timeout * 1000),
            "appname": "doorleaf",
        }
        self._quiet_until = 0.0
        self._limit: float | None = None
        """Seconds that the URI (``timeoutMS``) gives an operation, 0 for any number, None when it says nothing."""
        self._client: AsyncMongoClient[Document] | None = None
        self._watching: AsyncMongoClient[Any] | None = None
        self._lanes: Lanes
        self._own_lanes: Lanes
        self._limits: Limits
        self._places: Places
        self._way: ShortWay
        self._own_way: ShortWay
        self._databases: dict[str, Database] = {}

    async def open(self) -> None:
        """Make the client. It connects in the background; a wrong URI is an error here, an absent server is not."""
        client = self._connected()
        size = client.options.pool_options.max_pool_size or math.inf
        if size != math.inf:
            client = self._connected(maxPoolSize=size + _OWN_CONNECTIONS)
        self._client, self._limits = client, Limits(asyncio.get_running_loop())
        self._places = Places(size, self._limits)
        self._lanes = Lanes(client, size if self._with_lanes else 0, self._limits, self._places)
        self._own_lanes = Lanes(client, _OWN_LANES if self._with_lanes else 0, self._limits, self._places)
        self._way = ShortWay(client, self._lanes, self._limits)
        self._own_way = ShortWay(client, self._own_lanes, self._limits)
        self._limit = client.options.timeout
        if slow := changes.one_by_one():
            LOG.info("events of changes in MongoDB are taken one by one: %s", slow)

    def _connected(self, **forced: Any) -> AsyncMongoClient[Document]:
        given = {name.lower() for name, _ in parse_qsl(self._uri.partition("?")[2], keep_blank_values=True)}
        options = {name: value for name, value in self._options.items() if name.lower() not in given} | forced
        driver = DriverInfo("doorleaf", doorleaf.__version__)
        try:
            with warnings.catch_warnings(record=True) as found:
                warnings.simplefilter("always", UserWarning)
                client = AsyncMongoClient(self._uri, driver=driver, **{"document_class": dict, **options})
        except (PyMongoError, ValueError) as error:
            # Whatever the driver says about a URI may quote it, password included.
            raise Unsupported(f"the MongoDB URI cannot be used ({type(error).__name__})") from None
        for warning in found:
            self._mind(str(warning.message))
        return client

    def _mind(self, text: str) -> None:
        """Log or refuse what the driver passes over in the URI: it only warns, of wrong values too."""
        text = text[:1].lower() + text[1:]
        if text.startswith("unknown option"):
            _tell(f"{text.partition('. Did you mean')[0]}; it is not used")
            return
        if text.startswith("duplicate URI option"):
            _tell(f"{text.rstrip('.')}; the last one counts")
            return
        for _, value in parse_qsl(self._uri.partition("?")[2]):
            text = text.replace(value, "…") if len(value) > 3 else text  # it may be a password of a key file
        raise Unsupported(f"the MongoDB URI has an option that cannot be used: {text}")

    def pool(self) -> dict[str, int]:
        """The connections that operations use, those that wait to be used, and the operations that wait for one."""
        if self._client is None:
            return {}
        own, callers = self._own_lanes.pool(), self._lanes.pool()
        total = {what: number + own[what] for what, number in callers.items()}
        return total | {"waiting": total["waiting"] + self._places.waiting}

    def way(self) -> str:
        """How operations go to the server: ``lanes``, or ``driver: …`` with the reason; and why events of changes do
        not come together, where they do not."""
        told = f"driver: {self._lanes.reason}" if self._lanes.reason else "lanes"
        slow = changes.one_by_one()
        return f"{told}; events of changes one by one: {slow}" if slow else told

    async def execute(self, operation: Operation[R]) -> R:
        """Run ``operation``; everything the driver raises comes out as an error of :mod:`doorleaf.errors`."""
        seconds = (operation.max_time_ms or DEFAULT_TIME_LIMIT) / 1000
        if self._limit is not None and self._limit < seconds:
            seconds = self._limit or seconds
        turn = operation.turn
        try:
            if operation.namespace.database not in self._databases:
                self._database(operation.namespace.database)  # which knows what may be a name
            deadline = self._limits.now() + seconds + GRACE
            if turn == OWN_TURN or type(operation) in _WITHOUT_PLACE:
                return await self._carried_out(operation, deadline, self._own_way)
            if not self._places.enter(turn):
                await self._places.wait(turn, deadline - GRACE)
            try:
                return await self._carried_out(operation, deadline, self._way)
            finally:
                self._places.leave(turn)
        except (PyMongoError, BSONError, OverflowError, TimeoutError) as error:
            raise self._told(operation, error) from error
        except RecursionError as error:
            raise InvalidParameter("a document is nested too deeply") from error
        except MALFORMED as error:
            raise self._told(operation, error) from error
        except DoorleafError as error:
            let_go(error.__cause__)
            raise

    async def _carried_out(self, operation: Operation[R], deadline: float, way: ShortWay) -> R:
        """The result of an operation whose turn it is."""
        if operation.within is not None:
            return await self._inside(operation, deadline)
        if self._limit is None:
            if operation.max_scan is not None:
                await self._check_scan(operation, operation.max_scan, deadline)
            short = SHORT.get(type(operation))
            if short is not None and (operation.effect is Effect.READ or not operation.guards):
                found: R | None = await short(way, operation, deadline)
                if found is not None:
                    return found
            return await self._driven(operation, deadline)
        # The URI's own limit is for everything that is done for one operation.
        with pymongo.timeout(max(deadline - GRACE - self._limits.now(), _SHORTEST)):
            if operation.max_scan is not None:
                await self._check_scan(operation, operation.max_scan, deadline)
            return await self._driven(operation, deadline)

    @asynccontextmanager
    async def _placed(self, operation: Operation[Any], deadline: float) -> AsyncIterator[None]:
        """Within it one thing is asked for a scan, in its turn; the server's own wait for none."""
        turn = operation.turn
        if turn == OWN_TURN:
            yield
            return
        if not self._places.enter(turn):
            await self._places.wait(turn, deadline)
        try:
            async with self._lanes.beside():
                yield
        finally:
            self._places.leave(turn)

    def _beside(self, operation: Operation[Any]) -> AbstractAsyncContextManager[None]:
        """Within it ``operation`` goes the driver's own way: with a place of its caller's, or without one."""
        if operation.turn == OWN_TURN or type(operation) in _WITHOUT_PLACE:
            return nullcontext()
        return self._lanes.beside()

    async def _check_scan(self, operation: Operation[Any], most: int, deadline: float) -> None:
        is_scan = isinstance(operation, op.Scan)
        async with self._placed(operation, deadline - GRACE) if is_scan else self._beside(operation):
            with self._limits.until(deadline):
                await scans.check(self._database(operation.namespace.database), operation, most)

    async def _inside(self, operation: Operation[R], deadline: float) -> R:
        """A part of a transaction that goes on, or its end."""
        database = self._database(operation.namespace.database)
        if not isinstance(operation, op.EndTransaction):
            await self._writable(database, deadline)  # from then on it is known whether there are transactions
            if operation.max_scan is not None:
                await self._check_scan(operation, operation.max_scan, deadline)
        async with self._beside(operation), asyncio.timeout_at(deadline):
            with pymongo.timeout(max(deadline - GRACE - asyncio.get_running_loop().time(), _SHORTEST)):
                return await held.carry_out(database, operation)  # type: ignore[return-value]  # what R is for it

    async def _driven(self, operation: Operation[R], deadline: float) -> R:
        """The result of the driver's own way."""
        database, kind = self._database(operation.namespace.database), type(operation)
        result: R
        if isinstance(operation, op.Scan):
            flow = flows.Flow(database, operation, self._placed)
            return ScanResult(await flow.open())  # type: ignore[return-value]
        if isinstance(operation, op.Watch):
            async with asyncio.timeout_at(deadline):
                return await self._watch(operation)  # type: ignore[return-value]  # what R is for a Watch
        async with self._beside(operation):
            if may_write(operation):
                await self._writable(database, deadline)
            async with asyncio.timeout_at(deadline):
                if (run := READS.get(kind)) is not None:
                    result = await run(database, operation)
                    return result
                with pymongo.timeout(max(deadline - GRACE - asyncio.get_running_loop().time(), _SHORTEST)):
                    if isinstance(operation, op.Transaction):
                        return await together.execute(database, operation)  # type: ignore[return-value]  # as above
                    if guard.is_guarded(operation):
                        result = await guard.execute(database, operation)
                    else:
                        result = await WRITES[kind](database, operation)
                    return result

    async def _writable(self, database: Database, deadline: float) -> None:
        """Wait for a server that takes writes, when none is known: as long as the driver looks for one.

        Within the time limit of a write the driver would look that long, and nobody could tell that nothing was sent.
        """
        if database.client.topology_description.has_writable_server():
            return
        try:
            async with asyncio.timeout_at(deadline):
                await database.client.admin.command("ping")
        except TimeoutError:
            raise StoreUnavailable(UNREACHABLE) from None

    def _told(self, operation: Operation[Any], error: Exception) -> DoorleafError:
        """The error that a client gets for ``error``; what the operator has to mend is logged, once a minute."""
        if may_write(operation):
            told = mapped_write(error)
        elif isinstance(error, TimeoutError) and not self._reachable():
            told = StoreUnavailable(UNREACHABLE)
        else:
            told = mapped(error)
        is_odd = isinstance(error, MALFORMED) and isinstance(told, StoreError)
        if (is_odd or isinstance(told, Misconfigured)) and time.monotonic() >= self._quiet_until:
            self._quiet_until = time.monotonic() + _QUIET_SECONDS
            # Where it is odd, it may be a mistake of ours as well: then only the traceback tells.
            text = told.advice if isinstance(told, Misconfigured) else f"{UNREADABLE}: {operation.name}"
            LOG.error("%s", text, exc_info=error if is_odd else None)
        let_go(error)
        return told

    def _reachable(self) -> bool:
        return self._client is not None and self._client.topology_description.has_readable_server()

    async def _watch(self, operation: op.Watch) -> ChangesResult:
        """A change stream holds a connection all the time: a client of their own lets other operations have theirs."""
        if self._client is None:
            raise StoreUnavailable("the connection to the database is closed")
        if self._watching is None:
            self._watching = self._connected(maxPoolSize=0, document_class=RawBSONDocument, **_READING)
        return ChangesResult(await changes.watch(self._watching, operation))

    def _database(self, name: str) -> Database:
        """The driver's database object, kept because making one costs as much as a tenth of a read."""
        if self._client is None:
            raise StoreUnavailable("the connection to the database is closed")
        found = self._databases.get(name)
        if found is None:
            if len(self._databases) >= _MOST_DATABASES:
                self._databases.clear()
            found = self._databases[name] = self._client.get_database(name or "admin", codec_options=CODEC)
        return found

    async def close(self) -> None:
        """Close every connection; what is still running fails with StoreUnavailable."""
        client, self._client = self._client, None
        watching, self._watching = self._watching, None
        self._databases.clear()
        if watching is not None:
            await watching.close()
        if client is not None:
            self._places.close()
            await self._lanes.close()
            await self._own_lanes.close()
            await client.close()
