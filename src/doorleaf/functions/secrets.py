"""The secrets of an app: kept in the system database, encrypted, and never shown again."""

from __future__ import annotations

import hashlib
import os
import re

from bson import Binary
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from doorleaf.access.callers import Tell, untold
from doorleaf.access.identity.tokens import signing_secret
from doorleaf.access.request import HttpRequest
from doorleaf.access.system_store import SystemStore
from doorleaf.errors import InvalidParameter, NotFound
from doorleaf.settings.model import Settings

COLLECTION = "secrets"
MOST_CHARACTERS = 500
FILE = "secrets.key"

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NONCE_BYTES = 12


class Secrets:
    """Secrets by name, in the system database, under AES-256-GCM with a key of its own.

    ``audit`` is told of changes.
    """

    def __init__(self, system: SystemStore, settings: Settings, audit: Tell = untold) -> None:
        self._system = system
        self._settings = settings
        self._audit = audit

    def _cipher(self) -> AESGCM:
        given = self._settings.secrets_key
        text = signing_secret(given.get_secret_value() if given else None, self._settings.data_dir, FILE)
        return AESGCM(hashlib.sha256(b"doorleaf secrets\0" + text).digest())

    async def set(self, name: str, value: str, *, by: HttpRequest | None = None) -> None:
        """Keep ``value`` under ``name``, whatever was there. InvalidParameter for what cannot be kept."""
        if not _NAME.fullmatch(name):
            raise InvalidParameter("name: a secret's name has up to 64 letters, digits, _ and -")
        if not value or len(value) > MOST_CHARACTERS:
            raise InvalidParameter(f"value: a secret has 1 to {MOST_CHARACTERS} characters")
        nonce = os.urandom(_NONCE_BYTES)
        sealed = nonce + self._cipher().encrypt(nonce, value.encode(), name.encode())
        await self._system.update(COLLECTION, {"_id": name}, {"$set": {"sealed": Binary(sealed)}}, upsert=True)
        self._audit("setSecret", target=name, by=by)

    async def names(self) -> list[str]:
        """The names of all secrets, in order."""
        return [document["_id"] for document in await self._system.find(COLLECTION, {}, sort={"_id": 1})]

    async def delete(self, name: str, *, by: HttpRequest | None = None) -> None:
        """Forget a secret. NotFound where there is none."""
        if not await self._system.delete(COLLECTION, {"_id": name}):
            raise NotFound(f"there is no secret {name[:100]!r}", code="SecretNotFound")
        self._audit("deleteSecret", target=name, by=by)

    async def all(self) -> dict[str, str]:
        """Every secret. InvalidParameter where one was sealed with another key."""
        documents = await self._system.find(COLLECTION, {}, sort={"_id": 1})
        if not documents:
            return {}
        cipher, found = self._cipher(), {}
        for document in documents:
            name, sealed = document["_id"], bytes(document["sealed"])
            try:
                opened = cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], name.encode())
            except InvalidTag:
                raise InvalidParameter(f"the secret {name!r} was sealed with another key; set it anew") from None
            found[name] = opened.decode()
        return found
