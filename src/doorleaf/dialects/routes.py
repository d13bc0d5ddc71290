"""Which route a request takes: exact paths by one look-up, paths with variables by a tree of segments."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from doorleaf.dialects.base import Dialect, Request, Route
from doorleaf.errors import MethodNotAllowed, NotFound


@dataclass(frozen=True, slots=True)
class Target:
    """A route with its dialect; ``variables`` are the names of its path's variables, in order."""

    route: Route
    dialect: Dialect
    variables: tuple[str, ...] = ()


@dataclass(slots=True)
class _Node:
    literals: dict[str, _Node] = field(default_factory=dict)
    variable: _Node | None = None
    targets: dict[str, Target] = field(default_factory=dict)


class Routes:
    """All routes of all dialects. A literal segment wins over a variable; a trailing slash is accepted."""

    def __init__(self, dialects: Iterable[Dialect]) -> None:
        self._exact: dict[str, dict[str, Target]] = {}
        self._tree = _Node()
        for dialect in dialects:
            for route in dialect.routes:
                self._add(route, dialect)

    def find(self, request: Request) -> Target:
        """The target of ``request``, whose ``params`` are set. Raises NotFound or MethodNotAllowed."""
        targets = self._exact.get(request.path)
        if targets is not None:
            target = targets.get(request.method)
            if target is not None:
                return target
            return self._other_method(targets, request)
        return self._variable_path(request)

    def _add(self, route: Route, dialect: Dialect) -> None:
        segments = route.path.split("/")[1:]
        variables = tuple(segment[1:-1] for segment in segments if segment.startswith("{"))
        target = Target(route, dialect, variables)
        if not variables:
            paths = {route.path, route.path if route.path == "/" else route.path + "/"}
            for path in paths:
                _put(self._exact.setdefault(path, {}), target)
        node = self._tree
        for segment in segments:
            if segment.startswith("{"):
                node.variable = node = node.variable or _Node()
            else:
                node = node.literals.setdefault(segment, _Node())
        _put(node.targets, target)

    def _variable_path(self, request: Request) -> Target:
        segments = request.path.split("/")[1:]
        if len(segments) > 1 and not segments[-1]:
            segments.pop()
        values: list[str] = []
        node = _walk(self._tree, segments, 0, values)
        if node is None:
            raise NotFound(f"no route for {request.method} on this path")
        target = node.targets.get(request.method)
        if target is None:
            target = self._other_method(node.targets, request)
        request.params = dict(zip(target.variables, values, strict=True))
        return target

    def _other_method(self, targets: dict[str, Target], request: Request) -> Target:
        if request.method == "HEAD" and "GET" in targets:
            return targets["GET"]
        if "*" in targets:
            return targets["*"]
        allowed = sorted({*targets, *(["HEAD"] if "GET" in targets else [])})
        listed = ", ".join(allowed)
        raise MethodNotAllowed(f"{request.method} is not allowed here; use {listed}", headers={"Allow": listed})


def _put(targets: dict[str, Target], target: Target) -> None:
    method = target.route.method
    if method in targets:
        raise ValueError(f"two routes for {method} {target.route.path}")
    targets[method] = target


def _walk(node: _Node, segments: Sequence[str], position: int, values: list[str]) -> _Node | None:
    if position == len(segments):
        return node if node.targets else None
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
    return None
