"""Finds what must not run in filters, updates, projections and pipelines, at any depth."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from doorleaf.documents import is_string
from doorleaf.errors import InvalidParameter, PermissionDenied
from doorleaf.mql.stages.reach import OUTPUTS, STAGES, inner_pipelines, reach_of, unknown

JAVASCRIPT = frozenset({"$where", "$function", "$accumulator"})
"""Server-side JavaScript, in lower case; ``mapReduce`` is a command."""

OUTPUT_STAGES = frozenset(OUTPUTS)
"""Stages that write."""

_SERVER_STAGES = frozenset(name.lower() for name, reach in STAGES.items() if reach.others)
"""Stages that show other callers' work, or never end, in lower case."""


_PLACES = sorted({"coll"}.union(*(reach.places for reach in STAGES.values())))


class Reached(Protocol):
    """Refuses a namespace that a pipeline or command reaches."""

    def __call__(self, database: str | None, collection: str | None, *, writing: bool = False) -> None: ...


class Scan:
    """Walks over values; ``output_stages`` permits ``$out`` and ``$merge``, ``namespace`` judges what they reach.

    ``refuse_stages`` and ``refuse_operators`` are refused by this server's settings; of ``allow_stages``, if there are
    any, every stage must be one.
    """

    def __init__(
        self,
        *,
        output_stages: bool,
        namespace: Reached,
        refuse_stages: Iterable[str] = (),
        allow_stages: Iterable[str] = (),
        refuse_operators: Iterable[str] = (),
    ) -> None:
        self._namespace = namespace
        self._refused_stages = frozenset(name.lower() for name in refuse_stages)
        self._allowed_stages = frozenset(name.lower() for name in allow_stages)
        self._operators = JAVASCRIPT | {name.lower() for name in refuse_operators}
        self._in_pipelines = self._operators | _SERVER_STAGES | (frozenset() if output_stages else OUTPUT_STAGES)

    def expressions(self, value: Any) -> None:
        """Refuse JavaScript in a filter, update, projection, list of array filters, or options."""
        if isinstance(value, dict):
            for key, item in value.items():
                if key[:1] == "$":
                    if key.lower() in self._operators:
                        raise _refusal(key)
                    if key == "$literal" and len(value) == 1:
                        continue
                if isinstance(item, (dict, list)):
                    self.expressions(item)
        elif isinstance(value, list):
            for item in value:
                if isinstance(item, (dict, list)):
                    self.expressions(item)

    def pipeline(self, stages: Iterable[Any], database: str, *, output: bool = True) -> None:
        """Refuse what must not run in an aggregation pipeline on ``database``, sub-pipelines included.

        ``output`` False refuses ``$out`` and ``$merge`` even where they are permitted.
        """
        refused = self._in_pipelines if output else self._in_pipelines | OUTPUT_STAGES
        stages = list(stages)
        self.stages(stages)
        for stage in stages:
            self._stage(stage, database, refused)

    def stages(self, pipeline: Any) -> None:
        """Refuse unknown stages and those that the settings refuse, in ``pipeline`` and in those within it."""
        for stage in pipeline if isinstance(pipeline, list) else ():
            if not isinstance(stage, dict):
                continue
            for key, operand in stage.items():
                name = key.lower()
                if name in self._refused_stages or (self._allowed_stages and name not in self._allowed_stages):
                    raise PermissionDenied(f"the stage {key[:60]} is not allowed: a setting of this server says so")
                if reach_of(key) is None:
                    raise unknown(key)
                for inner in inner_pipelines(key, operand):
                    self.stages(inner)

    def _stage(self, value: Any, database: str, refused: frozenset[str]) -> None:
        if isinstance(value, dict):
            for key, item in value.items():
                if key[:1] == "$":
                    name = key.lower()
                    if name in refused:
                        raise _refusal(key)
                    reach = reach_of(name)
                    if reach is not None and (reach.places or reach.bare):
                        self._reaching(name, item, database)
                    if key == "$literal" and len(value) == 1:
                        continue
                if isinstance(item, (dict, list)):
                    self._stage(item, database, refused)
        elif isinstance(value, list):
            for item in value:
                if isinstance(item, (dict, list)):
                    self._stage(item, database, refused)

    def _reaching(self, name: str, operand: Any, database: str) -> None:
        writing = name in OUTPUT_STAGES
        for named in _named(operand):
            if is_string(named):
                self._namespace(database, named, writing=writing)
            elif isinstance(named, dict):
                other = named.get("db", database)
                if not is_string(other):
                    raise InvalidParameter(f"{name}: db must be a string")
                collection = named.get("coll")
                self._namespace(other, collection if is_string(collection) else None, writing=writing)


def _named(operand: Any) -> Iterable[Any]:
    """Every place where a reaching stage may name a namespace: itself, and the fields where any stage does."""
    yield operand
    if isinstance(operand, dict):
        for key in _PLACES:
            if key in operand:
                yield operand[key]


def _refusal(key: str) -> PermissionDenied:
    name = key.lower()
    if name in JAVASCRIPT:
        return PermissionDenied(f"{key} is not allowed: it runs JavaScript on the server")
    if name in OUTPUT_STAGES:
        return PermissionDenied(f"{key} is not allowed: it writes from a pipeline; a setting permits it")
    if name in _SERVER_STAGES:
        return PermissionDenied(f"{key} is not allowed: it shows or follows what other callers do")
    return PermissionDenied(f"{key[:60]} is not allowed: a setting of this server says so")
