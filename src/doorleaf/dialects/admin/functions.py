"""An app's functions over HTTP, for administrators: what is in service, its values, and its secrets by name.

A secret can be set and deleted; no answer has one.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from functools import partial
from typing import Any, Protocol

from typing_extensions import TypedDict

from doorleaf.dialects.about import About, Gives
from doorleaf.dialects.admin.events import event, live_reply
from doorleaf.dialects.admin.keys import TAG
from doorleaf.dialects.base import Reply, Request, Route
from doorleaf.dialects.bodies import Body, Text
from doorleaf.dialects.handling import handled
from doorleaf.documents import Document

PATH = "/api/admin/v1"
SO_FAR = b": so far\n\n"
"""A comment, behind what was there when the watching began."""


class Secrets(Protocol):
    """Who keeps the secrets."""

    async def names(self) -> list[str]: ...

    async def set(self, name: str, value: str, *, by: Request | None = None) -> None: ...

    async def delete(self, name: str, *, by: Request | None = None) -> None: ...


class Lines(Protocol):
    """The latest calls and log lines of functions."""

    def follow(self) -> AsyncGenerator[list[Document], None]: ...


class App(Protocol):
    """The app in service."""

    @property
    def told(self) -> Lines: ...

    @property
    def secrets(self) -> Secrets: ...

    def listed(self) -> list[Document]: ...

    def problems(self) -> list[str]: ...

    def values(self) -> Document: ...


class AdminFunction(TypedDict):
    name: str
    file: str
    runs_as: str
    private: bool
    endpoints: list[str]


class AdminFunctions(TypedDict):
    functions: list[AdminFunction]
    problems: list[str]


class AdminValues(TypedDict):
    values: dict[str, Any]
    secrets: dict[str, str]


class AdminSecrets(TypedDict):
    secrets: list[str]


class AdminSecret(Body):
    """A secret that is to be kept."""

    value: Text


_about = partial(About, tag=TAG)
_FUNCTIONS = _about(
    summary="List the functions of the app, and what is not in service", gives=Gives(content=AdminFunctions)
)
_LIVE = _about(
    summary="Watch what functions do",
    description="Server-sent events of all workers, those of the last calls first. `call` is one that is "
    "over: `function`, `outcome` (`ok`, `cancelled`, or a code), `seconds`, `caller`. `line` is one of its log: "
    "`level`, `text`. Both have `time` and `request`.",
    gives=Gives(content=str, content_type="text/event-stream", description="Events, for as long as they are read."),
    stores=False,
)
_VALUES = _about(summary="List the values of the app", gives=Gives(content=AdminValues))
_SECRETS = _about(summary="List the names of the secrets", gives=Gives(content=AdminSecrets))
_SET = _about(
    summary="Keep a secret, encrypted, in place of what has its name",
    takes=AdminSecret,
    example={"value": "open sesame"},
    gives=Gives(status=204),
)
_DELETE = _about(summary="Forget a secret", gives=Gives(status=204), refuses=("SecretNotFound",))


def function_routes(app: App) -> tuple[Route, ...]:
    """The routes of an app."""

    async def functions(request: Request, given: None) -> Document:
        return {"functions": app.listed(), "problems": app.problems()}

    async def values(request: Request, given: None) -> Document:
        return app.values()

    async def secrets(request: Request, given: None) -> Document:
        return {"secrets": await app.secrets.names()}

    async def keep(request: Request, given: AdminSecret) -> None:
        await app.secrets.set(request.params["name"], given.value, by=request)

    async def forget(request: Request, given: None) -> None:
        await app.secrets.delete(request.params["name"], by=request)

    async def live(request: Request) -> Reply:
        return live_reply(_told(app.told))

    one = f"{PATH}/secrets/{{name}}"
    return (
        handled("GET", f"{PATH}/functions", "adminListFunctions", functions, _FUNCTIONS),
        Route("GET", f"{PATH}/functions/live", "adminWatchFunctions", handle=live, about=_LIVE),
        handled("GET", f"{PATH}/values", "adminListValues", values, _VALUES),
        handled("GET", f"{PATH}/secrets", "adminListSecrets", secrets, _SECRETS),
        handled("PUT", one, "adminSetSecret", keep, _SET),
        handled("DELETE", one, "adminDeleteSecret", forget, _DELETE),
    )


async def _told(lines: Lines) -> AsyncGenerator[bytes, None]:
    behind = SO_FAR
    async with contextlib.aclosing(lines.follow()) as following:
        async for told in following:
            events = [event(line["kind"], {name: line[name] for name in line if name != "kind"}) for line in told]
            yield b"".join((*events, behind))
            behind = b""
