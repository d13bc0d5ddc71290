"""Right requests to everything that is no action: logins, sessions, accounts, own keys, administration, watching."""

from __future__ import annotations

import base64
import gzip
import json
import random
import urllib.parse
from dataclasses import dataclass
from typing import Any

from dialect_doors import (
    CONNECTOME_DOORS,
    CUBE_DOORS,
    FILES,
    FORM,
    FRAMES,
    IMPORT,
    OTHER_DOORS,
    STREAM_DOORS,
    WORKSPACE_DOORS,
)
from mutations import SPECIAL, Body, Mutator
from requested import ADMIN, APP, CALL, CLIENT, PROVIDERS, USERPASS, Door

RIGHT = 0.2
"""How many requests are left as they are, so that there is something for others to change."""
PASSWORD = "sesame-7"  # of accounts that the fuzzer makes

WATCHES: list[Body] = [
    {"database": "fuzz", "collection": "things"},
    {"database": "fuzz", "collection": "things", "ids": [1, "three", None]},
    {"database": "fuzz", "collection": "things", "filter": {"operationType": {"$in": ["insert", "update"]}}},
    {"database": "fuzz", "collection": "things", "filter": {"fullDocument.n": {"$gt": 0}, "$expr": {"$eq": [1, 1]}}},
    {"database": "fuzz", "collection": "others", "filter": {"$or": [{"fullDocument.name": {"$regex": "^f"}}]}},
]
"""Arguments of watch."""

LIMITS: Body = {
    "databases": ["fuzz"],
    "collections": ["fuzz.things"],
    "actions": ["find", "insertOne"],
    "addresses": ["127.0.0.0/8", "::1"],
    "rate": "100/second",
    "quotas": {"requests_per_day": 1000, "bytes_per_month": 100_000},
    "roles": ["reader"],
    "data_sources": ["mongodb-atlas"],
}
"""What a key may be limited to."""


_HERE = {"database": "fuzz", "collection": "things"}
_EXPLAINED: dict[str, Body] = {
    "find": {"as": "{user}", "body": {**_HERE, "filter": {"n": {"$gt": 1}}, "projection": {"hidden": 1}}},
    "updateOne": {
        "as": {"id": "x", "custom_data": {"role": "reader"}},
        "body": {**_HERE, "filter": {"_id": 1}, "update": {"$set": {"n": 2}}},
        "document": {"_id": 1, "n": 1, "owner": "x"},
    },
}

DOORS: tuple[Door, ...] = (
    *(Door("POST", f"{PROVIDERS}/api-key/login", {"key": key}, bearer="") for key in ("{key}", "x" * 40)),
    Door("POST", f"{PROVIDERS}/anon-user/login", {"options": {"device": {"deviceId": "{user}"}}}, bearer="", weight=1),
    Door("POST", "/auth/providers/anon-user/login", {}, bearer="", weight=1),
    Door("POST", f"{PROVIDERS}/custom-token/login", {"token": "{access}"}, bearer=""),
    Door("POST", f"{USERPASS}/login", {"username": "{email}", "password": PASSWORD}, bearer="", weight=1),
    Door("POST", f"{PROVIDERS}/api-key/login", {"key": "{key}"}, {"link": "true"}, bearer="access"),
    Door("POST", f"{USERPASS}/register", {"email": "new@example.com", "password": PASSWORD}, bearer="", weight=1),
    Door("POST", f"{USERPASS}/confirm", {"token": "a" * 64, "tokenId": "64224f3cd79f54ad342dd9b1"}, bearer=""),
    Door("POST", f"{USERPASS}/confirm/send", {"email": "{email}"}, bearer=""),
    Door("POST", f"{USERPASS}/confirm/call", {"email": "{email}"}, bearer=""),
    Door("POST", f"{USERPASS}/reset/send", {"email": "{email}"}, bearer=""),
    Door("POST", f"{USERPASS}/reset", {"token": "a" * 64, "tokenId": "x", "password": PASSWORD}, bearer="", weight=1),
    *(Door("POST", f"{base}/session", {}, bearer="refresh") for base in ("/auth", f"{CLIENT}/auth")),
    Door("DELETE", f"{CLIENT}/auth/session", bearer="refresh", weight=1),
    Door("GET", f"{CLIENT}/auth/profile", bearer="access"),
    Door("DELETE", f"{CLIENT}/auth/delete", bearer="access", weight=1),
    Door("POST", f"{CLIENT}/auth/api_keys", {"name": "own"}, bearer="refresh"),
    Door("GET", f"{CLIENT}/auth/api_keys", bearer="refresh"),
    Door("GET", f"{CLIENT}/auth/api_keys/{{own_key}}", bearer="refresh"),
    Door("PUT", f"{CLIENT}/auth/api_keys/{{own_key}}/disable", bearer="refresh"),
    Door("PUT", f"{CLIENT}/auth/api_keys/{{own_key}}/enable", bearer="refresh"),
    Door("DELETE", f"{CLIENT}/auth/api_keys/{{own_key}}", bearer="refresh", weight=1),
    Door("GET", f"{APP}/location", bearer=""),
    Door("GET", f"{ADMIN}/keys"),
    Door("POST", f"{ADMIN}/keys", {"name": "made", **LIMITS, "expires": "2090-01-01T00:00:00Z", "admin": False}),
    Door("POST", f"{ADMIN}/keys", {"name": "made2", "admin": True}),
    Door("GET", f"{ADMIN}/keys/made"),
    Door("PATCH", f"{ADMIN}/keys/made", {**LIMITS, "disabled": True}),
    Door("PATCH", f"{ADMIN}/keys/made", {"disabled": False, "expires": {"$date": "2080-01-01T00:00:00Z"}}),
    Door("POST", f"{ADMIN}/keys/made/rotate", {"overlap_seconds": 60}),
    Door("POST", f"{ADMIN}/keys/made/revoke", {}),
    Door("DELETE", f"{ADMIN}/keys/made", weight=2),
    Door("GET", f"{ADMIN}/users", query={"limit": "5", "after": "{user}", "provider": "local-userpass"}),
    Door("POST", f"{ADMIN}/users", {"email": "other@example.com", "password": PASSWORD}, weight=1),
    Door("GET", f"{ADMIN}/users/{{user}}"),
    Door("POST", f"{ADMIN}/users/{{user}}/reset-password", {"password": PASSWORD}, weight=1),
    Door("POST", f"{ADMIN}/users/{{user}}/disable", {}),
    Door("POST", f"{ADMIN}/users/{{user}}/enable", {}),
    Door("DELETE", f"{ADMIN}/users/{{user}}", weight=1),
    Door("GET", f"{ADMIN}/users/{{user}}/sessions"),
    Door("DELETE", f"{ADMIN}/users/{{user}}/sessions", weight=1),
    Door("DELETE", f"{ADMIN}/sessions/64224f3cd79f54ad342dd9b1"),
    Door("DELETE", f"{ADMIN}/sessions", weight=1),
    Door("GET", f"{ADMIN}/accounts", query={"limit": "5", "after": "a@example.com"}),
    Door("POST", f"{ADMIN}/accounts/confirm", {"email": "{email}"}),
    *(Door("POST", f"{ADMIN}/explain", {"action": name, **body}) for name, body in _EXPLAINED.items()),
    Door("GET", "/metrics"),
    Door("GET", "/openapi.json", bearer=""),
    Door("GET", "/livez", bearer=""),
    *WORKSPACE_DOORS,
    *CUBE_DOORS,
    *CONNECTOME_DOORS,
    *OTHER_DOORS,
)


@dataclass
class Callers:
    """Who asks, and what doors are about: tokens, ids and names that were good a moment ago."""

    key: str
    admin: str = ""
    access: str = ""
    refresh: str = ""
    user: str = "64224f3cd79f54ad342dd9b1"
    email: str = "nobody@example.com"
    own_key: str = "64224f3cd79f54ad342dd9b1"
    placed: str = ""
    cube: str = ""
    cube_refresh: str = ""
    cube_email: str = "nobody@example.com"
    cube_database: str = "64224f3cd79f54ad342dd9b1"
    read_credential: str = "x"
    write_credential: str = "x"
    collection_id: str = "x"

    @property
    def bearers(self) -> tuple[str, str]:
        """Tokens for calls: of one who may do everything, and of one under rules."""
        return self.admin, self.access

    def filled(self, value: Any) -> Any:
        """``value`` with the names in braces replaced."""
        if isinstance(value, str):
            for name, own in vars(self).items():
                value = value.replace(f"{{{name}}}", own)
            return value
        if isinstance(value, dict):
            return {key: self.filled(inner) for key, inner in value.items()}
        return [self.filled(inner) for inner in value] if isinstance(value, list) else value


Made = tuple[str, str, bytes, dict[str, str]]
"""Method, path with its query, body and headers."""


class DoorMutator:
    """Makes wrong requests of :data:`DOORS` and :data:`WATCHES`."""

    def __init__(self, generator: random.Random, mutator: Mutator) -> None:
        self._random = generator
        self._mutator = mutator
        self._weights = [door.weight for door in DOORS]

    def door(self, callers: Callers) -> Made:
        """One of the doors, changed."""
        [door] = self._random.choices(DOORS, self._weights)
        return self._changed(door, callers)

    def stream(self, callers: Callers) -> Made:
        """One of the doors to streams, changed."""
        return self._changed(self._random.choice(STREAM_DOORS), callers)

    def _changed(self, door: Door, callers: Callers) -> Made:
        """A door with something changed: its method, path, query, body or headers."""
        path, query = callers.filled(door.path), callers.filled(door.query)
        body = b"" if door.body is None else json.dumps(callers.filled(door.body)).encode()
        method, headers = door.method, self._headers(door.bearer, callers) | callers.filled(door.headers)
        for _ in range(0 if self._random.random() < RIGHT else self._random.choice((1, 1, 2))):
            chance = self._random.random()
            if door.body and chance < 0.6:
                body = self._mutator.changed(callers.filled(door.body), shallow=True)
            elif chance < 0.75:
                path = self._path(path)
            elif chance < 0.85:
                query = {**query, self._random.choice((*query, *_PARAMETERS)): self._text()}
            elif chance < 0.95:
                headers[self._random.choice(_HEADERS)] = self._text(header=True)
            else:
                method = self._random.choice(("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE"))
        asked = urllib.parse.urlencode(query, errors="surrogatepass") if query else ""
        if asked and self._random.random() < 0.1:
            asked = asked.replace("=", self._random.choice(("", "==", "=%", "=%00", "&&")), 1)
        return method, f"{path}?{asked}" if asked else path, body, headers

    def watch(self, callers: Callers) -> Made:
        """A watch whose call has been changed."""
        call = {"name": "watch", "service": "mongodb-atlas", "arguments": [self._random.choice(WATCHES)]}
        asked = json.dumps(call).encode() if self._random.random() < RIGHT else self._mutator.changed(call)
        text = base64.b64encode(asked).decode()[:40_000]
        if self._random.random() < 0.05:
            text = text.replace("A", self._random.choice(("!", "", "%", "\xff")))
        query = urllib.parse.urlencode({"baas_request": text})
        return "GET", f"{CALL}?{query}", b"", self._headers(self._random.choice(("admin", "access")), callers)

    def file(self, callers: Callers) -> Made:
        """A form with a file, of which a field, the file, or the form itself has been changed."""
        fields = dict(self._random.sample([*callers.filled(FORM).items()], self._random.randint(1, len(FORM))))
        fields["database_id"] = callers.cube_database
        name, content = self._random.choice([*FILES.items()])
        change = 1.0 if self._random.random() < RIGHT else self._random.random()
        if change < 0.2:
            fields[self._random.choice([*FORM, "x"])] = self._text()
        elif change < 0.4:
            content = self._mutator.flipped(content * self._random.choice((1, 1, 300)))
        elif change < 0.5:
            content = gzip.compress(content, mtime=0)[: self._random.choice((None, 20, -4))]
        elif change < 0.6:
            name = self._text().replace("\r", "").replace("\n", "")
        parts = [f'name="{field}"\r\n\r\n{value}'.encode(errors="replace") for field, value in fields.items()]
        file = f'name="json_file"; filename="{name}"\r\n\r\n'.encode(errors="replace") + content
        parts.insert(self._random.choice((len(parts), len(parts), 0)), file)
        form = b"".join(b"--b\r\nContent-Disposition: form-data; " + part + b"\r\n" for part in parts) + b"--b--\r\n"
        if 0.6 <= change < 0.8:
            form = self._mutator.flipped(form)
        headers = self._headers("cube", callers) | {"content-type": "multipart/form-data; boundary=b"}
        if 0.8 <= change < 0.85:
            headers["content-type"] = f"multipart/form-data; boundary={self._text(header=True)}"
        return "POST", IMPORT, form, headers

    def session(self, callers: Callers) -> tuple[dict[str, str], list[str | bytes]]:
        """The headers of a handshake with the realtime gateway, and what is said then: texts, and bytes that are no
        message of the protocol perhaps."""
        said: list[str | bytes] = []
        for frame in self._random.choices(FRAMES, k=self._random.randint(1, 6)):
            text = self._mutator.changed(callers.filled(frame), shallow=True)
            if self._random.random() < RIGHT:
                text = json.dumps(callers.filled(frame)).encode()
            said.append(text.decode("utf-8", "replace"))
        if self._random.random() < 0.2:
            said.append(self._random.randbytes(self._random.choice((1, 2, 14, 300))))
        return self._headers(self._random.choice(("placed", "placed", "", "cube")), callers), said

    def _headers(self, bearer: str, callers: Callers) -> dict[str, str]:
        headers = {"content-type": "application/json"}
        if bearer == "key":
            headers["apiKey"] = callers.key
        elif bearer:
            headers["authorization"] = f"Bearer {getattr(callers, bearer)}"
        return headers

    def _path(self, path: str) -> str:
        parts = path.split("/")
        at = self._random.randrange(1, len(parts))
        change = self._random.random()
        if change < 0.6:
            parts[at] = urllib.parse.quote(self._text(), safe=self._random.choice(("", "%.")), errors="surrogatepass")
        elif change < 0.8:
            del parts[at]
        else:
            parts.insert(at, self._random.choice(("", ".", "..", "%2f", "%00", "x")))
        return "/".join(parts) or "/"

    def _text(self, *, header: bool = False) -> str:
        value = self._random.choice([text for text in SPECIAL if isinstance(text, (str, int))])
        text = str(value)
        if header:
            text = "".join(letter for letter in text if letter.isprintable() and ord(letter) < 256)
        return text


_PARAMETERS = (
    *("limit", "after", "link", "x", "provider", "filter", "filter.n", "filter.n[regex]", "filter.n[gt]", "sort"),
    *("projection", "cursor", "count", "skip", "page", "offset", "filters", "include_deleted", "confirm"),
)
_HEADERS = (
    *("authorization", "apiKey", "accept", "content-type", "content-encoding", "x-request-id", "x-forwarded-for"),
    *("x-forwarded-prefix", "origin", "accept-encoding", "email", "password", "jwtTokenString", "host", "range"),
    *("access-control-request-method", "expect", "if-none-match", "api-key", "cookie", "te"),
    *("if-match", "idempotency-key", "last-event-id", "x-correlation-id", "x-api-version", "x-api-key"),
    *("x-doorleaf-console", "sec-fetch-site", "referer"),
)
