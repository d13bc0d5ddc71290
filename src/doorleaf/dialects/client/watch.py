"""``watch`` of the App Services client API: change events as server-sent events.

``GET …/functions/call?baas_request=…`` has a call in Base64, as :mod:`doorleaf.dialects.client.functions` knows it; its
one argument is ``{database, collection, ids, filter}``. Every change is one event with canonical Extended JSON in its
data; an error that ends the stream is an event called ``error``.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import AsyncGenerator
from urllib.parse import parse_qs

from doorleaf import ejson
from doorleaf.dialects.base import Reply, Request
from doorleaf.dialects.client.errors import client_envelope
from doorleaf.dialects.events import EVENT_STREAM, HEADERS, written
from doorleaf.documents import Document
from doorleaf.errors import DoorleafError, InvalidParameter, MissingParameter
from doorleaf.operations.fields import wrong
from doorleaf.operations.results import ChangesResult, ChangeStream

_QUIET = 15
"""After so many waits without an event (a second each) a comment tells that the stream is alive."""


def parameters(request: Request) -> dict[str, str]:
    """The parameters in the query of a streaming call; one that is repeated is refused."""
    try:
        parsed = parse_qs(request.query.decode("ascii"), keep_blank_values=True, max_num_fields=10)
    except ValueError:
        raise InvalidParameter("the query cannot be read") from None
    for name, values in parsed.items():
        if len(values) > 1:
            raise InvalidParameter(f"{name[:100]}: came twice")
    return {name: values[0] for name, values in parsed.items()}


def called(request: Request) -> Document:
    """The call in the parameter ``baas_request``."""
    given = parameters(request).get("baas_request")
    if not given:
        raise MissingParameter("baas_request is required: the call, in Base64")
    try:
        text = b64decode(
            given.replace(" ", "+").replace("-", "+").replace("_", "/") + "=" * (-len(given) % 4), validate=True
        )
    except ValueError:
        raise InvalidParameter("baas_request: expected a call in Base64") from None
    return ejson.loads(text)


def event_filter(fields: Document) -> Document:
    """The filter over change events that the ``ids`` and ``filter`` of a call make."""
    conditions = []
    ids, given = fields.get("ids"), fields.get("filter")
    if ids is not None:
        if type(ids) is not list:
            raise wrong("ids", "an array of _id values", ids)
        conditions.append({"documentKey._id": {"$in": ids}})
    if given is not None:
        if type(given) is not dict:
            raise wrong("filter", "an object", given)
        conditions.append(given)
    return {"$and": conditions} if len(conditions) > 1 else conditions[0] if conditions else {}


def stream(result: ChangesResult, request: Request) -> Reply:
    """The answer that goes on."""
    changes = result.changes
    return Reply(200, content_type=EVENT_STREAM, headers=HEADERS, stream=_events(changes, request), close=changes.close)


async def _events(changes: ChangeStream, request: Request) -> AsyncGenerator[bytes, None]:
    quiet = 0
    try:
        yield b":\n\n"  # so that the client knows at once that it is heard
        while (events := await changes.next()) is not None:
            quiet = 0 if events else quiet + 1
            if quiet == _QUIET:
                quiet = 0
                yield b":\n\n"
            else:
                yield (await written(events, "client", _written)).joined if events else b""
    except DoorleafError as error:
        yield b"event: error\n" + _event(client_envelope(error, request).body)


def _written(event: Document) -> bytes:
    return _event(ejson.dumps(event, ejson.Mode.CANONICAL))


def _event(data: bytes) -> bytes:
    # The clients decode these three after they took the stream apart; JSON itself has no line end in it.
    return b"data: " + data.replace(b"%", b"%25").replace(b"\n", b"%0A").replace(b"\r", b"%0D") + b"\n\n"
