"""The App Services app that is served: its rules, values, functions, triggers and secrets."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, SecretStr, field_validator

from doorleaf.settings.checks import Names, check_secret


class AppSettings(BaseModel):
    """The App Services app that is served: its rules, values, functions, triggers and secrets."""

    app: Path | None = Field(
        default=None,
        description="Folder of an exported App Services app whose functions and endpoints are served, and whose rules, "
        "values and providers count where no other setting says something. See [functions](functions.md).",
    )
    rules_dir: Path | None = Field(
        default=None,
        description="Folder of an exported App Services app whose rules, schemas, values and environment are used.",
    )
    rules: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="Rules by data source and `<database>.<collection>` (or `default`): `roles`, `filters`, `schema`.",
    )
    values: dict[str, Any] = Field(default_factory=dict, description="What `%%values` stands for in rules.")
    schema_validation: Literal["strict", "moderate", "off"] = Field(
        default="strict",
        description="How schemas of rules are applied: moderate lets a document that fails already be changed.",
    )
    functions_seconds: int = Field(default=30, ge=1, le=150, description="Time that one call of a function may take.")
    functions_memory_mb: int = Field(
        default=128, ge=32, le=4096, description="Memory of each JavaScript process for what functions make."
    )
    functions_processes: int = Field(
        default=2, ge=1, le=64, description="Most JavaScript processes of each worker; each runs one call at a time."
    )
    functions_calls: int = Field(
        default=100, ge=1, le=10_000, description="Most calls of functions at once in each worker; more are a 429."
    )
    functions_http_allow: Names = Field(
        default=(),
        description="Hosts that functions may send requests to, such as `api.example.com`, `*.example.com` or "
        "`api.example.com:8443`; addresses of this network are never reached.",
    )
    trigger_failures: int = Field(default=10, ge=1, le=1000, description="Failures in a row that suspend a trigger.")
    secrets_key: SecretStr | None = Field(
        default=None,
        description="Key that the app's secrets are encrypted with, at least 32 bytes; without it one is made in "
        "`data_dir`. Set it when several machines serve the same database.",
    )

    @field_validator("secrets_key")
    @classmethod
    def _encrypts_safely(cls, secret: SecretStr | None) -> SecretStr | None:
        return check_secret(secret)
