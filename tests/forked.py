"""``doorleaf`` as a process that is forked from one which has imported it: a quarter of the tests' time was imports.

It is the command itself, with a process, a session, an environment and files of its own, and it is killed like any
other. What a test says of starting, of memory at rest or of the installed command is tried with ``servers.INSTALLED``.

The process that is forked has no thread. It is asked over a socket, once for each command, with the four files that
the command gets: its input, its output, its errors, and a pipe that tells the number of its process and how it ended.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

_LONGEST = 1 << 20
_template: tuple[int, socket.socket, subprocess.Popen[bytes]] | None = None


class Forked(subprocess.Popen[bytes]):
    """A command that runs: what :class:`subprocess.Popen` has, without pipes."""

    def __init__(self, args: Sequence[str], told: int) -> None:  # the process is made already
        self.args = args
        self.returncode: int | None = None
        self.stdin = self.stdout = self.stderr = None
        self._told = os.fdopen(told, "rb", buffering=0)
        self.pid = int(self._line())

    def _line(self) -> bytes:
        line = b""
        while not line.endswith(b"\n"):
            line += (byte := self._told.read(1) or b"")
            if not byte:
                raise RuntimeError("the process that commands are forked from has ended")
        return line

    def poll(self) -> int | None:
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        if (code := self._ended(timeout)) is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return code

    def _ended(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._told], [], [], timeout)[0]:
            self.returncode = os.waitstatus_to_exitcode(int(self._line()))
            self._told.close()
        return self.returncode


def start(
    args: Sequence[str],
    *,
    folder: Path,
    env: Mapping[str, str],
    given: IO[bytes] | None,
    out: IO[bytes],
    err: IO[bytes],
) -> Forked:
    """Start ``doorleaf`` with ``args`` in ``folder``; it reads ``given`` (None: nothing)."""
    mine, its = os.pipe()
    try:
        asked = json.dumps({"args": list(args), "folder": str(folder), "env": dict(env)}).encode()
        with open(os.devnull, "rb") as nothing:
            files = [(given or nothing).fileno(), out.fileno(), err.fileno(), its]
            socket.send_fds(_running(), [asked], files)
    finally:
        os.close(its)
    return Forked(["doorleaf", *args], mine)


def run(
    args: Sequence[str], *, folder: Path, env: Mapping[str, str], given: bytes = b"", timeout: float = 120
) -> subprocess.CompletedProcess[bytes]:
    """Run ``doorleaf`` to its end."""
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        source.write(given)
        source.seek(0)
        process = start(args, folder=folder, env=env, given=source, out=out, err=err)
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(["doorleaf", *args], code, out.read(), err.read())


def run_text(
    args: Sequence[str], *, folder: Path, env: Mapping[str, str], given: str = ""
) -> subprocess.CompletedProcess[str]:
    """:func:`run` with text."""
    done = run(args, folder=folder, env=env, given=given.encode())
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def _running() -> socket.socket:
    """The socket of the process that is forked, which ends when this one does."""
    global _template
    if _template is None or _template[0] != os.getpid():
        mine, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with its:
            process = subprocess.Popen([sys.executable, __file__, str(its.fileno())], pass_fds=[its.fileno()])
        mine.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _LONGEST)
        _template = (os.getpid(), mine, process)
        atexit.register(_end, *_template)
    return _template[1]


def _end(owner: int, asking: socket.socket, process: subprocess.Popen[bytes]) -> None:
    if owner == os.getpid():
        asking.close()
        process.wait()


def _import_everything() -> None:
    import doorleaf

    for module in pkgutil.walk_packages(doorleaf.__path__, "doorleaf."):
        if not module.name.endswith(".__main__"):
            with contextlib.suppress(ImportError):
                importlib.import_module(module.name)
    gc.collect()
    gc.freeze()


def _wait_for_a_command(asking: socket.socket) -> dict[str, Any] | None:
    """Fork for each command. In its process this comes back with what is asked for, in the first one at the end."""
    telling: dict[int, int] = {}
    died, dies = os.pipe()
    os.set_blocking(died, False)
    os.set_blocking(dies, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(dies, warn_on_full_buffer=False)
    while True:
        ready = select.select([asking.fileno(), died], [], [])[0]
        if died in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(died, 4096)
            _tell_ends(telling)
        if asking.fileno() in ready:
            asked, files, _, _ = socket.recv_fds(asking, _LONGEST, 4)
            if not asked:
                return None
            if (pid := os.fork()) == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for file in (asking.detach(), died, dies, *telling.values()):
                    os.close(file)
                return {**json.loads(asked), "files": files}
            for file in files[:3]:
                os.close(file)
            telling[pid] = files[3]


def _tell_ends(telling: dict[int, int]) -> None:
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            told = telling.pop(ended[0])
            with contextlib.suppress(BrokenPipeError):
                os.write(told, b"%d\n" % ended[1])
            os.close(told)


def _become(asked: dict[str, Any]) -> None:
    """Make this process the one that was asked for."""
    os.setsid()
    *files, telling = asked["files"]
    os.write(telling, b"%d\n" % os.getpid())
    os.close(telling)
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["env"])
    sys.argv = ["doorleaf", *asked["args"]]
    vars(importlib.import_module("doorleaf.metrics"))["_STARTED"] = time.time()  # as if it were imported now


if __name__ == "__main__":
    sys.path.pop(0)  # the tests' folder, where the command has none
    _import_everything()
    if command := _wait_for_a_command(socket.socket(fileno=int(sys.argv[1]))):
        _become(command)
        from doorleaf.cli.main import main

        main()
