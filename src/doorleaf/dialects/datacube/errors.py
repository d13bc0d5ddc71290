"""Errors of the DataCube API: its envelope, in which clients of every age find a text that they know."""

from __future__ import annotations

from base64 import urlsafe_b64decode
from typing import Annotated, Any, Literal

from pydantic import Field, with_config
from typing_extensions import TypedDict

from doorleaf import ejson
from doorleaf.dialects.base import Reply, Request
from doorleaf.dialects.problems import OPEN
from doorleaf.errors import DoorleafError

NOT_SHOWN = "Authentication credentials were not provided."
WRONG_KEY = "Invalid API Key."
WRONG_TOKEN = "Given token not valid for any token type"  # noqa: S105  # a text

_CHALLENGE = (b"www-authenticate", b'Bearer realm="api"')


@with_config(OPEN)
class CubeError(TypedDict):
    """An error of the DataCube API. Fields of a registration that are wrong have their mistakes beside it."""

    success: Literal[False]
    error: Annotated[str, Field(description="What is wrong, for programs; of a login, for people.")]
    error_code: Annotated[str, Field(description="What is wrong, for programs; MongoDB's name where it has one.")]
    message: Annotated[str, Field(description="What is wrong, for people.")]
    detail: Annotated[Any, Field(description="The same, or the mistakes of each field.")]


def cube_envelope(error: DoorleafError, request: Request) -> Reply:
    """``error`` as ``{"success": false, "error", "error_code", "message", "detail"}``, always as JSON."""
    message, told = error.message, dict(error.fields)
    if error.status == 401 and "error" not in told and error.code in ("InvalidSession", "InvalidParameter"):
        message = _of_credentials(request, error)
        if message == WRONG_TOKEN:
            wrong = {"token_class": "AccessToken", "token_type": "access", "message": _of_token(request)}
            told |= {"code": "token_not_valid", "messages": [wrong]}
    content: dict[str, Any] = {"success": False, "error": error.code, "error_code": error.code, "message": message}
    content |= {"detail": _detail(error, request) or message} | told
    headers = tuple(
        (name.lower().encode(), value.encode("latin-1", "replace")) for name, value in error.headers.items()
    )
    if error.status == 401:
        headers += (_CHALLENGE,)
    return Reply(error.status, ejson.dumps(content, ejson.Mode.PLAIN), headers=headers)


def _detail(error: DoorleafError, request: Request) -> str:
    """What clients look for in ``detail``, "" where that is the message."""
    if error.status == 405:
        return f'Method "{request.method}" not allowed.'
    seconds = error.headers.get("Retry-After")
    if error.status == 429 and seconds:
        return f"Request was throttled. Expected available in {seconds} seconds."
    return ""


def _of_credentials(request: Request, error: DoorleafError) -> str:
    """What is told of credentials that are wrong, by what was shown."""
    given = request.headers.get(b"authorization", b"").strip()
    if not given:
        return NOT_SHOWN
    scheme, _, shown = given.partition(b" ")
    if scheme.lower() == b"api-key" or shown.strip().startswith(b"dlu_"):
        return WRONG_KEY
    return WRONG_TOKEN if scheme.lower() == b"bearer" else NOT_SHOWN


def _of_token(request: Request) -> str:
    """What is wrong with a token, by what it says of itself: clients show the wrong one of two mostly."""
    claims = request.headers.get(b"authorization", b"").split(b".")[1:2]
    try:
        said = ejson.loads(urlsafe_b64decode(claims[0] + b"==")) if claims else {}
    except (DoorleafError, ValueError):
        said = {}
    return "Token has wrong type" if said.get("typ") == "refresh" else "Token is invalid or expired"
