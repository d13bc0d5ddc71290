"""The three ways to write an answer, and the choice by ``Accept``."""

from __future__ import annotations

from enum import Enum
from functools import lru_cache


class Mode(Enum):
    """How BSON values become JSON; the value is the answer's content type.

    ``PLAIN`` is JSON for people and programs that know no BSON: ids and dates are strings. ``CANONICAL`` keeps every
    type, the envelope's numbers included. ``RELAXED`` keeps types where plain JSON has none, and numbers stay numbers.
    """

    PLAIN = "application/json"
    CANONICAL = "application/ejson"
    RELAXED = "application/ejson; mode=relaxed"


def mode_of(accept: str | bytes | None) -> Mode:
    """The mode that an ``Accept`` header asks for.

    The media range with the highest quality decides, a named type goes before a wildcard, then the first one wins.
    Without the header, and for types that are not served, the answer is plain.
    """
    if not accept:
        return Mode.PLAIN
    return _mode_of(accept.decode("latin-1") if isinstance(accept, bytes) else accept)


@lru_cache(maxsize=256)
def _mode_of(accept: str) -> Mode:
    best, chosen = (0.0, False), Mode.PLAIN
    for media_range in accept.lower().split(","):
        name, *written = (part.strip() for part in media_range.split(";"))
        parameters = dict(_parameter(item) for item in written)
        mode = Mode.PLAIN
        if name == "application/ejson":
            mode = Mode.RELAXED if parameters.get("mode") == "relaxed" else Mode.CANONICAL
        elif name not in ("application/json", "application/*", "*/*"):
            continue
        rank = (_quality(parameters.get("q", "1")), "*" not in name)
        if rank[0] > 0 and rank > best:
            best, chosen = rank, mode
    return chosen


def _parameter(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name.strip(), value.strip().strip('"')


def _quality(text: str) -> float:
    try:
        quality = float(text)
    except ValueError:
        return 0.0
    return quality if 0 <= quality <= 1 else 0.0
