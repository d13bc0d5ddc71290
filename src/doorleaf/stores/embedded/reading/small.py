"""Which reads are small whatever the documents: those may run on the event loop, within a budget.

Small is judged by what a request holds, and by a list of operators: what is not on it goes to a worker.
"""

from __future__ import annotations

from typing import Any

from doorleaf.documents import Document, Encoded
from doorleaf.operations import (
    Aggregate,
    BulkWrite,
    CountDocuments,
    Find,
    FindOne,
    InsertMany,
    InsertOne,
    Operation,
)
from doorleaf.operations.capabilities import Changing, Projected, Replacing, Sorted, Updating
from doorleaf.stores.embedded.reading.cheap import Cost, Costly
from doorleaf.stores.embedded.reading.conditions import PLAIN

MOST_VALUES = 128
MOST_TEXT = 16 * 1024
MOST_FIELDS = 32
MOST_STAGES = 8

MOST_WRITTEN = 20_000
MOST_WRITTEN_TEXT = 4 * 1024 * 1024
"""Values and bytes of text that a write may bring and be carried out where others wait for it."""

_COMPARED = frozenset(("$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$exists", "$size", "$type"))
_JOINED = frozenset(("$and", "$or", "$nor"))
_SIZED = frozenset((str, bytes))
_NUMBERS = frozenset((int, bool, float))
_LISTED = 10
"""Values of a list that take about as long to test as one condition."""


class _TooMuch(Exception):
    """There is more in the request than may be small."""


class _Weigher:
    """What a filter holds: how many ``values``, how much ``text``, and how many ``tests`` it makes of a document."""

    __slots__ = ("most", "most_text", "tests", "text", "values")

    def __init__(self, most: int = MOST_VALUES, most_text: int = MOST_TEXT) -> None:
        self.most, self.most_text = most, most_text
        self.values = self.text = self.tests = 0

    def filter(self, filter: Any) -> None:
        if filter.__class__ is not dict:
            raise _TooMuch
        for path, condition in filter.items():
            self.add(len(path))
            if path[:1] == "$":
                if path not in _JOINED or condition.__class__ is not list:
                    raise _TooMuch
                for part in condition:
                    self.count()
                    self.filter(part)
            elif condition.__class__ is dict:
                self.conditions(condition)
            else:
                self.value(condition)
                self.tests += 1

    def conditions(self, condition: Document) -> None:
        for operator, value in condition.items():
            if operator[:1] == "$" and operator not in _COMPARED:
                raise _TooMuch
            self.add(len(operator))
            self.value(value)
            self.tests += 1 + (len(value) // _LISTED if value.__class__ is list else 0)

    def value(self, value: Any) -> None:
        self.values += 1
        if self.values > self.most:
            raise _TooMuch
        kind = value.__class__
        if kind is list:
            for item in value:
                self.value(item)
        elif kind is dict:
            for name, item in value.items():
                self.add(len(name))
                self.value(item)
        elif value is not None:
            if kind not in PLAIN:
                raise _TooMuch
            if kind in _SIZED:
                self.add(len(value))

    def count(self) -> None:
        self.values += 1
        if self.values > self.most:
            raise _TooMuch

    def add(self, size: int) -> None:
        self.text += size
        if self.text > self.most_text:
            raise _TooMuch


def filter_tests(filter: Document) -> int | None:
    """How many conditions a filter tests on a document, at least 1; None where that may take long."""
    weigher = _Weigher()
    try:
        weigher.filter(filter)
    except (_TooMuch, RecursionError):
        return None
    return weigher.tests or 1


def tests(operation: Find | FindOne | CountDocuments) -> tuple[int, int] | None:
    """How many conditions a read tests on a document, at least 1, and how often it looks at all that it reads; None
    when it may not run on the event loop."""
    weigher, cost = _Weigher(), Cost()
    try:
        if operation.__class__ is not CountDocuments:
            sort, projection = operation.sort, operation.projection  # type: ignore[union-attr]  # a find
            if operation.let or (sort and not _is_plain(sort)):  # type: ignore[union-attr]
                return None
            if projection and not _is_plain(projection):
                cost.fields(projection)
        weigher.filter(operation.filter)
        for given in (operation.hint, operation.collation):
            if given:
                weigher.value(given)
    except (_TooMuch, Costly, RecursionError):
        return None
    return weigher.tests or 1, cost.looks


def pipeline(operation: Aggregate) -> tuple[int, int] | None:
    """The same for an aggregation: one that finds by a filter, and then cuts, sorts, picks or computes fields, and
    groups once."""
    stages = operation.pipeline
    if operation.let or not 0 < len(stages) <= MOST_STAGES:
        return None
    weigher, cost = _Weigher(), Cost()
    grouped = made = False
    try:
        for stage in stages:
            ((name, argument),) = stage.items()
            if name == "$sort" and made:  # else it is the query's, which accounts for it
                cost.sort(len(argument))
            made = made or name != "$match"
            if name in ("$group", "$sortByCount"):
                # A second one could multiply what the first has put together.
                if grouped:
                    return None
                grouped = True
            _stage(name, argument, weigher, cost)
        for given in (operation.hint, operation.collation):
            if given:
                weigher.value(given)
    except (_TooMuch, Costly, RecursionError, ValueError, AttributeError, TypeError):
        return None
    return weigher.tests or 1, cost.looks


def _stage(name: str, argument: Any, weigher: _Weigher, cost: Cost) -> None:
    """Weigh one stage; raises when it may take long."""
    if name == "$match":
        before = weigher.tests
        weigher.filter(argument)
        cost.tests(weigher.tests - before)
    elif name in ("$sort", "$project") and argument.__class__ is dict and argument and _is_plain(argument):
        return
    elif name in ("$project", "$addFields", "$set"):
        cost.fields(argument)
    elif name == "$replaceWith":
        cost.one(argument)
    elif name == "$replaceRoot":
        if argument.__class__ is not dict or argument.keys() != {"newRoot"}:
            raise _TooMuch
        cost.one(argument["newRoot"])
    elif name == "$unset":
        for field in argument if argument.__class__ is list else [argument]:
            weigher.value(field)
    elif name == "$group":
        cost.group(_gathered(argument))
    elif name == "$sortByCount":
        if not _is_path(argument):
            raise _TooMuch
        cost.group([argument])
    elif name not in ("$limit", "$skip", "$count") or argument.__class__ not in (int, str):
        raise _TooMuch


_GATHERED = frozenset(("$sum", "$avg", "$min", "$max", "$first", "$last"))
_MOST_GATHERED = 8


def _gathered(argument: Any) -> list[Any]:
    """The expressions of a ``$group`` that only counts, adds up or picks values, by one field or by none."""
    if argument.__class__ is not dict or len(argument) > 1 + _MOST_GATHERED or "_id" not in argument:
        raise _TooMuch
    operands = []
    for name, value in argument.items():
        if len(name) > 512:
            raise _TooMuch
        if name == "_id":
            if value is not None and not _is_path(value):
                raise _TooMuch
            operands.append(value)
            continue
        if value.__class__ is not dict or len(value) != 1:
            raise _TooMuch
        ((operator, operand),) = value.items()
        if operator == "$count" and operand == {}:
            continue
        if operator not in _GATHERED or (operand.__class__ is str and not _is_path(operand)):
            raise _TooMuch
        operands.append(operand)
    return operands


def _is_path(value: Any) -> bool:
    """Whether an expression is the path of a field."""
    return value.__class__ is str and 1 < len(value) <= 512 and value[0] == "$" and value[1] != "$"


def _is_plain(fields: Document) -> bool:
    """Whether a sort or a projection only names fields, and few of them."""
    if len(fields) > MOST_FIELDS:
        return False
    for name, value in fields.items():
        if value.__class__ not in _NUMBERS or len(name) > 512 or name.endswith(".$"):
            return False
    return True


# --- writes ----------------------------------------------------------------------------------------------------------

_CHANGES = frozenset(
    (
        "$set",
        "$unset",
        "$inc",
        "$mul",
        "$min",
        "$max",
        "$rename",
        "$setOnInsert",
        "$currentDate",
        "$pop",
        "$push",
        "$bit",
    )
)
_COMPARING = frozenset(("$addToSet", "$pull", "$pullAll"))
"""Operators that compare what is in the document with each of their values, which have to be few."""


def write(operation: Operation[Any]) -> int | None:
    """How many conditions a write tests on a document, at least 1; None when it may not run in the writer's thread."""
    conditions, content = _Weigher(), _Weigher(MOST_WRITTEN, MOST_WRITTEN_TEXT)
    try:
        _written(operation, conditions, content)
    except (_TooMuch, RecursionError):
        return None
    return conditions.tests or 1


def is_portable(operation: Operation[Any]) -> bool:
    """Whether a write can be carried out in another process: its guards can be called there."""
    return all(guard.portable for guard in operation.guards)


def _written(operation: Operation[Any], conditions: _Weigher, content: _Weigher) -> None:
    if isinstance(operation, BulkWrite):
        for part in operation.operations:
            content.count()
            _written(part, conditions, content)
        return
    if not all(guard.small for guard in operation.guards):
        raise _TooMuch
    if isinstance(operation, InsertMany):
        if isinstance(operation.documents, Encoded):
            raise _TooMuch  # only many come so
        content.value(operation.documents)
    elif isinstance(operation, InsertOne):
        content.value(operation.document)
    elif isinstance(operation, Changing):
        _changing(operation, conditions, content)
    else:
        raise _TooMuch


def _changing(operation: Changing, conditions: _Weigher, content: _Weigher) -> None:
    conditions.filter(operation.filter)
    for given in (operation.hint, operation.collation):
        if given:
            conditions.value(given)
    if isinstance(operation, Sorted) and operation.sort and not _is_plain(operation.sort):
        raise _TooMuch
    if isinstance(operation, Projected) and operation.projection and not _is_plain(operation.projection):
        raise _TooMuch
    if operation.let:
        raise _TooMuch
    if isinstance(operation, Replacing):
        content.value(operation.replacement)
    elif isinstance(operation, Updating):
        if operation.array_filters:
            raise _TooMuch
        _changes(operation.update, conditions, content)


def _changes(update: Any, conditions: _Weigher, content: _Weigher) -> None:
    if update.__class__ is not dict:
        raise _TooMuch
    for operator, fields in update.items():
        if operator not in _CHANGES | _COMPARING or fields.__class__ is not dict:
            raise _TooMuch
        (content if operator in _CHANGES else conditions).value(fields)
        for value in fields.values():
            if value.__class__ is not dict:
                continue
            # What `$push` sorts and `$pull` tests is in the document, which may hold much.
            known = {"$each", "$slice", "$position"} if operator == "$push" else {"$each"}
            if operator == "$pull" or (operator != "$set" and "$each" in value and not value.keys() <= known):
                raise _TooMuch
