"""For tests of the App Services client API: settings with rules, logins, and calls."""

from __future__ import annotations

from typing import Any

import orjson
from asgi import KEY, Answer, Application

API = "/api/client/v2.0"
APP = f"{API}/app/shop-abcde"
USERPASS = f"{APP}/auth/providers/local-userpass"
CALL = f"{APP}/functions/call"
SIGNING_KEY = "k" * 40
RULES = {
    "default": {
        "shop.notes": {
            "roles": [
                {
                    "name": "owner",
                    "apply_when": {},
                    "document_filters": {"read": {"owner": "%%user.id"}, "write": {"owner": "%%user.id"}},
                    "read": True,
                    "write": True,
                    "insert": True,
                    "delete": True,
                    "search": True,
                }
            ]
        },
        "shop.checked": {
            "roles": [{"name": "all", "apply_when": {}, "read": True, "write": True}],
            "schema": {"bsonType": "object", "required": ["name"], "properties": {"name": {"bsonType": "string"}}},
        },
    }
}
SETTINGS: dict[str, Any] = {
    "providers": ("api-key", "local-userpass", "custom-token", "anon-user"),
    "custom_token": {"algorithm": "HS256", "keys": (SIGNING_KEY,), "audience": ("shop-abcde",)},
    "login_rate": "",
    "auto_confirm": True,
    "rules": RULES,
}


def post(app: Application, path: str, body: Any = None, *, bearer: str | None = None, method: str = "POST") -> Answer:
    headers = {"content-type": "application/json", "accept": "application/json"}
    if bearer is not None:
        headers["authorization"] = f"Bearer {bearer}"
    return app.call(method, path, b"" if body is None else orjson.dumps(body), headers)


def get(app: Application, path: str, bearer: str | None = None) -> Answer:
    return post(app, path, bearer=bearer, method="GET")


def refused(answer: Answer, status: int, code: str | None, error: str | None = None) -> dict[str, Any]:
    """The envelope of an error."""
    assert answer.status == status, answer.body
    assert answer.headers["content-type"] == "application/json"
    body: dict[str, Any] = answer.json
    assert body.get("error_code") == code
    if error is not None:
        assert body["error"] == error
    for leak in (KEY, "Traceback", ".py", "hash", "argon2", SIGNING_KEY):
        assert leak not in answer.body.decode()
    return body


def log_in(app: Application, provider: str, body: Any) -> dict[str, Any]:
    answer = post(app, f"{APP}/auth/providers/{provider}/login", body)
    assert answer.status == 200, answer.body
    session: dict[str, Any] = answer.json
    assert set(session) >= {"access_token", "refresh_token", "user_id", "device_id"}
    assert answer.headers["cache-control"] == "no-store"
    return session


def anonymous(app: Application) -> dict[str, Any]:
    return log_in(app, "anon-user", {"options": {"device": {"sdkVersion": "2.0.1", "platform": "node"}}})


def person(app: Application, email: str) -> dict[str, Any]:
    """A session of a new user with email and password."""
    assert post(app, f"{USERPASS}/register", {"email": email, "password": "sesame-7"}).status == 201
    return log_in(app, "local-userpass", {"username": email, "password": "sesame-7"})


def administrator(app: Application) -> str:
    token: str = log_in(app, "api-key", {"key": KEY})["access_token"]
    return token


def call(app: Application, bearer: str, name: str, _service: Any = "mongodb-atlas", /, **fields: Any) -> Answer:
    place = {"database": "shop", "collection": "things"}
    body = {"name": name, "arguments": [{**place, **fields}], "service": _service}
    return post(app, CALL, body, bearer=bearer)


def ok(app: Application, bearer: str, name: str, /, **fields: Any) -> Any:
    answer = call(app, bearer, name, **fields)
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"] == "application/json"
    return answer.json
