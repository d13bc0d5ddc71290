"""How answers of other servers come in: a little at a time, so that none, however it is cut, keeps others waiting.

The parser reads what has come to its end without a pause, and thousands of chunks or heads fit in one piece of the
network's.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterable
from functools import lru_cache
from typing import Any

import httpcore
import httpx

READ_BYTES = 4 * 1024
"""Most that is read at once, and then others have their turn."""

HEAD_BYTES = 128 * 1024
"""Most that may come before an answer's body, announcements (1xx) too."""

FAILURES = (
    *(httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError),
    *(httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, httpcore.UnsupportedProtocol),
)
"""What says that another server is not there, or answers nothing that is valid."""


class Transport(httpx.AsyncBaseTransport):
    """The connection of one request."""

    def __init__(self) -> None:
        self._network = _Network()
        self._pool = httpcore.AsyncConnectionPool(ssl_context=_trust(), network_backend=self._network)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send ``request``; its answer, of which the head is there."""
        url = request.url
        place = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        sent: Any = request.stream
        asked = httpcore.Request(
            request.method, place, headers=request.headers.raw, content=sent, extensions=request.extensions
        )
        answer = await self._pool.handle_async_request(asked)
        self._network.room = None
        return httpx.Response(
            answer.status, headers=answer.headers, stream=_Body(answer.stream), extensions=answer.extensions
        )

    async def aclose(self) -> None:
        """Close the connection."""
        await self._pool.aclose()


@lru_cache(maxsize=1)
def _trust() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)


class _Body(httpx.AsyncByteStream):
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._stream:
            yield part

    async def aclose(self) -> None:
        await self._stream.aclose()


class _Network(httpcore.AsyncNetworkBackend):
    """The network, of which a little is read at once. ``room`` is what may still come before the body."""

    def __init__(self) -> None:
        self._inner = httpcore.AnyIOBackend()
        self.room: int | None = HEAD_BYTES

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        inner = await self._inner.connect_tcp(host, port, timeout, local_address, socket_options)
        return _Stream(inner, self)


class _Stream(httpcore.AsyncNetworkStream):
    def __init__(self, inner: httpcore.AsyncNetworkStream, network: _Network) -> None:
        self._inner = inner
        self._network = network

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        await asyncio.sleep(0)
        data = await self._inner.read(min(max_bytes, READ_BYTES), timeout)
        if (room := self._network.room) is not None:
            self._network.room = room = room - len(data)
            if room < 0:
                raise httpcore.RemoteProtocolError("too much comes before the body")
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._inner.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        return _Stream(await self._inner.start_tls(ssl_context, server_hostname, timeout), self._network)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
