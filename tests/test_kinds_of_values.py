"""What is a string, a name, a number: values of look-alike types are refused, and what was made of them can go."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bson
import pytest
from asgi import Application, Collection, application, with_things
from bson import Code

from doorleaf.documents import CODEC
from doorleaf.stores.embedded.catalog import sum_of
from doorleaf.stores.embedded.file.storage import FILE

CODE = {"$code": "x"}
MOST = {"$numberLong": str(2**63 - 1)}


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Application]:
    with application(tmp_path, allow_output_stages=True, run_command_allow=("aggregate", "count", "create")) as running:
        yield running


@pytest.fixture
def things(app: Application) -> Collection:
    return with_things(app)


CODES: list[tuple[str, dict[str, Any]]] = [
    ("createIndex", {"keys": {"n": 1}, "options": {"name": CODE}}),
    ("createIndex", {"keys": {"n": CODE}}),
    ("dropIndex", {"name": CODE}),
    ("find", {"hint": CODE}),
    ("distinct", {"key": CODE}),
    ("find", {"filter": {"n": {"$type": CODE}}}),
    ("find", {"filter": {"n": {"$type": [CODE]}}}),
    ("find", {"filter": {"$jsonSchema": {"required": [CODE]}}}),
    ("find", {"filter": {"$jsonSchema": {"bsonType": CODE}}}),
    ("find", {"filter": {"$jsonSchema": {"type": [CODE]}}}),
    ("find", {"filter": {"$jsonSchema": {"properties": {"n": {"pattern": CODE}}}}}),
    ("find", {"filter": {"n": {"$regex": CODE}}}),
    ("updateOne", {"filter": {}, "update": {"$rename": {"n": CODE}}}),
    ("updateOne", {"filter": {}, "update": [{"$unset": CODE}]}),
    ("updateOne", {"filter": {}, "update": [{"$unset": [CODE]}]}),
    ("aggregate", {"pipeline": [{"$out": CODE}]}),
    ("aggregate", {"pipeline": [{"$out": "a..b"}]}),
    ("aggregate", {"pipeline": [{"$out": {"db": CODE, "coll": "x"}}]}),
    ("aggregate", {"pipeline": [{"$merge": CODE}]}),
    ("aggregate", {"pipeline": [{"$merge": {"into": "x", "on": CODE}}]}),
    ("aggregate", {"pipeline": [{"$merge": {"into": "x", "whenMatched": CODE}}]}),
    ("aggregate", {"pipeline": [{"$unionWith": CODE}]}),
    ("aggregate", {"pipeline": [{"$unionWith": {"coll": CODE}}]}),
    ("aggregate", {"pipeline": [{"$count": CODE}]}),
    ("aggregate", {"pipeline": [{"$unwind": CODE}]}),
    ("aggregate", {"pipeline": [{"$lookup": {"from": CODE, "localField": "n", "foreignField": "n", "as": "x"}}]}),
    ("aggregate", {"pipeline": [{"$lookup": {"from": "y", "localField": "n", "foreignField": "n", "as": CODE}}]}),
    ("runCommand", {"command": {"collStats": CODE}}),
    ("runCommand", {"command": {"create": CODE}}),
    ("runCommand", {"command": {"create": "a..b"}}),
    ("runCommand", {"command": {"count": CODE}}),
    ("runCommand", {"command": {"count": "things", "hint": CODE}}),
    ("runCommand", {"command": {"explain": {"find": CODE}}}),
    ("runCommand", {"command": {"explain": {"find": "things"}, "verbosity": CODE}}),
]


@pytest.mark.parametrize(("action", "fields"), CODES)
def test_javascript_code_is_no_string_and_no_other_way_makes_a_wrong_name(
    things: Collection, action: str, fields: dict[str, Any]
) -> None:
    before = things.all()
    things.refused(action, **fields)
    assert things.all() == before
    assert [index["name"] for index in things.ok("listIndexes")["indexes"]] == ["_id_"]
    assert things.ok("runCommand", command={"collStats": "things"})["result"]["count"] == 5


def test_an_index_named_by_code_in_an_older_database_is_listed_and_dropped(tmp_path: Path) -> None:
    with application(tmp_path / "data") as app:
        with_things(app).ok("createIndex", keys={"n": 1}, options={"name": "x"})
    with sqlite3.connect(tmp_path / "data" / FILE) as connection:
        named = bson.encode({"v": 2, "key": {"n": 1}, "name": Code("x")}, codec_options=CODEC)
        number, owner, arrays = connection.execute(
            "SELECT id, collection, arrays FROM indexes ORDER BY id DESC LIMIT 1"
        ).fetchone()
        changed = connection.execute(
            "UPDATE indexes SET specification = ?, sum = ? WHERE id = ?",
            (named, sum_of(number, owner, named, arrays), number),
        )
        assert changed.rowcount == 1
    connection.close()
    with application(tmp_path / "data") as app:
        things = Collection(app)
        assert [index["name"] for index in things.ok("listIndexes")["indexes"]] == ["_id_", "x"]
        for command in ("collStats", "validate"):
            assert things.ok("runCommand", command={command: "things"})["result"]["ok"] == 1
        assert things.ok("dropIndex", name="x") == {"nIndexesWas": 2, "ok": 1}
        assert [index["name"] for index in things.ok("listIndexes")["indexes"]] == ["_id_"]


def test_a_decimal_is_an_index_direction(things: Collection) -> None:
    things.ok("createIndex", keys={"n": {"$numberDecimal": "-1"}, "tag": {"$numberDecimal": "1"}})
    found = things.ok("find", filter={"n": {"$gte": 20}}, sort={"n": -1, "tag": 1}, projection={"_id": 1})["documents"]
    assert found == [{"_id": 4}, {"_id": 3}, {"_id": 2}]


def test_skip_and_limit_together_beyond_64_bits(things: Collection) -> None:
    filters: list[dict[str, Any]] = [{"n": {"$gte": 0}}, {}, {"_id": {"$gte": 0}}]
    for chosen in filters:
        assert things.ok("countDocuments", skip=1, limit=MOST, filter=chosen) == {"count": 4}
    pipeline = [{"$skip": MOST}, {"$skip": MOST}, {"$limit": MOST}]
    assert things.ok("aggregate", pipeline=pipeline) == {"documents": []}
    command = {"count": "things", "query": {"n": {"$gte": 0}}, "skip": 1, "limit": MOST}
    assert things.ok("runCommand", command=command)["result"] == {"n": 4, "ok": 1}


@pytest.mark.parametrize(
    ("inner", "named"),
    [
        ({"aggregate": "things", "pipeline": 5}, "pipeline"),
        ({"find": "things", "filter": 5}, "filter"),
        ({"find": "things", "sort": [["n", 1]]}, "sort"),
        ({"find": "things", "skip": "1"}, "skip"),
        ({"find": "things", "limit": -1}, "limit"),
        ({"find": "things", "hint": 5}, "hint"),
        ({"count": "things", "query": "x"}, "filter"),
    ],
)
def test_explain_checks_what_it_explains(things: Collection, inner: dict[str, Any], named: str) -> None:
    assert named in things.refused("runCommand", command={"explain": inner})["error"]


def test_a_marker_with_an_empty_name_beside_it(things: Collection) -> None:
    assert "$minKey" in things.refused("find", filter={"n": {"$minKey": 1, "": 2}})["error"]
