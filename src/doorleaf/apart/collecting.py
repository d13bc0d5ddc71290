"""Python's search for objects that only each other hold, kept out of what is long.

It goes over all that was made of late and holds the interpreter meanwhile: a fifth of a second for a body of a megabyte
that is a tree of small objects. No request leaves any of these, so a server pauses the search in long work, and what
that has made is kept out of it until :func:`settle`.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_lock = threading.Lock()
_settled = False
"""Whether this process is a server, which looks from time to time whether it is due."""
_pauses = 0
_kept = 0
"""How much work has left something that is kept out of the search."""

MANY = 1_000
"""Work after which all is to be searched: it takes a tenth of a second, and finds nothing but what nobody foresaw."""


def undisturbed(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call ``work``, and have nobody search meanwhile, in any thread."""
    global _pauses, _kept
    if not _settled:
        return work(*args, **kwargs)
    with _lock:
        _pauses += 1
        gc.disable()
    try:
        return work(*args, **kwargs)
    finally:
        with _lock:
            _pauses -= 1
            _kept += 1
            gc.freeze()  # which looks at nothing
            if not _pauses:
                gc.enable()


def settle() -> None:
    """Search all there is, and keep what stays out of every later search."""
    global _settled, _kept
    _settled, _kept = True, 0
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def is_due() -> bool:
    """Whether much was kept out of the search since the last time that all was searched."""
    return _kept >= MANY
