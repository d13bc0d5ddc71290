"""What a collection is besides its documents: its options and indexes, as ``mongodump`` keeps them."""

from __future__ import annotations

import contextlib
from typing import Any

from doorleaf.documents import Document
from doorleaf.errors import DataError, DoorleafError, InvalidParameter
from doorleaf.operations import CreateCollection, CreateIndex, ListIndexes, Namespace, RunCommand
from doorleaf.transfer.importing import Execute

_NAMESPACE_EXISTS, _NAMESPACE_NOT_FOUND = 48, 26
_NOT_OPTIONS = frozenset({"v", "key", "ns"})
"""What the description of an index has and its making does not take."""


async def make(execute: Execute, namespace: Namespace, options: Document) -> None:
    """Make the collection with ``options``, unless it is there."""
    kept = {name: value for name, value in options.items() if name not in ("uuid", "autoIndexId")}
    if not kept:
        return
    try:
        await execute(CreateCollection(namespace=namespace, options=kept))
    except DataError as error:
        if error.number != _NAMESPACE_EXISTS:
            raise


async def index(execute: Execute, namespace: Namespace, indexes: list[Document]) -> None:
    """Make the indexes that are not there. Raises InvalidParameter with all that could not be made."""
    failed = []
    for described in indexes:
        keys, name = described.get("key"), str(described.get("name", ""))
        if not isinstance(keys, dict) or name == "_id_":
            continue
        options = {option: value for option, value in described.items() if option not in _NOT_OPTIONS}
        try:
            await execute(CreateIndex(namespace=namespace, keys=_whole(keys), options=options))
        except DoorleafError as error:
            failed.append(f"{name}: {error.message}")
    if failed:
        raise InvalidParameter(f"indexes could not be made: {'; '.join(failed)}")


def _whole(keys: Document) -> Document:
    """Directions as integers; some dumps have them as doubles."""
    return {
        name: int(value) if isinstance(value, float) and value.is_integer() else value for name, value in keys.items()
    }


async def described(execute: Execute, namespace: Namespace) -> tuple[Document, list[Document]]:
    """The options and indexes of a collection. Raises InvalidParameter where there is none."""
    command: dict[str, Any] = {"listCollections": 1, "filter": {"name": namespace.collection}}
    place = Namespace(namespace.database, "", namespace.data_source)
    answer = (await execute(RunCommand(namespace=place, command=command))).result
    found = answer["cursor"]["firstBatch"]
    if not found:
        raise InvalidParameter(f"there is no collection {namespace}")
    indexes: list[Document] = []
    with contextlib.suppress(DataError):  # a view has none
        indexes = (await execute(ListIndexes(namespace=namespace))).indexes
    return found[0].get("options") or {}, indexes
