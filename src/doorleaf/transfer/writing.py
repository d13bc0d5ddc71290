"""From documents, as BSON, to a file's bytes in each format."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import bson

from doorleaf.documents import CODEC, Document
from doorleaf.ejson import Mode, dumps, encode_exactly
from doorleaf.errors import InvalidParameter
from doorleaf.transfer import cells
from doorleaf.transfer.tables import require_names


class Format(Protocol):
    """Documents become bytes batch by batch; ``end`` is what comes behind the last."""

    def encode(self, documents: Iterable[bytes]) -> bytes: ...

    def end(self) -> bytes: ...


def text(document: bytes, mode: Mode) -> bytes:
    """A document as Extended JSON. Raises InvalidParameter for one that has what this does not hold: types that
    MongoDB has given up, text that is not UTF-8, a name that comes twice."""
    written = encode_exactly(document, mode)
    if written is None:
        identity = dumps(bson.decode(document, CODEC).get("_id"), Mode.RELAXED).decode(errors="replace")
        raise InvalidParameter(
            f"the document with the _id {identity} has values that JSON does not hold exactly; bson does"
        )
    return written


class Ndjson:
    """One document on each line."""

    def __init__(self, mode: Mode) -> None:
        self._mode = mode

    def encode(self, documents: Iterable[bytes]) -> bytes:
        return b"".join(text(document, self._mode) + b"\n" for document in documents)

    def end(self) -> bytes:
        return b""


class Array:
    """One array, a document on each of its lines, as ``mongoexport --jsonArray`` writes it."""

    def __init__(self, mode: Mode) -> None:
        self._mode = mode
        self._before = b"["

    def encode(self, documents: Iterable[bytes]) -> bytes:
        pieces = []
        for document in documents:
            pieces += [self._before, text(document, self._mode)]
            self._before = b",\n"
        return b"".join(pieces)

    def end(self) -> bytes:
        return b"[]\n" if self._before == b"[" else b"]\n"


class Bson:
    """Documents end to end, as ``mongodump`` writes them."""

    def encode(self, documents: Iterable[bytes]) -> bytes:
        return b"".join(documents)

    def end(self) -> bytes:
        return b""


class Table:
    """CSV or TSV with a header. Without ``fields`` the columns are those of the first batch, objects in their fields;
    a later document with another field is an error then, because a part of it would be lost. Raises
    InvalidParameter for ``fields`` that are no names of columns."""

    def __init__(self, delimiter: str, fields: Sequence[str] | None) -> None:
        require_names(fields or ())
        self._delimiter = delimiter
        self._given = fields is not None
        self._columns = list(fields) if fields is not None else None
        self._header = True
        self._number = 0

    def encode(self, documents: Iterable[bytes]) -> bytes:
        decoded = [bson.decode(document, CODEC) for document in documents]
        rows = decoded if self._given else [_flat(document) for document in decoded]
        if self._columns is None:
            self._columns = list(dict.fromkeys(name for row in rows for name in row))
        out = io.StringIO()
        writer = csv.writer(out, delimiter=self._delimiter, lineterminator="\n")
        if self._header:
            writer.writerow(self._columns)
            self._header = False
        known = frozenset(self._columns)
        for row in rows:
            self._number += 1
            if self._given:
                writer.writerow([cells.text(_reached(row, name)) for name in self._columns])
                continue
            other = next((name for name in row if name not in known), None)
            if other is not None:
                raise InvalidParameter(
                    f"document {self._number} has the field {other!r}, which is no column: name the columns (--fields)"
                )
            writer.writerow([cells.text(row.get(name)) for name in self._columns])
        return out.getvalue().encode(errors="replace")

    def end(self) -> bytes:
        return self.encode([]) if self._header else b""


class Columns:
    """CSV with a column for each of these fields, objects and arrays as Extended JSON in one cell; a document with
    another field is an error, because a part of it would be lost."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._known = frozenset(names)
        self._before: Sequence[Sequence[str]] = [names]

    def encode(self, documents: Iterable[bytes]) -> bytes:
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\r\n")
        writer.writerows(self._before)
        self._before = ()
        for document in documents:
            values: Document = bson.decode(document, CODEC)
            other = next((name for name in values if name not in self._known), None)
            if other is not None:
                raise InvalidParameter(f"a document has the field {other[:100]!r}, which is no column")
            writer.writerow([cells.text(values.get(name)) for name in self._names])
        return out.getvalue().encode(errors="replace")

    def end(self) -> bytes:
        return self.encode([]) if self._before else b""


def _flat(document: Document, before: str = "") -> Document:
    """The fields of ``document`` with those of objects inside by dotted names."""
    flat: Document = {}
    for name, value in document.items():
        if not before and ("." in name or not name):
            raise InvalidParameter(f"a document has a field named {name!r}, which a table would show as another")
        if value.__class__ is dict and value and not any("." in key or not key for key in value):
            flat |= _flat(value, f"{before}{name}.")
        else:
            flat[before + name] = value
    return flat


def _reached(document: Document, path: str) -> Any:
    value: Any = document
    for name in path.split("."):
        if value.__class__ is list and name.isdigit() and int(name) < len(value):
            value = value[int(name)]
        elif value.__class__ is dict and name in value:
            value = value[name]
        else:
            return None
    return value


def format_for(kind: str, mode: Mode, fields: Sequence[str] | None = None) -> Format:
    """The format ``kind``, to write in."""
    if kind == "ndjson":
        return Ndjson(mode)
    if kind == "json":
        return Array(mode)
    if kind == "bson":
        return Bson()
    return Table("\t" if kind == "tsv" else ",", fields)
