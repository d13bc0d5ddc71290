"""``doorleaf backup`` and ``doorleaf restore``: an embedded database as one file, and back."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from doorleaf.cli.progress import Progress, progress
from doorleaf.cli.shared import Config, DataDir, Json, console, print_json
from doorleaf.errors import StoreUnavailable
from doorleaf.settings.load import SettingsError, load
from doorleaf.settings.model import Settings
from doorleaf.stores.embedded.file import backup as backups
from doorleaf.stores.embedded.file.storage import FILE
from doorleaf.transfer.files import compression_of, opened, sink

app = typer.Typer(add_completion=False)

DataSource = Annotated[
    str | None, typer.Option("--data-source", help="One of several data sources.", show_default="the default one")
]


@app.command()
def backup(
    file: Annotated[str, typer.Argument(help="File to write; compressed where it ends in .gz or .zst.")],
    as_json: Json = False,
    data_source: DataSource = None,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Copy the embedded database into one file, also while servers have it open.

    The copy is of one moment, and checked whole. Beside FILE there has to be room for a second copy meanwhile.
    """
    folder = _folder(load({"data_dir": data_dir}, config=config), data_source)
    if not (folder / FILE).exists():
        raise StoreUnavailable(f"there is no database in {folder.absolute()}")
    beside = Path(file).absolute().parent if file != "-" else folder
    backups.require_room(folder, beside)
    with (
        tempfile.TemporaryDirectory(prefix=".backup-", dir=beside) as work,
        sink(file, compression_of(file)) as target,
        progress(f"backup {folder}", None) as told,
    ):
        done = backups.backup(folder, target, Path(work), _bytes(told))
    _tell("is written", file, done, as_json=as_json, to_error=file == "-")


@app.command()
def restore(
    file: Annotated[str, typer.Argument(help="File that doorleaf backup wrote; - is standard input.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Keep a database that is there under another name.")
    ] = False,
    as_json: Json = False,
    data_source: DataSource = None,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Make the embedded database that of a backup. No server may have the data folder open.

    Nothing is changed unless the whole backup is sound.
    """
    folder = _folder(load({"data_dir": data_dir}, config=config), data_source)
    with contextlib.closing(opened(file)) as source, progress(f"restore {folder}", None) as told:
        done = backups.restore(source.read, folder, _bytes(told), replace=replace)
    _tell(f"is restored into {folder}", file, done, as_json=as_json)


def _folder(settings: Settings, named: str | None) -> Path:
    """The data folder of an embedded data source."""
    name = named or settings.default_source
    source = settings.sources.get(name)
    if source is None:
        raise SettingsError(f"--data-source: there is no {name!r}; known are {', '.join(settings.sources)}")
    if source.data_dir is None:
        raise SettingsError(f"the data source {name} is a MongoDB, which its own tools back up (mongodump)")
    return source.data_dir


def _bytes(told: Progress) -> backups.Tell:
    return lambda done, total: told(0, done, total)


def _tell(what: str, file: str, done: backups.Copied, *, as_json: bool, to_error: bool = False) -> None:
    if as_json and not to_error:
        print_json({"file": file, "created": done.created, "files": done.files})
        return
    size = sum(done.files.values())
    console(stderr=to_error).print(f"{file}, of {done.created}, {what}: {size:,} bytes, all of it checked")
