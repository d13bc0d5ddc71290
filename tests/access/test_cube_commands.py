"""``doorleaf datacube`` lists what users own and frees one of them."""

from __future__ import annotations

import json
from pathlib import Path

from asgi import application
from cube_app import SETTINGS, Crud, database, registered
from typer.testing import CliRunner

from doorleaf.cli.main import app as commands
from doorleaf.errors import NotFound


def run(*words: str, answer: str = "") -> tuple[int, str, BaseException | None]:
    result = CliRunner().invoke(commands, words, input=answer)
    return result.exit_code, result.output, result.exception


def test_databases_are_listed_and_freed(tmp_path: Path) -> None:
    with application(tmp_path, **SETTINGS) as app:
        who = [registered(app, f"{name}@example.com") for name in ("ada", "bob")]
        ids = [database(app, one, "shop") for one in who]
        for one, identifier in zip(who, ids, strict=True):
            Crud(app, one, identifier).insert({"n": 1})
    place = ("--data-dir", str(tmp_path))
    code, text, _ = run("datacube", "list", "--json", *place)
    assert code == 0, text
    listed = {row["id"]: row for row in json.loads(text)}
    assert {row["email"] for row in listed.values()} == {"ada@example.com", "bob@example.com"}
    assert {row["name"] for row in listed.values()} == {"shop"}
    assert len({row["database"] for row in listed.values()}) == 2
    assert "hash" not in text
    code, text, error = run("datacube", "free", ids[0], *place, answer="n\n")
    assert code != 0, text
    assert isinstance(run("datacube", "free", "0" * 24, "--yes", *place)[2], NotFound)
    code, text, error = run("datacube", "free", ids[0], "--yes", *place)
    assert (code, error) == (0, None), text
    assert [row["id"] for row in json.loads(run("datacube", "list", "--json", *place)[1])] == [ids[1]]
    with application(tmp_path, **SETTINGS) as app:
        Crud(app, who[0], ids[0]).refused("GET", status=404)
        assert len(Crud(app, who[1], ids[1]).all()) == 1
        assert Crud(app, who[0], database(app, who[0], "shop")).all() == []
    assert "bob@example.com" in run("datacube", "list", *place)[1]
    assert run("datacube", "free", ids[1], "--yes", *place)[0] == 0
    assert "bob@example.com" not in run("datacube", "list", *place)[1]
