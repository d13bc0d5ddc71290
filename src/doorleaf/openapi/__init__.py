"""The OpenAPI 3.1 document: every route of every dialect, derived from what the routes say about themselves.

A new operation or route appears in it by itself; only the examples of operations are written here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from doorleaf import __version__
from doorleaf.dialects.base import Dialect
from doorleaf.openapi import credentials
from doorleaf.openapi.examples import EXAMPLES, Example
from doorleaf.openapi.routes import described, paths
from doorleaf.openapi.schemas import components
from doorleaf.operations import OPERATIONS
from doorleaf.settings.model import Settings

__all__ = ["EXAMPLES", "Example", "document", "document_of"]

_TAGS = {
    "Read": "Actions that change nothing.",
    "Write": "Actions that change documents.",
    "Administer": "Indexes, collections, databases and commands.",
    "Sessions": "Trade credentials for tokens.",
    "Client": "What apps made for App Services ask; takes access tokens.",
    "Connectome": "One collection by its credential in the path, or as a bearer token at the path without it.",
    "Endpoints": "The app's own functions, also at `/app/{app id}/endpoint/…`.",
    "Workspaces": "Documents as resources in a tenant's workspace; takes a token or a key of it.",
    "Administration": "API keys, users and sessions; takes an administrator's key that is limited in nothing.",
    "Console": "The session of the console, a page in a browser, and what people save there.",
    "DataCube accounts": "Accounts of the DataCube API; they are those of email and password.",
    "DataCube keys": "API keys that users make for themselves, limited or not.",
    "DataCube databases": "Databases that users own, and their collections.",
    "DataCube documents": "Documents in a user's database.",
    "DataCube files": "Whole collections in and out.",
    "Server": "What the server says about itself.",
}

_ABOUT = """\
HTTP and JSON in front of a MongoDB, or of the embedded database.

**Requests** are JSON in which Extended JSON is understood value by value, whatever the `Content-Type`: `{"$oid": "…"}`,
`{"$date": "…"}`, `{"$numberDecimal": "…"}` and their kin. A string stays a string. Unknown fields are ignored, and
`null` in an optional field means that it is absent.

**Answers** follow the `Accept` header: `application/json` is plain JSON, where ids and dates are strings;
`application/ejson` is canonical Extended JSON, the whole envelope included; `application/ejson; mode=relaxed` is
relaxed. `find` and `aggregate` answer `application/x-ndjson`, with `mode=relaxed` and `mode=canonical` too: a document
a line and any number of them, read as they are sent. Errors are always plain JSON.

**Actions** are served at `/data/v1/action/…`, and with the same meaning at `/data/beta/action/…`,
`/app/{app id}/endpoint/data/v1/action/…`, `/app/{app id}/endpoint/data/beta/action/…` and `/action/…`."""


def document_of(settings: Settings, dialects: Iterable[Dialect], prefix: str = "") -> dict[str, Any]:
    """The document of a server with ``settings`` and ``dialects``, before whose paths clients write ``prefix``."""
    return document(
        dialects,
        server_url=settings.public_url or prefix or "/",
        max_documents=settings.max_documents,
        max_time_ms=settings.max_time_ms_cap,
        providers=settings.providers,
    )


def document(
    dialects: Iterable[Dialect],
    *,
    version: str = __version__,
    server_url: str = "/",
    max_documents: int = 50_000,
    max_time_ms: int = 300_000,
    providers: Collection[str] = ("api-key",),
) -> dict[str, Any]:
    """The whole document of ``dialects`` as plain JSON values.

    ``server_url`` is where clients find the server; ``max_documents`` is the largest ``limit`` of a find, and
    ``max_time_ms`` the largest ``maxTimeMS``, in milliseconds. ``providers`` are the ways to authenticate that are on:
    credentials and routes of others are not in the document.
    """
    bounds = {"find.limit": max_documents, "maxTimeMS": max_time_ms}
    listed = described(dialects, providers)
    found, schemas, responses = paths(listed, server_url)
    used = {item.about.tag for item in listed}
    cubes = any(item.dialect.name == "datacube" for item in listed)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Doorleaf Data API",
            "version": version,
            "summary": "A self-hosted MongoDB Data API.",
            "description": _ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": server_url}],
        "tags": [{"name": name, "description": meaning} for name, meaning in _TAGS.items() if name in used],
        "security": credentials.credentials(providers),
        "paths": found,
        "components": {
            "securitySchemes": credentials.schemes(providers) | (credentials.CUBE if cubes else {}),
            "schemas": components(OPERATIONS, bounds=bounds) | schemas,
            "responses": responses,
        },
    }
