#!/usr/bin/env python3
"""How many functions of ours one request calls, from the first line of the endpoint to the last byte of the answer.

It asks each request some times and counts in the last rounds, the least of them. ``--list`` prints them in order,
``--mongodb URI`` takes that server beside the embedded database.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import doorleaf
from doorleaf.app import build
from doorleaf.http import Endpoint, Message
from doorleaf.settings.model import Settings

ROOT = str(Path(doorleaf.__file__).parent)
KEY, EMAIL, PASSWORD = "dl_" + "Kk7" * 20, "a@example.com", "correct horse battery"
PLACE = {"dataSource": "main", "database": "bench", "collection": "people"}
ROLE = {
    "name": "own",
    "apply_when": {},
    "document_filters": {"read": {"owner": "%%user.data.email"}, "write": {"owner": "%%user.data.email"}},
    "fields": {"secret": {}},
    "additional_fields": {"read": True, "write": True},
}
CASES: dict[str, tuple[str, dict[str, Any], bool]] = {
    "findOne by _id": ("findOne", {"filter": {"_id": 1}}, False),
    "find": ("find", {"filter": {"owner": EMAIL}, "sort": {"n": 1}, "limit": 10}, False),
    "find by rules": ("find", {"filter": {"n": 1}, "limit": 10}, True),
    "updateOne": ("updateOne", {"filter": {"_id": 1}, "update": {"$set": {"n": 2}}}, False),
    "updateOne by rules": ("updateOne", {"filter": {"_id": 1}, "update": {"$set": {"n": 3}}}, True),
}
"""By name: an action, its body, and whether a caller with rules asks."""


class Came:
    """A request as our own server gives it to the endpoint, and what takes its answer at once."""

    address = "127.0.0.1"
    method = "POST"

    def __init__(self, path: str, body: dict[str, Any], headers: dict[str, str]) -> None:
        self.body = json.dumps(body).encode()
        self.target = path.encode()
        self.fields = [(name.encode(), value.encode()) for name, value in headers.items()]
        self.fields += [(b"content-length", b"%d" % len(self.body)), (b"content-type", b"application/json")]
        self.headers = dict(self.fields)
        self.scope: Message = {"extensions": {"doorleaf.whole_answer": self}}
        self.answers: list[tuple[int, bytes]] = []

    def asgi(self) -> Message:
        path = self.target.decode()
        self.scope.update({
            "type": "http", "http_version": "1.1", "method": "POST", "path": path, "raw_path": self.target,
            "query_string": b"", "headers": self.fields, "client": ("127.0.0.1", 1),
        })  # fmt: skip
        return self.scope

    def take(self, limit: int) -> bytes:
        return self.body

    def short(self, status: int, content_type: bytes, request_id: str, body: bytes, *, varies: bool) -> bool:
        self.answers.append((status, body))
        return True

    def whole(self, status: int, headers: Any, body: Any) -> None:
        self.answers.append((status, body))

    async def receive(self) -> dict[str, Any]:
        raise RuntimeError("the endpoint did not take the body at once")

    async def send(self, message: Any) -> None:
        raise RuntimeError("the endpoint did not answer at once")


async def ask(endpoint: Endpoint, path: str, body: dict[str, Any], headers: dict[str, str]) -> dict[str, Any]:
    """One request, as the server gives it to the endpoint; the answer's body."""
    came = Came(path, body, headers)
    await endpoint.ordinary(came)
    [(status, reply)] = came.answers
    if status not in (200, 201, 409):  # whoever was here before registered the account
        raise SystemExit(f"{path}: {status} {reply.decode()}")
    found: dict[str, Any] = json.loads(reply)
    return found


class Calls:
    """The functions of ours that begin between ``start`` and ``stop``; a coroutine that goes on begins once."""

    def __init__(self) -> None:
        self.codes: list[CodeType] = []
        self._frames: list[FrameType] = []
        self._seen: set[int] = set()

    def start(self) -> None:
        sys.setprofile(self._tell)

    def stop(self) -> None:
        sys.setprofile(None)

    def _tell(self, frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(ROOT) and id(frame) not in self._seen:
            self._seen.add(id(frame))
            self._frames.append(frame)  # kept, so that no other frame gets its id
            self.codes.append(frame.f_code)

    def listed(self) -> list[str]:
        return [f"{code.co_filename.removeprefix(ROOT + '/')}  {code.co_qualname}" for code in self.codes]


async def counted(act: Callable[[], Any]) -> Calls:
    """The calls of the shortest of some rounds."""
    for _ in range(10):
        await act()
    rounds = []
    for _ in range(20):
        calls = Calls()
        calls.start()
        await act()
        calls.stop()
        rounds.append(calls)
    return min(rounds, key=lambda calls: len(calls.codes))


async def measure(name: str, source: dict[str, Any], folder: Path, listed: str) -> dict[str, int]:
    """The number of calls of each case over one engine."""
    given = {
        "data_dir": folder,
        "data_sources": {"main": {**source, "default": True}},
        "data_api_key": KEY,
        "auto_confirm": True,
        "providers": ["api-key", "local-userpass"],
        "rules": {"main": {"bench.people": {"roles": [ROLE]}}},
    }
    settings = Settings.model_validate(given)
    endpoint = build(settings)
    if not await endpoint.open():
        raise SystemExit("the server does not start")
    try:
        key = {"apikey": KEY}
        account = {"email": EMAIL, "password": PASSWORD}
        registered = "/api/client/v2.0/app/bench/auth/providers/local-userpass/register"
        await ask(endpoint, registered, account, {})
        login = {"username": EMAIL, "password": PASSWORD}
        session = await ask(endpoint, "/auth/providers/local-userpass/login", login, {})
        person = {"authorization": "Bearer " + session["access_token"]}
        await ask(endpoint, "/action/deleteMany", {**PLACE, "filter": {}}, key)
        people = [{"_id": number, "owner": EMAIL, "n": number, "secret": "s"} for number in range(20)]
        await ask(endpoint, "/action/insertMany", {**PLACE, "documents": people}, key)
        found = {}
        for case, (action, body, ruled) in CASES.items():

            async def act(action: str = action, body: Any = body, ruled: bool = ruled) -> None:
                await ask(endpoint, f"/action/{action}", {**PLACE, **body}, person if ruled else key)

            calls = await counted(act)
            found[case] = len(calls.codes)
            if listed and listed in case:
                print(f"\n{case}, {name}", *calls.listed(), sep="\n  ")
        return found
    finally:
        await endpoint.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mongodb", help="a server to ask as well")
    parser.add_argument("--list", default="", help="print the functions of the cases whose names have this in them")
    given = parser.parse_args()
    table = {}
    with tempfile.TemporaryDirectory() as folder:
        sources: dict[str, dict[str, Any]] = {"embedded": {"data_dir": Path(folder) / "embedded"}}
        if given.mongodb:
            sources["MongoDB"] = {"uri": given.mongodb}
        for name, source in sources.items():
            table[name] = asyncio.run(measure(name, source, Path(folder) / f"{name}-data", given.list))
    print(f"{'':<22}" + "".join(f"{name:>10}" for name in table))
    for case in CASES:
        print(f"{case:<22}" + "".join(f"{counts[case]:>10}" for counts in table.values()))


if __name__ == "__main__":
    main()
