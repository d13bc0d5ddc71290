"""Updates and replacements, on every engine alike."""

from __future__ import annotations

import pytest
from bson import Int64, ObjectId
from scenarios import NS, THREE, UNIQUE, Engine, Scenario, check

from doorleaf.errors import DataError, DuplicateKey
from doorleaf.operations import ReplaceOne, UpdateMany, UpdateOne
from doorleaf.operations.results import UpdateResult

GRADES = [{"_id": 1, "g": [{"s": 70, "n": "a"}, {"s": 95, "n": "b"}, {"s": 99, "n": "c"}]}]


def update_one(filter: dict[str, object], update: object, **more: object) -> UpdateOne:
    return UpdateOne(namespace=NS, filter=filter, update=update, **more)  # type: ignore[arg-type]


def update_many(filter: dict[str, object], update: object, **more: object) -> UpdateMany:
    return UpdateMany(namespace=NS, filter=filter, update=update, **more)  # type: ignore[arg-type]


UPDATES = [
    Scenario(
        "$set and $inc",
        update_one({"_id": 2}, {"$set": {"b": "x"}, "$inc": {"k": 5}}),
        THREE,
        result=UpdateResult(1, 1),
        after=[THREE[0], {"_id": 2, "k": 7, "b": "x"}, THREE[2]],
    ),
    Scenario(
        "changes nothing", update_one({"_id": 2}, {"$set": {"k": 2}}), THREE, result=UpdateResult(1, 0), after=THREE
    ),
    Scenario("no match", update_one({"_id": 9}, {"$set": {"k": 2}}), THREE, result=UpdateResult(0, 0), after=THREE),
    Scenario("no collection", update_one({}, {"$set": {"k": 2}}), result=UpdateResult(0, 0)),
    Scenario(
        "sums keep the wider type",
        update_one({}, {"$inc": {"i": Int64(1), "d": 1}, "$mul": {"m": 2.5}}),
        [{"_id": 1, "i": 1, "d": 1.5, "m": 2}],
        result=UpdateResult(1, 1),
        after=[{"_id": 1, "i": Int64(2), "d": 2.5, "m": 5.0}],
    ),
    Scenario(
        "int overflows to long",
        update_one({}, {"$inc": {"i": 1}}),
        [{"_id": 1, "i": 2147483647}],
        result=UpdateResult(1, 1),
        after=[{"_id": 1, "i": Int64(2147483648)}],
    ),
    Scenario(
        "$unset, $rename, $min, $max",
        update_one({}, {"$unset": {"a": ""}, "$rename": {"b": "c"}, "$min": {"x": 1}, "$max": {"y": 9}}),
        [{"_id": 1, "a": 1, "b": 2, "x": 5, "y": 5}],
        result=UpdateResult(1, 1),
        after=[{"_id": 1, "x": 1, "y": 9, "c": 2}],
    ),
    Scenario(
        "$push with $each, $sort and $slice",
        update_one({}, {"$push": {"a": {"$each": [5, 1], "$sort": -1, "$slice": 3}}}),
        [{"_id": 1, "a": [3, 4]}],
        result=UpdateResult(1, 1),
        after=[{"_id": 1, "a": [5, 4, 3]}],
    ),
    Scenario(
        "$addToSet, $pull, $pop",
        update_one({}, {"$addToSet": {"a": 2}, "$pull": {"b": {"$gt": 1}}, "$pop": {"c": -1}}),
        [{"_id": 1, "a": [1, 2], "b": [1, 2, 3], "c": [1, 2]}],
        result=UpdateResult(1, 1),
        after=[{"_id": 1, "a": [1, 2], "b": [1], "c": [2]}],
    ),
    Scenario(
        "nested path is made",
        update_one({}, {"$set": {"a.b.c": 1}}),
        [{"_id": 1}],
        result=UpdateResult(1, 1),
        after=[{"_id": 1, "a": {"b": {"c": 1}}}],
    ),
    Scenario(
        "positional",
        update_one({"g.s": {"$gte": 90}}, {"$set": {"g.$.n": "x"}}),
        GRADES,
        result=UpdateResult(1, 1),
        after=[{"_id": 1, "g": [{"s": 70, "n": "a"}, {"s": 95, "n": "x"}, {"s": 99, "n": "c"}]}],
    ),
    Scenario(
        "positional all",
        update_one({}, {"$inc": {"g.$[].s": 1}}),
        GRADES,
        result=UpdateResult(1, 1),
        after=[{"_id": 1, "g": [{"s": 71, "n": "a"}, {"s": 96, "n": "b"}, {"s": 100, "n": "c"}]}],
    ),
    Scenario(
        "arrayFilters",
        update_one({}, {"$set": {"g.$[high].n": "x"}}, array_filters=[{"high.s": {"$gte": 90}}]),
        GRADES,
        result=UpdateResult(1, 1),
        after=[{"_id": 1, "g": [{"s": 70, "n": "a"}, {"s": 95, "n": "x"}, {"s": 99, "n": "x"}]}],
    ),
    Scenario(
        "array filter that is missing",
        update_one({}, {"$set": {"g.$[high].n": "x"}}),
        GRADES,
        error=DataError,
        number=2,
        after=GRADES,
    ),
    Scenario(
        "array filter that is not used",
        update_one({}, {"$set": {"a": 1}}, array_filters=[{"high.s": 1}]),
        GRADES,
        error=DataError,
        number=9,
        after=GRADES,
    ),
    Scenario(
        "pipeline",
        update_one({"_id": 2}, [{"$set": {"double": {"$multiply": ["$k", 2]}}}, {"$unset": "k"}]),
        THREE,
        result=UpdateResult(1, 1),
        after=[THREE[0], {"_id": 2, "double": 4}, THREE[2]],
    ),
    Scenario(
        "pipeline with let",
        update_one({"_id": 2}, [{"$set": {"v": "$$given"}}], let={"given": "x"}),
        THREE,
        result=UpdateResult(1, 1),
        after=[THREE[0], {"_id": 2, "k": 2, "v": "x"}, THREE[2]],
    ),
    Scenario(
        "pipeline with a stage of reading",
        update_one({}, [{"$group": {"_id": 1}}]),
        THREE,
        error=DataError,
        after=THREE,
    ),
    Scenario(
        "sort chooses",
        update_one({}, {"$set": {"last": True}}, sort={"k": -1}),
        THREE,
        result=UpdateResult(1, 1),
        after=[*THREE[:2], {"_id": 3, "k": 3, "last": True}],
    ),
    Scenario(
        "hint",
        update_one({"k": 2}, {"$set": {"b": 1}}, hint="k_1"),
        THREE,
        indexes=[({"k": 1}, {})],
        result=UpdateResult(1, 1),
    ),
    Scenario(
        "hint at no index",
        update_one({"k": 2}, {"$set": {"b": 1}}, hint="none"),
        THREE,
        error=DataError,
        number=2,
        after=THREE,
    ),
    Scenario(
        "$setOnInsert does nothing",
        update_one({"_id": 1}, {"$setOnInsert": {"x": 1}}),
        THREE,
        result=UpdateResult(1, 0),
        after=THREE,
    ),
    Scenario(
        "upsert",
        update_one({"_id": 5, "a": "b"}, {"$set": {"c": 1}, "$setOnInsert": {"d": 2}}, upsert=True),
        result=UpdateResult(0, 0, 5),
        after=[{"_id": 5, "a": "b", "c": 1, "d": 2}],
    ),
    Scenario(
        "upsert that matches", update_one({"_id": 1}, {"$set": {"c": 1}}, upsert=True), THREE, result=UpdateResult(1, 1)
    ),
    Scenario("upsert of _id 0", update_one({"_id": 0}, {"$set": {"c": 1}}, upsert=True), result=UpdateResult(0, 0, 0)),
    Scenario(
        "upsert of _id nothing", update_one({"_id": ""}, {"$set": {"c": 1}}, upsert=True), result=UpdateResult(0, 0, "")
    ),
    Scenario(
        "upsert of _id null",
        update_one({"_id": None}, {"$set": {"c": 1}}, upsert=True),
        result=UpdateResult(0, 0, None),
    ),
    Scenario(
        "upsert of _id false",
        update_one({"_id": False}, {"$set": {"c": 1}}, upsert=True),
        result=UpdateResult(0, 0, False),
    ),
    Scenario(
        "upsert makes an _id",
        update_one({"a": 1}, {"$set": {"c": 1}}, upsert=True),
        check=lambda r: isinstance(r.upserted_id, ObjectId),
    ),
    Scenario("unknown operator", update_one({}, {"$nope": {"a": 1}}), THREE, error=DataError, number=9, after=THREE),
    Scenario("no operator", update_one({}, {"a": 1}), THREE, error=DataError, number=9, after=THREE),
    Scenario("empty", update_one({}, {}), THREE, error=DataError, number=9, after=THREE),
    Scenario(
        "_id cannot change",
        update_one({"_id": 1}, {"$set": {"_id": 9}}),
        THREE,
        error=DataError,
        number=66,
        after=THREE,
    ),
    Scenario(
        "two changes of one field",
        update_one({}, {"$set": {"k": 1}, "$inc": {"k": 1}}),
        THREE,
        error=DataError,
        number=40,
        after=THREE,
    ),
    Scenario(
        "$inc of a string",
        update_one({}, {"$inc": {"s": 1}}),
        [{"_id": 1, "s": "x"}],
        error=DataError,
        number=14,
        after=[{"_id": 1, "s": "x"}],
    ),
    Scenario("$push to a number", update_one({}, {"$push": {"k": 1}}), THREE, error=DataError, number=2, after=THREE),
    Scenario(
        "path through a number", update_one({}, {"$set": {"k.a": 1}}), THREE, error=DataError, number=28, after=THREE
    ),
    Scenario(
        "unique key is there",
        update_one({"_id": 1}, {"$set": {"k": 3}}),
        THREE,
        indexes=UNIQUE,
        error=DuplicateKey,
        number=11000,
        after=THREE,
    ),
    Scenario(
        "many",
        update_many({"k": {"$gte": 2}}, {"$set": {"b": 1}}),
        THREE,
        result=UpdateResult(2, 2),
        after=[THREE[0], {"_id": 2, "k": 2, "b": 1}, {"_id": 3, "k": 3, "b": 1}],
    ),
    Scenario("many, some as they are", update_many({}, {"$set": {"k": 2}}), THREE, result=UpdateResult(3, 2)),
    Scenario("many, none", update_many({"k": 9}, {"$set": {"k": 2}}), THREE, result=UpdateResult(0, 0), after=THREE),
    Scenario(
        "many, pipeline",
        update_many({}, [{"$set": {"k": {"$add": ["$k", 1]}}}]),
        THREE,
        result=UpdateResult(3, 3),
        after=[{"_id": 1, "k": 2}, {"_id": 2, "k": 3}, {"_id": 3, "k": 4}],
    ),
    Scenario(
        "many, upsert of _id 0",
        update_many({"_id": 0}, {"$set": {"a": 1}}, upsert=True),
        THREE,
        result=UpdateResult(0, 0, 0),
    ),
    Scenario("many, no operator", update_many({}, {"a": 1}), THREE, error=DataError, number=9, after=THREE),
    Scenario(
        "many, simple collation",
        update_many({"s": "A"}, {"$set": {"x": 1}}, collation={"locale": "simple"}),
        [{"_id": 1, "s": "a"}, {"_id": 2, "s": "A"}],
        result=UpdateResult(1, 1),
        after=[{"_id": 1, "s": "a"}, {"_id": 2, "s": "A", "x": 1}],
    ),
]


def replace_one(filter: dict[str, object], replacement: dict[str, object], **more: object) -> ReplaceOne:
    return ReplaceOne(namespace=NS, filter=filter, replacement=replacement, **more)  # type: ignore[arg-type]


REPLACEMENTS = [
    Scenario(
        "keeps the _id",
        replace_one({"k": 2}, {"z": 1}),
        THREE,
        result=UpdateResult(1, 1),
        after=[THREE[0], {"_id": 2, "z": 1}, THREE[2]],
    ),
    Scenario("with the same _id", replace_one({"k": 2}, {"_id": 2, "z": 1}), THREE, result=UpdateResult(1, 1)),
    Scenario(
        "with another _id", replace_one({"k": 2}, {"_id": 9, "z": 1}), THREE, error=DataError, number=66, after=THREE
    ),
    Scenario("by the same", replace_one({"_id": 2}, {"_id": 2, "k": 2}), THREE, result=UpdateResult(1, 0), after=THREE),
    Scenario("no match", replace_one({"_id": 9}, {"k": 2}), THREE, result=UpdateResult(0, 0), after=THREE),
    Scenario(
        "upsert",
        replace_one({"_id": 0}, {"k": 2}, upsert=True),
        result=UpdateResult(0, 0, 0),
        after=[{"_id": 0, "k": 2}],
    ),
    Scenario(
        "upsert by another field",
        replace_one({"q": 1}, {"_id": "", "k": 2}, upsert=True),
        result=UpdateResult(0, 0, ""),
        after=[{"_id": "", "k": 2}],
    ),
    Scenario(
        "by nothing",
        replace_one({"_id": 2}, {}),
        THREE,
        result=UpdateResult(1, 1),
        after=[THREE[0], {"_id": 2}, THREE[2]],
    ),
    Scenario(
        "with operators", replace_one({"_id": 2}, {"$set": {"a": 1}}), THREE, error=DataError, number=52, after=THREE
    ),
    Scenario(
        "sort chooses",
        replace_one({}, {"z": 1}, sort={"k": -1}),
        THREE,
        result=UpdateResult(1, 1),
        after=[*THREE[:2], {"_id": 3, "z": 1}],
    ),
    Scenario(
        "unique key is there",
        replace_one({"_id": 1}, {"k": 3}),
        THREE,
        indexes=UNIQUE,
        error=DuplicateKey,
        number=11000,
        after=THREE,
    ),
]


@pytest.mark.parametrize("scenario", UPDATES + REPLACEMENTS, ids=str)
def test_updates(engine: Engine, scenario: Scenario, request: pytest.FixtureRequest) -> None:
    check(engine, scenario, request)
