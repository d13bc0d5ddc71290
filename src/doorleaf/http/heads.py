"""The parts of a request's head that need more than a look."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import unquote, unquote_to_bytes

from doorleaf.access.request import shows_secret
from doorleaf.errors import InvalidParameter

_SINGLE = frozenset(
    {b"authorization", b"apikey", b"api-key", b"email", b"password", b"jwttokenstring"}
    | {b"content-length", b"content-encoding", b"host", b"origin", b"x-request-id"}
)
"""Headers that may come once: two of them is a way to show a proxy one thing and us another."""

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._~:/+=-]{1,128}")
_SECRETS = (b"authorization", b"apikey", b"api-key", b"x-api-key", b"password", b"jwttokenstring", b"cookie")
_WORD = re.compile(rb"[A-Za-z0-9._~+=-]{16,}")
_SHORT = 6
"""Characters from which on a password or secret is no part of an id by chance; a shorter one may not be all of it."""


def id_of(headers: Mapping[bytes, bytes], target: bytes) -> str | None:
    """The id that a request brings for ``target``, its path and query.

    None for one that is no id, and for one that repeats what may be a credential of the request: ids are in answers and
    in logs, and some gateways make them of the address that was asked for.
    """
    given = headers.get(b"x-request-id")
    if not given or _REQUEST_ID.fullmatch(given) is None:
        return None
    shown = [headers[name] for name in _SECRETS if name in headers]
    if any(word in given for value in (unquote_to_bytes(target), *shown) for word in _WORD.findall(value)):
        return None
    for secret in (*shown, *_secrets_of(target)):
        whole = secret.rpartition(b" ")[2]  # without what says that it is a bearer
        if whole == given or (len(whole) >= _SHORT and whole in given):
            return None
    return given.decode()


def _secrets_of(target: bytes) -> Iterator[bytes]:
    """What the query of ``target`` shows as a secret, however that is written."""
    for part in target.partition(b"?")[2].decode("latin-1").split("&"):
        if shows_secret(part):
            yield unquote_to_bytes(part.partition("=")[2].replace("+", " ").encode("latin-1"))


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
