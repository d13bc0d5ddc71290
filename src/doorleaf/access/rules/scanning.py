"""What a caller sees of documents that are read as they are taken."""

from __future__ import annotations

import time
from collections.abc import Callable

from doorleaf.apart import JUDGING
from doorleaf.documents import Documents
from doorleaf.mql.context import Context
from doorleaf.operations.results import DocumentsResult, DocumentStream, Result


class SeenDocuments:
    """The part of a stream of documents that ``redact`` leaves of each batch, ``seconds`` being the time for one.

    With ``context`` redacting evaluates what the caller wrote, up to the context's deadline.
    """

    def __init__(
        self,
        documents: DocumentStream,
        *,
        redact: Callable[[Result], Result],
        context: Context | None,
        seconds: float,
    ) -> None:
        self._documents = documents
        self._redact = redact
        self._context = context
        self._seconds = seconds

    async def next(self) -> Documents | None:
        """Answer as :meth:`doorleaf.operations.results.DocumentStream.next`."""
        found = await self._documents.next()
        return None if found is None else await JUDGING.run(self._seconds, self._seen, found)

    def _seen(self, found: Documents) -> Documents:
        if self._context is not None:
            self._context.deadline = time.monotonic() + self._seconds
        result = self._redact(DocumentsResult(found))
        assert isinstance(result, DocumentsResult)  # noqa: S101  # that is what it makes of one
        return result.documents

    async def close(self) -> None:
        """Close the stream below."""
        await self._documents.close()
