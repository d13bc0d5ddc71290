"""Accounts with email and password: register, confirm, reset, log in.

An account is one document of ``accounts`` in the system database: ``_id`` is the address or user name, taken letter by
letter (``A@x.org`` and ``a@x.org`` are two), then ``user_id``, ``identity_id``, ``hash`` (argon2id), ``confirmed``,
``version`` (another one after every change), ``created``, ``used``, whether somebody logged in, and maybe ``profile``,
what people said of themselves. Its user comes into being when it is confirmed. What mails link to are documents of
``mail_tokens``: of the token only a hash is stored, it lives 30 minutes and works once.

An unknown address, a wrong password and an account that is locked out are answered alike and after the same work.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from bson import ObjectId

from doorleaf.access.addresses import neighbourhood
from doorleaf.access.callers import Provider, Tell, untold
from doorleaf.access.identity.keys import digest
from doorleaf.access.identity.lockout import Attempt, Lockout
from doorleaf.access.identity.mail import Mail
from doorleaf.access.identity.mistakes import NO_MISTAKES, Mistakes
from doorleaf.access.identity.names import LONGEST, check_name
from doorleaf.access.identity.passwords import Passwords
from doorleaf.access.identity.recent import Recent
from doorleaf.access.identity.tokens import Sessions
from doorleaf.access.identity.users import Users, not_found
from doorleaf.access.request import HttpRequest
from doorleaf.access.system_store import SystemStore, as_date, as_seconds
from doorleaf.documents import Document, is_string
from doorleaf.errors import (
    DuplicateKey,
    InvalidParameter,
    RequestError,
    TooManyRequests,
    Unauthenticated,
    Unsupported,
)
from doorleaf.operations.fields import unicode_text
from doorleaf.settings.model import Settings

COLLECTION = "accounts"
TOKENS = "mail_tokens"
PROVIDER: Provider = "local-userpass"
TOKEN_SECONDS = 30 * 60
VERIFIED_SECONDS = 300.0
"""How long a password that was right needs no argon2 again, as long as the account stays as it was."""
REMEMBERED = 4096
AT_ONCE = 16
"""Logins to one account from one place that may wait for each other in this process."""


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
    """The accounts of one system database. ``clock`` gives seconds since 1970, ``audit`` is told of every change,
    ``mistakes`` counts wrong passwords."""

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
        mistakes: Mistakes = NO_MISTAKES,
    ) -> None:
        self._system = system
        self._mistakes = mistakes
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

    async def register(
        self,
        email: str,
        password: str,
        *,
        address: str = "",
        profile: Document | None = None,
        open_to_all: bool = False,
        by: HttpRequest | None = None,
    ) -> None:
        """Make an account, and send a mail to confirm it unless the settings confirm it at once.

        Without a mail server an administrator confirms it, or with ``open_to_all`` nobody has to. BadRequest for an
        address or a password that cannot be one; AccountNameInUse (409).
        """
        confirmed = self._settings.auto_confirm or (open_to_all and not self._mail.on)
        await self._make(email, password, confirmed=confirmed, caller=neighbourhood(address), profile=profile)
        self._audit("register", target=email, by=by)
        if confirmed:
            await self._sign_in(await self._required(email))
        elif self._mail.on:
            await self._send_confirmation(email)

    async def confirm(self, token: str, token_id: str, *, by: HttpRequest | None = None) -> None:
        """Confirm an account by what its mail said. UserpassTokenInvalid; UserAlreadyConfirmed."""
        email = await self._spend("confirm", token, token_id)
        account = await self._required(email)
        if account["confirmed"]:
            raise RequestError("already confirmed", code="UserAlreadyConfirmed")
        await self._confirm(account, by=by)

    async def send_confirmation(self, email: str) -> None:
        """Send the mail to confirm an account once more. UserNotFound; UserAlreadyConfirmed.

        Whether an address has an account is no secret here: :meth:`register` has to tell it too.
        """
        if self._settings.auto_confirm:
            raise RequestError("already confirmed", code="UserAlreadyConfirmed")  # all are, and nobody learns who is
        self._needs_mail("addresses are confirmed")
        account = await self._required(email)
        if account["confirmed"]:
            raise RequestError("already confirmed", code="UserAlreadyConfirmed")
        await self._send_confirmation(email)

    def call_confirmation(self, email: str) -> None:
        """Confirm an account by a function, of which there is none: NotCallable, or the reason why none is needed."""
        if self._settings.auto_confirm:
            shown = email[:LONGEST]
            raise RequestError(f"cannot run confirmation for {shown}: automatic confirmation is enabled")
        raise Unsupported("confirm/call is not supported: there is no function that it could call", code="NotCallable")

    def can_reset(self, *, by_code: bool = False) -> None:
        """Raise where nobody could be sent a mail that allows to choose a new password."""
        self._needs_mail("passwords are reset")
        if self._settings.reset_password_url is None and not by_code:
            raise RequestError("passwords are reset by an administrator here: no page for it is set up")

    async def send_reset(self, email: str, *, by_code: bool = False) -> None:
        """Send a mail that allows to choose a new password: a link, or ``by_code`` a code. UserNotFound."""
        self.can_reset(by_code=by_code)
        await self._required(email)
        if by_code:
            token, identifier = await self._new_token("reset", email)
            text = f"The code to choose a new password with:\n\n{identifier}{token}\n"
        else:
            link = await self._link("reset", email, self._settings.reset_password_url or "")
            text = f"Choose a new password here:\n\n{link}\n"
        self._mail.send(email, self._settings.reset_password_subject, text)

    async def reset(
        self, token: str, token_id: str, password: str, *, address: str = "", by: HttpRequest | None = None
    ) -> None:
        """Set a new password by what a mail said; all sessions of the user end. UserpassTokenInvalid."""
        self._passwords.check(_text("password", password))
        email = await self._spend("reset", token, token_id)
        await self.set_password(email, password, caller=neighbourhood(address), by=by)

    # --- who is it ---

    def fresh(self, email: str, password: str) -> str | None:
        """The id of the user whose password this is, if that was looked at within the last two seconds."""
        found = self._verified.fresh(self._place(email, password))
        return None if found is None or time.monotonic() >= found.until else found.user_id

    async def user(self, email: str, password: str, address: str) -> str:
        """Log in as :meth:`log_in` does, for requests that each show a password; argon2 runs every five minutes."""
        place = self._place(email, password)
        found = self._verified.any(place)
        if found is not None and time.monotonic() < found.until:
            begun = self._verified.begin()
            account = await self._system.find_one(COLLECTION, {"_id": email})
            if account is not None and account["version"] == found.version:
                self._verified.put(place, found, begun)
                return found.user_id
        return await self.log_in(email, password, address)

    async def log_in(self, email: str, password: str, address: str, device: str = "") -> str:
        """The id of the user whose password this is. ``device`` is the id of a device that this server gave.

        Unauthenticated: ``invalid username/password`` (InvalidPassword), whatever was wrong, and ``confirmation
        required`` (AuthError) for who knows the password of an account that is not confirmed. TooManyRequests when too
        many passwords from this address were wrong or wait to be looked at.
        """
        begun = self._verified.begin()
        account = await self._verified_account(email, password, address, device)
        if self._passwords.outdated(account["hash"]):
            change = {"$set": {"hash": await self._passwords.hash(password, neighbourhood(address))}}
            await self._system.update(COLLECTION, {"_id": email, "version": account["version"]}, change)
        if account.get("used") is False:
            await self._system.update(COLLECTION, {"_id": email}, {"$set": {"used": True}})
        user_id = await self._sign_in(account)
        verified = _Verified(user_id, account["version"], time.monotonic() + VERIFIED_SECONDS)
        self._verified.put(self._place(email, password), verified, begun)
        return user_id

    async def verify(self, user_id: str, password: str, address: str) -> None:
        """Return if this is the password of a user, who is not logged in by it. BadRequest for a user without one;
        else as :meth:`log_in` raises."""
        account = await self._system.find_one(COLLECTION, {"user_id": user_id})
        if account is None:
            raise RequestError("the caller has no account with a password")
        await self._verified_account(account["_id"], password, address, "")

    async def link(
        self, user_id: str, email: str, password: str, address: str, device: str = "", *, by: HttpRequest | None = None
    ) -> None:
        """Make an account that nobody logged in to, or that is theirs, one of the user's; as :meth:`log_in` raises,
        and IdentityInUse (409)."""
        account = await self._verified_account(email, password, address, device)
        unused = account["user_id"] if account.get("used") is False else None
        data = {"email": account["_id"]}
        await self._users.link(user_id, PROVIDER, account["identity_id"], data, unused=unused)
        change = {"$set": {"user_id": user_id, "used": True, "version": str(ObjectId())}}
        await self._system.update(COLLECTION, {"_id": email}, change)
        self._audit("linkUser", target=email, by=by)

    async def _verified_account(self, email: str, password: str, address: str, device: str) -> Document:
        """The confirmed account whose password this is."""
        attempt = Attempt(_text("username", email), address, device)
        async with self._turn(attempt):
            account = await self._verify(attempt, password)
        if not account["confirmed"]:
            raise Unauthenticated("confirmation required", code="AuthError")
        return account

    async def _verify(self, attempt: Attempt, password: str) -> Document:
        """The account whose password this is; a wrong one counts."""
        standing = await self.lockout.standing(attempt)
        if not standing.known:
            # Who logged in from here before is not refused for what others at this address try.
            await self._mistakes.require("password", attempt.address)
        locked, caller = standing.locked, neighbourhood(attempt.address)
        account = await self._system.find_one(COLLECTION, {"_id": attempt.name})
        hashed = None if locked or account is None else account["hash"]
        right = await self._passwords.verify(hashed, password, caller, first=standing.known and not locked)
        if account is not None and right:
            await self.lockout.succeeded(attempt, standing)
            return account
        if not locked:
            await self.lockout.failed(attempt, standing)
        await self._mistakes.refuse("password", attempt.address)
        raise Unauthenticated("invalid username/password", code="InvalidPassword")

    @asynccontextmanager
    async def _turn(self, attempt: Attempt) -> AsyncIterator[None]:
        """One login to an account from one place after the other, so that many guesses at once count as many."""
        place = attempt.by_device or attempt.by_address
        lock, waiting = self._turns.get(place) or (asyncio.Lock(), 0)
        if waiting >= AT_ONCE:
            raise TooManyRequests("too many logins at once; try again in a moment", headers={"Retry-After": "1"})
        self._turns[place] = (lock, waiting + 1)
        try:
            async with lock:
                yield
        finally:
            waiting = self._turns[place][1] - 1
            if waiting:
                self._turns[place] = (lock, waiting)
            else:
                del self._turns[place]

    def _place(self, email: str, password: str) -> bytes:
        shown = f"{len(email)}:{email}{password}".encode("utf-8", "surrogatepass")
        return hmac.digest(self._secret, shown, "sha256")

    async def _sign_in(self, account: Document) -> str:
        data = {"email": account["_id"]}
        return await self._users.sign_in(PROVIDER, account["identity_id"], data, user_id=account["user_id"])

    # --- administration ---

    async def create(self, email: str, password: str, *, by: HttpRequest | None = None) -> str:
        """Make a confirmed account and answer its user's id. BadRequest, AccountNameInUse (409)."""
        await self._make(email, password, confirmed=True)
        self._audit("createUser", target=email, by=by)
        return await self._sign_in(await self._required(email))

    async def confirm_by_administrator(self, email: str, *, by: HttpRequest | None = None) -> str:
        """Confirm an account and answer its user's id. UserNotFound; UserAlreadyConfirmed."""
        account = await self._required(email)
        if account["confirmed"]:
            raise RequestError("already confirmed", code="UserAlreadyConfirmed")
        return await self._confirm(account, by=by)

    async def set_password(self, email: str, password: str, *, caller: str = "", by: HttpRequest | None = None) -> None:
        """Give an account another password; all sessions of the user end. UserNotFound, BadRequest."""
        self._passwords.check(_text("password", password))
        account = await self._required(email)
        change = {"hash": await self._passwords.hash(password, caller), "version": str(ObjectId())}
        await self._system.update(COLLECTION, {"_id": email}, {"$set": change})
        await self._system.delete(TOKENS, {"email": email, "purpose": "reset"})
        self._verified.clear()
        await self.lockout.forget(email)
        await self._sessions.revoke_of(account["user_id"], by=by)
        self._audit("setPassword", target=email, by=by)

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

    async def profile(self, user_id: str) -> Document:
        """The profile that the person behind a user gave, with ``email`` and ``confirmed``; {} without an account."""
        account = await self._system.find_one(COLLECTION, {"user_id": user_id})
        if account is None:
            return {}
        return {**account.get("profile", {}), "email": account["_id"], "confirmed": account["confirmed"]}

    async def set_profile(self, user_id: str, changes: Mapping[str, Any]) -> None:
        """Change what a person said of themselves. UserNotFound for a user without an account."""
        change = {"$set": {f"profile.{name}": value for name, value in changes.items()}}
        if not await self._system.update(COLLECTION, {"user_id": user_id}, change):
            raise not_found()

    async def delete_of(self, user_id: str) -> bool:
        """Forget the account of a user; whether they had one."""
        account = await self._system.find_one(COLLECTION, {"user_id": user_id})
        if account is not None:
            await self._system.delete(TOKENS, {"email": account["_id"]})
            await self._system.delete(COLLECTION, {"_id": account["_id"]})
            self._verified.clear()
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

    async def _make(
        self, email: str, password: str, *, confirmed: bool, caller: str = "", profile: Document | None = None
    ) -> None:
        # Who confirms by a mail needs an address to send it to.
        check_name(_text("email", email), address=self._mail.on and not self._settings.auto_confirm)
        self._passwords.check(_text("password", password))
        if await self._system.find_one(COLLECTION, {"_id": email}) is not None:
            raise NameInUse("name already in use")
        account: Document = {"_id": email, "user_id": str(ObjectId()), "identity_id": str(ObjectId())}
        account |= {"hash": await self._passwords.hash(password, caller), "confirmed": confirmed}
        account |= {"version": str(ObjectId()), "used": False} | ({} if profile is None else {"profile": profile})
        try:
            await self._system.insert(COLLECTION, account | {"created": as_date(self._clock())})
        except DuplicateKey:
            raise NameInUse("name already in use") from None

    async def _confirm(self, account: Document, *, by: HttpRequest | None = None) -> str:
        change = {"$set": {"confirmed": True, "version": str(ObjectId())}}
        await self._system.update(COLLECTION, {"_id": account["_id"]}, change)
        self._audit("confirmUser", target=account["_id"], by=by)
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
        token, identifier = await self._new_token(purpose, email)
        return f"{url}{'&' if '?' in url else '?'}{urlencode({'token': token, 'tokenId': identifier})}"

    async def _new_token(self, purpose: str, email: str) -> tuple[str, str]:
        """A new token and its id."""
        token, identifier = secrets.token_urlsafe(32), str(ObjectId())
        await self._system.delete(TOKENS, {"email": email, "purpose": purpose})
        document = {"_id": identifier, "hash": digest(token).hex(), "purpose": purpose, "email": email}
        expires = as_date(self._clock() + TOKEN_SECONDS)
        await self._system.insert(TOKENS, document | {"expires": expires})
        return token, identifier

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


def _text(name: str, value: Any) -> str:
    """``value`` if it is a string; it is a filter's part, so an object must not get through."""
    if not is_string(value) or not value:
        raise InvalidParameter(f"'{name}' is a required string.")
    return unicode_text(value, name)


_NOT_SHOWN = ("hash", "version", "used", "profile")


def _described(account: Document) -> Document:
    return {name: value for name, value in account.items() if name not in _NOT_SHOWN}
