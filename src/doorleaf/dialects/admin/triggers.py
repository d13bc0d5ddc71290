"""An app's triggers over HTTP, for administrators: how each is, and letting one go on."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Protocol

from typing_extensions import TypedDict

from doorleaf.dialects.about import About, Gives
from doorleaf.dialects.admin.keys import TAG
from doorleaf.dialects.base import Request, Route
from doorleaf.dialects.bodies import Body, Flag
from doorleaf.dialects.handling import handled
from doorleaf.documents import Document

PATH = "/api/admin/v1/triggers"


class Triggers(Protocol):
    """The triggers of the app."""

    async def listed(self) -> list[Document]: ...

    async def resume(self, name: str, *, from_now: bool, by: Request | None = None) -> None: ...


class AdminTrigger(TypedDict):
    name: str
    type: str
    function: str
    state: str
    failures: int
    error: str
    ran: datetime | None
    next: datetime | None


class AdminTriggers(TypedDict):
    triggers: list[AdminTrigger]


class AdminResume(Body):
    """How a trigger goes on: with ``from_now`` without what has happened until now."""

    from_now: Flag = None


_about = partial(About, tag=TAG)
_TRIGGERS = _about(summary="List the triggers of the app, and how each is", gives=Gives(content=AdminTriggers))
_RESUME = _about(
    summary="Let a suspended trigger go on",
    takes=AdminResume,
    example={"from_now": False},
    gives=Gives(status=204),
    refuses=("TriggerNotFound", "Conflict"),
)


def trigger_routes(triggers: Triggers) -> tuple[Route, ...]:
    """The routes of an app's triggers."""

    async def listed(request: Request, given: None) -> Document:
        return {"triggers": await triggers.listed()}

    async def resume(request: Request, given: AdminResume) -> None:
        await triggers.resume(request.params["name"], from_now=bool(given.from_now), by=request)

    return (
        handled("GET", PATH, "adminListTriggers", listed, _TRIGGERS),
        handled("POST", f"{PATH}/{{name}}/resume", "adminResumeTrigger", resume, _RESUME),
    )
