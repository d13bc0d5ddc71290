"""``doorleaf triggers``: how an app's triggers are, and letting one go on."""

from __future__ import annotations

from typing import Annotated

import typer

from doorleaf.access.identity.directory import Directory
from doorleaf.cli.database import with_directory
from doorleaf.cli.functions import loaded_app
from doorleaf.cli.loading import load
from doorleaf.cli.shared import App, Config, DataDir, Json, Uri, complain, console, dated, listing
from doorleaf.functions.load import Loaded
from doorleaf.functions.triggers.records import Records

app = typer.Typer(help="Look after the triggers of an app.", no_args_is_help=True, add_completion=False)


def _records(directory: Directory, loaded: Loaded) -> Records:
    return Records(directory.system, loaded.app.app_id or "", directory.audit)


@app.command("list")
def list_triggers(
    as_json: Json = False, app: App = None, config: Config = None, uri: Uri = None, data_dir: DataDir = None
) -> None:
    """List the triggers: what each calls, how it is, and what went wrong."""
    settings = load({"app": app, "uri": uri, "data_dir": data_dir}, config=config)
    loaded = loaded_app(settings)
    found = with_directory(settings, lambda directory: _records(directory, loaded).listed(loaded.triggers), looks=True)
    columns = ("NAME", "TYPE", "FUNCTION", "STATE", "RAN", "NEXT", "ERROR")
    keys = ("name", "type", "function", "state")
    rows = [
        (it, (*(it[key] for key in keys), dated(it["ran"]), dated(it["next"]) if it["next"] else "", it["error"]))
        for it in found
    ]
    listing(columns, rows, as_json)
    for problem in loaded.problems:
        if problem.what.startswith("trigger"):
            complain(f"not in service: {problem}")


@app.command("resume")
def resume(
    name: Annotated[str, typer.Argument(help="The trigger's name.")],
    from_now: Annotated[bool, typer.Option("--from-now", help="Leave out what has happened until now.")] = False,
    app: App = None,
    config: Config = None,
    uri: Uri = None,
    data_dir: DataDir = None,
) -> None:
    """Let a suspended trigger go on where it was. Running servers do so within seconds."""
    settings = load({"app": app, "uri": uri, "data_dir": data_dir}, config=config)
    loaded = loaded_app(settings)
    with_directory(settings, lambda directory: _records(directory, loaded).resume(name, from_now=from_now))
    console(stderr=True).print(f"The trigger {name!r} goes on.")
