"""Which rules of a ``$jsonSchema`` a value breaks, in the shape of MongoDB's ``schemaRulesNotSatisfied``.

Each keyword is judged by the same tests as the schema itself (:mod:`doorleaf.mql.filters.schema`); here is only what is
said of one that a value fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from doorleaf.documents import Document
from doorleaf.mql.context import Context
from doorleaf.mql.filters.schema import Test, compile_schema, unordered
from doorleaf.mql.regular.compile import compile_regex
from doorleaf.mql.values import approximate_size, as_document, type_name

ROOM = 4 * 1024 * 1024
"""What one explanation may hold while it is made: the same value may be quoted for each rule that it breaks."""


MOST_LEVELS = 30
"""Schemas and clauses within each other that are told."""


class TooLong(Exception):
    """An explanation has become longer than anybody reads."""


class TooDeep(Exception):
    """An explanation has become deeper than anybody reads."""


class Room:
    """The room that an explanation still has, and how deep it may become; parts count for each that they are in."""

    def __init__(self) -> None:
        self._left = ROOM
        self._levels = MOST_LEVELS

    @contextmanager
    def within(self) -> Iterator[None]:
        """One level further inside."""
        self._levels -= 1
        if self._levels < 0:
            raise TooDeep
        yield
        self._levels += 1

    def take(self, said: Document) -> Document:
        """``said``, which is now held."""
        self._left -= approximate_size(said)
        if self._left < 0:
            raise TooLong
        return said


Known = dict[tuple[int, str], tuple[Any, Test]]
"""Tests that were compiled already, by the identity of their schema, which is kept with them, and the keyword."""


class SchemaRefusal:
    """Tells what is wrong with values. Without ``full`` neither they nor the schema are quoted.

    ``known`` keeps the tests of schemas from one value to the next.
    """

    def __init__(self, context: Context, room: Room, *, full: bool, known: Known | None = None) -> None:
        self.context = context
        self.full = full
        self._room = room
        self._tests: Known = {} if known is None else known

    def schema(self, schema: Document, value: Any) -> list[Document]:
        """The rules of ``schema`` that ``value`` breaks: one entry for each keyword, in the server's order; none when
        valid."""
        found = []
        for name, (needs, told) in _KEYWORDS.items():
            if name in schema and not self._test(schema, name, needs)(value):
                with self._room.within():
                    found.append(self._room.take({"operatorName": name, **told(self, schema, name, value)}))
        return found

    def valid(self, schema: Document, value: Any) -> bool:
        """Whether ``value`` breaks nothing of ``schema``."""
        return self._test(schema, "", ())(value)

    def _test(self, schema: Document, name: str, needs: tuple[str, ...]) -> Test:
        """The test of one keyword, with what it is read together with; of all of them for "". Kept: a schema may be
        asked about many values."""
        known = self._tests.get((id(schema), name))
        if known is None:
            alone = schema
            if name:
                alone = {name: schema[name], **{need: _bare(need, schema[need]) for need in needs if need in schema}}
            known = self._tests[id(schema), name] = schema, compile_schema(alone, self.context)
        return known[1]

    def specified(self, schema: Document, *names: str) -> Document:
        """``specifiedAs`` of a keyword and what goes with it."""
        return {"specifiedAs": {name: schema[name] for name in names if name in schema}} if self.full else {}

    def considered(self, value: Any) -> Document:
        """The value that was looked at."""
        return {"consideredValue": value} if self.full else {}


def notes(schema: Document) -> Document:
    """The title and description of a schema."""
    return {name: schema[name] for name in ("title", "description") if name in schema}


def _bare(name: str, value: Any) -> Any:
    """A keyword that another is read together with, without what it asks by itself."""
    if name in ("properties", "patternProperties"):
        return {inner: {} for inner in value}
    return [{} for _ in value] if name == "items" and isinstance(value, list) else value


Told = Callable[[SchemaRefusal, Document, str, Any], Document]


def _plain(reason: str, *also: str, quoted: bool = True) -> Told:
    """A keyword about the value itself."""

    def told(refusal: SchemaRefusal, schema: Document, name: str, value: Any) -> Document:
        shown = refusal.considered(value) if quoted else {}
        return {**refusal.specified(schema, name, *also), "reason": reason, **shown}

    return told


def _type(refusal: SchemaRefusal, schema: Document, name: str, value: Any) -> Document:
    return {**_plain("type did not match")(refusal, schema, name, value), "consideredType": type_name(value)}


def _length(refusal: SchemaRefusal, schema: Document, name: str, value: Any) -> Document:
    told = _plain("array did not match specified length")(refusal, schema, name, value)
    return {**told, "numberOfItems": len(value)}


def _unique(refusal: SchemaRefusal, schema: Document, name: str, value: Any) -> Document:
    told = _plain("found a duplicate item")(refusal, schema, name, value)
    seen: set[Any] = set()
    for item in refusal.context.each(value):
        key = unordered(item)
        if key in seen:
            return {**told, "duplicatedValue": item} if refusal.full else told
        seen.add(key)
    return told


def _properties_count(refusal: SchemaRefusal, schema: Document, name: str, value: Any) -> Document:
    told = _plain("specified number of properties was not satisfied", quoted=False)(refusal, schema, name, value)
    return {**told, "numberOfProperties": len(_document(value))}


# --- schemas inside --------------------------------------------------------------------------------------------------


def _document(value: Any) -> Document:
    return as_document(value) or {}


def _properties(refusal: SchemaRefusal, schema: Document, name: str, value: Any) -> Document:
    document, failing = _document(value), []
    for property_name, inner in schema[name].items():
        refusal.context.check()
        if property_name in document and (details := refusal.schema(inner, document[property_name])):
            failing.append({"propertyName": property_name, **notes(inner), "details": details})
    return {"propertiesNotSatisfied": failing}


def _additional_properties(refusal: SchemaRefusal, schema: Document, name: str, value: Any) -> Document:
    inner, document, context = schema[name], _document(value), refusal.context
    patterns = [compile_regex(pattern) for pattern in schema.get("patternProperties", ())]
    named = schema.get("properties", ())
    others = [
        field
        for field in context.each([*document])
        if field not in named and not any(pattern.matches(field, context) for pattern in patterns)
    ]
    if inner is False:
        return {**refusal.specified(schema, name), "additionalProperties": others}
    first = next(field for field in others if not refusal.valid(inner, document[field]))
    reason = "at least one additional property did not match the subschema"
    details = refusal.schema(inner, document[first])
    return {**notes(inner), "reason": reason, "failingProperty": first, "details": details}


def _pattern_properties(refusal: SchemaRefusal, schema: Document, name: str, value: Any) -> Document:
    found, context = [], refusal.context
    for pattern, inner in schema[name].items():
        expression = compile_regex(pattern)
        for field, item in _document(value).items():
            context.check()
            if expression.matches(field, context) and not refusal.valid(inner, item):
                said = {"propertyName": field, **notes(inner), "regexMatched": pattern}
                found.append({**said, "details": refusal.schema(inner, item)})
                break
    return {"details": found}


def _required(refusal: SchemaRefusal, schema: Document, name: str, value: Any) -> Document:
    document = _document(value)
    missing = sorted(field for field in schema[name] if field not in document)
    return {**refusal.specified(schema, name), "missingProperties": missing}


def _dependencies(refusal: SchemaRefusal, schema: Document, name: str, value: Any) -> Document:
    document, failing = _document(value), []
    for field, needed in schema[name].items():
        if field not in document:
            continue
        if isinstance(needed, dict):
            if details := refusal.schema(needed, value):
                failing.append({"conditionalProperty": field, **notes(needed), "details": details})
        elif missing := sorted(other for other in needed if other not in document):
            failing.append({"conditionalProperty": field, "missingProperties": missing})
    return {"failingDependencies": failing}


def _items(refusal: SchemaRefusal, schema: Document, name: str, value: Any) -> Document:
    inner = schema[name]
    if isinstance(inner, dict):
        return _first_item(refusal, inner, value, 0, "At least one item did not match the sub-schema")
    failing = []
    for index, (each, item) in enumerate(zip(inner, value, strict=False)):
        if details := refusal.schema(each, item):
            failing.append({"itemIndex": index, "details": details})
    return {"details": failing}


def _additional_items(refusal: SchemaRefusal, schema: Document, name: str, value: Any) -> Document:
    inner, start = schema[name], len(schema["items"])
    if isinstance(inner, dict):
        reason = "At least one additional item did not match the sub-schema"
        return _first_item(refusal, inner, value, start, reason)
    told = {**refusal.specified(schema, name), "reason": "found additional items"}
    return {**told, "additionalItems": value[start:]} if refusal.full else told


def _first_item(refusal: SchemaRefusal, inner: Document, array: list[Any], start: int, reason: str) -> Document:
    context = refusal.context
    index = next(
        number for number, item in enumerate(context.each(array)) if number >= start and not refusal.valid(inner, item)
    )
    return {**notes(inner), "reason": reason, "itemIndex": index, "details": refusal.schema(inner, array[index])}


def _combined(refusal: SchemaRefusal, schema: Document, name: str, value: Any) -> Document:
    if name == "oneOf":
        matching = [index for index, inner in enumerate(schema[name]) if refusal.valid(inner, value)]
        if matching:
            return {"reason": "more than one subschema matched", "matchingSchemaIndexes": matching}
    failing = []
    for index, inner in enumerate(schema[name]):
        if details := refusal.schema(inner, value):
            failing.append({"index": index, **notes(inner), "details": details})
    return {"schemasNotSatisfied": failing}


def _negated(refusal: SchemaRefusal, schema: Document, name: str, value: Any) -> Document:
    return {"reason": "child expression matched"}


_KEYWORDS: dict[str, tuple[tuple[str, ...], Told]] = {
    "pattern": ((), _plain("regular expression did not match")),
    "maxLength": ((), _plain("specified string length was not satisfied")),
    "minLength": ((), _plain("specified string length was not satisfied")),
    "multipleOf": ((), _plain("considered value is not a multiple of the specified value")),
    "maximum": (("exclusiveMaximum",), _plain("comparison failed", "exclusiveMaximum")),
    "minimum": (("exclusiveMinimum",), _plain("comparison failed", "exclusiveMinimum")),
    "minItems": ((), _length),
    "maxItems": ((), _length),
    "uniqueItems": ((), _unique),
    "items": ((), _items),
    "additionalItems": (("items",), _additional_items),
    "properties": ((), _properties),
    "additionalProperties": (("properties", "patternProperties"), _additional_properties),
    "patternProperties": ((), _pattern_properties),
    "required": ((), _required),
    "minProperties": ((), _properties_count),
    "maxProperties": ((), _properties_count),
    "dependencies": ((), _dependencies),
    "allOf": ((), _combined),
    "anyOf": ((), _combined),
    "oneOf": ((), _combined),
    "not": ((), _negated),
    "enum": ((), _plain("value was not found in enum")),
    "type": ((), _type),
    "bsonType": ((), _type),
}
"""Every keyword that a value can fail, in the order in which the server looks at them, with the keywords that it is
read together with and what is said of it."""
