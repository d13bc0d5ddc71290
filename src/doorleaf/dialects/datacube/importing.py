"""Whole files into a collection of the DataCube API, and what became of their rows."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Protocol
from weakref import WeakValueDictionary

import bson
from bson import Decimal128, Int64, ObjectId

from doorleaf.apart import Threads
from doorleaf.apart.turns import Turn, Turns
from doorleaf.dialects.about import About, Gives
from doorleaf.dialects.base import Request, Route
from doorleaf.dialects.datacube import data_models as models
from doorleaf.dialects.datacube import schemas
from doorleaf.dialects.datacube.databases import add_collections
from doorleaf.dialects.datacube.handling import PREFIXES, Made, finished
from doorleaf.dialects.datacube.models import LONGEST, CubeBody, mistake
from doorleaf.dialects.datacube.ownership import Cubes, Inside
from doorleaf.dialects.datacube.uploads import MOST_BYTES, Form, Room, put, read_again, read_form, temporary
from doorleaf.documents import CODEC, Document, ids_of
from doorleaf.errors import WriteFailed
from doorleaf.operations import DeleteMany, InsertMany, Operation
from doorleaf.transfer import json_file, ndjson
from doorleaf.transfer.files import Source, format_of
from doorleaf.transfer.importing import LARGE_ROW_BYTES, Batch, Importer, Plan, Report, take
from doorleaf.transfer.rows import Read, Row, Rows, Unreadable
from doorleaf.transfer.tables import Table

MOST_REJECTED = 100
"""Rejected rows that a report names."""
_LONGEST_REASON = 1_000
MOST_UNPACKED = 64 * 1024**3
"""What a compressed file may become."""
RUNNING = 2
"""Files that are put in at the same time in this process, each of another caller; others have their turns between
batches."""
SAMPLE = 100
"""Rows whose fields a new collection is declared with."""

_READING = Threads("importing", RUNNING, RUNNING)
_SECONDS = 60.0
"""How long a batch is read."""
_WAITS = 600.0
"""How long a file waits for its turn."""

_BATCH_BYTES = 1024 * 1024
_UNDONE = 1_000
_FORMATS = ("json", "ndjson", "csv", "tsv")
_FIELDS = ("database_id", "collection_name", "format", "all_or_nothing", "idempotency_key")
_KINDS = {"text/csv": "csv", "text/tab-separated-values": "tsv", "application/x-ndjson": "ndjson"}
_TYPES: dict[type, str] = {
    str: "string",
    bool: "boolean",
    int: "integer",
    Int64: "integer",
    float: "number",
    dict: "object",
    list: "array",
    datetime: "date",
    ObjectId: "objectid",
    Decimal128: "decimal128",
    type(None): "null",
}

IMPORT = About(
    name="cubeImport",
    tag="DataCube files",
    summary="Put a file into a collection",
    description="`multipart/form-data`: `database_id`, maybe `collection_name` (else the name of the file), and the "
    "file in `json_file`, which has an array of objects, objects one after another or one on each line, or CSV, maybe "
    "in gzip. `format`, `all_or_nothing` and `idempotency_key` may be fields too. A file that was put in with a key is "
    "answered as then when it is sent with that key again.",
    gives=Gives(content=models.CubeImported, status=201, description="Put in."),
    refuses=("DatabaseNotFound", "PermissionDenied", "MissingParameter", "UnsupportedMediaType", "IdempotencyConflict"),
)


class Reports(Protocol):
    """The keeper of answers to imports that came with a key; Conflict where that came with another file."""

    async def find(self, collection_id: str, key: str, asked: str) -> tuple[int, Document] | None: ...

    async def keep(
        self, place: tuple[str, str], key: str, asked: str, status: int, content: Mapping[str, Any]
    ) -> tuple[int, Document]: ...


def import_routes(cubes: Cubes, reports: Reports, folder: Path) -> list[Route]:
    """The routes of imports; files that come are in ``folder`` until they are in."""
    imports = Imports(cubes, reports, folder)
    return [
        Route(
            "POST",
            f"{prefix}/import_data",
            "import_data",
            handle=finished(imports.act, IMPORT),
            about=IMPORT,
            reads="stream",
            limit=MOST_BYTES,
            raw=True,
        )
        for prefix in PREFIXES
    ]


@dataclass(slots=True)
class _Asked:
    """What a form asks for."""

    collection: str
    format: str
    whole: bool
    key: str
    hash: str
    rejected: list[Document] = field(default_factory=list)


class Imports:
    """Carries out imports."""

    def __init__(self, cubes: Cubes, reports: Reports, folder: Path) -> None:
        self._cubes = cubes
        self._reports = reports
        self._alone: WeakValueDictionary[tuple[str, str, str], asyncio.Lock] = WeakValueDictionary()
        self._folder = folder
        self._turns = Turns(RUNNING, 1)
        self._room = Room()

    async def act(self, request: Request, given: Any) -> Made:
        """Read the form of ``request``, then put its file in."""
        with self._room.place(request.identity.shown), temporary(self._folder) as file:
            form = Form(file)

            async def seen(fields: dict[str, str]) -> None:
                if "database_id" in fields:
                    await self._cubes.enter(request, fields["database_id"], "write")

            await read_form(request, form, seen)
            if "database_id" not in form.fields:
                raise CubeBody.missing("database_id")
            asked = _asked(request, form)
            async with self._alone_with(form.fields["database_id"].lower(), asked):
                inside = await self._cubes.enter(request, form.fields["database_id"], "write")
                if not asked.key:
                    return await self._put_in(request, inside, form, asked)
                return await self._once(request, inside, form, asked)

    def _alone_with(self, database_id: str, asked: _Asked) -> AbstractAsyncContextManager[None]:
        """The turn of those who come with one key; without a key there is nobody to wait for."""
        place = (database_id, asked.collection, asked.key)
        return self._alone.setdefault(place, asyncio.Lock()) if asked.key else nullcontext()

    async def _once(self, request: Request, inside: Inside, form: Form, asked: _Asked) -> Made:
        """Put in a file that came with a key, unless it is in: then answer what was answered first."""
        known = inside.database.collection(asked.collection)
        if known is not None and (answer := await self._reports.find(known["id"], asked.key, asked.hash)):
            return Made(*answer)
        made = await self._put_in(request, inside, form, asked)
        if made.status >= 400:
            return made
        into = (await self._cubes.enter(request, inside.database.id, "write")).database.collection(asked.collection)
        if into is None:  # there was nothing to be put in
            return made
        place = (inside.database.id, into["id"])
        return Made(*await self._reports.keep(place, asked.key, asked.hash, made.status, made.content))

    async def _put_in(self, request: Request, inside: Inside, form: Form, asked: _Asked) -> Made:
        turn = _Turn(self._turns, request.identity.shown)
        try:
            return await self._in_turn(request, inside, form, asked, turn)
        finally:
            turn.end()

    async def _in_turn(self, request: Request, inside: Inside, form: Form, asked: _Asked, turn: _Turn) -> Made:
        sample, bad = await _looked_through(form, asked, turn)
        if bad and asked.whole:
            return _answer(asked, Report(), "nothing was put in: some rows cannot be")
        if sample and inside.database.collection(asked.collection) is None:
            fields = await _READING.run(_SECONDS, _fields, sample)
            made = {"name": asked.collection, "fields": fields, "enforce": False}
            await add_collections(self._cubes, inside, [made], request)
        sample.clear()  # which may be large
        undo = _Undo(inside, asked, self._folder) if asked.whole else None
        execute = _Watched(self._cubes, request, inside, undo)
        plan = _plan(inside, asked)
        importer = Importer(execute.run, plan, lambda report: None, lambda row: _reject(asked, row), turn.taken)
        try:
            with read_again(form.file) as file:
                report = await importer.run(await _READING.run(_SECONDS, _rows, file, asked))
            if undo is not None and (report.rejected or report.stopped):
                await undo.run()
                why = report.stopped if report.refused is not None else "some rows cannot be"
                return _answer(asked, Report(refused=report.refused), f"nothing was put in: {why}")
        except BaseException:
            if undo is not None:
                await undo.run()
            raise
        finally:
            if undo is not None:
                undo.close()
        return _answer(asked, report, "")


class _Turn:
    """A caller's turn to read: given back after each batch, unless that is one of large rows, of which memory holds
    few."""

    def __init__(self, turns: Turns, caller: str) -> None:
        self._turns = turns
        self._caller = caller
        self._turn: Turn | None = None

    async def taken(self, rows: Rows, most: int) -> Batch:
        """The next rows."""
        if self._turn is None:
            until = time.monotonic() + _WAITS
            self._turn = self._turns.try_take(self._caller) or await self._turns.take(self._caller, until)
        batch = await _READING.run(_SECONDS, take, rows, most)
        if all(row.size <= LARGE_ROW_BYTES for row in batch.rows):
            self.end()
        return batch

    def end(self) -> None:
        """Let others have it."""
        turn, self._turn = self._turn, None
        if turn is not None:
            turn.release()


class _Watched:
    """Carries out the operations of an import while its database is there, and keeps account of them."""

    def __init__(self, cubes: Cubes, request: Request, inside: Inside, undo: _Undo | None) -> None:
        self._cubes = cubes
        self._request = request
        self._inside = inside
        self._undo = undo

    async def run(self, operation: Operation[Any]) -> Any:
        database = self._inside.database
        if self._request.upload is not None:
            await self._request.upload.check()
        await self._cubes.databases.find(self._request.identity, database.id, "write")
        if self._undo is None or not isinstance(operation, InsertMany):
            return await self._cubes.put(self._request, self._inside, operation, _BATCH_BYTES)
        noted = self._undo.note(operation.documents)
        try:
            result = await self._cubes.put(self._request, self._inside, operation, _BATCH_BYTES)
        except WriteFailed as error:
            # In order, so that what is behind the first error was not tried: it may be somebody's from before.
            self._undo.keep(noted[: error.fields["insertedCount"]])
            raise
        self._undo.keep(noted)
        return result


class _Undo:
    """The ids of what an import has put in, on disk, by which it is taken out again."""

    def __init__(self, inside: Inside, asked: _Asked, folder: Path) -> None:
        self._inside = inside
        self._asked = asked
        self._file = temporary(folder)
        self._size = 0

    def note(self, documents: Any) -> list[int]:
        """Write down the ids of documents before they are put in, since there may be no room to do so afterwards; the
        bytes that each takes."""
        noted = [bson.encode({"_id": one}, codec_options=CODEC) for one in ids_of(documents)]
        self._file.seek(self._size)
        put(self._file, b"".join(noted))
        return [*map(len, noted)]

    def keep(self, noted: list[int]) -> None:
        """Take the first that were noted for put in."""
        self._size += sum(noted)

    async def run(self) -> None:
        """Take everything out."""
        self._file.truncate(self._size)
        place = self._inside.at(self._asked.collection)
        with read_again(self._file) as file:
            ids = (one["_id"] for one in bson.decode_file_iter(file, CODEC))
            while some := list(islice(ids, _UNDONE)):
                await self._inside.run(DeleteMany(namespace=place, filter={"_id": {"$in": some}}), _BATCH_BYTES)

    def close(self) -> None:
        self._file.close()


# --- what is asked for -----------------------------------------------------------------------------------------------


def _asked(request: Request, form: Form) -> _Asked:
    for name in form.fields:
        if name not in _FIELDS:
            raise mistake(name[:100], f"There is no such field; there are json_file, {', '.join(_FIELDS)}.")
    whole = form.fields.get("all_or_nothing", "false")
    if whole not in ("true", "false"):
        raise mistake("all_or_nothing", "Expected true or false.")
    key = form.fields.get("idempotency_key") or request.headers.get(b"idempotency-key", b"").decode("latin-1")
    if len(key) > 255:
        raise mistake("idempotency_key", "Ensure this field has no more than 255 characters.")
    name = form.fields.get("collection_name") or _name_of(form.name)
    if not name:
        raise mistake("collection_name", "This field is required, because the file has no name.")
    name = schemas.collection_name(name, "collection_name")
    kind = _format(form)
    return _Asked(name, kind, whole == "true", key, f"{form.hash.hexdigest()} {kind} {whole}")


def _name_of(file: str) -> str:
    """The name of a collection that is called as the file."""
    stem = re.split(r"[\\/]", file)[-1].lower()
    for end in (".gz", ".gzip", ".zst", ".zstd"):
        stem = stem.removesuffix(end)
    stem = stem.rpartition(".")[0] or stem
    return re.sub(r"\W+", "_", stem)[:LONGEST]


def _format(form: Form) -> str:
    given = form.fields.get("format", "")
    if given and given not in _FORMATS:
        raise mistake("format", f"Expected one of {', '.join(_FORMATS)}.")
    named = format_of(form.name)
    found = given or (named if named in _FORMATS else "") or _KINDS.get(form.kind, "")
    return "json" if found in ("ndjson", "") else found


def _plan(inside: Inside, asked: _Asked) -> Plan:
    place = inside.at(asked.collection)
    if not asked.key:
        seconds = int(datetime.now(UTC).timestamp())
        return Plan(place, secrets.token_bytes(16), seconds=seconds, ordered=asked.whole)
    created = inside.database.created.replace(tzinfo=UTC)
    return Plan(place, asked.key.encode(), seconds=int(created.timestamp()), ordered=asked.whole)


# --- rows ------------------------------------------------------------------------------------------------------------


def _rows(file: BinaryIO, asked: _Asked) -> Rows:
    """The rows of the file from where it is read."""
    source = Source(file)
    read = _bounded(source.read)
    if asked.format in ("csv", "tsv"):
        return Table(read, delimiter="\t" if asked.format == "tsv" else ",", skip_blank=True).rows()
    return ndjson.rows(read) if source.text == "lines" else json_file.rows(read)


def _bounded(read: Read) -> Read:
    taken = 0

    def bounded(size: int) -> bytes:
        nonlocal taken
        chunk = read(size)
        taken += len(chunk)
        if taken > MOST_UNPACKED:
            raise Unreadable(f"the file has more than {MOST_UNPACKED} bytes")
        return chunk

    return bounded


async def _looked_through(form: Form, asked: _Asked, turn: _Turn) -> tuple[list[Row], bool]:
    """Some of the first rows of the file that are documents, and where nothing or everything is to be put in, whether
    any is none."""
    sample: list[Row] = []
    bad, batch = False, Batch([])
    try:
        with read_again(form.file) as file:
            rows = await _READING.run(_SECONDS, _rows, file, asked)
            while not batch.last and (asked.whole or not sample):
                batch = await turn.taken(rows, SAMPLE)
                if batch.error is not None:
                    raise batch.error
                bad = _rejected(asked, batch.rows) or bad
                sample = sample or [row for row in batch.rows if row.is_good]
    except Unreadable as error:
        raise mistake("json_file", error.message) from None
    if not asked.whole:
        asked.rejected.clear()
    return sample, bad


def _rejected(asked: _Asked, rows: list[Row]) -> bool:
    bad = [row for row in rows if not row.is_good]
    for row in bad:
        _reject(asked, row)
    return bool(bad)


def _reject(asked: _Asked, row: Row) -> None:
    if len(asked.rejected) < MOST_REJECTED:
        asked.rejected.append({"line": row.number, "reason": row.reason[:_LONGEST_REASON]})


def _fields(sample: list[Row]) -> list[Document]:
    """The fields of some documents, each with the type of its first value."""
    found: dict[str, str] = {}
    for row in sample:
        for name, value in (row.document or {}).items():
            if name != "_id" and schemas.is_name(name):
                kind = _TYPES.get(type(value), "binary" if isinstance(value, bytes) else "string")
                if found.get(name, "null") == "null":
                    found[name] = kind
    return [{"name": name, "type": found[name]} for name in sorted(found)][: schemas.MOST_FIELDS]


# --- the answer ------------------------------------------------------------------------------------------------------


def _answer(asked: _Asked, report: Report, why: str) -> Made:
    """What became of the rows; a 400 where only rejected ones were there, or the file could not be read on, and the
    status of the error that ended the import."""
    inserted = report.inserted + (report.present if asked.key else 0)
    rejected = max(report.rejected, len(asked.rejected))
    told: Document = {"success": True, "collection": asked.collection, "inserted_count": inserted}
    told |= {"present_count": report.present, "rejected_count": rejected, "rejected": asked.rejected}
    stopped = why or (report.stopped and f"The file was not read on: {report.stopped}")
    if stopped or (rejected and not inserted and not report.present):
        message = stopped or f"No row was put in: line {asked.rejected[0]['line']}: {asked.rejected[0]['reason']}"
        status, code = report.refused or (400, "InvalidParameter")
        told |= {"success": False, "error": code, "error_code": code}
        return Made(status, told | {"message": message, "detail": message})
    if not inserted and not report.present:
        return Made(200, told | {"message": "The file has no rows."})
    return Made(201, told)
