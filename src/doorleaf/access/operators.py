"""Finds what must not run in filters, updates, projections and pipelines, at any depth."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from doorleaf.errors import InvalidParameter, PermissionDenied

JAVASCRIPT = frozenset({"$where", "$function", "$accumulator"})
"""Server-side JavaScript, in lower case; ``mapReduce`` is a command."""

OUTPUT_STAGES = frozenset({"$out", "$merge"})
"""Stages that write."""

_SERVER_STAGES = frozenset(
    {"$changestream", "$changestreamsplitlargeevent", "$currentop", "$listcatalog", "$listclustercatalog"}
    | {"$listlocalsessions", "$listsampledqueries", "$listsessions", "$queryexpressionmemory", "$querystats"}
)
"""Stages that show other callers' work, or never end."""

_REACHING = frozenset({"$lookup", "$graphlookup", "$unionwith", "$out", "$merge"})
"""Stages that name another namespace."""

_SUB_PIPELINES = {"$lookup": ("pipeline",), "$unionwith": ("pipeline",), "$merge": ("whenMatched",)}
_NAMED_PIPELINES = {"$rankfusion": ("input", "pipelines"), "$scorefusion": ("input", "pipelines")}
"""Where stages have pipelines of their own; ``$facet`` has nothing else."""


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
        """Refuse the stages that the settings refuse, in ``pipeline`` and in those within it."""
        if not self._refused_stages and not self._allowed_stages:
            return
        for stage in pipeline if isinstance(pipeline, list) else ():
            if not isinstance(stage, dict):
                continue
            for key, operand in stage.items():
                name = key.lower()
                if name in self._refused_stages or (self._allowed_stages and name not in self._allowed_stages):
                    raise PermissionDenied(f"the stage {key[:60]} is not allowed: a setting of this server says so")
                for inner in _inner_pipelines(name, operand):
                    self.stages(inner)

    def _stage(self, value: Any, database: str, refused: frozenset[str]) -> None:
        if isinstance(value, dict):
            for key, item in value.items():
                if key[:1] == "$":
                    name = key.lower()
                    if name in refused:
                        raise _refusal(key)
                    if name in _REACHING:
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
            if isinstance(named, str):
                self._namespace(database, named, writing=writing)
            elif isinstance(named, dict):
                other = named.get("db", database)
                if not isinstance(other, str):
                    raise InvalidParameter(f"{name}: db must be a string")
                collection = named.get("coll")
                self._namespace(other, collection if isinstance(collection, str) else None, writing=writing)


def _inner_pipelines(name: str, operand: Any) -> Iterable[Any]:
    """The pipelines inside the stage called ``name``."""
    if not isinstance(operand, dict):
        return
    if name == "$facet":
        yield from operand.values()
    for field in _SUB_PIPELINES.get(name, ()):
        yield operand.get(field)
    if name in _NAMED_PIPELINES:
        for field in _NAMED_PIPELINES[name]:
            operand = operand.get(field) if isinstance(operand, dict) else None
        yield from operand.values() if isinstance(operand, dict) else ()


def _named(operand: Any) -> Iterable[Any]:
    """Every place where a reaching stage may name a namespace: itself, ``from``, ``into``, ``coll``."""
    yield operand
    if isinstance(operand, dict):
        for key in ("from", "into", "coll"):
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
