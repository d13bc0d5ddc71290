"""Who may be calling: what a request shows of its caller, and a caller who is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from doorleaf.access.limits import KeyLimits
from doorleaf.access.scopes import Scope
from doorleaf.documents import Document
from doorleaf.errors import DoorleafError

Provider = Literal["api-key", "local-userpass", "custom-token", "anon-user", "system"]


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a request shows of its caller; None is not given. ``address`` is the caller's IP address, ``surface`` the
    API surface it came to, where that matters."""

    bearer: str | None = None
    api_key: str | None = None
    email: str | None = None
    password: str | None = None
    jwt: str | None = None
    address: str = ""
    surface: str = ""


@dataclass(frozen=True, slots=True, eq=False)  # told apart by what they are, so that what was bound to one can be kept
class Identity:
    """A caller who is known. ``id`` is 24 hexadecimal digits.

    The same object stands for a caller until something about them changes. ``admin`` is not judged by rules;
    ``scope`` and ``limits`` are those of the key that was shown, None without any. ``caller`` is the id of whoever
    showed the credentials when the request runs as somebody else.
    """

    id: str
    kind: Literal["server", "normal", "system"]
    provider: Provider
    admin: bool = False
    key_name: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    custom_data: Mapping[str, Any] = field(default_factory=dict)
    identities: tuple[Mapping[str, Any], ...] = ()
    roles: tuple[str, ...] = ()
    scope: Scope | None = None
    limits: KeyLimits | None = None
    caller: str = ""

    @property
    def shown(self) -> str:
        """The id of whoever showed the credentials."""
        return self.caller or self.id

    @property
    def administers(self) -> bool:
        """Whether the caller may manage keys and users: an administrator whose key is limited in nothing."""
        return self.admin and self.scope is None

    @property
    def user(self) -> Document:
        """The user object: ``id``, ``type``, ``data``, ``custom_data``, ``identities``."""
        return {
            "id": self.id,
            "type": self.kind,
            "data": dict(self.data),
            "custom_data": dict(self.custom_data),
            "identities": [dict(identity) for identity in self.identities],
        }


ANYBODY = Identity(id="0" * 24, kind="system", provider="system", admin=True)
"""Who everybody is when the insecure_no_auth setting is on."""

SYSTEM = ANYBODY
"""Whom a surface that runs as the system acts as."""


class Tell(Protocol):
    """Accounts for something that was done: see :class:`doorleaf.access.audit.Audit`."""

    def __call__(
        self, action: str, *, identity: Identity | None = None, target: str = "", error: DoorleafError | None = None
    ) -> None: ...


def untold(
    action: str, *, identity: Identity | None = None, target: str = "", error: DoorleafError | None = None
) -> None:
    """Accounts for nothing."""
