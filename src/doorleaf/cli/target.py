"""Where ``doorleaf import`` and ``export`` find a collection: at a running server, or where settings lead to."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from doorleaf.operations import Namespace
from doorleaf.settings.error import SettingsError
from doorleaf.transfer.importing import Execute
from doorleaf.transfer.outline import KINDS
from doorleaf.transfer.remote import Server

KINDS_HELP = f"{', '.join(KINDS)}."

Url = Annotated[str | None, typer.Option("--url", help="A running server, such as https://data.example.org.")]
Key = Annotated[str | None, typer.Option("--key", help="API key for --url.", show_default="$DOORLEAF_KEY")]
DataSource = Annotated[
    str | None, typer.Option("--data-source", help="One of several data sources.", show_default="the default one")
]


@dataclass(frozen=True, slots=True)
class Target:
    """Where a collection is: at a server with ``url``, or where settings lead to."""

    url: str | None
    key: str | None
    uri: str | None
    data_dir: Path | None
    config: Path | None

    @asynccontextmanager
    async def open(self, *, makes: bool) -> AsyncIterator[Execute]:
        """A function that carries out operations there. Only who ``makes`` documents may make a database for them."""
        if self.url is not None:
            if self.uri is not None or self.data_dir is not None:
                raise SettingsError("--url: cannot be combined with --uri or --data-dir")
            server = Server(self.url, self.key or os.environ.get("DOORLEAF_KEY", ""))
            with contextlib.closing(server):
                yield server.execute
            return
        if self.key is not None:
            raise SettingsError("--key: is for --url; a database that is opened here needs none")
        # Who speaks to a server loads neither stores nor settings, which takes half of a small import.
        from doorleaf.cli.service import service_for
        from doorleaf.settings.load import load

        settings = load({"uri": self.uri, "data_dir": self.data_dir}, config=self.config)
        async with service_for(settings, makes=makes) as execute:
            yield execute


def namespace_of(text: str, data_source: str | None) -> Namespace:
    """``DATABASE.COLLECTION``; everything behind the first dot is the collection."""
    database, _, collection = text.partition(".")
    if not database or not collection:
        raise SettingsError(f"expected DATABASE.COLLECTION, got {text!r}")
    return Namespace(database, collection, data_source)


def listed(text: str | None) -> list[str] | None:
    """The parts of ``a,b,c``."""
    return None if text is None else [name.strip() for name in text.split(",")]
