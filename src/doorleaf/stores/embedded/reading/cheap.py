"""Which expressions take no longer than the documents that they read, whatever those hold.

An operator is cheap when it looks at each of its arguments once, makes nothing larger than they are together, and
goes through no list for each element of another. What several of them in a row could make is bounded by how often they
name what the document holds.
"""

from __future__ import annotations

from typing import Any

from doorleaf.documents import Document
from doorleaf.stores.embedded.reading.budget import sorting

MOST_NODES = 64
"""Operators and paths of all stages together."""

MOST_GROWTH = 64
"""How many times as large as the documents what stages make of them may be, and how often they are looked at."""

MOST_LITERALS = 64 * 1024
"""Characters that may come from the request into each document."""

_OPERATORS = frozenset(
    (
        *("$add", "$subtract", "$multiply", "$divide", "$abs", "$ceil", "$floor", "$round", "$trunc", "$sqrt"),
        *("$cmp", "$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$and", "$or", "$not", "$ifNull"),
        *("$size", "$isArray", "$isNumber", "$type", "$arrayElemAt", "$first", "$last", "$slice", "$in"),
        *("$sum", "$avg", "$min", "$max", "$concatArrays", "$mergeObjects"),
        *("$concat", "$toLower", "$toUpper", "$strcasecmp", "$strLenCP", "$strLenBytes", "$substrCP", "$substrBytes"),
        *("$toString", "$toBool"),
        *("$year", "$month", "$dayOfMonth", "$hour", "$minute", "$second", "$millisecond", "$dayOfWeek", "$dayOfYear"),
    )
)
"""Those whose argument is an expression or a list of them."""

_NAMED = {
    "$cond": frozenset(("if", "then", "else")),
    "$switch": frozenset(("branches", "default")),
    "$dateToString": frozenset(("date", "format", "onNull")),
}
"""Those whose argument has names, with the names."""

_VARIABLES = frozenset(("$$ROOT", "$$CURRENT", "$$NOW", "$$REMOVE"))
_FLAGS = frozenset((int, bool, float))
"""What says in a ``$project`` that a field is shown or not."""

_MOST_PATH = 512
_MOST_FORMAT = 128


class Costly(Exception):
    """This may take longer than what it reads."""


class Cost:
    """The cost of a pipeline's stages, seen one after another. ``weight`` is how many times all that is read is looked
    at, ``growth`` how many times as large as that their documents may be."""

    __slots__ = ("_literals", "_paths", "growth", "nodes", "weight")

    def __init__(self) -> None:
        self.nodes = 0
        self.growth = 1
        self.weight = 0
        self._paths = 0
        self._literals = 0

    @property
    def looks(self) -> int:
        """How often all that is read is looked at, at least 1; what is answered is encoded, too."""
        return self.weight + self.growth if self.weight else 1

    def fields(self, specification: Any) -> None:
        """The specification of an ``$addFields`` or a ``$project``: expressions by the names of fields.

        What is put at a path goes into every element of an array there, and could be as often as large.
        """
        if specification.__class__ is not dict or not specification:
            raise Costly
        nodes = self.nodes
        for name, value in specification.items():
            self._name(name)
            if value.__class__ in _FLAGS:
                self._node()
                if name.endswith(".$"):
                    raise Costly
                continue
            nested = value.__class__ is dict and next(iter(value), "$")[:1] != "$"
            if nested or "." in name or name[:1] == "$":
                raise Costly
            self._expression(value)
        self._stage(nodes)

    def one(self, expression: Any) -> None:
        """A stage with one expression, such as ``$replaceWith``."""
        nodes = self.nodes
        self._expression(expression)
        self._stage(nodes)

    def group(self, operands: list[Any]) -> None:
        """The expressions of a ``$group``; to pick the values of fields costs no more than to read them."""
        nodes = self.nodes
        for operand in operands:
            self._expression(operand)
            nodes += operand.__class__ is not dict
        self._stage(nodes)

    def tests(self, count: int) -> None:
        """So many conditions of a ``$match``, of which those behind other stages see what these have made."""
        if self.growth > 1:
            self.weight += self.growth * count
            self._check()

    def sort(self, fields: int) -> None:
        """A ``$sort`` by so many fields of what the stages before it have made."""
        self.weight += self.growth * (sorting(fields) - 1)
        self._check()

    def _stage(self, nodes: int) -> None:
        self.weight += self.growth * (self.nodes - nodes)
        self.growth *= 1 + self._paths
        self._paths = 0
        self._check()

    def _check(self) -> None:
        if self.growth > MOST_GROWTH or self.weight > MOST_GROWTH or self.growth * self._literals > MOST_LITERALS:
            raise Costly

    def _expression(self, value: Any) -> None:
        self._node()
        kind = value.__class__
        if kind is str:
            self._text(value)
        elif kind is list:
            for item in value:
                self._expression(item)
        elif kind is dict:
            self._document(value)

    def _text(self, value: str) -> None:
        if value[:1] != "$":
            self._literals += len(value)
            return
        if len(value) > _MOST_PATH or (value[:2] == "$$" and value not in _VARIABLES):
            raise Costly
        self._paths += 1

    def _document(self, value: Document) -> None:
        for name, argument in value.items():
            if name[:1] != "$":
                self._name(name)
                self._expression(argument)
            elif name == "$literal":
                self._literal(argument)
            elif name in _NAMED and argument.__class__ is dict:
                self._named(name, argument)
            elif name in _OPERATORS or name == "$cond":
                self._expression(argument)
            else:
                raise Costly

    def _named(self, operator: str, arguments: Document) -> None:
        if not arguments.keys() <= _NAMED[operator]:
            raise Costly
        for name, argument in arguments.items():
            if name == "branches":
                self._branches(argument)
            elif name == "format":
                if argument.__class__ is not str or len(argument) > _MOST_FORMAT:
                    raise Costly
                self._literals += len(argument) * 4
            else:
                self._expression(argument)

    def _branches(self, branches: Any) -> None:
        if branches.__class__ is not list:
            raise Costly
        for branch in branches:
            if branch.__class__ is not dict or not branch.keys() <= {"case", "then"}:
                raise Costly
            for argument in branch.values():
                self._expression(argument)

    def _literal(self, value: Any) -> None:
        self._node()
        if value.__class__ is str:
            self._literals += len(value)
        elif value.__class__ in (list, dict, bytes):
            raise Costly

    def _name(self, name: str) -> None:
        if len(name) > _MOST_PATH:
            raise Costly
        self._literals += len(name)

    def _node(self) -> None:
        self.nodes += 1
        if self.nodes > MOST_NODES:
            raise Costly
