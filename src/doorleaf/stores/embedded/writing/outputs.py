"""``$out`` and ``$merge``: writing what a pipeline answered, in one transaction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bson.objectid import ObjectId

from doorleaf.documents import Document, Pipeline, is_string
from doorleaf.errors import DataError, Unsupported
from doorleaf.mql.context import Context
from doorleaf.mql.display import display
from doorleaf.mql.paths import get
from doorleaf.mql.updates.compile import compile_update
from doorleaf.mql.values import MISSING, type_name
from doorleaf.operations import Namespace
from doorleaf.stores.embedded.administration import collection_for_write, empty
from doorleaf.stores.embedded.catalog import Collection, check_namespace
from doorleaf.stores.embedded.encoding import decode
from doorleaf.stores.embedded.reading.matches import Matches, Query
from doorleaf.stores.embedded.writing.rows import Rows, Transaction

_MATCHED = ("replace", "keepExisting", "merge", "fail")
_NOT_MATCHED = ("insert", "discard", "fail")


@dataclass(slots=True)
class Output:
    """The last stage of a pipeline, checked. ``on`` empty means ``$out``: replace the whole collection."""

    target: Namespace
    on: tuple[str, ...] = ()
    matched: str | Pipeline = "merge"
    not_matched: str = "insert"
    variables: Document | None = None


def output_of(stage: Document, source: Namespace) -> Output:
    """Check a ``$out`` or ``$merge`` stage; raises the server's errors."""
    ((name, argument),) = stage.items()
    if name == "$out":
        if isinstance(argument, dict) and "timeseries" in argument:
            raise Unsupported("$out to a time series collection is not supported by this data source")
        return Output(_target(name, argument, source))
    if is_string(argument):
        return Output(_target(name, argument, source), on=("_id",))
    if not isinstance(argument, dict):
        raise DataError(f"$merge requires a string or object argument, but found {type_name(argument)}", number=51182)
    for key in argument:
        if key not in ("into", "on", "let", "whenMatched", "whenNotMatched"):
            raise DataError(f"BSON field '$merge.{key}' is an unknown field.", number=40415)
    if "into" not in argument:
        raise DataError("BSON field '$merge.into' is missing but a required field", number=40414)
    matched, not_matched = argument.get("whenMatched", "merge"), argument.get("whenNotMatched", "insert")
    if not isinstance(matched, list) and matched not in _MATCHED:
        raise DataError(f"Enumeration value '{display(matched)}' for field 'whenMatched' is not a valid value.")
    if not_matched not in _NOT_MATCHED:
        raise DataError(f"Enumeration value '{display(not_matched)}' for field 'whenNotMatched' is not a valid value.")
    if "let" in argument and not isinstance(matched, list):
        raise DataError(f"Cannot use 'let' variables with 'whenMatched: {matched}' mode", number=51199)
    if argument.get("let"):
        raise Unsupported("$merge with let is not supported by this data source; $$new is there")
    return Output(_target(name, argument["into"], source), _on(argument.get("on", "_id")), matched, not_matched)


def _on(value: Any) -> tuple[str, ...]:
    fields = [value] if is_string(value) else value
    if not isinstance(fields, list) or not fields or not all(is_string(item) and item for item in fields):
        raise DataError("$merge 'on' field  must be either a string or a non-empty array of strings", number=51186)
    if len(set(fields)) != len(fields):
        raise DataError("Found a duplicate field in the $merge 'on' fields", number=31465)
    return tuple(fields)


def _target(name: str, place: Any, source: Namespace) -> Namespace:
    if is_string(place):
        target = Namespace(source.database, place, source.data_source)
    elif isinstance(place, dict) and is_string(place.get("coll")) and set(place) <= {"db", "coll"}:
        target = Namespace(place.get("db", source.database), place["coll"], source.data_source)
    else:
        raise DataError(f"{name} must name a collection, but found {display(place)}", number=9)
    check_namespace(target)
    return target


def write_output(transaction: Transaction, output: Output, documents: list[bytes], context: Context) -> None:
    """Write ``documents`` to the output's collection; all or none."""
    if not output.on:
        collection = collection_for_write(transaction, output.target)
        empty(transaction, collection)
        rows = Rows(transaction, collection, context)
        for encoded in documents:
            context.check()
            rows.insert(decode(encoded))
        return
    put = merging(transaction, output, context)
    for encoded in documents:
        context.check()
        put(encoded)


def merging(transaction: Transaction, output: Output, context: Context) -> Callable[[bytes], None]:
    """How a document of a ``$merge`` is written."""
    collection = collection_for_write(transaction, output.target)
    _check_unique(collection, output.on)
    rows = Rows(transaction, collection, context)
    return lambda encoded: _merge(transaction, rows, output, decode(encoded), context)


def _check_unique(collection: Collection, on: tuple[str, ...]) -> None:
    for index in collection.indexes:
        if index.unique and index.partial is None and {path for path, _ in index.fields} == set(on):
            return
    raise DataError("Cannot find index to verify that join fields will be unique", number=51183)


def _merge(transaction: Transaction, rows: Rows, output: Output, document: Document, context: Context) -> None:
    if "_id" in output.on and "_id" not in document:
        document = {"_id": ObjectId(), **document}
    key = {path: _key_value(document, path) for path in output.on}
    query = Query(rows.collection, {path: {"$eq": value} for path, value in key.items()}, limit=1)
    found = next(iter(Matches(transaction.session, query, context).rows()), None)
    if found is None:
        if output.not_matched == "fail":
            raise DataError(
                "$merge could not find a matching document in the target collection for at least one"
                " document in the source collection",
                number=13113,
            )
        if output.not_matched == "insert":
            rows.insert(document)
        return
    (row, encoded), _ = found
    before = decode(encoded)
    after = _matched(output, before, document, context)
    if after is not before:
        rows.replace(row, encoded, before, after, replacing=output.matched == "replace")


def _key_value(document: Document, path: str) -> Any:
    value = get(document, path.split("."))
    if value is MISSING or value is None or isinstance(value, list):
        raise DataError(f"$merge write error: 'on' field '{path}' cannot be missing, null or an array", number=51132)
    return value


def _matched(output: Output, before: Document, document: Document, context: Context) -> Document:
    how = output.matched
    if how == "keepExisting":
        return before
    if how == "fail":
        raise DataError(f"E11000 duplicate key error: $merge found {display({'_id': before.get('_id')})}", number=11000)
    if isinstance(how, list):
        return compile_update(how, context, variables={"new": document}).apply(before)
    if "_id" in document and document["_id"] != before["_id"]:
        raise DataError(
            "$merge failed to update the matching document, did you attempt to modify the _id or the shard"
            " key? :: the (immutable) field '_id' was found to have been altered",
            number=66,
        )
    base = before if how == "merge" else {"_id": before["_id"]}
    return {**base, **document}
