"""``$jsonSchema``: which documents are valid, keyword by keyword."""

from __future__ import annotations

from typing import Any

import pytest
from bson import Decimal128, Int64, ObjectId

from doorleaf.errors import DataError, Unsupported
from doorleaf.mql.context import Context
from doorleaf.mql.filters.compile import compile_filter
from doorleaf.mql.filters.refusal_schema import Room, SchemaRefusal

ROWS: list[tuple[dict[str, Any], list[dict[str, Any]], list[dict[str, Any]]]] = [
    ({}, [{}, {"a": 1}], []),
    ({"bsonType": "object"}, [{}], []),
    ({"type": "array"}, [], [{}]),
    ({"required": ["a", "b"]}, [{"a": 1, "b": None}], [{"a": 1}, {}]),
    ({"properties": {"a": {"bsonType": "int"}}}, [{"a": 1}, {}], [{"a": 1.0}, {"a": Int64(1)}, {"a": [1]}]),
    ({"properties": {"a": {"bsonType": ["int", "string"]}}}, [{"a": 1}, {"a": "x"}], [{"a": None}]),
    ({"properties": {"a": {"bsonType": "number"}}}, [{"a": 1}, {"a": Decimal128("1")}], [{"a": "1"}]),
    ({"properties": {"a": {"type": "number"}}}, [{"a": 1.5}], [{"a": "1"}]),
    ({"properties": {"a": {"type": ["string", "null"]}}}, [{"a": "x"}, {"a": None}], [{"a": 1}]),
    ({"properties": {"a": {"bsonType": "objectId"}}}, [{"a": ObjectId()}], [{"a": "x"}]),
    ({"properties": {"a": {"enum": [1, {"x": 1, "y": 2}]}}}, [{"a": 1.0}, {"a": {"y": 2, "x": 1}}], [{"a": 2}]),
    ({"properties": {"a": {"minimum": 1}}}, [{"a": 1}, {"a": "x"}], [{"a": 0}, {"a": Decimal128("0.9")}]),
    ({"properties": {"a": {"minimum": 1, "exclusiveMinimum": True}}}, [{"a": 1.1}], [{"a": 1}]),
    ({"properties": {"a": {"maximum": 5}}}, [{"a": 5}], [{"a": 6}]),
    ({"properties": {"a": {"maximum": 5, "exclusiveMaximum": True}}}, [{"a": 4}], [{"a": 5}]),
    ({"properties": {"a": {"multipleOf": 2}}}, [{"a": 4}, {"a": -2}, {"a": "x"}], [{"a": 3}, {"a": 2.5}]),
    ({"properties": {"a": {"minLength": 2, "maxLength": 3}}}, [{"a": "éé"}, {"a": 1}], [{"a": "x"}, {"a": "xxxx"}]),
    ({"properties": {"a": {"pattern": "^x"}}}, [{"a": "xy"}, {"a": 1}], [{"a": "yx"}]),
    ({"properties": {"a": {"minItems": 1, "maxItems": 2}}}, [{"a": [1]}, {"a": 1}], [{"a": []}, {"a": [1, 2, 3]}]),
    ({"properties": {"a": {"uniqueItems": True}}}, [{"a": [1, "1"]}], [{"a": [1, 1.0]}]),
    ({"properties": {"a": {"uniqueItems": True}}}, [{"a": [{"x": 1}]}], [{"a": [{"x": 1, "y": 1}, {"y": 1, "x": 1}]}]),
    ({"properties": {"a": {"items": {"bsonType": "int"}}}}, [{"a": [1, 2]}, {"a": []}, {"a": "x"}], [{"a": [1, "x"]}]),
    ({"properties": {"a": {"items": [{"bsonType": "int"}, {}]}}}, [{"a": [1, "x", 5]}, {"a": []}], [{"a": ["x"]}]),
    (
        {"properties": {"a": {"items": [{"bsonType": "int"}], "additionalItems": {"bsonType": "string"}}}},
        [{"a": [1, "x"]}],
        [{"a": [1, 2]}],
    ),
    ({"properties": {"a": {"items": [{}], "additionalItems": False}}}, [{"a": [1]}], [{"a": [1, 2]}]),
    ({"minProperties": 1, "maxProperties": 2}, [{"a": 1}], [{}, {"a": 1, "b": 1, "c": 1}]),
    ({"properties": {"a": {}}, "additionalProperties": False}, [{"a": 1}, {}], [{"b": 1}]),
    ({"additionalProperties": {"bsonType": "int"}, "properties": {"a": {}}}, [{"a": "x", "b": 1}], [{"b": "x"}]),
    (
        {"patternProperties": {"^n_": {"bsonType": "int"}}, "additionalProperties": False},
        [{"n_a": 1}],
        [{"n_a": "x"}, {"x": 1}],
    ),
    ({"dependencies": {"a": ["b"]}}, [{"a": 1, "b": 1}, {"c": 1}], [{"a": 1}]),
    ({"dependencies": {"a": {"required": ["b"]}}}, [{"a": 1, "b": 1}, {}], [{"a": 1}]),
    ({"allOf": [{"required": ["a"]}, {"required": ["b"]}]}, [{"a": 1, "b": 1}], [{"a": 1}]),
    ({"anyOf": [{"required": ["a"]}, {"required": ["b"]}]}, [{"a": 1}], [{"c": 1}]),
    ({"oneOf": [{"required": ["a"]}, {"required": ["b"]}]}, [{"a": 1}], [{"a": 1, "b": 1}, {}]),
    ({"not": {"required": ["a"]}}, [{}], [{"a": 1}]),
    ({"title": "x", "description": "y", "required": ["a"]}, [{"a": 1}], [{}]),
    (
        {"properties": {"a": {"bsonType": "object", "required": ["b"], "properties": {"b": {"minimum": 1}}}}},
        [{"a": {"b": 1}}],
        [{"a": {"b": 0}}, {"a": {}}, {"a": [{"b": 1}]}],
    ),
]


@pytest.mark.parametrize(("schema", "valid", "invalid"), ROWS)
def test_what_is_broken_is_told(
    schema: dict[str, Any], valid: list[dict[str, Any]], invalid: list[dict[str, Any]]
) -> None:
    told = SchemaRefusal(Context(), Room(), full=True)
    assert not any(told.schema(schema, document) for document in valid)
    for document in invalid:
        rules = told.schema(schema, document)
        assert rules
        assert {rule["operatorName"] for rule in rules} <= schema.keys()


@pytest.mark.parametrize(("schema", "valid", "invalid"), ROWS)
def test_schemas(schema: Any, valid: list[Any], invalid: list[Any]) -> None:
    matches = compile_filter({"$jsonSchema": schema}, Context())
    assert [document for document in valid if not matches(document)] == []
    assert [document for document in invalid if matches(document)] == []


@pytest.mark.parametrize(
    ("schema", "number", "text"),
    [
        ({"foo": 1}, 9, "Unknown $jsonSchema keyword: foo"),
        ({"$ref": "#"}, 9, "$jsonSchema keyword '$ref' is not currently supported"),
        ({"format": "date"}, 9, "$jsonSchema keyword 'format' is not currently supported"),
        ({"type": "integer"}, 9, "$jsonSchema type 'integer' is not currently supported."),
        ({"type": "nope"}, 2, "Unknown type name alias: nope"),
        ({"bsonType": "integer"}, 2, "Unknown type name alias: integer"),
        ({"type": 1}, 14, "must be either a string or an array of strings"),
        ({"type": "object", "bsonType": "object"}, 9, "Cannot specify both"),
        ({"required": "a"}, 14, "'required' must be an array"),
        ({"required": []}, 9, "cannot be an empty array"),
        ({"required": [1]}, 14, "must be an array of strings"),
        ({"properties": []}, 14, "'properties' must be an object"),
        ({"properties": {"a": 1}}, 14, "'properties' must be an object"),
        ({"minimum": "x"}, 14, "'minimum' must be a number"),
        ({"exclusiveMinimum": True}, 9, "'minimum' must be a present"),
        ({"multipleOf": 0}, 9, "must have a positive value"),
        ({"minLength": -1}, 9, "must be a non-negative integer"),
        ({"enum": []}, 9, "cannot be an empty array"),
        ({"enum": [1, 1.0]}, 9, "duplicate"),
        ({"anyOf": []}, 9, "must be a non-empty array"),
        ({"not": 1}, 14, "'not' must be an object"),
        ({"pattern": "("}, 51091, "Regular expression is invalid"),
        ({"uniqueItems": 1}, 14, "'uniqueItems' must be a boolean"),
        ({"items": 1}, 14, "'items' must be an array or an object"),
        ({"additionalProperties": 1}, 14, "must be an object or a boolean"),
    ],
)
def test_malformed_schemas(schema: Any, number: int, text: str) -> None:
    with pytest.raises(DataError) as caught:
        compile_filter({"$jsonSchema": schema}, Context())
    assert (caught.value.number, text in caught.value.message) == (number, True), caught.value.message


def test_encryption_is_refused_by_name() -> None:
    with pytest.raises(Unsupported, match="encrypt"):
        compile_filter({"$jsonSchema": {"properties": {"a": {"encrypt": {}}}}}, Context())
