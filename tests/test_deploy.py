"""What is in ``deploy/`` is well formed, and speaks of settings, files and users that there are."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from doorleaf.cli.main import app
from doorleaf.settings.load import FAMILIAR, PREFIX, SECRETS
from doorleaf.settings.model import Settings

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm" / "doorleaf"
TEMPLATES = sorted(CHART.glob("templates/*.yaml"))
FILES = [path for path in sorted(DEPLOY.rglob("*")) if path.is_file() and "secrets" not in path.parts]
VARIABLES = {
    *(PREFIX + name.upper() for name in Settings.model_fields),
    *(f"{PREFIX}{name.upper()}_FILE" for name in SECRETS),
    *FAMILIAR,
    f"{PREFIX}CONFIG",
}


def loaded(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(DEPLOY)))
def test_every_variable_is_a_setting(path: Path) -> None:
    named = set(re.findall(r"DOORLEAF_[A-Z_]+", path.read_text(encoding="utf-8")))
    assert named <= VARIABLES
    assert "/work/" not in path.read_text(encoding="utf-8")


# --- image -------------------------------------------------------------------------------------------------------


def instructions() -> list[tuple[str, str]]:
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1].strip()) for line in lines]


def test_the_image_runs_the_command_without_rights() -> None:
    found = instructions()
    last = found[max(index for index, (word, _) in enumerate(found) if word == "FROM") :]
    known = {"FROM", "RUN", "WORKDIR", "ENV", "COPY", "USER", "VOLUME", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK"}
    assert {word for word, _ in found} <= known | {"ENTRYPOINT", "CMD"}
    assert ("USER", "10001:10001") in last
    assert ("ENTRYPOINT", '["doorleaf"]') in last
    assert ("CMD", '["serve"]') in last
    assert get_command(app).get_command(None, "serve") is not None  # type: ignore[attr-defined]
    assert "/livez" in dict(last)["HEALTHCHECK"]
    assert any(word == "RUN" and "--require-hashes" in text for word, text in found)


def test_the_image_is_built_from_files_that_are_there_and_let_in() -> None:
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").split()
    assert ignored[0] == "*", "nothing gets in that is not named"
    for word, text in instructions():
        if word != "COPY" or text.startswith("--from"):
            continue
        for name in text.split()[:-1]:
            assert (ROOT / name).exists(), name
            assert f"!{name}" in ignored, name


# --- compose -----------------------------------------------------------------------------------------------------


def test_compose_hangs_together() -> None:
    content = loaded(DEPLOY / "compose.yaml")
    services, secrets = content["services"], content["secrets"]
    assert set(content) <= {"name", "services", "volumes", "secrets"}
    used = {name for service in services.values() for name in service["secrets"]}
    assert used == set(secrets)
    page = (ROOT / "docs" / "deploy" / "compose.md").read_text(encoding="utf-8")
    for secret in secrets.values():
        assert f">deploy/{secret['file'].removeprefix('./')}" in page, "the page makes every secret"
    for service in services.values():
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            assert (DEPLOY / source).is_file() if source.startswith("./") else source in content["volumes"]
        for value in service["environment"].values():
            name = value.removeprefix("/run/secrets/")
            assert name == value or name in service["secrets"]
    doorleaf, mongodb = services["doorleaf"], services["mongodb"]
    assert (DEPLOY / doorleaf["build"]["context"] / doorleaf["build"]["dockerfile"]).is_file()
    assert doorleaf["depends_on"] == {"mongodb": {"condition": "service_healthy"}}
    assert "--replSet rs0" in mongodb["entrypoint"][-1]
    assert "rs.initiate" in mongodb["healthcheck"]["test"][-1]
    assert int(doorleaf["stop_grace_period"].removesuffix("s")) > Settings.model_fields["grace_seconds"].default


def test_the_user_of_mongodb_has_the_rights_that_are_needed() -> None:
    script = (DEPLOY / "mongodb-users.js").read_text(encoding="utf-8")
    roles = re.findall(r'\{ role: "(\w+)", db: "(\w+)" \}', script)
    assert roles == [("readWrite", "shop"), ("readWrite", Settings.model_fields["system_database"].default)]
    assert "/shop?" in (ROOT / "docs" / "deploy" / "compose.md").read_text(encoding="utf-8")


# --- systemd -----------------------------------------------------------------------------------------------------


def unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(DEPLOY / "doorleaf.service", encoding="utf-8")
    return parser


def test_the_unit_serves_reloads_and_waits() -> None:
    service = unit()["Service"]
    assert service["ExecStart"].endswith("/doorleaf serve")
    assert service["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert int(service["TimeoutStopSec"]) > Settings.model_fields["grace_seconds"].default
    assert service["DynamicUser"] == "yes"


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    text = (DEPLOY / "doorleaf.service").read_text(encoding="utf-8")
    (tmp_path / "doorleaf.service").write_text(text.replace("/opt/doorleaf/bin/doorleaf", "/bin/true"))
    command = ["systemd-analyze", "verify", str(tmp_path / "doorleaf.service")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "Unknown" not in done.stderr


# --- chart -------------------------------------------------------------------------------------------------------


def test_the_chart_is_of_this_version() -> None:
    import doorleaf

    chart = loaded(CHART / "Chart.yaml")
    assert (chart["apiVersion"], chart["name"]) == ("v2", "doorleaf")
    assert chart["appVersion"] == doorleaf.__version__


def actions(text: str) -> Iterator[str]:
    yield from (found.strip() for found in re.findall(r"\{\{-?(.*?)-?\}\}", text, re.DOTALL))


@pytest.mark.parametrize("path", sorted(CHART.glob("templates/*")), ids=lambda path: path.name)
def test_templates_ask_for_values_that_there_are(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    values = loaded(CHART / "values.yaml")
    depth = 0
    for action in actions(text):
        word = action.split()[0]
        depth += (word in ("if", "with", "range", "define")) - (word == "end")
        assert depth >= 0
        for name in re.findall(r"\.Values\.([\w.]+)", action):
            found: Any = values
            for part in name.split("."):
                assert part in found, name
                found = found[part]
        for name in re.findall(r'include "([^"]+)"', action):
            assert f'define "{name}"' in (CHART / "templates" / "_helpers.tpl").read_text(encoding="utf-8")
    assert depth == 0
    assert text.count("{{") == text.count("}}")


def rendered(path: Path) -> Any:
    """A template with its outer form: what stands for a value is text, and what stands for lines is not there."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if re.fullmatch(r"\s*\{\{-.*\}\}", line):
            if "selector" in line or "labels" in line:
                lines.append(" " * (len(line) - len(line.lstrip())) + "app.kubernetes.io/name: doorleaf")
            continue
        lines.append(re.sub(r"\{\{.*?\}\}", "x", line))
    return yaml.safe_load("\n".join(lines))


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_templates_are_objects_of_kubernetes(path: Path) -> None:
    content = rendered(path)
    assert {"apiVersion", "kind", "metadata"} <= set(content)
    assert content["metadata"]["name"] == "x"
    assert content["kind"].lower() == path.stem


def test_the_deployment_probes_and_reads_secrets_from_files() -> None:
    pod = rendered(CHART / "templates" / "deployment.yaml")["spec"]["template"]["spec"]
    [container] = pod["containers"]
    probes = {name: container[name]["httpGet"]["path"] for name in container if name.endswith("Probe")}
    assert probes == {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}
    mounted = {item["name"]: item["mountPath"] for item in container["volumeMounts"]}
    assert set(mounted) == {volume["name"] for volume in pod["volumes"]}
    for variable in container["env"]:
        if variable["name"].endswith("_FILE"):
            assert variable["value"].startswith(mounted["secrets"] + "/")
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert loaded(CHART / "values.yaml")["replicas"] > 1


def test_helm_takes_the_chart(tmp_path: Path) -> None:
    if shutil.which("helm") is None:
        pytest.skip("helm is not installed")
    for command in (["helm", "lint", str(CHART)], ["helm", "template", "x", str(CHART)]):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_settings_of_the_chart_are_settings(tmp_path: Path) -> None:
    from doorleaf.settings.load import load

    (tmp_path / "doorleaf.toml").write_text(loaded(CHART / "values.yaml")["settings"], encoding="utf-8")
    assert load(config=tmp_path / "doorleaf.toml").log_format == "json"
