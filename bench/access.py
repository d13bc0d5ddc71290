#!/usr/bin/env python3
"""What rules cost: a caller with a document filter and three hidden fields beside one without rules.

Both ask the same server the same things in turn, which is ours twice; ``x`` is what is left of the requests a second.
"""

from __future__ import annotations

import argparse
import json
import os
import urllib.request
from dataclasses import replace
from typing import Any

from processes import Server, Servers
from run import BY_OBJECT_ID, DOCUMENTS, PERSON, Case, Load, call, compare, main

HIDDEN = ("email", "rating", "about")
ROLE = {
    "name": "own",
    "apply_when": {"owner": "%%user.data.name"},
    "fields": {name: {} for name in HIDDEN},
    "additional_fields": {"read": True},
}
RULES = {"bench": {f"bench.{name}": {"roles": [ROLE]} for name in ("people", "people_1", "people_100")}}


def _shown(documents: list[dict[str, Any]], count: int) -> bool:
    """Whether these are ``count`` documents; of the caller with rules also whether nothing hidden is in them."""
    return len(documents) == count and all("name" in document for document in documents)


CANNED = [
    Case(
        "findOne",
        "findOne",
        {"collection": "people_1", "filter": BY_OBJECT_ID},
        0.85,
        lambda reply: _shown([reply["document"]], 1),
    ),
    Case(
        "find, 100 documents",
        "find",
        {"collection": "people_100", "filter": {"member": {"$exists": True}}},
        0.6,
        lambda reply: _shown(reply["documents"], 100),
    ),
]
EMBEDDED = [
    Case(
        "findOne by _id",
        "findOne",
        {"collection": "people", "filter": {"_id": "@N@"}},
        0.85,
        lambda reply: _shown([reply["document"]], 1),
    ),
    Case(
        "findOne by an index",
        "findOne",
        {"collection": "people", "filter": {"number": "@N@"}},
        0.85,
        lambda reply: _shown([reply["document"]], 1),
    ),
    Case(
        "find, 100 documents",
        "find",
        {"collection": "people", "filter": {"number": {"$lt": DOCUMENTS}}, "limit": 100},
        0.6,
        lambda reply: _shown(reply["documents"], 100),
    ),
]


def callers(servers: Servers, source: dict[str, str]) -> tuple[Server, Server]:
    """One server on the data source ``source`` as a caller with rules sees it, and as one without."""
    keys = {"data_dir": str(servers.folder / "keys"), "default": True}
    os.environ["DOORLEAF_DATA_SOURCES"] = json.dumps({"keys": keys, "bench": source})
    os.environ["DOORLEAF_RULES"] = json.dumps(RULES)
    server = servers.doorleaf()
    ruled, free = _key(server, {"name": "bench"}), _key(server, {"name": "free", "admin": True})
    return replace(server, name="rules", key=ruled), replace(server, name="no rules", key=free)


def _key(server: Server, rights: dict[str, Any]) -> str:
    """The text of a new key."""
    headers = {"Content-Type": "application/json", "apiKey": server.key}
    request = urllib.request.Request(f"{server.url}/api/admin/v1/keys", json.dumps(rights).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        key: str = json.load(answer)["key"]
        return key


def canned(servers: Servers, load: Load, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Rules are joined to the query and checked again on the answer; the backend looks at neither."""
    print("\nCanned backend: what rules cost the server in front")
    return compare(load, *callers(servers, {"uri": servers.canned().uri}), CANNED, options)


def embedded(servers: Servers, load: Load, options: argparse.Namespace) -> list[dict[str, Any]]:
    """With the database in the same process, its work on the filter counts too."""
    print(f"\n{DOCUMENTS} documents in the embedded database")
    ruled, free = callers(servers, {"data_dir": str(servers.folder / "people")})
    for start in range(0, DOCUMENTS, 1000):
        people = [{"_id": n, "number": n, "owner": "bench", **PERSON} for n in range(start, start + 1000)]
        call(free, "insertMany", {"collection": "people", "documents": people})
    call(free, "createIndex", {"collection": "people", "keys": {"number": 1}})
    reply = call(ruled, "findOne", {"collection": "people", "filter": {"_id": 7}})
    if set(HIDDEN) & reply["document"].keys():
        raise SystemExit("bench: what should be hidden is not")
    return compare(load, ruled, free, EMBEDDED, options)


if __name__ == "__main__":
    main({"canned": canned, "embedded": embedded}, __doc__)
