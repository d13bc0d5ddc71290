"""For tests of workspaces: an application with the workspaces of two tenants, and requests to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import orjson
from asgi import Answer, Application, application

from doorleaf.access.identity.directory import Directory
from doorleaf.access.workspaces.tenancy import SCOPES


class Place:
    """A workspace as somebody with a token for it sees it."""

    def __init__(self, app: Application, name: str, token: str) -> None:
        self.app = app
        self.name = name
        self.token = token

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, Any] | list[tuple[str, str]] | None = None,
        headers: Mapping[str, str] | None = None,
        token: str | None = None,
    ) -> Answer:
        content = body if isinstance(body, bytes) else b"" if body is None else orjson.dumps(body)
        shown = {"authorization": f"Bearer {self.token if token is None else token}", **(headers or {})}
        text = urlencode(query or {}).encode()
        return self.app.call(method, f"/v1/mongo/{self.name}{path}", content, shown, text)

    def ok(self, method: str, path: str, body: Any = None, *, status: int = 200, **more: Any) -> Any:
        answer = self.ask(method, path, body, **more)
        assert answer.status == status, answer.body
        for hidden in (b"_tenantId", b"_workspaceId"):
            assert hidden not in answer.body
        return answer.json

    def refused(self, method: str, path: str, body: Any = None, *, status: int, code: str, **more: Any) -> Any:
        answer = self.ask(method, path, body, **more)
        assert (answer.status, answer.json["error"]["code"]) == (status, code), answer.body
        for leak in (b"Traceback", b".py", self.token.encode()):
            assert leak not in answer.body
        return answer.json["error"]

    def documents(self, collection: str = "orders") -> str:
        return f"/collections/{collection}/documents"

    def one(self, identity: str, collection: str = "orders") -> str:
        return f"{self.documents(collection)}/{identity}"

    def insert(self, document: Any, collection: str = "orders") -> Any:
        return self.ok("POST", self.documents(collection), document, status=201)["data"]

    def query(self, collection: str = "orders", **query: Any) -> Any:
        return self.ok("GET", self.documents(collection), query=query)

    def ids(self, collection: str = "orders", **query: Any) -> list[Any]:
        return [document["_id"] for document in self.query(collection, **query)["data"]]


def directory(app: Application) -> Directory:
    found: Directory = app.endpoint._authenticator.directory  # type: ignore[attr-defined]
    return found


def place(app: Application, tenant: str, name: str, *, scopes: Any = SCOPES, **more: Any) -> Place:
    """A new workspace of a tenant, and a token for it."""
    known = directory(app).workspaces
    if tenant not in {one["id"] for one in app.run(known.tenants())}:
        app.run(known.create_tenant(tenant, id=tenant))
    app.run(known.create(tenant, id=name, **more))
    token, _ = app.run(known.token(name, scopes, 3600))
    return Place(app, name, token)


@contextmanager
def opened(folder: Path, uri: str | None, **settings: Any) -> Iterator[Application]:
    """The application over one of the engines."""
    source = {} if uri is None else {"uri": uri, "system_database": f"system_{folder.name}"[:60]}
    with application(folder, login_rate="", **source, **settings) as app:
        yield app
