"""``$jsonSchema``: MongoDB's dialect of JSON Schema draft 4, with ``bsonType``, compiled to a predicate."""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from typing import Any, NoReturn

from doorleaf.documents import is_string
from doorleaf.errors import DataError, Unsupported
from doorleaf.mql.context import Context
from doorleaf.mql.filters.operators import ordering
from doorleaf.mql.numbers import DECIMAL, integral, is_number, to_decimal
from doorleaf.mql.regular.compile import compile_regex
from doorleaf.mql.values import TYPE_CODES, as_document, canonical, type_name

Test = Callable[[Any], bool]

_JSON_TYPES = {
    "array": {"array"},
    "boolean": {"bool"},
    "null": {"null"},
    "number": {"int", "long", "double", "decimal"},
    "object": {"object"},
    "string": {"string"},
}
_NOT_SUPPORTED = frozenset(("$ref", "$schema", "default", "definitions", "format", "id"))
_DEPTH_LIMIT = 100


def compile_schema(schema: dict[str, Any], context: Context) -> Callable[[dict[str, Any]], bool]:
    """Compile ``schema``; the predicate tells whether a document is valid.

    Raises DataError 9 or 14 for a malformed schema, as the server does. Regular expressions end at the deadline.
    """
    return _Compiler(context).schema(schema)


class _Compiler:
    def __init__(self, context: Context) -> None:
        self.context = context
        self.depth = 0

    def schema(self, schema: Any, where: str = "$jsonSchema") -> Test:
        if not isinstance(schema, dict):
            _wrong_type(where, "an object", schema)
        self.context.check()
        self.depth += 1
        if self.depth > _DEPTH_LIMIT:
            _fail("$jsonSchema is nested too deeply")
        if "type" in schema and "bsonType" in schema:
            _fail("Cannot specify both $jsonSchema keywords 'type' and 'bsonType'")
        tests = [test for name, value in schema.items() if (test := self._keyword(name, value, schema)) is not None]
        self.depth -= 1
        if len(tests) == 1:
            return tests[0]
        each = self.context.each
        return lambda value: all(test(value) for test in each(tests))

    def _keyword(self, name: str, value: Any, schema: dict[str, Any]) -> Test | None:
        simple = _SIMPLE.get(name)
        if simple is not None:
            return simple(name, value)
        method = _COMPOSED.get(name)
        if method is not None:
            return method(self, name, value)
        if name in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"):
            return _bound(name, value, schema)
        if name in ("additionalProperties", "properties", "patternProperties"):
            # These three are one condition, made where the first of them stands.
            first = next(key for key in schema if key in ("additionalProperties", "properties", "patternProperties"))
            return self._properties(schema) if name == first else None
        if name in ("items", "additionalItems"):
            if name == "additionalItems" and "items" in schema:
                return None
            return self._items(schema)
        if name in ("title", "description"):
            if not is_string(value):
                _wrong_type(name, "a string", value)
            return None
        if name in ("encrypt", "encryptMetadata"):
            raise Unsupported(f"$jsonSchema keyword '{name}' is not supported by this data source")
        if name in _NOT_SUPPORTED:
            _fail(f"$jsonSchema keyword '{name}' is not currently supported")
        return _fail(f"Unknown $jsonSchema keyword: {name}")

    # --- schemas inside ------------------------------------------------------------------------------------------

    def combined(self, name: str, value: Any) -> Test:
        if not isinstance(value, list):
            _wrong_type(name, "an array", value)
        if not value:
            _fail(f"$jsonSchema keyword '{name}' must be a non-empty array")
        tests = [self.schema(item, name) for item in value]
        each = self.context.each
        if name == "allOf":
            return lambda item: all(test(item) for test in each(tests))
        if name == "anyOf":
            return lambda item: any(test(item) for test in each(tests))
        return lambda item: sum(1 for test in each(tests) if test(item)) == 1

    def negated(self, name: str, value: Any) -> Test:
        test = self.schema(value, name)
        return lambda item: not test(item)

    def dependencies(self, name: str, value: Any) -> Test:
        if not isinstance(value, dict):
            _wrong_type(name, "an object", value)
        rules: list[tuple[str, Test]] = []
        for field, needed in value.items():
            if isinstance(needed, dict):
                rules.append((field, self.schema(needed, name)))
            else:
                rules.append((field, _required(f"{name}.{field}", needed)))
        return _of_document(lambda document: all(test(document) for field, test in rules if field in document))

    def _properties(self, schema: dict[str, Any]) -> Test:
        named = {name: self.schema(inner, "properties") for name, inner in _object(schema, "properties").items()}
        patterned = [
            (compile_regex(pattern), self.schema(inner, "patternProperties"))
            for pattern, inner in _object(schema, "patternProperties").items()
        ]
        others = self._additional(schema, "additionalProperties")
        context = self.context

        def test(document: dict[str, Any]) -> bool:
            for name, value in document.items():
                known = name in named
                if known and not named[name](value):
                    return False
                context.check()
                for expression, inner in patterned:
                    context.check()
                    if expression.matches(name, context):
                        known = True
                        if not inner(value):
                            return False
                if not known and others is not None and not others(value):
                    return False
            return True

        return _of_document(test)

    def _items(self, schema: dict[str, Any]) -> Test | None:
        items = schema.get("items", {})
        others = self._additional(schema, "additionalItems")
        if isinstance(items, dict):
            every = self.schema(items, "items")
            each = self.context.each
            return _of_array(lambda array: all(every(item) for item in each(array))) if "items" in schema else None
        if not isinstance(items, list):
            _wrong_type("items", "an array or an object", items)
        tests = [self.schema(item, "items") for item in items]
        context = self.context

        def test(array: list[Any]) -> bool:
            if not all(check(item) for check, item in zip(tests, array, strict=False)):
                return False
            return others is None or all(others(item) for item in context.each(array[len(tests) :]))

        return _of_array(test)

    def _additional(self, schema: dict[str, Any], name: str) -> Test | None:
        """The test of what is not named otherwise, None when everything is allowed."""
        value = schema.get(name, True)
        if isinstance(value, bool):
            return None if value else lambda _item: False
        if not isinstance(value, dict):
            _wrong_type(name, "an object or a boolean", value)
        return self.schema(value, name)


def _fail(message: str, number: int = 9) -> NoReturn:
    raise DataError(message, number=number)


def _wrong_type(name: str, expected: str, value: Any) -> NoReturn:
    _fail(f"$jsonSchema keyword '{name}' must be {expected}, but found {type_name(value)}", 14)


def _object(schema: dict[str, Any], name: str) -> dict[str, Any]:
    value = schema.get(name, {})
    if not isinstance(value, dict):
        _wrong_type(name, "an object", value)
    return value


def _of_document(test: Callable[[dict[str, Any]], bool]) -> Test:
    def check(value: Any) -> bool:
        document = as_document(value)
        return document is None or test(document)

    return check


def _of_array(test: Callable[[list[Any]], bool]) -> Test:
    return lambda value: not isinstance(value, list) or test(value)


# --- keywords about one value ----------------------------------------------------------------------------------------


def _types(name: str, value: Any) -> Test:
    names = value if isinstance(value, list) else [value]
    if not all(is_string(item) for item in names):
        _wrong_type(name, "either a string or an array of strings", value)
    if len(set(names)) < len(names):
        _fail(f"$jsonSchema keyword '{name}' has duplicate value")
    if not names:
        _fail(f"$jsonSchema keyword '{name}' must name at least one type")
    wanted = set[str]()
    for item in names:
        if name == "type" and item == "integer":
            _fail("$jsonSchema type 'integer' is not currently supported.")
        known = _JSON_TYPES.get(item) if name == "type" or item == "number" else {item} & TYPE_CODES.keys()
        if not known:
            _fail(f"Unknown type name alias: {item}", 2)
        wanted |= known
    return lambda item: type_name(item) in wanted


def unordered(value: Any) -> Any:
    """The key that ``canonical`` makes, with the order of fields left out, as schemas compare."""
    return canonical(_sorted_fields(value))


def _sorted_fields(value: Any) -> Any:
    document = as_document(value)
    if document is not None:
        return {name: _sorted_fields(item) for name, item in sorted(document.items(), key=itemgetter(0))}
    return [_sorted_fields(item) for item in value] if isinstance(value, list) else value


def _enum(name: str, value: Any) -> Test:
    if not isinstance(value, list):
        _wrong_type(name, "an array", value)
    if not value:
        _fail("$jsonSchema keyword 'enum' cannot be an empty array")
    keys = {unordered(item) for item in value}
    if len(keys) < len(value):
        _fail("$jsonSchema keyword 'enum' array cannot contain duplicate values.")
    return lambda item: unordered(item) in keys


def _required(name: str, value: Any) -> Test:
    if not isinstance(value, list):
        _wrong_type(name, "an array", value)
    if not value:
        _fail(f"$jsonSchema keyword '{name}' cannot be an empty array")
    if not all(is_string(item) for item in value):
        _fail(f"$jsonSchema keyword '{name}' must be an array of strings", 14)
    if len(set(value)) < len(value):
        _fail(f"$jsonSchema keyword '{name}' array cannot contain duplicate values")
    return _of_document(lambda document: all(field in document for field in value))


def _count(name: str, value: Any) -> Test:
    """The keywords with a smallest or largest number of characters, elements or fields."""
    number = integral(value)
    if number is None or number < 0:
        _fail(f"$jsonSchema keyword '{name}' must be a non-negative integer")
    kind = {"Length": "string", "Items": "array", "Properties": "object"}[name[3:]]
    minimum = name.startswith("min")

    def test(value: Any) -> bool:
        if type_name(value) != kind:
            return True
        size = len(as_document(value) or ()) if kind == "object" else len(value)
        return size >= number if minimum else size <= number

    return test


def _unique(self: _Compiler, name: str, value: Any) -> Test | None:
    if not isinstance(value, bool):
        _wrong_type(name, "a boolean", value)
    each = self.context.each
    return _of_array(lambda array: len({unordered(item) for item in each(array)}) == len(array)) if value else None


def _multiple(name: str, value: Any) -> Test:
    if not is_number(value):
        _wrong_type(name, "a number", value)
    divisor = to_decimal(value)
    if not divisor > 0:
        _fail("$jsonSchema keyword 'multipleOf' must have a positive value")
    return lambda item: not is_number(item) or DECIMAL.remainder(to_decimal(item), divisor) == 0


def _bound(name: str, value: Any, schema: dict[str, Any]) -> Test | None:
    if name.startswith("exclusive"):
        partner = name.removeprefix("exclusive").lower()
        if not isinstance(value, bool):
            _wrong_type(name, "a boolean", value)
        if partner not in schema:
            _fail(f"$jsonSchema keyword '{partner}' must be a present if {name} is present")
        return None
    if not is_number(value):
        _wrong_type(name, "a number", value)
    exclusive = schema.get(f"exclusive{name.capitalize()}") is True
    operator = ("$gt" if name == "minimum" else "$lt") + ("" if exclusive else "e")
    test = ordering(operator, value).test
    return lambda item: not is_number(item) or test(item)


def _pattern(self: _Compiler, name: str, value: Any) -> Test:
    if not is_string(value):
        _wrong_type(name, "a string", value)
    expression, context = compile_regex(value), self.context
    return lambda item: type_name(item) != "string" or expression.matches(item, context)


_SIMPLE: dict[str, Callable[[str, Any], Test | None]] = {
    "type": _types,
    "bsonType": _types,
    "enum": _enum,
    "required": _required,
    "multipleOf": _multiple,
    "minLength": _count,
    "maxLength": _count,
    "minItems": _count,
    "maxItems": _count,
    "minProperties": _count,
    "maxProperties": _count,
}
_COMPOSED: dict[str, Callable[[_Compiler, str, Any], Test | None]] = {
    "allOf": _Compiler.combined,
    "anyOf": _Compiler.combined,
    "oneOf": _Compiler.combined,
    "not": _Compiler.negated,
    "dependencies": _Compiler.dependencies,
    "pattern": _pattern,
    "uniqueItems": _unique,
}
