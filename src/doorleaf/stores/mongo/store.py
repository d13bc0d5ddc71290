"""MongoDB as a store: PyMongo's asynchronous client, one for each process.

Discovery, failover, TLS, authentication, pools and retries are the driver's. Here an operation finds its function,
gets its time limit, and what the driver raises becomes an error of ours.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

import pymongo
from bson.errors import BSONError
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.driver_info import DriverInfo
from pymongo.errors import PyMongoError

import doorleaf
from doorleaf import operations as op
from doorleaf.documents import CODEC, Document
from doorleaf.errors import InvalidParameter, StoreTimeout, StoreUnavailable, Unsupported
from doorleaf.operations import Operation, R
from doorleaf.results import ChangesResult
from doorleaf.stores.mongo import admin, changes, guard, reads, scans, short_writes, writes
from doorleaf.stores.mongo.arguments import time_limit
from doorleaf.stores.mongo.errors import TOO_SLOW, mapped
from doorleaf.stores.mongo.lanes import Lanes

Database = AsyncDatabase[Document]

FINDS: dict[type[Operation[Any]], Callable[[Lanes, Database, Any], Awaitable[Any]]] = {
    op.FindOne: reads.find_one,
    op.Find: reads.find,
}
"""The operations that are most of the traffic and have a way of their own."""

READS: dict[type[Operation[Any]], Callable[[Database, Any], Awaitable[Any]]] = {
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
    op.RunCommand: admin.run_command,
}
"""The operations whose commands carry their own time limit."""

WRITES: dict[type[Operation[Any]], Callable[[Database, Any], Awaitable[Any]]] = {
    op.InsertOne: writes.insert_one,
    op.InsertMany: writes.insert_many,
    op.UpdateOne: writes.update_one,
    op.UpdateMany: writes.update_many,
    op.ReplaceOne: writes.replace_one,
    op.DeleteOne: writes.delete_one,
    op.DeleteMany: writes.delete_many,
    op.FindOneAndUpdate: writes.find_one_and_update,
    op.FindOneAndReplace: writes.find_one_and_replace,
    op.FindOneAndDelete: writes.find_one_and_delete,
    op.BulkWrite: writes.bulk_write,
}
"""The operations whose time limit PyMongo puts into every command it sends for them."""

_GRACE = 5.0
_MOST_DATABASES = 512


class MongoStore:
    """A MongoDB deployment behind the store port.

    ``uri`` is a MongoDB connection string; what it says wins over ``max_pool_size`` (connections to each server) and
    ``server_selection_timeout`` (seconds to wait for a usable server).
    """

    def __init__(self, uri: str, *, max_pool_size: int = 100, server_selection_timeout: float = 5.0) -> None:
        self._uri = uri
        self._options: dict[str, Any] = {
            "maxPoolSize": max_pool_size,
            "serverSelectionTimeoutMS": int(server_selection_timeout * 1000),
            "appname": "doorleaf",
        }
        self._patience = server_selection_timeout + _GRACE
        self._client: AsyncMongoClient[Document] | None = None
        self._watching: AsyncMongoClient[Document] | None = None
        self._lanes: Lanes
        self._databases: dict[str, Database] = {}

    async def open(self) -> None:
        """Make the client. It connects in the background; a wrong URI is an error here, an absent server is not."""
        client = self._connected()
        self._client, self._lanes = client, Lanes(client, client.options.pool_options.max_pool_size * 3 // 4)

    def _connected(self, **forced: Any) -> AsyncMongoClient[Document]:
        given = {name.lower() for name, _ in parse_qsl(self._uri.partition("?")[2], keep_blank_values=True)}
        options = {name: value for name, value in self._options.items() if name.lower() not in given} | forced
        driver = DriverInfo("doorleaf", doorleaf.__version__)
        try:
            return AsyncMongoClient(self._uri, driver=driver, document_class=dict, **options)
        except (PyMongoError, ValueError) as error:
            # Whatever the driver says about a URI may quote it, password included.
            raise Unsupported(f"the MongoDB URI cannot be used ({type(error).__name__})") from None

    async def execute(self, operation: Operation[R]) -> R:
        """Run ``operation``; everything the driver raises comes out as an error of :mod:`doorleaf.errors`."""
        seconds = time_limit(operation) / 1000
        try:
            # The database keeps the time limit; this one is for a connection that has fallen silent.
            async with asyncio.timeout(seconds + self._patience):
                database = self._database(operation.namespace.database)
                kind = type(operation)
                if operation.max_scan is not None:
                    await scans.check(database, operation, operation.max_scan)
                result: R
                if (find := FINDS.get(kind)) is not None:
                    result = await find(self._lanes, database, operation)
                    return result
                short = short_writes.WRITES.get(kind)
                if short is not None and not guard.is_guarded(operation):
                    done = await short(self._lanes, database, operation)
                    if done is not None:
                        return done  # type: ignore[return-value]  # what R is for the operation
                if isinstance(operation, op.Watch):
                    return await self._watch(operation)  # type: ignore[return-value]  # what R is for a Watch
                if (run := READS.get(kind)) is not None:
                    result = await run(database, operation)
                    return result
                if not database.client.topology_description.has_writable_server():
                    # Under a time limit of its own the driver would wait that long for a server to appear.
                    await database.client.admin.command("ping")
                with pymongo.timeout(seconds):
                    if guard.is_guarded(operation):
                        result = await guard.execute(database, operation)
                    else:
                        result = await WRITES[kind](database, operation)
                    return result
        except (PyMongoError, BSONError, OverflowError) as error:
            raise mapped(error) from error
        except TimeoutError as error:
            raise StoreTimeout(TOO_SLOW) from error
        except RecursionError as error:
            raise InvalidParameter("a document is nested too deeply") from error

    async def _watch(self, operation: op.Watch) -> ChangesResult:
        """A change stream holds a connection all the time: a client of their own lets other operations have theirs."""
        if self._client is None:
            raise StoreUnavailable("the connection to the database is closed")
        if self._watching is None:
            self._watching = self._connected(maxPoolSize=0)
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
            await self._lanes.close()
            await client.close()
