"""The ``doorleaf`` command and what it does with mistakes.

A command's module is imported when that command runs, so that none waits for the modules of the others.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import doorleaf
from doorleaf.cli.shared import Json, complain, print_json, reason
from doorleaf.errors import DoorleafError

COMMANDS = {
    "serve": "serve",
    "check": "check",
    "compact": "file",
    "repair": "file",
    "settings": "settings",
    "openapi": "openapi",
    "keys": "keys",
    "users": "users",
    "datacube": "datacube",
    "tenants": "workspaces",
    "workspaces": "workspaces",
    "connectome": "connectome",
    "import": "imports",
    "functions": "functions",
    "secrets": "functions",
    "values": "functions",
    "triggers": "triggers",
    "export": "exports",
    "backup": "backup",
    "restore": "backup",
    "import-app": "app",
    "explain": "app",
}
"""The module in this folder that has each command."""


class Commands(TyperGroup):
    """The commands, each from its module."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [*COMMANDS, *self.commands]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return super().get_command(ctx, cmd_name)
        command: Any = typer.main.get_command(import_module(f"doorleaf.cli.{COMMANDS[cmd_name]}").app)
        found = getattr(command, "commands", {}).get(cmd_name, command)
        found.name = cmd_name  # a group whose module is all of it has none
        return found


app = typer.Typer(
    name="doorleaf",
    cls=Commands,
    help="A self-hosted MongoDB Data API: HTTP and JSON in front of any MongoDB, or of an embedded database.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _tell_version(asked: bool) -> None:
    if asked:
        typer.echo(f"doorleaf {doorleaf.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_tell_version, is_eager=True)
    ] = False,
) -> None:
    """Options of the command itself."""


@app.command()
def version(as_json: Json = False) -> None:
    """Print the version."""
    if as_json:
        print_json({"doorleaf": doorleaf.__version__, "python": sys.version.partition(" ")[0]})
    else:
        typer.echo(f"doorleaf {doorleaf.__version__}")


def main() -> None:
    """Run the command; what goes wrong is one line on standard error and exit code 1."""
    if sys.argv[1:] == ["version"]:  # scripts ask this often, and parsing options imports a third of a second
        typer.echo(f"doorleaf {doorleaf.__version__}")
        return
    try:
        app()
    except (DoorleafError, OSError, ValueError) as error:
        if os.environ.get("DOORLEAF_LOG_LEVEL", "").lower() == "debug":
            raise
        for line in reason(error).splitlines():
            complain(line)
        sys.exit(1)
