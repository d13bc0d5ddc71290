"""Where the server listens, whom it answers in browsers, how much it holds at once, and what it logs."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import BaseModel, Field, field_validator

from doorleaf.settings.checks import Names


class ServerSettings(BaseModel):
    """Where the server listens, whom it answers in browsers, how much it holds at once, and what it logs."""

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=3000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    workers: int = Field(default=1, ge=1, le=256, description="Server processes.")
    public_url: str | None = Field(
        default=None,
        description="Where clients reach this server, such as `https://api.example.com`; without it, where they did.",
    )
    cors_origins: Names = Field(
        default=(),
        description="Origins whose pages may call from a browser, such as `https://example.com`; `*` is any.",
    )
    max_body_bytes: int = Field(default=17 * 1024 * 1024, ge=1024, description="Largest request body, in bytes.")
    body_memory_mb: int = Field(
        default=640,
        ge=64,
        description="MB that the bodies of requests may take together in each process, as they come and as what is "
        "read from them.",
    )
    max_streams: int = Field(
        default=100,
        ge=0,
        description="Most change streams open at once in each process, and most different ones of the database.",
    )
    max_connections: int = Field(
        default=4096,
        ge=0,
        description="Most connections open at once in each process, as far as the system lets it have files; "
        "0 is no limit of its own.",
    )
    max_connections_per_address: int = Field(
        default=256,
        ge=0,
        description="Most of them from one address; this machine and `trusted_proxies` may have any number. "
        "0 is no limit.",
    )
    lenient_lines: bool = Field(
        default=False,
        description="Whether lines of a request's head may end with LF alone, as those of some modems do. "
        "Not together with `trusted_proxies`, which could see other requests in the same bytes.",
    )
    grace_seconds: int = Field(
        default=30,
        ge=2,
        le=3600,
        description="Seconds after SIGTERM within which the server has ended; what is not done by then is a 503.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe events to log."
    )
    log_format: Literal["text", "json"] = Field(default="text", description="How a line of the log is written.")
    access_log: bool = Field(default=False, description="Log a line for every request.")

    @field_validator("public_url")
    @classmethod
    def _is_a_base(cls, url: str | None) -> str | None:
        if url is not None and not re.fullmatch(r"https?://[^/\s?#@]+(/[^\s?#]*[^\s?#/])?/?", url):
            raise ValueError("must look like https://api.example.com, without a query")
        return url.rstrip("/") if url else None

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if origin != "*" and not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^/\s]+", origin):
                raise ValueError(f"{origin!r} is not an origin, which looks like https://example.com")
        return origins
