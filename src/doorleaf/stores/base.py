"""The store port: everything that can execute operations is a store."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Protocol, Self, runtime_checkable

import bson

from doorleaf.documents import CODEC, Document, Documents
from doorleaf.errors import DataError, DoorleafError, DuplicateKey, RequestError, WriteFailed, shortened
from doorleaf.operations import Operation, R

MOST_RESULT_BYTES = 128 * 1024 * 1024
"""Bytes of documents that one answer may have where nothing less is set: it is held in memory as a whole."""


class Store(Protocol):
    """A database behind one method.

    ``execute`` raises :class:`doorleaf.errors.DataError` when the database refuses, ``StoreUnavailable`` or
    ``StoreTimeout`` when it cannot answer, ``Unsupported`` when this engine lacks what was asked for. It never
    ignores a field of the operation. ``open`` and ``close`` bound its life; ``open`` does not wait for a server.
    """

    async def open(self) -> None: ...

    async def execute(self, operation: Operation[R]) -> R: ...

    async def close(self) -> None: ...


@runtime_checkable
class Pooled(Protocol):
    """A store that has connections or processes of its own, and can say how many are in which state."""

    def pool(self) -> Mapping[str, int]: ...


@runtime_checkable
class Ways(Protocol):
    """A store that has more than one way to its server, and can say which it takes."""

    def way(self) -> str: ...


MOST_EXPLAINED = 1024 * 1024
"""Bytes that the reasons of a validator may take in one answer; entries beyond have none."""


class Batches(ABC):
    """Documents that are read as they are taken, the first batch before anybody asks: see
    :class:`doorleaf.operations.results.DocumentStream`. ``most`` is how many bytes they may have together, None or 0
    for any number."""

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._first: bytes | None = None
        self._size = 0

    async def open(self) -> Self:
        """Read the first batch; raises what reading does."""
        try:
            self._first = await self.read()
        except BaseException:
            await self.close()
            raise
        return self

    async def next(self) -> Documents | None:
        """Answer as :meth:`doorleaf.operations.results.DocumentStream.next`."""
        batch, self._first = self._first, None
        if batch is None:
            batch = await self.read()
        return None if batch is None else Documents([batch])

    def counted(self, batch: bytes | None) -> bytes | None:
        """``batch``, which has been read; DataError if all together are too large with it."""
        self._size += len(batch or b"")
        if self._most and self._size > self._most:
            raise answer_too_large(self._most)
        return batch

    @abstractmethod
    async def read(self) -> bytes | None:
        """The next batch; None at the end."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of what is read from."""


class Failures:
    """The failures of several writes: the entries of ``writeErrors``.

    Once the messages have :data:`MOST_EXPLAINED` characters together, which is where MongoDB's become empty, those of
    further entries are the names of their codes. The reasons of validators have as many bytes.
    """

    def __init__(self) -> None:
        self.entries: list[Document] = []
        self._told = 0
        self._left = MOST_EXPLAINED

    def add(self, index: int, code: int, error: DoorleafError) -> None:
        """Note that the write at ``index`` failed with MongoDB's ``code``."""
        message = error.message if self.tells else error.code
        self._told += len(message)
        entry: Document = {"index": index, "code": code, "message": message}
        reasons = error.fields.get("errInfo")
        if reasons is not None:
            self._left -= len(bson.encode(reasons, codec_options=CODEC))
            if self._left >= 0:
                entry["errInfo"] = reasons
        self.entries.append(entry)

    @property
    def tells(self) -> bool:
        """Whether there is room for the message of one more."""
        return self._told < MOST_EXPLAINED

    @property
    def explains(self) -> bool:
        """Whether there is room for the reasons of one more."""
        return self._left > 0

    def error(self, fields: Mapping[str, Any]) -> WriteFailed:
        """The error of the whole; ``fields`` say what was done."""
        first = self.entries[0]
        return WriteFailed(first["message"], number=first["code"], fields={**fields, "writeErrors": self.entries})


def answer_too_large(most: int) -> RequestError:
    """The error of an answer of more than ``most`` bytes."""
    return RequestError(
        f"the answer has more than {most} bytes, the most that this server answers; ask for fewer documents or fields",
        code="ReadSizeLimitExceeded",
    )


def require_small(size: int, most: int | None) -> None:
    """Raise ReadSizeLimitExceeded for an answer of ``size`` bytes, of which there may be ``most``."""
    if size > (most or MOST_RESULT_BYTES):
        raise answer_too_large(most or MOST_RESULT_BYTES)


def scan_refused(namespace: str, most: int) -> DataError:
    """The error of an operation that would read a collection of more than ``most`` documents without an index."""
    return DataError(
        f"no index serves this on {namespace}, which has more than {most} documents, the most that this server scans; "
        "create an index that does",
        number=291,
    )


def failed_part(index: int, part: Operation[Any], error: DoorleafError) -> DoorleafError:
    """The error of a whole transaction whose operation at ``index`` failed with ``error``: nothing of it is there."""
    fields = {name: value for name, value in error.fields.items() if name == "errInfo"}
    told = shortened(f"operations[{index}] ({part.name}): {error.message}")
    if isinstance(error, WriteFailed):  # what it says was done has been undone
        if error.number == 11000:
            return DuplicateKey(told, fields={"index": index})
        return DataError(told, number=error.number, code=error.code, fields={"index": index})
    error.message, error.fields, error.args = told, {**fields, "index": index}, (told,)
    return error
