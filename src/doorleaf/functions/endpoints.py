"""Custom HTTPS endpoints: routes of the app whose functions answer the requests themselves."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Collection
from dataclasses import replace
from typing import Any

import orjson

from doorleaf import ejson
from doorleaf.access.callers import Credentials
from doorleaf.apart import CODING, SMALL_BYTES
from doorleaf.apart.sizes import is_small
from doorleaf.dialects.actions import app_check
from doorleaf.dialects.base import Dialect, Reply, Request, Route, header_credentials
from doorleaf.documents import Document
from doorleaf.errors import FunctionFailed, MethodNotAllowed, NotFound
from doorleaf.functions.gate import Refuse
from doorleaf.functions.load import Function, HttpsEndpoint
from doorleaf.functions.request import headers_told, query_told
from doorleaf.functions.response import Response
from doorleaf.functions.runtime import Functions, object_answer, read_answer
from doorleaf.functions.signatures import unproven
from doorleaf.functions.version import Version

PATHS = ("/app/{app_id}/endpoint/{route...}", "/endpoint/{route...}")

_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}")
_OURS = frozenset(
    {"content-length", "transfer-encoding", "connection", "keep-alive", "upgrade", "trailer", "x-request-id"}
)
MOST_HEADERS = 64 * 1024
"""Characters of the headers that a function may set: no proxy takes more."""
_WRITING_SECONDS = 30.0


def endpoints(functions: Functions, *, app_ids: Collection[str], refuse: Refuse, plain: ejson.Mode) -> Dialect:
    """The dialect of the app's endpoints.

    ``refuse`` is told of wrong secrets; ``plain`` is how plain JSON is written.
    """
    served = _Endpoints(functions, refuse, plain)
    check = app_check(app_ids)

    def prepare(request: Request) -> None:
        if check is not None:
            check(request)
        request.chosen = served.choose(request)

    routes = tuple(Route("*", path, "endpoint", handle=served.handle, raw=True) for path in PATHS)
    return Dialect("endpoints", routes, credentials=served.credentials, prepare=prepare)


class _Endpoints:
    def __init__(self, functions: Functions, refuse: Refuse, plain: ejson.Mode) -> None:
        self._functions = functions
        self._refuse = refuse
        self._plain = plain

    def choose(self, request: Request) -> tuple[Version, HttpsEndpoint, Function]:
        """The endpoint that a request is for. NotFound or MethodNotAllowed."""
        version = self._functions.version
        route = "/" + request.params.get("route", "").rstrip("/")
        methods = version.loaded.endpoints.get(route)
        if methods is None:
            raise NotFound(f"no route for {request.method} on this path")
        endpoint = methods.get(request.method) or methods.get("*")
        if endpoint is None and request.method == "HEAD":
            endpoint = methods.get("GET")
        if endpoint is None:
            allowed = ", ".join(sorted({*methods, *(["HEAD"] if "GET" in methods else [])}))
            raise MethodNotAllowed(f"{request.method} is not allowed here; use {allowed}", headers={"Allow": allowed})
        return version, endpoint, version.loaded.functions[endpoint.function]

    def credentials(self, request: Request) -> Credentials | None:
        """What the caller shows; None where the function needs nobody: it runs as somebody of its own."""
        _, endpoint, function = request.chosen
        if function.runs_as != "application":
            return None
        shown = header_credentials(request)
        return shown if shown.jwt is None else replace(shown, creates_users=endpoint.create_user_on_auth)

    async def handle(self, request: Request) -> Reply:
        _, endpoint, _ = request.chosen
        query, mode = query_told(request), self._mode(request, endpoint)
        async with self._functions.admitted() as version:
            # The app may have changed while the body was read; what is called is what is there now.
            function = version.loaded.functions.get(endpoint.function)
            if function is None or (function.runs_as == "application" and request.identity is None):
                raise NotFound(f"no route for {request.method} on this path")
            error = unproven(endpoint.validation, version.secrets.get(endpoint.secret), request, query)
            if error is not None:
                await self._refuse(request.address)
                raise error
            if endpoint.validation == "SECRET_AS_QUERY_PARAM":
                del query["secret"]
            self._functions.require(function, request.identity, request, [])
            identity = await self._functions.acting(version, function, request.identity, request)
            call = self._functions.begun(version, function, identity, request)
            call.custom_data = endpoint.fetch_custom_user_data
            if function.language == "python":
                response = Response()
                value = await self._functions.carry_out(call, [incoming(request, query), response])
                said = response.said if response.touched else None
            else:
                if len(request.body) < SMALL_BYTES:
                    given = _incoming(request, query)
                else:
                    given = await CODING.run(call.seconds, _incoming, request, query)
                text = await self._functions.javascript(call, incoming=given)
                body = object_answer(text, mode) if endpoint.respond_result else None
                if body is not None:
                    return Reply(200, body, mode.content_type)
                told = await read_answer(text, call)
                value, said = told.get("value"), told.get("said")
        if not endpoint.respond_result:
            return Reply(204)
        if said is not None:
            return _said(said) if is_small(said) else await CODING.run(_WRITING_SECONDS, _said, said)
        if is_small(value):
            return Reply(200, ejson.dumps(value, mode), mode.content_type)
        return Reply(200, await CODING.run(_WRITING_SECONDS, ejson.dumps, value, mode), mode.content_type)

    def _mode(self, request: Request, endpoint: HttpsEndpoint) -> ejson.Mode:
        """How an answer of ``endpoint`` is written."""
        silent = ejson.Mode.CANONICAL if endpoint.return_type == "EJSON" else ejson.Mode.PLAIN
        mode = ejson.mode_of(request.headers.get(b"accept"), silent)
        return self._plain if mode is ejson.Mode.PLAIN else mode


def _incoming(request: Request, query: dict[str, str]) -> bytes:
    """The query and the body, a line of JSON for each; the body is text where it is UTF-8."""
    body: str | dict[str, str] | None = None
    if request.body:
        try:
            body = request.body.decode()
        except UnicodeDecodeError:
            body = {"base64": b64encode(request.body).decode()}
    return orjson.dumps(query) + b"\n" + orjson.dumps(body)


def incoming(request: Request, query: dict[str, str]) -> Document:
    """The request for a Python function: ``query``, ``headers`` and ``body`` as bytes or None."""
    return {"query": query, "headers": headers_told(request), "body": request.body or None}


def _said(said: Document) -> Reply:
    """What a function said with its response object."""
    status = said.get("status")
    if not isinstance(status, int) or not 200 <= status <= 599:
        raise FunctionFailed("setStatusCode: expected a status from 200 to 599")
    headers, content_type, size = [], b"application/json", 0
    listed = said.get("headers")
    for header in listed if isinstance(listed, list) else []:
        match header:
            case (str(name), str(value)):
                lower = name.lower()
            case _:  # what JavaScript writes is changed by a `toJSON` that the function gave to all objects
                raise FunctionFailed("setHeader: expected a name and a value, both text")
        size += len(name) + len(value)
        if size > MOST_HEADERS:
            raise FunctionFailed(f"setHeader: the headers have more than {MOST_HEADERS // 1024} KiB")
        if not _HEADER.fullmatch(name) or any((ord(c) < 32 and c != "\t") or ord(c) == 127 for c in value):
            raise FunctionFailed("setHeader: a name or value has characters that no header may have")
        if lower in _OURS:
            raise FunctionFailed(f"setHeader: {name} is not for a function to set")
        encoded = value.encode("latin-1", "replace")
        if lower == "content-type":
            content_type = encoded
        else:
            headers.append((lower.encode(), encoded))
    return Reply(status, _body(said.get("body")), content_type, tuple(headers))


def _body(body: Any) -> bytes:
    if isinstance(body, bytes):
        return body
    if not isinstance(body, dict):
        return b""
    try:
        if isinstance(body.get("text"), str):
            return str(body["text"]).encode("utf-8", "replace")
        return b64decode(body.get("base64", ""), validate=True)
    except (ValueError, TypeError):
        raise FunctionFailed("setBody: expected text or Binary") from None
