"""Thousands of mutated requests with a fixed seed: no 500, none that does not end, every error in its envelope."""

from __future__ import annotations

import urllib.parse
from pathlib import Path

from asgi import KEY, Answer, application
from fuzzing import SETTINGS, Fuzzer, report

SEED = 7
MANY = 4_000
FEWER = 600


def test_mutated_requests_on_the_embedded_database(tmp_path: Path) -> None:
    with application(tmp_path / "data", **SETTINGS) as app:

        def send(method: str, path: str, body: bytes, headers: dict[str, str]) -> Answer:
            path, _, query = path.partition("?")
            return app.call(method, urllib.parse.unquote(path), body, headers, query.encode())

        fuzzer = Fuzzer(send, SEED, KEY)
        fuzzer.run(lambda: fuzzer.sent >= MANY)
        fuzzer.inspect()
    assert not fuzzer.problems, report(fuzzer.problems)
    # Mutations that leave nothing right would find nothing.
    assert MANY / 10 < fuzzer.accepted < MANY * 9 / 10


def test_mutated_requests_on_a_mongodb(tmp_path: Path, mongodb_uri: str) -> None:
    with application(tmp_path / "data", uri=mongodb_uri, **SETTINGS) as app:

        def send(method: str, path: str, body: bytes, headers: dict[str, str]) -> Answer:
            return app.call(method, path, body, headers)

        fuzzer = Fuzzer(send, SEED, KEY, embedded=False, doors=False)
        fuzzer.run(lambda: fuzzer.sent >= FEWER)
        fuzzer.inspect()
    assert not fuzzer.problems, report(fuzzer.problems)
    assert fuzzer.accepted > FEWER / 10
