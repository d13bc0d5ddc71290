"""Schemas of collections, as validators that let the fields pass that nobody sees."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from doorleaf.dialects.workspaces.envelope import HIDDEN
from doorleaf.documents import Document, is_string
from doorleaf.errors import InvalidParameter, PermissionDenied
from doorleaf.operations.fields import wrong

_COUNTS = ("minProperties", "maxProperties")
_CLOSING = ("additionalProperties", *_COUNTS)
_INSIDE = ("allOf", "anyOf", "oneOf")


def validator_of(schema: Any) -> Document:
    """The validator for a schema of ``$jsonSchema``; InvalidParameter for one that cannot be kept to.

    What counts or closes the fields of the whole document has room for two more.
    """
    if type(schema) is not dict:
        raise wrong("schema", "an object", schema)
    for part, inner in _of_document(schema, inner=False):
        _require_fitting(part, inner=inner)
    properties = schema.get("properties")
    fitted = dict(schema)
    if "additionalProperties" in schema and (properties is None or isinstance(properties, dict)):
        fitted["properties"] = {**(properties or {}), **{name: {} for name in HIDDEN}}
    for name in _COUNTS:
        if isinstance(schema.get(name), int) and not isinstance(schema[name], bool):
            fitted[name] = schema[name] + len(HIDDEN)
    return {"$jsonSchema": fitted}


def _of_document(schema: Document, *, inner: bool) -> Iterator[tuple[Document, bool]]:
    """Every part of a schema that is about the document itself, and whether it is one of a combination."""
    yield schema, inner
    several = [part for name in _INSIDE if isinstance(schema.get(name), list) for part in schema[name]]
    depending = schema.get("dependencies")
    several += [schema.get("not"), *(depending.values() if isinstance(depending, dict) else ())]
    for part in several:
        if isinstance(part, dict):
            yield from _of_document(part, inner=True)


def _require_fitting(schema: Document, *, inner: bool) -> None:
    """Refuse what has no room for two more fields, or would tell of them."""
    for name in ("patternProperties", "enum"):
        if name in schema:
            raise InvalidParameter(f"schema: {name} is not available for the document itself")
    if inner and (found := next((name for name in _CLOSING if name in schema), None)):
        raise InvalidParameter(f"schema: {found} is available for the document itself alone, not in a combination")
    for name in ("properties", "dependencies", "required"):
        _require_unnamed(schema.get(name))
    depending = schema.get("dependencies")
    for names in depending.values() if isinstance(depending, dict) else ():
        _require_unnamed(names)


def _require_unnamed(names: Any) -> None:
    if isinstance(names, dict | list) and any(is_string(name) and name in HIDDEN for name in names):
        raise InvalidParameter("schema: has fields that are not the caller's")


def schema_of(validator: Document | None) -> Document | None:
    """The schema that :func:`validator_of` made a validator of; PermissionDenied for a validator of another kind."""
    if not validator:
        return None
    fitted = validator.get("$jsonSchema")
    if len(validator) != 1 or not isinstance(fitted, dict):
        raise PermissionDenied("what judges this collection is no schema of the workspace")
    schema = dict(fitted)
    properties = schema.get("properties")
    if "additionalProperties" in schema and isinstance(properties, dict):
        own = {name: value for name, value in properties.items() if name not in HIDDEN}
        schema["properties"] = own
        if not own:
            del schema["properties"]
    for name in _COUNTS:
        if isinstance(schema.get(name), int) and not isinstance(schema[name], bool):
            schema[name] -= len(HIDDEN)
    return schema
