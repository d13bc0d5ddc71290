"""How much of a wait is a server's own: all of it but what other work on the machine has kept it from running.

The system counts for each thread how long it ran, and how long it could have run and did not (``schedstat``). Where
others have used some of the processors meanwhile, that share is theirs; what a server's own processes take from one
another stays its own. On a machine without other work, or without such counts, a wait is as long as the clock says.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

NICE = os.getpriority(os.PRIO_PROCESS, 0)
"""How nice the tests are, and what they start; a process that leaves the processor to others is nicer."""
can_be_nicer = pytest.mark.skipif(NICE == 19, reason="no process can be nicer than the tests")
_TICK = 1 / os.sysconf("SC_CLK_TCK")
_STAT = Path("/proc/stat")
_COUNTED = Path("/proc/self/schedstat").exists()


@dataclass(frozen=True)
class Moment:
    """What the clocks say: seconds of the wall, seconds that all processors were busy, and for each thread of the
    server the seconds that it ran and those that it waited to run; ``client`` is what the asking thread waited."""

    wall: float
    busy: float
    client: float
    threads: dict[str, tuple[float, float]] = field(default_factory=dict)


class Machine:
    """Measures what happens in a server and all its processes, which are looked for four times a second."""

    def __init__(self, pid: int) -> None:
        self._loop = f"/proc/{pid}/task/{pid}/schedstat"
        self._process = psutil.Process(pid)
        self._threads: list[str] = []
        self.most_memory = 0
        self._over = threading.Event()
        self._looking = threading.Thread(target=self._look)

    def __enter__(self) -> Machine:
        self._find()
        self._looking.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._looking.join()

    def now(self) -> Moment:
        """The clocks at this moment."""
        if not _COUNTED:
            return Moment(time.monotonic(), 0.0, 0.0)
        busy = [int(number) for number in _STAT.read_text().split("\n", 1)[0].split()[1:9]]
        threads = {path: counted for path in self._threads if (counted := _counted(path)) is not None}
        own = _counted(f"/proc/self/task/{threading.get_native_id()}/schedstat") or (0.0, 0.0)
        return Moment(time.monotonic(), (sum(busy) - busy[3] - busy[4]) * _TICK, own[1], threads)

    def own(self, began: Moment, ended: Moment) -> float:
        """The seconds between two moments that are the server's.

        What its loop has worked counts as it is. Where the loop was kept from running, and where it waited for others
        who were, the share of other work on the machine is taken off.
        """
        loop_ran = loop_waited = ran = waited = 0.0
        for path, (run, wait) in ended.threads.items():
            before = began.threads.get(path)
            if before is None:
                continue
            if path == self._loop:
                loop_ran, loop_waited = run - before[0], wait - before[1]
            else:
                ran, waited = ran + run - before[0], waited + wait - before[1]
        busy = ended.busy - began.busy
        others = min(max(1 - (loop_ran + ran) / busy, 0.0), 1.0) if busy > 0 else 0.0
        slept = max(ended.wall - began.wall - loop_ran - loop_waited - others * (ended.client - began.client), 0.0)
        held_up = waited / (ran + waited) if ran + waited > 0 else 0.0
        return loop_ran + (1 - others) * loop_waited + (1 - others * held_up) * slept

    def _look(self) -> None:
        while not self._over.wait(0.25):
            self._find()

    def _find(self) -> None:
        threads, memory = [], 0
        with contextlib.suppress(psutil.Error):
            for process in (self._process, *self._process.children(recursive=True)):
                with contextlib.suppress(psutil.Error, OSError):
                    found = process.memory_full_info()
                    memory += getattr(found, "pss", found.uss)
                    threads += [
                        f"/proc/{process.pid}/task/{number}/schedstat"
                        for number in os.listdir(f"/proc/{process.pid}/task")
                    ]
        self._threads = threads
        self.most_memory = max(self.most_memory, memory)


def _counted(path: str) -> tuple[float, float] | None:
    """The seconds that a thread ran and waited, None for one that is over."""
    try:
        with open(path, "rb") as file:
            run, wait = file.read().split()[:2]
    except (OSError, ValueError):
        return None
    return int(run) / 1e9, int(wait) / 1e9
