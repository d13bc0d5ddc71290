"""Custom tokens: JSON Web Tokens of an issuer whom the settings trust.

The algorithm is the provider's, never the token's. A token needs ``sub``, which is the identity's id, ``exp`` and the
right audience. A verified token is remembered for a while, until it ends or the issuer's keys change.
"""

from __future__ import annotations

import json
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from doorleaf.access.identity.jwks import KINDS, IssuerKeys, require_strong
from doorleaf.documents import Document
from doorleaf.errors import Unauthenticated
from doorleaf.settings.providers import CustomToken

LONGEST = 1_000_000
"""Characters that a token may have."""
LONGEST_VALUE = 4096
"""Characters that a value copied to the user's data may have."""
REMEMBERED = 4096
TRUSTED_SECONDS = 300.0
"""After this long a remembered token is verified again, so that a key which the issuer withdrew ends."""
_UNCHECKED: Any = {f"verify_{name}": False for name in ("exp", "nbf", "iat", "aud", "iss", "sub", "jti")}
CLOCKS_DIFFER = 60
"""Seconds that a token may have been issued in the future."""


@dataclass(frozen=True, slots=True)
class Verified:
    """The claims of a token that are used: the identity's id, when it ends (seconds since 1970), and what goes into the
    user's data."""

    subject: str
    expires: float
    data: Mapping[str, Any]


class CustomTokens:
    """Verifies the tokens of one provider. ``audience`` is expected where the settings name none.

    ``clock`` gives seconds since 1970. ValueError for a key that is none.
    """

    def __init__(
        self, settings: CustomToken, *, audience: tuple[str, ...] = (), clock: Callable[[], float] = time.time
    ) -> None:
        self._settings = settings
        self._audience = frozenset(settings.audience or audience)
        # App ids are names of one app, so any of them will do.
        self._any_audience = settings.require_any_audience or not settings.audience
        self._clock = clock
        self._keys = tuple(_key(settings.algorithm, key.get_secret_value()) for key in settings.keys)
        self._issuer: IssuerKeys | None = None
        if settings.jwks_url is not None:
            self._issuer = IssuerKeys(settings.jwks_url, settings.algorithm, changed=self.forget)
        self._users: OrderedDict[bytes, tuple[str, float]] = OrderedDict()

    # --- remembered tokens ---

    def remembered(self, token: str) -> str | None:
        """The id of the user whom this token was verified for, unless that is too long ago or it has ended."""
        key = _place(token)
        found = self._users.get(key)
        if found is None:
            return None
        if self._clock() >= found[1]:
            del self._users[key]
            return None
        self._users.move_to_end(key)
        return found[0]

    def remember(self, token: str, user_id: str, verified: Verified) -> None:
        """Let :meth:`remembered` know that ``token`` stands for a user."""
        self._users[_place(token)] = (user_id, min(verified.expires, self._clock() + TRUSTED_SECONDS))
        if len(self._users) > REMEMBERED:
            self._users.popitem(last=False)

    def forget(self) -> None:
        """Forget all tokens, so that each is verified again."""
        self._users.clear()

    async def close(self) -> None:
        """Stop reading the issuer's keys."""
        if self._issuer is not None:
            await self._issuer.close()

    # --- verification ---

    async def verify(self, token: str, age: float = 0.0) -> Verified:
        """Verify ``token``, which was shown ``age`` seconds ago, and return its claims; Unauthenticated (AuthError)
        says why it is not believed.

        StoreUnavailable while the issuer's keys could never be read.
        """
        header = self._header(token)
        if self._issuer is None:
            candidates: tuple[Any, ...] = self._keys
        else:
            key_id = header.get("kid")
            if not isinstance(key_id, str):
                raise _refusal("the token names no key (kid)")
            found = await self._issuer.get(key_id)
            candidates = () if found is None else (found,)
        claims = self._signed(token, candidates)
        return Verified(self._subject(claims), self._times(claims, age), self._checked(claims))

    def _header(self, token: str) -> Document:
        if len(token) > LONGEST:
            raise _refusal(f"a token has at most {LONGEST} characters")
        if token.count(".") != 2 or token[:1] == "{":
            raise _refusal("not a JSON Web Token with one signature")
        try:
            header: Document = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError, RecursionError):
            raise _refusal("not a JSON Web Token with one signature") from None
        if header.get("alg") != self._settings.algorithm:
            raise _refusal(f"the token is not signed with {self._settings.algorithm}")
        if "crit" in header or "b64" in header or "enc" in header:
            raise _refusal("the token has extensions that are not supported")
        return header

    def _signed(self, token: str, candidates: tuple[Any, ...]) -> Document:
        """The claims of a token that one of ``candidates`` signed; times and audience are looked at by ourselves."""
        for key in candidates:
            try:
                claims: Document = jwt.decode(
                    token,
                    key,
                    algorithms=[self._settings.algorithm],
                    options=_UNCHECKED,
                )
            except jwt.InvalidSignatureError:
                continue
            except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
                raise _refusal("not a JSON Web Token with one signature") from None
            return claims
        raise _refusal("signature is invalid")

    def _subject(self, claims: Document) -> str:
        subject = claims.get("sub")
        if not isinstance(subject, str) or not 0 < len(subject) <= LONGEST_VALUE:
            raise _refusal("the token has no sub, which says whose it is")
        return subject

    def _times(self, claims: Document, age: float) -> float:
        now, leeway = self._clock(), self._settings.leeway_seconds
        expires = _seconds(claims, "exp")
        if expires is None:
            raise _refusal("the token has no exp, which says when it ends")
        if now - age >= expires + leeway:
            raise _refusal("token expired")
        begins, issued = _seconds(claims, "nbf"), _seconds(claims, "iat")
        if begins is not None and now + leeway < begins:
            raise _refusal("the token is not valid yet")
        if issued is not None and now + leeway + CLOCKS_DIFFER < issued:
            raise _refusal("the token was issued in the future")
        return expires + leeway

    def _checked(self, claims: Document) -> Document:
        """The user's data from ``claims``, once issuer, audience and required claims are as they must be."""
        settings = self._settings
        if settings.issuer is not None and claims.get("iss") != settings.issuer:
            raise _refusal("the token is of another issuer")
        listed = claims.get("aud")
        audience = listed if isinstance(listed, list) else [listed]
        present = {item for item in audience if isinstance(item, str)}
        if not (self._audience & present if self._any_audience else self._audience <= present):
            raise _refusal("the token is for another audience")
        for name in settings.required_claims:
            if claims.get(name) is None:
                raise _refusal(f"the token has no {name}")
        return self._data(claims)

    def _data(self, claims: Document) -> Document:
        data: Document = {}
        for item in self._settings.metadata_fields:
            value: Any = claims
            for part in item.path:
                value = value.get(part) if isinstance(value, dict) else None
            if value is None:
                if item.required:
                    raise _refusal(f"the token has no {item.name}")
                continue
            if len(value if isinstance(value, str) else json.dumps(value)) > LONGEST_VALUE:
                raise _refusal(f"the token's {item.name} has more than {LONGEST_VALUE} characters")
            data[item.target] = value
        return data


def _seconds(claims: Document, name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise _refusal(f"the token's {name} is no time")
    return float(value)


_CURVES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}


def _key(algorithm: str, text: str) -> Any:
    """The key for ``algorithm`` that ``text`` holds; ValueError for another kind of key."""
    if algorithm == "HS256":
        return text
    key = load_pem_public_key(text.encode())
    kind = ("", "")
    if isinstance(key, RSAPublicKey):
        kind = ("RSA", "")
    elif isinstance(key, EllipticCurvePublicKey):
        kind = ("EC", _CURVES.get(key.curve.name, ""))
    elif isinstance(key, Ed25519PublicKey):
        kind = ("OKP", "Ed25519")
    if kind != KINDS[algorithm]:
        raise ValueError(f"custom_token.keys: a key is of another kind than {algorithm} takes")
    return require_strong(key)


def _place(token: str) -> bytes:
    return sha256(token.encode("utf-8", "surrogatepass")).digest()


def _refusal(reason: str) -> Unauthenticated:
    return Unauthenticated(f"invalid custom token: {reason}", code="AuthError")
