"""API keys in the DataCube API: users make, list and revoke their own."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any, Protocol

from doorleaf.dialects.about import About, Gives
from doorleaf.dialects.base import Request, Route
from doorleaf.dialects.datacube import models
from doorleaf.dialects.datacube.handling import route
from doorleaf.documents import Document
from doorleaf.errors import NotFound, PermissionDenied

PATH = "/core/api/v1/keys"
SHOWN = "dlu_..."
_GONE = "Key not found or permission denied."
_about = partial(About, tag="DataCube keys")


class UserKeys(Protocol):
    """The keeper of the keys that users make for themselves; every method may raise RequestError."""

    async def create(
        self, user_id: str, name: str, *, limits: Mapping[str, Any], expires: datetime | None, by: Request
    ) -> Document: ...

    async def shown(self, user_id: str) -> list[Document]: ...

    async def delete(self, user_id: str, identifier: str, *, by: Request) -> None: ...


class Owned(Protocol):
    """Knows the databases of users by their ids."""

    async def physical(self, user_id: str, ids: list[str]) -> list[str]: ...


CREATE = _about(
    name="cubeCreateKey",
    summary="Make an API key",
    description="Its text is in `key`, and cannot be had again. A key that is limited makes no other keys.",
    takes=models.CubeNewKey,
    example={"name": "backend", "permissions": ["read", "write"]},
    gives=Gives(content=models.NewCubeKey, status=201, description="Made."),
    refuses=("MissingParameter", "APIKeyAlreadyExists", "NotFound"),
)
LIST = _about(
    name="cubeListKeys",
    summary="List the caller's API keys, without their texts",
    gives=Gives(content=list[models.CubeKey]),
)
REVOKE = _about(
    name="cubeRevokeKey",
    summary="End an API key",
    gives=Gives(status=204, description="Ended."),
    refuses=("APIKeyNotFound",),
)


def key_routes(keys: UserKeys, owned: Owned) -> list[Route]:
    """The routes of keys."""

    async def create(request: Request, given: models.CubeNewKey) -> Document:
        _require_whole(request)
        user_id = request.identity.id
        limits: Document = {}
        if given.permissions is not None and "admin" not in given.permissions:
            limits["actions"] = given.permissions
        if given.database_ids is not None:
            limits |= {"database_ids": given.database_ids}
            limits["databases"] = await owned.physical(user_id, given.database_ids)
        made = await keys.create(user_id, given.name, limits=limits, expires=given.expires_at, by=request)
        [kept] = [one for one in await keys.shown(user_id) if one["_id"] == made["_id"]]
        return {"key": made["key"], **_described(kept)}

    async def listed(request: Request, given: None) -> list[Document]:
        _require_whole(request)
        return [_described(one) for one in await keys.shown(request.identity.id)]

    async def revoke(request: Request, given: None) -> None:
        _require_whole(request)
        try:
            await keys.delete(request.identity.id, request.params["key_id"], by=request)
        except NotFound as error:
            raise NotFound(_GONE, code=error.code, fields={"error": _GONE}) from error

    return [
        route("GET", PATH, listed, LIST),
        route("POST", PATH, create, CREATE),
        route("DELETE", f"{PATH}/{{key_id}}", revoke, REVOKE),
    ]


def _require_whole(request: Request) -> None:
    """Keys are for people who are logged in and for keys that are limited in nothing: others could make more of
    themselves."""
    identity = request.identity
    if identity.kind != "normal":
        raise PermissionDenied("only a user has keys here; doorleaf keys makes those of the server")
    if identity.scope is not None or identity.ends:
        raise PermissionDenied("this API key is limited and manages no keys")


def _described(key: Mapping[str, Any]) -> Document:
    return {
        "_id": key["_id"],
        "id": key["_id"],
        "user_id": key["user_id"],
        "name": key["name"],
        "is_active": key["disabled"] is False,
        "created_at": key["created"],
        "key_display": SHOWN,
        "permissions": key.get("actions") or [*models.PERMISSIONS],
        "database_ids": key.get("database_ids"),
        "expires_at": key.get("expires"),
        "last_used_at": key.get("used"),
    }
