"""Callers of what takes long: who they are is asked again, since keys, sessions and users may end meanwhile."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Protocol

from doorleaf.access.callers import Credentials, Identity
from doorleaf.access.request import HttpRequest
from doorleaf.errors import StoreError

CHECK_SECONDS = 2.0
"""How often it is asked whether the caller still may."""


class Identify(Protocol):
    """Who shows ``credentials`` to the dialect ``surface``; see
    :meth:`doorleaf.access.identity.authenticator.Authenticator.identify`."""

    async def __call__(self, credentials: Credentials, surface: str = "") -> Identity: ...


async def renew(request: HttpRequest, identify: Identify, age: float = 0.0) -> None:
    """Look at the caller of ``request`` anew, if they had to show who they are: its identity is another one where they
    have changed. AccessError where they are nobody any more; a token that was good ``age`` seconds ago still is."""
    if request.shown is not None:
        with suppress(StoreError):  # callers are as last read while the database is away, here as everywhere
            shown = replace(request.shown, age=age) if age else request.shown
            request.identity = await identify(shown, request.surface)
