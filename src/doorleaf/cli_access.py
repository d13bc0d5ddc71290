"""``doorleaf import-app`` and ``doorleaf explain``: rules brought along, and what they decide."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from doorleaf import ejson
from doorleaf.access.apps import Note, load_app
from doorleaf.access.identity import Identity
from doorleaf.access.importing import settings_for
from doorleaf.access.rules.explain import explain
from doorleaf.access.rules.load import load_rules
from doorleaf.dialects.decode import Decoder
from doorleaf.errors import DoorleafError
from doorleaf.loading import SettingsError, load
from doorleaf.operations import OPERATIONS

app = typer.Typer()

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


def merged(text: str, settings: Mapping[str, Any]) -> str:
    """A settings file with ``settings`` added: plain ones in front of its first table, tables at the end."""
    plain = {name: value for name, value in settings.items() if not isinstance(value, dict)}
    tables = {name: value for name, value in settings.items() if isinstance(value, dict)}
    lines = text.splitlines(keepends=True)
    first = next((place for place, line in enumerate(lines) if line.lstrip().startswith("[")), len(lines))
    before, after = "".join(lines[:first]), "".join(lines[first:])
    parts = [before.rstrip("\n"), toml(plain).rstrip("\n"), after.rstrip("\n"), toml(tables).rstrip("\n")]
    return "\n\n".join(part for part in parts if part) + "\n"


def toml(settings: Mapping[str, Any]) -> str:
    """Settings as TOML: plain values first, then a table for each mapping."""
    return "\n".join(_lines(settings, ())) + "\n" if settings else ""


def _lines(table: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    for name, value in table.items():
        if not isinstance(value, Mapping):
            yield f"{_key(name)} = {_value(value)}"
    for name, value in table.items():
        if isinstance(value, Mapping):
            inner = (*path, name)
            if not value or any(not isinstance(item, Mapping) for item in value.values()):
                yield f"\n[{'.'.join(map(_key, inner))}]"
            yield from _lines(value, inner)


def _key(name: str) -> str:
    return name if name and all(c.isascii() and (c.isalnum() or c in "-_") for c in name) else _value(name)


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(name)} = {_value(item)}" for name, item in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return json.dumps(value)


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
    decoder = Decoder(OPERATIONS[action], lambda source: settings.database_of(source or settings.default_source))
    stored = None if document is None else _json(document, "--document")
    told = explain(load_rules(settings), decoder(_json(text, "the body")), identity, stored)
    typer.echo(json.dumps(json.loads(ejson.dumps(told, ejson.Mode.RELAXED)), indent=2, ensure_ascii=False))


def _json(text: str, where: str) -> dict[str, Any]:
    try:
        return ejson.loads(text.encode())
    except ValueError as error:
        raise SettingsError(f"{where}: {error}") from None
