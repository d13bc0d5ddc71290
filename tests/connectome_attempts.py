"""Attempts to reach more than a credential is for: each a request, and the statuses that may refuse it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

READS, WRITES = ("read", "readwithquery"), ("write", "batchwrite", "updatewithupsert", "batchdelete")
BODIES: dict[str, Any] = {
    "read": None,
    "readwithquery": {"query": {}},
    "write": {"taken": True},
    "batchwrite": [{"taken": True}],
    "updatewithupsert": {"search query": {}, "data": {"taken": True}, "upsert": True},
    "batchdelete": {"title": {"$exists": True}},
}
METHODS = {name: "DELETE" if name == "batchdelete" else "POST" for name in BODIES}


@dataclass
class Held:
    """What the one who tries has: credentials of ``own``, and what is told of ``other``."""

    own_name: str
    other_name: str
    own: str
    other: str
    read: str
    write: str
    other_read: str
    other_write: str
    revoked_read: str
    revoked_write: str
    rotated_read: str
    expired_write: str
    key: str


@dataclass(frozen=True)
class Attempt:
    """A request that must be refused with one of ``statuses``; ``path`` is made of what is held."""

    name: str
    method: str
    path: Callable[[Held], str]
    statuses: tuple[int, ...]
    body: Any = None
    headers: Callable[[Held], dict[str, str]] = field(default=lambda held: {})


def _of(operation: str, credential: str, collection: str) -> Callable[[Held], str]:
    return lambda held: f"/collection/{operation}/{getattr(held, credential)}/{getattr(held, collection)}"


def _table() -> list[Attempt]:
    found: list[Attempt] = []

    def add(name: str, operation: str, path: Callable[[Held], str], *statuses: int, **more: Any) -> None:
        found.append(Attempt(f"{operation} {name}", METHODS[operation], path, statuses, BODIES[operation], **more))

    for operation in BODIES:
        own = "read" if operation in READS else "write"
        wrong = "write" if operation in READS else "read"
        add("another collection", operation, _of(operation, own, "other"), 401)
        add("own collection by another's credential", operation, _of(operation, f"other_{own}", "own"), 401)
        add("the other kind of credential", operation, _of(operation, wrong, "own"), 403)
        add("an API key", operation, _of(operation, "key", "own"), 401)
        add("a revoked credential", operation, _of(operation, f"revoked_{own}", "own"), 401)
        add("the collection's id for a credential", operation, _of(operation, "own", "own"), 401)
        add(
            "another collection by header",
            operation,
            lambda held, operation=operation: f"/collection/{operation}/{held.other}",  # type: ignore[misc]
            401,
            headers=lambda held, own=own: {"Authorization": f"Bearer {getattr(held, own)}"},
        )
        add(
            "an API key by header",
            operation,
            lambda held, operation=operation: f"/collection/{operation}/{held.other}",  # type: ignore[misc]
            401,
            headers=lambda held: {"apiKey": held.key},
        )
    add("a rotated credential", "readwithquery", _of("readwithquery", "rotated_read", "own"), 401)
    add("an expired credential", "write", _of("write", "expired_write", "own"), 401)
    add("no credential", "read", lambda held: f"/collection/read/{held.other}", 401)
    add("half a credential", "read", lambda held: f"/collection/read/{held.other_read[:-1]}/{held.other}", 401)
    add("two credentials", "read", lambda held: f"/collection/read/{held.read}{held.other_read}/{held.other}", 401)
    add("a slash in it", "read", lambda held: f"/collection/read/{held.read}%2f{held.other}/{held.other}", 401)
    add("a way up", "read", lambda held: f"/collection/read/{held.read}/../{held.other}", 401, 404)
    add("a NUL behind it", "read", lambda held: f"/collection/read/{held.read}%00/{held.other}", 401)
    add("two ids", "read", lambda held: f"/collection/read/{held.read}/{held.own},{held.other}", 401)
    add("an id of another case", "read", lambda held: f"/collection/read/{held.read}/{held.own.upper()}x", 401)
    add("an operator for an id", "read", lambda held: f"/collection/read/{held.read}/[$ne]=1", 401)
    add("a name for an id", "read", lambda held: f"/collection/read/{held.read}/shop.other", 401)
    add("a hash for a credential", "read", lambda held: f"/collection/read/{'0' * 64}/{held.own}", 401)
    found += [
        Attempt(
            "an action by a credential",
            "POST",
            lambda held: "/data/v1/action/find",
            (401,),
            {"dataSource": "x", "database": "shop", "collection": "other"},
            lambda held: {"apiKey": held.other_read},
        ),
        Attempt(
            "administration by a credential",
            "GET",
            lambda held: "/api/admin/v1/connectome",
            (401,),
            None,
            lambda held: {"apiKey": held.write},
        ),
        Attempt("metrics", "GET", lambda held: "/metrics", (401,), None, lambda held: {"apiKey": held.read}),
        Attempt(
            "a session by a credential",
            "POST",
            lambda held: "/auth/providers/api-key/login",
            (401,),
            {"key": "dlcr_" + "a" * 64},
        ),
        Attempt("a drop", "POST", lambda held: f"/collection/drop/{held.write}/{held.own}", (404,), {}),
        Attempt("a put", "PUT", lambda held: f"/collection/write/{held.write}/{held.own}", (405,), {"taken": True}),
        Attempt("a delete", "DELETE", lambda held: f"/collection/write/{held.write}/{held.own}", (405,)),
    ]
    return found


def _encoded(text: str) -> str:
    return "".join(f"%{ord(letter):02x}" for letter in text)


def _by_header(*shown: str) -> Callable[[Held], dict[str, str]]:
    names = ("Authorization", "apiKey")
    texts = ("Bearer {}", "{}")
    return lambda held: {
        name: text.format(getattr(held, one)) for name, text, one in zip(names, texts, shown, strict=False) if one
    }


def _otherwise() -> list[Attempt]:
    """Credentials that are written otherwise, that contradict each other, and that are for less."""
    spelled: dict[str, Callable[[Held], str]] = {
        "percent-encoded": lambda held: f"{_encoded(held.read)}/{_encoded(held.other)}",
        "in capitals": lambda held: f"{held.other_read.upper()}/{held.other}",
        "with a space": lambda held: f"{held.other_read}%20/{held.other}",
        "with a line end": lambda held: f"{held.other_read}%0a/{held.other}",
        "in the place of the id": lambda held: f"{held.other}/{held.other_read}",
        "with an empty step": lambda held: f"{held.read}//{held.other}",
        "with a step more": lambda held: f"{held.read}/{held.own}/{held.other}",
        "with dots": lambda held: f"{held.read}/{held.own}/%2e%2e/{held.other}",
        "with parameters": lambda held: f"{held.read};a=1/{held.other}",
        "of the other kind by its letters": lambda held: f"dlcr_{held.other_write[5:]}/{held.other}",
        "that is a star": lambda held: f"*/{held.other}",
    }
    found = [
        Attempt(
            f"readwithquery {name}",
            "POST",
            lambda held, made=made: f"/collection/readwithquery/{made(held)}",  # type: ignore[misc]
            (401, 404),
            {},
        )
        for name, made in spelled.items()
    ]
    for operation in WRITES:
        path = lambda held, operation=operation: f"/collection/{operation}/{held.read}/{held.own}"  # noqa: E731
        bare = lambda held, operation=operation: f"/collection/{operation}/{held.own}"  # noqa: E731
        method, body = METHODS[operation], BODIES[operation]
        found += [
            Attempt(f"{operation} by both ways", method, path, (400, 401, 403), body, _by_header("other_write")),
            Attempt(
                f"{operation} by two headers", method, bare, (400, 401, 403), body, _by_header("read", "other_write")
            ),
            Attempt(f"{operation} by a reading header", method, bare, (403,), body, _by_header("read")),
            Attempt(f"{operation} by a revoked header", method, bare, (401,), body, _by_header("revoked_write")),
        ]
    other = _of("batchdelete", "other_write", "own")
    found += [
        Attempt(
            "batchdelete of all by another's credential", "DELETE", lambda held: f"{other(held)}?confirm=all", (401,)
        ),
        Attempt(
            "batchdelete by a reading one of all",
            "DELETE",
            lambda held: f"/collection/batchdelete/{held.read}/{held.own}?confirm=all",
            (403,),
        ),
        Attempt(
            "a write by another method",
            "POST",
            lambda held: f"/collection/read/{held.read}/{held.own}",
            (400,),
            {"title": "x"},
            lambda held: {"X-HTTP-Method-Override": "DELETE"},
        ),
        Attempt(
            "code in a query",
            "DELETE",
            lambda held: f"/collection/batchdelete/{held.write}/{held.own}",
            (400,),
            {"$expr": {"$function": {"body": "x", "args": [], "lang": "js"}}},
        ),
        Attempt(
            "another collection in an update",
            "POST",
            lambda held: f"/collection/updatewithupsert/{held.write}/{held.own}",
            (400,),
            {"search query": {"title": {"$exists": True}}, "data": [{"$merge": "other"}]},
        ),
        Attempt(
            "a text for a query",
            "POST",
            lambda held: f"/collection/updatewithupsert/{held.write}/{held.own}",
            (400,),
            {"search query": "{}", "data": {"taken": True}},
        ),
        Attempt(
            "a projection that computes",
            "POST",
            lambda held: f"/collection/readwithquery/{held.read}/{held.own}",
            (400,),
            {"project": {"a": {"$function": {"body": "x", "args": [], "lang": "js"}}}},
        ),
        Attempt(
            "the credentials of another by administration",
            "GET",
            lambda held: f"/api/admin/v1/connectome/{held.other}",
            (401,),
            None,
            lambda held: {"apiKey": held.read},
        ),
    ]
    return found


ATTEMPTS = [*_table(), *_otherwise()]
assert len(ATTEMPTS) >= 100
