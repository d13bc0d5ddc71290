"""Every BSON type goes in and comes out byte for byte, on every engine alike."""

from __future__ import annotations

import datetime
import random
from typing import Any

import bson
import pytest
from bson import (
    Binary,
    Code,
    DatetimeMS,
    Decimal128,
    Int64,
    MaxKey,
    MinKey,
    ObjectId,
    Regex,
    Timestamp,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scenarios import NS, Engine, as_bson, unique_database

from doorleaf.documents import CODEC, Document
from doorleaf.operations import Aggregate, Find, FindOne, FindOneAndUpdate, InsertMany, InsertOne, Namespace
from doorleaf.stores.base import Store

VALUES: dict[str, Any] = {
    "double": 1.5,
    "whole double": 5.0,
    "minus zero": -0.0,
    "not a number": float("nan"),
    "infinity": float("-inf"),
    "string": "Grüße, 世界 \U0001f600",
    "empty string": "",
    "string with a null": "a\x00b",
    "object": {"a": {"b": {"c": []}}},
    "empty object": {},
    "array": [1, Int64(1), 1.0, "1", [None, [True]]],
    "binary": Binary(b"\x00\xff", 0),
    "function": Binary(b"abc", 1),
    "uuid": Binary(bytes(range(16)), 4),
    "old uuid": Binary(bytes(range(16)), 3),
    "user defined": Binary(b"abc", 0x80),
    "object id": ObjectId("0123456789abcdef01234567"),
    "true": True,
    "false": False,
    "date": datetime.datetime(2024, 2, 29, 12, 0, 0, 123000),
    "date before 1970": datetime.datetime(1901, 1, 1),
    "date after 9999": DatetimeMS(253402300800000),
    "date before year 1": DatetimeMS(-62135596800001),
    "null": None,
    "regex": Regex("^a.*b$", "im"),
    "javascript": Code("return 1"),
    "scoped javascript": Code("return x", {"x": 1}),
    "int32": 2147483647,
    "least int32": -2147483648,
    "int64": Int64(5),
    "large int64": Int64(9223372036854775807),
    "least int64": Int64(-9223372036854775808),
    "timestamp": Timestamp(1700000000, 7),
    "decimal": Decimal128("123.4500"),
    "decimal infinity": Decimal128("-Infinity"),
    "decimal not a number": Decimal128("NaN"),
    "min key": MinKey(),
    "max key": MaxKey(),
}

FAR_DATES = ("date after 9999", "date before year 1")
NOT_AS_ID = ("array", "regex", "string with a null", "not a number", "decimal not a number")


def excuse_far_dates(engine: Engine, name: str, request: pytest.FixtureRequest) -> None:
    """The test server cannot read dates outside years 1 to 9999."""
    if engine.name == "secantus" and name in FAR_DATES:
        request.applymarker(pytest.mark.xfail(reason="refuses dates outside years 1 to 9999", strict=True))


def encode(document: Document) -> bytes:
    return bson.encode(document, codec_options=CODEC)


@pytest.mark.parametrize("name", VALUES)
def test_types(engine: Engine, name: str, request: pytest.FixtureRequest) -> None:
    excuse_far_dates(engine, name, request)
    document = {"_id": 1, "v": VALUES[name], "z": {"v": VALUES[name], "list": [VALUES[name]]}}

    async def body(store: Store) -> None:
        namespace = Namespace(unique_database(), NS.collection)
        await store.execute(InsertOne(namespace=namespace, document=document))
        one = await store.execute(FindOne(namespace=namespace, filter={"_id": 1}))
        many = await store.execute(Find(namespace=namespace, limit=10))
        piped = await store.execute(Aggregate(namespace=namespace, pipeline=[{"$match": {"_id": 1}}]))
        changed = await store.execute(
            FindOneAndUpdate(namespace=namespace, filter={"_id": 1}, update={"$set": {"new": VALUES[name]}})
        )
        assert one.document == encode(document)
        assert list(many.documents) == [encode(document)]
        assert list(piped.documents) == [encode(document)]
        assert changed.document == encode({**document, "new": VALUES[name]})

    engine.run(body)


@pytest.mark.parametrize("name", [name for name in VALUES if name not in NOT_AS_ID])
def test_types_as_id(engine: Engine, name: str, request: pytest.FixtureRequest) -> None:
    """A value of any type but array and regular expression identifies a document."""
    excuse_far_dates(engine, name, request)

    async def body(store: Store) -> None:
        namespace = Namespace(unique_database(), NS.collection)
        inserted = await store.execute(InsertOne(namespace=namespace, document={"_id": VALUES[name], "a": 1}))
        found = await store.execute(FindOne(namespace=namespace, filter={"_id": VALUES[name]}))
        assert encode({"": inserted.inserted_id}) == encode({"": VALUES[name]})
        assert as_bson(found.document) == encode({"_id": VALUES[name], "a": 1})

    engine.run(body)


def test_field_order_and_odd_names(engine: Engine) -> None:
    document = {"_id": 1, "z": 1, "a": 2, "m": {"y": 1, "b": 2}, " ": 3, "é": 4, "10": 5, "9": 6, "a b": 7}

    async def body(store: Store) -> None:
        namespace = Namespace(unique_database(), NS.collection)
        await store.execute(InsertOne(namespace=namespace, document=document))
        found = await store.execute(FindOne(namespace=namespace))
        assert found.document == encode(document)

    engine.run(body)


def test_large_documents(engine: Engine) -> None:
    """15 MB in one document, and an answer of more bytes than one batch holds."""
    large = {"_id": 1, "text": "x" * (15 * 1024 * 1024)}
    others = [{"_id": number, "text": "y" * (3 * 1024 * 1024)} for number in range(2, 8)]

    async def body(store: Store) -> None:
        namespace = Namespace(unique_database(), NS.collection)
        await store.execute(InsertOne(namespace=namespace, document=large))
        await store.execute(InsertMany(namespace=namespace, documents=others))
        one = await store.execute(FindOne(namespace=namespace, filter={"_id": 1}))
        many = await store.execute(Find(namespace=namespace, sort={"_id": 1}, limit=100))
        piped = await store.execute(Aggregate(namespace=namespace, pipeline=[{"$sort": {"_id": 1}}]))
        assert one.document == encode(large)
        assert list(many.documents) == [encode(document) for document in (large, *others)]
        assert list(piped.documents) == list(many.documents)

    engine.run(body)


def test_too_large_a_document(engine: Engine) -> None:
    async def body(store: Store) -> None:
        namespace = Namespace(unique_database(), NS.collection)
        with pytest.raises(Exception, match=r"(?i)large|size") as raised:
            await store.execute(InsertOne(namespace=namespace, document={"_id": 1, "t": "x" * (17 * 1024 * 1024)}))
        assert getattr(raised.value, "status", None) in (400, 413)
        found = await store.execute(Find(namespace=namespace, limit=1))
        assert len(found.documents) == 0

    engine.run(body)


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**31), 2**31 - 1),
    st.integers(-(2**63), 2**63 - 1).map(Int64),
    st.floats(allow_nan=False),
    st.text(max_size=12),
    st.binary(max_size=12),
    st.builds(lambda n: ObjectId(n.to_bytes(12, "big")), st.integers(0, 2**96 - 1)),
    st.datetimes(datetime.datetime(1, 1, 2), datetime.datetime(9999, 12, 30)).map(
        lambda d: d.replace(microsecond=d.microsecond // 1000 * 1000)
    ),
)
KEYS = st.text(st.characters(exclude_characters="\x00.$", codec="utf-8"), min_size=1, max_size=6).filter(
    lambda key: key != "_id"
)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bodies=st.lists(st.dictionaries(KEYS, TREES, max_size=5), min_size=1, max_size=6))
def test_any_document(engine: Engine, bodies: list[Document]) -> None:
    documents = [{"_id": number, **body} for number, body in enumerate(bodies)]

    async def body(store: Store) -> None:
        namespace = Namespace(unique_database(), NS.collection)
        await store.execute(InsertMany(namespace=namespace, documents=documents))
        found = await store.execute(Find(namespace=namespace, sort={"_id": 1}, limit=100))
        assert list(found.documents) == [encode(document) for document in documents]

    engine.run(body)


def test_insert_order_is_kept_by_id_sort(engine: Engine) -> None:
    """Mixed numbers and strings sort as MongoDB sorts: numbers by value, then strings by their bytes."""
    keys: list[Any] = [Int64(2**40), -1, 0.5, "b", "B", "a", 3, Decimal128("2.5"), None, True, ObjectId(), {"a": 1}]
    wanted = [None, -1, 0.5, Decimal128("2.5"), 3, Int64(2**40), "B", "a", "b", {"a": 1}, keys[10], True]
    shuffled = random.Random(7).sample(keys, len(keys))

    async def body(store: Store) -> None:
        namespace = Namespace(unique_database(), NS.collection)
        await store.execute(InsertMany(namespace=namespace, documents=[{"_id": key} for key in shuffled]))
        found = await store.execute(Find(namespace=namespace, sort={"_id": 1}, limit=100))
        assert list(found.documents) == [encode({"_id": key}) for key in wanted]

    engine.run(body)


def test_regular_expressions_are_values_when_compared_by_eq(engine: Engine) -> None:
    async def body(store: Store) -> None:
        namespace = Namespace(unique_database(), NS.collection)
        await store.execute(
            InsertMany(namespace=namespace, documents=[{"_id": 1, "v": "abc"}, {"_id": 2, "v": Regex("b")}])
        )
        found = await store.execute(Find(namespace=namespace, filter={"v": Regex("b")}, sort={"_id": 1}, limit=9))
        assert [document["_id"] for document in found.documents.decode()] == [1, 2]
        equal = await store.execute(Find(namespace=namespace, filter={"v": {"$eq": Regex("b")}}, limit=9))
        assert [document["_id"] for document in equal.documents.decode()] == [2]

    engine.run(body)
