"""Credentials in the OpenAPI document: those of the providers that are on, and the tokens that every login gives."""

from __future__ import annotations

from collections.abc import Collection

from doorleaf.access.identity.providers.table import PROVIDERS
from doorleaf.openapi.schemas import Schema

_BEARER_SCHEME: Schema = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
_ALWAYS: Schema = {
    "bearer": _BEARER_SCHEME | {"description": "An access token."},
    "refreshToken": _BEARER_SCHEME | {"description": "A refresh token."},
    "consoleSession": {
        "type": "apiKey",
        "in": "cookie",
        "name": "doorleaf",
        "description": "The refresh token of the console, in a cookie; behind its name is the port, if there is one.",
    },
}


def _header(name: str, description: str) -> Schema:
    return {"type": "apiKey", "in": "header", "name": name, "description": description}


CUBE: Schema = {"cubeKey": _header("Authorization", "`Api-Key` and a user's API key behind it.")}
"""What callers of the DataCube API may show beside tokens."""


def schemes(providers: Collection[str]) -> Schema:
    """The security schemes of ``providers``, and the tokens that every login gives."""
    on = [kind for kind in PROVIDERS if kind.name in providers]
    return {name: _header(name, meaning) for kind in on for name, meaning in kind.headers.items()} | _ALWAYS


def credentials(providers: Collection[str]) -> list[Schema]:
    """The credentials that a caller may show, each entry by itself: the ``security`` of an ordinary route."""
    shown: list[Schema] = []
    for kind in PROVIDERS:
        if kind.name in providers and kind.headers:
            alone: list[Schema] = [{name: []} for name in kind.headers]
            shown += [{name: [] for name in kind.headers}] if kind.together else alone
    return [*shown, {"bearer": []}]
