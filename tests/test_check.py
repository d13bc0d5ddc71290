"""``doorleaf check``, ``/readyz`` and the commands that only look: they say what is so, and leave no trace."""

from __future__ import annotations

import json
import os
import re
import socket
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asgi import Application
from pydantic import SecretStr
from servers import doorleaf, mongodb_uri_from_environment, secantus
from typer.testing import CliRunner, Result

from doorleaf.app import build
from doorleaf.cli.main import COMMANDS, app
from doorleaf.operations import Namespace, RunCommand
from doorleaf.settings.load import SettingsError
from doorleaf.settings.model import Settings
from doorleaf.stores.mongo import MongoStore


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("DOORLEAF_") or name in ("MONGODB_URI", "DATA_API_KEY", "PORT"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def ran(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def told(result: Result) -> str:
    return result.output + (str(result.exception) if result.exception is not None else "")


def files(folder: Path) -> dict[str, tuple[int, float]]:
    found = {path: path.stat() for path in folder.rglob("*")}
    return {str(path): (stat.st_size, stat.st_mtime) for path, stat in found.items()}


KEY = SecretStr("k7" * 20)

# --- nothing is changed ------------------------------------------------------------------------------------------


def test_a_check_makes_nothing_and_changes_nothing(tmp_path: Path) -> None:
    done = ran("check", "--data-dir", "here")
    assert done.exit_code == 0, told(done)
    assert "not there yet; the first start makes it" in done.output
    assert not list(tmp_path.iterdir())

    assert ran("keys", "create", "app", "--data-dir", "here").exit_code == 0
    before = files(tmp_path)
    done = ran("check", "--data-dir", "here")
    assert done.exit_code == 0, told(done)
    assert re.search(r"data source default \(embedded in here\): ok, format \d", done.output)
    assert files(tmp_path) == before


def test_logging_in_by_a_function_takes_an_app(tmp_path: Path) -> None:
    settings = tmp_path / "doorleaf.toml"
    settings.write_text('providers = ["api-key", "custom-function"]\ncustom_function = "lets_in"\n')
    done = ran("check", "--data-dir", "here", "--config", str(settings))
    assert done.exit_code == 1
    assert "logging in: providers: custom-function needs the setting app; nobody logs in by it" in done.output
    with doorleaf(tmp_path / "here", "--config", str(settings)) as server:
        assert "not in service: providers: custom-function needs the setting app" in server.output()
    settings.write_text('providers = ["api-key"]\n')
    done = ran("check", "--data-dir", "here", "--config", str(settings))
    assert done.exit_code == 0, told(done)
    assert "logging in" not in done.output


@pytest.mark.parametrize(
    "arguments",
    [
        ("keys", "list"),
        ("keys", "usage", "app"),
        ("keys", "rotate", "app"),
        ("keys", "disable", "app"),
        ("keys", "enable", "app"),
        ("keys", "revoke", "app"),
        ("keys", "delete", "app"),
        ("users", "list"),
        ("users", "sessions", "a@b.example"),
        ("users", "confirm", "a@b.example"),
        ("users", "disable", "a@b.example"),
        ("users", "enable", "a@b.example"),
        ("users", "delete", "a@b.example"),
        ("users", "log-out", "a@b.example"),
        ("check",),
    ],
    ids=" ".join,
)
def test_a_mistyped_folder_does_not_come_into_being(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    (tmp_path / "data").mkdir()
    for folder in ("daat", "data"):
        done = ran(*arguments, "--data-dir", folder)
        if arguments != ("check",):
            absolute = tmp_path / folder  # a relative path alone would not tell somebody in a wrong folder
            assert str(done.exception).startswith(f"there is no database in {absolute};")
    assert [path.name for path in tmp_path.rglob("*")] == ["data"]


def test_listing_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    assert ran("keys", "create", "app", "--data-dir", "d").exit_code == 0
    content = (tmp_path / "d" / "doorleaf.sqlite3").read_bytes()
    assert ran("keys", "list", "--data-dir", "d").exit_code == 0
    assert ran("users", "list", "--data-dir", "d").exit_code == 0
    assert (tmp_path / "d" / "doorleaf.sqlite3").read_bytes() == content
    assert not (tmp_path / "d" / "token.secret").exists()


# --- wherever serve would refuse ---------------------------------------------------------------------------------


def spoiled_file(folder: Path) -> None:
    (folder / "data").mkdir()
    (folder / "data" / "doorleaf.sqlite3").write_bytes(b"no database" * 1000)


def short_secret(folder: Path) -> None:
    (folder / "data").mkdir()
    (folder / "data" / "token.secret").write_text("short")


SPOILED: dict[str, tuple[Any, str, str]] = {
    "the folder is a file": (lambda folder: (folder / "data").touch(), "", "not a directory"),
    "the file is no database": (spoiled_file, "", "is damaged|is no database"),
    "the secret is short": (short_secret, "", "no secret of at least 32 bytes"),
    "the audit file's folder is missing": (None, 'audit_file = "absent/audit.log"', "absent: no such file"),
    "the audit file is a folder": (
        lambda folder: (folder / "audit").mkdir(),
        'audit_file = "audit"',
        "audit: cannot be written",
    ),
    "the rules are missing": (None, 'rules_dir = "absent"', "absent"),
    "the host is not ours": (None, 'host = "192.0.2.1"', "cannot listen on 192.0.2.1:"),
    "the host has no address": (None, 'host = "nowhere.invalid"', "cannot listen on nowhere.invalid:"),
    "another source's folder is a file": (
        lambda folder: (folder / "other").touch(),
        '[data_sources.a]\ndata_dir = "a"\ndefault = true\n[data_sources.b]\ndata_dir = "other"',
        "data source b .*not a directory",
    ),
}


@pytest.mark.parametrize("name", SPOILED)
def test_what_serve_would_refuse_is_told(tmp_path: Path, name: str) -> None:
    spoil, settings, said = SPOILED[name]
    if spoil is not None:
        spoil(tmp_path)
    base = "" if "data_sources" in settings else 'data_dir = "data"\n'
    (tmp_path / "doorleaf.toml").write_text(f"{base}{settings}\n")
    before = files(tmp_path)
    done = ran("check")
    assert done.exit_code == 1
    assert re.search(said, told(done)), told(done)
    assert "Traceback" not in done.output
    assert files(tmp_path) == before


def test_a_port_that_something_else_has(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        (tmp_path / "doorleaf.toml").write_text(f"port = {taken.getsockname()[1]}")
        done = ran("check")
    assert done.exit_code == 1
    assert "address already in use" in done.output


def test_beside_a_running_server_it_succeeds(tmp_path: Path) -> None:
    with doorleaf(tmp_path / "data") as server:
        (tmp_path / "doorleaf.toml").write_text(f'port = {server.port}\ndata_dir = "data"')
        done = ran("check", "--json")
        assert done.exit_code == 0, told(done)
        parts = {part["what"]: part for part in json.loads(done.output)}
        assert parts[f"listening on 127.0.0.1:{server.port}"]["text"] == "ok, a Doorleaf listens there already"
        assert all(part["ok"] for part in parts.values())


# --- a database user who may not -----------------------------------------------------------------------------------

USERS = {
    "stranger": [{"role": "readWrite", "db": "shop"}],
    "reader": [{"role": "readWrite", "db": "shop"}, {"role": "read", "db": "doorleaf"}],
    "owner": [{"role": "readWrite", "db": "shop"}, {"role": "readWrite", "db": "doorleaf"}],
}
ROLES = 'grant it the role readWrite on "doorleaf"'


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URI of a MongoDB that asks for credentials, with ``USER`` where a name belongs."""
    import asyncio

    if mongodb_uri_from_environment():
        pytest.skip("needs a server of its own that asks for credentials")
    folder = tmp_path_factory.mktemp("guarded") / "db"

    async def people(uri: str) -> None:
        store = MongoStore(uri)
        await store.open()
        for name, roles in USERS.items():
            command = {"createUser": name, "pwd": "geheim", "roles": roles}
            await store.execute(RunCommand(namespace=Namespace("admin"), command=command))
        await store.close()

    with secantus(folder) as server:
        asyncio.run(people(server.uri))
    with secantus(folder, "--auth") as server:
        yield server.uri.replace("mongodb://", "mongodb://USER:geheim@").replace("/?", "/shop?authSource=admin&")


@pytest.mark.parametrize("user", ["stranger", "reader"])
def test_a_user_without_the_system_database(tmp_path: Path, guarded: str, user: str) -> None:
    uri = guarded.replace("USER", user)
    done = ran("check", "--uri", uri)
    assert done.exit_code == 1
    assert ROLES in done.output
    assert "geheim" not in done.output
    endpoint = Application(build(Settings(uri=SecretStr(uri), data_dir=tmp_path / "data", data_api_key=KEY)))
    assert endpoint.start() == "lifespan.startup.complete"
    try:
        answer = endpoint.call("GET", "/readyz")
        assert answer.status == 503
        assert ROLES in answer.json["error"]
        assert "geheim" not in answer.body.decode()
        assert endpoint.call("GET", "/livez").status == 200
    finally:
        endpoint.stop()


def test_a_user_with_it(tmp_path: Path, guarded: str) -> None:
    uri = guarded.replace("USER", "owner")
    done = ran("check", "--uri", uri)
    assert done.exit_code == 0, told(done)
    endpoint = Application(build(Settings(uri=SecretStr(uri), data_dir=tmp_path / "data", data_api_key=KEY)))
    assert endpoint.start() == "lifespan.startup.complete"
    try:
        assert endpoint.call("GET", "/readyz").status == 200
    finally:
        endpoint.stop()


def test_a_wrong_password_is_the_servers_trouble(tmp_path: Path, guarded: str) -> None:
    uri = guarded.replace("USER:geheim", "owner:falsch") + "&serverSelectionTimeoutMS=500"
    done = ran("check", "--uri", uri)
    assert done.exit_code == 1
    assert "refuses the credentials" in done.output
    endpoint = Application(build(Settings(uri=SecretStr(uri), data_dir=tmp_path / "data", data_api_key=KEY)))
    endpoint.start()
    try:
        assert endpoint.call("GET", "/readyz").status == 503
    finally:
        endpoint.stop()


# --- what must be escaped ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "uri",
    [
        "mongodb://u:ge@heim@h/db",
        "mongodb://u:ge:heim@h/db",
        "mongodb://u:ge/heim@h/db",
        "mongodb://u:ge?heim@h/db",
        "mongodb://u:ge#heim@h/db",
        "mongodb://u:ge%heim@h/db",
        "mongodb://u:ge@he:im/x@h:1/db",
        "mongodb://u:ge@heim/x@h:1/db",
        "mongodb://u:ge@he:im?x@h",
        "mongodb://u:ge@heim?x@h",
        "mongodb+srv://u:g@heim@h.example/db",
    ],
)
@pytest.mark.parametrize("command", ["check", "serve", "keys list"])
def test_a_password_that_is_not_escaped_is_explained(uri: str, command: str) -> None:
    done = ran(*command.split(), "--uri", uri)
    assert isinstance(done.exception, SettingsError)
    assert "must be escaped: write @ as %40" in told(done)
    assert "heim" not in told(done)


@pytest.mark.parametrize(
    "uri",
    [
        "mongodb://h",
        "mongodb://h:27017,[::1]:27018/db?appName=a@b",
        "mongodb://u:p@h1,h2:1/?appName=a@b",
        "mongodb://u:p@%2Ftmp%2Fmongodb.sock/db",
        "mongodb://u@h/db",
        "mongodb://u:ge%40heim@h1:1,h2:2/db?authSource=admin",
        "mongodb+srv://u:p@cluster.example/",
        "mongodb://h:port/",
    ],
)
def test_what_is_escaped_or_needs_not_be(uri: str) -> None:
    assert Settings(uri=SecretStr(uri)).uri is not None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("maxPoolSize=geheim", "the value of maxpoolsize must be an integer"),
        ("readPreference=geheim", "… is not a valid read preference"),
        ("tls=geheim", "the value of tls must be 'true' or 'false'"),
    ],
)
def test_an_option_that_the_driver_would_pass_over_is_refused(options: str, words: str) -> None:
    done = ran("check", "--uri", f"mongodb://127.0.0.1:1/db?{options}")
    assert done.exit_code == 1
    _, _, why = told(done).partition("the MongoDB URI has an option that cannot be used: ")
    assert why.startswith(words)
    assert "geheim" not in why


def test_options_that_are_unknown_or_given_twice_are_told(caplog: pytest.LogCaptureFixture) -> None:
    uri = "mongodb://127.0.0.1:1/db?serverSelectionTimeoutMS=100&useUnifiedTopology=geheim&w=1&w=2"
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a warning of Python names a file and no server
        done = ran("check", "--uri", uri)
    assert "the database cannot be reached" in told(done)
    lines = [record.getMessage() for record in caplog.records if "the MongoDB URI" in record.getMessage()]
    assert lines == [
        "the MongoDB URI: duplicate URI option 'w'; the last one counts",
        "the MongoDB URI: unknown option: useunifiedtopology; it is not used",
    ]


# --- the commands ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_there_by_its_name(name: str) -> None:
    done = ran(name, "--help")
    assert done.exit_code == 0
    assert f"doorleaf {name}" in done.output or f"root {name}" in done.output


def test_data_is_printed_as_json_when_asked(tmp_path: Path) -> None:
    made = json.loads(ran("keys", "create", "app", "--role", "r", "--expires", "90d", "--json").stdout)
    assert re.fullmatch("dl_[A-Za-z0-9]{64}", made.pop("key"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", made.pop("expires"))
    assert made == {"name": "app", "admin": False, "roles": ["r"]}
    [listed] = json.loads(ran("keys", "list", "--json").stdout)
    assert (listed["name"], listed["state"], listed["roles"], listed["last_used"]) == ("app", "active", ["r"], None)
    assert set(json.loads(ran("keys", "rotate", "app", "--json").stdout)) == {"name", "key"}
    assert json.loads(ran("keys", "usage", "app", "--json").stdout) == []
    made = CliRunner().invoke(app, ["users", "create", "a@b.example", "--json"], input="passwort\n")
    person = json.loads(made.stdout)
    assert json.loads(ran("users", "list", "--json").stdout)[0]["id"] == person["id"]
    assert json.loads(ran("users", "sessions", person["id"], "--json").stdout) == []
    shown = {item["setting"]: item for item in json.loads(ran("settings", "--json").stdout)}
    assert shown["port"] == {"setting": "port", "value": "3000", "from": "default"}
    assert set(json.loads(ran("version", "--json").stdout)) == {"doorleaf", "python"}
