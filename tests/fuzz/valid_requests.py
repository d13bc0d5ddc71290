"""Requests that are right: what the fuzzer starts from. Every action, every operator and stage, the client API."""

from __future__ import annotations

import copy
from typing import Any

from doorleaf.errors import DataError
from doorleaf.mql.context import Context
from doorleaf.mql.expressions import OPERATORS, compile_expression
from doorleaf.openapi import EXAMPLES

Body = dict[str, Any]

PLACE = {"database": "fuzz", "collection": "things"}
OTHER = {"database": "fuzz", "collection": "others"}
OID = {"$oid": "64224f3cd79f54ad342dd9b1"}
DATE = {"$date": "2026-01-15T10:30:00.123Z"}
BINARY = {"$binary": {"base64": "AAEC", "subType": "00"}}

THINGS: list[Body] = [
    {"_id": 1, "n": 1, "s": "one", "tags": ["x", "y"], "d": DATE, "sub": {"a": 1, "b": [1, 2]}},
    {"_id": 2, "n": 2.5, "s": "Two words", "tags": [], "list": [{"a": 1, "b": "x"}, {"a": 2}], "ok": True},
    {"_id": "three", "n": {"$numberDecimal": "3.10"}, "s": "", "o": OID, "bin": BINARY, "nul": None},
    {
        "_id": OID,
        "n": {"$numberLong": "9007199254740993"},
        "re": {"$regularExpression": {"pattern": "a", "options": "i"}},
    },
    {"_id": {"k": 1}, "code": {"$code": "x"}, "ts": {"$timestamp": {"t": 5, "i": 1}}, "min": {"$minKey": 1}},
    {"_id": 6, "n": {"$numberDouble": "NaN"}, "list": [[1, 2], [3], "s", None], "items": [3, 1, 2], "ref": 1},
]
OTHERS: list[Body] = [{"_id": 1, "name": "first", "of": 1}, {"_id": 2, "name": "second", "of": 2, "parent": 1}]

FILTERS: list[Body] = [
    {"n": {"$gt": 0, "$lte": 10}, "s": {"$ne": "x"}},
    {
        "$or": [{"n": {"$in": [1, 2, None]}}, {"s": {"$nin": ["a"]}}],
        "$nor": [{"x": 1}],
        "$and": [{"n": {"$exists": True}}],
    },
    {"tags": {"$all": ["x", "y"]}, "list": {"$elemMatch": {"a": {"$gte": 1}, "b": "x"}}, "items": {"$size": 3}},
    {"s": {"$regex": "^o", "$options": "i"}, "n": {"$type": ["int", "double", 18]}, "$comment": "c"},
    {"n": {"$mod": [2, 0]}, "ref": {"$bitsAllSet": [0]}, "m": {"$bitsAnyClear": 5}, "k": {"$not": {"$lt": 3}}},
    {"$expr": {"$and": [{"$gt": ["$n", 0]}, {"$eq": [{"$type": "$s"}, "string"]}]}, "$alwaysTrue": 1},
    {
        "$jsonSchema": {
            "bsonType": "object",
            "required": ["_id"],
            "properties": {
                "n": {"bsonType": ["int", "double"], "minimum": 0},
                "s": {"type": "string", "pattern": "^o"},
            },
            "patternProperties": {"^t": {"type": "array", "items": {"enum": ["x", "y"]}, "maxItems": 9}},
            "dependencies": {"a": ["b"]},
            "anyOf": [{"minProperties": 1}, {"not": {"title": "x"}}],
            "additionalProperties": True,
        }
    },
    {"sub.a": 1, "list.0.a": {"$eq": 1}, "tags": {"$elemMatch": {"$in": ["x"]}}, "$sampleRate": 0.5},
    {"tags": {"$not": {"$regularExpression": {"pattern": "z", "options": ""}}}, "_id": {"$gte": {"$minKey": 1}}},
]

PROJECTIONS: list[Body] = [
    {"n": 1, "sub.a": 1, "_id": 0},
    {"tags": 0, "sub": {"b": 0}},
    {"list": {"$elemMatch": {"a": 1}}, "items": {"$slice": [0, 2]}, "n": 1},
    {"x": {"$add": ["$n", 1]}, "y": "$sub.a", "z": {"$literal": 1}},
    {"tags": {"$slice": -1}},
]

UPDATES: list[Any] = [
    {"$set": {"a": 1, "sub.a": 2, "items.0": 5}, "$unset": {"nul": ""}, "$inc": {"ref": 1}, "$rename": {"s": "t"}},
    {"$push": {"tags": {"$each": ["a", "b"], "$position": 0, "$slice": -5, "$sort": 1}}, "$pop": {"items": 1}},
    {"$push": {"list": {"$each": [{"a": 3}], "$sort": {"a": -1}}}, "$pull": {"tags": {"$in": ["a", "x"]}}},
    {
        "$addToSet": {"tags": {"$each": ["q", "r"]}},
        "$pullAll": {"items": [1, 2]},
        "$min": {"m": 1},
        "$max": {"x": DATE},
    },
    {"$mul": {"ref": 2}, "$bit": {"bits": {"or": 5}}, "$currentDate": {"at": {"$type": "timestamp"}, "on": True}},
    {"$setOnInsert": {"made": DATE}, "$set": {"list.$[].c": 1}},
    [
        {"$set": {"sum": {"$add": [{"$ifNull": ["$ref", 0]}, 1]}}},
        {"$unset": ["gone", "sub.zz"]},
        {"$project": {"code": 0}},
    ],
    [{"$replaceWith": {"$mergeObjects": ["$$ROOT", {"new": "$$NOW"}]}}, {"$addFields": {"w": {"$toString": "$_id"}}}],
]

_NAMED: dict[str, Any] = {
    "$convert": {"input": "$s", "to": "string", "onError": 1, "onNull": None},
    "$dateAdd": {"startDate": "$d", "unit": "day", "amount": 1, "timezone": "Europe/Berlin"},
    "$dateDiff": {"startDate": "$d", "endDate": "$$NOW", "unit": "week", "startOfWeek": "monday"},
    "$dateSubtract": {"startDate": "$d", "unit": "month", "amount": 1},
    "$dateFromParts": {"year": 2026, "month": 2, "day": 3, "hour": 1, "timezone": "+02:00"},
    "$dateFromString": {"dateString": "2026-01-02", "format": "%Y-%m-%d", "timezone": "UTC", "onError": None},
    "$dateToParts": {"date": "$d", "timezone": "UTC", "iso8601": True},
    "$dateToString": {"date": "$d", "format": "%Y-%j %H:%M", "timezone": "America/New_York", "onNull": "x"},
    "$dateTrunc": {"date": "$d", "unit": "hour", "binSize": 2, "timezone": "UTC"},
    "$cond": {"if": {"$gt": ["$n", 1]}, "then": "$n", "else": 0},
    "$filter": {"input": "$tags", "as": "t", "cond": {"$eq": ["$$t", "x"]}, "limit": 1},
    "$map": {"input": "$items", "as": "i", "in": {"$add": ["$$i", 1]}},
    "$reduce": {"input": "$items", "initialValue": 0, "in": {"$add": ["$$value", "$$this"]}},
    "$let": {"vars": {"v": "$n"}, "in": {"$multiply": ["$$v", 2]}},
    "$zip": {"inputs": ["$tags", "$items"], "useLongestLength": True, "defaults": [0, 0]},
    "$switch": {"branches": [{"case": {"$eq": ["$n", 1]}, "then": "a"}], "default": "b"},
    "$getField": {"field": "n", "input": "$$ROOT"},
    "$setField": {"field": "n", "input": "$$ROOT", "value": 1},
    "$unsetField": {"field": "n", "input": "$$ROOT"},
    "$regexFind": {"input": "$s", "regex": "o", "options": "i"},
    "$regexFindAll": {"input": "$s", "regex": "[a-z]"},
    "$regexMatch": {"input": "$s", "regex": {"$regularExpression": {"pattern": "w", "options": ""}}},
    "$replaceAll": {"input": "$s", "find": "o", "replacement": "0"},
    "$replaceOne": {"input": "$s", "find": "o", "replacement": "0"},
    "$trim": {"input": "$s", "chars": " o"},
    "$ltrim": {"input": "$s"},
    "$rtrim": {"input": "$s", "chars": "e"},
    "$sortArray": {"input": "$items", "sortBy": 1},
    "$firstN": {"input": "$items", "n": 2},
    "$lastN": {"input": "$items", "n": 2},
    "$minN": {"input": "$items", "n": 2},
    "$maxN": {"input": "$items", "n": 2},
    "$percentile": {"input": "$items", "p": [0.5, 0.9], "method": "approximate"},
    "$median": {"input": "$items", "method": "approximate"},
    "$range": [0, 5, 2],
    "$slice": ["$items", 1, 2],
    "$substrCP": ["$s", 0, 2],
    "$substr": ["$s", 0, -1],
    "$substrBytes": ["$s", 0, 1],
    "$split": ["$s", " "],
    "$arrayToObject": [[["a", 1], ["b", 2]]],
    "$indexOfCP": ["$s", "o", 0, 5],
    "$mergeObjects": ["$sub", {"x": 1}],
    "$objectToArray": "$sub",
    "$literal": {"$x": 1},
    "$rand": {},
    "$concat": ["$s", "-", "$s"],
    "$concatArrays": ["$tags", "$items"],
    "$in": ["x", "$tags"],
    "$setUnion": ["$tags", ["z"]],
    "$setIsSubset": [["x"], "$tags"],
    "$toString": "$n",
    "$strcasecmp": ["$s", "ONE"],
    "$round": ["$n", 1],
}

STAGES: list[Body] = [
    {"$group": {"_id": {"k": "$s"}, "n": {"$sum": "$n"}, "all": {"$push": "$$ROOT"}, "set": {"$addToSet": "$tags"}}},
    {"$group": {"_id": None, "a": {"$avg": "$n"}, "t": {"$topN": {"n": 2, "sortBy": {"n": 1}, "output": "$s"}}}},
    {"$group": {"_id": "$ok", "f": {"$firstN": {"input": "$n", "n": 2}}, "d": {"$stdDevPop": "$n"}}},
    {"$group": {"_id": "$ok", "c": {"$count": {}}, "m": {"$median": {"input": "$n", "method": "approximate"}}}},
    {"$sort": {"n": -1, "_id": 1}},
    {"$unwind": {"path": "$tags", "includeArrayIndex": "i", "preserveNullAndEmptyArrays": True}},
    {"$bucket": {"groupBy": "$n", "boundaries": [0, 2, 100], "default": "other", "output": {"c": {"$sum": 1}}}},
    {"$bucketAuto": {"groupBy": "$n", "buckets": 2, "output": {"c": {"$sum": 1}}, "granularity": "R5"}},
    {"$bucketAuto": {"groupBy": "$n", "buckets": 3}},
    {"$facet": {"a": [{"$match": {"n": 1}}, {"$count": "c"}], "b": [{"$sortByCount": "$s"}]}},
    {"$graphLookup": {"from": "others", "startWith": "$n", "connectFromField": "of", "connectToField": "_id", "as": "g"}
     | {"maxDepth": 2, "depthField": "depth", "restrictSearchWithMatch": {"name": {"$ne": "x"}}}},
    {"$lookup": {"from": "others", "localField": "n", "foreignField": "of", "as": "o"}},
    {"$lookup": {"from": "others", "let": {"v": "$n"}, "pipeline": [{"$match": {"$expr": {"$eq": ["$of", "$$v"]}}}],
                 "as": "o"}},
    {"$unionWith": {"coll": "others", "pipeline": [{"$project": {"name": 1}}]}},
    {"$redact": {"$cond": [{"$eq": ["$ok", True]}, "$$KEEP", "$$DESCEND"]}},
    {"$project": {"a": {"$ifNull": ["$n", 0]}, "b": ["$s", "$n"], "sub.a": 1}},
    {"$addFields": {"sub.c": {"$size": {"$ifNull": ["$tags", []]}}, "list.x": 1}},
    {"$replaceRoot": {"newRoot": {"$ifNull": ["$sub", {}]}}},
    {"$sample": {"size": 3}},
    {"$unset": ["tags", "sub.a"]},
    {"$limit": 3},
    {"$skip": 1},
    {"$count": "total"},
    {"$match": {"n": {"$gte": 1}}},
    {"$unionWith": {"pipeline": [{"$documents": [{"a": 1}, {"a": 2}]}]}},
    {"$merge": {"into": "made", "on": "_id", "whenMatched": "replace", "whenNotMatched": "insert"}},
    {"$merge": {"into": {"db": "fuzz", "coll": "made"}, "whenMatched": [{"$set": {"x": "$$new.n"}}]}},
    {"$out": {"db": "fuzz", "coll": "made"}},
    {"$out": "made"},
]  # fmt: skip

COMMANDS: list[Body] = [
    {"ping": 1},
    {"buildInfo": 1},
    {"hello": 1},
    {"connectionStatus": 1, "showPrivileges": True},
    {"hostInfo": 1},
    {"serverStatus": 1},
    {"listCommands": 1},
    {"dbStats": 1, "scale": 1024},
    {"collStats": "things", "scale": 1},
    {"validate": "things", "full": True},
    {"dataSize": "fuzz.things", "estimate": True},
    {"collMod": "things", "validationLevel": "moderate", "index": {"keyPattern": {"n": 1}, "hidden": False}},
    {"aggregate": 1, "pipeline": [{"$documents": [{"a": 1}]}, {"$match": {"a": 1}}], "cursor": {}},
    {
        "count": "things",
        "query": {"n": {"$gt": 0}},
        "limit": 5,
        "skip": 1,
        "hint": "_id_",
        "collation": {"locale": "simple"},
    },
    {"distinct": "things", "key": "tags", "query": {"n": 1}},
    {"find": "things", "filter": {"n": 1}, "sort": {"n": 1}, "projection": {"n": 1}, "limit": 3, "let": {"v": 1}},
    {"aggregate": "things", "pipeline": [{"$match": {"n": 1}}, {"$count": "c"}], "cursor": {}},
    {"explain": {"find": "things", "filter": {"n": 1}, "sort": {"n": 1}}, "verbosity": "queryPlanner"},
    {
        "explain": {"aggregate": "things", "pipeline": [{"$match": {"n": 1}}], "cursor": {}},
        "verbosity": "executionStats",
    },
    {"explain": {"count": "things", "query": {"n": 1}}},
    {"listCollections": 1, "filter": {"name": "things"}, "nameOnly": True},
    {"listIndexes": "things", "cursor": {}},
    {"listDatabases": 1, "nameOnly": True, "filter": {"name": "fuzz"}},
    {"create": "strict", "validator": {"n": {"$gt": 0}}, "validationLevel": "strict", "validationAction": "error"},
    {"drop": "strict"},
    {"createIndexes": "things", "indexes": [{"key": {"s": 1, "n": -1}, "name": "s_n", "sparse": True}]},
    {"createIndexes": "things", "indexes": [{"key": {"d": 1}, "name": "d", "expireAfterSeconds": 999_999_999}]},
    {"dropIndexes": "things", "index": ["s_n"]},
    {"dropIndexes": "things", "index": {"d": 1}},
]

INDEXES: list[Body] = [
    {"keys": {"n": 1}, "options": {"name": "by_n", "unique": False, "sparse": True}},
    {"keys": {"tags": 1, "s": -1}, "options": {"partialFilterExpression": {"n": {"$gt": 0}}}},
    {"keys": {"ref": "hashed"}, "options": {"hidden": True, "background": True}},
    {"keys": {"gone": 1}, "options": {"expireAfterSeconds": 1000, "collation": {"locale": "simple"}}},
]


def requests() -> list[tuple[str, Body]]:
    """(action, body), each of which is answered without a 500 on :data:`THINGS` and :data:`OTHERS`."""
    found: list[tuple[str, Body]] = [
        (action, example.request) for action, examples in EXAMPLES.items() for example in examples
    ]
    for number, filter in enumerate(FILTERS):
        projection, update = PROJECTIONS[number % len(PROJECTIONS)], UPDATES[number % len(UPDATES)]
        query = {**PLACE, "filter": filter}
        found += [
            ("find", {**query, "projection": projection, "sort": {"n": 1, "sub.a": -1}, "limit": 5, "skip": 1}),
            ("findOne", {**query, "projection": projection, "let": {"v": 1}, "collation": {"locale": "simple"}}),
            ("countDocuments", {**query, "limit": 3, "skip": 1, "hint": {"_id": 1}, "maxTimeMS": 1000}),
            ("distinct", {**query, "key": "list.a"}),
            ("updateOne", {**query, "update": update, "sort": {"n": 1}, "comment": "c", "upsert": True}),
            ("updateMany", {**query, "update": update}),
            ("findOneAndUpdate", {**query, "update": update, "projection": projection, "returnNewDocument": True}),
            ("findOneAndReplace", {**query, "replacement": {"a": 1, "b": [DATE]}, "returnDocument": "before"}),
            ("findOneAndDelete", {**query, "sort": {"n": 1}, "hint": "_id_"}),
            ("deleteOne", {**query, "collation": None}),
            ("replaceOne", {**query, "replacement": {"r": 1, "$x": 2} if number == 1 else {"r": 1}, "upsert": True}),
            ("runCommand", {"database": "fuzz", "command": {"create": f"v{number}", "validator": filter}}),
        ]
    filtered = {"$set": {"list.$[e].b": 1, "tags.$": "q"}}
    found.append(("updateOne", {**PLACE, "filter": {"tags": "x"}, "update": filtered, "arrayFilters": [{"e.a": 1}]}))
    for operator in OPERATORS:
        argument = _NAMED.get(operator, ["$n", 1])
        for value in (argument, "$n"):
            if _compiles({operator: value}):
                found.append(
                    ("aggregate", {**PLACE, "pipeline": [{"$match": {"_id": 1}}, {"$set": {"x": {operator: value}}}]})
                )
    for number, stage in enumerate(STAGES):
        pipeline = [STAGES[(number * 7) % 24], stage]
        found.append(("aggregate", {**PLACE, "pipeline": [stage], "allowDiskUse": False, "let": {"v": 1}}))
        found.append(("aggregate", {**PLACE, "pipeline": pipeline, "hint": "_id_"}))
    found += [("runCommand", {"database": "fuzz", "command": command}) for command in COMMANDS]
    found += [("createIndex", {**PLACE, **index}) for index in INDEXES]
    found += [("dropIndex", {**PLACE, "name": "by_n"}), ("listIndexes", PLACE), ("estimatedDocumentCount", PLACE)]
    found += [
        ("insertMany", {**OTHER, "documents": THINGS, "ordered": False}),
        ("insertOne", {**OTHER, "document": {}}),
    ]
    found.append(("createCollection", {**PLACE, "collection": "new", "options": {"validator": FILTERS[6]}}))
    found.append(("renameCollection", {**PLACE, "collection": "new", "to": "newer", "dropTarget": True}))
    found.append(("dropCollection", {**PLACE, "collection": "newer"}))
    found.append(("bulkWrite", {**PLACE, "ordered": False, "operations": _writes()}))
    return copy.deepcopy(found)


def _compiles(expression: Body) -> bool:
    try:
        compile_expression(expression, Context())
    except DataError:
        return False
    return True


def _writes() -> list[Body]:
    return [
        {"insertOne": {"document": {"_id": 50}}},
        {"updateOne": {"filter": {"_id": 50}, "update": UPDATES[0], "upsert": True, "collation": {"locale": "simple"}}},
        {"updateMany": {"filter": {"n": {"$gt": 5}}, "update": UPDATES[6]}},
        {"replaceOne": {"filter": {"_id": 50}, "replacement": {"z": 1}, "hint": "_id_"}},
        {"deleteOne": {"filter": {"_id": 50}}},
        {"deleteMany": {"filter": {"z": 1}}},
    ]


CLIENT: dict[str, str] = {
    "findOne": "findOne",
    "find": "find",
    "insertOne": "insertOne",
    "insertMany": "insertMany",
    "updateOne": "updateOne",
    "updateMany": "updateMany",
    "deleteOne": "deleteOne",
    "deleteMany": "deleteMany",
    "aggregate": "aggregate",
    "countDocuments": "count",
    "distinct": "distinct",
    "findOneAndUpdate": "findOneAndUpdate",
    "findOneAndReplace": "findOneAndReplace",
    "findOneAndDelete": "findOneAndDelete",
}
"""What the client API calls an action."""


def client_call(action: str, body: Body) -> Body:
    """The same request as a function call of the client API."""
    fields = {name: value for name, value in body.items() if name != "dataSource"}
    for own, named in (("filter", "query"), ("projection", "project")):
        if own in fields:
            fields[named] = fields.pop(own)
    return {"name": CLIENT[action], "arguments": [fields], "service": "mongodb-atlas"}
