"""Filters, projections, sorts and pages in query strings.

``filter.<path>=value`` matches the text and whatever the text looks like: a number, true or false, null, an ObjectId or
a date. ``filter.<path>[gte]=value`` is an operator, ``filter=`` a whole filter as Extended JSON. All are joined by and.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

from bson import Int64, ObjectId

from doorleaf import ejson
from doorleaf.documents import Document
from doorleaf.errors import InvalidParameter

LIMIT, MOST = 20, 1000
MOST_SKIPPED = 2**31 - 1
MOST_SORTED = 6
_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d{1,3})?", re.ASCII)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(Z|[+-]\d{2}:\d{2})?)?")
_KEY = re.compile(r"(?P<path>[^\[\]]+)(\[(?P<operator>\$?\w*)\])?")
_WHOLE = ("$expr", "$jsonSchema", "$where")
_SHORT = 256
"""Bytes of a query string that is remembered as it was read."""
COUNTS = ("exact", "estimated", "none")


@dataclass(frozen=True, slots=True)
class Query:
    """A query string, read, which nobody may change: the next request may be the same.

    ``cursor`` is "" for the first page by a cursor, None for pages by numbers.
    """

    filter: Document
    projection: Document | None
    sort: Document
    limit: int
    skip: int
    count: str
    cursor: str | None


def read(query: bytes) -> Query:
    """Read a query string; InvalidParameter says what is wrong with it. Parameters that are none are passed over."""
    return _remembered(query) if len(query) <= _SHORT else _read(query)


def _read(query: bytes) -> Query:
    try:
        pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=200, errors="strict")
    except (ValueError, UnicodeDecodeError):
        raise InvalidParameter("the query string has more than 200 parameters, or is not UTF-8") from None
    conditions: list[Document] = []
    single: dict[str, str] = {}
    for name, value in pairs:
        if name.startswith("filter"):
            conditions.append(_condition(name, value))
        elif name in single:
            raise InvalidParameter(f"{name[:50]}: came twice")
        else:
            single[name] = value
    count = single.get("count", "exact")
    if count not in COUNTS:
        raise InvalidParameter(f"count: expected one of {', '.join(COUNTS)}")
    cursor = single.get("cursor")
    limit, skip = _whole(single, "limit", LIMIT, 1), _whole(single, "skip", 0, 0)
    if cursor is not None and skip:
        raise InvalidParameter("skip: cannot be combined with a cursor")
    projection = projected(single["projection"]) if single.get("projection") else None
    if cursor is not None and projection and not projection.get("_id", 1):
        raise InvalidParameter("projection: cannot leave out _id with a cursor")
    sort = sorted_by(single.get("sort", ""))
    return Query(joined(conditions), projection, sort, min(limit, MOST), skip, count, cursor)


_remembered = lru_cache(maxsize=256)(_read)


def joined(conditions: list[Document]) -> Document:
    """All of ``conditions``."""
    merged: Document = {}
    for condition in conditions:
        if not merged.keys().isdisjoint(condition) or any(name.startswith("$") for name in condition):
            return {"$and": conditions}
        merged |= condition
    return merged


def _whole(given: Mapping[str, str], name: str, usual: int, least: int) -> int:
    text = given.get(name)
    if text is None:
        return usual
    if not re.fullmatch(r"\d{1,10}", text, re.ASCII) or not least <= int(text) <= MOST_SKIPPED:
        raise InvalidParameter(f"{name}: expected a whole number of {least} or more")
    return int(text)


# --- filters ---------------------------------------------------------------------------------------------------------


def _condition(name: str, value: str) -> Document:
    """The condition that one parameter is."""
    if name == "filter":
        return whole(value)
    found = _KEY.fullmatch(name.removeprefix("filter.")) if name.startswith("filter.") else None
    if found is None:
        raise InvalidParameter(f"{name[:100]}: expected filter, filter.<path> or filter.<path>[<operator>]")
    path, operator = check_path(found["path"], "filter"), found["operator"]
    if operator is None:
        return {path: _equal(value)}
    make = _OPERATORS.get(operator.removeprefix("$"))
    if make is None:
        raise InvalidParameter(
            f"filter.{path}: there is no operator {operator[:30]!r}; {', '.join(_OPERATORS)} there are"
        )
    return {path: make(value, path)}


def whole(text: str) -> Document:
    """A filter that is written as Extended JSON."""
    try:
        filter = ejson.loads(text.encode("utf-8", "replace"))
    except InvalidParameter as error:
        raise InvalidParameter(f"filter: {error.message}") from None
    return check_filter(filter)


def check_filter(filter: Document, name: str = "filter") -> Document:
    """``filter``, unless an operator in it looks at whole documents."""
    for field, value in filter.items():
        if field in _WHOLE:
            raise InvalidParameter(f"{name}: {field} is not available here; $match in a pipeline takes $expr")
        if field in ("$and", "$or", "$nor") and isinstance(value, list):
            for part in value:
                if isinstance(part, dict):
                    check_filter(part, name)
    return filter


def check_path(path: str, name: str) -> str:
    """``path``, if it can be one."""
    if not all(path.split(".")) or any(part.startswith("$") for part in path.split(".")) or "\0" in path:
        raise InvalidParameter(f"{name}: {path[:100]!r} is no path of a field")
    return path


def readings(text: str) -> list[Any]:
    """The values that ``text`` may mean, the text itself first."""
    found: list[Any] = [text]
    if text in ("true", "false"):
        found.append(text == "true")
    elif text == "null":
        found.append(None)
    elif len(text) <= 400 and _NUMBER.fullmatch(text):
        found.append(_number(text))
    elif len(text) == 24 and ObjectId.is_valid(text):
        found.append(ObjectId(text))
    elif _DATE.fullmatch(text) and (date := _date(text)) is not None:
        found.append(date)
    return found


def _number(text: str) -> Any:
    if text.lstrip("-").isdigit() and -(2**63) <= int(text) < 2**63:
        return int(text) if -(2**31) <= int(text) < 2**31 else Int64(int(text))
    return float(text)


def _date(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
        return found if found.tzinfo is None else found.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        return None


def _equal(text: str) -> Any:
    """The condition of being ``text``, or what it looks like."""
    values = readings(text)
    return values[0] if len(values) == 1 else {"$in": values}


def _compares(operator: str) -> Callable[[str, str], Document]:
    return lambda text, path: {operator: readings(text)[-1]}


def _list(operator: str) -> Callable[[str, str], Document]:
    return lambda text, path: {operator: [value for part in text.split(",") for value in readings(part)]}


def _exists(text: str, path: str) -> Document:
    if text not in ("true", "false"):
        raise InvalidParameter(f"filter.{path}[exists]: expected true or false")
    return {"$exists": text == "true"}


_OPERATORS: Mapping[str, Callable[[str, str], Document]] = {
    "eq": lambda text, path: {"$in": readings(text)},
    "ne": lambda text, path: {"$nin": readings(text)},
    "gt": _compares("$gt"),
    "gte": _compares("$gte"),
    "lt": _compares("$lt"),
    "lte": _compares("$lte"),
    "in": _list("$in"),
    "nin": _list("$nin"),
    "exists": _exists,
    "regex": lambda text, path: {"$regex": text},
}


# --- ids -------------------------------------------------------------------------------------------------------------


def identified(text: str) -> Document:
    """The filter for the document whose id a path has.

    24 hexadecimal digits are an ObjectId or that text, Extended JSON is what it says, anything else is text.
    """
    if text.startswith(("{", '"')):
        try:
            return {"_id": {"$eq": ejson.loads(b'{"_id":' + text.encode("utf-8", "replace") + b"}")["_id"]}}
        except (InvalidParameter, KeyError):
            raise InvalidParameter("the id in the path is no Extended JSON") from None
    if len(text) == 24 and ObjectId.is_valid(text):
        return {"_id": {"$in": [ObjectId(text), text]}}
    return {"_id": {"$eq": text}}


# --- sorts and projections -------------------------------------------------------------------------------------------


def sorted_by(text: str) -> Document:
    """The sort that ``text`` asks for: ``a,-b`` or Extended JSON; ``_id`` decides in the end."""
    sort: Document = {}
    if text.startswith("{"):
        for path, direction in _object(text, "sort").items():
            if isinstance(direction, bool) or direction not in (1, -1):
                raise InvalidParameter(f"sort.{path[:100]}: expected 1 or -1")
            sort[check_path(path, "sort")] = int(direction)
    elif text:
        for part in text.split(","):
            path = check_path(part.removeprefix("-"), "sort")
            if path in sort:
                raise InvalidParameter(f"sort: {path[:100]!r} came twice")
            sort[path] = -1 if part.startswith("-") else 1
    if len(sort) > MOST_SORTED:
        raise InvalidParameter(f"sort: has more than {MOST_SORTED} fields")
    return sort if "_id" in sort else {**sort, "_id": 1}


def projected(text: str) -> Document:
    """The projection that ``text`` asks for: ``a,b`` to include, ``-a,-b`` to leave out, or Extended JSON."""
    projection: Document = {}
    if text.startswith("{"):
        for path, value in _object(text, "projection").items():
            if not isinstance(value, bool) and value not in (0, 1):
                raise InvalidParameter(f"projection.{path[:100]}: expected 1 or 0")
            projection[check_path(path, "projection")] = int(value)
    else:
        for part in text.split(","):
            projection[check_path(part.removeprefix("-"), "projection")] = 0 if part.startswith("-") else 1
    if len({value for path, value in projection.items() if path != "_id"}) > 1:
        raise InvalidParameter("projection: either includes fields or leaves them out")
    return projection


def _object(text: str, name: str) -> Document:
    try:
        return ejson.loads(text.encode("utf-8", "replace"))
    except InvalidParameter as error:
        raise InvalidParameter(f"{name}: {error.message}") from None
