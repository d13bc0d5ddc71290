"""The ways to write an answer, and the choice by ``Accept``."""

from __future__ import annotations

from enum import Enum
from functools import lru_cache


class Mode(Enum):
    """How BSON values become JSON; the value is the answer's content type, but for ``ATLAS``, ``BARE`` and
    ``JAVASCRIPT``.

    ``PLAIN`` is JSON for people and programs that know no BSON: ids and dates are strings. ``CANONICAL`` keeps every
    type, the envelope's numbers included. ``RELAXED`` keeps types where plain JSON has none, and numbers stay numbers.
    ``ATLAS`` is plain JSON as Go's encoder writes it: a whole double has no point, and a whole second no fraction.
    ``BARE`` is plain JSON for clients that expect no objects in the place of values: binary is its base64, and NaN and
    infinities are null. ``JAVASCRIPT`` is ``RELAXED`` but for integers beyond 2**53, which keep their type: no number
    of JavaScript is one.
    """

    PLAIN = "application/json"
    CANONICAL = "application/ejson"
    RELAXED = "application/ejson; mode=relaxed"
    ATLAS = "atlas"
    BARE = "bare"
    JAVASCRIPT = "javascript"

    __hash__ = object.__hash__  # that of enumerations is written in Python, and tables of modes are asked each time

    @property
    def content_type(self) -> bytes:
        """The content type of an answer in this mode."""
        return (Mode.PLAIN.value if self in (Mode.ATLAS, Mode.BARE) else self.value).encode()


LINES = b"application/x-ndjson"
"""The content type of an answer that has a document on each line."""


def mode_of(accept: str | bytes | None, silent: Mode = Mode.PLAIN) -> Mode:
    """The mode that an ``Accept`` header asks for.

    The media range with the highest quality decides, a named type goes before a wildcard, then the first one wins.
    Without the header, for wildcards, and for types that are not served, the answer is in the mode ``silent``.
    """
    return _asked(accept, silent)[0] if accept else silent


def bare_mode_of(accept: str | bytes | None) -> Mode:
    """The mode that an ``Accept`` header asks for, with ``BARE`` for plain JSON."""
    mode = mode_of(accept)
    return Mode.BARE if mode is Mode.PLAIN else mode


def lines_of(accept: bytes | None, silent: Mode = Mode.PLAIN) -> Mode | None:
    """The mode of each line where an ``Accept`` header asks for a document a line, which ``mode`` says (``plain``,
    ``relaxed`` or ``canonical``), else ``silent``; None where it asks for something else."""
    if not accept or b"json" not in accept:
        return None
    mode, lines = _asked(accept, silent)
    return mode if lines else None


def lines_type(mode: Mode) -> bytes:
    """The content type of an answer with a document a line in ``mode``."""
    if mode in (Mode.PLAIN, Mode.ATLAS, Mode.BARE):
        return LINES
    return LINES + b"; mode=" + mode.name.lower().encode()


def _asked(accept: str | bytes, silent: Mode) -> tuple[Mode, bool]:
    text = accept.decode("latin-1") if isinstance(accept, bytes) else accept
    return _remembered(text, silent) if len(text) <= _LONGEST else _choice(text, silent)


def _choice(accept: str, silent: Mode) -> tuple[Mode, bool]:
    """The mode, and whether each document is to be a line."""
    best, chosen = (0.0, False), (silent, False)
    for media_range in accept.lower().split(",", _MOST)[:_MOST]:
        name, *written = (part.strip() for part in media_range.split(";"))
        parameters = dict(_parameter(item) for item in written)
        mode: Mode | None = Mode.PLAIN if name == "application/json" else silent
        if name == "application/ejson":
            mode = Mode.RELAXED if parameters.get("mode") == "relaxed" else Mode.CANONICAL
        elif name == "application/x-ndjson":
            mode = _MODES.get(parameters["mode"]) if "mode" in parameters else silent
        elif name not in ("application/json", "application/*", "*/*"):
            continue
        rank = (_quality(parameters.get("q", "1")), "*" not in name)
        if rank[0] > 0 and rank > best and mode is not None:
            best, chosen = rank, (mode, name == "application/x-ndjson")
    return chosen


_MODES = {mode.name.lower(): mode for mode in (Mode.PLAIN, Mode.RELAXED, Mode.CANONICAL)}

_LONGEST = 256
"""Characters of a header that is remembered."""

_MOST = 100
"""Media ranges of a header that are looked at."""

_remembered = lru_cache(maxsize=256)(_choice)


def _parameter(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name.strip(), value.strip().strip('"')


def _quality(text: str) -> float:
    try:
        quality = float(text)
    except ValueError:
        return 0.0
    return quality if 0 <= quality <= 1 else 0.0
