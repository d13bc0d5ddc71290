"""Regular expressions as MongoDB has them (PCRE2), by the ``regex`` module, never past the deadline."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import regex  # type: ignore[import-untyped]  # the package ships no types

from doorleaf.errors import DataError
from doorleaf.mql.context import Context, timed_out
from doorleaf.mql.regular_classes import invalid
from doorleaf.mql.regular_syntax import translate

_LENGTH_LIMIT = 32764
_OPTIONS = frozenset("imsxu")
_LITERAL = re.compile(r"\^?(?:[^\\^$.|?*+()\[{\x00]|\\[^A-Za-z0-9\s])*")


class Regular:
    """A compiled regular expression: its source ``pattern`` and ``options``, and ways to look for it in a text."""

    __slots__ = ("_anchored", "_compiled", "_needle", "options", "pattern")

    def __init__(self, pattern: str, options: str) -> None:
        self.pattern = pattern
        self.options = options
        self._needle: str | None = None
        self._anchored = False
        if not set(options) & set("imx") and _LITERAL.fullmatch(pattern):
            self._anchored = pattern.startswith("^")
            self._needle = re.sub(r"\\(.)", r"\1", pattern[self._anchored :], flags=re.S)
        try:
            self._compiled: Any = regex.compile(
                translate(pattern, options), regex.VERSION0 | (regex.IGNORECASE if "i" in options else 0)
            )
        except RecursionError:
            invalid("parentheses are too deeply nested")
        except (regex.error, OverflowError, ValueError) as error:
            invalid(str(error))

    def matches(self, text: str, context: Context) -> bool:
        """Whether the expression matches anywhere in ``text``."""
        if self._needle is not None:
            return text.startswith(self._needle) if self._anchored else self._needle in text
        return self.find(text, context) is not None

    def find(self, text: str, context: Context, start: int = 0) -> Any:
        """The first ``regex.Match`` at or after character ``start``, or None; raises StoreTimeout at the deadline."""
        try:
            return self._compiled.search(text, start, timeout=context.remaining())
        except TimeoutError:
            raise timed_out() from None

    @property
    def prefix(self) -> str | None:
        """The text that every match begins with when the pattern is nothing but ``^text``, for index bounds."""
        return self._needle if self._anchored else None


@lru_cache(maxsize=1024)
def compile_regex(pattern: str, options: str = "") -> Regular:
    """Compile ``pattern`` with ``options`` out of ``imsxu``.

    Raises code 51108 for another option and 51091 for a pattern that is invalid or cannot be expressed.
    """
    for option in options:
        if option not in _OPTIONS:
            raise DataError(f"invalid flag in regex options: {option}", number=51108)
    if "\x00" in pattern:
        raise DataError("Regular expression cannot contain an embedded null byte", number=2)
    if len(pattern) > _LENGTH_LIMIT:
        invalid(f"pattern is longer than {_LENGTH_LIMIT} characters")
    return Regular(pattern, options)
