"""Who may be calling: what a request shows of its caller, and a caller who is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Literal, Protocol

import bson

from doorleaf.access.guards.scopes import METRICS, Scope
from doorleaf.access.limits.rates import KeyLimits
from doorleaf.access.request import HttpRequest
from doorleaf.access.workspaces.tenancy import Tenancy
from doorleaf.documents import CODEC, Document
from doorleaf.errors import DoorleafError
from doorleaf.operations import SYSTEM_TURN
from doorleaf.settings.providers import ProviderName

Provider = ProviderName | Literal["system", "workspace", "collection-credential"]


@dataclass(frozen=True, slots=True)
class Credentials:
    """The credentials that a request shows, believed or not; None is not given. ``address`` is the caller's IP address,
    ``workspace`` the id of the workspace whose door they stand at. With a ``collection``, the id of one, the key is a
    credential for that and for nothing else. ``creates_users`` says whether the token of a stranger makes a user; None
    leaves it to the app's Data API, or else to the setting. A ``ticket`` is one for a download, which stands for what
    its maker showed. They were shown ``age`` seconds ago: a token that has run out since was good then."""

    bearer: str | None = None
    api_key: str | None = None
    email: str | None = None
    password: str | None = None
    jwt: str | None = None
    address: str = ""
    workspace: str | None = None
    collection: str | None = None
    creates_users: bool | None = None
    ticket: str | None = None
    age: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)  # told apart by what they are, so that what was bound to one can be kept
class Identity:
    """A caller who is known. ``id`` is 24 hexadecimal digits.

    ``version`` tells whether something about a caller has changed; the same object mostly stands for one until then.
    ``admin`` is not judged by rules;
    ``scope`` and ``limits`` are those of the key that was shown, None without any; with ``ends`` it is good until some
    time only. ``caller`` is the id of whoever showed the credentials when the request runs as somebody else.
    One with a ``tenancy`` stands in a workspace, and reaches nothing beside it.
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
    ends: bool = False
    caller: str = ""
    tenancy: Tenancy | None = None
    together: str = ""
    """Whose turn it shares, as anybody can become ever so many of them; "" for one of its own."""

    shown: str = field(init=False)
    """The id of whoever showed the credentials."""
    turn: str = field(init=False)
    """Whose turn it is when this caller waits for something. Anybody can become a new anonymous user, so that all of
    them have one together."""

    def __post_init__(self) -> None:
        shown = self.caller or self.id
        object.__setattr__(self, "shown", shown)
        object.__setattr__(self, "turn", self.provider if self.provider == "anon-user" else self.together or shown)

    @property
    def version(self) -> bytes:
        """A hash of everything about the caller; it is another one as soon as anything about them is."""
        rights = (self.admin, self.key_name, self.roles, self.ends, self.limits, self.scope and self.scope.listed)
        tenancy = None if self.tenancy is None else self.tenancy.described
        who = repr((self.id, self.kind, self.provider, self.caller, self.together, rights, tenancy)).encode(
            "utf-8", "surrogatepass"
        )
        values = {"data": self.data, "custom_data": self.custom_data, "identities": self.identities}
        return sha256(who + bson.encode(values, codec_options=CODEC)).digest()

    @property
    def administers(self) -> bool:
        """Whether the caller may manage keys, users and sessions: an administrator whose key is limited in nothing.

        Any limit counts, also addresses, a rate, a quota and an end: who manages can give away what has none.
        """
        return self.admin and self.scope is None and self.limits is None and not self.ends

    @property
    def sees_all(self) -> bool:
        """Whether the caller may read everything that is served, from where and for as long as the key is good."""
        return self.admin and self.scope is None

    @property
    def measures(self) -> bool:
        """Whether the caller's key is one for reading the metrics."""
        return self.scope is not None and self.scope.actions is not None and METRICS in self.scope.actions

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


@dataclass(slots=True)
class Caller:
    """Who asks for an operation. ``request`` is the HTTP request that it came in, None without one; ``surface`` is the
    name of the dialect that it came by."""

    identity: Identity
    request: HttpRequest | None = None
    surface: str = ""
    decided: Mapping[Any, bool] | None = None
    """What functions that rules call have answered for this caller's operation; None where none were called."""

    @property
    def version(self) -> bytes:
        """A value that stays the same until something about the caller changes: see :attr:`Identity.version`."""
        return self.identity.version


ANYBODY = Identity(id=SYSTEM_TURN, kind="system", provider="system", admin=True)
"""Who everybody is when the insecure_no_auth setting is on."""

SYSTEM = ANYBODY
"""Whom a surface that runs as the system acts as."""


class Tell(Protocol):
    """Accounts for something that was done; ``by`` is the request that asked for it, None where the server itself or
    somebody at its command line did: see :class:`doorleaf.access.audit.Audit`."""

    def __call__(
        self,
        action: str,
        *,
        identity: Identity | None = None,
        target: str = "",
        error: DoorleafError | None = None,
        by: HttpRequest | None = None,
    ) -> None: ...


def untold(
    action: str,
    *,
    identity: Identity | None = None,
    target: str = "",
    error: DoorleafError | None = None,
    by: HttpRequest | None = None,
) -> None:
    """Accounts for nothing."""
