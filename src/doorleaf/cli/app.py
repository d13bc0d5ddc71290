"""``doorleaf import-app`` and ``doorleaf explain``: rules brought along, and what they decide."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from doorleaf import ejson
from doorleaf.access.app_services.exported import Note, load_app
from doorleaf.access.app_services.importing import settings_for
from doorleaf.access.callers import Caller, Identity
from doorleaf.access.rules.explain import explain
from doorleaf.access.rules.load import load_rules
from doorleaf.cli.loading import load
from doorleaf.errors import DoorleafError
from doorleaf.operations import OPERATIONS
from doorleaf.operations.decode import Decoder
from doorleaf.settings.load import SettingsError
from doorleaf.settings.write import merged, toml

app = typer.Typer(add_completion=False)

# --- import-app ------------------------------------------------------------------------------------------------------


@app.command("import-app")
def import_app(
    folder: Annotated[Path, typer.Argument(help="Folder that the App Services command line exported.")],
    into: Annotated[
        Path | None, typer.Option(help="Settings file to add the settings to.", show_default="standard output")
    ] = None,
) -> None:
    """Take over an exported App Services app: its rules, providers, values, addresses and origins.

    Reports line by line what was taken and what could not be.
    """
    exported = load_app(folder)
    settings = settings_for(exported)
    old = ""
    if into is not None and into.exists():
        old = into.read_text(encoding="utf-8")
        _leave_what_is_there(settings, old, into, exported.notes)
    for note in sorted(exported.notes, key=lambda note: not note.taken):
        typer.echo(f"{'taken    ' if note.taken else 'not taken'} {note.what}: {note.text}", err=True)
    if into is None:
        typer.echo(toml(settings), nl=False)
        return
    into.write_text(merged(old, settings), encoding="utf-8")
    typer.echo(f"{into} is written.", err=True)
    try:
        load_rules(load(config=into))
    except (SettingsError, DoorleafError) as error:
        typer.echo(f"It is not complete yet:\n{error}", err=True)


def _leave_what_is_there(settings: dict[str, Any], text: str, path: Path, notes: list[Note]) -> None:
    try:
        present = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: {error}") from None
    if "uri" in present and "data_sources" in settings:
        names = [name for source in settings.pop("data_sources").items() for name in _names(*source)]
        told = f"name your data source in data_sources instead of uri, with the names {', '.join(names)}"
        notes.append(Note(False, "data_sources", f"{path} has uri; {told}"))
    for name in [name for name in settings if name in present]:
        value = settings.pop(name)
        if value != present[name]:
            notes.append(
                Note(False, name, f"{path} has it already; the app's is {json.dumps(value, ensure_ascii=False)}")
            )


def _names(name: str, table: Mapping[str, Any]) -> Iterator[str]:
    yield name
    yield from table.get("aliases", [])


# --- explain ---------------------------------------------------------------------------------------------------------


@app.command("explain")
def explain_request(
    action: Annotated[str, typer.Argument(help="An action, such as findOne.")],
    body: Annotated[str, typer.Argument(help="The request's body, as JSON; @FILE reads a file.")],
    user: Annotated[str, typer.Option(help="The caller's id.")] = "0" * 24,
    kind: Annotated[str, typer.Option("--type", help="The caller's type: normal or server.")] = "normal",
    data: Annotated[str, typer.Option(help="The caller's data, as JSON.")] = "{}",
    custom_data: Annotated[str, typer.Option(help="The caller's custom data, as JSON.")] = "{}",
    role: Annotated[list[str] | None, typer.Option(help="A role of the caller's key.", show_default=False)] = None,
    document: Annotated[
        str | None, typer.Option(help="A stored document to judge, as JSON.", show_default=False)
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="Settings file.", show_default="./doorleaf.toml if it is there")
    ] = None,
) -> None:
    """Say what the rules make of a request: the role, the filter added, the fields hidden, the rule that refuses.

    No database is asked.
    """
    if action not in OPERATIONS:
        raise SettingsError(f"there is no action {action!r}")
    if kind not in ("normal", "server"):
        raise SettingsError("--type: expected normal or server")
    settings = load(config=config)
    identity = Identity(
        id=user,
        kind="server" if kind == "server" else "normal",
        provider="api-key" if kind == "server" else "local-userpass",
        data=_json(data, "--data"),
        custom_data=_json(custom_data, "--custom-data"),
        roles=tuple(role or ()),
    )
    text = Path(body[1:]).read_text(encoding="utf-8") if body.startswith("@") else body
    decoder = Decoder(OPERATIONS[action], settings.places)
    stored = None if document is None else _json(document, "--document")
    told = explain(load_rules(settings), decoder(_json(text, "the body")), Caller(identity), stored)
    typer.echo(json.dumps(json.loads(ejson.dumps(told, ejson.Mode.RELAXED)), indent=2, ensure_ascii=False))


def _json(text: str, where: str) -> dict[str, Any]:
    try:
        return ejson.loads(text.encode())
    except ValueError as error:
        raise SettingsError(f"{where}: {error}") from None
