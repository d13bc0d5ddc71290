"""Triggers of a schedule."""

from __future__ import annotations

from doorleaf.functions.triggers.times import last_time, next_time, now
from doorleaf.functions.triggers.turn import Turn

LATE_SECONDS = 60.0
"""A moment that was missed by more than this is left out by a trigger that makes up for none."""
LOOK_SECONDS = 30.0
"""How often it is looked what the time is: a clock may be set."""


async def run(turn: Turn) -> None:
    """Call the function at each moment of the schedule. One call makes up for all moments that were missed."""
    trigger, after = turn.trigger, turn.record["at"]
    while True:
        due = next_time(trigger.schedule, after)
        while (left := (due - now()).total_seconds()) > 0:
            await turn.pause(min(left, LOOK_SECONDS))
        reached = last_time(trigger.schedule, now())
        if trigger.skips and -left > LATE_SECONDS:
            await turn.progress(at=reached)
        else:
            await turn.progress(at=reached, ran=await turn.deliver())
        after = reached
