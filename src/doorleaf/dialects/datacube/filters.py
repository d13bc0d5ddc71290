"""Filters and updates of the DataCube API: ids that are written as text, documents that are deleted softly."""

from __future__ import annotations

from typing import Any

from doorleaf import ejson
from doorleaf.dialects.datacube.models import mistake
from doorleaf.dialects.ids import by_either_id, object_id
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
    others: list[Document] = []
    for key, value in filters.items():
        if key == "_id":
            identifier = object_id(value) if exact else None
            condition = by_either_id({key: value}) if identifier is None else {key: identifier}
            if condition.keys() == {key}:
                made |= condition
            else:
                others.append(condition)
        elif key in ("$and", "$or", "$nor") and type(value) is list:
            made[key] = [meant(one, exact=exact) if type(one) is dict else one for one in value]
        elif key == "id" and "_id" not in filters and not exact:
            others.append({"$or": [by_either_id({"_id": value}), {"id": value}]})
        else:
            made[key] = value
    if not others:
        return made
    return {"$and": [made, *others]} if made or len(others) > 1 else others[0]


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
