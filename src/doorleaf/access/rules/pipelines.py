"""Aggregation for callers with rules: every collection a pipeline reads is first cut down to what they may see.

The pipeline's own stages then work on documents as the caller would read them, so no expression, however made, can
look behind: ``$$ROOT``, ``$objectToArray`` and computed names find nothing to betray.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bson import Int64

from doorleaf.access.rules.conditions import Condition, in_query
from doorleaf.access.rules.fields import Tree, projections
from doorleaf.access.rules.references import CONSTANTS, DOCUMENTS, HARMLESS_META, filter_paths, has_expression, may_fail
from doorleaf.access.rules.view import NOTHING, RuleRefused, View
from doorleaf.documents import Document, Pipeline, is_string
from doorleaf.errors import InvalidParameter, PermissionDenied
from doorleaf.mql.stages.reach import STAGES, unknown

Views = Callable[[str, str], View]
"""(database, collection) → the caller's view of it; raises PermissionDenied where no rule exists."""

BARRIER: Document = {"$limit": Int64(2**62)}
"""Over this stage no optimizer moves a ``$match``, so that what follows never meets a document that is not visible."""


def secured(pipeline: Pipeline, database: str, view: View, views: Views) -> Pipeline:
    """``pipeline`` over the collection of ``view``, with everything the caller may not see taken out first."""
    lead: list[Document] = []
    rest = pipeline
    if rest and _leads(rest[0], view):
        # In front of the cut a filter can still use an index; it may only ask for what the caller may read.
        view.require_readable(filter_paths(rest[0]["$match"]))
        lead, rest = [rest[0]["$match"]], rest[1:]
    stages = _stages(rest, database, views)
    cut = _cut(view, lead)
    narrowed = view.query is not None or view.tree is None
    if narrowed and any(may_fail(stage.get("$match")) for stage in rest):
        cut.append(BARRIER)
    return [*cut, *stages]


def _leads(stage: Any, view: View) -> bool:
    if not isinstance(stage, dict) or set(stage) != {"$match"} or not isinstance(stage["$match"], dict):
        return False
    if view.tree is None:
        # It will stand in each part of a union, where an expression could miss its variables.
        return not has_expression(stage["$match"])
    return view.query is None or not may_fail(stage["$match"])


def _cut(view: View, lead: list[Document]) -> Pipeline:
    """The stages that leave what the caller may see; ``lead`` are further conditions on it."""
    if view.tree is not None or not view.slices:
        return [*_match(view.query, lead), *_project(view.tree if view.slices else True, view)]
    parts = [[*_match(_joined(view, part.condition), lead), *_project(part.tree, view)] for part in view.slices]
    collection = view.namespace.partition(".")[2]
    return [*parts[0], *({"$unionWith": {"coll": collection, "pipeline": part}} for part in parts[1:])]


def _joined(view: View, condition: Condition) -> Document | None:
    """Those of the view's documents that are in one slice."""
    part = in_query(condition)
    if isinstance(part, bool):
        return view.query
    return part if view.query is None else {"$and": [view.query, part]}


def _match(query: Document | None, lead: list[Document]) -> Pipeline:
    wanted = [condition for condition in (query, *lead) if condition]
    if query == NOTHING:
        wanted = [NOTHING]
    if not wanted:
        return []
    return [{"$match": wanted[0] if len(wanted) == 1 else {"$and": wanted}}]


def _project(tree: Tree | None, view: View) -> Pipeline:
    if tree is True:
        return []
    stages = None if tree is None or isinstance(tree, dict) else projections(tree)
    if stages is None:
        raise RuleRefused(
            f"aggregate is not available on '{view.namespace}': which fields may be read depends on the document",
            rule="fields",
        )
    return [{"$project": stage} for stage in stages]


# --- the caller's stages ---------------------------------------------------------------------------------------------


def _stages(pipeline: Pipeline, database: str, views: Views) -> Pipeline:
    return [_stage(stage, database, views) for stage in pipeline]


def _stage(stage: Document, database: str, views: Views) -> Document:
    if not isinstance(stage, dict) or len(stage) != 1:
        raise InvalidParameter("pipeline: a stage must be an object with exactly one field")
    ((name, body),) = stage.items()
    if name not in STAGES:
        raise unknown(name)
    if not STAGES[name].rules:
        raise PermissionDenied(f"the stage {name} is not available to callers with rules")
    _refuse_metadata(body)
    if name == "$unionWith":
        return {name: _union(body, database, views)}
    if isinstance(body, dict):
        if name == "$facet":
            return {name: {key: _stages(_pipeline(part), database, views) for key, part in body.items()}}
        if name == "$lookup":
            return {name: _lookup(body, database, views)}
        if name == "$graphLookup":
            return {name: _graph_lookup(body, database, views)}
    return stage


def _refuse_metadata(value: Any) -> None:
    """Refuse what an expression can know beside its document: index keys, and who the server is to the database."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "$meta" and not (is_string(item) and item in HARMLESS_META):
                raise PermissionDenied(f"$meta: {str(item)[:40]!r} is not available to callers with rules")
            if key != "$literal":
                _refuse_metadata(item)
    elif isinstance(value, list):
        for item in value:
            _refuse_metadata(item)
    elif is_string(value) and value.startswith("$$") and value[2:3].isupper():
        name = value.partition(".")[0]
        if name not in CONSTANTS and name not in DOCUMENTS:
            raise PermissionDenied(f"the variable {name[:40]} is not available to callers with rules")


def _pipeline(value: Any) -> Pipeline:
    if not isinstance(value, list):
        raise InvalidParameter("pipeline: expected an array of stages")
    return value


def _foreign(source: Any, database: str, views: Views) -> View:
    if isinstance(source, dict):
        raise PermissionDenied("a stage may not read another database")
    if not is_string(source):
        raise InvalidParameter("pipeline: a stage names a collection by a string")
    return views(database, source)


def _of_documents(body: Document, database: str, views: Views) -> Pipeline:
    """A sub-pipeline that reads no collection but the documents it lists."""
    pipeline = _pipeline(body.get("pipeline", []))
    if not pipeline or not isinstance(pipeline[0], dict) or "$documents" not in pipeline[0]:
        raise InvalidParameter("pipeline: a sub-pipeline without a collection begins with $documents")
    return _stages(pipeline, database, views)


def _lookup(body: Document, database: str, views: Views) -> Document:
    if "from" not in body:
        return {**body, "pipeline": _of_documents(body, database, views)}
    view = _foreign(body["from"], database, views)
    if is_string(body.get("foreignField")):
        view.require_readable([body["foreignField"]])
        if view.tree is None:
            # The parts of the union that such a collection is read by would not all be joined.
            raise RuleRefused(
                f"$lookup by foreignField is not available on '{view.namespace}': which fields may be read depends on "
                "the document; use a pipeline with $expr",
                rule="fields",
            )
    inner = secured(_pipeline(body.get("pipeline", [])), database, view, views)
    return {**body, "pipeline": inner} if inner or "pipeline" in body else body


def _union(body: Any, database: str, views: Views) -> Any:
    if isinstance(body, dict):
        if "db" in body:
            raise PermissionDenied("a stage may not read another database")
        if "coll" not in body:
            return {**body, "pipeline": _of_documents(body, database, views)}
        view = _foreign(body["coll"], database, views)
        return {**body, "pipeline": secured(_pipeline(body.get("pipeline", [])), database, view, views)}
    return {"coll": body, "pipeline": secured([], database, _foreign(body, database, views), views)}


def _graph_lookup(body: Document, database: str, views: Views) -> Document:
    view = _foreign(body.get("from"), database, views)
    if not view.reads_all:
        raise RuleRefused(f"$graphLookup is not available on '{view.namespace}': some fields are hidden", rule="fields")
    if view.query is None:
        return body
    given = body.get("restrictSearchWithMatch")
    if may_fail(given):
        raise PermissionDenied("restrictSearchWithMatch: an expression that can fail is not available here")
    return {**body, "restrictSearchWithMatch": {"$and": [view.query, given]} if given else view.query}
