"""What one connection, one address and all of them together may take: connections, time, and answers nobody reads."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Protocol

from doorleaf.access.addresses import Network, among, neighbourhood, networks, unmapped
from doorleaf.http.rounds import Rounds
from doorleaf.settings.model import Settings

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

UNREAD_BYTES = 256 * 1024 * 1024
"""Most bytes of answers that wait in one process for their clients to read them."""


KEPT_FILES = 128
"""Files that a process needs for other things than connections."""

_MANY_FILES = 65_536


@dataclass(frozen=True, slots=True)
class ConnectionBounds:
    """``connections`` and ``per_address`` are the most at once, 0 for any number; the second holds neither for this
    machine nor for ``exempt``, whose addresses stand for many clients. ``lenient_lines`` takes a line that ends with
    LF alone."""

    connections: int = 0
    per_address: int = 0
    exempt: tuple[Network, ...] = ()
    lenient_lines: bool = False

    @classmethod
    def of(cls, settings: Settings) -> ConnectionBounds:
        """The bounds that ``settings`` ask for."""
        return cls(
            settings.max_connections,
            settings.max_connections_per_address,
            networks(settings.trusted_proxies),
            settings.lenient_lines,
        )


def room_for_files() -> int:
    """How many connections the system lets this process have, after asking for as many as may be asked for."""
    if resource is None:
        return 1 << 30
    soft, hard = (
        _MANY_FILES if most == resource.RLIM_INFINITY else most for most in resource.getrlimit(resource.RLIMIT_NOFILE)
    )
    wanted = min(hard, _MANY_FILES)
    if soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
            soft = wanted
    return max(soft - KEPT_FILES, KEPT_FILES)


def _most(bounds: ConnectionBounds) -> int:
    room = room_for_files()
    return min(bounds.connections, room) if bounds.connections else room


def is_this_machine(address: str) -> bool:
    """Whether a connection comes from the machine itself, where a proxy may stand."""
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return True  # a socket of the file system


class Reader(Protocol):
    """A client that is being sent an answer. ``pace`` is how many bytes a second it took so far."""

    def pace(self) -> float: ...

    def cut(self) -> None: ...


class Client(Protocol):
    """A connection that may have no request at hand."""

    def is_idle(self) -> bool: ...


class Door:
    """All connections of one server process: how many there are from where, and what waits to be read."""

    def __init__(self, bounds: ConnectionBounds, *, unread_bytes: int = 0) -> None:
        self._bounds, self._most = bounds, _most(bounds)
        self._unread_bytes = unread_bytes or UNREAD_BYTES
        self._addresses: dict[str, int] = {}
        self._unread: dict[Reader, int] = {}
        self.fresh: dict[Any, float] = {}
        """Connections that have not brought a request yet, by when they came."""
        self.idle: dict[Any, None] = {}
        """Those that have no request at hand after others, the longest of them first."""
        self.swept = False
        """Whether somebody looks at the connections from time to time."""
        self.rounds = Rounds()

    def follow(self, bounds: ConnectionBounds) -> None:
        """Hold to ``bounds`` from now on: settings may be read again."""
        if bounds is not self._bounds:
            self._bounds, self._most = bounds, _most(bounds)

    def is_full(self, connections: int) -> bool:
        """Whether ``connections``, the new one among them, are too many."""
        return connections > self._most

    def ended_for_another(self, since: float) -> Any:
        """A connection that may be ended for a new one: one that is idle, or that brought nothing since ``since``.
        None where there is none."""
        while self.idle:
            client: Client = next(iter(self.idle))
            del self.idle[client]
            if client.is_idle():
                return client
        for client, came in self.fresh.items():
            if came <= since:
                del self.fresh[client]
                return client
            break
        return None

    def enter(self, address: str) -> str | None:
        """Count a connection from ``address``: what :meth:`leave` is given, or None where it is one too many."""
        most = self._bounds.per_address
        if not most or not address:
            return ""
        address = unmapped(address)
        if is_this_machine(address):
            return ""
        caller = neighbourhood(address)
        now = self._addresses.get(caller, 0) + 1
        if now > most and not among(address, self._bounds.exempt):
            return None
        self._addresses[caller] = now
        return caller

    def leave(self, caller: str) -> None:
        """A connection that was counted is over."""
        if caller:
            left = self._addresses[caller] - 1
            if left:
                self._addresses[caller] = left
            else:
                del self._addresses[caller]

    def hold(self, reader: Reader, size: int) -> None:
        """Account for ``size`` bytes that wait for ``reader``. Where all together are too many, the slowest are cut."""
        self._unread[reader] = size
        if sum(self._unread.values()) <= self._unread_bytes:
            return
        for slowest in sorted(self._unread, key=lambda other: other.pace()):
            del self._unread[slowest]
            slowest.cut()
            if sum(self._unread.values()) <= self._unread_bytes:
                return

    def release(self, reader: Reader) -> None:
        """Nothing waits for ``reader`` any more."""
        self._unread.pop(reader, None)
