"""Files to read and to write: compressed or not, on disk or a pipe, and of which format."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import sys
import zlib
from collections.abc import Callable, Iterator
from hashlib import blake2b
from pathlib import Path
from time import time_ns
from typing import IO, Any, BinaryIO, cast

from doorleaf.errors import InvalidParameter
from doorleaf.transfer.bson_file import ARCHIVE
from doorleaf.transfer.rows import CHUNK_BYTES, Unreadable

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"

FORMATS = {".ndjson": "ndjson", ".jsonl": "ndjson", ".json": "json", ".csv": "csv", ".tsv": "tsv", ".bson": "bson"}
"""What is in a file whose name ends so, also before ``.gz`` or ``.zst``."""

COMPRESSED = {".gz": "gzip", ".gzip": "gzip", ".zst": "zstd", ".zstd": "zstd"}

_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_SPACE = b" \t\r\n"
_DAMAGE = (EOFError, zlib.error, gzip.BadGzipFile, zstd.ZstdError)


class Source:
    """A file that is read from its beginning; ``size`` is how large it is, None where nobody knows.

    ``taken`` counts the bytes of the file itself, which are fewer than what is read of a compressed one.
    """

    def __init__(self, file: BinaryIO, name: str = "") -> None:
        self.name = name
        self._file = file
        self.size, self.stamp = _measured(file)
        self._counted = _Counted(file)
        self._plain: IO[bytes] = cast("IO[bytes]", io.BufferedReader(self._counted, CHUNK_BYTES))
        start = self._plain.peek(4)[:4]  # type: ignore[attr-defined]  # it is a BufferedReader
        if start[:2] == GZIP:
            self._plain = cast("IO[bytes]", gzip.GzipFile(fileobj=self._plain))
        elif start == ZSTD:
            self._plain = cast("IO[bytes]", zstd.ZstdFile(self._plain))
        self._begin = b""
        self._begin = self._more()
        if self._begin[:4] == ARCHIVE:
            raise Unreadable("the file is an archive of mongodump --archive; write it anew without --archive")
        if self._begin[:2] in _UTF16:
            raise Unreadable("the file is UTF-16; write it anew as UTF-8")

    @property
    def taken(self) -> int:
        """How many bytes of the file itself were read."""
        return self._counted.taken

    def read(self, size: int) -> bytes:
        """Read the file, decompressed; raises Unreadable where it is not as it was compressed."""
        if self._begin:
            begin, self._begin = self._begin, b""
            return begin
        return self._more(size)

    def _more(self, size: int = CHUNK_BYTES) -> bytes:
        try:
            return self._plain.read(size)
        except _DAMAGE as error:
            raise Unreadable(f"the compressed file is damaged or cut off: {str(error)[:200]}") from None

    def format(self) -> str:
        """The format by the file's name and by how it begins: ``json`` where there is one object on each line is
        ``ndjson``."""
        named = format_of(self.name)
        begin = self._begin.removeprefix(b"\xef\xbb\xbf").lstrip(_SPACE)
        if named == "" and begin[:1] in (b"{", b"["):
            named = "json"
        if named == "":
            raise InvalidParameter(f"--type: give one of {', '.join(sorted({*FORMATS.values()}))}")
        return "ndjson" if named == "json" and self.text == "lines" else named

    @property
    def text(self) -> str:
        """The shape of JSON by its beginning: ``array``, ``lines`` where the first line is a whole object, else
        ``objects``."""
        begin = self._begin.removeprefix(b"\xef\xbb\xbf").lstrip(_SPACE)
        if begin[:1] == b"[":
            return "array"
        return "lines" if _is_whole(begin.partition(b"\n")[0]) else "objects"

    def fingerprint(self) -> bytes:
        """A value that tells this file from others: its size, when it was changed, and how it begins."""
        if self.size is None:
            return os.urandom(16)
        return blake2b(repr((self.size, self.stamp)).encode() + self._begin[:65536], digest_size=16).digest()

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not sys.stdin.buffer:
            self._file.close()


class _Counted(io.RawIOBase):
    """The file itself, compressed as it may be. It knows no source, which nothing but a search for garbage would end
    then, and 512 KiB with it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.taken = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        chunk = self._file.read1(len(buffer))  # type: ignore[attr-defined]  # it is a BufferedReader
        self.taken += len(chunk)
        buffer[: len(chunk)] = chunk
        return len(chunk)


def _measured(file: BinaryIO) -> tuple[int | None, int]:
    """Size and time of a regular file; of anything else None and the time that it is."""
    with contextlib.suppress(OSError, ValueError):
        status = os.fstat(file.fileno())
        if status.st_mode & 0o170000 == 0o100000:
            return status.st_size, status.st_mtime_ns
    return None, time_ns()


def _is_whole(line: bytes) -> bool:
    """Whether a line is an object by itself, as far as its end tells."""
    line = line.rstrip(_SPACE)
    return line[:1] == b"{" and line[-1:] == b"}"


def format_of(name: str) -> str:
    """The format that the name of a file tells, "" for none."""
    path = Path(name)
    if path.suffix.lower() in COMPRESSED:
        path = path.with_suffix("")
    return FORMATS.get(path.suffix.lower(), "")


def compression_of(name: str) -> str:
    """``gzip``, ``zstd`` or "", by the name of a file."""
    return COMPRESSED.get(Path(name).suffix.lower(), "")


def metadata_beside(name: str) -> str:
    """The name of the file that ``mongodump`` writes beside the BSON file ``name``."""
    whole, dot, compressed = name.rpartition(".bson")
    return f"{whole}.metadata.json{compressed}" if dot else f"{name}.metadata.json"


def opened(name: str) -> Source:
    """The file called ``name`` to be read; ``-`` is standard input."""
    if name == "-":
        return Source(sys.stdin.buffer)
    file = open(name, "rb")  # noqa: SIM115  # the source closes it
    try:
        return Source(file, name)
    except BaseException:
        file.close()
        raise


class Sink:
    """A file that is written from its beginning, compressed by ``gzip``, ``zstd`` or not at all.

    A file on disk has its name only when it is whole: ``commit`` gives it.
    """

    def __init__(self, name: str, compression: str = "") -> None:
        self._name = name
        self.written = 0
        self._new: Path | None = None
        if name == "-":
            self._file: BinaryIO = sys.stdout.buffer
        else:
            self._new = Path(f"{name}.{os.getpid()}.part")
            self._file = open(self._new, "wb")  # noqa: SIM115  # commit or close ends it
        self._compress: Callable[[bytes], bytes] | None = None
        self._flush: Callable[[], bytes] = bytes
        if compression == "gzip":
            deflate = zlib.compressobj(6, zlib.DEFLATED, 31)
            self._compress, self._flush = deflate.compress, deflate.flush
        elif compression == "zstd":
            made = zstd.ZstdCompressor()
            self._compress, self._flush = made.compress, made.flush

    def write(self, data: bytes) -> None:
        """Write ``data``."""
        if self._compress is not None:
            data = self._compress(data)
        self._file.write(data)
        self.written += len(data)

    def commit(self) -> None:
        """All is written: give the file its name."""
        self._file.write(self._flush())
        self._file.flush()
        if self._new is not None:
            os.fsync(self._file.fileno())
            self._file.close()
            self._new.replace(self._name)
            self._new = None

    def close(self) -> None:
        """Let go of the file; one that was not committed is taken away."""
        if self._new is not None:
            self._file.close()
            self._new.unlink(missing_ok=True)


@contextlib.contextmanager
def sink(name: str, compression: str = "") -> Iterator[Sink]:
    """A :class:`Sink` that is committed where nothing goes wrong."""
    made = Sink(name, compression)
    try:
        yield made
        made.commit()
    finally:
        made.close()
