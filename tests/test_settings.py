"""Where settings come from, which one wins, and what is refused."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest
from pydantic import BaseModel

from doorleaf.settings.load import SettingsError, load
from doorleaf.settings.model import Settings
from doorleaf.settings.show import masked_uri, shown
from doorleaf.settings.sources import DataSource


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in list(os.environ):
        if variable.startswith("DOORLEAF_") or variable in ("PORT", "MONGODB_URI", "DATA_API_KEY"):
            monkeypatch.delenv(variable)
    monkeypatch.chdir(tmp_path)


def write(text: str, name: str = "doorleaf.toml") -> Path:
    path = Path(name)
    path.write_text(text, encoding="utf-8")
    return path


def refused(text: str) -> str:
    """What is said about a settings file."""
    write(text)
    with pytest.raises(SettingsError) as caught:
        load()
    return str(caught.value)


def test_defaults_serve_the_embedded_database_on_loopback() -> None:
    settings = load()
    assert (settings.host, settings.port, settings.workers) == ("127.0.0.1", 3000, 1)
    assert settings.sources == {"default": DataSource(data_dir=Path("doorleaf-data"), default=True)}
    assert settings.default_source == "default"
    assert settings.database_of("default") is None
    assert set(settings.origins.values()) == {"default"}


def test_flag_wins_over_environment_over_file_over_default(monkeypatch: pytest.MonkeyPatch) -> None:
    write('port = 1\nhost = "file"\nworkers = 2\nmax_documents = 7\ndefault_limit = 5')
    monkeypatch.setenv("PORT", "2")
    monkeypatch.setenv("DOORLEAF_HOST", "environment")
    monkeypatch.setenv("DOORLEAF_WORKERS", "3")
    settings = load({"workers": 4, "uri": None})
    assert (settings.port, settings.host, settings.workers, settings.max_documents) == (2, "environment", 4, 7)
    origins = settings.origins
    assert origins["port"] == "environment PORT"
    assert origins["host"] == "environment DOORLEAF_HOST"
    assert origins["workers"] == "flag --workers"
    assert origins["max_documents"] == "file doorleaf.toml"
    assert origins["uri"] == "default"


@pytest.mark.parametrize(
    ("familiar", "own", "name"),
    [
        ("PORT", "DOORLEAF_PORT", "port"),
        ("MONGODB_URI", "DOORLEAF_URI", "uri"),
        ("DATA_API_KEY", "DOORLEAF_DATA_API_KEY", "data_api_key"),
    ],
)
def test_own_variables_win_over_familiar_ones(
    monkeypatch: pytest.MonkeyPatch, familiar: str, own: str, name: str
) -> None:
    values = {
        "port": ("1", "2"),
        "uri": ("mongodb://one", "mongodb://two"),
        "data_api_key": ("k-one" * 7, "k-two" * 7),
    }[name]
    monkeypatch.setenv(familiar, values[0])
    assert load().origins[name] == f"environment {familiar}"
    monkeypatch.setenv(own, values[1])
    settings = load()
    assert settings.origins[name] == f"environment {own}"
    value = getattr(settings, name)
    assert str(value if name == "port" else value.get_secret_value()) == values[1]


def test_secrets_come_from_files(monkeypatch: pytest.MonkeyPatch) -> None:
    write("mongodb://u:p@h/db\n", "uri")
    monkeypatch.setenv("DOORLEAF_URI_FILE", "uri")
    settings = load()
    assert settings.uri is not None
    assert settings.uri.get_secret_value() == "mongodb://u:p@h/db"
    assert settings.origins["uri"] == "environment DOORLEAF_URI_FILE"
    assert settings.database_of("default") == "db"
    monkeypatch.setenv("DOORLEAF_URI", "mongodb://other")
    with pytest.raises(SettingsError, match="both set"):
        load()
    monkeypatch.delenv("DOORLEAF_URI")
    monkeypatch.setenv("DOORLEAF_URI_FILE", "absent")
    with pytest.raises(SettingsError, match="DOORLEAF_URI_FILE: cannot read absent: No such file"):
        load()


def test_lists_in_variables_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOORLEAF_CORS_ORIGINS", "https://a.example, http://localhost:8080")
    monkeypatch.setenv("DOORLEAF_DATA_SOURCES", '{"main": {"uri": "mongodb://h/x", "aliases": ["Cluster0"]}}')
    settings = load()
    assert settings.cors_origins == ("https://a.example", "http://localhost:8080")
    assert settings.default_source == "main"
    assert settings.sources["main"].aliases == ("Cluster0",)
    assert settings.database_of("main") == "x"


def test_named_file_must_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    write("port = 5", "other.toml")
    assert load(config=Path("other.toml")).port == 5
    monkeypatch.setenv("DOORLEAF_CONFIG", "other.toml")
    assert load().port == 5
    with pytest.raises(SettingsError, match=r"absent.toml: no such file"):
        load(config=Path("absent.toml"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("prot = 1", "doorleaf.toml: prot: no such setting; did you mean port?"),
        ("max_document = 1", "did you mean max_documents?"),
        ("zzzz = 1", "zzzz: no such setting; did you mean"),
        ('port = "3000"', "doorleaf.toml: port: expected an integer, got a string"),
        ("port = true", "port: expected an integer, got a boolean"),
        ("port = 3.0", "port: expected an integer, got a float"),
        ("access_log = 1", "access_log: expected true or false, got an integer"),
        ('app_ids = "a"', "app_ids: expected an array of strings, got a string"),
        ("app_ids = [1]", "app_ids: expected an array of strings, got an array"),
        ("host = 2020-01-01", "host: expected a string, got a date or time"),
        ('log_level = "loud"', "log_level: expected one of debug, info, warning, error, got a string"),
        ("data_sources = 5", "data_sources: expected a table, got an integer"),
        ("[data_sources]\nmain = 5", "data_sources.main: expected a table, got an integer"),
        (
            '[data_sources.main]\nurl = "x"',
            "data_sources.main.url: no such setting; did you mean data_sources.main.uri?",
        ),
        ("[data_sources.main]\nuri = 5", "data_sources.main.uri: expected a string, got an integer"),
        ("[data_sources.main]", "needs either uri or data_dir"),
        ('[data_sources.main]\nuri = "mongodb://h"\ndata_dir = "d"', "needs either uri or data_dir"),
        ("port = 70000", "port (file doorleaf.toml): must be less than or equal to 65535"),
        ("insert_status = 204", "insert_status (file doorleaf.toml): must be 200 or 201"),
        ("default_limit = 60000", "default_limit: 60000 is above max_documents (50000)"),
        ("default_max_time_ms = 400000", "default_max_time_ms: above max_time_ms_cap"),
        ('cors_origins = ["example.com"]', "'example.com' is not an origin"),
        ('cors_origins = ["https://example.com/"]', "is not an origin"),
        ('uri = "http://h"', "must begin with mongodb:// or mongodb+srv://"),
        ('system_database = "admin"', "cannot be MongoDB's own 'admin'"),
        ('default_database = "a.b"', "is no database name"),
        ('default_database = "doorleaf"', "cannot be the system database"),
        ("port = x", "doorleaf.toml: Invalid value (at line 1"),
        ('token_secret = "short"', "token_secret (file doorleaf.toml): is shorter than 32 bytes"),
        (
            '[data_sources.a]\nuri = "mongodb://a"\n[data_sources.b]\nuri = "mongodb://b"',
            "data_sources: exactly one must have default = true; now: none",
        ),
        (
            'uri = "mongodb://u"\n[data_sources.b]\nuri = "mongodb://b"\ndefault = true',
            "data_sources: exactly one must have default = true; now: b, default",
        ),
        (
            'uri = "mongodb://u"\n[data_sources.b]\nuri = "mongodb://b"\naliases = ["default"]',
            "'default' already names",
        ),
    ],
)
def test_mistakes_in_the_file_are_named(text: str, said: str) -> None:
    assert said in refused(text)


def test_every_mistake_of_a_file_is_named_at_once() -> None:
    assert refused('prot = 1\nhost = 5\nport = "x"').count("\n") == 2


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("DOORLEAF_PROT", "1", "DOORLEAF_PROT: no such setting; did you mean DOORLEAF_PORT?"),
        ("DOORLEAF_PORT", "abc", "port (environment DOORLEAF_PORT): expected an integer"),
        ("PORT", "", "port (environment PORT): expected an integer"),
        ("DOORLEAF_ACCESS_LOG", "maybe", "access_log (environment DOORLEAF_ACCESS_LOG): expected true or false"),
        ("DOORLEAF_SYNCHRONOUS", "OFF", "synchronous (environment DOORLEAF_SYNCHRONOUS): expected one of FULL, NORMAL"),
        ("DOORLEAF_DATA_SOURCES", "{", "DOORLEAF_DATA_SOURCES: expected a JSON object"),
        ("DOORLEAF_DATA_SOURCES", "[1]", "data_sources (environment DOORLEAF_DATA_SOURCES): expected a table"),
        ("DOORLEAF_DATA_SOURCES", '{"a": {"ur": "x"}}', "no such setting; did you mean uri?"),
        ("MONGODB_URI", "", "must begin with mongodb://"),
    ],
)
def test_mistakes_in_the_environment_are_named(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as caught:
        load()
    assert said in str(caught.value)


@pytest.mark.parametrize("key", ["", "x", "api-key-123", "changeme", "null", "0" * 16, "k" * 31])
def test_keys_that_could_be_guessed_are_refused(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("DATA_API_KEY", key)
    with pytest.raises(SettingsError, match=r"data_api_key.*32 characters.*openssl rand -hex 32"):
        load()
    monkeypatch.setenv("DATA_API_KEY", "k" * 32)
    own = load().data_api_key
    assert own is not None
    assert own.get_secret_value() == "k" * 32


@pytest.mark.parametrize("key", ["\t\n", "with space", "ключ", "line\nbreak"])
def test_keys_that_no_header_carries_are_refused(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("DATA_API_KEY", key)
    with pytest.raises(SettingsError, match="cannot travel in a header") as caught:
        load()
    assert key not in str(caught.value)


def test_no_secret_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA_API_KEY", "the-hidden-key-of-32-characters-or-more")
    monkeypatch.setenv("DOORLEAF_TOKEN_SECRET", "the-hidden-secret-of-32-characters")
    monkeypatch.setenv("MONGODB_URI", "mongodb://user:hidden@h/db")
    write('[data_sources.b]\nuri = "mongodb://user:hidden@b"')
    settings = load()
    everything = repr(settings) + "".join(shown(settings, name) for name in Settings.model_fields)
    assert "hidden" not in everything
    assert shown(settings, "uri") == "mongodb://user:***@h/db"
    assert shown(settings, "data_api_key") == "***"
    assert shown(settings, "data_sources") == "b: mongodb://user:***@b"
    for wrong in ("mongodb//user:hidden@h", "hidden"):
        monkeypatch.setenv("MONGODB_URI", wrong)
        with pytest.raises(SettingsError) as caught:
            load()
        assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("uri", "masked"),
    [
        ("mongodb://h:27017/db", "mongodb://h:27017/db"),
        ("mongodb://user@h/db", "mongodb://user@h/db"),
        ("mongodb://u:p@h1:1,h2:2/db?w=1", "mongodb://u:***@h1:1,h2:2/db?w=1"),
        ("mongodb+srv://u:p%40q@h", "mongodb+srv://u:***@h"),
        ("mongodb://u:p@q:r@h/", "mongodb://u:***@h/"),
        ("mongodb://u:p/q@h/", "mongodb://u:***@h/"),
        ("mongodb://u:p?q@h/", "mongodb://u:***@h/"),
        ("mongodb://h/?tlsCertificateKeyFilePassword=p&w=1", "mongodb://h/?tlsCertificateKeyFilePassword=***&w=1"),
        ("mongodb://h/?authMechanismProperties=AWS_SESSION_TOKEN:x", "mongodb://h/?authMechanismProperties=***"),
    ],
)
def test_masked_uri(uri: str, masked: str) -> None:
    assert masked_uri(uri) == masked


@pytest.mark.parametrize(
    ("uri", "database"),
    [
        ("mongodb://h", None),
        ("mongodb://h/", None),
        ("mongodb://h/?x=/y", None),
        ("mongodb://u:p@a:1,b:2/shop?x=1", "shop"),
        ("mongodb+srv://h/my%20shop", "my shop"),
    ],
)
def test_database_of_a_uri(monkeypatch: pytest.MonkeyPatch, uri: str, database: str | None) -> None:
    monkeypatch.setenv("MONGODB_URI", uri)
    assert load().database_of("default") == database
    monkeypatch.setenv("DOORLEAF_DEFAULT_DATABASE", "chosen")
    assert load().database_of("default") == "chosen"


def test_settings_made_in_code_read_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOORLEAF_PORT", "1")
    write("port = 2")
    assert Settings().port == 3000


def test_no_group_of_settings_hides_what_another_has() -> None:
    class Empty(BaseModel):
        pass

    groups = [group for group in Settings.__bases__ if issubclass(group, BaseModel) and group is not BaseModel]
    ordinary = {*vars(Empty), "__annotations__", "__annotate_func__", "__annotations_cache__"}
    names = [name for group in groups for name in {*vars(group), *group.model_fields} - ordinary]
    assert {"host", "_is_redis"} <= set(names)
    assert [name for name, count in Counter(names).items() if count > 1] == []
