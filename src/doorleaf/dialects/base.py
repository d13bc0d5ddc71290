"""What a dialect is made of: requests, replies and routes, all plain values.

A dialect turns a :class:`Request` into an operation and its result into a :class:`Reply`, and renders errors in its
own envelope. It takes only ``Credentials`` from access and nothing from stores or from a web framework, so that it
can be tested without a server.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal, Protocol

import orjson

from doorleaf import ejson
from doorleaf.access.callers import Caller, Credentials
from doorleaf.dialects.about import About
from doorleaf.dialects.problems import Error
from doorleaf.documents import Documents
from doorleaf.errors import DoorleafError, InvalidParameter
from doorleaf.operations import Operation

JSON = b"application/json"


class Upload(Protocol):
    """A body in pieces, as it comes and decompressed, each asked for when the one before is done with.

    Iterating raises PayloadTooLarge as soon as there is more than its route takes, and what ``check`` does: AccessError
    once the caller is none any more, which whoever works long on what has come asks as well. Nobody reads a body in the
    server's name whose route does not: what it does not ask for waits with its client. ``received`` are the bytes so
    far.
    """

    received: int

    @property
    def check(self) -> Callable[[], Awaitable[None]]: ...

    def __aiter__(self) -> AsyncIterator[bytes]: ...


@dataclass(slots=True)
class Request:
    """One HTTP request. ``headers`` have lower-case names and single values; ``params`` are the path's variables.

    ``identity``, ``surface``, the dialect's name, and ``shown``, by which the caller is known, are set once they are,
    ``body`` once it was read (decompressed, within the limit), and ``namespace`` once it is known what it is about.
    ``prefix`` is the path before ``path`` that a trusted proxy takes away. ``segments`` are the path's where one of
    them has a slash in it, which ``path`` cannot tell. ``audited`` is set once it was accounted for that the request
    was refused or failed, so that nobody does so again. ``chosen`` is what a dialect found out about the request.
    ``upload`` is the body where the route reads it as it comes; ``body`` is empty then. ``answers`` are those of
    functions that rules called. ``started`` is when it began, in seconds of no certain clock. ``repeated`` are the
    values of headers that came more than once, which ``headers`` has joined by commas.
    """

    method: str
    path: str
    headers: Mapping[bytes, bytes]
    address: str = ""
    id: str = "-"
    query: bytes = b""
    body: bytes = b""
    params: Mapping[str, str] = field(default_factory=dict)
    identity: Any = None
    shown: Credentials | None = None
    surface: str = ""
    namespace: Any = None
    prefix: str = ""
    segments: tuple[str, ...] | None = None
    chosen: Any = None
    audited: bool = False
    upload: Upload | None = None
    answers: dict[Any, tuple[bool, float]] | None = None
    started: float = 0.0
    repeated: Mapping[bytes, list[bytes]] | None = None

    @property
    def received(self) -> int:
        """The bytes of the body that have come."""
        return len(self.body) if self.upload is None else self.upload.received

    @property
    def caller(self) -> Caller:
        """Who asks for an operation by this request; only once they are known."""
        return Caller(self.identity, self, self.surface)


@dataclass(slots=True)
class Reply:
    """One HTTP response; the endpoint adds its length and the request id.

    One with a ``stream`` is live and has no ``body``: it tells what happens for as long as its caller may hear it,
    yields b"" about every second when nothing does, and ends when the server does. One with ``pieces`` has the parts of
    a long body, each made when its client has taken the one before, ``sent`` being their bytes; what they raise cuts
    the body, behind what ``last`` makes of the error. ``close`` is called when all is sent or nobody reads on, then
    ``done``, with the number of bytes. ``compressible`` is a body with no secret of the server's, so that its length
    may tell what is in it. ``code`` is that of the error it tells of, and ``reason`` what the log says of a failure.
    """

    status: int
    body: bytes = b""
    content_type: bytes = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()
    stream: AsyncGenerator[bytes, None] | None = None
    done: Callable[[int], None] | None = None
    pieces: Iterator[bytes] | AsyncIterator[bytes] | None = None
    compressible: bool = False
    last: Callable[[DoorleafError], bytes] | None = None
    close: Callable[[], Awaitable[None]] | None = None
    sent: int = 0
    code: str = ""
    reason: str = ""

    @property
    def goes_on(self) -> bool:
        """Whether it takes as long as its client does, or longer."""
        pieces = self.pieces
        return self.stream is not None or (pieces is not None and isinstance(pieces, AsyncIterator))


@dataclass(frozen=True, slots=True)
class Later:
    """The answer of decoding where something else than an operation makes the reply."""

    reply: Callable[[], Awaitable[Reply]]


Decode = Callable[[Request], Operation[Any] | Later]
Encode = Callable[[Any, Request], Reply]
Handle = Callable[[Request], Awaitable[Reply]]


class Messages(list[bytes]):
    """Messages that many may be sent: ``joined`` is one after another, ``frames`` what the wire makes of them, once."""

    __slots__ = ("_joined", "frames")

    def __init__(self, messages: Iterable[bytes]) -> None:
        super().__init__(messages)
        self.frames: bytes | None = None
        self._joined: bytes | None = None

    @property
    def joined(self) -> bytes:
        if self._joined is None:
            self._joined = b"".join(self)
        return self._joined


class Session(Protocol):
    """A WebSocket session that has been accepted: messages one by one, text or bytes.

    Iterating gives what the client says and ends with it; ``receive`` and ``send`` raise an error that ends the session
    when the client has gone or reads too slowly. ``send_all`` sends texts, in UTF-8. The route's task is cancelled when
    the client has gone. The caller is looked at anew every two seconds, and the session ends when the server does.
    """

    async def receive(self) -> str | bytes: ...

    async def send(self, message: str | bytes) -> None: ...

    async def send_all(self, messages: Messages) -> None: ...

    async def close(self, code: int = 1000, reason: str = "") -> None: ...

    def admitted(self, caller: str) -> None:
        """Count the session as ``caller``'s, who has just said who they are; raises TooManyRequests."""

    def __aiter__(self) -> AsyncIterator[str | bytes]: ...


Converse = Callable[[Request, Session], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Route:
    """A method and a path, and what happens there.

    ``path`` has literal segments and ``{variables}``, and may end with ``{rest...}``; method ``*`` is any. A route
    either has ``decode`` (request → operation) with ``encode`` (result → reply), or a ``handle`` of its own. ``public``
    routes take no credentials; ``login`` ones count against the rate of logins, each request; a login itself counts
    when it fails. ``probe`` ones may be asked wherever from and however often, by whoever watches over the server;
    ``raw`` says that its bodies need not be JSON. A ``handle`` may have its body as it comes (``reads`` is ``stream``),
    of ``limit`` bytes at most; 0 is the server's limit for bodies that are held in memory. One that ``takes`` a content
    type is for bodies of that type alone, beside another route of the same path for all others. A ``session`` is a talk
    over a WebSocket, which takes a place among the streams; with ``listens`` it may be silent for any time. Of its
    ``protocols`` the first that a client offers is agreed on.
    ``name`` is what logs and metrics call it; ``about`` is what OpenAPI describes.
    """

    method: str
    path: str
    name: str
    decode: Decode | None = None
    encode: Encode | None = None
    handle: Handle | None = None
    public: bool = False
    login: bool = False
    probe: bool = False
    reads: Literal["whole", "stream"] = "whole"
    limit: int = 0
    takes: str = ""
    session: Converse | None = None
    listens: bool = False
    protocols: tuple[str, ...] = ()
    about: About | None = None
    raw: bool = False


LONG_BYTES = 4 * 1024 * 1024
LONG_DOCUMENTS = 5_000
"""From here on the body of an answer is made piece by piece."""


def documents_reply(documents: Documents, mode: ejson.Mode, content_type: bytes) -> Reply:
    """The answer with ``documents`` and nothing else."""
    if documents.size < LONG_BYTES and (documents.encoded or len(documents) < LONG_DOCUMENTS):
        body = ejson.encode_documents(documents, mode, b'{"documents":', b"}")
        return Reply(200, body, content_type, compressible=True)
    return Reply(200, content_type=content_type, pieces=ejson.encode_pieces(documents, mode), compressible=True)


def header_credentials(request: Request) -> Credentials:
    """The credentials in the headers ``Authorization: Bearer``, ``apiKey`` or ``api-key``, ``email`` with
    ``password``, and ``jwtTokenString``; which of them counts is for access to say."""
    headers = request.headers
    key = headers.get(b"apikey")
    other = headers.get(b"api-key")
    if key is None:
        key = other
    elif other is not None and other != key:
        raise InvalidParameter("the headers apiKey and api-key differ; send one of them")
    if key is not None and len(key) <= _LONGEST_KEY and headers.keys().isdisjoint(_OTHER_CREDENTIALS):
        return _by_key(key, request.address)
    authorization = headers.get(b"authorization")
    return Credentials(
        bearer=None if authorization is None else _bearer(authorization),
        api_key=None if key is None else key.decode("latin-1"),
        email=None if (email := headers.get(b"email")) is None else _text(email),
        password=None if (password := headers.get(b"password")) is None else _text(password),
        jwt=None if (jwt := headers.get(b"jwttokenstring")) is None else _text(jwt),
        address=request.address,
    )


_OTHER_CREDENTIALS = (b"authorization", b"email", b"password", b"jwttokenstring")
_LONGEST_KEY = 128


@lru_cache(maxsize=1024)
def _by_key(key: bytes, address: str) -> Credentials:
    return Credentials(api_key=key.decode("latin-1"), address=address)


def _bearer(authorization: bytes) -> str | None:
    scheme, _, token = authorization.partition(b" ")
    return token.strip().decode("latin-1") if scheme.lower() == b"bearer" else None


def _text(value: bytes) -> str:
    # Passwords are UTF-8 when a client can send them at all; latin-1 is what remains of other bytes.
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def envelope(error: DoorleafError, request: Request) -> Reply:
    """``error`` as ``{"error", "error_code", …fields}``: always JSON, whatever the client accepts."""
    content: dict[str, Any] = {"error": error.message}
    if error.code:
        content["error_code"] = error.code
    if error.fields:
        content.update(error.fields)
        body = ejson.dumps(content, ejson.Mode.PLAIN)
    else:
        body = json(content)
    headers = tuple(
        (name.lower().encode(), value.encode("latin-1", "replace")) for name, value in error.headers.items()
    )
    return Reply(error.status, body, headers=headers)


def json(content: Any) -> bytes:
    """``content`` (plain JSON values) as bytes; text that is no Unicode is replaced, never an error."""
    try:
        return orjson.dumps(content)
    except TypeError:
        readable = {
            key: value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
            for key, value in content.items()
        }
        return orjson.dumps(readable)


@dataclass(frozen=True, slots=True)
class Dialect:
    """A way to speak HTTP: its routes, where its credentials are, and its error envelope.

    ``error`` makes the envelope of an error, and ``problem`` describes that; ``sample`` makes the one that the
    documentation shows, where ``error`` writes another one each time. ``prepare`` may refuse a request before anything
    else looks at it. ``security`` is what its callers may show, as OpenAPI writes it, where that is not
    everything that the server takes. ``credentials`` are None for a request that may come from anybody. ``only_json``
    says that bodies which say that they are something else are refused.
    """

    name: str
    routes: tuple[Route, ...]
    credentials: Callable[[Request], Credentials | None] = header_credentials
    error: Callable[[DoorleafError, Request], Reply] = envelope
    prepare: Callable[[Request], None] | None = None
    security: Sequence[Mapping[str, list[str]]] | None = None
    problem: type = Error
    sample: Callable[[DoorleafError], Reply] | None = None
    only_json: bool = False
