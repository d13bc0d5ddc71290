"""How far a transfer is: a bar on a terminal, otherwise a line of JSON every second, on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any, Protocol

EVERY_SECONDS = 1.0


class Progress(Protocol):
    """Is told, as often as one likes, how many ``rows`` and ``done`` units (bytes or rows) there are so far, and of how
    many in all where that was not known before."""

    def __call__(self, rows: int, done: int, of: int | None = None) -> None: ...


@contextmanager
def progress(what: str, total: int | None, *, unit: str = "bytes") -> Iterator[Progress]:
    """Show how far ``what`` is, of ``total`` units where that is known."""
    if sys.stderr.isatty():
        with _bar(what, total, unit) as told:
            yield told
        return
    began = last = monotonic()

    def tell(rows: int, done: int, of: int | None = None) -> None:
        nonlocal last
        of = of or total
        now = monotonic()
        if now - last < EVERY_SECONDS:
            return
        last = now
        line: dict[str, Any] = {"seconds": round(now - began, 1), unit: done}
        if rows:
            line |= {"rows": rows, "rows_per_second": round(rows / (now - began))}
        if of and done:
            line |= {"of": of, "seconds_left": round((now - began) * max(of - done, 0) / done)}
        sys.stderr.write(json.dumps(line) + "\n")
        sys.stderr.flush()

    yield tell


@contextmanager
def _bar(what: str, total: int | None, unit: str) -> Iterator[Progress]:
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bar

    from doorleaf.cli.shared import console

    amount = DownloadColumn() if unit == "bytes" else MofNCompleteColumn()
    columns = (
        *(TextColumn("{task.description}"), BarColumn(), amount),
        TextColumn("{task.fields[rows]}"),
        *(TimeElapsedColumn(), TimeRemainingColumn()),
    )
    began = monotonic()
    with Bar(*columns, console=console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total, rows="")

        def tell(rows: int, done: int, of: int | None = None) -> None:
            rate = rows / max(monotonic() - began, 0.001)
            bar.update(task, completed=done, total=of or total, rows=f"{rows:,} rows, {rate:,.0f}/s" if rows else "")

        yield tell
