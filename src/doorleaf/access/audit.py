"""The audit: who did what, where from, and how it went; never a secret, a filter or a document.

Everything that is audited goes through :class:`Audit`, and from there to a file of JSON lines, to the collection
``audit`` of the system database, or to both.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import stat
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import orjson
from bson import ObjectId

from doorleaf.access.callers import Identity
from doorleaf.access.request import HttpRequest
from doorleaf.access.system_store import SystemStore, as_date
from doorleaf.documents import Document
from doorleaf.errors import DoorleafError, InvalidParameter, NotFound, WriteFailed
from doorleaf.observability import Audited, AuditObserver
from doorleaf.settings.model import Settings

COLLECTION = "audit"
DENIED = frozenset({401, 403, 429})
MOST_TEXT = 300
"""Characters of a text that came from a caller."""

LOOK_SECONDS = 1.0
"""How often the file's name is looked at: a log rotation may have moved it away."""
FLUSH_SECONDS = 1.0
BATCH = 500
WAITING = 20_000
"""Events that may wait for the database; more are lost, and counted."""

log = logging.getLogger("doorleaf.access")


class Audit:
    """Tells ``file``, ``collection`` and ``observers`` what has to be accounted for; without any it does nothing.

    ``provider`` is who acts where no request is served. ``clock`` gives seconds since 1970.
    """

    def __init__(
        self,
        *,
        file: AuditFile | None = None,
        collection: AuditCollection | None = None,
        observers: Iterable[AuditObserver] = (),
        provider: str = "system",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._file = file
        self._collection = collection
        self._observers = (*observers, *(it for it in (file, collection) if it is not None))
        self._provider = provider
        self._clock = clock
        self.on = bool(self._observers)

    def __call__(
        self,
        action: str,
        *,
        identity: Identity | None = None,
        namespace: str = "",
        data_source: str = "",
        target: str = "",
        error: DoorleafError | None = None,
        counts: Mapping[str, int] | None = None,
        by: HttpRequest | None = None,
    ) -> None:
        """Account for ``action``, which ``error`` ended if there is one; ``by`` is the request that asked for it.

        The caller is ``identity``, else that of the request.
        """
        if not self.on:
            return
        event = Audited(self._clock(), action, "allowed", target=_text(target))
        event.namespace, event.data_source = _text(namespace), data_source
        if error is not None:
            event.outcome = "denied" if error.status in DENIED else "failed"
            event.code = error.code
        if counts:
            event.counts = counts
        if by is None:
            event.provider = self._provider
        else:
            by.audited = by.audited or error is not None
            event.address, event.request = by.address, by.id
            identity = identity or by.identity
        if identity is not None:
            event.caller, event.key, event.provider = identity.shown, identity.key_name or "", identity.provider
            event.runs_as = identity.id if identity.caller else ""
        for observe in self._observers:
            observe(event)

    async def start(self) -> None:
        """Begin to write."""
        if self._collection is not None:
            await self._collection.start()

    def reopen(self) -> None:
        """Open the file by its name again, as after a rotation."""
        if self._file is not None:
            self._file.reopen()

    async def stop(self) -> None:
        """Write what waits, and let go of the file."""
        if self._collection is not None:
            await self._collection.stop()
        if self._file is not None:
            self._file.close()


def audit_of(settings: Settings, system: SystemStore, *, provider: str = "system") -> Audit:
    """The audit that ``settings`` ask for; ValueError when its file cannot be written."""
    return Audit(
        file=AuditFile(settings.audit_file) if settings.audit_file is not None else None,
        collection=AuditCollection(system, settings.audit_collection_days) if settings.audit_collection_days else None,
        provider=provider,
    )


NO_AUDIT = Audit()


def _text(value: str) -> str:
    """``value`` as text of bounded length that every encoder takes."""
    return value[:MOST_TEXT].encode("utf-8", "replace").decode()


class AuditFile:
    """An observer that appends a line for each event to the file at ``path``.

    Each process writes every line with one call to the end of the file, so that lines of several never mix. The file
    is opened anew when its name leads to another one, and on :meth:`reopen`. Raises ValueError when it cannot be
    opened at first; later failures are logged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._failing = False
        self._looked = time.monotonic()
        try:
            self._file = self._open()
        except OSError as error:
            raise ValueError(f"audit_file: cannot write {path}: {error.strerror}") from None

    def __call__(self, event: Audited) -> None:
        line = orjson.dumps(_line(event), option=orjson.OPT_APPEND_NEWLINE)
        try:
            if time.monotonic() - self._looked > LOOK_SECONDS:
                self._follow()
            written = os.write(self._file, line)
            if written < len(line):
                raise OSError(0, "the disk is full")
            self._failing = False
        except OSError as error:
            if not self._failing:
                log.error("the audit file cannot be written, and events are lost: %s", error.strerror)
            self._failing = True

    def reopen(self) -> None:
        """Open the file by its name again; one that cannot be opened stays as it was, and that is logged."""
        try:
            file = self._open()
        except OSError as error:
            log.error("the audit file cannot be opened: %s", error.strerror)
            return
        self.close()
        self._file = file

    def close(self) -> None:
        """Let go of the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
        file = os.open(self._path, flags, 0o600)
        try:
            _narrow(file)
        except OSError as error:
            os.close(file)
            raise OSError(error.errno, f"others may read it, and that cannot be changed ({error.strerror})") from None
        self._looked = time.monotonic()
        return file

    def _follow(self) -> None:
        self._looked = time.monotonic()
        try:
            named = os.stat(self._path)
        except FileNotFoundError:
            self.reopen()
            return
        ours = os.fstat(self._file)
        if (named.st_dev, named.st_ino) != (ours.st_dev, ours.st_ino):
            self.reopen()


def _narrow(file: int) -> None:
    """Let nobody but its owner read a file that was there before; pipes and devices are as they are."""
    found = os.fstat(file)
    if stat.S_ISREG(found.st_mode) and found.st_mode & 0o077 and hasattr(os, "fchmod"):
        os.fchmod(file, 0o600)


def _line(event: Audited) -> Document:
    """What a line says: time, action, outcome and request always, the rest where there is something to say."""
    line: Document = {
        "time": datetime.fromtimestamp(event.time, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z",
        "action": event.action,
        "outcome": event.outcome,
    }
    return line | _rest(event)


def _rest(event: Audited) -> Document:
    rest: Document = {
        "error_code": event.code,
        "namespace": event.namespace,
        "data_source": event.data_source,
        "target": event.target,
        "caller": event.caller,
        "key": event.key,
        "provider": event.provider,
        "runs_as": event.runs_as,
        "address": event.address,
        "request": event.request,
        "counts": event.counts,
    }
    return {name: value for name, value in rest.items() if value}


class AuditTrail:
    """Reads what :class:`AuditCollection` wrote; ``kept`` says whether anything is."""

    def __init__(self, system: SystemStore, *, kept: bool) -> None:
        self._system = system
        self._kept = kept

    async def read(self, filter: Mapping[str, object], *, before: str | None, limit: int) -> list[Document]:
        """The events that match, newest first, those before the one with the id ``before``. AuditNotKept."""
        if not self._kept:
            raise NotFound(
                "the audit is kept in no collection; the setting audit_collection_days keeps it", code="AuditNotKept"
            )
        wanted = dict(filter)
        if before is not None:
            if not ObjectId.is_valid(before):
                raise InvalidParameter("after: expected what next of the page before said")
            wanted["_id"] = {"$lt": ObjectId(before)}
        return await self._system.find(COLLECTION, wanted, sort={"_id": -1}, limit=limit)


class AuditCollection:
    """An observer that keeps events in the system database for ``days``.

    They are written in the background. While the database is away they wait, up to :data:`WAITING`; what is lost
    beyond that is counted and logged.
    """

    def __init__(self, system: SystemStore, days: int) -> None:
        self._system = system
        self._days = days
        self._waiting: deque[Document] = deque()
        self._lost = 0
        self._failing = False
        self._prepared = False
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def __call__(self, event: Audited) -> None:
        if len(self._waiting) >= WAITING:
            self._lost += 1
            return
        # The id is made here, so that a batch written twice is not there twice.
        document = {"_id": ObjectId(), "time": as_date(event.time), "action": event.action, "outcome": event.outcome}
        self._waiting.append(document | _rest(event))

    async def start(self) -> None:
        """Write from now on."""
        self._stopping.clear()
        self._task = asyncio.create_task(self._write_forever(), name="audit")

    async def stop(self) -> None:
        """Write what waits, and end; what cannot be written is lost, and logged."""
        if self._task is None:
            return
        self._stopping.set()
        await self._task
        self._task = None
        self._lost += len(self._waiting)
        self._waiting.clear()
        self._tell_losses()

    async def flush(self) -> None:
        """Write what waits; raises what the database raises, and then keeps it."""
        if not self._prepared:
            await self._system.expire(COLLECTION, "time", self._days * 86_400)
            self._prepared = True
        while self._waiting:
            batch = [self._waiting[index] for index in range(min(BATCH, len(self._waiting)))]
            try:
                await self._system.insert_many(COLLECTION, batch)
            except WriteFailed as error:
                if any(failure.get("code") != 11000 for failure in error.fields.get("writeErrors", ({},))):
                    raise
            for _ in batch:
                self._waiting.popleft()
        self._tell_losses()

    def _tell_losses(self) -> None:
        if self._lost:
            log.error("%d audit events could not be kept in the database and are lost", self._lost)
            self._lost = 0

    async def _write_forever(self) -> None:
        while True:
            stopping = self._stopping.is_set()
            try:
                await self.flush()
                self._failing = False
            except DoorleafError as error:
                if not self._failing:
                    log.error("the audit cannot be kept in the database now: %s", error.message)
                self._failing = True
            except Exception:  # a loop that died in silence would lose everything from here on
                log.exception("keeping the audit failed")
            if stopping:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FLUSH_SECONDS):
                    await self._stopping.wait()
