"""What the commands have in common: options, an open database, tables, and points in time."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from doorleaf.access.audit import audit_of
from doorleaf.access.directory import Directory
from doorleaf.access.system_store import SystemStore
from doorleaf.app import make_router
from doorleaf.loading import SettingsError
from doorleaf.settings import Settings

Config = Annotated[
    Path | None, typer.Option("--config", help="Settings file.", show_default="./doorleaf.toml if it is there")
]
Uri = Annotated[
    str | None, typer.Option("--uri", help="Connection string of a MongoDB.", show_default="the embedded database")
]
DataDir = Annotated[
    Path | None, typer.Option("--data-dir", help="Folder of the embedded database.", show_default="./doorleaf-data")
]

T = TypeVar("T")

SPANS = {"m": "minutes", "h": "hours", "d": "days"}


def console(*, stderr: bool = False) -> Console:
    """Standard output (or error); text keeps its line breaks, so that it can be copied and piped."""
    made = Console(stderr=stderr, markup=False, highlight=False, emoji=False, soft_wrap=True)
    if not made.is_terminal:
        made = Console(stderr=stderr, markup=False, highlight=False, emoji=False, soft_wrap=True, width=200)
    return made


def table(*columns: str) -> Table:
    """A table without lines, whose cells are never cut."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, no_wrap=True, overflow="ignore")
    return made


def span(text: str, option: str) -> timedelta:
    """``30m``, ``12h`` or ``90d``."""
    found = re.fullmatch(r"([1-9]\d{0,5})([mhd])", text)
    if found is None:
        raise SettingsError(f"{option}: {text!r} is not like 30m, 12h or 90d")
    return timedelta(**{SPANS[found[2]]: int(found[1])})


def dated(date: datetime | None) -> str:
    """A date of the database as text."""
    return f"{date:%Y-%m-%d %H:%M}" if date else "never"


def moment(text: str) -> datetime:
    """``12h``, ``90d`` or an ISO date as naive UTC."""
    now = datetime.now(UTC)
    found = re.fullmatch(r"([1-9]\d{0,5})([hd])", text)
    try:
        if found:
            then = now + timedelta(**{SPANS[found[2]]: int(found[1])})
        else:
            then = datetime.fromisoformat(text)
            then = then.replace(tzinfo=UTC) if then.tzinfo is None else then.astimezone(UTC)
    except (ValueError, OverflowError):
        raise SettingsError(f"--expires: {text!r} is neither like 12h or 90d nor a date like 2030-01-31") from None
    if then <= now:
        raise SettingsError(f"--expires: {text!r} is in the past")
    return then.replace(tzinfo=None)


def with_directory(settings: Settings, use: Callable[[Directory], Awaitable[T]]) -> T:
    """What ``use`` answers about the callers that ``settings`` lead to; what it changes is audited."""

    async def run() -> T:
        store = make_router(settings)
        await store.open()
        try:
            audit = audit_of(settings, SystemStore(store, settings.system_database), provider="command line")
            await audit.start()
            try:
                return await use(Directory(settings, store, audit=audit))
            finally:
                await audit.stop()
        finally:
            await store.close()

    return asyncio.run(run())
