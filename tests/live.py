"""Server-sent events as a client reads them."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any

from servers import Doorleaf


class Events:
    """An answer of server-sent events, read as it comes; ``id`` is that of the last event, as an EventSource has it."""

    def __init__(self, answer: http.client.HTTPResponse) -> None:
        self.answer = answer
        self.id = ""

    def next(self) -> dict[str, str]:
        """The fields of the next event; none at the end."""
        fields: dict[str, str] = {}
        while line := self.answer.readline():
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name == "id":
                self.id = value
            if name and not name.startswith(":"):
                fields[name] = value
            elif not name and "data" in fields:
                return fields
        return {}

    def change(self) -> Any:
        """The next change event."""
        fields = self.next()
        assert "error" not in fields.get("event", ""), fields
        return json.loads(fields["data"])

    def heartbeat(self) -> str:
        """The id that the comment at the beginning says."""
        while not (line := self.answer.readline()).startswith(b":"):
            assert line
        name, _, value = self.answer.readline().decode().strip().partition(": ")
        return value if name == "id" else ""


@contextmanager
def listening(
    server: Doorleaf, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
) -> Iterator[Events]:
    """The events that a request is answered with."""
    with closing(server.connection()) as connection:
        connection.request(method, path, None if body is None else json.dumps(body), dict(headers or {}))
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        assert answer.getheader("content-type") == "text/event-stream"
        assert answer.getheader("cache-control") == "no-cache"
        assert answer.readline() == b"retry: 3000\n"
        yield Events(answer)
        answer.close()


@contextmanager
def watching(
    server: Doorleaf,
    credentials: Mapping[str, str] | None = None,
    *,
    last: str = "",
    accept: str = "",
    **fields: Any,
) -> Iterator[Events]:
    """The events of the action ``watch``, which goes on behind the id ``last``."""
    headers = {"Content-Type": "application/json", **(credentials or {"apiKey": server.key})}
    headers |= {"Last-Event-ID": last} if last else {}
    headers |= {"Accept": accept} if accept else {}
    with listening(server, "POST", "/data/v1/action/watch", fields, headers) as events:
        yield events
