"""How an operation's fields look on the wire: their names, kinds, defaults and meanings."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import MISSING, dataclass, field, fields
from enum import Enum
from functools import cache
from typing import Any, cast

from doorleaf.operations.results import camel


class Kind(Enum):
    """The kind of value that a field of an operation may hold."""

    DOCUMENT = "an object"
    DOCUMENTS = "a non-empty array of objects"
    PIPELINE = "an array of objects"
    UPDATE = "an object, or a non-empty array of pipeline stages"
    STRING = "a non-empty string"
    COUNT = "a non-negative integer"
    BOOLEAN = "true or false"
    HINT = "an index name or a key pattern"
    VALUE = "any value"
    WRITES = "a non-empty array of write operations"


@dataclass(frozen=True, slots=True)
class Alias:
    """A second wire name of a parameter; ``values`` translates what it may hold."""

    name: str
    values: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Parameter:
    """One field of an operation as the wire knows it."""

    name: str
    attribute: str
    kind: Kind
    required: bool
    default: Any
    meaning: str
    alias: Alias | None


def parameter(
    kind: Kind,
    meaning: str,
    *,
    default: Any = None,
    required: bool = False,
    wire: str | None = None,
    alias: Alias | None = None,
) -> Any:
    """Declare a field that clients may send; ``required`` ones have no default."""
    metadata = {"kind": kind, "meaning": meaning, "alias": alias, "wire": wire}
    if required:
        return field(metadata=metadata)
    if isinstance(default, (dict, list)):
        return field(default_factory=type(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def parameters(operation: type[Any]) -> tuple[Parameter, ...]:
    """The fields of ``operation`` that clients may send, what is required first; ``namespace`` is none of them."""
    return _parameters(cast(Hashable, operation))


@cache
def _parameters(operation: Hashable) -> tuple[Parameter, ...]:
    listed = []
    for item in fields(cast(Any, operation)):
        if "kind" not in item.metadata:
            continue
        required = item.default is MISSING and item.default_factory is MISSING
        default = item.default_factory() if item.default_factory is not MISSING else item.default
        listed.append(
            Parameter(
                name=item.metadata.get("wire") or camel(item.name),
                attribute=item.name,
                kind=item.metadata["kind"],
                required=required,
                default=None if required else default,
                meaning=item.metadata["meaning"],
                alias=item.metadata["alias"],
            )
        )
    return tuple(sorted(listed, key=lambda item: not item.required))
