"""Credentials for the database itself, where a workspace may have some."""

from __future__ import annotations

from typing import Any, Protocol

from doorleaf.dialects.base import Request, Route
from doorleaf.dialects.handling import body_of
from doorleaf.dialects.workspaces import abouts
from doorleaf.dialects.workspaces.door import READ, Answer, Asked, Door
from doorleaf.documents import Document
from doorleaf.errors import InvalidParameter
from doorleaf.operations.fields import count

CREDENTIALS = "/credentials"
USUAL = 3600


class Logins(Protocol):
    """Makes logins to databases."""

    async def make(self, place: Any, seconds: int, *, by: Request) -> Document: ...


def credentials_route(door: Door, logins: Logins) -> Route:
    """The route of credentials."""

    async def make(asked: Asked) -> Answer:
        body = await body_of(asked.request.body or b"{}")
        if unknown := body.keys() - {"ttlSeconds"}:
            raise InvalidParameter(f"{min(unknown)[:50]}: no such field; there is ttlSeconds")
        seconds = count(body.get("ttlSeconds", USUAL), "ttlSeconds")
        return asked.answer(await logins.make(asked.place, seconds, by=asked.request), 201)

    return door.route(
        "POST", CREDENTIALS, "workspaceCredentials", make, abouts.CREDENTIALS, scope=READ, capability="credentials"
    )
