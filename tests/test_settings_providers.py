"""The settings about identities: tables in a file and in the environment, and what does not fit together."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from doorleaf.settings.load import SettingsError, load
from doorleaf.settings.model import Settings
from doorleaf.settings.show import shown

KEY = "an-hs256-key-of-at-least-32-characters"
TOKEN = f'providers = ["custom-token"]\n[custom_token]\nalgorithm = "HS256"\nkeys = ["{KEY}"]\naudience = ["app"]\n'


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in list(os.environ):
        if variable.startswith("DOORLEAF_") or variable in ("PORT", "MONGODB_URI", "DATA_API_KEY"):
            monkeypatch.delenv(variable)
    monkeypatch.chdir(tmp_path)


def refused(text: str) -> str:
    Path("doorleaf.toml").write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        load()
    assert KEY not in str(caught.value)
    return str(caught.value)


def test_tables_of_a_file() -> None:
    text = TOKEN + 'metadata_fields = [{ name = "email", required = true }]\n'
    text += '[custom_user_data]\ndatabase = "d"\ncollection = "c"\nuser_id_field = "u"\n[run_as]\nactions = "system"\n'
    Path("doorleaf.toml").write_text(text, encoding="utf-8")
    settings = load()
    assert settings.custom_token is not None
    assert settings.custom_token.keys[0].get_secret_value() == KEY
    assert settings.custom_token.metadata_fields[0].target == "email"
    assert settings.custom_user_data is not None
    assert settings.custom_user_data.user_id_field == "u"
    for name in Settings.model_fields:
        assert KEY not in shown(settings, name)
    assert shown(settings, "providers") == "custom-token"
    assert "algorithm = HS256" in shown(settings, "custom_token")


def test_tables_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOORLEAF_PROVIDERS", "api-key, custom-token,anon-user")
    table = {"algorithm": "HS256", "keys": [KEY], "audience": ["app"]}
    monkeypatch.setenv("DOORLEAF_CUSTOM_TOKEN", json.dumps(table))
    settings = load()
    assert settings.providers == ("api-key", "custom-token", "anon-user")
    assert settings.custom_token is not None
    monkeypatch.setenv("DOORLEAF_CUSTOM_TOKEN", "x")
    with pytest.raises(SettingsError, match="DOORLEAF_CUSTOM_TOKEN: expected a JSON object"):
        load()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('providers = ["api-keys"]', "there is no provider 'api-keys'"),
        (TOKEN + "audiense = 1", "custom_token.audiense: no such setting; did you mean custom_token.audience?"),
        (TOKEN + 'leeway_seconds = "1"', "custom_token.leeway_seconds: expected an integer, got a string"),
        (TOKEN + "metadata_fields = [1]", "custom_token.metadata_fields: expected an array of tables"),
        (
            TOKEN + 'metadata_fields = [{ nmae = "x" }]',
            "custom_token.metadata_fields[0].nmae: no such setting; did you mean custom_token.metadata_fields[0].name?",
        ),
        (TOKEN.replace("HS256", "none"), "custom_token.algorithm: expected one of HS256, RS256, RS384, RS512, PS256"),
        (TOKEN.replace("HS256", "RS256"), "a key for RS256 is a public key in PEM"),
        ('providers = ["custom-token"]', "need each other"),
        ("custom_token = 5", "custom_token: expected a table, got an integer"),
        ('[custom_user_data]\ndatabase = "d"', "custom_user_data.collection"),
        ('[run_as]\nactons = "system"', "there is no surface 'actons'"),
        ('[run_as]\nactions = "root"', "neither application, system nor a user's id"),
        ('smtp_url = "http://x"', "must look like smtp://"),
        ('smtp_url = "smtp://u:geheim@host:x"', "must look like smtp://"),
        ('smtp_url = "smtp://host"', "mail_from: needed with smtp_url"),
        ('smtp_url = "smtp://host"\nmail_from = "a@b"', "email_confirmation_url: needed"),
        ('reset_password_url = "https://x"', "need smtp_url"),
        ('reset_password_url = "x"', "must be the address of a page"),
        (
            'providers = []\ndata_api_key = "a-key-of-mine-with-32-characters-or-more"',
            "data_api_key: the provider api-key is off",
        ),
        ("password_min_length = 5", "password_min_length"),
        ("refresh_token_seconds = 60", "refresh_token_seconds"),
    ],
)
def test_mistakes(text: str, said: str) -> None:
    told = refused(text)
    assert said in told
    assert "geheim" not in told


def test_a_mail_server_is_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("mail").write_text("smtps://u:geheim@host\n", encoding="utf-8")
    monkeypatch.setenv("DOORLEAF_SMTP_URL_FILE", "mail")
    monkeypatch.setenv("DOORLEAF_MAIL_FROM", "a@b.c")
    monkeypatch.setenv("DOORLEAF_AUTO_CONFIRM", "true")
    settings = load()
    assert settings.smtp_url is not None
    assert settings.smtp_url.get_secret_value() == "smtps://u:geheim@host"
    assert shown(settings, "smtp_url") == "***"


def test_custom_data_must_have_a_data_source() -> None:
    table = {"database": "d", "collection": "c", "user_id_field": "u", "data_source": "nowhere"}
    with pytest.raises(ValidationError, match="there is no data source 'nowhere'"):
        Settings(custom_user_data=table)  # type: ignore[arg-type]
