"""A filter taken apart into predicates on fields, as far as an index can serve them.

What is said here is true of every document that matches: the filter implies each predicate, and of each union one of
its branches. Where the predicates are the whole filter it is ``complete``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bson.binary import Binary
from bson.datetime_ms import DatetimeMS
from bson.dbref import DBRef
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.objectid import ObjectId
from bson.regex import Regex

from doorleaf.documents import Document, is_string
from doorleaf.errors import DoorleafError
from doorleaf.mql.context import Context
from doorleaf.mql.expressions import compile_expression
from doorleaf.mql.expressions.compile import Constant
from doorleaf.mql.values import truthy

MOST_CONDITIONS = 10_000
"""Conditions that are looked at; the rest of a longer filter is only tested."""

MOST_BRANCHES = 1_000
"""Branches that an ``$or`` may have to be looked at, equalities of one field apart."""

PLAIN = frozenset((int, Int64, float, str, ObjectId, bool, datetime, DatetimeMS, bytes, Binary, Decimal128))

_CHEAP = frozenset(("$eq", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$ne", "$exists", "$type", "$size"))
_BOUNDED = frozenset(("$eq", "$gt", "$gte", "$lt", "$lte", "$in"))
_OF_AN_ELEMENT = _BOUNDED | {"$type", "prefix"}
_OPPOSITE = {"$ne": "$eq", "$nin": "$in"}
_LOGICAL = ("$and", "$or", "$nor")
_MIRRORED = {"$eq": "$eq", "$gt": "$lt", "$gte": "$lte", "$lt": "$gt", "$lte": "$gte"}
_UNKNOWN = object()


@dataclass(slots=True)
class Predicate:
    """One condition that a document must meet: ``operator`` on ``path``.

    Beside the filter's own operators there are ``prefix`` (strings that begin so), ``present`` and ``absent``,
    ``elements`` (one element meets all predicates of ``value``), and ``expr$eq`` and its kin, which compare as
    aggregation expressions do. Predicates of one ``group``, which is not 0, are met by fields of the same element of an
    array.
    """

    path: str
    operator: str
    value: Any
    group: int = 0


@dataclass(slots=True)
class Conditions:
    """A filter seen by the planner. ``complete``: predicates and unions are the whole filter; ``cheap``: testing it on
    a document takes no regular expression and no aggregation expression."""

    predicates: list[Predicate] = field(default_factory=list)
    unions: list[list[Conditions]] = field(default_factory=list)
    complete: bool = True
    cheap: bool = True


def conditions(
    filter: Document, context: Context | None = None, variables: Mapping[str, Any] | None = None
) -> Conditions:
    """Take a filter apart; ``variables`` are the values of ``let``."""
    found = Conditions()
    _Reader(context or Context(), variables or {}).collect(filter, found)
    return found


class _Reader:
    """Reads one filter, up to :data:`MOST_CONDITIONS`."""

    def __init__(self, context: Context, variables: Mapping[str, Any]) -> None:
        self._context = context
        self._variables = dict(variables)
        self._room = MOST_CONDITIONS
        self._groups = 0

    def collect(self, filter: Document, found: Conditions, prefix: str = "", group: int = 0) -> None:
        """Add what ``filter`` says of fields below ``prefix``."""
        for name, condition in filter.items():
            self._room -= 1
            if self._room < 0:
                found.complete = found.cheap = False
                return
            if name[:1] != "$":
                self._field(prefix + name, condition, found, 0 if "." in name else group)
            elif name in _LOGICAL and condition.__class__ is list and all(isinstance(part, dict) for part in condition):
                self._logical(name, condition, found, prefix, group)
            elif name == "$expr" and not prefix:
                found.complete = found.cheap = False
                self._expression(condition, found)
            elif name != "$comment":
                found.complete = found.cheap = False

    # --- logic -------------------------------------------------------------------------------------------------------

    def _logical(self, name: str, parts: list[Document], found: Conditions, prefix: str, group: int) -> None:
        if not parts:
            found.complete = False
        elif name == "$nor":
            for part in parts:
                self._negated(part, found, prefix, group)
        elif name == "$and" or len(parts) == 1:
            for part in parts:
                self.collect(part, found, prefix, group)
        elif not prefix and (predicate := _one_of(parts)) is not None:
            found.predicates.append(predicate)
        elif len(parts) > MOST_BRANCHES:
            found.complete = found.cheap = False
        else:
            branches = []
            for part in parts:
                branch = Conditions()
                self.collect(part, branch, prefix, group)
                branches.append(branch)
            if prefix:
                found.complete = False
                found.cheap = found.cheap and all(branch.cheap for branch in branches)
            else:
                _unite(branches, found)

    def _negated(self, filter: Document, found: Conditions, prefix: str, group: int) -> None:
        """What follows from ``filter`` not being met: something, where it is itself a negation."""
        if len(filter) == 1:
            ((name, condition),) = filter.items()
            listed = condition.__class__ is list and all(isinstance(part, dict) for part in condition)
            if listed and name == "$nor" and condition:
                self._logical("$or", condition, found, prefix, group)
                return
            if listed and name in ("$and", "$or") and len(condition) == 1:
                self._negated(condition[0], found, prefix, group)
                return
            if name[:1] != "$" and isinstance(condition, dict):
                opposite = _opposite(condition)
                if opposite is not None:
                    self._operators(prefix + name, opposite, found, 0 if "." in name else group)
                    return
        inner = Conditions()
        self.collect(filter, inner, prefix, group)
        found.complete = False
        found.cheap = found.cheap and inner.cheap

    # --- conditions on a field ---------------------------------------------------------------------------------------

    def _field(self, path: str, condition: Any, found: Conditions, group: int) -> None:
        if condition.__class__ in PLAIN:
            found.predicates.append(Predicate(path, "$eq", condition, group))
        elif isinstance(condition, dict) and next(iter(condition), "")[:1] == "$":
            self._operators(path, condition, found, group)
        elif _is_regex(condition) or isinstance(condition, DBRef):
            found.complete = found.cheap = False
            _prefix(path, condition, found, group)
        else:
            found.predicates.append(Predicate(path, "$eq", condition, group))

    def _operators(self, path: str, condition: Document, found: Conditions, group: int) -> None:
        for operator, value in condition.items():
            self._room -= 1
            if operator in _BOUNDED and not _is_regex(value):
                found.predicates.append(Predicate(path, operator, value, group))
            elif operator == "$ne" and value is None:
                found.predicates.append(Predicate(path, "$ne", None, group))
            elif operator == "$all" and value.__class__ is list and value:
                self._all(path, value, found, group)
            elif operator == "$elemMatch" and isinstance(value, dict):
                self._elements(path, value, found)
            elif operator == "$not" and isinstance(value, dict) and (opposite := _opposite(value)) is not None:
                self._operators(path, opposite, found, group)
            else:
                found.complete = False
                found.cheap = found.cheap and operator in _CHEAP and not _is_regex(value)
                self._other(path, operator, value, condition, found, group)

    @staticmethod
    def _other(path: str, operator: str, value: Any, siblings: Document, found: Conditions, group: int) -> None:
        if operator == "$regex" and "$options" not in siblings:
            _prefix(path, Regex(value) if is_string(value) else value, found, group)
        elif operator == "$exists":
            found.predicates.append(Predicate(path, "present" if truthy(value) else "absent", None, group))
        elif operator == "$type":
            found.predicates.append(Predicate(path, "$type", value, group))

    def _all(self, path: str, values: list[Any], found: Conditions, group: int) -> None:
        for value in values:
            self._room -= 1
            if self._room < 0 or _is_regex(value):
                found.complete = found.cheap = False
                if self._room < 0:
                    return
            elif not isinstance(value, dict) or next(iter(value), "")[:1] != "$":
                found.predicates.append(Predicate(path, "$eq", value, group))
            elif isinstance(value.get("$elemMatch"), dict):
                self._elements(path, value["$elemMatch"], found)
            else:
                found.complete = False

    def _elements(self, path: str, condition: Document, found: Conditions) -> None:
        """``$elemMatch``, of values or of documents."""
        found.complete = False
        first = next(iter(condition), "")
        if first[:1] == "$" and first not in _LOGICAL:
            inner = Conditions()
            self._operators("", condition, inner, 0)
            found.cheap = found.cheap and inner.cheap
            of_it = [item for item in inner.predicates if not item.path and item.operator in _OF_AN_ELEMENT]
            if of_it:
                found.predicates.append(Predicate(path, "elements", of_it))
            return
        self._groups += 1
        self.collect(condition, found, f"{path}.", self._groups)

    # --- aggregation expressions -------------------------------------------------------------------------------------

    def _expression(self, expression: Any, found: Conditions) -> None:
        """Comparisons of a field with what depends on no document, joined by ``$and`` and ``$or``."""
        if not isinstance(expression, dict) or len(expression) != 1:
            return
        ((name, given),) = expression.items()
        self._room -= 1
        if given.__class__ is not list or self._room < 0:
            return
        if name == "$and":
            for part in given:
                self._expression(part, found)
        elif name == "$or":
            branches = []
            for part in given:
                branch = Conditions(complete=False, cheap=False)
                self._expression(part, branch)
                branches.append(branch)
            _unite(branches, found)
        elif len(given) == 2:
            self._comparison(name, given[0], given[1], found)

    def _comparison(self, name: str, left: Any, right: Any, found: Conditions) -> None:
        path, other = _field_path(left), right
        if name == "$in":
            values = self._constant(other) if path else None
            if path and values.__class__ is list:
                found.predicates.append(Predicate(path, "expr$in", values))
            return
        if name not in _MIRRORED:
            return
        if not path:
            path, other, name = _field_path(right), left, _MIRRORED[name]
        value = self._constant(other) if path else _UNKNOWN
        if value is not _UNKNOWN:
            found.predicates.append(Predicate(path, f"expr{name}", value))

    def _constant(self, expression: Any) -> Any:
        """The value of an expression that depends on no document."""
        if expression.__class__ in PLAIN and not (is_string(expression) and expression[:1] == "$"):
            return expression
        try:
            compiled = compile_expression(expression, self._context, tuple(self._variables))
            if isinstance(compiled, Constant):
                return compiled.value
            if is_string(expression) and expression[2:].partition(".")[0] in self._variables:
                return compiled({}, self._variables) if expression[:2] == "$$" else _UNKNOWN
        except DoorleafError:  # testing the filter raises it
            return _UNKNOWN
        return _UNKNOWN


def _field_path(expression: Any) -> str:
    """The path that ``$path`` names, "" for any other expression."""
    if not is_string(expression) or expression[:1] != "$":
        return ""
    for root in ("$$ROOT.", "$$CURRENT."):
        if expression.startswith(root):
            return expression[len(root) :]
    return "" if expression[:2] == "$$" else expression[1:]


def _opposite(condition: Document) -> Document | None:
    """The operators that hold exactly where those of ``condition`` do not; None for most."""
    if len(condition) != 1:
        return None
    ((operator, value),) = condition.items()
    if operator in _OPPOSITE and not _is_regex(value):
        return {_OPPOSITE[operator]: value}
    if operator == "$exists":
        return {"$exists": not truthy(value)}
    if operator == "$not" and isinstance(value, dict) and next(iter(value), "")[:1] == "$":
        return value
    return None


def _one_of(parts: list[Document]) -> Predicate | None:
    """Branches of an ``$or`` that are all equality of one field with a plain value, which is ``$in``."""
    path = next(iter(parts[0]), "$")
    if path[:1] == "$":
        return None
    values = [part.get(path) for part in parts if len(part) == 1]
    if len(values) < len(parts) or not all(value.__class__ in PLAIN for value in values):
        return None
    return Predicate(path, "$in", values)


def _unite(branches: list[Conditions], found: Conditions) -> None:
    """Add that one of ``branches`` holds."""
    found.cheap = found.cheap and all(branch.cheap for branch in branches)
    found.complete = found.complete and all(branch.complete for branch in branches)
    flat: list[Conditions] = []
    for branch in branches:
        alone = len(branch.unions) == 1 and not branch.predicates
        flat += branch.unions[0] if alone else (branch,)
    if len(flat) <= MOST_BRANCHES and all(branch.predicates for branch in flat):
        found.unions.append(flat)
    else:
        found.complete = False


def _is_regex(value: Any) -> bool:
    if value.__class__ is list:
        return any(isinstance(item, (Regex, re.Pattern)) for item in value)
    return isinstance(value, (Regex, re.Pattern))


def _prefix(path: str, condition: Any, found: Conditions, group: int) -> None:
    """``/^abc/`` without options matches strings that begin with ``abc``, and an equal regular expression."""
    if not isinstance(condition, Regex) or condition.flags or not isinstance(condition.pattern, str):
        return
    literal = re.match(r"\^([A-Za-z0-9_\- @:,/]+)(?![*?+{|A-Za-z0-9_\- @:,/])", condition.pattern)
    if literal and "|" not in condition.pattern and "(" not in condition.pattern:
        found.predicates.append(Predicate(path, "prefix", literal[1], group))
