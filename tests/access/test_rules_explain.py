"""Why a request is allowed or refused: ``explain`` as a function and as a command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from exported_app import exported, run, settings
from ruled import ADMIN, ME, YOU, user

from doorleaf.access.callers import Caller
from doorleaf.access.rules.explain import explain
from doorleaf.access.rules.load import load_rules
from doorleaf.errors import DoorleafError
from doorleaf.operations import DeleteOne, Find, FindOne, InsertOne, ListIndexes, Namespace, UpdateOne
from doorleaf.settings.load import SettingsError


@pytest.fixture
def explained(tmp_path: Path) -> Any:
    rules = load_rules(settings(tmp_path, rules_dir=exported(tmp_path / "app")))
    return lambda operation, identity=None, document=None: explain(
        rules, operation, Caller(identity or user()), document
    )


NS = Namespace("blog", "posts")


def test_why_a_read_is_allowed(explained: Any) -> None:
    told = explained(FindOne(namespace=NS, filter={"title": "x"}))
    assert told["allowed"] is True
    assert told["checks_documents"] is False
    assert told["role"] is None, "it depends on the document"
    assert told["filters"] == ["alive"]
    assert told["hidden"] is None
    assert [role["name"] for role in told["roles"]] == ["owner", "reader"]
    assert told["roles"][0]["applies"] == {"owner": {"$eq": ME}}
    assert told["roles"][1]["hidden"] == ["*"]
    assert told["sent"]["filter"]["title"] == "x"
    assert told["schema"] is True


def test_why_a_read_is_refused(explained: Any) -> None:
    told = explained(Find(namespace=NS, sort={"secret": 1}))
    assert told["allowed"] is False
    assert told["refused"]["error_code"] == "FieldNotReadable"
    assert told["refused"]["rule"] == "fields"
    told = explained(Find(namespace=Namespace("blog", "posts", "second")))
    assert told["refused"]["error_code"] == "NoMatchingRuleFound"
    assert "roles" not in told
    assert explained(ListIndexes(namespace=NS))["allowed"] is False


def test_why_an_insert_is_refused(explained: Any) -> None:
    told = explained(InsertOne(namespace=NS, document={"title": "x", "owner": YOU}))
    assert told["allowed"] is False
    assert told["refused"]["rule"] == "role 'reader': fields"
    assert told["refused"]["error"] == "insert not permitted in 'blog.posts'"
    assert explained(InsertOne(namespace=NS, document={"title": "x", "owner": ME}))["allowed"] is True


def test_what_happens_to_a_document(explained: Any) -> None:
    mine = {"_id": 1, "owner": ME, "title": "t", "deleted": False}
    yours = {"_id": 2, "owner": YOU, "title": "t", "deleted": False}
    update = UpdateOne(namespace=NS, filter={}, update={"$set": {"title": "u"}})
    assert explained(update)["checks_documents"] is True
    assert explained(update, document=mine)["document"] == {
        "role": "owner", "visible": True, "seen": mine, "matches": True,
    }  # fmt: skip
    told = explained(update, document=yours)["document"]
    assert (told["role"], told["seen"]) == ("reader", {"title": "t"})
    assert told["refused"]["rule"] == "role 'reader': write of 'title'"
    told = explained(DeleteOne(namespace=NS, filter={}), document=yours)["document"]
    assert told["refused"]["error"] == "delete not permitted in 'blog.posts'"
    told = explained(FindOne(namespace=NS), document={**mine, "deleted": True})["document"]
    assert (told["visible"], told["seen"], told["matches"]) == (False, None, False)


def test_administrators_are_not_judged(explained: Any) -> None:
    told = explained(Find(namespace=NS), ADMIN)
    assert told["allowed"] is True
    assert "administrators" in told["reason"]


def test_explain_as_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exported(tmp_path / "app")
    (tmp_path / "doorleaf.toml").write_text('rules_dir = "app"\n[data_sources.mongodb-atlas]\ndata_dir = "data"\n')
    body = {"database": "blog", "collection": "posts", "filter": {"title": "x"}}
    result = run("explain", "findOne", json.dumps(body), "--user", ME, "--document", '{"_id": 1, "owner": "x"}')
    told = json.loads(result.stdout)
    assert told["allowed"] is True
    assert told["document"]["role"] == "reader"
    assert told["caller"] == {"id": ME, "type": "normal", "admin": False, "roles": []}
    (tmp_path / "body.json").write_text(json.dumps({**body, "sort": {"secret": 1}}))
    result = run("explain", "find", "@body.json", "--type", "server", "--role", "reader")
    told = json.loads(result.stdout)
    assert told["refused"]["error_code"] == "FieldNotReadable"
    assert told["role"] == "reader"
    for arguments in (("explain", "findd", "{}"), ("explain", "find", "{}", "--type", "x")):
        with pytest.raises(SettingsError):
            run(*arguments)
    with pytest.raises(DoorleafError):
        run("explain", "find", "{")
