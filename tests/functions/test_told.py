"""What functions did of late, followed over several workers."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from pathlib import Path

import pytest

from doorleaf.functions.told import KEPT, Told


def files(folder: Path) -> list[Path]:
    return [*folder.glob("functions-*.bson")]


def test_one_who_follows_is_told_of_all_workers_in_order(tmp_path: Path) -> None:
    moments = iter(range(1_000_000, 2_000_000))

    async def work() -> None:
        workers = [Told(lambda: next(moments), tmp_path) for _ in range(3)]
        sharing = [asyncio.create_task(worker.share()) for worker in workers]
        while len(files(tmp_path)) < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        for number in range(6):
            workers[number % 3].line(f"f{number}", logging.INFO, "so far")
        assert not any(b"so far" in file.read_bytes() for file in files(tmp_path))  # nobody follows
        async with aclosing(workers[0].follow()) as following:
            first = await anext(following)
            assert [line["function"] for line in first] == [f"f{number}" for number in range(6)]
            for number in range(KEPT + 10):
                workers[1].call(f"g{number}", "ok", 0.1, "somebody")
            workers[0].line("last", logging.ERROR, "own")
            later = list[str]()
            numbers = [line["number"] for line in first]
            while len(later) < KEPT + 1:
                came = await anext(following)
                later += [line["function"] for line in came]
                numbers += [line["number"] for line in came]
        assert sorted(later) == sorted(["last", *(f"g{number}" for number in range(10, KEPT + 10))])
        assert numbers == [*range(1, len(numbers) + 1)]
        for task in sharing:
            task.cancel()
        await asyncio.gather(*sharing, return_exceptions=True)
        assert not files(tmp_path)

    asyncio.run(work())


def test_neither_a_worker_that_was_killed_nor_a_file_that_cannot_be_written_ends_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    (folder / "functions-4194305-dead.bson").write_bytes(b"whatever")  # beyond the highest process number

    async def work() -> None:
        worker = Told(folder=folder)
        sharing = asyncio.create_task(worker.share())
        other = Told(folder=folder)
        other.line("f", logging.INFO, "half a pair \ud800")
        async with aclosing(other.follow()) as following:
            assert [line["text"] for line in await anext(following)] == ["half a pair ?"]
            worker.line("g", logging.INFO, "half a pair \ud800")
            while not (came := await anext(following)):
                pass
            assert [line["text"] for line in came] == ["half a pair ?"]
            assert {file.stat().st_mode & 0o777 for file in files(folder) if "dead" not in file.name} == {0o600}
            (folder / f"{worker._name}.new").mkdir()
            worker.line("g", logging.INFO, "nobody hears it")
            while "is not told to the other workers" not in caplog.text:
                assert await anext(following) == []
        assert not sharing.done()
        sharing.cancel()
        await asyncio.gather(sharing, return_exceptions=True)

    asyncio.run(work())
