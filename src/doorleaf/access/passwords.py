"""Passwords: argon2id in a thread, a few at a time, and the same work for accounts that do not exist."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from doorleaf.errors import RequestError, TooManyRequests

AT_ONCE = 2
"""Passwords hashed at once in this process; each takes 64 MiB while it lasts."""
WAITING = 64
"""Passwords that may wait for their turn."""
LONGEST = 128
"""Characters a password may have."""

log = logging.getLogger("doorleaf.access")

T = TypeVar("T")


class Passwords:
    """Hashes and verifies passwords of ``shortest`` to 128 characters."""

    def __init__(self, *, shortest: int = 6) -> None:
        self._shortest = shortest
        self._hasher = PasswordHasher()
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0
        self._nobodys: str | None = None

    def check(self, password: str) -> None:
        """BadRequest unless a new password may be ``password``."""
        if not self._shortest <= len(password) <= LONGEST:
            raise RequestError(f"password must be between {self._shortest} and {LONGEST} characters")
        try:
            password.encode()
        except UnicodeEncodeError:
            raise RequestError("password must be Unicode text") from None

    async def hash(self, password: str) -> str:
        """What is stored of ``password``. Raises TooManyRequests when too many wait."""
        return await self._in_turn(self._hasher.hash, password)

    async def verify(self, hashed: str | None, password: str) -> bool:
        """Whether ``password`` is the one that ``hashed`` was made of.

        None as ``hashed`` is an account that does not exist: never true, and the same work.
        """
        if self._nobodys is None:
            self._nobodys = await self.hash(secrets.token_hex())
        matches = await self._in_turn(self._matches, hashed or self._nobodys, password[: LONGEST + 1])
        return matches and hashed is not None

    def outdated(self, hashed: str) -> bool:
        """Whether ``hashed`` was made with less work than is done now."""
        return self._hasher.check_needs_rehash(hashed)

    def _matches(self, hashed: str, password: str) -> bool:
        try:
            return self._hasher.verify(hashed, password.encode("utf-8", "surrogatepass"))
        except VerifyMismatchError:
            return False
        except (InvalidHashError, VerificationError):
            log.error("a stored password hash is damaged and lets in nobody")
            return False

    async def _in_turn(self, work: Callable[..., T], *args: str) -> T:
        if self._waiting >= WAITING:
            raise TooManyRequests("too many logins at once; try again in a moment", headers={"Retry-After": "1"})
        self._waiting += 1
        try:
            async with self._gate:
                return await asyncio.to_thread(work, *args)
        finally:
            self._waiting -= 1
