"""``doorleaf export`` from a data folder, a MongoDB and a running server, and back by ``doorleaf import``."""

from __future__ import annotations

import gzip
import json
import os
import secrets
from pathlib import Path
from typing import Any

import bson
import pytest
from commands import counts, report, run
from servers import Doorleaf, run_doorleaf

ROWS = 3_000
DOCUMENTS = [{"_id": number, "n": bson.Int64(number * 3), "text": "x" * 200} for number in range(ROWS)]
DATA = b"".join(map(bson.encode, DOCUMENTS))


def exported(folder: Path, *args: str, **env: Any) -> bytes:
    """What an export to standard output writes."""
    return run(folder, "export", *args, **env)[0].encode()


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.suffix != ".log"}


@pytest.mark.parametrize("where", ["folder", "server", "mongodb"])
def test_there_and_back(tmp_path: Path, where: str, request: pytest.FixtureRequest) -> None:
    database = f"export_{secrets.token_hex(4)}"
    env: dict[str, Any] = {}
    if where == "folder":
        there = ("--data-dir", "data")
    elif where == "server":
        server: Doorleaf = request.getfixturevalue("doorleaf_process")
        there, env = ("--url", server.url), {"DOORLEAF_KEY": server.key}
    else:
        there = ("--uri", request.getfixturevalue("mongodb_uri"))
    (tmp_path / "in.bson").write_bytes(DATA)
    index = {"key": {"n": 1}, "name": "by_n", "unique": True}
    (tmp_path / "in.metadata.json").write_text(json.dumps({"options": {}, "indexes": [index]}))
    assert counts(report(tmp_path, "in.bson", f"{database}.c", *there, **env)) == {"rows": ROWS, "inserted": ROWS}
    order = ("--sort", '{"_id":1}')
    run(tmp_path, "export", f"{database}.c", "out.bson.gz", *order, *there, **env)
    assert gzip.decompress((tmp_path / "out.bson.gz").read_bytes()) == DATA
    metadata = json.loads(gzip.decompress((tmp_path / "out.metadata.json.gz").read_bytes()))
    described = {entry["name"]: entry for entry in metadata["indexes"]}
    assert set(described) == {"_id_", "by_n"}
    assert described["by_n"]["unique"] is True
    assert metadata["collectionName"] == "c"
    told = report(tmp_path, "out.bson.gz", f"{database}.again", *there, **env)
    assert counts(told) == {"rows": ROWS, "inserted": ROWS}
    run(tmp_path, "export", f"{database}.again", "all.ndjson.zst", *order, *there, **env)
    told = report(tmp_path, "all.ndjson.zst", f"{database}.again", *there, **env)
    assert counts(told) == {"rows": ROWS, "present": ROWS}
    few = ("--filter", '{"n":{"$lt":10}}', "--projection", '{"text":0}', "--sort", '{"_id":-1}', "--limit", "2")
    assert (
        exported(tmp_path, f"{database}.again", "--relaxed", *few, *there, **env)
        == b'{"_id":3,"n":9}\n{"_id":2,"n":6}\n'
    )
    assert exported(tmp_path, f"{database}.again", "--type", "csv", *few, *there, **env) == b"_id,n\n3,9\n2,6\n"
    files = {"in.bson", "in.metadata.json", "out.bson.gz", "out.metadata.json.gz", "all.ndjson.zst"}
    assert names(tmp_path) - {"data"} == files


def test_a_file_has_its_name_only_when_it_is_whole(tmp_path: Path, doorleaf_process: Doorleaf) -> None:
    server = doorleaf_process
    (tmp_path / "out.json").write_text("as it was")
    there = ("--url", server.url, "--key", server.key)
    for args, said in (
        (("d.c", "out.json", "--filter", '{"$nope":1}'), "unknown top level operator: $nope"),
        (("d.c", "out.json", "--filter", "{"), "--filter: malformed JSON"),
        (("d.c", "out.json", "--type", "xml"), "--type: expected one of"),
        (("d.c", "out.json", "--fields", "a"), "--fields: is for csv and tsv"),
        (("d.c", "out.csv", "--fields", "a,,b"), "--fields: a column is named ''"),
        (("d", "out.json"), "expected DATABASE.COLLECTION"),
        (("d.c", "nowhere/out.json"), "no such file or directory"),
    ):
        assert said in run(tmp_path, "export", *args, *there, code=1)[1]
        assert (tmp_path / "out.json").read_text() == "as it was"
    server.ok("insertOne", document={"_id": 1, "a": 1})
    server.ok("insertOne", document={"_id": 2, "b": 1})
    server.ok("insertMany", documents=[{"_id": number, "a": "x" * 1000} for number in range(3, 1200)])
    said = run(tmp_path, "export", "d.c", "out.csv", "--filter", '{"_id":{"$ne":2}}', *there)[1]
    assert "1,198 rows" in said
    server.ok("insertOne", document={"_id": 10**9, "late": 1})
    assert "has the field 'late', which is no column" in run(tmp_path, "export", "d.c", "late.csv", *there, code=1)[1]
    assert names(tmp_path) == {"data", "out.json", "out.csv"}
    said = run(tmp_path, "export", "d.c", "--url", server.url, "--key", "wrong", code=1)[1]
    assert "wrong" not in said


def test_an_export_makes_no_database(tmp_path: Path) -> None:
    done = run_doorleaf(tmp_path, "export", "d.c", "out.json", "--data-dir", "nowhere")
    assert done.returncode == 1
    assert "there is no database in" in done.stderr
    assert os.listdir(tmp_path) == []
