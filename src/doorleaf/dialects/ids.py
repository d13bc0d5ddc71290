"""Filters whose ``_id`` may be written as answers write it: 24 hexadecimal digits mean the ObjectId or that text."""

from __future__ import annotations

import re
from typing import Any

from bson import ObjectId

from doorleaf.documents import Document

_HEX = re.compile(r"[0-9a-fA-F]{24}")
_LISTS = {"$eq": "$in", "$ne": "$nin"}
_RANGES = ("$gt", "$gte", "$lt", "$lte")
_LOGICAL = ("$and", "$or", "$nor")


def object_id(value: Any) -> ObjectId | None:
    """The ObjectId that ``value`` may be meant as."""
    return ObjectId(value) if type(value) is str and _HEX.fullmatch(value) else None


def by_either_id(filter: Document) -> Document:
    """``filter`` with conditions on ``_id`` that find what either meaning finds; all else is as it was."""
    rest: Document = {}
    clauses: list[Document] = []
    for key, value in filter.items():
        if key in _LOGICAL and type(value) is list:
            rest[key] = [by_either_id(part) if type(part) is dict else part for part in value]
        elif key == "_id":
            clauses = _conditions(value)
        else:
            rest[key] = value
    if not clauses:
        return rest
    if len(clauses) == 1 and clauses[0].keys() == {"_id"}:
        return {**clauses[0], **rest}
    return {"$and": [*clauses, rest] if rest else clauses}


def _conditions(value: Any) -> list[Document]:
    """The filters that an ``_id`` of ``value`` stands for, which have to hold together."""
    if type(value) is not dict or not next(iter(value), "").startswith("$"):
        found = object_id(value)
        return [{"_id": value if found is None else {"$in": [found, value]}}]
    others: Document = {}
    clauses: list[Document] = []
    for operator, operand in value.items():
        found = object_id(operand)
        if found is not None and operator in _LISTS:
            clauses.append({"_id": {_LISTS[operator]: [found, operand]}})
        elif found is not None and operator in _RANGES:
            clauses.append({"$or": [{"_id": {operator: found}}, {"_id": {operator: operand}}]})
        elif operator in ("$in", "$nin") and type(operand) is list:
            clauses.append({"_id": {operator: _both(operand)}})
        elif operator == "$not" and type(operand) is dict and next(iter(operand), "").startswith("$"):
            clauses.append({"$nor": [{"$and": _conditions(operand)}]})
        else:
            others[operator] = operand
    return [{"_id": others}, *clauses] if others or not clauses else clauses


def _both(values: list[Any]) -> list[Any]:
    """``values``, each text that may be meant as an ObjectId beside it."""
    found = [object_id(value) for value in values]
    return [*values, *(meant for meant in found if meant is not None)]
