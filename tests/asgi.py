"""Talks to the application in this process, as a server would: plain ASGI, nothing in between."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from doorleaf.app import build
from doorleaf.errors import CODE_NAMES, CODES
from doorleaf.http import Endpoint, Message
from doorleaf.settings.model import Settings

KEY = "dl_" + "Kk7" * 20
"""A key with full rights, given to the server by a setting."""


@dataclass
class Answer:
    """What came back; ``headers`` are lower-case and must each come once."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


def require_known(answer: Answer, *, foreign: bool = False) -> None:
    """An error has a code that is registered, with a status that goes with it."""
    code = answer.json.get("error_code")
    if code is None and answer.json.get("success") is False:
        code = answer.json["error"]
    if isinstance(answer.json["error"], dict):
        assert answer.json["error"].keys() >= {"code", "message", "correlationId", "timestamp"}, answer.body
    elif code is None:
        assert answer.json["error"].startswith("cannot find app"), answer.body
    elif code in CODES:
        assert answer.status in CODES[code].statuses, answer.body
    else:
        assert foreign or code in CODE_NAMES.values() or re.fullmatch(r"Location\d+", code), answer.body


class Application:
    """An application between startup and shutdown; every call runs on its one event loop."""

    def __init__(self, endpoint: Endpoint, *, foreign: bool = False) -> None:
        """``foreign`` says that a database of another make is behind it, whose errors have the names that it gives."""
        self.endpoint = endpoint
        self._foreign = foreign
        self._runner = asyncio.Runner()
        self._to_app: asyncio.Queue[Message] | None = None
        self._from_app: asyncio.Queue[Message] | None = None
        self._life: asyncio.Task[None] | None = None

    def start(self) -> str:
        """Send the lifespan's startup; the type of the answer."""
        return self._runner.run(self._start())

    def stop(self) -> None:
        self._runner.run(self._stop())
        self._runner.close()

    async def _start(self) -> str:
        to_app: asyncio.Queue[Message] = asyncio.Queue()
        from_app: asyncio.Queue[Message] = asyncio.Queue()
        self._to_app, self._from_app = to_app, from_app
        self._life = asyncio.create_task(self.endpoint({"type": "lifespan"}, to_app.get, _put(from_app)))
        await to_app.put({"type": "lifespan.startup"})
        kind: str = (await from_app.get())["type"]
        return kind

    async def _stop(self) -> None:
        assert self._to_app is not None
        assert self._life is not None
        await self._to_app.put({"type": "lifespan.shutdown"})
        await self._life

    def call(
        self,
        method: str,
        path: str,
        body: bytes | Sequence[bytes] = b"",
        headers: Iterable[tuple[str, str]] | Mapping[str, str] = (),
        query: bytes = b"",
    ) -> Answer:
        """One request; a sequence of bytes is a body that comes in pieces without a length."""
        return self._runner.run(self.request(method, path, body, headers, query))

    async def request(
        self,
        method: str,
        path: str,
        body: bytes | Sequence[bytes] = b"",
        headers: Iterable[tuple[str, str]] | Mapping[str, str] = (),
        query: bytes = b"",
    ) -> Answer:
        given = headers.items() if isinstance(headers, Mapping) else headers
        raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in given]
        if isinstance(body, bytes):
            raw.append((b"content-length", b"%d" % len(body)))
            pieces: Sequence[bytes] = [body]
        else:
            pieces = body or [b""]
        messages = iter(
            {"type": "http.request", "body": piece, "more_body": index < len(pieces) - 1}
            for index, piece in enumerate(pieces)
        )
        sent: list[Message] = []

        async def receive() -> Message:
            return next(messages, {"type": "http.disconnect"})

        async def send(message: Message) -> None:
            sent.append(message)

        scope = {"type": "http", "method": method, "path": path, "query_string": query, "headers": raw}
        await self.endpoint({**scope, "client": ("127.0.0.1", 50000)}, receive, send)
        start, *contents = sent
        names = [name.decode() for name, _ in start["headers"]]
        assert len(set(names)) == len(names), names
        answer = Answer(
            start["status"],
            {name.decode(): value.decode() for name, value in start["headers"]},
            b"".join(content["body"] for content in contents),
        )
        if answer.status != 204 and method != "HEAD" and len(contents) == 1:
            assert int(answer.headers["content-length"]) == len(answer.body)
        if answer.status >= 400 and method != "HEAD":
            require_known(answer, foreign=self._foreign)
        return answer

    def act(
        self, action: str, body: Mapping[str, Any] | bytes, *, headers: Mapping[str, str] | None = None, key: str = KEY
    ) -> Answer:
        """``POST /data/v1/action/<action>`` with the key; a mapping is written as JSON."""
        content = body if isinstance(body, bytes) else orjson.dumps(body)
        return self.call("POST", f"/data/v1/action/{action}", content, {"apiKey": key, **(headers or {})})

    def run(self, coroutine: Any) -> Any:
        """Run ``coroutine`` on the application's loop."""
        return self._runner.run(coroutine)


def _put(queue: asyncio.Queue[Message]) -> Any:
    async def put(message: Message) -> None:
        await queue.put(message)

    return put


class Collection:
    """Actions on one collection; ``ok`` wants success and gives the body."""

    def __init__(self, app: Application, name: str = "things") -> None:
        self.app = app
        self.place = {"dataSource": "Cluster0", "database": "shop"}
        self.name = name

    def act(self, action: str, headers: dict[str, str] | None = None, /, **fields: Any) -> Answer:
        return self.app.act(action, {**self.place, "collection": self.name, **fields}, headers=headers)

    def ok(self, action: str, headers: dict[str, str] | None = None, /, **fields: Any) -> Any:
        answer = self.act(action, headers, **fields)
        assert answer.status == (201 if action in ("insertOne", "insertMany") else 200), answer.body
        return answer.json

    def refused(self, action: str, /, *, status: int = 400, **fields: Any) -> dict[str, Any]:
        answer = self.act(action, **fields)
        assert answer.status == status, answer.body
        assert answer.headers["content-type"] == "application/json"
        body: dict[str, Any] = answer.json
        assert isinstance(body["error"], str)
        assert body["error"]
        assert isinstance(body["error_code"], str)
        for leak in (KEY, "Traceback", "doorleaf/", ".py"):
            assert leak not in answer.body.decode()
        return body

    def all(self) -> list[Any]:
        documents: list[Any] = self.ok("find", sort={"_id": 1}, limit=50_000)["documents"]
        return documents


@contextmanager
def application(folder: Path, **settings: Any) -> Iterator[Application]:
    """The application with the embedded database in ``folder``."""
    chosen = {"data_dir": folder, "data_api_key": KEY, **settings}
    app = Application(build(Settings(**chosen)), foreign="uri" in chosen)
    assert app.start() == "lifespan.startup.complete"
    try:
        yield app
    finally:
        app.stop()


def with_things(app: Application) -> Collection:
    """A collection with ``{_id: 0…4, n: 0, 10…40, tag: even or odd}``."""
    collection = Collection(app)
    documents = [{"_id": i, "n": i * 10, "tag": "odd" if i % 2 else "even"} for i in range(5)]
    collection.ok("insertMany", documents=documents)
    return collection
