"""What the commands have in common: options, an open database, tables, points in time, and reasons."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from doorleaf.errors import DoorleafError, StoreUnavailable
from doorleaf.settings.error import SettingsError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

Config = Annotated[
    Path | None, typer.Option("--config", help="Settings file.", show_default="./doorleaf.toml if it is there")
]
Uri = Annotated[
    str | None, typer.Option("--uri", help="Connection string of a MongoDB.", show_default="the embedded database")
]
Host = Annotated[str | None, typer.Option("--host", help="Address to listen on.", show_default="127.0.0.1")]
Port = Annotated[int | None, typer.Option("--port", help="Port; 0 takes a free one.", show_default="3000")]
DataDir = Annotated[
    Path | None, typer.Option("--data-dir", help="Folder of the embedded database.", show_default="./doorleaf-data")
]

App = Annotated[
    Path | None,
    typer.Option("--app", help="Folder of an exported App Services app to serve.", show_default="none"),
]

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Expires = Annotated[
    str | None,
    typer.Option("--expires", help="When it ends: 12h, 90d, or a date such as 2030-01-31.", show_default="never"),
]
Overlap = Annotated[
    str | None,
    typer.Option("--overlap", help="How long the one before stays valid: 30m, 24h, 7d.", show_default="not at all"),
]

SPANS = {"m": "minutes", "h": "hours", "d": "days"}


def console(*, stderr: bool = False) -> Console:
    """Standard output (or error); text keeps its line breaks, so that it can be copied and piped."""
    from rich.console import Console  # what only prints a line does not wait for it

    made = Console(stderr=stderr, markup=False, highlight=False, emoji=False, soft_wrap=True)
    if not made.is_terminal:
        made = Console(stderr=stderr, markup=False, highlight=False, emoji=False, soft_wrap=True, width=200)
    return made


def table(*columns: str) -> Table:
    """A table without lines, whose cells are never cut."""
    from rich.table import Table

    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, no_wrap=True, overflow="ignore")
    return made


def listing(columns: Sequence[str], rows: Iterable[tuple[Mapping[str, Any], Sequence[str]]], as_json: bool) -> None:
    """Print each row: as a line of a table, its second part, or as an object of a JSON array, its first."""
    if as_json:
        print_json([document for document, _ in rows])
        return
    listed = table(*columns)
    for _, cells in rows:
        listed.add_row(*cells)
    console().print(listed, soft_wrap=False)


def print_json(value: Any) -> None:
    """Print ``value`` as JSON, with dates in ISO 8601."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, default=_as_text))


def _as_text(value: Any) -> str:
    if isinstance(value, datetime):
        return value.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"  # dates of the database are UTC
    return str(value)


def complain(text: str) -> None:
    """Say what is wrong, on standard error."""
    console(stderr=True).print(f"doorleaf: {text}")


def reason(error: Exception) -> str:
    """The reason of an error, for the person who runs the server: with the driver's reason, without any URI."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror[:1].lower()}{error.strerror[1:]}"
    if not isinstance(error, DoorleafError):
        return str(error)
    if isinstance(error, StoreUnavailable) and "is damaged" in error.message:
        return f"{error.message}; doorleaf repair, with the same settings, makes a sound one of what can be read"
    cause = str(error.__cause__ or "")
    for noise in (", Timeout:", " (configured timeouts", ", full error", ", Topology"):
        cause = cause.partition(noise)[0]
    return f"{error.message}: {cause}" if cause and cause != error.message else error.message


def span(text: str, option: str) -> timedelta:
    """``30m``, ``12h`` or ``90d``."""
    found = re.fullmatch(r"([1-9]\d{0,5})([mhd])", text)
    if found is None:
        raise SettingsError(f"{option}: {text!r} is not like 30m, 12h or 90d")
    return timedelta(**{SPANS[found[2]]: int(found[1])})


def overlapping(overlap: str | None) -> float:
    """The seconds of ``--overlap``."""
    return 0.0 if overlap is None else span(overlap, "--overlap").total_seconds()


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
