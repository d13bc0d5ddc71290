"""Requests as most are: whole in one piece of the network's, with nothing in them that takes a parser.

The native part (``ejson/native/head.c``) knows them by their bytes, and says nothing of all others, valid or not: those
are for the parser, as all are where there is no native part. What comes of a request is the same either way.
"""

from __future__ import annotations

from typing import Any

from doorleaf.ejson.transcoder import native
from doorleaf.http.exchange import place

Fields = list[tuple[bytes, bytes]]


def whole(connection: Any, data: bytes) -> tuple[bytes, Fields, bytes] | None:
    """The target, the fields and the body of ``data``, if that is one such request and no other goes on before it."""
    cycle = connection.cycle
    if native is None or connection.transport.is_closing():
        return None
    if cycle is None:
        if connection.scope is not None:  # a head has begun
            return None
    elif cycle.scope is not connection.scope or not (cycle.response_complete and cycle.keep_alive):
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
