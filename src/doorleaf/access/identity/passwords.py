"""Passwords: argon2id in a thread, a few at a time, and the same work for accounts that do not exist."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from doorleaf.access.limits.turns import Turns
from doorleaf.errors import RequestError

if TYPE_CHECKING:
    from argon2 import PasswordHasher

AT_ONCE = 2
"""Passwords hashed at once in this process; each takes 64 MiB while it lasts."""
WAITING_OF_ONE = 8
WAITING = 256
"""Passwords of one address and of all that may wait for their turn."""
LONGEST = 128
"""Characters a password may have."""

log = logging.getLogger("doorleaf.access")

T = TypeVar("T")


class Passwords:
    """Hashes and verifies passwords of ``shortest`` to 128 characters."""

    def __init__(self, *, shortest: int = 6) -> None:
        self._shortest = shortest
        self._turns = Turns(AT_ONCE, of_one=WAITING_OF_ONE, of_all=WAITING)
        self._nobodys: str | None = None

    def check(self, password: str) -> None:
        """BadRequest unless a new password may be ``password``."""
        if not self._shortest <= len(password) <= LONGEST:
            raise RequestError(f"password must be between {self._shortest} and {LONGEST} characters")
        try:
            password.encode()
        except UnicodeEncodeError:
            raise RequestError("password must be Unicode text") from None

    async def hash(self, password: str, caller: str = "") -> str:
        """Make the hash of ``password`` that is stored. Callers take turns; TooManyRequests when too much of one or all
        waits."""
        return await self._in_turn(caller, False, self._hashed, password)

    async def verify(self, hashed: str | None, password: str, caller: str = "", *, first: bool = False) -> bool:
        """Whether ``password`` is the one that ``hashed`` was made of; ``first`` goes before those without.

        None as ``hashed`` is an account that does not exist: never true, and the same work.
        """
        if self._nobodys is None:
            self._nobodys = await self.hash(secrets.token_hex(), caller)
        matches = await self._in_turn(caller, first, self._matches, hashed or self._nobodys, password[: LONGEST + 1])
        return matches and hashed is not None

    def outdated(self, hashed: str) -> bool:
        """Whether ``hashed`` was made with less work than is done now."""
        return self._hasher.check_needs_rehash(hashed)

    @cached_property
    def _hasher(self) -> PasswordHasher:
        from argon2 import PasswordHasher  # for whom it is that passwords are looked at

        return PasswordHasher()

    def _hashed(self, password: str) -> str:
        return self._hasher.hash(password)

    def _matches(self, hashed: str, password: str) -> bool:
        from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

        try:
            return self._hasher.verify(hashed, password.encode("utf-8", "surrogatepass"))
        except VerifyMismatchError:
            return False
        except (InvalidHashError, VerificationError):
            log.error("a stored password hash is damaged and lets in nobody")
            return False

    async def _in_turn(self, caller: str, first: bool, work: Callable[..., T], *args: str) -> T:
        async with self._turns.turn(caller, first=first):
            return await asyncio.to_thread(work, *args)
