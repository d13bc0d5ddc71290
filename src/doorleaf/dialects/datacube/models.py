"""What the DataCube API takes and gives: accounts and keys."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field, PlainValidator, ValidationInfo
from typing_extensions import TypedDict

from doorleaf.dialects.bodies import Body, Moment, Query
from doorleaf.errors import DoorleafError, InvalidParameter, MissingParameter
from doorleaf.operations.fields import described, unicode_text

LONGEST = 100
SHORTEST_PASSWORD = 8
_LONGEST_TEXT = 4096


def mistake(name: str, text: str) -> InvalidParameter:
    """The error of one field, which its clients find under the field's name."""
    return InvalidParameter(f"{name}: {text}", fields={"detail": {name: [text]}, name: [text]})


def mistake_at(where: str, text: str) -> InvalidParameter:
    """The error of what is at the path ``where``, which is told at the field that this begins with."""
    name = re.split(r"[.\[]", where, maxsplit=1)[0]
    if name == where:
        return mistake(name, text)
    told = f"{where}: {text}"
    return InvalidParameter(told, fields={"detail": {name: [told]}, name: [told]})


class CubeBody(Body):
    """A body; what misses is told as its clients know it."""

    @classmethod
    def missing(cls, name: str) -> DoorleafError:
        text = "This field is required."
        return MissingParameter(f"{name}: {text}", fields={"detail": {name: [text]}, name: [text]})


class CubeQuery(Query):
    """Parameters; what misses is told as its clients know it."""

    @classmethod
    def missing(cls, name: str) -> DoorleafError:
        return CubeBody.missing(name)


def _text(value: Any, info: ValidationInfo) -> str:
    name = info.field_name or ""
    if value is None:
        raise CubeBody.missing(name)
    if type(value) is not str:
        raise mistake(name, f"Not a valid string: got {described(value)}.")
    if not value.strip():
        raise mistake(name, "This field may not be blank.")
    if len(value) > _LONGEST_TEXT:
        raise mistake(name, f"Ensure this field has no more than {_LONGEST_TEXT} characters.")
    return unicode_text(value, name)


def _short(value: Any, info: ValidationInfo) -> str:
    found = _text(value, info)
    if len(found) > LONGEST:
        raise mistake(info.field_name or "", f"Ensure this field has no more than {LONGEST} characters.")
    return found


def _maybe_short(value: Any, info: ValidationInfo) -> str | None:
    return None if value is None else _short(value, info)


def _password(value: Any, info: ValidationInfo) -> str:
    found = _text(value, info)
    if len(found) < SHORTEST_PASSWORD:
        raise mistake("password", f"Ensure this field has at least {SHORTEST_PASSWORD} characters.")
    return found


def _address(value: Any, info: ValidationInfo) -> str:
    found = _text(value, info).strip()
    local, at, domain = found.rpartition("@")
    if not at or not local or "." not in domain:
        raise mistake(info.field_name or "", "Enter a valid email address.")
    return found


def _anything(value: Any, info: ValidationInfo) -> str:
    return value if type(value) is str else ""


Filled = Annotated[str, Field(min_length=1)]
Text = Annotated[str, PlainValidator(_text, json_schema_input_type=Filled)]
Name = Annotated[str, PlainValidator(_short, json_schema_input_type=Filled)]
MaybeName = Annotated[str | None, PlainValidator(_maybe_short, json_schema_input_type=Filled | None)]
Password = Annotated[
    str, PlainValidator(_password, json_schema_input_type=Filled), Field(description="8 to 128 characters.")
]
Email = Annotated[str, PlainValidator(_address, json_schema_input_type=Filled), Field(description="The email address.")]
Loose = Annotated[str, PlainValidator(_anything, json_schema_input_type=Filled)]


class CubeRegistration(CubeBody):
    email: Email
    firstName: Name  # the clients' names
    lastName: Name
    password: Password


class CubeLogin(CubeBody):
    email: Loose = ""
    password: Loose = ""


class CubeRefresh(CubeBody):
    refresh: Text


class CubeFarewell(CubeBody):
    password: Text


class CubeAddress(CubeBody):
    email: Email


class CubeMailed(CubeQuery):
    token: Text
    tokenId: Text


class CubeReset(CubeBody):
    password: Password


class CubeCodeReset(CubeReset):
    """``email`` may be there, and is not needed: the code says whose it is."""

    code: Text
    email: Loose = ""


class CubeNewProfile(CubeBody):
    firstName: MaybeName = None
    lastName: MaybeName = None


class CubeMessage(TypedDict):
    message: Annotated[str, Field(description="What was done, for people.")]


class CubeTokens(TypedDict):
    access: Annotated[str, Field(description="The access token.")]
    refresh: Annotated[str, Field(description="The refresh token.")]


class CubeLoggedIn(CubeTokens):
    firstName: str
    lastName: str
    role: str
    email_verified: bool


class CubeProfile(TypedDict):
    id: str
    email: str
    firstName: str
    lastName: str
    role: str
    is_email_verified: bool


# --- keys ---------------------------------------------------------------------------------------------------------

PERMISSIONS = ("read", "write", "admin")


def _permissions(value: Any, info: ValidationInfo) -> list[str] | None:
    if value is None:
        return None
    listed = [value] if type(value) is str else value
    if type(listed) is not list or not listed or any(one not in PERMISSIONS for one in listed if type(one) is str):
        raise mistake("permissions", f"Expected some of {', '.join(PERMISSIONS)}.")
    if not all(type(one) is str for one in listed):
        raise mistake("permissions", "Expected an array of strings.")
    return list(dict.fromkeys(listed))


def _ids(value: Any, info: ValidationInfo) -> list[str] | None:
    if value is None:
        return None
    if type(value) is not list or not value or len(value) > LONGEST or not all(type(one) is str for one in value):
        raise mistake(info.field_name or "", f"Expected 1 to {LONGEST} ids of databases.")
    return list(dict.fromkeys(value))


class CubeNewKey(CubeBody):
    name: Name
    permissions: Annotated[
        list[str] | None,
        PlainValidator(_permissions, json_schema_input_type=list[Literal["read", "write", "admin"]] | None),
        Field(description="What the key may; everything without them."),
    ] = None
    database_ids: Annotated[
        list[str] | None,
        PlainValidator(_ids, json_schema_input_type=list[str] | None),
        Field(description="The only databases that the key reaches."),
    ] = None
    expires_at: Annotated[Moment, Field(description="When the key ends.")] = None


class CubeKey(TypedDict):
    """A key without its text."""

    _id: str
    id: str
    user_id: str
    name: str
    is_active: bool
    created_at: Any
    key_display: str
    permissions: list[str]
    database_ids: list[str] | None
    expires_at: Any
    last_used_at: Any


class NewCubeKey(CubeKey):
    """A key with its text, which cannot be had again."""

    key: NotRequired[str]
