"""Documents as they travel: BSON bytes, and the one way to read them.

Row 0 of the imports: everything may use it, it uses nothing of ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Any

import bson
from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions, DatetimeConversion

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


class Documents:
    """A list of documents as BSON: each batch is one or more whole documents, end to end."""

    __slots__ = ("batches",)

    def __init__(self, batches: list[bytes]) -> None:
        self.batches = batches

    @classmethod
    def of(cls, documents: list[Document]) -> Documents:
        """Encode ``documents``, for whoever had to look inside."""
        return cls([bson.encode(document, codec_options=CODEC) for document in documents])

    def decode(self) -> list[Document]:
        """All documents as Python values, read with :data:`CODEC`."""
        decoded: list[Document] = []
        for batch in self.batches:
            decoded += bson.decode_all(batch, CODEC)
        return decoded

    def __iter__(self) -> Iterator[bytes]:
        for batch in self.batches:
            position, end = 0, len(batch)
            while position < end:
                size = int.from_bytes(batch[position : position + 4], "little")
                yield batch[position : position + size]
                position += size

    def __len__(self) -> int:
        return sum(1 for _ in self)


class Absent(Enum):
    """Tells "no value" from every BSON value, null included."""

    ABSENT = "absent"


ABSENT = Absent.ABSENT
