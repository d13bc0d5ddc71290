"""The servers of the benchmark: building, starting on a core, stopping, and what they use."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
BACKEND = HERE / "backend" / "target" / "release" / "canned-backend"
KEY = "bench_0123456789abcdef0123456789abcdef"
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def need(*commands: str) -> None:
    """End with one sentence when a command is missing."""
    missing = [command for command in commands if shutil.which(command) is None]
    if missing:
        sys.exit(f"bench: not installed: {', '.join(missing)} (Debian: wrk, nodejs, npm, cargo, util-linux)")


def build() -> None:
    """Compile the backend and install the peer's packages, where that has not been done."""
    need("taskset", "wrk", "node", "npm", "cargo")
    subprocess.run(["cargo", "build", "--release", "--quiet"], cwd=HERE / "backend", check=True)
    if not (HERE / "peer" / "node_modules").exists():
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--silent"], cwd=HERE / "peer", check=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Server:
    """A running process; ``url`` where its actions are, "" when it is a database; ``key`` is what callers show."""

    name: str
    process: subprocess.Popen[bytes]
    url: str = ""
    uri: str = ""
    key: str = KEY

    def pids(self) -> list[int]:
        """The process and all below it."""
        found, waiting = [], [self.process.pid]
        while waiting:
            pid = waiting.pop()
            found.append(pid)
            try:
                for task in Path(f"/proc/{pid}/task").iterdir():
                    waiting += map(int, (task / "children").read_text().split())
            except OSError:
                continue
        return found

    def workers(self) -> tuple[int, ...]:
        """The processes that answer: the children that are workers, or where there are none the process."""
        lines = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in self.pids()}
        return tuple(pid for pid, line in lines.items() if b"spawn_main" in line) or (self.process.pid,)

    def cpu_seconds(self) -> float:
        """User and system time since the start, of the whole tree."""
        total = 0
        for pid in self.pids():
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except OSError:  # a worker that has just ended
                continue
            total += int(fields[11]) + int(fields[12])
        return total / TICKS

    def megabytes(self) -> float:
        """Resident memory of the whole tree."""
        pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in self.pids())
        return pages * PAGE / 1e6


@dataclass
class Servers:
    """Everything that was started, in order; the last is stopped first."""

    folder: Path
    server_core: str
    load_core: str
    running: list[Server] = field(default_factory=list)

    def _start(self, name: str, core: str, command: list[str], env: Mapping[str, str] | None = None) -> Server:
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                ["taskset", "-c", core, *command],
                cwd=self.folder,
                env={**os.environ, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        server = Server(name, process)
        self.running.append(server)
        return server

    def _log(self, server: Server) -> str:
        return (self.folder / f"{server.name}.log").read_text(errors="replace")

    def _until(self, server: Server, ready: str) -> re.Match[str]:
        """Wait until the log matches ``ready``."""
        for _ in range(1200):
            if found := re.search(ready, self._log(server)):
                return found
            if server.process.poll() is not None:
                break
            time.sleep(0.05)
        sys.exit(f"bench: {server.name} did not start:\n{self._log(server)[-3000:]}")

    def canned(self) -> Server:
        """The backend with canned answers."""
        port = free_port()
        server = self._start("backend", self.load_core, [str(BACKEND), str(port)])
        self._until(server, "listening on")
        server.uri = f"mongodb://127.0.0.1:{port}/"
        return server

    def database(self) -> Server:
        """The MongoDB server that the tests use, on an empty folder."""
        beside = Path(sys.executable).parent / "secantusd-py"
        if not beside.exists():
            sys.exit("bench: secantusd-py is not installed; `make test` installs it")
        (self.folder / "empty.toml").touch()
        options = ["--config", "empty.toml", "--host", "127.0.0.1", "--port", "0", "--storage-path", "database"]
        server = self._start("database", self.load_core, [str(beside), *options, "--sync-on-commit"])
        port = self._until(server, r"secantus listening on \S+:(\d+)")[1]
        server.uri = f"mongodb://127.0.0.1:{port}/?directConnection=true&retryWrites=false"
        return server

    def peer(self, uri: str, name: str = "fastify") -> Server:
        port = free_port()
        env = {"PORT": str(port), "MONGODB_URI": uri, "API_KEY": KEY, "NODE_ENV": "production"}
        server = self._start(name, self.server_core, ["node", str(HERE / "peer" / "server.js")], env)
        self._until(server, "listening on")
        server.url = f"http://127.0.0.1:{port}"
        return server

    def express(self, uri: str, collection: str) -> Server:
        """The endpoint of ``peer/express.js``, which reads ``collection``."""
        port = free_port()
        env = {"PORT": str(port), "MONGODB_URI": uri, "COLLECTION": collection, "NODE_ENV": "production"}
        server = self._start("express", self.server_core, ["node", str(HERE / "peer" / "express.js")], env)
        self._until(server, "listening on")
        server.url = f"http://127.0.0.1:{port}"
        return server

    def doorleaf(
        self,
        uri: str = "",
        name: str = "doorleaf",
        workers: int = 0,
        options: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
    ) -> Server:
        """Doorleaf as it is started by everybody, one worker; without ``uri`` on the embedded database. With a number
        of ``workers`` they have both cores."""
        port = free_port()
        command = [str(Path(sys.executable).parent / "doorleaf"), "serve", "--port", str(port)]
        command += ["--data-dir", str(self.folder / f"{name}-data"), *(["--uri", uri] if uri else [])]
        command += [*(["--workers", str(workers)] if workers else []), *options]
        core = f"{self.server_core},{self.load_core}" if workers else self.server_core
        server = self._start(name, core, command, {"DATA_API_KEY": KEY, **(env or {})})
        server.url = f"http://127.0.0.1:{port}"
        for _ in range(600):
            try:
                with urllib.request.urlopen(f"{server.url}/readyz", timeout=5):
                    return server
            except (urllib.error.URLError, OSError):
                if server.process.poll() is not None:
                    break
                time.sleep(0.1)
        sys.exit(f"bench: {name} did not start:\n{self._log(server)[-3000:]}")

    def settle(self, patience: float = 60.0) -> None:
        """Wait until nobody works any more: a slow database goes on with requests whose client has left."""
        deadline = time.monotonic() + patience
        before = sum(server.cpu_seconds() for server in self.running)
        while time.monotonic() < deadline:
            time.sleep(0.25)
            now = sum(server.cpu_seconds() for server in self.running)
            if now - before < 0.05:
                return
            before = now

    def stop(self) -> None:
        """SIGTERM to all, SIGKILL to those that stay."""
        for server in reversed(self.running):
            if server.process.poll() is None:
                server.process.send_signal(signal.SIGTERM)
        for server in reversed(self.running):
            try:
                server.process.wait(10)
            except subprocess.TimeoutExpired:
                server.process.kill()
                server.process.wait()
        self.running.clear()
