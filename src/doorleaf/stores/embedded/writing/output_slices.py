"""``$out`` and ``$merge`` of much, in several short transactions: between two of them others have their turn to write.

As on a server ``$merge`` writes each document by itself, and what went before stays when a later one fails. ``$out``
fills a collection of its own, which takes the place of the other in the end.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from doorleaf.documents import Document, Pipeline
from doorleaf.errors import DataError, DoorleafError
from doorleaf.mql.context import Context
from doorleaf.operations import Aggregate, DropCollection, Namespace
from doorleaf.stores.embedded.administration import drop_collection, give_name, make_collection
from doorleaf.stores.embedded.catalog import TEMPORARY, Collection, check_namespace, described
from doorleaf.stores.embedded.encoding import decode
from doorleaf.stores.embedded.indexes import ID_INDEX, add_index
from doorleaf.stores.embedded.reading import reads
from doorleaf.stores.embedded.writing import outputs, planned
from doorleaf.stores.embedded.writing.outputs import Output
from doorleaf.stores.embedded.writing.planned import Writing
from doorleaf.stores.embedded.writing.rows import Rows, Transaction

_CLEARING_SECONDS = 5.0

Put = Callable[[bytes], None]


def output(writing: Writing, operation: Aggregate, pipeline: Pipeline, target: Output, context: Context) -> None:
    """Compute what ``pipeline`` answers on a snapshot, then write it: in slices where ``writing`` says so."""
    if not writing.sliced:
        planned.output(writing, operation, pipeline, target, context)
        return
    with writing.reading(context) as session:
        found = [*reads.aggregate(session, reads.uncapped(operation), pipeline, context)]
    if target.on:
        _write(writing, found, lambda transaction: outputs.merging(transaction, target, context), context)
    else:
        _exchange(writing, found, target.target, context)


def _write(writing: Writing, found: list[bytes], puts: Callable[[Transaction], Put], context: Context) -> None:
    """Put in each of ``found``, some at a time."""
    documents, over = iter(found), False
    while not over:
        with writing.transaction(context) as transaction, planned.for_a_moment(writing, context):
            over = _some(writing, documents, puts(transaction), context)


def _some(writing: Writing, documents: Iterator[bytes], put: Put, context: Context) -> bool:
    """Put in the next documents until the slice is over; whether those were all."""
    size = 0
    for document in documents:
        context.check()
        put(document)
        size += len(document)
        if writing.over(size):
            return False
    return True


def _exchange(writing: Writing, found: list[bytes], target: Namespace, context: Context) -> None:
    """Put all into a new collection with the options and indexes of the old one, then give it the name."""
    made = replace(target, collection=f"tmp.agg_out.{secrets.token_hex(8)}")
    with writing.transaction(context) as transaction:
        before = _described(transaction.session.catalog.get(target))
        number = _begin(transaction, target, made)
    try:
        _write(writing, found, lambda given: _inserting(given, _still(given, made, number), context), context)
        with writing.transaction(context) as transaction:
            if _described(transaction.session.catalog.get(target)) != before:
                raise DataError(f"collection {target} has changed while $out was carried out", number=125)
            collection = _still(transaction, made, number)
            drop_collection(transaction, DropCollection(namespace=target), context)
            give_name(transaction, collection, target.collection)
    except BaseException:
        brief = Context(time.monotonic() + _CLEARING_SECONDS)
        with contextlib.suppress(DoorleafError), writing.transaction(brief) as transaction:  # else the sweep does it
            _still(transaction, made, number)
            drop_collection(transaction, DropCollection(namespace=made), brief)
        raise


def _described(collection: Collection | None) -> tuple[Any, ...]:
    """What of a collection has to stay the same meanwhile."""
    if collection is None:
        return ()
    return collection.id, described(collection), [index.specification for index in collection.indexes]


def _begin(transaction: Transaction, target: Namespace, made: Namespace) -> int:
    """Make the collection that takes the place of ``target``; its number."""
    old = transaction.session.catalog.get(target)
    options: Document = {**(old.options if old is not None else {}), TEMPORARY: int(time.time())}
    check_namespace(target)
    collection = make_collection(transaction, made, options)
    for index in old.indexes if old is not None else ():
        if index.name != ID_INDEX["name"]:
            collection = add_index(transaction, collection, index.specification)
    return collection.id


def _still(transaction: Transaction, made: Namespace, number: int) -> Collection:
    """The collection that was made, in which are the documents so far; DataError where somebody took it away."""
    collection = transaction.session.catalog.get(made)
    if collection is None or collection.id != number:
        raise DataError("the collection that $out writes was dropped meanwhile", number=26)
    return collection


def _inserting(transaction: Transaction, collection: Collection, context: Context) -> Put:
    rows = Rows(transaction, collection, context)

    def put(document: bytes) -> None:
        rows.insert(decode(document))

    return put
