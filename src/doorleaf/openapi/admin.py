"""The administration routes in the OpenAPI document: their paths and schemas."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from doorleaf.openapi.schemas import Schema
from doorleaf.operations import OPERATIONS

TAG: Schema = {
    "name": "Administration",
    "description": "API keys, users and sessions; takes an administrator's key that is limited in nothing.",
}

_DATE: Schema = {"type": "string", "format": "date-time"}
_DATE_OR_NULL: Schema = {"type": ["string", "null"], "format": "date-time"}
_PASSWORD: Schema = {"type": "string", "format": "password", "minLength": 6, "maxLength": 128}


def _names(meaning: str, example: list[str]) -> Schema:
    names = {"type": ["array", "null"], "items": {"type": "string", "minLength": 1}, "minItems": 1}
    return names | {"description": meaning, "examples": [example]}


_RIGHTS: dict[str, Schema] = {
    "roles": _names("Names of roles that judge the key; without any, rules choose by `apply_when`.", ["editor"]),
    "data_sources": _names("The only data sources it may reach.", ["main"]),
    "databases": _names("The only databases it may reach.", ["shop"]),
    "collections": _names("The only collections, as `database.collection` or by name in any database.", ["orders"]),
    "actions": _names("The only actions, by name, or all that `read`, `write` or `admin`.", ["read", "insertOne"]),
    "addresses": _names("The only addresses and CIDR blocks it may be used from.", ["192.0.2.0/24"]),
    "rate": {"type": ["string", "null"], "description": "Its rate.", "examples": ["20/second;5000/hour"]},
    "quotas": {
        "type": ["object", "null"],
        "description": "What it may use: `requests_per_day`, `documents_per_month` and their kin.",
        "additionalProperties": {"type": "integer", "minimum": 0},
        "examples": [{"requests_per_day": 10_000}],
    },
}
_NAME: Schema = {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,100}$", "description": "The key's name."}
_EXPIRES: Schema = _DATE_OR_NULL | {"description": "When it ends; null is never."}
_KEY_TEXT: Schema = {"type": "string", "description": "The key itself, answered this once.", "readOnly": True}

_KEY: dict[str, Schema] = {
    "name": _NAME,
    "id": {"type": "string", "description": "The user id that it stands for."},
    "admin": {"type": "boolean", "description": "Whether rules do not judge it."},
    "created": _DATE,
    "expires": _EXPIRES,
    "expired": {"type": "boolean"},
    "last_used": _DATE_OR_NULL,
    "disabled": {"type": "boolean"},
    "revoked": _DATE | {"description": "When it was ended for good."},
    "rotated": _DATE,
    "previous": {
        "type": "object",
        "properties": {"until": _DATE},
        "description": "After a rotation: until when the text before is valid.",
    },
    **_RIGHTS,
}
_KEY_ALWAYS = ["name", "id", "admin", "created", "expires", "expired", "last_used", "disabled"]


def _object(properties: dict[str, Schema], required: list[str] | None = None, *, closed: bool = True) -> Schema:
    schema: Schema = {"type": "object", "properties": properties}
    if required:
        schema["required"] = required
    return schema | ({"additionalProperties": False} if closed else {})


_USER = _object(
    {
        "id": {"type": "string"},
        "type": {"const": "normal"},
        "data": {
            "type": "object",
            "description": "What the provider says about the user.",
            "additionalProperties": True,
        },
        "identities": {"type": "array", "items": {"type": "object", "additionalProperties": True}},
        "created": _DATE_OR_NULL,
        "last_authenticated": _DATE_OR_NULL,
        "disabled": {"type": "boolean"},
    },
    ["id", "type", "data", "identities", "created", "last_authenticated", "disabled"],
)
_ACCOUNT = _object(
    {"email": {"type": "string"}, "user_id": {"type": "string"}, "confirmed": {"type": "boolean"}, "created": _DATE},
    ["email", "user_id", "confirmed", "created"],
)
_SESSION = _object(
    {
        "id": {"type": "string"},
        "user_id": {"type": "string"},
        "provider": {"type": "string"},
        "created": _DATE,
        "expires": _DATE,
        "device": {"type": ["object", "null"], "additionalProperties": True},
    },
    ["id", "user_id", "provider", "created", "expires", "device"],
)
_INLINE_USER = _object(
    {
        "id": {"type": "string"},
        "type": {"enum": ["normal", "server"]},
        "data": {"type": "object", "additionalProperties": True},
        "custom_data": {"type": "object", "additionalProperties": True},
        "identities": {"type": "array", "items": {"type": "object", "additionalProperties": True}},
        "roles": {"type": "array", "items": {"type": "string"}},
    }
)

SCHEMAS: Schema = {
    "AdminKey": _object(_KEY, _KEY_ALWAYS),
    "AdminNewKey": _object({**_KEY, "key": _KEY_TEXT}, [*_KEY_ALWAYS, "key"]),
    "AdminKeyRequest": _object(
        {"name": _NAME, "admin": {"type": ["boolean", "null"], "default": False}, "expires": _EXPIRES, **_RIGHTS},
        ["name"],
    ),
    "AdminKeyChange": _object({"disabled": {"type": ["boolean", "null"]}, "expires": _EXPIRES, **_RIGHTS}),
    "AdminUser": _USER,
    "AdminAccount": _ACCOUNT,
    "AdminSession": _SESSION,
    "AdminExplainRequest": _object(
        {
            "action": {"enum": list(OPERATIONS)},
            "body": {"type": "object", "description": "What the action would be sent.", "additionalProperties": True},
            "document": {
                "type": ["object", "null"],
                "description": "A stored document to judge too.",
                "additionalProperties": True,
            },
            "as": {
                "oneOf": [{"type": "string"}, _INLINE_USER],
                "description": "Who would ask: a user's id, a key's name, or a user described here.",
            },
        },
        ["action", "body", "as"],
    ),
}


def paths(refusals: Callable[..., Schema]) -> Schema:
    """All paths; ``refusals`` gives the responses of error statuses."""
    return _key_paths(refusals) | _user_paths(refusals) | _session_paths(refusals) | _explain_path(refusals)


def _route(
    name: str,
    summary: str,
    responses: Schema,
    refused: Schema,
    *,
    body: Schema | None = None,
    required: bool = True,
    query: list[Schema] | None = None,
) -> Schema:
    route: Schema = {"operationId": name, "summary": summary, "tags": ["Administration"]}
    if query:
        route["parameters"] = query
    if body is not None:
        route["requestBody"] = {"required": required, "content": {"application/json": {"schema": body}}}
    return route | {"responses": responses | refused}


def _answers(status: str, schema: Schema, description: str = "Done.") -> Schema:
    return {status: {"description": description, "content": {"application/json": {"schema": schema}}}}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _variable(name: str) -> list[Schema]:
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}}]


def _parameter(name: str, schema: Schema, description: str) -> Schema:
    return {"name": name, "in": "query", "schema": schema, "description": description}


_NOTHING: Schema = {"204": {"description": "Done."}}
_PAGING = [
    _parameter("after", {"type": "string"}, "What `next` of the page before said."),
    _parameter("limit", {"type": "integer", "minimum": 1, "maximum": 500, "default": 50}, "Most entries to answer."),
]


def _key_paths(refusals: Callable[..., Schema]) -> Schema:
    always = ("400", "401", "403", "413", "500", "503", "504")
    refused, unknown = refusals(*always), refusals(*sorted((*always, "404")))
    key, new = _ref("AdminKey"), _ref("AdminNewKey")
    overlap: Schema = {"type": ["integer", "null"], "minimum": 0, "maximum": 7_776_000, "default": 0}
    overlap["description"] = "How long the text before stays valid."
    listed = _object({"keys": {"type": "array", "items": key}}, ["keys"])
    rotation = _object({"overlap_seconds": overlap})
    one = {
        "parameters": _variable("name"),
        "get": _route("adminGetKey", "Describe an API key", _answers("200", key), unknown),
        "patch": _route(
            "adminChangeKey",
            "Change what an API key may do; what is not named stays as it is",
            _answers("200", key),
            unknown,
            body=_ref("AdminKeyChange"),
        ),
        "delete": _route("adminDeleteKey", "End an API key and forget it", _NOTHING, unknown),
    }
    rotate = _route(
        "adminRotateKey", "Give an API key a new text", _answers("200", new), unknown, body=rotation, required=False
    )
    revoke = _route("adminRevokeKey", "End an API key for good; it stays listed", _answers("200", key), unknown)
    return {
        "/api/admin/v1/keys": {
            "get": _route("adminListKeys", "List the API keys", _answers("200", listed), refused),
            "post": _route(
                "adminCreateKey",
                "Make an API key",
                _answers("201", new, "Made."),
                refused,
                body=_ref("AdminKeyRequest"),
            ),
        },
        "/api/admin/v1/keys/{name}": one,
        "/api/admin/v1/keys/{name}/rotate": {"parameters": _variable("name"), "post": rotate},
        "/api/admin/v1/keys/{name}/revoke": {"parameters": _variable("name"), "post": revoke},
    }


def _user_paths(refusals: Callable[..., Schema]) -> Schema:
    always = ("400", "401", "403", "413", "500", "503", "504")
    refused, unknown, taken = (
        refusals(*always),
        refusals(*sorted((*always, "404"))),
        refusals(*sorted((*always, "409"))),
    )
    user, account = _ref("AdminUser"), _ref("AdminAccount")
    following: Schema = {"type": ["string", "null"], "description": "`after` of the next page; null on the last."}
    users = _object({"users": {"type": "array", "items": user}, "next": following}, ["users", "next"])
    accounts = _object({"accounts": {"type": "array", "items": account}, "next": following}, ["accounts", "next"])
    email: Schema = {"type": "string", "minLength": 3}
    provider = _parameter(
        "provider", {"enum": ["local-userpass", "custom-token", "anon-user"]}, "Only users of this provider."
    )
    fresh = _object({"email": email, "password": _PASSWORD}, ["email", "password"])
    password = _object({"password": _PASSWORD}, ["password"])
    one, variable = "/api/admin/v1/users/{user_id}", _variable("user_id")

    def post(name: str, summary: str, responses: Schema, **more: Any) -> Schema:
        return {"parameters": variable, "post": _route(name, summary, responses, unknown, **more)}

    return {
        "/api/admin/v1/users": {
            "get": _route(
                "adminListUsers", "List users by id", _answers("200", users), refused, query=[*_PAGING, provider]
            ),
            "post": _route(
                "adminCreateUser",
                "Make a user with email and password",
                _answers("201", user, "Made."),
                taken,
                body=fresh,
            ),
        },
        one: {
            "parameters": variable,
            "get": _route("adminGetUser", "Describe a user", _answers("200", user), unknown),
            "delete": _route("adminDeleteUser", "Delete a user with all that is theirs", _NOTHING, unknown),
        },
        f"{one}/reset-password": post("adminResetPassword", "Set a user's password", _NOTHING, body=password),
        f"{one}/disable": post("adminDisableUser", "Let a user call no more", _answers("200", user)),
        f"{one}/enable": post("adminEnableUser", "Let a user call again", _answers("200", user)),
        "/api/admin/v1/accounts": {
            "get": _route(
                "adminListAccounts",
                "List accounts that are not confirmed",
                _answers("200", accounts),
                refused,
                query=_PAGING,
            )
        },
        "/api/admin/v1/accounts/confirm": {
            "post": _route(
                "adminConfirmAccount",
                "Confirm an account; its user comes into being",
                _answers("200", user),
                unknown,
                body=_object({"email": email}, ["email"]),
            )
        },
    }


def _session_paths(refusals: Callable[..., Schema]) -> Schema:
    refused, unknown = refusals("401", "403", "500", "503", "504"), refusals("401", "403", "404", "500", "503", "504")
    listed = _object({"sessions": {"type": "array", "items": _ref("AdminSession")}}, ["sessions"])
    ended = _object({"ended": {"type": "integer", "description": "How many there were."}}, ["ended"])
    own = {
        "parameters": _variable("user_id"),
        "get": _route("adminListSessions", "List the sessions of a user or key", _answers("200", listed), refused),
        "delete": _route(
            "adminEndSessionsOfUser", "End all sessions of a user or key", _answers("200", ended), refused
        ),
    }
    return {
        "/api/admin/v1/users/{user_id}/sessions": own,
        "/api/admin/v1/sessions": {
            "delete": _route("adminEndAllSessions", "End every session", _answers("200", ended), refused)
        },
        "/api/admin/v1/sessions/{session_id}": {
            "parameters": _variable("session_id"),
            "delete": _route("adminEndSession", "End a session", _NOTHING, unknown),
        },
    }


def _explain_path(refusals: Callable[..., Schema]) -> Schema:
    explained: Schema = {"type": "object", "additionalProperties": True}
    route = _route(
        "adminExplain",
        "Why a request would be allowed or refused",
        _answers("200", explained, "The roles, the filter, the hidden fields, or what refused."),
        refusals("400", "401", "403", "404", "413", "500", "503", "504"),
        body=_ref("AdminExplainRequest"),
    )
    return {"/api/admin/v1/explain": {"post": route}}
