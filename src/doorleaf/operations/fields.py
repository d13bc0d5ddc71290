"""What a field of a request may hold: one check for each kind, with errors that name the field.

A check takes the value and the field's name, and returns the value to use. It raises
:class:`~doorleaf.errors.InvalidParameter` that says what was expected and what came.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from typing import Any

from bson import Code, Decimal128, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.binary import Binary
from bson.datetime_ms import DatetimeMS

from doorleaf.documents import Encoded
from doorleaf.errors import InvalidParameter
from doorleaf.operations.parameters import Kind, Parameter

Check = Callable[[Any, str], Any]

_NAMES: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (type(None), "null"),
    (bool, "a boolean"),
    (str, "a string"),
    ((int, float, Decimal128), "a number"),
    (dict, "an object"),
    (list, "an array"),
    (ObjectId, "an ObjectId"),
    ((datetime.datetime, DatetimeMS), "a date"),
    ((bytes, Binary), "binary data"),
    (Regex, "a regular expression"),
    (Timestamp, "a timestamp"),
    ((MinKey, MaxKey), "a key bound"),
)


def described(value: Any) -> str:
    """The type of ``value`` in the words of a JSON writer, ``an object`` for instance."""
    if isinstance(value, Code):
        return "JavaScript code"
    for kinds, name in _NAMES:
        if isinstance(value, kinds):
            return name
    return "a " + type(value).__name__


def wrong(name: str, expected: str, value: Any) -> InvalidParameter:
    """The error for a ``value`` of the wrong kind in the field ``name``."""
    return InvalidParameter(f"{name}: expected {expected}, got {described(value)}")


def _document(value: Any, name: str) -> Any:
    if type(value) is not dict:
        raise wrong(name, "an object", value)
    return value


def _string(value: Any, name: str) -> str:
    if type(value) is not str:
        raise wrong(name, "a non-empty string", value)
    if not value:
        raise InvalidParameter(f"{name}: expected a non-empty string, got an empty one")
    return value


def _boolean(value: Any, name: str) -> bool:
    if value is not True and value is not False:
        raise wrong(name, "true or false", value)
    return value


def count(value: Any, name: str) -> int:
    """A non-negative integer, however the number was written (``10``, ``10.0``, a long)."""
    kind = type(value)
    if kind is float and value.is_integer() and abs(value) < 2**63:
        value = int(value)
    elif kind is bool or not isinstance(value, int):
        if kind is float:
            raise InvalidParameter(f"{name}: expected a non-negative integer, got {value!r}")
        raise wrong(name, "a non-negative integer", value)
    if value < 0:
        raise InvalidParameter(f"{name}: expected a non-negative integer, got {int(value)}")
    return int(value)


def _objects(value: Any, name: str) -> Any:
    if type(value) is Encoded:
        return value
    if type(value) is not list:
        raise wrong(name, "an array of objects", value)
    for index, item in enumerate(value):
        if type(item) is not dict:
            raise wrong(f"{name}[{index}]", "an object", item)
    return value


def _some_objects(value: Any, name: str) -> Any:
    if not _objects(value, name):
        raise InvalidParameter(f"{name}: must provide at least one element")
    return value


def _update(value: Any, name: str) -> Any:
    if type(value) is dict:
        if not value:
            raise InvalidParameter(f"{name}: must not be empty")
        return value
    if type(value) is not list:
        raise wrong(name, Kind.UPDATE.value, value)
    return _some_objects(value, name)


def _hint(value: Any, name: str) -> Any:
    if type(value) is str:
        return _string(value, name)
    if type(value) is not dict:
        raise wrong(name, Kind.HINT.value, value)
    if not value:
        raise InvalidParameter(f"{name}: the key pattern is empty")
    return value


def _any(value: Any, name: str) -> Any:
    return value


def unicode_text(value: str, name: str) -> str:
    """``value``, which must have no half of a surrogate pair: what cannot be written is no key to anything."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidParameter(f"{name}: must be Unicode text") from None
    return value


CHECKS: Mapping[Kind, Check] = {
    Kind.DOCUMENT: _document,
    Kind.DOCUMENTS: _some_objects,
    Kind.PIPELINE: _objects,
    Kind.UPDATE: _update,
    Kind.STRING: _string,
    Kind.COUNT: count,
    Kind.BOOLEAN: _boolean,
    Kind.HINT: _hint,
    Kind.VALUE: _any,
    Kind.WRITES: _some_objects,
}


def checks(parameter: Parameter) -> dict[str, tuple[str, Check]]:
    """``parameter`` by wire name, aliases too: the attribute it fills and how its value is checked."""
    check = CHECKS[parameter.kind]
    found = {parameter.name: (parameter.attribute, check)}
    alias = parameter.alias
    if alias is not None:
        found[alias.name] = (parameter.attribute, _translated(dict(alias.values)) if alias.values else check)
    return found


def _translated(values: Mapping[str, Any]) -> Check:
    expected = " or ".join(f'"{value}"' for value in values)

    def check(value: Any, name: str) -> Any:
        if type(value) is not str:
            raise wrong(name, expected, value)
        if value not in values:
            raise InvalidParameter(f"{name}: expected {expected}, got another string")
        return values[value]

    return check
