"""Access and refresh tokens: signed JWTs, and the sessions they belong to.

An access token lives 30 minutes, a refresh token 60 days unless a setting says otherwise. Checking an access token asks
no database: a token that was verified once is remembered, and the sessions revoked of late are a set in memory, which
:meth:`Sessions.reload` renews.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bson import ObjectId

from doorleaf.access import hs256
from doorleaf.access.callers import Tell, untold
from doorleaf.access.request import HttpRequest
from doorleaf.access.system_store import SystemStore, as_date, as_seconds
from doorleaf.documents import Document
from doorleaf.errors import Unauthenticated

ACCESS_SECONDS = 30 * 60
REFRESH_SECONDS = 60 * 24 * 3600
NO_DEVICE = "0" * 24
REMEMBERED = 4096
"""How many verified tokens a process remembers."""
COLLECTION = "sessions"
MOST_LISTED = 1000
GRACE_SECONDS = 30.0
"""How long a refresh token is good once it was traded for the next, for whom the answer did not reach."""


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims of a verified token: whose it is, of which session, when it ends (seconds since 1970), by which
    provider the session began, and whether that was with a key's text before its rotation (``retiring``). Of a refresh
    token, ``generation`` is how often it was traded for the next."""

    user_id: str
    session: str
    kind: str
    expires: float
    provider: str = "api-key"
    retiring: bool = False
    generation: int = 0


def signing_secret(setting: str | None, folder: Path, name: str = "token.secret") -> bytes:
    """The secret that signs tokens: ``setting``, else the file ``name`` in ``folder``, made when it is missing.

    Processes that start at once agree on one, since only a complete file ever appears under that name.
    """
    if setting is not None:
        return setting.encode()
    path = folder / name
    with contextlib.suppress(FileNotFoundError):
        return _read_secret(path)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = folder / f".{name}.{os.getpid()}.{secrets.token_hex(4)}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(32))
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
    return _read_secret(path)


def check_secret(folder: Path) -> bool:
    """Whether ``folder`` has a ``token.secret``, which must be whole; raises as :func:`signing_secret` would."""
    try:
        _whole_secret(folder / "token.secret")
    except FileNotFoundError:
        return False
    return True


def _whole_secret(path: Path) -> bytes:
    secret = path.read_bytes().strip()
    if len(secret) < 32:
        raise ValueError(f"{path} is damaged: it has no secret of at least 32 bytes; delete it to end all sessions")
    return secret


def _read_secret(path: Path) -> bytes:
    secret = _whole_secret(path)
    if path.stat().st_mode & 0o077:
        path.chmod(0o600)
    return secret


class Tokens:
    """Issues and verifies tokens. ``clock`` gives seconds since 1970, ``refresh_seconds`` is a refresh token's life."""

    def __init__(
        self, secret: bytes, *, clock: Callable[[], float] = time.time, refresh_seconds: int = REFRESH_SECONDS
    ) -> None:
        self._secret = secret
        self._clock = clock
        self.refresh_seconds = refresh_seconds
        self._verified: OrderedDict[str, Claims] = OrderedDict()

    def access(
        self,
        user_id: str,
        session: str,
        *,
        provider: str = "api-key",
        device: str = NO_DEVICE,
        custom_data: Document | None = None,
        until: float | None = None,
    ) -> str:
        """An access token. ``custom_data`` (plain JSON values) is embedded for clients to read.

        ``until`` is when a retiring key ends, in seconds since 1970, and the session with it.
        """
        claims: Document = {"baas_device_id": device, "baas_domain_id": NO_DEVICE}
        claims |= {"stitch_devId": device, "stitch_domainId": NO_DEVICE}
        if custom_data is not None:
            claims |= {"custom_user_data": custom_data, "user_data": custom_data}
        claims |= {"iss": session, "sub": user_id, "typ": "access", "provider": provider}
        return self._sign(claims, ACCESS_SECONDS, until)

    def refresh(
        self,
        user_id: str,
        session: str,
        provider: str,
        *,
        seconds: float | None = None,
        identity_id: str | None = None,
        until: float | None = None,
    ) -> str:
        """A refresh token that lives for ``seconds``, else as the settings say; ``until`` as in :meth:`access`."""
        identity = {"id": identity_id or user_id, "provider_type": provider, "provider_id": NO_DEVICE}
        claims: Document = {
            "baas_id": session,
            "baas_identity": identity,
            "stitch_id": session,
            "stitch_ident": identity,
        }
        claims |= {"iss": session, "sub": user_id, "typ": "refresh", "provider": provider}
        return self._sign(claims, self.refresh_seconds if seconds is None else seconds, until)

    def successor(self, token: str, generation: int, issued: datetime) -> str:
        """The refresh token that comes after ``token``, which was verified; it ends when that one does. The same each
        time, since whom it did not reach asks again."""
        made = {"gen": generation, "iat": int(as_seconds(issued) or 0)}
        return hs256.sign(hs256.unverified(token) | made, self._secret)

    def new_device(self) -> str:
        """An id for a device that has none: 24 hexadecimal digits, by which :meth:`gave_device` knows it again."""
        chosen = secrets.token_hex(6)
        return chosen + self._mark(chosen)

    def gave_device(self, device: str) -> bool:
        """Whether an id is one that a server with this secret gave; what a client chose could be guessed."""
        return hmac.compare_digest(self._mark(device[:12]).encode(), device[12:].encode())

    def _mark(self, chosen: str) -> str:
        return hmac.digest(self._secret, b"device " + chosen.encode(), "sha256").hex()[:12]

    def _sign(self, claims: Document, seconds: float, until: float | None) -> str:
        now = int(self._clock())
        end = now + int(seconds)
        if until is not None:
            end, claims = min(end, int(until)), claims | {"retiring": True}
        return hs256.sign(claims | {"iat": now, "exp": end}, self._secret)

    def remembered(self, token: str) -> Claims | None:
        """The claims of an access token that was verified before and has not expired; asks nothing."""
        claims = self._verified.get(token)
        if claims is None:
            return None
        if self._clock() >= claims.expires:
            del self._verified[token]
            return None
        self._verified.move_to_end(token)
        return claims

    def verify(self, token: str, kind: str, age: float = 0.0) -> Claims:
        """The claims of ``token``, which must be of ``kind`` ``access`` or ``refresh`` and good ``age`` seconds ago;
        else Unauthenticated."""
        try:
            claims = hs256.verified(token, self._secret, require=("exp", "iat", "iss", "sub", "typ"))
            verified = Claims(
                str(claims["sub"]),
                str(claims["iss"]),
                str(claims["typ"]),
                float(claims["exp"]),
                str(claims.get("provider", "api-key")),
                claims.get("retiring") is True,
                int(claims.get("gen", 0)),
            )
        except (ValueError, TypeError):
            raise Unauthenticated("invalid session") from None
        if verified.kind != kind:
            if kind == "refresh":
                raise Unauthenticated("invalid refresh token: incorrect token type")
            raise Unauthenticated("invalid session")
        if self._clock() - age >= verified.expires:
            raise Unauthenticated("invalid session: token expired")
        if kind == "access":
            self._verified[token] = verified
            if len(self._verified) > REMEMBERED:
                self._verified.popitem(last=False)
        return verified


class Sessions:
    """Sessions are documents: ``_id``, ``user_id``, ``provider``, ``created``, ``expires``, ``device`` and maybe
    ``revoked``, and once their refresh token was traded for the next, ``generation`` and ``rotated``, when that was.
    ``audit`` is told when they end."""

    def __init__(self, system: SystemStore, *, clock: Callable[[], float] = time.time, audit: Tell = untold) -> None:
        self._system = system
        self._clock = clock
        self._audit = audit
        self._revoked: frozenset[str] = frozenset()

    async def create(
        self, user_id: str, provider: str, *, seconds: float = REFRESH_SECONDS, device: Document | None = None
    ) -> str:
        """Begin a session that lasts ``seconds`` and answer its id. ``device`` is what the client said of itself."""
        session, now = str(ObjectId()), self._clock()
        document = {"_id": session, "user_id": user_id, "provider": provider, "created": as_date(now)}
        document |= {"expires": as_date(now + seconds)} | ({"device": device} if device else {})
        await self._system.insert(COLLECTION, document)
        return session

    async def find(self, session: str) -> Document | None:
        """The session, if it exists and was not revoked; asks the database."""
        document = await self._system.find_one(COLLECTION, {"_id": session})
        return None if document is None or "revoked" in document else document

    async def held(self, claims: Claims) -> Document | None:
        """The session of a refresh token. One whose token was traded for the next, and long ago, ends: it has been
        copied, and nobody can tell whose copy this is."""
        session = await self.find(claims.session)
        if session is None or claims.generation == session.get("generation", 0):
            return session
        if claims.generation + 1 == session.get("generation"):
            traded = as_seconds(session["rotated"]) or 0.0
            if self._clock() < traded + GRACE_SECONDS:
                return session
        await self.revoke(claims.session)
        return None

    async def rotate(self, session: Document, claims: Claims) -> Document | None:
        """``session`` with its refresh token traded for the next; as it is if somebody did so a moment ago."""
        now, next_one = as_date(self._clock()), claims.generation + 1
        if session.get("generation", 0) == next_one:
            return session
        before: Document = {"generation": claims.generation if claims.generation else {"$exists": False}}
        change = {"$set": {"generation": next_one, "rotated": now}}
        filter = {"_id": claims.session, "revoked": {"$exists": False}} | before
        if await self._system.update(COLLECTION, filter, change):
            return session | {"generation": next_one, "rotated": now}
        return await self.held(claims)

    async def of(self, user_id: str) -> list[Document]:
        """The sessions of a user or key that are not over, newest first."""
        filter = {"user_id": user_id, "revoked": {"$exists": False}, "expires": {"$gt": as_date(self._clock())}}
        return await self._system.find(COLLECTION, filter, sort={"_id": -1}, limit=MOST_LISTED)

    async def revoke(
        self, session: str, user_id: str | None = None, *, logout: bool = False, by: HttpRequest | None = None
    ) -> bool:
        """End a session (of ``user_id``, if given): here at once, in other processes when they reload.

        Whether there was one. A ``logout`` is accounted for as such, by who knows whose it is.
        """
        filter = {"_id": session} | ({} if user_id is None else {"user_id": user_id})
        found = await self._system.update(COLLECTION, filter, {"$set": {"revoked": as_date(self._clock())}})
        if found:
            self._revoked |= {session}
            if not logout:
                self._audit("endSession", target=session, by=by)
        return found > 0

    async def revoke_of(self, user_id: str, *, by: HttpRequest | None = None) -> int:
        """End all sessions of a user or key; how many there were."""
        return await self._revoke_all({"user_id": user_id}, user_id, by=by)

    async def revoke_all(self, *, by: HttpRequest | None = None) -> int:
        """End every session; how many there were."""
        return await self._revoke_all({}, "all", by=by)

    async def _revoke_all(self, filter: Document, target: str, *, by: HttpRequest | None = None) -> int:
        change = {"$set": {"revoked": as_date(self._clock())}}
        ended = await self._system.update_many(COLLECTION, filter | {"revoked": {"$exists": False}}, change)
        if ended:
            await self.reload()
            self._audit("endSessions", target=target, by=by)
        return ended

    def is_revoked(self, session: str) -> bool:
        """Whether the session is known to be revoked; asks no database."""
        return session in self._revoked

    async def reload(self) -> None:
        """Read which sessions were revoked while access tokens of theirs may live, with as much again for clocks."""
        since, before = as_date(self._clock() - 2 * ACCESS_SECONDS), self._revoked
        found = await self._system.all(COLLECTION, {"revoked": {"$gte": since}}, projection={"_id": 1})
        ended_meanwhile = self._revoked - before  # perhaps too late for what was read
        self._revoked = frozenset(document["_id"] for document in found) | ended_meanwhile

    async def prepare(self) -> None:
        """Make the indexes that are needed."""
        await self._system.index(COLLECTION, "revoked")
        await self._system.index(COLLECTION, "expires")
        await self._system.index(COLLECTION, "user_id")

    async def sweep(self) -> None:
        """Delete the sessions that are over."""
        await self._system.delete(COLLECTION, {"expires": {"$lt": as_date(self._clock())}})
