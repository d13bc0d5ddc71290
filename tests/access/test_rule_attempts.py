"""Hidden fields and documents stay hidden: no request gets around them, and no error quotes them."""

from __future__ import annotations

from typing import Any

import pytest
from ruled import ADMIN, ME, NS, YOU, App, operation, said, user

from doorleaf.documents import Document
from doorleaf.errors import DoorleafError
from doorleaf.operations import Namespace

STORED = [
    {
        "_id": 1,
        "owner": ME,
        "x": 1,
        "s": "MARK-1",
        "n": {"x": 1, "s": "MARK-2"},
        "l": [{"x": 1, "s": "MARK-3"}],
        "u": 1,
    },
    {"_id": 2, "owner": YOU, "x": "MARK-4", "s": "MARK-5", "n": {"x": 2}, "l": [], "u": 2},
]
HIDE = {"fields": {"s": {"read": False}}, "additional_fields": {"read": True, "write": True}}
RULES = {
    "roles": [
        {
            "name": "own",
            "apply_when": {"owner": "%%user.id"},
            "fields": {"s": {"read": False}, "n": HIDE, "l": HIDE},
            "additional_fields": {"read": True, "write": True},
        }
    ]
}
REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("find", {"filter": {"s": "MARK-1"}}),
    ("find", {"filter": {"s": {"$exists": True}}}),
    ("find", {"filter": {"s.0": 1}}),
    ("find", {"filter": {"n": {"x": 1, "s": "MARK-2"}}}),
    ("find", {"filter": {"n.s": {"$regex": "^M"}}}),
    ("find", {"filter": {"l.0.s": "MARK-3"}}),
    ("find", {"filter": {"l": {"$elemMatch": {"s": "MARK-3"}}}}),
    ("find", {"filter": {"l": {"$elemMatch": {"$or": [{"s": "MARK-3"}]}}}}),
    ("find", {"filter": {"s": {"$elemMatch": {}}}}),
    ("find", {"filter": {"$nor": [{"s": "MARK-1"}]}}),
    ("find", {"filter": {"$expr": {"$eq": ["$s", "MARK-1"]}}}),
    ("find", {"filter": {"$expr": {"$eq": ["$$ROOT.s", "MARK-1"]}}}),
    ("find", {"filter": {"$expr": {"$gt": [{"$getField": "s"}, "M"]}}}),
    ("find", {"filter": {"$expr": {"$eq": [{"$toInt": "$x"}, 1]}}}),
    ("find", {"filter": {"$or": [{"x": 5}, {"$expr": {"$divide": [1, "$x"]}}]}}),
    ("find", {"filter": {"$jsonSchema": {"properties": {"s": {"enum": ["MARK-1"]}}}}}),
    ("find", {"sort": {"s": 1}}),
    ("find", {"sort": {"x": 1, "l.s": -1}}),
    ("find", {"sort": {"x": {"$meta": "textScore"}}}),
    ("find", {"hint": {"s": 1}}),
    ("find", {"hint": "s_1"}),
    ("find", {"projection": {"s": 1}}),
    ("find", {"projection": {"n": 1}}),
    ("find", {"projection": {"n.s": 1}}),
    ("find", {"projection": {"p": "$s"}}),
    ("find", {"projection": {"n": {"x": "$s"}}}),
    ("find", {"projection": {"x": {"y": {"$concat": ["$s"]}}}}),
    ("find", {"projection": {"p": {"$slice": ["$l.s", 1]}}}),
    ("find", {"projection": {"p": "$$ROOT"}}),
    ("find", {"projection": {"p": {"$objectToArray": "$$CURRENT"}}}),
    ("find", {"projection": {"p": {"$let": {"vars": {"v": "$$ROOT"}, "in": "$$v.s"}}}}),
    ("find", {"projection": {"p": {"$setField": {"field": "z", "input": "$$ROOT", "value": 1}}}}),
    ("find", {"projection": {"p": {"$getField": {"field": {"$concat": ["", "s"]}, "input": "$$ROOT"}}}}),
    ("find", {"projection": {"p": {"$getField": {"field": "s", "input": "$n"}}}}),
    ("find", {"projection": {"p": {"$meta": "indexKey"}}}),
    ("find", {"projection": {"l": {"$elemMatch": {"s": "MARK-3"}}}}),
    ("find", {"projection": {"l.$": 1}, "filter": {"l.s": "MARK-3"}}),
    ("find", {"projection": {"l": {"$slice": 1}}}),
    ("find", {"let": {"v": "$s"}, "filter": {"$expr": {"$eq": ["$$v", 1]}}}),
    ("countDocuments", {"filter": {"s": "MARK-1"}}),
    ("countDocuments", {"hint": {"s": 1}}),
    ("distinct", {"key": "s"}),
    ("distinct", {"key": "l.s"}),
    ("distinct", {"key": "l"}),
    ("distinct", {"key": "x", "filter": {"s": "MARK-1"}}),
    ("aggregate", {"pipeline": [{"$match": {"s": "MARK-1"}}]}),
    ("aggregate", {"pipeline": [{"$out": "others"}]}),
    ("aggregate", {"pipeline": [{"$merge": {"into": "others"}}]}),
    ("aggregate", {"pipeline": [{"$collStats": {"count": {}}}]}),
    ("aggregate", {"pipeline": [{"$indexStats": {}}]}),
    ("aggregate", {"pipeline": [{"$addFields": {"k": {"$meta": "indexKey"}}}]}),
    ("aggregate", {"pipeline": [{"$addFields": {"k": "$$USER_ROLES"}}]}),
    ("aggregate", {"pipeline": [{"$lookup": {"from": "things", "localField": "x", "foreignField": "s", "as": "p"}}]}),
    ("aggregate", {"pipeline": [{"$lookup": {"from": "secret", "pipeline": [], "as": "p"}}]}),
    ("aggregate", {"pipeline": [{"$lookup": {"from": {"db": "app", "coll": "secret"}, "pipeline": [], "as": "p"}}]}),
    ("aggregate", {"pipeline": [{"$unionWith": "secret"}]}),
    ("aggregate", {"pipeline": [{"$unionWith": {"coll": "secret"}}]}),
    ("aggregate", {"pipeline": [{"$unionWith": {"coll": {"db": "app", "coll": "secret"}}}]}),
    ("aggregate", {"pipeline": [{"$unionWith": {"pipeline": [{"$match": {}}]}}]}),
    ("aggregate", {"pipeline": [{"$facet": {"p": [{"$unionWith": "secret"}]}}]}),
    ("aggregate", {"pipeline": [{"$facet": {"p": [{"$lookup": {"from": "secret", "pipeline": [], "as": "q"}}]}}]}),
    ("aggregate", {"pipeline": [{"$unionWith": {"coll": "things", "pipeline": [{"$unionWith": "secret"}]}}]}),
    ("aggregate", {"pipeline": [{"$graphLookup": {"from": "things", "startWith": "$x", "connectFromField": "s",
                                                  "connectToField": "s", "as": "p"}}]}),
    ("aggregate", {"pipeline": [{"$graphLookup": {"from": "secret", "startWith": "$x", "connectFromField": "s",
                                                  "connectToField": "s", "as": "p"}}]}),
    ("aggregate", {"pipeline": [], "hint": {"s": 1}}),
    ("aggregate", {"pipeline": [{"$unheardOf": {}}]}),
    ("updateOne", {"filter": {}, "update": {"$set": {"s": "x"}}}),
    ("updateOne", {"filter": {}, "update": {"$set": {"s": "MARK-1"}}}),
    ("updateOne", {"filter": {}, "update": {"$set": {"n": {"x": 1, "s": "MARK-2"}}}}),
    ("updateOne", {"filter": {}, "update": {"$unset": {"s": ""}}}),
    ("updateOne", {"filter": {}, "update": {"$max": {"l.0.s": "A"}}}),
    ("updateOne", {"filter": {}, "update": {"$rename": {"s": "x"}}}),
    ("updateOne", {"filter": {}, "update": {"$rename": {"x": "s"}}}),
    ("updateOne", {"filter": {}, "update": {"$push": {"l": {"x": 1}}}}),
    ("updateOne", {"filter": {}, "update": {"$pull": {"l": {"s": "MARK-3"}}}}),
    ("updateOne", {"filter": {"l.s": "MARK-3"}, "update": {"$set": {"l.$.x": 9}}}),
    ("updateOne", {"filter": {}, "update": {"$set": {"l.$[i].x": 9}}, "array_filters": [{"i.s": "MARK-3"}]}),
    ("updateOne", {"filter": {}, "update": {"$set": {"x": 1}}, "sort": {"s": 1}}),
    ("updateOne", {"filter": {}, "update": [{"$set": {"x": "$s"}}]}),
    ("updateOne", {"filter": {}, "update": [{"$set": {"x": {"y": ["$n.s"]}}}]}),
    ("updateOne", {"filter": {}, "update": [{"$set": {"x": "$$ROOT"}}]}),
    ("updateOne", {"filter": {}, "update": [{"$replaceWith": {"$mergeObjects": ["$$ROOT", {"x": "$s"}]}}]}),
    ("updateOne", {"filter": {}, "update": [{"$project": {"x": "$s"}}]}),
    ("updateOne", {"filter": {}, "update": [{"$project": {"x": {"y": "$s"}}}]}),
    ("updateMany", {"filter": {"s": "MARK-1"}, "update": {"$set": {"x": 1}}}),
    ("replaceOne", {"filter": {}, "replacement": {"owner": ME, "x": 1}}),
    ("replaceOne", {"filter": {}, "replacement": {"owner": ME, "s": "MARK-1"}}),
    ("findOneAndUpdate", {"filter": {}, "update": {"$set": {"x": 2}}, "projection": {"p": "$s"}}),
    ("findOneAndUpdate", {"filter": {}, "update": {"$set": {"x": 2}}, "sort": {"s": 1}}),
    ("findOneAndUpdate", {"filter": {"$expr": {"$eq": ["$s", "MARK-1"]}}, "update": {"$set": {"x": 2}}}),
    ("findOneAndDelete", {"filter": {"s": "MARK-1"}}),
    ("findOneAndReplace", {"filter": {}, "replacement": {"owner": ME}}),
    ("deleteMany", {"filter": {"s": {"$gt": "M"}}}),
    ("deleteMany", {"filter": {}}),
    ("bulkWrite", {"operations": [("updateOne", {"filter": {"s": "MARK-1"}, "update": {"$set": {"x": 2}}})]}),
    ("bulkWrite", {"operations": [("updateOne", {"filter": {}, "update": {"$set": {"s": 1}}})]}),
    ("insertOne", {"document": {"_id": 7, "owner": ME, "s": 1}}),
    ("insertOne", {"document": {"_id": 7, "owner": YOU}}),
    ("insertMany", {"documents": [{"_id": 7, "owner": ME}, {"_id": 8, "owner": ME, "n": {"s": 1}}]}),
    ("updateOne", {"filter": {"_id": 9}, "update": {"$set": {"owner": ME, "s": 1}}, "upsert": True}),
    ("updateOne", {"filter": {"_id": 9}, "update": {"$set": {"owner": YOU}}, "upsert": True}),
    ("createIndex", {"keys": {"s": 1}}),
    ("listIndexes", {}),
    ("dropCollection", {}),
    ("renameCollection", {"to": "mine"}),
    ("listCollections", {}),
    ("runCommand", {"command": {"count": "things"}}),
]  # fmt: skip
HARMLESS: list[tuple[str, dict[str, Any], Any]] = [
    ("find", {}, [{"_id": 1, "owner": ME, "x": 1, "n": {"x": 1}, "l": [{"x": 1}], "u": 1}]),
    ("find", {"filter": {"_id": 2}}, []),
    ("find", {"sort": {"$natural": -1}, "projection": {"x": 1, "_id": 0}, "hint": {"_id": 1}}, [{"x": 1}]),
    ("find", {"projection": {"s": 0, "n": 0, "l": 0}}, [{"_id": 1, "owner": ME, "x": 1, "u": 1}]),
    ("find", {"projection": {"n.x": 0}}, [{"_id": 1, "owner": ME, "x": 1, "n": {}, "l": [{"x": 1}], "u": 1}]),
    ("find", {"projection": {"n": {"x": 1}, "l.x": 1}}, [{"_id": 1, "n": {"x": 1}, "l": [{"x": 1}]}]),
    ("find", {"filter": {"$expr": {"$eq": ["$x", 1]}}, "projection": {"y": {"$add": ["$x", 1]}}}, [{"_id": 1, "y": 2}]),
    ("findOne", {"filter": {"l": {"$elemMatch": {"x": 1}}}, "projection": {"u": 1}}, {"_id": 1, "u": 1}),
    ("countDocuments", {"filter": {"x": {"$exists": True}}}, {"count": 1}),
    ("estimatedDocumentCount", {}, {"count": 1}),
    ("distinct", {"key": "x"}, {"values": [1]}),
    ("aggregate", {"pipeline": [{"$project": {"p": {"$objectToArray": "$n"}, "_id": 0}}]}, [{"p": [{"k": "x",
    "v": 1}]}]),
    ("aggregate", {"pipeline": [{"$group": {"_id": "$s", "n": {"$sum": 1}}}]}, [{"_id": None, "n": 1}]),
    ("aggregate", {"pipeline": [{"$sort": {"s": 1}}, {"$project": {"p": "$$ROOT.s", "q": {"$type": "$l.s"}}}]},
     [{"_id": 1, "q": "array"}]),
    ("aggregate", {"pipeline": [{"$match": {"$expr": {"$eq": [{"$toInt": "$x"}, 1]}}}, {"$count": "c"}]}, [{"c": 1}]),
    ("aggregate", {"pipeline": [{"$project": {"x": 1}}, {"$unionWith": "things"}, {"$count": "c"}]}, [{"c": 2}]),
    ("aggregate", {"pipeline": [{"$lookup": {"from": "things", "pipeline": [], "as": "p"}}, {"$project": {"p": 1}}]},
     [{"_id": 1, "p": [{"_id": 1, "owner": ME, "x": 1, "n": {"x": 1}, "l": [{"x": 1}], "u": 1}]}]),
    ("aggregate", {"pipeline": [{"$lookup": {"from": "things", "localField": "x", "foreignField": "x", "as": "p"}},
                                {"$project": {"p.u": 1}}]}, [{"_id": 1, "p": [{"u": 1}]}]),
    ("aggregate", {"pipeline": [{"$facet": {"a": [{"$sortByCount": "$s"}], "b": [{"$redact": "$$KEEP"},
    {"$count": "c"}]}}]},
     [{"a": [{"_id": None, "count": 1}], "b": [{"c": 1}]}]),
    ("updateOne", {"filter": {}, "update": {"$set": {"n.x": 5, "l.$[].x": 6}}}, {"matchedCount": 1,
    "modifiedCount": 1}),
    ("updateMany", {"filter": {"_id": 2}, "update": {"$set": {"x": 5}}}, {"matchedCount": 0, "modifiedCount": 0}),
    ("findOneAndUpdate", {"filter": {}, "update": {"$inc": {"x": 1}}, "projection": {"x": 1, "_id": 0}}, {"x": 2}),
    ("deleteOne", {"filter": {"_id": 2}}, {"deletedCount": 0}),
]  # fmt: skip


def attempt(name: str, fields: dict[str, Any]) -> tuple[Any, list[Document]]:
    documents = {"things": STORED, "secret": [{"_id": 1, "x": 1, "s": "MARK-9"}]}
    namespace = Namespace("app") if name in ("listCollections", "runCommand") else NS
    [answer, left] = App({"things": RULES}, documents).run(
        [(operation(name, namespace, **fields), user()), (operation("find"), user(YOU))]
    )
    return answer, left


@pytest.mark.parametrize(("name", "fields"), REFUSED, ids=lambda value: str(value)[:90])
def test_attempts_that_are_refused(name: str, fields: dict[str, Any]) -> None:
    answer, _ = attempt(name, fields)
    assert isinstance(answer, DoorleafError), answer
    assert answer.status in (400, 403)
    quoted = str(fields)
    for mark in ("MARK-1", "MARK-2", "MARK-3", "MARK-4", "MARK-5", "MARK-9"):
        assert mark not in said(answer) or mark in quoted


@pytest.mark.parametrize(("name", "fields", "expected"), HARMLESS, ids=lambda value: str(value)[:90])
def test_attempts_that_find_nothing_hidden(name: str, fields: dict[str, Any], expected: Any) -> None:
    answer, _ = attempt(name, fields)
    assert not isinstance(answer, DoorleafError), said(answer)
    assert answer == expected
    assert "MARK" not in repr(answer)


def test_there_are_many_attempts() -> None:
    assert len(REFUSED) + len(HARMLESS) >= 120


# --- errors ----------------------------------------------------------------------------------------------------------

PARTLY = {
    "roles": [
        {"name": "r", "fields": {"x": {"write": True}, "n": {"fields": {"x": {"write": True}}}, "k": {"write": True}}}
    ]
}


@pytest.mark.parametrize(
    ("update", "code"),
    [
        ({"$set": {"n.x": 1}}, "PathNotViable"),
        ({"$inc": {"x": 1}}, "TypeMismatch"),
        ({"$push": {"x": 1}}, "BadValue"),
        ({"$set": {"k": 2}}, "DuplicateKey"),
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["updateOne", "updateMany", "findOneAndUpdate", "bulkWrite"])
def test_errors_of_updates_quote_nothing_hidden(name: str, update: Document, code: str) -> None:
    stored = [
        {"_id": "MARK-1", "n": "MARK-2", "x": "text", "k": 1, "tenant": "MARK-3"},
        {"_id": "MARK-4", "n": 1, "x": 1, "k": 2, "tenant": "MARK-3"},
    ]
    fields: dict[str, Any] = {"filter": {"k": 1}, "update": update}
    if name == "bulkWrite":
        fields = {"operations": [("updateOne", fields)]}
    app = App({"things": PARTLY}, {"things": stored}, unique=({"tenant": 1, "k": 1},))
    answer, left = app.ask(operation(name, **fields), user())
    assert isinstance(answer, DoorleafError)
    assert answer.code == code
    assert answer.status in (400, 409)
    assert "MARK" not in said(answer)
    assert left == stored


def test_mistakes_of_the_request_are_told_as_they_are() -> None:
    app = App({"things": PARTLY}, {"things": [{"_id": 1, "x": 1}]})
    mistakes: list[tuple[dict[str, Any], str]] = [
        ({"filter": {}, "update": {"$who": {"x": 1}}}, "Unknown modifier: $who"),
        ({"filter": {"$who": 1}, "update": {"$set": {"x": 1}}}, "may not be read"),
        ({"filter": {"x": {"$who": 1}}, "update": {"$set": {"x": 1}}}, "unknown operator: $who"),
    ]
    for fields, text in mistakes:
        answer, _ = app.ask(operation("updateOne", **fields), user())
        assert isinstance(answer, DoorleafError)
        assert text in answer.message


def test_a_writer_of_whole_documents_is_told_everything() -> None:
    app = App({"things": {"roles": [{"name": "r", "write": True}]}}, {"things": [{"_id": 1, "x": "text"}]})
    answer, _ = app.ask(operation("updateOne", filter={}, update={"$inc": {"x": 1}}), user())
    assert isinstance(answer, DoorleafError)
    assert "non-numeric" in answer.message


REFUSING = {"$or": [{"x": {"$lt": 5}}, {"MARK": {"$lt": 0}}]}


@pytest.mark.parametrize("name", ["insertOne", "insertMany", "updateOne", "findOneAndUpdate", "bulkWrite"])
def test_reasons_of_a_validator_are_for_who_reads_every_field(name: str) -> None:
    update = {"filter": {"x": 1}, "update": {"$set": {"x": 7}}}
    asked: dict[str, dict[str, Any]] = {
        "insertOne": {"document": {"x": 7}},
        "insertMany": {"documents": [{"x": 7}]},
        "updateOne": update,
        "findOneAndUpdate": update,
        "bulkWrite": {"operations": [("updateOne", update)]},
    }
    whole = {"roles": [{"name": "r", "read": True, "write": True, "insert": True}]}
    partly = {"roles": [{"name": "r", "insert": True, "fields": {"x": {"write": True}, "_id": {"write": True}}}]}
    for rules, told in ((whole, True), (partly, False)):
        steps = [
            (operation("createCollection", options={"validator": REFUSING}), ADMIN),
            (operation("insertOne", document={"x": 1, "MARK": 1}), ADMIN),
            (operation(name, **asked[name]), user()),
        ]
        answer = App({"things": rules}).run(steps)[-1]
        assert isinstance(answer, DoorleafError)
        assert answer.code == "DocumentValidationFailure", said(answer)
        assert ("MARK" in said(answer)) is told
        assert ("errInfo" in said(answer)) is told


# --- writes that look at other elements than they change ------------------------------------------------------------


def test_the_rules_own_conditions_choose_no_array_element() -> None:
    rules = {
        "roles": [{"name": "r", "fields": {"tags": {"read": False}}, "additional_fields": {"write": True}}],
        "filters": [{"query": {"tags": "MARK"}}],
    }
    stored = [{"_id": 1, "tags": ["a", "b", "MARK"], "l": [1, 2, 3]}]
    app = App({"things": rules}, {"things": stored})
    positional = operation("find", filter={"l": {"$size": 3}}, projection={"l.$": 1})
    answer, _ = app.ask(positional, user())
    assert isinstance(answer, DoorleafError)
    assert "couldn't find a matching element" in answer.message
    answer, left = app.ask(operation("updateOne", filter={"l": 2}, update={"$set": {"l.$": 9}}), user())
    assert answer == {"matchedCount": 1, "modifiedCount": 1}
    assert left[0]["l"] == [1, 9, 3]
