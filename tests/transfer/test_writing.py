"""Documents as files, which mean the same when they are read again."""

from __future__ import annotations

import csv
import io
import json
import re
import struct
from datetime import datetime
from typing import Any

import bson
import pytest
from bson import Binary, Code, DatetimeMS, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from odd import ODD, reader

from doorleaf.documents import CODEC, Document
from doorleaf.ejson import Mode
from doorleaf.errors import InvalidParameter
from doorleaf.transfer import bson_file, json_file, ndjson, tables
from doorleaf.transfer.rows import Row
from doorleaf.transfer.writing import format_for

EVERY_TYPE: Document = {
    "_id": ObjectId("5f0c3a9b1e42000000000001"),
    "double": [1.5, 5.0, -0.0, 1e300, float("nan"), float("-inf")],
    "string": 'Grüße, "世界"\n\U0001f600\0',
    "object": {"a": {}, "": [], "a.b": 1, "$x": None},
    "binary": [b"\0\xff", Binary(b"abc", 1), Binary(bytes(16), 3), Binary(bytes(range(16)), 4), Binary(b"", 0x80)],
    "boolean": [True, False],
    "date": [datetime(2024, 2, 29, 12, 0, 0, 123000), datetime(1901, 1, 1), DatetimeMS(253402300800000)],
    "null": None,
    "regex": Regex("^a.*b$", "im"),
    "code": [Code("return 1"), Code("return x", {"x": Int64(1)})],
    "int": [0, 2**31 - 1, -(2**31)],
    "long": [Int64(5), Int64(2**63 - 1), Int64(-(2**63))],
    "timestamp": Timestamp(1700000000, 7),
    "decimal": [Decimal128("123.4500"), Decimal128("-Infinity"), Decimal128("NaN"), Decimal128("1E+6000")],
    "keys": [MinKey(), MaxKey()],
    "reference": {"$ref": "c", "$id": 1},
}

READERS = {"ndjson": ndjson.rows, "json": json_file.rows, "bson": bson_file.rows}


def encoded(documents: list[Document]) -> list[bytes]:
    return [bson.encode(document, codec_options=CODEC) for document in documents]


def again(row: Row) -> bytes:
    assert row.document is not None, row.reason
    return bson.encode(row.document, codec_options=CODEC)


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("batches", [[], [[EVERY_TYPE]], [[EVERY_TYPE, {"_id": 2}], [{"_id": 3}], [EVERY_TYPE]]])
def test_every_type_comes_back_as_it_was(kind: str, batches: list[list[Document]]) -> None:
    form = format_for(kind, Mode.CANONICAL)
    text = b"".join(form.encode(encoded(batch)) for batch in batches) + form.end()
    given = encoded([document for batch in batches for document in batch])
    assert [again(row) for row in READERS[kind](reader(text, 50))] == given
    if kind == "json":
        assert len(json.loads(text)) == len(given)
    if kind == "ndjson":
        assert len(text.splitlines()) == len(given)


def test_relaxed_json_is_for_people() -> None:
    form = format_for("ndjson", Mode.RELAXED)
    assert form.encode(encoded([{"_id": 1, "n": Int64(5), "d": datetime(2024, 1, 1)}])) == (
        b'{"_id":1,"n":5,"d":{"$date":"2024-01-01T00:00:00Z"}}\n'
    )


TWICE = struct.pack("<i", 19) + (b"\x10a\0" + struct.pack("<i", 1)) * 2 + b"\0"
"""A document that has a name twice."""


@pytest.mark.parametrize(
    "document", [TWICE, *(document for document in ODD if b"regex" not in document and b"nan" not in document)]
)
def test_what_json_does_not_hold_is_refused_and_not_changed(document: bytes) -> None:
    for kind in ("ndjson", "json"):
        with pytest.raises(InvalidParameter, match="values that JSON does not hold exactly"):
            format_for(kind, Mode.CANONICAL).encode([document])
    assert format_for("bson", Mode.CANONICAL).encode([document]) == document


# --- tables ----------------------------------------------------------------------------------------------------------


def written(*batches: list[Document], kind: str = "csv", fields: list[str] | None = None) -> str:
    form = format_for(kind, Mode.CANONICAL, fields)
    return (b"".join(form.encode(encoded(batch)) for batch in batches) + form.end()).decode()


def test_objects_are_columns_and_what_is_rare_is_extended_json() -> None:
    first = {"_id": 1, "name": 'a,"b"\nc', "home": {"zip": "0042", "geo": {"lat": 1.5}}, "tags": [1, "x"], "none": None}
    second = {"_id": Int64(2), "home": {"zip": "1"}, "when": datetime(2024, 1, 31, 12), "ok": True, "empty": {}}
    text = written([first, second])
    rows = list(csv.reader(io.StringIO(text)))
    assert rows == [
        ["_id", "name", "home.zip", "home.geo.lat", "tags", "none", "when", "ok", "empty"],
        ["1", 'a,"b"\nc', "0042", "1.5", '[1,"x"]', "", "", "", ""],
        ["2", "", "1", "", "", "", "2024-01-31T12:00:00.000Z", "true", "{}"],
    ]
    given = tables.Table(reader(text.encode()), skip_blank=True)
    documents = [row.document for row in given.rows()]
    assert documents[0] == {key: value for key, value in first.items() if key != "none"} | {
        "home": {"zip": "0042", "geo": {"lat": 1.5}}
    }
    assert documents[1] == {**second, "home": {"zip": "1"}}


def test_columns_can_be_named() -> None:
    documents: list[Document] = [
        {"a": {"b": [10, 20]}, "c": ObjectId("5f0c3a9b1e42000000000001")},
        {"c": "x\ty", "d": 1},
    ]
    fields = ["c", "a.b.1", "a.missing"]
    assert written(documents, kind="tsv", fields=fields) == (
        'c\ta.b.1\ta.missing\n5f0c3a9b1e42000000000001\t20\t\n"x\ty"\t\t\n'
    )
    assert written(fields=["a", "b"]) == "a,b\n"
    assert written() == "\n"


@pytest.mark.parametrize(
    ("names", "why"),
    [
        *(([name], "a field has a name") for name in ("", "a.", ".a", "a..b", "a\0b")),
        (["a", "b", "a"], "two columns are named 'a'"),
        ([".".join("a" * 101)], "fields are in one another 100 times at most"),
        ([f"c{number}" for number in range(20_001)], "20000 is the most"),
        (["\ud800"], "the name of a column: must be Unicode text"),
    ],
)
def test_columns_that_name_no_field_of_their_own_are_refused(names: list[str], why: str) -> None:
    with pytest.raises(InvalidParameter, match=re.escape(why)):
        written([{"a": 1}], fields=names)


def test_a_field_that_would_be_lost_is_an_error() -> None:
    with pytest.raises(
        InvalidParameter, match=r"document 3 has the field 'b\.c', which is no column: name the columns"
    ):
        written([{"a": 1}, {"a": 2}], [{"a": 3, "b": {"c": 1}}])
    with pytest.raises(InvalidParameter, match=r"a field named 'a\.b', which a table would show as another"):
        written([{"a.b": 1}])


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (7, "int"),
        (Int64(2**40), "long"),
        (0.1, "double"),
        (float("nan"), "double"),
        (Decimal128("1.10"), "decimal"),
        (False, "boolean"),
        (datetime(1901, 1, 1, 0, 0, 0, 5000), "date"),
        (ObjectId("5f0c3a9b1e42000000000001"), "objectId"),
        (Regex("a,b", "i"), "json"),
        ([{"a": b"\0"}], "json"),
        ("plain", "string"),
    ],
)
def test_a_cell_is_read_again_by_its_type(value: Any, kind: str) -> None:
    text = written([{"v": value}])
    [row] = tables.Table(reader(text.encode()), types={"v": kind}).rows()
    assert again(row) == bson.encode({"v": value}, codec_options=CODEC)
