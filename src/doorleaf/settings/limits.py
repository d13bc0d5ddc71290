"""What nobody may do, how much everybody may, and what is recorded of it."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import BaseModel, Field, SecretStr, field_validator

from doorleaf.settings.checks import ANYWHERE, RATED, Names, check_network, check_quotas, check_rate


class LimitSettings(BaseModel):
    """Settings of what nobody may do, how much everybody may, and what is recorded of it."""

    run_command_allow: Names = Field(
        default=(), description="Commands that `runCommand` takes beside the harmless ones."
    )
    allow_output_stages: bool = Field(default=False, description="Whether pipelines may end in `$out` or `$merge`.")
    refuse_stages: Names = Field(default=(), description="Aggregation stages that are refused, such as `$lookup`.")
    allow_stages: Names = Field(default=(), description="The only aggregation stages allowed; empty allows all.")
    refuse_operators: Names = Field(
        default=(), description="Operators that are refused in filters, updates and pipelines, such as `$regex`."
    )
    ip_access_list: Names = Field(
        default=ANYWHERE, description="Addresses and CIDR blocks that may call; an empty list means nobody."
    )
    trusted_proxies: Names = Field(
        default=(), description="Addresses and CIDR blocks of proxies whose `X-Forwarded-For` is believed."
    )
    rate_limits: dict[str, str] = Field(
        default_factory=dict,
        description='Rates for each `key`, `user`, `address` and `data_source`, such as `key = "20/second;5000/hour"`. '
        "In the environment: a JSON object.",
    )
    login_rate: str = Field(
        default="20/minute",
        description="Rate of failed logins, wrong keys and registrations for each address; empty is no limit.",
    )
    redis_url: SecretStr | None = Field(
        default=None, description="A Redis where all processes count rates together; else each counts for itself."
    )
    max_concurrent_requests: int = Field(
        default=0, ge=0, description="Most requests of one caller at once in each process; 0 is no limit."
    )
    quotas: dict[str, int] = Field(
        default_factory=dict,
        description="What each key may use: `requests_per_day`, `requests_per_month`, `documents_per_day`, "
        "`documents_per_month`, `bytes_per_day`, `bytes_per_month`. In the environment: a JSON object.",
    )
    audit_file: Path | None = Field(
        default=None, description="File of JSON lines for who did what, as the audit has it."
    )
    audit_collection_days: int = Field(
        default=0, ge=0, le=36_500, description="Days to keep the same in the collection `audit`; 0 keeps none there."
    )
    audit_writes: bool = Field(default=False, description="Whether every write is audited too.")
    audit_functions: bool = Field(default=False, description="Whether every call of a function is audited too.")

    @field_validator("ip_access_list", "trusted_proxies")
    @classmethod
    def _are_networks(cls, blocks: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(check_network(block) for block in blocks)

    @field_validator("rate_limits")
    @classmethod
    def _are_rates(cls, rates: dict[str, str]) -> dict[str, str]:
        for name, rate in rates.items():
            if name not in RATED:
                raise ValueError(f"there is no rate for {name!r}; there are {', '.join(RATED)}")
            check_rate(rate)
        return rates

    @field_validator("login_rate")
    @classmethod
    def _is_a_rate(cls, rate: str) -> str:
        return check_rate(rate) if rate else ""

    @field_validator("redis_url")
    @classmethod
    def _is_redis(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and not url.get_secret_value().startswith(("redis://", "rediss://")):
            raise ValueError("must begin with redis:// or rediss://")
        return url

    @field_validator("quotas")
    @classmethod
    def _are_quotas(cls, quotas: dict[str, int]) -> dict[str, int]:
        check_quotas(quotas)
        return quotas

    @field_validator("refuse_stages", "allow_stages", "refuse_operators")
    @classmethod
    def _begin_with_a_dollar(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if not re.fullmatch(r"\$[A-Za-z]\w*", name):
                raise ValueError(f"{name!r} is not a name such as $lookup")
        return names
