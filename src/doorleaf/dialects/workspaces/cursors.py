"""Pages by cursor: where a page ended, signed, and the filter for what comes behind that.

A cursor holds the sort's values of the last document, with their types, and is good for the query that it came of. The
filter says in MongoDB's own terms what sorting means: values of another type come before or behind all values of one,
an array counts as its smallest or its largest element, and what is missing as null.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import math
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from typing import Any

import bson
from bson import Code, Decimal128, MaxKey, MinKey, Regex

from doorleaf import ejson
from doorleaf.dialects.workspaces.query import Query
from doorleaf.documents import CODEC, Document
from doorleaf.errors import InvalidParameter
from doorleaf.mql.order import compile_sort, key_values
from doorleaf.mql.values import sort_token, type_order

Seal = Callable[[bytes], bytes]
"""Signs what only the server may have written."""

_MAC = 16
_TYPES: tuple[tuple[str, ...], ...] = (
    ("minKey",),
    ("null",),
    ("number",),
    ("string",),
    ("object",),
    ("array",),
    ("binData",),
    ("objectId",),
    ("bool",),
    ("date",),
    ("timestamp",),
    ("regex",),
    ("javascript", "javascriptWithScope"),
    ("maxKey",),
)
"""The types of values in the order that they are sorted in."""
_ORDERS = (-1, 5, 10, 15, 20, 25, 30, 35, 40, 45, 47, 50, 60, 127)
"""What the query language calls the places of :data:`_TYPES`."""


class _Empty:
    """The value that an empty array is sorted by, below null."""


EMPTY = _Empty()


def require_pageable(sort: Document) -> None:
    """Raise InvalidParameter for a sort by two paths that an array could have in common."""
    heads = [path.partition(".")[0] for path in sort]
    if len(set(heads)) != len(heads):
        raise InvalidParameter("cursor: a sort by two paths inside one field has no cursor; use skip")


def cursor_of(last: Document, query: Query, about: str, seal: Seal) -> str:
    """The cursor behind the document ``last`` of the query, which is ``about`` a collection."""
    values = [_sorted_value(last, path, direction) for path, direction in query.sort.items()]
    empty = [index for index, value in enumerate(values) if value is EMPTY]
    kept = [None if value is EMPTY else value for value in values]
    content = ejson.dumps({"v": kept, "e": empty, "q": _of(query, about)}, ejson.Mode.CANONICAL)
    return base64.urlsafe_b64encode(seal(content)[:_MAC] + content).rstrip(b"=").decode()


def behind(cursor: str, query: Query, about: str, seal: Seal) -> list[Any]:
    """The sort's values in ``cursor``; InvalidParameter for one that is not ours, or of another query."""
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise _wrong() from None
    signed, content = raw[:_MAC], raw[_MAC:]
    if not hmac.compare_digest(signed, seal(content)[:_MAC]):
        raise _wrong()
    given = ejson.loads(content)
    if given["q"] != _of(query, about):
        raise InvalidParameter("cursor: belongs to another query; filter, sort and collection stay the same")
    return [EMPTY if index in given["e"] else value for index, value in enumerate(given["v"])]


def _of(query: Query, about: str) -> str:
    content = ejson.dumps({"a": about, "f": query.filter, "s": [*query.sort.items()]}, ejson.Mode.CANONICAL)
    return sha256(content).hexdigest()[:32]


def _wrong() -> InvalidParameter:
    return InvalidParameter("cursor: is none of this server's")


def _sorted_value(document: Document, path: str, direction: int) -> Any:
    """What ``document`` is sorted by."""
    values = [value for (value,) in key_values(document, [path.split(".")])]
    tokens = [(sort_token(value), index) for index, value in enumerate(values)]
    found = values[(min(tokens) if direction > 0 else max(tokens))[1]]
    if type(found).__name__ == "Missing":
        return EMPTY
    if isinstance(found, list | Regex | Code):
        raise InvalidParameter(f"cursor: {path[:100]} has an array in an array, or a pattern; use skip")
    return found


# --- what comes behind -----------------------------------------------------------------------------------------------


def remainder(path: str, value: Any, direction: int) -> Document | None:
    """A filter that matches all that comes behind those that compare with ``value``, by other types, NaN, or nothing;
    None where there is none such. It may match more."""
    place = _ORDERS.index(type_order(value))
    others = _TYPES[place + 1 :] if direction > 0 else _TYPES[:place]
    names = [name for types in others for name in types]
    if not names:
        return None
    typed: Document = {path: {"$type": names}}
    if direction > 0:
        return typed
    found = [typed, {path: None}, {path: {"$exists": False}}, {path: []}]
    return {"$or": [*found, {path: math.nan}] if _TYPES[place] == ("number",) else found}


def is_ordinary(value: Any) -> bool:
    """Whether comparing with ``value`` finds values of its type alone, on their side of it."""
    return not _is_nan(value) and not isinstance(value, MinKey | MaxKey)


def following(sort: Document, values: list[Any]) -> Iterator[Document]:
    """The filters for the documents that come behind those with ``values``; what each finds comes before what the next
    one does.

    The first are as those up to the last path, the last are behind already by the first path. Each filter also says
    what it needs of an index: equal values, and values of one type on one side.
    """
    parts: list[list[Document]] = []
    before: list[Document] = []
    for (path, direction), value in zip(sort.items(), values, strict=True):
        parts += [[*before, condition] for condition in reversed(_behind(path, value, direction))]
        before = [*before, *_equal(path, value), _same(path, value, direction)]
    return ({"$and": conditions} for conditions in reversed(parts))


def near(sort: Document, values: list[Any]) -> Document | None:
    """A filter for what comes behind, of the same type, and for those that have the first of ``values``; None where
    there is none so simple."""
    (path, direction), *others = sort.items()
    if [name for name, _ in others] != ["_id"] or not all(_equal(path, value) for value in values):
        return None
    return {path: {"$gte" if direction > 0 else "$lte": values[0]}}


def passed(documents: Iterable[bytes], sort: Document, values: list[Any]) -> int | None:
    """How many ``documents``, found by :func:`near`, do not come behind ``values``: those up to the one that has these,
    None where none has them any more. Of the others only the database knows the order, which may be a collation's."""
    key = compile_sort(sort)
    place = key(_nested(next(iter(sort)), values[0]) | {"_id": values[1]})
    for count, document in enumerate(documents, 1):
        if key(bson.decode(document, CODEC)) == place:
            return count
    return None


def _nested(path: str, value: Any) -> Document:
    for name in reversed(path.split(".")):
        value = {name: value}
    return dict(value)


def _equal(path: str, value: Any) -> list[Document]:
    """What :func:`_same` implies and an index has in one place."""
    return [{path: value}] if is_ordinary(value) and value is not EMPTY and value is not None else []


def _behind(path: str, value: Any, direction: int) -> list[Document]:
    """:func:`_after`, in two parts where it can be: values of the same type, and then others."""
    after = _after(path, value, direction)
    if not _equal(path, value):
        return [after]
    beyond: Document = {path: {"$gt" if direction > 0 else "$lt": value}}
    others: list[Document] = [{"$nor": [beyond]}, after]
    rest = remainder(path, value, direction)
    near = beyond if path == "_id" else {"$and": [beyond, after]}  # an _id is no array, which could be on both sides
    return [near] if rest is None else [near, {"$and": [rest, *others]}]


def _after(path: str, value: Any, direction: int) -> Document:
    """The condition of being sorted behind ``value``."""
    if direction < 0:
        if value is EMPTY:
            return {path: {"$type": "minKey"}}
        if value is None:  # a filter does not find all that is sorted as null, so it has to say what is below
            lower: Document = {"$or": [{path: {"$size": 0}}, {path: {"$type": "minKey"}}]}
            return {"$and": [lower, {"$nor": [{path: None}, *_beside(path, None, -1)]}]}
        return {"$nor": [_at_or(path, "$gte", value), *_beside(path, value, -1)]}
    if value is EMPTY:
        return {"$nor": [{path: {"$size": 0}}, {path: {"$type": "minKey"}}]}
    return {
        path: {"$exists": True},
        "$nor": [_at_or(path, "$lte", value), *_beside(path, value, 1)],
    }


def _same(path: str, value: Any, direction: int) -> Document:
    """The condition of being sorted as ``value`` is."""
    if value is EMPTY:
        return {path: {"$size": 0}}
    if value is None:
        equal: Document = {"$or": [{path: None}, {path: {"$exists": False}}]}
        return {"$and": [equal, {"$nor": _beside(path, value, direction)}]}
    strictly = "$lt" if direction > 0 else "$gt"
    others = [{path: {strictly: value}}] if not _is_nan(value) else []
    return {"$and": [{path: {"$eq": value}}, {"$nor": [*others, *_beside(path, value, direction)]}]}


def _at_or(path: str, operator: str, value: Any) -> Document:
    """Being at ``value`` or on the nearer side of it, among values of its type."""
    if value is None:
        return {path: None}
    if _is_nan(value):
        return {path: {"$type": "number"}} if operator == "$gte" else {path: {"$eq": value}}
    return {path: {operator: value}}


def _beside(path: str, value: Any, direction: int) -> list[Document]:
    """The conditions of having something of a type that comes before that of ``value`` in the order of the sort."""
    place = _ORDERS.index(type_order(value))
    found: list[Document] = []
    if direction > 0:
        others = _TYPES[:place]
        if place > 1:
            found += [{path: None}]
        found.append({path: {"$size": 0}})
        if _TYPES[place] == ("number",) and not _is_nan(value):
            found.append({path: math.nan})
    else:
        others = _TYPES[place + 1 :]
        if _is_nan(value):
            found.append({path: {"$gte": -math.inf}})
    for types in others:
        if types == ("array",):
            found.append({path: {"$elemMatch": {"$type": "array"}}})
        elif types != ("null",):
            found.append({path: {"$type": list(types)}})
    return found


def _is_nan(value: Any) -> bool:
    if isinstance(value, Decimal128):
        return bool(value.to_decimal().is_nan())
    return isinstance(value, float) and math.isnan(value)
