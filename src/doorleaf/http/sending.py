"""Sending replies that are not as most are: with headers of their own, compressed, or made piece by piece."""

from __future__ import annotations

from doorleaf.dialects.base import Reply, Request
from doorleaf.http import faults
from doorleaf.http.body import Send
from doorleaf.http.compression import COMPRESSED_BYTES, Headers, Pieces, shaped
from doorleaf.http.cors import Cors
from doorleaf.http.short import Answer
from doorleaf.http.streams import each, over


async def send_whole(
    reply: Reply, request: Request, answer: Answer | None, send: Send, cors: Cors | None, version: str | None
) -> None:
    """Send a whole reply to a request of this ``version`` of HTTP, by ``answer`` where there is one.

    What it takes for its client to read it is part of the request. What cuts it, the reply tells from then on.
    """
    body: bytes | Pieces = reply.body
    sent = len(reply.body)
    try:
        headers: Headers = [(b"content-type", reply.content_type)] if reply.status != 204 else []
        if reply.pieces is not None or (sent >= COMPRESSED_BYTES and reply.compressible):
            whole = answer is None or version == "1.0"
            body, shape = await shaped(reply, request, faults.known, whole=whole)
            headers += shape
        if type(body) is bytes and reply.status != 204:
            headers.append((b"content-length", b"%d" % len(body)))
        headers.append((b"x-request-id", request.id.encode()))
        headers += reply.headers
        if cors is not None:
            headers = cors.marked(headers, request)
        if request.method == "HEAD":
            body = b""
        if answer is None:
            await send({"type": "http.response.start", "status": reply.status, "headers": headers})
            if type(body) is not Pieces or await each(body, send):
                await send({"type": "http.response.body", "body": b"" if type(body) is Pieces else body})
        elif (waiting := answer.whole(reply.status, headers, body)) is not None:
            await waiting
    finally:
        if type(body) is Pieces:
            reply.sent = sent = body.made
        if reply.close is not None:
            await over(reply, sent)
        elif reply.done is not None:
            reply.done(sent)
    if type(body) is Pieces and (failure := body.failure) is not None:
        reply.code, reply.reason = failure.code, faults.reason(failure) if failure.status >= 500 else ""
