"""An administrator's question: would this request of that caller be allowed, and why?"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from doorleaf.access.callers import Caller, Identity
from doorleaf.access.identity.directory import Directory
from doorleaf.access.identity.keys import identity_of
from doorleaf.access.request import HttpRequest
from doorleaf.access.rules.explain import explain
from doorleaf.access.rules.ruleset import Rules
from doorleaf.apart import JUDGING
from doorleaf.documents import Document, is_string
from doorleaf.errors import DoorleafError, InvalidParameter, NotFound
from doorleaf.operations import Operation

EXPLAINING_SECONDS = 5.0
NOBODY = "0" * 24
_OBJECTS = ("data", "custom_data")
_FIELDS = ("id", "type", *_OBJECTS, "identities", "roles")

Check = Callable[[Operation[Any], Caller], None]


class Explainer:
    """Answers such questions. ``check`` raises what is refused before rules are asked."""

    def __init__(self, rules: Rules, directory: Directory, check: Check) -> None:
        self._rules = rules
        self._directory = directory
        self._check = check

    async def __call__(
        self,
        operation: Operation[Any],
        who: str | Document,
        document: Document | None = None,
        *,
        request: HttpRequest | None = None,
    ) -> Document:
        """Tell what becomes of ``operation`` when ``who`` asks for it; with ``document``, also of that one.

        ``who`` is a user's id or address, a key's name, or an object with fields of a user. UserNotFound when there
        is none such, InvalidParameter when the object is no user. ``request`` is what ``%%request`` stands for.
        """
        caller = Caller(described(who) if isinstance(who, dict) else await self._named(who), request)
        await self._rules.ask(operation, caller, time.monotonic() + EXPLAINING_SECONDS)
        told = await JUDGING.run(EXPLAINING_SECONDS, explain, self._rules, operation, caller, document)
        try:
            self._check(operation, caller)
        except DoorleafError as error:
            refused = {"error_code": error.code, "error": error.message, "rule": None}
            told |= {"allowed": False, "refused": refused, "reason": "it is refused before rules are asked"}
        return told

    async def _named(self, name: str) -> Identity:
        directory = self._directory
        try:
            identity = await directory.users.identity(await directory.user_id(name))
        except NotFound:
            return await self._key(name)
        if identity is None:
            raise InvalidParameter("as: the user is disabled, or has not confirmed the address, and cannot call")
        return identity

    async def _key(self, name: str) -> Identity:
        try:
            identity = identity_of(await self._directory.keys.get(name))
        except NotFound:
            raise NotFound("as: there is no such user and no such key", code="UserNotFound") from None
        return await self._directory.users.with_custom_data(identity)


def described(user: Mapping[str, Any]) -> Identity:
    """The caller that an object describes: ``id``, ``type``, ``data``, ``custom_data``, ``identities``, ``roles``."""
    for name, value in user.items():
        if name not in _FIELDS:
            raise InvalidParameter(f"as.{name[:100]}: no such field; there are {', '.join(_FIELDS)}")
        if name in _OBJECTS and not isinstance(value, dict):
            raise InvalidParameter(f"as.{name}: expected an object")
    identifier, kind = user.get("id", NOBODY), user.get("type", "normal")
    identities, roles = user.get("identities", []), user.get("roles", [])
    if not is_string(identifier):
        raise InvalidParameter("as.id: expected a string")
    if kind not in ("normal", "server"):
        raise InvalidParameter("as.type: expected normal or server")
    if not isinstance(identities, list) or not all(isinstance(item, dict) for item in identities):
        raise InvalidParameter("as.identities: expected an array of objects")
    if not isinstance(roles, list) or not all(is_string(item) for item in roles):
        raise InvalidParameter("as.roles: expected an array of names")
    return Identity(
        id=identifier,
        kind="server" if kind == "server" else "normal",
        provider="api-key" if kind == "server" else "local-userpass",
        data=user.get("data", {}),
        custom_data=user.get("custom_data", {}),
        identities=tuple(identities),
        roles=tuple(roles),
    )
