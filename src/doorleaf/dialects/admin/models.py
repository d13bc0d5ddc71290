"""What the administration takes and gives: keys, users, accounts, sessions, questions."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Annotated, Any, Literal, NotRequired

from pydantic import ConfigDict, Field, SkipValidation, with_config
from typing_extensions import TypedDict

from doorleaf.dialects.bodies import (
    Body,
    Flag,
    MaybeObject,
    Moment,
    NonEmpty,
    Object,
    Query,
    between,
    one_of,
    optional,
    required,
    text,
)
from doorleaf.documents import Document
from doorleaf.errors import InvalidParameter
from doorleaf.operations import OPERATIONS
from doorleaf.operations.fields import wrong
from doorleaf.settings.providers import PROVIDERS as EVERY_PROVIDER

CLOSED = ConfigDict(extra="forbid")
PROVIDERS = tuple(name for name in EVERY_PROVIDER if name != "api-key")
"""The ways to authenticate that have users."""
MOST_OVERLAP = 90 * 86_400
PAGE, LARGEST_PAGE = 50, 500

Names = Annotated[Annotated[list[NonEmpty], Field(min_length=1)] | None, SkipValidation]
"""A list of names, which those who keep the keys judge, as they do for the command line."""

Password = Annotated[
    str, required(text, Annotated[str, Field(min_length=6, max_length=128, json_schema_extra={"format": "password"})])
]
Email = Annotated[str, required(text, Annotated[str, Field(min_length=3)])]
KeyName = Annotated[str, Field(pattern="^[A-Za-z0-9_-]{1,100}$", description="The key's name.")]

# What a key may be limited to, each with its meaning.
Roles = Annotated[
    Names,
    Field(
        description="Names of roles that judge the key; without any, rules choose by `apply_when`.",
        examples=[["editor"]],
    ),
]
DataSources = Annotated[Names, Field(description="The only data sources it may reach.", examples=[["main"]])]
Databases = Annotated[Names, Field(description="The only databases it may reach.", examples=[["shop"]])]
Collections = Annotated[
    Names,
    Field(
        description="The only collections, as `database.collection` or by name in any database.", examples=[["orders"]]
    ),
]
Actions = Annotated[
    Names,
    Field(
        description="The only actions, by name, or all that `read`, `write` or `admin`; `metrics` is `/metrics`.",
        examples=[["read", "insertOne"]],
    ),
]
Addresses = Annotated[
    Names, Field(description="The only addresses and CIDR blocks it may be used from.", examples=[["192.0.2.0/24"]])
]
Rate = Annotated[str | None, SkipValidation, Field(description="Its rate.", examples=["20/second;5000/hour"])]
Quotas = Annotated[
    dict[str, Annotated[int, Field(ge=0)]] | None,
    SkipValidation,
    Field(
        description="What it may use: `requests_per_day`, `documents_per_month` and their kin.",
        examples=[{"requests_per_day": 10_000}],
    ),
]


class _Rights(Body):
    roles: Roles = None
    data_sources: DataSources = None
    databases: Databases = None
    collections: Collections = None
    actions: Actions = None
    addresses: Addresses = None
    rate: Rate = None
    quotas: Quotas = None

    def rights(self) -> Document:
        """The rights that the body names, ``null`` among them."""
        return {name: getattr(self, name) for name in RIGHTS if name in self.model_fields_set}


RIGHTS = tuple(_Rights.model_fields)
"""What a key may be limited to; null in a change takes a limit away."""


class AdminKeyRequest(_Rights):
    name: Annotated[str, required(text, KeyName)]
    admin: Annotated[Flag, Field(description="Whether rules do not judge it; it is not without this.")] = None
    expires: Annotated[Moment, Field(description="When it ends; null is never.")] = None


class AdminKeyChange(_Rights):
    disabled: Flag = None
    expires: Annotated[Moment, Field(description="When it ends; null is never.")] = None


class AdminKeyRotation(Body):
    overlap_seconds: Annotated[
        int | None,
        optional(between(0, MOST_OVERLAP), Annotated[int, Field(ge=0, le=MOST_OVERLAP)]),
        Field(description="How long the text before stays valid; 0 without this."),
    ] = None


@with_config(CLOSED)
class Overlap(TypedDict):
    until: datetime


@with_config(CLOSED)
class AdminKey(TypedDict):
    name: KeyName
    id: Annotated[str, Field(description="The user id that it stands for.")]
    admin: Annotated[bool, Field(description="Whether rules do not judge it.")]
    created: datetime
    expires: Annotated[datetime | None, Field(description="When it ends; null is never.")]
    expired: bool
    last_used: datetime | None
    disabled: bool
    revoked: NotRequired[Annotated[datetime, Field(description="When it was ended for good.")]]
    rotated: NotRequired[datetime]
    previous: NotRequired[
        Annotated[Overlap, Field(description="After a rotation: until when the text before is valid.")]
    ]
    roles: NotRequired[Roles]
    data_sources: NotRequired[DataSources]
    databases: NotRequired[Databases]
    collections: NotRequired[Collections]
    actions: NotRequired[Actions]
    addresses: NotRequired[Addresses]
    rate: NotRequired[Rate]
    quotas: NotRequired[Quotas]


@with_config(CLOSED)
class AdminNewKey(AdminKey):
    key: Annotated[str, Field(description="The key itself, answered this once.", json_schema_extra={"readOnly": True})]


@with_config(CLOSED)
class AdminKeys(TypedDict):
    keys: list[AdminKey]


class AdminUserRequest(Body):
    email: Email
    password: Password


class AdminPassword(Body):
    password: Password


class AdminAddress(Body):
    email: Email


@with_config(CLOSED)
class AdminUser(TypedDict):
    id: str
    type: Literal["normal"]
    data: Annotated[dict[str, Any], Field(description="What the provider says about the user.")]
    identities: list[dict[str, Any]]
    created: datetime | None
    last_authenticated: datetime | None
    disabled: bool


Next = Annotated[str | None, Field(description="`after` of the next page; null on the last.")]


@with_config(CLOSED)
class AdminUsers(TypedDict):
    users: list[AdminUser]
    next: Next


@with_config(CLOSED)
class AdminAccount(TypedDict):
    email: str
    user_id: str
    confirmed: bool
    created: datetime


@with_config(CLOSED)
class AdminAccounts(TypedDict):
    accounts: list[AdminAccount]
    next: Next


@with_config(CLOSED)
class AdminSession(TypedDict):
    id: str
    user_id: str
    provider: str
    created: datetime
    expires: datetime
    device: dict[str, Any] | None


@with_config(CLOSED)
class AdminSessions(TypedDict):
    sessions: list[AdminSession]


@with_config(CLOSED)
class AdminEnded(TypedDict):
    ended: Annotated[int, Field(description="How many there were.")]


def _limit(value: Any, name: str) -> int:
    if not value.isascii() or not value.isdigit() or not 1 <= int(value[:6]) <= LARGEST_PAGE:
        raise InvalidParameter(f"{name}: expected a number from 1 to {LARGEST_PAGE}")
    return int(value)


class AdminPage(Query):
    after: Annotated[str | None, Field(description="What `next` of the page before said.")] = None
    limit: Annotated[
        int,
        required(_limit, Annotated[int, Field(ge=1, le=LARGEST_PAGE)]),
        Field(description="Most entries to answer."),
    ] = PAGE


class AdminUsersPage(AdminPage):
    provider: Annotated[
        str | None,
        optional(partial(one_of, PROVIDERS), Literal[PROVIDERS]),
        Field(description="Only users of this provider."),
    ] = None
    search: Annotated[
        str | None,
        optional(text, NonEmpty),
        Field(description="Only users with this in their address or name, in any case, or with this id."),
    ] = None


@with_config(CLOSED)
class AdminCustomDataPlace(TypedDict):
    data_source: Annotated[str | None, Field(description="null is the default one.")]
    database: str
    collection: str
    field: Annotated[str, Field(description="The field with the user's id.")]


@with_config(CLOSED)
class AdminCustomData(TypedDict):
    custom_data: Annotated[dict[str, Any], Field(description="Empty where there is none.")]
    place: Annotated[AdminCustomDataPlace | None, Field(description="Where it is kept; null is nowhere.")]


@with_config(CLOSED)
class AdminDescribedUser(TypedDict, total=False):
    id: str
    type: Literal["normal", "server"]
    data: dict[str, Any]
    custom_data: dict[str, Any]
    identities: list[dict[str, Any]]
    roles: list[str]


def _who(value: Any, name: str) -> Any:
    if type(value) not in (str, dict):
        raise wrong(name, "a user's id, a key's name, or an object that describes a user", value)
    return value


class AdminExplainRequest(Body):
    action: Annotated[str, required(text, Literal[tuple(OPERATIONS)])]
    body: Annotated[Object, Field(description="What the action would be sent.")]
    document: Annotated[MaybeObject, Field(description="A stored document to judge too.")] = None
    as_: Annotated[
        Any,
        required(_who, str | AdminDescribedUser),
        Field(alias="as", description="Who would ask: a user's id, a key's name, or a user described here."),
    ]
