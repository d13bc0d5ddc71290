"""Guard rails by setting: large answers, scans of large collections, and refused stages and operators."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from asgi import Answer, Application, application

from doorleaf.settings.model import Settings


class Place:
    """A database with ``big`` (60 documents; ``k`` indexed, ``n`` not), ``small`` (5), ``keyed`` (60, by ``ref``)."""

    def __init__(self, app: Application, database: str) -> None:
        self.app = app
        self.database = database

    def act(self, action: str, collection: str = "big", /, **fields: Any) -> Answer:
        return self.app.act(action, {"database": self.database, "collection": collection, **fields})

    def fill(self) -> None:
        documents = [{"_id": i, "k": i, "n": i, "tags": [i, -i]} for i in range(60)]
        assert self.act("insertMany", documents=documents).status == 201
        assert self.act("insertMany", "small", documents=documents[:5]).status == 201
        assert self.act("insertMany", "keyed", documents=[{"_id": i, "ref": i} for i in range(60)]).status == 201
        assert self.act("createIndex", keys={"k": 1}).status == 200
        assert self.act("createIndex", "keyed", keys={"ref": 1}).status == 200


@pytest.fixture(params=["embedded", "mongo"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """The settings of each engine in turn, with a database of its own."""
    return {} if request.param == "embedded" else {"uri": request.getfixturevalue("mongodb_uri")}


@contextmanager
def filled(folder: Path, source: dict[str, Any], **settings: Any) -> Iterator[Place]:
    database = f"rails_{uuid4().hex[:12]}"
    with application(folder, **source) as app:
        Place(app, database).fill()
    with application(folder, **source, **settings) as app:
        place = Place(app, database)
        yield place
        for collection in ("big", "small", "keyed"):
            place.act("dropCollection", collection)


# --- scans ---------------------------------------------------------------------------------------------------------

BIG_SCANS: list[tuple[str, dict[str, Any]]] = [
    ("find", {"filter": {"n": 3}}),
    ("find", {"filter": {"n": 3}, "limit": 1}),
    ("find", {}),
    ("find", {"limit": 51}),
    ("find", {"limit": 40, "skip": 11}),
    ("find", {"sort": {"n": 1}, "limit": 1}),
    ("find", {"filter": {"$or": [{"k": 3}, {"n": 3}]}}),
    ("find", {"filter": {"$expr": {"$eq": ["$n", 3]}}}),
    ("findOne", {"filter": {"n": 3}}),
    ("countDocuments", {"filter": {"n": {"$gt": 3}}}),
    ("distinct", {"key": "tags", "filter": {"n": 3}}),
    ("updateOne", {"filter": {"n": 3}, "update": {"$set": {"x": 1}}}),
    ("updateMany", {"filter": {}, "update": {"$set": {"x": 1}}}),
    ("replaceOne", {"filter": {"n": 3}, "replacement": {"x": 1}}),
    ("deleteOne", {"filter": {"n": 3}}),
    ("deleteMany", {"filter": {"n": {"$gt": 3}}}),
    ("findOneAndUpdate", {"filter": {"n": 3}, "update": {"$set": {"x": 1}}}),
    ("findOneAndReplace", {"filter": {"n": 3}, "replacement": {"x": 1}}),
    ("findOneAndDelete", {"filter": {"n": 3}}),
    ("bulkWrite", {"operations": [{"insertOne": {"document": {}}}, {"deleteOne": {"filter": {"n": 3}}}]}),
    ("aggregate", {"pipeline": [{"$match": {"n": 3}}]}),
    ("aggregate", {"pipeline": [{"$group": {"_id": "$n"}}]}),
    ("aggregate", {"pipeline": [{"$match": {"k": 3}}, {"$unionWith": {"coll": "keyed"}}]}),
    ("aggregate", {"pipeline": [{"$match": {"k": 3}}, {"$unionWith": "keyed"}]}),
    (
        "aggregate",
        {
            "pipeline": [
                {"$match": {"k": 3}},
                {"$lookup": {"from": "big", "localField": "k", "foreignField": "n", "as": "found"}},
            ]
        },
    ),
    (
        "aggregate",
        {
            "pipeline": [
                {"$match": {"k": 3}},
                {"$facet": {"all": [{"$lookup": {"from": "keyed", "pipeline": [], "as": "found"}}]}},
            ]
        },
    ),
    ("runCommand", {"command": {"count": "big", "query": {"n": 3}}}),
    ("runCommand", {"command": {"distinct": "big", "key": "tags", "query": {"n": 3}}}),
]

SMALL_SCANS: list[tuple[str, dict[str, Any]]] = [
    ("find", {"filter": {"k": 3}}),
    ("find", {"filter": {"_id": {"$in": [1, 2]}}}),
    ("find", {"filter": {"k": {"$gte": 3, "$lt": 5}}}),
    ("find", {"limit": 50}),
    ("find", {"limit": 40, "skip": 10}),
    ("find", {"sort": {"k": -1}, "limit": 5}),
    ("findOne", {}),
    ("countDocuments", {"filter": {"k": {"$gt": 3}}}),
    ("estimatedDocumentCount", {}),
    ("updateOne", {"filter": {"k": 3}, "update": {"$set": {"x": 1}}}),
    ("findOneAndUpdate", {"filter": {"_id": 3}, "update": {"$set": {"x": 1}}}),
    ("bulkWrite", {"operations": [{"updateOne": {"filter": {"k": 3}, "update": {"$set": {"x": 1}}}}]}),
    ("insertOne", {"document": {"_id": "new"}}),
    ("deleteOne", {"filter": {"_id": "new"}}),
    ("aggregate", {"pipeline": [{"$match": {"k": {"$lt": 5}}}, {"$group": {"_id": "$n"}}]}),
    ("aggregate", {"pipeline": [{"$limit": 5}]}),
    (
        "aggregate",
        {
            "pipeline": [
                {"$match": {"k": 3}},
                {"$lookup": {"from": "keyed", "localField": "k", "foreignField": "ref", "as": "found"}},
                {"$unionWith": "small"},
            ]
        },
    ),
    ("runCommand", {"command": {"count": "big", "query": {"k": 3}}}),
    ("runCommand", {"command": {"ping": 1}}),
]


def test_scans_of_large_collections_are_refused(tmp_path: Path, source: dict[str, Any]) -> None:
    with filled(tmp_path, source, max_scan_documents=50) as place:
        for action, fields in BIG_SCANS:
            answer = place.act(action, **fields)
            assert (answer.status, answer.json.get("error_code")) == (400, "NoQueryExecutionPlans"), (action, fields)
            assert "which has more than 50 documents" in answer.json["error"]
            assert f"{place.database}." in answer.json["error"]
        for action, fields in SMALL_SCANS:
            answer = place.act(action, **fields)
            assert answer.status in (200, 201), (action, fields, answer.body)
            answer = place.act(action, "small", **fields)
            assert answer.status in (200, 201), (action, fields, answer.body)
        for action, fields in BIG_SCANS[:4]:
            assert place.act(action, "small", **fields).status == 200
            assert place.act(action, "absent", **fields).status == 200
        assert place.act("find", filter={"x": 1}, hint={"k": 1}).json == {
            "documents": [{"_id": 3, "k": 3, "n": 3, "tags": [3, -3], "x": 1}]
        }, "nothing that was refused was done"


def test_nothing_is_refused_by_default_or_below_the_number(tmp_path: Path, source: dict[str, Any]) -> None:
    with filled(tmp_path, source) as place:
        assert place.act("find", filter={"n": 3}).status == 200
    with filled(tmp_path, source, max_scan_documents=60) as place:
        assert place.act("find", filter={"n": 3}).status == 200
        assert place.act("find").status == 200


def test_the_server_itself_may_scan_its_own_collections(tmp_path: Path) -> None:
    with application(tmp_path, max_scan_documents=1) as app:
        for _ in range(3):
            assert app.call("POST", "/auth/providers/anon-user/login", b"{}").status in (200, 404)
        assert app.act("insertOne", {"database": "a", "collection": "b", "document": {}}).status == 201


# --- large answers -------------------------------------------------------------------------------------------------


def test_answers_above_the_limit_are_an_error_and_never_cut(tmp_path: Path, source: dict[str, Any]) -> None:
    large: list[tuple[str, dict[str, Any]]] = [
        ("find", {}),
        ("aggregate", {"pipeline": [{"$match": {}}]}),
        ("aggregate", {"pipeline": [{"$group": {"_id": None, "all": {"$push": "$$ROOT"}}}]}),
    ]
    one: list[tuple[str, dict[str, Any]]] = [("findOne", {"filter": {"_id": "x"}}), ("distinct", {"key": "text"})]
    with filled(tmp_path, source, max_result_bytes=2000) as place:
        for action, fields in large:
            answer = place.act(action, **fields)
            assert (answer.status, answer.json) == (
                400,
                {
                    "error": "the answer has more than 2000 bytes, the most that this server answers; "
                    "ask for fewer documents or fields",
                    "error_code": "ReadSizeLimitExceeded",
                },
            )
        assert len(place.act("find", limit=20).json["documents"]) == 20
        assert place.act("find", projection={"_id": 1}, limit=60).status == 200
        assert place.act("insertOne", document={"_id": "x", "text": "y" * 3000}).status == 201
        for action, fields in one:
            answer = place.act(action, **fields)
            assert (answer.status, answer.json["error_code"]) == (400, "ReadSizeLimitExceeded")
            assert b"yyy" not in answer.body
        answer = place.act("findOneAndUpdate", filter={"_id": "x"}, update={"$set": {"a": 1}})
        assert answer.status == 200, "what is written is answered"
        assert place.act("deleteOne", filter={"_id": "x"}).json == {"deletedCount": 1}


# --- stages and operators ------------------------------------------------------------------------------------------

LOOKUP = {"$lookup": {"from": "small", "localField": "k", "foreignField": "k", "as": "found"}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rails")
    with application(path) as app:
        Place(app, "shop").fill()
    return path


@pytest.mark.parametrize(
    ("settings", "refused", "allowed"),
    [
        (
            {"refuse_stages": ["$lookup", "$set"]},
            [
                ("aggregate", {"pipeline": [LOOKUP]}, "$lookup"),
                ("aggregate", {"pipeline": [{"$match": {}}, {"$facet": {"a": [LOOKUP]}}]}, "$lookup"),
                ("aggregate", {"pipeline": [{"$unionWith": {"coll": "small", "pipeline": [LOOKUP]}}]}, "$lookup"),
                (
                    "aggregate",
                    {"pipeline": [{"$unionWith": {"coll": "a", "pipeline": [{"$facet": {"b": [LOOKUP]}}]}}]},
                    "$lookup",
                ),
                ("aggregate", {"pipeline": [{"$set": {"a": 1}}]}, "$set"),
                ("updateOne", {"filter": {"_id": 0}, "update": [{"$set": {"a": 1}}]}, "$set"),
                ("findOneAndUpdate", {"filter": {"_id": 0}, "update": [{"$set": {"a": 1}}]}, "$set"),
                (
                    "bulkWrite",
                    {"operations": [{"updateOne": {"filter": {"_id": 0}, "update": [{"$set": {"a": 1}}]}}]},
                    "$set",
                ),
                ("runCommand", {"command": {"explain": {"aggregate": "big", "pipeline": [LOOKUP]}}}, "$lookup"),
                (
                    "runCommand",
                    {"command": {"explain": {"update": "big", "updates": [{"q": {}, "u": [{"$set": {"a": 1}}]}]}}},
                    "$set",
                ),
                ("createCollection", {"options": {"viewOn": "big", "pipeline": [LOOKUP]}}, "$lookup"),
            ],
            [
                ("aggregate", {"pipeline": [{"$addFields": {"a": {"$literal": {"$lookup": 1}}}}]}),
                ("updateOne", {"filter": {"_id": 0}, "update": {"$set": {"a": 1}}}),
                ("insertOne", {"document": {"pipeline": [{"$lookup": 1}]}}),
            ],
        ),
        (
            {"allow_stages": ["$match", "$facet", "$project"]},
            [
                ("aggregate", {"pipeline": [{"$match": {}}, {"$limit": 1}]}, "$limit"),
                ("aggregate", {"pipeline": [{"$facet": {"a": [{"$count": "n"}]}}]}, "$count"),
                ("updateOne", {"filter": {"_id": 0}, "update": [{"$set": {"a": 1}}]}, "$set"),
                ("aggregate", {"pipeline": [{"$nonsense": {}}]}, "$nonsense"),
            ],
            [
                ("aggregate", {"pipeline": [{"$match": {"k": {"$gt": 3}}}, {"$project": {"a": {"$add": ["$k", 1]}}}]}),
                ("aggregate", {"pipeline": [{"$facet": {"a": [{"$match": {}}]}}]}),
                ("find", {"filter": {"k": {"$in": [1]}}}),
                ("updateOne", {"filter": {"_id": 0}, "update": {"$inc": {"a": 1}}}),
            ],
        ),
        (
            {"refuse_operators": ["$regex", "$rename", "$map"]},
            [
                ("find", {"filter": {"a": {"$regex": "x"}}}, "$regex"),
                ("find", {"filter": {"$and": [{"$or": [{"a": {"$not": {"$regex": "x"}}}]}]}}, "$regex"),
                ("find", {"filter": {"a": {"$elemMatch": {"b": {"$regex": "x"}}}}}, "$regex"),
                ("countDocuments", {"filter": {"a": {"$REGEX": "x"}}}, "$REGEX"),
                ("aggregate", {"pipeline": [{"$match": {"a": {"$regex": "x"}}}]}, "$regex"),
                (
                    "aggregate",
                    {"pipeline": [{"$project": {"a": {"$map": {"input": "$tags", "in": "$$this"}}}}]},
                    "$map",
                ),
                ("find", {"projection": {"a": {"$map": {"input": "$tags", "in": "$$this"}}}}, "$map"),
                ("updateOne", {"filter": {"_id": 0}, "update": {"$rename": {"a": "b"}}}, "$rename"),
                (
                    "updateMany",
                    {
                        "filter": {},
                        "update": {"$set": {"a.$[x]": 1}},
                        "arrayFilters": [{"x": {"$regex": "y"}}],
                    },
                    "$regex",
                ),
                ("deleteMany", {"filter": {"a": {"$regex": "x"}}}, "$regex"),
                ("runCommand", {"command": {"count": "big", "query": {"a": {"$regex": "x"}}}}, "$regex"),
            ],
            [
                ("find", {"filter": {"k": {"$gt": 3}}}),
                ("insertOne", {"document": {"a": {"b": "$regex"}}}),
                ("aggregate", {"pipeline": [{"$project": {"a": {"$literal": {"$regex": "x"}}}}]}),
            ],
        ),
    ],
)
def test_refused_stages_and_operators(
    folder: Path,
    settings: dict[str, Any],
    refused: list[tuple[str, dict[str, Any], str]],
    allowed: list[tuple[str, dict[str, Any]]],
) -> None:
    with application(folder, **settings) as app:
        place = Place(app, "shop")
        for action, fields, name in refused:
            answer = place.act(action, **fields)
            assert (answer.status, answer.json.get("error_code")) == (403, "PermissionDenied"), (action, fields)
            assert f"{name} is not allowed: a setting of this server says so" in answer.json["error"]
        for action, fields in allowed:
            answer = place.act(action, **fields)
            assert answer.status in (200, 201), (action, fields, answer.body)


@pytest.mark.parametrize("name", ["lookup", "$", "$look up", "$$ROOT", ""])
@pytest.mark.parametrize("setting", ["refuse_stages", "allow_stages", "refuse_operators"])
def test_names_that_are_none(setting: str, name: str) -> None:
    given: dict[str, Any] = {setting: [name]}
    with pytest.raises(ValueError, match=r"is not a name such as \$lookup"):
        Settings(**given)
