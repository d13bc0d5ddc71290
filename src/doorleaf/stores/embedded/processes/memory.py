"""How much memory one operation may have in a worker."""

from __future__ import annotations

from doorleaf.errors import DataError

MEMORY = 128 * 1024 * 1024
"""Bytes that a worker may have beyond what it began with."""


def out_of_memory() -> DataError:
    """The error of an operation that needs more memory than one may have."""
    return DataError(
        f"the operation needs more than {MEMORY // 1024 // 1024} MiB of memory, the most that one may have", number=146
    )
