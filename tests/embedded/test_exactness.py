"""What the server does and the embedded database did not: empty timestamps, names with a dollar, sameness, refusals."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asgi import Application, Collection, application, with_things

from doorleaf.errors import DataError
from doorleaf.mql.context import Context
from doorleaf.mql.stages.compile import compile_pipeline
from doorleaf.mql.updates.compile import compile_update

EMPTY = {"$timestamp": {"t": 0, "i": 0}}
EJSON = {"accept": "application/ejson"}


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Application]:
    with application(tmp_path, run_command_allow=("aggregate", "find", "dataSize", "collMod")) as running:
        yield running


def test_names_with_a_dollar_at_the_top_of_new_documents(app: Application) -> None:
    things = Collection(app)
    things.ok("insertOne", document={"_id": 1, "$price": 50, "$ref": 1})
    things.ok("insertMany", documents=[{"_id": 2, "$price": 51}])
    things.ok("updateOne", filter={"_id": 3}, update={"$set": {"$price": 52}}, upsert=True)
    assert things.all() == [
        {"_id": 1, "$price": 50, "$ref": 1},
        {"_id": 2, "$price": 51},
        {"_id": 3, "$price": 52},
    ]
    # There is no such update of a document that is there, and no such part of an _id.
    assert things.refused("updateOne", filter={"_id": 1}, update={"$set": {"$price": 1}})["error_code"]
    things.refused("insertOne", document={"_id": {"$a": 1}})
    assert things.all()[0] == {"_id": 1, "$price": 50, "$ref": 1}


def test_an_empty_timestamp_at_the_top_becomes_the_time(app: Application) -> None:
    things = Collection(app)
    things.ok("insertOne", document={"_id": 1, "at": EMPTY, "in": {"at": EMPTY}})
    things.ok("insertOne", document={"_id": EMPTY, "n": 1})
    things.ok("insertOne", document={"_id": 2})
    things.ok("replaceOne", filter={"_id": 2}, replacement={"at": EMPTY, "list": [EMPTY]})
    for key, inner in ((1, "in"), (2, "list")):
        found = things.act("findOne", EJSON, filter={"_id": key}).json["document"]
        assert found["at"]["$timestamp"]["t"] > 1_700_000_000
        assert found["at"]["$timestamp"]["i"] > 0
        assert found[inner] in ({"at": EMPTY}, [EMPTY])
    assert things.act("findOne", EJSON, filter={"n": 1}).json["document"]["_id"] == EMPTY


def test_a_replacement_by_the_same_document_changes_nothing(app: Application) -> None:
    things = with_things(app)
    same: dict[str, Any] = {"n": 10, "tag": "odd"}
    unchanged = {"matchedCount": 1, "modifiedCount": 0}
    assert things.ok("replaceOne", filter={"_id": 1}, replacement=same) == unchanged
    assert things.ok("replaceOne", filter={"_id": 1}, replacement={"_id": 1, **same}) == unchanged
    changed = {"matchedCount": 1, "modifiedCount": 1}
    assert things.ok("replaceOne", filter={"_id": 1}, replacement={"tag": "odd", "n": 10}) == changed


def test_a_bulk_write_has_variables_for_all_of_its_writes(app: Application) -> None:
    things = with_things(app)
    own = {"filter": {"$expr": {"$eq": ["$n", "$$v"]}}, "update": [{"$set": {"own": "$$v"}}], "let": {"v": 20}}
    operations = [
        {"insertOne": {"document": {"_id": 9}}},
        {"updateOne": {"filter": {"$expr": {"$eq": ["$n", "$$v"]}}, "update": [{"$set": {"seen": "$$v"}}]}},
        {"updateOne": own},
        {"deleteOne": {"filter": {"$expr": {"$eq": ["$n", {"$add": ["$$v", 20]}]}}}},
    ]
    answer = things.ok("bulkWrite", operations=operations, let={"v": 10})
    assert (answer["modifiedCount"], answer["deletedCount"]) == (2, 1)
    found = {item["_id"]: item for item in things.all()}
    assert found[1]["seen"] == 10
    assert found[2]["own"] == 20
    assert 3 not in found


def test_there_is_no_disk_to_spill_to(app: Application) -> None:
    things = with_things(app)
    assert "allowDiskUse" in things.refused("aggregate", pipeline=[{"$sort": {"n": 1}}], allowDiskUse=True)["error"]
    for command in ({"aggregate": "things", "pipeline": [], "cursor": {}}, {"find": "things"}):
        assert "allowDiskUse" in things.refused("runCommand", command={**command, "allowDiskUse": True})["error"]
    assert len(things.ok("aggregate", pipeline=[], allowDiskUse=False)["documents"]) == 5


def piped(documents: list[Any], *stages: Any) -> list[Any]:
    return list(compile_pipeline(list(stages), Context())(documents))


def test_a_group_by_a_document_of_one_field_takes_missing_for_null() -> None:
    documents = [{}, {"t": None}, {"t": 1}]
    count = {"$group": {"_id": {"t": "$t"}, "n": {"$sum": 1}}}
    assert piped(documents, count) == [{"_id": {"t": None}, "n": 2}, {"_id": {"t": 1}, "n": 1}]
    two = {"$group": {"_id": {"t": "$t", "u": "$u"}, "n": {"$sum": 1}}}
    assert piped(documents[:2], two) == [{"_id": {}, "n": 1}, {"_id": {"t": None}, "n": 1}]


@pytest.mark.parametrize("stage", ["$addFields", "$set", "$project"])
def test_a_computed_path_through_an_array_makes_a_document_of_each_element(stage: str) -> None:
    document = {"_id": 1, "a": [1, {"b": 2}, "s"]}
    assert piped([document], {stage: {"a.b": {"$add": [1, 1]}}}) == [{"_id": 1, "a": [{"b": 2}] * 3}]


def test_push_sorts_elements_that_are_arrays_by_a_field_as_null() -> None:
    update = compile_update({"$push": {"a": {"$each": [], "$sort": {"x": 1}}}}, Context())
    elements: list[Any] = [{"x": 1}, [5], {"x": None}, {"y": 1}, {"x": "s"}, [{"x": 0}]]
    assert update.apply({"_id": 1, "a": elements})["a"] == [
        [5],
        {"x": None},
        {"y": 1},
        [{"x": 0}],
        {"x": 1},
        {"x": "s"},
    ]


def test_errors_of_accumulators_name_them_as_the_request_does() -> None:
    run = compile_pipeline([{"$group": {"_id": 1, "a": {"$push": "$$ROOT"}}}], Context(memory_limit=1000))
    with pytest.raises(DataError, match=r"^\$push used too much memory"):
        list(run([{"n": 1}] * 100))


def test_new_documents_of_replacements_may_have_names_with_a_dollar(app: Application) -> None:
    things = Collection(app)
    things.ok("replaceOne", filter={"_id": 1}, replacement={"n": 1, "$price": 5}, upsert=True)
    things.ok("findOneAndReplace", filter={"_id": 2}, replacement={"_id": 2, "$price": 6}, upsert=True)
    stored = [{"_id": 1, "n": 1, "$price": 5}, {"_id": 2, "$price": 6}]
    assert things.all() == stored
    # Of a document that is there they are no replacement, nor where the first name is an operator.
    for name in ("replaceOne", "findOneAndReplace"):
        things.refused(name, filter={"_id": 1}, replacement={"n": 1, "$price": 7}, upsert=True)
        things.refused(name, filter={"_id": 3}, replacement={"n": 1, "$price": 7})
        things.refused(name, filter={"_id": 3}, replacement={"$price": 7}, upsert=True)
    assert things.all() == stored


def test_the_reasons_of_a_validator(app: Application) -> None:
    things = Collection(app)
    things.ok("createCollection", options={"validator": {"$jsonSchema": {"required": ["name"]}, "n": {"$lt": 5}}})
    missing = {"operatorName": "required", "specifiedAs": {"required": ["name"]}, "missingProperties": ["name"]}
    schema = {"operatorName": "$jsonSchema", "schemaRulesNotSatisfied": [missing]}
    clauses = [{"index": 0, "details": schema}]
    reasons = {"failingDocumentId": 7, "details": {"operatorName": "$and", "clausesNotSatisfied": clauses}}
    assert things.refused("insertOne", document={"_id": 7, "n": 1})["errInfo"] == reasons
    documents = [{"_id": 7, "n": 1}, {"_id": 8, "n": 1, "name": "x"}, {"_id": 8, "n": 1, "name": "y"}]
    found = things.refused("insertMany", documents=documents, ordered=False)
    first, second = found["writeErrors"]
    assert (first["index"], first["errInfo"]) == (0, reasons)
    assert "errInfo" not in second
    assert "errInfo" not in found
    found = things.refused("updateOne", filter={"_id": 8}, update={"$set": {"n": 9}})
    details = {"operatorName": "$lt", "specifiedAs": {"n": {"$lt": 5}}, "reason": "comparison failed"}
    [clause] = found["errInfo"]["details"]["clausesNotSatisfied"]
    assert clause == {"index": 1, "details": {**details, "consideredValue": 9}}


@pytest.mark.parametrize("name", ["insertMany", "bulkWrite"])
def test_the_reasons_in_one_answer_are_bounded(app: Application, name: str) -> None:
    things = Collection(app)
    things.ok("createCollection", options={"validator": {"n": 1}})
    documents = [{"_id": number, "n": "x" * 20_000} for number in range(100)]
    asked: dict[str, Any] = {"documents": documents}
    if name == "bulkWrite":
        asked = {"operations": [{"insertOne": {"document": document}} for document in documents]}
    failed = things.refused(name, **asked, ordered=False)["writeErrors"]
    told = ["errInfo" in entry for entry in failed]
    assert len(told) == 100
    assert 45 < sum(told) < 55
    assert told == sorted(told, reverse=True)
    # The next one is told again.
    assert things.refused("insertOne", document={"_id": 1, "n": 2})["errInfo"]["failingDocumentId"] == 1


def test_the_size_of_a_collection(app: Application) -> None:
    things = with_things(app)
    found = things.ok("runCommand", command={"dataSize": "shop.things"})["result"]
    assert (found["numObjects"], found["ok"], found["estimate"]) == (5, 1, False)
    assert found["size"] == things.ok("runCommand", command={"collStats": "things"})["result"]["size"]
    assert things.ok("runCommand", command={"dataSize": "shop.none"})["result"]["size"] == 0
    for wrong in ("things", "other.things", 5):
        things.refused("runCommand", command={"dataSize": wrong})
