"""A file as rows, whatever its format, and what its first rows are made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from doorleaf.documents import Document
from doorleaf.errors import InvalidParameter
from doorleaf.mql.values import type_name
from doorleaf.transfer import bson_file, cells, json_file, ndjson
from doorleaf.transfer.files import FORMATS, Source
from doorleaf.transfer.rows import Rows
from doorleaf.transfer.tables import Table

KINDS = sorted({*FORMATS.values()})


@dataclass(slots=True)
class Opened:
    """The rows of a file of format ``kind``; of a table also the type of each column."""

    kind: str
    rows: Rows
    columns: Mapping[str, str] | None = None


def rows_of(
    source: Source,
    kind: str | None = None,
    *,
    fields: Sequence[str] | None = None,
    types: Mapping[str, str] | None = None,
    skip_blank: bool = False,
) -> Opened:
    """The rows of ``source``. Raises InvalidParameter for what does not belong together, Unreadable for a file that
    does not begin as it should."""
    kind = kind or source.format()
    if kind not in KINDS:
        raise InvalidParameter(f"--type: expected one of {', '.join(KINDS)}, got {kind!r}")
    if kind in ("csv", "tsv"):
        for name, given in (types or {}).items():
            if given not in cells.MEANINGS:
                raise InvalidParameter(
                    f"--types: {name} cannot be {given!r}; the types are {', '.join(cells.MEANINGS)}"
                )
        delimiter = "\t" if kind == "tsv" else ","
        table = Table(source.read, delimiter=delimiter, fields=fields, types=types, skip_blank=skip_blank)
        return Opened(kind, table.rows(), table.columns)
    if fields or types or skip_blank:
        raise InvalidParameter(f"--fields, --types and --skip-blank are for csv and tsv, and this is {kind}")
    read = {"ndjson": ndjson.rows, "json": json_file.rows, "bson": bson_file.rows}[kind]
    return Opened(kind, read(source.read))


def outline(documents: Iterable[Document]) -> dict[str, dict[str, int]]:
    """The fields of ``documents`` by dotted names, each with how often it is of which BSON type."""
    found: dict[str, dict[str, int]] = {}
    for document in documents:
        _note(found, "", document)
    return found


def _note(found: dict[str, dict[str, int]], before: str, document: Document) -> None:
    for name, value in document.items():
        seen = found.setdefault(before + name, {})
        kind = type_name(value)
        seen[kind] = seen.get(kind, 0) + 1
        if value.__class__ is dict and before.count(".") < 8:
            _note(found, f"{before}{name}.", value)
