"""``doorleaf import``: the documents of a file into a collection."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from time import monotonic
from typing import Annotated, Any

import typer

from doorleaf import ejson
from doorleaf.cli.progress import progress
from doorleaf.cli.shared import Config, DataDir, Json, Uri, complain, console, listing, print_json
from doorleaf.cli.target import KINDS_HELP, DataSource, Key, Target, Url, listed, namespace_of
from doorleaf.documents import Document
from doorleaf.errors import DataError, InvalidParameter
from doorleaf.operations import DropCollection
from doorleaf.settings.error import SettingsError
from doorleaf.transfer import bson_file, collections
from doorleaf.transfer.files import Source, metadata_beside, opened
from doorleaf.transfer.importing import PROBLEMS, Importer, Plan, Report
from doorleaf.transfer.outline import Opened, outline, rows_of
from doorleaf.transfer.rows import Row

app = typer.Typer(add_completion=False)

OUTLINED = 1_000
"""Rows whose fields a dry run shows."""

Kind = Annotated[str | None, typer.Option("--type", help=KINDS_HELP, show_default="by the name, then the beginning")]
Fields = Annotated[str | None, typer.Option(help="Columns of a table without a header: a,b.c", show_default=False)]
Types = Annotated[str | None, typer.Option(help="Types of columns: price=decimal,zip=string", show_default="guessed")]
SkipBlank = Annotated[bool, typer.Option("--skip-blank", help="Leave out empty strings of a table.")]
Upsert = Annotated[
    str | None, typer.Option(help="Set the fields of the document with the same: email or a,b", show_default=False)
]
Replace = Annotated[bool, typer.Option("--replace", help="Replace that document, by --upsert or by _id.")]
Drop = Annotated[bool, typer.Option("--drop", help="Drop the collection first.")]
BatchSize = Annotated[int, typer.Option(min=1, max=20_000, help="Rows that are sent together.")]
StopOnError = Annotated[bool, typer.Option("--stop-on-error", help="Stop at the first rejected row.")]
Rejected = Annotated[Path | None, typer.Option(help="File for rejected rows, as JSON lines.", show_default=False)]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show types and rejected rows, write nothing.")]
IdempotencyKey = Annotated[
    str | None, typer.Option(help="Tells this import from others.", show_default="the file's size, time and start")
]
Metadata = Annotated[
    bool, typer.Option("--metadata/--no-metadata", help="Take over FILE.metadata.json beside a BSON file.")
]


@app.command("import")
def import_(
    places: Annotated[list[str], typer.Argument(metavar="[FILE|-] DATABASE.COLLECTION", show_default=False)],
    kind: Kind = None,
    fields: Fields = None,
    types: Types = None,
    skip_blank: SkipBlank = False,
    upsert: Upsert = None,
    replace: Replace = False,
    drop: Drop = False,
    batch: BatchSize = 2_000,
    stop_on_error: StopOnError = False,
    rejected: Rejected = None,
    dry_run: DryRun = False,
    idempotency_key: IdempotencyKey = None,
    metadata: Metadata = True,
    as_json: Json = False,
    url: Url = None,
    key: Key = None,
    data_source: DataSource = None,
    config: Config = None,
    uri: Uri = None,
    data_dir: DataDir = None,
) -> None:
    """Put the documents of a file into a collection.

    Run again after it was cut off, it goes on where it was: rows that are there are counted, not doubled.
    Exits with 1 where a row was rejected or the file could not be read to its end.
    """
    gc.set_threshold(50_000, 20, 50)  # rows are no circles, and looking for some takes a quarter of the reading
    if len(places) > 2:
        raise SettingsError("expected [FILE|-] DATABASE.COLLECTION")
    name, at = ("-", places[0]) if len(places) == 1 else places
    if stop_on_error and rejected is not None:
        raise SettingsError("--stop-on-error: cannot be combined with --rejected")
    keys = tuple(listed(upsert) or (("_id",) if replace else ()))
    plan = Plan(namespace_of(at, data_source), b"", 0, keys, replace, stop_on_error, batch)
    given = {"fields": listed(fields), "types": _types(types), "skip_blank": skip_blank}
    with contextlib.closing(opened(name)) as source:
        found = rows_of(source, kind, **given)  # type: ignore[arg-type]  # each is what it is for
        if dry_run:
            _dry_run(found, as_json=as_json)
            return
        plan = _told_apart(plan, source, idempotency_key)
        beside = _metadata(name) if found.kind == "bson" and metadata else None
        began = monotonic()
        with _rejects(rejected) as reject:
            job = _Import(source, found, plan, reject, drop, beside)
            report = asyncio.run(job.run(Target(url, key, uri, data_dir, config)))
    _tell(report, job, monotonic() - began, as_json=as_json)


def _told_apart(plan: Plan, source: Source, key: str | None) -> Plan:
    """``plan`` with what tells it from other imports."""
    if key is not None:
        return dataclasses.replace(plan, seed=key.encode())
    return dataclasses.replace(plan, seed=source.fingerprint(), seconds=source.stamp // 10**9)


def _types(text: str | None) -> dict[str, str] | None:
    types: dict[str, str] = {}
    for part in listed(text) or []:
        name, _, kind = part.rpartition("=")
        if not name:
            raise SettingsError(f"--types: {part!r} is not like price=decimal")
        types[name] = kind
    return types or None


def _metadata(name: str) -> tuple[Document, list[Document]] | None:
    """Options and indexes in the file beside a BSON file."""
    beside = metadata_beside(name)
    if name == "-" or not Path(beside).is_file():
        return None
    with contextlib.closing(opened(beside)) as source:
        return bson_file.metadata(b"".join(iter(partial(source.read, 1 << 20), b"")))


@dataclass(slots=True)
class _Import:
    source: Source
    found: Opened
    plan: Plan
    reject: Callable[[Row], None]
    drop: bool
    metadata: tuple[Document, list[Document]] | None

    async def run(self, target: Target) -> Report:
        async with target.open(makes=True) as execute:
            namespace = self.plan.namespace
            if self.drop:
                with contextlib.suppress(DataError):  # there is none
                    await execute(DropCollection(namespace=namespace))
            if self.metadata is not None:
                await collections.make(execute, namespace, self.metadata[0])
            with progress(f"import {namespace}", self.source.size) as told:
                importer = Importer(
                    execute, self.plan, lambda report: told(report.rows, self.source.taken), self.reject
                )
                report = await importer.run(self.found.rows)
            if self.metadata is not None and not report.stopped:
                try:
                    await collections.index(execute, namespace, self.metadata[1])
                except InvalidParameter as error:
                    report.stopped = error.message
            return report


@contextlib.contextmanager
def _rejects(path: Path | None) -> Iterator[Callable[[Row], None]]:
    """What keeps rejected rows in the file ``path``."""
    if path is None:
        yield lambda row: None
        return
    with path.open("w", encoding="utf-8") as file:

        def keep(row: Row) -> None:
            line: dict[str, Any] = {"row": row.number, "reason": row.reason, "text": _text(row)}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
            file.flush()

        yield keep


def _text(row: Row) -> str:
    if row.is_good and row.source[:1] not in (b"{", b" ", b"\t") and row.source[-1:] == b"\0":
        return ejson.encode_document(row.source, ejson.Mode.CANONICAL).decode()
    return row.source.decode(errors="replace")


def _tell(report: Report, job: _Import, seconds: float, *, as_json: bool) -> None:
    """Print the report; a rejected row, or a file that was not read to its end, is exit code 1."""
    name, namespace = job.source.name or "-", str(job.plan.namespace)
    told = {"file": name, "namespace": namespace, "type": job.found.kind, **asdict(report), "bytes": job.source.taken}
    told["problems"] = [{"row": number, "reason": reason} for number, reason in report.problems]
    told["seconds"] = round(seconds, 3)
    if as_json:
        print_json(told)
    else:
        counts = ("inserted", "present", "matched", "modified", "upserted", "rejected")
        parts = [f"{told[what]:,} {what}" for what in counts if told[what]] or ["nothing to do"]
        rate = f"{report.rows / max(seconds, 0.001):,.0f} rows a second"
        console().print(f"{report.rows:,} rows: {', '.join(parts)}; {seconds:.1f} seconds, {rate}")
    for number, reason in report.problems:
        complain(f"row {number}: {reason}")
    if report.rejected > len(report.problems):
        complain(f"and {report.rejected - len(report.problems):,} more rejected rows")
    if report.stopped:
        complain(f"stopped: {report.stopped}")
    if report.rejected or report.stopped:
        raise typer.Exit(1)


def _dry_run(found: Opened, *, as_json: bool) -> None:
    """Show what the rows are made of, and how many of them would be rejected before a database sees them."""
    first = list(islice(found.rows, OUTLINED))
    fields = outline(row.document for row in first if row.document is not None)
    report = Report()
    for row in (*first, *found.rows):
        report.rows += 1
        if not row.is_good:
            report.rejected += 1
            if report.rejected <= PROBLEMS:
                report.problems.append((row.number, row.reason))
    told: dict[str, Any] = {"type": found.kind, "rows": report.rows, "rejected": report.rejected, "fields": fields}
    if found.columns is not None:
        told["columns"] = dict(found.columns)
    told["problems"] = [{"row": number, "reason": reason} for number, reason in report.problems]
    if as_json:
        print_json(told)
    else:
        console().print(f"{found.kind}: {report.rows:,} rows, {report.rejected:,} of them would be rejected")
        shown = found.columns or {
            name: ", ".join(f"{kind} {count}" for kind, count in seen.items()) for name, seen in fields.items()
        }
        listing(("Column" if found.columns else "Field", "Type"), [({}, pair) for pair in shown.items()], False)
    for number, reason in report.problems:
        complain(f"row {number}: {reason}")
    if report.rejected:
        raise typer.Exit(1)
