"""``doorleaf compact`` and ``doorleaf repair``: the files of an embedded database."""

from __future__ import annotations

from pathlib import Path

import typer

from doorleaf.cli.loading import load
from doorleaf.cli.shared import Config, DataDir, Json, console, print_json
from doorleaf.errors import StoreUnavailable
from doorleaf.settings.model import Settings
from doorleaf.stores.embedded.file import verify
from doorleaf.stores.embedded.file.compacting import compact as compact_file
from doorleaf.stores.embedded.file.files import Files, begin_without, there
from doorleaf.stores.embedded.file.repair import Outcome
from doorleaf.stores.embedded.file.repair import repair as repair_file
from doorleaf.stores.embedded.file.sqlite import DamagedDatabase
from doorleaf.stores.embedded.file.storage import FILE, FORMAT, SYSTEM_FILE, Storage

app = typer.Typer(add_completion=False)


@app.command()
def compact(config: Config = None, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Write the embedded database anew without the space that deleted documents have left.

    Servers that have it open go on reading, and wait with writing. The disk needs as much space again.
    """
    done = []
    settings = load({"data_dir": data_dir}, config=config)
    for name, folder in _folders(settings):
        files = Files(folder, database=settings.system_database)
        files.prepare()
        for storage in (files.main, files.system):
            before, after = compact_file(storage)
            done.append({"data_source": name, "file": str(storage.path), "before": before, "after": after})
            if not as_json:
                console().print(
                    f"data source {name}: {storage.path.name} has {after:,} bytes, and had {before:,}", soft_wrap=True
                )
    if as_json:
        print_json(done)


@app.command()
def repair(config: Config = None, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Make a sound database of what can be read of a damaged one, which is kept under another name.

    No server may have it open. The disk needs twice as much space again. What could not be saved is told, and written
    to a report beside the database.
    """
    done = []
    for name, folder in _folders(load({"data_dir": data_dir}, config=config)):
        for path in there(folder):
            outcome = None if _is_sound(path) else repair_file(path)
            told = {"data_source": name, "file": str(path), "repaired": outcome is not None}
            if outcome is not None:
                told |= {"documents": outcome.documents, "doubtful": outcome.doubtful, "lost": outcome.lost}
                told |= {"kept": str(outcome.kept), "report": str(outcome.report)}
            done.append(told)
            if not as_json:
                _tell(name, path, outcome)
        if begin_without(folder):
            path, lost = folder / SYSTEM_FILE, ["all keys, users and accounts: their file was missing"]
            done.append({"data_source": name, "file": str(path), "repaired": True, "documents": 0, "lost": lost})
            if not as_json:
                console().print(f"data source {name}: lost: {lost[0]}")
    if as_json:
        print_json(done)


def _is_sound(path: Path) -> bool:
    try:
        return Storage(path.parent, file=path.name).inspect() < FORMAT or not verify.file(path)
    except DamagedDatabase:
        return False


def _tell(name: str, path: Path, outcome: Outcome | None) -> None:
    say = console().print
    if outcome is None:
        say(f"data source {name}: the file {path.name} is sound, nothing was done")
        return
    say(f"data source {name}: {outcome.documents:,} documents are in a sound file; the damaged one is {outcome.kept}")
    for problem in outcome.lost:
        say(f"lost: {problem}")
    if outcome.doubtful:
        say(f"doubtful: {outcome.doubtful:,} documents, which are in {outcome.report}")
    if not outcome.lost and not outcome.doubtful:
        say("nothing was lost")


def _folders(settings: Settings) -> list[tuple[str, Path]]:
    """The embedded data sources that have a file, by name."""
    found = [(name, source.data_dir) for name, source in settings.sources.items() if source.data_dir]
    there = [(name, folder) for name, folder in found if (folder / FILE).exists()]
    if not there:
        places = ", ".join(str(folder) for _, folder in found) or "these settings"
        raise StoreUnavailable(f"there is no embedded database in {places}")
    return there
