"""Tickets for downloads: a browser saves a file as it comes by asking for an address, with which it sends no header.

A ticket is a document of ``console_downloads``: the hash of its text, whose it is, and sealed with the text what its
maker showed and asked for. So whoever asks with it is that caller, once, soon, and for that query alone, by the token
or key that they showed, for as long as this is good; and the database knows neither.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import asdict, replace

from doorleaf.access import sealing
from doorleaf.access.callers import Credentials
from doorleaf.access.system_store import SystemStore, as_date
from doorleaf.documents import Document
from doorleaf.errors import Conflict, DuplicateKey, Unauthenticated

COLLECTION = "console_downloads"
OWNERS = "console_downloaders"
"""One document for each caller, with the tickets that they have, the oldest first: so of those who ask for one at the
same time, anywhere, no more get one than may."""
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
        text = f"dld_{secrets.token_urlsafe(32)}"
        name = sealing.name_of(text)
        if not await self._has_room(owner, name, now):
            raise Conflict(f"{MOST} tickets for downloads were made in the last {SECONDS} seconds; wait for a moment")
        sealed = sealing.seal(text, {"shown": asdict(shown), "asked": asked})
        made = {"_id": name, "owner": owner, "created": as_date(now), "sealed": sealed, "used": False}
        await self._system.insert(COLLECTION, made)
        return {"ticket": text, "expiresAt": as_date(now + SECONDS).isoformat(timespec="milliseconds") + "Z"}

    async def claim(self, text: str, address: str) -> Credentials:
        """Use a ticket; what its maker showed. Unauthenticated for one that is not good."""
        content, _ = await self._opened(text, used=False)
        claimed = {"_id": sealing.name_of(text), "used": False}
        if not await self._system.update(COLLECTION, claimed, {"$set": {"used": True}}):  # of several at once one does
            raise _wrong()
        return _shown(content, address)

    async def take(self, text: str, address: str) -> tuple[Document, Credentials]:
        """End a ticket that was claimed; what is asked for with it, and what its maker showed."""
        content, owner = await self._opened(text, used=True)
        name = sealing.name_of(text)
        if not await self._system.delete(COLLECTION, {"_id": name}):
            raise _wrong()
        await self._system.update(OWNERS, {"_id": owner}, {"$pull": {"has": {"name": name}}})
        return content["asked"], _shown(content, address)

    async def prepare(self) -> None:
        """Let tickets end that nobody used."""
        await self._system.expire(COLLECTION, "created", SECONDS)
        await self._system.expire(OWNERS, "latest", SECONDS)

    async def _has_room(self, owner: str, name: str, now: float) -> bool:
        """Note that ``owner`` has one more ticket, if they may."""
        oldest_ended = {"has.0.created": {"$lte": as_date(now - SECONDS)}}
        few = {"_id": owner, "$or": [{f"has.{MOST - 1}": {"$exists": False}}, oldest_ended]}
        one = {"$each": [{"name": name, "created": as_date(now)}], "$slice": -MOST}
        noted = {"$push": {"has": one}, "$set": {"latest": as_date(now)}}
        for _ in range(2):  # the first time, somebody else may have made the document in this moment
            with contextlib.suppress(DuplicateKey):
                await self._system.update(OWNERS, few, noted, upsert=True)
                return True
        return False

    async def _opened(self, text: str, *, used: bool) -> tuple[Document, str]:
        """What is sealed in a ticket, and whose it is."""
        if not _TEXT.fullmatch(text):
            raise _wrong()
        good = {"created": {"$gt": as_date(self._clock() - SECONDS)}, "used": used}
        found = await self._system.find_one(COLLECTION, {"_id": sealing.name_of(text), **good})
        content = None if found is None else sealing.unseal(text, found["sealed"])
        if found is None or content is None:
            raise _wrong()
        return content, found["owner"]


def _shown(content: Document, address: str) -> Credentials:
    return replace(Credentials(**content["shown"]), address=address)


def _wrong() -> Unauthenticated:
    return Unauthenticated("the ticket is not good (any more); make another one", code="InvalidSession")
