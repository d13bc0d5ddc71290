"""Documents of MongoDB that are read as they are taken: the driver's cursor, whose batches are asked for one by one.

No connection is held between two batches. The server ends a cursor that is not read on for ten minutes, and is told to
when its reader leaves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError

from doorleaf.documents import Document, Documents
from doorleaf.errors import StoreTimeout, StoreUnavailable
from doorleaf.operations import Find, Scan
from doorleaf.stores.base import Batches
from doorleaf.stores.mongo.arguments import GRACE, aggregating, hinted, ordering, time_limit
from doorleaf.stores.mongo.codes import UNREACHABLE
from doorleaf.stores.mongo.errors import MALFORMED, mapped, overlook

Database = AsyncDatabase[Document]

Placed = Callable[[Scan, float], AbstractAsyncContextManager[None]]
"""Within it a batch of the scan may be asked for; StoreTimeout at a time of the loop's."""

BATCH_DOCUMENTS = 1_000
"""Documents of a batch; the server's bound on its bytes, 16 MiB, holds as well."""

_CLOSING_SECONDS = 2.0


class Flow(Batches):
    """The documents of one scan: see :class:`doorleaf.operations.results.DocumentStream`."""

    def __init__(self, database: Database, operation: Scan, placed: Placed) -> None:
        super().__init__(operation.max_bytes)
        self._database = database
        self._operation = operation
        self._placed = placed
        self._cursor: Any = None
        self._asking: asyncio.Task[bytes | None] | None = None

    async def next(self) -> Documents | None:
        """Answer as :meth:`doorleaf.operations.results.DocumentStream.next`, errors as the store maps them."""
        try:
            return await super().next()
        except TimeoutError as error:
            if self._database.client.topology_description.has_readable_server():
                raise StoreTimeout("operation exceeded time limit") from error
            raise StoreUnavailable(UNREACHABLE) from error
        except (PyMongoError, *MALFORMED) as error:
            raise mapped(error) from error

    async def read(self) -> bytes | None:
        """The next batch, in a task of its own: whoever leaves does not wait for a server that has fallen silent."""
        loop, seconds = asyncio.get_running_loop(), time_limit(self._operation) / 1000
        deadline = loop.time() + seconds
        task = self._asking = loop.create_task(self._asked(deadline))
        task.add_done_callback(overlook)  # whoever reads may be gone before it ends
        async with asyncio.timeout_at(deadline + GRACE):
            batch = await asyncio.shield(task)
        self._asking = None
        return self.counted(batch)

    async def _asked(self, deadline: float) -> bytes | None:
        async with self._placed(self._operation, deadline):
            if self._cursor is None:
                self._cursor = await self._opened()
            async for batch in self._cursor:
                if batch:
                    return bytes(batch)
            return None

    async def _opened(self) -> Any:
        """The cursor. It has no time limit of the server's, which would be for all batches together."""
        query = self._operation.query
        collection = self._database[query.namespace.collection]
        if isinstance(query, Find):
            return collection.find_raw_batches(
                query.filter,
                query.projection or None,
                skip=query.skip,
                limit=query.limit,
                batch_size=BATCH_DOCUMENTS,
                sort=ordering(query.sort),
                collation=query.collation,
                hint=hinted(query.hint),
                let=query.let,
                comment=query.comment,
            )
        return await collection.aggregate_raw_batches(query.pipeline, batchSize=BATCH_DOCUMENTS, **aggregating(query))

    async def close(self) -> None:
        """Tell the server that nobody reads on, as far as it can be told: one that is silent is not waited for."""
        task, self._asking = self._asking, None
        if task is not None and not task.done():
            task.cancel()  # the driver ends the cursor with it
            await asyncio.wait({task}, timeout=_CLOSING_SECONDS)
        cursor, self._cursor = self._cursor, None
        if cursor is None:
            return
        task = asyncio.get_running_loop().create_task(cursor.close())
        await asyncio.wait({task}, timeout=_CLOSING_SECONDS)
        task.cancel()
        task.add_done_callback(overlook)  # whatever it is, nobody reads on
