"""Documents of a query into a file, as they are read: a batch of them is in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from doorleaf.documents import Documents
from doorleaf.operations import Find, Scan
from doorleaf.transfer.importing import Execute
from doorleaf.transfer.writing import Format


class Sink(Protocol):
    """Something that takes bytes; ``write`` may wait."""

    def write(self, data: bytes) -> None: ...


@dataclass(slots=True)
class Exported:
    """How many documents were written."""

    rows: int = 0


Tell = Callable[[Exported], None]


async def export(execute: Execute, query: Find, form: Format, sink: Sink, tell: Tell) -> Exported:
    """Write all documents of ``query``; ``tell`` is called after each batch."""
    done = Exported()
    stream = (await execute(Scan.of(query))).documents
    try:
        while (documents := await stream.next()) is not None:
            done.rows += await asyncio.to_thread(_write, documents, form, sink)
            tell(done)
    finally:
        await stream.close()
    await asyncio.to_thread(sink.write, form.end())
    return done


def _write(documents: Documents, form: Format, sink: Sink) -> int:
    listed = list(documents)
    sink.write(form.encode(listed))
    return len(listed)
