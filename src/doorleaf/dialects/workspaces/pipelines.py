"""Aggregation in a workspace: eleven stages, within bounds, over collections of the workspace alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import bson

from doorleaf import ejson
from doorleaf.apart import CODING
from doorleaf.dialects.base import Route
from doorleaf.dialects.workspaces import abouts
from doorleaf.dialects.workspaces.door import READ, Answer, Asked, Door
from doorleaf.documents import CODEC, Document, Pipeline
from doorleaf.errors import InvalidParameter, PayloadTooLarge
from doorleaf.operations import Aggregate

AGGREGATE = "/collections/{collection}/aggregate"
STAGES = (
    *("$match", "$group", "$sort", "$limit", "$skip", "$project", "$unwind", "$lookup", "$addFields"),
    *("$count", "$bucket"),
)
MOST_STAGES, MOST_JOINS, MOST_SORTED = 12, 1, 6
MOST_BYTES = 64 * 1024
MOST_DOCUMENTS, MOST_SKIPPED = 1000, 10_000
_WRITING_SECONDS = 30.0
_LARGE_BYTES = 256 * 1024
_SCRIPTS = frozenset({"$where", "$function", "$accumulator"})


def aggregate_route(door: Door) -> Route:
    """The route of pipelines."""
    return door.route("POST", AGGREGATE, "workspaceAggregate", _aggregate, abouts.AGGREGATE, scope=READ, reads=True)


async def _aggregate(asked: Asked) -> Answer:
    if extra := asked.body.keys() - {"pipeline"}:
        raise InvalidParameter(f"{min(extra)[:50]}: no such field; there is pipeline")
    given = asked.body.get("pipeline")
    if len(asked.request.body) > MOST_BYTES and len(bson.encode({"p": given}, codec_options=CODEC)) > MOST_BYTES:
        raise PayloadTooLarge(f"pipeline: is larger than {MOST_BYTES} bytes")
    placed = Checking(lambda name: asked.namespace(name).collection)
    pipeline = placed.pipeline(given, "pipeline")
    if not pipeline:
        raise InvalidParameter("pipeline: must have at least one stage")
    if "$limit" not in pipeline[-1]:
        pipeline.append({"$limit": MOST_DOCUMENTS})
    operation = Aggregate(namespace=asked.namespace(), pipeline=pipeline)
    documents = (await asked.run(operation)).documents
    if documents.size < _LARGE_BYTES:
        data = ejson.encode_documents(documents, asked.mode)
    else:
        data = await CODING.run(_WRITING_SECONDS, ejson.encode_documents, documents, asked.mode)
    return Answer(b"".join((b'{"data":', data, b"}")))


class Checking:
    """Checks a pipeline with those inside it, and names its collections as the database does (``physical``)."""

    def __init__(self, physical: Callable[[str], str]) -> None:
        self._physical = physical
        self._joins = 0

    def pipeline(self, given: Any, where: str) -> Pipeline:
        """The stages to ask for; InvalidParameter says which one is wrong, and why."""
        if type(given) is not list:
            raise _refused(f"{where}: expected an array of stages", "invalid_pipeline", where)
        if len(given) > MOST_STAGES:
            raise _refused(f"{where}: has more than {MOST_STAGES} stages", "too_many_stages", where)
        return [self._stage(stage, f"{where}[{index}]") for index, stage in enumerate(given)]

    def _stage(self, stage: Any, where: str) -> Document:
        if type(stage) is not dict or len(stage) != 1:
            raise _refused(f"{where}: a stage is an object with exactly one key", "invalid_stage", where)
        ((name, body),) = stage.items()
        if name not in STAGES:
            raise _refused(
                f"{where}: the stage {name[:50]} is not allowed; there are {', '.join(STAGES)}",
                "pipeline_stage_not_allowed",
                where,
            )
        _refuse_scripts(body, where)
        if name == "$lookup":
            return {name: self._lookup(body, where)}
        if name == "$limit":
            _require_number(body, 1, MOST_DOCUMENTS, where, name)
        elif name == "$skip":
            _require_number(body, 0, MOST_SKIPPED, where, name)
        elif name == "$sort" and type(body) is dict and len(body) > MOST_SORTED:
            raise _refused(f"{where}: $sort has more than {MOST_SORTED} fields", "too_many_sort_fields", where)
        return {name: body}

    def _lookup(self, body: Any, where: str) -> Document:
        self._joins += 1
        if self._joins > MOST_JOINS:
            raise _refused(f"{where}: there is more than {MOST_JOINS} $lookup", "too_many_lookups", where)
        if type(body) is not dict or type(body.get("from")) is not str:
            raise _refused(f"{where}: $lookup names a collection of the workspace in from", "invalid_stage", where)
        joined: Document = {**body, "from": self._physical(body["from"])}
        if "pipeline" in body:
            joined["pipeline"] = self.pipeline(body["pipeline"], f"{where}.$lookup.pipeline")
        return joined


def _require_number(value: Any, least: int, most: int, where: str, name: str) -> None:
    whole = isinstance(value, int | float) and not isinstance(value, bool) and value == value // 1
    if not whole or not least <= value <= most:
        raise _refused(f"{where}: {name} takes a whole number from {least} to {most}", "out_of_bounds", where)


def _refuse_scripts(value: Any, where: str) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            if key in _SCRIPTS:
                raise _refused(f"{where}: {key} runs JavaScript and is not allowed", "operator_not_allowed", where)
            _refuse_scripts(item, where)
    elif isinstance(value, list):
        for item in value:
            _refuse_scripts(item, where)


def _refused(message: str, reason: str, stage: str) -> InvalidParameter:
    return InvalidParameter(message, fields={"reason": reason, "stage": stage})
