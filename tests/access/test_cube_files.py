"""Whole files into and out of the DataCube API's collections, on both engines."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import json
import os
import resource
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from asgi import Answer, Application
from cube_app import Crud, ask, database, key_of, ok, on_engine, refused, registered

from doorleaf.apart.turns import Turns
from doorleaf.dialects.datacube import importing as imports
from doorleaf.dialects.datacube import uploads
from doorleaf.dialects.datacube.importing import RUNNING
from doorleaf.transfer import importing, rows

NAMES = itertools.count()
PATH = "/api/import_data"
BOUNDARY = "----boundary"


@pytest.fixture(scope="module", params=["embedded", "mongo"])
def app(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    with on_engine(request, tmp_path_factory, "files") as running:
        yield running


@pytest.fixture(scope="module")
def ada(app: Application) -> str:
    return registered(app, f"ada{next(NAMES)}@example.com")


@pytest.fixture
def events(app: Application, ada: str) -> Crud:
    return Crud(app, ada, database(app, ada, f"files{next(NAMES)}"), "events")


def form(fields: dict[str, str], file: bytes | None, name: str = "events.json", *, first: bool = False) -> bytes:
    """A form with a file; ``first`` has the file before the fields."""
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
        for key, value in fields.items()
    ]
    if file is not None:
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="json_file"; filename="{name}"\r\n'
        part = f"{head}Content-Type: application/octet-stream\r\n\r\n".encode() + file + b"\r\n"
        parts.insert(0 if first else len(parts), part)
    return b"".join([*parts, f"--{BOUNDARY}--\r\n".encode()])


def put(crud: Crud, file: bytes | None, name: str = "events.json", *, first: bool = False, **fields: str) -> Answer:
    given = {"database_id": crud.place["database_id"], **fields}
    headers = {"authorization": crud.who, "content-type": f"multipart/form-data; boundary={BOUNDARY}"}
    body = form(given, file, name, first=first)
    pieces = [body[start : start + 100] for start in range(0, min(len(body), 2000), 100)] + [body[2000:]]
    return crud.app.call("POST", PATH, [piece for piece in pieces if piece], headers)


def put_in(crud: Crud, file: bytes, name: str = "events.json", *, status: int = 201, **fields: Any) -> Any:
    answer = put(crud, file, name, **fields)
    assert answer.status == status, answer.body
    return answer.json


ROWS = [{"n": 1, "tag": "a,b"}, {"n": 2, "tag": "ü"}, {"n": 3, "tag": ""}]


@pytest.mark.parametrize(
    ("file", "name"),
    [
        (json.dumps(ROWS).encode(), "events.json"),
        (json.dumps(ROWS, indent=2).encode(), "Events.JSON"),
        (b"\xef\xbb\xbf" + json.dumps(ROWS).encode(), "events.json"),
        (b"\n".join(json.dumps(row).encode() for row in ROWS), "events.ndjson"),
        (b"\r\n\r\n".join(json.dumps(row).encode() for row in ROWS), "events"),
        (gzip.compress(json.dumps(ROWS).encode()), "events.json.gz"),
        (gzip.compress(json.dumps(ROWS).encode()), "events.json"),
        ('n,tag\r\n1,"a,b"\r\n2,ü\r\n3,""\r\n'.encode(), "events.csv"),
    ],
    ids=["array", "indented", "bom", "lines", "objects", "gzip", "gzip unsaid", "csv"],
)
@pytest.mark.parametrize("first", [False, True])
def test_files_of_each_kind(events: Crud, file: bytes, name: str, first: bool) -> None:
    told = put_in(events, file, name, first=first)
    assert (told["success"], told["collection"], told["inserted_count"]) == (True, "events", 3)
    assert (told["rejected_count"], told["rejected"]) == (0, [])
    found = events.all(sort='{"n":1}', projection='{"_id":0}')
    assert [row["n"] for row in found] == [1, 2, 3]
    assert [row.get("tag", "") for row in found] == ["a,b", "ü", ""]
    [declared] = [
        one
        for one in ok(events.app, "GET", "/api/get_metadata", as_=events.who, database_id=events.place["database_id"])[
            "data"
        ]["collections"]
        if one["name"] == "events"
    ]
    assert [(field["name"], field["type"]) for field in declared["fields"]] == [("n", "integer"), ("tag", "string")]


def test_one_object_and_none(events: Crud) -> None:
    assert put_in(events, b'{"n": {"$numberLong": "5"}, "at": {"$date": 0}}')["inserted_count"] == 1
    told = put_in(events, b" [ ] ", status=200)
    assert (told["success"], told["inserted_count"]) == (True, 0)
    assert told["message"]
    assert len(events.all()) == 1


@pytest.mark.parametrize(
    ("name", "collection"),
    [("My Events-2024.json", "my_events_2024"), ("a/b\\c d.ndjson.gz", "c_d"), ("ünï.json", "ünï")],
)
def test_a_collection_is_called_as_its_file(events: Crud, name: str, collection: str) -> None:
    file = gzip.compress(b'[{"n":1}]') if name.endswith("gz") else b'[{"n":1}]'
    name = name.replace("\\", "\\\\")
    assert put_in(events, file, name)["collection"] == collection
    told = put_in(events, file, name, collection_name="chosen")
    assert told["collection"] == "chosen"


def test_what_is_no_file_of_documents(events: Crud) -> None:
    wrong = [b"not json", b'[{"n":1}', b'[{"n":1},]', b"[1, 2]", b'"text"', b"5", b"\xff\xfe{", b'{"n":']
    for file in (*wrong, b"\x1f\x8b\x08broken"):
        told = put_in(events, file, status=400)
        assert told["success"] is False, file
        assert told["message"]
    put_in(events, b" [ ] ", status=200, idempotency_key="k")
    listed = ok(events.app, "GET", "/api/list_collections", as_=events.who, database_id=events.place["database_id"])
    assert [(one["name"], one["num_documents"]) for one in listed["collections"]] == [("users", 0)]
    late = b"\n".join([b"5"] * 150 + [b'{"n":1}'])
    assert put_in(events, late, "late.ndjson")["rejected_count"] == 150


def test_rows_that_are_rejected_are_told(events: Crud) -> None:
    file = b'{"_id":1}\n{"_id":2\n\n{"_id":1,"other":true}\n[]\n{"_id":3}\n'
    told = put_in(events, file, "events.ndjson")
    assert (told["success"], told["inserted_count"], told["rejected_count"]) == (True, 2, 3)
    assert [one["line"] for one in told["rejected"]] == [2, 5, 4]
    assert "E11000" in told["rejected"][2]["reason"]
    assert [one["_id"] for one in events.all(sort='{"_id":1}')] == [1, 3]
    table = put_in(events, b"n,at\n1,2020-01-01\n2\n3,2020-01-03\n", "table.csv")
    assert (table["inserted_count"], [one["line"] for one in table["rejected"]]) == (2, [3])


def test_all_or_nothing(events: Crud) -> None:
    put_in(events, b'[{"_id":"there","mine":true}]')
    for file in (
        b'{"_id":1}\n{"_id":2\n{"_id":3}\n',
        b'{"_id":1}\n{"_id":"there"}\n{"_id":3}\n',
        b'{"_id":1}\n{"n":1}\n{"_id":1,"x":2}\n{"_id":"there","mine":true}\n',
        b'[{"_id":1},{"_id":2}',
    ):
        told = put_in(events, file, status=400, all_or_nothing="true")
        assert told["success"] is False
        assert told.get("inserted_count", 0) == 0
        assert events.all() == [{"_id": "there", "mine": True}]
    assert put_in(events, b'{"_id":1}\n{"n":2}\n', all_or_nothing="true")["inserted_count"] == 2
    assert len(events.all()) == 3


def test_all_or_nothing_without_room_on_the_disk(
    events: Crud, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "mongo" not in request.node.name:
        pytest.skip("the database is in this process, whose files may not grow")
    monkeypatch.setattr(importing, "LONGEST_WAIT", 0.01)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for number in (1500, 4000):  # the file itself finds room, and then not even that
        file = b'{"n":1}\n' * number
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, hard))
        try:
            answer = put(events, file, all_or_nothing="true")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        refused(answer, 503, "StoreUnavailable")
        assert answer.json.get("inserted_count", 0) == 0
        assert events.all() == []


def test_a_thread_that_reads_on_reads_no_file_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever sent a file is gone while it is read, and what is opened next mostly has the number of that file."""
    taking, going, done = threading.Event(), threading.Event(), threading.Event()

    def late(rows: Any, most: int) -> Any:
        taking.set()
        going.wait(60)
        try:
            return importing.take(rows, most)
        finally:
            done.set()

    async def scenario() -> int:
        with uploads.temporary(tmp_path) as file:
            uploads.put(file, b'{"n":"%b"}\n' % (b"x" * 40_000) * 100)
            asked = imports._Asked("events", "json", True, "", "")
            turn = imports._Turn(Turns(1), "ada")
            looking = asyncio.create_task(imports._looked_through(uploads.Form(file), asked, turn))
            await asyncio.to_thread(taking.wait, 60)
            looking.cancel()
            await asyncio.wait({looking})
        with (tmp_path / "other").open("xb+") as other:
            other.truncate(4_000_000)
            going.set()
            await asyncio.to_thread(done.wait, 60)
            return os.lseek(other.fileno(), 0, os.SEEK_CUR)

    monkeypatch.setattr(imports, "take", late)
    assert asyncio.run(scenario()) == 0


def test_what_was_cut_off_is_taken_up_again(events: Crud) -> None:
    rows = [{"n": n} for n in range(2500)] + [{"_id": "own", "n": -1}]
    whole = b"[" + b",\n".join(json.dumps(row).encode() for row in rows) + b"]"
    begun = b"\n".join(whole.split(b"\n")[:1200])
    assert put_in(events, begun, idempotency_key="k1", status=400)["inserted_count"] == 1200
    again = put_in(events, whole, idempotency_key="k1")
    assert (again["inserted_count"], again["present_count"], again["rejected_count"]) == (2501, 1200, 0)
    events.delete({"_id": "own"}, hard=True)
    assert put_in(events, whole, idempotency_key="k1") == again
    assert events.read()["pagination"]["total_items"] == 2500
    for other in ({"file": begun}, {"file": whole, "all_or_nothing": "true"}, {"file": whole, "format": "csv"}):
        refused(put(events, **other, idempotency_key="k1"), 409, "IdempotencyConflict")
    put_in(events, b'[{"_id":"own","n":-1}]')
    other = put_in(events, whole, idempotency_key="k2")
    assert (other["inserted_count"], other["present_count"]) == (2501, 1)
    assert events.read()["pagination"]["total_items"] == 5001


def test_a_file_that_comes_twice_at_once_is_put_in_once(events: Crud) -> None:
    file = b"[" + b",".join(b'{"n":%d}' % n for n in range(300)) + b",5]"
    body = form({"database_id": events.place["database_id"], "idempotency_key": "k"}, file)
    headers = {"authorization": events.who, "content-type": f"multipart/form-data; boundary={BOUNDARY}"}

    async def twice() -> list[Answer]:
        return list(await asyncio.gather(*(events.app.request("POST", PATH, body, headers) for _ in range(3))))

    told = [(answer.status, answer.body) for answer in events.app.run(twice())]
    assert len(set(told)) == 1
    assert json.loads(told[0][1])["inserted_count"] == 300
    assert len(json.loads(told[0][1])["rejected"]) == 1
    assert events.read()["pagination"]["total_items"] == 300
    # A collection of the same name that is made anew knows nothing of it.
    gone = {"database_id": events.place["database_id"], "collection_names": ["events"]}
    ok(events.app, "DELETE", "/api/drop_collections", gone, as_=events.who)
    assert put_in(events, file, idempotency_key="k")["inserted_count"] == 300
    assert events.read()["pagination"]["total_items"] == 300


def test_large_files_keep_nobody_else_from_putting_in_theirs(events: Crud, app: Application) -> None:
    bob = registered(app, f"bob{next(NAMES)}@example.com")
    small = Crud(app, bob, database(app, bob, "files"), "events")
    large = b"[" + b",".join(b'{"n":%d}' % n for n in range(20_000)) + b"]"

    def asked(crud: Crud, file: bytes) -> Any:
        headers = {"authorization": crud.who, "content-type": f"multipart/form-data; boundary={BOUNDARY}"}
        return app.request("POST", PATH, form({"database_id": crud.place["database_id"]}, file), headers)

    async def beside() -> tuple[Answer, list[bool], list[Answer]]:
        under_way = [asyncio.create_task(asked(events, large)) for _ in range(RUNNING)]
        query = urlencode({**events.place, "page_size": 1}).encode()
        while True:
            seen = await app.request("GET", "/api/crud", b"", {"authorization": events.who}, query)
            if seen.json.get("pagination", {}).get("total_items"):
                break
            await asyncio.sleep(0.01)
        answer = await asked(small, b'[{"n":1}]')
        return answer, [task.done() for task in under_way], list(await asyncio.gather(*under_way))

    answer, done, others = app.run(beside())
    assert answer.status == 201, answer.body
    assert not any(done)
    assert [other.status for other in others] == [201] * RUNNING
    assert events.read()["pagination"]["total_items"] == 20_000 * RUNNING


def test_rows_that_are_large_are_looked_at_in_a_thread(events: Crud, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[str] = []
    decoded = rows.decode  # type: ignore[attr-defined]  # which it imports

    def noted(document: bytes) -> Any:
        threads.append(threading.current_thread().name)
        return decoded(document)

    monkeypatch.setattr(rows, "decode", noted)
    row = {"_id": 1, "text": ("x" * 45 + '_id\0"é😀') * 30_000}
    file = json.dumps([row], ensure_ascii=False).encode()
    for key in ("k1", "k2"):
        told = put_in(events, file, collection_name="large", idempotency_key=key)
        assert (told["inserted_count"], told["present_count"]) == (1, key == "k2")
    assert Crud(events.app, events.who, events.place["database_id"], "large").read()["data"] == [row]
    assert threads
    assert all(name.startswith(("doorleaf-importing", "asyncio_")) for name in threads), threads


def test_forms_that_are_refused(events: Crud) -> None:
    good = {"database_id": events.place["database_id"]}
    headers = {"authorization": events.who, "content-type": f"multipart/form-data; boundary={BOUNDARY}"}
    file = b'[{"n":1}]'

    def sent(body: bytes, kind: str | None = None, status: int = 400) -> Any:
        given = headers if kind is None else {**headers, "content-type": kind}
        return refused(events.app.call("POST", PATH, body, given), status)

    assert sent(form(good, None))["json_file"] == ["This field is required."]
    assert sent(b"{}", "application/json")["json_file"] == ["This field is required."]
    assert sent(form({}, file))["database_id"] == ["This field is required."]
    sent(form(good, file), "multipart/form-data")
    sent(file, "text/csv", 415)
    sent(form(good, file)[:-10])
    sent(form(good, file)[:60])
    sent(b"nonsense")
    sent(form({**good, "colour": "red"}, file))
    sent(form({**good, "all_or_nothing": "maybe"}, file))
    sent(form({**good, "format": "xlsx"}, file))
    sent(form({**good, "collection_name": "a.b"}, file))
    sent(form({**good, "collection_name": "system.users"}, file))
    sent(form({f"f{n}": "" for n in range(30)}, file))
    sent(form({**good, "idempotency_key": "x" * 300}, file))
    sent(form({"database_id": "0" * 24}, file), status=404)
    sent(form({"database_id": "x"}, file))
    sent(form(good, file, first=True).replace(b"json_file", b"other"))
    whole = form(good, file)
    part = whole[: whole.index(b"--" + BOUNDARY.encode(), 5)]
    assert sent(part + whole)["database_id"] == ["It is there twice."]
    assert sent(form({**good, "collection_name": "x" * 70_000}, file))["collection_name"][0].startswith(
        "It is longer than"
    )
    assert sent(whole.replace(good["database_id"].encode(), b"\xff"))["database_id"] == ["It is not UTF-8."]
    two = form({}, file)[: -len(f"--{BOUNDARY}--\r\n")] + whole
    assert sent(two)["json_file"] == ["There are two files; send one."]
    assert sent(whole.replace(b'name="database_id"', b'name="database_id"; filename="x"'))["database_id"]
    sent(whole.replace(b"\r\n\r\n", b"\r\nX: " + b"y" * 20_000 + b"\r\n\r\n", 1))
    listed = ok(events.app, "GET", "/api/list_collections", as_=events.who, **good)["collections"]
    assert [one["name"] for one in listed] == ["users"]


def test_nobody_imports_or_exports_what_is_not_theirs(events: Crud, app: Application) -> None:
    put_in(events, b'[{"_id":1}]')
    mallory = Crud(app, registered(app, f"m{next(NAMES)}@example.com"), events.place["database_id"], "events")
    refused(put(mallory, b'[{"_id":2}]'), 404)
    refused(ask(app, "GET", "/api/export_data", as_=mallory.who, **mallory.place), 404)
    reads = key_of(app, events.who, f"k{next(NAMES)}", permissions=["read"])
    refused(put(Crud(app, reads, events.place["database_id"]), b'[{"_id":2}]'), 403)
    writes = Crud(app, key_of(app, events.who, f"k{next(NAMES)}", permissions=["write"]), events.place["database_id"])
    assert put_in(writes, b'[{"_id":3}]')["inserted_count"] == 1
    refused(put(writes, b'[{"_id":3}]', "new.json"), 403)
    refused(ask(app, "GET", "/api/export_data", as_=writes.who, **events.place), 403)
    assert [one["_id"] for one in events.all(sort='{"_id":1}')] == [1, 3]


# --- out -------------------------------------------------------------------------------------------------------------


def exported(crud: Crud, accept: str | None = None, **query: Any) -> Answer:
    answer = ask(crud.app, "GET", "/api/export_data", as_=crud.who, accept=accept, **crud.place, **query)
    assert answer.status == 200, answer.body
    assert answer.headers["content-disposition"].startswith("attachment; filename*=UTF-8''events.")
    return answer


def test_exports(events: Crud) -> None:
    rows = [
        {"_id": 1, "at": {"$date": "2024-01-02T03:04:05Z"}, "s": 'a"b,c'},
        {"_id": 2, "in": {"x": 1}, "s": "ü"},
        {"_id": 3, "s": "gone"},
    ]
    put_in(events, json.dumps(rows).encode())
    events.delete({"_id": 3})
    lines = exported(events, sort='{"_id":1}')
    assert lines.headers["content-type"] == "application/x-ndjson"
    assert [json.loads(line) for line in lines.body.splitlines()] == rows[:2]
    assert exported(events, format="json", sort='{"_id":1}').json == rows[:2]
    plain = exported(events, "application/json", format="json", filters='{"_id":1}').json
    assert plain[0]["at"] == "2024-01-02T03:04:05.000Z"
    assert len(exported(events, include_deleted="true").body.splitlines()) == 3
    table = exported(events, format="csv", sort='{"_id":1}').body.decode()
    assert table == '_id,at,in,s\n1,2024-01-02T03:04:05.000Z,,"a""b,c"\n2,,"{""x"":1}",ü\n'
    assert exported(events, format="csv", fields="s,in.x", filters='{"_id":2}').body == "s,in.x\nü,1\n".encode()
    assert exported(events, format="json", filters='{"_id":9}').body == b"[]\n"
    again = Crud(events.app, events.who, events.place["database_id"], "again")
    put_in(again, lines.body, "again.ndjson")
    assert [json.loads(line) for line in lines.body.splitlines()] == rows[:2]
    typed = ask(again.app, "GET", "/api/export_data", as_=again.who, sort='{"_id":1}', **again.place)
    assert typed.body == lines.body


@pytest.mark.parametrize(
    "query",
    [{"format": "bson"}, {"filters": "{"}, {"sort": "x"}, {"filters": '{"$where":"1"}'}, {"colour": "red"}]
    + [{"format": "csv", "fields": fields} for fields in ("", "s,", "s,s", "in..x", "in.\0")],
)
def test_exports_that_are_refused(events: Crud, query: Any) -> None:
    put_in(events, b'[{"_id":1}]')
    refused(ask(events.app, "GET", "/api/export_data", as_=events.who, **events.place, **query), 400)
    missing = {**events.place, "collection_name": "nobody"}
    refused(ask(events.app, "GET", "/api/export_data", as_=events.who, **missing), 404)
