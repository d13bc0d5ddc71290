"""Documents that are read as they are taken, on every engine alike."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pymongo import monitoring
from scenarios import NS, Engine, unique_database

from doorleaf.documents import Document
from doorleaf.errors import DataError, DoorleafError, RequestError, StoreTimeout
from doorleaf.operations import Aggregate, Find, InsertMany, Namespace, Scan
from doorleaf.operations.results import DocumentStream
from doorleaf.stores.base import Store

MANY = 5_000
DOCUMENTS: list[Document] = [{"_id": number, "n": number % 10, "t": "x" * 300} for number in range(MANY)]


@asynccontextmanager
async def scanning(store: Store, query: Find | Aggregate, **options: Any) -> AsyncIterator[DocumentStream]:
    scan = Scan.of(query)
    for name, value in options.items():
        setattr(scan, name, value)
    stream = (await store.execute(scan)).documents
    try:
        yield stream
    finally:
        await stream.close()


async def batches(stream: DocumentStream) -> list[list[Document]]:
    found = []
    while (batch := await stream.next()) is not None:
        found.append(batch.decode())
        assert found[-1], "a batch without documents"
    assert await stream.next() is None  # the end stays the end
    return found


async def scanned(store: Store, query: Find | Aggregate, **options: Any) -> list[Document]:
    async with scanning(store, query, **options) as stream:
        return [document for batch in await batches(stream) for document in batch]


async def failing(store: Store, query: Find | Aggregate, **options: Any) -> tuple[int, DoorleafError]:
    """How many documents come before the error, and the error."""
    count = 0
    try:
        async with scanning(store, query, **options) as stream:
            while (batch := await stream.next()) is not None:
                count += len(batch)
    except DoorleafError as error:
        return count, error
    pytest.fail("nothing failed")


async def filled(store: Store, count: int = MANY) -> Namespace:
    place = Namespace(unique_database(), NS.collection)
    await store.execute(InsertMany(namespace=place, documents=DOCUMENTS[:count]))
    return place


def test_all_documents_come_in_batches(engine: Engine) -> None:
    async def body(store: Store) -> None:
        place = await filled(store)
        async with scanning(store, Find(namespace=place)) as stream:
            found = await batches(stream)
        assert len(found) > 2
        assert sorted((item for batch in found for item in batch), key=lambda item: item["_id"]) == DOCUMENTS

    engine.run(body)


def test_every_option_of_a_find_counts(engine: Engine) -> None:
    async def body(store: Store) -> None:
        place = await filled(store)
        found = await scanned(
            store,
            Find(namespace=place, filter={"n": {"$gt": 7}}, projection={"n": 1}, sort={"_id": -1}, skip=3, limit=700),
        )
        wanted = [{"_id": item["_id"], "n": item["n"]} for item in reversed(DOCUMENTS) if item["n"] > 7]
        assert found == wanted[3:703]
        assert await scanned(store, Find(namespace=place, filter={"n": 11})) == []
        assert await scanned(store, Find(namespace=Namespace(place.database, "nothing"))) == []

    engine.run(body)


def test_a_pipeline_is_read_on_beyond_every_cap(engine: Engine) -> None:
    async def body(store: Store) -> None:
        place = await filled(store, 100)
        pipeline: list[Document] = [
            {"$sort": {"_id": 1}},
            {"$set": {"m": {"$range": [0, 600]}}},
            {"$unwind": "$m"},
            {"$project": {"m": 1}},
        ]
        found = await scanned(store, Aggregate(namespace=place, pipeline=pipeline, cap=10))
        assert found == [{"_id": number, "m": m} for number in range(100) for m in range(600)]

    engine.run(body)


def test_what_is_wrong_with_a_query_is_told_at_once(engine: Engine) -> None:
    async def body(store: Store) -> None:
        place = await filled(store, 10)
        with pytest.raises(DataError):
            await store.execute(Scan.of(Find(namespace=place, filter={"n": {"$noSuch": 1}})))
        with pytest.raises(DataError):
            await store.execute(Scan.of(Aggregate(namespace=place, pipeline=[{"$noSuch": 1}])))

    engine.run(body)


def test_what_fails_in_the_middle_is_an_error_and_the_end(engine: Engine) -> None:
    async def body(store: Store) -> None:
        place = await filled(store)
        last: list[Document] = [
            {"$sort": {"_id": 1}},
            {"$set": {"q": {"$divide": [1, {"$subtract": [MANY - 1, "$_id"]}]}}},
        ]
        count, error = await failing(store, Aggregate(namespace=place, pipeline=last))
        assert isinstance(error, DataError)
        assert count < MANY
        if engine.name == "embedded":
            assert count > MANY // 2
        assert len(await scanned(store, Find(namespace=place))) == MANY

    engine.run(body)


def test_more_bytes_than_may_be_answered_are_an_error(engine: Engine) -> None:
    async def body(store: Store) -> None:
        place = await filled(store)
        with pytest.raises(RequestError) as raised:
            await scanned(store, Find(namespace=place), max_bytes=500_000)
        assert raised.value.code == "ReadSizeLimitExceeded"
        assert len(await scanned(store, Find(namespace=place, limit=1000), max_bytes=500_000)) == 1000

    engine.run(body)


def test_the_time_is_for_each_batch_and_ends_it(engine: Engine) -> None:
    if engine.name != "embedded":
        pytest.skip("nothing makes this server slow that ends soon after")
    endless: Document = {"$range": [0, 100]}
    for _ in range(20):
        endless = {"$map": {"input": {"$range": [0, 100]}, "in": endless}}

    async def body(store: Store) -> None:
        place = await filled(store)
        pipeline: list[Document] = [
            {"$sort": {"_id": 1}},
            {"$set": {"q": {"$cond": [{"$eq": ["$_id", MANY - 1]}, {"$size": endless}, 0]}}},
        ]
        count, error = await failing(store, Aggregate(namespace=place, pipeline=pipeline), max_time_ms=2000)
        assert isinstance(error, StoreTimeout)
        assert 0 < count < MANY

    engine.run(body)


def test_a_cursor_that_is_not_read_to_its_end_is_ended(engine: Engine) -> None:
    if engine.name == "embedded":
        pytest.skip("tests/embedded/test_flows.py looks at the workers")
    killed: list[int] = []

    class Heard(monitoring.CommandListener):
        def started(self, event: monitoring.CommandStartedEvent) -> None:
            if event.command_name == "killCursors":
                killed.extend(event.command["cursors"])

        def succeeded(self, event: monitoring.CommandSucceededEvent) -> None: ...

        def failed(self, event: monitoring.CommandFailedEvent) -> None: ...

    heard = Heard()
    monitoring.register(heard)
    try:

        async def body(store: Store) -> None:
            place = await filled(store)
            async with scanning(store, Find(namespace=place)) as stream:
                assert await stream.next() is not None
                assert killed == []
            assert len(killed) == 1

        engine.run(body)
    finally:
        monitoring._LISTENERS.command_listeners.remove(heard)
