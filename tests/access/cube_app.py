"""For tests of the DataCube API: who registers, and asks as themselves."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from typing import Any
from urllib.parse import urlencode

import pytest
from asgi import Answer, Application, application

SETTINGS: dict[str, Any] = {"providers": ("api-key", "local-userpass"), "datacube": True, "login_rate": ""}
PASSWORD = "a-strong-and-secure-password"
REGISTERED = "User registered successfully. Please check your email to verify your account."


def on_engine(
    request: pytest.FixtureRequest, folders: pytest.TempPathFactory, name: str
) -> AbstractContextManager[Application]:
    """An application on the engine that a fixture has as its parameter; a MongoDB has a system database for it."""
    chosen: dict[str, Any] = dict(SETTINGS)
    if request.param == "mongo":
        chosen |= {"uri": request.getfixturevalue("mongodb_uri"), "system_database": f"cube_{name}"}
    return application(folders.mktemp(name), **chosen)


def ask(
    app: Application,
    method: str,
    path: str,
    body: Any = None,
    *,
    as_: str | None = None,
    accept: str | None = None,
    **query: Any,
) -> Answer:
    """One request; ``as_`` is what is in ``Authorization``."""
    headers = {} if as_ is None else {"authorization": as_}
    headers |= {} if accept is None else {"accept": accept}
    content = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    return app.call(method, path, content, headers, urlencode(query).encode())


def ok(app: Application, method: str, path: str, body: Any = None, *, status: int = 200, **more: Any) -> Any:
    answer = ask(app, method, path, body, **more)
    assert answer.status == status, (path, answer.status, answer.body)
    assert answer.headers["cache-control"] == "no-store"
    return answer.json if answer.body else None


def refused(answer: Answer, status: int, code: str | None = None) -> dict[str, Any]:
    """The envelope of an error."""
    assert answer.status == status, answer.body
    assert answer.headers["content-type"] == "application/json"
    body: dict[str, Any] = answer.json
    assert body["success"] is False
    assert isinstance(body["message"], str)
    assert body["message"]
    assert "detail" in body
    if code is not None:
        assert body["error_code"] == code, body
    text = answer.body.decode()
    for leak in ("Traceback", ".py", "_V2", "argon2"):
        assert leak not in text
    return body


def registered(app: Application, email: str) -> str:
    """What a new user shows in ``Authorization``."""
    names = {"firstName": "Alex", "lastName": "Dev"}
    made = ok(app, "POST", "/core/register", {"email": email, "password": PASSWORD, **names}, status=201)
    assert made == {"message": REGISTERED}
    return f"Bearer {tokens(app, email)['access']}"


def tokens(app: Application, email: str) -> dict[str, Any]:
    found: dict[str, Any] = ok(app, "POST", "/core/login", {"email": email, "password": PASSWORD})
    return found


def key_of(app: Application, bearer: str, name: str = "backend", **limits: Any) -> str:
    """A new key, as it is shown."""
    made = ok(app, "POST", "/core/api/v1/keys", {"name": name, **limits}, status=201, as_=bearer)
    return f"Api-Key {made['key']}"


def database(app: Application, who: str, name: str = "shop", *collections: Any) -> str:
    """The id of a new database with ``collections``, or with users."""
    listed = list(collections) or [{"name": "users", "fields": [{"name": "email", "type": "string"}]}]
    made = ok(app, "POST", "/api/create_database", {"db_name": name, "collections": listed}, status=201, as_=who)
    identifier: str = made["database"]["id"]
    return identifier


class Crud:
    """Documents of one collection, asked for by one user; ``path`` is where."""

    def __init__(self, app: Application, who: str, database_id: str, name: str = "users", path: str = "/api") -> None:
        self.app = app
        self.who = who
        self.path = path
        self.place: dict[str, Any] = {"database_id": database_id, "collection_name": name}

    def insert(self, *documents: Any) -> list[Any]:
        made = ok(self.app, "POST", f"{self.path}/crud", {**self.place, "data": documents}, status=201, as_=self.who)
        ids: list[Any] = made["inserted_ids"]
        return ids

    def read(self, filters: Any = None, **query: Any) -> Any:
        given: dict[str, Any] = {**self.place, **query}
        given |= {} if filters is None else {"filters": json.dumps(filters)}
        return ok(self.app, "GET", f"{self.path}/crud", as_=self.who, **given)

    def all(self, filters: Any = None, **query: Any) -> list[Any]:
        found: list[Any] = self.read(filters, **query)["data"]
        return found

    def update(self, filters: Any, data: Any, **more: Any) -> Any:
        body = {**self.place, "filters": filters, "update_data": data, **more}
        return ok(self.app, "PUT", f"{self.path}/crud", body, as_=self.who)

    def delete(self, filters: Any, **more: Any) -> int:
        told = ok(self.app, "DELETE", f"{self.path}/crud", {**self.place, "filters": filters, **more}, as_=self.who)
        assert told["count"] == told["deleted_count"]
        count: int = told["count"]
        return count

    def restore(self, filters: Any) -> int:
        told = ok(self.app, "POST", f"{self.path}/restore", {**self.place, "filters": filters}, as_=self.who)
        count: int = told["count"]
        return count

    def refused(self, method: str, body: Any = None, status: int = 400, **query: Any) -> dict[str, Any]:
        query |= self.place if method == "GET" else {}
        content = None if method == "GET" else {**self.place, **(body or {})}
        return refused(ask(self.app, method, f"{self.path}/crud", content, as_=self.who, **query), status)
