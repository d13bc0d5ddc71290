"""What changed from one document to another, as change events say it (``updateDescription``)."""

from __future__ import annotations

from typing import Any

from doorleaf.documents import Document
from doorleaf.mql.context import Context
from doorleaf.mql.updates.basis import identical

MOST_PATHS = 1024 * 1024
"""Characters that the paths of one description may have together: each repeats the names above it."""


class _TooLong(Exception):
    """The paths are longer than what they say is worth."""


def difference(before: Document, after: Document, context: Context) -> Document:
    """``{updatedFields, removedFields, truncatedArrays}``: applied to ``before`` they give ``after``.

    Nested documents and arrays are compared member by member, each once, with dotted paths. What no path can say
    (another order of fields, a name with a dot or a dollar sign) is there as the whole value, and so are the fields at
    the top where paths would be too long.
    """
    try:
        found = _Found(context)
        found.documents(before, after)
    except _TooLong:
        found = _Found(context)
        found.at_the_top(before, after)
    return {"updatedFields": found.updated, "removedFields": found.removed, "truncatedArrays": found.truncated}


class _Found:
    """What a description has so far, and the names down to where it is being looked."""

    __slots__ = ("_context", "_left", "_way", "removed", "truncated", "updated")

    def __init__(self, context: Context) -> None:
        self.updated: Document = {}
        self.removed: list[str] = []
        self.truncated: list[Document] = []
        self._context = context
        self._way: list[str] = []
        self._left = MOST_PATHS

    def documents(self, before: Document, after: Document) -> None:
        for name, value in after.items():
            if name in before:
                self._member(name, before[name], value)
            else:
                self.updated[self._path(name)] = value
        self.removed += [self._path(name) for name in self._context.each([*before]) if name not in after]

    def at_the_top(self, before: Document, after: Document) -> None:
        """The whole value of each field that differs."""
        for name, value in after.items():
            if name not in before or not self._same(before[name], value):
                self.updated[name] = value
        self.removed += [name for name in self._context.each([*before]) if name not in after]

    def _member(self, name: str, before: Any, after: Any) -> None:
        self._context.check()
        kind = after.__class__
        if kind is not before.__class__ or (kind is not dict and kind is not list):
            if not identical(before, after):
                self.updated[self._path(name)] = after
        elif _in_place(before, after) if kind is dict else after:
            self._way.append(name)
            if kind is dict:
                self.documents(before, after)
            else:
                self._elements(before, after)
            self._way.pop()
        elif not self._same(before, after):
            self.updated[self._path(name)] = after

    def _elements(self, before: list[Any], after: list[Any]) -> None:
        for index, value in enumerate(after):
            if index < len(before):
                self._member(str(index), before[index], value)
            else:
                self.updated[self._path(str(index))] = value
        if len(before) > len(after):
            self.truncated.append({"field": self._path(""), "newSize": len(after)})

    def _path(self, name: str) -> str:
        """The path of ``name`` in what is looked at, or of that itself for ""."""
        self._context.check()
        path = ".".join((*self._way, name) if name or not self._way else self._way)
        if self._way:
            self._left -= len(path)
            if self._left < 0:
                raise _TooLong
        return path

    def _same(self, before: Any, after: Any) -> bool:
        """Compare as ``identical`` does, with looks at the clock."""
        self._context.check()
        if before.__class__ is dict and after.__class__ is dict:
            pairs = zip(before.values(), after.values(), strict=False)
            return [*before] == [*after] and all(self._same(one, other) for one, other in pairs)
        if before.__class__ is list and after.__class__ is list:
            pairs = zip(before, after, strict=False)
            return len(before) == len(after) and all(self._same(one, other) for one, other in pairs)
        return identical(before, after)


def _in_place(before: Document, after: Document) -> bool:
    """Whether ``after`` is ``before`` with fields changed where they are, taken out, or put in at the end."""
    if any("." in name or not name or name[0] == "$" for name in (*before, *after)):
        return False
    kept = [name for name in before if name in after]
    return bool(kept) and [*after][: len(kept)] == kept
