"""Sends mutated requests and judges the answers, over whatever way a request can be sent."""

from __future__ import annotations

import json
import random
import time
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from dialect_doors import CUBE_PASSWORD, SESSION, TENANT, WORKSPACE
from doors import LIMITS, PASSWORD, Callers, DoorMutator, Made
from mutations import Body, Mutator
from requested import ADMIN, APP, CALL, USERPASS
from requested import CLIENT as OWN_API
from valid_requests import CLIENT, COMMANDS, OTHER, OTHERS, PLACE, THINGS, client_call, requests

ACTION = "/data/v1/action/"
PATIENCE = 15.0
"""Seconds that no request may take; their own limit (:data:`LIMIT_MS`) is far below."""
LIMIT_MS = 4_000
_RULES = {
    "roles": [
        {
            "name": "own",
            "apply_when": {"%%user.type": "normal"},
            "document_filters": {"read": {"n": {"$ne": 5}}, "write": {"n": {"$lt": 100}}},
            "insert": True,
            "delete": {"n": {"$gt": 0}},
            "fields": {"hidden": {}, "sub": {"fields": {"a": {"read": True}}}},
            "additional_fields": {"read": True, "write": True},
        }
    ],
    "schema": {"bsonType": "object", "properties": {"n": {"bsonType": ["number", "null"]}}},
}
SETTINGS: dict[str, Any] = {
    "default_max_time_ms": LIMIT_MS,
    "max_time_ms_cap": LIMIT_MS,
    "allow_output_stages": True,
    "run_command_allow": tuple(next(iter(command)) for command in COMMANDS),
    "providers": ("api-key", "local-userpass", "custom-token", "anon-user"),
    "custom_token": {"algorithm": "HS256", "keys": ("k" * 40,), "audience": ("shop-abcde",)},
    "auto_confirm": True,
    "datacube": True,
    "login_rate": "",
    "rules": {"default": {"fuzz.things": _RULES}},
}
"""Settings under which there is something to reach."""
LINES = "application/x-ndjson"
_TEXTS = ("", "true", "1", "$", "a.b", "a\x00b", "x" * 5000, "é")
_DATABASES = ("fuzz", "shop")
_ROUND = 250
_LEAKS = ("Traceback", 'File "', "site-packages", "src/doorleaf")


class Reply(Protocol):
    """What came back."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> dict[str, str]: ...
    @property
    def body(self) -> bytes: ...


Send = Callable[[str, str, bytes, dict[str, str]], Reply]
"""Sends a request: its method, its path with the query, body and headers. What the answer to a watch says later is
looked at by whoever sent it."""


Talk = Callable[[str, dict[str, str], Sequence[str | bytes]], str | None]
"""Opens a WebSocket at a path, with headers, and says something; what is wrong with the answers."""


@dataclass
class Fuzzer:
    """Mutated requests from one seed. ``key`` is one with full rights; ``doors`` asks for more than actions, and
    ``live`` opens streams and asks for lines as well, and ``talk`` talks over a WebSocket."""

    send: Send
    seed: int
    key: str
    embedded: bool = True
    doors: bool = True
    live: bool = False
    talk: Talk | None = None
    sent: int = 0
    accepted: int = 0
    slowest: float = 0.0
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._valid = requests()
        self._mutator = Mutator(self._random, [body for _, body in self._valid if body])
        self._doors = DoorMutator(self._random, self._mutator)
        self._callers = Callers(self.key)
        self._people = 0

    def run(self, enough: Callable[[], bool]) -> None:
        """Go on until ``enough`` says so; what is wrong is added to :attr:`problems`."""
        self.refill()
        while not enough():
            if self.sent % _ROUND == _ROUND - 1:
                self.inspect()
                self.refill()
            if self.talk is not None and self._random.random() < 0.01:
                self._converse(self.talk)
            else:
                self._judge(self._made())

    def _converse(self, talk: Talk) -> None:
        """Say something to the realtime gateway."""
        headers, said = self._doors.session(self._callers)
        self.sent += 1
        wrong = talk(SESSION, headers, said)
        if wrong is not None:
            self.problems.append(f"{wrong}\n  {SESSION} {headers}\n  {said!r}"[:6000])

    def _made(self) -> Made:
        """The next request."""
        chance = self._random.random()
        if self.doors and chance < 0.02:
            return self._doors.file(self._callers)
        if self.doors and chance < 0.15:
            return self._doors.door(self._callers)
        if self.live and chance < 0.18:
            return self._random.choice((self._doors.watch, self._doors.stream))(self._callers)
        action, body = self._random.choice(self._valid)
        headers = {"content-type": "application/json"}
        if self.doors and action in CLIENT and chance < 0.28:
            content = self._mutator.changed(client_call(action, body))
            return (
                "POST",
                CALL,
                content,
                {**headers, "authorization": f"Bearer {self._random.choice(self._callers.bearers)}"},
            )
        if chance > 0.97:
            return self._lines()
        accept = self._random.choice(("application/json", "application/ejson", *(LINES,) * self.live))
        return "POST", ACTION + action, self._mutator.changed(body), {**headers, "apiKey": self.key, "accept": accept}

    def _lines(self) -> Made:
        """Documents as lines, some of them changed."""
        query = {**PLACE, "ordered": "false"}
        if self._random.random() < 0.3:
            query[self._random.choice((*query, "bypassDocumentValidation", "x"))] = self._random.choice(_TEXTS)
        lines = [
            self._mutator.changed({"document": {**thing, "_id": number}})
            if self._random.random() < 0.3
            else json.dumps({**thing, "_id": {"n": number, "of": self.sent}}).encode()
            for number, thing in enumerate(THINGS)
        ]
        headers = {"content-type": LINES, "apiKey": self.key}
        body = self._random.choice((b"\n", b"\n", b"\r\n", b"\n\n", b" ")).join(lines)
        return "POST", f"{ACTION}insertMany?{urllib.parse.urlencode(query)}", body, headers

    def _judge(self, made: Made) -> None:
        method, path, content, headers = made
        started = time.monotonic()
        answer = self.send(method, path, content, headers)
        took = time.monotonic() - started
        self.sent += 1
        self.accepted += answer.status < 300
        self.slowest = max(self.slowest, took)
        if answer.status == 401 and path.startswith(CALL):  # a session has been ended, or its user
            self._callers = self._people_anew()
        wrong = fault(answer, method, path) or (f"took {took:.1f} s" if took > PATIENCE else None)
        if wrong is not None:
            shown = content if len(content) < 6000 else content[:6000] + b"..."
            self.problems.append(f"{wrong}\n  {method} {path} {headers}\n  {shown!r}\n  {answer.body[:600]!r}")

    # --- what must always work -----------------------------------------------------------------------------------

    def _ok(self, action: str, body: Body) -> Any:
        return self._must("POST", ACTION + action, body, apiKey=self.key)

    def _must(self, method: str, path: str, body: Body | None = None, **headers: str) -> Any:
        content = b"" if body is None else json.dumps(body).encode()
        answer = self.send(method, path, content, {"content-type": "application/json", **headers})
        if answer.status >= 300:
            self.problems.append(f"{method} {path} {body} must work: {answer.status} {answer.body[:500]!r}")
            return {}
        return json.loads(answer.body or b"{}")

    def inspect(self) -> None:
        """Whatever the mutated requests made can be listed, checked and taken away."""
        for database, collection in self._collections():
            place = {"database": database, "collection": collection}
            for index in self._ok("listIndexes", place).get("indexes", ()):
                if index["name"] != "_id_":
                    self._ok("dropIndex", {**place, "name": index["name"]})
            if self.embedded:
                for command in ("collStats", "validate"):
                    self._ok("runCommand", {"database": database, "command": {command: collection}})
            self._ok("find", {**place, "limit": 100})
            self._ok("dropCollection", place)
        if self.doors:
            for listed in self._must("GET", f"{ADMIN}/keys", apiKey=self.key).get("keys", ()):
                name = urllib.parse.quote(listed["name"], safe="")
                self._must("GET", f"{ADMIN}/keys/{name}", apiKey=self.key)
                self._must("DELETE", f"{ADMIN}/keys/{name}", apiKey=self.key)
            for listed in self._must("GET", f"{ADMIN}/users?limit=50", apiKey=self.key).get("users", ()):
                self._must("GET", f"{ADMIN}/users/{urllib.parse.quote(listed['id'], safe='')}", apiKey=self.key)
            self._must("GET", f"{ADMIN}/accounts", apiKey=self.key)

    def _collections(self) -> Iterator[tuple[str, str]]:
        for database in _DATABASES:
            for listed in self._ok("listCollections", {"database": database}).get("collections", ()):
                yield database, listed["name"]

    def refill(self) -> None:
        """The documents that the valid requests expect."""
        for place, documents in ((PLACE, THINGS), (OTHER, OTHERS)):
            self._ok("deleteMany", {**place, "filter": {}})
            self._ok("insertMany", {**place, "documents": documents})
        if self.doors:
            self._must("POST", f"{ADMIN}/keys", {"name": "made", **LIMITS}, apiKey=self.key)
            self._callers = self._people_anew()
            self._refill_place()

    def _people_anew(self) -> Callers:
        """Somebody new, logged in and with a key of its own; whoever was there may have been disabled or deleted."""
        self._people += 1
        email = f"fuzz-{self.seed}-{self._people}@example.com"
        self._must("POST", f"{USERPASS}/register", {"email": email, "password": PASSWORD})
        session = self._must("POST", f"{USERPASS}/login", {"username": email, "password": PASSWORD})
        refresh = session["refresh_token"]
        own = self._must("POST", f"{OWN_API}/auth/api_keys", {"name": "own"}, authorization=f"Bearer {refresh}")
        admin = self._must("POST", f"{APP}/auth/providers/api-key/login", {"key": self.key})["access_token"]
        own_id = own["_id"]
        more = self._others_anew()
        return Callers(self.key, admin, session["access_token"], refresh, session["user_id"], email, own_id, **more)

    def _others_anew(self) -> dict[str, str]:
        """A token for a workspace, somebody with a database by the DataCube API, credentials of a collection."""
        if self._people == 1:
            self._must("POST", f"{ADMIN}/tenants", {"name": TENANT, "id": TENANT}, apiKey=self.key)
            place = {"tenant": TENANT, "id": WORKSPACE, "database": "placed", "shared": True}
            self._must("POST", f"{ADMIN}/workspaces", place, apiKey=self.key)
        placed = self._must("POST", f"{ADMIN}/workspaces/{WORKSPACE}/token", {}, apiKey=self.key)["token"]
        email = f"cube-{self.seed}-{self._people}@example.com"
        person = {"email": email, "password": CUBE_PASSWORD}
        self._must("POST", "/core/register", {**person, "firstName": "A", "lastName": "B"})
        session = self._must("POST", "/core/login", person)
        made = {"db_name": "fuzz", "collections": [{"name": "things"}, {"name": "others"}]}
        bearer = f"Bearer {session['access']}"
        cube = self._must("POST", "/api/create_database", made, authorization=bearer)["database"]["id"]
        collection = {"database": "fuzz", "collection": "things"}
        credentials = self._must("POST", f"{ADMIN}/connectome", collection, apiKey=self.key)
        told = {name: credentials[name] for name in ("read_credential", "write_credential", "collection_id")}
        known = {"cube": session["access"], "cube_refresh": session["refresh"], "cube_email": email}
        return {"placed": placed, "cube_database": cube, **known, **told}

    def _refill_place(self) -> None:
        """The documents of the workspace and of the database by the DataCube API."""
        place = f"/v1/mongo/{WORKSPACE}/collections/things/bulk"
        writes = [{"deleteMany": {"filter": {}}}, *({"insertOne": {"document": thing}} for thing in THINGS)]
        self._must("POST", place, {"operations": writes}, authorization=f"Bearer {self._callers.placed}")
        where = {"database_id": self._callers.cube_database, "collection_name": "things"}
        self._must("POST", "/api/crud", {**where, "data": THINGS}, authorization=f"Bearer {self._callers.cube}")


def fault(answer: Reply, method: str = "POST", path: str = "") -> str | None:
    """What is wrong with an answer: a fault of the server's, or an error without its envelope."""
    if answer.status >= 500 and answer.status != 504:
        return f"{answer.status}"
    text = answer.body.decode("utf-8", "replace")
    if answer.status < 400 or method == "HEAD":
        return None
    for leak in _LEAKS:
        if leak in text:
            return f"{answer.status} shows {leak!r}"
    try:
        body = json.loads(text)
    except ValueError:
        return f"{answer.status} is no JSON"
    error = body.get("error") if isinstance(body, dict) else None
    if path.startswith("/v1/mongo/") and isinstance(error, dict):
        texts = [error.get(name) for name in ("code", "message", "correlationId", "timestamp")]
        return None if all(isinstance(one, str) and one for one in texts) else f"{answer.status} has not all its fields"
    if not isinstance(error, str) or not error:
        return f"{answer.status} has no error"
    if path.startswith("/collection/") and body.get("success") is False and isinstance(body.get("message"), str):
        return None
    if not isinstance(body.get("error_code"), str):
        return f"{answer.status} has no error_code"
    return None


def report(problems: Sequence[str], most: int = 20) -> str:
    """The first problems, to read."""
    return f"{len(problems)} problems\n" + "\n".join(problems[:most])
