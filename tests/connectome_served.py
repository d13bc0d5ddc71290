"""A server with collections that are reached by Connectome, for the tests of that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from servers import PATIENCE, Doorleaf, doorleaf

MOVIES = [
    {"amount": 10, "title": "Movie ABC"},
    {"amount": 100, "title": "Movie BDD"},
    {"amount": 39, "title": "Movie XYZ"},
]
ADMIN = "/api/admin/v1/connectome"


class Served(Doorleaf):
    """The server, with its data folder and its audit file."""

    def __init__(self, server: Doorleaf, folder: Path, audit: Path) -> None:
        super().__init__(server.process, server.url, server.key, server._log)
        self.folder, self.audit = folder, audit


@contextmanager
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server on the engine that ``request`` has for its parameter."""
    flags = () if request.param == "embedded" else ("--uri", request.getfixturevalue("mongodb_uri"))
    folder, audit = tmp_path_factory.mktemp("connectome") / "data", tmp_path_factory.mktemp("audit") / "audit.jsonl"
    environment = {
        "DOORLEAF_LOGIN_RATE": "",
        "DOORLEAF_ACCESS_LOG": "true",
        "DOORLEAF_LOG_LEVEL": "debug",
        "DOORLEAF_AUDIT_FILE": str(audit),
        "DOORLEAF_AUDIT_WRITES": "true",
    }
    with doorleaf(folder, *flags, env=environment) as running:
        yield Served(running, folder, audit)


class Collection:
    """A collection of its own, with credentials; ``call`` calls an operation of it as clients do."""

    number = 0

    def __init__(self, server: Served, **more: Any) -> None:
        Collection.number += 1
        self.server, self.name = server, f"movies{Collection.number}"
        made = administer(server, "POST", "", {"database": "shop", "collection": self.name, **more}, status=201)
        self.id, self.read, self.write = made["collection_id"], made["read_credential"], made["write_credential"]
        self.ids = made["ids"]

    def url(self, operation: str, credential: str | None = None) -> str:
        own = self.read if operation.startswith("read") else self.write
        return f"{self.server.url}/collection/{operation}/{credential or own}/{self.id}"

    def call(self, operation: str, body: Any = None, *, method: str = "POST", **more: Any) -> requests.Response:
        return requests.request(method, self.url(operation), json=body, timeout=PATIENCE, **more)

    def ok(self, operation: str, body: Any = None, **more: Any) -> Any:
        answer = self.call(operation, body, **more)
        assert answer.status_code == 200, answer.text
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        return answer.json()

    def refused(self, status: int, operation: str, body: Any = None, **more: Any) -> dict[str, Any]:
        return error_of(self.call(operation, body, **more), status)

    @property
    def documents(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.server.ok("find", database="shop", collection=self.name)["documents"]
        return found

    def filled(self) -> Collection:
        self.ok("batchwrite", MOVIES)
        return self


def error_of(answer: requests.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    error: dict[str, Any] = answer.json()
    assert error["success"] is False
    assert isinstance(error["error"], str)
    assert isinstance(error["message"], str)
    assert "dlcr_" not in answer.text
    assert "dlcw_" not in answer.text
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    return error


def administer(server: Served, method: str, path: str, body: Any = None, *, status: int = 200) -> Any:
    answer = requests.request(
        method, f"{server.url}{ADMIN}{path}", json=body, headers={"apiKey": server.key}, timeout=PATIENCE
    )
    assert answer.status_code == status, answer.text
    return answer.json()


def without_ids(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in document.items() if name != "_id"} for document in documents]
