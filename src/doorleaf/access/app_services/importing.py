"""What the settings are for an app that was exported from App Services, and what of it has no counterpart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from doorleaf.access.app_services.data_api import FILE, read_data_api
from doorleaf.access.app_services.exported import App
from doorleaf.documents import Document
from doorleaf.settings.providers import PROVIDERS

MAIL_SETTINGS = {
    "emailConfirmationUrl": "email_confirmation_url",
    "confirmEmailSubject": "email_confirmation_subject",
    "resetPasswordUrl": "reset_password_url",
    "resetPasswordSubject": "reset_password_subject",
}
ALGORITHMS = ("HS256", "RS256", "ES256", "EdDSA")


def settings_for(app: App) -> dict[str, Any]:
    """Settings by name, as they stand in the settings file; what is taken and what is not is noted in ``app``."""
    # The setting app gives the rules too.
    serves = any((app.folder / name).is_dir() for name in ("functions", "https_endpoints", "http_endpoints"))
    settings: dict[str, Any] = {"app" if serves else "rules_dir": str(app.folder)}
    if app.app_id is not None:
        settings["app_ids"] = [app.app_id]
    if app.origins is not None:
        settings["cors_origins"] = app.origins or ["*"]
        told = ", ".join(app.origins) or "an empty list allows any origin"
        app.note(True, "allowed_request_origins", f"cors_origins: {told}")
    if app.addresses is not None:
        settings["ip_access_list"] = app.addresses
        app.note(True, "IP access list", ", ".join(app.addresses) or "empty: nobody may call")
    settings |= _providers(app)
    if app.custom_user_data is not None:
        settings["custom_user_data"] = _custom_user_data(app, app.custom_user_data)
    if app.data_api is not None:
        settings |= _data_api(app, app.data_api)
    settings["data_sources"] = _data_sources(app)
    return settings


TAKEN = (
    "app_ids", "providers", "auto_confirm", "custom_user_data", "custom_token", "custom_function", "cors_origins",
    "ip_access_list", "run_as", "return_type",
)  # fmt: skip
"""The settings that an app which is served from its folder gives."""


def settings_below(app: App, given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of an app that is served from its folder, without those of ``given`` and those that need a
    secret."""
    written = settings_for(app)
    taken = {name: written[name] for name in TAKEN if name in written}
    if "keys" in taken.get("custom_token", {}):
        del taken["custom_token"]
    if "custom_token" not in taken and "custom_token" not in given and "providers" in taken:
        taken["providers"] = [name for name in taken["providers"] if name != "custom-token"]
    if "custom_user_data" in taken and "data_sources" not in given:
        taken["custom_user_data"].pop("data_source", None)
    return taken


def _data_sources(app: App) -> Document:
    """A table for each data source; where its documents are, no export says."""
    tables: Document = {}
    names = list(app.sources) or ["mongodb-atlas"]
    for name in names:
        folder = "doorleaf-data" if len(names) == 1 else f"doorleaf-data/{name}"
        tables[name] = {"default": name == names[0], "data_dir": folder}
        cluster = app.clusters.get(name)
        if cluster is not None and cluster not in names:
            tables[name]["aliases"] = [cluster]
        app.note(False, f"data_sources.{name}", f"its connection string: put uri in the place of data_dir {folder!r}")
    return tables


# --- providers -------------------------------------------------------------------------------------------------------


def _providers(app: App) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    on: list[str] = []
    for name, provider in app.providers.items():
        where = f"auth/providers.json: {name}"
        if provider.get("disabled"):
            app.note(True, where, "is off")
        elif name not in PROVIDERS:
            app.note(False, where, "has no counterpart; its users cannot log in")
        elif name == "custom-function" and not _log_in_function(app, provider):
            app.note(False, where, "names no function in this folder; its users cannot log in")
        else:
            on.append(name)
            app.note(True, where, "is on")
            settings |= SPECIAL.get(name, _nothing)(app, provider, where)
    if app.providers:
        settings = {"providers": on, **settings}
        app.note(False, "users and API keys", "no export holds them; make keys with doorleaf keys create")
    return settings


def _log_in_function(app: App, provider: Document) -> str:
    """The name of the function that logs in; "" where there is none."""
    name = _mapping(provider, "config").get("authFunctionName")
    return name if isinstance(name, str) and (app.folder / "functions").is_dir() else ""


def _custom_function(app: App, provider: Document, where: str) -> dict[str, Any]:
    return {"custom_function": _log_in_function(app, provider)}


def _nothing(app: App, provider: Document, where: str) -> dict[str, Any]:
    return {}


def _mapping(source: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = source.get(key)
    return value if isinstance(value, Mapping) else {}


def _userpass(app: App, provider: Document, where: str) -> dict[str, Any]:
    config = _mapping(provider, "config")
    settings: dict[str, Any] = {}
    for key, value in config.items():
        if key == "autoConfirm":
            settings["auto_confirm"] = value is True
        elif key in MAIL_SETTINGS:
            if isinstance(value, str) and value:
                settings[MAIL_SETTINGS[key]] = value
        elif key in ("runConfirmationFunction", "runResetFunction"):
            if value:
                app.note(False, f"{where}: {key}", "no function confirms or resets; mails and doorleaf do")
        elif key not in ("confirmationFunctionName", "resetFunctionName"):
            app.note(False, f"{where}: {key}", "has no counterpart")
    if any(name in settings for name in ("email_confirmation_url", "reset_password_url")):
        app.note(False, f"{where}: mails", "need smtp_url and mail_from, which no export holds")
    return settings


def _custom_token(app: App, provider: Document, where: str) -> dict[str, Any]:
    config = _mapping(provider, "config")
    algorithm = config.get("signingAlgorithm") or ("RS256" if config.get("useJWKURI") else "HS256")
    if algorithm not in ALGORITHMS:
        app.note(False, f"{where}: signingAlgorithm", f"{algorithm!r} is not available")
        return {}
    table: dict[str, Any] = {"algorithm": algorithm}
    if config.get("useJWKURI"):
        table["jwks_url"] = config.get("jwkURI", "")
    else:
        names = _mapping(provider, "secret_config").get("signingKeys") or ["signing key"]
        # With spaces in it no key is valid, so that the server does not start before the real one is there.
        table["keys"] = [f"put the secret {name} here" for name in names]
        app.note(False, f"{where}: signingKeys", f"secrets no export holds: {', '.join(map(str, names))}")
    audience = config.get("audience") or []
    audience = [audience] if isinstance(audience, str) else list(audience)
    table["audience"] = audience or ([app.app_id] if app.app_id else [])
    if config.get("requireAnyAudience"):
        table["require_any_audience"] = True
    fields = provider.get("metadata_fields")
    if isinstance(fields, list) and fields:
        known = ("name", "field_name", "required")
        table["metadata_fields"] = [{key: field[key] for key in known if key in field} for field in fields]
    return {"custom_token": table}


SPECIAL = {"local-userpass": _userpass, "custom-token": _custom_token, "custom-function": _custom_function}


# --- users and the Data API ------------------------------------------------------------------------------------------


def _custom_user_data(app: App, source: Document) -> Document:
    names = {"database": "database_name", "collection": "collection_name", "user_id_field": "user_id_field"}
    table = {name: source.get(key, "") for name, key in names.items()}
    service = source.get("mongo_service_name")
    if service and service in app.sources:
        table["data_source"] = service
    app.note(
        True, "auth/custom_user_data.json", f"{table['database']}.{table['collection']} by {table['user_id_field']}"
    )
    return table


def _data_api(app: App, source: Document) -> dict[str, Any]:
    """What the settings have to say; all else is served by the setting ``app``, which such an app has."""
    found = read_data_api(source)
    for taken, key, text in found.told:
        app.note(taken, f"{FILE}: {key}", text)
    changed: dict[str, Any] = {} if found.runs_as == "application" else {"run_as": {"actions": found.runs_as}}
    return changed | ({"return_type": "EJSON"} if found.canonical else {})
