"""What a caller sees of a change stream: events of documents it may read, without what it may not.

A filter cannot be joined to a change stream as it can to a query: a deleted document is no longer there to be judged,
and what is hidden must not decide what comes. So all events are looked at here, one by one.
"""

from __future__ import annotations

import time
from typing import Any

from doorleaf.access.rules.fields import Branch, Tree, allows, redact_value
from doorleaf.access.rules.view import View
from doorleaf.documents import ABSENT, Document
from doorleaf.mql.context import Context
from doorleaf.mql.match import Matcher, compile_filter
from doorleaf.mql.update_compiling import identical
from doorleaf.results import ChangeStream

_SECONDS = 1.0
"""What judging the events that came together may take: regular expressions have a deadline."""

_ENDINGS = frozenset({"drop", "dropDatabase", "invalidate"})
_WRITTEN = frozenset({"insert", "update", "replace"})
_FRAME = ("_id", "operationType", "clusterTime", "wallTime", "ns")
"""What every caller may know of an event; sessions and transactions are somebody else's."""

_ORDER = (*_FRAME[:-1], "fullDocument", "ns", "documentKey", "updateDescription")
"""The fields of an event as MongoDB orders them."""


class SeenChanges:
    """The part of a change stream that ``view`` shows, and of that what ``filter`` asks for."""

    def __init__(self, changes: ChangeStream, view: View, filter: Document) -> None:
        self._changes = changes
        self._view = view
        self._filter = filter

    async def next(self) -> list[Document] | None:
        """As :meth:`doorleaf.results.ChangeStream.next`."""
        events = await self._changes.next()
        if events is None:
            return None
        context = Context(time.monotonic() + _SECONDS)
        visible = _matcher(self._view.query, context)
        wanted = _matcher(self._filter, context)
        shown = [seen for event in events if (seen := self._shown(event, visible)) is not None]
        shown = [event for event in shown if event["operationType"] == "invalidate" or wanted(event)]
        return [{name: event[name] for name in _ORDER if name in event} for event in shown]

    async def close(self) -> None:
        """Close the stream below."""
        await self._changes.close()

    def _shown(self, event: Document, visible: Matcher) -> Document | None:
        kind = event["operationType"]
        if kind in _ENDINGS:
            return _frame(event)
        if kind in _WRITTEN:
            return self._written(event, visible)
        return self._deleted(event, visible) if kind == "delete" else None

    def _written(self, event: Document, visible: Matcher) -> Document | None:
        document = event.get("fullDocument")
        if document is None or not visible(document):  # deleted since, or somebody else's
            return None
        described = None
        if event["operationType"] == "update":
            described = self._described(event.get("updateDescription") or {}, document)
            if described is None:
                return None
        (document,) = self._view.shown([document])
        if not document:
            return None
        seen = _identified(_frame(event), document) | {"fullDocument": document}
        return seen if described is None else seen | {"updateDescription": described}

    def _deleted(self, event: Document, visible: Matcher) -> Document | None:
        view = self._view
        if view.query is None and view.tree is not None:
            return _identified(_frame(event), event["documentKey"] if view.shows_everywhere("_id") else {})
        before = event.get("fullDocumentBeforeChange")
        if not before or not visible(before):
            return None
        (document,) = view.shown([before])
        return _identified(_frame(event), document) if document else None

    def _described(self, described: Document, document: Document) -> Document | None:
        """``updateDescription`` as far as it may be read; None where nothing of what changed may be.

        On MongoDB ``document`` is the document as it is now, and may have been somebody else's at the time of the
        change: a value is told only if it is still there.
        """
        updated = {
            path: part
            for path, value in described.get("updatedFields", {}).items()
            if self._is_still(document, path, value) and (part := self._part(path, value)) is not ABSENT
        }
        removed = [
            path
            for path in described.get("removedFields") or ()
            if self._is_still(document, path, ABSENT) and self._readable(path)
        ]
        truncated = [item for item in described.get("truncatedArrays") or () if self._readable(item["field"])]
        if not (updated or removed or truncated) and self._view.tree is not None:
            return None
        return {"updatedFields": updated, "removedFields": removed, "truncatedArrays": truncated}

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
