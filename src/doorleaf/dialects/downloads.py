"""Files of what a query matches, which a browser saves by itself as they come, whatever their length.

A browser that saves an address sends no header with it; so the page shows who asks for what first, and gets a ticket
for the address: good for a minute, once, for that query and that caller alone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated, Any, Literal, Protocol, cast

from pydantic import Field
from typing_extensions import TypedDict

from doorleaf.access.callers import Caller, Credentials
from doorleaf.dialects.about import About, Gives
from doorleaf.dialects.base import Dialect, Later, Reply, Request, Route, envelope, header_credentials
from doorleaf.dialects.bodies import Body, MaybeObject, NonEmpty, Text, one_of, optional, required, text
from doorleaf.dialects.files import FILE, MOST_COLUMNS, TYPES, file_reply
from doorleaf.dialects.handling import handled
from doorleaf.documents import Document
from doorleaf.ejson import Mode
from doorleaf.errors import InvalidParameter, MissingParameter, PayloadTooLarge
from doorleaf.operations import Find, Scan
from doorleaf.operations.decode import Decoder
from doorleaf.operations.fields import count, unicode_text, wrong
from doorleaf.operations.places import Places
from doorleaf.operations.results import DocumentStream
from doorleaf.transfer.writing import Columns, Format, format_for

PATH = "/api/console/v1/downloads"
MOST_BYTES = 256 * 1024
"""What the body that asks for a ticket may have, since it is kept until the download begins."""
MODES = {"canonical": Mode.CANONICAL, "relaxed": Mode.RELAXED}

Execute = Callable[[Any, Caller, int], Awaitable[Any]]


class Tickets(Protocol):
    """Gives tickets and takes them; see :class:`doorleaf.access.downloads.Downloads`."""

    async def issue(self, owner: str, shown: Credentials, asked: Document) -> Document: ...

    async def take(self, text: str, address: str) -> tuple[Document, Credentials]: ...


def _columns(value: Any, name: str) -> list[str]:
    if type(value) is not list or not all(type(one) is str for one in value):
        raise wrong(name, "an array of strings", value)
    if len(value) > MOST_COLUMNS:
        raise InvalidParameter(f"{name}: more than {MOST_COLUMNS} columns; choose some by a projection")
    if len(set(value)) < len(value):
        raise InvalidParameter(f"{name}: a column comes twice")
    return [unicode_text(one, name) for one in value]


class DownloadRequest(Body):
    """A query as `find` takes it, and the file that is made of it."""

    dataSource: Annotated[str | None, optional(text, NonEmpty)] = None
    database: Text
    collection: Text
    filter: MaybeObject = None
    projection: MaybeObject = None
    sort: MaybeObject = None
    collation: MaybeObject = None
    limit: Annotated[int | None, optional(count, int), Field(description="Most documents; absent for all.")] = None
    format: Annotated[str, required(partial(one_of, TYPES), Literal["ndjson", "json", "csv"])]
    mode: Annotated[
        str | None,
        optional(partial(one_of, MODES), Literal["canonical", "relaxed"]),
        Field(description="The Extended JSON of `ndjson` and `json`; `relaxed` where it is absent."),
    ] = None
    columns: Annotated[
        list[str] | None,
        optional(_columns, list[str]),
        Field(
            description=f"The fields that are columns of `csv`, at most {MOST_COLUMNS}: all that the documents have."
        ),
    ] = None


class Download(TypedDict):
    ticket: Annotated[str, Field(description="Good for one download.")]
    expiresAt: Annotated[str, Field(description="When it is no longer good, in ISO 8601.")]


_about = partial(About, tag="Console")
_MAKE = _about(
    summary="Make a ticket for downloading what a query matches as a file",
    description="Good for a minute, once, for this query and caller. A query that would be refused is refused here.",
    takes=DownloadRequest,
    example={"database": "shop", "collection": "orders", "filter": {"status": "open"}, "format": "ndjson"},
    gives=Gives(content=Download, status=201, description="A ticket."),
    refuses=("PermissionDenied", "Conflict"),
)
_GET = _about(
    summary="Download what a query matches as a file, with a ticket for it",
    description="Any length, as it is read. An error on the way breaks the download off, behind a line that says why.",
    gives=FILE,
    refuses=("InvalidSession", "PermissionDenied"),
    security=({},),
)


def downloads(
    tickets: Tickets, execute: Execute, places: Places, *, admit: Callable[[Request], Later | None] | None = None
) -> Dialect:
    """The dialect of downloads; ``execute`` is the service's, ``admit`` refuses those who may call no action."""
    decoder = Decoder(Find, places)

    async def begun(asked: Document, request: Request) -> DocumentStream:
        query = cast(Find, decoder(asked))
        request.namespace = query.namespace
        scan = await execute(Scan.of(query), request.caller, len(request.body))
        return scan.documents  # type: ignore[no-any-return]  # what a scan answers

    async def small(request: Request) -> None:
        if len(request.body) > MOST_BYTES:
            raise PayloadTooLarge(f"the query of a download has at most {MOST_BYTES} bytes")
        if admit is not None and (refusal := admit(request)) is not None:
            await refusal.reply()

    async def make(request: Request, given: DownloadRequest) -> Download:
        if (given.format == "csv") is not (given.columns is not None):
            raise MissingParameter("csv takes columns, and no other format does")
        asked = {name: value for name, value in given.model_dump().items() if value is not None}
        documents = await begun(asked, request)
        try:
            await documents.next()
        finally:
            await documents.close()
        return cast(Download, await tickets.issue(request.identity.shown, header_credentials(request), asked))

    async def get(request: Request) -> Reply:
        asked, request.shown = await tickets.take(request.params["ticket"], request.address)
        documents = await begun(asked, request)
        form, kind = _format(asked), asked["format"]
        return file_reply(documents, form, kind, asked["collection"], lambda error: envelope(error, request).body)

    routes = (
        handled("POST", PATH, "consoleMakeDownload", make, _MAKE, before=small),
        Route("GET", f"{PATH}/{{ticket}}", "consoleDownload", handle=get, about=_GET),
    )
    return Dialect("downloads", routes, credentials=_credentials)


def _credentials(request: Request) -> Credentials:
    ticket = request.params.get("ticket")
    return header_credentials(request) if ticket is None else Credentials(ticket=ticket, address=request.address)


def _format(asked: Document) -> Format:
    if asked["format"] == "csv":
        return Columns(asked["columns"])
    return format_for(asked["format"], MODES[asked.get("mode") or "relaxed"])
