"""Processes that tests talk to: a MongoDB wire-protocol server, and Doorleaf itself.

Everything listens on 127.0.0.1 and ends with the test that started it.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import forked
import psutil
import pytest

PATIENCE = 120.0
"""Seconds to wait for a server to come up: a busy machine is slow, and a test must not depend on it."""

TEMPLATE = "doorleaf.stores.embedded.processes.template"
"""A part of the command line of processes that carry out operations, and of the one that they are forked from."""

INSTALLED = str(Path(sys.executable).parent / "doorleaf")
"""The command as it is installed, for tests of starting and of memory."""

_LISTENING = re.compile(r"secantus listening on (\S+):(\d+)")
_KEY = re.compile(r"api-?key:\s*([A-Za-z0-9_-]{16,})", re.IGNORECASE)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _script(name: str) -> str | None:
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else shutil.which(name)


def mongodb_uri_from_environment() -> str | None:
    """The MongoDB that ``DOORLEAF_TEST_URI`` names, which is then used instead of a server of our own."""
    return os.environ.get("DOORLEAF_TEST_URI") or None


def _end(process: subprocess.Popen[bytes], patience: float = 6.0) -> int:
    """SIGTERM, once more after ``patience`` seconds, then SIGKILL; the exit code."""
    for _ in range(2):
        if process.poll() is None:
            process.terminate()
            try:
                return process.wait(patience)
            except subprocess.TimeoutExpired:
                continue
    if process.poll() is None:
        process.kill()
    return process.wait()


class MongoServer:
    """A running wire-protocol server: ``uri`` to reach it, ``process`` to stop or kill it."""

    def __init__(self, folder: Path, *, port: int = 0, flags: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self._port = port
        self._flags = flags
        self.process: subprocess.Popen[bytes] | None = None
        self.uri = ""

    def start(self) -> None:
        """Start it on its folder; a second start comes up on the same port with the same data."""
        command = _script("secantusd-py")
        if command is None:
            pytest.skip("secantusdb has no wheel for this Python; set DOORLEAF_TEST_URI to a MongoDB")
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "empty.toml"
        config.touch()
        log = self.folder / "server.log"
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [
                    *(command, "--config", str(config), "--host", "127.0.0.1", "--port", str(self._port)),
                    *("--storage-path", str(self.folder / "data"), "--cache-size", "1G", *self._flags),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        deadline = time.monotonic() + PATIENCE
        while (found := _LISTENING.search(log.read_text(errors="replace"))) is None:
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"secantusd-py did not start:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.02)
        self._port = int(found[2])
        self.uri = f"mongodb://127.0.0.1:{self._port}/?directConnection=true&retryWrites=false&maxPoolSize=16"

    def stop(self) -> None:
        """End it in order; what was written stays in the folder."""
        if self.process is not None:
            _end(self.process)
            self.process = None

    def kill(self) -> None:
        """End it at once, as a crash would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@contextmanager
def secantus(folder: Path, *flags: str) -> Iterator[MongoServer]:
    """A wire-protocol server on ``folder`` with further ``flags``, stopped at the end."""
    server = MongoServer(folder, flags=flags)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def mortal_mongodb(folder: Path) -> Iterator[MongoServer]:
    """A server that a test may kill, which keeps what it has acknowledged; none where a MongoDB is given."""
    if mongodb_uri_from_environment():
        pytest.skip("needs a server of its own to kill")
    with secantus(folder, "--sync-on-commit") as server:
        yield server


@dataclass
class Answer:
    """What came back over the network; names of headers are lower-case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Doorleaf:
    """A running ``doorleaf serve``: ``url`` without a slash at its end, ``key`` that it accepts."""

    def __init__(self, process: subprocess.Popen[bytes], url: str, key: str, log: Path) -> None:
        self.process = process
        self.url = url
        self.key = key
        self._log = log

    @property
    def pid(self) -> int:
        return self.process.pid

    def output(self) -> str:
        """All it has printed and logged so far."""
        return self._log.read_text(errors="replace")

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def call(
        self,
        method: str,
        path: str,
        body: bytes | str | Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        on: http.client.HTTPConnection | None = None,
    ) -> Answer:
        """One request as it is written, without a key of its own; a mapping becomes JSON. ``on`` is a connection to
        use, else it has one of its own."""
        connection = on or self.connection()
        try:
            content = json.dumps(body) if isinstance(body, Mapping) else body
            connection.request(method, path, content, dict(headers or {}))
            answer = connection.getresponse()
            listed = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, listed, answer.read())
        finally:
            if on is None:
                connection.close()

    def connection(self) -> http.client.HTTPConnection:
        """A connection that stays open."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)

    def act(self, action: str, /, *, on: Any = None, accept: Any = None, **fields: Any) -> Answer:
        """An action with the key, in the database ``d`` and the collection ``c`` unless ``fields`` say otherwise.

        ``on`` is an open connection, ``accept`` the header's text.
        """
        headers = {"apiKey": self.key, "Content-Type": "application/json"} | ({"Accept": accept} if accept else {})
        body = {"database": "d", "collection": "c", **fields}
        return self.call("POST", f"/data/v1/action/{action}", body, headers, on=on)

    def ok(self, action: str, /, **fields: Any) -> Any:
        """The body of an action that must succeed."""
        answer = self.act(action, **fields)
        assert answer.status == (201 if action in ("insertOne", "insertMany") else 200), answer.body
        return answer.json

    def stop(self, patience: float = 20.0) -> int:
        """SIGTERM and wait; the exit code."""
        return _end(self.process, patience)

    def kill(self) -> None:
        """SIGKILL, for its workers too."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def _clean_environment(env: Mapping[str, str | None] | None) -> dict[str, str]:
    """This process's environment without any setting of Doorleaf, with ``env``; None takes a variable away."""
    foreign = ("DATA_API_KEY", "MONGODB_URI", "PORT", "DATA_API_KEY_FILE", "MONGODB_URI_FILE")
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith("DOORLEAF_") and name not in foreign
    }
    for name, value in (env or {}).items():
        if value is None:
            kept.pop(name, None)
        else:
            kept[name] = value
    return kept


def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds that nothing tells of."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError("what was waited for did not come")
        time.sleep(0.05)


def commands(server: Doorleaf) -> dict[int, str]:
    """The command lines of a server's processes."""
    found = {}
    first = psutil.Process(server.pid)
    for process in (first, *first.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            found[process.pid] = " ".join(process.cmdline())
    return found


def works(server: Doorleaf) -> bool:
    """Whether one of the processes that carry out operations has something to do that takes long."""
    for pid, name in commands(server).items():
        with suppress(psutil.NoSuchProcess):
            # Forked, it has the command line of its parent, which has loaded the engine.
            process = psutil.Process(pid)
            carries_out = TEMPLATE in name and TEMPLATE in " ".join(psutil.Process(process.ppid()).cmdline())
            if carries_out and process.cpu_times().user > 0.2:
                return True
    return False


def run_doorleaf(folder: Path, *args: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run ``doorleaf`` to its end in ``folder``; it reads ``given``."""
    return forked.run_text(args, folder=folder, env=_clean_environment({"COLUMNS": "200"}), given=given or "")


def start_doorleaf(
    folder: Path,
    *args: str,
    env: Mapping[str, str | None] | None = None,
    key: str | None = "made",
    port: int | None = None,
    wait: bool = True,
    command: Sequence[str] = (),
) -> Doorleaf:
    """Start ``doorleaf serve`` with ``folder`` as its data folder and wait until ``/livez`` answers.

    A key is made and given as ``DATA_API_KEY``; with ``key=None`` there is none, and the one that a first start
    prints is read from its output ("" when it prints none). It runs in ``folder``'s parent, so that no
    ``doorleaf.toml`` of the working folder is found. ``command`` (such as ``[INSTALLED]``) is run instead of a process
    that has imported everything.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    if key == "made":
        key = "test_" + secrets.token_hex(24)
    environment = _clean_environment({**({"DATA_API_KEY": key} if key else {}), "COLUMNS": "200", **(env or {})})
    handle, name = tempfile.mkstemp(prefix="doorleaf-", suffix=".log", dir=folder.parent)
    line = ["serve", "--host", "127.0.0.1", "--port", str(port), "--data-dir", str(folder), *args]
    with os.fdopen(handle, "wb") as output:
        process: subprocess.Popen[bytes]
        if command:
            process = subprocess.Popen(
                [*command, *line],
                cwd=folder.parent,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        else:
            process = forked.start(line, folder=folder.parent, env=environment, given=None, out=output, err=output)
    server = Doorleaf(process, f"http://127.0.0.1:{port}", key or "", Path(name))
    if wait:
        _wait_until_live(server)
        if key is None:
            found = _KEY.search(server.output())
            server.key = found[1] if found else ""
    return server


def _wait_until_live(server: Doorleaf) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            with urllib.request.urlopen(f"{server.url}/livez", timeout=5) as answer:
                answer.read()
                return
        except (urllib.error.URLError, OSError):
            if server.process.poll() is not None or time.monotonic() > deadline:
                server.kill()
                raise RuntimeError(f"doorleaf did not start:\n{server.output()[-4000:]}") from None
            time.sleep(0.05)


@contextmanager
def doorleaf(folder: Path, *args: str, env: Mapping[str, str | None] | None = None) -> Iterator[Doorleaf]:
    """:func:`start_doorleaf`, stopped at the end."""
    server = start_doorleaf(folder, *args, env=env)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.stop()
