"""What a caller in a workspace is told of changes: those of its documents, in its names, without the hidden fields."""

from __future__ import annotations

import time
from typing import Any

from doorleaf.access.workspaces.subscriptions import Subscription
from doorleaf.access.workspaces.tenancy import HIDDEN, Workspace
from doorleaf.apart import JUDGING
from doorleaf.documents import Document
from doorleaf.mql.context import Context
from doorleaf.mql.filters.compile import compile_filter
from doorleaf.operations import Watch
from doorleaf.operations.results import ChangeStream, Event, Events

_SECONDS = 1.0
"""What judging the events that came together by a caller's filter may take."""

UNKNOWN = "beforeUnknown"
"""The field, true, of a change where the database has not kept the document as it was."""

_BEFORE = "fullDocumentBeforeChange"
_FRAME = ("_id", "operationType", "clusterTime", "wallTime")
_ENDINGS = frozenset({"drop", "dropDatabase", "invalidate"})


class ConfinedChanges:
    """A change stream, confined to a workspace. What is told of an event is made once for all who are told the same."""

    def __init__(
        self, changes: ChangeStream, place: Workspace, asked: Watch, subscription: Subscription | None = None
    ) -> None:
        self._changes = changes
        self._place = place
        self._subscription = subscription
        self._filter = asked.filter
        self._full = asked.full_document != "default"
        self._before = asked.full_document_before_change != "off"
        # Of a shared database the tokens are of others' changes too, and may have their keys inside.
        self._whole = asked.scope == "collection" or not place.shared
        self._last: Document | None = None
        self._key = ("workspace", place.id, self._full, self._before)

    @property
    def token(self) -> Document | None:
        """Where to go on from here."""
        return self._changes.token if self._whole else self._last

    async def next(self) -> list[Document] | None:
        """Answer as :meth:`doorleaf.operations.results.ChangeStream.next`."""
        if self._subscription is not None and self._subscription.error is not None:
            raise self._subscription.error
        events = await self._changes.next()
        if not events:
            return events
        told = self._told_of(events)
        if told and self._filter:
            told = await JUDGING.run(_SECONDS, self._wanted, told)
        if told:
            self._last = told[-1]["_id"]
        return told

    async def close(self) -> None:
        """Close the stream below."""
        try:
            await self._changes.close()
        finally:
            if self._subscription is not None:
                await self._subscription.leave()

    def _wanted(self, events: list[Document]) -> list[Document]:
        matches = compile_filter(self._filter, Context(time.monotonic() + _SECONDS))
        return [event for event in events if event["operationType"] == "invalidate" or matches(event)]

    def _told_of(self, events: list[Document]) -> list[Document]:
        """What is told of some events, the same list to all who are told the same of the same."""
        if type(events) is not Events:
            return [seen for event in events if (seen := self._seen(event)) is not None]
        if self._key not in events.told:
            events.told[self._key] = Events(seen for event in events if (seen := self._seen(event)) is not None)
        found: Events = events.told[self._key]
        return found

    def _seen(self, event: Document) -> Document | None:
        if type(event) is not Event:
            return self._made(event)
        if self._key not in event.told:
            made = self._made(event)
            event.told[self._key] = None if made is None else Event(made, event.size)
        found: Document | None = event.told[self._key]
        return found

    def _made(self, event: Document) -> Document | None:
        """What is told of an event; None for one of something else."""
        kind, place = event["operationType"], self._place
        head: Document = {name: event[name] for name in _FRAME if name in event}
        named = event.get("ns") or {}
        collection = place.called(named["coll"]) if "coll" in named else ""
        if collection is None:
            return None
        if collection:
            head["ns"] = {"db": place.id, "coll": collection}
        if kind in _ENDINGS:
            return head
        document, before = event.get("fullDocument"), event.get(_BEFORE)
        was, now = self._is_own(before), self._is_own(document)
        if kind == "delete":
            if was is False:
                return None
            return self._told(head, event, None, before)
        if kind not in ("insert", "update", "replace"):
            return None
        if kind == "insert":
            was = False
        if not now:
            return self._told(head | {"operationType": "delete"}, event, None, before) if was else None
        if was is False:
            return self._told(head | {"operationType": "insert"}, event, document, None)
        return self._told(head, event, document, before)

    def _told(self, head: Document, event: Document, document: Document | None, before: Document | None) -> Document:
        kind = head["operationType"]
        made = {**head, "documentKey": {"_id": event["documentKey"]["_id"]}}
        if document is not None and (self._full or kind != "update"):
            made["fullDocument"] = _without(document)
        if kind == "update":
            described = event.get("updateDescription") or {}
            made["updateDescription"] = {
                "updatedFields": _without(described.get("updatedFields") or {}),
                "removedFields": [path for path in described.get("removedFields") or () if path not in HIDDEN],
                "truncatedArrays": list(described.get("truncatedArrays") or ()),
            }
        if kind != "insert":
            if before is None:
                made[UNKNOWN] = True
            elif self._before:
                made[_BEFORE] = _without(before)
        return made

    def _is_own(self, document: Any) -> bool | None:
        """Whether a document is the workspace's; None where it is not there."""
        if document is None:
            return None
        return all(document.get(name) == value for name, value in self._place.predicate.items())


def _without(document: Document) -> Document:
    return {name: value for name, value in document.items() if name.partition(".")[0] not in HIDDEN}
