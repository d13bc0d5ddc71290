"""What the workers of a process have done so far, in numbers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Counts:
    """The counts of what the pool has done so far, and of how it stands. Times are in seconds."""

    started: int = 0
    """Workers that were forked."""
    killed: int = 0
    """Those that were killed: past a deadline, or because their caller left."""
    lost: int = 0
    """Those that ended by themselves in the middle of an operation."""
    restarted: int = 0
    """Operations that were stopped to make room and began anew."""
    waited: float = 0.0
    """Time that operations waited for their turns."""
    running: int = 0
    waiting: int = 0
    held_bytes: int = 0
    """Bytes set aside for answers."""
