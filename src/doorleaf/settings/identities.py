"""How callers show who they are: providers, keys, tokens, mails."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, SecretStr, field_validator, model_validator

from doorleaf.settings.checks import MINIMUM_SECRET_BYTES, Names, check_secret
from doorleaf.settings.providers import PROVIDERS, SURFACES, CustomToken, CustomUserData


class IdentitySettings(BaseModel):
    """How callers show who they are: providers, keys, tokens, mails."""

    providers: Names = Field(
        default=("api-key",),
        description="Ways to authenticate that are on: `api-key`, `local-userpass`, `custom-token`, `anon-user`, "
        "`custom-function`.",
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
    custom_function: str | None = Field(
        default=None,
        min_length=1,
        description="Function of the app that logs users in; needed with the provider `custom-function`.",
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

    @field_validator("token_secret")
    @classmethod
    def _signs_safely(cls, secret: SecretStr | None) -> SecretStr | None:
        return check_secret(secret)

    @model_validator(mode="after")
    def _has_what_providers_need(self) -> IdentitySettings:
        on, issuer = self.providers, self.workspace_issuer
        if ("custom-token" in on) != (self.custom_token is not None):
            raise ValueError("custom_token: the table and the provider custom-token need each other")
        if issuer is not None and not issuer.audience:
            raise ValueError("workspace_issuer: needs an audience")
        if issuer is not None and issuer.metadata_fields:
            raise ValueError("workspace_issuer: takes no metadata_fields; which claims are read is not to be chosen")
        if self.data_api_key is not None and "api-key" not in on:
            raise ValueError("data_api_key: the provider api-key is off")
        if self.datacube:
            for needed in ("api-key", "local-userpass"):
                if needed not in on:
                    raise ValueError(f"datacube: needs {needed} among the providers: {', '.join((*on, needed))}")
        return self

    @model_validator(mode="after")
    def _has_what_mails_need(self) -> IdentitySettings:
        if self.smtp_url is not None:
            if self.mail_from is None:
                raise ValueError("mail_from: needed with smtp_url")
            if self.email_confirmation_url is None and not self.auto_confirm:
                raise ValueError("email_confirmation_url: needed with smtp_url, unless auto_confirm is on")
        elif self.email_confirmation_url or self.reset_password_url:
            raise ValueError("email_confirmation_url and reset_password_url need smtp_url")
        return self
