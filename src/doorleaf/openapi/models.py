"""JSON Schemas of pydantic models and typed dictionaries, as generators of clients like them.

No titles, since a generator makes a type of each; no defaults, since a field with one is taken for one that has to be
sent; and a type that may be null is a list of types where it can be.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from doorleaf.openapi.schemas import Schema

_REFERENCE = "#/components/schemas/{model}"


class _Generator(GenerateJsonSchema):
    def nullable_schema(self, schema: Any) -> JsonSchemaValue:
        made = super().nullable_schema(schema)
        inner = [one for one in made.get("anyOf", []) if one != {"type": "null"}]
        if len(inner) == 1 and isinstance(inner[0].get("type"), str):
            return {**inner[0], "type": [inner[0]["type"], "null"]}
        return made

    def default_schema(self, schema: Any) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def schemas_of(types: Collection[Any]) -> tuple[list[Schema], Schema]:
    """The schema of each of ``types``, mostly a reference, and the named schemas that they refer to."""
    inputs: list[Any] = [(number, "validation", TypeAdapter(kind)) for number, kind in enumerate(types)]
    found, named = TypeAdapter.json_schemas(inputs, ref_template=_REFERENCE, schema_generator=_Generator)
    definitions = named.get("$defs", {})
    return [found[number, "validation"] for number in range(len(inputs))], _untitled(definitions)


def parameters_of(query: type[BaseModel]) -> list[Schema]:
    """The parameters of a query string."""
    schema = query.model_json_schema(schema_generator=_Generator)
    needed = schema.get("required", [])
    return [
        _parameter(name, dict(described), name in needed, query.model_fields[name].default)
        for name, described in schema["properties"].items()
    ]


def _parameter(name: str, schema: Schema, needed: bool, default: Any) -> Schema:
    description = schema.pop("description", "")
    if isinstance(schema.get("type"), list):  # what is not there is left out
        [schema["type"]] = [kind for kind in schema["type"] if kind != "null"]
    if not needed and default is not None:
        schema["default"] = default
    found: Schema = {"name": name, "in": "query", "schema": schema, "description": description}
    return found | ({"required": True} if needed else {})


def _untitled(definitions: Mapping[str, Schema]) -> Schema:
    return {
        name: {key: value for key, value in schema.items() if key != "title"} for name, schema in definitions.items()
    }
