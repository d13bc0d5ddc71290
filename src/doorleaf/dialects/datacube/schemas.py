"""Names and fields of collections as they are declared, and the validator that holds documents to them."""

from __future__ import annotations

import re
from typing import Any

from doorleaf.dialects.datacube.models import LONGEST, mistake, mistake_at
from doorleaf.documents import Document
from doorleaf.operations.fields import described

_NAME = re.compile(r"[\w-]+")
_RESERVED = ("admin", "local", "config")
MOST_AT_ONCE = 500
"""Collections that one request may make."""
MOST_FIELDS = 1_000
"""Fields that one collection may declare."""
MOST_FIELDS_AT_ONCE = 30_000
"""Fields that one request may declare: more are not kept of one database."""

_ISO_DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?(Z|[+-][0-9]{2}:?[0-9]{2})?)?$"
_DATE: Document = {"anyOf": [{"bsonType": "date"}, {"bsonType": "string", "pattern": _ISO_DATE}]}
_INTEGER = ["int", "long"]

TYPES: dict[str, Document] = {
    "string": {"bsonType": "string"},
    "integer": {"bsonType": _INTEGER},
    "number": {"bsonType": "number"},
    "float": {"bsonType": ["double", *_INTEGER]},
    "double": {"bsonType": ["double", *_INTEGER]},
    "boolean": {"bsonType": "bool"},
    "date": _DATE,
    "datetime": _DATE,
    "object": {"bsonType": "object"},
    "array": {"bsonType": "array"},
    "null": {"bsonType": "null"},
    "objectid": {"bsonType": "objectId"},
    "binary": {"bsonType": "binData"},
    "decimal128": {"bsonType": "decimal"},
    "timestamp": {"bsonType": "timestamp"},
    "regex": {"bsonType": "regex"},
}
"""The types that fields may have, and what a validator asks of their values. JSON has no dates, so that a string which
is written as one will do."""

ALIASES = {
    "str": "string",
    "text": "string",
    "int": "integer",
    "long": "integer",
    "num": "number",
    "bool": "boolean",
    "dict": "object",
    "list": "array",
    "oid": "objectid",
    "decimal": "decimal128",
}


def database_name(value: str) -> str:
    """The name of a database, in lower case."""
    name = _checked(value.strip(), "db_name").lower()
    if name in _RESERVED:
        raise mistake("db_name", f"'{name}' is reserved.")
    return name


def declared(value: Any) -> list[Document]:
    """The collections that a request declares: ``{name, fields, enforce}``, each field ``{name, type}``."""
    if type(value) is not list or len(value) > MOST_AT_ONCE:
        raise mistake("collections", f"Expected an array of up to {MOST_AT_ONCE} collections, got {described(value)}.")
    made: list[Document] = []
    fields = 0
    for place, one in enumerate(value):
        made.append(_collection(one, f"collections[{place}]"))
        fields += len(made[-1]["fields"])
        if fields > MOST_FIELDS_AT_ONCE:
            raise mistake("collections", f"They have more than {MOST_FIELDS_AT_ONCE} fields.")
    _require_different([one["name"] for one in made], "collections")
    return made


def _collection(value: Any, where: str) -> Document:
    if type(value) is str:
        value = {"name": value}
    if type(value) is not dict:
        raise mistake_at(where, f"expected an object, got {described(value)}.")
    _require_known(value, ("name", "fields", "enforce"), where)
    name = collection_name(value.get("name"), f"{where}.name")
    enforce = value.get("enforce", False)
    if type(enforce) is not bool:
        raise mistake_at(f"{where}.enforce", f"expected true or false, got {described(enforce)}.")
    fields = value.get("fields")
    if fields is None:
        fields = []
    if type(fields) is not list or len(fields) > MOST_FIELDS:
        raise mistake_at(f"{where}.fields", f"expected an array of up to {MOST_FIELDS} fields.")
    made = [_field(one, f"{where}.fields[{place}]") for place, one in enumerate(fields)]
    _require_different([one["name"] for one in made], f"{where}.fields")
    return {"name": name, "fields": made, "enforce": enforce}


def _field(value: Any, where: str) -> Document:
    if type(value) is not dict:
        raise mistake_at(where, f"expected an object, got {described(value)}.")
    _require_known(value, ("name", "type"), where)
    name = collection_name(value.get("name"), f"{where}.name")
    kind = value.get("type", "string")
    if type(kind) is not str or known_type(kind) is None:
        shown = kind[:LONGEST] if type(kind) is str else described(kind)
        raise mistake_at(f"{where}.type", f"there is no type {shown!r}; there are {', '.join(TYPES)}.")
    return {"name": name, "type": kind}


def collection_name(value: Any, where: str) -> str:
    """The name of a collection or a field."""
    if type(value) is not str:
        raise mistake_at(where, f"expected a name, got {described(value)}.")
    return _checked(value, where)


def _checked(name: str, where: str) -> str:
    if len(name) > LONGEST:
        raise mistake_at(where, f"Ensure this field has no more than {LONGEST} characters.")
    if not _NAME.fullmatch(name):
        raise mistake_at(where, "Expected letters, digits, underscores and hyphens.")
    return name


def is_name(name: str) -> bool:
    """Whether ``name`` may be that of a field that is declared."""
    return len(name) <= LONGEST and _NAME.fullmatch(name) is not None


def known_type(kind: str) -> str | None:
    """The type that ``kind`` is a name of; None where it is none."""
    name = kind.strip().lower()
    name = ALIASES.get(name, name)
    return name if name in TYPES else None


def _require_known(value: Document, names: tuple[str, ...], where: str) -> None:
    for name in value:
        if name not in names:
            raise mistake("collections", f"{where}.{name[:LONGEST]}: no such field; there are {', '.join(names)}.")


def _require_different(names: list[str], where: str) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise mistake_at(where, f"{name!r} is there twice.")
        seen.add(name)


def options(collection: Document) -> Document:
    """The options of a new collection: a validator where its fields are enforced. A field may be absent or null."""
    if not collection["enforce"] or not collection["fields"]:
        return {}
    properties = {field["name"]: _or_null(TYPES[known_type(field["type"]) or ""]) for field in collection["fields"]}
    return {"validator": {"$jsonSchema": {"bsonType": "object", "properties": properties}}}


def _or_null(schema: Document) -> Document:
    return {"anyOf": [*schema.get("anyOf", [schema]), {"bsonType": "null"}]}
