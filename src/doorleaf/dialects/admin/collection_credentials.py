"""The credentials of collections over HTTP, for administrators: list, make, rotate, revoke.

A credential's text is answered when it is made or rotated, and at no other time.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Literal, NotRequired, Protocol, cast

from pydantic import Field, SkipValidation, with_config
from typing_extensions import TypedDict

from doorleaf.dialects.about import About, Gives
from doorleaf.dialects.admin.keys import TAG
from doorleaf.dialects.admin.models import (
    CLOSED,
    Addresses,
    AdminKeyRotation,
    Overlap,
    Quotas,
    Rate,
)
from doorleaf.dialects.base import Request, Route
from doorleaf.dialects.bodies import Body, Moment, NonEmpty, Nothing, Text, optional, text
from doorleaf.dialects.handling import handled
from doorleaf.documents import Document
from doorleaf.errors import InvalidParameter
from doorleaf.operations import Namespace
from doorleaf.operations.places import Places

PATH = "/api/admin/v1/connectome"
KINDS = ("read", "write")


class CollectionCredentials(Protocol):
    """The keeper of the credentials of collections; every method may raise RequestError."""

    async def create(
        self,
        namespace: Namespace,
        kinds: Collection[str],
        *,
        expires: datetime | None = None,
        rights: Mapping[str, Any] | None = None,
        by: Request,
    ) -> Document: ...

    async def rotate(self, identifier: str, overlap: float = 0, *, by: Request) -> Document: ...

    async def revoke(self, identifier: str, *, by: Request) -> Document: ...

    async def get(self, identifier: str) -> Document: ...

    async def listed(self) -> list[Document]: ...


def _kind(value: Any, name: str) -> Any:
    if value not in KINDS:
        raise InvalidParameter(f"{name}: expected read or write")
    return value


class AdminCredentialsRequest(Body):
    database: Text
    collection: Text
    data_source: Annotated[str | None, optional(text, NonEmpty), Field(description="One of several data sources.")] = (
        None
    )
    kind: Annotated[
        str | None, optional(_kind, Literal[KINDS]), Field(description="Make only this one; both without it.")
    ] = None
    expires: Annotated[Moment, Field(description="When they end; null is never.")] = None
    addresses: Addresses = None
    rate: Rate = None
    quotas: Quotas = None


@with_config(CLOSED)
class AdminCollectionCredential(TypedDict):
    id: str
    collection_id: str
    data_source: str
    database: str
    collection: str
    kind: Literal["read", "write"]
    created: datetime
    expires: Annotated[datetime | None, Field(description="When it ends; null is never.")]
    last_used: datetime | None
    state: Literal["active", "expired", "revoked"]
    revoked: NotRequired[datetime]
    rotated: NotRequired[datetime]
    previous: NotRequired[
        Annotated[Overlap, Field(description="After a rotation: until when the text before is valid.")]
    ]
    addresses: NotRequired[Annotated[Addresses, SkipValidation]]
    rate: NotRequired[Rate]
    quotas: NotRequired[Quotas]


@with_config(CLOSED)
class AdminRotatedCredential(AdminCollectionCredential):
    credential: Annotated[str, Field(description="The credential itself, answered this once.")]


@with_config(CLOSED)
class AdminCredentialIds(TypedDict, total=False):
    read: str
    write: str


@with_config(CLOSED)
class AdminNewCredentials(TypedDict):
    collection_id: str
    data_source: str
    database: str
    collection: str
    expires: datetime | None
    ids: Annotated[AdminCredentialIds, Field(description="The ids of the credentials, to rotate and revoke them.")]
    read_credential: Annotated[str | None, Field(description="Answered this once; null where none was asked for.")]
    write_credential: Annotated[str | None, Field(description="Answered this once; null where none was asked for.")]


@with_config(CLOSED)
class AdminCollectionCredentials(TypedDict):
    credentials: list[AdminCollectionCredential]


_about = partial(About, tag=TAG, refuses=("CredentialNotFound",))

LIST = About(summary="List the credentials of collections", tag=TAG, gives=Gives(content=AdminCollectionCredentials))
CREATE = About(
    summary="Make credentials that read and write one collection",
    tag=TAG,
    takes=AdminCredentialsRequest,
    example={"database": "shop", "collection": "movies", "expires": "2100-01-31T00:00:00Z", "rate": "20/second"},
    gives=Gives(content=AdminNewCredentials, status=201, description="Made."),
)
GET = _about(summary="Describe a credential of a collection", gives=Gives(content=AdminCollectionCredential))
ROTATE = _about(
    summary="Give a credential of a collection a new text",
    takes=AdminKeyRotation,
    optional=True,
    example={"overlap_seconds": 3600},
    gives=Gives(content=AdminRotatedCredential),
)
REVOKE = _about(
    summary="End a credential of a collection for good; it stays listed",
    takes=Nothing,
    optional=True,
    gives=Gives(content=AdminCollectionCredential),
)


def credential_routes(credentials: CollectionCredentials, places: Places) -> tuple[Route, ...]:
    """The routes of the credentials of collections."""
    one = f"{PATH}/{{id}}"

    async def listed(request: Request, given: None) -> AdminCollectionCredentials:
        return {"credentials": cast("list[AdminCollectionCredential]", await credentials.listed())}

    async def get(request: Request, given: None) -> Document:
        return await credentials.get(request.params["id"])

    async def create(request: Request, given: AdminCredentialsRequest) -> Document:
        return await credentials.create(
            places.locate(given.data_source, given.database, given.collection),
            KINDS if given.kind is None else (given.kind,),
            expires=given.expires,
            rights={"addresses": given.addresses, "rate": given.rate, "quotas": given.quotas},
            by=request,
        )

    async def rotate(request: Request, given: AdminKeyRotation) -> Document:
        return await credentials.rotate(request.params["id"], given.overlap_seconds or 0, by=request)

    async def revoke(request: Request, given: Nothing) -> Document:
        return await credentials.revoke(request.params["id"], by=request)

    return (
        handled("GET", PATH, "adminListCollectionCredentials", listed, LIST),
        handled("POST", PATH, "adminCreateCollectionCredentials", create, CREATE),
        handled("GET", one, "adminGetCollectionCredential", get, GET),
        handled("POST", f"{one}/rotate", "adminRotateCollectionCredential", rotate, ROTATE),
        handled("POST", f"{one}/revoke", "adminRevokeCollectionCredential", revoke, REVOKE),
    )
