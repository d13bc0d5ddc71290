"""The OpenAPI 3.1 document: every action and route, derived from the operations.

A new operation appears in it by itself; only its examples are written by hand.
"""

from __future__ import annotations

from typing import Any

from doorleaf import __version__
from doorleaf.ejson import Mode
from doorleaf.openapi import admin
from doorleaf.openapi.examples import EXAMPLES, Example
from doorleaf.openapi.schemas import Schema, components
from doorleaf.operations import OPERATIONS, Effect, Operation

__all__ = ["EXAMPLES", "Example", "document"]

_TAGS = {Effect.READ: "Read", Effect.WRITE: "Write", Effect.ADMIN: "Administer"}

_ABOUT = """\
HTTP and JSON in front of a MongoDB, or of the embedded database.

**Requests** are JSON in which Extended JSON is understood value by value, whatever the `Content-Type`: `{"$oid": "…"}`,
`{"$date": "…"}`, `{"$numberDecimal": "…"}` and their kin. A string stays a string. Unknown fields are ignored, and
`null` in an optional field means that it is absent.

**Answers** follow the `Accept` header: `application/json` is plain JSON, where ids and dates are strings;
`application/ejson` is canonical Extended JSON, the whole envelope included; `application/ejson; mode=relaxed` is
relaxed. Errors are always plain JSON.

**Actions** are served at `/data/v1/action/…`, and with the same meaning at `/data/beta/action/…`,
`/app/{app id}/endpoint/data/v1/action/…`, `/app/{app id}/endpoint/data/beta/action/…` and `/action/…`."""

_ERRORS: dict[str, tuple[str, str, str, str]] = {
    "400": (
        "BadRequest",
        "The request is wrong, or the database refuses it.",
        "filter._id.$oid: expected 24 hexadecimal digits, got a string of length 3",
        "InvalidParameter",
    ),
    "401": (
        "Unauthenticated",
        "No credentials, or wrong ones.",
        "invalid session: error finding user for endpoint",
        "InvalidSession",
    ),
    "403": ("PermissionDenied", "Known, and not allowed.", "$where runs JavaScript and is refused", "PermissionDenied"),
    "404": ("NotFound", "There is no such route, action or app.", "there is no action 'findone'", "NotFound"),
    "405": (
        "MethodNotAllowed",
        "The route has other methods; `Allow` lists them.",
        "GET is not allowed here; use POST",
        "MethodNotAllowed",
    ),
    "409": ("DuplicateKey", "A unique index has the key already.", "E11000 duplicate key error", "DuplicateKey"),
    "413": ("PayloadTooLarge", "The body is too large.", "the body is larger than 17825792 bytes", "PayloadTooLarge"),
    "429": (
        "TooManyRequests",
        "A limit is reached; `Retry-After` says how many seconds to wait.",
        "too many requests: the limit is 20 in 60 s; try again in 3 s",
        "TooManyRequests",
    ),
    "500": ("InternalError", "A fault of the server.", "internal error", "InternalServerError"),
    "503": (
        "StoreUnavailable",
        "The database cannot be reached.",
        "the database cannot be reached",
        "StoreUnavailable",
    ),
    "504": ("StoreTimeout", "The time limit is over.", "operation exceeded time limit", "ExecutionTimeLimitExceeded"),
}
"""By status: name, description, and an example of error and error_code."""

_ERROR: Schema = {
    "type": "object",
    "properties": {
        "error": {"type": "string", "description": "What is wrong, for people."},
        "error_code": {
            "type": "string",
            "description": "What is wrong, for programs; MongoDB's name where it has one.",
        },
        "link": {"type": "string", "description": "Where to read on."},
        "writeErrors": {
            "type": "array",
            "description": "Of several writes, those that failed; the counts of the others stand beside it.",
            "items": {
                "type": "object",
                "properties": {
                    "index": {"type": "integer"},
                    "code": {"type": "integer"},
                    "message": {"type": "string"},
                },
                "required": ["index", "code", "message"],
            },
        },
    },
    "required": ["error"],
    "additionalProperties": True,
}

_SECURITY_SCHEMES: Schema = {
    "apiKey": {"type": "apiKey", "in": "header", "name": "apiKey", "description": "An API key."},
    "api-key": {"type": "apiKey", "in": "header", "name": "api-key", "description": "An API key; an older name."},
    "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "An access token."},
    "refreshToken": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "A refresh token."},
}
_CALLERS: list[Schema] = [{"apiKey": []}, {"api-key": []}, {"bearer": []}]


def document(
    *,
    version: str = __version__,
    server_url: str = "/",
    insert_status: int = 201,
    max_documents: int = 50_000,
    max_time_ms: int = 300_000,
) -> dict[str, Any]:
    """The whole document as plain JSON values.

    ``server_url`` is where clients find the server, ``insert_status`` the status of an insert; ``max_documents`` is
    the largest ``limit`` of a find, and ``max_time_ms`` the largest ``maxTimeMS``, in milliseconds.
    """
    bounds = {"find.limit": max_documents, "maxTimeMS": max_time_ms}
    paths = {
        f"/data/v1/action/{name}": _action(operation, insert_status, server_url)
        for name, operation in OPERATIONS.items()
    }
    schemas = components(OPERATIONS, bounds=bounds) | {"Error": _ERROR} | _SESSION_SCHEMAS | admin.SCHEMAS
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
        "tags": [
            {"name": "Read", "description": "Actions that change nothing."},
            {"name": "Write", "description": "Actions that change documents."},
            {"name": "Administer", "description": "Indexes, collections, databases and commands."},
            {"name": "Sessions", "description": "Trade an API key for tokens."},
            admin.TAG,
            {"name": "Server", "description": "What the server says about itself."},
        ],
        "security": _CALLERS,
        "paths": paths | _session_paths() | admin.paths(_refusals) | _server_paths(),
        "components": {
            "securitySchemes": _SECURITY_SCHEMES,
            "schemas": schemas,
            "responses": {name: _error_response(*rest) for name, *rest in _ERRORS.values()},
        },
    }


def _action(operation: type[Operation[Any]], insert_status: int, server_url: str) -> Schema:
    name = operation.name
    title = name[0].upper() + name[1:]
    listed = EXAMPLES.get(name, ())
    requests = {_key(example): {"summary": example.title, "value": example.request} for example in listed}
    answers = {_key(example): {"summary": example.title, "value": example.response} for example in listed}
    request = {"schema": {"$ref": f"#/components/schemas/{title}Request"}, "examples": requests}
    answer = {"schema": {"$ref": f"#/components/schemas/{operation.result.__name__}"}, "examples": answers}
    inserts = name in ("insertOne", "insertMany")
    status = str(insert_status if inserts else 200)
    action: Schema = {
        "operationId": name,
        "summary": operation.summary,
        "tags": [_TAGS[operation.effect]],
        "requestBody": {
            "required": True,
            "content": {"application/json": request, "application/ejson": {"schema": request["schema"]}},
        },
        "responses": {
            status: {
                "description": "Inserted." if inserts else "Done.",
                "headers": {"X-Request-Id": _REQUEST_ID},
                "content": {Mode.PLAIN.value: answer, Mode.CANONICAL.value: {"schema": _EXTENDED}},
            },
            **_refusals(*_ERRORS),
        },
    }
    servers = [
        {"url": server_url},
        {
            "url": f"{server_url.rstrip('/')}/app/{{appId}}/endpoint",
            "description": "The paths of the Atlas Data API.",
            "variables": {"appId": {"default": "data-abcde", "description": "The app id."}},
        },
    ]
    return {"servers": servers, "post": action}


_EXTENDED: Schema = {
    "type": "object",
    "description": "The same members in Extended JSON: canonical, or relaxed with `mode=relaxed` in `Accept`.",
    "additionalProperties": True,
}
_REQUEST_ID: Schema = {
    "description": "Names the request in the server's log; sent back when the request brings one.",
    "schema": {"type": "string"},
}


def _key(example: Example) -> str:
    """A title as the name of an example: ``A page, sorted`` → ``aPageSorted``."""
    words = "".join(letter if letter.isalnum() else " " for letter in example.title).split()
    return words[0].lower() + "".join(word.capitalize() for word in words[1:])


def _refusals(*statuses: str) -> Schema:
    """The responses of error statuses, and of those that any request may meet."""
    listed = sorted({*statuses, "400", "429"})
    return {status: {"$ref": f"#/components/responses/{_ERRORS[status][0]}"} for status in listed}


def _error_response(description: str, error: str, code: str) -> Schema:
    content = {"schema": {"$ref": "#/components/schemas/Error"}, "example": {"error": error, "error_code": code}}
    return {
        "description": description,
        "headers": {"X-Request-Id": _REQUEST_ID},
        "content": {"application/json": content},
    }


# --- what is no action -------------------------------------------------------------------------------------------

_TOKEN: Schema = {"type": "string", "description": "A signed JWT."}
_BEARER: Schema = {
    "token_type": {"const": "Bearer"},
    "expires_in": {"type": "integer", "description": "Seconds that the access token lives."},
}
_SESSION_SCHEMAS: Schema = {
    "Login": {
        "type": "object",
        "properties": {"key": {"type": "string", "minLength": 1, "description": "An API key."}},
        "required": ["key"],
        "additionalProperties": True,
    },
    "Session": {
        "type": "object",
        "properties": {
            "access_token": _TOKEN,
            "refresh_token": _TOKEN,
            **_BEARER,
            "user_id": {"type": "string"},
            "device_id": {"type": "string"},
        },
        "required": ["access_token", "refresh_token", "token_type", "expires_in", "user_id", "device_id"],
    },
    "AccessToken": {
        "type": "object",
        "properties": {"access_token": _TOKEN, **_BEARER},
        "required": ["access_token", "token_type", "expires_in"],
    },
}


def _session_paths() -> Schema:
    login = {
        "operationId": "login",
        "summary": "Trade an API key for an access token and a refresh token",
        "description": "Also at `/api/client/v2.0/app/{app id}/auth/providers/api-key/login`.",
        "tags": ["Sessions"],
        "security": [],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"$ref": "#/components/schemas/Login"},
                    "example": {"key": "<your API key>"},
                }
            },
        },
        "responses": {"200": _answer("Session", "Logged in."), **_refusals("400", "401", "413", "500", "503", "504")},
    }
    refresh = {
        "operationId": "refreshSession",
        "summary": "Get a new access token for a refresh token",
        "description": "Also at `/api/client/v2.0/auth/session`.",
        "tags": ["Sessions"],
        "security": [{"refreshToken": []}],
        "responses": {
            "200": _answer("AccessToken", "A new access token."),
            **_refusals("400", "401", "500", "503", "504"),
        },
    }
    end = {
        "operationId": "endSession",
        "summary": "Revoke a refresh token and its access tokens",
        "tags": ["Sessions"],
        "security": [{"refreshToken": []}],
        "responses": {"204": {"description": "Revoked."}, **_refusals("400", "401", "500", "503", "504")},
    }
    return {
        "/auth/providers/api-key/login": {"post": login},
        "/auth/session": {"post": refresh, "delete": end},
    }


def _answer(schema: str, description: str) -> Schema:
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"description": description, "content": content}


def _server_paths() -> Schema:
    def status(word: str) -> Schema:
        schema = {"type": "object", "properties": {"status": {"const": word}}, "required": ["status"]}
        return {"description": f"It is {word}.", "content": {"application/json": {"schema": schema}}}

    def get(name: str, summary: str, responses: Schema, **more: Any) -> Schema:
        return {"get": {"operationId": name, "summary": summary, "tags": ["Server"], **more, "responses": responses}}

    described = {"description": "This document.", "content": {"application/json": {"schema": {"type": "object"}}}}
    measured = {
        "description": "Metrics in the Prometheus text format.",
        "content": {"text/plain": {"schema": {"type": "string"}}},
    }
    ready = {"200": status("ready"), **_refusals("503", "504")}
    return {
        "/livez": get("livez", "Whether the process lives", {"200": status("alive")}, security=[]),
        "/readyz": get("readyz", "Whether requests would be served", ready, security=[]),
        "/metrics": get("metrics", "What the server measured", {"200": measured, **_refusals("401", "403")}),
        "/openapi.json": get("openapi", "This document", {"200": described}, security=[]),
    }
