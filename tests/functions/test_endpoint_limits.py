# ruff: noqa: E501  # a function is a line
"""What endpoints take at most: bodies, secrets, answers. What is more is refused, and never the server's fault."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from asgi import KEY, Answer, Application, application
from shop_app import endpoint, write

from doorleaf.functions import endpoints, runtime
from doorleaf.functions.sandbox.process import result
from doorleaf.functions.secrets import MOST_CHARACTERS
from doorleaf.settings.model import Settings

MOST = Settings().max_body_bytes
FUNCTIONS = {
    "sizes": "exports = (request) => [request.body.length(), request.body.text().length]",
    "swells": "exports = (request) => JSON.stringify([1, 2].map(() => request.body.text())).length",
    "makes": "exports = (request) => 'x'.repeat(Number(request.query.count))",
    "says": "exports = (request, response) => response.setBody('x'.repeat(Number(request.query.count)))",
    "heads": "exports = (request, response) => { for (const count of request.query.counts.split('-')) response.addHeader(`X-${count}`, 'h'.repeat(Number(count))) }",
    "guarded": "exports = () => context.values.get('linked').length",
}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    folder = tmp_path_factory.mktemp("limits")
    write(folder / "app", {
        "root_config.json": {"app_id": "limits-abcde", "name": "limits"},
        "functions/config.json": [{"name": name, "run_as_system": True} for name in FUNCTIONS],
        "https_endpoints/config.json": [
            endpoint("/sizes", "POST", "sizes"), endpoint("/swells", "POST", "swells"), endpoint("/makes", "GET", "makes"),
            endpoint("/says", "GET", "says"), endpoint("/heads", "GET", "heads"),
            endpoint("/guarded", "GET", "guarded", validation_method="SECRET_AS_QUERY_PARAM", secret_name="long"),
        ],
        "values/linked.json": {"name": "linked", "value": "long", "from_secret": True},
        **{f"functions/{name}.js": source for name, source in FUNCTIONS.items()},
    })  # fmt: skip
    with application(folder / "data", app=folder / "app", functions_seconds=120) as first:
        assert keep(first, "s" * MOST_CHARACTERS).status == 204
    with application(folder / "data", app=folder / "app", functions_seconds=120) as running:
        yield running


def keep(app: Application, value: str) -> Answer:
    told = {"apiKey": KEY, "Content-Type": "application/json"}
    return app.call("PUT", "/api/admin/v1/secrets/long", orjson.dumps({"value": value}), told)


def test_a_secret_of_500_characters(app: Application) -> None:
    for wrong, message in (
        ("s" * (MOST_CHARACTERS + 1), "a secret has 1 to 500 characters"),
        ("", "expected a non-empty string, got an empty one"),
    ):
        refused = keep(app, wrong)
        assert (refused.status, refused.json["error"]) == (400, f"value: {message}")
    for given, status in ((MOST_CHARACTERS, 200), (MOST_CHARACTERS - 1, 401), (MOST_CHARACTERS + 1, 401)):
        answer = app.call("GET", "/endpoint/guarded", query=b"secret=" + b"s" * given)
        assert answer.status == status, given
    assert app.call("GET", "/endpoint/guarded", query=b"secret=" + b"s" * MOST_CHARACTERS).json == MOST_CHARACTERS


@pytest.mark.parametrize("piece", [b"x", b'"', b"\xff", "é".encode()])
def test_the_largest_body_there_may_be(app: Application, piece: bytes) -> None:
    body = piece * (MOST // len(piece))
    answer = app.call("POST", "/endpoint/sizes", body)
    assert (answer.status, answer.json) == (200, [len(body), len(body.decode(errors="replace"))]), answer.body[:200]
    assert app.call("POST", "/endpoint/sizes", body + piece * 2).status == 413
    assert app.call("POST", "/endpoint/sizes", b"x").json == [1, 1]


def test_a_body_that_takes_too_much_memory_costs_its_call_alone(app: Application) -> None:
    """Six characters for each, where it is told to the function and where that writes it, twice."""
    answer = app.call("POST", "/endpoint/swells", b"\x01" * MOST)
    assert (answer.status, answer.json["error_code"]) == (400, "FunctionExecutionError"), answer.body
    assert "used more memory than 128 MB" in answer.json["error"]
    assert app.call("POST", "/endpoint/sizes", b"x").json == [1, 1]


def test_the_largest_answer_there_may_be(app: Application) -> None:
    most = 16 * 1024 * 1024 - 100
    assert len(app.call("GET", "/endpoint/makes", query=b"count=%d" % most).json) == most
    refused = app.call("GET", "/endpoint/makes", query=b"count=%d" % (most + 200))
    assert (refused.status, refused.json["error_code"]) == (400, "FunctionExecutionError")
    assert "more than 16 MiB" in refused.json["error"]


def test_the_longest_headers_there_may_be(app: Application) -> None:
    left = endpoints.MOST_HEADERS - len("X-10" + "h" * 10 + "X-12345")
    answer = app.call("GET", "/endpoint/heads", query=b"counts=10-%d" % left)
    assert (answer.status, answer.headers["x-10"]) == (200, "h" * 10), answer.body
    assert answer.headers[f"x-{left}"] == "h" * left
    for counts in (b"11-%d" % left, b"10-%d" % (left + 1), b"15000000", b"-".join([b"0"] * 100_000)):
        refused = app.call("GET", "/endpoint/heads", query=b"counts=" + counts)
        assert (refused.status, refused.json["error_code"]) == (400, "FunctionExecutionError"), counts[:20]
        assert refused.json["error"] == "setHeader: the headers have more than 64 KiB"


@pytest.mark.parametrize(("count", "apart"), [(10, False), (100_000, True)])
def test_a_long_answer_by_the_response_object_is_read_in_a_thread(
    app: Application, monkeypatch: pytest.MonkeyPatch, count: int, apart: bool
) -> None:
    threads: list[int] = []

    def noted(work: Any) -> Any:
        def working(given: Any) -> Any:
            threads.append(threading.get_ident())
            return work(given)

        return working

    monkeypatch.setattr(runtime, "result", noted(result))
    monkeypatch.setattr(endpoints, "_said", noted(endpoints._said))
    assert app.call("GET", "/endpoint/says", query=b"count=%d" % count).body == b"x" * count
    assert [thread != threading.get_ident() for thread in threads] == [apart, apart]
