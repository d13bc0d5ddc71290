"""A filled database file, the questions that it is asked, and what a copy of it with a few bytes changed answers."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path
from typing import Any

import apsw
import bson
from bson.errors import BSONError
from opened import C

from doorleaf.documents import CODEC, Document
from doorleaf.errors import DoorleafError
from doorleaf.mql.context import Context
from doorleaf.operations import (
    CountDocuments,
    CreateCollection,
    CreateIndex,
    DeleteMany,
    DropIndex,
    Find,
    FindOne,
    InsertMany,
    Namespace,
)
from doorleaf.stores.embedded.file.storage import Session, Storage
from doorleaf.stores.embedded.reading import reads
from doorleaf.stores.embedded.reading.points import find_point
from doorleaf.stores.embedded.store import EmbeddedStore

OTHER = Namespace("other", "things")
INDEXES: list[tuple[Document, Document]] = [
    ({"a": 1}, {}),
    ({"u": -1}, {"unique": True}),
    ({"tags": 1, "a": 1}, {}),
    ({"text": 1}, {"sparse": True}),
    ({"n": 1}, {"partialFilterExpression": {"a": {"$gt": 3}}}),
]


def document(number: int, random: random.Random) -> Document:
    made: Document = {"_id": number, "a": number % 7, "u": f"unique {number}", "n": random.randrange(100)}
    if number % 3 == 0:
        made["tags"] = [random.choice("abcdef") for _ in range(number % 4)]
    if number % 5 == 0:
        made["text"] = random.choice("xyz") * random.randrange(200)
    if number % 40 == 0:
        made["long"] = "l" * 9000
    return made


async def fill(folder: Path) -> None:
    """A file with documents long and short, indexes of each kind, and room that was given up again."""
    source = random.Random(6)
    store = EmbeddedStore(folder)
    await store.open()
    try:
        validator = {"validator": {"a": {"$gte": 0}}}
        await store.execute(CreateCollection(namespace=C, options=validator))
        await store.execute(InsertMany(namespace=C, documents=[document(number, source) for number in range(300)]))
        for keys, options in [*INDEXES, ({"n": 1, "u": 1}, {"name": "dropped"})]:
            await store.execute(CreateIndex(namespace=C, keys=keys, options=options))
        await store.execute(InsertMany(namespace=OTHER, documents=[{"_id": f"o{number}"} for number in range(50)]))
        await store.execute(DropIndex(namespace=C, index="dropped"))
        await store.execute(DeleteMany(namespace=C, filter={"_id": {"$gte": 280}}))
    finally:
        await store.close()


QUESTIONS: list[Find] = [
    Find(namespace=C),
    Find(namespace=OTHER, sort={"_id": 1}),
    *(Find(namespace=C, filter={"a": {"$gte": low, "$lt": low + 2}}, hint="a_1") for low in range(7)),
    Find(namespace=C, sort={"u": 1}, hint="u_-1"),
    *(Find(namespace=C, filter={"tags": tag}, sort={"_id": 1}) for tag in "abcdef"),
    Find(namespace=C, filter={"text": {"$gte": "x"}}, sort={"text": 1}),
    Find(namespace=C, filter={"n": {"$gte": 30}, "a": {"$gt": 3}}, hint="n_1", sort={"_id": 1}),
    Find(namespace=C, filter={"_id": {"$gte": 20}}, sort={"_id": -1}),
]


def answers(session: Session) -> list[Any]:
    """What every question is answered, each as it came."""
    found: list[Any] = [sorted(session.catalog.collections)]
    found += [[dict(index.specification) for index in each.indexes] for each in session.catalog.collections.values()]
    for question in QUESTIONS:
        context = Context(time.monotonic() + 30)
        with session.reading(context):
            found.append([*reads.find(session, question, context)])
    filters: list[Document] = [{}, {"a": 3}, {"n": {"$lt": 50}, "a": {"$gt": 3}}]
    for filter in filters:
        with session.reading(context):
            found.append(reads.count(session, CountDocuments(namespace=C, filter=filter), context))
    for number in range(0, 280, 9):
        points: list[Document] = [{"_id": number}, {"u": f"unique {number}"}]
        for filter in points:
            point = find_point(session, FindOne(namespace=C, filter=filter))
            encoded = (
                None
                if point is None or point.document is None
                else bson.encode(_values(point.document), codec_options=CODEC)
            )
            found.append(encoded)
    return found


def _values(document: Any) -> Document:
    return bson.decode(document, CODEC) if isinstance(document, bytes) else document


def asked(folder: Path) -> list[Any] | str:
    """All answers of the file in ``folder``, or why there are none."""
    storage = Storage(folder, "OFF")
    try:
        storage.prepare()
        session = storage.session()
        try:
            session.begin()
            session.end()
            return answers(session)
        finally:
            session.close()
            storage.close()
    except DoorleafError as error:
        return error.message
    except (apsw.Error, BSONError) as error:
        return str(error)


def flipped(content: bytes, source: random.Random) -> bytes:
    """``content`` with one to four bits changed that lie close together, or a few bytes written over."""
    changed = bytearray(content)
    place = source.randrange(len(changed))
    if source.random() < 0.7:
        for _ in range(source.randrange(1, 5)):
            changed[min(place + source.randrange(4), len(changed) - 1)] ^= 1 << source.randrange(8)
    else:
        for offset in range(source.randrange(1, 40)):
            if place + offset < len(changed):
                changed[place + offset] = source.randrange(256)
    return bytes(changed)


def filled(folder: Path) -> None:
    """Fill a database in ``folder`` and close it."""
    asyncio.run(fill(folder))
