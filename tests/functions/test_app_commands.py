# ruff: noqa: E501  # a row is a line
"""``doorleaf check``, ``functions``, ``secrets`` and ``values`` of an app."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from servers import run_doorleaf
from shop_app import endpoint, shop, write
from typer.testing import CliRunner, Result

from doorleaf.cli.main import app as cli


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*args: str, given: str | None = None) -> Result:
    return CliRunner().invoke(cli, args, input=given)


def test_secrets_are_kept_encrypted_and_never_shown(tmp_path: Path) -> None:
    data = ("--data-dir", str(tmp_path / "data"))
    assert run("secrets", "set", "password", *data, given="let me in\n").exit_code == 0
    assert run("secrets", "set", "other", "--value", "also", *data).exit_code == 0
    assert run("secrets", "set", "password", *data, given="open sesame").exit_code == 0
    listed = run("secrets", "list", "--json", *data)
    assert json.loads(listed.stdout) == [{"name": "other"}, {"name": "password"}]
    key = tmp_path / "data" / "secrets.key"
    assert stat.S_IMODE(os.stat(key).st_mode) == 0o600
    kept = b"".join(path.read_bytes() for path in (tmp_path / "data").iterdir() if path.is_file())
    assert b"open sesame" not in kept
    assert b"let me in" not in kept
    assert run("secrets", "delete", "other", *data).exit_code == 0
    assert (
        run_doorleaf(tmp_path, "secrets", "delete", "other", *data).stderr == "doorleaf: there is no secret 'other'\n"
    )
    for name, value in (("a b", "x"), ("x" * 65, "x"), ("empty", ""), ("long", "x" * 501)):
        assert run("secrets", "set", name, "--value", value, *data).exit_code == 1


def test_functions_and_values_are_listed(tmp_path: Path) -> None:
    app = shop(tmp_path / "app")
    listed = json.loads(run("functions", "list", "--json", "--app", str(app)).stdout)
    found = {item["name"]: item for item in listed}
    assert found["echo"]["endpoints"] == ["* /echo", "GET /passwordRequired"]
    assert (found["hidden"]["private"], found["mine"]["private"]) == (True, False)
    assert (found["hello"]["runs_as"], found["mine"]["runs_as"]) == ("system", "application")
    assert found["pyadd"]["file"] == "functions/pyadd.py"
    values = json.loads(run("values", "list", "--json", "--app", str(app)).stdout)
    assert values == {"values": {"limit": 5}, "secrets": {"key": "password"}}
    assert "the secret password" in run("values", "list", "--app", str(app)).stdout


def test_check_names_each_broken_thing(tmp_path: Path) -> None:
    app = shop(tmp_path / "app")
    config = json.loads((app / "functions/config.json").read_text())
    routes = json.loads((app / "https_endpoints/config.json").read_text())
    config += [{"name": "lost"}, {"name": "odd", "colour": 1}, {"private": True}, {"name": "syntax", "private": False}]
    config += [{"name": "wrongly", "can_evaluate": {"%nothing": 1}}, {"name": "typed", "private": "no"}]
    config += [{"name": "whose", "run_as_authed_user": False}, {"name": "theirs", "run_as_authed_user": True}]
    routes += [
        endpoint("/unknown", "GET", "nobody"), endpoint("/hello", "GET", "hello"), endpoint("none", "GET", "hello"),
        endpoint("/m", "FETCH", "hello"), endpoint("/v", "GET", "hello", validation_method="SECRET_AS_QUERY_PARAM"),
        endpoint("/w", "GET", "hello", validation_method="OFTEN"), endpoint("/broken", "GET", "syntax"),
        endpoint("/k", "GET", "hello", flavour=1), endpoint("/t", "GET", "hello", return_type="XML"),
        endpoint("/l", "GET", "hello", validation_method=["OFTEN"]), {**endpoint("/n", "GET", "hello"), "http_method": ["GET"]},
    ]  # fmt: skip
    write(app, {
        "functions/config.json": config, "https_endpoints/config.json": routes, "functions/odd.js": "exports = 1",
        "functions/syntax.js": "exports = () => {\n\n  return (1;\n}", "functions/pysyntax.py": "async def main(:\n    pass\n",
        "functions/wrongly.js": "exports = 1", "functions/typed.js": "exports = 1", "functions/a b.js": "exports = 1",
        "functions/whose.js": "exports = 1", "functions/theirs.js": "exports = () => 1",
    })  # fmt: skip
    told = run_doorleaf(tmp_path, "check", "--port", "0", "--app", str(app), "--data-dir", str(tmp_path / "data"))
    assert told.returncode == 1
    for line in (
        "function lost: has no file",
        "functions/config.json: odd: unknown key 'colour'",
        "expected an object with name",
        "functions/syntax.js: line 3: SyntaxError: ",
        "endpoint GET /broken: its function is broken",
        "functions/pysyntax.py: line 1: invalid syntax",
        "functions/wrongly.js: can_evaluate.%nothing: unknown operator",
        "functions/typed.js: private: expected true or false",
        "functions/whose.js: run_as_authed_user: no other key says whom it runs as",
        "functions/a b.js: its name has characters",
        "endpoint GET /unknown: function_name: there is no function 'nobody'",
        "endpoint GET /hello: the route has this method already",
        "endpoint GET none: route: expected a path",
        "endpoint FETCH /m: http_method: expected one of",
        "endpoint GET /v: secret_name: needed for SECRET_AS_QUERY_PARAM",
        "endpoint GET /w: validation_method: expected one of",
        "endpoint GET /l: validation_method: expected a string",
        "endpoint ['GET'] /n: http_method: expected a string",
        "https_endpoints/config.json: /k: unknown key 'flavour'",
        "endpoint GET /t: return_type: expected JSON or EJSON",
        "value key: the secret 'password' is not set",
    ):
        assert line in told.stderr, line
    assert "theirs" not in told.stderr


def test_check_is_content_with_an_app_that_is_whole(tmp_path: Path) -> None:
    app = shop(tmp_path / "app")
    data = ("--data-dir", str(tmp_path / "data"))
    for name in ("password", "signing"):
        run("secrets", "set", name, "--value", "x", *data)
    told = run_doorleaf(tmp_path, "check", "--port", "0", "--app", str(app), *data)
    assert told.returncode == 0, told.stderr
    assert "ok, 29 functions, 20 endpoints, 1 triggers" in told.stdout


def test_an_app_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    told = run_doorleaf(tmp_path, "check", "--app", "absent")
    assert (told.returncode, told.stderr) == (1, "doorleaf: app: absent: no such folder\n")
    told = run_doorleaf(tmp_path, "functions", "list")
    assert (told.returncode, "app: there is none" in told.stderr) == (1, True)


def shown(setting: str) -> str:
    """A setting's value, as JSON."""
    told = json.loads(run("settings", "--json").stdout)
    return next(json.dumps(item["value"]) for item in told if item["setting"] == setting)


def test_the_apps_own_settings_count_where_no_other_says_something(tmp_path: Path) -> None:
    app = shop(tmp_path / "app")
    (tmp_path / "doorleaf.toml").write_text(f"app = {json.dumps(str(app))}\n")
    assert "anon-user" in shown("providers")
    assert "shop-abcde" in shown("app_ids")
    (tmp_path / "doorleaf.toml").write_text(f'app = {json.dumps(str(app))}\nproviders = ["api-key"]\n')
    assert "anon-user" not in shown("providers")


def test_a_function_is_run_from_the_command_line(tmp_path: Path) -> None:
    where = ("--app", str(shop(tmp_path / "app")), "--data-dir", str(tmp_path / "data"))

    def answer(*args: str) -> object:
        told = run_doorleaf(tmp_path, "functions", "run", *args, *where)
        assert told.returncode == 0, told.stderr
        return json.loads(told.stdout)

    assert answer("sum", "[2, 3]") == 5
    assert answer("given", '[{"$oid": "64224f3cd79f54ad342dd9b1"}]') == [{"$oid": "64224f3cd79f54ad342dd9b1"}]
    assert answer("hidden") == "never seen"
    for args, error in (
        (("absent",), "function not found: 'absent'"),
        (("throws",), "no such thing"),
        (("sum", "{}"), "the arguments: expected a JSON array"),
        (("sum", "[1, 2]", "--user", "0" * 23 + "1"), "error finding user"),
        (("sum", "--user", "x", "--system"), "only one can be"),
    ):
        told = run_doorleaf(tmp_path, "functions", "run", *args, *where)
        assert (told.returncode, told.stdout) == (1, ""), args
        assert error in told.stderr
