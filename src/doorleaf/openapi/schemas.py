"""JSON Schemas derived from operations and results; nothing here lists an operation by hand."""

from __future__ import annotations

import json
from typing import Any, get_type_hints

from doorleaf.documents import ABSENT, Document, Documents
from doorleaf.operations import WRITES, Operation
from doorleaf.operations.parameters import Kind, Parameter, parameters
from doorleaf.operations.results import Result, camel, members

Schema = dict[str, Any]

_INT32_MAX = 2**31 - 1

_OBJECT: Schema = {"type": "object", "additionalProperties": True}
_STAGES: Schema = {
    "type": "array",
    "items": {
        "type": "object",
        "minProperties": 1,
        "maxProperties": 1,
        "propertyNames": {"pattern": r"^\$"},
        "additionalProperties": True,
    },
}
_KINDS: dict[Kind, Schema] = {
    Kind.DOCUMENT: _OBJECT,
    Kind.DOCUMENTS: {"type": "array", "items": _OBJECT, "minItems": 1},
    Kind.PIPELINE: _STAGES,
    Kind.UPDATE: {"anyOf": [_OBJECT | {"minProperties": 1}, _STAGES | {"minItems": 1}]},
    Kind.STRING: {"type": "string", "minLength": 1},
    Kind.COUNT: {"type": "integer", "minimum": 0, "maximum": _INT32_MAX},
    Kind.BOOLEAN: {"type": "boolean"},
    Kind.HINT: {"anyOf": [{"type": "string", "minLength": 1}, _OBJECT | {"minProperties": 1}]},
    Kind.VALUE: {},
}

_DIRECTION: Schema = {"type": "integer", "enum": [1, -1]}
SORT: Schema = {
    "type": "object",
    "description": "Fields and directions, in order of importance.",
    "propertyNames": {"pattern": r"^[^$.][^$.]*(\.[^$.]+)*$"},
    "additionalProperties": {"anyOf": [_DIRECTION, _OBJECT]},
}
_KEYS: Schema = {
    "type": "object",
    "propertyNames": SORT["propertyNames"],
    "minProperties": 1,
    "additionalProperties": {
        "anyOf": [_DIRECTION, {"type": "string", "enum": ["2d", "2dsphere", "text", "hashed"]}, _OBJECT]
    },
}
_INDEX_OPTIONS: Schema = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1},
        "unique": {"type": "boolean"},
        "sparse": {"type": "boolean"},
        "hidden": {"type": "boolean"},
        "expireAfterSeconds": {"type": "integer", "minimum": 0, "maximum": _INT32_MAX},
        "partialFilterExpression": _OBJECT,
        "collation": {"$ref": "#/components/schemas/Collation"},
        "wildcardProjection": _OBJECT | {"minProperties": 1},
    },
    "additionalProperties": True,
}
_OPERATORS: Schema = {
    "anyOf": [
        _OBJECT | {"minProperties": 1, "propertyNames": {"pattern": r"^\$"}},
        _STAGES | {"minItems": 1},
    ]
}
_SPECIAL: dict[str, Schema] = {
    "sort": {"$ref": "#/components/schemas/Sort"},
    "keys": _KEYS,
    "collation": {"$ref": "#/components/schemas/Collation"},
    "let": _OBJECT | {"propertyNames": {"pattern": "^[a-z][A-Za-z0-9_]*$"}},
    "arrayFilters": {"type": "array", "items": _OBJECT | {"minProperties": 1}},
    "command": _OBJECT | {"minProperties": 1},
}
"""Fields whose names say more than their kinds."""

COLLATION: Schema = {
    "type": "object",
    "description": "Language rules for comparing strings.",
    "required": ["locale"],
    "properties": {
        "locale": {"type": "string", "minLength": 1, "examples": ["en"]},
        "strength": {"type": "integer", "minimum": 1, "maximum": 5},
        "caseLevel": {"type": "boolean"},
        "caseFirst": {"type": "string", "enum": ["upper", "lower", "off"]},
        "numericOrdering": {"type": "boolean"},
        "alternate": {"type": "string", "enum": ["non-ignorable", "shifted"]},
        "maxVariable": {"type": "string", "enum": ["punct", "space"]},
        "backwards": {"type": "boolean"},
        "normalization": {"type": "boolean"},
    },
    "additionalProperties": True,
}

_INTEGER: Schema = {"type": "integer"}
_EXTENDED_INTEGER: Schema = {"$ref": "#/components/schemas/ExtendedInteger"}
EXTENDED_INTEGER: Schema = {
    "description": "An integer: a number in relaxed Extended JSON, an object in canonical.",
    "anyOf": [
        _INTEGER,
        *(
            {
                "type": "object",
                "title": kind,
                "properties": {f"$number{kind}": {"type": "string", "pattern": r"^-?\d+$"}},
                "required": [f"$number{kind}"],
                "additionalProperties": False,
            }
            for kind in ("Int", "Long")
        ),
    ],
}

_DATA_SOURCE: Schema = {
    "type": ["string", "null"],
    "minLength": 1,
    "description": "The data source; the default one when absent. Where there is only one, any name means it.",
}
_DATABASE: Schema = {
    "type": ["string", "null"],
    "minLength": 1,
    "maxLength": 63,
    "pattern": r'^[^/\\. "$\u0000]+$',
    "description": "The database; may be absent where the server has a default database.",
}
_COLLECTION: Schema = {
    "type": "string",
    "minLength": 1,
    "maxLength": 235,
    "pattern": r"^[^.$\u0000]+(\.[^.$\u0000]+)*$",
    "description": "The collection.",
}


def request_schema(operation: type[Operation[Any]], *, bounds: dict[str, int]) -> Schema:
    """The body of the action ``operation``."""
    properties: Schema = {"dataSource": _DATA_SOURCE}
    required = []
    if operation.scope != "server":
        properties["database"] = _DATABASE
    if operation.scope == "collection":
        properties["collection"] = _COLLECTION
        required.append("collection")
    for item in parameters(operation):
        properties[item.name] = _parameter(item, operation, bounds)
        if item.required:
            required.append(item.name)
    schema: Schema = {"type": "object", "properties": properties, "additionalProperties": True}
    if required:
        schema["required"] = required
    return schema


def write_schema(operation: type[Operation[Any]]) -> Schema:
    """An entry of a bulk write: an object whose one key is the write's name."""
    listed = [item for item in parameters(operation) if item.attribute not in ("comment", "max_time_ms")]
    body: Schema = {
        "type": "object",
        "properties": {item.name: _parameter(item, operation, {}) for item in listed},
        "required": [item.name for item in listed if item.required],
        "additionalProperties": True,
    }
    return {
        "type": "object",
        "title": operation.name,
        "properties": {operation.name: body},
        "required": [operation.name],
        "additionalProperties": False,
    }


def _parameter(item: Parameter, operation: type[Operation[Any]], bounds: dict[str, int]) -> Schema:
    schema = _of_kind(item, operation)
    bound = bounds.get(f"{operation.name}.{item.name}", bounds.get(item.name))
    if bound is not None:
        schema = schema | {"maximum": bound}
    if item.required:
        return schema | {"description": _meaning(item)}
    if "type" in schema and "$ref" not in schema:
        schema = schema | {"type": [schema["type"], "null"]}
    elif schema:
        schema = {"anyOf": [*schema.get("anyOf", [schema]), {"type": "null"}]}
    return schema | {"description": _meaning(item)}


def _of_kind(item: Parameter, operation: type[Operation[Any]]) -> Schema:
    if item.kind is Kind.WRITES:
        writes = [{"$ref": f"#/components/schemas/{_title(name)}Write"} for name in WRITES]
        return {"type": "array", "minItems": 1, "items": {"anyOf": writes}}
    if (operation.name, item.name) == ("createIndex", "options"):
        return _INDEX_OPTIONS
    if operation.name == "findOneAndUpdate" and item.name == "update":
        return _OPERATORS
    return _SPECIAL.get(item.name, _KINDS[item.kind])


def _meaning(item: Parameter) -> str:
    """What a field means, and its default, which is no keyword of its own: generators of clients take a field with
    a default for one that has to be sent."""
    said = item.meaning
    if not item.required and item.default is not None:
        said += f" Default: `{json.dumps(item.default)}`."
    alias = item.alias
    if alias is None:
        return said
    if not alias.values:
        return f"{said} `{alias.name}` is another name of this field."
    written = " and ".join(f'"{written}" for {str(value).lower()}' for written, value in alias.values)
    return f"{said} `{alias.name}` is another name of this field, with {written}."


def result_schema(result: type[Result], *, extended: bool = False) -> Schema:
    """The answer ``result`` in plain JSON, or in Extended JSON, canonical or relaxed."""
    hints = get_type_hints(result)
    properties = {camel(item.name): _of_type(hints[item.name]) for item in members(result)}
    if extended:
        properties = {name: _EXTENDED_INTEGER if of == _INTEGER else of for name, of in properties.items()}
    return {
        "type": "object",
        "properties": properties,
        "required": [camel(item.name) for item in members(result) if item.default is not ABSENT],
    }


def _of_type(hint: Any) -> Schema:
    """The plain JSON of a result's member, by its annotation."""
    known: list[tuple[Any, Schema]] = [
        (int, _INTEGER),
        (bool, {"type": "boolean"}),
        (bytes | Document | None, {"type": ["object", "null"], "additionalProperties": True}),
        (Documents, {"type": "array", "items": _OBJECT}),
        (list[Document], {"type": "array", "items": _OBJECT}),
        (list[Any], {"type": "array", "items": {}}),
        (Document, _OBJECT),
        (Any, {"description": 'Any value. An ObjectId is a string, in Extended JSON `{"$oid": …}`.'}),
    ]
    for annotation, schema in known:
        if hint == annotation:
            return schema
    raise TypeError(f"no schema for {hint}")


def components(operations: dict[str, type[Operation[Any]]], *, bounds: dict[str, int]) -> Schema:
    """All schemas by name: a request for each operation, an answer for each class of results, and shared ones.

    ``bounds`` are the largest values that fields may have, by wire name, or ``action.name`` where only one has it.
    """
    schemas: Schema = {"Collation": COLLATION, "ExtendedInteger": EXTENDED_INTEGER, "Sort": SORT}
    schemas |= {f"{_title(name)}Write": write_schema(operation) for name, operation in WRITES.items()}
    for name, operation in operations.items():
        schemas[f"{_title(name)}Request"] = request_schema(operation, bounds=bounds)
        schemas[operation.result.__name__] = result_schema(operation.result)
        schemas[f"{operation.result.__name__}Extended"] = result_schema(operation.result, extended=True)
    return schemas


def _title(name: str) -> str:
    return name[0].upper() + name[1:]
