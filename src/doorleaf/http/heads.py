"""The parts of a request's head that need more than a look."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import unquote

from doorleaf.errors import InvalidParameter

_SINGLE = frozenset(
    {b"authorization", b"apikey", b"api-key", b"email", b"password", b"jwttokenstring"}
    | {b"content-length", b"content-encoding", b"host", b"origin", b"x-request-id"}
)
"""Headers that may come once: two of them is a way to show a proxy one thing and us another."""


def segments(raw_path: bytes) -> tuple[str, ...] | None:
    """The decoded segments of a path in which some slash is no border; None where every one is."""
    if b"%2f" not in raw_path.lower():
        return None
    return tuple(unquote(part) for part in raw_path.decode("ascii", "replace").split("/")[1:])


def repeated_headers(listed: Iterable[tuple[bytes, bytes]]) -> dict[bytes, list[bytes]]:
    """The values of each header that came more than once, in their order."""
    found: dict[bytes, list[bytes]] = {}
    for name, value in listed:
        found.setdefault(name, []).append(value)
    return {name: values for name, values in found.items() if len(values) > 1}


def joined_headers(listed: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Headers with repeated names joined by commas; those that must be single are refused."""
    joined: dict[bytes, bytes] = {}
    for name, value in listed:
        if name in joined:
            if name in _SINGLE:
                raise InvalidParameter(f"the header {name.decode()} came twice")
            value = joined[name] + b", " + value
        joined[name] = value
    return joined
