"""Filters and updates of the DataCube API: ids that are written as text, documents that are deleted softly."""

from __future__ import annotations

import re
from typing import Any

from bson import ObjectId

from doorleaf import ejson
from doorleaf.dialects.datacube.models import mistake
from doorleaf.documents import Document
from doorleaf.errors import DoorleafError
from doorleaf.operations.fields import described

DELETED, DELETED_AT = "is_deleted", "deleted_at"
LIVE: Document = {DELETED: {"$ne": True}}
"""Documents that are not deleted: those that say nothing about it are not."""
GONE: Document = {DELETED: True}

REFUSED = frozenset({"$where", "$function", "$accumulator", "$expr"})
UPDATES = frozenset(
    {"$set", "$inc", "$unset", "$push", "$pull", "$addToSet", "$rename", "$min", "$max", "$mul", "$currentDate"}
    | {"$setOnInsert", "$pop", "$pullAll", "$bit"}
)
_HEX = re.compile(r"[0-9a-fA-F]{24}")
_BOTH = {"$eq": "$in", "$ne": "$nin"}
_DEEPEST = 100


def filters_of(value: Any, name: str = "filters") -> Document:
    """A filter that came as an object, or as its JSON. What is no filter is refused, and never means everything."""
    if type(value) is str:
        try:
            value = ejson.loads(value.encode("utf-8", "surrogatepass"))
        except DoorleafError as error:
            raise mistake(name, f"Malformed JSON: {error.message.replace('the body', 'it')}.") from None
    if type(value) is not dict:
        raise mistake(name, f"Expected a JSON object, got {described(value)}.")
    _require_harmless(value, name)
    return value


def _require_harmless(value: Any, name: str, depth: int = 0) -> None:
    if depth > _DEEPEST:
        raise mistake(name, "It is nested too deeply.")
    if type(value) is dict:
        for key, inner in value.items():
            if key in REFUSED:
                raise mistake(name, f"The operator {key} is refused.")
            _require_harmless(inner, name, depth + 1)
    elif type(value) is list:
        for inner in value:
            _require_harmless(inner, name, depth + 1)


def meant(filters: Document, *, exact: bool = False) -> Document:
    """``filters`` where 24 hexadecimal digits for ``_id`` are the ObjectId or the text, whichever is there; ``exact``
    takes them for an ObjectId alone. ``id`` is another name of ``_id``, or a field of its own."""
    made: Document = {}
    alias: Document | None = None
    for key, value in filters.items():
        if key == "_id":
            made[key] = _id(value, exact)
        elif key in ("$and", "$or", "$nor") and type(value) is list:
            made[key] = [meant(one, exact=exact) if type(one) is dict else one for one in value]
        elif key == "id" and "_id" not in filters and not exact:
            alias = {"$or": [{"_id": _id(value, exact)}, {"id": value}]}
        else:
            made[key] = value
    return made if alias is None else together(made, alias)


def _id(value: Any, exact: bool) -> Any:
    if type(value) is str and _HEX.fullmatch(value):
        return ObjectId(value) if exact else {"$in": [ObjectId(value), value]}
    if type(value) is not dict:
        return value
    made: Document = {}
    for operator, given in value.items():
        if operator in ("$in", "$nin") and type(given) is list:
            made[operator] = [either for one in given for either in _either(one)]
        elif operator in _BOTH and type(given) is str and _HEX.fullmatch(given) and _BOTH[operator] not in value:
            made[_BOTH[operator]] = _either(given)
        elif operator in ("$gt", "$gte", "$lt", "$lte") and type(given) is str and _HEX.fullmatch(given):
            made[operator] = ObjectId(given)
        elif operator == "$not":
            made[operator] = _id(given, exact)
        else:
            made[operator] = given
    return made


def _either(value: Any) -> list[Any]:
    return [ObjectId(value), value] if type(value) is str and _HEX.fullmatch(value) else [value]


def together(filters: Document, state: Document) -> Document:
    """Documents that match ``filters`` and are in ``state``."""
    return {"$and": [filters, state]} if filters else dict(state)


def update_of(value: Document, filters: Document) -> Document:
    """The update that ``update_data`` asks for: its operators, or its fields to be set, new ones too."""
    if not value:
        raise mistake("update_data", "It must not be empty.")
    operators = [name for name in value if name.startswith("$")]
    if not operators:
        given = filters.get("_id", filters.get("id"))
        fields = {name: one for name, one in value.items() if name != "_id" or one != given}
        if not fields:
            raise mistake("update_data", "It has nothing but the _id.")
        return {"$set": fields}
    if len(operators) < len(value):
        raise mistake("update_data", "It has operators and fields; send one of them.")
    for name in operators:
        if name not in UPDATES:
            raise mistake(
                "update_data", f"The operator {name[:100]} is refused; there are {', '.join(sorted(UPDATES))}."
            )
    return value


def only_present(fields: Document) -> list[Document]:
    """The update that sets those of ``fields`` that a document has."""
    return [
        {
            "$set": {
                name: {"$cond": [{"$eq": [{"$type": f"${name}"}, "missing"]}, "$$REMOVE", {"$literal": value}]}
                for name, value in fields.items()
            }
        }
    ]
