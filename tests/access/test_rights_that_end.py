"""Rights that end while they are used: what a caller sends or is sent for long goes on for as long as they may."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

import orjson
import pytest
from admin_app import step
from asgi import KEY, Application, application
from cube_app import SETTINGS, database, key_of, registered

from doorleaf.http import streams

PLACE = {"database": "shop", "collection": "notes"}
QUERY = b"database=shop&collection=notes"
LINES = "application/x-ndjson"
LONG = 40
"""Documents of 64 KiB that are in several pieces of an answer."""

Step = bytes | Callable[[], Awaitable[Any]]


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    with application(tmp_path_factory.mktemp("rights"), **SETTINGS) as running:
        for number in range(LONG):
            document = {"_id": number, "text": "x" * 65_536}
            assert (
                running.act("insertOne", {"database": "shop", "collection": "long", "document": document}).status < 300
            )
        yield running


@pytest.fixture(autouse=True)
def asked_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who calls is asked at each piece."""
    monkeypatch.setattr(streams, "CHECK_SECONDS", 0.0)


def talk(
    app: Application, method: str, path: str, shown: dict[str, str], steps: Sequence[Step], query: bytes = b""
) -> tuple[int, bytes, int]:
    """One request whose body comes and whose answer is taken in ``steps``: pieces of bytes, and what happens between
    them, each behind a piece of the answer once all has been sent. The status, the body, and the steps not taken."""
    waiting, sent = list(steps), []

    async def receive() -> Any:
        while waiting and not isinstance(waiting[0], bytes):
            await waiting.pop(0)()  # type: ignore[operator]
        piece = waiting.pop(0) if waiting else b""
        return {"type": "http.request", "body": piece, "more_body": any(isinstance(one, bytes) for one in waiting)}

    async def send(message: Any) -> None:
        sent.append(message)
        if message["type"] == "http.response.body" and message.get("more_body") and waiting:
            await waiting.pop(0)()  # type: ignore[operator]

    headers = [(name.lower().encode(), value.encode()) for name, value in shown.items()]
    scope = {"type": "http", "method": method, "path": path, "query_string": query, "headers": headers}
    app.run(app.endpoint({**scope, "client": ("127.0.0.1", 50000)}, receive, send))
    return sent[0]["status"], b"".join(one.get("body", b"") for one in sent[1:]), len(waiting)


def lines(first: int, many: int = 2_000) -> bytes:
    return b"".join(b'{"_id":%d}\n' % number for number in range(first, first + many))


@pytest.fixture
def key(app: Application) -> Iterator[str]:
    made = app.run(step(app, "POST", "/keys", {"name": "used", "admin": True})())
    yield made["key"]
    app.run(step(app, "DELETE", "/keys/used")())
    app.act("deleteMany", {**PLACE, "filter": {}})


def stored(app: Application) -> int:
    count: int = app.act("countDocuments", PLACE).json["count"]
    return count


def test_lines_are_put_in_for_as_long_as_the_key_is_good(app: Application, key: str) -> None:
    shown = {"apiKey": key, "content-type": LINES}
    end = step(app, "POST", "/keys/used/revoke")
    path = "/data/v1/action/insertMany"
    status, body, _ = talk(app, "POST", path, shown, [lines(0), lines(2_000), end, lines(4_000)], QUERY)
    assert (status, orjson.loads(body)["error_code"]) == (401, "InvalidSession")
    assert stored(app) <= 4_000
    status, body, _ = talk(app, "POST", path, {**shown, "apiKey": KEY}, [lines(9_000), lines(11_000)], QUERY)
    assert (status, orjson.loads(body)) == (201, {"insertedCount": 4_000})


def test_a_key_that_is_narrowed_puts_in_no_more_lines(app: Application, key: str) -> None:
    narrow = step(app, "PATCH", "/keys/used", {"databases": ["elsewhere"]})
    shown = {"apiKey": key, "content-type": LINES}
    steps: list[Step] = [lines(0), narrow, lines(2_000), lines(4_000)]
    status, body, _ = talk(app, "POST", "/data/v1/action/insertMany", shown, steps, QUERY)
    told = orjson.loads(body)
    assert (status, told["error_code"], told["insertedCount"]) == (403, "PermissionDenied", stored(app))
    assert stored(app) <= 2_000


def found(app: Application, key: str, *steps: Step) -> list[Any]:
    body = orjson.dumps({"database": "shop", "collection": "long"})
    status, answer, _ = talk(app, "POST", "/data/v1/action/find", {"apiKey": key, "accept": LINES}, [body, *steps])
    assert status == 200
    return [orjson.loads(line) for line in answer.splitlines()]


def downloaded(app: Application, key: str, *steps: Step) -> list[Any]:
    body = orjson.dumps({"database": "shop", "collection": "long", "format": "ndjson"})
    ticket = app.call("POST", "/api/console/v1/downloads", body, {"apiKey": key}).json["ticket"]
    status, answer, _ = talk(app, "GET", f"/api/console/v1/downloads/{ticket}", {}, [b"", *steps])
    assert status == 200
    return [orjson.loads(line) for line in answer.splitlines() if line]


@pytest.mark.parametrize("read", [found, downloaded])
def test_a_long_answer_ends_with_its_key(app: Application, key: str, read: Callable[..., list[Any]]) -> None:
    assert [one["_id"] for one in read(app, key)] == list(range(LONG))
    changed = step(app, "PATCH", "/keys/used", {"expires": "2099-01-01T00:00:00Z"})
    *whole, last = read(app, key, changed)
    assert 0 < len(whole) < LONG
    assert last["error_code"] == "InvalidSession"
    *whole, last = read(app, key, step(app, "POST", "/keys/used/revoke"))
    assert 0 < len(whole) < LONG
    assert last["error_code"] == "InvalidSession"


def test_files_of_datacube_end_with_their_key(app: Application) -> None:
    bearer = registered(app, "ada@example.com")
    used = key_of(app, bearer)
    place = {"database_id": database(app, bearer), "collection_name": "users"}
    head = "".join(f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{place[name]}\r\n' for name in place)
    head += '--x\r\nContent-Disposition: form-data; name="json_file"; filename="a.ndjson"\r\n\r\n'
    shown = {"authorization": used, "content-type": "multipart/form-data; boundary=x"}

    async def end() -> None:
        keys = (await app.request("GET", "/core/api/v1/keys", b"", {"authorization": bearer})).json
        await app.request("DELETE", f"/core/api/v1/keys/{keys[0]['id']}", b"", {"authorization": bearer})

    steps: list[Step] = [head.encode(), lines(0), end, lines(2_000), b"\r\n--x--\r\n"]
    status, body, _ = talk(app, "POST", "/api/import_data", shown, steps)
    assert (status, orjson.loads(body)["error_code"]) == (401, "InvalidSession")
    query = f"database_id={place['database_id']}&collection_name=users".encode()
    left = app.call("GET", "/api/crud", b"", {"authorization": bearer}, query).json
    assert left["pagination"]["total_items"] == 0
