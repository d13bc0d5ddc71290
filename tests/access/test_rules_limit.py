"""What a filter's projection hides from everybody is not written, not replaced and not found out by anybody."""

from __future__ import annotations

from typing import Any

import pytest
from ruled import ADMIN, App, operation, said, user

from doorleaf.documents import Document
from doorleaf.errors import DoorleafError
from doorleaf.operations import CreateIndex, Find
from doorleaf.operations import Namespace as At

HIDDEN = "MARK-history"
STORED: list[Document] = [
    {"_id": 1, "a": 1, "history": HIDDEN, "n": {"x": 1, "log": "MARK-log"}, "l": [{"x": 1, "log": "MARK-item"}]},
    {"_id": 2, "a": 2, "history": "MARK-other", "n": {"x": 2}, "l": []},
]
ROLE = {"name": "all", "apply_when": {}, "read": True, "write": True}
BY_FIELDS = {"name": "all", "apply_when": {}, "additional_fields": {"read": True, "write": True}}
EXCLUDING = {"history": 0, "n.log": 0, "l.log": 0}
INCLUDING = {"a": 1, "n.x": 1, "l.x": 1}
RULES = {
    "excluding": {"roles": [ROLE], "filters": [{"name": "f", "apply_when": {}, "projection": EXCLUDING}]},
    "including": {"roles": [ROLE], "filters": [{"name": "f", "apply_when": {}, "projection": INCLUDING}]},
    "two": {
        "roles": [BY_FIELDS],
        "filters": [{"apply_when": {}, "projection": {name: 0}} for name in EXCLUDING],
    },
    "narrowed": {
        "roles": [ROLE],
        "filters": [{"apply_when": {}, "query": {"a": {"$gte": 1}}, "projection": EXCLUDING}],
    },
}


def guesses(value: Any) -> list[tuple[str, str, dict[str, Any]]]:
    """Every way to write or ask for ``value`` in the hidden field of the first document."""
    whole = {**STORED[0], "history": value}
    plain = {name: part for name, part in whole.items() if name != "_id"}
    one, set_it = {"_id": 1}, {"$set": {"history": value}}
    literal = [{"$replaceWith": {"$literal": whole}}]
    writes: dict[str, tuple[str, dict[str, Any]]] = {
        "replacement": ("replaceOne", {"filter": one, "replacement": plain}),
        "replacement with its id": ("replaceOne", {"filter": one, "replacement": whole}),
        "replacement by upsert": ("replaceOne", {"filter": {"_id": 3}, "replacement": plain, "upsert": True}),
        "replacement without it": ("replaceOne", {"filter": one, "replacement": {"a": 1}}),
        "find and replace": ("findOneAndReplace", {"filter": one, "replacement": plain}),
        "find and replace, after": (
            "findOneAndReplace",
            {"filter": one, "replacement": plain, "return_new_document": True},
        ),
        "$replaceWith": ("updateOne", {"filter": one, "update": literal}),
        "$replaceWith of many": ("updateMany", {"filter": {"a": 1}, "update": literal}),
        "$replaceRoot": ("updateOne", {"filter": one, "update": [{"$replaceRoot": {"newRoot": {"$literal": whole}}}]}),
        "find and $replaceWith": ("findOneAndUpdate", {"filter": one, "update": literal}),
        "$replaceWith of the rest": ("updateOne", {"filter": one, "update": [{"$replaceWith": {"a": "$a"}}]}),
        "$project": ("updateOne", {"filter": one, "update": [{"$project": {"a": 1}}]}),
        "$project away": ("updateOne", {"filter": one, "update": [{"$project": {"history": 0}}]}),
        "$set": ("updateOne", {"filter": one, "update": set_it}),
        "$set of many": ("updateMany", {"filter": {}, "update": set_it}),
        "$set by a pipeline": ("updateOne", {"filter": one, "update": [set_it]}),
        "$addFields": ("updateOne", {"filter": one, "update": [{"$addFields": {"history": {"$literal": value}}}]}),
        "$unset by a pipeline": ("updateOne", {"filter": one, "update": [{"$unset": "history"}]}),
        "$unset": ("updateOne", {"filter": one, "update": {"$unset": {"history": ""}}}),
        "$max": ("updateOne", {"filter": one, "update": {"$max": {"history": value}}}),
        "$min": ("updateOne", {"filter": one, "update": {"$min": {"history": value}}}),
        "$inc": ("updateOne", {"filter": one, "update": {"$inc": {"history": 1}}}),
        "$push": ("updateOne", {"filter": one, "update": {"$push": {"history": value}}}),
        "$addToSet": ("updateOne", {"filter": one, "update": {"$addToSet": {"history": value}}}),
        "$pull": ("updateOne", {"filter": one, "update": {"$pull": {"history": value}}}),
        "$currentDate": ("updateOne", {"filter": one, "update": {"$currentDate": {"history": True}}}),
        "$rename away": ("updateOne", {"filter": one, "update": {"$rename": {"history": "a"}}}),
        "$rename onto it": ("updateOne", {"filter": one, "update": {"$rename": {"a": "history"}}}),
        "$setOnInsert": (
            "updateOne",
            {"filter": {"_id": 3}, "update": {"$setOnInsert": {"history": value}}, "upsert": True},
        ),
        "upsert": ("updateOne", {"filter": {"_id": 3}, "update": set_it, "upsert": True}),
        "upsert by its filter": (
            "updateOne",
            {"filter": {"history": value}, "update": {"$set": {"a": 9}}, "upsert": True},
        ),
        "$set around it": ("updateOne", {"filter": one, "update": {"$set": {"n": {"x": 1, "log": value}}}}),
        "$set around it, without": ("updateOne", {"filter": one, "update": {"$set": {"n": {"x": 1}}}}),
        "$set below it": ("updateOne", {"filter": one, "update": {"$set": {"history.x": value}}}),
        "$set in an element": ("updateOne", {"filter": one, "update": {"$set": {"l.0.log": value}}}),
        "$set in all elements": ("updateOne", {"filter": one, "update": {"$set": {"l.$[].log": value}}}),
        "$pull of elements": ("updateOne", {"filter": one, "update": {"$pull": {"l": {"log": value}}}}),
        "array filters": (
            "updateOne",
            {"filter": one, "update": {"$set": {"l.$[i].x": 5}}, "array_filters": [{"i.log": value}]},
        ),
        "copied": ("updateOne", {"filter": one, "update": [{"$set": {"a": "$history"}}]}),
        "compared": (
            "updateOne",
            {"filter": one, "update": [{"$set": {"a": {"$cond": [{"$eq": ["$history", value]}, 7, 8]}}}]},
        ),
        "written where it is": ("updateOne", {"filter": {"history": value}, "update": {"$set": {"a": 7}}}),
        "deleted where it is": ("deleteOne", {"filter": {"history": value}}),
        "found and deleted": ("findOneAndDelete", {"filter": {"history": value}}),
        "deleted in its order": ("findOneAndDelete", {"filter": {}, "sort": {"history": 1}}),
        "updated in its order": (
            "findOneAndUpdate",
            {"filter": {}, "update": {"$set": {"a": 7}}, "sort": {"history": 1}},
        ),
        "shown after": (
            "findOneAndUpdate",
            {"filter": one, "update": {"$set": {"a": 7}}, "projection": {"history": 1}},
        ),
        "insert": ("insertOne", {"document": {"_id": 3, "a": 3, "history": value}}),
        "insert below": ("insertOne", {"document": {"_id": 3, "n": {"log": value}}}),
        "insert in an element": ("insertOne", {"document": {"_id": 3, "l": [{"x": 1}, {"log": value}]}}),
        "one insert of many": ("insertMany", {"documents": [{"_id": 3, "a": 3}, {"_id": 4, "history": value}]}),
    }
    join = {"from": "things", "localField": "a", "foreignField": "history", "as": "p"}
    reads: dict[str, tuple[str, dict[str, Any]]] = {
        "find": ("find", {"filter": {"history": value}}),
        "find by what it is in": ("find", {"filter": {"n": {"x": 1, "log": value}}}),
        "find by an expression": ("find", {"filter": {"$expr": {"$eq": ["$history", value]}}}),
        "find by the root": ("find", {"filter": {"$expr": {"$eq": ["$$ROOT.history", value]}}}),
        "find by a schema": ("find", {"filter": {"$jsonSchema": {"properties": {"history": {"enum": [value]}}}}}),
        "count": ("countDocuments", {"filter": {"history": value}}),
        "count by an index": ("countDocuments", {"filter": {}, "hint": {"history": 1}}),
        "distinct": ("distinct", {"key": "history"}),
        "distinct where it is": ("distinct", {"key": "a", "filter": {"history": value}}),
        "distinct around it": ("distinct", {"key": "n"}),
        "sort": ("find", {"sort": {"history": 1}}),
        "let": ("find", {"let": {"h": "$history"}, "filter": {"$expr": {"$eq": ["$$h", value]}}}),
        "projection": ("find", {"projection": {"history": 1}}),
        "computed projection": ("find", {"projection": {"p": {"$eq": ["$history", value]}}}),
        "match": ("aggregate", {"pipeline": [{"$match": {"history": value}}]}),
        "out": ("aggregate", {"pipeline": [{"$out": "others"}]}),
        "merge": ("aggregate", {"pipeline": [{"$merge": {"into": "things", "whenMatched": "replace"}}]}),
        "join": ("aggregate", {"pipeline": [{"$lookup": join}]}),
    }  # fmt: skip
    many = [(name, *call) for name, call in (writes | reads).items()]
    bulk = {
        name: call
        for name, call in writes.items()
        if call[0] in ("updateOne", "updateMany", "replaceOne", "deleteOne", "insertOne")
    }
    return many + [(f"bulk {name}", "bulkWrite", {"operations": [call]}) for name, call in bulk.items()]


NAMES = [name for name, _, _ in guesses(HIDDEN)]


@pytest.mark.parametrize("rules", RULES)
def test_what_is_hidden_is_neither_written_nor_found_out(rules: str) -> None:
    app = App({"things": RULES[rules]}, {"things": STORED, "others": []})
    left = Find(namespace=At("app", "things"), sort={"_id": 1})
    names, steps = [], []
    for (name, action, right), (_, _, wrong) in zip(guesses(HIDDEN), guesses("a guess"), strict=True):
        names.append(name)
        steps += [*((operation(action, **fields), user()) for fields in (right, wrong)), (left, ADMIN)]
    answers = iter(app.run(steps))
    for name, good, bad, after in zip(names, answers, answers, answers, strict=True):
        assert isinstance(good, DoorleafError), (name, good)
        assert isinstance(bad, DoorleafError), (name, bad)
        assert good.status == 403, (name, said(good))
        assert said(good).replace(HIDDEN, "") == said(bad).replace("a guess", ""), name
        assert after == STORED, name
        assert "MARK-other" not in said(good), name


SEEN = [
    {"_id": 1, "a": 1, "n": {"x": 1}, "l": [{"x": 1}]},
    {"_id": 2, "a": 2, "n": {"x": 2}, "l": []},
]
HONEST: list[tuple[str, dict[str, Any], Any]] = [
    ("find", {"sort": {"_id": 1}}, SEEN),
    ("find", {"filter": {"n.x": 2}}, SEEN[1:]),
    ("findOne", {"filter": {"_id": 1}}, SEEN[0]),
    ("countDocuments", {"filter": {"a": {"$gte": 1}}}, {"count": 2}),
    ("distinct", {"key": "a"}, {"values": [1, 2]}),
    ("aggregate", {"pipeline": [{"$group": {"_id": "$history", "n": {"$sum": "$a"}}}]}, [{"_id": None, "n": 3}]),
    ("updateOne", {"filter": {"_id": 1}, "update": {"$set": {"a": 5}}}, {"matchedCount": 1, "modifiedCount": 1}),
    ("updateOne", {"filter": {"_id": 1}, "update": {"$set": {"a": 1}}}, {"matchedCount": 1, "modifiedCount": 0}),
    ("updateOne", {"filter": {"_id": 1}, "update": [{"$set": {"a": 6}}]}, {"matchedCount": 1, "modifiedCount": 1}),
    ("updateMany", {"filter": {}, "update": {"$inc": {"n.x": 1}}}, {"matchedCount": 2, "modifiedCount": 2}),
    ("updateOne", {"filter": {"_id": 1}, "update": {"$set": {"l.$[].x": 4}}}, {"matchedCount": 1, "modifiedCount": 1}),
    ("findOneAndUpdate", {"filter": {"_id": 1}, "update": {"$set": {"a": 7}}}, {**SEEN[0], "a": 7}),
    ("insertOne", {"document": {"_id": 3, "a": 3, "n": {"x": 1}, "l": [{"x": 1}]}}, {"insertedId": 3}),
    ("insertMany", {"documents": [{"_id": 3, "a": 3}]}, {"insertedIds": [3]}),
    ("deleteOne", {"filter": {"_id": 2}}, {"deletedCount": 1}),
]


@pytest.mark.parametrize("rules", RULES)
def test_what_is_shown_is_read_and_written_as_ever(rules: str) -> None:
    app = App({"things": RULES[rules]}, {"things": STORED})
    for action, fields, expected in HONEST:
        answer, after = app.ask(operation(action, **fields), user())
        assert answer == expected, (action, fields)
        hidden = {
            document["_id"]: (document["history"], document["n"].get("log"))
            for document in after[:2]
            if "history" in document
        }
        assert hidden[1] == (HIDDEN, "MARK-log")
        assert after[0]["l"][0]["log"] == "MARK-item"
        assert "MARK" not in repr(answer)
    upsert: dict[str, Any] = {"filter": {"_id": 3}, "update": {"$set": {"a": 3}}, "upsert": True}
    answer, after = app.ask(operation("updateOne", **upsert), user())
    assert (answer["matchedCount"], answer["upsertedId"], after[2]) == (0, 3, {"_id": 3, "a": 3})


def test_an_index_over_what_is_hidden_names_no_value() -> None:
    stored = [{"_id": 1, "a": 1, "history": "MARK"}, {"_id": 2, "a": 2, "history": "MARK"}]
    app = App({"things": RULES["excluding"]}, {"things": stored})
    index = CreateIndex(namespace=At("app", "things"), keys={"a": 1, "history": 1}, options={"unique": True})
    tries = [
        operation("updateOne", filter={"_id": 1}, update={"$set": {"a": 2}}),
        operation("updateOne", filter={"_id": 1}, update={"$inc": {"a": 1}}),
        operation("findOneAndUpdate", filter={"_id": 1}, update={"$set": {"a": 2}}),
        operation("bulkWrite", operations=[("updateOne", {"filter": {"_id": 1}, "update": {"$set": {"a": 2}}})]),
        operation("bulkWrite", operations=[("updateMany", {"filter": {}, "update": {"$set": {"a": 2}}})]),
    ]
    answers = app.run([(index, ADMIN), *((asked, user()) for asked in tries)])
    for answer in answers[1:]:
        assert isinstance(answer, DoorleafError)
        assert answer.status == 409
        assert "MARK" not in said(answer)
        assert "keyValue" not in said(answer)


def test_there_are_many_guesses() -> None:
    assert len(NAMES) >= 100
    assert len(set(NAMES)) == len(NAMES)
