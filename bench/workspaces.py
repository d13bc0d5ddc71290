#!/usr/bin/env python3
"""What `GET documents` of a workspace keeps of the requests a second that the action `find` has, on the same documents.

Both ask the same server for the same page in turn, which is ours twice; ``x`` is what is left. Documents of the
workspace have two fields more than the action shows.
"""

from __future__ import annotations

import argparse
import json
import sys
import urllib.request
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from urllib.parse import urlencode

from processes import Server, Servers, need
from run import PERSON, Case, Load, compare, main

COLLECTION = "people"
GROUPS = 5
MATCHING = 2_000
"""How many documents each of the groups has in the embedded database."""

FEW = 100
"""The same on the server of the tests, which reads all there are for a page: more of them measure nothing but it."""


@dataclass(frozen=True)
class Page(Case):
    """A page of 20, as a query of a workspace and as the action."""

    query: str = ""


def pages(matching: int) -> list[Page]:
    """The kinds of pages, each with what it keeps at least."""
    some, every = f"20 of {matching:,}", f"20 of {GROUPS * matching:,}"
    sort = {"number": 1}
    asked: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
        (f"{every}, no count", {}, {"_id": 1}, urlencode({"count": "none"})),
        (f"{every}, exact", {}, {"_id": 1}, ""),
        (
            f"{some}, no count",
            {"group": "g1"},
            sort,
            urlencode({"filter.group": "g1", "sort": "number", "count": "none"}),
        ),
        (f"{some}, exact", {"group": "g1"}, sort, urlencode({"filter.group": "g1", "sort": "number"})),
    ]
    return [
        Page(
            title,
            "find",
            {"collection": COLLECTION, "filter": filter, "sort": order, "limit": 20},
            0.7,
            partial(_right, matching),
            query,
        )
        for title, filter, order, query in asked
    ]


def _right(matching: int, reply: dict[str, Any]) -> bool:
    found = reply.get("documents", reply.get("data", []))
    total = reply.get("pagination", {}).get("total")
    return len(found) == 20 and total in (None, matching, GROUPS * matching)


class Asking(Load):
    """Asks the one server by its action and the other by its route."""

    def asks(self, server: Server, case: Case) -> dict[str, str]:
        if server.name == "find":
            return super().asks(server, case)
        assert isinstance(case, Page)  # all cases here
        return {"ROUTE": f"/v1/mongo/bench/collections/{COLLECTION}/documents?{case.query}"}

    def once(self, server: Server, case: Case) -> None:
        if server.name == "find":
            return super().once(server, case)
        request = urllib.request.Request(server.url + self.asks(server, case)["ROUTE"], headers={"apiKey": server.key})
        with urllib.request.urlopen(request, timeout=60) as answer:
            if not case.check(json.load(answer)):
                sys.exit(f"bench: {server.name} answers {case.title} wrongly")
        return None


def asked(server: Server, path: str, body: dict[str, Any], key: str = "") -> Any:
    headers = {"apiKey": key or server.key, "Content-Type": "application/json"}
    request = urllib.request.Request(f"{server.url}{path}", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def filled(server: Server, matching: int) -> Server:
    """The server as the workspace sees it, with its documents and an index."""
    asked(server, "/api/admin/v1/tenants", {"name": "bench", "id": "bench"})
    asked(server, "/api/admin/v1/workspaces", {"tenant": "bench", "id": "bench"})
    scopes = ["mongo:read", "mongo:write", "mongo:admin"]
    key: str = asked(server, "/api/admin/v1/workspaces/bench/keys", {"name": "bench", "scopes": scopes})["key"]
    place = f"/v1/mongo/bench/collections/{COLLECTION}"
    for start in range(0, GROUPS * matching, 500):
        people = [{"_id": n, "number": n, "group": f"g{n % GROUPS}", **PERSON} for n in range(start, start + 500)]
        operations = [{"insertOne": {"document": person}} for person in people]
        asked(server, f"{place}/bulk", {"operations": operations}, key)
    asked(server, f"{place}/indexes", {"keys": {"group": 1, "number": 1}}, key)
    return replace(server, name="documents", key=key)


def both(load: Load, server: Server, options: argparse.Namespace, matching: int) -> list[dict[str, Any]]:
    asking = Asking(load.servers, options.load_core, options.connections)
    return compare(asking, filled(server, matching), replace(server, name="find"), [*pages(matching)], options)


def embedded(servers: Servers, load: Load, options: argparse.Namespace) -> list[dict[str, Any]]:
    print("\nThe embedded database")
    return both(load, servers.doorleaf(), options, MATCHING)


def mongodb(servers: Servers, load: Load, options: argparse.Namespace) -> list[dict[str, Any]]:
    print("\nThe wire-protocol server of the tests, which works on the core of the load")
    return both(load, servers.doorleaf(servers.database().uri), options, FEW)


if __name__ == "__main__":
    main({"embedded": embedded, "mongodb": mongodb}, __doc__, lambda: need("taskset", "wrk"))
