"""Aggregation pipelines: stages by name, compiled to generators, and what a pipeline reads and writes.

``compile_pipeline`` gives a function from documents to documents. ``$out`` and ``$merge`` are the caller's
(:func:`split_output`), and so is the head of a pipeline that an index can serve (:func:`pushdown`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from doorleaf.errors import DataError, Unsupported
from doorleaf.mql import stages_documents, stages_groups, stages_joins
from doorleaf.mql.context import Context
from doorleaf.mql.order import compile_fold
from doorleaf.mql.stages_build import Build, Document, IndexedReader, Reader, Stage, Transform, fail, no_reader
from doorleaf.mql.values import as_document, type_name

__all__ = [
    "REFUSED_STAGES",
    "STAGES",
    "UPDATE_STAGES",
    "Head",
    "IndexedReader",
    "Reader",
    "compile_pipeline",
    "compile_transform",
    "pipeline_namespaces",
    "pushdown",
    "split_output",
    "stage_of",
]

MAX_STAGES = 1000
"""Stages that one pipeline may have."""

_TRANSFORMS: dict[str, Callable[[Any, Build], Transform]] = {
    "$addFields": partial(stages_documents.add_fields, "$addFields"),
    "$project": stages_documents.project,
    "$replaceRoot": stages_documents.replace_root,
    "$replaceWith": stages_documents.replace_with,
    "$set": partial(stages_documents.add_fields, "$set"),
    "$unset": stages_documents.unset,
}

_MAKERS: dict[str, Callable[[Any, Build], Stage]] = {
    "$bucket": stages_groups.bucket,
    "$bucketAuto": stages_groups.bucket_auto,
    "$count": stages_documents.count,
    "$facet": stages_groups.facet,
    "$graphLookup": stages_joins.graph_lookup,
    "$group": stages_groups.group,
    "$limit": stages_documents.limit,
    "$lookup": stages_joins.lookup_stage,
    "$match": stages_documents.match,
    "$redact": stages_documents.redact,
    "$sample": stages_documents.sample,
    "$skip": stages_documents.skip,
    "$sort": stages_groups.sort,
    "$sortByCount": stages_groups.sort_by_count,
    "$unionWith": stages_joins.union_with,
    "$unwind": stages_documents.unwind,
}

UPDATE_STAGES: tuple[str, ...] = tuple(sorted(_TRANSFORMS))
"""The stages that an update may consist of."""

STAGES: tuple[str, ...] = tuple(sorted([*_TRANSFORMS, *_MAKERS, "$documents"]))
"""The stages that pipelines may have, sorted; ``$out`` and ``$merge`` are the caller's."""

REFUSED_STAGES: tuple[str, ...] = (
    "$changeStream",
    "$changeStreamSplitLargeEvent",
    "$collStats",
    "$currentOp",
    "$densify",
    "$fill",
    "$geoNear",
    "$indexStats",
    "$listClusterCatalog",
    "$listLocalSessions",
    "$listSampledQueries",
    "$listSearchIndexes",
    "$listSessions",
    "$operationMetrics",
    "$planCacheStats",
    "$querySettings",
    "$queryStats",
    "$rankFusion",
    "$score",
    "$scoreFusion",
    "$search",
    "$searchMeta",
    "$setWindowFields",
    "$shardedDataDistribution",
    "$vectorSearch",
)
"""Stages that MongoDB has and this engine does not."""

_OUTPUTS = ("$out", "$merge")

# --- compiling -------------------------------------------------------------------------------------------------------


def compile_pipeline(
    pipeline: Sequence[Document],
    context: Context,
    variables: Mapping[str, Any] | None = None,
    reader: Reader = no_reader,
    *,
    collation: Mapping[str, Any] | None = None,
) -> Stage:
    """Compile a pipeline to a function from documents to documents.

    ``variables`` are the values of ``let``; ``reader`` gives the documents of other collections (see
    :class:`~doorleaf.mql.stages_build.IndexedReader` for using indexes). All mistakes in the pipeline are raised here,
    those that depend on documents while the result is read. The documents given and those that come out may share
    parts: neither may be changed in place.
    """
    build = Build(context, dict(variables or {}), reader, collation, compile_fold(collation), _compile)
    return _compile(list(pipeline), build)


def _compile(pipeline: Any, build: Build) -> Stage:
    if not isinstance(pipeline, list):
        fail(14, "'pipeline' option must be specified as an array")
    if len(pipeline) > MAX_STAGES:
        fail(7749501, f"Pipeline length must be no longer than {MAX_STAGES} stages")
    named = [stage_of(stage) for stage in pipeline]
    for position, (name, _) in enumerate(named):
        _check_name(name, position)
    compiled = [_stage(position, named, build) for position in range(len(named))]
    if not compiled:
        return lambda documents: iter(documents)

    def run(documents: Iterable[Document]) -> Iterator[Document]:
        for stage in compiled:
            documents = stage(documents)
        return iter(documents)

    return run


def stage_of(stage: Any) -> tuple[str, Any]:
    """The name and the argument of a stage; error 14 or 40323 for what is none."""
    if not isinstance(stage, dict):
        fail(14, "Each element of the 'pipeline' array must be an object")
    if len(stage) != 1:
        fail(40323, "A pipeline stage specification object must contain exactly one field.")
    return next(iter(stage.items()))


def _stage(position: int, named: list[tuple[str, Any]], build: Build) -> Stage:
    name, argument = named[position]
    if name in _TRANSFORMS:
        return stages_documents.transform_stage(_TRANSFORMS[name](argument, build), build)
    if name == "$sort":
        return stages_groups.sort_top(argument, build, _wanted(named[position + 1 :]))
    if name == "$documents":
        return _documents(argument, build)
    return _MAKERS[name](argument, build)


def _check_name(name: str, position: int) -> None:
    if name in _OUTPUTS:
        fail(40601, f"{name} can only be the final stage in the pipeline")
    if name in REFUSED_STAGES:
        raise Unsupported(f"pipeline stage {name} is not supported")
    if name not in STAGES:
        fail(40324, f"Unrecognized pipeline stage name: '{name}'.")
    if name == "$documents" and position:
        fail(40602, "$documents is only valid as the first stage in a pipeline")


def _wanted(following: list[tuple[str, Any]]) -> int | None:
    """How many documents the stages after a ``$sort`` take from it at most."""
    skipped = 0
    for name, argument in following:
        if name == "$skip":
            skipped += stages_documents.parse_skip(argument)
        elif name == "$limit":
            return skipped + stages_documents.parse_limit(argument)
        else:
            break
    return None


def _documents(argument: Any, build: Build) -> Stage:
    if not build.depth:
        fail(73, "'$documents' can only be run with {aggregate: 1}")
    read = build.expression(argument)

    def stage(documents: Iterable[Document]) -> Iterator[Document]:
        values = read({})
        if not isinstance(values, list):
            fail(5858203, f"an array is expected, got {type_name(values)}")
        for value in values:
            build.context.check()
            document = as_document(value)
            if document is None:
                fail(40228, f"elements of $documents must be objects, found {type_name(value)}")
            yield document

    return stage


def compile_transform(
    name: str,
    argument: Any,
    context: Context,
    variables: dict[str, Any],
    collation: Mapping[str, Any] | None = None,
) -> Transform:
    """One of :data:`UPDATE_STAGES` as a function from a document to a document; reads ``variables`` when called."""
    build = Build(context, variables, no_reader, collation, compile_fold(collation), _compile)
    return _TRANSFORMS[name](argument, build)


# --- the head and the end of a pipeline ------------------------------------------------------------------------------


@dataclass(slots=True)
class Head:
    """What the caller can do with indexes before the rest of a pipeline runs, in this order.

    ``filter`` None matches all; ``sort`` None keeps natural order; ``skip`` 0 and ``limit`` None change nothing.
    ``rest`` are the stages that remain.
    """

    filter: Document | None = None
    sort: Document | None = None
    skip: int = 0
    limit: int | None = None
    rest: list[Document] = field(default_factory=list)


def pushdown(pipeline: Sequence[Document]) -> Head:
    """Split off the leading ``$match`` stages, then ``$sort``, ``$skip`` and ``$limit``; mistakes in them raise."""
    remaining = list(pipeline)
    filters = []
    while remaining and _is(remaining[0], "$match") and isinstance(remaining[0]["$match"], dict):
        filters.append(remaining.pop(0)["$match"])
    head = Head()
    if filters:
        head.filter = filters[0] if len(filters) == 1 else {"$and": filters}
    if remaining and _is(remaining[0], "$sort") and isinstance(remaining[0]["$sort"], dict) and remaining[0]["$sort"]:
        head.sort = remaining.pop(0)["$sort"]
    while remaining and _is(remaining[0], "$skip"):
        head.skip += stages_documents.parse_skip(remaining.pop(0)["$skip"])
    while remaining and _is(remaining[0], "$limit"):
        number = stages_documents.parse_limit(remaining.pop(0)["$limit"])
        head.limit = number if head.limit is None else min(head.limit, number)
    head.rest = remaining
    return head


def _is(stage: Any, name: str) -> bool:
    return isinstance(stage, dict) and len(stage) == 1 and name in stage


def split_output(pipeline: Sequence[Document]) -> tuple[list[Document], Document | None]:
    """The pipeline without its last stage when that is ``$out`` or ``$merge``, and that stage or None."""
    stages = list(pipeline)
    if stages and stage_of(stages[-1])[0] in _OUTPUTS:
        return stages[:-1], stages[-1]
    return stages, None


# --- what a pipeline touches -----------------------------------------------------------------------------------------

Namespace = tuple[str | None, str, str]


def pipeline_namespaces(pipeline: Any) -> Iterator[Namespace]:
    """Every other collection that a pipeline names, at any depth: (database or None for its own, collection, effect).

    The effect is ``read`` or ``write``. A stage whose collection cannot be told raises, so that none goes unseen.
    """
    if not isinstance(pipeline, list):
        fail(14, "'pipeline' option must be specified as an array")
    for stage in pipeline:
        name, argument = stage_of(stage)
        yield from _stage_namespaces(name, argument)


def _stage_namespaces(name: str, argument: Any) -> Iterator[Namespace]:
    if name == "$facet":
        for inner in argument.values() if isinstance(argument, dict) else ():
            yield from pipeline_namespaces(inner)
    elif name == "$out":
        yield _target(name, argument, "write")
    elif not isinstance(argument, dict):
        if name == "$unionWith" or name == "$merge":
            yield _target(name, argument, "write" if name == "$merge" else "read")
    elif name == "$merge":
        yield _target(name, argument.get("into"), "write")
        if isinstance(argument.get("whenMatched"), list):
            yield from pipeline_namespaces(argument["whenMatched"])
    elif name in ("$lookup", "$graphLookup", "$unionWith"):
        place = argument.get("coll" if name == "$unionWith" else "from")
        if place is not None or "pipeline" not in argument:
            yield _target(name, place, "read")
        if "pipeline" in argument:
            yield from pipeline_namespaces(argument["pipeline"])


def _target(name: str, place: Any, effect: str) -> Namespace:
    if isinstance(place, str):
        return None, place, effect
    if isinstance(place, dict) and isinstance(place.get("coll"), str):
        database = place.get("db")
        if database is None or isinstance(database, str):
            return database, place["coll"], effect
    raise DataError(f"{name} must name a collection, but found {type_name(place)}", number=9)
