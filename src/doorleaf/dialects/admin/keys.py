"""API keys over HTTP, for administrators: list, make, change, rotate, revoke, delete.

A key is ``{name, id, admin, created, expires, last_used, disabled, …}`` with the rights it is limited to, by the names
they are stored under; its text is in ``key`` when it is made or rotated, and at no other time.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol, cast

from doorleaf.dialects.about import About, Gives
from doorleaf.dialects.admin.models import (
    RIGHTS,
    AdminKey,
    AdminKeyChange,
    AdminKeyRequest,
    AdminKeyRotation,
    AdminKeys,
    AdminNewKey,
)
from doorleaf.dialects.base import Request, Route
from doorleaf.dialects.bodies import Nothing
from doorleaf.dialects.handling import handled
from doorleaf.documents import Document
from doorleaf.errors import InvalidParameter

PATH = "/api/admin/v1/keys"
TAG = "Administration"


class Keys(Protocol):
    """The keeper of the API keys; every method may raise RequestError."""

    async def create(
        self,
        name: str,
        *,
        expires: datetime | None = None,
        admin: bool = False,
        rights: Mapping[str, Any] | None = None,
        by: Request,
    ) -> str: ...

    async def change(
        self,
        name: str,
        rights: Mapping[str, Any],
        *,
        expires: datetime | None = None,
        unlimited: bool = False,
        by: Request,
    ) -> None: ...

    async def rotate(self, name: str, overlap: float = 0, *, by: Request) -> str: ...

    async def disable(self, name: str, *, by: Request) -> None: ...

    async def enable(self, name: str, *, by: Request) -> None: ...

    async def revoke(self, name: str, *, by: Request) -> None: ...

    async def delete(self, name: str, *, by: Request) -> None: ...

    async def get(self, name: str) -> Document: ...

    async def listed(self) -> list[Document]: ...

    async def reload(self) -> None: ...


_about = partial(About, tag=TAG, refuses=("APIKeyNotFound",))

LIST = About(summary="List the API keys", tag=TAG, gives=Gives(content=AdminKeys))
CREATE = About(
    summary="Make an API key",
    tag=TAG,
    takes=AdminKeyRequest,
    example={
        "name": "reports",
        "admin": True,
        "databases": ["shop"],
        "actions": ["read"],
        "expires": "2100-01-31T00:00:00Z",
        "rate": "20/second",
    },
    gives=Gives(content=AdminNewKey, status=201, description="Made."),
    refuses=("APIKeyAlreadyExists",),
)
GET = _about(summary="Describe an API key", gives=Gives(content=AdminKey))
CHANGE = _about(
    summary="Change what an API key may do; what is not named stays as it is",
    takes=AdminKeyChange,
    example={"actions": ["read", "insertOne"], "expires": None},
    gives=Gives(content=AdminKey),
)
ROTATE = _about(
    summary="Give an API key a new text",
    takes=AdminKeyRotation,
    optional=True,
    example={"overlap_seconds": 3600},
    gives=Gives(content=AdminNewKey),
)
REVOKE = _about(
    summary="End an API key for good; it stays listed", takes=Nothing, optional=True, gives=Gives(content=AdminKey)
)
DELETE = _about(summary="End an API key and forget it", gives=Gives(status=204))


def key_routes(keys: Keys) -> tuple[Route, ...]:
    """The routes of API keys."""
    one = f"{PATH}/{{name}}"

    async def listed(request: Request, given: None) -> AdminKeys:
        return {"keys": [_shown(key) for key in await keys.listed()]}

    async def get(request: Request, given: None) -> AdminKey:
        return _shown(await keys.get(request.params["name"]))

    async def create(request: Request, given: AdminKeyRequest) -> AdminNewKey:
        made = await keys.create(
            given.name, expires=given.expires, admin=given.admin or False, rights=given.rights(), by=request
        )
        await keys.reload()
        return {**_shown(await keys.get(given.name)), "key": made}

    async def change(request: Request, given: AdminKeyChange) -> AdminKey:
        name = request.params["name"]
        await _change(keys, name, given, request)
        await keys.reload()
        return _shown(await keys.get(name))

    async def rotate(request: Request, given: AdminKeyRotation) -> AdminNewKey:
        name = request.params["name"]
        made = await keys.rotate(name, given.overlap_seconds or 0, by=request)
        await keys.reload()
        return {**_shown(await keys.get(name)), "key": made}

    async def revoke(request: Request, given: Nothing) -> AdminKey:
        name = request.params["name"]
        await keys.revoke(name, by=request)
        await keys.reload()
        return _shown(await keys.get(name))

    async def delete(request: Request, given: None) -> None:
        await keys.delete(request.params["name"], by=request)
        await keys.reload()

    return (
        handled("GET", PATH, "adminListKeys", listed, LIST),
        handled("POST", PATH, "adminCreateKey", create, CREATE),
        handled("GET", one, "adminGetKey", get, GET),
        handled("PATCH", one, "adminChangeKey", change, CHANGE),
        handled("POST", f"{one}/rotate", "adminRotateKey", rotate, ROTATE),
        handled("POST", f"{one}/revoke", "adminRevokeKey", revoke, REVOKE),
        handled("DELETE", one, "adminDeleteKey", delete, DELETE),
    )


async def _change(keys: Keys, name: str, given: AdminKeyChange, by: Request) -> None:
    """Change what ``given`` names and leave the rest: rights, the end, whether the key is disabled."""
    stored = await keys.get(name)
    if given.disabled is False and "revoked" in stored:
        raise InvalidParameter(f"disabled: the key {name!r} was revoked for good; make another one")
    if given.model_fields_set - {"disabled"}:
        rights = {field: stored.get(field) for field in RIGHTS} | given.rights()
        unlimited = "expires" in given.model_fields_set and given.expires is None
        await keys.change(name, rights, expires=given.expires, unlimited=unlimited, by=by)
    if given.disabled is not None and given.disabled != stored["disabled"]:
        await (keys.disable(name, by=by) if given.disabled else keys.enable(name, by=by))


def _shown(key: Document) -> AdminKey:
    """A key as answered: its ``_id`` is its name; whether it has ended counts now."""
    shown = {"name": key["_id"], **{name: value for name, value in key.items() if name != "_id"}}
    shown["expired"] = key["expires"] is not None and key["expires"] <= datetime.now(UTC).replace(tzinfo=None)
    return cast("AdminKey", shown)
