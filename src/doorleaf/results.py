"""What operations answer: one class per shape, its fields named as on the wire."""

from __future__ import annotations

from dataclasses import Field, dataclass, field, fields
from typing import Any, Protocol

from doorleaf.documents import ABSENT, Document, Documents


def camel(attribute: str) -> str:
    """``max_time_ms`` → ``maxTimeMS``, ``array_filters`` → ``arrayFilters``."""
    head, *rest = attribute.split("_")
    return head + "".join("MS" if part == "ms" else part.capitalize() for part in rest)


@dataclass(slots=True)
class Result:
    """What an operation answers. ``wire()`` gives its members by wire name; values are BSON values,
    :class:`Documents`, or ``bytes`` in ``document`` for one whole BSON document."""

    def wire(self) -> Document:
        return {camel(item.name): value for item in members(self) if (value := getattr(self, item.name)) is not ABSENT}


def members(result: Result | type[Result]) -> list[Field[Any]]:
    """The fields of a result that are on the wire."""
    return [item for item in fields(result) if item.metadata.get("wire", True)]


@dataclass(slots=True)
class DocumentResult(Result):
    """One document as BSON bytes, or as Python values when somebody had to look inside, or None.

    ``source`` is BSON that has every value of it, and maybe some that are not its own: only for looking.
    """

    document: bytes | Document | None
    source: bytes | None = field(default=None, repr=False, compare=False, metadata={"wire": False})


@dataclass(slots=True)
class DocumentsResult(Result):
    documents: Documents


@dataclass(slots=True)
class InsertOneResult(Result):
    inserted_id: Any


@dataclass(slots=True)
class InsertManyResult(Result):
    """The ids in the order of the input."""

    inserted_ids: list[Any]


@dataclass(slots=True)
class UpdateResult(Result):
    """``upserted_id`` is there only when an upsert inserted, whatever its value; then the counts are 0."""

    matched_count: int
    modified_count: int
    upserted_id: Any = ABSENT


@dataclass(slots=True)
class DeleteResult(Result):
    deleted_count: int


@dataclass(slots=True)
class CountResult(Result):
    count: int


@dataclass(slots=True)
class DistinctResult(Result):
    values: list[Any]


@dataclass(slots=True)
class BulkWriteResult(Result):
    """``upserted_ids`` and ``inserted_ids`` are keyed by the operation's index, as a string."""

    inserted_count: int = 0
    matched_count: int = 0
    modified_count: int = 0
    deleted_count: int = 0
    upserted_count: int = 0
    upserted_ids: Document = field(default_factory=dict)
    inserted_ids: Document = field(default_factory=dict)

    def add(self, index: int, result: Result) -> None:
        """Account for the write at ``index``, which answered ``result``."""
        if isinstance(result, InsertOneResult):
            self.inserted_count += 1
            self.inserted_ids[str(index)] = result.inserted_id
        elif isinstance(result, DeleteResult):
            self.deleted_count += result.deleted_count
        elif isinstance(result, UpdateResult):
            self.matched_count += result.matched_count
            self.modified_count += result.modified_count
            if result.upserted_id is not ABSENT:
                self.upserted_count += 1
                self.upserted_ids[str(index)] = result.upserted_id


@dataclass(slots=True)
class CreateIndexResult(Result):
    created_collection_automatically: bool
    num_indexes_before: int
    num_indexes_after: int
    ok: int = 1


@dataclass(slots=True)
class DropIndexResult(Result):
    n_indexes_was: int
    ok: int = 1


@dataclass(slots=True)
class IndexesResult(Result):
    indexes: list[Document]


@dataclass(slots=True)
class CollectionsResult(Result):
    """Each is ``{name, type}``, type ``collection``, ``view`` or ``timeseries``."""

    collections: list[Document]


@dataclass(slots=True)
class DatabasesResult(Result):
    """Each is ``{name, sizeOnDisk, empty}``; sizes in bytes."""

    databases: list[Document]
    total_size: int
    ok: int = 1


@dataclass(slots=True)
class OkResult(Result):
    ok: int = 1


@dataclass(slots=True)
class CommandResult(Result):
    """The server's reply without its cluster bookkeeping (``$clusterTime``, ``operationTime``, ``signature``)."""

    result: Document


class ChangeStream(Protocol):
    """Change events in MongoDB's form, in the order of the changes, from when the stream was opened on.

    ``next`` answers those that have come; without any it waits a second at most and answers none. It is None when
    there will never be another, after an ``invalidate`` event. ``next`` raises DoorleafError when events were lost or
    the database cannot be reached; the stream is over then. Whoever has a stream closes it.
    """

    async def next(self) -> list[Document] | None: ...

    async def close(self) -> None: ...


@dataclass(slots=True)
class ChangesResult(Result):
    """An open change stream. It answers for itself: nothing of it is on the wire yet."""

    changes: ChangeStream
