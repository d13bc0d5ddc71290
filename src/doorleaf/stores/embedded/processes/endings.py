"""How a worker has ended that nobody had ended, and what whoever waited for it is told."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from dataclasses import dataclass

from doorleaf.errors import DoorleafError, StoreTimeout
from doorleaf.mql.context import timed_out
from doorleaf.stores.embedded.processes.answers import WorkerLost
from doorleaf.stores.embedded.processes.forking import FORKS
from doorleaf.stores.embedded.processes.memory import MEMORY, out_of_memory
from doorleaf.stores.embedded.processes.template import FAILED, OUT_OF_MEMORY

MUCH = MEMORY * 3 // 4
"""Who has had so much and crashes did so for lack of memory."""

LOOKS = 100
"""How often, ten milliseconds apart, is looked whether the template has told how a worker ended."""

_CRASHES = (-signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS)
"""What the end of memory looks like where a library does not expect it."""

_LATE = (-signal.SIGALRM, -signal.SIGPROF)
"""The alarms that a worker sets itself: by the clock, and by what it has of the processor."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ending:
    """The exit code of a worker, or the number of its signal below 0, and the most bytes of memory that it had."""

    code: int
    most: int

    def __str__(self) -> str:
        try:
            how = signal.Signals(-self.code).name if self.code < 0 else f"exit code {self.code}"
        except ValueError:
            how = f"signal {-self.code}"
        if self.code == -signal.SIGKILL:
            how += ", which no part of Doorleaf has sent: perhaps the system is out of memory"
        elif self.code == OUT_OF_MEMORY:
            how += ", out of memory"
        elif self.code == FAILED:
            how += ", after an error that stands above"
        return f"{how}; it had {self.most // 1024 // 1024} MiB at most"

    @property
    def reason(self) -> DoorleafError | None:
        """The error of an operation that would end the same way again; None where that is not known."""
        if self.code == OUT_OF_MEMORY or (self.code in _CRASHES and self.most > MUCH):
            return out_of_memory()
        return None


async def told(number: int, lost: WorkerLost, *, deadline: float, sliced: bool = False) -> None:
    """Log how the worker ``number`` has ended, and put the reason into ``lost`` where it is one.

    ``sliced`` says that it may have written something.
    """
    for _ in range(LOOKS):
        found = FORKS.ending(number)
        if found is not None:
            ending = Ending(*found)
            lost.reason = ending.reason
            if ending.code in _LATE and time.monotonic() >= deadline:
                lost.reason = timed_out()
            elif ending.code in _LATE:  # the server ends what is late: this is for the lock that it holds
                changed = "" if sliced else ", and nothing changed"
                lost.reason = StoreTimeout(
                    f"the write was ended{changed}: it would have kept others from writing for too long; send it in"
                    " smaller parts"
                )
            _log.warning("a worker ended in the middle of an operation: %s", ending)
            return
        await asyncio.sleep(0.01)
    _log.warning("a worker ended in the middle of an operation, and how is not known")
