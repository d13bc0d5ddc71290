"""The one catalogue of aggregation stages: which collections each reaches, and where it has pipelines of its own.

Guards, scopes, rules and both engines read it, so that a stage cannot be known to one of them and unseen by another. A
stage that is not in it is refused by all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from doorleaf.documents import is_string
from doorleaf.errors import DataError
from doorleaf.mql.values import type_name

READ, WRITE = "read", "write"


@dataclass(frozen=True, slots=True)
class Reach:
    """The reach of a stage, beside the documents that it is given.

    ``places`` are the fields of its argument that name a collection, the argument itself where ``bare``; ``writes``
    tells whether the stage writes there. ``inner`` says where its pipelines are: fields one below the other, the last
    one ``*`` for every value. ``rules`` tells whether callers with rules may use it, ``facet`` whether ``$facet`` takes
    it, ``others`` that it shows what other callers do, or never ends.
    """

    places: tuple[str, ...] = ()
    bare: bool = False
    writes: bool = False
    inner: tuple[str, ...] = ()
    rules: bool = False
    facet: bool = True
    others: bool = False


_HERE = Reach(rules=True)
"""Works on the documents that it is given, and on nothing else."""
_STATISTICS = Reach(facet=False)
_OTHERS = Reach(others=True)
_SEARCH = Reach(facet=False)

STAGES: dict[str, Reach] = {
    "$addFields": _HERE,
    "$bucket": _HERE,
    "$bucketAuto": _HERE,
    "$changeStream": Reach(facet=False, others=True),
    "$changeStreamSplitLargeEvent": _OTHERS,
    "$collStats": _STATISTICS,
    "$count": _HERE,
    "$currentOp": _OTHERS,
    "$densify": _HERE,
    "$documents": Reach(rules=True, facet=False),
    "$facet": Reach(inner=("*",), rules=True, facet=False),
    "$fill": _HERE,
    "$geoNear": Reach(facet=False),
    "$graphLookup": Reach(places=("from",), rules=True),
    "$group": _HERE,
    "$indexStats": _STATISTICS,
    "$limit": _HERE,
    "$listCatalog": _OTHERS,
    "$listClusterCatalog": _OTHERS,
    "$listLocalSessions": _OTHERS,
    "$listSampledQueries": _OTHERS,
    "$listSearchIndexes": Reach(),
    "$listSessions": _OTHERS,
    "$lookup": Reach(places=("from",), inner=("pipeline",), rules=True),
    "$match": _HERE,
    "$merge": Reach(places=("into",), bare=True, writes=True, inner=("whenMatched",), facet=False),
    "$operationMetrics": Reach(),
    "$out": Reach(bare=True, writes=True, facet=False),
    "$planCacheStats": _STATISTICS,
    "$project": _HERE,
    "$queryExpressionMemory": _OTHERS,
    "$querySettings": Reach(),
    "$queryStats": _OTHERS,
    "$rankFusion": Reach(inner=("input", "pipelines", "*")),
    "$redact": _HERE,
    "$replaceRoot": _HERE,
    "$replaceWith": _HERE,
    "$sample": _HERE,
    "$score": Reach(),
    "$scoreFusion": Reach(inner=("input", "pipelines", "*")),
    "$search": _SEARCH,
    "$searchMeta": _SEARCH,
    "$set": _HERE,
    "$setWindowFields": _HERE,
    "$shardedDataDistribution": Reach(),
    "$skip": _HERE,
    "$sort": _HERE,
    "$sortByCount": _HERE,
    "$unionWith": Reach(places=("coll",), bare=True, inner=("pipeline",), rules=True),
    "$unset": _HERE,
    "$unwind": _HERE,
    "$vectorSearch": _SEARCH,
}
"""Every stage that MongoDB has, by its name."""

OUTPUTS: tuple[str, ...] = tuple(name for name, reach in STAGES.items() if reach.writes)
"""The stages that write, which can only be the last."""

_FOLDED = {name.lower(): reach for name, reach in STAGES.items()}


def reach_of(name: str) -> Reach | None:
    """The reach of the stage ``name``, whatever the case of its letters; None for no stage of MongoDB's."""
    return STAGES.get(name) or _FOLDED.get(name.lower())


def unknown(name: str) -> DataError:
    """The server's error for a stage that there is not."""
    return DataError(f"Unrecognized pipeline stage name: '{name[:100]}'.", number=40324)


def stage_of(stage: Any) -> tuple[str, Any]:
    """The name and the argument of a stage; error 14 or 40323 for what is none."""
    if not isinstance(stage, dict):
        raise DataError("Each element of the 'pipeline' array must be an object", number=14)
    if len(stage) != 1:
        raise DataError("A pipeline stage specification object must contain exactly one field.", number=40323)
    return next(iter(stage.items()))


def inner_pipelines(name: str, argument: Any) -> Iterator[Any]:
    """The pipelines inside a stage, whatever they are."""
    reach = reach_of(name)
    if reach is None or not reach.inner or not isinstance(argument, dict):
        return
    *path, last = reach.inner
    for field in path:
        argument = argument.get(field)
        if not isinstance(argument, dict):
            return
    if last == "*":
        yield from argument.values()
    elif last in argument and not (last == "whenMatched" and not isinstance(argument[last], list)):
        yield argument[last]


@dataclass(frozen=True, slots=True)
class Visit:
    """One stage of a pipeline, or of a pipeline within it."""

    name: str
    argument: Any
    reach: Reach

    def places(self) -> Iterator[Any]:
        """The values with which the stage names collections, each a string or an object of ``db`` and ``coll``, if it
        is right.

        A sub-pipeline without a collection lists its documents, and names none.
        """
        reach, argument = self.reach, self.argument
        if not isinstance(argument, dict):
            if reach.bare:
                yield argument
            return
        if reach.bare and not reach.places:
            yield argument
        for field in reach.places:
            if argument.get(field) is not None or "pipeline" not in argument:
                yield argument.get(field)


def walk(pipeline: Any) -> Iterator[Visit]:
    """Every stage of a pipeline at any depth, a stage before those inside it; what is no pipeline or stage raises."""
    if not isinstance(pipeline, list):
        raise DataError("'pipeline' option must be specified as an array", number=14)
    for stage in pipeline:
        name, argument = stage_of(stage)
        reach = STAGES.get(name)
        if reach is None:
            raise unknown(name)
        yield Visit(name, argument, reach)
        for inner in inner_pipelines(name, argument):
            yield from walk(inner)


Namespace = tuple[str | None, str, str]


def pipeline_namespaces(pipeline: Any) -> Iterator[Namespace]:
    """Every other collection that a pipeline names, at any depth: (database or None for its own, collection, effect).

    The effect is ``read`` or ``write``. A stage whose collection cannot be told raises, so that none goes unseen.
    """
    for visit in walk(pipeline):
        for place in visit.places():
            database, collection = place_of(visit.name, place)
            yield database, collection, WRITE if visit.reach.writes else READ


def place_of(name: str, place: Any) -> tuple[str | None, str]:
    """The database, None for the pipeline's own, and the collection that ``place`` names; else error 9."""
    if is_string(place):
        return None, place
    if isinstance(place, dict) and is_string(place.get("coll")):
        database = place.get("db")
        if database is None or is_string(database):
            return database, place["coll"]
    raise DataError(f"{name} must name a collection, but found {type_name(place)}", number=9)
