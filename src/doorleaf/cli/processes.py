"""How a server process ends."""

from __future__ import annotations

import logging
import os
import threading
import time
from contextvars import Context
from types import FrameType

import uvicorn.server
from uvicorn.config import Config

from doorleaf.observability import LOG


def cut_seconds(grace: float) -> float:
    """How long requests may go on after SIGTERM, of the ``grace`` in which the process has to end."""
    return grace - min(3.0, grace / 4)


class Server(uvicorn.server.Server):
    """A server that has ended ``grace`` seconds after SIGTERM, whatever runs. It ``tells`` the log that it ends, unless
    its parent does."""

    def __init__(self, config: Config, grace: float, *, tells: bool = True) -> None:
        super().__init__(config)
        self._grace = grace
        self._tells = tells

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if not self.should_exit:
            if self._tells:
                # A signal comes in the middle of some request, which has nothing to do with it.
                Context().run(LOG.info, "the server ends: requests have %g seconds", cut_seconds(self._grace))
            threading.Thread(target=self._end_at_last, daemon=True, name="end").start()
        super().handle_exit(sig, frame)

    def _end_at_last(self) -> None:
        """End the process although a thread of it does not: a statement of a database, or work on a large body."""
        time.sleep(max(0.0, self._grace - 0.25))
        LOG.warning("ended after %g seconds with work still going on", self._grace)
        logging.shutdown()
        os._exit(0)
