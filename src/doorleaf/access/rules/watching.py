"""What a caller sees of a change stream: events of documents it may read, without what it may not.

A filter cannot be joined to a change stream as it can to a query: a deleted document is no longer there to be judged,
and what is hidden must not decide what comes. So all events are looked at here, one by one.
"""

from __future__ import annotations

import time
from typing import Any

from doorleaf.access.rules.fields import Branch, Tree, allows, redact_value
from doorleaf.access.rules.view import View
from doorleaf.apart import JUDGING
from doorleaf.documents import ABSENT, Document
from doorleaf.mql.context import Context
from doorleaf.mql.filters.compile import Matcher, compile_filter
from doorleaf.mql.updates.basis import identical
from doorleaf.operations import Watch
from doorleaf.operations.results import ChangeStream

_SECONDS = 1.0
"""What judging the events that came together may take: regular expressions have a deadline."""

_ENDINGS = frozenset({"drop", "dropDatabase", "invalidate"})
_WRITTEN = frozenset({"insert", "update", "replace"})
_FRAME = ("_id", "operationType", "clusterTime", "wallTime", "ns")
"""What every caller may know of an event; sessions and transactions are somebody else's."""

UNKNOWN = "beforeUnknown"
"""The field, true, of an update where nobody can tell whether the caller could read the document before: the database
has not kept how it was."""

_BEFORE = "fullDocumentBeforeChange"
_ORDER = (*_FRAME[:-1], "fullDocument", "ns", "documentKey", "updateDescription", _BEFORE, UNKNOWN)
"""The fields of an event as MongoDB orders them, and our own."""


class SeenChanges:
    """The part of a change stream that ``view`` shows, and of that what the filter of ``asked`` asks for.

    A change that takes a document out of the view is a deletion to its caller, one that brings it in an insertion.
    """

    def __init__(self, changes: ChangeStream, view: View, asked: Watch) -> None:
        self._changes = changes
        self._view = view
        self._filter = asked.filter
        self._full = asked.full_document != "default"
        self._before = asked.full_document_before_change != "off"
        self.token: Document | None = None

    async def next(self) -> list[Document] | None:
        """Answer as :meth:`doorleaf.operations.results.ChangeStream.next`."""
        events = await self._changes.next()
        if not events:
            return events
        seen = await JUDGING.run(_SECONDS, self._judged, events)
        if seen:  # the token of what is not seen may have the key of its document inside
            self.token = seen[-1].get("_id")
        return seen

    def _judged(self, events: list[Document]) -> list[Document]:
        """What the caller gets of ``events``."""
        context = Context(time.monotonic() + _SECONDS)
        visible = _matcher(self._view.query, context)
        wanted = _matcher(self._filter, context)
        shown = [self._asked(seen) for event in events if (seen := self._shown(event, visible)) is not None]
        return [event for event in shown if event["operationType"] == "invalidate" or wanted(event)]

    async def close(self) -> None:
        """Close the stream below."""
        await self._changes.close()

    def _asked(self, event: Document) -> Document:
        """An event without what was not asked for, in MongoDB's order."""
        left_out = set() if self._before else {_BEFORE}
        if event["operationType"] == "update" and not self._full:
            left_out.add("fullDocument")
        return {name: event[name] for name in _ORDER if name in event and name not in left_out}

    def _shown(self, event: Document, visible: Matcher) -> Document | None:
        kind = event["operationType"]
        if kind in _ENDINGS:
            return _frame(event)
        if kind in _WRITTEN:
            return self._written(event, visible)
        return self._deleted(event, visible) if kind == "delete" else None

    def _written(self, event: Document, visible: Matcher) -> Document | None:
        document, kind, was = event.get("fullDocument"), event["operationType"], self._was(event, visible)
        if document is None or not visible(document):  # deleted since, or somebody else's
            return self._gone(event) if was else None
        described = None
        if kind == "update" and was is not False:
            described = self._described(event.get("updateDescription") or {}, document, event.get(_BEFORE))
            if described is None:
                return None
        (document,) = self._view.shown([document])
        if not document:
            return None
        seen = _identified(_frame(event), document) | {"fullDocument": document}
        if was is False:
            return seen | {"operationType": "insert"}
        if described is not None:
            seen["updateDescription"] = described
        before = event.get(_BEFORE)
        if before is not None:
            (seen[_BEFORE],) = self._view.shown([before])
        return seen | {UNKNOWN: True} if was is None else seen

    def _was(self, event: Document, visible: Matcher) -> bool | None:
        """Whether the caller could read the document before the change; None where that is not known."""
        if event["operationType"] == "insert":
            return False
        if self._view.query is None:
            return True
        before = event.get(_BEFORE)
        return None if before is None else visible(before)

    def _gone(self, event: Document) -> Document | None:
        """The deletion that it is to the caller when a document is out of its view."""
        before = event.get(_BEFORE)
        if self._view.query is None or before is None:
            return None
        (shown,) = self._view.shown([before])
        if not shown:
            return None
        return _identified(_frame(event), shown) | {"operationType": "delete", _BEFORE: shown}

    def _deleted(self, event: Document, visible: Matcher) -> Document | None:
        view, before = self._view, event.get(_BEFORE)
        if view.query is None and view.tree is not None:
            seen = _identified(_frame(event), event["documentKey"] if view.shows_everywhere("_id") else {})
            if before:
                (seen[_BEFORE],) = view.shown([before])
            return seen
        if not before or not visible(before):
            return None
        (document,) = view.shown([before])
        return _identified(_frame(event), document) | {_BEFORE: document} if document else None

    def _described(self, described: Document, document: Document, before: Document | None) -> Document | None:
        """``updateDescription`` as far as it may be read; None where nothing of what changed may be.

        On MongoDB ``document`` is the document as it is now, and may have been somebody else's at the time of the
        change: a value is told only if it is still there. What is gone of a field that may be read in part is told if
        it was seen, as far as it is known how the document was ``before``.
        """
        was = {} if before is None or self._view.tree is None else self._view.shown([before])[0]
        updated: Document = {}
        removed = [
            path
            for path in described.get("removedFields") or ()
            if self._is_still(document, path, ABSENT) and (self._readable(path) or _at(was, path) is not ABSENT)
        ]
        for path, value in described.get("updatedFields", {}).items():
            if not self._is_still(document, path, value):
                continue
            part = self._part(path, value)
            if part is not ABSENT:
                updated[path] = part
            elif _at(was, path) is not ABSENT:
                removed.append(path)
        truncated = [
            seen for item in described.get("truncatedArrays") or () if (seen := self._cut(item, document, was))
        ]
        if not (updated or removed or truncated) and self._view.tree is not None:
            return None
        return {"updatedFields": updated, "removedFields": removed, "truncatedArrays": truncated}

    def _cut(self, item: Document, document: Document, was: Document) -> Document | None:
        """What may be told of an array that is shorter: of one that may be read in part, what is left of that."""
        path = item["field"]
        if self._readable(path):
            return item
        seen = _at(was, path)
        if not isinstance(seen, list):
            return None
        left = _at(self._view.shown([document])[0], path)
        return {"field": path, "newSize": len(left)} if isinstance(left, list) and len(left) < len(seen) else None

    def _is_still(self, document: Document, path: str, value: Any) -> bool:
        return self._view.query is None or _is(document, path, value)

    def _readable(self, path: str) -> bool:
        return all(allows(tree, path) for tree in self._view.trees)

    def _part(self, path: str, value: Any) -> Any:
        """What of a changed value may be read."""
        if self._readable(path):
            return value
        tree = self._view.tree
        below = False if tree is None else _below(tree, path)
        return redact_value(below, value) if isinstance(below, Branch) else ABSENT


def _matcher(condition: Document | None, context: Context) -> Matcher:
    return compile_filter(condition, context) if condition else lambda document: True


def _frame(event: Document) -> Document:
    return {name: event[name] for name in _FRAME if name in event}


def _identified(seen: Document, document: Document) -> Document:
    """Say which document it was, if its ``_id`` may be read; else the resume token goes too: it may have it inside."""
    if "_id" not in document:
        return {name: value for name, value in seen.items() if name != "_id"}
    return {**seen, "documentKey": {"_id": document["_id"]}}


def _below(tree: Tree, path: str) -> Tree:
    """The permissions at ``path``; none where it leads through an array, whose positions tell what is hidden."""
    for part in path.split("."):
        if part.isdigit() or not isinstance(tree, Branch):
            return False
        tree = tree.children.get(part, tree.rest)
    return tree


def _at(shown: Document, path: str) -> Any:
    """The value of what is shown at ``path``; ABSENT also behind arrays, of which some elements may not be shown."""
    found: Any = shown
    for part in path.split("."):
        found = found.get(part, ABSENT) if isinstance(found, dict) else ABSENT
    return found


def _is(document: Document, path: str, value: Any) -> bool:
    """Whether ``document`` has ``value`` at ``path``, as change events write paths; ABSENT is no value."""
    found: Any = document
    for part in path.split("."):
        if isinstance(found, dict):
            found = found.get(part, ABSENT)
        elif isinstance(found, list) and part.isdigit():
            found = found[int(part)] if int(part) < len(found) else ABSENT
        else:
            found = ABSENT
    if found is ABSENT or value is ABSENT:
        return found is value
    return identical(found, value)
