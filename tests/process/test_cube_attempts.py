"""Somebody who would like to have what is another user's, at a running server: nothing is told, and nothing changes."""

# mypy: disable-error-code="misc, assignment"
# ruff: noqa: E731 - a request is a table's cell, made of what is held
from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import pytest
from servers import PATIENCE, Doorleaf, start_doorleaf

ENVIRONMENT = {"DOORLEAF_DATACUBE": "true", "DOORLEAF_PROVIDERS": "api-key,local-userpass", "DOORLEAF_LOGIN_RATE": ""}
PASSWORD = "a-strong-and-secure-password"
SECRET = "sesame"
JSON = "application/json"


@dataclass
class Answer:
    status: int
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Held:
    """What the one who tries has, and what is told of the other's; ``theirs`` and ``their_name`` are their database."""

    server: Doorleaf
    theirs: str = ""
    physical: str = ""
    their_id: str = ""
    their_key_id: str = ""
    mine: str = ""
    token: str = ""
    key: str = ""
    reads: str = ""
    expired: str = ""
    revoked: str = ""
    narrow: str = ""
    owner: str = ""

    def send(self, method: str, path: str, body: bytes = b"", headers: list[tuple[str, str]] | None = None) -> Answer:
        """A request as it is written, each header as often as it is there."""
        at = urlsplit(self.server.url)
        connection = http.client.HTTPConnection(at.hostname or "", at.port, timeout=PATIENCE)
        connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in headers or []:
            connection.putheader(name, value)
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        found = Answer(answer.status, answer.read())
        connection.close()
        return found

    def ask(self, who: str, method: str, path: str, body: Any = None, status: tuple[int, ...] = (200, 201, 204)) -> Any:
        content = b"" if body is None else json.dumps(body).encode()
        answer = self.send(method, path, content, [("Authorization", who), ("Content-Type", JSON)])
        assert answer.status in status, (path, answer.body)
        return answer.json if answer.body else None


@dataclass(frozen=True)
class Attempt:
    """One request; ``path``, ``body`` and ``headers`` are made of what is held."""

    name: str
    method: str
    path: Callable[[Held], str]
    body: Callable[[Held], Any] = field(default=lambda held: None)
    headers: Callable[[Held], list[tuple[str, str]]] = field(default=lambda held: [("Authorization", held.token)])
    statuses: tuple[int, ...] = (400, 401, 403, 404, 405)


def read(of: Callable[[Held], str], more: str = "") -> Callable[[Held], str]:
    return lambda held: f"/api/crud?database_id={of(held)}&collection_name=users{more}"


def place(held: Held, **more: Any) -> dict[str, Any]:
    return {"database_id": held.theirs, "collection_name": "users", **more}


def shown(value: Callable[[Held], str], name: str = "Authorization") -> Callable[[Held], list[tuple[str, str]]]:
    return lambda held: [(name, value(held))]


def form(held: Held, fields: list[tuple[str, str]], name: str = "users.json") -> bytes:
    parts = [f'--b\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n' for key, value in fields]
    head = f'--b\r\nContent-Disposition: form-data; name="json_file"; filename="{name}"\r\n\r\n[{{"taken":true}}]\r\n'
    return "".join([*parts, head, "--b--\r\n"]).encode()


def formed(held: Held) -> list[tuple[str, str]]:
    return [("Authorization", held.token), ("Content-Type", "multipart/form-data; boundary=b")]


def _ids() -> list[Attempt]:
    """Ways to write the id of another's database."""
    spelled: dict[str, Callable[[Held], str]] = {
        "in capitals": lambda held: held.theirs.upper(),
        "behind a space": lambda held: "%20" + held.theirs,
        "with a NUL behind it": lambda held: held.theirs + "%00",
        "percent-encoded": lambda held: "".join(f"%{ord(letter):02x}" for letter in held.theirs),
        "in brackets": lambda held: quote(json.dumps([held.theirs])),
        "as an ObjectId": lambda held: quote(json.dumps({"$oid": held.theirs})),
        "behind an own one": lambda held: f"{held.mine},{held.theirs}",
        "in full width": lambda held: quote("".join(chr(ord(letter) + 0xFEE0) for letter in held.theirs)),
    }
    found = [Attempt(f"the id {name}", "GET", read(made)) for name, made in spelled.items()]
    for name, made in (
        ("an operator", lambda held: {"$in": [held.theirs]}),
        ("an ObjectId", lambda held: {"$oid": held.theirs}),
        ("an array", lambda held: [held.theirs]),
    ):
        body = lambda held, made=made: {"database_id": made(held), "collection_name": "users", "filters": {"n": 1}}
        found.append(Attempt(f"{name} for an id", "DELETE", lambda held: "/api/crud", body))
    return found


def _places() -> list[Attempt]:
    """Two places in one request, and places that are named otherwise."""
    both = "/api/crud?database_id={mine}&database_id={theirs}&collection_name=users"
    there = {"filters": {"n": 1}, "update_data": {"taken": True}}
    return [
        Attempt("two ids in a query", "GET", lambda held: both.format(mine=held.mine, theirs=held.theirs)),
        Attempt(
            "an own id in the query, another's in the body",
            "DELETE",
            lambda held: f"/api/crud?database_id={held.mine}&collection_name=users",
            lambda held: place(held, filters={"n": 1}),
        ),
        Attempt("the physical name for an id", "GET", read(lambda held: held.physical)),
        *(
            Attempt(
                f"a collection called {name}",
                "PUT",
                lambda held: "/api/crud",
                lambda held, name=name: {
                    "database_id": held.mine,
                    "collection_name": name.format(held.physical),
                    **there,
                },
            )
            for name in ("{}.users", "../{}/users", "{}/users", "users\u0000", "system.users", "$cmd.users")
        ),
        *(
            Attempt(
                f"an action {action}",
                "POST",
                lambda held, action=action: f"/data/v1/action/{action}",
                lambda held: {
                    "database": held.physical,
                    "collection": "users",
                    "filter": {},
                    "update": {"$set": {"t": 1}},
                },
                lambda held, who=who: [("Authorization", getattr(held, who)), ("Content-Type", JSON)],
            )
            for action in ("find", "updateMany", "deleteMany")
            for who in ("token", "key")
        ),
        Attempt("a list of all databases", "POST", lambda held: "/data/v1/action/listDatabases", lambda held: {}),
        Attempt("administration", "GET", lambda held: "/api/admin/v1/users"),
        Attempt("metrics", "GET", lambda held: "/metrics"),
        Attempt("another's name in a search", "GET", lambda held: f"/api/list_databases?user_id={held.their_id}"),
    ]


def _keys() -> list[Attempt]:
    """Keys that may less, or no more."""
    found = []
    for name in ("expired", "revoked"):
        shown_key = shown(lambda held, name=name: getattr(held, name))
        found.append(Attempt(f"an {name} key of the owner", "GET", read(lambda held: held.theirs), headers=shown_key))
        hidden = shown(lambda held, name=name: getattr(held, name).replace("Api-Key", "Bearer"))
        found.append(Attempt(f"an {name} key behind Bearer", "GET", read(lambda held: held.theirs), headers=hidden))
    for method, path, body in (
        ("POST", "/api/crud", {"data": [{"taken": True}]}),
        ("PUT", "/api/crud", {"filters": {"n": 1}, "update_data": {"taken": True}}),
        ("DELETE", "/api/crud", {"filters": {"n": {"$exists": True}}, "hard": True}),
        ("POST", "/api/restore", {"filters": {}}),
        ("POST", "/api/drop_collections", {"collection_names": ["users"]}),
        ("POST", "/api/drop_database", {"confirmation": "shop"}),
        ("POST", "/core/api/v1/keys", {"name": "more"}),
        ("PATCH", "/core/profile", {"firstName": "Mallory"}),
        ("DELETE", "/core/account", {"password": PASSWORD}),
    ):
        given = lambda held, body=body, path=path: (place(held) if path.startswith("/api") else {}) | body
        if path.endswith(("collections", "database")):
            given = lambda held, body=body: {"database_id": held.theirs, **body}
        for who in ("reads", "narrow"):
            if (who, path) not in (("narrow", "/api/crud"), ("narrow", "/api/restore")):
                headers = lambda held, who=who: [("Authorization", getattr(held, who)), ("Content-Type", JSON)]
                found.append(
                    Attempt(f"{method} {path} by a key that {who}", method, lambda held, p=path: p, given, headers)
                )
    override = lambda held: [
        ("Authorization", held.reads),
        ("X-HTTP-Method-Override", "DELETE"),
        ("Content-Type", JSON),
    ]
    deleting = lambda held: place(held, filters={"n": 1}, hard=True, _method="DELETE")
    found.append(Attempt("another method by a header", "POST", lambda held: "/api/crud", deleting, override))
    return found


def _shown() -> list[Attempt]:
    """Credentials that contradict each other, and that are elsewhere."""
    path = read(lambda held: held.theirs)
    return [
        Attempt(
            "two credentials",
            "GET",
            path,
            headers=lambda held: [("Authorization", held.token), ("Authorization", held.revoked)],
        ),
        Attempt("a list of credentials", "GET", path, headers=shown(lambda held: f"{held.token}, {held.revoked}")),
        Attempt(
            "a key in another header",
            "GET",
            path,
            headers=lambda held: [("Authorization", held.token), ("apiKey", held.key[8:])],
        ),
        Attempt("the id of the owner's key", "GET", path, headers=shown(lambda held: f"Api-Key {held.their_key_id}")),
        Attempt(
            "the owner in a header",
            "GET",
            path,
            headers=lambda held: [("Authorization", held.token), ("X-User-Id", held.their_id)],
        ),
        Attempt(
            "a credential in the query", "GET", read(lambda held: held.theirs, "&apiKey=x"), headers=lambda held: []
        ),
        Attempt("no credential", "GET", path, headers=lambda held: []),
        Attempt("the end of the owner's key", "DELETE", lambda held: f"/core/api/v1/keys/{held.their_key_id}"),
        Attempt("the end of all keys", "DELETE", lambda held: "/core/api/v1/keys/*"),
        Attempt(
            "the end of a key by a way up", "DELETE", lambda held: f"/core/api/v1/keys/x%2f..%2f{held.their_key_id}"
        ),
        Attempt(
            "a key for the owner's database",
            "POST",
            lambda held: "/core/api/v1/keys",
            lambda held: {"name": "a", "database_ids": [held.theirs]},
        ),
        Attempt(
            "a key for the owner",
            "POST",
            lambda held: "/core/api/v1/keys",
            lambda held: {"name": "b", "user_id": held.their_id},
        ),
        Attempt(
            "the owner's profile",
            "PATCH",
            lambda held: "/core/profile",
            lambda held: {"id": held.their_id, "firstName": "M"},
        ),
    ]


def _files() -> list[Attempt]:
    """Imports and exports."""
    both = [("own and other", ("mine", "theirs")), ("other and own", ("theirs", "mine"))]
    found = [
        Attempt(
            f"an import with two ids, {name}",
            "POST",
            lambda held: "/api/import_data",
            lambda held, order=order: form(held, [("database_id", getattr(held, one)) for one in order]),
            formed,
        )
        for name, order in both
    ]
    for name in ("{}.users", "system.users", "$cmd", "../users", "users\u0000x", "a.b", "."):
        fields = lambda held, name=name: form(
            held, [("database_id", held.mine), ("collection_name", name.format(held.physical))]
        )
        found.append(Attempt(f"an import into {name!r}", "POST", lambda held: "/api/import_data", fields, formed))
    found += [
        Attempt(
            "an import whose id is in the query",
            "POST",
            lambda held: f"/api/import_data?database_id={held.theirs}",
            lambda held: form(held, []),
            formed,
        ),
        Attempt(
            "an import",
            "POST",
            lambda held: "/api/import_data",
            lambda held: form(held, [("database_id", held.theirs)]),
            formed,
        ),
        Attempt(
            "an export",
            "GET",
            lambda held: f"/api/export_data?database_id={held.theirs}&collection_name=users&format=csv",
        ),
        Attempt(
            "an export with two ids",
            "GET",
            lambda held: f"/api/export_data?database_id={held.mine}&database_id={held.theirs}&collection_name=users",
        ),
        Attempt(
            "an export of what lies beside",
            "GET",
            lambda held: f"/api/export_data?database_id={held.mine}&collection_name={held.physical}.users",
        ),
    ]
    return found


def _paths() -> list[Attempt]:
    """Paths that are written otherwise."""
    ways = (
        "//api/crud",
        "/api//crud",
        "/API/crud",
        "/api/crud;a",
        "/api/v2/../crud",
        "/api/%63rud",
        "/api/crud%2f",
        "/api/v3/crud",
    )
    return [
        Attempt(f"the path {way}", "GET", lambda held, way=way: way + read(lambda held: held.theirs)(held)[9:])
        for way in ways
    ]


ATTEMPTS = [*_ids(), *_places(), *_keys(), *_shown(), *_files(), *_paths()]
assert len(ATTEMPTS) >= 60


def _register(held: Held, email: str) -> str:
    names = {"firstName": "A", "lastName": "L"}
    held.ask("", "POST", "/core/register", {"email": email, "password": PASSWORD, **names})
    found = held.ask("", "POST", "/core/login", {"email": email, "password": PASSWORD})
    return f"Bearer {found['access']}"


def _made(held: Held, who: str, **limits: Any) -> tuple[str, str]:
    made = held.ask(who, "POST", "/core/api/v1/keys", {"name": f"k{time.monotonic_ns()}", **limits})
    return f"Api-Key {made['key']}", made["_id"]


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Held]:
    folder: Path = tmp_path_factory.mktemp("attempts") / "data"
    held = Held(start_doorleaf(folder, env=ENVIRONMENT))
    held.owner, held.token = _register(held, "owner@example.com"), _register(held, "mallory@example.com")
    users = ["users"]
    held.theirs = held.ask(held.owner, "POST", "/api/create_database", {"db_name": "shop", "collections": users})[
        "database"
    ]["id"]
    held.mine = held.ask(held.token, "POST", "/api/create_database", {"db_name": "shop", "collections": users})[
        "database"
    ]["id"]
    other = held.ask(held.owner, "POST", "/api/create_database", {"db_name": "other", "collections": users})[
        "database"
    ]["id"]
    held.physical = held.ask(held.owner, "GET", f"/api/get_metadata?database_id={held.theirs}")["data"]["dbName"]
    held.their_id = held.ask(held.owner, "GET", "/core/profile")["id"]
    documents = [{"_id": number, "n": number, "text": SECRET} for number in range(3)]
    held.ask(held.owner, "POST", "/api/crud", place(held, data=documents))
    held.ask(held.owner, "DELETE", "/api/crud", place(held, filters={"_id": 2}))
    _, held.their_key_id = _made(held, held.owner)
    held.key, _ = _made(held, held.token)
    held.reads, _ = _made(held, held.owner, permissions=["read"])
    held.narrow, _ = _made(held, held.owner, database_ids=[other])
    ends = time.time() + 2
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ends))
    held.expired, _ = _made(held, held.owner, expires_at=at)
    held.revoked, identifier = _made(held, held.owner)
    held.ask(held.owner, "DELETE", f"/core/api/v1/keys/{identifier}")
    time.sleep(max(0.0, ends - time.time()) + 0.1)
    yield held
    assert held.server.stop() == 0
    assert "Traceback" not in held.server.output()


def state(held: Held) -> list[Any]:
    """Everything that is the owner's."""
    found = held.ask(
        held.owner, "GET", read(lambda held: held.theirs, "&include_deleted=true&sort=%7B%22_id%22%3A1%7D")(held)
    )
    keys = [{**key, "last_used_at": None} for key in held.ask(held.owner, "GET", "/core/api/v1/keys")]
    databases = held.ask(held.owner, "GET", "/api/list_databases")["data"]
    return [found["data"], keys, databases, held.ask(held.owner, "GET", "/core/profile")]


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=[attempt.name for attempt in ATTEMPTS])
def test_nobody_reaches_what_is_anothers(held: Held, attempt: Attempt) -> None:
    before = state(held)
    assert [one["text"] for one in before[0]] == [SECRET] * 3
    body, headers = attempt.body(held), attempt.headers(held)
    content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    if content and not any(name == "Content-Type" for name, _ in headers):
        headers = [*headers, ("Content-Type", JSON)]
    answer = held.send(attempt.method, attempt.path(held), content, headers)
    assert answer.status in attempt.statuses, answer.body
    sent = (attempt.path(held).encode(), content)
    for told in (SECRET, held.physical, "owner@example.com", "Traceback"):
        assert told.encode() not in answer.body or any(told.encode() in part for part in sent)
    assert state(held) == before
    query = urlencode({"database_id": held.mine})
    mine = held.ask(held.token, "GET", f"/api/list_collections?{query}")["collections"]
    assert [(one["name"], one["num_documents"]) for one in mine] == [("users", 0)]
