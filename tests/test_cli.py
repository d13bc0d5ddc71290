"""The command line: what it prints, what it refuses, and that no mistake shows a stack or a secret."""

from __future__ import annotations

import json
import re
import shlex
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import forked
import pytest
from pydantic import SecretStr
from servers import _clean_environment, start_doorleaf

from doorleaf.cli.serve import _announce
from doorleaf.cli.shared import moment
from doorleaf.operations import OPERATIONS
from doorleaf.settings.load import SettingsError
from doorleaf.settings.model import Settings

COMMAND = str(Path(sys.executable).parent / "doorleaf")
NOWHERE = "mongodb://user:geheim@127.0.0.1:1/?serverSelectionTimeoutMS=100"


def doorleaf(folder: Path, *args: str, env: Mapping[str, str | None] | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command to its end in ``folder``."""
    return forked.run_text(args, folder=folder, env=_clean_environment({"COLUMNS": "100", **(env or {})}))


def succeeded(folder: Path, *args: str, env: Mapping[str, str | None] | None = None) -> str:
    done = doorleaf(folder, *args, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout


def failed(folder: Path, *args: str, env: Mapping[str, str | None] | None = None) -> str:
    """What is said on standard error by a command that fails: a line, no stack."""
    done = doorleaf(folder, *args, env=env)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert 'File "' not in done.stderr
    assert "geheim" not in done.stdout + done.stderr
    return done.stderr


def ask(url: str, headers: Mapping[str, str], body: Any = None) -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, dict(headers)), timeout=30) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def test_help_reads_well(tmp_path: Path) -> None:
    text = succeeded(tmp_path, "--help")
    for command in ("serve", "keys", "settings", "check", "openapi", "version"):
        assert re.search(rf"^\W*{command}\s+[A-Z]", text, re.MULTILINE), command
    text = succeeded(tmp_path, "serve", "--help")
    for option in ("--host", "--port", "--uri", "--data-dir", "--workers", "--config"):
        assert option in text
    for default in ("127.0.0.1", "3000", "./doorleaf-data"):
        assert default in text
    assert not list(tmp_path.iterdir())


def test_a_key_is_printed_alone_and_once(tmp_path: Path) -> None:
    made = doorleaf(tmp_path, "keys", "create", "app")
    assert re.fullmatch(r"dl_[A-Za-z0-9]{64}\n", made.stdout)
    assert made.stdout.strip() not in made.stderr
    assert "shown once" in made.stderr
    succeeded(tmp_path, "keys", "create", "visitor", "--expires", "90d")
    listed = succeeded(tmp_path, "keys", "list")
    assert made.stdout.strip() not in listed
    lines = [re.split(r"  +", line.strip()) for line in listed.splitlines()]
    assert lines[0] == ["Name", "State", "Created", "Last used", "Expires", "Rights"]
    assert [line[:2] for line in lines[1:]] == [["app", "active"], ["visitor", "active"]]
    assert lines[1][3:] == ["never", "never"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d", lines[2][4])
    assert "app" in succeeded(tmp_path, "keys", "revoke", "app")
    assert re.search(r"^app +revoked", succeeded(tmp_path, "keys", "list"), re.MULTILINE)


@pytest.mark.parametrize(
    ("given", "database"),
    [
        ({}, "test"),
        ({"uri": SecretStr("mongodb://u:p@h/shop?authSource=admin")}, "shop"),
        ({"uri": SecretStr("mongodb://u:p@h/shop"), "default_database": "it's"}, "it's"),
    ],
)
def test_the_first_request_goes_where_one_may_write(
    given: dict[str, Any], database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _announce("dl_x", "http://127.0.0.1:1", Settings(**given))
    [line] = [line for line in capsys.readouterr().out.splitlines() if "curl" in line]
    assert json.loads(shlex.split(line)[-1])["database"] == database


def test_a_key_is_told_what_it_may_do(tmp_path: Path) -> None:
    for flags, may in (
        (("--action", "metrics"), "It reads /metrics and nothing else."),
        (("--action", "read"), "Without rules for such keys it may do nothing"),
    ):
        done = doorleaf(tmp_path, "keys", "create", flags[1], *flags)
        assert may in done.stderr
        assert ("may do nothing" in done.stderr) is (flags[1] != "metrics")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("create", "a b"), "can only contain ASCII letters, numbers, underscores, and hyphens"),
        (("create", "app", "--expires", "soon"), "neither like 12h or 90d nor a date"),
        (("create", "app", "--expires", "2001-01-01"), "in the past"),
        (("revoke", "nobody"), "API key not found: 'nobody'"),
    ],
)
def test_key_mistakes(tmp_path: Path, args: tuple[str, ...], said: str) -> None:
    succeeded(tmp_path, "keys", "create", "other")
    assert said in failed(tmp_path, "keys", *args)


@pytest.mark.parametrize("text", ["0d", "-1d", "1w", "", "d", "1000000d", "2030-13-01", "1e3h"])
def test_moments_that_are_none(text: str) -> None:
    with pytest.raises(SettingsError):
        moment(text)


def test_settings_are_shown_with_their_origin_and_without_secrets(tmp_path: Path) -> None:
    (tmp_path / "doorleaf.toml").write_text('port = 4000\nlog_level = "debug"')
    env = {
        "MONGODB_URI": "mongodb://u:geheim@h/db",
        "DATA_API_KEY": "geheim-key-of-32-characters-or-more",
        "DOORLEAF_LOG_LEVEL": "warning",
    }
    text = succeeded(tmp_path, "settings", env=env)
    assert "geheim" not in text
    for line in (
        r"uri +mongodb://u:\*\*\*@h/db +environment MONGODB_URI",
        r"data_api_key +\*\*\* +environment DATA_API_KEY",
        r"log_level +warning +environment DOORLEAF_LOG_LEVEL",
        r"port +4000 +file doorleaf.toml",
        r"host +127\.0\.0\.1 +default",
    ):
        assert re.search(rf"^{line} *$", text, re.MULTILINE), line


def test_check(tmp_path: Path) -> None:
    text = succeeded(tmp_path, "check", "--data-dir", "here")
    assert "settings: ok" in text
    assert "data source default (embedded in here): not there yet" in text
    assert not list(tmp_path.iterdir())
    said = failed(tmp_path, "check", "--uri", NOWHERE)
    assert "mongodb://user:***@127.0.0.1:1/" in said
    assert "the database cannot be reached" in said
    assert "refused" in said.lower() or "connect" in said.lower()
    said = failed(tmp_path, "check", "--uri", "mongodb://user:geheim@h:port/")
    assert "cannot be used" in said
    (tmp_path / "doorleaf.toml").write_text("prot = 1")
    assert failed(tmp_path, "check") == "doorleaf: doorleaf.toml: prot: no such setting; did you mean port?\n"


def test_openapi_and_version(tmp_path: Path) -> None:
    document = json.loads(succeeded(tmp_path, "openapi"))
    assert document["openapi"] == "3.1.0"
    assert {f"/data/v1/action/{name}" for name in OPERATIONS} <= set(document["paths"])
    for arguments in (("version",), ("--version",)):
        assert re.fullmatch(r"doorleaf \d+\.\d+\.\d+\n", succeeded(tmp_path, *arguments))
    assert not list(tmp_path.iterdir()), "neither touches a database"


def test_the_version_is_told_without_waiting_for_the_rest(tmp_path: Path) -> None:
    told = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "doorleaf", "version"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    imported = set(re.findall(r"\| +([\w.]+)$", told.stderr, re.MULTILINE))
    assert "doorleaf.cli.main" in imported
    assert imported.isdisjoint({"pymongo", "pydantic", "uvicorn", "rich", "doorleaf.app", "prometheus_client"})


def test_completion_knows_commands_and_options(tmp_path: Path) -> None:
    for words, expected in (
        ("doorleaf ke", "keys"),
        ("doorleaf keys rot", "rotate"),
        ("doorleaf serve --wor", "--workers"),
    ):
        env = {"_DOORLEAF_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
        assert doorleaf(tmp_path, env=env).stdout.split() == [expected]


def test_serve_refuses_before_it_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = failed(tmp_path, "serve", "--port", str(port))
    assert said == f"doorleaf: cannot listen on 127.0.0.1:{port}: address already in use\n"
    for key in ("", "x", "changeme", "api-key-123", "k" * 31):
        said = failed(tmp_path, "serve", "--port", "0", env={"DATA_API_KEY": key})
        assert "data_api_key (environment DATA_API_KEY): is shorter than 32 characters" in said
        assert "openssl rand -hex 32" in said
    assert "cannot be used" in failed(tmp_path, "serve", "--port", "0", "--uri", "mongodb://user:geheim@h:port/")
    (tmp_path / "file").touch()
    assert failed(tmp_path, "serve", "--port", "0", "--data-dir", "file").count("\n") == 1


def test_the_first_start_prints_a_request_that_works(tmp_path: Path) -> None:
    server = start_doorleaf(tmp_path / "data", key=None)
    try:
        output = server.output()
        assert server.key.startswith("dl_")
        assert f"{server.url}/docs" in output
        [line] = [line for line in output.splitlines() if line.strip().startswith("curl ")]
        words = shlex.split(line)
        headers = dict(words[index + 1].split(": ") for index, word in enumerate(words) if word == "-H")
        body = json.loads(words[words.index("-d") + 1])
        status, answer = ask(words[1], headers, body)
        assert (status, list(answer)) == (201, ["insertedId"])
    finally:
        assert server.stop() == 0
    assert (tmp_path / "data" / "token.secret").stat().st_mode & 0o777 == 0o600

    again = start_doorleaf(tmp_path / "data", key=None)
    try:
        assert "dl_" not in again.output()
        status, answer = ask(f"{again.url}/data/v1/action/countDocuments", headers, body)
        assert (status, answer) == (200, {"count": 1})
    finally:
        again.stop()


def test_a_database_that_is_away(tmp_path: Path) -> None:
    server = start_doorleaf(tmp_path / "data", "--uri", NOWHERE)
    try:
        assert ask(f"{server.url}/livez", {})[0] == 200
        status, answer = ask(f"{server.url}/readyz", {})
        assert (status, answer["error"]) == (503, "the database cannot be reached")
        status, answer = ask(
            f"{server.url}/action/findOne", {"apiKey": server.key}, {"database": "d", "collection": "c"}
        )
        assert (status, answer["error_code"]) == (503, "StoreUnavailable")
        output = server.output()
        assert "the system database cannot be reached" in output
        assert "geheim" not in output
        assert "Traceback" not in output
    finally:
        server.stop()


def test_without_authentication_it_warns(tmp_path: Path) -> None:
    server = start_doorleaf(tmp_path / "data", key=None, env={"DOORLEAF_INSECURE_NO_AUTH": "true"})
    try:
        assert "insecure_no_auth is on" in server.output()
        assert "dl_" not in server.output()
        assert ask(f"{server.url}/action/listDatabases", {}, {})[0] == 200
    finally:
        server.stop()
