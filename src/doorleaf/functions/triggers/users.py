"""Triggers of logins, and of users who come and go."""

from __future__ import annotations

from doorleaf.functions.triggers.turn import Turn

LOOK_SECONDS = 1.0
"""How often it is looked whether something has happened."""


async def run(turn: Turn) -> None:
    """Call the function with each event that waits for the trigger."""
    while True:
        ran = None
        for event in await turn.means.records.waiting(turn.trigger.name):
            ran = await turn.deliver(event["event"])
            await turn.means.records.told(event)
        if ran is None:
            await turn.pause(LOOK_SECONDS)
        else:
            await turn.progress(ran=ran)
