#!/usr/bin/env python3
"""How Doorleaf's time and memory grow: with documents in an answer, with connections, and with a document's size.

    python bench/growth.py [--seconds 2]

The backend's answers are canned. Memory is what the worker takes at most while it answers, beside what it took before,
and that divided by the size of the reply.
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from processes import Server, Servers, build
from run import CANNED, NAMES, Load, call, route

DOCUMENTS = (100, 1_000, 10_000, 50_000)
CONNECTIONS = (1, 8, 64, 256, 512)
SIZES = (100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000)


def asked(server: Server, action: str, body: dict[str, Any]) -> tuple[float, float, int]:
    """Milliseconds to the first byte and to the last, and the size of an answer."""
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=120)
    headers = {"Content-Type": "application/json", "apiKey": server.key}
    began = time.perf_counter()
    connection.request("POST", route(action), json.dumps(NAMES | body), headers)
    answer = connection.getresponse()
    first = time.perf_counter() - began
    size = len(answer.read())
    whole = time.perf_counter() - began
    connection.close()
    if answer.status not in (200, 201):
        sys.exit(f"bench: {action} answers {answer.status}")
    return first * 1000, whole * 1000, size


class Peak:
    """The most memory that a server takes while this is entered, in megabytes beside what it took before."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._over = threading.Event()
        self.before = self.most = server.megabytes()

    def _watch(self) -> None:
        while not self._over.wait(0.002):
            self.most = max(self.most, self._server.megabytes())

    def __enter__(self) -> Peak:
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def documents(server: Server) -> None:
    print("\nfind, by documents in the answer")
    for count in DOCUMENTS:
        body = {"collection": f"people_{count}", "filter": {}, "limit": count}
        asked(server, "find", body)
        with Peak(server) as peak:
            rows = [asked(server, "find", body) for _ in range(5)]
        first, whole = (statistics.median(row[at] for row in rows) for at in (0, 1))
        size, more = rows[0][2] / 1e6, peak.most - peak.before
        print(
            f"{count:6d} documents  {size:6.2f} MB  first byte {first:8.1f} ms  last {whole:8.1f} ms"
            f"  memory +{more:6.1f} MB  x{more / size:5.2f}"
        )


def connections(servers: Servers, server: Server, seconds: float, core: str) -> None:
    print("\nfindOne, by connections")
    for count in CONNECTIONS:
        sample = Load(servers, core, count).run(server, CANNED[0], seconds)
        print(
            f"{count:6d} connections  {sample.rate:7.0f}/s  p50 {sample.p50:7.2f} ms  p99 {sample.p99:7.2f} ms"
            f"  {server.megabytes():6.1f} MB  errors {sample.errors}"
        )


def sizes(server: Server) -> None:
    print("\ninsertOne and findOne on the embedded database, by the size of the document")
    for size in SIZES:
        document = {"_id": size, "text": "x" * (size - 60), "a": 1}
        with Peak(server) as peak:
            _, written, _ = asked(server, "insertOne", {"collection": "sizes", "document": document})
            rows = [asked(server, "findOne", {"collection": "sizes", "filter": {"_id": size}}) for _ in range(5)]
        read = statistics.median(row[1] for row in rows)
        more = peak.most - peak.before
        print(f"{size:9d} bytes  insertOne {written:8.1f} ms  findOne {read:8.1f} ms  memory +{more:6.1f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--server-core", default="0")
    parser.add_argument("--load-core", default="1")
    options = parser.parse_args()
    build()
    with tempfile.TemporaryDirectory(prefix="doorleaf-bench-") as folder:
        servers = Servers(Path(folder), options.server_core, options.load_core)
        try:
            server = servers.doorleaf(servers.canned().uri)
            documents(server)
            connections(servers, server, options.seconds, options.load_core)
            embedded = servers.doorleaf(name="embedded")
            call(embedded, "insertOne", {"collection": "sizes", "document": {"_id": 0}})
            sizes(embedded)
        finally:
            servers.stop()


if __name__ == "__main__":
    main()
