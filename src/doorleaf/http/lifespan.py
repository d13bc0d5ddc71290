"""The lifespan protocol of ASGI: opening before the first request, and closing after the last."""

from __future__ import annotations

from typing import Protocol

from doorleaf.http.body import Receive, Send


class Opened(Protocol):
    """The parts that are open while requests are served; both answer False when they fail, which is logged."""

    async def open(self) -> bool: ...

    async def close(self) -> bool: ...


async def lives(what: Opened, receive: Receive, send: Send) -> None:
    """Open ``what`` when the server begins, and close it when that ends."""
    await receive()
    if not await what.open():
        await send({"type": "lifespan.startup.failed", "message": ""})
        return
    await send({"type": "lifespan.startup.complete"})
    await receive()
    closed = await what.close()
    await send({"type": f"lifespan.shutdown.{'complete' if closed else 'failed'}", "message": ""})
