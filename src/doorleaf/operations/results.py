"""What operations answer: one class per shape, its fields named as on the wire."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import Field, dataclass, field, fields, replace
from functools import cache
from typing import Any, Protocol

import bson

from doorleaf.documents import ABSENT, CODEC, Document, Documents


@cache
def camel(attribute: str) -> str:
    """``max_time_ms`` → ``maxTimeMS``, ``array_filters`` → ``arrayFilters``."""
    head, *rest = attribute.split("_")
    return head + "".join("MS" if part == "ms" else part.capitalize() for part in rest)


@dataclass(slots=True)
class Result:
    """The result of an operation. ``wire()`` gives its members by wire name; values are BSON values,
    :class:`Documents`, or ``bytes`` in ``document`` for one whole BSON document."""

    def wire(self) -> Document:
        return {camel(item.name): value for item in members(self) if (value := getattr(self, item.name)) is not ABSENT}

    def size(self) -> int:
        """How many bytes of BSON documents and values have that were read or made; 0 where none were."""
        return 0

    def is_large(self, size: int, count: int) -> bool:
        """Whether there are ``size`` bytes of BSON or more; where its bytes are not there, ``count`` values or more."""
        return False

    @property
    def written(self) -> dict[str, int]:
        """How many documents were inserted, modified, upserted and deleted, as far as the result says so."""
        return {}


def members(result: Result | type[Result]) -> list[Field[Any]]:
    """The fields of a result that are on the wire."""
    return [item for item in fields(result) if item.metadata.get("wire", True)]


def size_of(value: Any) -> int:
    """How many bytes of BSON the value of a field has, about."""
    return len(bson.encode({"": value}, codec_options=CODEC))


@dataclass(slots=True)
class DocumentResult(Result):
    """One document as BSON bytes, or as Python values when somebody had to look inside, or None.

    ``source`` is BSON that has every value of it, and maybe some that are not its own: only for looking.
    """

    document: bytes | Document | None
    source: bytes | None = field(default=None, repr=False, compare=False, metadata={"wire": False})

    def size(self) -> int:
        document = self.document
        if document is None:
            return 0
        return len(document if isinstance(document, bytes) else bson.encode(document, codec_options=CODEC))

    def is_large(self, size: int, count: int) -> bool:
        return type(self.document) is bytes and len(self.document) >= size


@dataclass(slots=True)
class DocumentsResult(Result):
    documents: Documents
    total: int | None = field(default=None, metadata={"wire": False})

    def size(self) -> int:
        return sum(map(len, self.documents.batches))

    def is_large(self, size: int, count: int) -> bool:
        if not self.documents.encoded:
            return len(self.documents.decoded or ()) >= count
        return self.size() >= size


@dataclass(slots=True)
class InsertOneResult(Result):
    inserted_id: Any

    @property
    def written(self) -> dict[str, int]:
        return {"inserted": 1}


@dataclass(slots=True)
class InsertManyResult(Result):
    """The ids in the order of the input."""

    inserted_ids: list[Any]

    def is_large(self, size: int, count: int) -> bool:
        return len(self.inserted_ids) >= count

    @property
    def written(self) -> dict[str, int]:
        return {"inserted": len(self.inserted_ids)}


@dataclass(slots=True)
class UpdateResult(Result):
    """``upserted_id`` is there only when an upsert inserted, whatever its value; then the counts are 0."""

    matched_count: int
    modified_count: int
    upserted_id: Any = ABSENT

    def size(self) -> int:
        return 0 if self.upserted_id is ABSENT else size_of(self.upserted_id)

    def is_large(self, size: int, count: int) -> bool:
        return self.size() >= size

    @property
    def written(self) -> dict[str, int]:
        return {"modified": self.modified_count, "upserted": int(self.upserted_id is not ABSENT)}


@dataclass(slots=True)
class DeleteResult(Result):
    deleted_count: int

    @property
    def written(self) -> dict[str, int]:
        return {"deleted": self.deleted_count}


@dataclass(slots=True)
class CountResult(Result):
    count: int


@dataclass(slots=True)
class DistinctResult(Result):
    values: list[Any]

    def size(self) -> int:
        return len(bson.encode({"values": self.values}, codec_options=CODEC))

    def is_large(self, size: int, count: int) -> bool:
        return len(self.values) >= count


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

    def size(self) -> int:
        return sum(map(size_of, self.upserted_ids.values()))  # of inserts a caller sent them, or they are 12 bytes

    def is_large(self, size: int, count: int) -> bool:
        return len(self.inserted_ids) + len(self.upserted_ids) >= count or self.size() >= size

    @property
    def written(self) -> dict[str, int]:
        return {
            "inserted": self.inserted_count,
            "modified": self.modified_count,
            "upserted": self.upserted_count,
            "deleted": self.deleted_count,
        }

    def copy(self) -> BulkWriteResult:
        """The same as it is now."""
        return replace(self, upserted_ids={**self.upserted_ids}, inserted_ids={**self.inserted_ids})

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

    def size(self) -> int:
        return len(bson.encode(self.result, codec_options=CODEC))


@dataclass(slots=True)
class TransactionResult(Result):
    """The results of the operations, in their order. ``added`` are the documents and bytes that guards have counted,
    None where those of the caller know."""

    results: list[Result]
    added: tuple[int, int] | None = None

    def size(self) -> int:
        return sum(result.size() for result in self.results)

    def is_large(self, size: int, count: int) -> bool:
        return any(result.is_large(size, count) for result in self.results)


class ChangeStream(Protocol):
    """Change events in MongoDB's form, in the order of the changes, from when the stream was opened on.

    ``next`` answers those that have come; without any it waits a second at most and answers none. It is None when
    there will never be another, after an ``invalidate`` event. ``next`` raises DoorleafError when events were lost or
    the database cannot be reached; the stream is over then. Whoever has a stream closes it. ``token`` is where a stream
    that is to go on from here begins (``startAfter``), None while that is not known.
    """

    @property
    def token(self) -> Document | None: ...

    async def next(self) -> list[Document] | None: ...

    async def close(self) -> None: ...


class Event(Document):
    """A change event that several are told: what was made of it is kept in ``told``, by the way of making it.

    ``size`` are its bytes as BSON.
    """

    __slots__ = ("size", "told")

    def __init__(self, event: Document, size: int) -> None:
        super().__init__(event)
        self.size = size
        self.told: dict[Any, Any] = {}


class Events(list[Document]):
    """Change events that several are told together: what was made of all of them is kept in ``told``."""

    __slots__ = ("told",)

    def __init__(self, events: Iterable[Document] = ()) -> None:
        super().__init__(events)
        self.told: dict[Any, Any] = {}


@dataclass(slots=True)
class ChangesResult(Result):
    """An open change stream. It answers for itself: nothing of it is on the wire yet."""

    changes: ChangeStream


class DocumentStream(Protocol):
    """The documents of a query, a batch at a time; nothing is read that nobody asks for, but for one batch ahead.

    ``next`` answers the next documents, one at least, and None when there are no more. It raises DoorleafError when the
    rest cannot be had, ``StoreTimeout`` when the next did not come in the operation's time; the stream is over then.
    Whoever has a stream closes it.
    """

    async def next(self) -> Documents | None: ...

    async def close(self) -> None: ...


@dataclass(slots=True)
class ScanResult(Result):
    """Documents that are read as they are taken. It answers for itself: nothing of it is on the wire yet."""

    documents: DocumentStream
