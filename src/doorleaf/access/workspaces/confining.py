"""Keeping an operation inside its caller's workspace: the predicate is part of whatever the store is asked.

Every filter is joined with it, every new document has its fields, and every pipeline begins by leaving what does not
fulfil it and taking its fields away, in joined collections too. What cannot be kept inside is refused. The operation's
names are those of the database by then; a name that is not the workspace's own is refused whoever wrote it there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from bson import ObjectId

from doorleaf.access.rules.pipelines import BARRIER
from doorleaf.access.rules.references import may_fail
from doorleaf.access.workspaces.subscriptions import Subscription
from doorleaf.access.workspaces.tenancy import ADMIN, HIDDEN, READ, REALTIME, WRITE, Tenancy, Workspace
from doorleaf.access.workspaces.watching import ConfinedChanges
from doorleaf.documents import Document, Pipeline
from doorleaf.errors import InvalidParameter, PermissionDenied
from doorleaf.mql.stages.reach import STAGES, stage_of
from doorleaf.operations import (
    Aggregate,
    CountDocuments,
    CreateCollection,
    CreateIndex,
    DeleteMany,
    DeleteOne,
    DropCollection,
    DropIndex,
    Effect,
    EstimatedDocumentCount,
    Find,
    FindOne,
    FindOneAndDelete,
    FindOneAndReplace,
    FindOneAndUpdate,
    GetValidator,
    InsertMany,
    InsertOne,
    ListCollections,
    ListIndexes,
    Namespace,
    Operation,
    ReplaceOne,
    RunCommand,
    SetValidator,
    Transaction,
    UpdateMany,
    UpdateOne,
    Watch,
    WatchDatabase,
    altered,
)
from doorleaf.operations.capabilities import Collated, Filtered, Hinted, Parametrized, Projected, Sorted
from doorleaf.operations.results import ChangesResult, CollectionsResult, Result

Same = TypeVar("Same", bound=Operation[Any])

NEEDS = {Effect.READ: READ, Effect.WRITE: WRITE, Effect.ADMIN: ADMIN}
"""The scope that an operation of each effect takes."""
_CUT: Document = {"$project": dict.fromkeys(HIDDEN, 0)}
_LOGICAL = ("$and", "$or", "$nor")
_UNTOLD = ("$expr", "$jsonSchema", "$where")
"""Operators of a filter that see whole documents, with the fields that nobody sees."""
_ABOUT_THE_SERVER = ("$$USER_ROLES", "$$SEARCH_META")


def confined(operation: Operation[Any], tenancy: Tenancy) -> Operation[Any]:
    """``operation`` as the store may be asked it for a caller with ``tenancy``. PermissionDenied, InvalidParameter."""
    place = tenancy.workspace
    if isinstance(operation, Transaction):
        return altered(operation, operations=[confined(part, tenancy) for part in operation.operations])
    narrow = _NARROWED.get(type(operation))
    if narrow is None:
        raise PermissionDenied(f"{operation.name} is not available in a workspace")
    needed = REALTIME if isinstance(operation, Watch) else NEEDS[operation.effect]
    if needed not in tenancy.scopes:
        raise missing(needed)
    _require_inside(operation.namespace, place, whole=operation.scope == "database")
    return narrow(operation, place)


def revealed(
    result: Result, tenancy: Tenancy, operation: Operation[Any], subscription: Subscription | None = None
) -> Result:
    """``result`` of what was asked for by ``operation`` in the names of the workspace, without what is not its own."""
    if isinstance(result, ChangesResult) and isinstance(operation, Watch):
        return ChangesResult(ConfinedChanges(result.changes, tenancy.workspace, operation, subscription))
    if not isinstance(result, CollectionsResult):
        return result
    listed = []
    for item in result.collections:
        name = tenancy.workspace.called(item["name"])
        if name:
            listed.append({**item, "name": name})
    return CollectionsResult(listed)


def missing(scope: str) -> PermissionDenied:
    """The error of a caller who lacks a scope."""
    return PermissionDenied(f"this takes the scope {scope}")


def _require_inside(namespace: Namespace, place: Workspace, *, whole: bool = False) -> None:
    if whole and namespace == place.namespace():
        return
    if whole or not place.has(namespace):
        raise PermissionDenied("this is not in the workspace")


# --- reads -----------------------------------------------------------------------------------------------------------


def joined(filter: Document, place: Workspace) -> Document:
    """``filter`` and the predicate of the workspace, after a look that it asks about nothing hidden."""
    require_unnamed(filter, place)
    return {**place.predicate, **filter} if filter.keys().isdisjoint(HIDDEN) else {"$and": [place.predicate, filter]}


def require_unnamed(filter: Document, place: Workspace, *, outside: bool = True) -> None:
    """Raise PermissionDenied for a filter that names what is hidden; the workspace's own value of it is let pass."""
    for name, value in filter.items():
        if name in _LOGICAL and isinstance(value, list):
            for part in value:
                if isinstance(part, dict):
                    require_unnamed(part, place, outside=False)
        elif _is_hidden(name) and not (outside and value == place.predicate.get(name)):
            raise _hidden()


def _is_hidden(path: str) -> bool:
    return path.partition(".")[0] in HIDDEN


def _hidden() -> PermissionDenied:
    return PermissionDenied(f"the fields {' and '.join(HIDDEN)} are not the caller's")


def _named(paths: Iterable[str]) -> None:
    for path in paths:
        if _is_hidden(path):
            raise _hidden()


def _projected(projection: Document | None) -> Document:
    """``projection`` without what is hidden; one that includes fields does not have it anyway."""
    if not projection:
        return dict.fromkeys(HIDDEN, 0)
    _named(projection)
    for name, value in projection.items():
        if type(value) is not int and type(value) is not bool:
            raise InvalidParameter(f"projection.{name[:100]}: expected 1 or 0")
    kept = [bool(value) for name, value in projection.items() if name != "_id"]
    includes = any(kept) if kept else bool(projection.get("_id"))
    return projection if includes else {**projection, **dict.fromkeys(HIDDEN, 0)}


def _find(operation: Find | FindOne, place: Workspace) -> Operation[Any]:
    _named(operation.sort or ())
    _refuse_more(operation)
    projection = _projected(operation.projection)
    return altered(operation, filter=joined(operation.filter, place), projection=projection)


def _refuse_more(operation: Operation[Any]) -> None:
    """Refuse what could order by or compare what is hidden."""
    if (
        (isinstance(operation, Parametrized) and operation.let)
        or (isinstance(operation, Collated) and operation.collation)
        or (isinstance(operation, Hinted) and operation.hint)
    ):
        raise PermissionDenied("let, collation and hint are not available in a workspace")


def _count(operation: CountDocuments, place: Workspace) -> Operation[Any]:
    return altered(operation, filter=joined(operation.filter, place))


def _estimated(operation: EstimatedDocumentCount, place: Workspace) -> Operation[Any]:
    common = {"namespace": operation.namespace, "comment": operation.comment, "turn": operation.turn}
    return CountDocuments(filter=place.predicate, max_time_ms=operation.max_time_ms, **common)


def _aggregate(operation: Aggregate, place: Workspace) -> Operation[Any]:
    _refuse_more(operation)
    return altered(operation, pipeline=_secured(operation.pipeline, place))


def _secured(pipeline: Pipeline, place: Workspace) -> Pipeline:
    """``pipeline`` over what is left of a collection when all but the workspace's own documents is taken away."""
    condition, rest = place.predicate, pipeline
    if rest and _leads(rest[0]):
        condition, rest = joined(rest[0]["$match"], place), rest[1:]
    fails = any(may_fail(stage.get("$match")) for stage in rest if isinstance(stage, dict))
    return [{"$match": condition}, _CUT, *([BARRIER] if fails else ()), *(_stage(stage, place) for stage in rest)]


def _leads(stage: Any) -> bool:
    """Whether a stage is a filter that may stand in front of the cut, where an index serves it."""
    given = stage.get("$match") if isinstance(stage, dict) and len(stage) == 1 else None
    return isinstance(given, dict) and not _sees_all(given)


def _sees_all(filter: Document) -> bool:
    if any(name in _UNTOLD for name in filter):
        return True
    parts = (part for name in _LOGICAL if isinstance(filter.get(name), list) for part in filter[name])
    return any(isinstance(part, dict) and _sees_all(part) for part in parts)


def _stage(stage: Any, place: Workspace) -> Document:
    name, body = stage_of(stage)
    _refuse_server(body)
    reach = STAGES.get(name)
    if reach is None or not reach.rules:
        raise InvalidParameter(f"pipeline: the stage {name[:50]} is not available in a workspace")
    if name in ("$lookup", "$unionWith") and isinstance(body, dict):
        field = "from" if name == "$lookup" else "coll"
        if not isinstance(body.get(field), str):
            raise InvalidParameter(f"pipeline: {name} names a collection by a string")
        _require_inside(Namespace(place.database, body[field], place.data_source), place)
        inner = body.get("pipeline", [])
        if not isinstance(inner, list):
            raise InvalidParameter(f"pipeline: {name}.pipeline is an array of stages")
        if _is_hidden(str(body.get("foreignField", ""))):
            raise _hidden()
        return {name: {**body, "pipeline": _secured(inner, place)}}
    if name == "$facet" and isinstance(body, dict) and all(isinstance(part, list) for part in body.values()):
        return {name: {key: [_stage(one, place) for one in part] for key, part in body.items()}}
    if reach.places or reach.inner:
        raise InvalidParameter(f"pipeline: the stage {name} is not available in a workspace")
    return {name: body}


def _refuse_server(value: Any) -> None:
    """Refuse what an expression can know beside its documents."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "$meta" and item != "textScore":
                raise InvalidParameter("pipeline: $meta is not available in a workspace")
            _refuse_server(item)
    elif isinstance(value, list):
        for item in value:
            _refuse_server(item)
    elif isinstance(value, str) and value.partition(".")[0] in _ABOUT_THE_SERVER:
        raise InvalidParameter(f"pipeline: the variable {value[:20]} is not available in a workspace")


# --- writes ----------------------------------------------------------------------------------------------------------


def stamped(document: Document, place: Workspace) -> Document:
    """``document`` as one of the workspace's; PermissionDenied where it says to be another's."""
    own = place.predicate
    for name, value in document.items():
        if _is_hidden(name) and not (name in own and value == own[name]):
            raise _hidden()
    return {**{name: value for name, value in document.items() if name not in own}, **own}


def _insert_one(operation: InsertOne, place: Workspace) -> Operation[Any]:
    return altered(operation, document=stamped(_with_id(operation.document), place))


def _insert_many(operation: InsertMany, place: Workspace) -> Operation[Any]:
    return altered(operation, documents=[stamped(_with_id(document), place) for document in operation.documents])


def _with_id(document: Document) -> Document:
    return document if "_id" in document else {"_id": ObjectId(), **document}


def _update(operation: UpdateOne | UpdateMany | FindOneAndUpdate, place: Workspace) -> Operation[Any]:
    update = operation.update
    if not isinstance(update, dict):
        raise InvalidParameter("update: a pipeline is not available in a workspace")
    for operator, fields in update.items():
        if isinstance(fields, dict):
            _named(fields)
            if operator == "$rename":
                _named(str(target) for target in fields.values())
    return _changed(operation, place)


def _replace(operation: ReplaceOne | FindOneAndReplace, place: Workspace) -> Operation[Any]:
    return altered(_changed(operation, place), replacement=stamped(operation.replacement, place))


def _changed(operation: Same, place: Workspace) -> Same:
    """A write of documents that are there, with its filter, and the answer without what is hidden."""
    _refuse_more(operation)
    changes: dict[str, Any] = {}
    if isinstance(operation, Filtered):
        changes["filter"] = joined(operation.filter, place)
    if isinstance(operation, Sorted):
        _named(operation.sort or ())
    if isinstance(operation, Projected):
        changes["projection"] = _projected(operation.projection)
    return altered(operation, **changes)


# --- collections and indexes -----------------------------------------------------------------------------------------


def _as_it_is(operation: Operation[Any], place: Workspace) -> Operation[Any]:
    return operation


def _create_index(operation: CreateIndex, place: Workspace) -> Operation[Any]:
    _named(operation.keys)
    partial = operation.options.get("partialFilterExpression")
    if isinstance(partial, dict):
        require_unnamed(partial, place, outside=False)
    return operation


def _create_collection(operation: CreateCollection, place: Workspace) -> Operation[Any]:
    unknown = operation.options.keys() - {"validator", "validationLevel", "validationAction"}
    if unknown:
        raise InvalidParameter(f"options: {min(unknown)[:50]!r} is not available in a workspace")
    return operation


def _set_validator(operation: SetValidator, place: Workspace) -> Operation[Any]:
    """The command for it, which callers cannot send."""
    here = operation.namespace
    command: Document = {"collMod": here.collection, "validator": operation.validator}
    command |= {"validationLevel": "strict", "validationAction": "error"}
    there = Namespace(here.database, "", here.data_source)
    return RunCommand(namespace=there, command=command, max_time_ms=operation.max_time_ms, turn=operation.turn)


def _get_validator(operation: GetValidator, place: Workspace) -> Operation[Any]:
    here = operation.namespace
    command: Document = {"listCollections": 1, "filter": {"name": here.collection}}
    there = Namespace(here.database, "", here.data_source)
    return RunCommand(namespace=there, command=command, max_time_ms=operation.max_time_ms, turn=operation.turn)


def _watch(operation: Watch, place: Workspace) -> Operation[Any]:
    full, before = operation.full_document, operation.full_document_before_change
    if full == "whenAvailable":
        raise InvalidParameter("fullDocument: whenAvailable is not available here; ask for required or updateLookup")
    full = full if full == "required" else "updateLookup"
    before = before if before == "required" else "whenAvailable"
    return altered(operation, filter={}, full_document=full, full_document_before_change=before)


_NARROWED: dict[type[Operation[Any]], Callable[[Any, Workspace], Operation[Any]]] = {
    FindOne: _find,
    Find: _find,
    CountDocuments: _count,
    EstimatedDocumentCount: _estimated,
    Aggregate: _aggregate,
    InsertOne: _insert_one,
    InsertMany: _insert_many,
    UpdateOne: _update,
    UpdateMany: _update,
    ReplaceOne: _replace,
    FindOneAndUpdate: _update,
    FindOneAndReplace: _replace,
    DeleteOne: _changed,
    DeleteMany: _changed,
    FindOneAndDelete: _changed,
    CreateCollection: _create_collection,
    DropCollection: _as_it_is,
    CreateIndex: _create_index,
    DropIndex: _as_it_is,
    ListIndexes: _as_it_is,
    ListCollections: _as_it_is,
    SetValidator: _set_validator,
    GetValidator: _get_validator,
    Watch: _watch,
    WatchDatabase: _watch,
}
"""How each operation is kept inside; one that is not here is refused."""
