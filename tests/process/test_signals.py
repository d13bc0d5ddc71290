"""SIGHUP reads settings again and drops no request; workers die, and end with their parent; SIGTERM has an end."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path

import psutil
import pytest
from servers import TEMPLATE, Answer, Doorleaf, commands, doorleaf, free_port, start_doorleaf, works

MODES = [(), ("--workers", "2")]
BUSY = {"$size": {"$map": {"input": {"$range": [0, 2000]}, "in": {"$map": {"input": {"$range": [0, 600]}, "in": 1}}}}}
"""An expression that takes about a second."""


def until(condition: Callable[[], bool], seconds: float = 60.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return condition()


def workers(server: Doorleaf) -> list[psutil.Process]:
    """The server processes that the parent started and that serve."""
    pids = {int(pid) for pid in re.findall(r"worker (\d+) serves", server.output())}
    return [child for child in psutil.Process(server.pid).children() if child.pid in pids and child.is_running()]


def held_back(pid: int) -> set[int]:
    """The signals that a process holds back, which may have ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return set()
    [line] = re.findall(r"SigBlk:\s*(\w+)", status)
    return {number for number in range(1, 64) if int(line, 16) >> number - 1 & 1}


class Asking:
    """Requests one after another on connections that stay open, for as long as it is entered."""

    def __init__(self, server: Doorleaf, threads: int = 3) -> None:
        self.server = server
        self.answers: list[int] = []
        self.failures: list[Exception] = []
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(threads)]

    def _ask(self) -> None:
        connection = self.server.connection()
        while not self._over.is_set():
            try:
                self.answers.append(self.server.act("findOne", on=connection).status)
            except (OSError, HTTPException) as error:
                self.failures.append(error)
                return

    def __enter__(self) -> Asking:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()


def limits(server: Doorleaf, times: int = 12) -> set[int]:
    """How many documents a find answers with, from every worker."""
    return {len(server.ok("find")["documents"]) for _ in range(times)}


@pytest.mark.parametrize("mode", MODES, ids=["one process", "workers"])
def test_sighup_reads_the_settings_again(tmp_path: Path, mode: tuple[str, ...]) -> None:
    config = tmp_path / "doorleaf.toml"
    config.write_text('default_limit = 3\naudit_file = "audit.log"\naudit_writes = true\n')
    with doorleaf(tmp_path / "data", *mode) as server:
        assert until(lambda: not mode or len(workers(server)) == 2)
        server.ok("insertMany", documents=[{"_id": number} for number in range(5)])
        assert limits(server) == {3}
        with Asking(server) as asking:
            for limit in (2, 4, 1):
                config.write_text(f'default_limit = {limit}\naudit_file = "audit.log"\naudit_writes = true\n')
                server.process.send_signal(signal.SIGHUP)
                assert until(lambda limit=limit: limits(server) == {limit})  # type: ignore[misc]
        assert asking.failures == []
        assert set(asking.answers) == {200}

        (tmp_path / "audit.log").rename(tmp_path / "audit.old")
        config.write_text('default_limit = "many"\nrules_dir = "absent"\n')
        before = server.output().count("\n")
        server.process.send_signal(signal.SIGHUP)
        assert until(lambda: "the settings stay as they were: " in server.output())
        assert limits(server) == {1}
        told = server.output().splitlines()[before:]
        lines = [line for line in told if "settings and rules are read again" not in line]  # of a worker before
        assert len(lines) == 1, lines
        assert "default_limit: expected an integer" in lines[0]
        server.ok("insertOne", document={"_id": "late"})
        assert until(lambda: (tmp_path / "audit.log").exists())

        config.write_text("default_limit = 5\nworkers = 3\n")
        server.process.send_signal(signal.SIGHUP)
        assert until(lambda: limits(server) == {5})
        assert ("a change of workers takes a restart" in server.output()) is (not mode), "a flag is stronger"
        assert server.stop() == 0
    assert server.output().count("INFO doorleaf [-] the server ends") == 1
    for pid in re.findall(r"worker (\d+) starts", server.output()):
        assert f"worker {pid} serves" in server.output()
    assert (re.search(r"the server ends, with workers \d+, \d+", server.output()) is not None) is bool(mode)
    assert "Traceback" not in server.output()


@pytest.mark.parametrize("mode", MODES, ids=["one process", "workers"])
def test_sighup_while_it_starts_is_heard_when_it_has_started(tmp_path: Path, mode: tuple[str, ...]) -> None:
    server = start_doorleaf(tmp_path / "data", *mode, wait=False)
    try:
        assert until(lambda: server.output().count(" starts\n" if mode else " listens on ") == (2 if mode else 1))
        os.killpg(server.pid, signal.SIGHUP)  # as a terminal that closes does
        again = "settings and rules are read again"
        assert until(lambda: server.output().count(again) >= (2 if mode else 1)), server.output()
        server.ok("insertOne", document={"_id": 1})
        for _ in range(2):
            server.ok("aggregate", pipeline=[{"$set": {"size": BUSY}}])  # another process does it
        if sys.platform == "linux":
            names = {pid: name for pid, name in commands(server).items() if "resource_tracker" not in name}
            assert any(TEMPLATE in name for name in names.values())
            assert {pid for pid in names if held_back(pid)} == set()
        assert server.stop() == 0
        assert server.output().count(" starts\n") == (2 if mode else 0), "nobody died of it"
    finally:
        server.kill()


def test_ctrl_c_while_workers_start_is_quiet(tmp_path: Path) -> None:
    server = start_doorleaf(tmp_path / "data", "--workers", "3", wait=False)
    try:
        assert until(lambda: server.output().count(" starts\n") == 3)
        os.killpg(server.pid, signal.SIGINT)
        assert server.process.wait(60) == 0
        assert "Traceback" not in server.output()
    finally:
        server.kill()


def test_workers_tell_that_a_port_takes_a_restart(tmp_path: Path) -> None:
    config, port = tmp_path / "doorleaf.toml", free_port()
    config.write_text(f"port = {port}\nworkers = 2\n")
    command = (
        "sh",
        "-c",
        f"exec {Path(sys.executable).parent / 'doorleaf'} serve",
    )  # no flag is stronger than the file
    server = start_doorleaf(tmp_path / "data", port=port, command=command)
    try:
        config.write_text("port = 1\nworkers = 2\n")
        server.process.send_signal(signal.SIGHUP)
        assert until(lambda: "a change of port takes a restart" in server.output())
        assert server.act("findOne").status == 200
        assert server.stop() == 0
    finally:
        server.kill()


def test_workers_show_the_metrics_of_all_are_replaced_and_end_with_their_parent(tmp_path: Path) -> None:
    config = tmp_path / "settings.toml"
    config.touch()
    with doorleaf(tmp_path / "data", "--workers", "2", "--config", str(config)) as server:
        assert until(lambda: len(workers(server)) == 2)
        for _ in range(20):
            server.ok("findOne")

        def counted() -> bool:
            shown = [server.call("GET", "/metrics", headers={"apiKey": server.key}).body.decode() for _ in range(8)]
            return all('doorleaf_requests_total{action="findOne",status="200"} 20.0' in text for text in shown)

        assert until(counted)
        text = server.call("GET", "/metrics", headers={"apiKey": server.key}).body.decode()
        assert re.search(r"doorleaf_process_resident_bytes [1-9]", text)
        assert re.search(r'doorleaf_build_info\{.*engine="embedded".*\} 1.0', text)
        assert "pid=" not in text

        config.write_text("no_setting = 1\n")
        victim = workers(server)[0]
        victim.kill()
        assert until(lambda: "has no other in its place until the settings can be read" in server.output())
        assert "Traceback" not in server.output()
        assert server.act("findOne").status == 200
        config.write_text("")
        assert until(lambda: f"worker {victim.pid} died (SIGKILL); another takes its place" in server.output())
        assert until(lambda: len(workers(server)) == 2)
        assert server.act("findOne").status == 200

        left = psutil.Process(server.pid).children(recursive=True)
        os.kill(server.pid, signal.SIGKILL)
        server.process.wait()
        _, alive = psutil.wait_procs(left, timeout=30)
        assert alive == []
        with socket.create_server(("127.0.0.1", server.port)):
            pass


@pytest.mark.parametrize("mode", MODES, ids=["one process", "workers"])
def test_sigterm_ends_within_its_grace(tmp_path: Path, mode: tuple[str, ...]) -> None:
    with doorleaf(tmp_path / "data", *mode, env={"DOORLEAF_GRACE_SECONDS": "4"}) as server:
        server.ok("insertMany", documents=[{"_id": number} for number in range(60)])
        answers: list[Answer] = []

        def write() -> None:
            answers.append(server.act("updateMany", filter={}, update=[{"$set": {"size": BUSY}}]))

        thread = threading.Thread(target=write)
        thread.start()
        assert until(lambda: works(server))
        begun = time.monotonic()
        server.process.terminate()
        server.process.wait(30)
        took = time.monotonic() - begun
        thread.join(30)
        assert took < 12, "the grace, and something for a busy machine"
        [answer] = answers
        assert answer.status == 503
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["connection"] == "close"
        assert answer.json["error_code"] == "ShuttingDown"
        assert "whether a write was applied is not known" in answer.json["error"]
        assert "Traceback" not in server.output()


@pytest.mark.parametrize("mode", MODES, ids=["one process", "workers"])
def test_another_sigint_ends_at_once_and_quietly(tmp_path: Path, mode: tuple[str, ...]) -> None:
    with doorleaf(tmp_path / "data", *mode, env={"DOORLEAF_GRACE_SECONDS": "120"}) as server:
        server.ok("insertMany", documents=[{"_id": number} for number in range(100)])
        asking = server.connection()
        body = {"database": "d", "collection": "c", "pipeline": [{"$set": {"size": BUSY}}]}
        asking.request("POST", "/data/v1/action/aggregate", json.dumps(body), {"apiKey": server.key})
        assert until(lambda: works(server))
        begun = time.monotonic()
        os.killpg(server.pid, signal.SIGINT)  # as a terminal does
        assert until(lambda: "the server ends" in server.output())
        time.sleep(1)
        os.killpg(server.pid, signal.SIGINT)
        server.process.wait(60)
        assert time.monotonic() - begun < 60, "not the grace"
        asking.close()
        assert "Traceback" not in server.output()
