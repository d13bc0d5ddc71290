"""Logs users in by whom they say they are."""

import asyncio
from typing import Any


async def main(shown: dict[str, Any], context: Any) -> dict[str, Any] | None:
    if shown["ticket"] == "wrong":
        return None
    if shown["ticket"] == "slow":
        await asyncio.sleep(0.3)
    return {"id": shown["ticket"]}
