"""Schemas of collections, as validators that let the fields pass that nobody sees."""

from __future__ import annotations

from typing import Any

from doorleaf.documents import Document
from doorleaf.errors import InvalidParameter, PermissionDenied
from doorleaf.operations.fields import wrong

_HIDDEN = ("_tenantId", "_workspaceId")
_COUNTS = ("minProperties", "maxProperties")
_CLOSING = ("additionalProperties", "patternProperties", *_COUNTS)
_INSIDE = ("allOf", "anyOf", "oneOf")


def validator_of(schema: Any) -> Document:
    """The validator for a schema of ``$jsonSchema``; InvalidParameter for one that cannot be kept to.

    What counts or closes the fields of the whole document has room for two more.
    """
    if type(schema) is not dict:
        raise wrong("schema", "an object", schema)
    if "patternProperties" in schema:
        raise InvalidParameter("schema: patternProperties is not available for the document itself")
    parts = [part for name in _INSIDE if isinstance(schema.get(name), list) for part in schema[name]]
    for part in (*parts, schema.get("not")):
        if isinstance(part, dict) and (found := next((name for name in _CLOSING if name in part), None)):
            raise InvalidParameter(f"schema: {found} is available for the document itself alone, not in a combination")
    properties = schema.get("properties")
    if isinstance(properties, dict) and not properties.keys().isdisjoint(_HIDDEN):
        raise InvalidParameter("schema: has fields that are not the caller's")
    fitted = dict(schema)
    if "additionalProperties" in schema and (properties is None or isinstance(properties, dict)):
        fitted["properties"] = {**(properties or {}), **{name: {} for name in _HIDDEN}}
    for name in _COUNTS:
        if isinstance(schema.get(name), int) and not isinstance(schema[name], bool):
            fitted[name] = schema[name] + len(_HIDDEN)
    return {"$jsonSchema": fitted}


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
        own = {name: value for name, value in properties.items() if name not in _HIDDEN}
        schema["properties"] = own
        if not own:
            del schema["properties"]
    for name in _COUNTS:
        if isinstance(schema.get(name), int) and not isinstance(schema[name], bool):
            schema[name] -= len(_HIDDEN)
    return schema
