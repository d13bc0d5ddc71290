"""A sound file made of what can be read of a damaged one, which stays as it is under another name.

Everything is read from a copy. What is saved is what can be proven: documents that are as they were written, by their
checksums. Indexes and counts are made anew from them. What is lost or doubtful is told, and doubtful documents are put
into the report as they were found.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO
from zlib import crc32

import apsw
import bson
from bson.errors import BSONError

from doorleaf.documents import CODEC, Document
from doorleaf.errors import DataError, StoreUnavailable
from doorleaf.mql.context import Context
from doorleaf.operations import Namespace
from doorleaf.stores.embedded.administration import make_collection
from doorleaf.stores.embedded.catalog import CONSTANTS, Collection, sum_of
from doorleaf.stores.embedded.encoding import decode
from doorleaf.stores.embedded.file.storage import APPLICATION_ID, Session, Storage
from doorleaf.stores.embedded.indexes import ID_INDEX, add_index, build
from doorleaf.stores.embedded.writing.rows import Rows, Transaction

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows
    fcntl = None  # type: ignore[assignment]

BATCH = 1_000

_SHARED, _SHARED_BYTES = 0x40000002, 510
"""Where in a file SQLite locks it while it is open."""

_UNREADABLE = (apsw.Error, BSONError, UnicodeDecodeError, ValueError, TypeError)


@dataclass(slots=True)
class Outcome:
    """The outcome for a file: ``kept`` is the damaged one's new name, ``report`` has the details."""

    documents: int = 0
    lost: list[str] = field(default_factory=list)
    doubtful: int = 0
    kept: Path | None = None
    report: Path | None = None


@dataclass(slots=True)
class _Found:
    """A collection of the damaged file; ``name`` is made up where its row in the catalog is gone."""

    number: int
    database: str
    name: str
    options: Document = field(default_factory=dict)
    indexes: list[tuple[int, Document]] = field(default_factory=list)


def repair(path: Path) -> Outcome:
    """Put a sound file in the place of the one at ``path``. Nobody else may have it open."""
    folder, outcome = path.parent, Outcome()
    stamp = time.strftime("%Y%m%d-%H%M%S")
    while (told := folder / f"repair-{stamp}.jsonl").exists():  # that of the other file
        stamp += "-2"
    outcome.report = told
    try:
        with alone(path) as file, tempfile.TemporaryDirectory(prefix=".repair-", dir=folder) as work:
            copy = _copied(path, file, Path(work))
            with open(outcome.report, "x", opener=_private) as report:
                made = _make(copy, Path(work) / "sound", outcome, report)
                os.fsync(report.fileno())
            if outcome.lost and not outcome.documents:
                outcome.report.unlink()
                raise StoreUnavailable(f"nothing can be read of the database file {path}: {outcome.lost[0]}")
            outcome.kept = _exchange(path, made, stamp)
    except OSError as error:
        raise StoreUnavailable(f"cannot repair the database file {path}: {error.strerror}") from error
    return outcome


def _copied(path: Path, file: BinaryIO, work: Path) -> Path:
    """A copy of the damaged file and its log."""
    copy = work / "damaged"
    with copy.open("wb") as out:
        shutil.copyfileobj(file, out)  # to open the file again, and close it, would end its lock
    with copy.open("r+b") as out:
        _mend_header(out)
    log = path.with_name(f"{path.name}-wal")
    if log.exists():
        shutil.copyfile(log, f"{copy}-wal")
    return copy


def _mend_header(file: BinaryIO) -> None:
    """Write what is the same in every file of ours, and how many pages this one has."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = bytearray(file.read(100).ljust(100, b"\x00"))
    head[:24] = b"SQLite format 3\x00" + bytes((0x10, 0x00, 2, 2, 0, 64, 32, 32))
    head[28:32] = (size // 4096).to_bytes(4, "big")
    head[32:40] = bytes(8)  # no unused pages: nothing is written into this copy
    head[44:48], head[56:60] = (4).to_bytes(4, "big"), (1).to_bytes(4, "big")
    head[68:72], head[92:96] = APPLICATION_ID.to_bytes(4, "big"), head[24:28]
    head[72:92] = bytes(20)
    file.seek(0)
    file.write(head)


def _make(copy: Path, folder: Path, outcome: Outcome, report: Any) -> Path:
    """A sound file in ``folder``, of what is in ``copy``."""
    storage = Storage(folder, "OFF")
    storage.prepare()
    session = storage.session(writing=True)
    source = apsw.Connection(str(copy))
    try:
        for found in _collections(source, outcome):
            _save(source, session, found, outcome, report)
        with contextlib.suppress(*_UNREADABLE):  # a file of an earlier version has no other beside it
            session.execute("UPDATE state SET system = ?", (source.execute("SELECT system FROM state").get,))
    finally:
        source.close()
        session.close()
        storage.close()
    for problem in outcome.lost:
        report.write(json.dumps({"problem": problem}) + "\n")
    return storage.path


# --- reading what is damaged -----------------------------------------------------------------------------------------


def _collections(source: apsw.Connection, outcome: Outcome) -> list[_Found]:
    found = {each.number: each for each in _named(source, outcome)}
    for (name,) in _rows(source, "SELECT name FROM sqlite_schema WHERE name GLOB 'd[0-9]*'", outcome, "the schema"):
        number = int(name[1:]) if name[1:].isdigit() else 0
        if number and number not in found:
            outcome.lost.append(f"the name of the collection in table {name}: it is recovered.{name} now")
            found[number] = _Found(number, "recovered", name)
    statement = "SELECT id, collection, specification, arrays, sum FROM indexes ORDER BY id"
    for number, owner, specification, arrays, checksum in _rows(source, statement, outcome, "the list of indexes"):
        try:
            if owner not in found or sum_of(number, owner, specification, arrays) != checksum:
                raise ValueError
            found[owner].indexes.append((number, bson.decode(specification, CODEC)))
        except _UNREADABLE:
            outcome.lost.append(f"the index in table i{number}: its description is not as it was written")
    return list(found.values())


def _named(source: apsw.Connection, outcome: Outcome) -> Iterator[_Found]:
    statement = "SELECT id, database, name, options, sum FROM collections"
    for number, database, name, options, checksum in _rows(source, statement, outcome, "the list of collections"):
        try:
            if sum_of(number, database, name, options) != checksum:
                raise ValueError
            yield _Found(number, database, name, bson.decode(options, CODEC))
        except _UNREADABLE:
            outcome.lost.append(f"the name of the collection in table d{number}: it is not as it was written")


def _rows(source: apsw.Connection, statement: str, outcome: Outcome, what: str) -> Iterator[Any]:
    try:
        yield from source.execute(statement)
    except _UNREADABLE as error:
        outcome.lost.append(f"a part of {what}: {error}")


def _documents(source: apsw.Connection, found: _Found) -> Iterator[tuple[int, Any, Any]]:
    """Every row of a collection that can be read: from its beginning, from its end, and by what its indexes know."""
    table = f"d{found.number}"
    statement = f"SELECT id, document, sum FROM {table} ORDER BY id"  # noqa: S608 - an integer id
    seen: set[int] = set()
    for order in ("ASC", "DESC"):
        with contextlib.suppress(*_UNREADABLE):
            for row, document, checksum in source.execute(f"{statement} {order}"):
                if row not in seen:
                    seen.add(row)
                    yield row, document, checksum
            return
    known: set[int] = set()
    for number, _ in found.indexes:
        with contextlib.suppress(*_UNREADABLE):
            known.update(row for (row,) in source.execute(f"SELECT row FROM i{number}"))  # noqa: S608
    for row in sorted(known - seen):
        with contextlib.suppress(*_UNREADABLE):
            yield from source.execute(f"SELECT id, document, sum FROM {table} WHERE id = ?", (row,))  # noqa: S608


# --- writing what is sound -------------------------------------------------------------------------------------------


def _save(source: apsw.Connection, session: Session, found: _Found, outcome: Outcome, report: Any) -> None:
    session.execute("BEGIN IMMEDIATE")
    session.refresh()
    transaction = Transaction(session)
    namespace = Namespace(found.database, found.name)
    options = {name: value for name, value in found.options.items() if name != CONSTANTS}  # these may be others now
    collection = make_collection(transaction, namespace, options)
    rows = Rows(transaction, collection, Context())
    insert = f"INSERT INTO {collection.table} (id, document, sum) VALUES (?, ?, ?)"  # noqa: S608 - an integer id
    saved = 0
    for row, encoded, checksum in _documents(source, found):
        try:
            if crc32(encoded) != checksum:
                raise ValueError("it is not as it was written")
            document = decode(encoded)
            with transaction.attempt():
                session.execute(insert, (row, encoded, checksum))
                rows.index(ID_INDEX["name"], row, document)
                transaction.count(collection, 1, len(encoded))
            saved += 1
        except (DataError, *_UNREADABLE) as error:
            outcome.doubtful += 1
            _report(report, collection, row, encoded, error)
        if saved % BATCH == 0:
            transaction.finish()
            session.execute("COMMIT")
            session.execute("BEGIN IMMEDIATE")
    for _, specification in found.indexes:
        if specification["name"] != ID_INDEX["name"]:
            _index(transaction, namespace, specification, outcome)
    transaction.finish()
    session.execute("COMMIT")
    session.storage.latest = session.catalog
    outcome.documents += saved
    _compare(source, found, saved, outcome)


def _report(report: Any, collection: Collection, row: Any, encoded: Any, error: Exception) -> None:
    why = error.message if isinstance(error, DataError) else str(error)
    line = {"collection": collection.namespace, "row": row, "problem": why.splitlines()[0][:200]}
    if isinstance(encoded, bytes):
        line["bson"] = base64.b64encode(encoded).decode()
    report.write(json.dumps(line) + "\n")


def _index(transaction: Transaction, namespace: Namespace, specification: Document, outcome: Outcome) -> None:
    collection = transaction.session.catalog.get(namespace)
    assert collection is not None  # noqa: S101  # it was made just now
    try:
        with transaction.attempt():
            build(transaction, add_index(transaction, collection, specification), specification["name"], Context())
    except DataError as error:
        outcome.lost.append(f"the index {specification['name']} of {collection.namespace}: {error.message}")


def _compare(source: apsw.Connection, found: _Found, saved: int, outcome: Outcome) -> None:
    """Tell when there were more documents, by the count that was kept."""
    with contextlib.suppress(*_UNREADABLE):
        kept = source.execute("SELECT documents FROM counts WHERE collection = ?", (found.number,)).get
        if isinstance(kept, int) and kept > saved:
            outcome.lost.append(f"{kept - saved} of {kept} documents of {found.database}.{found.name}")


# --- files -----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def alone(path: Path) -> Iterator[BinaryIO]:
    """Keep others from opening the file; raises ``StoreUnavailable`` when somebody has it open."""
    with path.open("r+b") as file:
        if fcntl is not None:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, _SHARED_BYTES, _SHARED)
            except OSError:
                raise StoreUnavailable(
                    f"the database file {path} is open in another process: stop the server first"
                ) from None
        yield file


def _exchange(path: Path, made: Path, stamp: str) -> Path:
    """Give the damaged file and its log other names, and the sound one its place; the damaged one's new name."""
    kept = path.with_name(f"{path.name}.damaged-{stamp}")
    log = path.with_name(f"{path.name}-wal")
    with made.open("rb") as file:
        os.fsync(file.fileno())
    if log.exists():
        log.rename(kept.with_name(f"{kept.name}-wal"))
    path.rename(kept)
    made.rename(path)
    path.with_name(f"{path.name}-shm").unlink(missing_ok=True)
    return kept


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
