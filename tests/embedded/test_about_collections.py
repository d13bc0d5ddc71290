"""What is known of a collection, and changed of it: ``$collStats``, ``$indexStats``, ``collMod``; and doing without."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from asgi import Application, Collection, application, with_things
from opened import DB, C, Run, fill, find, run_in

from doorleaf.documents import Document
from doorleaf.errors import DataError, Unsupported, ValidationFailed
from doorleaf.operations import (
    Aggregate,
    CreateCollection,
    CreateIndex,
    InsertOne,
    ListIndexes,
    Namespace,
    RunCommand,
    UpdateOne,
)
from doorleaf.stores.embedded.store import EmbeddedStore

ALLOWED = ("aggregate", "collMod")


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Application]:
    with application(tmp_path, run_command_allow=ALLOWED) as running:
        yield running


async def piped(store: EmbeddedStore, *pipeline: Any, collection: Namespace = C) -> list[Document]:
    found = await store.execute(Aggregate(namespace=collection, pipeline=list(pipeline)))
    return found.documents.decode()


async def command(store: EmbeddedStore, **fields: Any) -> Document:
    return (await store.execute(RunCommand(namespace=DB, command=fields))).result


async def refused(store: EmbeddedStore, *pipeline: Any) -> int | None:
    """The number of the error of a pipeline, None for what is not supported."""
    with pytest.raises((DataError, Unsupported)) as raised:
        await piped(store, *pipeline)
    return getattr(raised.value, "number", None)


# --- statistics ------------------------------------------------------------------------------------------------------


def test_statistics_of_a_collection(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, *({"_id": number, "a": number} for number in range(100)))
        await store.execute(CreateIndex(namespace=C, keys={"a": 1}))
        [found] = await piped(store, {"$collStats": {"storageStats": {"scale": 10.9}, "count": {}}})
        assert list(found) == ["ns", "host", "localTime", "storageStats", "count"]
        assert (found["ns"], found["count"]) == ("db.c", 100)
        assert abs(found["localTime"] - datetime.now(UTC).replace(tzinfo=None)) < timedelta(minutes=5)
        answer = await command(store, collStats="c", scale=10)
        assert found["storageStats"] == {name: value for name, value in answer.items() if name not in ("ns", "ok")}
        assert found["storageStats"]["count"] == 100
        # What comes after it works on this document.
        after = [{"$project": {"count": 1}}, {"$match": {"count": {"$gt": 5}}}]
        assert await piped(store, {"$collStats": {"count": {}}}, *after) == [{"count": 100}]
        assert [set(item) for item in await piped(store, {"$collStats": {}})] == [{"ns", "host", "localTime"}]

    run(scenario)


def test_statistics_of_indexes(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, {"_id": 1})
        await store.execute(CreateIndex(namespace=C, keys={"a": -1}, options={"name": "down", "unique": True}))
        found = await piped(store, {"$indexStats": {}})
        assert [item["name"] for item in found] == ["_id_", "down"]
        assert found[1]["key"] == {"a": -1}
        assert found[1]["spec"] == {"v": 2, "key": {"a": -1}, "name": "down", "unique": True}
        # How often each was used is not counted, and so not told.
        assert all(set(item) == {"name", "key", "host", "spec"} for item in found)
        assert await piped(store, {"$indexStats": {}}, {"$count": "n"}) == [{"n": 2}]
        assert await piped(store, {"$indexStats": {}}, collection=Namespace("db", "none")) == []

    run(scenario)


def test_mistakes_in_statistics(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, {"_id": 1})
        rows: list[tuple[Any, int | None]] = [
            ({"$collStats": 1}, 5447000),
            ({"$collStats": {"nope": {}}}, 40415),
            ({"$collStats": {"count": 1}}, 14),
            ({"$collStats": {"count": {"x": 1}}}, 40415),
            ({"$collStats": {"storageStats": {"scale": 0}}}, 51024),
            ({"$collStats": {"storageStats": {"scale": float("nan")}}}, 51024),
            ({"$collStats": {"storageStats": {"scale": "1"}}}, 14),
            ({"$collStats": {"latencyStats": {}}}, None),
            ({"$collStats": {"queryExecStats": {}}}, None),
            ({"$indexStats": {"a": 1}}, 28803),
            ({"$indexStats": 1}, 28803),
        ]
        for stage, number in rows:
            assert await refused(store, stage) == number, stage
        for name in ("$collStats", "$indexStats"):
            assert await refused(store, {"$match": {}}, {name: {}}) == 40602
            nested: list[Any] = [{name: {}}]
            assert await refused(store, {"$lookup": {"from": "c", "pipeline": nested, "as": "x"}}) is None
            assert await refused(store, {"$unionWith": {"coll": "c", "pipeline": nested}}) is None
            assert await refused(store, {"$facet": {"x": nested}}) == 40600
        for part in ("count", "storageStats"):
            with pytest.raises(DataError) as raised:
                await piped(store, {"$collStats": {part: {}}}, collection=Namespace("db", "none"))
            assert raised.value.number == 26

    run(scenario)


# --- collMod ---------------------------------------------------------------------------------------------------------


def test_a_validator_comes_and_goes(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await store.execute(CreateCollection(namespace=C))
        await fill(store, {"_id": 1, "a": -1})
        validator = {"a": {"$gt": 0}}
        assert await command(store, collMod="c", validator=validator) == {"ok": 1}
        with pytest.raises(ValidationFailed):
            await store.execute(InsertOne(namespace=C, document={"_id": 2, "a": 0}))
        change = UpdateOne(namespace=C, filter={"_id": 1}, update={"$set": {"b": 1}})
        with pytest.raises(ValidationFailed):
            await store.execute(change)
        assert await command(store, collMod="c", validationLevel="moderate") == {"ok": 1}
        await store.execute(change)
        assert await command(store, collMod="c", validationAction="warn") == {"ok": 1}
        await store.execute(InsertOne(namespace=C, document={"_id": 2, "a": 0}))
        [listed] = (await command(store, listCollections=1))["cursor"]["firstBatch"]
        assert listed["options"] == {"validator": validator, "validationLevel": "moderate", "validationAction": "warn"}
        await command(store, collMod="c", validationAction="error", validationLevel="strict", validator={})
        await store.execute(InsertOne(namespace=C, document={"_id": 3, "a": 0}))
        [listed] = (await command(store, listCollections=1))["cursor"]["firstBatch"]
        assert listed["options"] == {"validationLevel": "strict", "validationAction": "error"}
        assert (await command(store, validate="c"))["valid"]

    run(scenario)


def test_a_changed_validator_survives_a_restart(tmp_path: Path) -> None:
    async def first(store: EmbeddedStore) -> None:
        await store.execute(CreateCollection(namespace=C))
        await store.execute(CreateIndex(namespace=C, keys={"t": 1}))
        await command(store, collMod="c", validator={"a": 1}, index={"name": "t_1", "expireAfterSeconds": 9})

    async def second(store: EmbeddedStore) -> None:
        with pytest.raises(ValidationFailed):
            await store.execute(InsertOne(namespace=C, document={"a": 0}))
        listed = (await store.execute(ListIndexes(namespace=C))).indexes
        assert listed[1]["expireAfterSeconds"] == 9

    run_in(tmp_path)(first)
    run_in(tmp_path)(second)


def test_an_index_is_hidden_and_shown(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, *({"_id": number, "a": number} for number in range(50)))
        await store.execute(CreateIndex(namespace=C, keys={"a": 1}))

        async def plan() -> str:
            found = await command(store, explain={"find": "c", "filter": {"a": 5}}, verbosity="queryPlanner")
            plan = found["queryPlanner"]["winningPlan"]
            return str(plan.get("inputStage", plan)["stage"])

        assert await plan() == "IXSCAN"
        hide = {"keyPattern": {"a": 1}, "hidden": True}
        assert await command(store, collMod="c", index=hide) == {"hidden_old": False, "hidden_new": True, "ok": 1}
        assert await plan() == "COLLSCAN"
        assert (await store.execute(ListIndexes(namespace=C))).indexes[1]["hidden"] is True
        assert await command(store, collMod="c", index=hide) == {"ok": 1}
        show = {"name": "a_1", "hidden": False}
        assert await command(store, collMod="c", index=show) == {"hidden_old": True, "hidden_new": False, "ok": 1}
        assert await plan() == "IXSCAN"
        assert "hidden" not in (await store.execute(ListIndexes(namespace=C))).indexes[1]
        assert await find(store, {"a": 5}) == [{"_id": 5, "a": 5}]

    run(scenario)


def test_documents_expire_by_what_an_index_became(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        old = datetime.fromtimestamp(time.time() - 3600, UTC)
        await fill(store, {"_id": 1, "at": old})
        await store.execute(CreateIndex(namespace=C, keys={"at": 1}))
        assert await store.sweep() == 0
        long = {"name": "at_1", "expireAfterSeconds": 86_400.0}
        assert await command(store, collMod="c", index=long) == {"expireAfterSeconds_new": 86_400, "ok": 1}
        assert await store.sweep() == 0
        short = {"name": "at_1", "expireAfterSeconds": 60, "hidden": True}
        told = {"expireAfterSeconds_old": 86_400, "expireAfterSeconds_new": 60, "hidden_old": False, "hidden_new": True}
        assert await command(store, collMod="c", index=short) == {**told, "ok": 1}
        assert await store.sweep() == 1

    run(scenario)


def test_what_cannot_be_modified(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await store.execute(CreateIndex(namespace=C, keys={"a": 1, "b": 1}))
        rows: list[tuple[Document, int | None]] = [
            ({"validator": 5}, 14),
            ({"validator": {"$nope": 1}}, 2),
            ({"validationLevel": "loose"}, 2),
            ({"validationAction": 1}, 2),
            ({"nope": 1}, 40415),
            ({"viewOn": "c", "pipeline": []}, None),
            ({"cappedSize": 5}, None),
            ({"index": 5}, 14),
            ({"index": {"hidden": True}}, 72),
            ({"index": {"name": "a_1_b_1"}}, 72),
            ({"index": {"name": "a_1_b_1", "keyPattern": {"a": 1}, "hidden": True}}, 72),
            ({"index": {"name": 5, "hidden": True}}, 14),
            ({"index": {"name": "a_1_b_1", "hidden": "yes"}}, 14),
            ({"index": {"name": "none", "hidden": True}}, 27),
            ({"index": {"keyPattern": {"b": 1, "a": 1}, "hidden": True}}, 27),
            ({"index": {"name": "_id_", "hidden": True}}, 2),
            ({"index": {"name": "_id_", "expireAfterSeconds": 1}}, 72),
            ({"index": {"name": "a_1_b_1", "expireAfterSeconds": 1}}, 72),
            ({"index": {"name": "a_1_b_1", "expireAfterSeconds": -1}}, 72),
            ({"index": {"name": "a_1_b_1", "nope": 1}}, 40415),
            ({"index": {"name": "a_1_b_1", "unique": True}}, None),
            ({"index": {"name": "a_1_b_1", "prepareUnique": True}}, None),
            ({"validator": {}, "index": {"name": "none", "hidden": True}}, 27),
        ]
        before = (await store.execute(ListIndexes(namespace=C))).indexes
        for fields, number in rows:
            with pytest.raises((DataError, Unsupported)) as raised:
                await command(store, collMod="c", **fields)
            assert getattr(raised.value, "number", None) == number, fields
        with pytest.raises(DataError) as raised:
            await command(store, collMod="none", validator={})
        assert raised.value.number == 26
        assert (await store.execute(ListIndexes(namespace=C))).indexes == before

    run(scenario)


def test_commands_that_change_things_take_the_setting(tmp_path: Path, app: Application) -> None:
    with_things(app).ok("runCommand", command={"collMod": "things", "validator": {"n": {"$gte": 0}}})
    with application(tmp_path / "other") as closed:
        things = Collection(closed)
        assert things.act("runCommand", command={"collMod": "things", "validator": {}}).status == 403
        assert things.act("runCommand", command={"aggregate": 1, "pipeline": [{"$documents": []}]}).status == 403


# --- a pipeline without a collection ---------------------------------------------------------------------------------


def test_documents_without_a_collection(app: Application) -> None:
    things = with_things(app)
    pipeline: list[Any] = [{"$documents": [{"a": 1}, {"a": {"$add": [1, 1]}}]}, {"$match": {"a": {"$gt": 1}}}]
    found = things.ok("runCommand", command={"aggregate": 1, "pipeline": pipeline, "cursor": {}})["result"]
    assert found == {"cursor": {"firstBatch": [{"a": 2}], "id": 0, "ns": "shop.$cmd.aggregate"}, "ok": 1}
    join = {"$lookup": {"from": "things", "localField": "a", "foreignField": "_id", "as": "x"}}
    asked = {"aggregate": 1, "pipeline": [*pipeline, join], "cursor": {}}
    [joined] = things.ok("runCommand", command=asked)["result"]["cursor"]["firstBatch"]
    assert [item["_id"] for item in joined["x"]] == [2]
    for wrong, code in (
        ([], "InvalidNamespace"),
        ([{"$match": {}}], "InvalidNamespace"),
        ([{"$documents": 5}], "Location5858203"),
        ([{"$documents": [5]}], "Location40228"),
        ([{"$documents": []}, {"$documents": []}], "Location40602"),
    ):
        error = things.refused("runCommand", command={"aggregate": 1, "pipeline": wrong, "cursor": {}})
        assert error["error_code"] == code
    assert things.refused("runCommand", command={"aggregate": 2, "pipeline": pipeline})["error_code"] == "FailedToParse"
    # With a collection there is nothing to list.
    assert things.refused("aggregate", pipeline=pipeline)["error_code"] == "InvalidNamespace"
