"""The actions dialect: ``POST …/action/<name>``, one action for each operation."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection
from functools import lru_cache
from typing import Any

from doorleaf.dialects.base import Dialect, Reply, Request, Route
from doorleaf.dialects.decode import Decoder, DefaultDatabase
from doorleaf.documents import Document
from doorleaf.ejson import Mode, encode_result, loads, mode_of
from doorleaf.errors import NotFound
from doorleaf.operations import OPERATIONS, Operation
from doorleaf.results import CommandResult, Result

PREFIXES = (
    "/data/v1",
    "/data/beta",
    "/app/{app_id}/endpoint/data/v1",
    "/app/{app_id}/endpoint/data/beta",
    "",
)
"""Where ``/action/<name>`` is served; the first is the documented one."""

_BOOKKEEPING = ("$clusterTime", "operationTime", "signature")


def actions(*, default_database: DefaultDatabase, app_ids: Collection[str] = (), insert_status: int = 201) -> Dialect:
    """The dialect with every operation as an action.

    ``app_ids`` are the app ids that paths may have, empty for any; ``insert_status`` is the status of an insert.
    """
    routes: list[Route] = []
    for name, operation in OPERATIONS.items():
        decode = _decode(Decoder(operation, default_database))
        encode = _encode(insert_status if name in ("insertOne", "insertMany") else 200)
        for prefix in PREFIXES:
            path = f"{prefix}/action/{name}"
            routes.append(Route("POST", path, name, decode=decode, encode=encode, operation=operation))
    routes += [Route("*", f"{prefix}/action/{{name}}", "unknown", handle=_unknown, public=True) for prefix in PREFIXES]
    return Dialect("actions", tuple(routes), prepare=app_check(app_ids))


def app_check(app_ids: Collection[str]) -> Callable[[Request], None] | None:
    """What refuses a path whose ``app_id`` is not one of ``app_ids``; None when any may be."""
    if not app_ids:
        return None
    known = frozenset(app_ids)

    def check(request: Request) -> None:
        app_id = request.params.get("app_id")
        if app_id is not None and app_id not in known:
            raise NotFound(f"cannot find app using Client App ID '{app_id[:100]}'", code="")

    return check


def _decode(decoder: Decoder) -> Callable[[Request], Operation[Any]]:
    def decode(request: Request) -> Operation[Any]:
        return decoder(loads(request.body or b"{}"))

    return decode


def _encode(status: int) -> Callable[[Result, Request], Reply]:
    def encode(result: Result, request: Request) -> Reply:
        mode, content_type = _output(request.headers.get(b"accept"))
        if type(result) is CommandResult:
            result = CommandResult(_tidy(result.result))
        return Reply(status, encode_result(result, mode), content_type)

    return encode


@lru_cache(maxsize=256)
def _output(accept: bytes | None) -> tuple[Mode, bytes]:
    mode = mode_of(accept)
    return mode, mode.value.encode()


def _tidy(reply: Document) -> Document:
    """A server's reply without its cluster bookkeeping, its ``ok`` as the number 1."""
    tidy = {key: value for key, value in reply.items() if key not in _BOOKKEEPING}
    if tidy.get("ok") == 1:
        tidy["ok"] = 1
    return tidy


async def _unknown(request: Request) -> Reply:
    name = request.params["name"][:100]
    near = [known for known in OPERATIONS if known.lower() == name.lower()]
    near = near or difflib.get_close_matches(name, OPERATIONS, 1, 0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise NotFound(f"there is no action {name!r}{hint}")
