"""Bodies and queries of requests as pydantic models, whose mistakes are told in the words of the actions.

A mistake names the field, what was expected, and the type that came. Each kind of field has one check, which raises by
itself; pydantic knows which fields there are, and describes them for the OpenAPI document. ``null`` in a field that may
be left out means that it was.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError, ValidationInfo

from doorleaf.documents import Document
from doorleaf.errors import DoorleafError, InvalidParameter, MissingParameter
from doorleaf.operations.fields import CHECKS, Check, count, unicode_text, wrong
from doorleaf.operations.parameters import Kind

_DATE = "a date such as 2030-01-31T00:00:00Z"


class Taken(BaseModel):
    """The body or query of a request, field by field; a field that is not declared is refused."""

    model_config = ConfigDict(extra="forbid", defer_build=True)  # most are of routes that few servers are asked for
    called: ClassVar[str] = "field"

    @classmethod
    def read(cls, given: Document) -> Self:
        """The model of ``given``. Raises InvalidParameter or MissingParameter, which name the field."""
        try:
            return cls.model_validate(cls._few(given))
        except ValidationError as error:
            raise cls._mistake(error) from None

    @classmethod
    def _few(cls, given: Document) -> Document:
        """``given`` with one unknown field of many: pydantic makes an error of each."""
        names = cls.names()
        if len(given) <= len(names) or cls.model_config.get("extra") != "forbid":
            return given
        unknown = next(name for name in given if name not in names)
        return {name: given[name] for name in (*names, unknown) if name in given}

    @classmethod
    def missing(cls, name: str) -> DoorleafError:
        """The error where the field ``name`` is absent."""
        return MissingParameter(f"{name} is required")

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The names of the fields as requests write them."""
        return tuple(field.alias or name for name, field in cls.model_fields.items())

    @classmethod
    def _mistake(cls, error: ValidationError) -> DoorleafError:
        """The error for a field that is unknown or, where none is, for one that is missing."""
        listed = error.errors(include_url=False, include_input=False, include_context=False)
        first = min(listed, key=lambda one: one["type"] == "missing")
        name = str(first["loc"][0])
        if first["type"] == "missing":
            return cls.missing(name)
        names = cls.names()
        there = f"there are {', '.join(names)}" if names else "there are none"
        return InvalidParameter(f"{name[:100]}: no such {cls.called}; {there}")


class Body(Taken):
    """The body of a request."""


class Nothing(Body):
    """The body of a request that has nothing to say."""


class Query(Taken):
    """The parameters in the query string of a request; their values are text."""

    called = "parameter"


def required(check: Check, kind: Any) -> PlainValidator:
    """Judges a field that has to be there by ``check``; the document describes it as ``kind``."""

    def judge(value: Any, info: ValidationInfo) -> Any:
        name = _name(info)
        if value is None:
            raise MissingParameter(f"{name} is required")
        return check(value, name)

    return PlainValidator(judge, json_schema_input_type=kind)


def present(check: Check, kind: Any) -> PlainValidator:
    """Judges a field that has to be there by ``check``, ``null`` as well; the document describes it as ``kind``."""
    return PlainValidator(lambda value, info: check(value, _name(info)), json_schema_input_type=kind)


def optional(check: Check, kind: Any) -> PlainValidator:
    """Judges a field that may be absent or null by ``check``; the document describes it as ``kind``, or null."""

    def judge(value: Any, info: ValidationInfo) -> Any:
        return None if value is None else check(value, _name(info))

    return PlainValidator(judge, json_schema_input_type=kind | None)


def _name(info: ValidationInfo) -> str:
    return (info.field_name or "").removesuffix("_")  # names of fields that are words of Python end with one


def text(value: Any, name: str) -> str:
    """A text that is Unicode and not too long."""
    found: str = CHECKS[Kind.STRING](value, name)
    if len(found) > _LONGEST:
        raise InvalidParameter(f"{name}: is longer than {_LONGEST} characters")
    return unicode_text(found, name)


def one_of(names: Any, value: Any, name: str) -> str:
    """One of the texts ``names``."""
    if type(value) is not str or value not in names:
        raise InvalidParameter(f"{name}: expected one of {', '.join(names)}")
    return value


def between(least: int, most: int) -> Callable[[Any, str], int]:
    """The check of a whole number from ``least`` to ``most``."""

    def check(value: Any, name: str) -> int:
        found = count(value, name)
        if found < least:
            raise InvalidParameter(f"{name}: {found} is below {least}")
        if found > most:
            raise InvalidParameter(f"{name}: {found} is above {most}")
        return found

    return check


def moment(value: Any, name: str) -> datetime:
    """A date in the future, as ISO 8601 or Extended JSON, in naive UTC."""
    if type(value) is str:
        try:
            value = datetime.fromisoformat(value)
            value = value if value.tzinfo is None else value.astimezone(UTC).replace(tzinfo=None)
        except (ValueError, OverflowError):
            raise InvalidParameter(f"{name}: expected {_DATE}") from None
    if not isinstance(value, datetime):
        raise wrong(name, _DATE, value)
    if value <= datetime.now(UTC).replace(tzinfo=None):
        raise InvalidParameter(f"{name}: is in the past")
    return value


_LONGEST = 1024
"""Characters of a text."""

NonEmpty = Annotated[str, Field(min_length=1)]
Text = Annotated[str, required(text, NonEmpty)]
Object = Annotated[Document, present(CHECKS[Kind.DOCUMENT], dict[str, Any])]
Flag = Annotated[bool | None, optional(CHECKS[Kind.BOOLEAN], bool)]
Moment = Annotated[datetime | None, optional(moment, datetime)]
MaybeObject = Annotated[Document | None, optional(CHECKS[Kind.DOCUMENT], dict[str, Any])]
