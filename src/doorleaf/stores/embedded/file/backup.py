"""A copy of the embedded database while it is in use, in one file, and a data folder made of such a copy.

The copy is a tar archive: a list of its files, with the size and the SHA-256 of each, and the files. SQLite copies them
a few pages at a time out of one snapshot of each, so that nobody waits meanwhile; only the write-ahead logs grow.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import IO, Any, Protocol, cast

import apsw

import doorleaf
from doorleaf.errors import StoreUnavailable
from doorleaf.stores.embedded.file import verify
from doorleaf.stores.embedded.file.files import flush_names, there
from doorleaf.stores.embedded.file.repair import alone
from doorleaf.stores.embedded.file.sqlite import DamagedDatabase, connect, opening_failure
from doorleaf.stores.embedded.file.storage import APPLICATION_ID, FILE, FORMAT, SYSTEM_FILE

STEP_PAGES = 1024
"""Pages that are copied at once: 4 MiB."""

MANIFEST = "doorleaf-backup.json"
_MOST_MANIFEST_BYTES = 1024 * 1024
_PIECE_BYTES = 1024 * 1024

NAMES = (FILE, SYSTEM_FILE)
"""The files that a data folder has."""


class Target(Protocol):
    """Something that takes bytes."""

    def write(self, data: bytes) -> Any: ...


Tell = Callable[[int, int], None]
"""Is told how many bytes of how many are done."""


@dataclass(slots=True)
class Copied:
    """The contents of a backup: when it was made, and the files by name with their sizes."""

    created: str
    files: dict[str, int]


def backup(folder: Path, target: Target, work: Path, tell: Tell) -> Copied:
    """Write a copy of the database in ``folder`` to ``target``; ``work`` is a folder with room for another copy of it.

    Every copy is checked whole before it is written. Raises ``StoreUnavailable``, ``DamagedDatabase`` for a file whose
    copy is not sound.
    """
    paths = [folder / name for name in NAMES]
    copies = [work / path.name for path in paths]
    with contextlib.ExitStack() as stack:
        sources = [stack.enter_context(_snapshot(path)) for path in paths]
        created = datetime.now(UTC).isoformat(timespec="seconds")
        total = sum(_size(source) for source in sources)
        done = 0
        for source, copy in zip(sources, copies, strict=True):
            _copy(source, copy, lambda size, before=done: tell(before + size, total))  # type: ignore[misc]
            done += _size(source)
    manifest: dict[str, Any] = {"doorleaf": doorleaf.__version__, "format": FORMAT, "created": created, "files": {}}
    for path, copy in zip(paths, copies, strict=True):
        problems = verify.file(copy)
        if problems:
            raise DamagedDatabase(f"the database file {path} is damaged: {problems[0]}")
        manifest["files"][path.name] = {"size": copy.stat().st_size, "sha256": _digest(copy)}
    with tarfile.open(fileobj=cast("IO[bytes]", target), mode="w|") as archive:
        text = json.dumps(manifest, indent=2).encode()
        _add(archive, MANIFEST, BytesIO(text), len(text))
        for copy in copies:
            with copy.open("rb") as file:
                _add(archive, copy.name, file, copy.stat().st_size)
    return Copied(created, {name: entry["size"] for name, entry in manifest["files"].items()})


@contextlib.contextmanager
def _snapshot(path: Path) -> Iterator[apsw.Connection]:
    """A connection that reads what the file ``path`` has at this moment."""
    try:
        with contextlib.closing(connect(path)) as connection:
            connection.set_busy_timeout(30_000)
            connection.execute("PRAGMA query_only = ON")
            connection.execute("BEGIN")
            if connection.execute("PRAGMA application_id").get != APPLICATION_ID:
                raise DamagedDatabase(f"the file {path} is no database of Doorleaf")
            version = connection.execute("PRAGMA user_version").get
            if version != FORMAT:
                raise StoreUnavailable(
                    f"the database file {path} has format {version}, and this version copies {FORMAT}:"
                    " start the server of this version on it once, or take the one that it belongs to"
                )
            yield connection
    except apsw.Error as error:
        raise opening_failure(path, error) from error


def _size(source: apsw.Connection) -> int:
    return int(source.execute("PRAGMA page_count").get * source.execute("PRAGMA page_size").get)


def _copy(source: apsw.Connection, copy: Path, tell: Callable[[int], None]) -> None:
    page = source.execute("PRAGMA page_size").get
    os.close(os.open(copy, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    with contextlib.closing(connect(copy)) as made:
        made.execute("PRAGMA synchronous = OFF")  # the archive is what is written through to the disk
        with made.backup("main", source, "main") as copying:
            while not copying.done:
                copying.step(STEP_PAGES)
                tell((copying.page_count - copying.remaining) * page)
        made.execute("PRAGMA journal_mode = DELETE")  # all of it in one file


def _add(archive: tarfile.TarFile, name: str, file: IO[bytes], size: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = size, 0o600, int(time.time())
    archive.addfile(entry, file)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# --- back again ------------------------------------------------------------------------------------------------------


def restore(read: Callable[[int], bytes], folder: Path, tell: Tell, *, replace: bool = False) -> Copied:
    """Make the database in ``folder`` the one of a backup; with ``replace`` one that is there keeps other names.

    Nothing is changed before all of the backup is read and checked. Raises ``StoreUnavailable`` for a folder that a
    server has open or that has a database, ``DamagedDatabase`` for a backup that is not as it was written.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with contextlib.ExitStack() as stack:
        _require_room(folder, stack, replace=replace)
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=".restore-", dir=folder)))
        manifest = _unpack(read, work, tell)
        for name in manifest["files"]:
            problems = verify.file(work / name)
            if problems:
                raise DamagedDatabase(f"the backup is not sound: {name}: {problems[0]}")
        _exchange(folder, work, list(manifest["files"]))
    return Copied(manifest["created"], {name: entry["size"] for name, entry in manifest["files"].items()})


def _require_room(folder: Path, stack: contextlib.ExitStack, *, replace: bool) -> None:
    """Keep others from opening what is in ``folder`` until ``stack`` ends."""
    for name in NAMES:
        path = folder / name
        log = path.with_name(f"{name}-wal")
        if path.exists():
            stack.enter_context(alone(path))
            if not replace:
                raise StoreUnavailable(
                    f"there is a database in {folder}: restore into another folder, or with --replace, which keeps"
                    " what is there under another name"
                )
        elif log.exists() and log.stat().st_size:
            raise StoreUnavailable(f"the log {log} is there without its database: move it away first")


def _unpack(read: Callable[[int], bytes], work: Path, tell: Tell) -> dict[str, Any]:
    """Put the files of a backup into ``work``; its manifest."""
    try:
        with tarfile.open(fileobj=cast("IO[bytes]", _Stream(read)), mode="r|") as archive:
            manifest = _manifest(archive)
            total, done = sum(entry["size"] for entry in manifest["files"].values()), 0
            while (member := archive.next()) is not None:
                entry = manifest["files"].get(member.name)
                file = archive.extractfile(member) if entry is not None and member.isreg() else None
                if entry is None or file is None or (work / member.name).exists():
                    raise DamagedDatabase(f"the backup is not sound: it has {member.name!r}, which is not in its list")
                with file, open(work / member.name, "xb", opener=_private) as out:
                    while piece := file.read(_PIECE_BYTES):
                        out.write(piece)
                        done += len(piece)
                        tell(done, total)
                    out.flush()
                    os.fsync(out.fileno())
    except (tarfile.TarError, EOFError) as error:
        raise DamagedDatabase(f"the backup is not sound, or is none: {error}") from None
    for name, entry in manifest["files"].items():
        path = work / name
        if not path.exists() or path.stat().st_size != entry["size"] or _digest(path) != entry["sha256"]:
            raise DamagedDatabase(f"the backup is not sound: {name} is not as it was written")
    return manifest


def _manifest(archive: tarfile.TarFile) -> dict[str, Any]:
    first = archive.next()
    file = archive.extractfile(first) if first is not None and first.name == MANIFEST else None
    if file is None or first is None or first.size > _MOST_MANIFEST_BYTES:
        raise DamagedDatabase("this is no backup of doorleaf backup")
    try:
        manifest = json.loads(file.read())
        format, files = manifest["format"], manifest["files"]
        sound = isinstance(manifest["created"], str) and all(
            name in NAMES and isinstance(entry["size"], int) and isinstance(entry["sha256"], str)
            for name, entry in files.items()
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        sound = False
    if not sound or set(files) != set(NAMES):
        raise DamagedDatabase("the backup is not sound: its list of files is not as it was written")
    if format != FORMAT:
        raise StoreUnavailable(
            f"the backup has format {format}, and this version restores {FORMAT}: restore it with Doorleaf"
            f" {manifest.get('doorleaf')}, and start this version on that folder"
        )
    return cast("dict[str, Any]", manifest)


class _Stream:
    """What ``tarfile`` reads: exactly so many bytes, fewer at the end alone."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self._held = b""

    def read(self, size: int) -> bytes:
        pieces, got = [self._held], len(self._held)
        while got < size and (piece := self._read(size - got)):
            pieces.append(piece)
            got += len(piece)
        whole = b"".join(pieces)
        self._held = whole[size:]
        return whole[:size]


def _exchange(folder: Path, work: Path, names: list[str]) -> None:
    """Give the files in ``work`` their places; what is there keeps the name with the time behind."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    for name in NAMES:
        for ending in ("-wal", ""):
            path = folder / f"{name}{ending}"
            if path.exists():
                path.rename(folder / f"{name}.before-{stamp}{ending}")
        (folder / f"{name}-shm").unlink(missing_ok=True)
    for name in names:
        try:
            os.link(work / name, folder / name)  # which takes no place that somebody has taken meanwhile
        except FileExistsError:
            raise StoreUnavailable(f"another process has made a database in {folder} meanwhile") from None
        except OSError:  # a file system without links
            (work / name).rename(folder / name)
    flush_names(folder)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def require_room(folder: Path, beside: Path) -> None:
    """Raise ``StoreUnavailable`` where the disk of ``beside`` has no room for two copies of the database."""
    size = sum(path.stat().st_size for path in there(folder))
    free = shutil.disk_usage(beside).free
    if free < 2 * size:
        raise StoreUnavailable(
            f"a backup takes up to {2 * size:,} bytes for a while, and {free:,} are free in {beside}"
        )
