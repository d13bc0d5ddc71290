"""Many documents and large ones, on both engines: all of them, whole, or a refusal that says why."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from servers import Doorleaf, start_doorleaf

MANY = 5_000
MEBIBYTE = 1024 * 1024


@pytest.fixture(scope="module", params=["embedded", "mongo"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doorleaf]:
    args = ["--uri", request.getfixturevalue("mongodb_uri")] if request.param == "mongo" else []
    running = start_doorleaf(tmp_path_factory.mktemp("large") / "data", *args)
    running.ok("dropCollection", **PLACE)
    yield running
    running.ok("dropCollection", **PLACE)
    assert running.stop() == 0
    assert "Traceback" not in running.output()


PLACE = {"database": "large", "collection": "things"}


def test_five_thousand_documents(server: Doorleaf) -> None:
    documents = [{"_id": number, "text": f"number {number} " * 20} for number in range(MANY)]
    for start in range(0, MANY, 2500):
        server.ok("insertMany", documents=documents[start : start + 2500], **PLACE)
    assert server.ok("countDocuments", **PLACE) == {"count": MANY}
    assert server.ok("find", sort={"_id": 1}, limit=MANY, **PLACE) == {"documents": documents}
    assert server.ok("find", limit=50_000, projection={"text": 0}, sort={"_id": -1}, **PLACE) == {
        "documents": [{"_id": number} for number in reversed(range(MANY))]
    }
    assert len(server.ok("find", **PLACE)["documents"]) == 1000
    assert len(server.ok("find", limit=102, **PLACE)["documents"]) == 102
    assert server.ok("aggregate", pipeline=[{"$sort": {"_id": 1}}], **PLACE) == {"documents": documents}
    tenfold = [{"$set": {"ten": {"$range": [0, 10]}}}, {"$unwind": "$ten"}, {"$project": {"ten": 1, "_id": 0}}]
    assert len(server.ok("aggregate", pipeline=tenfold, **PLACE)["documents"]) == 50_000
    too_many = server.act("aggregate", pipeline=[*tenfold, {"$unionWith": "things"}], **PLACE)
    assert (too_many.status, "50000" in too_many.json["error"]) == (400, True)
    canonical = server.act("find", limit=MANY, sort={"_id": 1}, accept="application/ejson", **PLACE)
    assert canonical.json["documents"][-1] == {"_id": {"$numberInt": "4999"}, "text": documents[-1]["text"]}
    values = server.ok("distinct", key="_id", **PLACE)["values"]
    assert sorted(values) == list(range(MANY))
    assert server.ok("updateMany", filter={}, update={"$set": {"text": 1}}, **PLACE)["modifiedCount"] == MANY
    assert server.ok("deleteMany", filter={"_id": {"$gte": 0}}, **PLACE) == {"deletedCount": MANY}


@pytest.mark.parametrize("spoiled", ["", "an _id elsewhere"])
def test_a_large_insert_says_which_documents_were_there(server: Doorleaf, spoiled: str) -> None:
    documents: list[dict[str, Any]] = [{"_id": number, "text": f"number {number} " * 20} for number in range(300)]
    for number in range(0, 300, 3):
        del documents[number]["_id"]
    if spoiled:
        documents[1] = {"text": "first", "_id": 1}
    place = {**PLACE, "collection": f"said {bool(spoiled)}"}
    ids = server.ok("insertMany", documents=documents, **place)["insertedIds"]
    assert [ids[number] for number in range(300) if number % 3] == [number for number in range(300) if number % 3]
    assert len({ids[number] for number in range(0, 300, 3)}) == 100
    found = server.ok("find", limit=1000, **place)["documents"]
    assert sorted(document["text"] for document in found) == sorted(document["text"] for document in documents)
    assert {str(document["_id"]) for document in found} == {str(one) for one in ids}
    for ordered, inserted, first in ((True, 1, [1]), (False, 100, [number for number in range(300) if number % 3])):
        answer = server.act("insertMany", documents=documents, ordered=ordered, **place)
        assert (answer.status, answer.json["insertedCount"]) == (409, inserted)
        assert [entry["index"] for entry in answer.json["writeErrors"]] == first
    wrong = server.act("insertMany", documents=[*documents, 5], **place)
    assert (wrong.status, wrong.json["error"]) == (400, "documents[300]: expected an object, got a number")
    assert server.ok("countDocuments", **place) == {"count": 401}
    server.ok("dropCollection", **place)


def large(size: int) -> dict[str, Any]:
    """A document of about ``size`` bytes, with text that needs several bytes a character and with escapes."""
    line = 'ÄÖ\n"€ ' + "x" * 89
    return {"_id": "large", "lines": [line] * (size // (len(line.encode()) + 10))}


def test_fifteen_megabytes_in_and_out(server: Doorleaf) -> None:
    document = large(15_700_000)
    body = json.dumps({**PLACE, "document": document}, ensure_ascii=False).encode()
    assert len(body) > 15_000_000
    headers = {"apiKey": server.key, "Content-Type": "application/json"}
    inserted = server.call("POST", "/action/insertOne", body, headers)
    assert (inserted.status, inserted.json) == (201, {"insertedId": "large"})
    assert server.ok("findOne", filter={"_id": "large"}, **PLACE) == {"document": document}
    again = server.act("findOne", accept="application/ejson", filter={"_id": "large"}, **PLACE)
    assert again.json == {"document": document}
    changed = server.ok("updateOne", filter={"_id": "large"}, update={"$set": {"lines.7": "seven"}}, **PLACE)
    assert changed == {"matchedCount": 1, "modifiedCount": 1}
    found = server.ok("findOne", filter={"_id": "large"}, projection={"lines": {"$slice": [6, 3]}}, **PLACE)
    assert found["document"]["lines"][1] == "seven"
    too_large = server.act(
        "updateOne", filter={"_id": "large"}, update={"$set": {"more": "m" * (2 * MEBIBYTE)}}, **PLACE
    )
    assert too_large.status == 400
    assert too_large.json["error_code"] in ("BSONObjectTooLarge", "Location17419")
    assert server.ok("countDocuments", filter={"more": {"$exists": True}}, **PLACE) == {"count": 0}
    assert server.ok("deleteMany", filter={}, **PLACE) == {"deletedCount": 1}


def test_what_is_too_large_is_refused(server: Doorleaf) -> None:
    headers = {"apiKey": server.key}
    too_large = json.dumps({**PLACE, "document": {"_id": 1, "text": "t" * (16 * MEBIBYTE)}})
    answer = server.call("POST", "/action/insertOne", too_large, headers)
    assert (answer.status, answer.json["error_code"]) == (400, "BSONObjectTooLarge")
    over_the_cap = json.dumps({**PLACE, "document": {"_id": 1, "text": "t" * (17 * MEBIBYTE)}})
    answer = server.call("POST", "/action/insertOne", over_the_cap, headers)
    assert (answer.status, answer.json["error_code"]) == (413, "PayloadTooLarge")
    assert answer.headers["content-type"] == "application/json"
    replacement = {"filter": {"_id": 2}, "replacement": {"text": "t" * (16 * MEBIBYTE)}, "upsert": True}
    assert server.act("replaceOne", **replacement, **PLACE).status == 400
    nested: Any = 1
    for _ in range(101):
        nested = {"a": nested}
    assert server.act("insertOne", document={"deep": nested}, **PLACE).status == 400
    assert server.ok("countDocuments", **PLACE) == {"count": 0}
