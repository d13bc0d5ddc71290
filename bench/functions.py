#!/usr/bin/env python3
"""HTTPS endpoints of an app that do one ``findOne``, in JavaScript and in Python, beside the same as an Express route.

``python bench/functions.py`` takes minutes, ``--quick`` looks for a broken benchmark. The peer asks the backend that
answers from memory; so does Doorleaf with ``--only canned``, while with ``--only embedded`` it has its own database.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import urllib.request
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from processes import Server, Servers
from run import DOCUMENTS, PERSON, Case, Load, call, main, median, show

GOALS = {"javascript": 1_500, "python": 5_000}
"""Requests a second of one worker that are wanted."""
BOTH = "javascript, both cores"
"""The same while the JavaScript processes may use the other core too, as they do where nobody pins them."""
STEADY = (1_000, 1_540)
"""Requests a second that 64 connections ask together for the last rows: latencies of a server that is not saturated.
The second is a little more than the goal, for what comes late is not asked later."""
STEADY_P99 = 25.0
FIRST_CALL = 0.4
PROCESS_MB = 90
COLLECTION = "people_1"
AT = f"context.services.get('mongodb-atlas').db('bench').collection('{COLLECTION}')"
JAVASCRIPT = f"""exports = async function (request, response) {{
  const {{ id }} = JSON.parse(request.body.text());
  return {AT}.findOne({{ _id: id }});
}};
"""
PYTHON = f"""import json


async def main(request, response, context):
    people = {AT.replace("'", '"')}
    return await people.find_one({{"_id": json.loads(request["body"])["id"]}})
"""
CASES = {
    language: Case(language, language, {"id": "@N@"}, 0, lambda reply: reply["email"].endswith("@example.org"))
    for language in GOALS
}

PACED = {f"javascript, {rate}/s": rate for rate in STEADY}
"""As :data:`BOTH`, at a steady rate."""


class Calling(Load):
    """Calls the endpoints; a case's action is the language."""

    def asks(self, server: Server, case: Case) -> dict[str, str]:
        rate = {"RATE": str(PACED[case.title])} if case.title in PACED else {}
        return {**super().asks(server, case), **rate, "ROUTE": f"/endpoint/{case.action}"}


def app(folder: Path) -> Path:
    """An app with one endpoint in each language, which runs as the system."""
    made = folder / "app"
    for name in ("functions", "https_endpoints"):
        (made / name).mkdir(parents=True)
    (made / "root_config.json").write_text('{"app_id": "bench-abcde", "name": "bench"}')
    (made / "functions" / "in_javascript.js").write_text(JAVASCRIPT)
    (made / "functions" / "in_python.py").write_text(PYTHON)
    named = [{"name": f"in_{language}", "run_as_system": True} for language in GOALS]
    (made / "functions" / "config.json").write_text(json.dumps(named))
    given = {"http_method": "POST", "validation_method": "NO_VALIDATION", "respond_result": True, "return_type": "JSON"}
    routes = [{"route": f"/{language}", "function_name": f"in_{language}", **given} for language in GOALS]
    (made / "https_endpoints" / "config.json").write_text(json.dumps(routes))
    return made


def ask(server: Server, language: str) -> dict[str, Any]:
    url, headers = f"{server.url}/endpoint/{language}", {"Content-Type": "application/json"}
    request = urllib.request.Request(url, b'{"id":7}', headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        found: dict[str, Any] = json.load(answer)
    if not CASES[language].check(found):
        sys.exit(f"bench: {server.name} answers {language} wrongly: {json.dumps(found)[:300]}")
    return found


def processes(server: Server) -> list[int]:
    """The JavaScript processes."""
    return [pid for pid in server.pids() if "deno" in Path(f"/proc/{pid}/comm").read_text()]


def megabytes(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1000 for line in lines if line.startswith("VmRSS"))


def let(server: Server, cores: str) -> None:
    """Let the JavaScript processes, with all their threads, use ``cores``."""
    for pid in processes(server):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(ProcessLookupError):  # threads come and go
                os.sched_setaffinity(int(task.name), map(int, cores.split(",")))


def compared(servers: Servers, options: argparse.Namespace, ours: Server, uri: str) -> list[dict[str, Any]]:
    peer = servers.express(uri, COLLECTION)
    load = Calling(servers, options.load_core, options.connections)
    rows: list[dict[str, Any]] = []
    began = time.perf_counter()
    ask(ours, "javascript")
    first = time.perf_counter() - began
    turns = [(ours, language) for language in GOALS] + [(peer, "javascript")]
    for server, language in turns:
        ask(server, language)
        load.run(server, CASES[language], options.warmup)
    samples: dict[tuple[str, str], list[Any]] = {}
    for _ in range(options.rounds):
        for server, language in turns:
            sample = load.run(server, CASES[language], options.seconds)
            samples.setdefault((server.name, language), []).append(sample)
        let(ours, f"{options.server_core},{options.load_core}")
        sample = load.run(ours, CASES["javascript"], options.seconds)
        samples.setdefault((ours.name, BOTH), []).append(sample)
        for title in PACED:
            sample = load.run(ours, replace(CASES["javascript"], title=title), options.seconds)
            samples.setdefault((ours.name, title), []).append(sample)
        let(ours, options.server_core)
    base = median(samples[peer.name, "javascript"])
    for server, language in [*turns, (ours, BOTH), *((ours, title) for title in PACED)]:
        middle = median(samples[server.name, language])
        ratios = {"ratio": middle.rate / base.rate, "cpu_ratio": base.cpu / middle.cpu if middle.cpu else 0}
        rows.append({"case": language, "server": server.name, "target": 0, **ratios, **vars(middle)})
        show(rows[-1], ours.name)
        if language in PACED:
            least = min(PACED[language] * 0.98, GOALS["javascript"])
            met = middle.rate >= least and middle.p99 <= STEADY_P99
            print(f"{'':22s} goal {least:.0f}/s with p99 {STEADY_P99:g} ms: {'met' if met else 'MISSED'}")
        elif server is ours:
            goal = GOALS.get(language, GOALS["javascript"])
            print(f"{'':22s} goal {goal}/s: {'met' if middle.rate >= goal else 'MISSED'}")
    print(f"{'first call':22s} doorleaf  {first * 1000:9.0f} ms  goal {FIRST_CALL * 1000:.0f}")
    each = [megabytes(pid) for pid in processes(ours)]
    print(f"{'JavaScript processes':22s} doorleaf  {', '.join(f'{size:.0f} MB' for size in each)}  goal {PROCESS_MB}")
    rows.append({"case": "process", "server": ours.name, "first": first, "megabytes": each})
    return rows


def canned(servers: Servers, load: Load, options: argparse.Namespace) -> list[dict[str, Any]]:
    print("\nCanned backend behind both")
    backend = servers.canned()
    ours = servers.doorleaf(backend.uri, options=("--app", str(app(servers.folder))))
    return compared(servers, options, ours, backend.uri)


def embedded(servers: Servers, load: Load, options: argparse.Namespace) -> list[dict[str, Any]]:
    print("\nThe embedded database, and the canned backend behind the peer")
    backend = servers.canned()
    ours = servers.doorleaf(options=("--app", str(app(servers.folder))))
    for start in range(0, DOCUMENTS, 1000):
        people = [{"_id": number, "number": number, **PERSON} for number in range(start, start + 1000)]
        call(ours, "insertMany", {"collection": COLLECTION, "documents": people})
    return compared(servers, options, ours, backend.uri)


if __name__ == "__main__":
    main({"canned": canned, "embedded": embedded}, __doc__)
