"""What every route of a workspace has in common: who may, what the request says of itself, how it is answered."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b, sha256
from typing import Any, Protocol, TypeVar
from urllib.parse import parse_qsl

import bson

from doorleaf import ejson
from doorleaf.access.callers import Caller, Credentials
from doorleaf.dialects.about import About
from doorleaf.dialects.base import Reply, Request, Route, header_credentials
from doorleaf.dialects.handling import body_of
from doorleaf.dialects.workspaces.envelope import correlated, correlation, workspace_error
from doorleaf.documents import CODEC, Document, is_string
from doorleaf.ejson import Mode
from doorleaf.errors import (
    Conflict,
    DoorleafError,
    InvalidParameter,
    PayloadTooLarge,
    PermissionDenied,
    WriteOutcomeUnknown,
)
from doorleaf.operations import Namespace, Operation
from doorleaf.operations.results import Result

BASE = "/v1/mongo/{workspace}"
READ, WRITE, ADMIN, REALTIME = "mongo:read", "mongo:write", "mongo:admin", "realtime:read"
MOST_BYTES = 1024 * 1024
"""What the body of a request may have."""
MOST_REPLAYED, TIMES_REPLAYED = 64 * 1024, 4
"""What an answer may have that is kept for whoever asks again: so many bytes, and so many times what was sent. A short
request about a long document must not fill the disk."""
_VERSION = re.compile(rb"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])")
_KEY = re.compile(rb"[\x21-\x7e]{1,255}")
_COLLECTION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,119}")

R = TypeVar("R", bound=Result)


class Execute(Protocol):
    """Carries out an operation for a caller, which came in a request of ``size`` bytes."""

    def __call__(self, operation: Operation[R], caller: Caller, size: int = 0) -> Awaitable[R]: ...


class Replays(Protocol):
    """Keeps the answers to writes that may come again."""

    async def begin(self, key: str, body: bytes) -> Document | None:
        """Note that a write begins; what is known of it where it began before."""

    async def finish(self, key: str, answer: Document) -> None: ...

    async def forget(self, key: str) -> None: ...


@dataclass(slots=True)
class Answer:
    """The answer of a route."""

    body: bytes
    status: int = 200
    headers: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(slots=True)
class Asked:
    """A request to a workspace. ``place`` is the workspace, ``mode`` how values are written, ``body`` what was sent."""

    request: Request
    place: Any
    mode: Mode
    execute: Execute
    body: Document = field(default_factory=dict)

    async def run(self, operation: Operation[R]) -> R:
        """Carry out an operation for the caller."""
        self.request.namespace = operation.namespace
        return await self.execute(operation, self.request.caller, len(self.request.body))

    def namespace(self, name: str | None = None) -> Namespace:
        """Where a collection is, by default that of the path; InvalidParameter for a name that is none."""
        name = self.request.params["collection"] if name is None else name
        return self.place.namespace(check_collection(name))  # type: ignore[no-any-return]  # the workspace's own

    def answer(self, content: Any, status: int = 200, etag: str = "") -> Answer:
        """The answer with ``content``."""
        headers = ((b"etag", etag.encode()),) if etag else ()
        return Answer(ejson.dumps(content, self.mode), status, headers)


Act = Callable[[Asked], Awaitable[Answer]]


def check_collection(name: Any) -> str:
    """``name``, which can be a collection's."""
    if not is_string(name) or not _COLLECTION.fullmatch(name) or name.startswith("system.") or ".." in name:
        raise InvalidParameter(
            "collection: a name has up to 120 letters, digits, _, - and single dots, and begins with no dot or dash"
        )
    if name.endswith("."):
        raise InvalidParameter("collection: a name does not end with a dot")
    return name


def credentials(request: Request) -> Credentials:
    """The credentials of a request: a bearer token, or a key as ``apiKey`` or ``x-api-key``; and the workspace of its
    path.

    An EventSource of a browser can set no header: where changes are listened to, the parameter ``token`` is the same.
    """
    shown = header_credentials(request)
    key = shown.api_key or request.headers.get(b"x-api-key", b"").decode("latin-1") or None
    bearer = shown.bearer
    if bearer is None and key is None and request.query and request.path.endswith(("/changes", "/realtime/connect")):
        bearer = dict(parse_qsl(request.query.decode("latin-1"))).get("token")
    made = _remembered if len(key or "") + len(bearer or "") <= _LONGEST_SHOWN else _credentials
    return made(bearer, key, request.address, request.params.get("workspace", ""))


def _credentials(bearer: str | None, key: str | None, address: str, workspace: str) -> Credentials:
    return Credentials(bearer=bearer, api_key=key, address=address, workspace=workspace)


_LONGEST_SHOWN = 1024
_remembered = lru_cache(maxsize=1024)(_credentials)


def etag_of(document: bytes | Document) -> str:
    """The strong entity tag of a document, another one after each change."""
    raw = document if isinstance(document, bytes) else bson.encode(document, codec_options=CODEC)
    return f'"{blake2b(raw, digest_size=16).hexdigest()}"'


class Door:
    """Makes the routes: ``execute`` is the service's, ``replays`` keeps answers for requests that come again."""

    def __init__(self, execute: Execute, replays: Replays) -> None:
        self._execute = execute
        self._replays = replays

    def route(
        self,
        method: str,
        path: str,
        name: str,
        act: Act,
        about: About,
        *,
        scope: str,
        reads: bool = False,
        capability: str = "mongo",
    ) -> Route:
        """The route that does ``act`` for callers with ``scope``; one that ``reads`` takes a body."""
        writes = method != "GET" and scope not in (READ, REALTIME)  # and never keep what is secret

        async def handle(request: Request) -> Reply:
            asked = self._admitted(request, scope, capability)
            if reads:
                asked.body = await _body(request)
            key = request.headers.get(b"idempotency-key") if writes else None
            answer = await act(asked) if key is None else await self._once(key, asked, act)
            headers = (*answer.headers, correlated(request), (b"cache-control", b"no-store"))
            return Reply(answer.status, answer.body, asked.mode.content_type, headers=headers, compressible=True)

        return Route(method, f"{BASE}{path}", name, handle=handle, about=about)

    def live(self, path: str, name: str, listen: Callable[[Asked], Awaitable[Reply]], about: About) -> Route:
        """The route that goes on as ``listen`` answers, for callers who may listen."""

        async def handle(request: Request) -> Reply:
            return await listen(self._admitted(request, REALTIME, "realtime"))

        return Route("GET", f"{BASE}{path}", name, handle=handle, about=about)

    def _admitted(self, request: Request, scope: str, capability: str) -> Asked:
        """The request, once its caller may; refusals come before a look at what it says."""
        tenancy = request.identity.tenancy
        place = tenancy.workspace
        if scope not in tenancy.scopes:
            raise PermissionDenied(f"this takes the scope {scope}")
        if capability not in place.capabilities:
            raise PermissionDenied(f"the workspace has no capability {capability!r}", code="CapabilityDisabled")
        version = request.headers.get(b"x-api-version")
        if version is not None and not _VERSION.fullmatch(version):
            raise InvalidParameter("X-API-Version: expected a date such as 2024-01-01")
        given = request.headers.get(b"x-correlation-id")
        if given is not None and given.decode("latin-1") != correlation(request):
            raise InvalidParameter("X-Correlation-Id: expected 8 to 128 letters, digits, '.', '_', ':' and '-'")
        mode = ejson.mode_of(request.headers.get(b"accept"))
        return Asked(request, place, mode, self._execute)

    async def _once(self, key: bytes, asked: Asked, act: Act) -> Answer:
        """What ``act`` answers, or answered when the same request of the same caller came before."""
        if not _KEY.fullmatch(key):
            raise InvalidParameter("Idempotency-Key: expected 1 to 255 printable characters")
        request, place = asked.request, asked.place
        at = (place.tenant, place.id, place.birth)
        scope = [*at, request.identity.id, request.method, request.path, key.decode()]
        name = sha256(bson.encode({"scope": scope})).hexdigest()
        kind = asked.mode.content_type  # what is kept is written in it
        stated = b"\0".join((request.body, request.query, request.headers.get(b"if-match", b""), kind))
        known = await self._replays.begin(name, stated)
        if known is not None:
            return _replayed(known)
        try:
            answer = await act(asked)
        except WriteOutcomeUnknown:
            raise  # what is not known stays so for whoever asks again
        except DoorleafError as error:
            if error.status >= 500 or error.status == 429:
                await self._replays.forget(name)
                raise
            reply = workspace_error(error, request)
            answer = Answer(reply.body, reply.status)
            await self._replays.finish(name, _kept(answer, len(request.body)))
            raise
        await self._replays.finish(name, _kept(answer, len(request.body)))
        return answer


def _kept(answer: Answer, sent: int) -> Document:
    etag = dict(answer.headers).get(b"etag", b"").decode()
    whole = len(answer.body) <= MOST_REPLAYED + TIMES_REPLAYED * sent
    return {"status": answer.status, "etag": etag, "body": answer.body if whole else None}


def _replayed(known: Mapping[str, Any]) -> Answer:
    answer = known.get("answer")
    if answer is None:
        raise Conflict(
            "a request with this Idempotency-Key has begun, and what became of it is not known (yet)",
            code="IdempotencyConflict",
        )
    if answer["body"] is None:
        raise Conflict("the answer to the first request was too long to be kept", code="IdempotencyConflict")
    headers = [(b"x-idempotency-replayed", b"true")]
    if answer["etag"]:
        headers.append((b"etag", answer["etag"].encode()))
    return Answer(bytes(answer["body"]), answer["status"], tuple(headers))


async def _body(request: Request) -> Document:
    """The object that a request sent."""
    raw = request.body
    if len(raw) > MOST_BYTES:
        raise PayloadTooLarge(f"the body is larger than {MOST_BYTES} bytes")
    return await body_of(raw)
