"""Accounts with email and password: register, confirm, reset, log in.

An account is one document of ``accounts`` in the system database: ``_id`` is the address, taken letter by letter
(``A@x.org`` and ``a@x.org`` are two), then ``user_id``, ``identity_id``, ``hash`` (argon2id), ``confirmed``,
``version`` (another one after every change) and ``created``. Its user comes into being when it is confirmed. What mails
link to are documents of ``mail_tokens``: of the token only a hash is stored, it lives 30 minutes and works once.

An unknown address, a wrong password and an account that is locked out are answered alike and after the same work.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
import time
import unicodedata
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from bson import ObjectId

from doorleaf.access.callers import Provider, Tell, untold
from doorleaf.access.keys import digest
from doorleaf.access.lockout import Lockout
from doorleaf.access.mail import Mail
from doorleaf.access.passwords import Passwords
from doorleaf.access.recent import Recent
from doorleaf.access.system_store import SystemStore, as_date, as_seconds
from doorleaf.access.tokens import Sessions
from doorleaf.access.users import Users, not_found
from doorleaf.documents import Document
from doorleaf.errors import (
    DuplicateKey,
    InvalidParameter,
    RequestError,
    TooManyRequests,
    Unauthenticated,
)
from doorleaf.settings import Settings

COLLECTION = "accounts"
TOKENS = "mail_tokens"
PROVIDER: Provider = "local-userpass"
TOKEN_SECONDS = 30 * 60
VERIFIED_SECONDS = 300.0
"""How long a password that was right needs no argon2 again, as long as the account stays as it was."""
REMEMBERED = 4096
AT_ONCE = 16
"""Logins to one account that may wait for each other in this process."""


class NameInUse(RequestError):
    """The address has an account already."""

    status = 409
    code = "AccountNameInUse"


@dataclass(frozen=True, slots=True)
class _Verified:
    user_id: str
    version: str
    until: float


class Accounts:
    """The accounts of one system database. ``clock`` gives seconds since 1970, ``audit`` is told of every change."""

    def __init__(
        self,
        system: SystemStore,
        settings: Settings,
        *,
        users: Users,
        sessions: Sessions,
        mail: Mail,
        clock: Callable[[], float] = time.time,
        audit: Tell = untold,
    ) -> None:
        self._system = system
        self._settings = settings
        self._users = users
        self._sessions = sessions
        self._mail = mail
        self._clock = clock
        self._audit = audit
        self._passwords = Passwords(shortest=settings.password_min_length)
        self.lockout = Lockout(system, clock=clock)
        self._secret = secrets.token_bytes(32)
        self._verified: Recent[bytes, _Verified] = Recent(REMEMBERED)
        self._turns: dict[str, tuple[asyncio.Lock, int]] = {}

    # --- for everybody ---

    async def register(self, email: str, password: str) -> None:
        """Make an account, and send a mail to confirm it unless the settings confirm it at once.

        Without a mail server an administrator confirms it. BadRequest for an address or a password that cannot be one;
        AccountNameInUse (409).
        """
        await self._make(email, password, confirmed=self._settings.auto_confirm)
        self._audit("register", target=email)
        if self._settings.auto_confirm:
            await self._sign_in(await self._required(email))
        elif self._mail.on:
            await self._send_confirmation(email)

    async def confirm(self, token: str, token_id: str) -> None:
        """Confirm an account by what its mail said. UserpassTokenInvalid; UserAlreadyConfirmed."""
        email = await self._spend("confirm", token, token_id)
        account = await self._required(email)
        if account["confirmed"]:
            raise RequestError("already confirmed", code="UserAlreadyConfirmed")
        await self._confirm(account)

    async def send_confirmation(self, email: str) -> None:
        """Send the mail to confirm an account once more. UserNotFound; UserAlreadyConfirmed.

        Whether an address has an account is no secret here: :meth:`register` has to tell it too.
        """
        self._needs_mail("addresses are confirmed")
        account = await self._required(email)
        if account["confirmed"]:
            raise RequestError("already confirmed", code="UserAlreadyConfirmed")
        await self._send_confirmation(email)

    async def send_reset(self, email: str) -> None:
        """Send a mail that allows to choose a new password. UserNotFound."""
        self._needs_mail("passwords are reset")
        if self._settings.reset_password_url is None:
            raise RequestError("passwords are reset by an administrator here: no page for it is set up")
        await self._required(email)
        link = await self._link("reset", email, self._settings.reset_password_url)
        self._mail.send(email, self._settings.reset_password_subject, f"Choose a new password here:\n\n{link}\n")

    async def reset(self, token: str, token_id: str, password: str) -> None:
        """Set a new password by what a mail said; all sessions of the user end. UserpassTokenInvalid."""
        self._passwords.check(_text("password", password))
        await self.set_password(await self._spend("reset", token, token_id), password)

    # --- who is it ---

    def fresh(self, email: str, password: str) -> str | None:
        """The id of the user whose password this is, if that was looked at within the last two seconds."""
        found = self._verified.fresh(self._place(email, password))
        return None if found is None or time.monotonic() >= found.until else found.user_id

    async def user(self, email: str, password: str, address: str) -> str:
        """As :meth:`log_in`, for requests that show a password each time: argon2 runs every five minutes only."""
        place = self._place(email, password)
        found = self._verified.any(place)
        if found is not None and time.monotonic() < found.until:
            account = await self._system.find_one(COLLECTION, {"_id": email})
            if account is not None and account["version"] == found.version:
                self._verified.put(place, found)
                return found.user_id
        return await self.log_in(email, password, address)

    async def log_in(self, email: str, password: str, address: str) -> str:
        """The id of the user whose password this is.

        Unauthenticated: ``invalid username/password`` (InvalidPassword), whatever was wrong, and ``confirmation
        required`` (AuthError) for who knows the password of an account that is not confirmed. TooManyRequests when too
        many passwords wait to be looked at.
        """
        async with self._turn(_text("username", email)):
            locked = await self.lockout.locked(email, address)
            account = await self._system.find_one(COLLECTION, {"_id": email})
            right = await self._passwords.verify(None if locked or account is None else account["hash"], password)
            if account is None or not right:
                if not locked:
                    await self.lockout.failed(email, address)
                raise Unauthenticated("invalid username/password", code="InvalidPassword")
            await self.lockout.succeeded(email)
        if not account["confirmed"]:
            raise Unauthenticated("confirmation required", code="AuthError")
        if self._passwords.outdated(account["hash"]):
            change = {"$set": {"hash": await self._passwords.hash(password)}}
            await self._system.update(COLLECTION, {"_id": email, "version": account["version"]}, change)
        user_id = await self._sign_in(account)
        verified = _Verified(user_id, account["version"], time.monotonic() + VERIFIED_SECONDS)
        self._verified.put(self._place(email, password), verified)
        return user_id

    @asynccontextmanager
    async def _turn(self, email: str) -> AsyncIterator[None]:
        """One login to an account after the other, so that many guesses at once count as many."""
        lock, waiting = self._turns.get(email) or (asyncio.Lock(), 0)
        if waiting >= AT_ONCE:
            raise TooManyRequests("too many logins at once; try again in a moment", headers={"Retry-After": "1"})
        self._turns[email] = (lock, waiting + 1)
        try:
            async with lock:
                yield
        finally:
            waiting = self._turns[email][1] - 1
            if waiting:
                self._turns[email] = (lock, waiting)
            else:
                del self._turns[email]

    def _place(self, email: str, password: str) -> bytes:
        shown = f"{len(email)}:{email}{password}".encode("utf-8", "surrogatepass")
        return hmac.digest(self._secret, shown, "sha256")

    async def _sign_in(self, account: Document) -> str:
        data = {"email": account["_id"]}
        return await self._users.sign_in(PROVIDER, account["identity_id"], data, user_id=account["user_id"])

    # --- administration ---

    async def create(self, email: str, password: str) -> str:
        """Make a confirmed account and answer its user's id. BadRequest, AccountNameInUse (409)."""
        await self._make(email, password, confirmed=True)
        self._audit("createUser", target=email)
        return await self._sign_in(await self._required(email))

    async def confirm_by_administrator(self, email: str) -> str:
        """Confirm an account and answer its user's id. UserNotFound; UserAlreadyConfirmed."""
        account = await self._required(email)
        if account["confirmed"]:
            raise RequestError("already confirmed", code="UserAlreadyConfirmed")
        return await self._confirm(account)

    async def set_password(self, email: str, password: str) -> None:
        """Give an account another password; all sessions of the user end. UserNotFound, BadRequest."""
        self._passwords.check(_text("password", password))
        account = await self._required(email)
        change = {"hash": await self._passwords.hash(password), "version": str(ObjectId())}
        await self._system.update(COLLECTION, {"_id": email}, {"$set": change})
        await self._system.delete(TOKENS, {"email": email, "purpose": "reset"})
        self._verified.clear()
        await self.lockout.succeeded(email)
        await self._sessions.revoke_of(account["user_id"])
        self._audit("setPassword", target=email)

    async def find(self, name: str) -> Document | None:
        """The account with this address or of the user with this id, without its hash."""
        account = await self._system.find_one(COLLECTION, {"_id": name})
        account = account or await self._system.find_one(COLLECTION, {"user_id": name})
        return None if account is None else _described(account)

    async def pending(self, *, after: str | None = None, limit: int = 50) -> list[Document]:
        """Accounts that are not confirmed, by address, those after the address ``after``; without their hashes."""
        filter: Document = {"confirmed": False} | ({} if after is None else {"_id": {"$gt": after}})
        return [
            _described(account) for account in await self._system.find(COLLECTION, filter, sort={"_id": 1}, limit=limit)
        ]

    async def delete_of(self, user_id: str) -> bool:
        """Forget the account of a user; whether they had one."""
        self._verified.clear()
        account = await self._system.find_one(COLLECTION, {"user_id": user_id})
        if account is not None:
            await self._system.delete(TOKENS, {"email": account["_id"]})
            await self._system.delete(COLLECTION, {"_id": account["_id"]})
        return account is not None

    async def prepare(self) -> None:
        """Make the indexes that are needed."""
        await self._system.index(COLLECTION, "user_id")
        await self._system.index(COLLECTION, "confirmed")
        await self._system.index(TOKENS, "email")
        await self._system.index(TOKENS, "expires")
        await self.lockout.prepare()

    async def sweep(self) -> None:
        """Forget what is over: mail tokens and failures."""
        await self._system.delete(TOKENS, {"expires": {"$lt": as_date(self._clock())}})
        await self.lockout.sweep()

    # --- steps ---

    async def _make(self, email: str, password: str, *, confirmed: bool) -> None:
        check_email(_text("email", email))
        self._passwords.check(_text("password", password))
        if await self._system.find_one(COLLECTION, {"_id": email}) is not None:
            raise NameInUse("name already in use")
        account: Document = {"_id": email, "user_id": str(ObjectId()), "identity_id": str(ObjectId())}
        account |= {"hash": await self._passwords.hash(password), "confirmed": confirmed, "version": str(ObjectId())}
        try:
            await self._system.insert(COLLECTION, account | {"created": as_date(self._clock())})
        except DuplicateKey:
            raise NameInUse("name already in use") from None

    async def _confirm(self, account: Document) -> str:
        change = {"$set": {"confirmed": True, "version": str(ObjectId())}}
        await self._system.update(COLLECTION, {"_id": account["_id"]}, change)
        self._audit("confirmUser", target=account["_id"])
        return await self._sign_in(account)

    async def _required(self, email: str) -> Document:
        account = await self._system.find_one(COLLECTION, {"_id": _text("email", email)})
        if account is None:
            raise not_found()
        return account

    def _needs_mail(self, what: str) -> None:
        if not self._mail.on:
            raise RequestError(f"{what} by an administrator here: no mail server is set up")

    async def _send_confirmation(self, email: str) -> None:
        if self._settings.email_confirmation_url is None:
            raise RequestError("addresses are confirmed by an administrator here: no page for it is set up")
        link = await self._link("confirm", email, self._settings.email_confirmation_url)
        self._mail.send(email, self._settings.email_confirmation_subject, f"Confirm your address here:\n\n{link}\n")

    async def _link(self, purpose: str, email: str, url: str) -> str:
        """The address of a page with a new token; earlier tokens for the same end."""
        token, identifier = secrets.token_urlsafe(32), str(ObjectId())
        await self._system.delete(TOKENS, {"email": email, "purpose": purpose})
        document = {"_id": identifier, "hash": digest(token).hex(), "purpose": purpose, "email": email}
        expires = as_date(self._clock() + TOKEN_SECONDS)
        await self._system.insert(TOKENS, document | {"expires": expires})
        return f"{url}{'&' if '?' in url else '?'}{urlencode({'token': token, 'tokenId': identifier})}"

    async def _spend(self, purpose: str, token: str, token_id: str) -> str:
        """The address that a mail's token was for; it works no second time."""
        filter = {"_id": _text("tokenId", token_id), "hash": digest(_text("token", token)).hex(), "purpose": purpose}
        found = await self._system.find_one(TOKENS, filter)
        if (
            found is None
            or self._clock() >= (as_seconds(found["expires"]) or 0.0)
            or not await self._system.delete(TOKENS, filter)
        ):
            raise RequestError("invalid token data", code="UserpassTokenInvalid")
        return str(found["email"])


def check_email(email: str) -> None:
    """BadRequest unless ``email`` can be an address: no blanks or control characters, nothing that looks like others.

    Only text that is its own compatibility form is taken, so that full-width letters and the like are no second
    account of the same look.
    """
    name, _, domain = email.rpartition("@")
    fits = name and "." not in (domain[:1], domain[-1:]) and domain and len(email) <= 254
    odd = any(character in '<>()[]\\,;:"' or not character.isprintable() or character.isspace() for character in email)
    if not fits or odd or "@" in name or unicodedata.normalize("NFKC", email) != email:
        raise RequestError("email invalid")


def _text(name: str, value: Any) -> str:
    """``value`` if it is a string; it is a filter's part, so an object must not get through."""
    if not isinstance(value, str) or not value:
        raise InvalidParameter(f"'{name}' is a required string.")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidParameter(f"{name}: must be Unicode text") from None
    return value


def _described(account: Document) -> Document:
    return {name: value for name, value in account.items() if name not in ("hash", "version")}
