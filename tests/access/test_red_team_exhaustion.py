"""Attempts to exhaust a server: expressions, patterns and updates that grow without end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from red_team import Target, target


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with target(tmp_path_factory.mktemp("red-team")) as under_attack:
        yield under_attack


# --- exhaustion ------------------------------------------------------------------------------------------------------

DOUBLED = {"$reduce": {"input": {"$range": [0, 60]}, "initialValue": "x", "in": {"$concat": ["$$value", "$$value"]}}}
ARRAYS = {"$concatArrays": ["$$value", "$$value"]}
SUM_OF_SUMS = {
    "$map": {
        "input": {"$range": [0, 3000]},
        "in": {"$map": {"input": {"$range": [0, 3000]}, "in": {"$range": [0, 3000]}}},
    }
}

EXHAUSTING: dict[str, tuple[str, dict[str, Any]]] = {
    "a pattern that explodes": ("find", {"filter": {"text": {"$regex": "^(a+)+$"}}}),
    "a pattern that explodes later": ("find", {"filter": {"text": {"$regex": "^(a|a)*b"}}}),
    "a pattern of references": ("find", {"filter": {"text": {"$regex": r"^(a*)*\1*b"}}}),
    "a pattern of alternatives": ("find", {"filter": {"text": {"$regex": "(" + "a?" * 40 + ")" + "a" * 41 + "b"}}}),
    "a pattern with large counts": ("find", {"filter": {"text": {"$regex": "((a{1,999}){1,999}){1,999}b"}}}),
    "a pattern in a schema": ("find", {"filter": {"$jsonSchema": {"properties": {"text": {"pattern": "^(a+)+$"}}}}}),
    "a pattern in $in": (
        "find",
        {"filter": {"text": {"$in": [{"$regularExpression": {"pattern": "^(a+)+$", "options": ""}}]}}},
    ),
    "a pattern in an expression": (
        "aggregate",
        {"pipeline": [{"$match": {"$expr": {"$regexMatch": {"input": "$text", "regex": "^(a+)+$"}}}}]},
    ),
    "a pattern found everywhere": (
        "aggregate",
        {
            "pipeline": [
                {"$match": {"$expr": {"$gt": [{"$size": {"$regexFindAll": {"input": "$text", "regex": "(a*)*b"}}}, 0]}}}
            ]
        },
    ),
    "a pattern that chooses what to pull": (
        "updateMany",
        {"filter": {}, "update": {"$pull": {"none": {"$regex": "^(a+)+$"}}}},
    ),
    "a text that doubles": ("aggregate", {"pipeline": [{"$project": {"x": DOUBLED}}]}),
    "an array that doubles": (
        "aggregate",
        {
            "pipeline": [
                {"$project": {"x": {"$reduce": {"input": {"$range": [0, 60]}, "initialValue": [1], "in": ARRAYS}}}}
            ]
        },
    ),
    "a long range": ("aggregate", {"pipeline": [{"$project": {"x": {"$size": {"$range": [0, 2**31 - 1]}}}}]}),
    "ranges of ranges": ("aggregate", {"pipeline": [{"$project": {"x": {"$size": SUM_OF_SUMS}}}]}),
    "a text replaced by longer ones": (
        "aggregate",
        {
            "pipeline": [
                {
                    "$project": {
                        "x": {
                            "$reduce": {
                                "input": {"$range": [0, 60]},
                                "initialValue": "a",
                                "in": {"$replaceAll": {"input": "$$value", "find": "a", "replacement": "aaaaaaaa"}},
                            }
                        }
                    }
                }
            ]
        },
    ),
    "a power of powers": ("aggregate", {"pipeline": [{"$match": {"$expr": {"$eq": [{"$pow": [10, 10**9]}, 5]}}}]}),
    "digits without end": ("aggregate", {"pipeline": [{"$match": {"$expr": {"$eq": [{"$round": ["$n", 2**31]}, 5]}}}]}),
    "pushes that multiply": (
        "aggregate",
        {
            "pipeline": [
                {"$project": {"a": {"$range": [0, 1000]}}},
                *[{"$unwind": "$a"}, {"$set": {"a": {"$range": [0, 1000]}}}] * 4,
                {"$count": "n"},
            ]
        },
    ),
    "an array with a far end": ("updateMany", {"filter": {}, "update": {"$set": {"list.2000000000": 1}}}),
    "an array with a nearer end": ("updateMany", {"filter": {}, "update": {"$set": {"list.40000000": 1}}}),
    "a path without end": ("updateMany", {"filter": {}, "update": {"$set": {".".join("a" * 500): 1}}}),
    "a sample without end": ("aggregate", {"pipeline": [{"$match": {"_id": -1}}, {"$sample": {"size": 2**62}}]}),
    "buckets without end": (
        "aggregate",
        {"pipeline": [{"$match": {"_id": -1}}, {"$bucketAuto": {"groupBy": "$n", "buckets": 2**30}}]},
    ),
    "a skip without end": ("find", {"skip": 2**62}),
}

WITH_NOTHING: tuple[dict[str, Any], ...] = (
    {"documents": []},
    {"matchedCount": 0, "modifiedCount": 0},
    {"matchedCount": 1, "modifiedCount": 0},
)


@pytest.mark.parametrize("name", EXHAUSTING)
def test_what_exhausts_a_server_ends(server: Target, name: str) -> None:
    action, fields = EXHAUSTING[name]
    before = server.everything()
    body = {"database": "shop", "collection": "open", "maxTimeMS": 500, **fields}
    answer = server.act(action, body)
    server.require_no_leak(answer)
    if answer.status == 200:
        assert answer.json in WITH_NOTHING, answer.body
        assert server.everything() == before
    else:
        server.require_refused(answer, (400, 403, 413, 504))
        assert server.everything() == before
    assert server.alive()


def test_there_are_enough_attempts() -> None:
    assert len(EXHAUSTING) >= 20
