"""Scenarios for the store port: what is there, what is done, what must come of it, on every engine alike."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import bson
import pytest

from doorleaf.documents import CODEC, Document, Documents
from doorleaf.errors import DataError, DoorleafError, StoreTimeout, StoreUnavailable, WriteOutcomeUnknown
from doorleaf.operations import (
    BulkWrite,
    CreateCollection,
    CreateIndex,
    Find,
    InsertMany,
    Namespace,
    Operation,
    RunCommand,
)
from doorleaf.operations.results import DocumentResult, DocumentsResult, Result
from doorleaf.stores.base import Store

NS = Namespace("db", "things")
"""Where every scenario acts; the database's name is replaced by one of its own."""

THREE = [{"_id": 1, "k": 1}, {"_id": 2, "k": 2}, {"_id": 3, "k": 3}]
UNIQUE = [({"k": 1}, {"unique": True})]


@dataclass(frozen=True)
class Scenario:
    """One operation on a collection ``things`` that holds ``before``.

    What must come is either a result (``result``, or ``document`` and ``documents``, compared byte for byte) or an
    error: its class, MongoDB's ``number``, and what its message ``says``. ``after`` is the whole collection by
    ``_id``. ``excused`` names the engines that are known to be wrong, with the reason.
    """

    name: str
    operation: Operation[Any]
    before: Sequence[Document] = ()
    others: Mapping[str, Sequence[Document]] = field(default_factory=dict)
    indexes: Sequence[tuple[Document, Document]] = ()
    options: Document | None = None
    result: Result | None = None
    document: Document | None = None
    no_document: bool = False
    documents: Sequence[Document] | None = None
    any_order: bool = False
    check: Callable[[Any], object] | None = None
    error: type[DoorleafError] | None = None
    number: int | None = None
    says: Sequence[str] = ()
    fields: Document | None = None
    after: Sequence[Document] | None = None
    excused: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.operation.name}: {self.name}"


_made: list[str] = []


class Engine:
    """How to make a store. ``name`` is ``embedded``, ``mongodb`` (a real one) or ``secantus``."""

    def __init__(self, name: str, make: Callable[[], Store]) -> None:
        self.name = name
        self._make = make

    def run(self, body: Callable[[Store], Awaitable[Any]]) -> Any:
        """Open a store, run ``body`` with it, close it."""

        async def whole() -> Any:
            store = self._make()
            await store.open()
            try:
                return await body(store)
            finally:
                try:
                    await self._clear(store)
                finally:
                    await store.close()

        return asyncio.run(whole())

    async def _clear(self, store: Store) -> None:
        """Drop what the test made, for the server outlives it. One that is killed or busy keeps it."""
        while _made:
            database = _made.pop()
            if self.name != "embedded":
                with contextlib.suppress(StoreUnavailable, StoreTimeout, WriteOutcomeUnknown):
                    await store.execute(RunCommand(namespace=Namespace(database), command={"dropDatabase": 1}))


def embedded(folder: Path) -> Engine:
    from doorleaf.stores.embedded.store import EmbeddedStore

    return Engine("embedded", lambda: EmbeddedStore(folder))


def mongo(uri: str, *, real: bool) -> Engine:
    from doorleaf.stores.mongo import MongoStore

    return Engine("mongodb" if real else "secantus", lambda: MongoStore(uri))


def unique_database() -> str:
    """The name of a database for one test; the engine drops it at the end."""
    _made.append(f"conformance_{secrets.token_hex(6)}")
    return _made[-1]


def placed(operation: Any, database: str) -> Any:
    """``operation`` on ``database``; bulk writes with everything inside them."""
    namespace = Namespace(database, operation.namespace.collection, operation.namespace.data_source)
    if isinstance(operation, BulkWrite):
        inner = [placed(write, database) for write in operation.operations]
        return replace(operation, namespace=namespace, operations=inner)
    return replace(operation, namespace=namespace)


async def arrange(store: Store, scenario: Scenario, database: str) -> None:
    """Make the collections and indexes the scenario starts from."""
    namespace = Namespace(database, NS.collection)
    if scenario.options is not None:
        await store.execute(CreateCollection(namespace=namespace, options=scenario.options))
    if scenario.before:
        await store.execute(InsertMany(namespace=namespace, documents=list(scenario.before)))
    for name, documents in scenario.others.items():
        await store.execute(InsertMany(namespace=Namespace(database, name), documents=list(documents)))
    for keys, options in scenario.indexes:
        await store.execute(CreateIndex(namespace=namespace, keys=keys, options=options))


async def everything(store: Store, database: str, collection: str = NS.collection) -> list[bytes]:
    """All documents of the collection by ``_id``, as BSON."""
    found = await store.execute(Find(namespace=Namespace(database, collection), sort={"_id": 1}, limit=50_000))
    return list(found.documents)


def encoded(documents: Sequence[Document]) -> list[bytes]:
    return [bson.encode(document, codec_options=CODEC) for document in documents]


def check(engine: Engine, scenario: Scenario, request: pytest.FixtureRequest) -> None:
    """Run one scenario on one engine and compare everything that must have come of it."""
    if reason := scenario.excused.get(engine.name):
        request.applymarker(pytest.mark.xfail(reason=reason, strict=True))

    async def body(store: Store) -> None:
        database = unique_database()
        await arrange(store, scenario, database)
        operation = placed(scenario.operation, database)
        if scenario.error is not None:
            with pytest.raises(scenario.error) as raised:
                await store.execute(operation)
            compare_error(scenario, raised.value, database)
        else:
            compare_result(scenario, await store.execute(operation))
        if scenario.after is not None:
            found = await everything(store, database)
            assert [shown(item) for item in found] == [shown(item) for item in encoded(scenario.after)]
            assert found == encoded(scenario.after)

    engine.run(body)


def shown(document: bytes) -> Document:
    """Decoded, so that a difference can be read."""
    return bson.decode(document, CODEC)


def compare_error(scenario: Scenario, error: DoorleafError, database: str) -> None:
    assert type(error) is scenario.error, repr(error)
    if scenario.number is not None:
        assert isinstance(error, DataError)
        assert error.number == scenario.number, error.message
    for part in scenario.says:
        assert part.replace("DATABASE", database) in error.message, error.message
    assert "127.0.0.1" not in error.message
    assert "mongodb://" not in error.message
    if scenario.fields is not None:
        fields = {name: value for name, value in error.fields.items() if name != "writeErrors"}
        assert fields == {name: value for name, value in scenario.fields.items() if name != "writeErrors"}
        wanted = scenario.fields.get("writeErrors", [])
        got = error.fields.get("writeErrors", [])
        assert [(item["index"], item["code"]) for item in got] == [(item["index"], item["code"]) for item in wanted]
        for item in got:
            assert set(item) - {"errInfo"} == {"index", "code", "message"}
            assert "errInfo" not in item or item["code"] == 121
            assert item["message"]


def as_bson(document: bytes | Document | None) -> bytes:
    """A result's document as BSON, whether or not the store had to look inside."""
    assert document is not None
    return document if isinstance(document, bytes) else bson.encode(document, codec_options=CODEC)


def compare_result(scenario: Scenario, result: Any) -> None:
    assert type(result) is scenario.operation.result
    if isinstance(result, DocumentResult):
        if scenario.no_document:
            assert result.document is None
        elif scenario.document is not None:
            answered, expected = as_bson(result.document), encoded([scenario.document])[0]
            assert shown(answered) == shown(expected)
            assert answered == expected
    if isinstance(result, DocumentsResult) and scenario.documents is not None:
        assert isinstance(result.documents, Documents)
        got, wanted = list(result.documents), encoded(scenario.documents)
        if scenario.any_order:
            got, wanted = sorted(got), sorted(wanted)
        assert [shown(item) for item in got] == [shown(item) for item in wanted]
        assert got == wanted
    if scenario.result is not None:
        assert result.wire() == scenario.result.wire()
        assert bson.encode(result.wire(), codec_options=CODEC) == bson.encode(
            scenario.result.wire(), codec_options=CODEC
        )
    if scenario.check is not None:
        outcome = scenario.check(result)
        assert outcome is None or outcome, result
