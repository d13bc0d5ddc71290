"""Sizes, counts and consistency of collections, as commands answer them."""

from __future__ import annotations

import os
from zlib import crc32

from doorleaf.documents import Document
from doorleaf.errors import DataError
from doorleaf.mql.context import Context
from doorleaf.operations import Namespace
from doorleaf.stores.embedded.catalog import Collection, Index
from doorleaf.stores.embedded.rows import counts
from doorleaf.stores.embedded.storage import Session


def _index_bytes(session: Session, index: Index, context: Context) -> int:
    context.check_now()
    statement = f"SELECT COALESCE(SUM(LENGTH(key) + 8), 0) FROM {index.table}"  # noqa: S608 - an integer id
    return int(session.execute(statement).fetchone()[0])


def database_statistics(session: Session, database: str, scale: int, context: Context) -> Document:
    """The answer of ``dbStats``; sizes are those of documents and keys, without the file's overhead."""
    collections = session.catalog.of(database)
    documents = size = index_size = indexes = 0
    for collection in collections:
        more, more_bytes = counts(session, collection)
        documents, size = documents + more, size + more_bytes
        indexes += len(collection.indexes)
        index_size += sum(_index_bytes(session, index, context) for index in collection.indexes)
    file_size = os.path.getsize(session.storage.path)
    return {
        "db": database,
        "collections": len(collections),
        "views": 0,
        "objects": documents,
        "avgObjSize": size / documents if documents else 0,
        "dataSize": size // scale,
        "storageSize": size // scale,
        "indexes": indexes,
        "indexSize": index_size // scale,
        "totalSize": (size + index_size) // scale,
        "scaleFactor": scale,
        "fileSize": file_size // scale,
        "ok": 1,
    }


def collection_statistics(session: Session, namespace: Namespace, scale: int, context: Context) -> Document:
    """The answer of ``collStats``; zeros for a collection that is not there."""
    collection = session.catalog.get(namespace)
    documents, size = counts(session, collection) if collection is not None else (0, 0)
    indexes = collection.indexes if collection is not None else ()
    sizes = {index.name: _index_bytes(session, index, context) // scale for index in indexes}
    answer: Document = {"ns": str(namespace), "size": size // scale, "count": documents}
    if documents:
        answer["avgObjSize"] = size // documents
    return {
        **answer,
        "storageSize": size // scale,
        "capped": False,
        "nindexes": len(indexes),
        "indexSizes": sizes,
        "totalIndexSize": sum(sizes.values()),
        "totalSize": size // scale + sum(sizes.values()),
        "scaleFactor": scale,
        "ok": 1,
    }


def describe(collection: Collection) -> Document:
    """A collection as ``listCollections`` shows it."""
    return {
        "name": collection.name,
        "type": "collection",
        "options": dict(collection.options),
        "info": {"readOnly": False},
        "idIndex": next(dict(index.specification) for index in collection.indexes if index.name == "_id_"),
    }


def validate(session: Session, namespace: Namespace, context: Context) -> Document:
    """The answer of ``validate``: every document against its checksum, every index entry against a document."""
    collection = session.catalog.get(namespace)
    if collection is None:
        raise DataError(f"Collection '{namespace}' does not exist to validate.", number=26)
    errors: list[str] = []
    documents = 0
    for row, document, checksum in session.execute(f"SELECT id, document, sum FROM {collection.table}"):  # noqa: S608
        context.check()
        documents += 1
        if crc32(document) != checksum:
            errors.append(f"document in row {row} has changed")
    keys = {}
    for index in collection.indexes:
        context.check_now()
        (keys[index.name],) = session.execute(f"SELECT COUNT(*) FROM {index.table}").fetchone()  # noqa: S608
        (lost,) = session.execute(
            f"SELECT COUNT(*) FROM {index.table} WHERE row NOT IN (SELECT id FROM {collection.table})"  # noqa: S608
        ).fetchone()
        if lost:
            errors.append(f"index {index.name} has {lost} keys without a document")
    if documents != counts(session, collection)[0]:
        errors.append("the kept count differs from the number of documents")
    return {
        "ns": str(namespace),
        "nrecords": documents,
        "nIndexes": len(collection.indexes),
        "keysPerIndex": keys,
        "valid": not errors,
        "warnings": [],
        "errors": errors,
        "ok": 1,
    }
