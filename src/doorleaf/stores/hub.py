"""Change streams that many listen to: one of the database for each place and way of watching, however many subscribers.

How many there may be is bounded, for each has a connection to MongoDB: one WebSocket may ask for a hundred.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from doorleaf.apart import JUDGING
from doorleaf.apart.turns import Turns
from doorleaf.errors import TooManyRequests
from doorleaf.mql.context import Context
from doorleaf.mql.filters.compile import compile_filter
from doorleaf.operations import OWN_TURN, SYSTEM_TURN, Watch, altered
from doorleaf.operations.results import ChangesResult
from doorleaf.stores.backlog import Open
from doorleaf.stores.feeds import JUDGING_SECONDS, Feed

LINGERING_FEEDS = 16
"""How many may go on without subscribers at once: whoever listens to one thing after the other leaves one behind for
each."""

_OURS = (OWN_TURN, SYSTEM_TURN)

Key = tuple[Any, ...]


class Hub:
    """The feeds of one set of stores: ``most`` that anybody listens to, and a quarter of these for one caller.

    Whoever shares one that others listen to is not refused, nor is the system itself, which watches for triggers. Who
    came first of those who listen pays for it; when others have left more than a quarter to one caller, that is ended
    as soon as somebody else needs the place.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._feeds: dict[Key, Feed] = {}
        self._turns = Turns(max(1, most // 4), max(1, most // 16))
        self._our_turns = Turns(sys.maxsize)

    async def watch(self, operation: Watch, key: Any, opening: Open) -> ChangesResult:
        """A subscription to what ``operation`` asks for. ``opening`` opens a stream of the store that ``key`` stands
        for."""
        wanted = operation.filter
        if wanted:
            await JUDGING.run(JUDGING_SECONDS, compile_filter, wanted, Context(time.monotonic() + JUDGING_SECONDS))
        place = (operation.scope, operation.namespace.database, operation.namespace.collection)
        options = (operation.full_document, operation.full_document_before_change, repr(operation.comment))
        feed = await self._feed((key, *place, *options), operation, opening)
        try:
            turns = self._our_turns if operation.turn in _OURS else self._turns
            return ChangesResult(await feed.subscribe(operation, turns))
        except BaseException:
            feed.leave(operation.turn)
            raise

    async def _feed(self, key: Key, operation: Watch, opening: Open) -> Feed:
        """A feed that is open, entered already."""
        feed, caller = self._feeds.get(key), operation.turn
        if feed is None or feed.ended or feed.lingering:
            self._require_place(caller)
        if feed is None or feed.ended:
            shared = altered(
                operation, filter={}, turn=OWN_TURN, resume_after=None, start_after=None, start_at_operation_time=None
            )
            self._make_room()
            feed = self._feeds[key] = Feed(shared, opening, lambda gone: self._forget(key, gone))
        feed.enter(caller)
        try:
            await feed.open()
        except BaseException:
            feed.leave(caller)
            raise
        return feed

    def _require_place(self, caller: str) -> None:
        """Raise TooManyRequests where one more feed would be too many, of ``caller`` or of all."""
        if caller in _OURS:
            return
        paid: dict[str, list[Feed]] = {}
        for feed in self._feeds.values():
            if feed.callers and not feed.ended and feed.callers.keys().isdisjoint(_OURS):
                paid.setdefault(next(iter(feed.callers)), []).append(feed)
        of_one = max(1, self._most // 4)
        if len(paid.get(caller, ())) >= of_one:
            raise _refusal(f"different places watched by one caller at once: the limit is {of_one}")
        if sum(map(len, paid.values())) >= self._most:
            full = _refusal(f"different places watched at once: the limit of this process is {self._most}")
            largest = max(paid.values(), key=len)
            if len(largest) <= of_one:
                raise full
            # Others have left to that caller what it shared with them.
            min(largest, key=lambda feed: len(feed.callers)).refuse(full)

    def _make_room(self) -> None:
        """End feeds that nobody listens to where there are too many, the oldest first."""
        lingering = [feed for feed in self._feeds.values() if feed.lingering]
        for feed in lingering[: max(0, len(lingering) + 1 - LINGERING_FEEDS)]:
            feed.stop()

    def _forget(self, key: Key, feed: Feed) -> None:
        if self._feeds.get(key) is feed:
            del self._feeds[key]

    @property
    def open(self) -> int:
        """How many feeds there are."""
        return len(self._feeds)

    async def close(self) -> None:
        """End all feeds; their subscribers are told that the database is closed."""
        for feed in [*self._feeds.values()]:
            await feed.close()


def _refusal(what: str) -> TooManyRequests:
    return TooManyRequests(f"too many {what}", headers={"Retry-After": "10"})
