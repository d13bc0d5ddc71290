"""The request at hand, for rules: what ``%%request`` stands for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any, Protocol


class HttpRequest(Protocol):
    """What of a request rules and the audit look at. ``headers`` have lower-case names and single values;
    ``identity`` is None until the caller is known."""

    id: str
    identity: Any
    method: str
    headers: Mapping[bytes, bytes]
    address: str
    query: bytes


REQUEST: ContextVar[HttpRequest | None] = ContextVar("doorleaf_request", default=None)
"""The HTTP request being served; None outside of one."""


class Headers(Mapping[str, list[str]]):
    """Headers as App Services gives them, each name with a list of values; names in whatever case."""

    def __init__(self, headers: Mapping[bytes, bytes]) -> None:
        self._headers = headers

    def __getitem__(self, name: str) -> list[str]:
        # A header that came several times was joined, as HTTP has it, with commas; both readings of it are there.
        value = self._headers[name.lower().encode("latin-1", "replace")].decode("latin-1")
        return [value, *value.split(", ")] if ", " in value else [value]

    def __iter__(self) -> Iterator[str]:
        """The names as HTTP writes them: ``X-Secret-Key``."""
        return ("-".join(part.capitalize() for part in name.decode("latin-1").split("-")) for name in self._headers)

    def __len__(self) -> int:
        return len(self._headers)


def described() -> Mapping[str, Any]:
    """``%%request`` of the request being served; nothing outside of one."""
    request = REQUEST.get()
    if request is None:
        return {}
    headers = Headers(request.headers)
    return {
        "httpMethod": request.method,
        "httpReferrer": ", ".join(headers.get("Referer", [])),
        "httpUserAgent": ", ".join(headers.get("User-Agent", [])),
        "rawQueryString": request.query.decode("latin-1"),
        "remoteIPAddress": request.address,
        "requestHeaders": headers,
    }
