"""The realtime gateway: changes of a workspace over one WebSocket, channel by channel.

A client shows a token when it connects, or in its first frame; then it subscribes to channels, each with a filter. What
ends a connection is told by a frame and the code of its close.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Protocol
from urllib.parse import parse_qsl

from doorleaf import ejson
from doorleaf.access.callers import Caller, Credentials
from doorleaf.dialects.base import Request, Route, Session, json
from doorleaf.dialects.events import written
from doorleaf.dialects.handling import body_of
from doorleaf.dialects.workspaces import abouts
from doorleaf.dialects.workspaces.changes import Following, check, follow, told
from doorleaf.dialects.workspaces.channels import Channel, channel_of
from doorleaf.dialects.workspaces.door import REALTIME, Answer, Asked, Door, Execute, credentials
from doorleaf.dialects.workspaces.envelope import code_of, message_of
from doorleaf.documents import Document, is_string
from doorleaf.ejson import Mode
from doorleaf.errors import (
    DataError,
    DoorleafError,
    InvalidParameter,
    QuotaExceeded,
    StoreError,
    TooManyRequests,
    Unauthenticated,
)
from doorleaf.operations import Watch, WatchDatabase
from doorleaf.operations.results import ChangeStream

PATHS = ("/workspaces/{workspace}/realtime/connect", "/v1/workspaces/{workspace}/realtime/connect")
PROTOCOL = "v1.falcone.realtime"

EXPIRED, DENIED, EXCEEDED, UNAVAILABLE = 4001, 4003, 4008, 4010
NAMES = {
    EXPIRED: "token_expired",
    DENIED: "scope_denied",
    EXCEEDED: "quota_exceeded",
    UNAVAILABLE: "channel_unavailable",
}

AUTH_SECONDS = 10.0
"""How long a client may take to show a token."""

CHECK_SECONDS = 2.0
"""How often it is asked whether the caller may still listen."""

MOST_CHANNELS = 100
MOST_BYTES = 64 * 1024
"""How many channels a connection may have, and how long what a client says may be."""

TICKETS = "/realtime/tickets"

Identify = Callable[[Credentials], Awaitable[Any]]
"""Finds out who a caller is."""


class Tickets(Protocol):
    """Makes tickets for those who showed credentials, and takes each once."""

    async def issue(self, shown: Credentials) -> Document: ...

    async def redeem(self, text: str, shown: Credentials) -> Credentials: ...


class Ended(Exception):
    """The connection ends, with a code and a reason."""

    def __init__(self, code: int, message: str, channel: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.channel = channel


def ticket_route(door: Door, tickets: Tickets) -> Route:
    """The route that makes a ticket for whoever may listen."""

    async def issue(asked: Asked) -> Answer:
        if unknown := (await body_of(asked.request.body or b"{}")).keys():
            raise InvalidParameter(f"{min(unknown)[:50]}: no such field; there is none")
        return asked.answer(await tickets.issue(credentials(asked.request)), 201)

    return door.route("POST", TICKETS, "workspaceTicket", issue, abouts.TICKET, scope=REALTIME, capability="realtime")


def gateway_routes(execute: Execute, identify: Identify, tickets: Tickets) -> tuple[Route, ...]:
    """The routes of the gateway."""

    async def connect(request: Request, session: Session) -> None:
        await Connection(request, session, execute, identify, tickets).run()

    return tuple(
        Route("GET", path, "workspaceRealtime", session=connect, public=True, listens=True, protocols=(PROTOCOL,))
        for path in PATHS
    )


class Connection:
    """One WebSocket. Its client may listen for as long as its token is good."""

    def __init__(
        self, request: Request, session: Session, execute: Execute, identify: Identify, tickets: Tickets
    ) -> None:
        self._request = request
        self._session = session
        self._execute = execute
        self._identify = identify
        self._tickets = tickets
        self._shown = credentials(request)
        self._identity: Any = None
        self._channels: dict[str, tuple[asyncio.Task[None], Following]] = {}
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._parting: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Talk until either side has enough."""
        talking: set[asyncio.Future[None]] = {
            asyncio.create_task(self._talk()),
            asyncio.create_task(self._check()),
            self._ended,
        }
        try:
            done, _ = await asyncio.wait(talking, return_when=asyncio.FIRST_COMPLETED)
            for one in done:
                one.result()
        except Ended as end:
            frame = {"type": "error", "code": end.code, "name": NAMES[end.code], "message": end.message}
            await self._say(frame | ({"channel": end.channel} if end.channel else {}))
            await self._session.close(end.code, NAMES[end.code])
        finally:
            # The server ends this too when the client has gone, mostly in this very moment; no channel is left open.
            self._parting = asyncio.create_task(self._part(talking))
            await asyncio.shield(self._parting)

    async def _part(self, talking: set[asyncio.Future[None]]) -> None:
        """End all that was begun."""
        for task in talking:
            task.cancel()
        await asyncio.wait(talking)
        for task in talking:
            if not task.cancelled():
                task.exception()  # one was enough
        for name in [*self._channels]:
            await self._leave(name)

    # --- who calls ---

    async def _begin(self) -> None:
        """Find out who calls: by what came with the handshake, or else by the first frame."""
        ticket = dict(parse_qsl(self._request.query.decode("latin-1"))).get("ticket")
        if ticket is not None:
            self._shown = await self._redeemed(ticket)
        try:
            await self._admit(self._shown)
        except Ended:
            if self._shown.bearer is not None or self._shown.api_key is not None:
                raise
        else:
            return
        try:
            async with asyncio.timeout(AUTH_SECONDS):
                frame = _read(await self._session.receive())
        except (TimeoutError, InvalidParameter):
            frame = {}
        if frame.get("type") != "auth":
            raise Ended(DENIED, "the first frame has to be {type: auth, token}")
        await self._refresh(frame)

    async def _redeemed(self, ticket: str) -> Credentials:
        """What was shown to get a ticket."""
        if self._shown.bearer is not None or self._shown.api_key is not None:
            raise Ended(DENIED, "there is a ticket and a token; show one of them")
        try:
            return await self._tickets.redeem(ticket, self._shown)
        except Unauthenticated as error:
            raise Ended(DENIED, error.message) from None
        except StoreError as error:
            raise Ended(UNAVAILABLE, error.message) from None

    async def _refresh(self, frame: Document) -> None:
        """Take a token that the client says; a later one has to be the same caller's."""
        token = frame.get("token")
        if not is_string(token) or not token:
            raise Ended(DENIED, "token: expected a token of the workspace, or a key")
        shown, before = replace(self._shown, bearer=token, api_key=None), self._identity
        await self._admit(shown)
        self._shown = shown
        if before is not None and self._identity is not None and before.id != self._identity.id:
            raise Ended(DENIED, "the token is another caller's; connect again")

    async def _admit(self, shown: Credentials) -> None:
        """Let a caller in who may listen."""
        try:
            identity = await self._identify(shown)
        except Unauthenticated as error:
            raise Ended(EXPIRED if error.code == "TokenExpired" else DENIED, error.message) from None
        except TooManyRequests as error:
            raise Ended(EXCEEDED, error.message) from None
        except StoreError as error:
            raise Ended(UNAVAILABLE, error.message) from None
        except DoorleafError as error:
            raise Ended(DENIED, error.message) from None
        tenancy = identity.tenancy
        if tenancy is None or REALTIME not in tenancy.scopes:
            raise Ended(DENIED, f"this takes the scope {REALTIME}")
        if "realtime" not in tenancy.workspace.capabilities:
            raise Ended(DENIED, "the workspace has no capability 'realtime'")
        if self._identity is None:
            try:
                self._session.admitted(identity.shown)
            except TooManyRequests as error:
                raise Ended(EXCEEDED, error.message) from None
        self._identity = identity

    async def _check(self) -> None:
        """Look at the caller anew, again and again."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            known = self._identity
            if known is None:
                continue
            ends = None if known.tenancy is None else known.tenancy.ends
            if ends is not None and time.time() >= ends:
                raise Ended(EXPIRED, "the token has ended")
            try:
                await self._admit(self._shown)
            except Ended as end:
                if end.code != UNAVAILABLE:  # callers are as last read while the database is away
                    raise
            found = self._identity
            if found is not None and found is not known and found.version != known.version:
                raise Ended(DENIED, "the rights of the caller have changed; connect again")

    # --- what the client says ---

    async def _talk(self) -> None:
        await self._begin()
        async for message in self._session:
            frame: Document = {}
            try:
                frame = _read(message)
                await self._act(frame)
            except DoorleafError as error:
                await self._refuse(frame, error)

    async def _act(self, frame: Document) -> None:
        kind = frame.get("type")
        if kind == "subscribe":
            await self._subscribe(frame)
        elif kind == "unsubscribe":
            channel = channel_of(frame)
            await self._leave(channel.name)
            await self._confirm(frame, "subscription-removed", channel.name)
        elif kind in ("auth", "refresh-token"):
            await self._refresh(frame)
            await self._confirm(frame, "token-refreshed", "")
        elif kind == "ping":
            await self._say({"type": "pong"})
        else:
            raise InvalidParameter("type: expected auth, subscribe, unsubscribe or ping")

    async def _subscribe(self, frame: Document) -> None:
        channel = channel_of(frame)
        if not channel.is_ours:
            raise Ended(UNAVAILABLE, "there are channels mongo:* and mongo:<collection>", channel.name)
        if len(self._channels) >= MOST_CHANNELS and channel.name not in self._channels:
            raise Ended(EXCEEDED, f"a connection has {MOST_CHANNELS} channels at most", channel.name)
        token = frame.get("resumeAfter")
        if token is not None and not is_string(token):
            raise InvalidParameter("resumeAfter: expected the resumeToken of an event")
        await check(channel.wanted)
        await self._leave(channel.name)
        try:
            changes = await self._follow(channel, token)
        except (QuotaExceeded, TooManyRequests) as error:
            raise Ended(EXCEEDED, error.message, channel.name) from None
        except DataError as error:
            if token is None:
                raise
            await self._refuse(frame, error)
            changes = await self._follow(channel, None)  # live, as the client was told
        delivering = asyncio.create_task(self._deliver(channel.name, changes))
        self._channels[channel.name] = delivering, changes
        await self._confirm(frame, "subscription-confirmed", channel.name)

    async def _follow(self, channel: Channel, token: str | None) -> Following:
        assert self._identity is not None  # noqa: S101  # nobody subscribes before
        tenancy = self._identity.tenancy
        assert tenancy is not None  # noqa: S101  # admitted with one
        kind = Watch if channel.collection else WatchDatabase
        operation = kind(
            namespace=tenancy.workspace.namespace(channel.collection),
            start_after=None if token is None else {"_data": token},
        )
        caller = Caller(self._identity, self._request, "workspaces")

        async def opening(watch: Watch) -> ChangeStream:
            return (await self._execute(watch, caller)).changes

        return await follow(operation, channel.wanted, opening)

    async def _leave(self, name: str) -> None:
        task, changes = self._channels.pop(name, (None, None))
        if task is not None and changes is not None:
            task.cancel()
            await asyncio.wait({task})
            await changes.close()

    # --- what the client is told ---

    async def _deliver(self, channel: str, changes: Following) -> None:
        """Tell the client what happens on a channel."""
        head = b'{"type":"event","channel":' + json(channel) + b","

        def write(event: Document) -> bytes:
            return head + ejson.dumps(told(event), Mode.PLAIN)[1:]

        try:
            while (events := await changes.next()) is not None:
                if events:
                    await self._session.send_all(await written(events, ("channel", channel), write))
            self._end(Ended(UNAVAILABLE, "the channel has ended", channel))
        except (QuotaExceeded, TooManyRequests) as error:
            self._end(Ended(EXCEEDED, error.message, channel))
        except DoorleafError as error:
            self._end(Ended(UNAVAILABLE, self._message(error), channel))
        except asyncio.CancelledError:
            raise
        except Exception as error:  # the client has gone, mostly
            self._end(error)

    def _end(self, error: Exception) -> None:
        if not self._ended.done():
            self._ended.set_exception(error)

    async def _confirm(self, frame: Document, kind: str, channel: str) -> None:
        """Answer a client that gave its request an id; others know no such frames."""
        given = frame.get("requestId")
        if is_string(given) or isinstance(given, int):
            said = {"type": kind, "requestId": given}
            await self._say(said | ({"subscriptionId": channel, "channel": channel} if channel else {}))

    async def _refuse(self, frame: Document, error: DoorleafError) -> None:
        said: Document = {"type": "error", "code": code_of(error), "message": self._message(error)}
        for name in ("channel", "requestId"):
            if is_string(frame.get(name)) or isinstance(frame.get(name), int):
                said[name] = frame[name]
        await self._say(said)

    def _message(self, error: DoorleafError) -> str:
        tenancy = None if self._identity is None else self._identity.tenancy
        return message_of(error, None if tenancy is None else tenancy.workspace)

    async def _say(self, frame: Document) -> None:
        await self._session.send(json(frame).decode())


def _read(message: str | bytes) -> Document:
    """The object that a client says."""
    content = message.encode("utf-8", "replace") if isinstance(message, str) else message
    if len(content) > MOST_BYTES:
        raise InvalidParameter(f"a frame has {MOST_BYTES} bytes at most")
    return ejson.loads(content)
