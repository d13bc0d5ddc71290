"""Aggregation stages that are wrong or not there: the server's error, or a refusal by name."""

from __future__ import annotations

from typing import Any

import pytest
from pipeline_checks import GRAPH, LOOKUP, NOW, ONE, check, run

from doorleaf.errors import Unsupported
from doorleaf.mql.context import Context
from doorleaf.mql.stages.compile import REFUSED_STAGES, STAGES, compile_pipeline


def without(specification: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in specification.items() if key != name}


LONG = "a" + ".b" * 200

ERRORS = [
    ([{"$who": 1}], 40324, "Unrecognized pipeline stage name: '$who'."),
    ([{"match": {}}], 40324, "Unrecognized pipeline stage name: 'match'."),
    ([{"$match": {}, "$limit": 1}], 40323, "A pipeline stage specification object must contain exactly one field."),
    ([{}], 40323, "A pipeline stage specification object must contain exactly one field."),
    ([5], 14, "Each element of the 'pipeline' array must be an object"),
    ([{"$match": 5}], 15959, "the match filter must be an expression in an object"),
    ([{"$match": {"$nope": 1}}], 2, "unknown top level operator: $nope"),
    ([{"$project": 5}], 15969, "$project specification must be an object"),
    ([{"$project": {}}], 51272, "Invalid $project :: caused by :: projection specification must have at least one"),
    ([{"$project": {"a": 1, "b": 0}}], 31254, "Invalid $project :: caused by :: Cannot do exclusion on field b"),
    ([{"$set": 5}], 40272, "$set specification stage must be an object, got int"),
    ([{"$addFields": "x"}], 40272, "$addFields specification stage must be an object, got string"),
    ([{"$set": {}}], 40177, "Invalid $set :: caused by :: specification must have at least one field"),
    ([{"$set": {"a": {}}}], 40180, "Found empty object at path a"),
    ([{"$set": {"a": 1, "a.b": 1}}], 40176, "Cannot specify both 'a.b' and 'a'"),
    ([{"$set": {"a.b": 1, "a": 1}}], 40176, "Cannot specify both 'a' and 'a'"),
    ([{"$set": {"a": {"b.c": 1}}}], 40183, "cannot use dotted field name 'b.c' in a sub object"),
    ([{"$set": {"$a": 1}}], 16410, "FieldPath field names may not start with '$'"),
    ([{"$set": {"a": {"$nope": 1}}}], 168, "Unrecognized expression '$nope'"),
    ([{"$unset": 5}], 31002, "$unset specification must be a string or an array"),
    ([{"$unset": []}], 31119, "at least one field"),
    ([{"$unset": ["a", 5]}], 31120, "containing only string values"),
    ([{"$unset": ""}], 40352, "FieldPath cannot be constructed with empty string"),
    ([{"$unset": ["a", "a.b"]}], 40176, "two conflicting paths"),
    ([{"$replaceRoot": 5}], 40229, "expected an object as specification for $replaceRoot stage, got int"),
    ([{"$replaceRoot": {}}], 40414, "newRoot' is missing"),
    ([{"$replaceRoot": {"newRoot": "$a", "x": 1}}], 40415, "x' is an unknown field"),
    ([{"$replaceRoot": {"newRoot": "$a"}}], 40228, "'newRoot' expression  must evaluate to an object"),
    ([{"$replaceWith": "$a"}], 40228, "Type of resulting value: 'int'. Input document: { _id: 1, a: 1 }"),
    ([{"$replaceWith": "$nope"}], 40228, "Type of resulting value: 'missing'"),
    ([{"$redact": "x"}], 17053, "$redact's expression should not return anything aside from the variables"),
    ([{"$unwind": 5}], 15981, "expected either a string or an object as specification for $unwind stage, got int"),
    ([{"$unwind": "a"}], 28818, "path option to $unwind stage should be prefixed with a '$': a"),
    ([{"$unwind": ""}], 28812, "no path specified to $unwind stage"),
    ([{"$unwind": {}}], 28812, "no path specified to $unwind stage"),
    ([{"$unwind": {"path": 5}}], 28808, "expected a string as the path for $unwind stage, got int"),
    ([{"$unwind": {"path": "$a", "x": 1}}], 28811, "unrecognized option to $unwind stage: x"),
    ([{"$unwind": {"path": "$a", "preserveNullAndEmptyArrays": 1}}], 28809, "expected a boolean"),
    ([{"$unwind": {"path": "$a", "includeArrayIndex": ""}}], 28810, "expected a non-empty string"),
    ([{"$unwind": {"path": "$a", "includeArrayIndex": "$i"}}], 28822, "should not be prefixed with a '$': $i"),
    ([{"$limit": 0}], 15958, "the limit must be positive"),
    ([{"$limit": -1}], 5107201, "Expected a non-negative number in: $limit: -1"),
    ([{"$limit": "x"}], 5107201, 'invalid argument to $limit stage: Expected a number in: $limit: "x"'),
    ([{"$limit": 1.5}], 5107201, "Expected an integer: $limit: 1.5"),
    ([{"$limit": float("nan")}], 5107201, "Expected an integer, but found NaN in: $limit"),
    ([{"$limit": 1e30}], 5107201, "Cannot represent as a 64-bit integer"),
    ([{"$skip": -1}], 5107200, "Expected a non-negative number in: $skip: -1"),
    ([{"$skip": None}], 5107200, "Expected a number in: $skip: null"),
    ([{"$count": 5}], 40156, "the count field must be a non-empty string"),
    ([{"$count": ""}], 40157, "the count field must be a non-empty string"),
    ([{"$count": "$a"}], 40158, "the count field cannot be a $-prefixed path"),
    ([{"$count": "a\0b"}], 40159, "null byte"),
    ([{"$count": "a.b"}], 40160, "the count field cannot contain '.'"),
    ([{"$sample": 5}], 28745, "the $sample stage specification must be an object"),
    ([{"$sample": {}}], 28749, "$sample stage must specify a size"),
    ([{"$sample": {"size": "x"}}], 28746, "size argument to $sample must be a number"),
    ([{"$sample": {"size": 0}}], 28747, "must be a positive integer"),
    ([{"$sample": {"size": float("nan")}}], 28747, "must be a positive integer"),
    ([{"$sample": {"x": 1}}], 28748, "unrecognized option to $sample: x"),
    ([{"$sort": 5}], 15973, "the $sort key specification must be an object"),
    ([{"$sort": {}}], 15976, "$sort stage must have at least one sort key"),
    ([{"$sort": {"a": 2}}], 15975, "$sort key ordering must be 1 (for ascending) or -1 (for descending)"),
    ([{"$sort": {"a": "x"}}], 15974, 'Illegal key in $sort specification: a: "x"'),
    ([{"$group": 5}], 15947, "a group's fields must be specified in an object"),
    ([{"$group": {"a": {"$sum": 1}}}], 15955, "a group specification must include an _id"),
    ([{"$group": {"_id": 1, "a": 5}}], 40234, "The field 'a' must be an accumulator object"),
    ([{"$group": {"_id": 1, "a": {"x": 5}}}], 40234, "The field 'a' must be an accumulator object"),
    ([{"$group": {"_id": 1, "a.b": {"$sum": 1}}}], 40235, "The field name 'a.b' cannot contain '.'"),
    ([{"$group": {"_id": 1, "$a": {"$sum": 1}}}], 40236, "The field name '$a' cannot be an operator name"),
    ([{"$group": {"_id": 1, "a": {"$sum": 1, "$avg": 1}}}], 40238, "must specify one accumulator"),
    ([{"$group": {"_id": 1, "a": {"$nope": 1}}}], 15952, "unknown group operator '$nope'"),
    ([{"$group": {"_id": {"$nope": 1}}}], 168, "Unrecognized expression '$nope'"),
    ([{"$sortByCount": 5}], 40149, "must be specified as a string or as an object"),
    ([{"$sortByCount": "a"}], 40148, "$-prefixed path"),
    ([{"$sortByCount": {"a": 1}}], 40147, "$-prefixed path"),
    ([{"$bucket": 5}], 40201, "Argument to $bucket stage must be an object, but found type: int."),
    ([{"$bucket": {"groupBy": "$a"}}], 40198, "$bucket requires 'groupBy' and 'boundaries' to be specified."),
    ([{"$bucket": {"groupBy": "a", "boundaries": [1, 2]}}], 40202, '$-prefixed path or an expression, but found: "a".'),
    ([{"$bucket": {"groupBy": "$a", "boundaries": 1}}], 40200, "must be an array, but found type: int."),
    ([{"$bucket": {"groupBy": "$a", "boundaries": [1]}}], 40192, "at least 2 values, but found 1 value(s)."),
    ([{"$bucket": {"groupBy": "$a", "boundaries": [1, "x"]}}], 40193, "conflicting types int and string."),
    (
        [{"$bucket": {"groupBy": "$a", "boundaries": [2, 1]}}],
        40194,
        "elements 0 and 1 are not in ascending order (2 is",
    ),
    (
        [{"$bucket": {"groupBy": "$a", "boundaries": [1, "$a"]}}],
        40191,
        'array of constant values, but found value: "$a".',
    ),
    ([{"$bucket": {"groupBy": "$a", "boundaries": [1, 5], "default": 3}}], 40199, "must be less than the lowest"),
    ([{"$bucket": {"groupBy": "$a", "boundaries": [1, 5], "default": "$a"}}], 40195, "must be a constant expression"),
    (
        [{"$bucket": {"groupBy": "$a", "boundaries": [1, 5], "output": 1}}],
        40196,
        "must be an object, but found type: int",
    ),
    ([{"$bucket": {"groupBy": "$a", "boundaries": [1, 5], "x": 1}}], 40197, "Unrecognized option to $bucket: x."),
    ([{"$bucket": {"groupBy": "$a", "boundaries": [5, 6]}}], 40066, "could not find a matching branch"),
    ([{"$bucketAuto": 5}], 40240, "The argument to $bucketAuto must be an object, but found type: int."),
    ([{"$bucketAuto": {"groupBy": "$a"}}], 40246, "$bucketAuto requires 'groupBy' and 'buckets' to be specified."),
    ([{"$bucketAuto": {"groupBy": "a", "buckets": 1}}], 40239, "must be defined as a $-prefixed path"),
    ([{"$bucketAuto": {"groupBy": "$a", "buckets": "x"}}], 40241, "must be a numeric value, but found type: string."),
    ([{"$bucketAuto": {"groupBy": "$a", "buckets": 1.5}}], 40242, "must be representable as a 32-bit integer"),
    ([{"$bucketAuto": {"groupBy": "$a", "buckets": 0}}], 40243, "must be greater than 0, but found: 0."),
    ([{"$bucketAuto": {"groupBy": "$a", "buckets": 1, "output": 1}}], 40244, "must be an object"),
    ([{"$bucketAuto": {"groupBy": "$a", "buckets": 1, "x": 1}}], 40245, "Unrecognized option to $bucketAuto: x."),
    ([{"$facet": {}}], 40169, "the $facet specification must be a non-empty object"),
    ([{"$facet": {"a": 5}}], 40170, "arguments to $facet must be arrays, a is type int"),
    ([{"$facet": {"a": [5]}}], 40171, "argument contained an element of type int"),
    ([{"$facet": {"a": [{"$facet": {"b": []}}]}}], 40600, "$facet is not allowed to be used within a $facet stage"),
    ([{"$facet": {"a": [{"$out": "x"}]}}], 40600, "$out is not allowed to be used within a $facet stage"),
    ([{"$facet": {"a": [{"$nope": 1}]}}], 40324, "Unrecognized pipeline stage name: '$nope'."),
    ([{"$facet": {"a.b": []}}], 16412, "FieldPath field names may not contain '.'"),
    ([{"$facet": {"$a": []}}], 16410, "FieldPath field names may not start with '$'"),
    ([{"$lookup": 5}], 9, "the $lookup stage specification must be an object, but found int"),
    ([{"$lookup": {**LOOKUP, "x": 1}}], 9, "unknown argument to $lookup: x"),
    ([{"$lookup": without(LOOKUP, "as")}], 9, "must specify 'as' field for a $lookup"),
    ([{"$lookup": without(LOOKUP, "from")}], 9, "must specify 'pipeline' when 'from' is empty"),
    ([{"$lookup": without(LOOKUP, "localField")}], 9, "requires both or neither of 'localField' and 'foreignField'"),
    ([{"$lookup": {"from": "x", "as": "y"}}], 9, "$lookup requires either 'pipeline' or both"),
    ([{"$lookup": {**LOOKUP, "as": 5}}], 9, "$lookup argument 'as: 5' must be a string, is type int"),
    ([{"$lookup": {**LOOKUP, "from": 5}}], 9, "$lookup 'from' field must be a string, but found int"),
    ([{"$lookup": {**LOOKUP, "from": {"db": "d", "coll": "c"}}}], 9, "is not supported for db: d and coll: c"),
    ([{"$lookup": {**LOOKUP, "from": ""}}], 73, "invalid $lookup namespace"),
    ([{"$lookup": {**LOOKUP, "let": {"a": 1}}}], 9, "$lookup with a 'let' argument must also specify 'pipeline'"),
    ([{"$lookup": {**LOOKUP, "pipeline": 5}}], 14, "'pipeline' option must be specified as an array"),
    ([{"$lookup": {**LOOKUP, "pipeline": [{"$nope": 1}]}}], 40324, "'$nope'"),
    (
        [{"$lookup": {**LOOKUP, "pipeline": [{"$out": "x"}]}}],
        51047,
        "$out is not allowed within a $lookup's sub-pipeline",
    ),
    ([{"$lookup": {**LOOKUP, "let": {"A": 1}, "pipeline": []}}], 9, "starts with an invalid character"),
    ([{"$lookup": {**LOOKUP, "pipeline": [{"$set": {"x": "$$y"}}]}}], 17276, "Use of undefined variable: y"),
    ([{"$lookup": {**LOOKUP, "as": "$x"}}], 16410, "FieldPath field names may not start with '$'"),
    ([{"$unionWith": 5}], 9, "the $unionWith stage specification must be an object or string, but found int"),
    ([{"$unionWith": {}}], 9, "must have a pipeline with $documents as first stage"),
    ([{"$unionWith": {"coll": "x", "y": 1}}], 40415, "is an unknown field"),
    ([{"$unionWith": {"coll": 5}}], 14, "is the wrong type 'int', expected type 'string'"),
    ([{"$unionWith": {"coll": "x", "pipeline": [{"$out": "y"}]}}], 31441, "$out is not allowed within a $unionWith's"),
    ([{"$graphLookup": 5}], 9, "the $graphLookup stage specification must be an object, but found int"),
    ([{"$graphLookup": without(GRAPH, "from")}], 9, "missing 'from' option to $graphLookup stage specification"),
    ([{"$graphLookup": without(GRAPH, "startWith")}], 40105, "$graphLookup requires 'from', 'as', 'startWith'"),
    ([{"$graphLookup": {**GRAPH, "maxDepth": "x"}}], 40100, "maxDepth must be numeric, found type: string"),
    ([{"$graphLookup": {**GRAPH, "maxDepth": -1}}], 40101, "maxDepth requires a nonnegative argument, found: -1"),
    ([{"$graphLookup": {**GRAPH, "maxDepth": 1.5}}], 40102, "could not be represented as a long long"),
    ([{"$graphLookup": {**GRAPH, "as": 5}}], 40103, "expected string as argument for as, found: 5"),
    ([{"$graphLookup": {**GRAPH, "x": 5}}], 40104, "Unknown argument to $graphLookup: x"),
    ([{"$graphLookup": {**GRAPH, "restrictSearchWithMatch": 5}}], 40185, "must be an object, found int"),
    ([{"$documents": []}], 73, "'$documents'"),
    (
        [{"$lookup": {**LOOKUP, "pipeline": [{"$limit": 1}, {"$documents": []}]}}],
        40602,
        "only valid as the first stage",
    ),
    ([{"$out": "x"}, {"$limit": 1}], 40601, "$out can only be the final stage in the pipeline"),
    ([{"$merge": "x"}, {"$limit": 1}], 40601, "$merge can only be the final stage in the pipeline"),
    ([{"$limit": 1}] * 1001, 7749501, "Pipeline length must be no longer than 1000 stages"),
    ([{"$set": {"x": "$$nope"}}], 17276, "Use of undefined variable: nope"),
    ([{"$set": {"x": f"${LONG}"}}], 5984700, "FieldPath is too long"),
    ([{"$unwind": f"${LONG}"}], 5984700, "FieldPath is too long"),
    ([{"$lookup": {**LOOKUP, "as": LONG}}], 5984700, "FieldPath is too long"),
    ([{"$graphLookup": {**GRAPH, "as": LONG}}], 5984700, "FieldPath is too long"),
    ([{"$sort": {LONG: 1}}], 5984700, "FieldPath is too long"),
]


@pytest.mark.parametrize(("pipeline", "number", "text"), ERRORS)
def test_errors(pipeline: Any, number: int, text: str) -> None:
    check(ONE, pipeline, (number, text))


@pytest.mark.parametrize("name", REFUSED_STAGES)
def test_what_is_not_there_is_refused_by_name(name: str) -> None:
    assert name not in STAGES
    with pytest.raises(Unsupported) as caught:
        compile_pipeline([{name: {}}], Context(now=NOW))
    assert name in caught.value.message


def test_refused_parts() -> None:
    with pytest.raises(Unsupported) as caught:
        run(ONE, [{"$bucketAuto": {"groupBy": "$a", "buckets": 1, "granularity": "R5"}}])
    assert "granularity" in caught.value.message
    with pytest.raises(Unsupported):
        compile_pipeline([], Context(now=NOW), collation={"locale": "fr"})
