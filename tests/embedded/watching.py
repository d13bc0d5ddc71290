"""How tests of the embedded database watch it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import opened
from opened import C

from doorleaf.documents import Document
from doorleaf.operations import (
    Namespace,
    Watch,
)
from doorleaf.operations.results import ChangeStream
from doorleaf.stores.embedded.store import EmbeddedStore


async def watch(store: EmbeddedStore, namespace: Namespace = C, **options: Any) -> ChangeStream:
    return (await store.execute(Watch(namespace=namespace, **options))).changes


async def kinds(stream: ChangeStream, count: int) -> list[str]:
    """The kinds of the next ``count`` events."""
    found: list[Document] = []
    until = time.monotonic() + 20
    while len(found) < count and time.monotonic() < until:
        come = await stream.next()
        if come is None:
            break
        found += come
    return [event["operationType"] for event in found]


def logged(store: EmbeddedStore) -> int:
    """How many changes there are in the log."""
    query = "SELECT COUNT(*) FROM changes WHERE kind != 'begin'"
    return store.now(lambda session: session.execute(query).get)  # type: ignore[no-any-return]


def alter(folder: Path, statement: str, *values: Any) -> None:
    """Change the file as time would."""
    opened.alter(folder, statement, *values)
    opened.alter(folder, "UPDATE state SET catalog = catalog + 1")
