"""How much there is in a value, as far as that decides where it is written."""

from __future__ import annotations

from typing import Any

from bson import DBRef, Regex

from doorleaf.apart import SMALL_BYTES
from doorleaf.documents import Documents

_VALUE_BYTES = 16
"""What any value takes at least when it is written, about."""


def is_small(value: Any) -> bool:
    """Whether there is less than :data:`doorleaf.apart.SMALL_BYTES` in it; no more of it than that is looked at."""
    left, waiting = SMALL_BYTES, [value]
    while waiting and left > 0:
        value = waiting.pop()
        left -= _VALUE_BYTES
        if isinstance(value, dict):
            if len(value) * _VALUE_BYTES > left:
                return False
            left -= sum(len(name) for name in value if isinstance(name, str))  # from Python others too, which are short
            waiting += value.values()
        elif isinstance(value, (list, tuple)):
            if len(value) * _VALUE_BYTES > left:
                return False
            waiting += value
        elif isinstance(value, (str, bytes)):
            left -= len(value)
            waiting.append(getattr(value, "scope", None))
        elif isinstance(value, Regex):
            left -= len(value.pattern)
        elif isinstance(value, (DBRef, Documents)):
            return False
    return left > 0
