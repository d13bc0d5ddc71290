"""What requests hold in memory: bounded for all of them together, and let go when they are over."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from doorleaf.apart import CODING
from doorleaf.apart.turns import Turn, Turns
from doorleaf.ejson.pieces import LARGE_BYTES, weight
from doorleaf.errors import RequestTimeout, ServerBusy, StoreTimeout

MEMORY = 640 * 1024 * 1024
"""Bytes that the bodies of requests may take together, as they come and as what is read from them."""

_COMING, _STRANGERS, _LARGE, _SMALL = 0.25, 0.05, 0.5, 0.2
"""The shares of that: of bodies on their way, of those of people whom nobody knows yet, and of what is read from them,
apart for what is small so that it does not wait for what is large."""

SMALL = 8 * 1024 * 1024
"""Bytes of what is read from a body that is small."""

_UNCOUNTED_DIGITS = 4
"""A body that is shorter than this many digits say is not counted: there are so many connections at most."""

WAIT_SECONDS = 10.0
"""How long a body waits to be let in."""

READ_SECONDS = 30.0
"""How long one that has come waits to be read."""

RETRY_SECONDS = 5

_EXPANSION = 1032
"""How many times its length a body can become by being decompressed (RFC 1951)."""

_LOOK_SECONDS = 1.0
_YOUNG_SECONDS = 5.0
_BYTES_PER_SECOND = 256 * 1024
"""How fast a body has to come, after its first :data:`_YOUNG_SECONDS`, while somebody waits who has less than its
sender: slower ones are ended, of who has the most first."""


def is_small(headers: Mapping[bytes, bytes]) -> bool:
    """Whether a request's body is too short to be counted."""
    length = headers.get(b"content-length")
    if length is not None and len(length) > _UNCOUNTED_DIGITS:
        return False
    return b"transfer-encoding" not in headers and b"content-encoding" not in headers


class Coming:
    """A body on its way, of which ``came`` bytes are there; it holds room for what it may become."""

    __slots__ = ("_bodies", "_ending", "_since", "_turn", "caller", "came", "turns")

    def __init__(self, bodies: Bodies, turns: Turns, turn: Turn) -> None:
        self._bodies = bodies
        self.turns = turns
        self._turn = turn
        self._since = time.monotonic()
        self._ending: asyncio.Timeout | None = None
        self.caller = turn.caller
        self.came = 0

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[None]:
        """While its bytes come. Raises RequestTimeout when others need the room of one that is so slow."""
        self._bodies.on_their_way.add(self)
        try:
            async with asyncio.timeout(None) as self._ending:
                yield
        except TimeoutError:
            raise RequestTimeout(
                "the body comes so slowly that others, who wait for its room in memory, are let in"
            ) from None
        finally:
            self._bodies.on_their_way.discard(self)

    def pace(self, now: float) -> float:
        """Bytes a second so far; of a new one infinitely many."""
        elapsed = now - self._since
        return self.came / elapsed if elapsed > _YOUNG_SECONDS else float("inf")

    def end(self) -> None:
        """Let others have its room."""
        if self._ending is not None and not self._ending.expired():
            self._ending.reschedule(asyncio.get_running_loop().time())

    def is_whole(self, size: int) -> None:
        """All of it is here, and it has ``size`` bytes."""
        self._turn.shrink(size)

    def release(self) -> None:
        """It is no longer held, or is held as what was read from it."""
        self._turn.release()


class Bodies:
    """The bodies of a server process, but for the shortest. A caller has half of each kind of room at most, or one
    body."""

    def __init__(self, memory: int = MEMORY) -> None:
        self._known, self._strangers, self._large, self._small = (
            Turns(int(memory * share), int(memory * share) // 2) for share in (_COMING, _STRANGERS, _LARGE, _SMALL)
        )
        self._looks = False
        self.on_their_way: set[Coming] = set()

    async def let_in(
        self, headers: Mapping[bytes, bytes], limit: int, caller: str, *, stranger: bool = False
    ) -> Coming:
        """Room for the body that ``headers`` announce, of at most ``limit`` bytes; raises ServerBusy without any.

        Nothing of it has to be read before. ``caller`` is the address of a ``stranger``.
        """
        turns = self._strangers if stranger else self._known
        size = min(_announced(headers, limit), turns.room)
        turn = turns.try_take(caller, size)
        if turn is None:
            self._look()
            turn = await _taken(turns, caller, size, WAIT_SECONDS)
        return Coming(self, turns, turn)

    async def take(self, body: bytes, caller: str) -> Turn:
        """Room for what ``body`` becomes when it is read; raises ServerBusy without any."""
        size = weight(body) if len(body) < LARGE_BYTES else await CODING.run(READ_SECONDS, weight, body)
        turns = self._small if size <= SMALL else self._large
        size = min(size, turns.room)
        return turns.try_take(caller, size) or await _taken(turns, caller, size, READ_SECONDS)

    def _look(self) -> None:
        """See to it that somebody looks for slow ones as long as anybody waits."""
        if not self._looks:
            self._looks = True
            asyncio.get_running_loop().call_later(_LOOK_SECONDS, self._end_slow)

    def _end_slow(self) -> None:
        self._looks = False
        for turns in (self._known, self._strangers):
            if turns.waiting:
                self._look()
                self._end_slowest(turns)

    def _end_slowest(self, turns: Turns) -> None:
        now = time.monotonic()
        slow = [
            coming
            for coming in self.on_their_way
            if coming.turns is turns
            and coming.pace(now) < _BYTES_PER_SECOND
            and turns.wanted_by_less_than(turns.held(coming.caller))
        ]
        if slow:
            min(slow, key=lambda coming: (-turns.held(coming.caller), coming.pace(now))).end()


def _announced(headers: Mapping[bytes, bytes], limit: int) -> int:
    """The most that a body may take, as it comes and decompressed."""
    length = headers.get(b"content-length")
    most = limit if length is None or not length.isdigit() else min(int(length), limit)
    return most + min(most * _EXPANSION, limit) if b"content-encoding" in headers else most


async def _taken(turns: Turns, caller: str, size: int, seconds: float) -> Turn:
    try:
        return await turns.take(caller, time.monotonic() + seconds, size)
    except StoreTimeout:
        raise ServerBusy(
            "the server has no room in memory for the body at present; try again in a moment",
            headers={"Retry-After": str(RETRY_SECONDS)},
        ) from None
