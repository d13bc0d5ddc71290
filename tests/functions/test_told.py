"""What functions did of late, followed over several workers."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from pathlib import Path

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
