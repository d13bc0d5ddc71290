"""Documents as they travel: BSON bytes, and the one way to read them.

Row 0 of the imports: everything may use it, it uses nothing of ours.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from enum import Enum
from struct import Struct
from time import time
from typing import Any, TypeGuard, overload

import bson
from bson import ObjectId
from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.errors import InvalidBSON

Document = dict[str, Any]
Pipeline = list[Document]

CODEC: CodecOptions[Document] = CodecOptions(
    document_class=dict,
    tz_aware=False,
    uuid_representation=UuidRepresentation.UNSPECIFIED,
    unicode_decode_error_handler="replace",
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,
)
"""How BSON is read everywhere: dates are naive UTC ``datetime``, or ``DatetimeMS`` outside years 1 to 9999."""


_SHORTEST = 5
_TOO_SHORT = "a document has 5 bytes at least"


def is_string(value: Any) -> TypeGuard[str]:
    """Whether ``value`` is a BSON string. The one test of that: ``bson.Code`` is a ``str`` too, and unhashable."""
    return value.__class__ is str


_ID = Struct(">IQ").pack


class _Ids:
    """What ids of this process have in common, five random bytes, and a counter of three that begins anywhere."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        self.own = int.from_bytes(os.urandom(5), "big") << 24
        self.next = itertools.count(int.from_bytes(os.urandom(3), "big")).__next__


_IDS = _Ids()
os.register_at_fork(after_in_child=_IDS.renew)


def new_id() -> ObjectId:
    """A new id, made as ``ObjectId()`` makes it, which asks the system each time whether the process is the same."""
    return ObjectId(_ID(int(time()), _IDS.own | _IDS.next() & 0xFFFFFF))


class Exact(dict[str, Any]):
    """A document with the BSON that it was read from, which is what is written: byte for byte, also where Python has
    no type for a value. Nobody changes it.

    Where one is encoded by itself or inside of another, the driver takes ``raw`` as it is, by ``_type_marker``; of one
    that it is asked to put in it takes the values.
    """

    __slots__ = ("raw",)
    _type_marker = 101

    def __init__(self, raw: bytes, values: Document | None = None) -> None:
        """Read ``raw``, unless what it says is known already: ``values``."""
        super().__init__(bson.decode(raw, CODEC) if values is None else values)
        self.raw = raw


class Encoded(Sequence[Document]):
    """Documents to be put in, as the BSON that they become, each with its ``_id`` first, which is known.

    Whoever looks inside gets values; who hands them on takes ``raw``, and reads nothing.
    """

    __slots__ = ("ids", "raw")

    def __init__(self, raw: list[bytes], ids: list[Any]) -> None:
        self.raw = raw
        self.ids = ids

    def __len__(self) -> int:
        return len(self.raw)

    @overload
    def __getitem__(self, place: int) -> Document: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Document]: ...
    def __getitem__(self, place: int | slice) -> Document | Sequence[Document]:
        if isinstance(place, slice):
            return Encoded(self.raw[place], self.ids[place])
        return bson.decode(self.raw[place], CODEC)


def ids_of(documents: Sequence[Document]) -> list[Any]:
    """The ``_id`` of each of ``documents`` that has one."""
    if isinstance(documents, Encoded):
        return documents.ids
    return [document["_id"] for document in documents if "_id" in document]


class Documents:
    """A list of documents as BSON: each batch is one or more whole documents, end to end.

    Whoever had to look inside hands on what it ``decoded``, so that nothing is decoded twice.
    """

    __slots__ = ("_batches", "_count", "_source", "decoded")

    def __init__(self, batches: list[bytes], decoded: list[Document] | None = None) -> None:
        self._batches: list[bytes] | None = batches
        self._source: list[bytes] | None = None
        self._count = -1
        self.decoded = decoded

    @classmethod
    def each(cls, documents: list[bytes]) -> Documents:
        """The same of single documents."""
        made = cls(documents)
        made._count = len(documents)
        return made

    @classmethod
    def decoded_as(cls, documents: list[Document], source: list[bytes] | None = None) -> Documents:
        """The same from Python values; they become BSON only when somebody asks for it.

        ``source`` is BSON that has all of their values and maybe more.
        """
        made = cls([], documents)
        made._batches, made._source = None, source
        return made

    @property
    def source(self) -> list[bytes]:
        """BSON that has every value of these documents, and maybe some that are not theirs: only for looking."""
        return self._source if self._source is not None else self.batches

    @property
    def encoded(self) -> bool:
        """Whether the documents are there as BSON."""
        return self._batches is not None

    @property
    def batches(self) -> list[bytes]:
        if self._batches is None:
            self._batches = [bson.encode(document, codec_options=CODEC) for document in self.decoded or ()]
        return self._batches

    def decode(self) -> list[Document]:
        """All documents as Python values, read with :data:`CODEC`; who changes them makes other Documents of them."""
        if self.decoded is None:
            decoded: list[Document] = []
            for batch in self.batches:
                decoded += bson.decode_all(batch, CODEC)
            self.decoded = decoded
        return self.decoded

    @property
    def size(self) -> int:
        """Bytes of BSON, as far as they are there; what is not there has none."""
        return sum(map(len, self._batches or ()))

    def parts(self, size: int, count: int) -> Iterator[Documents]:
        """The same documents in order, in parts of about ``size`` bytes, or of ``count`` where they are no BSON."""
        if self._batches is None:
            documents = self.decoded or []
            for start in range(0, len(documents), count):
                yield Documents.decoded_as(documents[start : start + count])
            return
        for batch in self._batches:
            begin = position = 0
            while position < len(batch):
                length = int.from_bytes(batch[position : position + 4], "little")
                if length < _SHORTEST:
                    raise InvalidBSON(_TOO_SHORT)
                position += length
                if position - begin >= size or position >= len(batch):
                    yield Documents([batch[begin:position]])
                    begin = position

    def first(self) -> bytes | Document | None:
        """The first document, as Python values if they are there already."""
        if self.decoded is not None:
            return self.decoded[0] if self.decoded else None
        return next(iter(self), None)

    def __iter__(self) -> Iterator[bytes]:
        for batch in self.batches:
            position, end = 0, len(batch)
            while position < end:
                size = int.from_bytes(batch[position : position + 4], "little")
                if size < _SHORTEST:
                    raise InvalidBSON(_TOO_SHORT)
                yield batch[position : position + size]
                position += size

    def __len__(self) -> int:
        if self.decoded is not None:
            return len(self.decoded)
        if self._count < 0:
            self._count = sum(map(_count, self.batches))
        return self._count

    def few(self, most: int) -> Documents:
        """The first ``most`` of them."""
        if len(self) <= most:
            return self
        batches = self.batches
        return Documents.each(batches[:most] if len(batches) == len(self) else [*self][:most])


def _count(batch: bytes) -> int:
    count, position, end = 0, 0, len(batch)
    while position < end:
        size = int.from_bytes(batch[position : position + 4], "little")
        if size < _SHORTEST:
            raise InvalidBSON(_TOO_SHORT)
        position += size
        count += 1
    return count


class Absent(Enum):
    """Tells "no value" from every BSON value, null included."""

    ABSENT = "absent"


ABSENT = Absent.ABSENT
