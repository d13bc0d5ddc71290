"""Rules, callers and documents on a real embedded database, through the one door."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bson

from doorleaf.access.callers import Caller, Identity
from doorleaf.access.guards.checks import Guards
from doorleaf.access.rules.roles import parse_rules
from doorleaf.access.rules.ruleset import Rules, SourceRules
from doorleaf.dialects.base import Request
from doorleaf.documents import CODEC, Document
from doorleaf.errors import DoorleafError
from doorleaf.operations import (
    OPERATIONS,
    WRITES,
    BulkWrite,
    CreateCollection,
    CreateIndex,
    Find,
    InsertMany,
    Namespace,
    Operation,
)
from doorleaf.operations.results import DocumentResult, DocumentsResult, Result
from doorleaf.service import DataService
from doorleaf.stores.embedded.store import EmbeddedStore

NS = Namespace("app", "things")
ADMIN = Identity(id="0" * 24, kind="system", provider="system", admin=True)
REQUEST = Request("POST", "/", {b"x-key": b"a, b"}, "10.0.0.1")
"""The request in which everybody here asks."""
ME = "64b7f0000000000000000001"
YOU = "64b7f0000000000000000002"


def user(identifier: str = ME, **fields: Any) -> Identity:
    """A caller without rights of its own."""
    values: dict[str, Any] = {"kind": "normal", "provider": "local-userpass"}
    return Identity(id=identifier, **(values | fields))


def operation(name: str, namespace: Namespace = NS, **fields: Any) -> Operation[Any]:
    """An operation by its name; a bulk write's entries are (name, fields)."""
    if name == "bulkWrite":
        writes: Any = [WRITES[kind](namespace=namespace, **entry) for kind, entry in fields.pop("operations")]
        return BulkWrite(namespace=namespace, operations=writes, **fields)
    return OPERATIONS[name](namespace=namespace, **fields)


def plain(result: Result) -> Any:
    """What a result says: a document, a list of documents, or its members by wire name."""
    if isinstance(result, DocumentResult):
        document = result.document
        return bson.decode(document, CODEC) if isinstance(document, bytes) else document
    if isinstance(result, DocumentsResult):
        return result.documents.decode()
    return result.wire()


@dataclass
class App:
    """Rules by collection of the database ``app`` (key ``*``: the default ones), and documents by collection."""

    rules: Mapping[str, Any]
    documents: Mapping[str, Sequence[Document]] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    unique: tuple[Document, ...] = ()

    def ruleset(self) -> Rules:
        parsed = {name: parse_rules(source, f"{name}/rules.json") for name, source in self.rules.items()}
        default = parsed.pop("*", None)
        source = SourceRules({("app", name): rules for name, rules in parsed.items()}, default)
        return Rules({"main": source}, default_source="main", **self.options)

    def run(self, steps: Sequence[tuple[Operation[Any], Identity]]) -> list[Any]:
        """The answers to ``steps``, one after the other; an error stands for itself."""
        with tempfile.TemporaryDirectory() as folder:
            return asyncio.run(self._run(Path(folder), steps))

    async def _run(self, folder: Path, steps: Sequence[tuple[Operation[Any], Identity]]) -> list[Any]:
        store = EmbeddedStore(folder, synchronous="NORMAL")
        await store.open()
        try:
            service = DataService(store, Guards(), None, self.ruleset())
            for keys in self.unique:
                await service.execute(CreateIndex(namespace=NS, keys=keys, options={"unique": True}), Caller(ADMIN))
            for name, documents in self.documents.items():
                namespace = Namespace("app", name)
                if not documents:
                    await service.execute(CreateCollection(namespace=namespace), Caller(ADMIN))
                else:
                    await service.execute(InsertMany(namespace=namespace, documents=list(documents)), Caller(ADMIN))
            return [await answer(service, *step) for step in steps]
        finally:
            await store.close()

    def ask(self, asked: Operation[Any], identity: Identity) -> tuple[Any, list[Document]]:
        """The answer to one operation, and what is in its collection afterwards, by ``_id``."""
        left = Find(namespace=asked.namespace, sort={"_id": 1})
        answer, after = self.run([(asked, identity), (left, ADMIN)])
        return answer, after


async def answer(service: DataService, asked: Operation[Any], identity: Identity) -> Any:
    """The result as plain values, or the error."""
    try:
        return plain(await service.execute(asked, Caller(identity, REQUEST)))
    except DoorleafError as error:
        return error


def said(error: DoorleafError) -> str:
    """Everything that a client is told of an error."""
    return f"{error.status} {error.code} {error.message} {dict(error.fields)!r}"
