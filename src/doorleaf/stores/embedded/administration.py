"""Collections and indexes coming and going, and lists of them."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import bson
from bson.datetime_ms import DatetimeMS

from doorleaf.documents import CODEC, Document, is_string
from doorleaf.errors import DataError, InvalidParameter, Unsupported
from doorleaf.mql.context import Context
from doorleaf.mql.display import display
from doorleaf.mql.filters.compile import compile_filter
from doorleaf.mql.order import validate_collation
from doorleaf.mql.values import date_millis, is_number, type_name
from doorleaf.operations import CreateCollection, CreateIndex, DropCollection, DropIndex, Namespace, RenameCollection
from doorleaf.operations.results import CreateIndexResult, DropIndexResult, OkResult
from doorleaf.stores.embedded.catalog import (
    TEMPORARY,
    Collection,
    Index,
    check_namespace,
    seal_collection,
    sum_of,
)
from doorleaf.stores.embedded.changes.log import log_at, log_of
from doorleaf.stores.embedded.discarding import discard
from doorleaf.stores.embedded.encoding import decode
from doorleaf.stores.embedded.file.sqlite import DamagedDatabase
from doorleaf.stores.embedded.file.storage import Session, counts
from doorleaf.stores.embedded.indexes import (
    ID_INDEX,
    add_index,
    build,
    drop_index_table,
    existing,
    require_room,
    specification,
)
from doorleaf.stores.embedded.keys import DATE, encode, invert, successor
from doorleaf.stores.embedded.writing.rows import Rows, Transaction

_REFUSED_OPTIONS = (
    *("capped", "size", "max", "timeseries", "expireAfterSeconds", "clusteredIndex", "viewOn", "pipeline"),
    *("changeStreamPreAndPostImages", "storageEngine", "indexOptionDefaults", "encryptedFields"),
)
ABANDONED_SECONDS = 3600.0
"""After so long nobody is making it any more."""

_LEVELS = ("off", "strict", "moderate")
_ACTIONS = ("error", "warn")


# --- collections -----------------------------------------------------------------------------------------------------


def collection_for_write(transaction: Transaction, namespace: Namespace) -> Collection:
    """The collection of ``namespace``, made when there is none."""
    found = transaction.session.catalog.get(namespace)
    return found if found is not None else make_collection(transaction, namespace, {})


def make_collection(transaction: Transaction, namespace: Namespace, options: Document) -> Collection:
    """Make a collection that is not there, with its index on ``_id``."""
    check_namespace(namespace)
    session = transaction.session
    _check_case(session, namespace.database)
    encoded = bson.encode(options, codec_options=CODEC)
    session.execute(
        "INSERT INTO collections (database, name, options) VALUES (?, ?, ?)",
        (namespace.database, namespace.collection, encoded),
    )
    number = session.connection.last_insert_rowid()
    checksum = sum_of(number, namespace.database, namespace.collection, encoded)
    session.execute("UPDATE collections SET sum = ? WHERE id = ?", (checksum, number))
    made = Collection(number, namespace.database, namespace.collection, options, ())
    session.execute(f"CREATE TABLE {made.table} (id INTEGER PRIMARY KEY, document BLOB NOT NULL, sum INTEGER NOT NULL)")
    session.execute("INSERT INTO counts VALUES (?, 0, 0)", (made.id,))
    return add_index(transaction, made, dict(ID_INDEX))


def _check_case(session: Session, database: str) -> None:
    for name in session.catalog.databases():
        if name != database and name.lower() == database.lower():
            raise DataError(
                f"db already exists with different case already have: [{name}] trying to create [{database}]",
                number=13297,
            )


def create_collection(
    transaction: Transaction, operation: CreateCollection, context: Context, options: Document | None = None
) -> OkResult:
    """Make an empty collection; error 48 when it is there. ``options`` are those that :func:`kept_options` gave."""
    check_namespace(operation.namespace)
    if options is None:
        options = kept_options(operation.options, context)
    if transaction.session.catalog.get(operation.namespace) is not None:
        raise DataError(f"Collection {operation.namespace} already exists.", number=48)
    make_collection(transaction, operation.namespace, options)
    return OkResult()


def kept_options(options: Document, context: Context, command: str = "create") -> Document:
    """The options that are kept of a ``create`` or a ``collMod``; unknown and unsupported ones are refused."""
    kept: Document = {}
    for name, value in options.items():
        if name in ("create", "writeConcern", "comment"):
            continue
        if name in _REFUSED_OPTIONS:
            if name == "capped" and not value:
                continue
            raise Unsupported(f"the collection option {name} is not supported by this data source")
        if name == "collation":
            validate_collation(value)
        elif name == "validator":
            if not isinstance(value, dict):
                raise DataError(f"BSON field '{command}.validator' is the wrong type '{type_name(value)}'", number=14)
            compile_filter(value, context)
            kept[name] = value
        elif name in ("validationLevel", "validationAction"):
            allowed = _LEVELS if name == "validationLevel" else _ACTIONS
            if value not in allowed:
                raise DataError(
                    f"Enumeration value '{display(value)}' for field '{command}.{name}' is not a valid value."
                )
            kept[name] = value
        else:
            raise DataError(f"BSON field '{command}.{name}' is an unknown field.", number=40415)
    return kept


def drop_collection(transaction: Transaction, operation: DropCollection, context: Context) -> OkResult:
    """Take a collection away with its documents and indexes; one that is not there counts as dropped."""
    found = transaction.session.catalog.get(operation.namespace)
    if found is not None:
        _drop(transaction, found)
    return OkResult()


def _drop(transaction: Transaction, collection: Collection) -> None:
    session = transaction.session
    if (log := log_of(session, collection)) is not None:
        log.dropped()
    for index in collection.indexes:
        drop_index_table(transaction, index)
    discard(session, collection.table)
    session.execute("DELETE FROM counts WHERE collection = ?", (collection.id,))
    session.execute("DELETE FROM collections WHERE id = ?", (collection.id,))
    remaining = {key: value for key, value in session.catalog.collections.items() if value.id != collection.id}
    session.bump(replace(session.catalog, collections=remaining))


def rename_collection(transaction: Transaction, operation: RenameCollection, context: Context) -> OkResult:
    """Give a collection another name in its database; error 26 when it is not there, 48 when the name is taken."""
    catalog = transaction.session.catalog
    source, target = operation.namespace, replace(operation.namespace, collection=operation.to)
    check_namespace(target)
    if target == source:
        raise DataError("Can't rename a collection to itself", number=20)
    found, taken = catalog.get(source), catalog.get(target)
    if found is None or TEMPORARY in found.options:
        raise DataError(f"Source collection {source} does not exist", number=26)
    if taken is not None:
        if not operation.drop_target:
            raise DataError("target namespace exists", number=48)
        _drop(transaction, taken)
    give_name(transaction, found, operation.to)
    return OkResult()


def give_name(transaction: Transaction, collection: Collection, name: str) -> None:
    """Call ``collection`` by a ``name`` that nothing else in its database has."""
    session = transaction.session
    options = {key: value for key, value in collection.options.items() if key != TEMPORARY}
    renamed = replace(collection, name=name, options=options)
    session.execute("UPDATE collections SET name = ? WHERE id = ?", (name, renamed.id))
    seal_collection(session.connection, renamed, bson.encode(options, codec_options=CODEC))
    kept = {key: value for key, value in session.catalog.collections.items() if value.id != collection.id}
    kept[renamed.database, name] = renamed
    session.bump(replace(session.catalog, collections=kept))
    if (log := log_at(session, collection.database, collection.name)) is not None:
        log.renamed(name)


def abandoned(session: Session) -> list[Namespace]:
    """Collections that were to take the place of others, and whose process has ended meanwhile."""
    latest = time.time() - ABANDONED_SECONDS
    return [
        Namespace(collection.database, collection.name)
        for collection in session.catalog.collections.values()
        if TEMPORARY in collection.options and collection.options[TEMPORARY] < latest
    ]


def drop_database(transaction: Transaction, database: str) -> bool:
    """Take away all collections of ``database``; tells whether there were any."""
    found = transaction.session.catalog.of(database)
    for collection in found:
        _drop(transaction, collection)
    if found and (log := log_at(transaction.session, database)) is not None:
        log.dropped()
    return bool(found)


def empty(transaction: Transaction, collection: Collection) -> None:
    """Take all documents out and keep the collection, its options and its indexes."""
    session = transaction.session
    if (log := log_of(session, collection)) is not None:
        log.dropped()
    documents, size = transaction.counted(collection)
    for table in (collection.table, *(index.table for index in collection.indexes)):
        session.execute(f"DELETE FROM {table}")  # noqa: S608 - tables named by integers
    transaction.count(collection, -documents, -size)


# --- indexes ---------------------------------------------------------------------------------------------------------


def create_index(transaction: Transaction, operation: CreateIndex, context: Context) -> CreateIndexResult:
    """Make one index, and the collection when there is none."""
    return create_indexes(transaction, operation.namespace, [(operation.keys, operation.options)], context)


def create_indexes(
    transaction: Transaction,
    namespace: Namespace,
    wanted: list[tuple[Any, Document]],
    context: Context,
) -> CreateIndexResult:
    """Make several indexes, all or none; those that are there already count for nothing."""
    specifications = [specification(keys, options) for keys, options in wanted]
    created = transaction.session.catalog.get(namespace) is None
    collection = collection_for_write(transaction, namespace)
    before = len(collection.indexes)
    for made in specifications:
        if existing(collection, made) is not None:
            continue
        require_room(collection, made)
        collection = build(transaction, add_index(transaction, collection, made), made["name"], context)
    return CreateIndexResult(created, before, len(collection.indexes))


def drop_index(transaction: Transaction, operation: DropIndex, context: Context) -> DropIndexResult:
    """Take one index away, by name."""
    if operation.index == "*":
        raise InvalidParameter("name must be the name of one index: '*' would drop all of them")
    return DropIndexResult(drop_indexes(transaction, operation.namespace, [operation.index]))


def drop_indexes(transaction: Transaction, namespace: Namespace, names: list[Any]) -> int:
    """Take indexes away, by name or key pattern; answers how many there were before."""
    session = transaction.session
    collection = session.catalog.get(namespace)
    if collection is None:
        raise DataError(f"ns not found {namespace}", number=26)
    were = len(collection.indexes)
    for name in names:
        index = _named(collection, name)
        if index.name == "_id_":
            raise DataError("cannot drop _id index", number=72)
        drop_index_table(transaction, index)
        collection = replace(collection, indexes=tuple(item for item in collection.indexes if item.id != index.id))
        session.bump(session.catalog.changed(collection))
    return were


def _named(collection: Collection, name: Any) -> Index:
    if isinstance(name, dict):
        found = [
            index for index in collection.indexes if list(index.specification["key"].items()) == list(name.items())
        ]
        if not found:
            raise DataError(f"can't find index with key: {display(name)}", number=27)
        if len(found) > 1:
            raise DataError(f"{len(found)} indexes found for key: {display(name)}, identify by name instead", number=85)
        return found[0]
    index = collection.index(name) if is_string(name) else None
    if index is None:
        raise DataError(f"index not found with name [{name}]", number=27)
    return index


# --- lists -----------------------------------------------------------------------------------------------------------


def list_indexes(session: Session, namespace: Namespace) -> list[Document]:
    """The index documents of a collection; none when it is not there."""
    collection = session.catalog.get(namespace)
    return [] if collection is None else [dict(index.specification) for index in collection.indexes]


def list_collections(session: Session, database: str) -> list[Document]:
    """The collections of a database, sorted by name."""
    return [{"name": collection.name, "type": "collection"} for collection in session.catalog.of(database)]


def named(session: Session, database: str, context: Context) -> list[Document]:
    """:func:`list_collections` in a worker."""
    return list_collections(session, database)


def list_databases(session: Session, context: Context) -> list[Document]:
    """All databases, with the bytes of their documents."""
    listed: list[Document] = []
    for name in session.catalog.databases():
        context.check()
        size = sum(counts(session, collection)[1] for collection in session.catalog.of(name))
        # A collection takes its pages even when it has no documents.
        size += 4096 * sum(1 + len(collection.indexes) for collection in session.catalog.of(name))
        listed.append({"name": name, "sizeOnDisk": size, "empty": False})
    return listed


# --- documents that expire -------------------------------------------------------------------------------------------

SWEEP = 1_000
SWEEP_SECONDS = 0.05
"""Documents that one write takes out, and how long it may take, so that others need not wait."""


def expiring(session: Session) -> list[tuple[Namespace, str]]:
    """The indexes that documents expire by."""
    return [
        (Namespace(collection.database, collection.name), index.name)
        for collection in session.catalog.collections.values()
        for index in collection.indexes
        if is_number(index.expire_after)
    ]


def expire(transaction: Transaction, namespace: Namespace, name: str, context: Context) -> tuple[int, bool]:
    """Take out documents whose time has come, a few at a time; answers how many, and whether these were all."""
    collection = transaction.session.catalog.get(namespace)
    index = collection.index(name) if collection is not None else None
    if collection is None or index is None or index.expire_after is None:
        return 0, True
    latest = DatetimeMS(date_millis(context.now) - int(index.expire_after * 1000))
    low, high = DATE, successor(encode(latest))
    if index.fields[0][1]:
        low, high = invert(encode(latest)), successor(invert(DATE))
    execute = transaction.session.execute
    found = list(
        execute(
            f"SELECT DISTINCT row FROM {index.table} WHERE key >= ? AND key < ? LIMIT {SWEEP}",  # noqa: S608
            (low, high),
        )
    )
    rows = Rows(transaction, collection, context)
    until = time.monotonic() + SWEEP_SECONDS
    for taken, (row,) in enumerate(found):
        if taken and time.monotonic() >= until:
            return taken, False
        encoded = execute(f"SELECT document FROM {collection.table} WHERE id = ?", (row,)).get  # noqa: S608
        if encoded is None:
            raise DamagedDatabase("the database file is damaged")
        rows.delete(row, encoded, decode(encoded))
    return len(found), len(found) < SWEEP
