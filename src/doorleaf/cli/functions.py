"""``doorleaf functions``, ``secrets`` and ``values``: an app's functions, and what they look up."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any, TypeVar

import typer

from doorleaf import ejson
from doorleaf.cli.database import with_directory
from doorleaf.cli.loading import load
from doorleaf.cli.shared import App, Config, DataDir, Json, Uri, complain, console, listing, print_json
from doorleaf.cli.target import Key
from doorleaf.errors import DoorleafError, PermissionDenied
from doorleaf.functions.load import Loaded, load_functions
from doorleaf.functions.secrets import Secrets
from doorleaf.observability import configure_logging
from doorleaf.settings.error import SettingsError
from doorleaf.settings.model import Settings
from doorleaf.transfer.remote import Server

T = TypeVar("T")

app = typer.Typer(add_completion=False)
functions = typer.Typer(help="Look at the functions of an app.", no_args_is_help=True, add_completion=False)
secrets = typer.Typer(help="Keep the secrets of an app.", no_args_is_help=True, add_completion=False)
values = typer.Typer(help="Look at the values of an app.", no_args_is_help=True, add_completion=False)
app.add_typer(functions, name="functions")
app.add_typer(secrets, name="secrets")
app.add_typer(values, name="values")

Name = Annotated[str, typer.Argument(help="The secret's name: letters, digits, _ and -.")]


def loaded_app(settings: Settings) -> Loaded:
    """The app that ``settings`` name. Raises SettingsError."""
    if settings.app is None:
        raise SettingsError("app: there is none; name the folder of an exported app with --app or in the settings")
    return load_functions(settings.app)


# --- functions -------------------------------------------------------------------------------------------------------


@functions.command("list")
def list_functions(as_json: Json = False, app: App = None, config: Config = None) -> None:
    """List the functions with their files, who may call them, and the endpoints that they answer."""
    loaded = loaded_app(load({"app": app}, config=config))
    columns = ("NAME", "FILE", "RUNS AS", "CLIENTS", "ENDPOINTS")
    rows = []
    for it in loaded.listed():
        clients = "no" if it["private"] else "yes"
        rows.append((it, (it["name"], it["file"], it["runs_as"], clients, ", ".join(it["endpoints"]))))
    listing(columns, rows, as_json)
    for problem in loaded.problems:
        complain(f"not in service: {problem}")


@functions.command("run")
def run(
    name: Annotated[str, typer.Argument(help="The function's name.")],
    arguments: Annotated[str, typer.Argument(help="Its arguments: a JSON array; Extended JSON counts.")] = "[]",
    user: Annotated[str | None, typer.Option(help="Run it as this user, by id.", show_default="the system")] = None,
    system: Annotated[bool, typer.Option("--system", help="Run it as the system.")] = False,
    app: App = None,
    config: Config = None,
    uri: Uri = None,
    data_dir: DataDir = None,
) -> None:
    """Run a function, whether clients may or not, and print what it answers."""
    from doorleaf.app import run_function  # the other commands here do not wait for a server

    if user is not None and system:
        raise SettingsError("--user and --system: only one can be")
    settings = load({"app": app, "uri": uri, "data_dir": data_dir}, config=config)
    loaded_app(settings)
    try:
        given = ejson.loads(f'{{"": {arguments}}}'.encode())[""]
    except (DoorleafError, KeyError):
        given = None
    if not isinstance(given, list):
        raise SettingsError("the arguments: expected a JSON array, such as '[1, \"x\"]'")
    configure_logging(settings.log_level)
    answer = asyncio.run(run_function(settings, name, given, user))
    print_json(json.loads(ejson.dumps({"": answer}, ejson.Mode.RELAXED))[""])


@functions.command("logs")
def logs(
    url: Annotated[str, typer.Option("--url", help="The running server.")] = "http://127.0.0.1:3000",
    key: Key = None,
    name: Annotated[str | None, typer.Option("--function", help="Only this one.", show_default="all")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as more comes.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print an object a line.")] = False,
) -> None:
    """Print the last calls of functions and what they logged, by a running server with all its workers."""
    with contextlib.closing(Server(url, key or os.environ.get("DOORLEAF_KEY", ""))) as server:
        for told in _events(server.follow("/api/admin/v1/functions/live"), endless=follow):
            if name in (None, told["function"]):
                typer.echo(json.dumps(told, ensure_ascii=False) if as_json else _line(told))


def _events(lines: Iterable[bytes], *, endless: bool) -> Iterator[dict[str, Any]]:
    """The events of a stream, up to now or without end; each has its kind in ``kind``."""
    kind = ""
    for line in lines:
        if line.startswith(b"event: "):
            kind = line[7:].decode().strip()
        elif line.startswith(b"data: "):
            told = {"kind": kind, **json.loads(line[6:])}
            if kind == "error":
                raise PermissionDenied(str(told["error"]))
            yield told
        elif line.startswith(b":") and not endless:
            return


def _line(told: Mapping[str, Any]) -> str:
    """An event as a line for people."""
    what = told["text"] if told["kind"] == "line" else f"{told['outcome']} in {told['seconds']} s by {told['caller']}"
    level = told["level"].upper() if told["kind"] == "line" else "CALL"
    return f"{told['time']} {level} {told['function']} [{told['request']}] {what}"


# --- secrets ---------------------------------------------------------------------------------------------------------


def _with_secrets(settings: Settings, use: Callable[[Secrets], Awaitable[T]], *, makes: bool = False) -> T:
    return with_directory(settings, lambda found: use(Secrets(found.system, settings, found.audit)), makes=makes)


@secrets.command("set")
def set_secret(
    name: Name,
    value: Annotated[
        str | None, typer.Option(help="The secret; others on this machine may see it.", show_default="standard input")
    ] = None,
    config: Config = None,
    uri: Uri = None,
    data_dir: DataDir = None,
) -> None:
    """Keep a secret, encrypted, in place of what has its name. Running servers have it within seconds."""
    text = sys.stdin.read().rstrip("\r\n") if value is None else value
    settings = load({"uri": uri, "data_dir": data_dir}, config=config)
    _with_secrets(settings, lambda found: found.set(name, text), makes=True)
    console(stderr=True).print(f"The secret {name!r} is kept.")


@secrets.command("list")
def list_secrets(as_json: Json = False, config: Config = None, uri: Uri = None, data_dir: DataDir = None) -> None:
    """List the names of the secrets; what they are is never shown."""
    names = _with_secrets(load({"uri": uri, "data_dir": data_dir}, config=config), lambda found: found.names())
    listing(("NAME",), [({"name": name}, (name,)) for name in names], as_json)


@secrets.command("delete")
def delete_secret(name: Name, config: Config = None, uri: Uri = None, data_dir: DataDir = None) -> None:
    """Forget a secret."""
    _with_secrets(load({"uri": uri, "data_dir": data_dir}, config=config), lambda found: found.delete(name))
    console(stderr=True).print(f"The secret {name!r} is gone.")


# --- values ----------------------------------------------------------------------------------------------------------


@values.command("list")
def list_values(as_json: Json = False, app: App = None, config: Config = None) -> None:
    """List the values of the app, and which secrets stand behind some of them."""
    exported = loaded_app(load({"app": app}, config=config)).app
    shown: dict[str, Any] = json.loads(ejson.dumps(exported.values, ejson.Mode.RELAXED))
    if as_json:
        print_json({"values": shown, "secrets": exported.secret_values})
        return
    told = {name: json.dumps(value, ensure_ascii=False) for name, value in shown.items()}
    told |= {name: f"the secret {secret}" for name, secret in exported.secret_values.items()}
    listing(("NAME", "VALUE"), [({}, (name, told[name])) for name in sorted(told)], as_json)
