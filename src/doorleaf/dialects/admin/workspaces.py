"""Tenants and workspaces over HTTP, for administrators: list, make, change, delete, and what opens them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Protocol

from pydantic import Field, SkipValidation, with_config
from typing_extensions import TypedDict

from doorleaf.dialects.about import About, Gives
from doorleaf.dialects.admin.keys import TAG
from doorleaf.dialects.admin.models import CLOSED
from doorleaf.dialects.base import Request, Route
from doorleaf.dialects.bodies import Body, Flag, MaybeObject, Moment, Nothing, Query, Text, between, optional, text
from doorleaf.dialects.handling import handled
from doorleaf.documents import Document
from doorleaf.errors import InvalidParameter
from doorleaf.operations.fields import wrong

TENANTS = "/api/admin/v1/tenants"
WORKSPACES = "/api/admin/v1/workspaces"
HOUR = 3600
LONGEST = 366 * 86_400


class Workspaces(Protocol):
    """The keeper of tenants and workspaces; every method may raise RequestError."""

    async def create_tenant(self, name: str, *, id: str | None, by: Request) -> Document: ...

    async def tenants(self) -> list[Document]: ...

    async def delete_tenant(self, tenant: str, *, by: Request) -> None: ...

    async def create(
        self,
        tenant: str,
        *,
        id: str | None,
        database: str | None,
        shared: bool,
        data_source: str | None,
        quotas: Mapping[str, Any] | None,
        capabilities: Iterable[str] | None,
        by: Request,
    ) -> Document: ...

    async def listed(self, tenant: str | None = None) -> list[Document]: ...

    async def describe(self, workspace: str) -> Document: ...

    async def change(
        self,
        workspace: str,
        *,
        quotas: Mapping[str, Any] | None,
        capabilities: Iterable[str] | None,
        members: Mapping[str, Iterable[str] | None] | None,
        end_tokens: bool,
        by: Request,
    ) -> Document: ...

    async def delete(self, workspace: str, *, by: Request) -> None: ...

    async def token(
        self, workspace: str, scopes: Iterable[str], seconds: float, *, by: Request
    ) -> tuple[str, datetime]: ...

    async def create_key(
        self, workspace: str, name: str, *, scopes: Iterable[str], expires: datetime | None, by: Request
    ) -> Document: ...

    async def keys(self, workspace: str) -> list[Document]: ...

    async def revoke_key(self, workspace: str, key: str, *, by: Request) -> Document: ...


def _names(value: Any, name: str) -> list[str]:
    if type(value) is not list or not all(type(item) is str for item in value):
        raise wrong(name, "an array of strings", value)
    return value


def _members(value: Any, name: str) -> Document:
    if type(value) is not dict:
        raise wrong(name, "an object", value)
    for user, scopes in value.items():
        if scopes is not None and not _names(scopes, f"{name}.{user[:50]}"):
            raise InvalidParameter(f"{name}.{user[:50]}: must not be empty; null takes the member away")
    return value


Names = Annotated[list[str] | None, optional(_names, list[str])]
MaybeText = Annotated[str | None, optional(text, str)]
Scopes = Annotated[
    Names, Field(description="`mongo:read`, `mongo:write`, `mongo:admin`, `realtime:read`; all without.")
]


class TenantRequest(Body):
    name: Text
    id: MaybeText = None


class WorkspaceRequest(Body):
    tenant: Text
    id: MaybeText = None
    database: Annotated[MaybeText, Field(description="Its database; one named as its id without this.")] = None
    shared: Annotated[Flag, Field(description="Whether other workspaces may have the same database.")] = None
    data_source: MaybeText = None
    quotas: MaybeObject = None
    capabilities: Names = None


class WorkspaceChange(Body):
    quotas: Annotated[MaybeObject, Field(description="By kind; null takes one away.")] = None
    capabilities: Names = None
    members: Annotated[
        Document | None,
        optional(_members, dict[str, list[str] | None]),
        Field(description="The scopes of users by their ids; null takes a member away."),
    ] = None
    end_tokens: Annotated[Flag, Field(description="Whether to end the tokens that were issued until now.")] = None


class WorkspaceTokenRequest(Body):
    scopes: Scopes = None
    seconds: Annotated[
        int | None, optional(between(60, LONGEST), int), Field(description="How long it is good for; an hour without.")
    ] = None


class WorkspaceKeyRequest(Body):
    name: Text
    scopes: Scopes = None
    expires: Annotated[Moment, Field(description="When it ends; null is never.")] = None


class OfTenant(Query):
    tenant: MaybeText = None


@with_config(CLOSED)
class AdminTenant(TypedDict):
    id: str
    name: str
    created: datetime


@with_config(CLOSED)
class AdminTenants(TypedDict):
    tenants: list[AdminTenant]


@with_config(CLOSED)
class AdminWorkspace(TypedDict):
    id: str
    tenant: str
    data_source: str
    database: str
    shared: bool
    capabilities: list[str]
    quotas: dict[str, int]
    members: dict[str, list[str]]
    created: datetime


@with_config(CLOSED)
class AdminWorkspaces(TypedDict):
    workspaces: list[AdminWorkspace]


@with_config(CLOSED)
class AdminWorkspaceToken(TypedDict):
    id: str
    token: str
    expires_at: datetime


@with_config(CLOSED)
class AdminWorkspaceKey(TypedDict):
    id: str
    workspace: str
    name: str
    scopes: list[str]
    created: datetime
    expires: datetime | None
    revoked: datetime | None


@with_config(CLOSED)
class AdminNewWorkspaceKey(AdminWorkspaceKey):
    key: Annotated[str, Field(description="The key itself, answered this once."), SkipValidation]


@with_config(CLOSED)
class AdminWorkspaceKeys(TypedDict):
    keys: list[AdminWorkspaceKey]


_about = partial(About, tag=TAG)
_of_one = partial(About, tag=TAG, refuses=("WorkspaceNotFound",))
_LIST_TENANTS = _about(summary="List the tenants", gives=Gives(content=AdminTenants))
_CREATE_TENANT = _about(
    summary="Make a tenant",
    takes=TenantRequest,
    example={"name": "Acme", "id": "acme"},
    gives=Gives(content=AdminTenant, status=201, description="Made."),
    refuses=("TenantAlreadyExists",),
)
_DELETE_TENANT = _about(
    summary="Forget a tenant that has no workspaces", gives=Gives(status=204), refuses=("TenantNotFound",)
)
_LIST = _about(summary="List the workspaces", query=OfTenant, gives=Gives(content=AdminWorkspaces))
_CREATE = _about(
    summary="Make a workspace",
    takes=WorkspaceRequest,
    example={"tenant": "acme", "id": "acme-orders", "quotas": {"collections": 10}},
    gives=Gives(content=AdminWorkspace, status=201, description="Made."),
    refuses=("TenantNotFound", "WorkspaceAlreadyExists"),
)
_GET = _of_one(summary="Describe a workspace", gives=Gives(content=AdminWorkspace))
_CHANGE = _of_one(
    summary="Change a workspace; what is not named stays as it is",
    takes=WorkspaceChange,
    example={"quotas": {"documents": 1000}},
    gives=Gives(content=AdminWorkspace),
)
_DELETE = _of_one(summary="Forget a workspace with its keys; its documents stay", gives=Gives(status=204))
_TOKEN = _of_one(
    summary="Make a Bearer token for a workspace",
    takes=WorkspaceTokenRequest,
    optional=True,
    example={"scopes": ["mongo:read"], "seconds": 3600},
    gives=Gives(content=AdminWorkspaceToken, status=201, description="Made."),
)
_KEYS = _of_one(summary="List the keys of a workspace", gives=Gives(content=AdminWorkspaceKeys))
_CREATE_KEY = _of_one(
    summary="Make a key of a workspace",
    takes=WorkspaceKeyRequest,
    example={"name": "shop", "scopes": ["mongo:read", "mongo:write"]},
    gives=Gives(content=AdminNewWorkspaceKey, status=201, description="Made."),
)
_REVOKE_KEY = _about(
    summary="End a key of a workspace for good",
    takes=Nothing,
    optional=True,
    gives=Gives(content=AdminWorkspaceKey),
    refuses=("WorkspaceKeyNotFound",),
)


def tenant_routes(workspaces: Workspaces) -> tuple[Route, ...]:
    """The routes of tenants."""

    async def listed(request: Request, given: None) -> Document:
        return {"tenants": await workspaces.tenants()}

    async def create(request: Request, given: TenantRequest) -> Document:
        return await workspaces.create_tenant(given.name, id=given.id, by=request)

    async def delete(request: Request, given: None) -> None:
        await workspaces.delete_tenant(request.params["tenant"], by=request)

    return (
        handled("GET", TENANTS, "adminListTenants", listed, _LIST_TENANTS),
        handled("POST", TENANTS, "adminCreateTenant", create, _CREATE_TENANT),
        handled("DELETE", f"{TENANTS}/{{tenant}}", "adminDeleteTenant", delete, _DELETE_TENANT),
    )


def workspace_routes(workspaces: Workspaces) -> tuple[Route, ...]:
    """The routes of workspaces, their tokens and their keys."""
    one = f"{WORKSPACES}/{{workspace}}"

    async def listed(request: Request, given: OfTenant) -> Document:
        return {"workspaces": await workspaces.listed(given.tenant)}

    async def create(request: Request, given: WorkspaceRequest) -> Document:
        return await workspaces.create(
            given.tenant,
            id=given.id,
            database=given.database,
            shared=given.shared or False,
            data_source=given.data_source,
            quotas=given.quotas,
            capabilities=given.capabilities,
            by=request,
        )

    async def get(request: Request, given: None) -> Document:
        return await workspaces.describe(request.params["workspace"])

    async def change(request: Request, given: WorkspaceChange) -> Document:
        return await workspaces.change(
            request.params["workspace"],
            quotas=given.quotas,
            capabilities=given.capabilities,
            members=given.members,
            end_tokens=given.end_tokens or False,
            by=request,
        )

    async def delete(request: Request, given: None) -> None:
        await workspaces.delete(request.params["workspace"], by=request)

    async def token(request: Request, given: WorkspaceTokenRequest) -> Document:
        name = request.params["workspace"]
        made, until = await workspaces.token(name, given.scopes or (), given.seconds or HOUR, by=request)
        return {"id": name, "token": made, "expires_at": until}

    return (
        handled("GET", WORKSPACES, "adminListWorkspaces", listed, _LIST),
        handled("POST", WORKSPACES, "adminCreateWorkspace", create, _CREATE),
        handled("GET", one, "adminGetWorkspace", get, _GET),
        handled("PATCH", one, "adminChangeWorkspace", change, _CHANGE),
        handled("DELETE", one, "adminDeleteWorkspace", delete, _DELETE),
        handled("POST", f"{one}/token", "adminCreateWorkspaceToken", token, _TOKEN),
        *_key_routes(workspaces, f"{one}/keys"),
    )


def _key_routes(workspaces: Workspaces, path: str) -> tuple[Route, ...]:
    async def keys(request: Request, given: None) -> Document:
        return {"keys": await workspaces.keys(request.params["workspace"])}

    async def create_key(request: Request, given: WorkspaceKeyRequest) -> Document:
        return await workspaces.create_key(
            request.params["workspace"], given.name, scopes=given.scopes or (), expires=given.expires, by=request
        )

    async def revoke_key(request: Request, given: Nothing) -> Document:
        return await workspaces.revoke_key(request.params["workspace"], request.params["key"], by=request)

    return (
        handled("GET", path, "adminListWorkspaceKeys", keys, _KEYS),
        handled("POST", path, "adminCreateWorkspaceKey", create_key, _CREATE_KEY),
        handled("POST", f"{path}/{{key}}/revoke", "adminRevokeWorkspaceKey", revoke_key, _REVOKE_KEY),
    )
