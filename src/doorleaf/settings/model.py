"""Every setting once: its name, type, default, bounds and meaning. :mod:`doorleaf.settings.load` reads them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    BeforeValidator,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from doorleaf.operations.places import Places
from doorleaf.settings.checks import (
    ANYWHERE,
    MINIMUM_SECRET_BYTES,
    RATED,
    check_network,
    check_quotas,
    check_rate,
)
from doorleaf.settings.providers import PROVIDERS, SURFACES, CustomToken, CustomUserData, check_providers
from doorleaf.settings.sources import DataSource, check_sources, mongodb_uri


def _separated(value: Any) -> Any:
    """A variable's text as a list: a JSON array is left to the parser, anything else is split at commas."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_separated)]


class Settings(BaseSettings):
    """Everything that can be set.

    Made by :func:`doorleaf.settings.load.load`; ``Settings(name=value)`` reads nothing but its arguments.
    """

    model_config = SettingsConfigDict(extra="forbid", frozen=True, env_prefix="DOORLEAF_", validate_default=False)

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=3000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    workers: int = Field(default=1, ge=1, le=256, description="Server processes.")
    data_dir: Path = Field(default=Path("doorleaf-data"), description="Folder of the embedded database and of secrets.")
    uri: SecretStr | None = Field(
        default=None, description="Connection string of a MongoDB; without it the embedded database is used."
    )
    data_sources: dict[str, DataSource] = Field(
        default_factory=dict,
        description="Named databases: `uri` or `data_dir`, `default`, `aliases`. In the environment: a JSON object.",
    )
    default_database: str | None = Field(
        default=None,
        description="Database of requests that name none; else the one in the path of the data source's URI.",
    )
    app_ids: Names = Field(default=(), description="App ids that `/app/<id>/…` paths may have; empty allows any.")
    max_documents: int = Field(default=50_000, ge=1, description="Most documents that one answer may have.")
    default_limit: int = Field(default=1000, ge=1, description="`limit` of a find that has none.")
    default_max_time_ms: int = Field(
        default=30_000, ge=1, description="Time limit of an operation without `maxTimeMS`, in milliseconds."
    )
    max_time_ms_cap: int = Field(default=300_000, ge=1, description="Largest `maxTimeMS` a request may ask for.")
    max_body_bytes: int = Field(default=17 * 1024 * 1024, ge=1024, description="Largest request body, in bytes.")
    body_memory_mb: int = Field(
        default=640,
        ge=64,
        description="MB that the bodies of requests may take together in each process, as they come and as what is "
        "read from them.",
    )
    insert_status: int = Field(default=201, description="HTTP status of a successful insert: 201 or 200.")
    return_type: Literal["JSON", "EJSON"] = Field(
        default="JSON",
        description="Form of an action's answer where `Accept` asks for none: EJSON is canonical Extended JSON.",
    )
    plain_numbers: Literal["exact", "atlas"] = Field(
        default="exact",
        description="Plain JSON: `exact` keeps the point of a double and the milliseconds of a date, `atlas` writes "
        "`10` and `…:47Z` for whole ones, as Go does.",
    )
    public_url: str | None = Field(
        default=None,
        description="Where clients reach this server, such as `https://api.example.com`; without it, where they did.",
    )
    cors_origins: Names = Field(
        default=(),
        description="Origins whose pages may call from a browser, such as `https://example.com`; `*` is any.",
    )
    run_command_allow: Names = Field(
        default=(), description="Commands that `runCommand` takes beside the harmless ones."
    )
    allow_output_stages: bool = Field(default=False, description="Whether pipelines may end in `$out` or `$merge`.")
    max_result_bytes: int = Field(
        default=64 * 1024 * 1024,
        ge=0,
        description="Most bytes of documents that one answer may have, 0 for no limit of its own.",
    )
    max_scan_documents: int = Field(
        default=0,
        ge=0,
        description="Refuse what would scan a collection of more documents than this without an index; 0 refuses none.",
    )
    mongodb_lanes: bool = Field(
        default=True,
        description="Whether finds, aggregates and single writes speak to MongoDB directly on PyMongo's connections, "
        "which is faster; where the URI asks for what this does not do, they never do.",
    )
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
    max_streams: int = Field(default=100, ge=0, description="Most change streams open at once in each process.")
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
    providers: Names = Field(
        default=("api-key",),
        description="Ways to authenticate that are on: `api-key`, `local-userpass`, `custom-token`, `anon-user`.",
    )
    auto_confirm: bool = Field(default=False, description="Whether registered addresses need no confirmation.")
    datacube: bool = Field(
        default=False,
        description="Whether the DataCube API is served, where whoever registers may own databases; it needs the "
        "providers `api-key` and `local-userpass`.",
    )
    password_min_length: int = Field(default=6, ge=6, le=128, description="Characters that a password has at least.")
    smtp_url: SecretStr | None = Field(
        default=None,
        description="Mail server, `smtp://user:password@host:port` or `smtps://…`; without it an administrator "
        "confirms addresses and resets passwords.",
    )
    mail_from: str | None = Field(default=None, description="Sender of mails; needed with `smtp_url`.")
    email_confirmation_url: str | None = Field(
        default=None, description="Page that mails link to for confirming an address; it gets `token` and `tokenId`."
    )
    email_confirmation_subject: str = Field(default="Confirm your address", description="Subject of those mails.")
    reset_password_url: str | None = Field(
        default=None, description="Page that mails link to for a new password; it gets `token` and `tokenId`."
    )
    reset_password_subject: str = Field(default="Reset your password", description="Subject of those mails.")
    custom_token: CustomToken | None = Field(
        default=None,
        description="Whose JSON Web Tokens are believed: a table, see [identities](identities.md#custom-tokens). "
        "In the environment: a JSON object.",
    )
    custom_user_data: CustomUserData | None = Field(
        default=None,
        description="Collection with a document for each user: `database`, `collection`, `user_id_field`, and "
        "`data_source` if it is not the default one. In the environment: a JSON object.",
    )
    workspace_issuer: CustomToken | None = Field(
        default=None,
        description="Whose JSON Web Tokens open workspaces: a table like `custom_token`, see "
        "[workspaces](dialects/workspaces.md#bearer-tokens). In the environment: a JSON object.",
    )
    run_as: dict[str, str] = Field(
        default_factory=dict,
        description='Whom requests of a surface act as, such as `actions = "system"`: `application` (the caller), '
        "`system`, or a user's id. In the environment: a JSON object.",
    )
    refresh_token_seconds: int = Field(
        default=60 * 86_400, ge=1800, le=1825 * 86_400, description="Life of a session that is not ended, in seconds."
    )
    data_api_key: SecretStr | None = Field(
        default=None, description="An API key of your own, with full rights, at least 32 characters."
    )
    insecure_no_auth: bool = Field(default=False, description="Serve without any authentication. For experiments only.")
    token_secret: SecretStr | None = Field(
        default=None,
        description="Secret that signs tokens, at least 32 bytes; without it one is made in `data_dir`. "
        "Set it when several machines serve the same database.",
    )
    system_database: str = Field(
        default="doorleaf", description="Database that holds keys and sessions; no action reaches it."
    )
    rules_dir: Path | None = Field(
        default=None,
        description="Folder of an exported App Services app whose rules, schemas, values and environment are used.",
    )
    app: Path | None = Field(
        default=None,
        description="Folder of an exported App Services app whose functions and endpoints are served, and whose rules, "
        "values and providers count where no other setting says something. See [functions](functions.md).",
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
    rules: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="Rules by data source and `<database>.<collection>` (or `default`): `roles`, `filters`, `schema`.",
    )
    values: dict[str, Any] = Field(default_factory=dict, description="What `%%values` stands for in rules.")
    schema_validation: Literal["strict", "moderate", "off"] = Field(
        default="strict",
        description="How schemas of rules are applied: moderate lets a document that fails already be changed.",
    )
    synchronous: Literal["FULL", "NORMAL"] = Field(
        default="FULL",
        description="Embedded database: FULL survives power loss; NORMAL may lose the last moments to it.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe events to log."
    )
    log_format: Literal["text", "json"] = Field(default="text", description="How a line of the log is written.")
    grace_seconds: int = Field(
        default=30,
        ge=2,
        le=3600,
        description="Seconds after SIGTERM within which the server has ended; what is not done by then is a 503.",
    )
    access_log: bool = Field(default=False, description="Log a line for every request.")

    _origins: dict[str, str] = PrivateAttr(default_factory=dict)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """:func:`doorleaf.settings.load.load` asks the sources itself, so that it knows where each value came from."""
        return (init_settings,)

    @field_validator("uri")
    @classmethod
    def _is_mongodb(cls, uri: SecretStr | None) -> SecretStr | None:
        return mongodb_uri(uri)

    @field_validator("insert_status")
    @classmethod
    def _is_success(cls, status: int) -> int:
        if status not in (200, 201):
            raise ValueError("must be 200 or 201")
        return status

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

    @field_validator("data_api_key")
    @classmethod
    def _is_a_key(cls, key: SecretStr | None) -> SecretStr | None:
        if key is None:
            return None
        text = key.get_secret_value()
        if not re.fullmatch(r"[!-~]*", text):
            raise ValueError("has characters that cannot travel in a header: use visible ASCII without spaces")
        if len(text) < MINIMUM_SECRET_BYTES:
            raise ValueError(
                f"is shorter than {MINIMUM_SECRET_BYTES} characters and could be guessed; unset it, or make one with: "
                "openssl rand -hex 32"
            )
        return key

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

    @field_validator("providers")
    @classmethod
    def _are_providers(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in PROVIDERS:
                raise ValueError(f"there is no provider {name!r}; there are {', '.join(PROVIDERS)}")
        return names

    @field_validator("smtp_url")
    @classmethod
    def _is_a_mail_server(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            try:
                parts = urlsplit(url.get_secret_value())
                known = parts.scheme in ("smtp", "smtps") and bool(parts.hostname) and parts.port != 0
            except ValueError:
                known = False
            if not known:
                raise ValueError("must look like smtp://user:password@host:port or smtps://host")
        return url

    @field_validator("email_confirmation_url", "reset_password_url")
    @classmethod
    def _is_a_page(cls, url: str | None) -> str | None:
        if url is not None and not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^\s#]+", url):
            raise ValueError("must be the address of a page, such as https://example.com/confirm, without #")
        return url

    @field_validator("run_as")
    @classmethod
    def _are_callers(cls, table: dict[str, str]) -> dict[str, str]:
        for surface, caller in table.items():
            if surface not in SURFACES:
                raise ValueError(f"there is no surface {surface!r}; there are {', '.join(SURFACES)}")
            if not re.fullmatch(r"application|system|[0-9a-f]{24}", caller):
                raise ValueError(f"{surface}: {caller!r} is neither application, system nor a user's id")
        return table

    @field_validator("token_secret", "secrets_key")
    @classmethod
    def _is_long(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None and len(secret.get_secret_value().encode()) < MINIMUM_SECRET_BYTES:
            raise ValueError(f"is shorter than {MINIMUM_SECRET_BYTES} bytes")
        return secret

    @field_validator("system_database", "default_database")
    @classmethod
    def _is_database_name(cls, name: str | None, info: ValidationInfo) -> str | None:
        if name is None:
            return None
        if not name or len(name.encode()) > 63 or any(character in name for character in '/\\. "$\0'):
            raise ValueError('is no database name: up to 63 bytes without / \\ . " $ and spaces')
        if info.field_name == "system_database" and name in ("admin", "local", "config"):
            raise ValueError(f"cannot be MongoDB's own {name!r}")
        return name

    @model_validator(mode="after")
    def _fits_together(self) -> Settings:
        if self.default_limit > self.max_documents:
            raise ValueError(f"default_limit: {self.default_limit} is above max_documents ({self.max_documents})")
        if self.default_max_time_ms > self.max_time_ms_cap:
            raise ValueError(f"default_max_time_ms: above max_time_ms_cap ({self.max_time_ms_cap})")
        if self.lenient_lines and self.trusted_proxies:
            raise ValueError("lenient_lines: cannot be on together with trusted_proxies")
        if self.default_database == self.system_database:
            raise ValueError("default_database: cannot be the system database")
        check_sources(self.sources)
        check_providers(self)
        return self

    @cached_property
    def sources(self) -> dict[str, DataSource]:
        """Every data source by name, exactly one of them marked ``default``.

        ``uri`` is a source called ``default``; with neither ``uri`` nor ``data_sources`` the embedded database is.
        """
        sources = dict(self.data_sources)
        if self.uri is not None:
            if "default" in sources:
                raise ValueError("data_sources.default: the uri setting is the data source called default")
            sources["default"] = DataSource(uri=self.uri, default=True)
        if not sources:
            sources["default"] = DataSource(data_dir=self.data_dir, default=True)
        if len(sources) == 1:
            name, only = next(iter(sources.items()))
            sources[name] = only.model_copy(update={"default": True})
        return sources

    @cached_property
    def default_source(self) -> str:
        """The name of the default data source."""
        return next(name for name, source in self.sources.items() if source.default)

    def database_of(self, source: str) -> str | None:
        """The database of a request that names none: the setting, else the path of the data source's URI."""
        return self.default_database or self.sources[source].database

    @cached_property
    def places(self) -> Places:
        """What requests call the data sources."""
        aliases = {alias: name for name, source in self.sources.items() for alias in source.aliases}
        return Places(self.default_source, {name: self.database_of(name) for name in self.sources}, aliases)

    @property
    def origins(self) -> Mapping[str, str]:
        """Where each value came from: ``flag --port``, ``environment PORT``, ``file doorleaf.toml``, ``default``."""
        return {name: self._origins.get(name, "default") for name in Settings.model_fields}
