"""What writes may say in a workspace: new documents, and updates of six operators."""

from __future__ import annotations

from typing import Any

from bson import ObjectId

from doorleaf.documents import Document
from doorleaf.errors import InvalidParameter
from doorleaf.operations.fields import wrong

OPERATORS = ("$set", "$unset", "$inc", "$push", "$pull", "$addToSet")


def check_update(update: Any, name: str = "update") -> Document:
    """``update``, made of the operators that there are here."""
    if type(update) is not dict:
        raise wrong(name, "an object of update operators", update)
    if not update:
        raise InvalidParameter(f"{name}: must not be empty; it has {', '.join(OPERATORS)}")
    for operator, fields in update.items():
        if operator not in OPERATORS:
            raise InvalidParameter(f"{name}: {operator[:50]!r} is not available; there are {', '.join(OPERATORS)}")
        if type(fields) is not dict:
            raise wrong(f"{name}.{operator}", "an object", fields)
        for path in fields:
            if path.partition(".")[0] == "_id":
                raise InvalidParameter(f"{name}.{operator}: the _id of a document stays as it is")
    return update


def check_document(document: Any, name: str = "document") -> Document:
    """``document``, which is no update."""
    if type(document) is not dict:
        raise wrong(name, "an object", document)
    for key in document:
        if key.startswith("$"):
            raise InvalidParameter(f"{name}: {key[:50]!r} begins with $, as operators do")
    return document


def with_id(document: Document) -> Document:
    """``document`` with an ``_id``, which is its first field."""
    identity = document.get("_id", None) if "_id" in document else ObjectId()
    return {"_id": identity, **{name: value for name, value in document.items() if name != "_id"}}


def shown(document: Document) -> Document:
    """``document`` without what callers do not see."""
    return {name: value for name, value in document.items() if name not in ("_tenantId", "_workspaceId")}
