"""Attempts to write behind the rules, to administer, to leave the rights of a key, and to reach the system database."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from red_team import Attempt, Target, in_vain, on_engine, refused

HIDDEN = "FieldNotReadable"
NO_RULE = "NoMatchingRuleFound"
NONE: Any = {"documents": []}
NOBODY: Any = {"document": None}
NAME_IN_PARTS = {"field": {"$concat": ["sec", "ret"]}}
ALL_VALUES = {"$map": {"input": {"$objectToArray": "$$ROOT"}, "in": "$$this.v"}}
GRAPH = {"startWith": "$_id", "connectFromField": "_id", "connectToField": "friend", "as": "x"}


@pytest.fixture(scope="module", params=["embedded", "mongo"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with on_engine(request.param, tmp_path_factory.mktemp("red-team")) as under_attack:
        yield under_attack


# --- writes ----------------------------------------------------------------------------------------------------------

MINE = {"_id": "red-1"}

UPDATES: dict[str, Any] = {
    "a hidden field": {"$set": {"secret": "x"}},
    "a hidden field to what may be there": {"$max": {"cost": 5}},
    "a hidden number": {"$inc": {"cost": 1}},
    "a hidden part": {"$set": {"internal.note": "x"}},
    "an object with a hidden part": {"$set": {"internal": {"state": "x"}}},
    "a hidden field by $unset": {"$unset": {"secret": ""}},
    "a hidden field to a visible name": {"$rename": {"secret": "name"}},
    "a hidden field from a visible name": {"$rename": {"name": "secret"}},
    "a part of a hidden object's name": {"$rename": {"internal.note": "name"}},
    "elements with hidden parts": {"$set": {"items": []}},
    "a hidden part of an element": {"$set": {"items.0.cost": 1}},
    "a hidden part of all elements": {"$mul": {"items.$[].cost": 0}},
    "elements by a hidden part": {"$pull": {"items": {"cost": {"$gt": 5}}}},
    "the order of elements by a hidden part": {"$push": {"items": {"$each": [], "$sort": {"cost": 1}}}},
    "elements that may be there": {"$addToSet": {"items": {"sku": "a"}}},
    "the last element": {"$pop": {"items": 1}},
    "the tenant": {"$set": {"tenant": "blue"}},
    "the tenant by $unset": {"$unset": {"tenant": ""}},
    "a visible field by an expression": [{"$set": {"name": "$secret"}}],
    "a visible field by all values": [{"$set": {"tags": ALL_VALUES}}],
    "a visible field by the document": [{"$set": {"name": "$$ROOT"}}],
    "a visible field by $getField": [{"$set": {"name": {"$getField": NAME_IN_PARTS}}}],
    "a visible field by a condition": [{"$set": {"n": {"$cond": [{"$gt": ["$cost", 5]}, 1, 0]}}}],
    "the document by an expression": [{"$replaceWith": {"_id": "$_id", "tenant": "red", "name": "$secret"}}],
    "the document by itself": [{"$replaceWith": {"$mergeObjects": ["$$ROOT", {"n": 5}]}}],
    "all but one field": [{"$project": {"tenant": 1}}],
    "a hidden field in a pipeline": [{"$unset": ["name", "secret"]}],
    "a field by a name put together": [
        {"$replaceWith": {"$setField": {"field": "name", "input": "$$ROOT", "value": {"$getField": "secret"}}}}
    ],
    "an element with hidden parts": {"$set": {"items.0": {"sku": "a"}}},
    "every element": {"$set": {"items.$[]": {"sku": "a"}}},
    "a hidden field behind an empty name": {"$set": {"secret..x": 1}},
    "a hidden field behind a placeholder": {"$set": {"$[].secret": 1}},
    "a field called as a path": {"$set": {"$secret": 1}},
    "a document by another collection": [{"$lookup": {"from": "vault", "pipeline": [], "as": "name"}}],
    "an operator that does not exist": {"$copy": {"name": "secret"}},
}

BY_HIDDEN = {"_id": "red-1", "secret": {"$regex": "^H"}}
SET = {"$set": {"n": 1}}
CHANGED_NONE: Any = {"matchedCount": 0, "modifiedCount": 0}
DELETED_NONE: Any = {"deletedCount": 0}
NEW = {"_id": "new", "tenant": "red"}

WRITES = [
    *(refused(f"update {what}", "updateOne", (400, 403), filter=MINE, update=how) for what, how in UPDATES.items()),
    *(
        refused(f"find and update {what}", "findOneAndUpdate", (400, 403), filter=MINE, update=UPDATES[what])
        for what in ("a hidden field", "the tenant", "a visible field by an expression", "elements by a hidden part")
    ),
    *(
        refused(f"{operator} at a path of endless {part}", "updateOne", 400, filter={}, update={operator: {path: 1}})
        for part in ("0", "a", "$[]")
        for operator in ("$set", "$unset", "$push")
        for path in ["items" + f".{part}" * 9_000]
    ),
    refused("update by a hidden filter", "updateOne", says=HIDDEN, filter=BY_HIDDEN, update=SET),
    refused("update many by a hidden filter", "updateMany", says=HIDDEN, filter=BY_HIDDEN, update=SET),
    refused("update in a hidden order", "updateOne", says=HIDDEN, filter={}, update=SET, sort={"secret": 1}),
    refused(
        "update the element by a hidden part",
        "updateOne",
        says=HIDDEN,
        filter={"items.cost": {"$gt": 1}},
        update={"$set": {"items.$.qty": 1}},
    ),
    refused(
        "update elements that a hidden part chooses",
        "updateOne",
        says=HIDDEN,
        filter=MINE,
        update={"$set": {"items.$[x].qty": 1}},
        arrayFilters=[{"x.cost": {"$gt": 1}}],
    ),
    refused(
        "update with a variable",
        "updateOne",
        (400, 403),
        filter=MINE,
        update=[{"$set": {"name": "$$d.secret"}}],
        let={"d": "$$ROOT"},
    ),
    refused("update with the index of a hidden field", "updateOne", filter=MINE, update=SET, hint="by_secret"),
    refused("replace by a hidden filter", "replaceOne", says=HIDDEN, filter=BY_HIDDEN, replacement=NEW),
    refused("replace and lose what is hidden", "replaceOne", filter=MINE, replacement={"tenant": "red"}),
    refused("replace with a hidden field", "replaceOne", filter=MINE, replacement={"tenant": "red", "secret": "x"}),
    refused("replace for the other tenant", "replaceOne", filter=MINE, replacement={"tenant": "blue"}),
    refused("replace and see what was", "findOneAndReplace", filter=MINE, replacement={"tenant": "red"}),
    refused(
        "find and update in a hidden order", "findOneAndUpdate", says=HIDDEN, filter={}, update=SET, sort={"cost": 1}
    ),
    refused(
        "find and update, hidden field shown",
        "findOneAndUpdate",
        says=HIDDEN,
        filter=MINE,
        update=SET,
        projection={"secret": 1},
    ),
    refused(
        "find and update, shown by another name",
        "findOneAndUpdate",
        says=HIDDEN,
        filter=MINE,
        update=SET,
        projection={"x": "$secret"},
    ),
    refused(
        "find and delete, hidden field shown", "findOneAndDelete", says=HIDDEN, filter=MINE, projection={"secret": 1}
    ),
    refused("find and delete in a hidden order", "findOneAndDelete", says=HIDDEN, filter={}, sort={"cost": 1}),
    refused("delete what has hidden parts", "deleteOne", filter=MINE),
    refused("delete all that has hidden parts", "deleteMany", filter={}),
    refused("delete by a hidden filter", "deleteMany", says=HIDDEN, filter=BY_HIDDEN),
    in_vain(
        "update the other tenant", "updateMany", CHANGED_NONE, filter={"tenant": "blue"}, update={"$set": {"name": "x"}}
    ),
    in_vain(
        "update another's document",
        "updateOne",
        CHANGED_NONE,
        filter={"_id": "blue-1"},
        update={"$set": {"tenant": "red"}},
    ),
    in_vain("delete the other tenant", "deleteMany", DELETED_NONE, filter={"tenant": "blue"}),
    in_vain("delete another's document", "deleteOne", DELETED_NONE, filter={"_id": "blue-1"}),
    in_vain("find and delete another's document", "findOneAndDelete", NOBODY, filter={"_id": "blue-1"}),
    in_vain(
        "find and update another's document",
        "findOneAndUpdate",
        NOBODY,
        filter={"_id": "blue-1"},
        update={"$set": {"name": "x"}},
    ),
    in_vain(
        "find and replace another's document",
        "findOneAndReplace",
        NOBODY,
        filter={"_id": "blue-1"},
        replacement={"tenant": "red"},
    ),
    in_vain(
        "replace another's document",
        "replaceOne",
        CHANGED_NONE,
        filter={"_id": "blue-1"},
        replacement={"tenant": "red"},
    ),
    in_vain(
        "update what a filter leaves out",
        "updateMany",
        CHANGED_NONE,
        collection="masked",
        filter={"_id": 2},
        update={"$set": {"public": True}},
    ),
    refused("update what a filter hides", "updateMany", collection="masked", filter={}, update={"$set": {"pin": 1}}),
    refused(
        "update another role's document",
        "updateMany",
        collection="notes",
        filter={"title": "theirs"},
        update={"$set": {"title": "x"}},
    ),
    refused("update all to get one", "updateMany", collection="notes", filter={}, update={"$set": {"seen": 1}}),
    refused("delete another role's document", "deleteMany", collection="notes", filter={}),
    refused("update where no rules are", "updateMany", says=NO_RULE, collection="vault", filter={}, update=SET),
    refused("delete where no rules are", "deleteMany", says=NO_RULE, collection="vault", filter={}),
    refused("insert where no rules are", "insertOne", says=NO_RULE, collection="vault", document={"_id": 5}),
    refused("insert for the other tenant", "insertOne", document={**NEW, "tenant": "blue"}),
    refused("insert without a tenant", "insertOne", document={"_id": "new"}),
    refused("insert for both tenants", "insertOne", document={**NEW, "tenant": {"$in": ["red", "blue"]}}),
    refused("insert a hidden field", "insertOne", document={**NEW, "secret": "x"}),
    refused("insert a hidden part", "insertOne", document={**NEW, "internal": {"note": "x"}}),
    refused("insert a hidden part in an array", "insertOne", document={**NEW, "internal": [{"note": "x"}]}),
    refused("insert elements with hidden parts", "insertOne", document={**NEW, "items": [[{"cost": 1}]]}),
    refused("insert a good and a bad document", "insertMany", documents=[NEW, {"_id": "new2", "tenant": "blue"}]),
    refused("insert with an id that is taken", "insertOne", 409, document={**NEW, "_id": "blue-1"}),
    refused(
        "upsert with an id that is taken",
        "updateOne",
        409,
        filter={"_id": "blue-1", "tenant": "red"},
        update=SET,
        upsert=True,
    ),
    refused(
        "upsert for the other tenant", "updateOne", filter={"_id": "new", "tenant": "blue"}, update=SET, upsert=True
    ),
    refused(
        "upsert with another tenant on insert",
        "updateOne",
        filter={"_id": "new"},
        update={"$setOnInsert": {"tenant": "blue"}},
        upsert=True,
    ),
    refused("upsert a hidden field", "updateOne", filter=NEW, update={"$setOnInsert": {"secret": "x"}}, upsert=True),
    refused(
        "upsert a hidden field by its filter",
        "updateOne",
        says=HIDDEN,
        filter={**NEW, "secret": "x"},
        update=SET,
        upsert=True,
    ),
    refused("upsert by replacing", "replaceOne", filter={"_id": "new"}, replacement={"tenant": "blue"}, upsert=True),
    refused(
        "find and upsert",
        "findOneAndUpdate",
        filter={"_id": "new"},
        update={"$set": {"tenant": "blue"}},
        upsert=True,
        returnNewDocument=True,
    ),
    in_vain(
        "open a letter by writing on it",
        "findOneAndUpdate",
        NOBODY,
        collection="letters",
        filter={},
        update={"$set": {"a": 1}},
    ),
    refused("update in a collation", "updateMany", collation={"locale": "en", "strength": 1}, filter={}, update=SET),
    refused("delete in a collation", "deleteMany", collation={"locale": "en", "strength": 1}, filter={}),
    in_vain("burn the letters", "deleteMany", DELETED_NONE, collection="letters", filter={}),
    refused(
        "a bulk with one bad write",
        "bulkWrite",
        operations=[
            {"insertOne": {"document": NEW}},
            {"updateOne": {"filter": MINE, "update": {"$set": {"secret": "x"}}}},
        ],
    ),
    refused(
        "a bulk with a hidden filter", "bulkWrite", says=HIDDEN, operations=[{"deleteMany": {"filter": {"cost": 5}}}]
    ),
    refused(
        "a bulk in any order",
        "bulkWrite",
        ordered=False,
        operations=[
            {"insertOne": {"document": {"tenant": "blue"}}},
            {"deleteOne": {"filter": {"_id": "blue-1"}}},
        ],
    ),
    refused("a bulk with a command", "bulkWrite", 400, operations=[{"runCommand": {"command": {"dropDatabase": 1}}}]),
    refused("a bulk with a pipeline", "bulkWrite", 400, operations=[{"aggregate": {"pipeline": [{"$out": "x"}]}}]),
    refused(
        "a bulk with two writes in one",
        "bulkWrite",
        400,
        operations=[{"insertOne": {"document": NEW}, "deleteMany": {"filter": {}}}],
    ),
]

# --- administration --------------------------------------------------------------------------------------------------

COMMANDS: list[dict[str, Any]] = [
    {"find": "orders"},
    {"aggregate": "orders", "pipeline": [], "cursor": {}},
    {"count": "orders"},
    {"distinct": "orders", "key": "secret"},
    {"explain": {"find": "orders", "filter": {"secret": {"$gt": ""}}}},
    {"listCollections": 1},
    {"listIndexes": "orders"},
    {"dbStats": 1},
    {"collStats": "orders"},
    {"validate": "orders"},
    {"serverStatus": 1},
    {"connectionStatus": 1},
    {"ping": 1},
    {"insert": "orders", "documents": [{"tenant": "blue"}]},
    {"dropDatabase": 1},
    {"getMore": 1, "collection": "orders"},
]

ADMINISTRATION = [
    *(refused(f"the command {next(iter(command))}", "runCommand", command=command) for command in COMMANDS),
    refused("list the databases", "listDatabases"),
    refused("list the collections", "listCollections"),
    refused("list the indexes", "listIndexes"),
    refused("a unique index to probe with", "createIndex", keys={"secret": 1}, options={"unique": True}),
    refused("a TTL index to delete with", "createIndex", keys={"at": 1}, options={"expireAfterSeconds": 0}),
    refused("drop an index", "dropIndex", name="by_secret"),
    refused("create a collection", "createCollection", collection="mine"),
    refused(
        "create a view of another's", "createCollection", (400, 403), collection="mine", options={"viewOn": "vault"}
    ),
    refused("drop a collection", "dropCollection"),
    refused("take a collection's place", "renameCollection", to="vault", dropTarget=True),
]

# --- rights of keys --------------------------------------------------------------------------------------------------

VAULT = {"collection": "vault"}
OPEN = {"collection": "open"}

SCOPES = [
    refused("a reader inserts", "insertOne", by="reader", document={"_id": 9}),
    refused("a reader finds and deletes", "findOneAndDelete", by="reader", filter={}),
    refused("a reader finds and updates", "findOneAndUpdate", by="reader", filter={}, update=SET),
    refused("a reader writes in bulk", "bulkWrite", by="reader", operations=[{"deleteMany": {"filter": {}}}]),
    refused("a reader writes out of a pipeline", "aggregate", by="reader", pipeline=[{"$out": "x"}]),
    refused("a reader merges", "aggregate", by="reader", pipeline=[{"$merge": "open"}]),
    refused("a reader drops", "dropCollection", by="reader"),
    refused("a narrow key takes another's place", "renameCollection", by="narrow", **OPEN, to="vault", dropTarget=True),
    refused("a reader indexes", "createIndex", by="reader", keys={"n": 1}),
    refused("a reader commands", "runCommand", by="reader", command={"ping": 1}),
    refused("a narrow key elsewhere", "find", by="narrow", **VAULT),
    refused(
        "a narrow key joins",
        "aggregate",
        by="narrow",
        **OPEN,
        pipeline=[{"$lookup": {"from": "vault", "pipeline": [], "as": "x"}}],
    ),
    refused("a narrow key unites", "aggregate", by="narrow", **OPEN, pipeline=[{"$unionWith": "vault"}]),
    refused(
        "a narrow key joins in a facet",
        "aggregate",
        by="narrow",
        **OPEN,
        pipeline=[{"$facet": {"a": [{"$lookup": {"from": "vault", "pipeline": [], "as": "x"}}]}}],
    ),
    refused(
        "a narrow key walks", "aggregate", by="narrow", **OPEN, pipeline=[{"$graphLookup": {"from": "vault", **GRAPH}}]
    ),
    refused("a narrow key commands a read", "runCommand", by="narrow", command={"count": "vault"}),
    refused("a narrow key explains", "runCommand", by="narrow", command={"explain": {"find": "vault"}}),
    refused("a narrow key measures", "runCommand", by="narrow", command={"dataSize": "shop.vault"}),
    refused("a narrow key lists collections", "listCollections", by="narrow"),
    refused("a narrow key lists databases", "listDatabases", by="narrow"),
    refused("a narrow key asks the server", "runCommand", by="narrow", command={"serverStatus": 1}),
    refused("a narrow key makes a view", "createCollection", by="narrow", **OPEN, options={"viewOn": "vault"}),
    refused("a narrow key by another case", "find", by="narrow", collection="Open"),
    refused("a narrow key in another database", "find", by="narrow", database="other", **OPEN),
    refused("a key of another database", "find", by="elsewhere"),
    refused(
        "a key of another database by a pipeline",
        "aggregate",
        (400, 403),
        by="elsewhere",
        database="other",
        pipeline=[{"$unionWith": {"db": "shop", "coll": "vault"}}],
    ),
    refused("a finder counts", "countDocuments", by="finder", **OPEN),
    refused("a finder aggregates", "aggregate", by="finder", **OPEN, pipeline=[]),
    refused("a finder finds elsewhere", "find", by="finder", **VAULT),
    refused("a caller without documents", "find", by="stranger", says=NO_RULE, **VAULT),
    in_vain("a caller of no tenant", "find", NONE, by="stranger"),
    in_vain("a caller of no tenant counts", "countDocuments", {"count": 0}, by="stranger"),
    in_vain("a caller of no tenant aggregates", "aggregate", NONE, by="stranger", pipeline=[{"$limit": 5}]),
]

# --- the database of the server itself --------------------------------------------------------------------------------

SYSTEM = {"database": "doorleaf", "collection": "keys"}

OWN_DATABASE = [
    refused("the system database", "find", by="root", **SYSTEM),
    refused("the system database by another case", "find", by="root", database="DoorLeaf", collection="keys"),
    refused("the system database with a space", "find", 400, by="root", database="doorleaf ", collection="keys"),
    refused("the system database with a NUL", "find", (400, 403), by="root", database="doorleaf\0", collection="keys"),
    refused("the system database in a path", "find", 400, by="root", database="shop/../doorleaf", collection="keys"),
    refused(
        "the system database with its collection", "find", 400, by="root", database="doorleaf.keys", collection="x"
    ),
    in_vain(
        "the system database in full-width letters",
        "find",
        NONE,
        by="root",
        database="\uff44oorleaf",
        collection="keys",
    ),
    in_vain(
        "the system database with a soft hyphen", "find", NONE, by="root", database="door\u00adleaf", collection="keys"
    ),
    refused("write to the system database", "insertOne", by="root", **SYSTEM, document={"_id": "evil", "admin": True}),
    refused(
        "update the system database", "updateMany", by="root", **SYSTEM, filter={}, update={"$set": {"admin": True}}
    ),
    refused("list its collections", "listCollections", by="root", database="doorleaf"),
    refused("drop its collection", "dropCollection", by="root", **SYSTEM),
    refused("rename its collection", "renameCollection", by="root", **SYSTEM, to="open"),
    refused("index its collection", "createIndex", by="root", **SYSTEM, keys={"hash": 1}),
    refused(
        "join it",
        "aggregate",
        by="root",
        pipeline=[{"$lookup": {"from": {"db": "doorleaf", "coll": "keys"}, "pipeline": [], "as": "x"}}],
    ),
    refused(
        "join it by another case in a facet",
        "aggregate",
        by="root",
        pipeline=[
            {"$facet": {"a": [{"$lookup": {"from": {"db": "DOORLEAF", "coll": "keys"}, "pipeline": [], "as": "x"}}]}}
        ],
    ),
    refused("unite with it", "aggregate", by="root", pipeline=[{"$unionWith": {"db": "doorleaf", "coll": "keys"}}]),
    refused(
        "walk it",
        "aggregate",
        by="root",
        pipeline=[{"$graphLookup": {**GRAPH, "from": {"db": "doorleaf", "coll": "keys"}}}],
    ),
    refused(
        "write it out of a pipeline", "aggregate", by="root", pipeline=[{"$out": {"db": "doorleaf", "coll": "keys"}}]
    ),
    refused(
        "merge into it", "aggregate", by="root", pipeline=[{"$merge": {"into": {"db": "doorleaf", "coll": "keys"}}}]
    ),
    refused("command it", "runCommand", by="root", database="doorleaf", command={"count": "keys"}),
    refused("command it by $db", "runCommand", (400, 403), by="root", command={"count": "keys", "$db": "doorleaf"}),
    refused("measure it", "runCommand", by="root", command={"dataSize": "doorleaf.keys"}),
    refused("explain it", "runCommand", by="root", database="DOORLEAF", command={"explain": {"find": "keys"}}),
    refused(
        "rename it",
        "runCommand",
        by="root",
        database="admin",
        command={"renameCollection": "doorleaf.keys", "to": "shop.x"},
    ),
    refused(
        "make a view of it",
        "createCollection",
        (400, 403),
        by="root",
        collection="mine",
        options={"viewOn": "open", "pipeline": [{"$unionWith": {"db": "doorleaf", "coll": "keys"}}]},
    ),
    refused("server-side JavaScript", "runCommand", by="root", command={"eval": "db.keys.find()"}),
    refused("mapReduce", "runCommand", by="root", command={"mapReduce": "open", "map": "", "reduce": "", "out": "x"}),
    refused("users of the database", "runCommand", by="root", command={"usersInfo": 1}),
    refused("shut it down", "runCommand", by="root", database="admin", command={"shutdown": 1}),
    refused("a command by another case", "runCommand", by="root", command={"SHUTDOWN": 1}),
    refused("parameters", "runCommand", by="root", database="admin", command={"setParameter": 1}),
]

ATTEMPTS = [*WRITES, *ADMINISTRATION, *SCOPES, *OWN_DATABASE]


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=lambda attempt: attempt.name)
def test_nothing_comes_of_it(server: Target, attempt: Attempt) -> None:
    server.attack(attempt)


def test_there_are_enough_attempts_and_no_two_are_the_same() -> None:
    assert len(ATTEMPTS) >= 180
    assert len({attempt.name + attempt.action + attempt.key for attempt in ATTEMPTS}) == len(ATTEMPTS)


def test_honest_writers_write(server: Target) -> None:
    """That nothing comes of an attempt says something only where something would come of honest work."""
    orders = {"dataSource": "main", "database": "shop", "collection": "orders"}
    made = server.act("insertOne", {**orders, "document": {**NEW, "name": "plums"}}, "red")
    assert made.status == 201
    changed = server.act("updateOne", {**orders, "filter": NEW, "update": {"$set": {"name": "pears"}}}, "red")
    assert changed.json == {"matchedCount": 1, "modifiedCount": 1}
    assert server.act("deleteOne", {**orders, "filter": NEW}, "root").json == {"deletedCount": 1}
    for key in ("reader", "narrow", "finder"):
        assert len(server.act("find", {**orders, "collection": "open"}, key).json["documents"]) == 1
    assert "doorleaf" not in str(server.act("listDatabases", {}).json)
