"""The paths of the OpenAPI document, made of what the routes of all dialects say about themselves."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from doorleaf.dialects.about import About
from doorleaf.dialects.base import Dialect, Request, Route
from doorleaf.dialects.bodies import Nothing
from doorleaf.ejson import Mode
from doorleaf.errors import CODES, DoorleafError
from doorleaf.openapi.examples import EXAMPLES, Example
from doorleaf.openapi.models import parameters_of, schemas_of
from doorleaf.openapi.schemas import Schema
from doorleaf.operations import Operation

STATUSES: dict[int, tuple[str, str, str, str]] = {
    400: (
        "BadRequest",
        "The request is wrong, or the database refuses it.",
        "filter._id.$oid: expected 24 hexadecimal digits, got a string of length 3",
        "InvalidParameter",
    ),
    401: (
        "Unauthenticated",
        "No credentials, or wrong ones.",
        "invalid session: error finding user for endpoint",
        "InvalidSession",
    ),
    403: ("PermissionDenied", "Known, and not allowed.", "$where runs JavaScript and is refused", "PermissionDenied"),
    404: ("NotFound", "There is no such route, action or app.", "there is no action 'findone'", "NotFound"),
    405: (
        "MethodNotAllowed",
        "The route has other methods; `Allow` lists them.",
        "GET is not allowed here; use POST",
        "MethodNotAllowed",
    ),
    409: ("DuplicateKey", "A unique index has the key already.", "E11000 duplicate key error", "DuplicateKey"),
    413: ("PayloadTooLarge", "The body is too large.", "the body is larger than 17825792 bytes", "PayloadTooLarge"),
    429: (
        "TooManyRequests",
        "A limit is reached; `Retry-After` says how many seconds to wait.",
        "too many requests: the limit is 20 in 60 s; try again in 3 s",
        "TooManyRequests",
    ),
    500: ("InternalError", "A fault of the server.", "internal error", "InternalServerError"),
    503: (
        "StoreUnavailable",
        "The database cannot be reached.",
        "the database cannot be reached",
        "StoreUnavailable",
    ),
    504: ("StoreTimeout", "The time limit is over.", "operation exceeded time limit", "ExecutionTimeLimitExceeded"),
}
"""The errors of each status: the name, the description, and an example of ``error`` and ``error_code``."""
_FURTHER: dict[int, tuple[str, str, str, str]] = STATUSES | {
    412: (
        "PreconditionFailed",
        "What is there is not what the request knows.",
        "the document is not, or is no longer, what If-Match says",
        "PreconditionFailed",
    ),
    415: (
        "UnsupportedMediaType",
        "The body is no JSON.",
        "Content-Type: expected application/json, got 'text/xml'",
        "UnsupportedMediaType",
    ),
}
"""The same with those that no action answers with."""

_REQUEST_ID: Schema = {
    "description": "Names the request in the server's log; sent back when the request brings one.",
    "schema": {"type": "string"},
}
_BELOW = {
    "/app/{app_id}/endpoint": "The paths of the Atlas Data API.",
    "/api/client/v2.0/app/{app_id}": "The paths of the App Services client API.",
    "/api/client/v2.0": "The paths of the App Services client API.",
}
"""What is said of the servers that have the same paths below another one."""
_VARIABLES = {"app_id": ("appId", {"default": "data-abcde", "description": "The app id."})}
"""Variables in the paths of servers: their names and what is said of them."""


@dataclass(slots=True)
class Described:
    """A thing that is served: its first route, the dialect of that, and the further paths."""

    route: Route
    about: About
    dialect: Dialect
    also: list[str]


def described(dialects: Iterable[Dialect], providers: Collection[str]) -> list[Described]:
    """Everything that ``dialects`` serve and say something about, as far as ``providers`` are on, in order."""
    found: dict[int, Described] = {}
    for dialect in dialects:
        for route in dialect.routes:
            about = route.about
            if about is None or route.takes or (about.provider and about.provider not in providers):
                continue
            if id(about) in found:
                found[id(about)].also.append(route.path)
            else:
                found[id(about)] = Described(route, about, dialect, [])
    return list(found.values())


def paths(listed: list[Described], server_url: str) -> tuple[Schema, Schema, Schema]:
    """The paths of ``listed``, and the schemas and responses that they refer to. Raises ValueError for two schemas of
    one name."""
    kinds = list(_kinds(listed))
    given, schemas = schemas_of([kind for _, kind in kinds])
    if doubled := [name for name in schemas if "__" in name]:
        raise ValueError(f"several schemas have one name: {', '.join(doubled)}")
    schema_of = {name: schema for (name, _), schema in zip(kinds, given, strict=True)}
    found: Schema = {}
    responses: Schema = {}
    for item in listed:
        refusals = _refusals(item)
        for status in refusals:
            name = _response_name(item.dialect, int(status))
            responses[name] = _error_response(item.dialect, int(status), schema_of[id(item.dialect.problem), "error"])
        path = found.setdefault(item.route.path, {})
        if servers := _servers(item, server_url):
            path["servers"] = servers
        if variables := _variables(item.route.path):
            path["parameters"] = variables
        path[item.route.method.lower()] = _operation(item, schema_of, refusals)
    return found, schemas, responses


def _kinds(listed: list[Described]) -> Iterator[tuple[tuple[int, str], Any]]:
    """Every type that needs a schema, by what it is of and for."""
    for item in listed:
        about = item.about
        takes = about.brings if about.takes is None else about.takes
        if takes is not None and takes is not Nothing:
            yield (id(about), "takes"), takes
        if about.gives.content is not None:
            yield (id(about), "gives"), about.gives.content
        yield (id(item.dialect.problem), "error"), item.dialect.problem


def _operation(item: Described, schema_of: Mapping[tuple[int, str], Schema], refusals: Schema) -> Schema:
    route, about = item.route, item.about
    made: Schema = {"operationId": about.name or route.name, "summary": about.summary}
    if about.description:
        made["description"] = about.description
    made["tags"] = [about.tag]
    security = _security(item)
    if security is not None:
        made["security"] = security
    if about.query is not None:
        made["parameters"] = parameters_of(about.query)
    if about.operation is not None:
        made["requestBody"] = _request(about.operation)
        answer = _result(about.operation)
    else:
        takes = schema_of.get((id(about), "takes"))
        if takes is not None:
            content = {"schema": takes} | ({} if about.example is None else {"example": about.example})
            made["requestBody"] = {"required": not about.optional, "content": {"application/json": content}}
        gives = schema_of.get((id(about), "gives"))
        kinds = about.gives.content_types or (about.gives.content_type,)
        answer = {} if gives is None else {"content": {kind: {"schema": gives} for kind in kinds}}
    made["responses"] = {str(about.gives.status): {"description": about.gives.description, **answer}, **refusals}
    if item.also:
        made["x-also-at"] = item.also
    return made


def _security(item: Described) -> list[Schema] | None:
    """What a caller may show; None where that is what the server takes everywhere."""
    security = item.about.security
    if security is None:
        security = () if item.route.public else item.dialect.security
    return None if security is None else [dict(one) for one in security]


def _refusals(item: Described) -> Schema:
    """The responses of errors: those that any such route may meet, and those of the route's own codes."""
    route, about = item.route, item.about
    statuses = {400, 429}
    if about.operation is not None:
        statuses = set(STATUSES)
    if not route.public:
        statuses |= {401, 403}
    if about.stores:
        statuses |= {413, 500, 503, 504}
    if item.dialect.only_json and (about.takes or about.brings) is not None:
        statuses.add(415)
    own: dict[int, list[str]] = {}
    for code in about.refuses:
        for status in CODES[code].statuses:
            own.setdefault(status, []).append(f"`{code}`: {CODES[code].meaning}")
    return {str(status): _refusal(item, status, own.get(status, [])) for status in sorted(statuses | own.keys())}


def _refusal(item: Described, status: int, meanings: list[str]) -> Schema:
    reference = {"$ref": f"#/components/responses/{_response_name(item.dialect, status)}"}
    return reference | ({"description": " ".join(meanings)} if meanings else {})


def _response_name(dialect: Dialect, status: int) -> str:
    own = dialect.problem.__name__.removesuffix("Error")  # the house's own is Error
    return own + _FURTHER[status][0]


def _error_response(dialect: Dialect, status: int, schema: Schema) -> Schema:
    _, description, error, code = _FURTHER[status]
    refused = DoorleafError(error, code=code)
    reply = dialect.error(refused, Request("GET", "/", {})) if dialect.sample is None else dialect.sample(refused)
    content = {"schema": schema, "example": orjson.loads(reply.body)}
    return {
        "description": description,
        "headers": {"X-Request-Id": _REQUEST_ID},
        "content": {"application/json": content},
    }


def _variables(path: str) -> list[Schema]:
    return [
        {"name": segment[1:-1], "in": "path", "required": True, "schema": {"type": "string"}}
        for segment in path.split("/")
        if segment.startswith("{")
    ]


def _servers(item: Described, server_url: str) -> list[Schema]:
    """The servers of a path that is also served below another one, the server itself first; none where it is not."""
    below = [path.removesuffix(item.route.path) for path in item.also if path.endswith(item.route.path)]
    found = [_server(server_url, path) for path in below]
    return [{"url": server_url}, *found] if found else []


def _server(server_url: str, path: str) -> Schema:
    described = {"description": _BELOW[path]} if path in _BELOW else {}
    variables: Schema = {}
    for variable, (name, about) in _VARIABLES.items():
        if f"{{{variable}}}" in path:
            path = path.replace(f"{{{variable}}}", f"{{{name}}}")
            variables[name] = about
    server: Schema = {"url": f"{server_url.rstrip('/')}{path}", **described}
    return server | ({"variables": variables} if variables else {})


# --- actions -----------------------------------------------------------------------------------------------------


def _request(operation: type[Operation[Any]]) -> Schema:
    listed = EXAMPLES.get(operation.name, ())
    examples = {_key(example): {"summary": example.title, "value": example.request} for example in listed}
    reference = {"$ref": f"#/components/schemas/{operation.name[0].upper()}{operation.name[1:]}Request"}
    return {"required": True, "content": {"application/json": {"schema": reference, "examples": examples}}}


def _result(operation: type[Operation[Any]]) -> Schema:
    result = operation.result.__name__
    listed = EXAMPLES.get(operation.name, ())
    examples = {_key(example): {"summary": example.title, "value": example.response} for example in listed}
    plain = {"schema": {"$ref": f"#/components/schemas/{result}"}, "examples": examples}
    extended = {"schema": {"$ref": f"#/components/schemas/{result}Extended"}}
    return {
        "headers": {"X-Request-Id": _REQUEST_ID},
        "content": {Mode.PLAIN.value: plain, Mode.CANONICAL.value: extended},
    }


def _key(example: Example) -> str:
    """A title as the name of an example: ``A page, sorted`` → ``aPageSorted``."""
    words = "".join(letter if letter.isalnum() else " " for letter in example.title).split()
    return words[0].lower() + "".join(word.capitalize() for word in words[1:])
