"""Filters parsed into the tree of ``nodes``, with MongoDB's validation, codes and texts."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from doorleaf.errors import DataError, Unsupported
from doorleaf.mql.context import Context
from doorleaf.mql.display import display_field
from doorleaf.mql.filters import operators as operators
from doorleaf.mql.filters.bind import bind
from doorleaf.mql.filters.nodes import All, Condition, Field, Leaf, Logical, Node, Not, Whole, value_test
from doorleaf.mql.values import MISSING, as_document, is_nan, is_number, truthy, type_name

_COMPARISONS = frozenset(("$gt", "$gte", "$lt", "$lte"))
_BITS = frozenset(("$bitsAllSet", "$bitsAllClear", "$bitsAnySet", "$bitsAnyClear"))
_LOGICAL = frozenset(("$and", "$or", "$nor"))
_DBREF_FIELDS = frozenset(("$ref", "$id", "$db"))
_GEO = frozenset(
    ("$geoWithin", "$geoIntersects", "$near", "$nearSphere", "$within", "$geoNear", "$maxDistance", "$minDistance")
)
_FIELD_OPERATORS = frozenset(
    [
        "$eq",
        "$ne",
        "$not",
        "$in",
        "$nin",
        "$exists",
        "$type",
        "$size",
        "$mod",
        "$regex",
        "$options",
        "$all",
        "$elemMatch",
        "$gt",
        "$gte",
        "$lt",
        "$lte",
    ]
)
"""Operators on a field that are implemented, apart from bits."""
_TOP_LEVEL = frozenset(
    ["$expr", "$jsonSchema", "$comment", "$sampleRate", "$alwaysTrue", "$alwaysFalse", "$text", "$where"]
)
_DEPTH_LIMIT = 100

OPERATORS = sorted(_FIELD_OPERATORS | _BITS | _LOGICAL | _TOP_LEVEL - {"$text", "$where"})
"""Every filter operator that is implemented."""

REFUSED = sorted(_GEO | {"$text", "$where"})
"""Filter operators that MongoDB has and that are refused by name."""


def unsupported(name: str) -> NoReturn:
    """Refuse an operator by its name."""
    raise Unsupported(f"{name} is not supported by this data source")


class FilterParser:
    """Parses one filter. ``variables`` are the values of ``let``, read when a document is matched."""

    def __init__(self, context: Context, variables: Mapping[str, Any] | None) -> None:
        self.context = context
        self.variables: dict[str, Any] = variables if isinstance(variables, dict) else dict(variables or {})
        self.depth = 0

    def parse(self, document: Any, *, nested: bool = False) -> Logical:
        """A whole filter; ``nested`` inside ``$elemMatch``, where some operators are refused."""
        if not isinstance(document, dict):
            raise DataError(f"the match filter must be an expression in an object, not {type_name(document)}", number=9)
        self.depth += 1
        if self.depth > _DEPTH_LIMIT:
            raise DataError(f"filter exceeds maximum nesting depth of {_DEPTH_LIMIT}", number=15)
        nodes = []
        for name, value in document.items():
            self.context.check()
            node = self._top_level(name, value, nested) if name.startswith("$") else self._field(name, value)
            if node is not None:
                nodes.append(node)
        self.depth -= 1
        return Logical("and", nodes)

    def _field(self, path: str, value: Any) -> Node:
        if is_operator_document(value):
            conditions = self.conditions(path, value)
            return Field(path, conditions[0] if len(conditions) == 1 else All(conditions))
        if value is not None and type_name(value) == "regex":
            return Field(path, operators.regular_value(value, self.context))
        return Field(path, operators.equality(value))

    # --- operators that name no field ----------------------------------------------------------------------------

    def _top_level(self, name: str, value: Any, nested: bool) -> Node | None:
        if name in _LOGICAL:
            return self._logical(name, value, nested)
        if name == "$expr":
            return self._expression(value, nested)
        if name in _DBREF_FIELDS:
            return Field(name, operators.equality(value))
        if name == "$comment":
            return None
        if name == "$jsonSchema":
            return self._schema(value)
        if name == "$sampleRate":
            return _sample_rate(value)
        if name in ("$alwaysTrue", "$alwaysFalse"):
            if operators.integer_argument(name, value) != 1:
                raise DataError(f"{name} must be an integer value of 1", number=9)
            return Whole(lambda _document: name == "$alwaysTrue")
        if name in ("$text", "$where"):
            unsupported(name)
        raise DataError(
            f"unknown top level operator: {name}. If you have a field name that starts with a '$' symbol,"
            " consider using $getField or $setField."
        )

    def _logical(self, name: str, value: Any, nested: bool) -> Logical:
        if not isinstance(value, list):
            raise DataError(f"{name} must be an array")
        if not value:
            raise DataError("$and/$or/$nor must be a nonempty array")
        children = []
        for child in value:
            if not isinstance(child, dict):
                raise DataError("$or/$and/$nor entries need to be full objects")
            children.append(self.parse(child, nested=nested))
        return Logical(name[1:], children)

    def _expression(self, value: Any, nested: bool) -> Whole:
        from doorleaf.mql.expressions import compile_expression

        if nested:
            raise DataError("$expr can only be applied to the top-level document")
        variables = self.variables
        evaluate = compile_expression(value, self.context, tuple(variables))
        return Whole(lambda document: truthy(evaluate(document, variables)))

    def _schema(self, value: Any) -> Whole:
        from doorleaf.mql.filters.schema import compile_schema

        if not isinstance(value, dict):
            raise DataError("$jsonSchema must be an object", number=14)
        return Whole(compile_schema(value, self.context))

    # --- operators on a field ------------------------------------------------------------------------------------

    def conditions(self, path: str, document: dict[str, Any]) -> list[Condition]:
        """The operators of ``{path: {$gt: 1, $lt: 5}}``."""
        found = []
        for name, argument in document.items():
            self.context.check()
            condition = self._operator(path, name, argument, document)
            if condition is not None:
                found.append(condition)
        return found

    def _operator(self, path: str, name: str, argument: Any, siblings: dict[str, Any]) -> Condition | None:
        compiler = _SIMPLE.get(name)
        if compiler is not None:
            return compiler(path, argument)
        if name in _COMPARISONS:
            if _is_regex(argument):
                raise DataError(f"Can't have RegEx as arg to predicate over field '{path}'.")
            return operators.ordering(name, argument)
        if name in _BITS:
            return operators.bits(path, name, argument)
        if name in ("$in", "$nin"):
            leaf = self._membership(name, argument)
            return leaf if name == "$in" else Not([leaf])
        if name == "$regex":
            return operators.regular_document(siblings, self.context)
        if name == "$options":
            if "$regex" not in siblings:
                raise DataError("$options needs a $regex")
            return None
        if name == "$not":
            return self._not(path, argument)
        if name == "$all":
            return self._all(path, argument)
        if name == "$elemMatch":
            return self._element_match(argument)
        return _unknown(name)

    def _membership(self, name: str, argument: Any) -> Leaf:
        if not isinstance(argument, list):
            raise DataError(f"{name} needs an array")
        if any(is_operator_document(item) for item in self.context.each(argument)):
            raise DataError("cannot nest $ under $in")
        return operators.membership(argument, self.context)

    def _not(self, path: str, argument: Any) -> Not:
        if _is_regex(argument):
            return Not([operators.regular_value(argument, self.context)])
        if not isinstance(argument, dict):
            raise DataError("$not needs a regex or a document")
        if not argument:
            raise DataError("$not cannot be empty")
        return Not(self.conditions(path, argument))

    def _all(self, path: str, argument: Any) -> Condition:
        if not isinstance(argument, list):
            raise DataError("$all needs an array")
        if not argument:
            return Leaf(lambda _value: False)
        if _first_name(argument[0]) == "$elemMatch":
            conditions = []
            for item in argument:
                if _first_name(item) != "$elemMatch":
                    raise DataError("$all/$elemMatch has to be consistent")
                conditions.append(self._element_match(item["$elemMatch"]))
            return All(conditions)
        return All([self._all_member(item) for item in self.context.each(argument)])

    def _all_member(self, item: Any) -> Leaf:
        if _is_regex(item):
            return operators.regular_value(item, self.context)
        if _first_name(item) in _FIELD_OPERATORS | _BITS | _GEO:
            raise DataError("no $ expressions in $all")
        return operators.equality(item)

    def _element_match(self, argument: Any) -> Leaf:
        if not isinstance(argument, dict):
            raise DataError("$elemMatch needs an Object")
        first = _first_name(argument)
        if first.startswith("$") and first not in _LOGICAL | _TOP_LEVEL | _DBREF_FIELDS:
            tests = [value_test(condition) for condition in self.conditions("", argument)]
            return self._element_leaf(lambda value: all(test(value) for test in tests))
        matches = bind(self.parse(argument, nested=True), self.context)

        def test(value: Any) -> bool:
            document = as_document(value)
            if document is None and value.__class__ is list:
                # An array in an array is matched as the document of its indexes.
                document = {str(index): item for index, item in enumerate(value)}
            return document is not None and matches(document)

        return self._element_leaf(test)

    def _element_leaf(self, test: Callable[[Any], bool]) -> Leaf:
        context = self.context

        def element(array: list[Any]) -> int | None:
            for index, item in enumerate(context.each(array)):
                if test(item):
                    return index
            return None

        return Leaf(
            lambda value: value.__class__ is list and element(value) is not None, leaf_arrays=False, element=element
        )


def is_operator_document(value: Any) -> bool:
    """Whether ``value`` is ``{$operator: ...}`` rather than a document to compare with (a DBRef is the latter)."""
    if not isinstance(value, dict) or not _first_name(value).startswith("$"):
        return False
    return not ("$ref" in value and "$id" in value)


def _first_name(value: Any) -> str:
    return next(iter(value), "") if isinstance(value, dict) else ""


def _is_regex(value: Any) -> bool:
    return value is not None and type_name(value) == "regex"


def _not_equal(_path: str, argument: Any) -> Condition:
    if _is_regex(argument):
        raise DataError("Can't have regex as arg to $ne.")
    return Not([operators.equality(argument)])


def _exists(_path: str, argument: Any) -> Condition:
    leaf = Leaf(lambda value: value is not MISSING)
    return leaf if truthy(argument) else Not([leaf])


_SIMPLE: dict[str, Callable[[str, Any], Condition]] = {
    "$eq": lambda _path, argument: operators.equality(argument),
    "$ne": _not_equal,
    "$exists": _exists,
    "$type": operators.types,
    "$size": lambda _path, argument: operators.size(argument),
    "$mod": lambda _path, argument: operators.modulo(argument),
}


def _unknown(name: str) -> NoReturn:
    if name in _GEO:
        unsupported(name)
    if name == "$where":
        raise DataError("$where cannot be applied to a field")
    raise DataError(f"unknown operator: {name}")


def _sample_rate(value: Any) -> Whole:
    if not is_number(value):
        raise DataError("argument to $sampleRate must be a numeric type")
    rate = float(str(value))
    if is_nan(value) or not 0 <= rate <= 1:
        raise DataError(f"numeric argument to $sampleRate must be in [0, 1]: {display_field('$sampleRate', value)}")
    return Whole(lambda _document: random.random() < rate)  # noqa: S311  # a sample, not a secret
