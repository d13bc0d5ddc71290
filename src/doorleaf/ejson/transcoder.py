"""The native part, ``native/*.c``: None where the package was built without a compiler."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any

import bson

from doorleaf.documents import CODEC

native: ModuleType | None
try:
    native = import_module("doorleaf.ejson._transcode")
    # One that was built from other sources is none.
    native.bson, native.document, native.documents, native.encode  # noqa: B018
    native.give_back, native.reply, native.request, native.values, native.without  # noqa: B018
except (ImportError, AttributeError):
    native = None


Without = Callable[[list[bytes], bytes], list[bytes | None]]

without: Without | None = None if native is None else native.without
"""Documents without the elements that are the last of each, None in the place of one that has others there."""


def encode(document: dict[str, Any]) -> bytes:
    """A document as BSON, as ``bson.encode`` makes it with :data:`doorleaf.documents.CODEC`, at a fifth of the time.

    Raises what that raises: BSONError, OverflowError, RecursionError.
    """
    if native is not None:
        written: bytes | None = native.encode(document)
        if written is not None:
            return written
    return bson.encode(document, codec_options=CODEC)
