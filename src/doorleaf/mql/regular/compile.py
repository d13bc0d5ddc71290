"""Regular expressions as MongoDB has them (PCRE2), by the ``regex`` module, never past the deadline."""

from __future__ import annotations

import re
from typing import Any

from doorleaf.errors import DataError
from doorleaf.mql.context import Context, timed_out
from doorleaf.mql.regular.classes import invalid
from doorleaf.mql.regular.syntax import translate

_LENGTH_LIMIT = 32764
_TRANSLATED_LIMIT = 64 * 1024
"""Characters of a pattern in the other module's form, which takes up to ten microseconds for each to compile."""
_OPTIONS = frozenset("imsxu")
_LITERAL = re.compile(r"\^?(?:[^\\^$.|?*+()\[{\x00]|\\[^A-Za-z0-9\s])*")


class Regular:
    """A compiled regular expression: its source ``pattern`` and ``options``, and ways to look for it in a text."""

    __slots__ = ("_anchored", "_compiled", "_needle", "options", "pattern", "weight")

    def __init__(self, pattern: str, options: str) -> None:
        # Loaded with the first expression: a server that has none yet keeps one and a half megabytes.
        import regex  # type: ignore[import-untyped]  # the package ships no types

        self.pattern = pattern
        self.options = options
        self.weight = 256 + len(pattern)
        self._needle: str | None = None
        self._anchored = False
        if not set(options) & set("imx") and _LITERAL.fullmatch(pattern):
            self._anchored = pattern.startswith("^")
            self._needle = re.sub(r"\\(.)", r"\1", pattern[self._anchored :], flags=re.S)
        try:
            translated = translate(pattern, options)
            if len(translated) > _TRANSLATED_LIMIT:
                invalid("regular expression is too large")
            flags = regex.VERSION0 | (regex.IGNORECASE if "i" in options else 0)
            # What the module itself would keep has no bound in bytes.
            self._compiled: Any = regex.compile(translated, flags, cache_pattern=False)
            self.weight += len(translated)
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


class _Kept:
    """Compiled expressions, up to so many characters of what they were compiled from; then all of them go."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._size = 0
        self.found: dict[tuple[str, str], Regular] = {}

    def put(self, key: tuple[str, str], made: Regular) -> None:
        """Keep one."""
        self._size += made.weight
        if self._size > self._most:
            self._size = made.weight
            self.found.clear()
        self.found[key] = made


_kept = _Kept(512 * 1024)


def compile_regex(pattern: str, options: str = "") -> Regular:
    """Compile ``pattern`` with ``options`` out of ``imsxu``.

    Raises code 51108 for another option and 51091 for a pattern that is invalid or cannot be expressed.
    """
    key = (pattern, options)
    found = _kept.found.get(key)
    if found is not None:
        return found
    for option in options:
        if option not in _OPTIONS:
            raise DataError(f"invalid flag in regex options: {option}", number=51108)
    if "\x00" in pattern:
        raise DataError("Regular expression cannot contain an embedded null byte", number=2)
    if len(pattern) > _LENGTH_LIMIT:
        invalid(f"pattern is longer than {_LENGTH_LIMIT} characters")
    made = Regular(pattern, options)
    _kept.put(key, made)
    return made
