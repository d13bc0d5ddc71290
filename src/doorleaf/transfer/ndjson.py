"""One document on each line, in Extended JSON, as ``mongoexport`` writes them."""

from __future__ import annotations

from codecs import BOM_UTF8

from doorleaf import ejson
from doorleaf.errors import DoorleafError
from doorleaf.transfer.rows import Blank, Read, Row, Rows, lines, too_long


def rows(read: Read) -> Rows:
    """The rows of a file; empty lines are none."""
    blank = Blank()
    for number, line in lines(read):
        if line is None:
            yield too_long(number)
        elif line.strip() and line.strip() != BOM_UTF8:
            blank.over()
            yield row(number, line)
        else:
            blank.add(1 + len(line), number)


def row(number: int, source: bytes) -> Row:
    """The row whose text is ``source``."""
    try:
        raw = ejson.loads_bson(source)
        return Row(number, ejson.loads_rest(source) if raw is None else None, source, raw=raw)
    except DoorleafError as error:
        return Row(number, None, source, error.message.replace("the body", "the row"))
