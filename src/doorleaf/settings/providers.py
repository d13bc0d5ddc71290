"""The settings that are tables of their own: the provider of custom tokens, and where users' custom data is."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Literal, get_args
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

ProviderName = Literal["api-key", "local-userpass", "custom-token", "anon-user", "custom-function"]
PROVIDERS: tuple[ProviderName, ...] = get_args(ProviderName)
"""Every way to authenticate."""

SURFACES = ("actions",)
"""The API surfaces that ``run_as`` may name."""


def is_loopback(host: str | None) -> bool:
    """Whether ``host`` is this machine, so that what goes there needs no encryption."""
    if host == "localhost":
        return True
    try:
        return host is not None and ip_address(host).is_loopback
    except ValueError:
        return False


class MetadataField(BaseModel):
    """One value of a custom token that is copied to the user's data."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=256)
    field_name: str | None = Field(default=None, min_length=1, max_length=63)
    required: bool = False

    @property
    def path(self) -> tuple[str, ...]:
        r"""The parts of ``name``, which is dotted; ``\.`` is a dot inside a part."""
        return tuple(part.replace("\\.", ".") for part in re.split(r"(?<!\\)\.", self.name))

    @property
    def target(self) -> str:
        """The name in the user's data: ``field_name``, else the last part of the path."""
        return self.field_name or self.path[-1]

    @model_validator(mode="after")
    def _is_a_path(self) -> MetadataField:
        if not all(self.path):
            raise ValueError(f"name: {self.name!r} has an empty part")
        if len(self.target) > 63 or self.target.startswith("$") or "." in self.target:
            raise ValueError(f"field_name: {self.target!r} names no field: up to 63 characters, no $ first, no dot")
        return self


class CustomToken(BaseModel):
    """Whose JSON Web Tokens are believed, and what is taken from them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    algorithm: Literal[
        "HS256", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
    ]
    keys: tuple[SecretStr, ...] = ()
    jwks_url: str | None = None
    audience: tuple[str, ...] = ()
    require_any_audience: bool = False
    issuer: str | None = None
    leeway_seconds: int = Field(default=0, ge=0, le=600)
    required_claims: tuple[str, ...] = ()
    metadata_fields: tuple[MetadataField, ...] = ()
    create_user_on_auth: bool = True

    @field_validator("jwks_url")
    @classmethod
    def _is_safe(cls, url: str | None) -> str | None:
        if url is not None:
            parts = urlsplit(url)
            if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname)):
                raise ValueError("must begin with https:// (http:// only to this machine)")
            if not parts.hostname or "@" in parts.netloc:
                raise ValueError("must name a host, and no user")
        return url

    @model_validator(mode="after")
    def _has_keys_that_fit(self) -> CustomToken:
        if bool(self.keys) == (self.jwks_url is not None):
            raise ValueError("needs either keys or jwks_url")
        for key in self.keys:
            text = key.get_secret_value()
            if self.algorithm == "HS256":
                if not re.fullmatch(r"[A-Za-z0-9_-]{32,512}", text):
                    raise ValueError("keys: a key for HS256 has 32 to 512 ASCII letters, digits, _ and -")
            elif "-----BEGIN PUBLIC KEY-----" not in text:
                raise ValueError(f"keys: a key for {self.algorithm} is a public key in PEM")
        if self.algorithm == "HS256" and self.jwks_url is not None:
            raise ValueError("jwks_url: HS256 has no public keys")
        return self


class CustomUserData(BaseModel):
    """The collection with a document for each user, and the field of it that holds the user's id."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    database: str = Field(min_length=1)
    collection: str = Field(min_length=1)
    user_id_field: str = Field(min_length=1)
    data_source: str | None = None
