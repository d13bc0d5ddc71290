"""What commands and change streams ask of the store that carries them out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from doorleaf.documents import Document
from doorleaf.mql.context import Context
from doorleaf.operations import Operation, R
from doorleaf.stores.embedded.file.storage import Session
from doorleaf.stores.embedded.writing.rows import Transaction

T = TypeVar("T")


class Host(Protocol):
    """The embedded store, as those see it that it calls."""

    opened_at: float

    async def execute(self, operation: Operation[R]) -> R: ...

    def now(self, work: Callable[[Session], T]) -> T: ...

    def version(self) -> int: ...

    async def read(self, work: Callable[..., Any], *arguments: Any, context: Context) -> Any: ...

    async def databases(self, work: Callable[..., Any], *arguments: Any, context: Context) -> list[Document]: ...

    async def write(self, work: Callable[[Transaction], T], context: Context) -> T: ...

    async def work(
        self, work: Callable[..., Any], *arguments: Any, context: Context, sliceable: bool = False
    ) -> Any: ...

    def require_present(self) -> None: ...

    def note(self) -> str: ...
