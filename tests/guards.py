"""A guard that is a function of a test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from doorleaf.documents import Document


@dataclass(frozen=True)
class Looks:
    """Calls ``look`` with each document before and after the write, in this process and however long it takes."""

    look: Callable[[Any, Any], Any]
    portable: bool = False
    small: bool = False
    sufficient: Document | None = None

    def __call__(self, before: Document | None, after: Document | None) -> None:
        self.look(before, after)
