"""Database commands: mapped to the operations, or answered from the catalog. Unknown names and fields are refused."""

from __future__ import annotations

import asyncio
import os
import platform
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bson.code import Code

from doorleaf import __version__
from doorleaf.apart.collecting import undisturbed
from doorleaf.documents import Document, Documents, is_string
from doorleaf.errors import DataError, InvalidParameter, Unsupported
from doorleaf.mql.context import Context
from doorleaf.mql.stages.reach import stage_of
from doorleaf.mql.values import integral, is_number, type_name
from doorleaf.operations import (
    Aggregate,
    CountDocuments,
    CreateCollection,
    Distinct,
    DropCollection,
    Find,
    Namespace,
    RunCommand,
)
from doorleaf.operations.results import CommandResult, CreateIndexResult
from doorleaf.stores.embedded import administration, statistics
from doorleaf.stores.embedded.host import Host
from doorleaf.stores.embedded.reading.explain import VERBOSITIES, explain
from doorleaf.stores.embedded.reading.reads import COLLECTIONLESS
from doorleaf.stores.embedded.writing import building, modifying, planned

SERVER_VERSION = "8.0.0"
"""The MongoDB version whose language the engine speaks."""

_GENERIC = frozenset(
    ("maxTimeMS", "comment", "$db", "lsid", "readConcern", "writeConcern", "$readPreference", "apiVersion")
)
_MODIFIED = ("validator", "validationLevel", "validationAction")
_NOT_MODIFIED = "viewOn pipeline cappedSize cappedMax timeseries expireAfterSeconds changeStreamPreAndPostImages dryRun"
_MOST_DOCUMENTS = 50_000
_MANY_BYTES = 64 * 1024


@dataclass(slots=True)
class Call:
    """One command being carried out."""

    store: Host
    operation: RunCommand
    name: str
    context: Context

    @property
    def command(self) -> Document:
        return self.operation.command

    @property
    def database(self) -> str:
        return self.operation.namespace.database

    def namespace(self) -> Namespace:
        """The collection that the command's first field names."""
        name = self.command[self.name]
        if not is_string(name) or not name:
            raise DataError(f"collection name has invalid type {type_name(name)}", number=73)
        return Namespace(self.database, name, self.operation.namespace.data_source)

    def common(self, namespace: Namespace | None = None) -> dict[str, Any]:
        """The arguments of every operation: a namespace (by default the one that the command names), the milliseconds
        left, and the bounds of the command."""
        left = self.context.remaining()
        return {
            "namespace": namespace or self.namespace(),
            "max_time_ms": None if left is None else max(1, int(left * 1000)),
            "max_scan": self.operation.max_scan,
            "max_bytes": self.operation.max_bytes,
            "turn": self.operation.turn,
        }

    def get(self, field: str, kind: type | tuple[type, ...], default: Any = None) -> Any:
        """A field of the command, of one of the Python types ``kind``; null is absent."""
        value = self.command.get(field)
        if value is None:
            return default
        if not isinstance(value, kind) or isinstance(value, Code):
            raise DataError(f"BSON field '{self.name}.{field}' is the wrong type '{type_name(value)}'", number=14)
        return value

    def number(self, field: str, default: int = 0) -> int:
        """A non-negative whole number of the command."""
        value = self.command.get(field)
        if value is None:
            return default
        number = integral(value) if is_number(value) else None
        if number is None or number < 0:
            raise DataError(f"BSON field '{field}' value must be >= 0 and a whole number", number=51024)
        return number


Handler = Callable[[Call], Awaitable[Document]]


@dataclass(frozen=True, slots=True)
class Command:
    """A command: how it is answered and the fields that it may have."""

    handler: Handler
    fields: frozenset[str]


COMMANDS: dict[str, Command] = {}
"""Every command by name."""


def _command(*names: str, fields: str = "") -> Callable[[Handler], Handler]:
    def register(handler: Handler) -> Handler:
        for name in names:
            COMMANDS[name] = Command(handler, frozenset(fields.split()))
        return handler

    return register


async def run_command(store: Host, operation: RunCommand, context: Context) -> CommandResult:
    """Carry out a command; error 59 for one that is not there, 40415 for a field that it does not have."""
    name = next(iter(operation.command), "")
    command = COMMANDS.get(name)
    if command is None:
        raise DataError(f"no such command: '{name}'", number=59)
    for field in operation.command:
        if field != name and field not in command.fields and field not in _GENERIC:
            raise DataError(f"BSON field '{name}.{field}' is an unknown field.", number=40415)
    limit = operation.command.get("maxTimeMS")
    if limit is not None:
        asked = integral(limit) if is_number(limit) else None
        if asked is None or asked < 0:
            raise DataError("maxTimeMS must be a non-negative whole number", number=2)
        if asked:
            until = time.monotonic() + asked / 1000
            context.deadline = until if context.deadline is None else min(context.deadline, until)
    return CommandResult(await command.handler(Call(store, operation, name, context)))


def _cursor(namespace: str, documents: list[Document]) -> Document:
    return {"cursor": {"firstBatch": documents, "id": 0, "ns": namespace}, "ok": 1}


# --- about the server ------------------------------------------------------------------------------------------------


@_command("ping")
async def _ping(call: Call) -> Document:
    call.store.require_present()
    note = call.store.note()
    return {"ok": 1, "note": note} if note else {"ok": 1}


@_command("buildInfo", "buildinfo")
async def _build_info(call: Call) -> Document:
    return {
        "version": SERVER_VERSION,
        "versionArray": [*map(int, SERVER_VERSION.split(".")), 0],
        "doorleaf": __version__,
        "modules": [],
        "allocator": "system",
        "javascriptEngine": "none",
        "sysInfo": "deprecated",
        "storageEngines": ["sqlite"],
        "bits": 64 if sys.maxsize > 2**32 else 32,
        "debug": False,
        "maxBsonObjectSize": 16 * 1024 * 1024,
        "ok": 1,
    }


@_command("hello", "isMaster", "ismaster")
async def _hello(call: Call) -> Document:
    primary = "isWritablePrimary" if call.name == "hello" else "ismaster"
    return {
        primary: True,
        "maxBsonObjectSize": 16 * 1024 * 1024,
        "maxMessageSizeBytes": 48_000_000,
        "maxWriteBatchSize": 100_000,
        "localTime": call.context.now,
        "minWireVersion": 0,
        "maxWireVersion": 25,
        "readOnly": False,
        "ok": 1,
    }


@_command("connectionStatus", fields="showPrivileges")
async def _connection_status(call: Call) -> Document:
    return {"authInfo": {"authenticatedUsers": [], "authenticatedUserRoles": []}, "ok": 1}


@_command("hostInfo")
async def _host_info(call: Call) -> Document:
    system = {"currentTime": call.context.now, "cpuAddrSize": 64, "numCores": os.cpu_count() or 1}
    return {"system": system, "os": {"type": platform.system(), "name": platform.system()}, "ok": 1}


@_command("serverStatus")
async def _server_status(call: Call) -> Document:
    uptime = time.monotonic() - call.store.opened_at
    return {
        "version": SERVER_VERSION,
        "process": "doorleaf",
        "pid": os.getpid(),
        "uptime": uptime,
        "uptimeMillis": int(uptime * 1000),
        "localTime": call.context.now,
        "storageEngine": {"name": "sqlite", "persistent": True, "readOnly": False},
        "ok": 1,
    }


@_command("listCommands")
async def _list_commands(call: Call) -> Document:
    return {"commands": {name: {"help": "", "requiresAuth": True} for name in sorted(COMMANDS)}, "ok": 1}


# --- statistics ------------------------------------------------------------------------------------------------------


@_command("dbStats", "dbstats", fields="scale freeStorage")
async def _db_stats(call: Call) -> Document:
    scale = call.number("scale", 1) or 1
    answer: Document = await call.store.read(statistics.database_statistics, call.database, scale, context=call.context)
    return answer


@_command("collStats", "collstats", fields="scale")
async def _coll_stats(call: Call) -> Document:
    scale, namespace = call.number("scale", 1) or 1, call.namespace()
    answer: Document = await call.store.read(statistics.collection_statistics, namespace, scale, context=call.context)
    return answer


@_command("dataSize", "datasize", fields="estimate")
async def _data_size(call: Call) -> Document:
    database, _, name = call.namespace().collection.partition(".")
    if not database or not name:
        raise DataError("dataSize takes a namespace as text, database.collection", number=73)
    if database != call.database:
        raise Unsupported("dataSize of another database is not supported by this data source: run it there")
    namespace, started = Namespace(database, name), time.monotonic()
    found = await call.store.read(statistics.size, namespace, context=call.context)
    estimate = bool(call.get("estimate", bool, False))
    return {"estimate": estimate, **found, "millis": int((time.monotonic() - started) * 1000), "ok": 1}


@_command("validate", fields="full")
async def _validate(call: Call) -> Document:
    namespace = call.namespace()
    answer: Document = await call.store.read(statistics.validate, namespace, context=call.context)
    return answer


# --- reading ---------------------------------------------------------------------------------------------------------


@_command("count", fields="query limit skip hint collation")
async def _count(call: Call) -> Document:
    result = await call.store.execute(
        CountDocuments(
            **call.common(),
            filter=call.get("query", dict, {}),
            limit=call.number("limit"),
            skip=call.number("skip"),
            hint=call.get("hint", (str, dict)),
            collation=call.get("collation", dict),
        )
    )
    return {"n": result.count, "ok": 1}


@_command("distinct", fields="key query collation")
async def _distinct(call: Call) -> Document:
    key = call.get("key", str)
    if not key:
        raise DataError("BSON field 'distinct.key' is missing but a required field", number=40414)
    filter, collation = call.get("query", dict, {}), call.get("collation", dict)
    result = await call.store.execute(Distinct(**call.common(), key=key, filter=filter, collation=collation))
    return {"values": result.values, "ok": 1}


@_command("find", fields="filter sort projection skip limit batchSize singleBatch hint let collation allowDiskUse")
async def _find(call: Call) -> Document:
    limit = call.number("limit")
    operation = Find(
        **call.common(),
        filter=call.get("filter", dict, {}),
        sort=call.get("sort", dict),
        projection=call.get("projection", dict),
        skip=call.number("skip"),
        limit=limit or _MOST_DOCUMENTS + 1,
        hint=call.get("hint", (str, dict)),
        let=call.get("let", dict),
        collation=call.get("collation", dict),
    )
    _refuse_batches(call, call.command)
    documents = await _decoded((await call.store.execute(operation)).documents)
    if len(documents) > _MOST_DOCUMENTS:
        raise InvalidParameter(f"the answer has more than {_MOST_DOCUMENTS} documents; set a limit")
    return _cursor(str(call.namespace()), documents)


async def _decoded(documents: Documents) -> list[Document]:
    """All of them as Python values; where they are many, so that others go on."""
    if sum(map(len, documents.batches)) < _MANY_BYTES:
        return documents.decode()
    return await asyncio.to_thread(undisturbed, documents.decode)


def _refuse_batches(call: Call, holder: Mapping[str, Any]) -> None:
    """Refuse a small first batch: there are no cursors to continue from, so it has everything."""
    if call.get("allowDiskUse", bool, False):
        raise Unsupported(f"{call.name}.allowDiskUse is not supported by this data source: nothing spills to disk")
    if holder.get("batchSize") is not None:
        raise Unsupported(f"{call.name}.batchSize is not supported by this data source: the first batch has everything")


@_command("aggregate", fields="pipeline cursor hint let collation allowDiskUse")
async def _aggregate(call: Call) -> Document:
    pipeline, namespace = call.get("pipeline", list, []), _aggregated(call)
    if namespace.collection == COLLECTIONLESS:
        first = stage_of(pipeline[0])[0] if pipeline else "an empty pipeline"
        if first != "$documents":
            raise DataError(f"{{aggregate: 1}} is not valid for {first}; a collection is required.", number=73)
    _refuse_batches(call, call.get("cursor", dict, {}))
    operation = Aggregate(
        **call.common(namespace),
        pipeline=pipeline,
        hint=call.get("hint", (str, dict)),
        let=call.get("let", dict),
        collation=call.get("collation", dict),
    )
    return _cursor(str(namespace), await _decoded((await call.store.execute(operation)).documents))


def _aggregated(call: Call) -> Namespace:
    """What an ``aggregate`` is about: a collection, or with 1 none."""
    target = call.command["aggregate"]
    if not is_number(target):
        return call.namespace()
    if integral(target) != 1:
        text = "Invalid command format: the 'aggregate' field must specify a collection name or 1"
        raise DataError(text, number=9)
    return Namespace(call.database, COLLECTIONLESS, call.operation.namespace.data_source)


@_command("explain", fields="verbosity")
async def _explain(call: Call) -> Document:
    inner = call.get("explain", dict, {})
    verbosity = call.get("verbosity", str, "allPlansExecution")
    if verbosity not in VERBOSITIES:
        raise DataError(f"Enumeration value '{verbosity}' for field 'explain.verbosity' is not a valid value.")
    answer: Document = await call.store.read(explain, call.database, inner, verbosity, context=call.context)
    return answer


# --- lists, collections and indexes ----------------------------------------------------------------------------------


@_command("listCollections", fields="filter nameOnly authorizedCollections cursor")
async def _list_collections(call: Call) -> Document:
    filter = call.get("filter", dict, {})
    found = await call.store.read(statistics.described, call.database, filter, context=call.context)
    if call.command.get("nameOnly"):
        found = [{"name": item["name"], "type": item["type"]} for item in found]
    return _cursor(f"{call.database}.$cmd.listCollections", found)


@_command("listIndexes", fields="cursor")
async def _list_indexes(call: Call) -> Document:
    namespace = call.namespace()
    listed = call.store.now(lambda session: administration.list_indexes(session, namespace))
    if not listed:
        raise DataError(f"ns does not exist: {namespace}", number=26)
    return _cursor(str(namespace), listed)


@_command("listDatabases", fields="filter nameOnly authorizedDatabases")
async def _list_databases(call: Call) -> Document:
    filter = call.get("filter", dict, {})
    found = await call.store.databases(statistics.databases, filter, context=call.context)
    if call.command.get("nameOnly"):
        return {"databases": [{"name": item["name"]} for item in found], "ok": 1}
    return {"databases": found, "totalSize": sum(item["sizeOnDisk"] for item in found), "ok": 1}


@_command("create", fields="validator validationLevel validationAction capped collation")
async def _create(call: Call) -> Document:
    options = {key: value for key, value in call.command.items() if key != "create" and key not in _GENERIC}
    await call.store.execute(CreateCollection(**call.common(), options=options))
    return {"ok": 1}


@_command("collMod", "collmod", fields=f"validator validationLevel validationAction index {_NOT_MODIFIED}")
async def _coll_mod(call: Call) -> Document:
    for field in _NOT_MODIFIED.split():
        if field in call.command:
            raise Unsupported(f"{call.name}.{field} is not supported by this data source")
    namespace, index = call.namespace(), call.command.get("index")
    if index is not None:
        modifying.check_index(index)
    options = {name: call.command[name] for name in _MODIFIED if call.command.get(name) is not None}
    answer: Document = await call.store.work(planned.modify, namespace, options, index, context=call.context)
    return {**answer, "ok": 1}


@_command("drop")
async def _drop(call: Call) -> Document:
    await call.store.execute(DropCollection(**call.common()))
    return {"ns": str(call.namespace()), "ok": 1}


@_command("dropDatabase")
async def _drop_database(call: Call) -> Document:
    dropped = await call.store.write(
        lambda transaction: administration.drop_database(transaction, call.database), call.context
    )
    return {"dropped": call.database, "ok": 1} if dropped else {"ok": 1}


@_command("createIndexes", fields="indexes commitQuorum")
async def _create_indexes(call: Call) -> Document:
    listed, namespace = call.get("indexes", list, []), call.namespace()
    if not listed or not all(isinstance(item, dict) and isinstance(item.get("key"), dict) for item in listed):
        raise DataError("Must specify at least one index to create, each with a key", number=2)
    wanted = [(item["key"], {key: value for key, value in item.items() if key != "key"}) for item in listed]
    result: CreateIndexResult = await call.store.work(
        building.create_indexes, namespace, wanted, context=call.context, sliceable=True
    )
    return result.wire()


@_command("dropIndexes", "deleteIndexes", fields="index")
async def _drop_indexes(call: Call) -> Document:
    asked, namespace = call.command.get("index"), call.namespace()
    if asked is None:
        raise DataError("BSON field 'dropIndexes.index' is missing but a required field", number=40414)
    were = await call.store.write(
        lambda transaction: administration.drop_indexes(transaction, namespace, _index_names(asked)), call.context
    )
    return {"nIndexesWas": were, "ok": 1}


def _index_names(asked: Any) -> list[Any]:
    return asked if isinstance(asked, list) else [asked]
