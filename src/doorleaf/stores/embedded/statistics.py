"""Sizes, counts and consistency of collections, as commands answer them."""

from __future__ import annotations

import contextlib
import os
from itertools import islice

import apsw

from doorleaf.documents import Document
from doorleaf.errors import DataError
from doorleaf.mql.context import Context
from doorleaf.mql.filters.compile import compile_filter
from doorleaf.operations import Namespace
from doorleaf.stores.embedded.administration import list_databases
from doorleaf.stores.embedded.catalog import CONSTANTS, Collection, Index
from doorleaf.stores.embedded.file import verify
from doorleaf.stores.embedded.file.storage import Session, counts


def _index_bytes(session: Session, index: Index, context: Context) -> int:
    context.check_now()
    statement = f"SELECT COALESCE(SUM(LENGTH(key) + 8), 0) FROM {index.table}"  # noqa: S608 - an integer id
    return int(session.execute(statement).get)


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


def size(session: Session, namespace: Namespace, context: Context) -> Document:
    """The bytes and the number of the documents of a collection; zeros for one that is not there."""
    collection = session.catalog.get(namespace)
    documents, total = counts(session, collection) if collection is not None else (0, 0)
    return {"size": total, "numObjects": documents}


def describe(collection: Collection) -> Document:
    """A collection as ``listCollections`` shows it."""
    return {
        "name": collection.name,
        "type": "collection",
        "options": {name: value for name, value in collection.options.items() if name != CONSTANTS},
        "info": {"readOnly": False},
        "idIndex": next(dict(index.specification) for index in collection.indexes if index.name == "_id_"),
    }


def validate(session: Session, namespace: Namespace, context: Context) -> Document:
    """The answer of ``validate``: see :mod:`doorleaf.stores.embedded.file.verify`."""
    collection = session.catalog.get(namespace)
    if collection is None:
        raise DataError(f"Collection '{namespace}' does not exist to validate.", number=26)
    errors = [*islice(verify.one_collection(session.connection, collection, context), verify.MOST_PROBLEMS)]
    documents = keys = None
    with contextlib.suppress(apsw.CorruptError):
        documents = session.execute(f"SELECT COUNT(*) FROM {collection.table}").get  # noqa: S608 - an integer id
        keys = {
            index.name: session.execute(f"SELECT COUNT(*) FROM {index.table}").get  # noqa: S608
            for index in collection.indexes
        }
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


def described(session: Session, database: str, filter: Document, context: Context) -> list[Document]:
    """The collections of a database, as ``listCollections`` answers them, that match ``filter``."""
    matches = compile_filter(filter, context)
    return [item for collection in session.catalog.of(database) if matches(item := describe(collection))]


def databases(session: Session, filter: Document, context: Context) -> list[Document]:
    """The databases, as ``listDatabases`` answers them, that match ``filter``."""
    matches = compile_filter(filter, context)
    return [item for item in list_databases(session, context) if matches(item)]
