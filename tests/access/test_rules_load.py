"""Rules from exported apps and from the settings file, ``doorleaf import-app``, and ``doorleaf explain``."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from exported_app import exported, run, settings
from ruled import ADMIN, ME, user

from doorleaf.access.app_services.exported import load_app
from doorleaf.access.app_services.importing import settings_for
from doorleaf.access.callers import Caller
from doorleaf.access.request import described
from doorleaf.access.rules.expressions import (
    CALLER_SCOPES,
    COMPARISONS,
    CONVERSIONS,
    DOCUMENT_SCOPES,
    LOGICAL,
    RuleError,
    parse,
)
from doorleaf.access.rules.load import load_rules
from doorleaf.access.rules.roles import ROLE_KEYS, parse_rules
from doorleaf.access.rules.schema import KEYWORDS, STRUCTURE, parse_schema
from doorleaf.dialects.base import Request
from doorleaf.errors import InvalidParameter, PermissionDenied
from doorleaf.operations import Find, Namespace
from doorleaf.settings.error import SettingsError
from doorleaf.settings.load import load
from doorleaf.settings.model import Settings
from doorleaf.settings.write import merged, toml


def test_an_exported_app(tmp_path: Path) -> None:
    app = load_app(exported(tmp_path))
    assert (app.name, app.app_id) == ("my-app", "my-app-abcde")
    assert app.clusters == {"mongodb-atlas": "Cluster0"}
    assert app.values == {"limit": 5}
    assert app.environment == {"tag": "production", "values": {"region": "eu"}}
    assert app.origins == ["https://example.com"]
    assert app.addresses == ["192.0.2.0/24", "2001:db8::1"]
    source = app.sources["mongodb-atlas"]
    assert source.default is not None
    posts = source.of("blog", "posts")
    assert posts is not None
    assert [role.name for role in posts.roles] == ["owner", "reader"]
    assert posts.schema is not None
    tags = source.of("blog", "tags")
    assert tags is not None
    assert [role.name for role in tags.roles] == ["readAll"], "without roles of its own it has the default ones"
    assert source.of("blog", "others") is source.default


def test_rules_of_an_exported_app_are_applied(tmp_path: Path) -> None:
    loaded = settings(tmp_path, rules_dir=exported(tmp_path / "app"))
    rules = load_rules(loaded)
    for source in (None, "mongodb-atlas", "Cluster0"):
        permit = rules.permit(Find(namespace=loaded.places.locate(source, "blog", "posts")), Caller(user()))
        sent: Any = permit.operation
        assert sent.filter["$and"][0] == {"deleted": False}
    with pytest.raises(PermissionDenied, match="no rule exists"):
        rules.permit(Find(namespace=Namespace("blog", "posts", "second")), Caller(user()))
    assert rules.expansions(Caller(user()))["values"] == {"limit": 5}
    assert rules.expansions(Caller(user()))["environment"] == {"tag": "production", "values": {"region": "eu"}}


POSTS = "data_sources/mongodb-atlas/blog/posts/"


@pytest.mark.parametrize(
    ("file", "content", "text"),
    [
        (POSTS + "rules.json", "{", "rules.json: malformed JSON"),
        (POSTS + "rules.json", "", "rules.json: malformed JSON"),
        (POSTS + "rules.json", [], "rules.json: expected an object"),
        (POSTS + "rules.json", {"rolez": []}, "rules.json: unknown key 'rolez'"),
        (POSTS + "rules.json", {"roles": [{"name": "a", "read": {"%function": {}}}]},
         "rules.json.roles[0].read.%function.name: expected the name of a function"),
        (POSTS + "rules.json", {"roles": [{"name": "a", "apply_when": {"a": {"%who": 1}}}]},
         "rules.json.roles[0].apply_when.a.%who: unknown operator '%who'"),
        (POSTS + "rules.json", {"database": "other"}, "rules.json: database: is 'other' in the folder of 'blog'"),
        (POSTS + "schema.json", {"bsonType": "x"}, "schema.json.bsonType: unknown type 'x'"),
        (POSTS + "rules.json", '{"roles": [], "roles": []}', "rules.json: "),
        ("data_sources/mongodb-atlas/default_rule.json", {"roles": [{}]}, "default_rule.json.roles[0].name"),
        ("data_sources/mongodb-atlas/config.json", {"nmae": "x"}, "config.json: unknown key 'nmae'"),
        ("values/limit.json", {"name": "limit"}, "limit.json: value is missing"),
        ("values/limit.json", {"nam": "limit"}, "limit.json: unknown key 'nam'"),
        ("auth/custom_user_data.json", {"enable": True}, "custom_user_data.json: unknown key 'enable'"),
        ("https_endpoints/data_api_config.json", {"run_as": 1}, "data_api_config.json: unknown key 'run_as'"),
        ("root_config.json", {"security": {"x": 1}}, "root_config.json: security: unknown key 'x'"),
        ("root_config.json", {"allowed_request_origins": "x"}, "allowed_request_origins: expected an array of strings"),
        ("ip_access_list.json", [{"comment": "x"}], "ip_access_list.json[0]: expected an address"),
    ],
    ids=lambda value: str(value)[:60],
)  # fmt: skip
def test_mistakes_name_file_and_place(tmp_path: Path, file: str, content: Any, text: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        load_app(exported(tmp_path, {file: content}))
    assert text in caught.value.message
    assert str(tmp_path / file) in caught.value.message


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidParameter, match="no such folder"):
        load_app(tmp_path / "nothing")


# --- the settings file -----------------------------------------------------------------------------------------------

TOML = """
[values]
limit = 5

[data_sources.main]
data_dir = "data"
aliases = ["Cluster0"]

[rules.main.default]
roles = [{ name = "none" }]

[rules."Cluster0"."blog.posts"]
schema = { properties = { at = { minimum = 1 } } }
filters = [{ query = { at = { "$gt" = 2020-01-01T00:00:00Z }, id = { "$oid" = "64b7f0000000000000000001" } } }]

[[rules."Cluster0"."blog.posts".roles]]
name = "owner"
read = { owner = "%%user.id", n = "%%values.limit" }
"""


def test_rules_in_the_settings_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = TOML.replace('[rules."Cluster0"', '[rules."main"').replace('[[rules."Cluster0"', '[[rules."main"')
    (tmp_path / "doorleaf.toml").write_text(text)
    loaded = load()
    rules = load_rules(loaded)
    posts = loaded.places.locate("Cluster0", "blog", "posts")
    sent: Any = rules.permit(Find(namespace=posts), Caller(user())).operation
    parts = sent.filter["$and"]
    assert parts[0]["at"]["$gt"].year == 2020
    assert str(parts[0]["id"]) == "64b7f0000000000000000001"
    assert parts[1:] == [{"owner": {"$eq": ME}}, {"n": {"$eq": 5}}] or parts[1] == {
        "$and": [{"owner": {"$eq": ME}}, {"n": {"$eq": 5}}]
    }
    assert rules.rules_of(Namespace("blog", "others")) is not None


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"rules": {"other": {}}}, "the data source 'other' is not configured"),
        ({"rules": {"mongodb-atlas": {"blog": {}}}}, "expected <database>.<collection> or default"),
        ({"rules": {"mongodb-atlas": {"blog.posts": {"rolez": []}}}}, "unknown key 'rolez'"),
        ({"rules": {"mongodb-atlas": {"blog.posts": 5}}}, "expected a table"),
        (
            {"rules": {"mongodb-atlas": {"a.b": {"filters": [{"query": {"x": {"$oid": "5"}}}]}}}},
            "24 hexadecimal digits",
        ),
        ({"rules": {"mongodb-atlas": {"a.b": {}}, "Cluster0": {"a.b": {}}}}, "a.b has rules already"),
    ],
    ids=str,
)
def test_mistakes_in_the_settings(tmp_path: Path, values: Any, text: str) -> None:
    with pytest.raises(RuleError) as caught:
        load_rules(settings(tmp_path, **values))
    assert text in caught.value.message


def test_a_namespace_has_its_rules_once(tmp_path: Path) -> None:
    table = {"mongodb-atlas": {"blog.posts": {"roles": [{"name": "a"}]}}}
    with pytest.raises(RuleError, match=r"blog\.posts has rules already"):
        load_rules(settings(tmp_path, rules_dir=exported(tmp_path / "app"), rules=table))
    table = {"mongodb-atlas": {"blog.more": {"roles": [{"name": "a"}]}}}
    rules = load_rules(settings(tmp_path, rules_dir=exported(tmp_path / "app"), rules=table))
    more = rules.rules_of(Namespace("blog", "more"))
    assert more is not None
    assert [role.name for role in more.roles] == ["a"]


def test_with_one_data_source_its_name_does_not_matter(tmp_path: Path) -> None:
    table = {"anything": {"a.b": {"roles": [{"name": "r", "read": True}]}}}
    only = Settings(data_dir=tmp_path, rules=table)
    for source in (None, "default", "mongodb-atlas"):
        assert load_rules(only).rules_of(only.places.locate(source, "a", "b")) is not None
    with pytest.raises(RuleError, match="the data source 'anything' is not configured"):
        load_rules(Settings(data_dir=tmp_path, rules={**table, "another": {}}))


def test_without_rules_nobody_but_administrators_gets_anything(tmp_path: Path) -> None:
    rules = load_rules(settings(tmp_path))
    operation = Find(namespace=Namespace("a", "b"))
    with pytest.raises(PermissionDenied) as caught:
        rules.permit(operation, Caller(user()))
    assert caught.value.code == "NoMatchingRuleFound"
    assert rules.permit(operation, Caller(ADMIN)).operation is operation


# --- the request -----------------------------------------------------------------------------------------------------


def test_what_rules_know_of_the_request(tmp_path: Path) -> None:
    read = {
        "%%request.httpMethod": "POST", "%%request.requestHeaders.X-Secret-Key": "k",
        "%%request.requestHeaders.x-secret-key": "k", "%%request.remoteIPAddress": "192.0.2.7",
        "%%request.rawQueryString": "a=b", "%%request.httpUserAgent": "curl", "%%request.httpReferrer": "https://x",
        "%%request.action": "find", "%%request.service": "mongodb-atlas",
    }  # fmt: skip
    table = {"mongodb-atlas": {"a.b": {"roles": [{"name": "r", "apply_when": read, "read": True}]}}}
    rules = load_rules(settings(tmp_path, rules=table))
    find = Find(namespace=Namespace("a", "b"))
    headers = {b"x-secret-key": b"z, k", b"user-agent": b"curl", b"referer": b"https://x"}
    me = user()
    for query in (b"a=b", b"secret=x&a=b", b"a=b&%73ecret=x&secret"):
        request = Request("POST", "/", headers, "192.0.2.7", query=query)
        permitted: Any = rules.permit(find, Caller(me, request)).operation
        assert permitted.filter == {}, query
    request = Request("POST", "/", {**headers, b"x-secret-key": b"kk"}, "192.0.2.7", query=b"a=b")
    assert rules.permit(find, Caller(me, request)).operation.filter == {"_id": {"$in": []}}  # type: ignore[attr-defined]
    outside: Any = rules.permit(find, Caller(me)).operation
    assert outside.filter == {"_id": {"$in": []}}
    assert "X-Secret-Key" in list(described(request)["requestHeaders"])


# --- import-app ------------------------------------------------------------------------------------------------------


def test_settings_of_an_exported_app(tmp_path: Path) -> None:
    app = load_app(exported(tmp_path))
    written = settings_for(app)
    assert written == {
        "app": str(tmp_path),
        "app_ids": ["my-app-abcde"],
        "return_type": "EJSON",
        "cors_origins": ["https://example.com"],
        "ip_access_list": ["192.0.2.0/24", "2001:db8::1"],
        "providers": ["api-key", "local-userpass", "custom-token"],
        "auto_confirm": False,
        "email_confirmation_url": "https://example.com/confirm",
        "reset_password_url": "https://example.com/reset",
        "email_confirmation_subject": "Hello",
        "custom_token": {
            "algorithm": "RS256",
            "jwks_url": "https://issuer.example.com/jwks.json",
            "audience": ["my-app-abcde"],
            "metadata_fields": [{"name": "profile.email", "field_name": "email", "required": True}],
        },
        "custom_user_data": {
            "database": "app",
            "collection": "users",
            "user_id_field": "userId",
            "data_source": "mongodb-atlas",
        },
        "data_sources": {"mongodb-atlas": {"default": True, "data_dir": "doorleaf-data", "aliases": ["Cluster0"]}},
    }
    report = [f"{'+' if note.taken else '-'} {note.what}: {note.text}" for note in app.notes]
    for line in (
        "+ data_sources/mongodb-atlas/blog/posts/rules.json: roles: owner, reader; filters: 1",
        "+ data_sources/mongodb-atlas/blog/posts/schema.json: the schema",
        "- data_sources/mongodb-atlas/blog/posts/relationships.json: relationships belong to GraphQL and Sync",
        "+ values/limit.json: %%values.limit",
        "- values/key.json: the value key is the secret 'theSecret', which no export holds",
        "- environments/testing.json: belongs to another environment",
        "+ functions/f.js: served by the setting app",
        "+ triggers/t.json: served by the setting app",
        "- sync/config.json: Device Sync is not available",
        "- graphql/config.json: GraphQL is not available",
        "+ https_endpoints/config.json: /hello: served by the setting app",
        "+ data_api_config.json: can_evaluate: served by the setting app",
        "+ data_api_config.json: create_user_on_auth: a token of somebody new makes a user",
        "- data_api_config.json: log_function_arguments: no log has the content of requests",
        "+ data_api_config.json: return_type: ",
        "- auth/providers.json: oauth2-google: has no counterpart",
        "- auth/providers.json: custom-function: names no function in this folder",
        "+ auth/providers.json: anon-user: is off",
        "- auth/providers.json: local-userpass: runConfirmationFunction: no function confirms",
        "- auth/providers.json: local-userpass: mails: need smtp_url",
        "- auth/custom_user_data.json: on_user_creation_function_name",
        "- users and API keys: no export holds them",
        "- data_sources.mongodb-atlas: its connection string",
        "+ IP access list: 192.0.2.0/24, 2001:db8::1",
        "+ allowed_request_origins: cors_origins: https://example.com",
        "- root_config.json: location",
    ):
        assert any(line in told for told in report), line


def test_secret_keys_and_running_as_somebody(tmp_path: Path) -> None:
    providers = {
        "custom-token": {
            "config": {"signingAlgorithm": "HS256", "audience": "me", "requireAnyAudience": True},
            "secret_config": {"signingKeys": ["jwtSecret"]},
        }
    }
    api = {
        "run_as_system": True,
        "validation_method": "VERIFY_PAYLOAD",
        "run_as_user_id_script_source": "x",
        "secret_name": "apiSecret",
        "fetch_custom_user_data": False,
    }
    changes = {
        "auth/providers.json": providers,
        "https_endpoints/data_api_config.json": api,
        "root_config.json": {"security": {"allowed_request_origins": []}},
        "ip_access_list.json": [],
    }
    app = load_app(exported(tmp_path, changes))
    written = settings_for(app)
    assert written["run_as"] == {"actions": "system"}
    assert written["cors_origins"] == ["*"]
    assert written["ip_access_list"] == []
    assert written["custom_token"] == {
        "algorithm": "HS256", "keys": ["put the secret jwtSecret here"], "audience": ["me"],
        "require_any_audience": True,
    }  # fmt: skip
    with pytest.raises(ValueError, match="a key for HS256 has 32 to 512"):
        Settings(custom_token=written["custom_token"])
    told = [f"{'+' if note.taken else '-'} {note.what}: {note.text}" for note in app.notes if "data_api" in note.what]
    assert told == [
        "+ data_api_config.json: validation_method: VERIFY_PAYLOAD, with the secret 'apiSecret', which no export holds",
        "+ data_api_config.json: run_as_system: run_as: rules are not asked, for any caller",
        "+ data_api_config.json: fetch_custom_user_data: rules see no custom data of those who call actions",
    ]  # fmt: skip


def test_import_app_prints_settings(tmp_path: Path) -> None:
    folder = exported(tmp_path / "app")
    result = run("import-app", str(folder))
    assert result.exit_code == 0
    assert tomllib.loads(result.stdout) == settings_for(load_app(folder))
    assert "taken     data_sources/mongodb-atlas/blog/posts/rules.json: roles: owner, reader" in result.stderr
    assert "taken     functions/f.js: served by the setting app" in result.stderr


def test_import_app_writes_a_settings_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = exported(tmp_path / "app")
    target = tmp_path / "doorleaf.toml"
    result = run("import-app", str(folder), "--into", str(target))
    assert result.exit_code == 0
    assert f"{target} is written.\nIt is not complete yet:\nemail_confirmation_url" in result.stderr
    target.write_text('smtp_url = "smtp://127.0.0.1"\nmail_from = "me@example.com"\n' + target.read_text())
    assert load(config=target).app == folder
    loaded = load(config=target)
    assert load_rules(loaded).rules_of(loaded.places.locate("Cluster0", "blog", "posts")) is not None


def test_import_app_leaves_what_is_there(tmp_path: Path) -> None:
    folder = exported(tmp_path / "app")
    target = tmp_path / "doorleaf.toml"
    target.write_text('# mine\nport = 4000\napp_ids = ["other"]\n\n[data_sources.main]\nuri = "mongodb://127.0.0.1"\n')
    result = run("import-app", str(folder), "--into", str(target))
    text = target.read_text()
    written = tomllib.loads(text)
    assert text.startswith("# mine\nport = 4000\n")
    assert (written["port"], written["app_ids"], list(written["data_sources"])) == (4000, ["other"], ["main"])
    assert written["cors_origins"] == ["https://example.com"]
    assert "not taken app_ids: " in result.stderr
    assert "not taken data_sources: " in result.stderr
    assert "It is not complete yet" in result.stderr


@pytest.mark.parametrize(
    "content",
    [
        {"a": 'x"y\\z\n', "b": [1, True, "ü"], "c": {"d": {"e": "f"}}},
        {"t": {"a b": {"x.y": 1, "list": [{"k": "v", "empty": {}}]}, "plain": 2}},
        {"empty": {}},
        {},
    ],
    ids=str,
)
def test_toml(content: Any) -> None:
    assert tomllib.loads(toml(content)) == content


def test_merged_settings_are_toml() -> None:
    text = merged("a = 1\n[t]\nb = 2\n", {"c": 3, "u": {"d": 4}})
    assert tomllib.loads(text) == {"a": 1, "c": 3, "t": {"b": 2}, "u": {"d": 4}}


@pytest.mark.parametrize(
    "text",
    [
        'subject = """\nHello\n[not a table]\n"""\nport = 4000\n',
        "subject = '''\n[t]\n'''\n[limits]\nrate = 5 # a day\n",
        'list = [\n  "a",\n[ "b" ][0]\n]\n'.replace("[0]", ""),
        '# only a comment\n\n[t]\na = "x"  # kept\n\n# and this\n[t.inner]\nb = 1\n',
        "port = 4000",
        "dotted.key = 1\n[[tables]]\na = 1\n[[tables]]\na = 2\n",
        "",
    ],
    ids=repr,
)
def test_what_a_settings_file_has_stays_as_it_is(text: str) -> None:
    added = {"c": "new", "u": {"d": {"e": [1, {"f": 2}]}}}
    written = merged(text, added)
    assert tomllib.loads(written) == tomllib.loads(text) | added
    for line in text.splitlines():
        assert line in written.splitlines()


def test_a_settings_file_that_is_no_toml_is_not_written(tmp_path: Path) -> None:
    target = tmp_path / "doorleaf.toml"
    target.write_text("port = = 1\n")
    with pytest.raises(SettingsError, match=r"doorleaf\.toml: Invalid value"):
        run("import-app", str(exported(tmp_path / "app")), "--into", str(target))
    assert target.read_text() == "port = = 1\n"


# --- the documentation -----------------------------------------------------------------------------------------------

PAGE = Path(__file__).parents[2] / "docs" / "rules.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("text", blocks("json"))
def test_examples_of_the_documentation_are_rules(text: str) -> None:
    content = json.loads(text)
    if "roles" in content:
        assert parse_rules(content, "docs").roles
    elif "bsonType" in content:
        parse_schema(content, "docs")
    else:
        parse(content, "docs")


def test_the_settings_of_the_documentation_are_rules(tmp_path: Path) -> None:
    [text] = blocks("toml")
    path = tmp_path / "doorleaf.toml"
    path.write_text(text)
    loaded = load(config=path)
    rules = load_rules(loaded)
    for source in ("main", "mongodb-atlas", "Cluster0"):
        posts = rules.rules_of(loaded.places.locate(source, "blog", "posts"))
        assert posts is not None
        assert [role.name for role in posts.roles] == ["owner", "reader"]


def test_the_documentation_names_every_word() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for word in (*COMPARISONS, *LOGICAL, *CONVERSIONS):
        assert f"`%{word}`" in text, word
    for word in (*DOCUMENT_SCOPES, *CALLER_SCOPES):
        assert f"`{word}" in text, word
    for keyword in (*KEYWORDS, *STRUCTURE):
        assert f"`{keyword}`" in text, keyword
    for key in ROLE_KEYS:
        assert f"`{key}`" in text, key
