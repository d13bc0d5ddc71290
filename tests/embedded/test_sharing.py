"""Processes and readers that share a file: everybody gets a turn to write, and the write-ahead log stays short."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from opened import C, Run, command

from doorleaf.errors import StoreUnavailable
from doorleaf.mql.context import Context
from doorleaf.operations import CountDocuments, InsertOne
from doorleaf.stores.embedded.file import folding, sharing
from doorleaf.stores.embedded.file.sharing import Sharing
from doorleaf.stores.embedded.file.storage import FILE, Storage
from doorleaf.stores.embedded.store import EmbeddedStore
from doorleaf.stores.embedded.writing import planned
from doorleaf.stores.embedded.writing.planned import Writing

WRITERS = """
import asyncio, sys
from pathlib import Path
from doorleaf.operations import InsertOne, Namespace
from doorleaf.stores.embedded.store import EmbeddedStore

async def main():
    store = EmbeddedStore(Path(sys.argv[1]))
    await store.open()
    async def write():
        while True:
            await store.execute(InsertOne(namespace=Namespace("db", "other"), document={}))
            if not said:
                said.append(print("writing", flush=True))
    said = []
    await asyncio.gather(*(write() for _ in range(8)))

asyncio.run(main())
"""

HOLDER = """
import fcntl, sys
with open(sys.argv[1], "r+b") as file:
    fcntl.lockf(file, fcntl.LOCK_EX, 1, 1025)
    print("held", flush=True)
    sys.stdin.read()
"""

WAITER = """
import sys
from pathlib import Path
from doorleaf.stores.embedded.file import sharing
sharing._LINUX = {linux}
mine = sharing.Sharing(Path(sys.argv[1]))
mine.open()
mine.take({behind})
with open({order!r}, "a") as file:
    file.write("{name} ")
mine.give()
"""


def started(code: str, argument: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", code, argument], stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def length(log: Path) -> int:
    return os.path.getsize(log)


def locks(path: Path) -> int:
    """How many locks of parts of a file processes have, as Linux tells."""
    number = f":{path.stat().st_ino} "
    return sum(number in line and "POSIX" in line for line in Path("/proc/locks").read_text().splitlines())


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_process_that_writes_without_a_pause_lets_others_write(tmp_path: Path, run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        with started(WRITERS, str(tmp_path)) as other:
            try:
                assert other.stdout is not None
                assert await asyncio.to_thread(other.stdout.readline) == b"writing\n"
                for number in range(100):
                    await store.execute(InsertOne(namespace=C, document={"_id": number}))
                assert other.poll() is None, "it wrote all the time"
            finally:
                other.kill()
        assert (await store.execute(CountDocuments(namespace=C))).count == 100
        assert (await command(store, validate="other"))["valid"]

    run(scenario)


@pytest.fixture
def mine(tmp_path: Path) -> Iterator[Sharing]:
    """What this process shares the folder with others by."""
    opened = Sharing(tmp_path / FILE)
    opened.open()
    yield opened
    opened.close()


@pytest.fixture(params=[True, False])
def linux(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether who waits is found out as Linux tells it, or as on other systems."""
    if sys.platform != "linux":
        pytest.skip("reads /proc/locks to see when another process has begun to wait")
    monkeypatch.setattr(sharing, "_LINUX", request.param)
    return bool(request.param)


def test_a_turn_that_does_not_come_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mine: Sharing) -> None:
    other = started(HOLDER, str(tmp_path / "doorleaf.lock"))
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        monkeypatch.setattr(sharing, "LOCK_SECONDS", 0.05)
        with pytest.raises(StoreUnavailable, match="another process holds it"):
            mine.take()
    finally:
        other.kill()
        other.communicate()
    mine.take()
    mine.give()


def test_turns_come_in_the_order_of_asking_but_for_those_who_stand_behind(
    tmp_path: Path, mine: Sharing, linux: bool
) -> None:
    mine.take()
    assert not mine.wanted()
    order = tmp_path / "order"
    waiting: list[subprocess.Popen[bytes]] = []

    def ask(name: str, behind: float) -> None:
        waiting.append(
            started(WAITER.format(linux=linux, order=str(order), name=name, behind=behind), str(tmp_path / FILE))
        )
        wait_for(lambda: locks(tmp_path / "doorleaf.lock") == len(waiting) + 1)

    try:
        ask("behind", 600.0)
        ask("killed", 0.0)
        ask("first", 0.0)
        ask("second", 0.0)
        assert mine.wanted()
        waiting[1].kill()
        waiting[1].wait()
        mine.give()
        wait_for(lambda: order.exists() and order.read_text().count(" ") == 3)
        assert order.read_text() == "first second behind "
        mine.take()
        mine.give()
    finally:
        for process in waiting:
            process.kill()
            process.communicate()


def test_a_slice_is_shorter_where_another_process_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planned, "SLICE_SECONDS", 600.0)
    storage = Storage(tmp_path)
    storage.prepare()
    writing = Writing(storage.session(), storage.session(busy=0.0, writing=True), lambda: None)
    ask = WAITER.format(linux=sys.platform == "linux", order=str(tmp_path / "order"), name="other", behind=0.0)
    with writing.transaction(Context()):
        size = planned.CROWDED_BYTES
        assert not writing.over(size)
        other = started(ask, str(tmp_path / FILE))
        wait_for(writing.wanted)
        monkeypatch.setattr(planned, "CROWDED_SECONDS", 600.0)
        assert [writing.over(few) for few in (0, size - 1, size)] == [False, False, True]
        monkeypatch.setattr(planned, "CROWDED_SECONDS", 0.0)
        assert writing.over()
    other.communicate()
    storage.close()
    assert writing.crowded
    assert (tmp_path / "order").read_text() == "other "


def test_a_process_that_is_stopped_while_it_waits_keeps_nobody_waiting(
    tmp_path: Path, mine: Sharing, linux: bool
) -> None:
    mine.take()
    order = tmp_path / "order"
    code = WAITER.format(linux=linux, order=str(order), name="stopped", behind=0.0)
    with started(code, str(tmp_path / FILE)) as other:
        try:
            wait_for(lambda: locks(tmp_path / "doorleaf.lock") == 2)
            other.send_signal(signal.SIGSTOP)
            mine.give()
            mine.take()
            mine.give()
            passed_over = mine._first
            assert passed_over > sharing._TICKETS
            mine.take()  # who is known to be stopped is passed over at once
            assert mine._first == passed_over
            assert not mine.wanted()
            mine.give()
            assert not order.exists()
            other.send_signal(signal.SIGCONT)
            wait_for(lambda: order.exists() and order.read_text() == "stopped ")
        finally:
            other.kill()


def test_a_hold_is_seen_by_all_and_ends(tmp_path: Path) -> None:
    one, other = Sharing(tmp_path / FILE), Sharing(tmp_path / FILE)
    one.open()
    other.open()
    try:
        assert one.held() == other.held() == 0
        one.hold(100)
        assert 99 < other.held() <= 100
        assert 99 < one.held() <= 100
        other.release()
        assert one.held() == 0
        one.hold(0.01)
        time.sleep(0.02)
        assert other.held() == 0
        one.hold(sharing.LONGEST_HOLD + 5)
        assert other.held() == 0, "of before the machine started"
    finally:
        one.close()
        other.close()


def test_without_a_file_nothing_is_shared(tmp_path: Path) -> None:
    alone = Sharing(tmp_path / "not there" / FILE)
    alone.open()
    alone.take()
    alone.give()
    alone.hold(100)
    assert 99 < alone.held() <= 100
    alone.release()
    assert alone.held() == 0
    alone.close()


def read_on(storage: Storage, stop: threading.Event, active: list[int], delay: float) -> None:
    """Read again and again, a fifth of a second each."""
    session = storage.session()
    stop.wait(delay)
    while not stop.is_set():
        with session.reading(Context(time.monotonic() + 30)):
            assert session.execute("SELECT COUNT(*) FROM collections").get == 1
            active.append(1)
            time.sleep(0.2)
            active.pop()
    session.close()


@pytest.mark.parametrize("held", [True, False])
def test_the_log_is_started_anew_though_reads_overlap(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, held: bool
) -> None:
    monkeypatch.setattr(folding, "OFTEN", 32)
    monkeypatch.setattr(folding, "LONG", 128)
    if not held:
        monkeypatch.setattr(Sharing, "held", lambda self: 0.0)
    log = tmp_path / (FILE + "-wal")

    async def scenario(store: EmbeddedStore) -> None:
        stop = threading.Event()
        active: list[int] = []
        await store.execute(InsertOne(namespace=C, document={}))
        readers = [
            threading.Thread(target=read_on, args=(store._storage, stop, active, 0.05 * number)) for number in range(4)
        ]
        for reader in readers:
            reader.start()
        try:
            await asyncio.sleep(0.2)
            longest = size = 0
            until = time.monotonic() + (30 if held else 1.5)
            while size >= longest and time.monotonic() < until:
                await store.execute(InsertOne(namespace=C, document={"text": "x" * 10_000}))
                size = length(log)
                longest = max(longest, size)
            assert (size < longest) is held
            assert longest > 128 * 4096
        finally:
            stop.set()
            for reader in readers:
                reader.join()

    run(scenario)


def test_a_long_log_is_folded_in_when_nobody_writes_any_more(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folding, "LONG", 128)
    log = tmp_path / (FILE + "-wal")

    async def scenario(store: EmbeddedStore) -> None:
        await store.execute(InsertOne(namespace=C, document={}))
        with store._storage.session().reading(Context(time.monotonic() + 30)):
            for _ in range(100):
                await store.execute(InsertOne(namespace=C, document={"text": "x" * 10_000}))
            assert length(log) > 128 * 4096
        await asyncio.to_thread(wait_for, lambda: length(log) == 0)

    run(scenario)
