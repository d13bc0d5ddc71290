"""``doorleaf import`` as a process: into a data folder, a MongoDB and a running server, and killed again and again."""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import time
from pathlib import Path

import bson
import pytest
from bson import ObjectId
from commands import command, counts, report, run
from servers import Doorleaf, doorleaf, free_port, start_doorleaf

KILLS = int(os.environ.get("DOORLEAF_KILLS", "3"))
OVER_HTTP = int(os.environ.get("DOORLEAF_KILLS_OVER_HTTP", "2"))
"""How often an import over HTTP is cut off: the command is killed, then the server, and so on."""
ROWS = 20_000


@pytest.fixture
def ndjson(tmp_path: Path) -> Path:
    path = tmp_path / "rows.ndjson"
    path.write_text("".join(f'{{"n":{number},"text":"{"x" * 50}"}}\n' for number in range(ROWS)))
    return path


def held(folder: Path) -> int:
    """The bytes of a database and its log."""
    size = 0
    for path in folder.glob("doorleaf.sqlite3*"):
        with contextlib.suppress(FileNotFoundError):  # a log goes with the process
            size += path.stat().st_size
    return size


def test_an_import_that_is_killed_goes_on_and_doubles_nothing(tmp_path: Path, ndjson: Path) -> None:
    into = ("import", ndjson.name, "d.c", "--data-dir", "data", "--batch", "500", "--json")
    kills = 0
    chance = random.Random(7)
    while kills < KILLS:
        enough = held(tmp_path / "data") + chance.randint(20_000, 400_000)
        process = subprocess.Popen(**command(tmp_path, *into), start_new_session=True)
        while process.poll() is None and held(tmp_path / "data") < enough:
            time.sleep(0.001)
        if process.poll() is not None:
            process.communicate()
            break  # all of it is in
        kills += 1
        os.killpg(process.pid, 9)
        process.communicate()
    told = report(tmp_path, *into[1:-1])
    assert told["rows"] == ROWS == told["inserted"] + told["present"]
    assert kills
    assert counts(report(tmp_path, *into[1:-1])) == {"rows": ROWS, "present": ROWS}
    with doorleaf(tmp_path / "data") as server:
        there = server.ok("aggregate", pipeline=[{"$group": {"_id": "$n"}}, {"$count": "n"}])
        assert there["documents"] == [{"n": ROWS}]
        assert server.ok("countDocuments")["count"] == ROWS


def count(server: Doorleaf) -> int:
    return int(server.ok("countDocuments", database="d", collection="c")["count"])


@pytest.mark.timeout(240 + 60 * OVER_HTTP)
def test_an_import_over_http_goes_on_when_either_side_is_killed(tmp_path: Path) -> None:
    rows = 2_000 * (1 + OVER_HTTP)
    some = tmp_path / "some.ndjson"
    some.write_text("".join(f'{{"n":{number},"text":"{"x" * 50}"}}\n' for number in range(rows)))
    port, chance, killed = free_port(), random.Random(11), 0
    server = start_doorleaf(tmp_path / "data", port=port)
    try:
        into = ("import", some.name, "d.c", "--url", server.url, "--key", server.key, "--batch", "100", "--json")
        there = 0
        for turn in range(OVER_HTTP):
            most = there + (rows - there) // (2 * (OVER_HTTP - turn))
            enough = chance.randint(there + 1, max(there + 1, most))
            process = subprocess.Popen(**command(tmp_path, *into), start_new_session=True)
            while process.poll() is None and count(server) < enough:
                time.sleep(0.005)
            killed += process.poll() is None
            if turn % 2 == 0:
                process.kill()
                process.communicate()
            else:
                key = server.key
                server.kill()
                server = start_doorleaf(tmp_path / "data", port=port, key=key)
                told = json.loads(process.communicate(timeout=120)[0])  # it has gone on, or has stopped
                assert told["inserted"] + told["present"] <= count(server)
            there = count(server)
        told = report(tmp_path, *into[1:-1])
        assert told["rows"] == rows == told["inserted"] + told["present"]
        assert told["present"] >= there
        different = [{"$group": {"_id": "$n"}}, {"$count": "n"}]
        found = server.ok("aggregate", collection="c", database="d", pipeline=different)["documents"]
        assert found == [{"n": rows}]
        assert count(server) == rows
        assert killed
    finally:
        server.stop()


def test_into_a_running_server(tmp_path: Path, doorleaf_process: Doorleaf) -> None:
    server = doorleaf_process
    data = b"".join(bson.encode({"_id": number, "n": bson.Int64(number)}) for number in range(3000))
    (tmp_path / "rows.bson").write_bytes(data)
    index = {"v": 2, "key": {"n": 1}, "name": "by_n", "unique": True}
    (tmp_path / "rows.metadata.json").write_text(json.dumps({"options": {}, "indexes": [index], "uuid": ""}))
    there = ("--url", server.url)
    told = report(tmp_path, "rows.bson", "d.c", *there, "--key", server.key)
    assert counts(told) == {"rows": 3000, "inserted": 3000}
    assert told["type"] == "bson"
    assert [index["name"] for index in server.ok("listIndexes")["indexes"]] == ["_id_", "by_n"]
    told = report(tmp_path, "rows.bson", "d.c", *there, DOORLEAF_KEY=server.key)
    assert counts(told) == {"rows": 3000, "present": 3000}
    told = report(tmp_path, "-", "d.c", *there, "--upsert", "_id", DOORLEAF_KEY=server.key, given=b'{"_id":1,"n":7000}')
    assert counts(told) == {"rows": 1, "matched": 1, "modified": 1}
    given = b'{"_id":1,"n":1}\n{"n":2}\n{"n":9000}'
    told = report(tmp_path, "-", "d.c", *there, DOORLEAF_KEY=server.key, given=given, code=1)
    assert counts(told) == {"rows": 3, "inserted": 1, "rejected": 2}
    assert [problem["row"] for problem in told["problems"]] == [1, 2]
    made = ObjectId(server.ok("findOne", filter={"n": 9000})["document"]["_id"])
    assert abs(made.generation_time.timestamp() - time.time()) < 3600
    out, err = run(tmp_path, "import", "rows.bson", "d.c", *there, "--key", "wrong", code=1)
    assert "nothing to do" in out
    assert "stopped:" in err
    assert "wrong" not in out + err
    told = report(tmp_path, "rows.bson", "d.c", *there, "--drop", DOORLEAF_KEY=server.key)
    assert counts(told) == {"rows": 3000, "inserted": 3000}
    assert server.ok("countDocuments")["count"] == 3000


def test_into_a_mongodb(tmp_path: Path, mongodb_uri: str) -> None:
    database = f"import_{os.getpid()}"
    (tmp_path / "rows.csv").write_text('_id,name,home.zip\n1,"Zoë, A",0101\n2,B,0202\nx,C,1\n')
    into = ("rows.csv", f"{database}.c", "--uri", mongodb_uri)
    assert counts(report(tmp_path, *into, "--types", "_id=string")) == {"rows": 3, "inserted": 3}
    assert counts(report(tmp_path, *into, "--drop", "--types", "_id=int", code=1)) == {
        "rows": 3,
        "inserted": 2,
        "rejected": 1,
    }
    assert counts(report(tmp_path, *into, "--types", "_id=int", "--replace", code=1)) == {
        "rows": 3,
        "matched": 2,
        "rejected": 1,
    }


def test_rejected_rows_are_kept_and_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,when\n" + "1,2024-01-31\n" * 1000 + 'x,2024-01-31\n2,"no date"\n')
    out, err = run(tmp_path, "import", "rows.csv", "d.c", "--dry-run", code=1)
    assert "csv: 1,002 rows, 2 of them would be rejected" in out
    assert [line.split() for line in out.splitlines()[1:]] == [["Column", "Type"], ["a", "int"], ["when", "date"]]
    assert "row 1002: a: expected an integer" in err
    assert {path.name for path in tmp_path.iterdir()} == {"rows.csv"}
    out, err = run(tmp_path, "import", "rows.csv", "d.c", "--rejected", "bad.jsonl", code=1)
    assert out.startswith("1,002 rows: 1,000 inserted, 2 rejected;")
    kept = [json.loads(line) for line in (tmp_path / "bad.jsonl").read_text().splitlines()]
    assert [(line["row"], line["text"]) for line in kept] == [(1002, "x,2024-01-31"), (1003, '2,"no date"')]
    assert "expected a date such as 2030-01-31" in kept[1]["reason"]
    told = report(tmp_path, "rows.csv", "d.other", "--stop-on-error", code=1)
    assert counts(told) == {"rows": 1001, "inserted": 1000, "rejected": 1}
    assert told["stopped"] == "row 1002 was rejected"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("missing.json", "d.c"), "missing.json: no such file or directory"),
        (("rows.csv", "d"), "expected DATABASE.COLLECTION, got 'd'"),
        (("a", "b", "d.c"), "expected [FILE|-] DATABASE.COLLECTION"),
        (("rows.csv", "d.c", "--key", "k"), "--key: is for --url"),
        (("rows.csv", "d.c", "--url", "http://127.0.0.1:1", "--data-dir", "x"), "--url: cannot be combined"),
        (("rows.csv", "d.c", "--url", "ftp://h"), "--url: expected http:// or https://"),
        (("rows.csv", "d.c", "--types", "a"), "--types: 'a' is not like price=decimal"),
        (("rows.csv", "d.c", "--stop-on-error", "--rejected", "f"), "--stop-on-error: cannot be combined"),
        (("rows.csv", "doorleaf.keys"), "belongs to the server"),
    ],
)
def test_wrong_commands_are_a_line(tmp_path: Path, args: tuple[str, ...], said: str) -> None:
    (tmp_path / "rows.csv").write_text("a\n1\n")
    assert said in run(tmp_path, "import", *args, code=1)[1]
