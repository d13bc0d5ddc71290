"""Files as rows: what each format means, and what is said of what cannot be read."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import re
import struct
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import bson
import pytest
from bson import Decimal128, Int64, ObjectId
from hypothesis import given, settings
from hypothesis import strategies as st
from odd import ODD, raw, reader

from doorleaf.documents import CODEC, Exact
from doorleaf.ejson import pieces
from doorleaf.errors import InvalidParameter
from doorleaf.transfer import bson_file, json_file, ndjson, rows, tables
from doorleaf.transfer.files import Source, opened
from doorleaf.transfer.importing import take
from doorleaf.transfer.outline import rows_of
from doorleaf.transfer.rows import Row, Unreadable

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


def documents(found: list[Row]) -> list[Any]:
    assert not [row for row in found if row.reason]
    return [row.document for row in found]


def until_unreadable(given: Iterator[Row]) -> tuple[list[Row], str]:
    """The rows before the place where no more can be read, and why that is."""
    found = []
    try:
        for row in given:
            found.append(row)  # noqa: PERF402  # what came before the error counts
    except Unreadable as error:
        return found, error.message
    raise AssertionError("all of it can be read")


def reasons(found: list[Row]) -> dict[int, str]:
    return {row.number: row.reason for row in found if row.reason}


# --- NDJSON ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
def test_lines_are_documents(piece: int) -> None:
    second = b'{"_id":{"$oid":"5f0c3a9b1e42000000000001"},"d":{"$date":"2024-01-01T00:00:00Z"}}'
    text = b'\xef\xbb\xbf{"a":1}\r\n\n  \n%b\n{"b":2}' % second
    found = list(ndjson.rows(reader(text, piece)))
    assert documents(found) == [
        {"a": 1},
        {"_id": ObjectId("5f0c3a9b1e42000000000001"), "d": datetime(2024, 1, 1)},
        {"b": 2},
    ]
    assert [row.number for row in found] == [1, 4, 5]


def test_a_bad_line_is_told_and_the_others_are_read() -> None:
    text = b'{"a":1}\n{"a":}\n[1]\n{"a":{"$oid":"x"}}\n{"a":2}\n{"a":\xff}\n'
    found = list(ndjson.rows(reader(text)))
    assert [row.document for row in found if row.document] == [{"a": 1}, {"a": 2}]
    told = reasons(found)
    assert list(told) == [2, 3, 4, 6]
    assert told[2].startswith("malformed JSON at byte 5")
    assert "the row must be a JSON object, got an array" in told[3]
    assert told[4].startswith("a.$oid: expected 24 hexadecimal digits")
    assert found[1].source == b'{"a":}'


def test_a_line_that_is_too_long_is_passed_over_and_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "MOST_ROW_BYTES", 1000)
    text = b'{"a":1}\n{"a":"' + b"x" * 5000 + b'"}\n{"a":2}\n{"a":"' + b"x" * 5000
    found = list(ndjson.rows(reader(text, 100)))
    assert [row.document for row in found if row.document] == [{"a": 1}, {"a": 2}]
    assert list(reasons(found)) == [2, 4]
    assert found[1].source == b""


# --- JSON ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("piece", [1, 5, 1 << 20])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[]", []),
        (" [ ] \n", []),
        ("", []),
        ("{}", [{}]),
        ('[{"a":1},\n {"a":[1,{"b":"}]"}]}\n]\n', [{"a": 1}, {"a": [1, {"b": "}]"}]}]),
        ('{"a":1}\n{\n "a": 2\n}{"a":3} ', [{"a": 1}, {"a": 2}, {"a": 3}]),
        ('\ufeff[{"ä":"\\"\\\\"}]', [{"ä": '"\\'}]),
        ('[{"a":-1.5e3,"b":true,"c":null}]', [{"a": -1500.0, "b": True, "c": None}]),
    ],
)
def test_arrays_and_objects_one_after_another(text: str, expected: list[Any], piece: int) -> None:
    assert documents(list(json_file.rows(reader(text.encode(), piece)))) == expected


def test_lines_and_kinds_of_what_is_no_document() -> None:
    text = b'[{"a":1},\n17,\n"x",\n{"a":1,"a":2},\n{"n":' + b"9" * 5000 + b'},\n{"a":3}]'
    found = list(json_file.rows(reader(text, 64)))
    assert [row.document for row in found if row.document] == [{"a": 1}, {"a": 3}]
    told = reasons(found)
    assert list(told) == [2, 3, 4, 5]
    assert "an integer" in told[2]
    assert "twice" in told[4]
    assert "beyond 64 bits" in told[5]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[{"a":1}', "line 1: malformed JSON: the array does not end"),
        ('[{"a":1}\n{"a":2}]', "line 2: malformed JSON: expected a comma or the end of the array"),
        ('[{"a":1},]', "expected an object behind the comma"),
        ('[{"a":1}] x', "there is something behind the end of the array"),
        ('{"a":1}\n{"a": ', "line 2: malformed JSON"),
        ('{"a":1}\n{"a": tru }', "line 2: malformed JSON"),
        ('{"a":1}\n{"a": "xyz', "line 2: malformed JSON"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a": nope, "b": "' + "x" * 100 + '"}', "malformed JSON: expecting value"),
    ],
)
def test_where_json_ends_to_be_json_reading_ends(text: str, said: str) -> None:
    found, error = until_unreadable(json_file.rows(reader(text.encode(), 16)))
    assert said in error
    assert all(row.document == {"a": 1} for row in found)


def test_bytes_that_are_no_utf8_end_an_array() -> None:
    with pytest.raises(Unreadable, match="not UTF-8"):
        list(json_file.rows(reader(b'[{"a":"\xff"}]')))


_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("ab{}[],:\"' \\\n", max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.dictionaries(st.text("ab{}\"'", max_size=3), _VALUES, max_size=4), max_size=6), st.integers(1, 60))
def test_an_array_means_what_its_elements_mean_by_themselves(values: list[Any], piece: int) -> None:
    text = json.dumps(values, indent=1, allow_nan=False).encode()
    lines = [ndjson.row(0, json.dumps(value).encode()) for value in values]
    found = list(json_file.rows(reader(text, piece)))
    assert [row.document for row in found] == [row.document for row in lines]
    assert [row.reason for row in found] == [row.reason for row in lines]


# --- BSON ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("piece", [1, 13, 1 << 20])
def test_bson_comes_with_its_bytes(piece: int) -> None:
    data = [bson.encode({"_id": 1, "n": Int64(2)}), *ODD, bson.encode({})]
    found = list(bson_file.rows(reader(b"".join(data), piece)))
    assert [row.number for row in found] == list(range(1, len(data) + 1))
    for row, encoded in zip(found, data, strict=True):
        assert isinstance(row.document, Exact)
        assert row.document.raw == encoded
        assert bson.encode(row.document, codec_options=CODEC) == encoded
        assert bson.encode({"in": [row.document]}, codec_options=CODEC).count(encoded) == 1


def test_an_id_comes_first_and_can_be_put_there() -> None:
    encoded = bson.encode({"a": 1, "_id": 2})
    [row] = bson_file.rows(reader(encoded))
    assert list(row.document or ()) == ["_id", "a"]
    [row] = bson_file.rows(reader(ODD[0]))
    assert row.document is not None
    made = bson_file.identified(row.document, ObjectId("0" * 24))
    assert isinstance(made, Exact)
    assert made.raw == raw(0x07, b"_id", bytes(12))[:-1].replace(b"\x16", bytes([len(made.raw)]), 1) + ODD[0][4:]
    last = bson.encode({"a": 1})[4:-1] + ODD[0][4:]
    moved = struct.pack("<i", len(last) + 4 + len(b"\x10_id\0....")) + last[:-1] + b"\x10_id\0" + bytes(4) + b"\0"
    [row] = bson_file.rows(reader(moved))
    assert "cannot be moved" in row.reason


def test_what_is_no_bson_ends_the_reading_or_the_row() -> None:
    good = bson.encode({"a": 1})
    damaged = bytearray(good)
    damaged[4] = 0x77
    found = list(bson_file.rows(reader(good + bytes(damaged) + good)))
    assert [bool(row.document) for row in found] == [True, False, True]
    assert "damaged" in found[1].reason
    for tail, said in (
        (b"\1\0\0\0", "no BSON here"),
        (good[:-2], "ends within a document"),
        (b"\x10\0", "ends within"),
    ):
        with pytest.raises(Unreadable, match=said):
            list(bson_file.rows(reader(good + tail)))
    with pytest.raises(Unreadable, match="archive"):
        Source(io.BufferedReader(io.BytesIO(bson_file.ARCHIVE + b"rest")))


# --- tables ----------------------------------------------------------------------------------------------------------


def table(text: str | bytes, **options: Any) -> tables.Table:
    data = text.encode() if isinstance(text, str) else text
    return tables.Table(reader(data, 11), **options)


def test_types_are_guessed_by_what_all_cells_of_a_column_are() -> None:
    text = (
        "\ufeffi,long,f,b,d,when,zip,mixed,tags,empty\r\n"
        '1,5000000000,1.5,true,2024-01-31,2024-01-31T10:00:00.5+02:00,0042,1,"[1,{""a"":2}]",\r\n'
        '-3,7,2e3,FALSE,2024-02-29,2024-01-31T10:00:00Z,1,x,"{""a"":{""$oid"":""5f0c3a9b1e42000000000001""}}",\r\n'
        ",,,,,,,,,\r\n"
    )
    found = table(text)
    kinds = ["int", "int", "double", "boolean", "date", "date", "string", "string", "json", "string"]
    assert list(found.columns.values()) == kinds
    first, second, third = documents(list(found.rows()))
    assert first == {
        "i": 1,
        "long": Int64(5_000_000_000),
        "f": 1.5,
        "b": True,
        "d": datetime(2024, 1, 31),
        "when": datetime(2024, 1, 31, 8, 0, 0, 500_000),
        "zip": "0042",
        "mixed": "1",
        "tags": [1, {"a": 2}],
        "empty": "",
    }
    assert type(first["long"]) is Int64
    assert second["tags"] == {"a": ObjectId("5f0c3a9b1e42000000000001")}
    assert third == {"zip": "", "mixed": "", "empty": ""}


def test_types_that_are_given_are_taken() -> None:
    text = "_id,price,n,data,zip\n5f0c3a9b1e42000000000001,1.10,3,AAE=,17\n"
    types = {"_id": "objectId", "price": "decimal", "n": "long", "data": "binary", "zip": "string"}
    [document] = documents(list(table(text, types=types).rows()))
    assert document == {
        "_id": ObjectId("5f0c3a9b1e42000000000001"),
        "price": Decimal128("1.10"),
        "n": Int64(3),
        "data": b"\0\1",
        "zip": "17",
    }
    with pytest.raises(InvalidParameter, match="no column 'prize'; the columns are _id, price"):
        table(text, types={"prize": "decimal"})


def test_dots_are_fields_inside_and_quotes_hold_lines() -> None:
    text = 'name,home.town,home.geo.lat\n"a ""b"",\r\nc",Oslo,1.5\n'
    assert documents(list(table(text).rows())) == [
        {"name": 'a "b",\r\nc', "home": {"town": "Oslo", "geo": {"lat": 1.5}}}
    ]
    assert documents(list(table("1\t2\n", delimiter="\t", fields=["a", "b.c"]).rows())) == [{"a": 1, "b": {"c": 2}}]


def test_rows_that_do_not_fit_are_told_with_their_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "SAMPLE", 2)
    text = b'n,t\n1,"a\nb"\n2,b\nx,c\n\n3\n4,\xff\n5,"a"b\n6,d\n7,"open\n8,e\n'
    found = list(table(text).rows())
    assert [row.document["n"] for row in found if row.document] == [1, 2, 6]
    told = reasons(found)
    assert list(told) == [5, 7, 8, 9, 11]
    assert told[5].startswith("n: expected an integer of 32 bits, or else of 64, got 'x'; the column was guessed to be")
    assert told[7] == "the row has 1 cells, and there are 2 columns"
    assert told[8] == "the row is not UTF-8"
    assert "expected after" in told[9]
    assert "unexpected end of data" in told[11]
    assert found[2].source == b"x,c"


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("a,a", "two columns are named 'a'"),
        ("a,", "a field has a name"),
        ("a.,b", "a field has a name"),
        ("a,a.b", "'a' cannot be a column and have the column 'a.b'"),
        ("", "there is no header"),
        ('"a', "the header cannot be read"),
    ],
)
def test_headers_that_name_no_fields_are_refused(header: str, said: str) -> None:
    with pytest.raises(Unreadable, match=said):
        table(header)


def test_blank_cells_can_be_left_out() -> None:
    assert documents(list(table("a,b\n,1\nx,\n", skip_blank=True).rows())) == [{"b": 1}, {"a": "x"}]


# --- files -----------------------------------------------------------------------------------------------------------


def _pack(name: str, data: bytes) -> bytes:
    if name.endswith(".gz"):
        return gzip.compress(data[:9]) + gzip.compress(data[9:])
    return zstd.compress(data[:9]) + zstd.compress(data[9:]) if name.endswith(".zst") else data


@pytest.mark.parametrize("ending", ["", ".gz", ".zst"])
@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("a.ndjson", b'{"a":1}\n{"a":2}\n', "ndjson"),
        ("a.jsonl", b'{"a":1}\n{"a":2}\n', "ndjson"),
        ("a.json", b'{"a":1}\n{"a":2}\n', "ndjson"),
        ("a.json", b'[{"a":1},{"a":2}]', "json"),
        ("a.json", b'{\n"a":1}\n{"a":2}\n', "json"),
        ("a", b' [{"a":1},{"a":2}]', "json"),
        ("a.CSV", b"a\n1\n2\n", "csv"),
        ("a.tsv", b"a\n1\n2\n", "tsv"),
        ("a.bson", bson.encode({"a": 1}) + bson.encode({"a": 2}), "bson"),
    ],
)
def test_format_and_compression_are_found_out(tmp_path: Path, name: str, data: bytes, kind: str, ending: str) -> None:
    path = tmp_path / (name + ending)
    path.write_bytes(_pack(ending, data))
    with contextlib.closing(opened(str(path))) as source:
        found = rows_of(source)
        assert found.kind == kind
        assert documents(list(found.rows)) == [{"a": 1}, {"a": 2}]
        assert source.taken == source.size == path.stat().st_size


@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_a_compressed_file_that_is_cut_off_is_told(tmp_path: Path, ending: str) -> None:
    lines = b"".join(b'{"a":%d,"b":"%s"}\n' % (number, str(hash(number * 7919)).encode()) for number in range(200_000))
    whole = _pack(ending, lines)
    path = tmp_path / f"a.ndjson{ending}"
    path.write_bytes(whole[: len(whole) // 2])
    with contextlib.closing(opened(str(path))) as source:
        found, error = until_unreadable(rows_of(source).rows)
    assert "damaged or cut off" in error
    assert len(found) > 1_000
    assert not [row for row in found if row.reason]


@pytest.mark.parametrize(
    ("name", "data", "options", "said"),
    [
        ("a.txt", b"hello", {}, "--type: give one of bson, csv"),
        ("a.csv", "a,b\n".encode("utf-16"), {}, "UTF-16"),
        ("a.json", b"{}", {"kind": "xml"}, "--type: expected one of bson, csv, json, ndjson, tsv, got 'xml'"),
        ("a.csv", b"a\n1\n", {"types": {"a": "money"}}, "a cannot be 'money'; the types are string, int"),
        ("a.json", b"{}", {"types": {"a": "int"}}, "for csv and tsv, and this is ndjson"),
    ],
)
def test_what_is_not_read_is_refused(
    tmp_path: Path, name: str, data: bytes, options: dict[str, Any], said: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InvalidParameter, match=said), contextlib.closing(opened(str(tmp_path / name))) as source:
        rows_of(source, **options)


def test_metadata_says_options_and_indexes() -> None:
    index = b'{"v":{"$numberInt":"2"},"key":{"a":{"$numberInt":"1"}},"name":"a_1"}'
    text = b'{"options":{"validator":{"a":1}},"indexes":[%b],"uuid":"x"}' % index
    options, indexes = bson_file.metadata(text)
    assert options == {"validator": {"a": 1}}
    assert indexes == [{"v": 2, "key": {"a": 1}, "name": "a_1"}]
    assert bson_file.metadata(bson_file.metadata_text("c", options, indexes)) == (options, indexes)
    for wrong in (b"[]", b"{", b'{"options":1}', b'{"indexes":[1]}'):
        with pytest.raises(Unreadable, match="the metadata cannot be read"):
            bson_file.metadata(wrong)


# --- rows that would take much more memory than their text ------------------------------------------------------------


def test_a_large_row_of_many_small_values_is_rejected_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "MAX_CONTAINERS", 1000)
    text = b'[{"a":1},{"b":[%b"%b"],"c":"\\"]"},{"d":"]}\\\\"}]' % (b"{}," * 1000, b"x" * 2_000_000)
    found = list(json_file.rows(reader(text)))
    assert [row.document for row in found] == [{"a": 1}, None, {"d": "]}\\"}]
    assert found[1].reason == "the row has more than 1000 objects and arrays"
    monkeypatch.setattr(json_file, "_MOST_MARKS", 1000)
    with pytest.raises(Unreadable, match="line 1: malformed JSON: a row has more values than any may have"):
        list(json_file.rows(reader(text)))


def test_large_rows_of_json_are_what_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_file, "_LARGE", 0)
    texts = ['{"a":"}","b":["]","\\\\",{"c":"\\\\\\""}]}', "5", '"x"', "[1]", '{"a":tru}', "{}"]
    for text in (f"[{','.join(texts)}]", "\n".join(texts)):
        found = list(json_file.rows(reader(text.encode(), 3)))
        first = {"a": "}", "b": ["]", "\\", {"c": '\\"'}]}
        assert [row.document for row in found] == [first, None, None, None, None, {}]
        assert "malformed JSON" in found[4].reason
    for text in ('[{"a":"}]', '{"a":{}', '{"a":"\\"}'):
        with pytest.raises(Unreadable, match="it ends within a value"):
            list(json_file.rows(reader(text.encode())))
    # What is inside of a value that is none is no row.
    with pytest.raises(Unreadable, match="line 1: malformed JSON: ] closes another bracket"):
        next(json_file.rows(reader(b'{"a": 1 ] {"b": 2} {"c": 3}')))


def test_tables_that_would_take_much_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Unreadable, match="the table has 20001 columns, and 20000 is the most"):
        table(",".join(f"{number:x}" for number in range(20_001)))
    with pytest.raises(Unreadable, match="the header cannot be read: the row has more than 1000000 cells"):
        table("," * 1_000_001)
    found = list(table("a\n1\n" + "," * 1_000_001 + "\n2\n").rows())
    assert [row.document for row in found] == [{"a": 1}, None, {"a": 2}]
    assert found[1].reason == "the row has more than 1000000 cells"
    monkeypatch.setattr(tables, "MOST_ROW_BYTES", 100)
    found = list(table('a\n"b\n' + "b" * 100 + '"\nx\n').rows())
    assert [row.document for row in found] == [None, {"a": "x"}]
    assert found[0].reason == "the row is longer than 100 bytes"


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ((b"b\n" * 20 + b'","') * 3, "the row is longer than 100 bytes"),
        (b"," * 21 + b"\nb\n", "the row has more than 20 cells"),
        (b"b" * 51 + b"\nb\n", r"field larger than field limit \(50\)"),
        (b"b\xff\nb\n", "the row is not UTF-8"),
    ],
)
def test_what_is_left_of_a_refused_record_is_no_row(monkeypatch: pytest.MonkeyPatch, cell: bytes, said: str) -> None:
    monkeypatch.setattr(tables, "MOST_ROW_BYTES", 100)
    monkeypatch.setattr(tables, "MOST_CELLS", 20)
    monkeypatch.setattr(tables, "MOST_CELL_CHARACTERS", 50)
    for sample in (1, 100):
        monkeypatch.setattr(tables, "SAMPLE", sample)
        rows = table(b'a\n1\n"' + cell + b'x"\n2\n').rows()
        assert next(rows).document == {"a": 1}
        assert re.fullmatch(said, next(rows).reason)
        with pytest.raises(Unreadable, match=f"line 3: {said}, and where it ends cannot be told"):
            next(rows)


def test_a_line_that_is_too_long_to_be_read_opens_quotes_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (rows, tables):
        monkeypatch.setattr(module, "MOST_ROW_BYTES", 100)
    for chunk in (7, 64, 100_000):
        monkeypatch.setattr(rows, "CHUNK_BYTES", chunk)
        found = table('a\n1\n"' + "b" * 150 + '\nx\n"\n2\n').rows()
        assert next(found).document == {"a": 1}
        assert next(found).reason == "the row is longer than 100 bytes"
        with pytest.raises(Unreadable, match="line 3: the row is longer than 100 bytes, and where it ends cannot be"):
            next(found)
        closed = table('a\n1\n"' + "b" * 150 + '"\n2\n').rows()
        assert [row.document for row in closed] == [{"a": 1}, None, {"a": 2}]


def test_long_names_of_columns_take_neither_time_nor_memory() -> None:
    for header in ("a." * 1_000_000 + "a", "b,b".replace("b", "b" * 100_000), "." * 1_000_000):
        with pytest.raises(Unreadable, match=r"a column is named|two columns are named") as told:
            table(header)
        assert len(told.value.message) < 200
    assert documents(list(table("a." * 99 + "a\n1\n").rows()))
    # Each row has the names beside its text, and a batch is full by that.
    batch = take(table("n" * 400_000 + "\n" + "1\n" * 100).rows(), 1_000)
    assert len(batch.rows) == 2
    assert not batch.last
    row = take(table("1\n", fields=["n" * 17_000_000]).rows(), 1_000).rows[0]
    assert row.document is None
    assert row.reason.startswith("the document has 17000")
    row = take(table("x\n", fields=["n" * 100_000], types={"n" * 100_000: "int"}).rows(), 1_000).rows[0]
    assert len(row.reason) < 200


def test_types_are_guessed_by_so_much_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "SAMPLE_BYTES", 10)
    found = list(table("a\n12345\n67890\n12345\nx\n").rows())
    assert [row.document for row in found] == [{"a": 12345}, {"a": 67890}, {"a": 12345}, None]
