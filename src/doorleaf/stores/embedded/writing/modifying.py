"""``collMod``: other options for a collection that is there, and for one of its indexes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import bson

from doorleaf.documents import CODEC, Document, is_string
from doorleaf.errors import DataError, Unsupported
from doorleaf.mql.display import display
from doorleaf.mql.values import is_number, truthy, type_name
from doorleaf.operations import Namespace
from doorleaf.stores.embedded.catalog import Collection, Index, seal_collection, seal_index
from doorleaf.stores.embedded.indexes import expiry
from doorleaf.stores.embedded.writing.rows import Transaction

_REFUSED = ("unique", "prepareUnique", "forceNonUnique", "dryRun")
_CHANGEABLE = ("expireAfterSeconds", "hidden")


def check_index(asked: Any) -> None:
    """Raise what is wrong with the ``index`` of a ``collMod``, whatever the collection is."""
    if not isinstance(asked, dict):
        raise DataError(f"BSON field 'collMod.index' is the wrong type '{type_name(asked)}'", number=14)
    for name, value in asked.items():
        if name in _REFUSED:
            raise Unsupported(f"collMod.index.{name} is not supported by this data source")
        kinds = {"keyPattern": "object", "name": "string", "hidden": "bool"}
        if name not in kinds and name != "expireAfterSeconds":
            raise DataError(f"BSON field 'collMod.index.{name}' is an unknown field.", number=40415)
        number = is_number(value) and name in ("hidden", "expireAfterSeconds")
        if not number and type_name(value) != kinds.get(name):
            raise DataError(f"BSON field 'collMod.index.{name}' is the wrong type '{type_name(value)}'", number=14)
    if "name" in asked and "keyPattern" in asked:
        raise DataError("Cannot specify both key pattern and name.", number=72)
    if "name" not in asked and "keyPattern" not in asked:
        raise DataError("Must specify either index name or key pattern.", number=72)
    if not any(name in asked for name in _CHANGEABLE):
        raise DataError("no expireAfterSeconds or hidden field", number=72)


def modify(transaction: Transaction, namespace: Namespace, options: Document, asked: Document | None) -> Document:
    """Give a collection other ``options``, and an index what is ``asked``; answers what changed of the index.

    ``options`` are those that ``kept_options`` gave; an empty validator is none.
    """
    session = transaction.session
    collection = session.catalog.get(namespace)
    if collection is None:
        raise DataError(f"ns does not exist: {namespace}", number=26)
    answer: Document = {}
    if asked is not None:
        collection, answer = _index(transaction, collection, asked)
    if options:
        kept = {**collection.options, **options}
        if not kept.get("validator"):
            kept.pop("validator", None)
        collection = replace(collection, options=kept)
        seal_collection(session.connection, collection, bson.encode(kept, codec_options=CODEC))
    session.bump(session.catalog.changed(collection))
    return answer


def _index(transaction: Transaction, collection: Collection, asked: Document) -> tuple[Collection, Document]:
    index = _found(collection, asked)
    made, answer = dict(index.specification), {}
    if "expireAfterSeconds" in asked:
        _require_single(index)
        seconds = expiry(asked["expireAfterSeconds"], made["key"])
        if "expireAfterSeconds" in made:
            answer["expireAfterSeconds_old"] = made["expireAfterSeconds"]
        made["expireAfterSeconds"] = answer["expireAfterSeconds_new"] = seconds
    if "hidden" in asked:
        hidden = truthy(asked["hidden"])
        if index.name == "_id_":
            raise DataError("can't hide _id index", number=2)
        if hidden is not index.hidden:
            answer |= {"hidden_old": index.hidden, "hidden_new": hidden}
        made.pop("hidden", None)
        if hidden:
            made["hidden"] = True
    changed = replace(index, specification=made)
    session, encoded = transaction.session, bson.encode(made, codec_options=CODEC)
    session.execute("UPDATE indexes SET specification = ? WHERE id = ?", (encoded, index.id))
    seal_index(session.connection, index.id, collection.id, encoded, index.arrays)
    indexes = tuple(changed if item.id == index.id else item for item in collection.indexes)
    return replace(collection, indexes=indexes), answer


def _found(collection: Collection, asked: Document) -> Index:
    name, keys = asked.get("name"), asked.get("keyPattern")
    if is_string(name):
        found = collection.index(name)
    else:
        found = next((item for item in collection.indexes if _same_keys(item.specification["key"], keys)), None)
    if found is None:
        shown = name if is_string(name) else display(keys)
        raise DataError(f"cannot find index {shown} for ns {collection.namespace}", number=27)
    return found


def _same_keys(known: Document, asked: Any) -> bool:
    return isinstance(asked, dict) and list(known.items()) == list(asked.items())


def _require_single(index: Index) -> None:
    if index.name == "_id_":
        raise DataError("the _id field does not support TTL indexes", number=72)
    if len(index.fields) > 1:
        raise DataError("TTL indexes are single-field indexes, compound indexes do not support TTL", number=72)
