"""A store in an empty folder, and what tests ask it over and over."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import apsw

from doorleaf.documents import Document
from doorleaf.operations import Find, InsertMany, Namespace, RunCommand
from doorleaf.stores.embedded.file.storage import FILE
from doorleaf.stores.embedded.store import EmbeddedStore

C = Namespace("db", "c")
DB = Namespace("db")


def alter(folder: Path, statement: str, *values: Any) -> Any:
    """Change the file behind the store's back; answers what the statement answers."""
    connection = apsw.Connection(str(folder / FILE))
    try:
        return connection.execute(statement, values).get
    finally:
        connection.close()


Scenario = Callable[[EmbeddedStore], Awaitable[None]]
Run = Callable[[Scenario], None]


def with_store(folder: Path, scenario: Callable[[EmbeddedStore], Awaitable[Any]], **options: Any) -> Any:
    """Open a store in ``folder``, run ``scenario`` on it and close it; answers what that answers."""

    async def whole() -> Any:
        store = EmbeddedStore(folder, **options)
        await store.open()
        try:
            return await scenario(store)
        finally:
            await store.close()

    return asyncio.run(whole())


def run_in(folder: Path) -> Run:
    """Runs a scenario on a store in ``folder``, opened and closed around it."""
    return partial(with_store, folder)


async def fill(store: EmbeddedStore, *documents: Document, namespace: Namespace = C) -> None:
    """Insert documents."""
    await store.execute(InsertMany(namespace=namespace, documents=list(documents)))


async def find(store: EmbeddedStore, filter: Document | None = None, **options: Any) -> list[Document]:
    """The documents of the collection, by ``_id``."""
    options = {"sort": {"_id": 1}, **options}
    return (await store.execute(Find(namespace=C, filter=filter or {}, **options))).documents.decode()


async def command(store: EmbeddedStore, **fields: Any) -> Document:
    """What a database command answers."""
    return (await store.execute(RunCommand(namespace=DB, command=fields))).result


async def explain(store: EmbeddedStore, **fields: Any) -> Document:
    """How a command is carried out."""
    return await command(store, explain=fields, verbosity="executionStats")
