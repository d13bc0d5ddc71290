"""Sends the fuzzer's requests over HTTP, and looks at what streams say."""

from __future__ import annotations

import contextlib
import http.client
import socket
import time
from collections import deque
from collections.abc import Sequence

from fuzzing import PATIENCE
from servers import Answer, Doorleaf
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import CloseCode
from websockets.sync.client import connect

STREAMS = 8
"""Streams that are open at once; the oldest is closed for a new one."""

_BROKEN = (ConnectionError, http.client.RemoteDisconnected, http.client.CannotSendRequest)


class OverHttp:
    """One connection for requests, opened again when the server closed it, and some with streams.

    A server may answer before a body has come whole and close when too much of the rest does: the answer counts, not
    that what is behind it could not be sent.
    """

    def __init__(self, server: Doorleaf) -> None:
        self.problems: list[str] = []
        self._server = server
        self._connection = self._opened()
        self._streams: deque[tuple[http.client.HTTPConnection, http.client.HTTPResponse, str]] = deque()

    def __call__(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> Answer:
        try:
            answer = self._answer(method, path, body, headers)
        except _BROKEN:  # it was idle, and closed from the other side
            self._connection.close()
            answer = self._answer(method, path, body, headers)
        if method != "HEAD" and answer.getheader("content-type") == "text/event-stream":
            self._streams.append((self._connection, answer, path))
            self._connection = self._opened()
            if len(self._streams) > STREAMS:
                self._end(*self._streams.popleft())
            return _read(answer, b"")
        return _read(answer, answer.read())

    def talk(self, path: str, headers: dict[str, str], said: Sequence[str | bytes]) -> str | None:
        """Open a WebSocket and say something; what is wrong with how it is answered or ended."""
        shown = {name: text for name, text in headers.items() if name == "authorization"}
        where = f"ws://127.0.0.1:{self._server.port}{path}"
        try:
            session = connect(
                where, additional_headers=shown, proxy=None, open_timeout=PATIENCE, close_timeout=PATIENCE
            )
        except InvalidStatus as refused:
            status = refused.response.status_code
            return f"{status} to a handshake: {refused.response.body!r}" if status >= 500 else None
        heard = ""
        try:
            with session:
                for one in said:
                    if isinstance(one, bytes):
                        with contextlib.suppress(OSError):  # it has ended, and what is said next tells how
                            session.socket.sendall(one)
                    else:
                        session.send(one)
                session.send('{"type": "ping"}')
                until = time.monotonic() + PATIENCE
                while '"pong"' not in heard:
                    heard += str(session.recv(max(until - time.monotonic(), 0)))
        except TimeoutError:
            # Bytes that are no message may be the beginning of a long one.
            return None if isinstance(said[-1], bytes) else f"no answer to a ping: {heard[-500:]}"
        except (ConnectionClosed, ConnectionError) as closed:
            code = closed.rcvd.code if isinstance(closed, ConnectionClosed) and closed.rcvd is not None else 0
            if code == CloseCode.INTERNAL_ERROR or (not code and not isinstance(said[-1], bytes)):
                return f"the session ended with {closed}: {heard[-500:]}"
        return f"the session said {heard[-500:]}" if "InternalError" in heard else None

    def close(self) -> None:
        """End everything that is open."""
        while self._streams:
            self._end(*self._streams.popleft())
        self._connection.close()

    def _opened(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self._server.port, timeout=PATIENCE * 2)

    def _answer(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> http.client.HTTPResponse:
        connection = self._connection
        try:
            connection.request(method, path, body, headers)
        except (BrokenPipeError, ConnectionResetError):
            if connection.sock is None:
                raise
            with contextlib.suppress(OSError):
                return connection.getresponse()
            raise
        return connection.getresponse()

    def _end(self, connection: http.client.HTTPConnection, answer: http.client.HTTPResponse, path: str) -> None:
        """Read what has come on a stream, and leave."""
        said = b""
        with contextlib.suppress(TimeoutError, OSError, http.client.HTTPException):
            if connection.sock is not None:
                connection.sock.settimeout(0.01)
            while part := answer.read1(1 << 20):
                said += part
        if b"InternalError" in said or not said.startswith((b":", b"retry:", b"event: ")):
            self.problems.append(f"a stream\n  {path}\n  {said[-2000:]!r}")
        if connection.sock is not None:
            with contextlib.suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)
        answer.close()
        connection.close()


def _read(answer: http.client.HTTPResponse, body: bytes) -> Answer:
    return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, body)
