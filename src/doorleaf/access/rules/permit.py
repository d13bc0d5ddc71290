"""Permits: an operation narrowed to what its caller may do, and what to take out of the answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, cast

import bson
from bson import Int64, ObjectId

from doorleaf.access.rules import pipelines
from doorleaf.access.rules.concealing import compiling, concealing, let, without_reasons
from doorleaf.access.rules.conditions import Condition
from doorleaf.access.rules.references import (
    expression_paths,
    filter_paths,
    filtered_arrays,
    is_flat,
    may_fail,
    positional,
    projection_paths,
    update_reads,
    update_writes,
)
from doorleaf.access.rules.scanning import SeenDocuments
from doorleaf.access.rules.view import View
from doorleaf.access.rules.watching import SeenChanges
from doorleaf.apart import time_limit
from doorleaf.documents import CODEC, Document, Documents
from doorleaf.errors import DataError, DoorleafError, PermissionDenied, Unsupported
from doorleaf.mql.context import Context
from doorleaf.mql.filters.compile import compile_filter
from doorleaf.mql.projections.compile import compile_projection, is_inclusion
from doorleaf.operations import (
    Aggregate,
    BulkWrite,
    CountDocuments,
    DeleteMany,
    DeleteOne,
    Distinct,
    EstimatedDocumentCount,
    Find,
    FindOne,
    FindOneAndDelete,
    FindOneAndReplace,
    FindOneAndUpdate,
    InsertMany,
    InsertOne,
    Operation,
    ReplaceOne,
    Scan,
    UpdateMany,
    UpdateOne,
    Watch,
    altered,
)
from doorleaf.operations.capabilities import Collated, Filtered, Hinted, Parametrized, Projected, Sorted
from doorleaf.operations.results import ChangesResult, DocumentResult, DocumentsResult, Result, ScanResult

Redact = Callable[[Result], Result]

Modified = FindOneAndUpdate | FindOneAndReplace | FindOneAndDelete
Shown = FindOne | Find | Modified
Written = UpdateOne | UpdateMany | ReplaceOne | FindOneAndUpdate | FindOneAndReplace

_LARGE_BYTES = 64 * 1024
_PART_BYTES = 256 * 1024
"""How much of an answer that is larger is decoded at once: as Python values it takes ten times as much."""


@dataclass(slots=True)  # not frozen: one is made for every request
class Permit:
    """``operation`` is what the store may be asked; ``redact`` turns its result into what the caller gets.

    ``conceal`` does the same to an error of the store, which may quote what the caller may not read. With ``context``
    redacting evaluates what the caller wrote, up to the context's deadline.
    """

    operation: Operation[Any]
    redact: Redact | None = None
    conceal: Callable[[DataError], DoorleafError] | None = None
    context: Context | None = None


def evaluates(operation: Operation[Any]) -> bool:
    """Whether narrowing ``operation`` compiles what its caller wrote, which computes all that is constant in it."""
    if type(operation) is Watch:
        return bool(operation.filter)
    if operation.parts:
        return any(map(evaluates, operation.parts))
    asked = operation.projection if isinstance(operation, Projected) else None
    return bool(asked) and not _is_plain(asked or {})


def permit(operation: Operation[Any], view: View, views: pipelines.Views) -> Permit:
    """Narrow ``operation`` to ``view``; raises :class:`PermissionDenied` for what cannot be narrowed."""
    narrow = NARROWED.get(type(operation))
    if narrow is None:
        raise PermissionDenied(f"{operation.name} is not available to callers with rules")
    return narrow(operation, view, views)


# --- what every operation with a filter goes through -----------------------------------------------------------------


def _checked(operation: Filtered, view: View, *, upsert: bool = False, by_position: bool = False) -> Document:
    """The operation's filter joined with the view's, after a look at every field that the request refers to."""
    given = operation.filter
    flat = is_flat(given)
    _refuse_collation(operation, view)
    if not view.reads_all:
        _require_readable(operation, view, flat=flat)
    query = view.query
    if query is None:
        return given
    if not flat and may_fail(given):
        raise PermissionDenied(
            "filter: $expr may only compare and combine fields here; another expression could fail on documents that "
            "you may not read, and tell about them"
        )
    if upsert or by_position:
        # Behind a double negation a condition adds no field to the document that an upsert makes, and chooses no
        # element for a positional operator.
        query = {"$nor": [{"$nor": [query]}]}
    return _joined(query, given)


def _joined(query: Document, given: Document) -> Document:
    if not given:
        return query
    return {**query, **given} if query.keys().isdisjoint(given) else {"$and": [query, given]}


def _refuse_collation(operation: object, view: View) -> None:
    """A collation would hold for the rules' conditions too, and take the documents of "Red" for those of "red"."""
    collation = operation.collation if isinstance(operation, Collated) else None
    if collation and collation != {"locale": "simple"} and (view.query is not None or view.tree is None):
        raise PermissionDenied(f"collation is not available on '{view.namespace}': rules choose its documents")


def _require_readable(operation: Filtered, view: View, *, flat: bool) -> None:
    paths = list(operation.filter if flat else filter_paths(operation.filter))
    if isinstance(operation, Sorted) and operation.sort:
        order = operation.sort.items()
        paths += ["" if isinstance(value, dict) else name for name, value in order if name != "$natural"]
    if isinstance(operation, Projected) and operation.projection:
        paths += projection_paths(operation.projection)
    if isinstance(operation, Parametrized) and operation.let:
        for value in operation.let.values():
            paths += expression_paths(value)
    view.require_readable(paths)
    _refuse_hint(operation)


def _refuse_hint(operation: object) -> None:
    """An index orders and leaves out documents by its fields, which may be hidden."""
    hint = operation.hint if isinstance(operation, Hinted) else None
    if hint and hint != "_id_" and not (isinstance(hint, dict) and set(hint) <= {"_id", "$natural"}):
        raise PermissionDenied("hint is not available where fields are hidden")


# --- reads -----------------------------------------------------------------------------------------------------------


def _find(operation: FindOne | Find, view: View, _: pipelines.Views) -> Permit:
    projection = operation.projection
    if not (projection or operation.sort or operation.hint or operation.let or operation.collation):
        given = operation.filter
        if is_flat(given):
            return _find_flat(operation, given, view)
    query = _checked(operation, view, by_position=positional(frozenset(projection or ())))
    sent, shown, context = _projections(operation, view)
    return Permit(altered(operation, filter=query, projection=sent), shown, context=context)


def _find_flat(operation: FindOne | Find, given: Document, view: View) -> Permit:
    """A find that asks for nothing but some values of fields, which most do."""
    if not view.narrows and view.visible is not None and _is_by_id(operation, given):
        # One document at most, which is here anyway: whether it may be seen is known without asking for it again.
        return Permit(operation, _redaction(view, None, view.visible))
    view.require_readable(given)
    query = given if view.query is None else _joined(view.query, given)
    if view.reads_all:
        return Permit(altered(operation, filter=query))
    hiding = view.hiding if view.narrows else None
    return Permit(altered(operation, filter=query, projection=hiding), _redaction(view, None))


def _is_by_id(operation: FindOne | Find, given: Document) -> bool:
    """Whether this is a findOne that names an `_id` and nothing else."""
    if type(operation) is not FindOne or len(given) != 1 or operation.skip:
        return False
    return type(given.get("_id")) in (ObjectId, str, int, Int64)


def _projections(operation: Shown, view: View) -> tuple[Document | None, Redact | None, Context | None]:
    """The projection to send, what is left to do to the answer, and the context in which that evaluates anything."""
    asked: Document | None = operation.projection or None
    if view.reads_all:
        return asked, None, None
    if asked is None:
        return (view.hiding if view.narrows else None), _redaction(view, None), None
    if _is_plain(asked):
        if is_inclusion(asked):
            # Every path of it was found readable, but for the `_id` that comes along unasked.
            identity = True if "_id" in asked else view.shows_everywhere("_id")
            if identity is not None:
                return (asked if identity else {**asked, "_id": 0}), None, None
        elif view.tree is not None:
            hiding = view.hiding if view.narrows and view.excludes else None
            joined = {**asked, **hiding} if hiding and not _overlap(asked, hiding) else asked
            return joined, _redaction(view, None), None
    # Expressions see what the caller sees, and where documents decide what is hidden they have to be whole to tell.
    context = compiling(operation)
    later = compile_projection(asked, context, filter=operation.filter, variables=let(operation, context))
    return (view.hiding if view.narrows else None), _redaction(view, later), context


def _is_plain(asked: Document) -> bool:
    """Whether a projection only takes or leaves out fields."""
    return all(value.__class__ in (int, bool) and not name.endswith(".$") for name, value in asked.items())


def _overlap(asked: Document, hiding: Document) -> bool:
    return any(a == b or a.startswith(b + ".") or b.startswith(a + ".") for a in asked for b in hiding)


def _redaction(
    view: View,
    later: Callable[[Document], Document] | None,
    visible: Callable[[Document], bool] | None = None,
) -> Redact:
    """What is done to an answer: documents that are not ``visible`` go, hidden fields go, then a projection."""

    def redact(result: Result) -> Result:
        if isinstance(result, DocumentResult):
            document, source = result.document, result.source
            if document is None:
                return result
            if isinstance(document, bytes):
                source = document
                document = bson.decode(document, CODEC)
            if visible is not None and not visible(document):
                return DocumentResult(None)
            (seen,) = view.shown([document])
            if later is not None:
                return DocumentResult(later(seen))
            result.document, result.source = seen, source
            return result
        result = cast(DocumentsResult, result)
        found = result.documents
        if found.size >= _LARGE_BYTES:
            parts = Documents([_encoded(shown(part)) for part in found.parts(_PART_BYTES, 1)])
            return DocumentsResult(parts, result.total)
        decoded = Documents.decoded_as(shown(found), found.source if later is None else None)
        return DocumentsResult(decoded, result.total)

    def shown(found: Documents) -> list[Document]:
        documents = view.shown(found.decode())
        return documents if later is None else [*map(later, documents)]

    return redact


def _encoded(documents: list[Document]) -> bytes:
    return b"".join([bson.encode(document, codec_options=CODEC) for document in documents])


def _count(operation: CountDocuments, view: View, _: pipelines.Views) -> Permit:
    return Permit(altered(operation, filter=_checked(operation, view)))


def _estimated_count(operation: EstimatedDocumentCount, view: View, _: pipelines.Views) -> Permit:
    if view.query is None:
        return Permit(operation)
    common = {
        "namespace": operation.namespace,
        "comment": operation.comment,
        "max_time_ms": operation.max_time_ms,
        "turn": operation.turn,
    }
    return Permit(CountDocuments(filter=view.query, **common))


def _distinct(operation: Distinct, view: View, _: pipelines.Views) -> Permit:
    view.require_readable([operation.key])
    return Permit(altered(operation, filter=_checked(operation, view)))


def _aggregate(operation: Aggregate, view: View, views: pipelines.Views) -> Permit:
    _refuse_collation(operation, view)
    if not view.reads_all:
        _refuse_hint(operation)

    def views_for_it(database: str, collection: str) -> View:
        found = views(database, collection)
        _refuse_collation(operation, found)
        return found

    stages = pipelines.secured(operation.pipeline, operation.namespace.database, view, views_for_it)
    return Permit(altered(operation, pipeline=stages))


def _watch(operation: Watch, view: View, _: pipelines.Views) -> Permit:
    for condition in (view.query, operation.filter):
        if condition:
            compile_filter(
                condition, compiling(operation)
            )  # what cannot be judged is refused now, not at the first event
    if view.reads_all and view.query is None:
        return Permit(operation)
    full, before = operation.full_document, operation.full_document_before_change
    if full == "whenAvailable":
        raise Unsupported(
            "fullDocument: whenAvailable cannot be judged by rules where the document is not there; ask for required"
            " or updateLookup"
        )
    sent = altered(
        operation,
        filter={},
        full_document=full if full == "required" else "updateLookup",
        full_document_before_change=before if before == "required" else "whenAvailable",
    )
    return Permit(sent, lambda result: ChangesResult(SeenChanges(cast(ChangesResult, result).changes, view, operation)))


def _scan(operation: Scan, view: View, views: pipelines.Views) -> Permit:
    narrowed = permit(operation.query, view, views)
    scan = altered(operation, query=cast(Any, narrowed.operation))
    if narrowed.redact is None:
        return Permit(scan)
    seen = partial(SeenDocuments, redact=narrowed.redact, context=narrowed.context, seconds=time_limit(operation))
    return Permit(scan, lambda result: ScanResult(seen(cast(ScanResult, result).documents)))


# --- writes ----------------------------------------------------------------------------------------------------------


def _insert_one(operation: InsertOne, view: View, _: pipelines.Views) -> Permit:
    document = _with_id(operation.document)
    view.check_insert(document)
    return Permit(altered(operation, document=document), conceal=None if view.reads_all else without_reasons)


def _insert_many(operation: InsertMany, view: View, _: pipelines.Views) -> Permit:
    documents = [_with_id(document) for document in operation.documents]
    context = Context(time.monotonic() + operation.max_time_ms / 1000 if operation.max_time_ms else None)
    for document in documents:
        context.check()
        view.check_insert(document)
    return Permit(altered(operation, documents=documents), conceal=None if view.reads_all else without_reasons)


def _with_id(document: Document) -> Document:
    return document if "_id" in document else {"_id": ObjectId(), **document}


def _update(operation: UpdateOne | UpdateMany | FindOneAndUpdate, view: View, _: pipelines.Views) -> Permit:
    paths = update_writes(operation.update)
    query = _checked(operation, view, upsert=operation.upsert, by_position=positional(paths))
    if not view.reads_all:
        view.require_readable(update_reads(operation.update))
        if operation.array_filters:
            view.require_readable(filtered_arrays(operation))
    view.require_within_limit(paths)
    return _guarded(operation, view, query, paths)


def _replace(operation: ReplaceOne | FindOneAndReplace, view: View, _: pipelines.Views) -> Permit:
    view.require_within_limit([""])
    return _guarded(operation, view, _checked(operation, view, upsert=operation.upsert), frozenset({""}))


def _delete(operation: DeleteOne | DeleteMany | FindOneAndDelete, view: View, _: pipelines.Views) -> Permit:
    query = _checked(operation, view)
    if view.deletes_all:
        return Permit(altered(operation, filter=query))
    return Permit(altered(operation, filter=query, guard=WriteCheck(view, frozenset(), view.deletable)))


@dataclass(frozen=True, slots=True)
class WriteCheck:
    """A guard. ``sufficient`` are the stored documents in which the write is allowed whatever it makes of them, as a
    filter, or None when it has to be seen: with it a store without transactions can keep the rule too."""

    view: View
    paths: frozenset[str]
    sufficient: Condition | None

    portable: ClassVar[bool] = True

    @property
    def small(self) -> bool:
        return self.view.writes_simply

    def __call__(self, before: Document | None, after: Document | None) -> None:
        if after is None:
            self.view.check_delete(cast(Document, before))
        elif before is None:
            self.view.check_insert(after)
        else:
            self.view.check_update(before, after, self.paths)


def _guarded(operation: Written, view: View, query: Document, paths: frozenset[str]) -> Permit:
    conceal = None if view.reads_all else concealing(operation)
    allowed, everywhere = view.updatable(paths)
    if not operation.upsert and everywhere:
        return Permit(altered(operation, filter=query), conceal=conceal)
    guard = WriteCheck(view, paths, None if operation.upsert else allowed)
    return Permit(altered(operation, filter=query, guard=guard), conceal=conceal)


def _find_and(narrow: Callable[[Any, View, pipelines.Views], Permit]) -> Callable[[Any, View, pipelines.Views], Permit]:
    """A findOneAnd… is its write with the answer shown as a read would show it."""

    def both(operation: Modified, view: View, views: pipelines.Views) -> Permit:
        narrowed = narrow(operation, view, views)
        projection = operation.projection
        if projection and positional(frozenset(projection)):
            query = _checked(operation, view, by_position=True)
            narrowed = replace(narrowed, operation=altered(cast(Any, narrowed.operation), filter=query))
        sent, shown, context = _projections(operation, view)
        sending = altered(cast(Any, narrowed.operation), projection=sent)
        return replace(narrowed, operation=sending, redact=shown, context=context)

    return both


def _bulk(operation: BulkWrite, view: View, views: pipelines.Views) -> Permit:
    context = Context(time.monotonic() + operation.max_time_ms / 1000 if operation.max_time_ms else None)
    writes = []
    for write in operation.operations:
        context.check()
        writes.append(permit(write, view, views).operation)
    conceal = None if view.reads_all else concealing(operation)
    return Permit(altered(operation, operations=cast(Any, writes)), conceal=conceal)


NARROWED: dict[type[Operation[Any]], Callable[[Any, View, pipelines.Views], Permit]] = {
    FindOne: _find,
    Find: _find,
    CountDocuments: _count,
    EstimatedDocumentCount: _estimated_count,
    Distinct: _distinct,
    Aggregate: _aggregate,
    Watch: _watch,
    Scan: _scan,
    InsertOne: _insert_one,
    InsertMany: _insert_many,
    UpdateOne: _update,
    UpdateMany: _update,
    ReplaceOne: _replace,
    DeleteOne: _delete,
    DeleteMany: _delete,
    FindOneAndUpdate: _find_and(_update),
    FindOneAndReplace: _find_and(_replace),
    FindOneAndDelete: _find_and(_delete),
    BulkWrite: _bulk,
}
"""How each operation is narrowed; one that is not here is refused."""
