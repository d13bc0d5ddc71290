"""What must not go on for ever: closing a store, and waiting for a write."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from opened import C, Run, find

from doorleaf.errors import StoreUnavailable, WriteOutcomeUnknown
from doorleaf.mql.context import Context
from doorleaf.operations import InsertOne
from doorleaf.stores.embedded.file.sharing import Sharing
from doorleaf.stores.embedded.store import EmbeddedStore
from doorleaf.stores.embedded.writing import writer


def test_a_writer_that_ends_says_so_to_all_who_wait(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(self: Sharing) -> None:
        raise RuntimeError("no turn can be given back")

    async def scenario(store: EmbeddedStore) -> None:
        await store.execute(InsertOne(namespace=C, document={"_id": 1}))
        begun, go = threading.Event(), threading.Event()

        def held(transaction: Any) -> None:
            begun.set()
            go.wait(30)
            monkeypatch.setattr(Sharing, "give", broken)

        first = asyncio.create_task(store.write(held, Context(time.monotonic() + 60)))
        await asyncio.to_thread(begun.wait, 30)
        assert store._writer is not None
        monkeypatch.setattr(writer, "BATCH_OPERATIONS", 1)
        second = asyncio.create_task(store.execute(InsertOne(namespace=C, document={"_id": 2})))
        await asyncio.sleep(0)
        go.set()
        with pytest.raises(WriteOutcomeUnknown):
            await first
        with pytest.raises(StoreUnavailable, match="cannot write any more: nothing was written"):
            await second
        with pytest.raises(StoreUnavailable, match="cannot write any more: nothing was written"):
            await store.execute(InsertOne(namespace=C, document={"_id": 3}))
        assert await find(store) == [{"_id": 1}]
        assert "the thread that writes has ended" in caplog.text
        monkeypatch.undo()

    run(scenario)


def test_closing_does_not_wait_for_ever_for_a_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(writer, "CLOSE_SECONDS", 0.1)
    go = threading.Event()

    async def scenario() -> None:
        store = EmbeddedStore(tmp_path)
        await store.open()
        begun = threading.Event()

        def held(transaction: Any) -> None:
            begun.set()
            go.wait(30)

        write = asyncio.create_task(store.write(held, Context(time.monotonic() + 60)))
        await asyncio.to_thread(begun.wait, 30)
        assert store._writer is not None
        thread = store._writer._thread
        await asyncio.wait_for(store.close(), 20)
        assert thread.is_alive()
        assert "did not end" in caplog.text
        go.set()
        await write
        await asyncio.to_thread(thread.join, 30)
        assert not thread.is_alive()

    asyncio.run(scenario())
