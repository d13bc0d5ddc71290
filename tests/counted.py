"""A store that counts its change streams, and what tests of those who share them do with it."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from doorleaf.documents import Document
from doorleaf.errors import StoreUnavailable
from doorleaf.operations import InsertMany, Namespace, Watch
from doorleaf.operations.results import ChangesResult, ChangeStream
from doorleaf.stores.embedded.store import EmbeddedStore
from doorleaf.stores.mongo import MongoStore
from doorleaf.stores.router import Router

C = Namespace("db", "c")


class Counting:
    """A store that counts the streams that it opens, those that are open and the most that ever were;
    it can be away, or ``mute``: then they open, and cannot be read."""

    def __init__(self, store: EmbeddedStore | MongoStore) -> None:
        self.store = store
        self.opened = 0
        self.open_now = 0
        self.most = 0
        self.away = False
        self.mute = False

    async def open(self) -> None:
        await self.store.open()

    async def close(self) -> None:
        await self.store.close()

    async def execute(self, operation: Any) -> Any:
        if not isinstance(operation, Watch):
            return await self.store.execute(operation)
        if self.away:
            raise StoreUnavailable("the database cannot be reached")
        self.opened += 1
        self.open_now += 1
        self.most = max(self.most, self.open_now)
        try:
            return ChangesResult(Counted((await self.store.execute(operation)).changes, self))
        except BaseException:
            self.open_now -= 1
            raise


class Counted:
    def __init__(self, stream: ChangeStream, store: Counting) -> None:
        self._stream = stream
        self._store = store
        self._closed = False
        self.moment = stream.moment  # type: ignore[attr-defined]

    @property
    def token(self) -> Document | None:
        return self._stream.token

    async def next(self) -> list[Document] | None:
        if self._store.away or self._store.mute:
            raise StoreUnavailable("the database cannot be reached")
        return await self._stream.next()

    async def close(self) -> None:
        try:
            await self._stream.close()
        finally:
            self._store.open_now -= not self._closed
            self._closed = True


Body = Callable[[Router, Counting], Awaitable[None]]


def run(body: Body, uri: str = "", **options: Any) -> None:
    """Run ``body`` on a MongoDB, or on the embedded engine."""

    async def whole() -> None:
        with tempfile.TemporaryDirectory() as folder:
            store = Counting(MongoStore(uri) if uri else EmbeddedStore(Path(folder), synchronous="OFF"))
            router = Router({"a": store}, "a", **options)
            await router.open()
            try:
                await body(router, store)
            finally:
                await router.close()

    asyncio.run(whole())


async def watch(router: Router, **options: Any) -> ChangeStream:
    return (await router.execute(Watch(namespace=options.pop("namespace", C), **options))).changes


async def fill(router: Router, *identities: Any, **fields: Any) -> None:
    await router.execute(InsertMany(namespace=C, documents=[{"_id": one, **fields} for one in identities]))


async def keys(stream: ChangeStream, count: int) -> list[Any]:
    found: list[Any] = []
    async with asyncio.timeout(60):
        while len(found) < count:
            events = await stream.next()
            assert events is not None
            found += [event["documentKey"]["_id"] for event in events]
    return found
