"""What no caller may do, whatever its rights: the system database, server-side JavaScript, harmful commands.

:class:`Guards` looks at every operation before a store does. It is pure and raises
:class:`~doorleaf.errors.PermissionDenied` (403) or :class:`~doorleaf.errors.InvalidParameter` (400); operators are
found at any depth, and only where the database would run them: inserted documents are data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from doorleaf.access.guards import operators
from doorleaf.access.guards.commands import SESSION_FIELDS, Commands
from doorleaf.documents import Document
from doorleaf.errors import DataError, InvalidParameter, PermissionDenied
from doorleaf.operations import (
    OPERATIONS,
    Aggregate,
    BulkWrite,
    CreateCollection,
    CreateIndex,
    Effect,
    EndTransaction,
    GetValidator,
    Namespace,
    Operation,
    RenameCollection,
    RunCommand,
    Scan,
    SetValidator,
    Transaction,
    Watch,
    WatchDatabase,
    WatchServer,
)
from doorleaf.operations.capabilities import Parametrized
from doorleaf.operations.parameters import Kind, parameters
from doorleaf.operations.results import ChangesResult, ChangeStream, CommandResult, DatabasesResult, Result

SERVER_DATABASES = frozenset({"admin", "local", "config"})
"""MongoDB's own databases: no operation writes there."""

_FORBIDDEN_IN_DATABASE = frozenset('/\\. "$\0')

_DATA = frozenset({"document", "replacement", "sort", "collation", "keys"})
_LOOKED_AT_BY_ITSELF = frozenset({"pipeline", "command"})

_NO_ACTIONS = (Watch, WatchDatabase, WatchServer, Scan, GetValidator, SetValidator, Transaction, EndTransaction)

_FIELDS: dict[type[Operation[Any]], tuple[str, ...]] = {
    operation: tuple(
        item.attribute
        for item in parameters(operation)
        if item.kind in (Kind.DOCUMENT, Kind.PIPELINE, Kind.UPDATE)
        and item.attribute not in _DATA | _LOOKED_AT_BY_ITSELF
    )
    for operation in (*OPERATIONS.values(), *_NO_ACTIONS)
}
"""The fields whose operators the database runs, read from the operations so that a new one is covered."""

_NO_OPTIONS = frozenset({"create", "createIndexes", "key", "ns"}) | SESSION_FIELDS


class Guards:
    """The checks for one server.

    ``system_database`` is out of reach; ``allow_output_stages`` permits ``$out`` and ``$merge``;
    ``run_command_allow`` names commands beside the harmless ones. ``refuse_stages``, ``refuse_operators`` and
    ``allow_stages``, if it names any, bound what pipelines and expressions may use.
    """

    def __init__(
        self,
        *,
        system_database: str = "doorleaf",
        allow_output_stages: bool = False,
        run_command_allow: Iterable[str] = (),
        refuse_stages: Iterable[str] = (),
        allow_stages: Iterable[str] = (),
        refuse_operators: Iterable[str] = (),
    ) -> None:
        self._system = system_database.casefold()
        self._scan = operators.Scan(
            output_stages=allow_output_stages,
            namespace=self._reached,
            refuse_stages=refuse_stages,
            allow_stages=allow_stages,
            refuse_operators=refuse_operators,
        )
        self._commands = Commands(run_command_allow, self._scan, self._reached)
        # Names repeat from request to request; only good ones are remembered.
        self._database = lru_cache(maxsize=1024)(self._check_database)
        self._collection = lru_cache(maxsize=4096)(_check_collection)
        self._special: dict[type[Operation[Any]], Callable[[Any], None]] = {
            Aggregate: self._aggregate,
            BulkWrite: self._bulk_write,
            CreateIndex: self._create_index,
            CreateCollection: self._create_collection,
            RenameCollection: self._rename_collection,
            RunCommand: self._run_command,
            Scan: self._scanned,
            Transaction: self._together,
            Watch: Watch.require_possible,
            WatchDatabase: Watch.require_possible,
            WatchServer: Watch.require_possible,
        }

    def check(self, operation: Operation[Any]) -> None:
        """Return if ``operation`` may run, for a caller with every right."""
        kind = type(operation)
        namespace = operation.namespace
        self._database(namespace.database)
        if namespace.collection or kind.scope == "collection":
            self._collection(namespace.collection)
        if namespace.database in SERVER_DATABASES or namespace.collection[:7] == "system.":
            self._server_namespace(namespace, operation)
        special = self._special.get(kind)
        if special is not None:
            special(operation)
        self._operators(operation, kind)

    def redact(self, result: Result) -> None:
        """Take the system database out of lists of databases, and of changes."""
        if type(result) is DatabasesResult:
            hidden = [item for item in result.databases if item["name"].casefold() == self._system]
            if hidden:
                result.databases = [item for item in result.databases if item not in hidden]
                result.total_size -= sum(item.get("sizeOnDisk", 0) for item in hidden)
        elif type(result) is ChangesResult:
            result.changes = OutOf(result.changes, self._system)
        elif type(result) is CommandResult and isinstance(result.result.get("databases"), list):
            self._redact_command(result.result)

    def _redact_command(self, reply: Document) -> None:
        hidden = [item for item in reply["databases"] if str(item.get("name")).casefold() == self._system]
        if not hidden:
            return
        reply["databases"] = [item for item in reply["databases"] if item not in hidden]
        size = sum(item.get("sizeOnDisk", 0) for item in hidden)
        if "totalSize" in reply:
            reply["totalSize"] -= size
        if "totalSizeMb" in reply:
            reply["totalSizeMb"] = int(reply["totalSize"]) // (1024 * 1024)

    def _operators(
        self, operation: Operation[Any], kind: type[Operation[Any]], checked: Document | None = None
    ) -> None:
        for name in _FIELDS[kind]:
            value = getattr(operation, name)
            if value and value is not checked:
                self._scan.expressions(value)
                if name == "update" and type(value) is list:
                    self._scan.stages(value)

    def _check_database(self, name: str) -> None:
        if name.casefold() == self._system:
            raise PermissionDenied(f"the database {name!r} belongs to the server and is not reachable")
        if not name or not _FORBIDDEN_IN_DATABASE.isdisjoint(name) or len(name.encode("utf-8", "replace")) > 63:
            raise DataError(f"Invalid database name: {name[:80]!r}", number=73)

    def _server_namespace(self, namespace: Namespace, operation: Operation[Any]) -> None:
        if operation.parts or isinstance(operation, EndTransaction):
            return  # each part is looked at by itself
        writes = operation.effect is not Effect.READ and type(operation).scope == "collection"
        if namespace.database in SERVER_DATABASES:
            if writes:
                raise PermissionDenied(f"the database {namespace.database!r} is the server's own and is not written to")
            if namespace.collection.startswith("system."):
                raise PermissionDenied(f"the collection {str(namespace)!r} is the server's own and is not reachable")
        elif writes:
            raise PermissionDenied(f"the collection {namespace.collection!r} is the server's own and is not written to")

    def _reached(self, database: str | None, collection: str | None, *, writing: bool = False) -> None:
        """Check a namespace that a pipeline or command names; None where it names no database or collection."""
        if database is not None:
            self._database(database)
            if database in SERVER_DATABASES and (writing or (collection or "").startswith("system.")):
                raise PermissionDenied(f"the database {database!r} is the server's own")
        if not writing or collection is None:
            return
        self._collection(collection)
        if collection.startswith("system."):
            raise PermissionDenied(f"the collection {collection!r} is the server's own and is not written to")

    def _aggregate(self, operation: Aggregate) -> None:
        self._scan.pipeline(operation.pipeline, operation.namespace.database)

    def _scanned(self, operation: Scan) -> None:
        query = operation.query
        if query.namespace != operation.namespace:
            raise InvalidParameter("query: reads another namespace than its scan")
        if not Scan.suits(query):
            raise InvalidParameter("pipeline: one that ends in $out or $merge has no documents to read on")
        self.check(query)

    def _together(self, operation: Transaction) -> None:
        operation.require_possible()
        for part in operation.operations:
            self.check(part)

    def _bulk_write(self, operation: BulkWrite) -> None:
        shared: Document | None = None
        for index, write in enumerate(operation.operations):
            if write.namespace != operation.namespace:
                raise InvalidParameter(f"operations[{index}]: writes to another namespace than its bulk")
            self._operators(write, type(write), shared)
            if isinstance(write, Parametrized):
                shared = write.let  # mostly that of the next one too, and it may be large

    def _create_index(self, operation: CreateIndex) -> None:
        _check_options(operation.options)

    def _create_collection(self, operation: CreateCollection) -> None:
        options = operation.options
        _check_options(options)
        pipeline = options.get("pipeline")
        if isinstance(pipeline, list):
            self._scan.pipeline(pipeline, operation.namespace.database, output=False)

    def _rename_collection(self, operation: RenameCollection) -> None:
        self._reached(operation.namespace.database, operation.to, writing=True)

    def _run_command(self, operation: RunCommand) -> None:
        self._commands.check(operation.command, operation.namespace.database)


class OutOf:
    """A change stream without the events of one database."""

    def __init__(self, changes: ChangeStream, database: str) -> None:
        self._changes = changes
        self._database = database
        self.close = changes.close

    @property
    def token(self) -> Document | None:
        """Answer as :class:`doorleaf.operations.results.ChangeStream`."""
        return self._changes.token

    async def next(self) -> list[Document] | None:
        """Answer as :meth:`doorleaf.operations.results.ChangeStream.next`."""
        events = await self._changes.next()
        return events and [event for event in events if not self._is_hidden(event)]

    def _is_hidden(self, event: Document) -> bool:
        return str((event.get("ns") or {}).get("db", "")).casefold() == self._database


def _check_options(options: Document) -> None:
    for name in options:
        if name in _NO_OPTIONS or name.startswith("$"):
            raise InvalidParameter(f"options: {name!r} is not an option")


def _check_collection(name: str) -> None:
    if not name or name[0] == "." or name[-1] == "." or "\0" in name or "$" in name or ".." in name:
        raise DataError(f"Invalid collection name: {name[:80]!r}", number=73)
    if len(name.encode("utf-8", "replace")) > 235:
        raise DataError(f"Invalid collection name: longer than 235 bytes: {name[:80]!r}", number=73)
