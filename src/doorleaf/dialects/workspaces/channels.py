"""Channels of the realtime gateway, and their filters: several ways to write them mean the same."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from doorleaf.dialects.workspaces.changes import Wanted, kinds_of
from doorleaf.dialects.workspaces.door import check_collection
from doorleaf.dialects.workspaces.query import check_filter, check_path
from doorleaf.documents import Document, is_string
from doorleaf.errors import InvalidParameter
from doorleaf.operations.fields import wrong

MOST_PREDICATES = 10
_LONGEST = 200
_KEYS = ("operations", "operation", "entity", "predicates")
_OPERATORS = {"eq": "$eq", "neq": "$ne"}


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel by its name. ``collection`` is "" for all; one that is not ours is of another kind than ``mongo``."""

    name: str
    is_ours: bool
    collection: str
    wanted: Wanted


def channel_of(frame: Document) -> Channel:
    """The channel and the filter of a frame."""
    name = frame.get("channel", frame.get("channelId"))
    if not is_string(name) or not name or len(name) > _LONGEST:
        raise InvalidParameter("channel: expected a text such as mongo:orders")
    kind, _, place = name.partition(":")
    if kind != "mongo" or not place:
        return Channel(name, False, "", Wanted())
    given = frame.get("filter")
    if given is None:
        given = {}
    if not isinstance(given, dict):
        raise wrong("filter", "an object", given)
    for key in given:
        if key not in _KEYS:
            raise InvalidParameter(f"filter.{key[:50]}: there is no such key; {', '.join(_KEYS)} there are")
    collection = "" if place == "*" else check_collection(place)
    entity = given.get("entity")
    if entity is not None:
        if collection and entity != collection:
            raise InvalidParameter("filter.entity: is not the collection of the channel")
        collection = check_collection(entity)
    return Channel(name, True, collection, _wanted(given))


def _wanted(given: Document) -> Wanted:
    operations, one = given.get("operations"), given.get("operation")
    if operations is None and one is not None:
        operations = [one]
    if operations is not None and not isinstance(operations, list):
        raise wrong("filter.operations", "an array", operations)
    kinds = Wanted().kinds if operations is None else kinds_of(operations)
    return Wanted(kinds, _predicates(given.get("predicates")))


def _predicates(given: Any) -> Document:
    """The conditions on documents: an object, or a list of ``{field, op, value}``."""
    if given is None:
        return {}
    if not isinstance(given, dict | list):
        raise wrong("filter.predicates", "an object or an array", given)
    if len(given) > MOST_PREDICATES:
        raise InvalidParameter(f"filter.predicates: has {MOST_PREDICATES} conditions at most")
    if isinstance(given, dict):
        return check_filter(given, "filter.predicates")
    return {"$and": [_condition(item) for item in given]} if given else {}


def _condition(item: Any) -> Document:
    if not isinstance(item, dict) or not is_string(item.get("field")):
        raise InvalidParameter("filter.predicates: expected objects with field, op and value")
    path, operator, value = check_path(item["field"], "filter.predicates"), item.get("op", "eq"), item.get("value")
    if operator == "contains":
        if not is_string(value):
            raise InvalidParameter("filter.predicates: contains takes a text")
        return {path: {"$regex": re.escape(value)}}
    if not is_string(operator) or operator not in _OPERATORS:
        raise InvalidParameter(f"filter.predicates: op is one of {', '.join((*_OPERATORS, 'contains'))}")
    return {path: {_OPERATORS[operator]: value}}
