"""Aggregation pipelines: stages by name, compiled to generators.

``compile_pipeline`` gives a function from documents to documents. ``$out`` and ``$merge`` are the caller's
(:func:`split_output`), and so is the head of a pipeline that an index can serve (:func:`pushdown`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from doorleaf.errors import Unsupported
from doorleaf.mql.context import Context
from doorleaf.mql.order import validate_collation
from doorleaf.mql.stages import documents as stages_documents
from doorleaf.mql.stages import groups, joins, reach
from doorleaf.mql.stages.build import Build, Document, IndexedReader, Reader, Stage, Transform, fail, no_reader
from doorleaf.mql.stages.head import Head, pushdown
from doorleaf.mql.stages.reach import stage_of
from doorleaf.mql.values import as_document, type_name

__all__ = [
    "REFUSED_STAGES",
    "SOURCES",
    "STAGES",
    "UPDATE_STAGES",
    "Head",
    "IndexedReader",
    "Reader",
    "check_later",
    "compile_pipeline",
    "compile_transform",
    "pushdown",
    "split_output",
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
    "$bucket": groups.bucket,
    "$bucketAuto": groups.bucket_auto,
    "$count": stages_documents.count,
    "$facet": groups.facet,
    "$graphLookup": joins.graph_lookup,
    "$group": groups.group,
    "$limit": stages_documents.limit,
    "$lookup": joins.lookup_stage,
    "$match": stages_documents.match,
    "$redact": stages_documents.redact,
    "$sample": stages_documents.sample,
    "$skip": stages_documents.skip,
    "$sort": groups.sort,
    "$sortByCount": groups.sort_by_count,
    "$unionWith": joins.union_with,
    "$unwind": stages_documents.unwind,
}

UPDATE_STAGES: tuple[str, ...] = tuple(sorted(_TRANSFORMS))
"""The stages that an update may consist of."""

SOURCES: tuple[str, ...] = ("$collStats", "$indexStats")
"""Stages about the collection that a pipeline begins with: they are the caller's, who has it."""

STAGES: tuple[str, ...] = tuple(sorted([*_TRANSFORMS, *_MAKERS, *SOURCES, "$documents"]))
"""The stages that pipelines may have, sorted; ``$out`` and ``$merge`` are the caller's."""

REFUSED_STAGES: tuple[str, ...] = tuple(name for name in reach.STAGES if name not in (*STAGES, *reach.OUTPUTS))
"""Stages that MongoDB has and this engine does not."""

# --- compiling -------------------------------------------------------------------------------------------------------


def compile_pipeline(
    pipeline: Sequence[Document],
    context: Context,
    variables: Mapping[str, Any] | None = None,
    reader: Reader = no_reader,
    *,
    collation: Mapping[str, Any] | None = None,
    alone: bool = False,
) -> Stage:
    """Compile a pipeline to a function from documents to documents.

    One that is ``alone`` has no collection, and lists its documents itself.

    ``variables`` are the values of ``let``; ``reader`` gives the documents of other collections (see
    :class:`~doorleaf.mql.stages.build.IndexedReader` for using indexes). All mistakes in the pipeline are raised here,
    those that depend on documents while the result is read. The documents given and those that come out may share
    parts: neither may be changed in place.
    """
    validate_collation(collation)
    build = Build(context, dict(variables or {}), reader, collation, _compile, alone=alone)
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


def _stage(position: int, named: list[tuple[str, Any]], build: Build) -> Stage:
    name, argument = named[position]
    if name in _TRANSFORMS:
        return stages_documents.transform_stage(_TRANSFORMS[name](argument, build), build)
    if name == "$sort":
        return groups.sort_top(argument, build, _wanted(named[position + 1 :]))
    if name == "$documents":
        return _documents(argument, build)
    return _MAKERS[name](argument, build)


def _check_name(name: str, position: int) -> None:
    if name in reach.OUTPUTS:
        fail(40601, f"{name} can only be the final stage in the pipeline")
    if name in REFUSED_STAGES:
        raise Unsupported(f"pipeline stage {name} is not supported")
    if name not in STAGES:
        raise reach.unknown(name)
    if position:
        _check_later(name)
    if name in SOURCES:
        raise Unsupported(f"{name} is not supported by this data source but at the beginning of an aggregate itself")


def check_later(stages: Iterable[Any]) -> None:
    """Raise error 40602 for a stage among ``stages``, which are not first in their pipeline, that has to be."""
    for stage in stages:
        for name in stage if isinstance(stage, dict) else ():
            _check_later(name)


def _check_later(name: str) -> None:
    if name == "$documents" or name in SOURCES:
        fail(40602, f"{name} is only valid as the first stage in a pipeline")


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
    if not build.depth and not build.alone:
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
    validate_collation(collation)
    build = Build(context, variables, no_reader, collation, _compile)
    return _TRANSFORMS[name](argument, build)


# --- the end of a pipeline -------------------------------------------------------------------------------------------


def split_output(pipeline: Sequence[Document]) -> tuple[list[Document], Document | None]:
    """The pipeline without its last stage when that is ``$out`` or ``$merge``, and that stage or None."""
    stages = list(pipeline)
    if stages and stage_of(stages[-1])[0] in reach.OUTPUTS:
        return stages[:-1], stages[-1]
    return stages, None
