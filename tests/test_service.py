"""The one door: bounds on every operation, and the guards before every store."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from doorleaf.access.callers import Caller, Identity
from doorleaf.access.guards.checks import Guards
from doorleaf.errors import InvalidParameter, PermissionDenied
from doorleaf.operations import Aggregate, Find, FindOne, InsertMany, InsertOne, ListDatabases, Namespace, Operation
from doorleaf.operations.results import DatabasesResult, DocumentsResult
from doorleaf.service import Bounds, DataService
from doorleaf.stores.embedded.store import EmbeddedStore

NS = Namespace("app", "things")
CALLER = Caller(Identity(id="0" * 24, kind="server", provider="api-key", admin=True))


def run(folder: Path, *operations: Operation[Any], bounds: Bounds | None = None) -> list[Any]:
    """The results of ``operations``, one after the other, on an embedded database in ``folder``."""

    async def all_of_them() -> list[Any]:
        store = EmbeddedStore(folder)
        await store.open()
        try:
            service = DataService(store, Guards(), bounds)
            await service.ping()
            return [await service.execute(operation, CALLER) for operation in operations]
        finally:
            await store.close()

    return asyncio.run(all_of_them())


@pytest.mark.parametrize(("asked", "sent"), [(None, 30_000), (0, 30_000), (5, 5), (300_000, 300_000)])
def test_every_operation_has_a_time_limit(tmp_path: Path, asked: int | None, sent: int) -> None:
    operation = FindOne(namespace=NS, max_time_ms=asked)
    run(tmp_path, operation)
    assert operation.max_time_ms == sent


def test_too_long_a_time_limit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidParameter, match="maxTimeMS: 300001 is above the cap of 300000"):
        run(tmp_path, FindOne(namespace=NS, max_time_ms=300_001))


@pytest.mark.parametrize(("limit", "answered"), [(0, 3), (2, 2), (5, 5)])
def test_limits_of_find(tmp_path: Path, limit: int, answered: int) -> None:
    documents = InsertMany(namespace=NS, documents=[{"a": index} for index in range(9)])
    bounds = Bounds(default_limit=3, max_documents=5)
    result: DocumentsResult = run(tmp_path, documents, Find(namespace=NS, limit=limit), bounds=bounds)[1]
    assert len(result.documents) == answered


def test_a_limit_above_the_cap_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidParameter, match="limit: 50001 is above the cap of 50000"):
        run(tmp_path, Find(namespace=NS, limit=50_001))


def test_aggregate_is_capped(tmp_path: Path) -> None:
    operation = Aggregate(namespace=NS, pipeline=[])
    run(tmp_path, operation, bounds=Bounds(max_documents=7))
    assert operation.cap == 7


def test_guards_come_first(tmp_path: Path) -> None:
    insert = InsertOne(namespace=Namespace("doorleaf", "keys"), document={})
    with pytest.raises(PermissionDenied):
        run(tmp_path, insert)
    insert_elsewhere = InsertOne(namespace=NS, document={})
    listed: DatabasesResult = run(tmp_path, insert_elsewhere, ListDatabases(namespace=Namespace("admin")))[1]
    assert [item["name"] for item in listed.databases] == ["app"]
