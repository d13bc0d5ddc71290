"""Nothing that callers send keeps the server from others: hundreds of hostile requests, and somebody beside them.

``DOORLEAF_TEST_HOSTILE_ROUNDS`` sends all of them so many times, mixed anew each time.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from hostile import Hostile, hostile_requests
from machine import Machine
from servers import Doorleaf, doorleaf

ROUNDS = int(os.environ.get("DOORLEAF_TEST_HOSTILE_ROUNDS", "1"))
ATTACKERS = 4

LATE = 0.5
"""Seconds after its limit by which a hostile request is answered."""

WAITED = 0.25
"""Seconds of the server's own that anybody else waits longer than alone."""

TIMES = 3
"""Attacks of which one must leave everybody else alone."""

MEMORY = 1024 * 1024 * 1024
"""Bytes of all processes together; what they share counts once."""

MANY = 400_000
"""Documents to be sorted and grouped all at once."""

CONFIG = """\
login_rate = ""
allow_output_stages = true
"""


class Somebody:
    """A client of another caller, who asks for little, one thing after another."""

    def __init__(self, server: Doorleaf, machine: Machine, key: str, login: str) -> None:
        self._server = server
        self._machine = machine
        self._key = key
        self._login = login
        self._number = 0
        self._connection = server.connection()

    def _post(self, path: str, body: dict[str, Any]) -> int:
        headers = {"apiKey": self._key, "Content-Type": "application/json"}
        self._connection.request("POST", path, json.dumps(body), headers)
        answer = self._connection.getresponse()
        answer.read()
        return answer.status

    def _act(self, action: str, **fields: Any) -> int:
        return self._post(f"/data/v1/action/{action}", {"database": "d", "collection": "mine", **fields})

    def requests(self) -> Iterator[tuple[str, Callable[[], int]]]:
        self._number += 1
        new = {"_id": f"{threading.get_ident()}-{time.monotonic_ns()}", "n": self._number}
        counted: list[dict[str, Any]] = [{"$match": {"_id": 7}}, {"$set": {"m": {"$add": ["$n", 1]}}}]
        yield "findOne", lambda: self._act("findOne", filter={"_id": 7})
        yield "aggregate", lambda: self._act("aggregate", pipeline=counted)
        yield "insertOne", lambda: self._act("insertOne", document=new)
        yield "updateOne", lambda: self._act("updateOne", filter={"_id": 7}, update={"$inc": {"seen": 1}})
        yield (
            "login",
            lambda: self._post("/api/client/v2.0/app/shop-abcde/auth/providers/api-key/login", {"key": self._login}),
        )

    def measure(self, until: Callable[[], bool]) -> dict[str, list[float]]:
        """How long each request takes of the server's own time, by its name, until ``until``; all must succeed."""
        taken: dict[str, list[float]] = {}
        self._connection.close()  # one that was idle for long may have been closed from the other side
        while not until():
            for name, ask in self.requests():
                began = self._machine.now()
                status = ask()
                assert status in (200, 201), (name, status)
                taken.setdefault(name, []).append(self._machine.own(began, self._machine.now()))
                time.sleep(0.005)
        return taken


class Attack:
    """Some clients who send hostile requests at once, until none is left."""

    def __init__(self, server: Doorleaf, machine: Machine, keys: list[str], requests: list[Hostile]) -> None:
        self._server = server
        self._machine = machine
        self._keys = keys
        self._left = iter(requests)
        self._lock = threading.Lock()
        self.late: list[tuple[float, str, int]] = []
        self.wrong: list[tuple[str, int, bytes]] = []
        self.statuses: Counter[int] = Counter()
        self.threads = [threading.Thread(target=self._run, args=(number,)) for number in range(ATTACKERS)]

    @property
    def over(self) -> bool:
        return not any(thread.is_alive() for thread in self.threads)

    def _run(self, number: int) -> None:
        key = self._keys[number % len(self._keys)]
        while True:
            with self._lock:
                request = next(self._left, None)
            if request is None:
                return
            self._send(request, key)

    def _send(self, request: Hostile, key: str) -> None:
        headers = {"apiKey": key, "Content-Type": "application/json"}
        connection = http.client.HTTPConnection("127.0.0.1", self._server.port, timeout=60)
        with contextlib.closing(connection):
            began = self._machine.now()
            connection.request("POST", f"/data/v1/action/{request.action}", request.body, headers)
            if request.leaves:
                time.sleep(0.05)
                return
            answer = connection.getresponse()
            # The answer's own way over the network is the client's: it has come when its head has.
            taken = self._machine.own(began, self._machine.now())
            body = answer.read()
        with self._lock:
            self.statuses[answer.status] += 1
            self.late.append((taken - request.limit, request.name, answer.status))
            if answer.status not in (200, 201, 400, 504):
                self.wrong.append((request.name, answer.status, body[:300]))


def _key(server: Doorleaf, name: str) -> str:
    answer = server.call("POST", "/api/admin/v1/keys", {"name": name, "admin": True}, {"apiKey": server.key})
    assert answer.status in (200, 201), answer.body
    key: str = answer.json["key"]
    return key


def _fill(server: Doorleaf) -> None:
    documents = [{"_id": n, "n": n % 10, "text": "a" * 60 + "!", "words": ["a" * 40 + "!"] * 3} for n in range(400)]
    server.ok("insertMany", collection="docs", documents=documents)
    server.ok("insertMany", collection="mine", documents=[{"_id": n, "n": n} for n in range(50)])
    server.ok("insertMany", collection="arrays", documents=[{"_id": n, "numbers": [*range(100_000)]} for n in range(3)])
    for start in range(0, MANY, 20_000):
        many = [{"_id": n, "n": n * 7919 % 60_013, "t": "x" * 40} for n in range(start, start + 20_000)]
        server.ok("insertMany", collection="many", documents=many)


def _percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def _compare(alone: dict[str, list[float]], beside: dict[str, list[float]]) -> list[str]:
    """What took longer beside the attack than it may."""
    found = []
    for name, taken in beside.items():
        before = alone[name]
        for share, usual in ((0.5, 0.5), (0.95, 0.95), (1.0, 0.95)):
            more = _percentile(taken, share) - _percentile(before, usual)
            if more > WAITED:
                found.append(f"{name}: {more:.3f} s longer, of {share:.0%}")
    return found


def _attack(
    server: Doorleaf, machine: Machine, keys: list[str], somebody: Somebody, alone: dict[str, list[float]]
) -> list[str]:
    """What took ``somebody`` longer beside all hostile requests than it may; they themselves must end in time."""
    requests = [request for number in range(ROUNDS) for request in hostile_requests(number)]
    assert len(requests) >= 200 * ROUNDS
    attack = Attack(server, machine, keys, requests)
    for thread in attack.threads:
        thread.start()
    beside = somebody.measure(lambda: attack.over)
    print(attack.statuses, f"{machine.most_memory / 1e6:.0f} MB", {n: len(v) for n, v in beside.items()})
    print({n: [round(_percentile(v, s), 3) for s in (0.5, 0.95, 0.98, 1)] for n, v in alone.items()})
    print({n: [round(_percentile(v, s), 3) for s in (0.5, 0.95, 0.98, 1)] for n, v in beside.items()})
    print(sorted(attack.late, reverse=True)[:25])
    assert attack.wrong == []
    assert [entry for entry in attack.late if entry[0] > LATE] == []
    return _compare(alone, beside)


@pytest.mark.timeout(300 + 300 * ROUNDS)
def test_nobody_else_notices(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text(CONFIG)
    with doorleaf(tmp_path / "data", "--config", str(tmp_path / "settings.toml")) as server:
        _fill(server)
        keys = [_key(server, f"hostile-{number}") for number in range(2)]
        process = psutil.Process(server.pid)
        with Machine(server.pid) as machine:
            somebody = Somebody(server, machine, _key(server, "somebody"), _key(server, "login"))
            enough = time.monotonic() + 4
            alone = somebody.measure(lambda: time.monotonic() > enough)
            # One wait of a thousand may be the machine's after all; what is the server's comes back each time.
            longer = [_attack(server, machine, keys, somebody, alone)]
            while longer[-1] and len(longer) < TIMES:
                longer.append(_attack(server, machine, keys, somebody, alone))
        assert [] in longer
        assert machine.most_memory < MEMORY
        # Afterwards all is well: what was asked has ended, and the server has what it needs and no more.
        calm = time.monotonic() + 10
        while _busy(process):
            assert time.monotonic() < calm, "something goes on"
        assert server.call("GET", "/readyz").status == 200
        assert server.ok("aggregate", collection="mine", pipeline=[{"$set": {"m": 1}}, {"$count": "n"}])["documents"]
        family = process.children(recursive=True)
        assert len(family) <= 8
        assert server.stop() == 0
        _, left = psutil.wait_procs(family, timeout=5)
        assert left == []
        assert "Traceback" not in server.output(), server.output()[-3000:]


def _busy(process: psutil.Process) -> bool:
    """Whether a process of the server works."""
    before = {child: child.cpu_times() for child in process.children(recursive=True)}
    time.sleep(0.3)
    for child, times in before.items():
        with contextlib.suppress(psutil.NoSuchProcess):
            now = child.cpu_times()
            if now.user + now.system - times.user - times.system > 0.15:
                return True
    return False


@pytest.mark.timeout(300 * ROUNDS)
@pytest.mark.parametrize("rounds", [ROUNDS])
def test_all_end_with_a_server_that_is_killed(tmp_path: Path, rounds: int) -> None:
    for number in range(3 * rounds):
        with doorleaf(tmp_path / str(number)) as server:
            server.ok("insertOne", document={"_id": 1})
            body = json.dumps({"database": "d", "collection": "c", "pipeline": [{"$set": {"a": 1}}, {"$match": EVIL}]})
            headers = {"apiKey": server.key, "Content-Type": "application/json"}
            connection = server.connection()
            connection.request("POST", "/data/v1/action/aggregate", body, headers)
            process = psutil.Process(server.pid)
            until = time.monotonic() + 30
            while not any(child.cpu_times().user > 0.2 for child in process.children(recursive=True)):
                assert time.monotonic() < until
                time.sleep(0.02)
            family = process.children(recursive=True)
            server.process.kill()
            server.process.wait()
            _, left = psutil.wait_procs(family, timeout=30)
            connection.close()
            assert left == []


EVIL = {"$expr": {"$regexMatch": {"input": "a" * 60 + "!", "regex": "(a|aa)+$"}}}
