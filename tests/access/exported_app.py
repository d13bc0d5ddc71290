"""An exported App Services app in a folder, with something of everything that an export can have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from doorleaf.cli import main as cli
from doorleaf.settings.model import Settings

OWNER_RULES = {
    "filters": [{"query": {"deleted": False}, "name": "alive", "apply_when": {"%%true": True}}],
    "roles": [
        {"write": True, "read": True, "apply_when": {"owner": "%%user.id"}, "name": "owner"},
        {"fields": {"title": {"read": True}}, "name": "reader", "apply_when": {}},
    ],
    "collection": "posts",
    "database": "blog",
}
FILES: dict[str, Any] = {
    "root_config.json": {
        "config_version": 20210101, "name": "my-app", "app_id": "my-app-abcde", "location": "US-VA",
        "environment": "production", "deployment_model": "GLOBAL",
        "security": {"allowed_request_origins": ["https://example.com"]},
    },
    "auth/providers.json": {
        "api-key": {"name": "api-key", "type": "api-key", "disabled": False},
        "anon-user": {"name": "anon-user", "type": "anon-user", "disabled": True},
        "oauth2-google": {"name": "oauth2-google", "type": "oauth2-google", "disabled": False, "config": {}},
        "custom-function": {"name": "custom-function", "type": "custom-function", "disabled": False},
        "local-userpass": {
            "name": "local-userpass", "type": "local-userpass", "disabled": False,
            "config": {"autoConfirm": False, "emailConfirmationUrl": "https://example.com/confirm",
                       "resetPasswordUrl": "https://example.com/reset", "confirmEmailSubject": "Hello",
                       "runConfirmationFunction": True, "confirmationFunctionName": "f"},
        },
        "custom-token": {
            "name": "custom-token", "type": "custom-token", "disabled": False,
            "config": {"audience": [], "requireAnyAudience": False, "signingAlgorithm": "RS256", "useJWKURI": True,
                       "jwkURI": "https://issuer.example.com/jwks.json"},
            "metadata_fields": [{"required": True, "name": "profile.email", "field_name": "email"}],
        },
    },
    "auth/custom_user_data.json": {
        "enabled": True, "mongo_service_name": "mongodb-atlas", "database_name": "app", "collection_name": "users",
        "user_id_field": "userId", "on_user_creation_function_name": "onCreate",
    },
    "values/limit.json": {"name": "limit", "value": {"$numberLong": "5"}, "from_secret": False},
    "values/key.json": {"name": "key", "value": "theSecret", "from_secret": True},
    "environments/production.json": {"values": {"region": "eu"}},
    "environments/testing.json": {"values": {"region": "us"}},
    "environments/no-environment.json": {"values": {}},
    "https_endpoints/config.json": [{"route": "/hello", "http_method": "GET", "function_name": "f"}],
    "https_endpoints/data_api_config.json": {
        "disabled": False, "versions": ["v1"], "return_type": "EJSON", "create_user_on_auth": True,
        "fetch_custom_user_data": True, "validation_method": "NO_VALIDATION", "log_function_arguments": True,
        "run_as_user_id": "", "run_as_user_id_script_source": "", "can_evaluate": {"%%request.httpMethod": "POST"},
    },
    "functions/config.json": [],
    "functions/f.js": "exports = () => 1",
    "triggers/t.json": {"name": "t"},
    "sync/config.json": {"enabled": False},
    "graphql/config.json": {},
    "ip_access_list.json": [{"address": "192.0.2.0/24", "comment": "office"}, "2001:db8::1"],
    "data_sources/mongodb-atlas/config.json": {
        "name": "mongodb-atlas", "type": "mongodb-atlas",
        "config": {"clusterName": "Cluster0", "readPreference": "primary", "wireProtocolEnabled": False},
    },
    "data_sources/mongodb-atlas/default_rule.json": {"roles": [{"name": "readAll", "apply_when": {}, "read": True}]},
    "data_sources/mongodb-atlas/blog/posts/rules.json": OWNER_RULES,
    "data_sources/mongodb-atlas/blog/posts/schema.json": {"title": "post",
    "properties": {"title": {"bsonType": "string"}}},
    "data_sources/mongodb-atlas/blog/posts/relationships.json": {"author": {"ref": "#/x"}},
    "data_sources/mongodb-atlas/blog/tags/rules.json": {"database": "blog", "collection": "tags", "roles": []},
    "data_sources/mongodb-atlas/blog/tags/schema.json": {},
}  # fmt: skip


def exported(folder: Path, changes: dict[str, Any] | None = None) -> Path:
    """An exported app; a change to None leaves a file out."""
    for name, content in (FILES | (changes or {})).items():
        if content is None:
            continue
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def settings(folder: Path, **values: Any) -> Settings:
    """Settings with the data source of the app, and another."""
    sources: Any = {
        "mongodb-atlas": {"data_dir": folder / "data", "aliases": ["Cluster0"], "default": True},
        "second": {"data_dir": folder / "second"},
    }
    return Settings(data_sources=sources, data_dir=folder / "data", **values)


def run(*arguments: str) -> Any:
    """The command line."""
    return CliRunner().invoke(cli.app, list(arguments), catch_exceptions=False)
