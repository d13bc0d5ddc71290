"""``doorleaf settings``: what is set, and where it comes from."""

from __future__ import annotations

import asyncio

import typer

from doorleaf.cli.loading import load
from doorleaf.cli.shared import Config, Json, listing
from doorleaf.errors import DoorleafError
from doorleaf.settings.model import Settings
from doorleaf.settings.show import shown
from doorleaf.stores.base import Ways
from doorleaf.stores.making import make_store

app = typer.Typer(add_completion=False)


@app.command("settings")
def show_settings(config: Config = None, as_json: Json = False) -> None:
    """Show every setting with its value and where that came from; secrets are masked."""
    settings = load(config=config)
    rows = [(name, shown(settings, name), origin) for name, origin in settings.origins.items()]
    ways = asyncio.run(_ways(settings))
    rows += [(f"way to {name}", way, "found out") for name, way in ways.items()]
    documents = (dict(zip(("setting", "value", "from"), row, strict=True)) for row in rows)
    listing(("Setting", "Value", "From"), zip(documents, rows, strict=True), as_json)


async def _ways(settings: Settings) -> dict[str, str]:
    """How operations would go to the data sources on MongoDB; no server is asked."""
    found = {}
    for name, source in settings.sources.items():
        if source.uri is not None:
            store = make_store(source, settings)
            try:
                await store.open()
                found[name] = store.way() if isinstance(store, Ways) else ""
            except DoorleafError as error:
                found[name] = f"none: {error.message}"
            finally:
                await store.close()
    return found
