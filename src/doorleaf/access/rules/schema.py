"""Collection schemas: JSON Schema (draft 4) with ``bsonType`` and rule expressions, checked on every write.

A document is checked as it becomes; the error lists every path that fails, not only the first.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from decimal import Context as DecimalContext
from decimal import Decimal
from typing import Any

from bson import Decimal128

from doorleaf.access.rules.conditions import bind, matcher
from doorleaf.access.rules.expressions import FIELD, RuleError, calls_of, parse
from doorleaf.documents import ABSENT, Document, is_string
from doorleaf.errors import DataError, ValidationFailed
from doorleaf.mql.context import Context
from doorleaf.mql.filters.schema import unordered
from doorleaf.mql.regular.compile import Regular, compile_regex
from doorleaf.mql.values import as_document, type_name

Check = Callable[[Any, Any, "Scope"], Iterator[str]]
"""(value, value before or ABSENT, scope) → what is wrong, as sentences without the path."""
Make = Callable[[Any, Mapping[str, Any], str], Check]
"""(a keyword's value, the schema it stands in, the place) → its check."""

TYPES = {
    "object": {"object"}, "array": {"array"}, "string": {"string"}, "bool": {"bool"}, "boolean": {"bool"},
    "int": {"int"}, "integer": {"int", "long"}, "long": {"long"}, "double": {"double"}, "decimal": {"decimal"},
    "number": {"int", "long", "double", "decimal"}, "float": {"double"}, "date": {"date"}, "objectId": {"objectId"},
    "binData": {"binData"}, "uuid": {"uuid"}, "timestamp": {"timestamp"}, "regex": {"regex"}, "null": {"null"},
    "javascript": {"javascript"}, "minKey": {"minKey"}, "maxKey": {"maxKey"},
}  # fmt: skip
ANNOTATIONS = frozenset({"title", "description", "name", "id", "$schema", "default"})
NUMBERS = TYPES["number"]
EXACT = DecimalContext(prec=7000)
"""Digits enough for the remainder of any two numbers of BSON."""


class Scope:
    """The documents and the caller that ``validate`` expressions look at."""

    __slots__ = ("caller", "prev", "root")

    def __init__(self, root: Document, prev: Document | None, caller: Mapping[str, Any]) -> None:
        self.root, self.prev, self.caller = root, prev, caller


class Schema:
    """A collection's schema, parsed; the same for all callers. ``looks_at_request`` is for its expressions."""

    def __init__(self, source: Mapping[str, Any], where: str) -> None:
        self._made = (source, where)
        self._level = _Level(source, where)
        self.looks_at_request = _mentions_request(source)

    def __reduce__(self) -> tuple[Any, ...]:
        return Schema, self._made

    def failures(self, before: Document | None, after: Document, caller: Mapping[str, Any]) -> list[tuple[str, str]]:
        """The failures of ``after``, as (path, reason); ``before`` is None for an insert."""
        scope = Scope(after, before, caller)
        return list(self._level.failures(after, ABSENT if before is None else before, "", scope))


def parse_schema(source: Any, where: str) -> Schema:
    """The schema of a ``schema.json``. Raises :class:`RuleError` for what is not understood, with its place."""
    return Schema(source, where)


def refused(failures: list[tuple[str, str]]) -> ValidationFailed:
    """The error that lists ``failures``."""
    listed = [{"path": path, "reason": reason} for path, reason in failures]
    text = "; ".join(f"{path or 'document'}: {reason}" for path, reason in failures)
    error = ValidationFailed(f"the document does not match the schema: {text}", fields={"failures": listed})
    error.code = "SchemaValidationFailedWrite"
    return error


def _mentions_request(source: Any) -> bool:
    if isinstance(source, Mapping):
        return any(_mentions_request(item) for item in (*source, *source.values()))
    if isinstance(source, list):
        return any(map(_mentions_request, source))
    return is_string(source) and source.startswith("%%request")


class _Level:
    """One level of a schema, its keywords compiled."""

    def __init__(self, source: Any, where: str) -> None:
        if not isinstance(source, Mapping):
            raise RuleError(f"{where}: expected an object, got {type_name(source)}")
        self.checks: list[Check] = []
        self.properties = _levels(source, "properties", where)
        self.patterns = [
            (_regular(pattern, f"{where}.patternProperties"), level)
            for pattern, level in _levels(source, "patternProperties", where).items()
        ]
        self.additional = _part(source.get("additionalProperties", True), f"{where}.additionalProperties")
        items = source.get("items")
        self.items = [_Level(part, f"{where}.items") for part in items] if isinstance(items, list) else None
        self.item = None if items is None or self.items is not None else _Level(items, f"{where}.items")
        self.additional_items = _part(source.get("additionalItems", True), f"{where}.additionalItems")
        for keyword, value in source.items():
            make = KEYWORDS.get(keyword)
            if make is not None:
                self.checks.append(make(value, source, f"{where}.{keyword}"))
            elif keyword not in STRUCTURE and keyword not in ANNOTATIONS:
                raise RuleError(f"{where}: unknown keyword {keyword!r}")

    def failures(self, value: Any, before: Any, path: str, scope: Scope) -> Iterator[tuple[str, str]]:
        for check in self.checks:
            yield from ((path, reason) for reason in check(value, before, scope))
        document = as_document(value)
        if document is not None:
            yield from self._fields(document, as_document(before) or {}, path, scope)
        elif isinstance(value, list):
            yield from self._elements(value, before if isinstance(before, list) else [], path, scope)

    def _fields(self, value: Document, before: Document, path: str, scope: Scope) -> Iterator[tuple[str, str]]:
        for name, item in value.items():
            place = f"{path}.{name}" if path else name
            parts = [self.properties[name]] if name in self.properties else []
            parts += [part for pattern, part in self.patterns if pattern.matches(name, _moment())]
            if not parts:
                if self.additional is False and not (name == "_id" and not path):
                    yield place, "is not a field of the schema"
                elif isinstance(self.additional, _Level):
                    parts = [self.additional]
            for part in parts:
                yield from part.failures(item, before.get(name, ABSENT), place, scope)

    def _elements(self, value: list[Any], before: list[Any], path: str, scope: Scope) -> Iterator[tuple[str, str]]:
        for index, item in enumerate(value):
            old = before[index] if index < len(before) else ABSENT
            part: _Level | bool | None = self.item
            if self.items is not None:
                part = self.items[index] if index < len(self.items) else self.additional_items
            if part is False:
                yield f"{path}.{index}", "is more than the schema's items"
            elif isinstance(part, _Level):
                yield from part.failures(item, old, f"{path}.{index}", scope)


def _levels(source: Mapping[str, Any], key: str, where: str) -> dict[str, _Level]:
    listed = source.get(key) or {}
    if not isinstance(listed, Mapping):
        raise RuleError(f"{where}.{key}: expected an object, got {type_name(listed)}")
    return {name: _Level(part, f"{where}.{key}.{name}") for name, part in listed.items()}


def _part(value: Any, where: str) -> _Level | bool:
    return value if isinstance(value, bool) else _Level(value, where)


def _regular(pattern: Any, where: str) -> Regular:
    if not isinstance(pattern, str):
        raise RuleError(f"{where}: expected a regular expression as a string, got {type_name(pattern)}")
    try:
        return compile_regex(pattern)
    except DataError as error:
        raise RuleError(f"{where}: {error.message}") from None


def _moment() -> Context:
    """A second for one regular expression, so that no document can hold a worker up."""
    return Context(time.monotonic() + 1)


# --- keywords ------------------------------------------------------------------------------------------------------


def _bson_type(wanted: Any, _: Mapping[str, Any], where: str) -> Check:
    names = wanted if isinstance(wanted, list) else [wanted]
    allowed: set[str] = set()
    for name in names:
        if name == "mixed":
            return lambda *_: iter(())
        if not is_string(name) or name not in TYPES:
            raise RuleError(f"{where}: unknown type {name!r}")
        allowed |= TYPES[name]

    def check(value: Any, *_: Any) -> Iterator[str]:
        kind = type_name(value)
        if kind == "binData" and getattr(value, "subtype", 0) == 4 and "uuid" in allowed:
            return
        if kind not in allowed:
            yield f"expected {' or '.join(names)}, got {kind}"

    return check


def _enum(wanted: Any, _: Mapping[str, Any], where: str) -> Check:
    if not isinstance(wanted, list) or not wanted:
        raise RuleError(f"{where}: expected a non-empty array")
    allowed = {unordered(item) for item in wanted}

    def check(value: Any, *_: Any) -> Iterator[str]:
        if unordered(value) not in allowed:
            yield "is not one of the enumerated values"

    return check


def _names(value: Any, where: str) -> list[str]:
    if not isinstance(value, list) or not all(is_string(name) for name in value):
        raise RuleError(f"{where}: expected an array of strings")
    return value


def _required(wanted: Any, _: Mapping[str, Any], where: str) -> Check:
    names = _names(wanted, where)

    def check(value: Any, *_: Any) -> Iterator[str]:
        document = as_document(value)
        for name in names if document is not None else ():
            if (document or {}).get(name) is None:
                yield f"the required field '{name}' is missing"

    return check


def _dependencies(wanted: Any, _: Mapping[str, Any], where: str) -> Check:
    if not isinstance(wanted, Mapping):
        raise RuleError(f"{where}: expected an object, got {type_name(wanted)}")
    levels = {name: _Level(part, f"{where}.{name}") for name, part in wanted.items() if isinstance(part, Mapping)}
    others = {name: _names(part, f"{where}.{name}") for name, part in wanted.items() if name not in levels}

    def check(value: Any, before: Any, scope: Scope) -> Iterator[str]:
        document = as_document(value) or {}
        for name, needed in others.items():
            if name in document:
                yield from (f"'{name}' needs the field '{other}'" for other in needed if other not in document)
        for name, level in levels.items():
            if name in document:
                for path, reason in level.failures(value, before, "", scope):
                    yield f"with '{name}', {path or 'the document'} {reason}"

    return check


def _count(value: Any, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise RuleError(f"{where}: expected a non-negative integer")
    return value


def _size(kinds: tuple[type[Any], ...], bound: str, word: str, least: bool) -> Make:
    def make(wanted: Any, _: Mapping[str, Any], where: str) -> Check:
        limit = _count(wanted, where)

        def check(value: Any, *_: Any) -> Iterator[str]:
            size = len(value) if isinstance(value, kinds) else limit
            if size < limit if least else size > limit:
                yield f"has {size} {word}, {bound} {limit}"

        return check

    return make


def _unique(wanted: Any, _: Mapping[str, Any], where: str) -> Check:
    if not isinstance(wanted, bool):
        raise RuleError(f"{where}: expected true or false")

    def check(value: Any, *_: Any) -> Iterator[str]:
        if wanted and isinstance(value, list) and len({unordered(item) for item in value}) < len(value):
            yield "has equal items"

    return check


def _pattern(pattern: Any, _: Mapping[str, Any], where: str) -> Check:
    compiled = _regular(pattern, where)

    def check(value: Any, *_: Any) -> Iterator[str]:
        if is_string(value) and not compiled.matches(value, _moment()):
            yield f"does not match {pattern!r}"

    return check


def _decimal(value: Any) -> Decimal | None:
    if isinstance(value, bool) or type_name(value) not in NUMBERS:
        return None
    if isinstance(value, Decimal128):
        return value.to_decimal()
    return Decimal(value) if not isinstance(value, float) or math.isfinite(value) else Decimal(str(value))


def _bound(least: bool) -> Make:
    word, beyond = ("least", "above") if least else ("most", "below")

    def make(limit: Any, schema: Mapping[str, Any], where: str) -> Check:
        edge = _decimal(limit)
        if edge is None or edge.is_nan():
            raise RuleError(f"{where}: expected a number")
        exclusive = schema.get("exclusiveMinimum" if least else "exclusiveMaximum", False)
        if not isinstance(exclusive, bool):
            raise RuleError(f"{where}: the exclusive bound is written as true or false beside it")
        text = f"must be {beyond} {limit}" if exclusive else f"must be at {word} {limit}"

        def check(value: Any, *_: Any) -> Iterator[str]:
            number = _decimal(value)
            if number is None:
                return
            if number.is_nan() or not (
                (number > edge if least else number < edge) or (number == edge and not exclusive)
            ):
                yield text

        return check

    return make


def _multiple(step: Any, _: Mapping[str, Any], where: str) -> Check:
    divisor = _written(step)
    if divisor is None or not divisor.is_finite() or divisor <= 0:
        raise RuleError(f"{where}: expected a number above 0")

    def check(value: Any, *_: Any) -> Iterator[str]:
        number = _written(value)
        if number is not None and (not number.is_finite() or EXACT.remainder(number, divisor) != 0):
            yield f"must be a multiple of {step}"

    return check


def _written(value: Any) -> Decimal | None:
    """A number as people write it: the double 0.3 is a multiple of 0.1."""
    return Decimal(repr(value)) if type(value) is float else _decimal(value)


def _validate(expression: Any, _: Mapping[str, Any], where: str) -> Check:
    tree = parse(expression, where, FIELD)
    if any(calls_of(tree)):
        raise RuleError(f"{where}: %function is for roles and filters, and not for schemas")

    def check(value: Any, before: Any, scope: Scope) -> Iterator[str]:
        condition = bind(tree, scope.caller)
        holds = condition if isinstance(condition, bool) else matcher(condition)(scope.root, scope.prev, value, before)
        if not holds:
            yield "fails its validate expression"

    return check


STRUCTURE = frozenset(
    {"properties", "patternProperties", "additionalProperties", "items", "additionalItems"}
    | {"exclusiveMinimum", "exclusiveMaximum"}
)
KEYWORDS: dict[str, Make] = {
    "bsonType": _bson_type,
    "type": _bson_type,
    "enum": _enum,
    "required": _required,
    "dependencies": _dependencies,
    "minProperties": _size((dict,), "at least", "fields", True),
    "maxProperties": _size((dict,), "at most", "fields", False),
    "minItems": _size((list,), "at least", "items", True),
    "maxItems": _size((list,), "at most", "items", False),
    "uniqueItems": _unique,
    "minLength": _size((str,), "at least", "characters", True),
    "maxLength": _size((str,), "at most", "characters", False),
    "pattern": _pattern,
    "minimum": _bound(True),
    "maximum": _bound(False),
    "multipleOf": _multiple,
    "validate": _validate,
}
