"""The store port: everything that can execute operations is a store."""

from __future__ import annotations

from typing import Protocol

from doorleaf.errors import DataError, RequestError
from doorleaf.operations import Operation, R


class Store(Protocol):
    """A database behind one method.

    ``execute`` raises :class:`doorleaf.errors.DataError` when the database refuses, ``StoreUnavailable`` or
    ``StoreTimeout`` when it cannot answer, ``Unsupported`` when this engine lacks what was asked for. It never
    ignores a field of the operation. ``open`` and ``close`` bound its life; ``open`` does not wait for a server.
    """

    async def open(self) -> None: ...

    async def execute(self, operation: Operation[R]) -> R: ...

    async def close(self) -> None: ...


def answer_too_large(most: int) -> RequestError:
    """The error of an answer of more than ``most`` bytes."""
    return RequestError(
        f"the answer has more than {most} bytes, the most that this server answers; ask for fewer documents or fields",
        code="ReadSizeLimitExceeded",
    )


def scan_refused(namespace: str, most: int) -> DataError:
    """The error of an operation that would read a collection of more than ``most`` documents without an index."""
    return DataError(
        f"no index serves this on {namespace}, which has more than {most} documents, the most that this server scans; "
        "create an index that does",
        number=291,
    )
