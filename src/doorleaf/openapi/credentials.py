"""Credentials in the OpenAPI document: those of the providers that are on, and the tokens that every login gives."""

from __future__ import annotations

from collections.abc import Collection

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


_SCHEMES: dict[str, Schema] = {
    "api-key": {
        "apiKey": _header("apiKey", "An API key."),
        "api-key": _header("api-key", "An API key; an older name."),
    },
    "local-userpass": {
        "email": _header("email", "A user's email address, with `password`."),
        "password": _header("password", "That user's password."),
    },
    "custom-token": {"jwtTokenString": _header("jwtTokenString", "A JSON Web Token of a trusted issuer.")},
}
_TOGETHER: dict[str, list[Schema]] = {
    "api-key": [{"apiKey": []}, {"api-key": []}],
    "local-userpass": [{"email": [], "password": []}],
    "custom-token": [{"jwtTokenString": []}],
}


CUBE: Schema = {"cubeKey": _header("Authorization", "`Api-Key` and a user's API key behind it.")}
"""What callers of the DataCube API may show beside tokens."""


def schemes(providers: Collection[str]) -> Schema:
    """The security schemes of ``providers``, and the tokens that every login gives."""
    found: Schema = {}
    for provider, named in _SCHEMES.items():
        if provider in providers:
            found |= named
    return found | _ALWAYS


def credentials(providers: Collection[str]) -> list[Schema]:
    """What a caller may show, each entry by itself: the ``security`` of an ordinary route."""
    shown = [entry for provider, listed in _TOGETHER.items() if provider in providers for entry in listed]
    return [*shown, {"bearer": []}]
