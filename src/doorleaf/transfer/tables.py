"""CSV and TSV: a document for each record, its fields named by the header, dots for fields inside objects."""

from __future__ import annotations

import csv
from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice

from doorleaf.documents import Document
from doorleaf.errors import InvalidParameter
from doorleaf.operations.fields import unicode_text
from doorleaf.transfer import cells
from doorleaf.transfer.rows import MOST_ROW_BYTES, Blank, Read, Row, Rows, Unreadable, lines

SAMPLE = 1_000
"""Records whose cells say of what type a column is."""

SAMPLE_BYTES = 4 * 1024 * 1024
"""Text of records that are looked at for that; those behind it are not."""

MOST_CELL_CHARACTERS = 16 * 1024 * 1024
MOST_COLUMNS = 20_000
MOST_STEPS = 100
"""Names between the dots of a column's: databases nest no deeper."""
MOST_CELLS = 1_000_000
"""Delimiters in one record, those inside of quotes too: each cell takes memory, however short it is."""


@dataclass(slots=True)
class Record:
    """A record, or the reason why there is none where one should be."""

    number: int
    cells: list[str]
    source: bytes
    reason: str = ""


class Table:
    """A table as it is read: ``columns`` with the name of the type of each, then :meth:`rows`.

    ``fields`` name the columns where the file has no header; ``types`` are given for some columns by name, the others
    are guessed. With ``skip_blank`` a cell with nothing in it is no field, in columns of strings too.
    """

    def __init__(
        self,
        read: Read,
        *,
        delimiter: str = ",",
        fields: Sequence[str] | None = None,
        types: Mapping[str, str] | None = None,
        skip_blank: bool = False,
    ) -> None:
        records = _records(read, delimiter)
        names = list(fields) if fields is not None else _header(next(records, None))
        paths = _paths(names)
        sample, rest = _sample(records)
        given = dict(types or {})
        unknown = [name for name in given if name not in names]
        if unknown:
            raise InvalidParameter(f"there is no column {unknown[0]!r}; the columns are {', '.join(names)[:1000]}")
        self.columns = {
            name: given.get(name) or cells.guess(_column(sample, place, len(names))) for place, name in enumerate(names)
        }
        converters = [cells.converter(kind) for kind in self.columns.values()]
        self._read = list(zip(names, paths, converters, self.columns.values(), strict=True))
        self._names = sum(len(name.encode()) for name in names)
        self._given = given
        self._skip_blank = skip_blank
        self._records = chain(sample, rest)

    def rows(self) -> Rows:
        """The rows, each with its document or why it has none."""
        for record in self._records:
            yield self._row(record)

    def _row(self, record: Record) -> Row:
        if record.reason:
            return Row(record.number, None, record.source, record.reason)
        if len(record.cells) != len(self._read):
            reason = f"the row has {len(record.cells)} cells, and there are {len(self._read)} columns"
            return Row(record.number, None, record.source, reason)
        document: Document = {}
        for text, (name, path, convert, kind) in zip(record.cells, self._read, strict=True):
            if not text and (self._skip_blank or kind != "string"):
                continue
            try:
                value = convert(text)
            except ValueError as error:
                reason = f"{name[:100]}: expected {cells.MEANINGS[kind]}, got {_short(text)}"
                if str(error):
                    reason += f": {error}"
                if name not in self._given:
                    reason += f"; the column was guessed to be {kind}, and its type can be given"
                return Row(record.number, None, record.source, reason)
            place = document
            for step in path[:-1]:
                place = place.setdefault(step, {})
            place[path[-1]] = value
        return Row(record.number, document, record.source, names=self._names)


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:40]}…")


def _sample(records: Iterator[Record]) -> tuple[list[Record], Iterator[Record]]:
    """The first records, and those behind them; what ends the reading ends it there."""
    found: list[Record] = []
    size = 0
    try:
        for record in islice(records, SAMPLE):
            found.append(record)
            size += len(record.source)
            if size >= SAMPLE_BYTES:
                break
    except Unreadable as error:
        return found, _raised(error)
    return found, records


def _raised(error: Unreadable) -> Iterator[Record]:
    raise error
    yield


def _column(sample: list[Record], place: int, width: int) -> list[str]:
    return [record.cells[place] for record in sample if not record.reason and len(record.cells) == width]


def _header(record: Record | None) -> list[str]:
    if record is None:
        raise Unreadable("the file is empty: there is no header")
    if record.reason:
        raise Unreadable(f"line {record.number}: the header cannot be read: {record.reason}")
    return record.cells


def require_names(names: Sequence[str]) -> None:
    """Raise InvalidParameter where ``names`` are not those of columns, each of another field."""
    if len(names) > MOST_COLUMNS:
        raise Unreadable(f"the table has {len(names)} columns, and {MOST_COLUMNS} is the most")
    deep = next((name for name in names if name.count(".") >= MOST_STEPS), None)
    if deep is not None:
        raise Unreadable(f"a column is named {_short(deep)}: fields are in one another {MOST_STEPS} times at most")
    seen: set[str] = set()
    for name in names:
        if not all(name.split(".")) or "\0" in name:
            raise Unreadable(f"a column is named {_short(name)}: a field has a name, also behind and before a dot")
        if name in seen:
            raise Unreadable(f"two columns are named {_short(name)}")
        seen.add(unicode_text(name, "the name of a column"))


def _paths(names: Sequence[str]) -> list[list[str]]:
    """The names of columns in steps. Raises Unreadable where two of them cannot be in one document."""
    require_names(names)
    paths = [name.split(".") for name in names]
    seen = {*map(tuple, paths)}
    for steps in seen:
        for end in range(1, len(steps)):
            if steps[:end] in seen:
                outer, inner = ".".join(steps[:end]), ".".join(steps)
                raise Unreadable(f"{_short(outer)} cannot be a column and have the column {_short(inner)}")
    return paths


class _Lines(Iterator[str]):
    """Lines for the standard library's reader, and what the record at hand was made of."""

    def __init__(self, read: Read, delimiter: str) -> None:
        self._lines = lines(read, self._passed)
        self._delimiter = delimiter.encode()
        self._cells = self._quotes = 0
        self.number = 0
        self.begin = 1
        self.source = bytearray()

    def __next__(self) -> str:
        found = next(self._lines, None)
        if found is None:
            self._quotes = 0  # with the file the record is over
            raise StopIteration
        self.number, line = found
        if line is None:
            raise csv.Error(f"the row is longer than {MOST_ROW_BYTES} bytes")
        if self.number == 1:
            line = line.removeprefix(BOM_UTF8)
        self._cells += line.count(self._delimiter)
        self._quotes += line.count(b'"')
        if len(self.source) + len(line) > MOST_ROW_BYTES:
            raise csv.Error(f"the row is longer than {MOST_ROW_BYTES} bytes")
        self.source += line + b"\n"
        if self._cells > MOST_CELLS:
            raise csv.Error(f"the row has more than {MOST_CELLS} cells")
        return line.decode() + "\n"

    def _passed(self, piece: bytes) -> None:
        """Look at a piece of a line that is too long to be read: whether the record goes on behind it."""
        self._quotes += piece.count(b'"')

    def next_record(self) -> None:
        self.begin, self.source = self.number + 1, bytearray()
        self._cells = self._quotes = 0

    @property
    def within(self) -> bool:
        """Whether the record goes on in the next line, as far as quotes tell."""
        return self._quotes % 2 > 0

    def text(self) -> bytes:
        """The record as it is in the file, without the end of its last line."""
        return bytes(self.source[:-1])


def _records(read: Read, delimiter: str) -> Iterator[Record]:
    csv.field_size_limit(MOST_CELL_CHARACTERS)
    given = _Lines(read, delimiter)
    reader = csv.reader(given, delimiter=delimiter, strict=True)
    blank = Blank()
    while True:
        given.next_record()
        try:
            found = next(reader)
        except StopIteration:
            return
        except (csv.Error, UnicodeDecodeError) as error:
            text = "the row is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
            yield Record(given.begin, [], given.text(), text[:1].lower() + text[1:])
            if given.within and "expected after" not in text:  # which is about one line
                raise Unreadable(f"line {given.begin}: {text}, and where it ends cannot be told") from None
        else:
            if not found:  # an empty line is none
                blank.add(len(given.source), given.begin)
            else:
                blank.over()
                yield Record(given.begin, found, given.text().rstrip(b"\r"))
