"""What changed from one document to another, as change events say it (``updateDescription``)."""

from __future__ import annotations

from typing import Any

from doorleaf.documents import Document
from doorleaf.mql.update_compiling import identical


def difference(before: Document, after: Document) -> Document:
    """``{updatedFields, removedFields, truncatedArrays}``: applied to ``before`` they give ``after``.

    Nested documents and arrays are compared member by member, with dotted paths. What no path can say (another order
    of fields, a name with a dot or a dollar sign) is there as the whole value.
    """
    found: Document = {"updatedFields": {}, "removedFields": [], "truncatedArrays": []}
    _documents(before, after, "", found)
    return found


def _documents(before: Document, after: Document, prefix: str, found: Document) -> None:
    for name, value in after.items():
        path = prefix + name
        if name not in before:
            found["updatedFields"][path] = value
        elif not identical(before[name], value):
            _values(before[name], value, path, found)
    found["removedFields"] += [prefix + name for name in before if name not in after]


def _values(before: Any, after: Any, path: str, found: Document) -> None:
    if before.__class__ is dict and after.__class__ is dict and _in_place(before, after):
        _documents(before, after, path + ".", found)
    elif before.__class__ is list and after.__class__ is list and after:
        for index, value in enumerate(after):
            if index >= len(before):
                found["updatedFields"][f"{path}.{index}"] = value
            elif not identical(before[index], value):
                _values(before[index], value, f"{path}.{index}", found)
        if len(before) > len(after):
            found["truncatedArrays"].append({"field": path, "newSize": len(after)})
    else:
        found["updatedFields"][path] = after


def _in_place(before: Document, after: Document) -> bool:
    """Whether ``after`` is ``before`` with fields changed where they are, taken out, or put in at the end."""
    if any("." in name or not name or name[0] == "$" for name in (*before, *after)):
        return False
    kept = [name for name in before if name in after]
    return bool(kept) and [*after][: len(kept)] == kept
