"""From the body of a request to an operation: a decoder for each operation, made once from its parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, cast

from doorleaf.documents import Document
from doorleaf.errors import InvalidParameter, MissingParameter, RequestError
from doorleaf.operations.base import Operation
from doorleaf.operations.fields import Check, checks, count, wrong
from doorleaf.operations.parameters import parameters
from doorleaf.operations.places import LONGEST_NAMES, ONE_PLACE, Namespace, Places
from doorleaf.operations.registry import (
    WRITES,
    BulkWrite,
    CreateIndex,
    DropIndex,
    FindOneAndReplace,
    FindOneAndUpdate,
    InsertOne,
    ReplaceOne,
    RunCommand,
    UpdateMany,
    UpdateOne,
    Write,
)

_OF_THE_WHOLE_BULK = ("comment", "max_time_ms")

_MOST_COPIED = 100_000
"""How many variables of a bulk write its writes may have beside their own, which takes a few megabytes."""


class Decoder:
    """Calls with a request's body answer the operation. Unknown keys are ignored, null counts as absent.

    ``names`` are further names of fields, each with the operation's own.
    """

    __slots__ = ("_fields", "_finish", "_operation", "_places", "_required", "_scope")

    def __init__(
        self,
        operation: type[Operation[Any]],
        places: Places,
        *,
        names: Mapping[str, str] | None = None,
    ) -> None:
        self._operation = operation
        self._scope = operation.scope
        self._places = places
        self._finish = _FINISH.get(operation)
        self._fields: dict[str, tuple[str, Check]] = {}
        for item in parameters(operation):
            self._fields |= checks(item)
        self._fields |= {name: self._fields[own] for name, own in (names or {}).items()}
        self._required = tuple(
            (item.attribute, item.name, item.kind) for item in parameters(operation) if item.required
        )

    @property
    def names(self) -> frozenset[str]:
        """Every key of a body that fills a field of the operation."""
        return frozenset(self._fields)

    @classmethod
    def of_write(cls, operation: type[Operation[Any]]) -> Decoder:
        """A decoder for an entry of a bulk write, where a plain document is no update."""
        decoder = cls(operation, ONE_PLACE)  # each acts where the bulk does
        decoder._fields = {name: entry for name, entry in decoder._fields.items() if entry[0] not in _OF_THE_WHOLE_BULK}
        if operation in (UpdateOne, UpdateMany):
            decoder._finish = _operators_only
        return decoder

    def __call__(self, body: Document) -> Operation[Any]:
        return self.decode(body, self.namespace(body))

    def decode(self, body: Document, namespace: Namespace) -> Operation[Any]:
        """The operation on ``namespace`` whose other fields are in ``body``."""
        values: dict[str, Any] = {"namespace": namespace}
        known = self._fields
        for name, value in body.items():
            entry = known.get(name)
            if entry is None or value is None:
                continue
            attribute, check = entry
            value = check(value, name)
            if attribute in values and values[attribute] != value:
                raise InvalidParameter(f"{name}: contradicts the other name of the same field")
            values[attribute] = value
        for attribute, name, kind in self._required:
            if attribute not in values:
                if name in body:
                    raise wrong(name, kind.value, None)
                raise MissingParameter(f"{name} is required")
        operation = self._operation(**values)
        return operation if self._finish is None else self._finish(operation)

    def namespace(self, body: Document) -> Namespace:
        """Where the operation acts, by the names in ``body``; their spelling is for the guards to judge."""
        named, database, collection = body.get("dataSource"), body.get("database"), body.get("collection")
        if named is not None and (type(named) is not str or not named):
            raise wrong("dataSource", "a non-empty string", named)
        places = self._places
        if self._scope == "server":
            database = "admin"
        elif database is None:
            database = places.default_database(named)
            if database is None:
                raise MissingParameter("database is required: this data source has no default database")
        elif type(database) is not str or not database:
            raise wrong("database", "a non-empty string", database)
        if self._scope != "collection":
            collection = ""
        elif collection is None:
            raise MissingParameter("collection is required")
        elif type(collection) is not str or not collection:
            raise wrong("collection", "a non-empty string", collection)
        if len(database) + len(collection) + len(named or "") > LONGEST_NAMES:
            return places.locate(named, database, collection)
        return places.remembered(named, database, collection)


def _has_operators(update: Document, *, name: str = "update") -> bool:
    """Whether ``update`` is made of operators; False for a plain document. Both at once is refused."""
    operator = plain = None
    for key in update:
        if key[:1] == "$":
            operator = operator or key
        elif plain is None:
            plain = key
    if operator is not None and plain is not None:
        raise InvalidParameter(f"{name}: has the operator {operator} beside the plain field {plain!r}")
    return operator is not None


def _update_one(operation: UpdateOne) -> Operation[Any]:
    update = operation.update
    if isinstance(update, list) or _has_operators(update):
        return operation
    _no_array_filters(operation)
    return ReplaceOne(
        namespace=operation.namespace,
        comment=operation.comment,
        max_time_ms=operation.max_time_ms,
        filter=operation.filter,
        replacement=update,
        upsert=operation.upsert,
        sort=operation.sort,
        collation=operation.collation,
        hint=operation.hint,
        let=operation.let,
    )


def _update_many(operation: UpdateMany) -> Operation[Any]:
    update = operation.update
    if isinstance(update, dict) and not _has_operators(update):
        _no_array_filters(operation)
        # The server replaces many documents only in a pipeline; a different `_id` in it is refused there.
        whole = {"$mergeObjects": [{"_id": "$_id"}, {"$literal": update}]}
        operation.update = [{"$replaceWith": whole}]
    return operation


def _no_array_filters(operation: UpdateOne | UpdateMany) -> None:
    if operation.array_filters:
        raise InvalidParameter("arrayFilters: need update operators; the update is a plain document")


def _operators_only(operation: FindOneAndUpdate | UpdateOne | UpdateMany) -> Operation[Any]:
    update = operation.update
    if isinstance(update, dict) and not _has_operators(update):
        raise InvalidParameter("update: expected update operators such as $set, or a pipeline, got a plain document")
    return operation


def _plain(operation: ReplaceOne | FindOneAndReplace) -> Operation[Any]:
    for number, key in enumerate(operation.replacement):
        # In a new document names may begin with a dollar; what begins with such a name is an update.
        if key.startswith("$") and not (operation.upsert and number):
            raise InvalidParameter("replacement: the replace operation document must not contain atomic operators")
    return operation


def _bulk_write(operation: BulkWrite) -> Operation[Any]:
    # The check of Kind.WRITES leaves the entries as they came.
    entries = cast("list[Document]", operation.operations)
    operation.operations = [_write(index, entry, operation.namespace) for index, entry in enumerate(entries)]
    if operation.let is not None:
        _share(operation.operations, operation.let)
        operation.let = None
    return operation


def _share(writes: Sequence[Write], variables: Document) -> None:
    """Give each of ``writes`` the ``variables`` that it has not itself, so that whoever looks at one sees them.

    Those with none of their own have one dictionary together.
    """
    copied = 0
    for index, write in enumerate(writes):
        if isinstance(write, InsertOne):
            continue
        if not write.let:
            write.let = variables
            continue
        copied += len(variables)
        if copied > _MOST_COPIED:
            raise InvalidParameter(
                f"operations[{index}].let: the let of the bulkWrite has {len(variables)} variables, too many to have "
                f"others beside them in so many writes: {_MOST_COPIED} in all"
            )
        write.let = {**variables, **write.let}


def _write(index: int, entry: Document, namespace: Namespace) -> Write:
    where = f"operations[{index}]"
    if len(entry) != 1:
        raise InvalidParameter(f"{where}: expected one key, the write's name, got {len(entry)}")
    [(name, body)] = entry.items()
    decoder = _write_decoders().get(name)
    if decoder is None:
        raise InvalidParameter(f"{where}: {name!r} is not a write; use one of {', '.join(WRITES)}")
    if type(body) is not dict:
        raise wrong(f"{where}.{name}", "an object", body)
    try:
        return cast("Write", decoder.decode(body, namespace))
    except RequestError as error:
        raise type(error)(f"{where}.{name}.{error.message}", code=error.code) from None


@lru_cache(maxsize=1)
def _write_decoders() -> dict[str, Decoder]:
    return {name: Decoder.of_write(operation) for name, operation in WRITES.items()}


def _create_index(operation: CreateIndex) -> Operation[Any]:
    if not operation.keys:
        raise InvalidParameter("keys: must name at least one field")
    return operation


def _drop_index(operation: DropIndex) -> Operation[Any]:
    if operation.index == "_id_":
        raise InvalidParameter("name: the index _id_ cannot be dropped")
    if operation.index == "*":
        raise InvalidParameter("name: expected the name of one index, got *")
    return operation


def _run_command(operation: RunCommand) -> Operation[Any]:
    command = operation.command
    if not command:
        raise InvalidParameter("command: expected an object whose first key is the command's name, got an empty one")
    limit = command.get("maxTimeMS")
    if limit is not None and next(iter(command)) != "maxTimeMS":
        # One time limit for all operations, so a command cannot get around the server's.
        operation.max_time_ms = count(limit, "command.maxTimeMS")
        operation.command = {key: value for key, value in command.items() if key != "maxTimeMS"}
    return operation


_FINISH: dict[type[Operation[Any]], Callable[[Any], Operation[Any]]] = {
    UpdateOne: _update_one,
    UpdateMany: _update_many,
    ReplaceOne: _plain,
    FindOneAndUpdate: _operators_only,
    FindOneAndReplace: _plain,
    BulkWrite: _bulk_write,
    CreateIndex: _create_index,
    DropIndex: _drop_index,
    RunCommand: _run_command,
}
