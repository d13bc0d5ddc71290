"""How many connections there may be, and what waits in them to be read."""

from __future__ import annotations

import pytest

from doorleaf.access.addresses import networks
from doorleaf.http import connections
from doorleaf.http.bounds import ConnectionBounds, Door
from doorleaf.settings.model import Settings


class Slow:
    """A client that is being sent an answer."""

    def __init__(self, pace: float) -> None:
        self._pace = pace
        self.is_cut = False

    def pace(self) -> float:
        return self._pace

    def cut(self) -> None:
        self.is_cut = True


def test_the_slowest_readers_are_cut_when_too_much_waits() -> None:
    door = Door(ConnectionBounds(), unread_bytes=100)
    slow, slower, new = Slow(5.0), Slow(1.0), Slow(float("inf"))
    door.hold(slow, 40)
    door.hold(slower, 40)
    door.hold(new, 20)
    assert (slow.is_cut, slower.is_cut, new.is_cut) == (False, False, False)
    door.hold(new, 21)
    assert (slow.is_cut, slower.is_cut, new.is_cut) == (False, True, False)
    door.hold(new, 10)
    door.release(new)
    door.hold(Slow(9.0), 60)
    assert not slow.is_cut
    last = Slow(float("inf"))
    door.hold(last, 101)
    assert (slow.is_cut, last.is_cut) == (True, True), "what alone is too much has no room either"


def test_connections_are_counted_by_address() -> None:
    door = Door(ConnectionBounds(connections=3, per_address=2, exempt=networks(["192.0.2.9"])))
    assert not door.is_full(3)
    assert door.is_full(4)
    for address in ("192.0.2.1", "2001:db8::1", "::ffff:192.0.2.7"):
        first, second = door.enter(address), door.enter(address)
        assert first
        assert second
        assert door.enter(address) is None
        door.leave(first)
        assert door.enter(address)
        assert door.enter(address) is None
    assert door.enter("2001:db8::2") is None, "the same network"
    assert door.enter("192.0.2.7") is None, "the same address in other clothes"
    for address in ("192.0.2.9", "127.0.0.1", "::1", "::ffff:127.0.0.1", ""):
        for _ in range(5):
            counted = door.enter(address)
            assert counted is not None
            door.leave(counted)


class Calm:
    """A connection without a request at hand."""

    def __init__(self, *, idle: bool = True) -> None:
        self._idle = idle

    def is_idle(self) -> bool:
        return self._idle


def test_the_place_of_who_has_been_calm_for_the_longest_is_given_away() -> None:
    door = Door(ConnectionBounds())
    assert door.ended_for_another(100.0) is None
    busy, first, second, old, new = Calm(idle=False), Calm(), Calm(), Calm(), Calm()
    door.idle = {busy: None, first: None, second: None}
    door.fresh = {old: 99.0, new: 101.0}
    assert [door.ended_for_another(100.0) for _ in range(5)] == [first, second, old, None, None]
    assert list(door.fresh) == [new], "it has only just come"


def test_bounds_that_change_hold_from_then_on() -> None:
    door = Door(ConnectionBounds(connections=3, per_address=1))
    assert door.enter("192.0.2.1")
    door.follow(ConnectionBounds(connections=5, per_address=2))
    assert not door.is_full(5)
    assert door.is_full(6)
    assert door.enter("192.0.2.1")
    assert door.enter("192.0.2.1") is None


def test_without_bounds_the_system_decides() -> None:
    door = Door(ConnectionBounds())
    assert not door.is_full(100)
    assert all(door.enter("192.0.2.1") is not None for _ in range(1000))


def test_lenient_lines_and_proxies_do_not_go_together() -> None:
    assert ConnectionBounds.of(Settings(lenient_lines=True)).lenient_lines
    with pytest.raises(ValueError, match="lenient_lines"):
        Settings(lenient_lines=True, trusted_proxies=("10.0.0.1",))


def test_an_unknown_server_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    assert connections.protocol() is connections.Connection
    monkeypatch.setattr(connections, "KNOWN", "0.1.")
    with caplog.at_level("WARNING", "doorleaf"):
        assert connections.protocol() == "httptools"
    assert "not known here" in caplog.text
