"""The OpenAPI document against the server that serves it: its examples, and requests made up from its schemas."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]
import pytest
from servers import Doorleaf, doorleaf

from doorleaf.openapi import EXAMPLES

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
HOOKS = """
import schemathesis
schemathesis.serializer.alias("application/ejson", "application/json")
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doorleaf]:
    with doorleaf(tmp_path_factory.mktemp("schema") / "data") as running:
        yield running
    assert "Traceback" not in running.output()


def test_every_example_works_on_an_empty_database_and_again(tmp_path: Path) -> None:
    """In the order in which they are listed, with the statuses and schemas that the document gives."""
    with doorleaf(tmp_path / "data") as server:
        _try_examples(server)


def _try_examples(server: Doorleaf) -> None:
    document = server.call("GET", "/openapi.json").json
    assert len(EXAMPLES) == 26
    for again in (False, True):
        for name, examples in EXAMPLES.items():
            described = document["paths"][f"/data/v1/action/{name}"]["post"]["responses"]
            [status] = [status for status in described if status.startswith("2")]
            schema = described[status]["content"]["application/json"]["schema"]
            assert examples
            for example in examples:
                answer = server.call("POST", f"/data/v1/action/{name}", example.request, {"apiKey": server.key})
                assert answer.status == int(status), (name, example.title, answer.body)
                whole = {**schema, "components": document["components"]}
                jsonschema.Draft202012Validator(whole).validate(answer.json)
                assert answer.json.keys() <= example.response.keys(), (name, example.title)
                assert again or answer.json.keys() == example.response.keys(), (name, example.title)
    first = server.ok("findOne", database="shop", collection="orders", filter={"customer": "Ada"})
    assert first["document"]["items"][0]["sku"] == "pen"


def test_made_up_requests_are_answered_as_described(server: Doorleaf, tmp_path: Path) -> None:
    """Thousands of right and wrong requests: no fault of ours, and no answer that the document does not know."""
    (tmp_path / "doorleaf_hooks.py").write_text(HOOKS)
    paths = server.call("GET", "/openapi.json").json["paths"]
    # Each event would be held against the schema of the whole answer, which is a text. They have tests of their own.
    streams = [path for path in paths if '"text/event-stream"' in json.dumps(paths[path])]
    for seconds in (20, 60, 180):  # a machine with much else to do takes longer for as many
        done = subprocess.run(
            [
                *(str(Path(sys.executable).parent / "st"), "run", f"{server.url}/openapi.json"),
                *("--header", f"apiKey: {server.key}", "--phases", "coverage,fuzzing", "--max-examples", "6"),
                *("--checks", CHECKS, "--seed", "1", "--no-shrink", "--continue-on-failure"),
                *("--max-time", str(seconds), "--suppress-health-check", "all", "--warnings", "off"),
                *("--request-timeout", "30", *(option for path in streams for option in ("--exclude-path", path))),
            ],
            cwd=tmp_path,
            env={**os.environ, "SCHEMATHESIS_HOOKS": "doorleaf_hooks", "PYTHONPATH": str(tmp_path), "COLUMNS": "200"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        tested = re.search(r"(\d+) generated", done.stdout)
        assert tested, done.stdout[-2000:]
        generated = int(tested[1])
        if generated > 500:
            break
    assert generated > 500
    assert server.call("GET", "/readyz").status == 200
    output = server.output()
    assert " 500 " not in output
    assert server.key not in output
