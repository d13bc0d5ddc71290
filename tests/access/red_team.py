"""What the red team attacks: one real server over TCP, its callers, its documents, and what must never come out of it.

Collection ``shop.orders`` has documents of two tenants. A caller belongs to the tenant that its key is named after and
may read neither the other's documents nor the fields ``secret``, ``cost``, ``internal.note`` and ``items.cost`` of its
own. Every hidden value contains one of :data:`MARKS`, which no request does.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from servers import Doorleaf, secantus, start_doorleaf

from doorleaf.access.identity.keys import Keys
from doorleaf.access.system_store import SystemStore
from doorleaf.stores.base import Store
from doorleaf.stores.embedded.store import EmbeddedStore
from doorleaf.stores.mongo import MongoStore

MARKS = ("HIDDEN", "FOREIGN", "4242")
FAULTS = ("Traceback", ".py", "site-packages", "sqlite", "mongodb://", "argon2id$")
READS = frozenset({"find", "findOne", "countDocuments", "estimatedDocumentCount", "distinct"})

OWN = [
    {"_id": "red-1", "tenant": "red", "name": "apples", "n": 1, "tags": ["x", "y"], "internal": {"state": "open"}}
    | {"items": [{"sku": "a", "qty": 1}, {"sku": "b", "qty": 2}]},
    {"_id": "red-2", "tenant": "red", "name": "pears", "n": 2, "tags": ["y"], "internal": {"state": "done"}}
    | {"items": [{"sku": "c", "qty": 3}]},
]
"""What the tenant ``red`` sees of ``orders``, by ``_id``."""

ORDERS = [
    OWN[0]
    | {"secret": "HIDDEN-r1", "cost": 42420001, "internal": {"state": "open", "note": "HIDDEN-note-1"}}
    | {"items": [{"sku": "a", "qty": 1, "cost": 42420011}, {"sku": "b", "qty": 2, "cost": 42420012}]},
    OWN[1]
    | {"secret": "HIDDEN-r2", "cost": 42420002, "internal": {"state": "done", "note": "HIDDEN-note-2"}}
    | {"items": [{"sku": "c", "qty": 3, "cost": 42420013}]},
    {"_id": "blue-1", "tenant": "blue", "name": "FOREIGN-1", "n": 42420003, "tags": ["FOREIGN-tag"]}
    | {"secret": "FOREIGN-secret-1", "cost": 42420004, "internal": {"state": "FOREIGN-s", "note": "FOREIGN-n"}},
    {"_id": "blue-0", "tenant": "RED", "name": "FOREIGN-0", "n": 42420007, "tags": [], "secret": "FOREIGN-secret-0"},
    {"_id": "blue-2", "tenant": "blue", "name": "FOREIGN-2", "n": "FOREIGN-number", "tags": "FOREIGN-no-array"}
    | {"secret": {"deep": "FOREIGN-secret-2"}, "cost": "FOREIGN-cost", "friend": "red-1"},
]
DOCUMENTS = {
    "orders": ORDERS,
    "vault": [{"_id": 1, "gold": "FOREIGN-gold", "friend": "red-1"}],
    "open": [{"_id": 1, "n": 1, "text": "a" * 40 + "!", "list": [1]}],
    "letters": [{"_id": 1, "text": "FOREIGN-letter"}],
    "notes": [
        {"_id": 1, "owner": "red", "title": "mine", "body": "mine too"},
        {"_id": 2, "owner": "blue", "title": "theirs", "body": "FOREIGN-body"},
    ],
    "masked": [
        {"_id": 1, "public": True, "name": "seen", "pin": 42420005},
        {"_id": 2, "public": False, "name": "FOREIGN-masked", "pin": 42420006},
    ],
}

_TENANT = {"tenant": "%%user.data.name"}
_BOTH = {"read": True, "write": True}
RULES: Mapping[str, Any] = {
    "shop.orders": {
        "roles": [
            {"name": "tenant", "apply_when": _TENANT, "document_filters": {"read": _TENANT, "write": _TENANT}}
            | {"insert": True, "delete": True, "additional_fields": _BOTH}
            | {
                "fields": {
                    "secret": {},
                    "cost": {},
                    "internal": {"fields": {"note": {}}, "additional_fields": _BOTH},
                    "items": {"fields": {"cost": {}}, "additional_fields": _BOTH},
                }
            }
        ]
    },
    "shop.open": {"roles": [{"name": "all", "apply_when": {}, "read": True, "write": True}]},
    "shop.letters": {
        "roles": [{"name": "box", "apply_when": {}, "insert": True, "write": {"%%prevRoot": {"%exists": False}}}]
    },
    "shop.notes": {
        "roles": [
            {"name": "owner", "apply_when": {"owner": "%%user.data.name"}, "read": True, "write": True},
            {"name": "others", "apply_when": {}, "fields": {"title": {"read": True}}},
        ]
    },
    "shop.masked": {
        "roles": [{"name": "all", "apply_when": {}, "read": True, "write": True}],
        "filters": [{"name": "public", "apply_when": {}, "query": {"public": True}, "projection": {"pin": 0}}],
    },
}

KEYS: Mapping[str, tuple[bool, Mapping[str, Any]]] = {
    "red": (False, {}),
    "blue": (False, {}),
    "stranger": (False, {}),
    "reader": (True, {"actions": ["read"]}),
    "narrow": (True, {"collections": ["shop.open"]}),
    "elsewhere": (True, {"databases": ["other"]}),
    "finder": (True, {"actions": ["find", "findOne"], "collections": ["shop.open"]}),
}
"""Keys: whether an administrator's, and what they are limited to."""


@dataclass
class Answer:
    """One HTTP response; names of ``headers`` are lower-case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Attempt:
    """A request that must not succeed.

    It is refused with a status of ``statuses`` (and ``code``, if given), or it is answered with exactly ``answer``,
    which is nothing that was not the caller's before. ``key`` names the caller.
    """

    name: str
    action: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    key: str = "red"
    statuses: tuple[int, ...] = (403,)
    code: str | None = None
    answer: Any = None

    @property
    def body(self) -> dict[str, Any]:
        return {"dataSource": "main", "database": "shop", "collection": "orders", **self.fields}


def refused(
    name: str,
    action: str,
    status: int | tuple[int, ...] = 403,
    /,
    *,
    says: str | None = None,
    by: str = "red",
    or_answered: Any = None,
    **fields: Any,
) -> Attempt:
    """An attempt that must be refused with ``status``, and with the code ``says`` if that is given.

    A database that sees no harm in it may answer with ``or_answered``.
    """
    statuses = (status,) if isinstance(status, int) else status
    return Attempt(name, action, fields, by, statuses, says, or_answered)


def in_vain(name: str, action: str, answer: Any, /, *, by: str = "red", **fields: Any) -> Attempt:
    """An attempt that is answered with ``answer``, which is worth nothing."""
    return Attempt(name, action, fields, by, (), answer=answer)


class Target:
    """The server under attack; ``keys`` are those of :data:`KEYS` and ``root``, by name."""

    def __init__(self, server: Doorleaf, keys: Mapping[str, str], audit: Path, *, mongodb: bool = False) -> None:
        self.server = server
        self.mongodb = mongodb
        self.keys = dict(keys)
        self.audit = audit
        host, _, port = server.url.partition("://")[2].partition(":")
        self.address = (host, int(port))

    def call(
        self,
        method: str,
        path: str,
        body: bytes | Mapping[str, Any] = b"",
        headers: Mapping[str, str] | None = None,
        *,
        key: str = "",
    ) -> Answer:
        """One request on a connection of its own; ``path`` goes out as it is."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        given = {**({"apiKey": self.keys[key]} if key else {}), **(headers or {})}
        connection = http.client.HTTPConnection(*self.address, timeout=60)
        try:
            connection.putrequest(method, path, skip_accept_encoding=True)
            for name, value in {"Content-Length": str(len(content)), **given}.items():
                connection.putheader(name, value)
            connection.endheaders(content)
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, response.read())
        finally:
            connection.close()

    def act(self, action: str, body: Mapping[str, Any], key: str = "root", **headers: str) -> Answer:
        """One action with the key called ``key``."""
        return self.call("POST", f"/data/v1/action/{action}", body, headers, key=key)

    def send(self, content: bytes, patience: float = 20) -> bytes:
        """Send bytes as they are and close our side; everything that comes back."""
        with socket.create_connection(self.address, timeout=patience) as connection:
            received = b""
            with contextlib.suppress(OSError):  # it may have been closed before we said all
                connection.sendall(content)
                connection.shutdown(socket.SHUT_WR)
            with contextlib.suppress(OSError):
                while piece := connection.recv(65536):
                    received += piece
            return received

    def everything(self) -> dict[str, Any]:
        """All documents of the database, as an administrator sees them."""
        listed = self.act("listCollections", {"dataSource": "main", "database": "shop"})
        assert listed.status == 200, listed.body
        found = {}
        for item in listed.json["collections"]:
            body = {"database": "shop", "collection": item["name"], "sort": {"_id": 1}}
            found[item["name"]] = self.act("find", body).json["documents"]
        return found

    def attack(self, attempt: Attempt) -> Answer:
        """Carry out an attempt and see that it came to nothing."""
        reads = attempt.action in READS
        before = None if reads else self.everything()
        answer = self.call("POST", f"/data/v1/action/{attempt.action}", attempt.body, key=attempt.key)
        self.require_no_leak(answer)
        if attempt.answer is not None and (answer.status == 200 or not attempt.statuses):
            assert answer.status == 200, answer.body
            assert answer.json == attempt.answer
        else:
            self.require_refused(answer, attempt.statuses, attempt.code)
        assert reads or self.everything() == before
        return answer

    def require_refused(self, answer: Answer, statuses: tuple[int, ...], code: str | None = None) -> None:
        """See that ``answer`` is an error envelope with one of ``statuses`` and nothing in it that helps."""
        assert answer.status in statuses, (answer.status, answer.body)
        assert answer.headers["content-type"] == "application/json"
        said = answer.json
        assert said["error"]
        assert isinstance(said["error"], str)
        assert "error_code" in said or answer.status == 404, said
        assert code is None or said["error_code"] == code, said
        self.require_no_leak(answer)

    def require_no_leak(self, answer: Answer) -> None:
        """See that nothing hidden, no key and no fault of ours is in ``answer``."""
        said = answer.body.decode("utf-8", "replace") + repr(answer.headers)
        for word in (*MARKS, *FAULTS, *self.keys.values()):
            assert word not in said, (word, said[:500])
        assert answer.status < 500 or answer.status == 504, said

    def alive(self) -> bool:
        """Whether the server answers still."""
        return self.call("GET", "/livez").status == 200


def settings_file(folder: Path, source: Mapping[str, Any], **settings: Any) -> Path:
    """A settings file with the data source ``main``, the rules and ``settings``."""
    path = folder / "doorleaf.toml"
    lines = [f"{name} = {_inline(value)}" for name, value in settings.items()]
    lines += ["[data_sources]", f"main = {_inline({'default': True, **source})}"]
    lines += ["[rules.main]"] + [f"{json.dumps(name)} = {_inline(rules)}" for name, rules in RULES.items()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _inline(value: Any) -> str:
    """``value`` as TOML on one line; JSON's scalars are TOML's."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(name)} = {_inline(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return json.dumps(value)


async def make_keys(store: Store) -> dict[str, str]:
    """The keys of :data:`KEYS` in the system database of ``store``: texts by name."""
    await store.open()
    try:
        keys = Keys(SystemStore(store, "doorleaf"))
        return {name: await keys.create(name, admin=admin, rights=rights) for name, (admin, rights) in KEYS.items()}
    finally:
        await store.close()


@contextmanager
def on_engine(engine: str, folder: Path) -> Iterator[Target]:
    """A server on ``embedded``, or on a MongoDB of its own."""
    if engine == "embedded":
        with target(folder) as under_attack:
            yield under_attack
        return
    with secantus(folder / "mongodb") as database, target(folder, database.uri) as under_attack:
        yield under_attack


@contextmanager
def target(folder: Path, uri: str = "", **settings: Any) -> Iterator[Target]:
    """A server with all documents and callers, on the MongoDB at ``uri`` if there is one."""
    audit, data = folder / "audit.jsonl", folder / "data"
    source = {"uri": uri} if uri else {"data_dir": str(data)}
    config = settings_file(folder, source, audit_file=str(audit), log_format="json", login_rate="", **settings)
    keys = asyncio.run(make_keys(MongoStore(uri) if uri else EmbeddedStore(data)))
    server = start_doorleaf(data, "--config", str(config))
    under = Target(server, {"root": server.key, **keys}, audit, mongodb=bool(uri))
    try:
        for name, documents in DOCUMENTS.items():
            body = {"database": "shop", "collection": name, "documents": documents}
            made = under.act("insertMany", body)
            assert made.status == 201, made.body
        index = {"database": "shop", "collection": "orders", "keys": {"secret": 1}, "options": {"name": "by_secret"}}
        assert under.act("createIndex", index).status == 200
        yield under
    finally:
        server.stop()
