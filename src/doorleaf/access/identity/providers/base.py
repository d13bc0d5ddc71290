"""What a way to authenticate is, and what it works with."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar, Final

from doorleaf.access.callers import Credentials, Identity
from doorleaf.access.identity.directory import Directory
from doorleaf.access.identity.mistakes import NO_MISTAKES, Mistakes
from doorleaf.access.identity.tokens import Tokens
from doorleaf.access.request import HttpRequest
from doorleaf.documents import is_string
from doorleaf.errors import InvalidParameter, Unauthenticated, Unsupported
from doorleaf.operations.fields import unicode_text
from doorleaf.settings.model import Settings
from doorleaf.settings.providers import ProviderName

STRANGER = "invalid session: error finding user for endpoint"
"""The answer to whoever shows credentials that are wrong."""


class Answer(Enum):
    """The answers of a provider to credentials, beside an identity."""

    NOT_MINE = "not mine"


NOT_MINE: Final = Answer.NOT_MINE


@dataclass(frozen=True, slots=True)
class LoginForm:
    """A login, as the documentation shows it: the name of the ``operation``, a ``summary``, the texts that its ``body``
    (the name of that schema) needs with their meanings, an ``example`` of it and the codes that it is refused with.
    """

    operation: str
    summary: str
    body: str
    fields: Mapping[str, str]
    example: Mapping[str, str]
    refuses: tuple[str, ...] = ()
    links: bool = False
    """Whether the same body gives a user who has other identities this one too."""


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """Who logged in; ``until`` is when a key ends that is retiring, in seconds since 1970."""

    identity: Identity
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The parts that providers work with. ``require_loaded`` raises StoreUnavailable until keys and sessions were read
    once, ``clock`` gives seconds since 1970."""

    settings: Settings
    directory: Directory
    tokens: Tokens
    require_loaded: Callable[[], None]
    mistakes: Mistakes = NO_MISTAKES
    clock: Callable[[], float] = time.time


class Provider(ABC):
    """One way to authenticate. There is one object of each whose name the setting ``providers`` has.

    A provider that requests show credentials of answers :meth:`remembered` and :meth:`identify`; all answer
    :meth:`login`.
    """

    name: ClassVar[ProviderName]
    form: ClassVar[LoginForm]
    headers: ClassVar[Mapping[str, str]] = {}
    """The headers in which requests show credentials, with their meanings."""
    together: ClassVar[bool] = False
    """Whether all of ``headers`` are needed; else one of them is."""
    session_seconds: ClassVar[int | None] = None
    """The life of its sessions, where that is not the setting's."""

    def __init__(self, surroundings: Surroundings) -> None:
        self.directory = surroundings.directory
        self.mistakes = surroundings.mistakes

    def remembered(self, credentials: Credentials) -> Identity | Answer | None:
        """The caller, if memory alone can tell; None if it takes :meth:`identify`, ``NOT_MINE`` if ``credentials``
        show nothing of this provider."""
        return NOT_MINE

    async def identify(self, credentials: Credentials) -> Identity | None:
        """The caller; None if ``credentials`` show nothing of this provider, Unauthenticated if it is wrong."""
        return None

    @abstractmethod
    async def login(self, body: Mapping[str, Any], address: str, device: str) -> LoggedIn:
        """Who logs in with ``body`` from the IP address ``address``, at the device with the id ``device``.

        InvalidParameter for fields that are missing or no texts, Unauthenticated for wrong ones.
        """

    async def link(
        self, user_id: str, body: Mapping[str, Any], address: str, device: str, by: HttpRequest | None
    ) -> None:
        """Give a user the identity that ``body`` shows; raises as :meth:`login`, IdentityInUse (409), and NotCallable
        unless its :attr:`form` says that it ``links``."""
        raise Unsupported(f"credentials of {self.name!r} cannot be linked to a user", code="NotCallable")

    async def close(self) -> None:  # noqa: B027  # most have nothing to end
        """End what goes on in the background."""

    async def caller(self, user_id: str) -> Identity:
        """The user or key of a request; Unauthenticated without one, or a disabled one."""
        identity = await self.directory.identity(user_id)
        if identity is None:
            raise Unauthenticated(STRANGER)
        return identity

    async def user(self, user_id: str) -> LoggedIn:
        """The user who logs in; Unauthenticated (UserDisabled) for a disabled one."""
        identity = await self.directory.users.identity(user_id)
        if identity is None:
            raise Unauthenticated("the user is disabled", code="UserDisabled")
        return LoggedIn(identity)


def text(body: Mapping[str, Any], *names: str) -> str:
    """The first of ``names`` that ``body`` has, which must be a string that is not empty."""
    for name in names:
        value = body.get(name)
        if value is None or value == "":
            continue
        if not is_string(value):
            raise InvalidParameter(f"{name}: expected a string")
        return unicode_text(value, name)
    raise InvalidParameter(f"missing required field: {names[0]}")
