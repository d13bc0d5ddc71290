"""Tickets for clients that can set no header and should not show a token in an address: one connection each, and soon.

A ticket is a document of ``workspace_tickets``: the hash of its text, and what its caller showed, sealed with a key
that only the text gives. So whoever connects with it is that caller, by the token or key that they showed, for as long
as this is good; and the database knows neither.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable
from dataclasses import replace

from doorleaf.access import sealing
from doorleaf.access.callers import Credentials
from doorleaf.access.system_store import SystemStore, as_date, as_seconds
from doorleaf.documents import Document
from doorleaf.errors import Unauthenticated

COLLECTION = "workspace_tickets"
SECONDS = 30
"""How long a ticket is good."""

PREFIX = "dlt_"
_TEXT = re.compile(r"dlt_[A-Za-z0-9_-]{43}")


class Tickets:
    """The tickets of one system database; ``clock`` gives seconds since 1970."""

    def __init__(self, system: SystemStore, *, clock: Callable[[], float] = time.time) -> None:
        self._system = system
        self._clock = clock

    async def issue(self, shown: Credentials) -> Document:
        """Make a ticket for who showed these credentials at the door of a workspace; ``ticket`` is its text."""
        text, now = PREFIX + secrets.token_urlsafe(32), self._clock()
        content = {"bearer": shown.bearer, "api_key": shown.api_key}
        sealed = sealing.seal(text, content, shown.workspace or "")
        await self._system.insert(COLLECTION, {"_id": sealing.name_of(text), "created": as_date(now), "sealed": sealed})
        return {"ticket": text, "expiresAt": as_date(now + SECONDS).isoformat(timespec="milliseconds") + "Z"}

    async def redeem(self, text: str, shown: Credentials) -> Credentials:
        """The credentials of who made the ticket, which is used up by that; Unauthenticated for one that is not good,
        or for another workspace."""
        if not _TEXT.fullmatch(text):
            raise _wrong()
        name = {"_id": sealing.name_of(text)}
        found = await self._system.find_one(COLLECTION, name)
        if found is None or not await self._system.delete(COLLECTION, name):  # of several at once one takes it away
            raise _wrong()
        if (as_seconds(found["created"]) or 0.0) + SECONDS <= self._clock():
            raise _wrong()
        content = sealing.unseal(text, found["sealed"], shown.workspace or "")
        if content is None:
            raise _wrong()
        return replace(shown, **content)

    async def prepare(self) -> None:
        """Let tickets that nobody used end."""
        await self._system.expire(COLLECTION, "created", SECONDS)


def _wrong() -> Unauthenticated:
    return Unauthenticated("the ticket is not good (any more); make another one", code="InvalidSession")
