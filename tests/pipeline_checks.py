"""How tests of aggregation run pipelines over documents in memory, and compare to the last bit and type."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import bson
import pytest
from bson.int64 import Int64
from bson.regex import Regex
from hypothesis import strategies as st

from doorleaf.documents import CODEC
from doorleaf.errors import DataError
from doorleaf.mql.context import Context
from doorleaf.mql.stages.compile import compile_pipeline

NOW = datetime(2024, 5, 6, 7, 8, 9, 123000)
L = Int64
Documents = list[dict[str, Any]]
Rows = list[tuple[Documents, Any, Any]]


class Collections:
    """Other collections, held in memory."""

    def __init__(self, collections: dict[str, Documents]) -> None:
        self.collections = collections
        self.reads: list[str] = []

    def __call__(self, collection: str, database: str | None = None) -> Iterable[dict[str, Any]]:
        self.reads.append(collection)
        return iter(self.collections.get(collection, []))


SALES: Documents = [
    {"_id": 1, "item": "abc", "price": 10, "tags": ["x", "y"], "size": {"h": 5, "w": 2}},
    {"_id": 2, "item": "jkl", "price": 20, "tags": ["y"], "size": {"h": 7, "w": 1}},
    {"_id": 3, "item": "xyz", "price": 5, "tags": [], "size": {"h": 1, "w": 9}},
    {"_id": 4, "item": "abc", "price": 5.5, "tags": None},
    {"_id": 5, "item": "jkl", "price": L(7)},
]
PEOPLE: Documents = [
    {"_id": "ann", "boss": None, "skills": ["a"]},
    {"_id": "bob", "boss": "ann", "skills": ["a", "b"]},
    {"_id": "cid", "boss": "bob"},
    {"_id": "dan", "boss": "bob", "skills": []},
]
OTHER: dict[str, Documents] = {
    "people": PEOPLE,
    "stock": [
        {"_id": 1, "sku": "abc", "left": 120},
        {"_id": 2, "sku": "jkl", "left": 60},
        {"_id": 3, "sku": None, "left": 5},
        {"_id": 4, "left": 6},
        {"_id": 5, "sku": ["abc", "xyz"], "left": 7},
    ],
}


def run(documents: Documents, pipeline: Any, reader: Any = None, **variables: Any) -> Documents:
    before = copy.deepcopy(documents)
    compiled = compile_pipeline(pipeline, Context(now=NOW), variables, reader or Collections(OTHER))
    result = list(compiled(documents))
    assert bson.encode({"": documents}, codec_options=CODEC) == bson.encode({"": before}, codec_options=CODEC)
    return result


def same(result: Documents, expected: Documents) -> None:
    actual, wanted = ([bson.encode(d, codec_options=CODEC) for d in found] for found in (result, expected))
    assert actual == wanted, result


def ids(*wanted: Any) -> Any:
    """Expect documents with these ``_id``s, whatever else they have."""
    return ("ids", list(wanted))


def check(documents: Documents, pipeline: Any, expected: Any) -> None:
    if isinstance(expected, tuple) and expected[0] != "ids":
        with pytest.raises(DataError) as caught:
            run(documents, pipeline, n=3)
        shown = (caught.value.number, caught.value.message)
        assert (caught.value.number, expected[1] in caught.value.message) == (expected[0], True), shown
    elif isinstance(expected, tuple):
        assert [document["_id"] for document in run(documents, pipeline, n=3)] == expected[1]
    else:
        same(run(documents, pipeline, n=3), expected)


ONE: Documents = [{"_id": 1, "a": 1}]

LOOKUP: dict[str, Any] = {"from": "stock", "localField": "a", "foreignField": "b", "as": "s"}
GRAPH: dict[str, Any] = {"from": "people", "startWith": "$a", "connectFromField": "a", "connectToField": "b", "as": "c"}


SCALARS = st.sampled_from([None, 1, 1.0, L(1), 2, "a", "", True, float("nan"), Regex("a"), {}, {"b": 1}, [1], []])
