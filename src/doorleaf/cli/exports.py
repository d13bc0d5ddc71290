"""``doorleaf export``: the documents of a collection into a file."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from time import monotonic
from typing import Annotated

import typer

from doorleaf import ejson
from doorleaf.cli.progress import progress
from doorleaf.cli.shared import Config, DataDir, Json, Uri, complain, console
from doorleaf.cli.target import KINDS_HELP, DataSource, Key, Target, Url, listed, namespace_of
from doorleaf.documents import Document
from doorleaf.ejson import Mode
from doorleaf.errors import DoorleafError
from doorleaf.operations import EstimatedDocumentCount, Find
from doorleaf.settings.error import SettingsError
from doorleaf.transfer import bson_file, collections
from doorleaf.transfer.exporting import export
from doorleaf.transfer.files import compression_of, format_of, metadata_beside, sink
from doorleaf.transfer.importing import Execute
from doorleaf.transfer.outline import KINDS
from doorleaf.transfer.writing import Format, format_for

app = typer.Typer(add_completion=False)

Kind = Annotated[str | None, typer.Option("--type", help=KINDS_HELP, show_default="by the name, else ndjson")]
Filter = Annotated[str | None, typer.Option("--filter", help="Which documents, in Extended JSON.", show_default="all")]
Projection = Annotated[str | None, typer.Option(help="Fields to include or exclude.", show_default=False)]
Sort = Annotated[str | None, typer.Option(help='Order, such as {"age":-1}.', show_default=False)]
Limit = Annotated[int, typer.Option(min=0, help="Most documents; 0 is all.")]
Fields = Annotated[
    str | None, typer.Option(help="Columns of a table: a,b.c", show_default="those of the first documents")
]
Relaxed = Annotated[bool, typer.Option("--relaxed", help="Numbers and dates as in plain JSON.")]
Metadata = Annotated[
    bool, typer.Option("--metadata/--no-metadata", help="Write FILE.metadata.json beside a BSON file.")
]


@app.command("export")
def export_(
    place: Annotated[str, typer.Argument(metavar="DATABASE.COLLECTION", show_default=False)],
    name: Annotated[str, typer.Argument(metavar="[FILE|-]", show_default="standard output")] = "-",
    kind: Kind = None,
    matching: Filter = None,
    projection: Projection = None,
    sort: Sort = None,
    limit: Limit = 0,
    fields: Fields = None,
    relaxed: Relaxed = False,
    metadata: Metadata = True,
    as_json: Json = False,
    url: Url = None,
    key: Key = None,
    data_source: DataSource = None,
    config: Config = None,
    uri: Uri = None,
    data_dir: DataDir = None,
) -> None:
    """Write the documents of a collection into a file, which has its name only once it is whole.

    Compressed where the name ends in .gz or .zst.
    """
    kind = kind or format_of(name) or "ndjson"
    if kind not in KINDS:
        raise SettingsError(f"--type: expected one of {', '.join(KINDS)}, got {kind!r}")
    columns = listed(fields)
    if columns is not None and kind not in ("csv", "tsv"):
        raise SettingsError(f"--fields: is for csv and tsv, and this is {kind}; --projection chooses fields")
    query = Find(
        namespace=namespace_of(place, data_source),
        filter=_object(matching, "--filter") or {},
        projection=_object(projection, "--projection"),
        sort=_object(sort, "--sort"),
        limit=limit,
    )
    try:
        form = format_for(kind, Mode.RELAXED if relaxed else Mode.CANONICAL, columns)
    except DoorleafError as error:
        raise SettingsError(f"--fields: {error.message}") from None
    job = _Export(query, name, kind, form)
    began = monotonic()
    size = asyncio.run(job.run(Target(url, key, uri, data_dir, config), metadata=metadata))
    seconds = monotonic() - began
    told = {"namespace": str(query.namespace), "file": name, "type": kind, "rows": job.rows, "bytes": size}
    if as_json:
        typer.echo(json.dumps({**told, "seconds": round(seconds, 3)}), err=name == "-")
    else:
        rate = f"{job.rows / max(seconds, 0.001):,.0f} rows a second"
        console(stderr=True).print(f"{job.rows:,} rows, {size:,} bytes; {seconds:.1f} seconds, {rate}")


def _object(text: str | None, option: str) -> Document | None:
    if text is None:
        return None
    try:
        return ejson.loads(text.encode())
    except DoorleafError as error:
        raise SettingsError(f"{option}: {error.message}") from None


@dataclass(slots=True)
class _Export:
    query: Find
    name: str
    kind: str
    form: Format
    rows: int = 0

    async def run(self, target: Target, *, metadata: bool) -> int:
        """Write the file; how many bytes it has."""
        async with target.open(makes=False) as execute:
            with (
                sink(self.name, compression_of(self.name)) as out,
                progress(f"export {self.query.namespace}", await self._count(execute), unit="rows") as told,
            ):
                done = await export(execute, self.query, self.form, out, lambda done: told(done.rows, done.rows))
            self.rows = done.rows
            if self.kind == "bson" and metadata and self.name != "-":
                await self._describe(execute)
            return out.written

    async def _count(self, execute: Execute) -> int | None:
        """How many documents there will be, as far as that is known at once."""
        if self.query.filter or self.query.limit:
            return None
        try:
            return (await execute(EstimatedDocumentCount(namespace=self.query.namespace))).count
        except DoorleafError:  # what is wrong is told by the export itself
            return None

    async def _describe(self, execute: Execute) -> None:
        """Write options and indexes beside the documents."""
        try:
            options, indexes = await collections.described(execute, self.query.namespace)
        except DoorleafError as error:
            complain(f"no metadata is written: {error.message}")
            return
        beside = metadata_beside(self.name)
        with sink(beside, compression_of(beside)) as out:
            out.write(bson_file.metadata_text(self.query.namespace.collection, options, indexes))
