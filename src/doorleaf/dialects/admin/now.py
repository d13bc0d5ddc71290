"""What happens on the server now, the settings that are in effect, and what was audited; for administrators."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, Literal, NotRequired, Protocol

from pydantic import Field
from typing_extensions import TypedDict

from doorleaf.dialects.about import About, Gives
from doorleaf.dialects.admin.events import LOOK_SECONDS, event, live_reply
from doorleaf.dialects.admin.keys import TAG
from doorleaf.dialects.admin.models import AdminPage, Next
from doorleaf.dialects.base import Reply, Request, Route
from doorleaf.dialects.bodies import NonEmpty, one_of, optional, text
from doorleaf.dialects.handling import handled
from doorleaf.documents import Document
from doorleaf.errors import InvalidParameter

PATH = "/api/admin/v1"
OUTCOMES = ("allowed", "denied", "failed")


class Pulse(Protocol):
    """How the server is: samples since a number, and what is so at this moment."""

    def since(self, number: int) -> list[Document]: ...

    def now(self) -> Document: ...


class Trail(Protocol):
    """Reads what was audited, newest first; NotFound where it is not kept."""

    async def read(self, filter: Mapping[str, Any], *, before: str | None, limit: int) -> list[Document]: ...


Effective = Callable[[], Sequence[tuple[str, str, str, str]]]
"""Every setting: its name, its value as anybody may see it, where that came from, and what it means."""


class AdminSetting(TypedDict):
    name: str
    value: Annotated[str, Field(description="As it is; secrets are `***`.")]
    origin: Annotated[str, Field(description="The flag, variable or file that it came from, or `default`.")]
    meaning: str


class AdminSettings(TypedDict):
    settings: list[AdminSetting]


class AdminAudited(TypedDict):
    id: str
    time: datetime
    action: str
    outcome: Literal[OUTCOMES]  # type: ignore[valid-type]  # the names, as they are checked
    error_code: NotRequired[str]
    namespace: NotRequired[str]
    data_source: NotRequired[str]
    target: NotRequired[str]
    caller: NotRequired[str]
    key: NotRequired[str]
    provider: NotRequired[str]
    runs_as: NotRequired[str]
    address: NotRequired[str]
    request: NotRequired[str]
    counts: NotRequired[dict[str, int]]


class AdminAudit(TypedDict):
    events: list[AdminAudited]
    next: Next


def _date(value: Any, name: str) -> datetime:
    try:
        read = datetime.fromisoformat(value)
        return read if read.tzinfo is None else read.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        raise InvalidParameter(f"{name}: expected a date such as 2030-01-31T00:00:00Z") from None


Same = Annotated[str | None, optional(text, NonEmpty)]


class AdminAuditPage(AdminPage):
    action: Annotated[Same, Field(description="Only this action.")] = None
    outcome: Annotated[
        str | None, optional(partial(one_of, OUTCOMES), Literal[OUTCOMES]), Field(description="Only so ended ones.")
    ] = None
    caller: Annotated[Same, Field(description="Only this caller's, by the id.")] = None
    key: Annotated[Same, Field(description="Only those by the API key of this name.")] = None
    address: Annotated[Same, Field(description="Only those from this address.")] = None
    namespace: Annotated[Same, Field(description="Only those on this `database.collection`.")] = None
    target: Annotated[Same, Field(description="Only those about this key, account or command.")] = None
    since: Annotated[datetime | None, optional(_date, datetime), Field(description="From this moment on.")] = None
    until: Annotated[datetime | None, optional(_date, datetime), Field(description="Before this moment.")] = None

    def filter(self) -> Document:
        """The filter over what was audited."""
        names = ("action", "outcome", "caller", "key", "address", "namespace", "target")
        filter: Document = {name: {"$eq": value} for name in names if (value := getattr(self, name)) is not None}
        times = {operator: at for operator, at in (("$gte", self.since), ("$lt", self.until)) if at is not None}
        return filter | ({"time": times} if times else {})


_about = partial(About, tag=TAG)
_NOW = _about(
    summary="Watch what happens on the server",
    description="Server-sent events. `sample` has the numbers of all workers for about two seconds: requests, latency, "
    "errors, refusals, operations, the state of the processes. `now` has what the process that answers knows of single "
    "requests, the busiest callers of the last minute, and whether the database answers.",
    gives=Gives(content=str, content_type="text/event-stream", description="Events, for as long as they are read."),
    stores=False,
)
_SETTINGS = _about(
    summary="List the settings in effect, without secrets", gives=Gives(content=AdminSettings), stores=False
)
_AUDIT = _about(
    summary="List what was audited, newest first",
    query=AdminAuditPage,
    gives=Gives(content=AdminAudit),
    refuses=("AuditNotKept",),
)


def server_routes(pulse: Pulse, trail: Trail, effective: Effective) -> tuple[Route, ...]:
    """The routes about the server itself."""

    async def now(request: Request) -> Reply:
        return live_reply(_beats(pulse))

    async def settings(request: Request, given: None) -> AdminSettings:
        listed: list[AdminSetting] = [
            {"name": name, "value": value, "origin": origin, "meaning": meaning}
            for name, value, origin, meaning in effective()
        ]
        return {"settings": listed}

    async def audit(request: Request, given: AdminAuditPage) -> Document:
        found = await trail.read(given.filter(), before=given.after, limit=given.limit + 1)
        shown = [_audited(event) for event in found[: given.limit]]
        return {"events": shown, "next": shown[-1]["id"] if len(found) > given.limit else None}

    return (
        Route("GET", f"{PATH}/now", "adminNow", handle=now, about=_NOW),
        handled("GET", f"{PATH}/settings", "adminListSettings", settings, _SETTINGS),
        handled("GET", f"{PATH}/audit", "adminListAudit", audit, _AUDIT),
    )


def _audited(event: Document) -> Document:
    return {"id": str(event["_id"]), **{name: value for name, value in event.items() if name != "_id"}}


async def _beats(pulse: Pulse) -> AsyncGenerator[bytes, None]:
    """What ``pulse`` tells, as events."""
    number, first = 0, True
    while True:
        samples = pulse.since(number)
        if first or samples:
            first, number = False, samples[-1]["number"] if samples else number
            yield b"".join([*(event("sample", sample) for sample in samples), event("now", pulse.now())])
        else:
            yield b""
        await asyncio.sleep(LOOK_SECONDS)
