"""A request's body: read from the client, bounded and decompressed."""

from __future__ import annotations

import zlib
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Protocol

from doorleaf.apart import CODING
from doorleaf.errors import InvalidParameter, PayloadTooLarge, Unsupported

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


_SHORT_BYTES = 2 * 1024
"""Nothing that is shorter becomes more than two megabytes, which takes a few milliseconds."""

_DECOMPRESSING_SECONDS = 30.0

_MEMBERS = 1_000
"""Most members of a body in gzip: what follows one of them is copied."""

_SLICE_BYTES = 64 * 1024


class Gone(Exception):
    """The client went away before its request was complete."""


class Progress(Protocol):
    """Somebody who wants to know how much of a body is there."""

    came: int


def check_length(headers: Mapping[bytes, bytes], limit: int) -> None:
    """Raise PayloadTooLarge for a body that is announced with more than ``limit`` bytes."""
    length = headers.get(b"content-length")
    if length is not None and (len(length) > 15 or not length.isdigit() or int(length) > limit):
        raise too_large(limit)


async def read(headers: Mapping[bytes, bytes], receive: Receive, limit: int, progress: Progress | None = None) -> bytes:
    """The body as it came. Raises PayloadTooLarge as soon as it is known to be above ``limit`` bytes."""
    check_length(headers, limit)
    message = await receive()
    if message["type"] == "http.disconnect":
        raise Gone
    body: bytes = message.get("body", b"")
    if message.get("more_body", False):
        body = await _rest(bytearray(body), receive, limit, progress)
    elif len(body) > limit:
        raise too_large(limit)
    return body


async def decompressed(headers: Mapping[bytes, bytes], body: bytes, limit: int) -> bytes:
    """``body`` without its content encoding; raises PayloadTooLarge where that is above ``limit`` bytes."""
    encoding = headers.get(b"content-encoding")
    if encoding is not None and encoding.lower() != b"identity":
        if len(body) < _SHORT_BYTES:
            return _decompressed(body, encoding, limit)
        return await CODING.run(_DECOMPRESSING_SECONDS, _decompressed, body, encoding, limit)
    return body


async def _rest(body: bytearray, receive: Receive, limit: int, progress: Progress | None) -> bytes:
    while len(body) <= limit:
        if progress is not None:
            progress.came = len(body)
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Gone
        body += message.get("body", b"")
        if not message.get("more_body", False) and len(body) <= limit:
            return bytes(body)
    raise too_large(limit)


def require_known(encoding: bytes) -> None:
    """Raise Unsupported for a content encoding that is not read."""
    if encoding.lower() not in (b"gzip", b"x-gzip", b"identity"):
        name = encoding[:40].decode("latin-1")
        raise Unsupported(f"content-encoding: {name!r} is not supported; send gzip, or nothing")


def _decompressed(body: bytes, encoding: bytes, limit: int) -> bytes:
    require_known(encoding)
    content, at = bytearray(), 0
    for _ in range(_MEMBERS):
        at = _member(body, at, content, limit)
        if at == len(body):
            return bytes(content)
    raise InvalidParameter(f"the body has more than {_MEMBERS} members of gzip")


def _member(body: bytes, at: int, content: bytearray, limit: int) -> int:
    """Add to ``content`` what the member that begins at ``at`` has, and say where it ends (RFC 1952, 2.2)."""
    inflate = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    view = memoryview(body)
    try:
        while not inflate.eof and at < len(body):
            part = view[at : at + _SLICE_BYTES]
            at += len(part)
            content += inflate.decompress(part, limit + 1 - len(content))
            if len(content) > limit:  # else all of the part was taken
                raise too_large(limit)
    except zlib.error:
        raise InvalidParameter("the body is not valid gzip") from None
    if not inflate.eof:
        raise InvalidParameter("the body is not valid gzip")
    return at - len(inflate.unused_data)


def too_large(limit: int) -> PayloadTooLarge:
    """The error of a body of more than ``limit`` bytes."""
    return PayloadTooLarge(f"the body is larger than {limit} bytes")
