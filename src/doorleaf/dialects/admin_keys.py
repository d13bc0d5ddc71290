"""API keys over HTTP, for administrators: list, make, change, rotate, revoke, delete.

A key is ``{name, id, admin, created, expires, last_used, disabled, …}`` with the rights it is limited to, by the names
they are stored under; its text is in ``key`` when it is made or rotated, and at no other time.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from doorleaf.dialects.admin_body import answer, body_of, done, flag, moment, seconds, text
from doorleaf.dialects.base import Reply, Request, Route
from doorleaf.documents import Document
from doorleaf.errors import InvalidParameter

PATH = "/api/admin/v1/keys"
RIGHTS = ("roles", "data_sources", "databases", "collections", "actions", "addresses", "rate", "quotas")
"""What a key may be limited to; null in a change takes a limit away."""
MOST_OVERLAP = 90 * 86_400


class Keys(Protocol):
    """Who keeps the API keys; each raises RequestError."""

    async def create(
        self,
        name: str,
        *,
        expires: datetime | None = None,
        admin: bool = False,
        rights: Mapping[str, Any] | None = None,
    ) -> str: ...

    async def change(
        self, name: str, rights: Mapping[str, Any], *, expires: datetime | None = None, unlimited: bool = False
    ) -> None: ...

    async def rotate(self, name: str, overlap: float = 0) -> str: ...

    async def disable(self, name: str) -> None: ...

    async def enable(self, name: str) -> None: ...

    async def revoke(self, name: str) -> None: ...

    async def delete(self, name: str) -> None: ...

    async def get(self, name: str) -> Document: ...

    async def listed(self) -> list[Document]: ...

    async def reload(self) -> None: ...


def key_routes(keys: Keys) -> tuple[Route, ...]:
    """The routes of API keys."""
    one = f"{PATH}/{{name}}"

    async def listed(request: Request) -> Reply:
        return answer(200, {"keys": [_shown(key) for key in await keys.listed()]})

    async def get(request: Request) -> Reply:
        return answer(200, _shown(await keys.get(request.params["name"])))

    async def create(request: Request) -> Reply:
        body = body_of(request, ("name", "admin", "expires", *RIGHTS))
        name, admin = text(body, "name"), flag(body, "admin") or False
        rights = _rights(body)
        made = await keys.create(name, expires=moment(body, "expires"), admin=admin, rights=rights)
        await keys.reload()
        return answer(201, {**_shown(await keys.get(name)), "key": made})

    async def change(request: Request) -> Reply:
        name = request.params["name"]
        await _change(keys, name, body_of(request, ("disabled", "expires", *RIGHTS)))
        await keys.reload()
        return answer(200, _shown(await keys.get(name)))

    async def rotate(request: Request) -> Reply:
        name = request.params["name"]
        overlap = seconds(body_of(request, ("overlap_seconds",)), "overlap_seconds", MOST_OVERLAP)
        made = await keys.rotate(name, overlap)
        await keys.reload()
        return answer(200, {**_shown(await keys.get(name)), "key": made})

    async def revoke(request: Request) -> Reply:
        body_of(request, ())
        name = request.params["name"]
        await keys.revoke(name)
        await keys.reload()
        return answer(200, _shown(await keys.get(name)))

    async def delete(request: Request) -> Reply:
        await keys.delete(request.params["name"])
        await keys.reload()
        return done()

    return (
        Route("GET", PATH, "adminListKeys", handle=listed),
        Route("POST", PATH, "adminCreateKey", handle=create),
        Route("GET", one, "adminGetKey", handle=get),
        Route("PATCH", one, "adminChangeKey", handle=change),
        Route("POST", f"{one}/rotate", "adminRotateKey", handle=rotate),
        Route("POST", f"{one}/revoke", "adminRevokeKey", handle=revoke),
        Route("DELETE", one, "adminDeleteKey", handle=delete),
    )


async def _change(keys: Keys, name: str, body: Document) -> None:
    """Change what ``body`` names and leave the rest: rights, the end, whether the key is disabled."""
    stored = await keys.get(name)
    disabled = flag(body, "disabled")
    if disabled is False and "revoked" in stored:
        raise InvalidParameter(f"disabled: the key {name!r} was revoked for good; make another one")
    if any(field in body for field in ("expires", *RIGHTS)):
        rights = {field: stored.get(field) for field in RIGHTS} | _rights(body)
        unlimited = "expires" in body and body["expires"] is None
        await keys.change(name, rights, expires=moment(body, "expires"), unlimited=unlimited)
    if disabled is not None and disabled != stored["disabled"]:
        await (keys.disable(name) if disabled else keys.enable(name))


def _rights(body: Document, names: Collection[str] = RIGHTS) -> Document:
    return {name: body[name] for name in names if name in body}


def _shown(key: Document) -> Document:
    """A key as answered: its ``_id`` is its name; whether it has ended counts now."""
    shown = {"name": key["_id"], **{name: value for name, value in key.items() if name != "_id"}}
    shown["expired"] = key["expires"] is not None and key["expires"] <= datetime.now(UTC).replace(tzinfo=None)
    return shown
