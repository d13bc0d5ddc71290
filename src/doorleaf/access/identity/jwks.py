"""The public keys of a token issuer, read from its JWKS URL.

They are kept, read again when they grow old or a token names an unknown key (not more often than every 30 seconds), and
stay as they were while the issuer cannot be reached.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
import urllib.request
from collections.abc import Callable, Mapping
from http.client import HTTPException, HTTPMessage
from typing import IO, Any

import jwt

from doorleaf.errors import StoreUnavailable

PAUSE = 30.0
"""Seconds between two readings because of unknown key ids."""
EAGER_PAUSE = 2.0
"""Seconds between two attempts while there are no keys at all."""
OLD = 300.0
"""Seconds after which keys are read again, so that one that the issuer withdrew ends."""
TIMEOUT = 5.0
MOST_BYTES = 512 * 1024
MOST_KEYS = 100

KINDS: Mapping[str, tuple[str, str]] = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), ("RSA", "")),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
}
"""The kind of key that an algorithm takes, and its curve."""

log = logging.getLogger("doorleaf.access")


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirects)


class IssuerKeys:
    """The keys at ``url`` that are for ``algorithm``; ``changed`` is called when they are no longer the same.

    ``clock`` gives seconds that only grow.
    """

    def __init__(
        self,
        url: str,
        algorithm: str,
        *,
        changed: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._algorithm = algorithm
        self._changed = changed
        self._clock = clock
        self._keys: Mapping[str, Any] = {}
        self._source: bytes = b""
        self._read_at = float("-inf")
        self._tried_at = float("-inf")
        self._reading: asyncio.Task[None] | None = None
        self._failing = False

    async def get(self, key_id: str) -> Any:
        """The key called ``key_id``, or None; StoreUnavailable while no keys could be read at all."""
        now = self._clock()
        if self._keys and now - self._read_at > OLD and now - self._tried_at > PAUSE:
            self._refresh()  # in the background: the keys that are there still serve
        if key_id not in self._keys and (
            self._reading is not None or now - self._tried_at > (PAUSE if self._keys else EAGER_PAUSE)
        ):
            await asyncio.shield(self._refresh())
        if not self._source:
            raise StoreUnavailable("the keys of the token issuer cannot be read")
        return self._keys.get(key_id)

    def _refresh(self) -> asyncio.Task[None]:
        if self._reading is None:
            self._tried_at = self._clock()
            self._reading = asyncio.create_task(self._read(), name="jwks")
        return self._reading

    async def _read(self) -> None:
        try:
            source = await asyncio.to_thread(self._fetch)
            if source != self._source:
                keys = _usable(source, self._algorithm)
                self._keys, self._source = keys, source
                self._changed()
            self._read_at, self._failing = self._clock(), False
        except (OSError, HTTPException, ValueError, jwt.PyJWTError, RecursionError) as error:
            if not self._failing:
                log.error("the keys of the token issuer cannot be read: %s", type(error).__name__)
            self._failing = True
        finally:
            self._reading = None

    def _fetch(self) -> bytes:
        request = urllib.request.Request(self._url, headers={"Accept": "application/json"})  # noqa: S310  # checked in settings
        with _OPENER.open(request, timeout=TIMEOUT) as answer:
            content: bytes = answer.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise ValueError("the key set is too large")
        return content

    async def close(self) -> None:
        """Stop reading."""
        if self._reading is not None:
            self._reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reading


def _usable(source: bytes, algorithm: str) -> dict[str, Any]:
    """The keys of a key set that may verify ``algorithm``, by id; others are passed over. ValueError for no key set."""
    content = json.loads(source)
    listed = content.get("keys") if isinstance(content, dict) else None
    if not isinstance(listed, list):
        raise ValueError("the answer is no key set")
    usable: dict[str, Any] = {}
    for item in listed[:MOST_KEYS]:
        if not isinstance(item, dict) or not isinstance(item.get("kid"), str):
            continue
        if (item.get("kty"), item.get("crv", "")) != KINDS[algorithm] or item.get("use", "sig") != "sig" or "d" in item:
            continue
        if item.get("alg", algorithm) != algorithm:
            continue
        with contextlib.suppress(jwt.PyJWTError, ValueError, TypeError, KeyError):
            usable[item["kid"]] = require_strong(jwt.PyJWK(item, algorithm).key)
    return usable


def require_strong(key: Any) -> Any:
    """``key``, unless it is an RSA key of fewer than 2048 bits: then ValueError."""
    if getattr(key, "key_size", 0) < 2048 and hasattr(key, "encrypt"):
        raise ValueError("an RSA key needs at least 2048 bits")
    return key
