"""The head of a pipeline, which indexes can serve: leading filters, a sort, and how many documents are wanted.

``$match``, ``$sort``, ``$skip`` and ``$limit`` are moved before stages that leave alone what they look at, so that more
of a pipeline is head. A filter is moved only where it is exact: each of its conditions by itself, through copies of
whole fields under their names before, and never when testing it could fail.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from doorleaf.documents import is_string
from doorleaf.mql.numbers import INT64_MAX, is_number
from doorleaf.mql.stages import documents as stages_documents
from doorleaf.mql.stages.build import Document
from doorleaf.mql.values import truthy

MOST_STEPS = 4_000
"""Stages that conditions are moved over, in all, while a pipeline is looked at."""

MOST_NODES = 2_000
"""Conditions and operands that are looked at to tell which fields they need."""

_TRANSFORMS = ("$project", "$addFields", "$set", "$unset", "$lookup", "$graphLookup")
"""Stages that give one document for each."""

_LOGICAL = ("$and", "$or", "$nor")
_HARMLESS = frozenset(("$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$and", "$or", "$not", "$cmp"))


@dataclass(slots=True)
class Head:
    """The work that the caller can do with indexes before the rest of a pipeline runs, in this order.

    ``filter`` None matches all; ``sort`` None keeps natural order; ``skip`` 0 and ``limit`` None change nothing.
    ``rest`` are the stages that remain.
    """

    filter: Document | None = None
    sort: Document | None = None
    skip: int = 0
    limit: int | None = None
    rest: list[Document] = field(default_factory=list)

    @property
    def chooses(self) -> bool:
        """Whether an index could spare reading all documents."""
        return bool(self.filter or self.sort)

    def stages(self) -> list[Document]:
        """The head as stages, without the rest."""
        given = (("$match", self.filter), ("$sort", self.sort), ("$skip", self.skip), ("$limit", self.limit))
        return [{name: argument} for name, argument in given if argument]


def pushdown(pipeline: Sequence[Document]) -> Head:
    """Split off the leading ``$match`` stages, then ``$sort``, ``$skip`` and ``$limit``, after moving them forward.

    Mistakes in them raise; stages are only moved where the answers stay the same.
    """
    remaining = reordered(pipeline)
    filters = []
    while remaining and _is(remaining[0], "$match") and isinstance(remaining[0]["$match"], dict):
        filters.append(remaining.pop(0)["$match"])
    head = Head()
    if filters:
        head.filter = filters[0] if len(filters) == 1 else {"$and": filters}
    if remaining and _is(remaining[0], "$sort") and isinstance(remaining[0]["$sort"], dict) and remaining[0]["$sort"]:
        head.sort = remaining.pop(0)["$sort"]
    while remaining and _is(remaining[0], "$skip"):
        head.skip = min(head.skip + stages_documents.parse_skip(remaining.pop(0)["$skip"]), INT64_MAX)
    while remaining and _is(remaining[0], "$limit"):
        number = stages_documents.parse_limit(remaining.pop(0)["$limit"])
        head.limit = number if head.limit is None else min(head.limit, number)
    head.rest = remaining
    return head


def _is(stage: Any, name: str) -> bool:
    return isinstance(stage, dict) and len(stage) == 1 and name in stage


# --- moving stages forward -------------------------------------------------------------------------------------------


def reordered(pipeline: Sequence[Document]) -> list[Document]:
    """The same pipeline with filters, sorts and limits as early as they give the same."""
    if not all(isinstance(stage, dict) and len(stage) == 1 for stage in pipeline):
        return list(pipeline)
    return _Mover().moved(pipeline)


@dataclass(slots=True)
class _Effect:
    """What a stage does to top-level fields: it may change those in ``changed``, or where ``kept`` is not None all but
    those; ``copies`` are the fields that are whole copies of others, by name."""

    changed: frozenset[str] = frozenset()
    kept: frozenset[str] | None = None
    copies: Mapping[str, str] = field(default_factory=dict)

    def leaves(self, name: str) -> bool:
        """Whether the field is the same before the stage and after it."""
        return name not in self.changed if self.kept is None else name in self.kept


class _Mover:
    """Moves the stages of one pipeline, within :data:`MOST_STEPS`."""

    def __init__(self) -> None:
        self._steps = MOST_STEPS
        self._stages: list[Document] = []
        self._effects: list[_Effect | None] = []

    def moved(self, pipeline: Sequence[Document]) -> list[Document]:
        """The pipeline in its new order."""
        for stage in pipeline:
            ((name, argument),) = stage.items()
            if name == "$match" and isinstance(argument, dict):
                self._match(argument)
            elif name in ("$limit", "$skip"):
                self._insert(self._before_transforms(frozenset()), stage)
            elif (
                name == "$sort" and isinstance(argument, dict) and all(is_number(order) for order in argument.values())
            ):
                self._insert(self._before_transforms(frozenset(map(_root, argument))), stage)
            else:
                self._insert(len(self._stages), stage)
        return self._stages

    def _insert(self, place: int, stage: Document) -> None:
        self._stages.insert(place, stage)
        self._effects.insert(place, _effect(stage))

    def _before_transforms(self, fields: frozenset[str]) -> int:
        """The place before the transforms at the end that leave ``fields`` alone."""
        place = len(self._stages)
        while place and self._steps > 0 and next(iter(self._stages[place - 1])) in _TRANSFORMS:
            self._steps -= 1
            effect = self._effects[place - 1]
            if effect is None or not all(map(effect.leaves, fields)):
                break
            place -= 1
        return place

    def _match(self, filter: Document) -> None:
        kept = []
        for condition in _conjuncts(filter):
            place, moved = self._earliest(condition)
            if place == len(self._stages):
                kept.append(condition)
            elif place and isinstance(known := self._stages[place - 1].get("$match"), dict):
                self._stages[place - 1] = {"$match": {"$and": [*_parts(known), moved]}}
            else:
                self._insert(place, {"$match": moved})
        if len(kept) == len(_conjuncts(filter)):
            self._insert(len(self._stages), {"$match": filter})
        elif kept:
            self._insert(len(self._stages), {"$match": {"$and": kept}})

    def _earliest(self, condition: Document) -> tuple[int, Document]:
        """The first place where ``condition`` says the same, and what it is there."""
        best, known = len(self._stages), condition
        needed = fields_of(condition)
        if needed is None:
            return best, known
        for place in range(len(self._stages), 0, -1):
            self._steps -= 1
            if self._steps < 0:
                break
            if next(iter(self._stages[place - 1])) == "$match":
                continue
            effect = self._effects[place - 1]
            if effect is None:
                break
            names = {name: name if effect.leaves(name) else effect.copies.get(name, "") for name in needed}
            if not all(names.values()):
                break
            renamed = {name: before for name, before in names.items() if name != before}
            if renamed:
                condition = _renamed(condition, renamed)
                needed = frozenset(names.values())
            best, known = place - 1, condition
        return best, known


def _conjuncts(filter: Document) -> list[Document]:
    parts: list[Document] = []
    for name, condition in filter.items():
        if (
            name == "$and"
            and condition.__class__ is list
            and condition
            and all(part.__class__ is dict for part in condition)
        ):
            parts += condition
        else:
            parts.append({name: condition})
    return parts


def _parts(filter: Document) -> list[Document]:
    return filter["$and"] if list(filter) == ["$and"] and filter["$and"].__class__ is list else [filter]


def _root(path: str) -> str:
    return path.partition(".")[0]


# --- what stages change ----------------------------------------------------------------------------------------------


def _effect(stage: Document) -> _Effect | None:
    """What ``stage`` does to fields, None for a stage that a filter does not pass."""
    ((name, argument),) = stage.items()
    if name == "$sort":
        return _Effect()
    if name in ("$addFields", "$set") and isinstance(argument, dict):
        return _Effect(frozenset(map(_root, argument)), None, _copies(argument))
    if name == "$project" and isinstance(argument, dict):
        return _projected(argument)
    if name == "$unset":
        paths = [argument] if is_string(argument) else argument
        if isinstance(paths, list) and all(is_string(path) for path in paths):
            return _Effect(frozenset(map(_root, paths)))
    if name in ("$lookup", "$graphLookup") and isinstance(argument, dict) and is_string(argument.get("as")):
        return _Effect(frozenset((_root(argument["as"]),)))
    if name == "$unwind":
        options = {"path": argument} if is_string(argument) else argument
        if isinstance(options, dict) and is_string(options.get("path")):
            index = options.get("includeArrayIndex")
            written = (options["path"][1:], *((index,) if is_string(index) else ()))
            return _Effect(frozenset(map(_root, written)))
    return None


def _copies(argument: Document) -> dict[str, str]:
    """The fields that are set to another field as a whole."""
    return {
        name: value[1:]
        for name, value in argument.items()
        if is_string(value)
        and "." not in name
        and value[:1] == "$"
        and "." not in value
        and value[1:2] not in ("", "$")
    }


def _projected(argument: Document) -> _Effect | None:
    if any("$" in name for name in argument):
        return None
    scalar = {
        name: bool(truthy(value)) for name, value in argument.items() if isinstance(value, bool) or is_number(value)
    }
    others = [name for name in argument if _root(name) != "_id"]
    if not others:
        return None
    if all(scalar.get(name) is False for name in others):
        return _Effect(frozenset(name for name in map(_root, argument) if scalar.get(name) is not True))
    kept = {name for name, included in scalar.items() if included and "." not in name}
    if not any(_root(name) == "_id" for name in argument):
        kept.add("_id")
    return _Effect(frozenset(), frozenset(kept), _copies(argument))


# --- the fields that a filter needs ----------------------------------------------------------------------------------


def fields_of(filter: Document) -> frozenset[str] | None:
    """The top-level fields that decide whether ``filter`` holds, None where that is more than fields, or may fail."""
    reading = _Fields()
    return frozenset(reading.found) if reading.filter(filter) else None


class _Fields:
    def __init__(self) -> None:
        self.found: set[str] = set()
        self._room = MOST_NODES

    def filter(self, filter: Any) -> bool:
        """Whether the filter is understood; its fields are in ``found``."""
        if not isinstance(filter, dict):
            return False
        for name, condition in filter.items():
            self._room -= 1
            if self._room < 0:
                return False
            if name[:1] != "$":
                self.found.add(_root(name))
            elif name in _LOGICAL:
                if condition.__class__ is not list or not condition or not all(map(self.filter, condition)):
                    return False
            elif name != "$expr" or not self.expression(condition):
                return False
        return bool(filter)

    def expression(self, expression: Any) -> bool:
        """Whether the expression only compares fields and constants, which never fails."""
        self._room -= 1
        if self._room < 0:
            return False
        if isinstance(expression, dict):
            if len(expression) != 1:
                return False
            ((name, operands),) = expression.items()
            return name in _HARMLESS and operands.__class__ is list and all(map(self.expression, operands))
        if is_string(expression) and expression[:1] == "$":
            if expression[:2] == "$$":
                return _root(expression) not in ("$$ROOT", "$$CURRENT")
            self.found.add(_root(expression[1:]))
            return True
        return not isinstance(expression, list)


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    """A filter, as :func:`fields_of` understands it, with its top-level fields under other names."""
    parts: list[Document] = []
    for name, condition in value.items():
        if name == "$expr":
            parts.append({name: _renamed_expression(condition, names)})
        elif name[:1] == "$":
            parts.append({name: [_renamed(part, names) for part in condition]})
        else:
            root, dot, rest = name.partition(".")
            parts.append({f"{names.get(root, root)}{dot}{rest}": condition})
    return parts[0] if len(parts) == 1 else {"$and": parts}


def _renamed_expression(expression: Any, names: Mapping[str, str]) -> Any:
    if isinstance(expression, dict):
        return {name: [_renamed_expression(item, names) for item in items] for name, items in expression.items()}
    if is_string(expression) and expression[:1] == "$" and expression[:2] != "$$":
        root, dot, rest = expression[1:].partition(".")
        return f"${names.get(root, root)}{dot}{rest}"
    return expression
