"""How the caller stands while a function goes on that runs as them: their key, session or account may end meanwhile."""

from __future__ import annotations

import math
import time

from doorleaf.access import lasting
from doorleaf.access.callers import Identity
from doorleaf.dialects.base import Request
from doorleaf.errors import DoorleafError


class Standing:
    """The caller of ``request``, whom ``identify`` knows, for one call and those that it makes in their name.

    They are to be looked at again from ``due`` on (``time.monotonic()``); ``over`` says why they may go on no longer.
    """

    __slots__ = ("_began", "_identify", "_request", "due", "over")

    def __init__(self, request: Request, identify: lasting.Identify) -> None:
        self._request = request
        self._identify = identify
        self._began = time.monotonic()
        self.due = self._began + lasting.CHECK_SECONDS
        self.over: DoorleafError | None = None

    @property
    def identity(self) -> Identity:
        """Who they are, as last looked at."""
        identity: Identity = self._request.identity
        return identity

    async def look(self) -> None:
        """Find out who they are by now. AccessError, from then on each time, once they are nobody."""
        if self.over is None:
            now = time.monotonic()
            self.due = now + lasting.CHECK_SECONDS
            try:
                await lasting.renew(self._request, self._identify, now - self._began)
            except DoorleafError as error:
                self.over, self.due = error, -math.inf
        if self.over is not None:
            raise self.over.with_traceback(None)  # each time it would grow
