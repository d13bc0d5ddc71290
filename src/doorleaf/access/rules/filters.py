"""Query filters: conditions and projections that are joined to every operation of the callers they apply to.

The query is a MongoDB filter whose values may be expansions. What is put in for them is a value and stays one: it is
never read as an operator, a pattern or a field path, whatever a token or a custom data document says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from doorleaf.access.rules.conditions import value_for
from doorleaf.access.rules.expressions import (
    NOTHING,
    Conversion,
    Expansion,
    Expression,
    RuleError,
    is_conversion,
    parse,
    parse_operand,
)
from doorleaf.access.rules.fields import Tree, both, limit_of
from doorleaf.documents import ABSENT, Document, is_string
from doorleaf.errors import PermissionDenied
from doorleaf.mql.values import type_name

FILTER_KEYS = frozenset({"name", "apply_when", "applyWhen", "query", "projection", "project"})


@dataclass(frozen=True, slots=True)
class QueryFilter:
    """A filter as parsed; ``limit`` is its projection as a tree."""

    name: str
    apply_when: Expression
    query: Document
    limit: Tree
    includes: bool | None
    """Whether the projection names what to keep; None without a projection."""


def parse_filter(source: Any, where: str) -> QueryFilter:
    """One entry of ``filters``; raises :class:`RuleError`."""
    if not isinstance(source, Mapping):
        raise RuleError(f"{where}: expected an object, got {type_name(source)}")
    for key in source:
        if key not in FILTER_KEYS:
            raise RuleError(f"{where}: unknown key {key!r}")
    for one, other in (("apply_when", "applyWhen"), ("projection", "project")):
        if one in source and other in source:
            raise RuleError(f"{where}: {one} and {other} are the same thing; write one of them")
    name = source.get("name", "")
    if not is_string(name) or len(name) > 100:
        raise RuleError(f"{where}.name: expected a string of at most 100 characters")
    applies = source.get("apply_when", source.get("applyWhen", {}))
    query, projection = source.get("query"), source.get("projection", source.get("project"))
    limit, includes = _projection({} if projection is None else projection, f"{where}.projection")
    return QueryFilter(
        name,
        parse(applies, f"{where}.apply_when", NOTHING),
        _query({} if query is None else query, f"{where}.query"),
        limit,
        includes,
    )


def _projection(projection: Any, where: str) -> tuple[Tree, bool | None]:
    if not isinstance(projection, Mapping):
        raise RuleError(f"{where}: expected an object, got {type_name(projection)}")
    if not projection:
        return True, None
    for path, value in projection.items():
        if isinstance(value, (dict, list, str)) or value is None or value not in (0, 1):
            raise RuleError(f"{where}.{path}: expected 0 or 1")
        if not all(part and not part.startswith("$") for part in path.split(".")):
            raise RuleError(f"{where}: {path!r} is no path")
    kinds = {bool(value) for path, value in projection.items() if path != "_id"} or {bool(projection["_id"])}
    if len(kinds) > 1:
        raise RuleError(f"{where}: includes some fields and excludes others")
    return limit_of(projection), kinds == {True}


def _query(query: Any, where: str) -> Document:
    if not isinstance(query, Mapping):
        raise RuleError(f"{where}: expected an object, got {type_name(query)}")
    return {_key(key, where): _node(value, f"{where}.{key}") for key, value in query.items()}


def _node(value: Any, where: str) -> Any:
    if is_conversion(value) or (is_string(value) and value.startswith("%%")):
        return parse_operand(value, where)
    if isinstance(value, Mapping):
        return _query(value, where)
    return [_node(item, f"{where}[{index}]") for index, item in enumerate(value)] if isinstance(value, list) else value


def _key(key: str, where: str) -> str:
    if key.startswith("%%"):
        raise RuleError(f"{where}: {key!r} cannot be a key; a filter's query is about the fields of documents")
    if key == "%function":
        raise RuleError(f"{where}: %function is a condition and stands in apply_when, not in a query")
    return "$" + key[1:] if key.startswith("%") else key


# --- for one caller --------------------------------------------------------------------------------------------------


def bound_query(query: Document, caller: Mapping[str, Any]) -> Document:
    """``query`` with the caller's values put in; PermissionDenied when the caller does not have one of them."""
    bound: Document = _bound(query, caller, "field")
    return bound


def _bound(node: Any, caller: Mapping[str, Any], place: str) -> Any:
    """``place`` is field (a value may stand for an operator document), operator or expression."""
    if isinstance(node, (Expansion, Conversion)):
        return _put_in(value_for(node, caller), place)
    if isinstance(node, dict):
        return {key: _bound(value, caller, _place(key, place)) for key, value in node.items()}
    return [_bound(item, caller, place) for item in node] if isinstance(node, list) else node


def _place(key: str, place: str) -> str:
    if place == "expression" or key == "$expr":
        return "expression"
    return "operator" if key.startswith("$") else "field"


def _put_in(value: Any, place: str) -> Any:
    if value is ABSENT:
        raise PermissionDenied("a filter of this collection needs a value that the caller does not have")
    if place == "expression":
        return {"$literal": value}
    if not _acts(value):
        return value
    if place == "field":
        return {"$eq": value}
    raise PermissionDenied("a filter of this collection needs a plain value, and the caller's is none")


def _acts(value: Any) -> bool:
    """Whether the database could take ``value`` for an operator or a pattern."""
    if isinstance(value, dict):
        return any(key.startswith("$") or _acts(item) for key, item in value.items())
    if isinstance(value, list):
        return any(map(_acts, value))
    return value is not None and type_name(value) == "regex"


def joined_limit(filters: list[QueryFilter]) -> Tree:
    """The fields that the projections of all ``filters`` leave; PermissionDenied when they cannot be joined."""
    if len({item.includes for item in filters if item.includes is not None}) > 1:
        raise PermissionDenied("the filters of this collection have projections that include and that exclude")
    limit: Tree = True
    for item in filters:
        limit = both(limit, item.limit)
    return limit
