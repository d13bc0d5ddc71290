"""Attempts to read behind the rules: other tenants' documents, and hidden fields."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from red_team import OWN, Attempt, Target, in_vain, on_engine, refused

HIDDEN = "FieldNotReadable"
NO_RULE = "NoMatchingRuleFound"
NONE: Any = {"documents": []}
NOBODY: Any = {"document": None}
ALL_OWN: Any = {"documents": OWN}
BY_ID = {"_id": 1}


@pytest.fixture(scope="module", params=["embedded", "mongo"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with on_engine(request.param, tmp_path_factory.mktemp("red-team")) as under_attack:
        yield under_attack


# --- documents of others ---------------------------------------------------------------------------------------------

DOCUMENTS = [
    refused("a collection without rules", "find", says=NO_RULE, collection="vault"),
    refused("a collection that does not exist", "find", says=NO_RULE, collection="nothing"),
    refused("a collection by another case", "find", says=NO_RULE, collection="Orders"),
    refused("a collection by a look-alike letter", "find", says=NO_RULE, collection="\u043erders"),
    refused("a collection with a zero-width space", "find", says=NO_RULE, collection="orders\u200b"),
    refused("a collection by full-width letters", "find", says=NO_RULE, collection="\uff4frders"),
    refused("a collection with a NUL", "find", 400, collection="orders\0"),
    refused("a collection with a dollar", "find", 400, collection="$cmd"),
    refused("a collection of another database", "find", says=NO_RULE, database="Shop"),
    refused("database and collection in one name", "find", 400, database="shop.orders", collection="x"),
    in_vain("another name of the data source", "find", ALL_OWN, dataSource="other", sort=BY_ID),
    refused("a collection without rules by another name", "find", says=NO_RULE, dataSource="other", collection="vault"),
    refused("a data source that is an object", "find", 400, dataSource={"$ne": "main"}),
    refused("a database that is an array", "find", 400, database=["shop"]),
    refused("a collection that is an object", "find", 400, collection={"$gt": ""}),
    in_vain("ask for the other tenant", "find", NONE, filter={"tenant": "blue"}),
    in_vain("ask for an id", "findOne", NOBODY, filter={"_id": "blue-1"}),
    in_vain("ask for everybody but oneself", "find", NONE, filter={"tenant": {"$ne": "red"}}),
    in_vain("an $or that is always true", "find", ALL_OWN, filter={"$or": [{"tenant": "blue"}, {}]}, sort=BY_ID),
    in_vain("a $nor of nothing", "find", ALL_OWN, filter={"$nor": [{"_id": None}]}, sort=BY_ID),
    in_vain("a $not of oneself", "find", NONE, filter={"tenant": {"$not": {"$eq": "red"}}}),
    in_vain("both tenants at once", "find", NONE, filter={"$and": [{"tenant": "red"}, {"tenant": "blue"}]}),
    in_vain("a regular expression for all", "find", ALL_OWN, filter={"tenant": {"$regex": ""}}, sort=BY_ID),
    in_vain("an $expr that is true", "find", ALL_OWN, filter={"$expr": True}, sort=BY_ID),
    in_vain("count the other tenant", "countDocuments", {"count": 0}, filter={"tenant": "blue"}),
    in_vain("count all", "countDocuments", {"count": 2}),
    in_vain("count all by metadata", "estimatedDocumentCount", {"count": 2}),
    in_vain("distinct tenants", "distinct", {"values": ["red"]}, key="tenant"),
    in_vain("distinct names of others", "distinct", {"values": []}, key="name", filter={"tenant": "blue"}),
    in_vain("what lies behind the own ones", "find", NONE, sort=BY_ID, skip=2, limit=100),
    in_vain("what lies before the own ones", "findOne", {"document": OWN[1]}, sort={"_id": -1}),
    in_vain("the order on the disk", "find", NONE, sort={"$natural": -1}, filter={"tenant": "blue"}),
    in_vain("letters of a letter box", "find", NONE, collection="letters"),
    in_vain("count the letters", "countDocuments", {"count": 0}, collection="letters"),
    in_vain("what a filter of the rules leaves out", "find", NONE, collection="masked", filter={"public": False}),
    in_vain("count what a filter leaves out", "countDocuments", {"count": 0}, collection="masked", filter={"_id": 2}),
    refused("names in a collation", "find", collation={"locale": "en", "strength": 1}),
    refused("one name in a collation", "findOne", collation={"locale": "en", "strength": 1}, filter={"tenant": "RED"}),
    refused("count in a collation", "countDocuments", collation={"locale": "en", "strength": 2}),
    refused("distinct in a collation", "distinct", key="name", collation={"locale": "en", "strength": 1}),
    refused("an expression that fails on others", "find", filter={"$expr": {"$gt": [{"$add": ["$n", 1]}, 0]}}),
    refused("an expression that divides by others", "find", filter={"$expr": {"$divide": [1, {"$size": "$tags"}]}}),
    refused(
        "a write by an expression that fails",
        "updateMany",
        filter={"$expr": {"$gt": [{"$toInt": "$n"}, 0]}},
        update={"$set": {"name": "x"}},
    ),
]

# --- hidden fields ---------------------------------------------------------------------------------------------------

NAME_IN_PARTS = {"field": {"$concat": ["sec", "ret"]}}

FILTERS: dict[str, Any] = {
    "a value": {"secret": "x"},
    "existence": {"secret": {"$exists": True}},
    "a type": {"secret": {"$type": "string"}},
    "a prefix": {"secret": {"$regex": "^H"}},
    "an order": {"cost": {"$gt": 5}},
    "bits": {"cost": {"$bitsAllSet": 1}},
    "a remainder": {"cost": {"$mod": [2, 0]}},
    "a negation": {"secret": {"$not": {"$in": ["x"]}}},
    "a nested field": {"internal.note": {"$gt": ""}},
    "an object as a whole": {"internal": {"$gt": {}}},
    "a position": {"items.0.cost": {"$gt": 5}},
    "an element": {"items": {"$elemMatch": {"cost": {"$gt": 5}}}},
    "an element as a whole": {"items": {"sku": "a", "qty": 1}},
    "all elements": {"items": {"$all": [{"$elemMatch": {"cost": 5}}]}},
    "a field deep in logic": {"$and": [{"$or": [{"$nor": [{"secret": "x"}]}]}]},
    "an expression": {"$expr": {"$gt": ["$cost", 5]}},
    "the whole document": {"$expr": {"$eq": ["$$ROOT", {}]}},
    "a path from $$ROOT": {"$expr": {"$eq": ["$$ROOT.secret", "x"]}},
    "a path from $$CURRENT": {"$expr": {"$eq": ["$$CURRENT.secret", "x"]}},
    "$objectToArray": {"$expr": {"$gt": [{"$size": {"$objectToArray": "$$ROOT"}}, 5]}},
    "$getField": {"$expr": {"$eq": [{"$getField": "secret"}, "x"]}},
    "a name put together": {"$expr": {"$eq": [{"$getField": NAME_IN_PARTS}, "x"]}},
    "a name put together, of $$ROOT": {"$expr": {"$eq": [{"$getField": {**NAME_IN_PARTS, "input": "$$ROOT"}}, "x"]}},
    "a variable": {"$expr": {"$let": {"vars": {"all": "$$ROOT"}, "in": {"$eq": ["$$all.secret", "x"]}}}},
    "the size of the document": {"$expr": {"$gt": [{"$bsonSize": "$$ROOT"}, 100]}},
    "a map over elements": {"$expr": {"$in": [5, {"$map": {"input": "$items", "in": "$$this.cost"}}]}},
    "elements by name": {"$expr": {"$in": [5, "$items.cost"]}},
    "a JSON schema": {"$jsonSchema": {"properties": {"secret": {"pattern": "^H"}}}},
    "an operator that does not exist": {"$secret": 1},
    "an expression about elements": {"tags": {"$elemMatch": {"$expr": {"$eq": ["$$ROOT.secret", "x"]}}}},
    "an expression about a field": {"tags": {"$expr": {"$eq": ["$secret", "x"]}}},
    "JavaScript about elements": {"items": {"$elemMatch": {"$where": "this.cost > 5"}}},
    "a schema about elements": {"items": {"$elemMatch": {"$jsonSchema": {"required": ["cost"]}}}},
    "the type of an object": {"internal": {"$type": "object"}},
    "the size of hidden parts": {"items": {"$size": 2}},
    "a text search": {"$text": {"$search": "x"}},
    "JavaScript": {"$where": "this.secret > ''"},
    "a JavaScript expression": {"$expr": {"$function": {"body": "d => d", "args": ["$$ROOT"], "lang": "js"}}},
}

ALL_VALUES = {"$map": {"input": {"$objectToArray": "$$ROOT"}, "in": "$$this.v"}}

PROJECTIONS: dict[str, Any] = {
    "a hidden field": {"secret": 1},
    "a hidden field as 1.0": {"secret": 1.0},
    "a hidden field as a long": {"secret": {"$numberLong": "1"}},
    "another name": {"name": "$secret"},
    "an expression": {"x": {"$toUpper": "$secret"}},
    "the whole document": {"x": "$$ROOT"},
    "all values": {"x": ALL_VALUES},
    "a nested field": {"internal": {"note": 1}},
    "an array": {"x": ["$name", "$cost"]},
    "a slice": {"items": {"$slice": 1}},
    "a slice of something else": {"x": {"$slice": ["$secret", 1]}},
    "an element": {"items": {"$elemMatch": {"cost": {"$gt": 5}}}},
    "$getField": {"x": {"$getField": "secret"}},
    "an index's keys": {"x": {"$meta": "indexKey"}},
    "a variable": {"x": {"$let": {"vars": {"d": "$$ROOT"}, "in": "$$d"}}},
    "a condition": {"x": {"$cond": [{"$gt": ["$cost", 5]}, 1, 0]}},
}


def endless(part: str) -> Iterator[Attempt]:
    """Requests by a path with a thousand times more components than any field has."""
    path = "items" + f".{part}" * 9_000
    asked: list[tuple[str, dict[str, Any]]] = [
        ("find", {"filter": {path: 1}}),
        ("findOne", {"filter": {"$expr": {"$eq": [f"${path}", 1]}}}),
        ("find", {"sort": {path: 1}}),
        ("find", {"projection": {path: 1}}),
        ("distinct", {"key": path}),
        ("aggregate", {"pipeline": [{"$match": {path: 1}}]}),
    ]
    for action, fields in asked:
        yield refused(f"a path of endless {part} in {next(iter(fields))}", action, 400, **fields)


FIELDS = [
    *(refused(f"filter by {how}", "find", (400, 403), filter=value) for how, value in FILTERS.items()),
    *(refused(f"project {how}", "find", (400, 403), projection=value) for how, value in PROJECTIONS.items()),
    refused("project what matched", "find", says=HIDDEN, filter={"items.sku": "a"}, projection={"items.$": 1}),
    refused("count by a hidden field", "countDocuments", says=HIDDEN, filter={"secret": {"$gt": ""}}),
    refused("distinct values", "distinct", says=HIDDEN, key="secret"),
    refused("distinct nested values", "distinct", says=HIDDEN, key="internal.note"),
    refused("distinct objects", "distinct", says=HIDDEN, key="internal"),
    refused("distinct values of elements", "distinct", says=HIDDEN, key="items.cost"),
    refused("distinct values of a position", "distinct", says=HIDDEN, key="items.0.cost"),
    refused("distinct with a hidden filter", "distinct", says=HIDDEN, key="name", filter={"cost": {"$gt": 1}}),
    refused("distinct by $$ROOT", "distinct", (400, 403), key="$$ROOT"),
    refused("sort by a hidden field", "find", says=HIDDEN, sort={"secret": 1}),
    refused("sort by a hidden part", "findOne", says=HIDDEN, sort={"internal": 1}),
    refused("sort by hidden elements", "find", says=HIDDEN, sort={"items.cost": -1}),
    refused("sort by elements as a whole", "find", says=HIDDEN, sort={"items": 1}),
    refused("sort by an index's keys", "find", (400, 403), sort={"x": {"$meta": "indexKey"}}),
    refused("the index of a hidden field", "find", hint="by_secret"),
    refused("the index of a hidden field by its keys", "find", hint={"secret": 1}),
    refused("a variable of the request", "find", (400, 403), let={"d": "$$ROOT"}, filter={"$expr": "$$d.secret"}),
    in_vain(
        "leave out all that is not hidden",
        "find",
        {"documents": [{"_id": "red-1", "internal": {"state": "open"}}]},
        filter={"_id": "red-1"},
        projection={"name": 0, "n": 0, "tags": 0, "items": 0, "tenant": 0},
    ),
    in_vain("an empty projection", "findOne", {"document": OWN[0]}, filter={"_id": "red-1"}, projection={}),
    in_vain(
        "what another role hides",
        "find",
        {"documents": [{"_id": 1, "owner": "red", "title": "mine", "body": "mine too"}, {"title": "theirs"}]},
        collection="notes",
    ),
    refused("sort by what another role hides", "find", says=HIDDEN, collection="notes", sort={"body": 1}),
    refused("filter by what another role hides", "find", says=HIDDEN, collection="notes", filter={"body": "x"}),
    refused("distinct of what another role hides", "distinct", says=HIDDEN, collection="notes", key="body"),
    *endless("0"),
    *endless("$[]"),
    *endless("x.0"),
    refused("filter by what a filter hides", "find", says=HIDDEN, collection="masked", filter={"pin": 1}),
    refused("project what a filter hides", "find", says=HIDDEN, collection="masked", projection={"pin": 1}),
]

# --- pipelines -------------------------------------------------------------------------------------------------------

NO_VALUE: Any = {"documents": [{"_id": "red-1"}, {"_id": "red-2"}]}
SHOWN = {"$sort": BY_ID}


def stages(*listed: Any) -> list[Any]:
    """A pipeline whose result is in the order of the ids."""
    return [*listed, SHOWN]


def only(**fields: Any) -> list[Any]:
    """A pipeline that shows the ids and ``fields``."""
    return stages({"$project": fields})


GRAPH = {"startWith": "$_id", "connectFromField": "_id", "connectToField": "friend", "as": "x"}

PIPELINES = [
    in_vain("a hidden field", "aggregate", NO_VALUE, pipeline=only(x="$secret")),
    in_vain("a hidden nested field", "aggregate", NO_VALUE, pipeline=only(x="$internal.note")),
    in_vain(
        "a hidden field by $getField",
        "aggregate",
        NO_VALUE,
        pipeline=only(x={"$getField": {**NAME_IN_PARTS, "input": "$$ROOT"}}),
    ),
    in_vain("the whole document", "aggregate", ALL_OWN, pipeline=stages({"$replaceWith": "$$ROOT"})),
    in_vain(
        "the names of all fields",
        "aggregate",
        {"documents": [{"_id": ["_id", "internal", "items", "n", "name", "tags", "tenant"]}]},
        pipeline=[
            {"$project": {"f": {"$objectToArray": "$$ROOT"}}},
            {"$unwind": "$f"},
            {"$group": {"_id": None, "names": {"$addToSet": "$f.k"}}},
            {"$project": {"_id": {"$sortArray": {"input": "$names", "sortBy": 1}}}},
        ],
    ),
    in_vain(
        "group by a hidden field",
        "aggregate",
        {"documents": [{"_id": None}]},
        pipeline=[{"$group": {"_id": "$secret"}}],
    ),
    in_vain("count a hidden field", "aggregate", NONE, pipeline=[{"$limit": 9}, {"$match": {"secret": {"$gt": ""}}}]),
    refused("filter first by a hidden field", "aggregate", says=HIDDEN, pipeline=[{"$match": {"secret": {"$gt": ""}}}]),
    in_vain("filter first by another tenant", "aggregate", NONE, pipeline=[{"$match": {"tenant": "blue"}}]),
    in_vain("count documents", "aggregate", {"documents": [{"c": 2}]}, pipeline=[{"$count": "c"}]),
    in_vain(
        "an expression that fails on others",
        "aggregate",
        ALL_OWN,
        pipeline=stages({"$match": {"$expr": {"$gt": [{"$add": ["$n", 1]}, 0]}}}),
    ),
    in_vain("sort by a hidden field, then look", "aggregate", ALL_OWN, pipeline=stages({"$sort": {"secret": -1}})),
    in_vain("redact", "aggregate", ALL_OWN, pipeline=stages({"$redact": "$$KEEP"})),
    in_vain(
        "facets",
        "aggregate",
        {"documents": [{"a": [], "b": [{"c": 2}]}]},
        pipeline=[{"$facet": {"a": [{"$match": {"tenant": "blue"}}], "b": [{"$count": "c"}]}}],
    ),
    refused(
        "join a collection without rules",
        "aggregate",
        says=NO_RULE,
        pipeline=[{"$lookup": {"from": "vault", "localField": "_id", "foreignField": "friend", "as": "x"}}],
    ),
    refused(
        "join it in a facet of a join",
        "aggregate",
        says=NO_RULE,
        pipeline=[
            {
                "$lookup": {
                    "from": "open",
                    "as": "x",
                    "pipeline": [{"$facet": {"y": [{"$lookup": {"from": "vault", "pipeline": [], "as": "z"}}]}}],
                }
            }
        ],
    ),
    refused("unite with a collection without rules", "aggregate", says=NO_RULE, pipeline=[{"$unionWith": "vault"}]),
    refused("unite with it as an object", "aggregate", says=NO_RULE, pipeline=[{"$unionWith": {"coll": "vault"}}]),
    refused(
        "unite with it in a union",
        "aggregate",
        says=NO_RULE,
        pipeline=[{"$unionWith": {"coll": "open", "pipeline": [{"$unionWith": {"coll": "vault", "pipeline": []}}]}}],
    ),
    refused(
        "unite with it behind documents",
        "aggregate",
        says=NO_RULE,
        pipeline=[{"$unionWith": {"pipeline": [{"$documents": [{}]}, {"$unionWith": "vault"}]}}],
    ),
    refused(
        "walk a collection without rules",
        "aggregate",
        says=NO_RULE,
        pipeline=[{"$graphLookup": {"from": "vault", **GRAPH}}],
    ),
    refused(
        "walk over hidden fields",
        "aggregate",
        pipeline=[{"$graphLookup": {"from": "orders", **GRAPH, "connectFromField": "secret"}}],
    ),
    refused(
        "join by a hidden field",
        "aggregate",
        says=HIDDEN,
        pipeline=[{"$lookup": {"from": "orders", "localField": "name", "foreignField": "secret", "as": "x"}}],
    ),
    refused(
        "join with a hidden filter",
        "aggregate",
        says=HIDDEN,
        pipeline=[{"$lookup": {"from": "orders", "as": "x", "pipeline": [{"$match": {"cost": {"$gt": 1}}}]}}],
    ),
    in_vain(
        "join the other tenant",
        "aggregate",
        {"documents": [{"_id": 1, "x": []}]},
        collection="open",
        pipeline=[
            {"$lookup": {"from": "orders", "pipeline": [{"$match": {"tenant": "blue"}}], "as": "x"}},
            {"$project": {"x": 1}},
        ],
    ),
    in_vain(
        "join by a variable",
        "aggregate",
        {"documents": [{"_id": 1, "x": []}]},
        collection="open",
        pipeline=[
            {
                "$lookup": {
                    "from": "orders",
                    "let": {"t": "blue"},
                    "as": "x",
                    "pipeline": [{"$match": {"$expr": {"$eq": ["$tenant", "$$t"]}}}],
                }
            },
            {"$project": {"x": 1}},
        ],
    ),
    in_vain(
        "unite with the own collection",
        "aggregate",
        {"documents": [{"_id": 4}]},
        pipeline=[{"$unionWith": "orders"}, {"$group": {"_id": None, "n": {"$sum": 1}}}, {"$project": {"_id": "$n"}}],
    ),
    in_vain(
        "unite with letters",
        "aggregate",
        NONE,
        collection="open",
        pipeline=[{"$match": {"_id": 0}}, {"$unionWith": "letters"}],
    ),
    refused(
        "another database in a join",
        "aggregate",
        pipeline=[{"$lookup": {"from": {"db": "shop", "coll": "vault"}, "pipeline": [], "as": "x"}}],
    ),
    refused(
        "another database in a union",
        "aggregate",
        (400, 403),
        pipeline=[{"$unionWith": {"db": "other", "coll": "vault", "pipeline": []}}],
    ),
    refused("write a collection", "aggregate", pipeline=[{"$out": "stolen"}]),
    refused("write into a collection", "aggregate", pipeline=[{"$merge": {"into": "open"}}]),
    refused("write in another case", "aggregate", (400, 403), pipeline=[{"$OUT": "stolen"}]),
    refused("write out of a facet", "aggregate", (400, 403), pipeline=[{"$facet": {"a": [{"$out": "stolen"}]}}]),
    refused("a stage that does not exist", "aggregate", 400, pipeline=[{"$lookUp": {"from": "vault"}}]),
    refused("two stages in one", "aggregate", 400, pipeline=[{"$match": {}, "$unionWith": "vault"}]),
    refused("a stage without a name", "aggregate", 400, pipeline=[{}]),
    refused("statistics of the collection", "aggregate", pipeline=[{"$collStats": {"count": {}}}]),
    refused("statistics of indexes", "aggregate", pipeline=[{"$indexStats": {}}]),
    refused("plans of others", "aggregate", pipeline=[{"$planCacheStats": {}}]),
    refused("operations of others", "aggregate", pipeline=[{"$currentOp": {"allUsers": True}}]),
    refused("changes of others", "aggregate", pipeline=[{"$changeStream": {}}]),
    refused("a search", "aggregate", pipeline=[{"$search": {"text": {"query": "x", "path": "secret"}}}]),
    refused("who the server is", "aggregate", pipeline=[{"$project": {"x": "$$USER_ROLES"}}]),
    refused("an index's keys", "aggregate", pipeline=[{"$project": {"x": {"$meta": "indexKey"}}}]),
    refused("names in a collation", "aggregate", collation={"locale": "en", "strength": 1}, pipeline=[]),
    refused(
        "names in a collation, joined",
        "aggregate",
        collection="open",
        collation={"locale": "en", "strength": 1},
        pipeline=[{"$lookup": {"from": "orders", "pipeline": [], "as": "x"}}],
    ),
    refused(
        "a variable of the request",
        "aggregate",
        (400, 403),
        let={"d": "$$ROOT.secret"},
        pipeline=only(x="$$d"),
        or_answered={"documents": [{"_id": "red-1", "x": None}, {"_id": "red-2", "x": None}]},
    ),
    in_vain(
        "what a filter hides, joined",
        "aggregate",
        {"documents": [{"x": [{"_id": 1, "public": True, "name": "seen"}]}]},
        collection="open",
        pipeline=[{"$lookup": {"from": "masked", "pipeline": [], "as": "x"}}, {"$project": {"_id": 0, "x": 1}}],
    ),
    refused("a hint in a pipeline", "aggregate", hint="by_secret", pipeline=[]),
    refused("JavaScript in a group", "aggregate", pipeline=[{"$group": {"_id": None, "x": {"$accumulator": {}}}}]),
    in_vain(
        "what another role hides, grouped",
        "aggregate",
        {"documents": [{"_id": None}, {"_id": "mine too"}]},
        collection="notes",
        pipeline=stages({"$group": {"_id": "$body"}}),
    ),
]

ATTEMPTS = [*DOCUMENTS, *FIELDS, *PIPELINES]

ARRAYS = "the test server's $project does not go through arrays; a MongoDB's does"


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=lambda attempt: attempt.name)
def test_nothing_comes_of_it(server: Target, attempt: Attempt) -> None:
    if server.mongodb and attempt in PIPELINES and attempt.answer == ALL_OWN:
        pytest.skip(ARRAYS)
    server.attack(attempt)


def test_there_are_enough_attempts_and_no_two_are_the_same() -> None:
    assert len(ATTEMPTS) >= 150
    assert len({attempt.name + attempt.action + attempt.key for attempt in ATTEMPTS}) == len(ATTEMPTS)


def test_honest_readers_get_what_is_theirs(server: Target) -> None:
    """That nothing comes of an attempt says something only where something would come of honest work."""
    orders = {"dataSource": "main", "database": "shop", "collection": "orders", "sort": BY_ID}
    assert server.act("find", orders, "red").json == ALL_OWN
    blue = server.act("find", orders, "blue").json["documents"]
    assert [document["_id"] for document in blue] == ["blue-1", "blue-2"]
    assert all("secret" not in document for document in blue)
