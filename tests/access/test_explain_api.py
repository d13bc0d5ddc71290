"""Explanations over HTTP: why a request would be narrowed or refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from admin_app import administered, ask, audited, ok, refused
from asgi import Application

from doorleaf.openapi import EXAMPLES
from doorleaf.operations import OPERATIONS, Effect


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    with administered(tmp_path_factory.mktemp("admin")) as running:
        yield running


FIND = {"action": "find", "body": {"database": "shop", "collection": "notes", "filter": {"n": 1}}}


def test_why_a_request_is_narrowed(app: Application) -> None:
    user = ok(app, "POST", "/users", {"email": "why@example.com", "password": "sesame-7"}, status=201)
    for name in (user["id"], "why@example.com"):
        told = ok(app, "POST", "/explain", {**FIND, "as": name})
        assert told["allowed"] is True
        assert told["caller"]["id"] == user["id"]
        assert told["role"] == "owner"
        assert told["hidden"] == ["secret"]
        assert user["id"] in json.dumps(told["filter"])
    explained = [line for line in audited(app) if line["action"] == "adminExplain" and line["outcome"] == "allowed"]
    assert len(explained) >= 2


def test_as_a_key_and_as_a_user_who_is_described(app: Application) -> None:
    ok(app, "POST", "/keys", {"name": "why-key", "roles": ["editor"]}, status=201)
    told = ok(app, "POST", "/explain", {**FIND, "as": "why-key"})
    assert (told["caller"]["type"], told["caller"]["roles"]) == ("server", ["editor"])
    ok(app, "POST", "/keys", {"name": "why-root", "admin": True}, status=201)
    told = ok(app, "POST", "/explain", {**FIND, "as": "why-root"})
    assert (told["allowed"], told["caller"]["admin"]) == (True, True)
    editor = {"id": "5" * 24, "custom_data": {"role": "editor"}}
    assert ok(app, "POST", "/explain", {**FIND, "as": editor})["role"] == "editor"
    assert ok(app, "POST", "/explain", {**FIND, "as": {}})["role"] == "owner"
    document = {"_id": 1, "owner": "5" * 24, "n": 1, "secret": "x"}
    told = ok(app, "POST", "/explain", {**FIND, "as": {"id": "5" * 24}, "document": document})
    assert told["document"]["visible"] is True
    assert told["document"]["matches"] is True
    assert "secret" not in told["document"]["seen"]


def test_why_a_request_is_refused(app: Application) -> None:
    body = {"database": "shop", "collection": "notes", "filter": {"secret": "x"}}
    told = ok(app, "POST", "/explain", {"action": "find", "body": body, "as": {}})
    assert told["allowed"] is False
    assert told["refused"]["error_code"] == "FieldNotReadable"
    body = {"database": "shop", "collection": "elsewhere"}
    told = ok(app, "POST", "/explain", {"action": "find", "body": body, "as": {}})
    assert told["refused"]["error_code"] == "NoMatchingRuleFound"
    ok(app, "POST", "/keys", {"name": "why-admin", "admin": True}, status=201)
    body = {"database": "doorleaf", "collection": "keys"}
    told = ok(app, "POST", "/explain", {"action": "find", "body": body, "as": "why-admin"})
    assert told["allowed"] is False
    assert told["refused"]["error_code"] == "PermissionDenied"


def test_what_a_keys_scope_refuses(app: Application) -> None:
    ok(app, "POST", "/keys", {"name": "why-scoped", "roles": ["editor"], "actions": ["findOne"]}, status=201)
    told = ok(app, "POST", "/explain", {**FIND, "as": "why-scoped"})
    assert told["allowed"] is False
    assert "does not allow the action find" in told["refused"]["error"]
    told = ok(app, "POST", "/explain", {**FIND, "action": "findOne", "as": "why-scoped"})
    assert told["allowed"] is True


def test_an_explanation_asks_no_collection(app: Application) -> None:
    assert app.act("insertOne", {"database": "shop", "collection": "notes", "document": {"_id": "kept"}}).status == 201
    body = {"database": "shop", "collection": "notes", "filter": {}}
    ok(app, "POST", "/explain", {"action": "deleteMany", "body": body, "as": {}})
    left = app.act("findOne", {"database": "shop", "collection": "notes", "filter": {"_id": "kept"}})
    assert left.json == {"document": {"_id": "kept"}}


@pytest.mark.parametrize(
    ("change", "status", "code", "words"),
    [
        ({"action": None}, 400, "MissingParameter", "action is required"),
        ({"action": "fnid"}, 400, "InvalidParameter", "action: there is no such action"),
        ({"body": None}, 400, "InvalidParameter", "body: expected an object"),
        ({"body": {"database": "shop"}}, 400, "MissingParameter", "body.collection is required"),
        ({"body": {"database": "shop", "collection": "c", "filter": 5}}, 400, "InvalidParameter", "body.filter: "),
        ({"as": None}, 400, "MissingParameter", "as is required"),
        ({"as": 5}, 400, "InvalidParameter", "as: expected"),
        ({"as": {"$code": "x"}}, 400, "InvalidParameter", "as"),
        ({"as": {"roles": [{"$code": "editor"}]}}, 400, "InvalidParameter", "as.roles: expected an array of names"),
        ({"as": "nobody"}, 404, "UserNotFound", "as: there is no such user and no such key"),
        ({"as": {"name": "x"}}, 400, "InvalidParameter", "as.name: no such field"),
        ({"as": {"type": "system"}}, 400, "InvalidParameter", "as.type: expected normal or server"),
        ({"as": {"admin": True}}, 400, "InvalidParameter", "as.admin: no such field"),
        ({"as": {"data": []}}, 400, "InvalidParameter", "as.data: expected an object"),
        ({"as": {"roles": "editor"}}, 400, "InvalidParameter", "as.roles: expected an array of names"),
        ({"as": {"identities": [5]}}, 400, "InvalidParameter", "as.identities: expected an array of objects"),
        ({"document": []}, 400, "InvalidParameter", "document: expected an object"),
        ({"because": "x"}, 400, "InvalidParameter", "because: no such field"),
    ],
)
def test_questions_that_cannot_be(app: Application, change: Any, status: int, code: str, words: str) -> None:
    refused(ask(app, "POST", "/explain", {**FIND, "as": {}, **change}), status, code, words)


@pytest.mark.parametrize("action", [name for name, one in OPERATIONS.items() if one.scope == "collection"])
def test_every_action_on_a_collection_is_explained_to_the_end(app: Application, action: str) -> None:
    """Of an administrator it is told what is sent, of others what refuses first, and nothing is done."""
    body = EXAMPLES[action][0].request | {"database": "shop", "collection": "notes"}
    before = app.act("find", {"database": "shop", "collection": "notes"}).json
    ok(app, "POST", "/keys", {"name": f"why-{action}", "admin": True}, status=201)
    told = ok(app, "POST", "/explain", {"action": action, "body": body, "as": f"why-{action}"})
    assert (told["allowed"], told["operation"]) == (True, action)
    told = ok(app, "POST", "/explain", {"action": action, "body": body, "as": {}})
    assert told["allowed"] or told["refused"]["error_code"]
    assert OPERATIONS[action].effect is not Effect.ADMIN or told["refused"]["error_code"] == "PermissionDenied"
    assert app.act("find", {"database": "shop", "collection": "notes"}).json == before
