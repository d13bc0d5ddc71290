"""The parent of several server processes, and those."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing import resource_tracker
from socket import socket
from typing import Any

import uvicorn.server
from uvicorn.config import STARTUP_FAILURE, Config
from uvicorn.supervisors.multiprocess import Multiprocess, Process

from doorleaf.cli.live import TOLD
from doorleaf.cli.processes import Server
from doorleaf.metrics import forget
from doorleaf.observability import LOG

ENDING_SECONDS = 1.0
"""How long a worker that does not answer may take to end before it counts as one that hangs."""

ASKED_SECONDS = 5.0
"""How often it is asked, while a worker is missing, whether settings that could not be read can be."""


class Worker(Process):
    """A server process that ends with its parent."""

    def __init__(self, config: Config, sockets: list[socket], grace: float) -> None:
        self._grace = grace
        super().__init__(config, sockets)

    @property
    def server(self) -> uvicorn.server.Server:
        if self._server is None:
            self._server = Server(self.config, self._grace, tells=False)
        return self._server

    def target(self, sockets: list[socket] | None = None) -> None:
        """Run in the process."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # until the server listens: the parent hears it too, and ends this
        if TOLD:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        threading.Thread(target=_end_with_parent, daemon=True, name="parent").start()
        super().target(sockets)


def _end_with_parent() -> None:
    """Wait for the end of the parent, even by SIGKILL, and end as by SIGTERM."""
    parent: Any = multiprocessing.parent_process()
    parent.join()
    LOG.error("the parent process has ended; so does worker %d", os.getpid())
    os.kill(os.getpid(), signal.SIGTERM)


class Workers(Multiprocess):
    """The parent of the workers, which starts another for each that dies.

    It stops listening when it ends: else new clients would wait for nobody. ``check`` says whether the settings can be
    read again, and logs what is wrong: a worker that cannot read them would end, and so would each in its place.
    """

    def __init__(self, config: Config, sockets: list[socket], grace: float, check: Callable[[], bool]) -> None:
        super().__init__(config, sockets)
        self._grace = grace
        self._check = check
        self._lost: set[Process] = set()
        self._asks_at = 0.0
        if TOLD:
            resource_tracker.ensure_running()  # which lets SIGINT through when it starts, so not while a worker does
            signal.pthread_sigmask(signal.SIG_UNBLOCK, TOLD)

    def init_processes(self) -> None:
        for _ in range(self.processes_num):
            self.processes.append(self._started())

    def _started(self) -> Worker:
        worker = Worker(self.config, self.sockets, self._grace)
        with _held():
            worker.start()
        if os.name == "posix":  # so that its end ends the connection too, else an answer of the dead is waited for
            worker.child_conn.close()
        LOG.info("worker %d starts", worker.pid)
        return worker

    def keep_subprocess_alive(self) -> None:
        for index, worker in enumerate(self.processes):
            if self.should_exit.is_set():
                return
            if worker in self._lost:
                self._replace(index)
                continue
            if worker.is_alive(timeout=self.config.timeout_worker_healthcheck):
                continue
            worker.process.join(ENDING_SECONDS)  # one that is just killed has closed its pipe, and not yet ended
            hangs = worker.exitcode is None
            worker.kill()
            worker.join()
            if worker.pid is not None:
                forget(worker.pid)
            if worker.exitcode == STARTUP_FAILURE:
                LOG.error("worker %d could not start, and so the server ends", worker.pid)
                self.should_exit.set()
                return
            if not self.should_exit.is_set():
                how = "hangs and was killed" if hangs else f"died ({_ended(worker.exitcode)})"
                LOG.error("worker %d %s; another takes its place", worker.pid, how)
                self._lost.add(worker)
                self._replace(index)

    def _replace(self, index: int) -> None:
        """Start a worker in the place of one that is lost, as soon as it can read the settings."""
        if time.monotonic() < self._asks_at:
            return
        if not self._check():
            LOG.error("a worker that died has no other in its place until the settings can be read")
            self._asks_at = time.monotonic() + ASKED_SECONDS
            return
        self._lost.discard(self.processes[index])
        self.processes[index] = self._started()

    def handle_hup(self) -> None:
        """Let every worker read settings and rules again if they can be read, and open its files anew if not."""
        told = signal.SIGHUP if self._check() else signal.SIGUSR1
        self._asks_at = 0.0
        for worker in self.processes:
            if worker.pid is not None and worker.exitcode is None:
                os.kill(worker.pid, told)  # one that is not ready hears it when it is

    def handle_ttin(self) -> None:
        self.processes_num += 1
        self.processes.append(self._started())

    def terminate_all(self) -> None:
        LOG.info("the server ends, with workers %s", ", ".join(str(worker.pid) for worker in self.processes))
        for listener in self.sockets:
            listener.close()
        super().terminate_all()


@contextlib.contextmanager
def _held() -> Iterator[None]:
    """Start a process that signals wait for: loading its modules it would end by them, and Ctrl-C in a traceback."""
    if not TOLD:
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {*TOLD, signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _ended(code: int | None) -> str:
    if code is not None and code < 0:
        try:
            return signal.Signals(-code).name
        except ValueError:
            return f"signal {-code}"
    return f"exit code {code}"
