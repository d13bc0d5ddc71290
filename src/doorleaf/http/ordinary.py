"""Requests as most are: whole in one piece of the network's, with nothing in them that takes a parser.

The native part (``ejson/native/head.c``) knows them by their bytes, and says nothing of all others, valid or not: those
are for the parser, as all are where there is no native part. What comes of a request is the same either way.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from doorleaf.ejson.transcoder import native
from doorleaf.http.exchange import Exchange, place
from doorleaf.http.marks import WHOLE_ANSWER

Fields = list[tuple[bytes, bytes]]


class Ordinary(Exchange):
    """One that came whole, and what a short way to its answer needs of it."""

    told = True
    more_body = False
    keep_alive = True
    waiting_for_100_continue = False

    def __init__(self, connection: Any, target: bytes, fields: Fields, body: bytes) -> None:
        self.connection = connection
        self.transport = connection.transport
        self.flow = connection.flow
        self.default_headers = connection.server_state.default_headers
        self.on_response = connection.on_response_complete
        self.method = method = "POST" if body else "GET"  # the native part takes no others
        self.target = target
        self.fields = fields
        self.headers = dict(fields)
        self.body = body  # type: ignore[assignment]  # nothing is added to it
        self.scope: Any = {
            "type": "http",
            "method": method,
            "http_version": "1.1",
            "extensions": {WHOLE_ANSWER: self},
        }

    @property
    def address(self) -> str:
        """Where its client is."""
        client = self.connection.client
        return client[0] if client else ""

    def asgi(self) -> Any:
        """The scope, with all that ASGI has in one."""
        self.scope |= scope_of(self.connection, self.target, self.fields, "1.1", self.method)
        return self.scope

    def answered(self, app: Any) -> Awaitable[None]:
        """Have ``app`` answer."""
        answering: Awaitable[None] = app.ordinary(self)
        return answering


def whole(connection: Any, data: bytes) -> tuple[bytes, Fields, bytes] | None:
    """The target, the fields and the body of ``data``, if that is one such request and nothing goes on before it."""
    cycle = connection.cycle
    if native is None or connection.transport.is_closing():
        return None
    if cycle is None:
        if connection.scope is not None:  # a head has begun
            return None
    elif cycle.more_body or cycle.scope is not connection.scope or not (cycle.response_complete and cycle.keep_alive):
        return None
    found: tuple[bytes, Fields, bytes] | None = None if connection.pipeline else native.request(data)
    return found


def scope_of(connection: Any, url: bytes, headers: Fields, version: str, method: str) -> Any:
    """The ASGI scope of a request."""
    path, raw_path, query = place(url, connection.root_path)
    return {
        "type": "http",
        "headers": headers,
        "asgi": {"version": connection.asgi_version, "spec_version": "2.3"},
        "http_version": version,
        "server": connection.server,
        "client": connection.client,
        "scheme": connection.scheme,
        "root_path": connection.root_path,
        "state": connection.app_state.copy(),
        "method": method,
        "path": path,
        "raw_path": raw_path,
        "query_string": query,
    }
