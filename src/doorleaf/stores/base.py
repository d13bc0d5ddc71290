"""The store port: everything that can execute operations is a store."""

from __future__ import annotations

from typing import Protocol

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
