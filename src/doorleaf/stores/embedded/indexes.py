"""Index specifications: what ``createIndex`` may ask for, names, conflicts, and building an index."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import bson

from doorleaf.documents import CODEC, Document, is_string
from doorleaf.errors import DataError, Unsupported
from doorleaf.mql.context import Context
from doorleaf.mql.display import display
from doorleaf.mql.filters.compile import compile_filter
from doorleaf.mql.order import validate_collation
from doorleaf.mql.values import is_nan, is_number, type_name
from doorleaf.stores.embedded.catalog import MAX_INDEXES, Collection, Index, seal_index
from doorleaf.stores.embedded.discarding import discard
from doorleaf.stores.embedded.encoding import decode
from doorleaf.stores.embedded.file.storage import Session
from doorleaf.stores.embedded.writing.rows import Rows, Transaction

ID_INDEX: Document = {"v": 2, "key": {"_id": 1}, "name": "_id_"}

_KINDS = {
    "text": "text indexes",
    "2d": "2d indexes",
    "2dsphere": "2dsphere indexes",
    "geoHaystack": "geoHaystack indexes",
    "wildcard": "wildcard indexes",
}
_REFUSED = frozenset(
    (
        *("wildcardProjection", "weights", "default_language", "language_override", "textIndexVersion"),
        *("2dsphereIndexVersion", "bits", "min", "max", "bucketSize", "storageEngine", "prepareUnique", "clustered"),
    )
)
_FLAGS = ("unique", "sparse", "hidden", "background")
_PARTIAL = frozenset(("$eq", "$exists", "$gt", "$gte", "$lt", "$lte", "$type"))
_MAX_EXPIRY = 2**31 - 1


def specification(keys: Any, options: Mapping[str, Any]) -> Document:
    """The index document of a ``createIndex``; raises the server's errors, and ``Unsupported`` by name."""
    check_keys(keys)
    made: Document = {"v": 2, "key": dict(keys), "name": options.get("name", default_name(keys))}
    for name, value in options.items():
        _option(made, name, value, keys)
    if not is_string(made["name"]) or not made["name"]:
        raise DataError("The field 'name' is not valid for an index specification: it must be a non-empty string")
    if made["name"] == "*":
        raise DataError("The index name '*' is not valid.", number=2)
    if made["name"] == "_id_" or list(keys) == ["_id"]:
        return _id_specification(made, keys)
    if made.get("sparse") and "partialFilterExpression" in made:
        raise DataError('cannot mix "partialFilterExpression" and "sparse" options', number=67)
    if "expireAfterSeconds" in made and len(keys) > 1:
        raise DataError(
            f"TTL indexes are single-field indexes, compound indexes do not support TTL. Index spec: {display(made)}",
            number=67,
        )
    if "hashed" in keys.values():
        if made.get("unique"):
            raise DataError("Currently hashed indexes cannot guarantee uniqueness. Use a regular index.", number=16764)
        if sum(1 for kind in keys.values() if kind == "hashed") > 1:
            raise DataError(
                f"A maximum of one index field is allowed to be hashed: {display(dict(keys))}", number=31303
            )
    return made


def _id_specification(made: Document, keys: Mapping[str, Any]) -> Document:
    if list(keys) != ["_id"]:
        raise DataError(
            "The index name '_id_' is reserved for the _id index, which must have key pattern {_id: 1},"
            f" found key: {display(dict(keys))}",
            number=2,
        )
    if keys["_id"] == 1:
        for name in made:
            if name not in ("v", "key", "name"):
                raise DataError(
                    f"The field '{name}' is not valid for an _id index specification. Specification: {display(made)}",
                    number=197,
                )
        return dict(ID_INDEX)
    if made["name"] == "_id_":
        raise DataError(f"The field 'key' for an _id index must be {{_id: 1}}, but got {display(dict(keys))}", number=2)
    return made


def check_keys(keys: Any) -> None:
    """Raise code 67 for a key pattern that no index can have, ``Unsupported`` for a kind that is not there."""
    if not isinstance(keys, dict) or not keys:
        raise DataError("Index keys cannot be an empty object", number=67)
    if len(keys) > 32:
        raise DataError(f"too many keys in index spec {display(keys)}", number=67)
    for path, kind in keys.items():
        _check_path(path, keys)
        if is_string(kind):
            if kind in _KINDS:
                raise Unsupported(f"{_KINDS[kind]} are not supported by this data source")
            if kind != "hashed":
                raise DataError(f"Unknown index plugin '{kind}'", number=67)
        elif not is_number(kind):
            raise DataError(
                "Values in v:2 index key pattern cannot be of type"
                f" {type_name(kind)}. Only numbers > 0, numbers < 0, and strings are allowed.",
                number=67,
            )
        elif is_nan(kind) or float(str(kind)) == 0:
            raise DataError("Values in the index key pattern cannot be 0.", number=67)


def _check_path(path: str, keys: Document) -> None:
    parts = path.split(".")
    if "$**" in parts:
        raise Unsupported("wildcard indexes are not supported by this data source")
    if not all(parts) or "\x00" in path:
        raise DataError(f"Index keys cannot contain an empty field: {display(keys)}", number=67)
    if any(part.startswith("$") and part not in ("$ref", "$id", "$db") for part in parts):
        raise DataError("Index key contains an illegal field name: field name starts with '$'.", number=67)


def default_name(keys: Mapping[str, Any]) -> str:
    """The name MongoDB's drivers give: fields and directions joined by underscores."""
    return "_".join(f"{path}_{_written(kind)}" for path, kind in keys.items())


def _written(kind: Any) -> str:
    return str(int(kind)) if isinstance(kind, float) and kind.is_integer() else str(kind)


def _option(made: Document, name: str, value: Any, keys: Mapping[str, Any]) -> None:
    if name in ("name", "commitQuorum"):
        return
    if name in _REFUSED:
        raise Unsupported(f"the index option {name} is not supported by this data source")
    if name in _FLAGS:
        if not isinstance(value, bool) and not is_number(value):
            raise DataError(
                f"The field '{name}' has value {name}: {display(value)}, which is not convertible to bool", number=14
            )
        if value and name != "background":
            made[name] = True
    elif name == "v":
        if value == 1:
            raise Unsupported("indexes of version 1 are not supported by this data source, only version 2")
        if value != 2:
            raise DataError(
                f"Invalid index specification {display(made)}; cannot create an index with v={display(value)}"
            )
    elif name == "collation":
        validate_collation(value)
    elif name == "expireAfterSeconds":
        made[name] = expiry(value, keys)
    elif name == "partialFilterExpression":
        if not isinstance(value, dict):
            raise DataError("The field 'partialFilterExpression' must be an object", number=14)
        _check_partial(value)
        made[name] = value
    else:
        raise DataError(
            f"The field '{name}' is not valid for an index specification. Specification:"
            f" {display({'key': dict(keys), name: value})}",
            number=197,
        )


def expiry(value: Any, keys: Mapping[str, Any]) -> int:
    """The whole seconds of an ``expireAfterSeconds``; error 67 for what cannot be one."""
    if not is_number(value):
        raise DataError(
            "TTL index 'expireAfterSeconds' option must be numeric, but received a type of"
            f" '{type_name(value)}'. Index spec: {display(dict(keys))}",
            number=67,
        )
    seconds = float(str(value))
    if not 0 <= seconds <= _MAX_EXPIRY:
        raise DataError(
            "TTL index 'expireAfterSeconds' option must be within an acceptable range, try a different number than"
            f" {display(value)}. Index spec: {display(dict(keys))}",
            number=67,
        )
    return int(seconds)


def _check_partial(filter: Document) -> None:
    """Raise code 67 for a condition that a partial index cannot have, and the filter's own errors."""
    compile_filter(filter, Context())
    for path, condition in filter.items():
        if path == "$and":
            for part in condition:
                _check_partial(part)
            continue
        operators = condition if isinstance(condition, dict) and next(iter(condition), "")[:1] == "$" else {}
        wrong = path if path[:1] == "$" else next((name for name in operators if name not in _PARTIAL), None)
        if wrong is None and operators.get("$exists", True) in (False, 0, None):
            wrong = "$exists: false"
        if wrong is None and type_name(condition) == "regex":
            wrong = "$regex"
        if wrong is not None:
            raise DataError(f"Expression not supported in partial index: {wrong} ({display(filter)})", number=67)


_SIGNATURE = ("unique", "sparse", "partialFilterExpression")


def existing(collection: Collection, wanted: Document) -> Index | None:
    """The index that is ``wanted`` already; raises 85 or 86 for one that stands in its way."""
    same_name = collection.index(wanted["name"])
    if same_name is not None:
        known = same_name.specification
        if not _alike(known, wanted):
            raise DataError(
                "An existing index has the same name as the requested index. When index names are not specified, they"
                " are auto generated and can cause conflicts. Please refer to our documentation. Requested index:"
                f" {display(wanted)}, existing index: {display(known)}",
                number=86,
            )
        if any(known.get(name) != wanted.get(name) for name in ("expireAfterSeconds", "hidden")):
            raise DataError(
                "An equivalent index already exists with the same name but different options. Requested index:"
                f" {display(wanted)}, existing index: {display(known)}",
                number=85,
            )
        return same_name
    for index in collection.indexes:
        if _alike(index.specification, wanted):
            raise DataError(f"Index already exists with a different name: {index.name}", number=85)
    return None


def _alike(known: Document, wanted: Document) -> bool:
    return list(known["key"].items()) == list(wanted["key"].items()) and all(
        bson.encode({"v": known.get(name)}, codec_options=CODEC)
        == bson.encode({"v": wanted.get(name)}, codec_options=CODEC)
        for name in _SIGNATURE
    )


def require_room(collection: Collection, wanted: Document) -> None:
    """Raise error 67 where ``collection`` has as many indexes as it may."""
    if len(collection.indexes) >= MAX_INDEXES:
        shown = f"{collection.namespace} key:{display(wanted['key'])}"
        raise DataError(f"add index fails, too many indexes for {shown}", number=67)


def new_number(session: Session) -> int:
    """A number that no other index has or will have."""
    session.execute("INSERT INTO indexes (collection, specification, arrays) VALUES (0, x'', 0)")
    number = session.connection.last_insert_rowid()
    session.execute("DELETE FROM indexes WHERE id = ?", (number,))
    return number


def add_index(transaction: Transaction, collection: Collection, wanted: Document) -> Collection:
    """Put an empty index into the catalog; :func:`build` fills it."""
    index = Index(new_number(transaction.session), wanted, 0)
    make_table(transaction.session, index)
    return put_index(transaction.session, collection, index)


def make_table(session: Session, index: Index) -> None:
    """Make the empty table of ``index``."""
    primary = "PRIMARY KEY (key)" if index.unique else "PRIMARY KEY (key, row)"
    session.execute(f"CREATE TABLE {index.table} (key BLOB NOT NULL, row INTEGER NOT NULL, {primary}) WITHOUT ROWID")


def put_index(session: Session, collection: Collection, index: Index) -> Collection:
    """Put an index, whose table is there, into the catalog."""
    encoded = bson.encode(index.specification, codec_options=CODEC)
    session.execute("INSERT INTO indexes VALUES (?, ?, ?, ?, 0)", (index.id, collection.id, encoded, index.arrays))
    seal_index(session.connection, index.id, collection.id, encoded, index.arrays)
    changed = replace(collection, indexes=(*collection.indexes, index))
    session.bump(session.catalog.changed(changed))
    return changed


def build(transaction: Transaction, collection: Collection, name: str, context: Context) -> Collection:
    """Fill the index called ``name`` with all documents; raises 11000 for a unique one that they break."""
    rows = Rows(transaction, collection, context)
    documents = transaction.session.execute(f"SELECT id, document FROM {collection.table} ORDER BY id")  # noqa: S608
    try:
        for row, encoded in documents:
            context.check()
            rows.index(name, row, decode(encoded))
    finally:
        documents.close()
    return rows.collection


def drop_index_table(transaction: Transaction, index: Index) -> None:
    """Take an index's table and catalog row away; the caller bumps the catalog."""
    discard(transaction.session, index.table)
    transaction.session.execute("DELETE FROM indexes WHERE id = ?", (index.id,))
