"""What a server says about itself: liveness, readiness, metrics, its OpenAPI document, and its pages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from doorleaf.dialects.base import Dialect, Reply, Request, Route, json
from doorleaf.errors import PermissionDenied

Assets = Mapping[str, tuple[bytes, bytes]]
"""Files by path: content type and content."""

_PAGE_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (
        b"content-security-policy",
        b"default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'",
    ),
)
_NOT_STORED = ((b"cache-control", b"no-store"),)


def site(
    *,
    ready: Callable[[], Awaitable[None]],
    metrics: Callable[[], bytes],
    metrics_type: bytes,
    openapi: Callable[[], bytes],
    assets: Assets,
    home: str,
) -> Dialect:
    """The dialect of a server's own pages.

    ``ready`` raises when requests would fail; ``home`` is where ``/`` leads. Metrics take a key with full rights, the
    rest is public.
    """

    async def live(request: Request) -> Reply:
        return Reply(200, json({"status": "alive"}), headers=_NOT_STORED)

    async def is_ready(request: Request) -> Reply:
        await ready()
        return Reply(200, json({"status": "ready"}), headers=_NOT_STORED)

    async def measured(request: Request) -> Reply:
        if not request.identity.admin:
            raise PermissionDenied("metrics take a key with full rights")
        return Reply(200, metrics(), metrics_type, _NOT_STORED)

    async def described(request: Request) -> Reply:
        return Reply(200, openapi())

    async def start(request: Request) -> Reply:
        return Reply(307, headers=((b"location", home.encode()),))

    routes = [
        Route("GET", "/", "home", handle=start, public=True),
        Route("GET", "/livez", "livez", handle=live, public=True),
        Route("GET", "/readyz", "readyz", handle=is_ready, public=True),
        Route("GET", "/metrics", "metrics", handle=measured),
        Route("GET", "/openapi.json", "openapi", handle=described, public=True),
    ]
    routes += [Route("GET", path, "page", handle=_page(*asset), public=True) for path, asset in assets.items()]
    return Dialect("site", tuple(routes))


def _page(content_type: bytes, content: bytes) -> Callable[[Request], Awaitable[Reply]]:
    async def page(request: Request) -> Reply:
        return Reply(200, content, content_type, _PAGE_HEADERS)

    return page
