"""The server's side of the template: starting it once, and giving it orders."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from itertools import count

from doorleaf.errors import StoreUnavailable
from doorleaf.stores.embedded.processes.template import ENDED, FORK, KILL, LOADED, ORDER, SLOW, STOP

AVAILABLE = hasattr(os, "fork") and hasattr(socket, "send_fds")
"""Whether this system can; elsewhere everything runs in threads, and what holds the interpreter holds all."""


_TEMPLATE = """
import signal
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_SETMASK, ())
from doorleaf.stores.embedded.processes.template import main
main()
"""
"""What the template runs. Signals that are meant for the server, and reach its group, are the server's, from the first
line on: Ctrl-C while the engine is being loaded is one, too. What the server holds back as it starts is not held back
here: workers are told by signals."""

STUCK_SECONDS = 30.0
"""A template that has been there for so long and leaves its orders unread is taken for stuck, and killed."""

STOP_SECONDS = 5.0
"""How long a template with workers may take to end by itself."""

ENDINGS = 100
"""Workers of which is remembered how they ended."""

_log = logging.getLogger(__name__)


class Forks:
    """The template of this process, which every store in it shares. Orders are a few bytes and never wait."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self._lock = threading.Lock()
        self._control: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._loaded = False
        self._owner = 0
        self._preloaded: list[str] = []
        self._told = bytearray()
        self._endings: dict[int, tuple[int, int]] = {}

    def preload(self, modules: Sequence[str]) -> None:
        """Have a template that is yet to be started load ``modules`` too."""
        self._preloaded += [name for name in modules if name not in self._preloaded]

    def start(self) -> None:
        """Start the template unless it is there."""
        with self._lock:
            if self._control is None or self._owner != os.getpid():
                self._start()

    def fork(self) -> tuple[int, socket.socket]:
        """A new worker: its number and the socket to talk to it, which does not wait until it is there."""
        mine, its = socket.socketpair()
        number = next(self._numbers)
        try:
            for _ in range(2):
                self.start()
                self._listen()
                try:
                    assert self._control is not None  # noqa: S101  # just started
                    socket.send_fds(self._control, [ORDER.pack(FORK, number)], [its.fileno()])
                    return number, mine
                except BlockingIOError:
                    if not self._end_stuck():
                        break
                except OSError:
                    self.stop(patience=0.0)
        finally:
            its.close()
        mine.close()
        raise StoreUnavailable("the processes that carry out operations cannot be started")

    def kill(self, number: int) -> None:
        """End a worker at once."""
        self._order(KILL, number)

    def stop_worker(self, number: int) -> None:
        """End a worker at once, unless it commits: then it ends when it has answered."""
        self._order(STOP, number)

    def ending(self, number: int) -> tuple[int, int] | None:
        """How a worker has ended: its exit code, or its signal below 0, and the most bytes that it had; None where
        that is not known, or not yet."""
        self._listen()
        return self._endings.pop(number, None)

    def _listen(self) -> None:
        """Note what the template has told, and keep the latest of it."""
        with contextlib.suppress(OSError):
            while self._control is not None and (told := self._control.recv(4096)):
                self._told += told
        whole = len(self._told) // ENDED.size * ENDED.size
        for number, code, most in ENDED.iter_unpack(bytes(self._told[:whole])):
            if number == LOADED:
                self._loaded = True
            else:
                self._endings[number] = (code, most)
        del self._told[:whole]
        while len(self._endings) > ENDINGS:
            del self._endings[next(iter(self._endings))]

    def slow(self, number: int) -> None:
        """Let a worker have what others leave of the processor."""
        self._order(SLOW, number)

    @property
    def pid(self) -> int | None:
        """The template's process id."""
        return None if self._process is None else self._process.pid

    def _order(self, order: bytes, number: int) -> None:
        with contextlib.suppress(OSError):  # a template that is gone has taken its workers along
            try:
                if self._control is not None:
                    self._control.send(ORDER.pack(order, number))
            except BlockingIOError:
                # A worker that is not ended now ends by its alarm, or when it finds its connection closed.
                self._end_stuck()

    def _end_stuck(self) -> bool:
        """Kill a template that does not read its orders, unless it may still be loading; whether it was killed."""
        if time.monotonic() - self._started < STUCK_SECONDS:
            return False
        _log.error("the process that starts workers does not answer, and is started anew")
        self.stop(patience=0.0)
        return True

    def _start(self) -> None:
        mine, its = socket.socketpair()
        with its:
            command = [sys.executable, "-P", "-c", _TEMPLATE, str(its.fileno()), *self._preloaded]
            self._process = subprocess.Popen(  # noqa: S603  # ourselves
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, pass_fds=[its.fileno()]
            )
        mine.setblocking(False)
        self._told.clear()
        self._control, self._owner, self._started, self._loaded = mine, os.getpid(), time.monotonic(), False

    def stop(self, patience: float = STOP_SECONDS) -> None:
        """End the template and all workers: by itself within ``patience`` seconds, else at once. One that is still
        loading the engine has no worker, and is not waited for."""
        if self._owner != os.getpid():
            return
        with self._lock:
            if self._control is not None:
                self._listen()
                self._control.close()
                self._control = None
            if self._process is not None:
                _end(self._process, patience if self._loaded else 0.0)
                self._process = None


def _end(process: subprocess.Popen[bytes], patience: float) -> None:
    """Wait for the end of a process, which is killed when that does not come."""
    for seconds in (patience, STOP_SECONDS):
        try:
            process.wait(seconds)
            return
        except subprocess.TimeoutExpired:
            process.kill()
    _log.error("process %d does not end even when it is killed", process.pid)


FORKS = Forks()
"""The one of this process."""

atexit.register(FORKS.stop)
