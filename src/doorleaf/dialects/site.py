"""What a server says about itself: liveness, readiness, metrics, its OpenAPI document, and its pages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from importlib.resources.abc import Traversable
from typing import Annotated, Any, Literal, NotRequired, Protocol

from pydantic import Field
from typing_extensions import TypedDict

from doorleaf.access.callers import Credentials
from doorleaf.apart import CODING
from doorleaf.dialects.about import About, Gives
from doorleaf.dialects.base import Dialect, Reply, Request, Route, header_credentials, json
from doorleaf.dialects.handling import NOT_STORED
from doorleaf.errors import AccessError, NotFound, PermissionDenied, StoreUnavailable


class Asset(Protocol):
    """A file as it is served."""

    @property
    def content_type(self) -> bytes: ...
    @property
    def content(self) -> bytes: ...
    @property
    def headers(self) -> tuple[tuple[bytes, bytes], ...]: ...
    @property
    def file(self) -> Traversable | None: ...
    @property
    def status(self) -> int: ...


class Alive(TypedDict):
    status: Literal["alive"]


class Ready(TypedDict):
    status: Literal["ready"]
    note: NotRequired[Annotated[str, Field(description="What to know though requests are served.")]]
    mongodb: NotRequired[
        Annotated[str, Field(description="How operations go to MongoDB: `lanes`, or `driver` and why.")]
    ]


_MAKING_SECONDS = 10.0

_about = partial(About, tag="Server", stores=False)
_LIVE = _about(summary="Whether the process lives", gives=Gives(content=Alive, description="It is alive."))
_READY = _about(
    summary="Whether requests would be served",
    gives=Gives(content=Ready, description="It is ready."),
    refuses=("StoreUnavailable", "ExecutionTimeLimitExceeded"),
)
_METRICS = _about(
    summary="What the server measured",
    gives=Gives(content=str, content_type="text/plain", description="Metrics in the Prometheus text format."),
    refuses=("PermissionDenied",),
)
_OPENAPI = _about(summary="This document", gives=Gives(content=dict[str, Any], description="This document."))


def site(
    *,
    ready: Callable[[], Awaitable[Mapping[str, str]]],
    metrics: Callable[[], bytes],
    metrics_type: bytes,
    openapi: Callable[[str], bytes],
    assets: Mapping[str, Asset],
    home: str,
    prefix: str = "",
) -> Dialect:
    """The dialect of a server's own pages.

    ``ready`` raises when requests would fail, and answers what there is to say though they would not; ``home`` is where
    ``/`` leads. ``openapi`` makes the document for the prefix of the request's path, ``prefix`` is the one where the
    request says nothing. Metrics take a key for them, or one that may read everything; the rest is public.
    """

    async def live(request: Request) -> Reply:
        return Reply(200, json({"status": "alive"}), headers=NOT_STORED)

    async def is_ready(request: Request) -> Reply:
        try:
            told = {"status": "ready", **await ready()}
        except AccessError as error:  # it is this server that the database does not let in
            raise StoreUnavailable(error.message) from error
        return Reply(200, json(told), headers=NOT_STORED)

    async def measured(request: Request) -> Reply:
        if not request.identity.sees_all and not request.identity.measures:
            raise PermissionDenied("metrics take a key with the action metrics, or one that may read everything")
        return Reply(200, metrics(), metrics_type, NOT_STORED, compressible=True)

    async def described(request: Request) -> Reply:
        document = await CODING.run(_MAKING_SECONDS, openapi, request.prefix)
        return Reply(200, document, compressible=True)

    async def start(request: Request) -> Reply:
        return Reply(307, headers=((b"location", (request.prefix or prefix).encode() + home.encode()),))

    routes = [
        Route("GET", "/", "home", handle=start, public=True),
        Route("GET", "/livez", "livez", handle=live, public=True, probe=True, about=_LIVE),
        Route("GET", "/readyz", "readyz", handle=is_ready, public=True, probe=True, about=_READY),
        Route("GET", "/metrics", "metrics", handle=measured, about=_METRICS),
        Route("GET", "/openapi.json", "openapi", handle=described, public=True, about=_OPENAPI),
    ]
    routes += [Route("GET", path, "page", handle=_page(asset), public=True) for path, asset in assets.items()]
    return Dialect("site", tuple(routes), credentials=_credentials)


def _credentials(request: Request) -> Credentials:
    """The credentials as everywhere. An API key may be the bearer too, since monitoring often can send nothing else."""
    shown = header_credentials(request)
    if shown.bearer is None or shown.bearer.count(".") == 2:  # which is a token
        return shown
    return replace(shown, bearer=None, api_key=shown.bearer)


def _page(asset: Asset) -> Callable[[Request], Awaitable[Reply]]:
    async def page(request: Request) -> Reply:
        if request.path.endswith("/"):  # what the page refers to is relative to its path without the slash
            return Reply(307, headers=((b"location", b"../" + request.path.split("/")[-2].encode()),))
        content = asset.content
        if asset.file is not None:
            try:
                content = asset.file.read_bytes()
            except OSError:
                raise NotFound("the console was built anew since this server started: start it again") from None
        return Reply(asset.status, content, asset.content_type, asset.headers, compressible=True)

    return page
