"""The template: a process with the engine loaded and one thread, which forks a worker whenever the server asks.

It reads orders from the socket that it was started with, each with a worker's number, and ends when that closes, with
all its workers: after a `kill -9` of the server nothing is left.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from struct import Struct

ORDER = Struct("<cI")
FORK, KILL, STOP, SLOW = b"F", b"K", b"E", b"S"
"""A worker for the socket that comes along; its end; its end unless it commits; less of the processor for it."""

ENDED = Struct("<IiQ")
"""What the template tells of a worker that has ended: its number, its exit code or signal, and its most bytes."""

LOADED = 0
"""The number of no worker, told first: the engine is loaded."""

FAILED, OUT_OF_MEMORY = 1, 12
"""Exit codes of workers that did not end in order."""

NICENESS = 15
"""What is added to a worker's that takes long, up to the system's most: next to others it runs on what they leave."""

_PR_SET_PDEATHSIG = 1


class Template:
    """The process, its workers by number."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._workers: dict[int, int] = {}
        self._woken, self._wake = socket.socketpair()
        self._wake.setblocking(False)
        self._prctl = _prctl()

    def run(self) -> None:
        """Carry out orders until the server is gone."""
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        self._tell(LOADED, 0, 0)
        try:
            while True:
                ready, _, _ = select.select([self._control, self._woken], [], [])
                if self._woken in ready:
                    self._woken.recv(4096)
                    self._reap()
                if self._control in ready and not self._order():
                    return
        finally:
            signal.set_wakeup_fd(-1)  # its socket goes before the process does
            for pid in self._workers.values():
                os.kill(pid, signal.SIGKILL)

    def _order(self) -> bool:
        try:
            message, descriptors, _, _ = socket.recv_fds(self._control, ORDER.size, 1)
        except ConnectionError:
            return False
        while message and len(message) < ORDER.size:
            message += self._control.recv(ORDER.size - len(message)) or b"\0" * ORDER.size
        if not message:
            return False
        order, number = ORDER.unpack(message[: ORDER.size])
        pid = self._workers.get(number)
        if order == FORK:
            self._fork(number, descriptors[0])
        elif pid is not None:
            with contextlib.suppress(OSError):
                if order == KILL:
                    os.kill(pid, signal.SIGKILL)
                elif order == STOP:
                    # A worker holds this signal back from before a commit until it has answered.
                    os.kill(pid, signal.SIGUSR1)
                else:
                    os.setpriority(os.PRIO_PROCESS, pid, os.getpriority(os.PRIO_PROCESS, 0) + NICENESS)
        return True

    def _fork(self, number: int, descriptor: int) -> None:
        parent = os.getpid()
        pid = os.fork()
        if pid:
            os.close(descriptor)
            self._workers[number] = pid
            return
        try:
            if self._prctl is not None:
                self._prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != parent:
                os._exit(0)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for mine in (self._control, self._wake, self._woken):
                mine.close()
            from doorleaf.stores.embedded.processes.worker import serve

            os._exit(_served(serve, socket.socket(fileno=descriptor)))
        finally:
            os._exit(FAILED)

    def _reap(self) -> None:
        numbers = {pid: number for number, pid in self._workers.items()}
        with contextlib.suppress(ChildProcessError):
            while (ended := os.wait4(-1, os.WNOHANG))[0] > 0:
                pid, status, usage = ended
                number = numbers.get(pid)
                if number is not None:
                    del self._workers[number]
                    self._tell(number, os.waitstatus_to_exitcode(status), usage.ru_maxrss)

    def _tell(self, number: int, code: int, most: int) -> None:
        unit = 1 if sys.platform == "darwin" else 1024
        # Nobody waits for this: a server that does not read it does without.
        with contextlib.suppress(OSError):
            self._control.send(ENDED.pack(number, code, most * unit), socket.MSG_DONTWAIT)


def _served(serve: Callable[[socket.socket], None], connection: socket.socket) -> int:
    """Answer requests; the exit code."""
    try:
        serve(connection)
    except MemoryError:
        return OUT_OF_MEMORY
    except ConnectionError:
        return 0  # the server is gone, or has gone on without
    except BaseException:
        with contextlib.suppress(BaseException):
            traceback.print_exc()
        return FAILED
    return 0


def _prctl() -> Callable[..., int] | None:
    """Linux's way to end with one's parent; elsewhere a worker ends when it next reads or writes."""
    return ctypes.CDLL(None).prctl if sys.platform == "linux" else None


def main() -> None:
    """Load the engine, then serve."""
    for name in ("doorleaf.stores.embedded.processes.worker", "regex", *sys.argv[2:]):
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    Template(socket.socket(fileno=int(sys.argv[1]))).run()
