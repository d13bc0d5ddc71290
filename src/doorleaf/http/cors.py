"""Cross-origin resource sharing: which browser pages may call."""

from __future__ import annotations

import re
from collections.abc import Collection

from doorleaf.dialects.base import Reply, Request
from doorleaf.errors import InvalidParameter, PermissionDenied

Headers = list[tuple[bytes, bytes]]

_METHODS = b"GET, HEAD, POST, PUT, PATCH, DELETE"
_HEADERS = b"Authorization, apiKey, api-key, email, password, jwtTokenString, Content-Type, Accept, X-Request-Id"
_EXPOSED = b"X-Request-Id, Retry-After, RateLimit, RateLimit-Policy, ETag, X-Correlation-Id, X-Idempotency-Replayed"
_TOKENS = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-, \t]{0,4096}")
"""Names of methods and headers (RFC 9110, 5.6.2), separated by commas."""

PREFLIGHT = b"access-control-request-method"
"""The header that makes an OPTIONS a preflight."""


class Cors:
    """Which browser pages may call: answers preflights and marks replies."""

    def __init__(self, origins: Collection[str]) -> None:
        self._any = "*" in origins
        self._origins = frozenset(origin.encode("latin-1", "replace") for origin in origins)

    def allows(self, origin: bytes | None) -> bool:
        """Whether pages of ``origin`` may call."""
        return origin is not None and (self._any or origin in self._origins)

    def marked(self, headers: Headers, request: Request) -> Headers:
        """``headers`` of an answer, with those that let the page that asked read it."""
        origin = request.headers.get(b"origin")
        vary = b"".join(b", " + value for name, value in headers if name == b"vary")
        marked = [header for header in headers if header[0] != b"vary"] if vary else headers
        marked.append((b"vary", b"Origin" + vary))
        if origin is not None and self.allows(origin):
            marked.append((b"access-control-allow-origin", b"*" if self._any else origin))
            marked.append((b"access-control-expose-headers", _EXPOSED))
        return marked

    def preflight(self, request: Request) -> Reply | None:
        """The answer to a preflight; None for an OPTIONS that is none."""
        origin = request.headers.get(b"origin")
        if origin is None or PREFLIGHT not in request.headers:
            return None
        if not self.allows(origin):
            raise PermissionDenied("pages of this origin may not call; the setting cors_origins lists those that may")
        method = request.headers[b"access-control-request-method"]
        names = request.headers.get(b"access-control-request-headers", b"")
        if not (_TOKENS.fullmatch(method) and _TOKENS.fullmatch(names)):
            raise InvalidParameter("the preflight asks for what is no method, or no header")
        # Whatever is asked for: routes say which methods they have, and a header that nobody knows is not looked at.
        allowed = (
            (b"access-control-allow-methods", _joined(_METHODS, method)),
            (b"access-control-allow-headers", _joined(_HEADERS, names)),
            (b"access-control-max-age", b"600"),
        )
        return Reply(204, headers=allowed)


def _joined(known: bytes, asked: bytes) -> bytes:
    """``known`` and what is ``asked`` for beside it, separated by commas."""
    lower = {name.strip() for name in known.lower().split(b",")}
    more = [name.strip() for name in asked.split(b",") if name.strip() and name.strip().lower() not in lower]
    return b", ".join([known, *more])
