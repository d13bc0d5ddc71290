"""Keys that are limited: to data sources, databases, collections and actions, on every way an operation can reach."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from asgi import KEY, Answer, Application, application

from doorleaf.access.callers import Caller, Identity
from doorleaf.access.guards.checks import Guards
from doorleaf.access.guards.scopes import Scope, Scopes, scope_of
from doorleaf.access.identity.keys import Keys
from doorleaf.access.system_store import SystemStore
from doorleaf.errors import DoorleafError, InvalidParameter
from doorleaf.operations import OPERATIONS, Effect, Find, InsertOne, Namespace
from doorleaf.service import DataService
from doorleaf.settings.sources import DataSource
from doorleaf.stores.embedded.store import EmbeddedStore


def keys_of(app: Application) -> Keys:
    keys: Keys = app.endpoint._authenticator.keys  # type: ignore[attr-defined]
    return keys


def make(app: Application, name: str, *, admin: bool = True, **rights: Any) -> str:
    """A key with ``rights``, at once in force."""
    keys = keys_of(app)
    text: str = app.run(keys.create(name, admin=admin, rights=rights))
    app.run(keys.reload())
    return text


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Application]:
    sources = {
        "main": DataSource(data_dir=tmp_path / "main", default=True, aliases=("Cluster0",)),
        "archive": DataSource(data_dir=tmp_path / "archive", aliases=("old",)),
    }
    allowed = ("aggregate", "drop", "renameCollection", "create", "insert")
    with application(
        tmp_path / "data", data_sources=sources, allow_output_stages=True, run_command_allow=allowed
    ) as running:
        for database, collection in (("shop", "pens"), ("shop", "secrets"), ("bank", "pens")):
            running.act("insertOne", {"database": database, "collection": collection, "document": {"_id": 1, "n": 7}})
        yield running


PENS = {"database": "shop", "collection": "pens"}


def refused(answer: Answer, *names: str) -> None:
    """403, and the message names what is not allowed."""
    assert answer.status == 403, answer.body
    assert answer.json["error_code"] == "PermissionDenied"
    for name in ("this API key does not allow", *names):
        assert name in answer.json["error"], answer.json


# --- actions ---------------------------------------------------------------------------------------------------------

BODIES: dict[str, dict[str, Any]] = {
    "findOne": {}, "find": {}, "countDocuments": {}, "estimatedDocumentCount": {}, "listIndexes": {},
    "distinct": {"key": "n"}, "aggregate": {"pipeline": []},
    "insertOne": {"document": {}}, "insertMany": {"documents": [{}]},
    "updateOne": {"filter": {}, "update": {"$set": {"n": 8}}},
    "updateMany": {"filter": {}, "update": {"$set": {"n": 8}}},
    "replaceOne": {"filter": {}, "replacement": {}},
    "deleteOne": {"filter": {"_id": 99}}, "deleteMany": {"filter": {"_id": 99}},
    "findOneAndUpdate": {"filter": {}, "update": {"$set": {"n": 8}}},
    "findOneAndReplace": {"filter": {}, "replacement": {}}, "findOneAndDelete": {"filter": {"_id": 99}},
    "bulkWrite": {"operations": [{"insertOne": {"document": {}}}]},
    "createIndex": {"keys": {"n": 1}}, "dropIndex": {"name": "n_1"},
    "listCollections": {}, "createCollection": {}, "dropCollection": {}, "listDatabases": {},
    "renameCollection": {"to": "quills"}, "runCommand": {"command": {"ping": 1}},
}  # fmt: skip


def test_every_action_is_tried() -> None:
    assert set(BODIES) == set(OPERATIONS)


@pytest.mark.parametrize("effect", list(Effect))
def test_a_key_of_one_effect_has_the_actions_of_that_effect_and_no_others(app: Application, effect: Effect) -> None:
    key = make(app, "limited", actions=[effect.value])
    for name, operation in OPERATIONS.items():
        place = {"database": "shop", "collection": "made" if name == "createCollection" else "pens"}
        answer = app.act(name, {**place, **BODIES[name]}, key=key)
        if operation.effect is effect:
            assert answer.status != 403, (name, answer.body)
        else:
            refused(answer, f"the action {name}")


def test_a_key_of_named_actions_has_those(app: Application) -> None:
    key = make(app, "limited", actions=["findOne", "insertOne"])
    assert app.act("findOne", PENS, key=key).json == {"document": {"_id": 1, "n": 7}}
    assert app.act("insertOne", {**PENS, "document": {}}, key=key).status == 201
    for name in ("find", "updateOne", "runCommand", "listDatabases"):
        refused(app.act(name, {**PENS, **BODIES[name]}, key=key), name)


def test_the_writes_of_a_bulk_must_be_allowed_each(app: Application) -> None:
    key = make(app, "limited", actions=["bulkWrite", "insertOne"])
    fine = [{"insertOne": {"document": {"_id": 5}}}]
    assert app.act("bulkWrite", {**PENS, "operations": fine}, key=key).status == 200
    refused(app.act("insertMany", {**PENS, "documents": [{"_id": 7}]}, key=key), "insertMany")
    answer = app.act("bulkWrite", {**PENS, "operations": [*fine, {"deleteMany": {"filter": {}}}]}, key=key)
    refused(answer, "deleteMany")
    assert app.act("countDocuments", PENS).json == {"count": 2}
    refused(app.act("bulkWrite", {**PENS, "operations": fine}, key=make(app, "other", actions=["insertOne"])))


@pytest.mark.parametrize("stage", [{"$out": "copy"}, {"$merge": {"into": "copy"}}])
@pytest.mark.parametrize("actions", [["read"], ["aggregate"]])
def test_a_key_that_reads_does_not_write_from_a_pipeline(
    app: Application, stage: dict[str, Any], actions: list[str]
) -> None:
    key = make(app, "limited", actions=actions)
    assert app.act("aggregate", {**PENS, "pipeline": []}, key=key).status == 200
    refused(app.act("aggregate", {**PENS, "pipeline": [stage]}, key=key), "$out or $merge")
    assert app.act("countDocuments", {"database": "shop", "collection": "copy"}).json == {"count": 0}


# --- namespaces ------------------------------------------------------------------------------------------------------


def test_a_key_of_one_database(app: Application) -> None:
    key = make(app, "limited", databases=["shop"])
    assert app.act("findOne", PENS, key=key).status == 200
    assert app.act("findOne", {"database": "shop", "collection": "secrets"}, key=key).status == 200
    refused(app.act("findOne", {"database": "bank", "collection": "pens"}, key=key), "the database 'bank'")
    refused(app.act("listDatabases", {}, key=key), "listDatabases")
    assert app.act("listCollections", {"database": "shop"}, key=key).status == 200
    refused(app.act("listCollections", {"database": "bank"}, key=key), "bank")
    refused(app.act("findOne", {"database": "SHOP", "collection": "pens"}, key=key), "SHOP")


@pytest.mark.parametrize("listed", ["shop.pens", "pens"])
def test_a_key_of_one_collection(app: Application, listed: str) -> None:
    key = make(app, "limited", collections=[listed])
    assert app.act("findOne", PENS, key=key).status == 200
    refused(app.act("findOne", {"database": "shop", "collection": "secrets"}, key=key), "'shop.secrets'")
    in_bank = app.act("findOne", {"database": "bank", "collection": "pens"}, key=key)
    assert in_bank.status == (200 if listed == "pens" else 403)
    for action in ("listCollections", "listDatabases"):
        refused(app.act(action, {"database": "shop"}, key=key))


def test_a_collection_with_a_dot_is_not_a_database_and_a_collection() -> None:
    scope, scopes = Scope(collections=frozenset({"pens", "shop.pens"})), Scopes()
    scopes.check(scope, Find(namespace=Namespace("shop", "pens")))
    for namespace in (Namespace("bank", "shop.pens"), Namespace("shop", "pens.old"), Namespace("bank", "a.pens")):
        with pytest.raises(DoorleafError, match="does not allow"):
            scopes.check(scope, Find(namespace=namespace))


def test_a_key_of_one_data_source(app: Application) -> None:
    key = make(app, "limited", data_sources=["archive"])
    for name in ("archive", "old"):
        assert app.act("findOne", {**PENS, "dataSource": name}, key=key).status == 200, name
    for place in ({}, {"dataSource": "main"}, {"dataSource": "Cluster0"}):
        refused(app.act("findOne", {**PENS, **place}, key=key), "data source")
    by_alias = make(app, "other", data_sources=["Cluster0"])
    for place in ({}, {"dataSource": "main"}, {"dataSource": "Cluster0"}):
        assert app.act("findOne", {**PENS, **place}, key=by_alias).status == 200
    refused(app.act("findOne", {**PENS, "dataSource": "old"}, key=by_alias), "'archive'")


SECRETS = [
    [{"$lookup": {"from": "secrets", "localField": "n", "foreignField": "n", "as": "x"}}],
    [{"$lookup": {"from": "pens", "pipeline": [{"$unionWith": "secrets"}], "as": "x"}}],
    [{"$unionWith": "secrets"}],
    [{"$unionWith": {"coll": "pens", "pipeline": [{"$unionWith": {"coll": "secrets"}}]}}],
    [{"$facet": {"a": [{"$lookup": {"from": "secrets", "pipeline": [], "as": "x"}}]}}],
    [{"$graphLookup": {"from": "secrets", "startWith": 1, "connectFromField": "n", "connectToField": "n", "as": "x"}}],
    [{"$out": "secrets"}],
    [{"$merge": "secrets"}],
    [{"$merge": {"into": {"db": "bank", "coll": "pens"}}}],
    [{"$out": {"db": "bank", "coll": "pens"}}],
]  # fmt: skip


@pytest.mark.parametrize("pipeline", SECRETS, ids=str)
def test_pipelines_reach_no_other_collection(app: Application, pipeline: list[Any]) -> None:
    key = make(app, "limited", collections=["shop.pens"])
    body = {**PENS, "pipeline": pipeline}
    refused(app.act("aggregate", body, key=key), "the collection")
    command = {"command": {"aggregate": "pens", "pipeline": pipeline, "cursor": {}}, "database": "shop"}
    refused(app.act("runCommand", command, key=key), "the collection")
    explained = {"explain": {"aggregate": "pens", "pipeline": pipeline, "cursor": {}}}
    refused(app.act("runCommand", {"database": "shop", "command": explained}, key=key), "the collection")


def test_pipelines_reach_what_is_allowed(app: Application) -> None:
    key = make(app, "limited", collections=["shop.pens", "shop.secrets"])
    for pipeline in SECRETS[:6]:
        assert app.act("aggregate", {**PENS, "pipeline": pipeline}, key=key).status == 200, pipeline


@pytest.mark.parametrize(
    "command",
    [
        {"count": "secrets"},
        {"distinct": "secrets", "key": "n"},
        {"explain": {"find": "secrets"}},
        {"collStats": "secrets"},
        {"dataSize": "shop.secrets"},
        {"dbStats": 1},
        {"listCollections": 1},
        {"listDatabases": 1},
        {"serverStatus": 1},
        {"connectionStatus": 1},
        {"renameCollection": "shop.pens", "to": "shop.more"},
        {"renameCollection": "shop.secrets", "to": "shop.pens"},
        {"drop": "secrets"},
        {"create": "pens2", "viewOn": "secrets", "pipeline": []},
        {"aggregate": 1, "pipeline": [], "cursor": {}},
    ],
    ids=str,
)
def test_commands_reach_no_other_collection(app: Application, command: dict[str, Any]) -> None:
    key = make(app, "limited", collections=["shop.pens", "shop.pens2"])
    refused(app.act("runCommand", {"database": "shop", "command": command}, key=key))
    assert app.act("countDocuments", {"database": "shop", "collection": "secrets"}).json == {"count": 1}


def test_commands_within_the_scope(app: Application) -> None:
    key = make(app, "limited", collections=["shop.pens"])
    for command in ({"count": "pens"}, {"explain": {"find": "pens"}}, {"ping": 1}, {"hello": 1}):
        assert app.act("runCommand", {"database": "shop", "command": command}, key=key).status == 200, command


def test_a_key_that_may_run_commands_by_name_only_reads_with_them(app: Application) -> None:
    key = make(app, "limited", actions=["runCommand"])
    assert app.act("runCommand", {"database": "shop", "command": {"count": "pens"}}, key=key).status == 200
    for command in ({"drop": "pens"}, {"insert": "pens", "documents": [{}]}):
        refused(app.act("runCommand", {"database": "shop", "command": command}, key=key), "does not only read")


def test_a_view_on_another_collection_is_not_made(app: Application) -> None:
    key = make(app, "limited", collections=["shop.pens", "shop.view"])
    for options in ({"viewOn": "secrets"}, {"viewOn": "pens", "pipeline": [{"$unionWith": "secrets"}]}):
        body = {"database": "shop", "collection": "view", "options": options}
        refused(app.act("createCollection", body, key=key), "'shop.secrets'")


def test_sessions_of_a_key_are_limited_as_it_is(app: Application) -> None:
    key = make(app, "limited", databases=["shop"], actions=["read"])
    tokens = app.call("POST", "/auth/providers/api-key/login", b'{"key": "%s"}' % key.encode()).json
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    path = "/data/v1/action/"
    ours = app.call("POST", path + "findOne", b'{"database": "shop", "collection": "pens"}', bearer)
    assert ours.status == 200
    refused(app.call("POST", path + "findOne", b'{"database": "bank", "collection": "pens"}', bearer), "bank")
    refused(app.call("POST", path + "insertOne", b'{"database": "shop", "collection": "pens", "document": {}}', bearer))


# --- who is an administrator -----------------------------------------------------------------------------------------


def test_a_key_is_an_administrator_only_if_made_so(app: Application) -> None:
    ruled = make(app, "ruled", admin=False)
    answer = app.act("findOne", PENS, key=ruled)
    assert (answer.status, answer.json["error_code"]) == (403, "NoMatchingRuleFound")
    assert app.act("findOne", PENS, key=make(app, "admin")).status == 200


def test_a_limited_administrator_does_not_manage_keys(app: Application) -> None:
    for name, rights in (("reader", {"actions": ["read", "write", "admin"]}), ("ruled", {})):
        key = make(app, name, admin=name == "reader", **rights)
        answer = app.call("GET", "/api/admin/v1/keys", headers={"apiKey": key})
        assert answer.status == 403, name
        assert b"reader" not in answer.body
    assert app.call("GET", "/api/admin/v1/keys", headers={"apiKey": KEY}).status == 200
    assert app.call("GET", "/api/admin/v1/keys", headers={"apiKey": make(app, "whole")}).status == 200


# --- rights ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rights", "said"),
    [
        ({"actions": []}, "actions: must not be empty"),
        ({"actions": ["fly"]}, "there is no action 'fly'"),
        ({"actions": "read"}, "actions: expected an array"),
        ({"databases": [5]}, "databases: expected an array"),
        ({"collections": [""]}, "collections: expected an array"),
        ({"roles": [""]}, "roles: expected an array"),
        ({"addresses": ["nowhere"]}, "nowhere"),
        ({"rate": "often"}, "often"),
        ({"quotas": {"hugs_per_day": 1}}, "hugs_per_day"),
        ({"colour": "red"}, "colour: no such field"),
    ],
)
def test_rights_that_are_none(app: Application, rights: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidParameter, match=said):
        make(app, "limited", admin=False, **rights)
    assert app.run(keys_of(app).listed()) == []


def test_an_administrator_has_no_roles(app: Application) -> None:
    with pytest.raises(InvalidParameter, match="roles: an administrator is judged by no roles"):
        make(app, "limited", roles=["reader"])


def test_what_is_stored_damaged_allows_nothing() -> None:
    for damaged in ({"actions": "read"}, {"databases": [None]}, {"actions": ["fly"]}):
        with pytest.raises(ValueError, match=r"expected|there is no"):
            scope_of(damaged)
    nothing = scope_of({"databases": []})
    assert nothing is not None
    with pytest.raises(DoorleafError):
        Scopes().check(nothing, Find(namespace=Namespace("a", "b")))


# --- life of a key ---------------------------------------------------------------------------------------------------


def status(app: Application, key: str) -> int:
    app.run(keys_of(app).reload())
    return app.act("findOne", PENS, key=key).status


def test_rotation_with_and_without_an_overlap(app: Application) -> None:
    keys = keys_of(app)
    first = make(app, "app", databases=["shop"])
    second: str = app.run(keys.rotate("app", 3600))
    assert first != second
    assert (status(app, first), status(app, second)) == (200, 200)
    assert app.act("findOne", {"database": "bank", "collection": "pens"}, key=second).status == 403
    third: str = app.run(keys.rotate("app", 3600))
    assert [status(app, key) for key in (first, second, third)] == [401, 200, 200]
    fourth: str = app.run(keys.rotate("app"))
    assert [status(app, key) for key in (first, second, third, fourth)] == [401, 401, 401, 200]
    listed = app.run(keys.listed())
    for secret in (first, second, third, fourth, "hash"):
        assert secret not in str(listed)


def test_the_key_before_ends_when_the_overlap_does(tmp_path: Path) -> None:
    async def scenario(system: SystemStore) -> None:
        now = [1_800_000_000.0]
        keys = Keys(system, clock=lambda: now[0])
        first = await keys.create("app", expires=datetime(2030, 1, 1))
        second = await keys.rotate("app", 60)
        await keys.reload()
        found, newer = keys.find(first), keys.find(second)
        assert found is not None
        assert newer is not None
        assert (found.identity.id, found.retiring) == (newer.identity.id, True)
        assert not newer.retiring
        now[0] += 59
        assert keys.find(first) is not None
        now[0] += 1
        assert keys.find(first) is None
        assert keys.find(second) is not None
        now[0] += timedelta(days=10_000).total_seconds()
        assert keys.find(second) is None

    async def run() -> None:
        store = EmbeddedStore(tmp_path)
        await store.open()
        try:
            await scenario(SystemStore(store, "doorleaf"))
        finally:
            await store.close()

    asyncio.run(run())


def test_disabled_enabled_revoked_deleted(app: Application) -> None:
    keys = keys_of(app)
    key = make(app, "app")
    app.run(keys.disable("app"))
    assert status(app, key) == 401
    app.run(keys.enable("app"))
    assert status(app, key) == 200
    app.run(keys.disable("app"))
    with pytest.raises(InvalidParameter, match="is disabled"):
        app.run(keys.rotate("app"))
    app.run(keys.revoke("app"))
    with pytest.raises(InvalidParameter, match="revoked for good"):
        app.run(keys.enable("app"))
    app.run(keys.delete("app"))
    assert status(app, key) == 401
    assert status(app, make(app, "app")) == 200
    for call in (keys.disable, keys.enable, keys.revoke, keys.delete, keys.rotate, keys.get):
        with pytest.raises(DoorleafError) as missing:
            app.run(call("other"))
        assert (missing.value.status, missing.value.code) == (404, "APIKeyNotFound")


def test_the_caller_is_the_same_object_until_the_key_changes(app: Application) -> None:
    keys = keys_of(app)
    key = make(app, "app", databases=["shop"])
    before = keys.find(key)
    app.run(keys.reload())
    after = keys.find(key)
    assert before is not None
    assert after is not None
    assert before.identity is after.identity
    app.run(keys.change("app", {"databases": ["bank"]}))
    app.run(keys.reload())
    changed = keys.find(key)
    assert changed is not None
    assert changed.identity is not before.identity
    assert changed.identity.scope == Scope(databases=frozenset({"bank"}))
    assert app.act("findOne", PENS, key=key).status == 403


def test_the_service_asks_the_scope_of_whoever_calls(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = EmbeddedStore(tmp_path)
        await store.open()
        try:
            service = DataService(store, Guards())
            scope = Scope(actions=frozenset({"read"}))
            caller = Caller(Identity(id="0" * 24, kind="server", provider="api-key", admin=True, scope=scope))
            await service.execute(Find(namespace=Namespace("a", "b")), caller)
            with pytest.raises(DoorleafError, match="insertOne"):
                await service.execute(InsertOne(namespace=Namespace("a", "b"), document={}), caller)
        finally:
            await store.close()

    asyncio.run(scenario())
