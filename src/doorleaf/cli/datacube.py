"""``doorleaf datacube``: the databases that users own."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from doorleaf.access.datacube.databases import Database
from doorleaf.cli.database import with_directory
from doorleaf.cli.loading import located
from doorleaf.cli.shared import Json, console, dated, listing
from doorleaf.errors import NotFound
from doorleaf.settings.load import SettingsError
from doorleaf.settings.model import Settings

app = typer.Typer(help="List the databases that users own, and free one.", no_args_is_help=True, add_completion=False)


@app.command("list")
@located
def list_databases(settings: Settings, as_json: Json = False) -> None:
    """List the databases of all users."""

    async def read(found: Any) -> list[tuple[Database, str]]:
        listed = await found.owned.databases.all()
        owners = {one.user_id for one in listed}
        names = {owner: str((await found.accounts.profile(owner)).get("email", "")) for owner in owners}
        return [(one, names[one.user_id]) for one in listed]

    rows = []
    for one, email in with_directory(settings, read, looks=True):
        row: dict[str, Any] = {"id": one.id, "name": one.name, "owner": one.user_id, "email": email or None}
        row |= {"database": one.physical, "collections": one.size, "created": one.created}
        cells = [one.id, one.name, email or one.user_id, one.physical, str(one.size), dated(one.created)]
        rows.append((row, cells))
    listing(("Id", "Name", "Owner", "Database", "Collections", "Created"), rows, as_json)


@app.command("free")
@located
def free_database(
    settings: Settings,
    identifier: Annotated[str, typer.Argument(metavar="ID", help="The database's id.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Drop a database of a user for good, with all that is in it; its name is free again."""

    async def find(found: Any) -> Database:
        listed: list[Database] = await found.owned.databases.all()
        chosen = next((one for one in listed if one.id == identifier), None)
        if chosen is None:
            raise NotFound("there is no such database; doorleaf datacube list has their ids", code="DatabaseNotFound")
        return chosen

    database: Database = with_directory(settings, find, looks=True)
    if not yes and not typer.confirm(f"Drop {database.name} of the user {database.user_id} for good?"):
        raise SettingsError("nothing was dropped")
    with_directory(settings, lambda found: found.owned.drop(database))
    console().print(f"Freed: {database.name}.")
