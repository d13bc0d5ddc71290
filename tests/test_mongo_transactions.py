"""Transactions on MongoDB leave nothing locked, whatever ends them, and may be the first that a server is asked for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from wire_proxy import Proxy, retrying

from doorleaf.errors import StoreTimeout
from doorleaf.operations import BulkWrite, EndTransaction, FindOne, Held, Namespace, Transaction, UpdateOne
from doorleaf.stores.mongo import MongoStore

NS = Namespace("mongo_transactions", "things")
LOOK: dict[str, Any] = {"namespace": NS, "filter": {"_id": 1}}


def adding(number: int, **others: Any) -> UpdateOne:
    return UpdateOne(**LOOK, update={"$inc": {"n": number}}, upsert=True, **others)


async def over_several_operations(store: MongoStore) -> None:
    held = Held()
    await store.execute(adding(10, within=held))
    try:
        await store.execute(FindOne(**LOOK, within=held, max_time_ms=300))
    finally:
        assert held.ended == "was aborted by an error"
        await store.execute(EndTransaction(namespace=NS, within=held))


async def of_several_operations(store: MongoStore) -> None:
    await store.execute(Transaction.of([adding(10), FindOne(**LOOK)], max_time_ms=300))


@pytest.mark.parametrize("ask", [over_several_operations, of_several_operations])
def test_one_whose_time_is_over_is_aborted_at_once(
    mongodb_uri: str, ask: Callable[[MongoStore], Awaitable[None]]
) -> None:
    async def scenario() -> None:
        async with Proxy(mongodb_uri, ["silence"], ("find",)) as proxy:
            store, other = MongoStore(proxy.uri(retrying(True))), MongoStore(mongodb_uri)
            await store.open()
            await other.open()
            try:
                await other.execute(UpdateOne(**LOOK, update={"$set": {"n": 1}}, upsert=True))
                with pytest.raises(StoreTimeout):
                    await ask(store)
                assert proxy.others.count("abortTransaction") == 1
                changed = await other.execute(adding(100, max_time_ms=2000))
                assert changed.modified_count == 1
                found = await other.execute(FindOne(namespace=NS, filter={"_id": 1, "n": 101}))
                assert found.document is not None, "nothing of the transaction stays"
                again = Held()
                await store.execute(adding(1000, within=again))
                await store.execute(EndTransaction(namespace=NS, within=again, commit=True))
                found = await other.execute(FindOne(namespace=NS, filter={"_id": 1, "n": 1101}))
                assert found.document is not None
            finally:
                await store.close()
                await other.close()

    asyncio.run(scenario())


def test_a_bulk_under_rules_whose_time_is_over_is_no_mistake_of_its_client(mongodb_uri: str) -> None:
    def takes_long(before: Any, after: Any) -> None:
        time.sleep(0.5)

    async def scenario() -> None:
        store = MongoStore(mongodb_uri)
        await store.open()
        try:
            await store.execute(adding(1))
            writes: list[Any] = [adding(1, guard=takes_long), adding(1, guard=takes_long)]
            with pytest.raises(StoreTimeout, match=r"^the operation exceeded its time limit$"):
                await store.execute(BulkWrite(namespace=NS, operations=writes, max_time_ms=300))
        finally:
            await store.close()

    asyncio.run(scenario())
