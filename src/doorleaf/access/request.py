"""What of an HTTP request rules and the audit read, and what ``%%request`` stands for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol
from urllib.parse import unquote_plus


class HttpRequest(Protocol):
    """The parts of a request that rules and the audit read. ``headers`` have lower-case names and single values;
    ``identity`` is None until the caller is known, and ``shown`` then has their credentials, if they had to show any,
    to the dialect ``surface``; ``audited`` is set once it was accounted for that it was refused or failed. ``answers``
    are those of functions that rules called, with the moments when they end."""

    id: str
    identity: Any
    shown: Any
    surface: str
    method: str
    headers: Mapping[bytes, bytes]
    address: str
    query: bytes
    audited: bool
    answers: dict[Any, tuple[bool, float]] | None


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


def raw_query(query: bytes) -> str:
    """The query as it came, without the parameter by which a caller shows a secret, however its name is written."""
    if not query:
        return ""
    parts = query.decode("latin-1").split("&")
    return "&".join(part for part in parts if not shows_secret(part))


def shows_secret(part: str) -> bool:
    """Whether a caller shows a secret by ``part`` of the query, however the parameter's name is written."""
    return unquote_plus(part.partition("=")[0]) == "secret"


def described(request: HttpRequest | None) -> Mapping[str, Any]:
    """``%%request`` of ``request``, without a secret in its query; nothing without one."""
    if request is None:
        return {}
    headers = Headers(request.headers)
    return {
        "httpMethod": request.method,
        "httpReferrer": ", ".join(headers.get("Referer", [])),
        "httpUserAgent": ", ".join(headers.get("User-Agent", [])),
        "rawQueryString": raw_query(request.query),
        "remoteIPAddress": request.address,
        "requestHeaders": headers,
    }
