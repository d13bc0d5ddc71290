"""Requests that mean harm: each is a few hundred bytes, or a few megabytes, that used to stop a server."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Fields = dict[str, Any]

BACKTRACKING = (
    "(a|aa)+$",
    "(a+)+$",
    "(a*)*b",
    "(?:a{0,1000}){0,1000}$",
    "(.*a){25}$",
    "(a|a?)+$",
    "(a+a+)+b",
    "^(([a-z])+.)+[A-Z]$",
)
LONG = "a" * 60 + "!"
PRIME = 2**61 - 1


@dataclass(frozen=True)
class Hostile:
    """One request: its name, the action, its body, and whether its client stays for the answer."""

    name: str
    action: str
    body: bytes
    limit: float
    leaves: bool = False


def regex(pattern: str) -> Fields:
    return {"$regexMatch": {"input": LONG, "regex": pattern}}


def colliding(count: int) -> list[Fields]:
    """Decimals that hash alike in Python."""
    return [{"$numberDecimal": str(12345 + number * PRIME)} for number in range(count)]


def ranges(size: int = 900_000) -> Fields:
    return {"$range": [0, size]}


def _patterns() -> Iterator[tuple[str, str, Fields]]:
    for pattern in BACKTRACKING:
        evil = {"text": {"$regex": pattern}}
        expression = {"$expr": regex(pattern)}
        yield "regex in find", "find", {"filter": evil}
        yield "regex in findOne", "findOne", {"filter": {"$nor": [evil]}}
        yield "regex in count", "countDocuments", {"filter": evil}
        yield "regex in expr", "find", {"filter": expression}
        yield "regex in a place that is not there", "find", {"filter": expression, "collection": "nowhere"}
        yield "regex in projection", "find", {"projection": {"x": regex(pattern)}}
        yield "regex in let", "find", {"filter": {}, "let": {"v": regex(pattern)}}
        yield "regex in aggregate", "aggregate", {"pipeline": [{"$match": evil}, {"$count": "n"}]}
        yield "regex in distinct", "distinct", {"key": "n", "filter": evil}
        yield "regex in update", "updateMany", {"filter": evil, "update": {"$set": {"x": 1}}}
        yield (
            "regex in update pipeline",
            "updateOne",
            {"filter": {"_id": 1}, "update": [{"$set": {"x": regex(pattern)}}]},
        )
        yield "regex in pull", "updateMany", {"filter": {}, "update": {"$pull": {"words": {"$regex": pattern}}}}
        yield "regex in delete", "deleteMany", {"filter": {"$and": [{"n": -1}, evil, expression]}}
        yield "regex in findOneAndDelete", "findOneAndDelete", {"filter": {**expression, "n": -1}}
        yield (
            "regex in arrayFilters",
            "updateMany",
            {"filter": {}, "update": {"$set": {"words.$[w]": 1}}, "arrayFilters": [{"w": {"$regex": pattern}}]},
        )


def _strings() -> Iterator[tuple[str, str, Fields]]:
    for size in (100_000, 300_000, 700_000):
        chars = "b" * size + "a"
        yield "trim", "aggregate", {"pipeline": [{"$project": {"x": {"$trim": {"input": "a" * size, "chars": chars}}}}]}
        yield (
            "rtrim in update",
            "updateOne",
            {
                "filter": {"_id": 2},
                "update": [{"$set": {"x": {"$rtrim": {"input": "a" * size, "chars": chars}}}}],
            },
        )
        yield (
            "replaceAll",
            "aggregate",
            {
                "pipeline": [
                    {"$project": {"x": {"$replaceAll": {"input": "a" * size, "find": "a", "replacement": "b" * 1000}}}}
                ]
            },
        )
    yield "many brackets", "find", {"filter": {"text": {"$regex": "[" * 32764}}}
    for pattern in ("(?R)", "(?:(?R))*a", "(a(?R)?b)*"):
        yield "recursion", "find", {"filter": {"text": {"$regex": pattern}}}


def _loops() -> Iterator[tuple[str, str, Fields]]:
    doubled: Fields = {f"f{number}": {"$first": "$$ROOT"} for number in range(2)}
    shared: list[Fields] = [{"$group": {"_id": None, **doubled}} for _ in range(40)]
    yield "shared structures", "aggregate", {"pipeline": [*shared, {"$sort": {"f0": 1}}]}
    yield "shared structures sized", "aggregate", {"pipeline": [*shared, {"$project": {"x": {"$bsonSize": "$$ROOT"}}}]}
    for count in (1_000, 5_000):
        options = [{"numbers": {"$gt": -number - 1, "$lt": -number}} for number in range(count)]
        yield "or over an array", "find", {"collection": "arrays", "filter": {"$or": options}}
        yield "or over an array, counted", "countDocuments", {"collection": "arrays", "filter": {"$or": options}}
        pulled = {"numbers": {"$or": [{"$eq": -number} for number in range(count)]}}
        yield "pull", "updateMany", {"collection": "arrays", "filter": {}, "update": {"$pull": pulled}}
        yield (
            "pull of many",
            "updateMany",
            {
                "collection": "arrays",
                "filter": {},
                "update": {"$pull": {"numbers": {"$nin": [*range(100_000)], "$in": [*range(-count, 0)]}}},
            },
        )
        filters = [{"e": {"$or": [{"e": -number} for number in range(count)]}}]
        yield (
            "arrayFilters",
            "updateMany",
            {
                "collection": "arrays",
                "filter": {},
                "update": {"$set": {"numbers.$[e]": 0}},
                "arrayFilters": [{"$or": [{"e": -number - 1} for number in range(count)]}] if count else filters,
            },
        )
    cross = [{"$lookup": {"from": "docs", "pipeline": [], "as": "x"}}, {"$unwind": "$x"}] * 3
    yield "cross products", "aggregate", {"pipeline": [*cross, {"$count": "n"}]}
    mapped = {"$map": {"input": ranges(9000), "in": {"$map": {"input": ranges(9000), "in": 1}}}}
    yield "maps in maps", "aggregate", {"pipeline": [{"$project": {"x": {"$size": mapped}}}]}
    reduced = {"$reduce": {"input": ranges(), "initialValue": [], "in": {"$concatArrays": ["$$value", ["$$this"]]}}}
    yield "reduce", "aggregate", {"pipeline": [{"$project": {"x": reduced}}]}
    yield "reduce in update", "updateOne", {"filter": {"_id": 3}, "update": [{"$set": {"x": {"$size": reduced}}}]}


def _sorts() -> Iterator[tuple[str, str, Fields]]:
    backwards = {"$map": {"input": ranges(), "in": {"$mod": [{"$multiply": ["$$this", 7919]}, 1_000_003]}}}
    yield (
        "sortArray",
        "aggregate",
        {"pipeline": [{"$project": {"x": {"$sortArray": {"input": backwards, "sortBy": 1}}}}]},
    )
    yield (
        "sort of all",
        "aggregate",
        {"collection": "many", "pipeline": [{"$sort": {"t": -1, "n": 1}}, {"$count": "n"}]},
    )
    yield "sort of all found", "find", {"collection": "many", "sort": {"t": -1, "n": 1}, "limit": 50_000}
    yield (
        "group of all",
        "aggregate",
        {
            "collection": "many",
            "pipeline": [{"$group": {"_id": "$n", "all": {"$push": "$$ROOT"}}}, {"$sort": {"all": 1}}],
        },
    )
    for size in (50_000, 200_000):
        numbers = [*range(size)]
        yield (
            "push and sort",
            "updateOne",
            {
                "collection": "arrays",
                "filter": {"_id": 1},
                "update": {"$push": {"numbers": {"$each": numbers, "$sort": -1}}},
            },
        )
        yield (
            "addToSet",
            "updateOne",
            {
                "collection": "arrays",
                "filter": {"_id": 1},
                "update": {"$addToSet": {"numbers": {"$each": numbers}}},
            },
        )
    for count in (20, 100):
        sets = [{"$map": {"input": ranges(100_000), "in": {"$add": ["$$this", number]}}} for number in range(count)]
        for operator in ("$setUnion", "$setIntersection", "$setEquals"):
            yield operator, "aggregate", {"pipeline": [{"$project": {"x": {"$size": [{operator: sets}]}}}]}
    yield "setIsSubset", "aggregate", {"pipeline": [{"$project": {"x": {"$setIsSubset": [ranges(), ranges()]}}}]}


def _parsing() -> Iterator[tuple[str, str, Fields]]:
    options = [{"a": number} for number in range(100_000)]
    for name in ("find", "countDocuments"):
        yield "a large or", name, {"filter": {"$or": options}}
    yield "a large in", "find", {"filter": {"n": {"$in": [*range(300_000)]}}}
    yield "many patterns", "find", {"filter": {"$or": [{"text": {"$regex": f"a{n}(b|c)*d?"}} for n in range(20_000)]}}
    nested: Any = {"a": 1}
    for _ in range(60):
        nested = {"$and": [nested, {"b": 1}]}
    yield "nested and", "find", {"filter": nested}
    wide: list[Any] = [{"a": 1}]
    for _ in range(15):
        wide = [{"$and": wide}, {"$and": wide}]
    yield "a tree of and", "find", {"filter": {"$and": wide}}
    yield "a large or in update", "updateMany", {"filter": {"$or": options}, "update": {"$set": {"x": 1}}}
    yield "many stages", "aggregate", {"pipeline": [{"$set": {f"f{number}": 1}} for number in range(900)] * 20}
    yield "a large projection", "find", {"projection": {f"f{number}": 1 for number in range(100_000)}}
    yield (
        "many documents",
        "insertMany",
        {
            "collection": "rubbish",
            "documents": [{"n": number} for number in range(200_000)],
        },
    )
    yield (
        "many writes",
        "bulkWrite",
        {"operations": [{"updateOne": {"filter": {"n": n}, "update": {"$inc": {"m": 1}}}} for n in range(20_000)]},
    )


def _collisions() -> Iterator[tuple[str, str, Fields]]:
    for count in (20_000, 60_000):
        many = colliding(count)
        yield "collisions in in", "find", {"filter": {"n": {"$in": many}}}
        yield "collisions in setUnion", "aggregate", {"pipeline": [{"$project": {"x": {"$setUnion": [many, many]}}}]}
        yield (
            "collisions in addToSet",
            "updateOne",
            {
                "collection": "sets",
                "filter": {"_id": 1},
                "update": {"$addToSet": {"s": {"$each": many}}},
                "upsert": True,
            },
        )
        grouped = [{"$limit": 1}, {"$set": {"x": many}}, {"$unwind": "$x"}, {"$group": {"_id": "$x"}}, {"$count": "n"}]
        yield "collisions in group", "aggregate", {"pipeline": grouped}
        yield (
            "collisions in pullAll",
            "updateOne",
            {
                "collection": "sets",
                "filter": {"_id": 1},
                "update": {"$pullAll": {"s": many}},
            },
        )


def _memory() -> Iterator[tuple[str, str, Fields]]:
    unwound: list[Fields] = [{"$limit": 1}, {"$set": {"a": ranges()}}, {"$unwind": "$a"}]
    facets = {f"f{number}": [*unwound[1:], {"$set": {"t": "x" * 1000}}] for number in range(4)}
    yield "facet", "aggregate", {"pipeline": [{"$limit": 1}, {"$facet": facets}]}
    yield "zip", "aggregate", {"pipeline": [{"$project": {"x": {"$zip": {"inputs": [ranges(), ranges()]}}}}]}
    once = {"$concatArrays": ["$a"] * 10}
    yield "concatArrays", "aggregate", {"pipeline": [{"$set": {"a": ranges(1000)}}, *[{"$set": {"a": once}}] * 6]}
    chained = [{"$set": {f"f{number}": {"$concat": ["$text", "x" * 100_000]}}} for number in range(150)]
    yield "addFields", "aggregate", {"pipeline": [*chained, {"$group": {"_id": None, "all": {"$push": "$$ROOT"}}}]}
    yield (
        "push of all",
        "aggregate",
        {"pipeline": [*unwound, {"$set": {"t": "x" * 5000}}, {"$group": {"_id": None, "all": {"$push": "$$ROOT"}}}]},
    )
    large = [*unwound, {"$set": {"t": "x" * 10_000}}, {"$project": {"t": 1}}]
    for _ in range(4):
        yield "a large answer", "aggregate", {"pipeline": [*large, {"$limit": 24_000}]}
        yield "a very large answer", "aggregate", {"pipeline": large}
    yield (
        "object of all",
        "aggregate",
        {"pipeline": [{"$project": {"x": {"$arrayToObject": {"$map": {"input": ranges(), "in": ["$$this", 1]}}}}}]},
    )
    yield "out", "aggregate", {"pipeline": [*unwound, {"$project": {"_id": "$a"}}, {"$out": "rubbish"}]}
    yield (
        "graph",
        "aggregate",
        {
            "collection": "many",
            "pipeline": [
                {
                    "$graphLookup": {
                        "from": "many",
                        "startWith": "$n",
                        "connectFromField": "n",
                        "connectToField": "n",
                        "as": "g",
                    }
                },
                {"$count": "n"},
            ],
        },
    )


def _commands() -> Iterator[tuple[str, str, Fields]]:
    for pattern in BACKTRACKING[:2]:
        evil = {"$expr": regex(pattern)}
        explained = {"explain": {"find": "docs", "filter": evil}, "verbosity": "executionStats"}
        for command in (
            explained,
            {"count": "docs", "query": evil},
            {"distinct": "docs", "key": "n", "query": evil},
        ):
            yield f"command {next(iter(command))}", "runCommand", {"command": command}


KINDS = (_patterns, _strings, _loops, _sorts, _parsing, _collisions, _memory, _commands)


def hostile_requests(seed: int) -> list[Hostile]:
    """All kinds, mixed; every ninth client leaves before it is answered."""
    chance = random.Random(seed)
    made = [entry for kind in KINDS for entry in kind()]
    chance.shuffle(made)
    found = []
    for number, (name, action, fields) in enumerate(made):
        limit = chance.choice((200, 300, 500))
        collection = {"collection": "docs"} if action != "runCommand" else {}
        body = {"database": "d", **collection, **fields}
        if action == "runCommand":
            body["command"] = {**body["command"], "maxTimeMS": limit}
        else:
            body["maxTimeMS"] = limit
        found.append(Hostile(name, action, json.dumps(body).encode(), limit / 1000, leaves=number % 9 == 8))
    return found
