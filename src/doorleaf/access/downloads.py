"""Tickets for downloads: a browser saves a file as it comes by asking for an address, with which it sends no header.

A ticket is a document of ``console_downloads``: the hash of its text, whose it is, and sealed with the text what its
maker showed and asked for. So whoever asks with it is that caller, once, soon, and for that query alone, by the token
or key that they showed, for as long as this is good; and the database knows neither.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable
from dataclasses import asdict, replace

from doorleaf.access import sealing
from doorleaf.access.callers import Credentials
from doorleaf.access.system_store import SystemStore, as_date
from doorleaf.documents import Document
from doorleaf.errors import Conflict, Unauthenticated

COLLECTION = "console_downloads"
SECONDS = 60
"""How long a ticket is good."""
MOST = 20
"""How many of them one caller may have."""

_TEXT = re.compile(r"dld_[A-Za-z0-9_-]{43}")


class Downloads:
    """The tickets for downloads of one server; ``clock`` gives seconds since 1970."""

    def __init__(self, system: SystemStore, *, clock: Callable[[], float] = time.time) -> None:
        self._system = system
        self._clock = clock

    async def issue(self, owner: str, shown: Credentials, asked: Document) -> Document:
        """Make a ticket for who showed these credentials and asks for this. Conflict where they have too many."""
        now = self._clock()
        good = {"owner": owner, "created": {"$gt": as_date(now - SECONDS)}}
        if len(await self._system.find(COLLECTION, good, limit=MOST, projection={"_id": 1})) >= MOST:
            raise Conflict(f"{MOST} tickets for downloads were made in the last {SECONDS} seconds; wait for a moment")
        text = f"dld_{secrets.token_urlsafe(32)}"
        sealed = sealing.seal(text, {"shown": asdict(shown), "asked": asked})
        made = {"_id": sealing.name_of(text), "owner": owner, "created": as_date(now), "sealed": sealed, "used": False}
        await self._system.insert(COLLECTION, made)
        return {"ticket": text, "expiresAt": as_date(now + SECONDS).isoformat(timespec="milliseconds") + "Z"}

    async def claim(self, text: str, address: str) -> Credentials:
        """Use a ticket; what its maker showed. Unauthenticated for one that is not good."""
        content = await self._opened(text, used=False)
        claimed = {"_id": sealing.name_of(text), "used": False}
        if not await self._system.update(COLLECTION, claimed, {"$set": {"used": True}}):  # of several at once one does
            raise _wrong()
        return _shown(content, address)

    async def take(self, text: str, address: str) -> tuple[Document, Credentials]:
        """End a ticket that was claimed; what is asked for with it, and what its maker showed."""
        content = await self._opened(text, used=True)
        if not await self._system.delete(COLLECTION, {"_id": sealing.name_of(text)}):
            raise _wrong()
        return content["asked"], _shown(content, address)

    async def prepare(self) -> None:
        """Let tickets end that nobody used, and find those of a caller quickly."""
        await self._system.expire(COLLECTION, "created", SECONDS)
        await self._system.index(COLLECTION, "owner")

    async def _opened(self, text: str, *, used: bool) -> Document:
        if not _TEXT.fullmatch(text):
            raise _wrong()
        good = {"created": {"$gt": as_date(self._clock() - SECONDS)}, "used": used}
        found = await self._system.find_one(COLLECTION, {"_id": sealing.name_of(text), **good})
        content = None if found is None else sealing.unseal(text, found["sealed"])
        if content is None:
            raise _wrong()
        return content


def _shown(content: Document, address: str) -> Credentials:
    return replace(Credentials(**content["shown"]), address=address)


def _wrong() -> Unauthenticated:
    return Unauthenticated("the ticket is not good (any more); make another one", code="InvalidSession")
