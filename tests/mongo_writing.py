"""How tests write to a MongoDB: through a proxy that does harm, or directly."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from wire_proxy import WRITES, Proxy

from doorleaf.documents import Document
from doorleaf.operations import (
    CountDocuments,
    CreateCollection,
    DropCollection,
    InsertOne,
    Namespace,
)
from doorleaf.stores.mongo import MongoStore
from doorleaf.stores.mongo.lanes.connections import Lanes

NS = Namespace("mongo_write_lanes", "things")
Body = Callable[[MongoStore, Proxy], Awaitable[Any]]


def through(
    uri: str, plan: list[Any], body: Body, *, retries: bool, harmed: tuple[str, ...] = WRITES, **options: Any
) -> None:
    """Run ``body`` with a store that sees the server through a proxy; its first lane is open already."""

    async def whole() -> None:
        async with Proxy(uri, plan, harmed) as proxy:
            words = f"retryWrites={'true' if retries else 'false'}&maxPoolSize=4"
            store = MongoStore(proxy.uri(words), server_selection_timeout=2, **options)
            await store.open()
            try:
                await store.execute(DropCollection(namespace=NS))
                await store.execute(CreateCollection(namespace=NS))
                await body(store, proxy)
            finally:
                await store.close()

    asyncio.run(whole())


async def insert(store: MongoStore, document: Document, **options: Any) -> Any:
    return (await store.execute(InsertOne(namespace=NS, document=document, **options))).inserted_id


async def count(store: MongoStore) -> int:
    return (await store.execute(CountDocuments(namespace=NS))).count


def numbers(proxy: Proxy) -> list[tuple[Any, Any]]:
    return [(command.get("lsid", {}).get("id"), command.get("txnNumber")) for command in proxy.seen]


def directly(uri: str, body: Callable[[MongoStore, Lanes], Awaitable[Any]], words: str = "") -> None:
    async def whole() -> None:
        store = MongoStore(uri + words)
        await store.open()
        try:
            await store.execute(DropCollection(namespace=NS))
            await body(store, store._lanes)
        finally:
            await store.close()

    asyncio.run(whole())
