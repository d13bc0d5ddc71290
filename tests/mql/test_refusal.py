"""Why a validator refuses a document: what is told, rule by rule and operator by operator."""

from __future__ import annotations

import time
from typing import Any

import bson
import pytest
from bson import Regex

from doorleaf.documents import Document
from doorleaf.errors import DataError, StoreTimeout
from doorleaf.mql.context import Context
from doorleaf.mql.filters.compile import compile_filter
from doorleaf.mql.filters.refusal import MOST_BYTES, refusal

BSON_INT = {"bsonType": "int"}
FAILED = {"operatorName": "bsonType", "specifiedAs": BSON_INT, "reason": "type did not match"}


def an_int(value: Any, kind: str) -> Document:
    return {**FAILED, "consideredValue": value, "consideredType": kind}


def leaf(keyword: str, argument: Any, reason: str, value: Any, **more: Any) -> Document:
    said = {"operatorName": keyword, "specifiedAs": {keyword: argument}, "reason": reason}
    return {**said, "consideredValue": value, **more}


ON_A: list[tuple[Document, Any, Document]] = [
    (BSON_INT, "x", an_int("x", "string")),
    ({"type": "number"}, "x", leaf("type", "number", "type did not match", "x", consideredType="string")),
    ({"enum": [1, 2]}, 3, leaf("enum", [1, 2], "value was not found in enum", 3)),
    ({"pattern": "^x"}, "y", leaf("pattern", "^x", "regular expression did not match", "y")),
    ({"minLength": 2}, "y", leaf("minLength", 2, "specified string length was not satisfied", "y")),
    ({"maxLength": 2}, "yyy", leaf("maxLength", 2, "specified string length was not satisfied", "yyy")),
    ({"minimum": 2}, 1, leaf("minimum", 2, "comparison failed", 1)),
    (
        {"maximum": 2, "exclusiveMaximum": True},
        2,
        {
            "operatorName": "maximum",
            "specifiedAs": {"maximum": 2, "exclusiveMaximum": True},
            "reason": "comparison failed",
            "consideredValue": 2,
        },
    ),
    ({"multipleOf": 2}, 3, leaf("multipleOf", 2, "considered value is not a multiple of the specified value", 3)),
    ({"minItems": 2}, [1], leaf("minItems", 2, "array did not match specified length", [1], numberOfItems=1)),
    (
        {"uniqueItems": True},
        [1, 2, 2.0],
        leaf("uniqueItems", True, "found a duplicate item", [1, 2, 2.0], duplicatedValue=2.0),
    ),
    (
        {"items": {"description": "whole", **BSON_INT}},
        [1, "x", "y"],
        {
            "operatorName": "items",
            "description": "whole",
            "reason": "At least one item did not match the sub-schema",
            "itemIndex": 1,
            "details": [an_int("x", "string")],
        },
    ),
    (
        {"items": [{}, BSON_INT, BSON_INT]},
        [1, "x", 2],
        {"operatorName": "items", "details": [{"itemIndex": 1, "details": [an_int("x", "string")]}]},
    ),
    (
        {"items": [{}], "additionalItems": False},
        [1, "x", 2],
        {
            "operatorName": "additionalItems",
            "specifiedAs": {"additionalItems": False},
            "reason": "found additional items",
            "additionalItems": ["x", 2],
        },
    ),
    (
        {"items": [{}], "additionalItems": BSON_INT},
        ["x", 1, "y"],
        {
            "operatorName": "additionalItems",
            "reason": "At least one additional item did not match the sub-schema",
            "itemIndex": 2,
            "details": [an_int("y", "string")],
        },
    ),
    (
        {"required": ["z", "b"]},
        {"c": 1},
        {"operatorName": "required", "specifiedAs": {"required": ["z", "b"]}, "missingProperties": ["b", "z"]},
    ),
    (
        {"minProperties": 2},
        {"c": 1},
        {
            "operatorName": "minProperties",
            "specifiedAs": {"minProperties": 2},
            "reason": "specified number of properties was not satisfied",
            "numberOfProperties": 1,
        },
    ),
    (
        {"properties": {"b": {"title": "B", **BSON_INT}, "c": BSON_INT, "d": BSON_INT}},
        {"b": "x", "c": 1},
        {
            "operatorName": "properties",
            "propertiesNotSatisfied": [{"propertyName": "b", "title": "B", "details": [an_int("x", "string")]}],
        },
    ),
    (
        {"properties": {"b": {}}, "patternProperties": {"^n": {}}, "additionalProperties": False},
        {"b": 1, "n1": 1, "c": 1, "d": 1},
        {
            "operatorName": "additionalProperties",
            "specifiedAs": {"additionalProperties": False},
            "additionalProperties": ["c", "d"],
        },
    ),
    (
        {"properties": {"b": {}}, "additionalProperties": BSON_INT},
        {"b": "x", "c": 1, "d": "y"},
        {
            "operatorName": "additionalProperties",
            "reason": "at least one additional property did not match the subschema",
            "failingProperty": "d",
            "details": [an_int("y", "string")],
        },
    ),
    (
        {"patternProperties": {"^n": BSON_INT, "^m": BSON_INT}},
        {"n1": 1, "n2": "x", "n3": "y", "m": 1},
        {
            "operatorName": "patternProperties",
            "details": [{"propertyName": "n2", "regexMatched": "^n", "details": [an_int("x", "string")]}],
        },
    ),
    (
        {"dependencies": {"b": ["z", "y"], "c": {"required": ["x"]}, "q": ["w"]}},
        {"b": 1, "c": 1, "y": 1},
        {
            "operatorName": "dependencies",
            "failingDependencies": [
                {"conditionalProperty": "b", "missingProperties": ["z"]},
                {
                    "conditionalProperty": "c",
                    "details": [
                        {
                            "operatorName": "required",
                            "specifiedAs": {"required": ["x"]},
                            "missingProperties": ["x"],
                        }
                    ],
                },
            ],
        },
    ),
    (
        {"anyOf": [BSON_INT, {"title": "small", "maximum": 2}]},
        7.5,
        {
            "operatorName": "anyOf",
            "schemasNotSatisfied": [
                {"index": 0, "details": [an_int(7.5, "double")]},
                {"index": 1, "title": "small", "details": [leaf("maximum", 2, "comparison failed", 7.5)]},
            ],
        },
    ),
    (
        {"allOf": [{}, BSON_INT]},
        7.5,
        {"operatorName": "allOf", "schemasNotSatisfied": [{"index": 1, "details": [an_int(7.5, "double")]}]},
    ),
    (
        {"oneOf": [BSON_INT, {}, {"minimum": 1}]},
        7.5,
        {"operatorName": "oneOf", "reason": "more than one subschema matched", "matchingSchemaIndexes": [1, 2]},
    ),
    (
        {"oneOf": [BSON_INT]},
        7.5,
        {"operatorName": "oneOf", "schemasNotSatisfied": [{"index": 0, "details": [an_int(7.5, "double")]}]},
    ),
    ({"not": BSON_INT}, 1, {"operatorName": "not", "reason": "child expression matched"}),
]


def test_every_keyword_is_told() -> None:
    from doorleaf.mql.filters.refusal_schema import _KEYWORDS

    told = {rule["operatorName"] for _, _, rule in ON_A}
    assert _KEYWORDS.keys() - told <= {"maxItems", "maxProperties"}


@pytest.mark.parametrize(("schema", "value", "rule"), ON_A, ids=[str(row[0])[:60] for row in ON_A])
def test_rules_of_a_schema(schema: Document, value: Any, rule: Document) -> None:
    document = {"_id": 5, "a": value}
    found = refusal({"$jsonSchema": {"properties": {"a": schema}}}, document, Context())
    property_ = {"propertyName": "a", "details": [rule]}
    rules = [{"operatorName": "properties", "propertiesNotSatisfied": [property_]}]
    whole = {"operatorName": "$jsonSchema", "schemaRulesNotSatisfied": rules}
    assert found == {"failingDocumentId": 5, "details": whole}
    assert bson.encode(found) == bson.encode({"failingDocumentId": 5, "details": whole})


def test_the_schema_itself_is_named_and_all_its_rules_are_told() -> None:
    schema = {"title": "Thing", "required": ["b"], "bsonType": "object", "properties": {"a": BSON_INT, "c": BSON_INT}}
    details = refusal({"$jsonSchema": schema}, {"_id": 1, "a": "x", "c": 2}, Context())["details"]
    assert details["title"] == "Thing"
    assert [rule["operatorName"] for rule in details["schemaRulesNotSatisfied"]] == ["properties", "required"]


def operator(name: str, asked: Document, reason: str, **more: Any) -> Document:
    return {"operatorName": name, "specifiedAs": asked, "reason": reason, **more}


def clauses(name: str, which: str, *found: tuple[int, Document]) -> Document:
    return {"operatorName": name, which: [{"index": index, "details": details} for index, details in found]}


UNMET, MET = "clausesNotSatisfied", "clausesSatisfied"
LESS = {"a": {"$lt": 1}}
FAILS = operator("$lt", LESS, "comparison failed", consideredValue=5)
HOLDS = operator("$lt", {"a": {"$lt": 9}}, "comparison succeeded", consideredValue=5)
NUMBERS = ["decimal", "double", "int", "long"]

FILTERS: list[tuple[Document, Document, Document]] = [
    ({"a": 1}, {"a": 5}, operator("$eq", {"a": 1}, "comparison failed", consideredValue=5)),
    ({"a": 1}, {}, operator("$eq", {"a": 1}, "field was missing")),
    ({"a": 1}, {"a": []}, operator("$eq", {"a": 1}, "comparison failed", consideredValues=[])),
    ({"a.b": 1}, {"a": [{"b": 2}, {"b": [3, 4]}]},
     operator("$eq", {"a.b": 1}, "comparison failed", consideredValues=[2, 3, 4])),
    ({"a": {"$gt": 1}}, {"a": [*range(-20, 0)]},
     operator("$gt", {"a": {"$gt": 1}}, "comparison failed", consideredValues=[*range(-20, -10)],
              consideredValuesTruncated=True)),
    ({"a": {"$ne": 5}}, {"a": 5}, operator("$ne", {"a": {"$ne": 5}}, "comparison succeeded", consideredValue=5)),
    ({"a": {"$in": [1]}}, {"a": 5},
     operator("$in", {"a": {"$in": [1]}}, "no matching value found in array", consideredValue=5)),
    ({"a": {"$nin": [5]}}, {"a": 5},
     operator("$nin", {"a": {"$nin": [5]}}, "matching value found in array", consideredValue=5)),
    ({"a": {"$exists": True}}, {}, operator("$exists", {"a": {"$exists": True}}, "path does not exist")),
    ({"a": {"$exists": False}}, {"a": 1}, operator("$exists", {"a": {"$exists": False}}, "path does exist")),
    ({"a": {"$type": "int"}}, {"a": "x"},
     operator("$type", {"a": {"$type": "int"}}, "type did not match", consideredValue="x", consideredType="string")),
    ({"a": {"$mod": [2, 0]}}, {"a": "x"},
     operator("$mod", {"a": {"$mod": [2, 0]}}, "type did not match", consideredType="string", expectedTypes=NUMBERS,
              consideredValue="x")),
    ({"a": {"$mod": [2, 0]}}, {"a": 5},
     operator("$mod", {"a": {"$mod": [2, 0]}}, "$mod did not evaluate to expected remainder", consideredValue=5)),
    ({"a": {"$size": 2}}, {"a": [1]},
     operator("$size", {"a": {"$size": 2}}, "array length was not equal to given size", consideredValue=[1])),
    ({"a": {"$size": 2}}, {"a": 1},
     operator("$size", {"a": {"$size": 2}}, "type did not match", consideredType="int", expectedType="array",
              consideredValue=1)),
    ({"a": {"$all": [1, 2]}}, {"a": [1]},
     operator("$all", {"a": {"$all": [1, 2]}}, "array did not contain all specified values", consideredValue=[1])),
    ({"a": {"$elemMatch": {"$gt": 5}}}, {"a": [1]},
     operator("$elemMatch", {"a": {"$elemMatch": {"$gt": 5}}}, "array did not satisfy the child predicate",
              consideredValue=[1])),
    ({"a": {"$regex": "^x", "$options": "i"}}, {"a": "y"},
     operator("$regex", {"a": {"$regex": "^x", "$options": "i"}}, "regular expression did not match",
              consideredValue="y")),
    ({"a": Regex("^x")}, {"a": "y"},
     operator("$regex", {"a": Regex("^x")}, "regular expression did not match", consideredValue="y")),
    ({"a": {"$bitsAllSet": 2}}, {"a": 1},
     operator("$bitsAllSet", {"a": {"$bitsAllSet": 2}}, "bitwise operator failed to match", consideredValue=1)),
    ({"$expr": {"$gt": ["$a", 1]}}, {"a": 1},
     operator("$expr", {"$expr": {"$gt": ["$a", 1]}}, "expression did not match", expressionResult=False)),
    ({"$alwaysFalse": 1}, {}, operator("$alwaysFalse", {"$alwaysFalse": 1}, "expression always evaluates to false")),
    ({"a": {"$gt": 1, "$lt": 1}}, {"a": 5}, clauses("$and", UNMET, (1, FAILS))),
    ({"b": 1, **LESS}, {"a": 5, "b": 1}, clauses("$and", UNMET, (1, FAILS))),
    ({"$and": [LESS, {"a": 5}]}, {"a": 5}, clauses("$and", UNMET, (0, FAILS))),
    ({"$or": [LESS, LESS]}, {"a": 5}, clauses("$or", UNMET, (0, FAILS), (1, FAILS))),
    ({"$nor": [LESS, {"a": {"$lt": 9}}]}, {"a": 5}, clauses("$nor", MET, (1, HOLDS))),
    ({"$nor": [{"$and": [{"a": {"$lt": 9}}]}]}, {"a": 5}, clauses("$nor", MET, (0, clauses("$and", MET, (0, HOLDS))))),
    ({"$nor": [{"$or": [LESS, {"a": {"$lt": 9}}]}]}, {"a": 5},
     clauses("$nor", MET, (0, clauses("$or", MET, (1, HOLDS))))),
    ({"$nor": [{"$nor": [LESS]}]}, {"a": 5}, clauses("$nor", MET, (0, clauses("$nor", UNMET, (0, FAILS))))),
    ({"a": {"$not": {"$lt": 9}}}, {"a": 5}, {"operatorName": "$not", "details": HOLDS}),
    ({"a": {"$not": {"$not": {"$lt": 1}}}}, {"a": 5},
     {"operatorName": "$not", "details": {"operatorName": "$not", "details": FAILS}}),
    ({"$nor": [{"$jsonSchema": {}}]}, {},
     clauses("$nor", MET, (0, {"operatorName": "$jsonSchema", "reason": "schema matched"}))),
]  # fmt: skip


@pytest.mark.parametrize(("filter", "document", "details"), FILTERS, ids=[str(row[0])[:60] for row in FILTERS])
def test_operators_of_a_filter(filter: Document, document: Document, details: Document) -> None:
    document = {"_id": 1, **document}
    assert not compile_filter(filter, Context())(document)
    found = refusal(filter, document, Context())
    assert found == {"failingDocumentId": 1, "details": details}
    assert bson.encode(found) == bson.encode({"failingDocumentId": 1, "details": details})


def test_what_would_be_long_is_not_quoted() -> None:
    long = "x" * MOST_BYTES
    found = refusal({"a": 1, "b": 1}, {"_id": 1, "a": long, "b": 2}, Context())
    assert found["truncated"] is True
    failing = [{"operatorName": "$eq", "reason": "comparison failed"}] * 2
    assert [clause["details"] for clause in found["details"]["clausesNotSatisfied"]] == failing
    many = {"$jsonSchema": {"allOf": [{"additionalProperties": False}] * 50}}
    wide = {"_id": 1, **{f"f{number}": 1 for number in range(5_000)}}
    assert refusal(many, wide, Context()) == {"failingDocumentId": 1, "note": "detailed error was too large"}
    assert refusal(many, {**wide, "_id": long}, Context()) == {"note": "detailed error was too large"}


def test_what_would_be_deep_is_not_told() -> None:
    schema: Document = BSON_INT
    for _ in range(60):
        schema = {"properties": {"a": schema}}
    document: Any = "x"
    for _ in range(60):
        document = {"a": document}
    found = refusal({"$jsonSchema": schema}, {"_id": 1, **document}, Context())
    assert found["details"] == {"reason": "generated error was too deeply nested", "truncated": True}


def test_filters_and_schemas_as_deep_as_can_be() -> None:
    schema: Document = BSON_INT
    for _ in range(95):
        schema = {"allOf": [schema]}
    filter: Document = {"$jsonSchema": schema}
    for _ in range(95):
        filter = {"$and": [filter]}
    with pytest.raises(DataError):
        compile_filter({"$and": [{"$and": [{"$and": [{"$and": [{"$and": [{"$and": [filter]}]}]}]}]}]}, Context())
    assert refusal(filter, {"_id": 1}, Context())["details"]["truncated"] is True


def test_an_explanation_ends_at_the_deadline() -> None:
    schema = {"properties": {"a": {"items": {"pattern": "^x"}}}}
    with pytest.raises(StoreTimeout):
        refusal({"$jsonSchema": schema}, {"a": ["x"] * 10_000 + ["y"]}, Context(time.monotonic() - 1))
