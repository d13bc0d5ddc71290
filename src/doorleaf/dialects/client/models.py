"""What the App Services client API takes and gives: accounts, users' own keys, function calls."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Required

from pydantic import ConfigDict, Field, PlainValidator, with_config
from typing_extensions import TypedDict

from doorleaf.dialects.bodies import Body, NonEmpty, Query
from doorleaf.errors import DoorleafError, InvalidParameter


def _required(name: str) -> InvalidParameter:
    return InvalidParameter(f"'{name}' is a required string.")  # what clients of this API know


class ClientBody(Body):
    """A body of this API, in which unknown fields are ignored."""

    model_config = ConfigDict(extra="ignore")

    @classmethod
    def missing(cls, name: str) -> DoorleafError:
        return _required(name)


def _text(value: Any, info: Any) -> str:
    if type(value) is not str or not value:
        raise _required(info.field_name)
    return value


Text = Annotated[str, PlainValidator(_text, json_schema_input_type=NonEmpty)]
Address = Annotated[Text, Field(description="The email address.")]
Password = Annotated[Text, Field(description="The password, of 6 to 128 characters.")]


class Registration(ClientBody):
    email: Address
    password: Password


class AccountAddress(ClientBody):
    email: Address


class MailedToken(ClientBody):
    """The token of a mail."""

    token: Text
    tokenId: Text  # the clients' name


class PasswordReset(ClientBody):
    """A new password, and what a mail said."""

    password: Password
    token: Text
    tokenId: Text  # the clients' name


class UserKeyName(ClientBody):
    name: Text


class Location(TypedDict):
    deployment_model: Literal["GLOBAL"]
    location: str
    hostname: str
    ws_hostname: str


class Profile(TypedDict):
    user_id: str
    type: Literal["normal", "server"]
    data: dict[str, Any]
    custom_data: dict[str, Any]
    identities: list[dict[str, Any]]


class UserKey(TypedDict):
    _id: str
    name: str
    disabled: bool


class NewUserKey(UserKey):
    key: Annotated[str, Field(description="The key itself, answered this once.", json_schema_extra={"readOnly": True})]


class Nothing(TypedDict):
    """An empty object."""


@with_config(ConfigDict(extra="allow"))
class CallArgument(TypedDict, total=False):
    """Where the call acts; the fields of the call itself stand beside it, in Extended JSON."""

    database: Required[NonEmpty]
    collection: Required[NonEmpty]


class FunctionCall(Body):
    """A call of a service, as the collections of the SDKs make it."""

    model_config = ConfigDict(extra="allow")

    name: Annotated[NonEmpty, Field(description="The call, such as `find` or `insertOne`.")]
    arguments: Annotated[list[CallArgument], Field(min_length=1, max_length=1)]
    service: Annotated[NonEmpty, Field(description="A data source, by name or alias.")]


class StreamedCall(Query):
    baas_request: Annotated[
        str, Field(description="The call `watch` in Base64: `name`, `service`, and `arguments` with one object.")
    ]
    baas_at: Annotated[str, Field(description="The access token, for clients that can set no header.")] = ""
