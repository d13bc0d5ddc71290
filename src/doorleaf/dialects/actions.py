"""The actions dialect: ``POST …/action/<name>``, one action for each operation."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

from doorleaf.dialects import inserting
from doorleaf.dialects.about import About, Gives
from doorleaf.dialects.base import Dialect, Later, Reply, Request, Route, documents_reply
from doorleaf.dialects.inserting import Execute, Inserting
from doorleaf.dialects.lines import lines_reply
from doorleaf.dialects.watching import WATCH, Watching
from doorleaf.documents import Document
from doorleaf.ejson import Mode, encode_result, lines_of, loads, loads_insert, mode_of
from doorleaf.errors import NotFound
from doorleaf.operations import OPERATIONS, Aggregate, Effect, Find, InsertMany, Operation, Scan, Watch
from doorleaf.operations.decode import Decoder
from doorleaf.operations.places import Places
from doorleaf.operations.results import CommandResult, DocumentsResult, Result, ScanResult

Admit = Callable[[Request], Later | None]
"""Raises for a request whose caller may call no action, or answers what refuses it by and by."""
PREFIXES = (
    "/data/v1",
    "/data/beta",
    "/app/{app_id}/endpoint/data/v1",
    "/app/{app_id}/endpoint/data/beta",
    "",
)
"""Where ``/action/<name>`` is served; the first is the documented one."""

_TAGS = {Effect.READ: "Read", Effect.WRITE: "Write", Effect.ADMIN: "Administer"}
_LINES = (
    "With the content type `application/x-ndjson` the body has a document on each line, the namespace is in the query"
    " string (`database`, `collection`, `dataSource`, `ordered`), and the answer has `insertedCount` alone."
)
_TYPES = {mode: mode.content_type for mode in Mode}
_BOOKKEEPING = ("$clusterTime", "operationTime", "signature")


def actions(
    *,
    places: Places,
    execute: Execute | None = None,
    app_ids: Collection[str] = (),
    insert_status: int = 201,
    plain: Mode = Mode.PLAIN,
    silent: Mode = Mode.PLAIN,
    admit: Admit | None = None,
) -> Dialect:
    """The dialect with every operation as an action.

    ``execute`` is the service's, for bodies with a document a line, which without it there are none of.
    ``app_ids`` are the app ids that paths may have, empty for any; ``insert_status`` is the status of an insert.
    Answers are in the mode that ``Accept`` asks for, and where it says nothing in ``silent``; ``plain`` is how plain
    JSON is written. ``admit`` refuses requests whose callers may call no action.
    """
    routes: list[Route] = []
    for name, operation in OPERATIONS.items():
        decoder = Decoder(operation, places)
        decode = _decode_query(decoder) if operation in (Find, Aggregate) else _decode(decoder, operation)
        inserts = name in ("insertOne", "insertMany")
        gives = Gives(status=insert_status, description="Inserted.") if inserts else Gives()
        about = About(
            summary=operation.summary,
            tag=_TAGS[operation.effect],
            operation=operation,
            gives=gives,
            description=_LINES if operation is InsertMany else "",
        )
        encode = _encode(gives.status, plain, silent)
        for prefix in PREFIXES:
            path = f"{prefix}/action/{name}"
            routes.append(Route("POST", path, name, decode=decode, encode=encode, about=about))
            if operation is InsertMany and execute is not None:
                lines = Inserting(execute, places, insert_status, plain, silent)
                routes.append(inserting.beside(routes[-1], lines))
    watching = Watching(places, plain, silent)
    routes += [
        Route("POST", f"{prefix}/action/watch", "watch", decode=watching.decode, encode=watching.encode, about=WATCH)
        for prefix in PREFIXES
    ]
    if admit is not None:
        routes = [_admitting(admit, route) for route in routes]
    routes += [Route("*", f"{prefix}/action/{{name}}", "unknown", handle=_unknown, public=True) for prefix in PREFIXES]
    return Dialect("actions", tuple(routes), prepare=app_check(app_ids))


def _admitting(admit: Admit, route: Route) -> Route:
    """``route`` for those alone whom ``admit`` lets in."""
    decode, handle = route.decode, route.handle
    if decode is not None:

        def decoded(request: Request) -> Any:
            return admit(request) or decode(request)

        return replace(route, decode=decoded)
    assert handle is not None  # noqa: S101  # a route has one of the two

    async def answered(request: Request) -> Reply:
        refusal = admit(request)
        return await (handle(request) if refusal is None else refusal.reply())

    return replace(route, handle=answered)


def app_check(app_ids: Collection[str]) -> Callable[[Request], None] | None:
    """A check that raises NotFound for a path whose ``app_id`` is not one of ``app_ids``; None when any may be."""
    if not app_ids:
        return None
    known = frozenset(app_ids)

    def check(request: Request) -> None:
        app_id = request.params.get("app_id")
        if app_id is not None and app_id not in known:
            raise NotFound(f"cannot find app using Client App ID '{app_id[:100]}'", code="")

    return check


def _decode(decoder: Decoder, operation: type[Operation[Any]]) -> Callable[[Request], Operation[Any]]:
    read = loads_insert if operation is InsertMany else loads

    def decode(request: Request) -> Operation[Any]:
        body = read(request.body or b"{}")
        return decoder.decode(body, decoder.namespace(body))

    return decode


def _decode_query(decoder: Decoder) -> Callable[[Request], Operation[Any]]:
    """The same for a find and an aggregate, whose documents are read as they are sent where each is to be a line."""

    def decode(request: Request) -> Operation[Any]:
        query: Any = decoder(loads(request.body or b"{}"))
        accept = request.headers.get(b"accept")
        if accept is None or lines_of(accept) is None or not Scan.suits(query):
            return query  # type: ignore[no-any-return]  # what a decoder makes
        return Scan.of(query)

    return decode


def _encode(status: int, plain: Mode, silent: Mode) -> Callable[[Result, Request], Reply]:
    def encode(result: Result, request: Request) -> Reply:
        mode = mode_of(request.headers.get(b"accept"), silent)
        if mode is Mode.PLAIN:
            mode = plain
        if type(result) is ScanResult:
            lines = lines_of(request.headers.get(b"accept"), silent) or silent
            return lines_reply(result.documents, plain if lines is Mode.PLAIN else lines, request)
        if type(result) is DocumentsResult:
            return documents_reply(result.documents, mode, _TYPES[mode])
        if type(result) is CommandResult:
            result = CommandResult(_tidy(result.result))
        return Reply(status, encode_result(result, mode), _TYPES[mode], compressible=True)

    return encode


def _tidy(reply: Document) -> Document:
    """A server's reply without its cluster bookkeeping, its ``ok`` as the number 1."""
    tidy = {key: value for key, value in reply.items() if key not in _BOOKKEEPING}
    if tidy.get("ok") == 1:
        tidy["ok"] = 1
    return tidy


async def _unknown(request: Request) -> Reply:
    name = request.params["name"][:100]
    listed = (*OPERATIONS, Watch.name)
    near = [known for known in listed if known.lower() == name.lower()]
    near = near or difflib.get_close_matches(name, listed, 1, 0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise NotFound(f"there is no action {name!r}{hint}")
