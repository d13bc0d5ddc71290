"""Schemas of collections: keywords, paths of what fails, switches, and what a caller is told of hidden fields."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

import pytest
from bson import Binary, Decimal128, Int64, ObjectId, Regex, Timestamp
from ruled import App, operation, user

from doorleaf.access.rules.expressions import RuleError
from doorleaf.access.rules.schema import parse_schema
from doorleaf.errors import DoorleafError

VALUES: dict[str, Any] = {
    "object": {}, "array": [], "string": "x", "bool": True, "int": 5, "long": Int64(5), "double": 1.5,
    "decimal": Decimal128("1"), "date": datetime(2020, 1, 1), "objectId": ObjectId(), "binData": Binary(b"x", 5),
    "timestamp": Timestamp(1, 1), "regex": Regex("x"), "null": None, "uuid": Binary(uuid.uuid4().bytes, 4),
}  # fmt: skip
FITS: dict[str, set[str]] = {
    **{name: {name} for name in VALUES},
    "number": {"int", "long", "double", "decimal"},
    "mixed": set(VALUES),
    "binData": {"binData", "uuid"},
    "boolean": {"bool"},
    "integer": {"int", "long"},
    "float": {"double"},
}


@pytest.mark.parametrize("wanted", FITS)
def test_types(wanted: str) -> None:
    schema = parse_schema({"properties": {"x": {"bsonType": wanted}}}, "schema")
    for name, value in VALUES.items():
        failures = schema.failures(None, {"x": value}, {})
        assert (not failures) == (name in FITS[wanted]), name
        assert all(path == "x" for path, _ in failures)


@pytest.mark.parametrize(
    ("level", "good", "bad", "reason"),
    [
        ({"bsonType": ["string", "null"]}, ["x", None], [1], "expected string or null, got int"),
        ({"enum": ["a", 1]}, ["a", 1, 1.0], ["b", True], "is not one of the enumerated values"),
        ({"minLength": 2}, ["ab", "äö", 1], ["a"], "has 1 characters, at least 2"),
        ({"maxLength": 1}, ["a", "ä"], ["ab"], "has 2 characters, at most 1"),
        ({"pattern": "^a"}, ["ab", 5], ["ba"], "does not match '^a'"),
        ({"minimum": 2}, [2, 2.5, Int64(3), Decimal128("2"), "x"], [1, 1.9, float("nan")], "must be at least 2"),
        ({"minimum": 2, "exclusiveMinimum": True}, [3], [2, 1], "must be above 2"),
        ({"maximum": 2}, [2, float("-inf")], [3, float("inf")], "must be at most 2"),
        ({"maximum": 2, "exclusiveMaximum": True}, [1], [2], "must be below 2"),
        ({"multipleOf": 0.1}, [0.3, 1, Decimal128("0.7")], [0.35, float("inf")], "must be a multiple of 0.1"),
        ({"multipleOf": 3}, [6, Decimal128("3E+40"), 0], [7, Decimal128("1E+40")], "must be a multiple of 3"),
        ({"minItems": 1}, [[1], "x"], [[]], "has 0 items, at least 1"),
        ({"maxItems": 1}, [[1]], [[1, 2]], "has 2 items, at most 1"),
        ({"uniqueItems": True}, [[1, 2], [[1], [2]]], [[1, 1.0]], "has equal items"),
        ({"uniqueItems": True}, [[{"a": 1}, {"a": 2}]], [[{"a": 1, "b": 2}, {"b": 2, "a": 1}]], "has equal items"),
        (
            {"enum": [{"a": 1, "b": [{"c": 1, "d": 2}]}]},
            [{"b": [{"d": 2, "c": 1}], "a": 1}],
            [{"a": 1}],
            "is not one of the enumerated values",
        ),
        ({"minProperties": 1}, [{"a": 1}], [{}], "has 0 fields, at least 1"),
        ({"maxProperties": 1}, [{"a": 1}], [{"a": 1, "b": 2}], "has 2 fields, at most 1"),
        ({"required": ["a"]}, [{"a": 1}, 5], [{}, {"a": None}], "the required field 'a' is missing"),
        ({"dependencies": {"a": ["b"]}}, [{"b": 1}, {"a": 1, "b": 2}], [{"a": 1}], "'a' needs the field 'b'"),
        ({"dependencies": {"a": {"required": ["b"]}}}, [{"a": 1, "b": 2}], [{"a": 1}],
         "with 'a', the document the required field 'b' is missing"),
        ({"validate": {"%%this": {"%gt": 5}}}, [6], [5], "fails its validate expression"),
        ({"validate": {"%%root.limit": {"%exists": False}}}, [1], [], ""),
    ],
    ids=str,
)  # fmt: skip
def test_keywords(level: Any, good: list[Any], bad: list[Any], reason: str) -> None:
    schema = parse_schema({"properties": {"x": level}}, "schema")
    for value in good:
        assert schema.failures(None, {"x": value}, {}) == [], value
    for value in bad:
        assert schema.failures(None, {"x": value}, {}) == [("x", reason)], value


def test_every_path_that_fails_is_listed() -> None:
    schema = parse_schema(
        {
            "bsonType": "object",
            "required": ["name", "age"],
            "additionalProperties": False,
            "properties": {
                "name": {"bsonType": "string"},
                "age": {"bsonType": "int"},
                "tags": {"bsonType": "array", "items": {"bsonType": "string"}},
                "pair": {"items": [{"bsonType": "int"}], "additionalItems": False},
                "home": {"properties": {"zip": {"bsonType": "string"}}, "additionalProperties": {"bsonType": "int"}},
            },
            "patternProperties": {"^x_": {"bsonType": "bool"}},
        },
        "schema",
    )
    document = {
        "_id": 1, "name": 5, "tags": ["a", 1, 2], "pair": [1, 2], "home": {"zip": 1, "other": "x"}, "more": 1, "x_a": 0,
        "x_b": True,
    }  # fmt: skip
    assert schema.failures(None, document, {}) == [
        ("", "the required field 'age' is missing"),
        ("name", "expected string, got int"),
        ("tags.1", "expected string, got int"),
        ("tags.2", "expected string, got int"),
        ("pair.1", "is more than the schema's items"),
        ("home.zip", "expected string, got int"),
        ("home.other", "expected int, got string"),
        ("more", "is not a field of the schema"),
        ("x_a", "expected bool, got int"),
    ]


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ([], "s: expected an object, got array"),
        ({"bsonType": "strung"}, "s.bsonType: unknown type 'strung'"),
        ({"properties": []}, None),
        ({"properties": [1]}, "s.properties: expected an object, got array"),
        ({"properties": {"a": {"minimun": 1}}}, "s.properties.a: unknown keyword 'minimun'"),
        ({"properties": {"a": {"enum": 5}}}, "s.properties.a.enum: expected a non-empty array"),
        ({"required": "a"}, "s.required: expected an array of strings"),
        ({"minimum": "a"}, "s.minimum: expected a number"),
        ({"minimum": 1, "exclusiveMinimum": 2}, "the exclusive bound is written as true or false beside it"),
        ({"minLength": -1}, "s.minLength: expected a non-negative integer"),
        ({"pattern": "("}, "s.pattern: "),
        ({"patternProperties": {"(": {}}}, "s.patternProperties: "),
        ({"pattern": 5}, "s.pattern: expected a regular expression as a string"),
        ({"multipleOf": 0}, "s.multipleOf: expected a number above 0"),
        ({"validate": {"%function": {}}}, "s.validate.%function.name: expected the name of a function"),
        ({"dependencies": []}, "s.dependencies: expected an object"),
        ({"uniqueItems": 1}, "s.uniqueItems: expected true or false"),
        ({"$ref": "#/x"}, "s: unknown keyword '$ref'"),
    ],
    ids=str,
)
def test_schemas_that_are_refused(schema: Any, text: str | None) -> None:
    if text is None:
        parse_schema(schema, "s")
        return
    with pytest.raises(RuleError) as caught:
        parse_schema(schema, "s")
    assert text in caught.value.message


# --- through the door ------------------------------------------------------------------------------------------------

SCHEMA = {"required": ["a"], "properties": {"a": {"bsonType": "int"}, "s": {"bsonType": "int"}}}
WRITER = {"roles": [{"name": "w", "write": True}], "schema": SCHEMA}


def refusal(answer: Any) -> DoorleafError:
    assert isinstance(answer, DoorleafError), answer
    return answer


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("insertOne", {"document": {"_id": 2, "a": "x"}}),
        ("insertMany", {"documents": [{"_id": 2, "a": 1}, {"_id": 3, "a": "x"}]}),
        ("updateOne", {"filter": {}, "update": {"$set": {"a": "x"}}}),
        ("updateMany", {"filter": {}, "update": {"$set": {"a": "x"}}}),
        ("replaceOne", {"filter": {}, "replacement": {"a": "x"}}),
        ("findOneAndUpdate", {"filter": {}, "update": [{"$set": {"a": "x"}}]}),
        ("updateOne", {"filter": {"_id": 9}, "update": {"$set": {"a": "x"}}, "upsert": True}),
        ("bulkWrite", {"operations": [("insertOne", {"document": {"_id": 2, "a": "x"}})]}),
    ],
)
def test_every_write_is_checked(name: str, fields: dict[str, Any]) -> None:
    app = App({"things": WRITER}, {"things": [{"_id": 1, "a": 1}]})
    answer, left = app.ask(operation(name, **fields), user())
    error = refusal(answer)
    assert (error.status, error.code) == (400, "SchemaValidationFailedWrite")
    assert error.fields["failures"] == [{"path": "a", "reason": "expected int, got string"}]
    assert left == [{"_id": 1, "a": 1}]


def test_good_writes_and_deletes_pass() -> None:
    app = App({"things": WRITER}, {"things": [{"_id": 1, "a": "old"}]})
    answers = app.run(
        [
            (operation("insertOne", document={"_id": 2, "a": 1}), user()),
            (operation("updateOne", filter={"_id": 1}, update={"$set": {"a": 5}}), user()),
            (operation("deleteOne", filter={"_id": 2}), user()),
        ]
    )
    assert not any(isinstance(answer, DoorleafError) for answer in answers)


@pytest.mark.parametrize(("validation", "passes"), [("strict", False), ("moderate", True), ("off", True)])
def test_documents_that_failed_before(validation: str, passes: bool) -> None:
    app = App({"things": WRITER}, {"things": [{"_id": 1, "a": "old"}]}, {"validation": validation})
    answer, _ = app.ask(operation("updateOne", filter={}, update={"$set": {"b": 1}}), user())
    assert isinstance(answer, DoorleafError) is not passes


@pytest.mark.parametrize(("validation", "passes"), [("strict", False), ("moderate", False), ("off", True)])
def test_documents_that_were_good(validation: str, passes: bool) -> None:
    app = App({"things": WRITER}, {"things": [{"_id": 1, "a": 1}]}, {"validation": validation})
    answer, _ = app.ask(operation("updateOne", filter={}, update={"$set": {"a": "x"}}), user())
    assert isinstance(answer, DoorleafError) is not passes


def test_nothing_is_told_of_hidden_fields() -> None:
    rules = {
        "roles": [{"name": "r", "fields": {"a": {"write": True}}}],
        "schema": {**SCHEMA, "additionalProperties": False},
    }
    app = App({"things": rules}, {"things": [{"_id": 1, "a": 1, "s": "MARK", "hidden": 5}]})
    answer, _ = app.ask(operation("updateOne", filter={}, update={"$set": {"a": 2}}), user())
    error = refusal(answer)
    assert error.fields["failures"] == [{"path": "", "reason": "a field that may not be read does not match"}]
    answer, _ = app.ask(operation("updateOne", filter={}, update={"$set": {"a": "x"}}), user())
    assert refusal(answer).fields["failures"][0] == {"path": "a", "reason": "expected int, got string"}
    assert "hidden" not in refusal(answer).message
    assert "'s'" not in refusal(answer).message


def test_validate_sees_the_caller_and_both_documents() -> None:
    rules = {
        "roles": [{"name": "w", "write": True}],
        "schema": {
            "properties": {
                "owner": {"validate": {"%%this": "%%user.id"}},
                "n": {"validate": {"%or": [{"%%prev": {"%exists": False}}, {"%%this": {"%gt": "%%prev"}}]}},
            },
            "validate": {"%%prevRoot.locked": {"%ne": True}},
        },
    }
    me = user()
    app = App({"things": rules}, {"things": [{"_id": 1, "n": 5}, {"_id": 2, "locked": True}]})
    answers = app.run(
        [
            (operation("insertOne", document={"_id": 3, "owner": me.id, "n": 1}), me),
            (operation("insertOne", document={"_id": 4, "owner": "other"}), me),
            (operation("updateOne", filter={"_id": 1}, update={"$set": {"n": 6}}), me),
            (operation("updateOne", filter={"_id": 1}, update={"$set": {"n": 6}}), me),
            (operation("updateOne", filter={"_id": 1}, update={"$set": {"n": 5}}), me),
            (operation("updateOne", filter={"_id": 2}, update={"$set": {"locked": False}}), me),
        ]
    )
    assert [isinstance(answer, DoorleafError) for answer in answers] == [False, True, False, True, True, True]
    assert refusal(answers[1]).fields["failures"][0]["path"] == "owner"
    assert refusal(answers[4]).fields["failures"][0]["path"] == "n"
    assert refusal(answers[5]).fields["failures"][0]["path"] == ""
