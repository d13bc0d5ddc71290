"""Forms with a file (RFC 7578), which is put on disk as it comes: nothing of it is in memory, nobody's client is waited
for while something is imported, and the fields may stand behind the file."""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from multipart import (  # type: ignore[import-untyped]  # has no types of its own
    MultipartError,
    MultipartSegment,
    ParserLimitReached,
    PushMultipartParser,
    parse_options_header,
)

from doorleaf.apart import CODING
from doorleaf.dialects.base import Request
from doorleaf.dialects.datacube.handling import parameters
from doorleaf.dialects.datacube.models import CubeBody, mistake
from doorleaf.errors import StoreUnavailable, TooManyRequests, UnsupportedMediaType

MOST_BYTES = 8 * 1024**3
"""What one upload may have."""
MOST_PARTS = 20
MOST_FIELD_BYTES = 64 * 1024
AT_ONCE = 8
EACH = 3
"""Uploads at once in this process, and of one caller."""
FILES = ("json_file", "file")

_SECONDS = 60.0


@dataclass(slots=True)
class Form:
    """The fields and the file of a form. ``name`` and ``kind`` are the file's name and content type, ``hash`` is of its
    bytes."""

    file: IO[bytes]
    fields: dict[str, str] = field(default_factory=dict)
    name: str = ""
    kind: str = ""
    there: bool = False
    hash: Any = field(default_factory=blake2b)


class Room:
    """Lets in as many uploads at once as there may be."""

    def __init__(self) -> None:
        self._of: dict[str, int] = {}

    @contextmanager
    def place(self, caller: str) -> Iterator[None]:
        """A place for an upload of ``caller``; TooManyRequests where there is none."""
        if sum(self._of.values()) >= AT_ONCE or self._of.get(caller, 0) >= EACH:
            raise TooManyRequests("too many files come at the same time; try again later", headers={"Retry-After": "5"})
        self._of[caller] = self._of.get(caller, 0) + 1
        try:
            yield
        finally:
            self._of[caller] -= 1
            if not self._of[caller]:
                del self._of[caller]


def temporary(folder: Path) -> IO[bytes]:
    """A file without a name, in ``folder`` if that is there, and else where the system has such files. What :func:`put`
    puts into it is there: no buffer has it, which a full disk would find out about later."""
    try:
        return cast("IO[bytes]", tempfile.TemporaryFile(dir=folder if folder.is_dir() else None, buffering=0))
    except OSError as error:
        raise StoreUnavailable("there is no room for the file") from error


def read_again(file: IO[bytes]) -> BinaryIO:
    """A reader of what was put into ``file``, from its beginning. It is to be closed before ``file``, which it does not
    close: a thread may read on, and the number of a file that is closed is soon another's, or a connection's."""
    file.seek(0)
    return open(file.fileno(), "rb", closefd=False)


def put(file: IO[bytes], data: Any) -> None:
    """Write bytes at the place where ``file`` is; StoreUnavailable where the disk has no room for them."""
    left = memoryview(data)
    try:
        while left:
            left = left[file.write(left) :]
    except OSError as error:
        raise StoreUnavailable("there is no room for the file") from error


async def read_form(request: Request, form: Form, seen: Callable[[dict[str, str]], Awaitable[None]]) -> None:
    """Read the request's body into ``form``; ``seen`` is told of the fields whenever there are more, and may refuse
    the rest."""
    kind, options = parse_options_header(request.headers.get(b"content-type", b"").decode("latin-1"))
    form.fields.update(parameters(request))
    if kind not in ("multipart/form-data", "application/json", ""):
        shown = kind[:100]
        raise UnsupportedMediaType(f"Content-Type: expected multipart/form-data with {FILES[0]}, got {shown!r}")
    if kind != "multipart/form-data" or request.upload is None:
        raise CubeBody.missing("json_file")
    boundary = options.get("boundary", "")
    if not boundary or len(boundary) > 70:
        raise mistake("json_file", "The content type multipart/form-data has no boundary.")
    reader, known = _Reader(form, boundary), -1
    async for piece in request.upload:
        await CODING.run(_SECONDS, reader.feed, piece)
        if len(form.fields) != known:
            known = len(form.fields)
            await seen(form.fields)
    await CODING.run(_SECONDS, reader.end)
    await seen(form.fields)
    if not form.there:
        raise CubeBody.missing("json_file")


class _Reader:
    """Puts the parts of a form where they belong, piece by piece."""

    def __init__(self, form: Form, boundary: str) -> None:
        self._form = form
        self._parser = PushMultipartParser(boundary, max_segment_count=MOST_PARTS)
        self._part: Any = None
        self._field = bytearray()

    def feed(self, piece: bytes) -> None:
        try:
            for event in self._parser.parse(piece):
                if isinstance(event, MultipartSegment):
                    self._begin(event)
                elif event is None:
                    self._finish()
                else:
                    self._add(event)
        except ParserLimitReached:
            raise mistake("json_file", "The form has too many parts, or too large heads of parts.") from None
        except MultipartError:
            raise mistake("json_file", "The form is malformed: it is no multipart/form-data.") from None

    def end(self) -> None:
        """Raise where the form has no end."""
        try:
            self._parser.close()
        except MultipartError:
            raise mistake("json_file", "The form ends within a part.") from None

    def _begin(self, part: MultipartSegment) -> None:
        name, form = part.name or "", self._form
        self._part = part
        if part.filename is None and name not in FILES:
            if name in form.fields:
                raise mistake(name[:100], "It is there twice.")
            return
        if name not in FILES:
            raise mistake(name[:100], f"A file is sent as {FILES[0]}.")
        if form.there:
            raise mistake(name, "There are two files; send one.")
        form.there, form.name, form.kind = True, part.filename or "", (part.content_type or "").partition(";")[0]

    def _add(self, data: Any) -> None:
        if self._part.filename is not None or self._part.name in FILES:
            put(self._form.file, data)
            self._form.hash.update(data)
            return
        self._field += data
        if len(self._field) > MOST_FIELD_BYTES:
            raise mistake((self._part.name or "")[:100], f"It is longer than {MOST_FIELD_BYTES} bytes.")

    def _finish(self) -> None:
        if self._part.filename is None and self._part.name not in FILES:
            name = (self._part.name or "")[:100]
            try:
                self._form.fields[name] = self._field.decode()
            except UnicodeDecodeError:
                raise mistake(name, "It is not UTF-8.") from None
        self._part, self._field = None, bytearray()
