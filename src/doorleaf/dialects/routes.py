"""Which route a request takes: exact paths by one look-up, paths with variables by a tree of segments."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

from doorleaf.dialects.base import Dialect, Request, Route
from doorleaf.errors import MethodNotAllowed, NotFound

_LONGEST_PATH = 256
"""Characters of a path that is remembered."""


@dataclass(frozen=True, slots=True)
class Target:
    """A route with its dialect; ``variables`` are the names of its path's variables, in order. ``by_type`` has the
    routes of the same path for bodies of some content type."""

    route: Route
    dialect: Dialect
    variables: tuple[str, ...] = ()
    by_type: dict[str, Target] | None = None


@dataclass(slots=True)
class _Node:
    literals: dict[str, _Node] = field(default_factory=dict)
    variable: _Node | None = None
    rest: dict[str, Target] = field(default_factory=dict)
    """The targets of whatever comes from here on."""
    targets: dict[str, Target] = field(default_factory=dict)


class Routes:
    """All routes of all dialects. A literal segment wins over a variable, and both over the rest of a path, which is
    written ``{name...}`` at its end; a trailing slash is accepted."""

    def __init__(self, dialects: Iterable[Dialect]) -> None:
        self._exact: dict[str, dict[str, Target]] = {}
        self._tree = _Node()
        self._remembered = lru_cache(maxsize=512)(lambda path: self._walked(_segments_of(path)))
        for dialect in dialects:
            for route in dialect.routes:
                self._add(route, dialect)

    def find(self, request: Request) -> Target:
        """The target of ``request``, whose ``params`` are set. Raises NotFound or MethodNotAllowed."""
        targets = self._exact.get(request.path) if request.segments is None else None
        if targets is not None:
            target = targets.get(request.method)
            if target is not None:
                return target if target.by_type is None else _by_type(target, target.by_type, request)
            return self._other_method(targets, request)
        return self._variable_path(request)

    def exact(self, method: str) -> Iterator[tuple[str, Target]]:
        """The paths without variables that take ``method``, with their targets."""
        for path, targets in self._exact.items():
            if method in targets:
                yield path, targets[method]

    def dialect(self, request: Request) -> Dialect | None:
        """The dialect that has the path of ``request``, whatever the method; None where none has."""
        targets = self._exact.get(request.path) if request.segments is None else None
        if targets is None:
            targets = _walk(self._tree, _segments(request), 0, [])
        return None if targets is None else next(iter(targets.values())).dialect

    def _add(self, route: Route, dialect: Dialect) -> None:
        segments = route.path.split("/")[1:]
        variables = tuple(segment[1:-1].removesuffix("...") for segment in segments if segment.startswith("{"))
        target = Target(route, dialect, variables)
        if not variables:
            paths = {route.path, route.path if route.path == "/" else route.path + "/"}
            for path in paths:
                _put(self._exact.setdefault(path, {}), target)
        node = self._tree
        for segment in segments:
            if segment.endswith("...}"):
                _put(node.rest, target)
                return
            if segment.startswith("{"):
                node.variable = node = node.variable or _Node()
            else:
                node = node.literals.setdefault(segment, _Node())
        _put(node.targets, target)

    def _variable_path(self, request: Request) -> Target:
        if request.segments is None and len(request.path) <= _LONGEST_PATH:
            targets, values = self._remembered(request.path)
        else:
            targets, values = self._walked(_segments(request))
        if targets is None:
            raise NotFound(f"no route for {request.method} on this path")
        target = targets.get(request.method)
        if target is None:
            target = self._other_method(targets, request)
        elif target.by_type is not None:
            target = _by_type(target, target.by_type, request)
        request.params = dict(zip(target.variables, values, strict=True))
        return target

    def _walked(self, segments: Sequence[str]) -> tuple[dict[str, Target] | None, tuple[str, ...]]:
        """The targets of a path, None where there are none, and the values of its variables."""
        values: list[str] = []
        targets = _walk(self._tree, segments, 0, values)
        return targets, tuple(values)

    def _other_method(self, targets: dict[str, Target], request: Request) -> Target:
        if request.method == "HEAD" and "GET" in targets:
            return targets["GET"]
        if "*" in targets:
            return targets["*"]
        allowed = sorted({*targets, *(["HEAD"] if "GET" in targets else [])})
        listed = ", ".join(allowed)
        raise MethodNotAllowed(f"{request.method} is not allowed here; use {listed}", headers={"Allow": listed})


def _segments(request: Request) -> list[str]:
    return _segments_of(request.path) if request.segments is None else _whole([*request.segments])


def _segments_of(path: str) -> list[str]:
    return _whole(path.split("/")[1:])


def _whole(segments: list[str]) -> list[str]:
    """``segments`` without the empty one behind a slash at the end."""
    if len(segments) > 1 and not segments[-1]:
        segments.pop()
    return segments


def _put(targets: dict[str, Target], target: Target) -> None:
    method, takes = target.route.method, target.route.takes
    if takes:  # behind the route that it is beside
        beside = targets[method]
        targets[method] = replace(beside, by_type={**(beside.by_type or {}), takes: target})
        return
    if method in targets:
        raise ValueError(f"two routes for {method} {target.route.path}")
    targets[method] = target


def _by_type(target: Target, others: dict[str, Target], request: Request) -> Target:
    """The target for the content type of ``request``."""
    given = request.headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    return others.get(given.decode("latin-1"), target)


def _walk(node: _Node, segments: Sequence[str], position: int, values: list[str]) -> dict[str, Target] | None:
    if position == len(segments):
        return node.targets or None
    segment = segments[position]
    literal = node.literals.get(segment)
    if literal is not None:
        found = _walk(literal, segments, position + 1, values)
        if found is not None:
            return found
    if node.variable is not None and segment:
        values.append(segment)
        found = _walk(node.variable, segments, position + 1, values)
        if found is not None:
            return found
        values.pop()
    if node.rest:
        values.append("/".join(segments[position:]))
        return node.rest
    return None
