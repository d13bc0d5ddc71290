#!/usr/bin/env python3
"""Doorleaf beside a Fastify server with the same actions: requests a second, latency, CPU and memory.

``make bench`` runs everything in about ten minutes; ``python bench/run.py --quick`` looks for a broken benchmark in
one or two. ``--only canned`` or ``--only embedded`` runs a part.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from processes import HERE, Server, Servers, build

DOCUMENTS = 10_000
PATIENCE = 20
NAMES = {"database": "bench", "dataSource": "bench"}


@dataclass(frozen=True)
class Case:
    """One kind of request. ``collection`` is where it goes, ``target`` the ratio to the peer that is wanted."""

    title: str
    action: str
    body: dict[str, Any]
    target: float
    check: Callable[[dict[str, Any]], bool]

    def text(self, number: str = "@N@") -> str:
        return json.dumps(NAMES | self.body, separators=(",", ":")).replace('"@N@"', number).replace("@N@", number)


PERSON = {
    "name": "Zoë Hansen-Okafor",
    "email": "zoe.hansen@example.org",
    "rating": 3.5,
    "member": True,
    "since": {"$date": "2024-05-31T16:08:37.171Z"},
    "home": {"street": "Elm Grove 7", "town": "Trondheim", "code": "7010", "place": [63.43049, 10.39506]},
    "labels": ["early", "newsletter", 12],
    "left": None,
    "about": 'Keeps bees, reads "old" maps and repairs bicycles on the weekend, mostly her own.',
}
BY_OBJECT_ID = {"_id": {"$oid": "654321000000000000000000"}}

CANNED = [
    Case(
        "findOne",
        "findOne",
        {"collection": "people_1", "filter": BY_OBJECT_ID},
        5,
        lambda reply: reply["document"]["email"] == "zoe.hansen@example.org",
    ),
    Case(
        "find, 100 documents",
        "find",
        {"collection": "people_100", "filter": {"member": {"$exists": True}}},
        13,
        lambda reply: len(reply["documents"]) == 100,
    ),
    Case(
        "aggregate, 100",
        "aggregate",
        {"collection": "people_100", "pipeline": [{"$match": {"member": True}}]},
        10,
        lambda reply: len(reply["documents"]) == 100,
    ),
    Case(
        "insertOne",
        "insertOne",
        {"collection": "people_1", "document": PERSON},
        3.8,
        lambda reply: "insertedId" in reply,
    ),
    Case(
        "updateOne",
        "updateOne",
        {"collection": "people_1", "filter": BY_OBJECT_ID, "update": {"$set": {"member": True}, "$inc": {"points": 1}}},
        3.8,
        lambda reply: reply == {"matchedCount": 1, "modifiedCount": 1},
    ),
]
EMBEDDED = [
    Case(
        "findOne by _id",
        "findOne",
        {"collection": "people", "filter": {"_id": "@N@"}},
        3,
        lambda reply: reply["document"]["number"] == 7,
    ),
    Case(
        "findOne by an index",
        "findOne",
        {"collection": "people", "filter": {"email": "person@N@@example.org"}},
        3,
        lambda reply: reply["document"]["number"] == 7,
    ),
    Case(
        "find, 100 documents",
        "find",
        {"collection": "people", "filter": {"number": {"$gte": 100, "$lt": 200}}},
        3,
        lambda reply: len(reply["documents"]) == 100,
    ),
    Case(
        "aggregate, 100",
        "aggregate",
        {"collection": "people", "pipeline": [{"$match": {"number": {"$gte": 100, "$lt": 200}}}]},
        3,
        lambda reply: len(reply["documents"]) == 100,
    ),
    Case(
        "insertOne",
        "insertOne",
        {"collection": "visits", "document": PERSON},
        2,
        lambda reply: "insertedId" in reply,
    ),
    Case(
        "updateOne by _id",
        "updateOne",
        {"collection": "people", "filter": {"_id": "@N@"}, "update": {"$set": {"member": True}, "$inc": {"points": 1}}},
        2,
        lambda reply: reply == {"matchedCount": 1, "modifiedCount": 1},
    ),
    Case(
        "find, sort, limit 20",
        "find",
        {"collection": "people", "filter": {}, "sort": {"number": -1}, "limit": 20},
        3,
        lambda reply: [document["number"] for document in reply["documents"]] == [*range(9999, 9979, -1)],
    ),
]
UPDATES = 5_000
"""How many `updateOne`s a second are wanted of the embedded database where a write waits for no disk."""


@dataclass(frozen=True)
class Sample:
    """One run of the load: requests a second, latencies in milliseconds, server's CPU in microseconds a request."""

    rate: float
    p50: float
    p99: float
    cpu: float
    errors: int


class Load:
    """Drives servers with wrk from the load's core."""

    def __init__(self, servers: Servers, core: str, connections: int) -> None:
        self.servers = servers
        self._core = core
        self._connections = connections

    def once(self, server: Server, case: Case) -> None:
        """One request whose answer must be right, so that nobody is fast by failing."""
        self.servers.settle()
        reply = call(server, case.action, json.loads(case.text("7")))
        if not case.check(reply):
            sys.exit(f"bench: {server.name} answers {case.title} wrongly: {json.dumps(reply)[:300]}")

    def asks(self, server: Server, case: Case) -> dict[str, str]:
        """What the server is asked in a case, as load.lua takes it."""
        return {"BODY": case.text(), "ROUTE": route(case.action)}

    def run(self, server: Server, case: Case, seconds: float) -> Sample:
        """One measurement; a server that answers nothing in time gets twenty seconds."""
        self.servers.settle()
        env = {"COUNT": str(DOCUMENTS), "KEY": server.key, **self.asks(server, case)}
        before = server.cpu_seconds()
        out = subprocess.run(
            [
                *("taskset", "-c", self._core, "wrk", "-t1", f"-c{self._connections}", f"-d{max(1, round(seconds))}s"),
                *("--timeout", "30s", "-s", str(HERE / "load.lua"), server.url),
            ],
            env={**os.environ, **env},
            capture_output=True,
            text=True,
        )
        used = server.cpu_seconds() - before
        line = next((text for text in out.stdout.splitlines() if text.startswith("RESULT ")), None)
        if line is None:
            sys.exit(f"bench: wrk failed: {out.stdout}{out.stderr}")
        count, duration, p50, p99, errors = map(float, line.split()[1:])
        if not count and seconds < PATIENCE:
            return self.run(server, case, PATIENCE)
        return Sample(count / duration, p50 / 1000, p99 / 1000, used / max(count, 1) * 1e6, int(errors))


Part = Callable[[Servers, Load, argparse.Namespace], list[dict[str, Any]]]


def route(action: str) -> str:
    return f"/data/v1/action/{action}"


def call(server: Server, action: str, body: dict[str, Any]) -> dict[str, Any]:
    headers = {"Content-Type": "application/json", "apiKey": server.key}
    request = urllib.request.Request(server.url + route(action), json.dumps(NAMES | body).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        reply: dict[str, Any] = json.load(answer)
        return reply


def compare(
    load: Load, ours: Server, peer: Server, cases: list[Case], options: argparse.Namespace
) -> list[dict[str, Any]]:
    """Warm both up, then let them take turns, so that a noisy machine disturbs both alike."""
    samples: dict[tuple[str, str], list[Sample]] = {}
    for case in cases:
        for server in (ours, peer):
            load.once(server, case)
            load.run(server, case, options.warmup)
    for _ in range(options.rounds):
        for case in cases:
            for server in (ours, peer):
                samples.setdefault((case.title, server.name), []).append(load.run(server, case, options.seconds))
    rows = []
    for case in cases:
        base = median(samples[case.title, peer.name])
        for server in (ours, peer):
            middle = median(samples[case.title, server.name])
            ratio = middle.rate / base.rate if base.rate else 0
            thrift = base.cpu / middle.cpu if middle.cpu else 0
            names = {"case": case.title, "server": server.name, "target": case.target}
            rows.append({**names, "ratio": ratio, "cpu_ratio": thrift, **vars(middle)})
            show(rows[-1], ours.name)
    return rows


def median(samples: list[Sample]) -> Sample:
    rate, p50, p99, cpu = (
        statistics.median(getattr(sample, name) for sample in samples) for name in ("rate", "p50", "p99", "cpu")
    )
    return Sample(rate, p50, p99, cpu, sum(sample.errors for sample in samples))


def show(row: dict[str, Any], ours: str) -> None:
    verdict = ""
    if row["server"] == ours and row["target"]:
        verdict = f"  target {row['target']:g}: {'met' if row['ratio'] >= row['target'] else 'MISSED'}"
    print(
        f"{row['case']:22s} {row['server']:10s} {row['rate']:9.0f}/s  x{row['ratio']:6.2f}  p50 {row['p50']:8.2f} ms"
        f"  p99 {row['p99']:8.2f} ms  cpu {row['cpu']:7.0f} us  x{row['cpu_ratio']:5.2f}"
        f"  errors {row['errors']}{verdict}",
        flush=True,
    )


def canned(servers: Servers, load: Load, options: argparse.Namespace) -> list[dict[str, Any]]:
    print("\nCanned backend, one worker each: what the server in front costs")
    backend = servers.canned()
    ours, peer = servers.doorleaf(backend.uri), servers.peer(backend.uri)
    rows = compare(load, ours, peer, CANNED, options)
    for server in (ours, peer):
        share = server.megabytes() / peer.megabytes()
        print(f"{'memory after load':22s} {server.name:10s} {server.megabytes():9.0f} MB x{share:6.2f}")
        rows.append({"case": "memory after load", "server": server.name, "megabytes": server.megabytes()})
    return rows


def workers(servers: Servers, load: Load, options: argparse.Namespace) -> list[dict[str, Any]]:
    print("\nfind of 100 documents, one worker and two, on both cores with the load")
    backend = servers.canned()
    one, two = (servers.doorleaf(backend.uri, f"workers{count}", workers=count) for count in (1, 2))
    for server in (one, two):
        load.once(server, CANNED[1])
        load.run(server, CANNED[1], 1)
    rows = [gained(load, one, two, options, contextlib.nullcontext)]
    print("\nThe same, each worker stopped for half of the time: what it has is the same for one and for two")
    return [*rows, gained(load, one, two, options, Halved)]


def gained(
    load: Load,
    one: Server,
    two: Server,
    options: argparse.Namespace,
    held: Callable[[Server], contextlib.AbstractContextManager[Any]],
) -> dict[str, Any]:
    """What two workers answer beside one, each server ``held`` while it is asked."""
    case = CANNED[1]
    samples: dict[str, list[Sample]] = {}
    for _ in range(options.rounds):
        for server in (one, two):
            with held(server):
                samples.setdefault(server.name, []).append(load.run(server, case, options.seconds))
    first, second = (median(samples[server.name]) for server in (one, two))
    ratio, dearer = second.rate / first.rate, second.cpu / first.cpu
    for name, sample, gain in (("one worker", first, 1.0), ("two workers", second, ratio)):
        print(f"{case.title:22s} {name:11s} {sample.rate:9.0f}/s  x{gain:6.2f}  cpu {sample.cpu:7.0f} us")
    # What two lose by being two is what a request costs more: the rate also says what the load and the backend take.
    verdict = "met" if ratio >= 1.7 else "MISSED"
    print(f"{'':22s} target 1.7: {verdict}; a request of two costs x{dearer:5.2f} of one's")
    return {
        "case": "workers" if held is contextlib.nullcontext else "workers, each with half a core",
        "one": first.rate,
        "two": second.rate,
        "ratio": ratio,
        "one_cpu": first.cpu,
        "two_cpu": second.cpu,
        "cpu_ratio": dearer,
    }


class Halved:
    """Lets each worker of a server run for 5 ms and stops it for 5 ms, two in turns, while this is entered."""

    def __init__(self, server: Server) -> None:
        self._pids = server.workers()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._halve)

    def _halve(self) -> None:
        stopped: tuple[int, ...] = ()
        turns = itertools.cycle([self._pids[::2], self._pids[1::2]])
        while not self._over.wait(0.005):
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)
            stopped = next(turns)
            for pid in stopped:
                os.kill(pid, signal.SIGSTOP)
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def embedded(servers: Servers, load: Load, options: argparse.Namespace) -> list[dict[str, Any]]:
    print(f"\n{DOCUMENTS} documents: the embedded database, and the peer on the test server")
    database = servers.database()
    ours, peer = servers.doorleaf(), servers.peer(database.uri)
    unsynced = servers.doorleaf(name="no fsync", env={"DOORLEAF_SYNCHRONOUS": "NORMAL"})
    fill(ours, unsynced, servers.doorleaf(database.uri, "filler"))
    rows = compare(load, ours, peer, EMBEDDED, options)
    case = next(case for case in EMBEDDED if case.action == "updateOne")
    load.once(unsynced, case)
    load.run(unsynced, case, options.warmup)
    middle = median([load.run(unsynced, case, options.seconds) for _ in range(options.rounds)])
    verdict = "met" if middle.rate >= UPDATES else "MISSED"
    print(
        f"{case.title:22s} {unsynced.name:10s} {middle.rate:9.0f}/s           p50 {middle.p50:8.2f} ms"
        f"  p99 {middle.p99:8.2f} ms  cpu {middle.cpu:7.0f} us          errors {middle.errors}"
        f"  target {UPDATES}/s: {verdict}"
    )
    return [*rows, {"case": case.title, "server": unsynced.name, "target": UPDATES, **vars(middle)}]


def fill(*targets: Server) -> None:
    """The same documents and indexes everywhere, through the API."""
    for target in targets:
        for start in range(0, DOCUMENTS, 1000):
            people = [
                {"_id": number, "number": number, **PERSON, "email": f"person{number}@example.org"}
                for number in range(start, start + 1000)
            ]
            call(target, "insertMany", {"collection": "people", "documents": people})
        for name in ("email", "number"):
            call(target, "createIndex", {"collection": "people", "keys": {name: 1}})


def memory(servers: Servers, load: Load, options: argparse.Namespace) -> list[dict[str, Any]]:
    print("\nMemory of one idle worker")
    idle = servers.doorleaf(name="idle")
    call(idle, "insertOne", {"collection": "people", "document": PERSON})
    time.sleep(2)
    used = idle.megabytes()
    print(f"{'resident':22s} doorleaf   {used:9.0f} MB  target below 90: {'met' if used < 90 else 'MISSED'}")
    return [{"case": "memory", "server": "doorleaf", "megabytes": used}]


def arguments(parts: Iterable[str], description: str | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=list(parts), action="append")
    parser.add_argument("--seconds", type=int, default=4, help="of each measurement (4)")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each (5)")
    parser.add_argument("--warmup", type=int, default=6, help="seconds before the first; Node needs 6 (6)")
    parser.add_argument("--connections", type=int, default=64, help="(64)")
    parser.add_argument("--server-core", default="0", help="CPU of the servers that are compared (0)")
    parser.add_argument("--load-core", default="1", help="CPU of wrk and the databases (1)")
    parser.add_argument("--quick", action="store_true", help="one second of everything, once")
    parser.add_argument("--json", type=Path, help="write the rows to this file too")
    options = parser.parse_args()
    if options.quick:
        options.seconds = options.rounds = options.warmup = 1
    return options


def main(parts: Mapping[str, Part], description: str | None, prepare: Callable[[], None] = build) -> None:
    """Run those of ``parts`` that the command line asks for, each with servers of its own, once all is prepared."""
    options = arguments(parts, description)
    prepare()
    rows: list[dict[str, Any]] = []
    for name in options.only or parts:
        with tempfile.TemporaryDirectory(prefix="doorleaf-bench-") as folder:
            servers = Servers(Path(folder), options.server_core, options.load_core)
            try:
                rows += parts[name](servers, Load(servers, options.load_core, options.connections), options)
            finally:
                servers.stop()
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main({"canned": canned, "workers": workers, "embedded": embedded, "memory": memory}, __doc__)
