"""The page at /docs: whole, offline, and free of what its content security policy forbids."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import orjson
import pytest
from asgi import KEY, application
from servers import doorleaf

from doorleaf import console

ASSETS = {path: asset for path, asset in console.assets().items() if path in console.DOCS}
PAGE = ASSETS["/docs"].content.decode()
SCRIPT = ASSETS["/docs/docs.js"].content.decode()
STYLE = ASSETS["/docs/docs.css"].content.decode()


def test_assets() -> None:
    assert {path: asset.content_type.partition(b";")[0] for path, asset in ASSETS.items()} == {
        "/docs": b"text/html",
        "/docs/docs.js": b"text/javascript",
        "/docs/docs.css": b"text/css",
        "/docs/icon.svg": b"image/svg+xml",
    }
    assert all(asset.content for asset in ASSETS.values())


def test_everything_is_served_here() -> None:
    linked = set(re.findall(r'(?:src|href)="([^"#]+)"', PAGE))
    assert {f"/{link}" for link in linked} <= ASSETS.keys() | {"/openapi.json"}, "relative, for a proxy's prefix"
    for text in (PAGE, SCRIPT, STYLE):
        assert not re.search(r"(?:https?:)?//[a-z]+\.", text)
    assert "@import" not in STYLE
    assert "url(" not in STYLE


def test_no_path_is_absolute() -> None:
    assert not re.search(r'(?:src|href|action)="/', PAGE)
    assert not re.search(r"fetch\([\"'`]/", SCRIPT)


def test_nothing_inline() -> None:
    assert not re.search(r"<script(?![^>]*\bsrc=)", PAGE)
    assert "<style" not in PAGE
    assert not re.search(r"\s(?:on[a-z]+|style)=", PAGE)
    for forbidden in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"):
        assert forbidden not in SCRIPT


def test_the_key_stays_in_the_page() -> None:
    assert '<input id="secret" type="password"' in PAGE
    for forbidden in ("localStorage", "sessionStorage", "indexedDB", "document.cookie", "console."):
        assert forbidden not in SCRIPT


def test_the_script_finds_its_elements() -> None:
    used = set(re.findall(r'\$\("([^"]+)"\)', SCRIPT))
    assert used
    assert used <= set(re.findall(r'\bid="([^"]+)"', PAGE))


def test_the_way_past_what_comes_first() -> None:
    assert re.search(r'<body>\s*<a class="skip" href="#content">', PAGE)
    assert re.search(r'<main id="content" tabindex="-1">', PAGE)
    assert ".skip:focus" in STYLE
    assert 'location.hash === "#content"' in SCRIPT, "which is no action"


def test_examples_of_the_administration_work(tmp_path: Path) -> None:
    with application(tmp_path, providers=("api-key", "local-userpass")) as app:
        document = app.call("GET", "/openapi.json").json
        variables = {"name": "reports", "workspace": "acme-orders"}
        seen = set()
        for path, methods in document["paths"].items():
            for method in ("post", "patch", "put"):
                operation = methods.get(method)
                if operation is None or not path.startswith("/api/admin/") or "requestBody" not in operation:
                    continue
                body = operation["requestBody"]["content"]["application/json"]["example"]
                answer = app.call(method.upper(), path.format(**variables), orjson.dumps(body), {"apiKey": KEY})
                if operation["operationId"] == "adminConfirmAccount":
                    assert (answer.status, answer.json["error_code"]) == (400, "UserAlreadyConfirmed")
                else:
                    assert answer.status in (200, 201, 204), (path, answer.body)
                if path.endswith("/users"):
                    variables["user_id"] = answer.json["id"]
                if path.endswith("/connectome"):
                    variables["id"] = app.call("GET", path, b"", {"apiKey": KEY}).json["credentials"][0]["id"]
                seen.add(operation["operationId"])
        assert seen == {
            "adminCreateKey", "adminChangeKey", "adminRotateKey", "adminCreateUser", "adminResetPassword",
            "adminConfirmAccount", "adminExplain", "adminCreateTenant", "adminCreateWorkspace", "adminChangeWorkspace",
            "adminCreateWorkspaceToken", "adminCreateWorkspaceKey", "adminCheckRules",
            "adminCreateCollectionCredentials", "adminRotateCollectionCredential",
        }  # fmt: skip


def test_the_page_in_a_browser(tmp_path: Path) -> None:
    """What the script makes of the document: parameters to fill in, examples, and the shape of answers."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no chromium is installed")
    with doorleaf(tmp_path / "data") as server:

        def shown(action: str) -> str:
            command = [
                *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
                *(f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=10000"),
                *("--dump-dom", f"{server.url}/docs#{action}"),
            ]
            return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout

        page = shown("adminRotateKey")
        assert re.search(r'<input id="parameter-path-name"[^>]*data-in="path"', page)
        assert re.search(r'<pre class="shape">\{[^<]*key: string', page)
        page = shown("adminListUsers")
        for name in ("after", "limit"):
            assert re.search(rf'<input id="parameter-query-{name}"', page)
        assert re.search(r'<select id="parameter-query-provider"', page)
        page = shown("findOne")
        assert re.search(r'<fieldset id="parameters" hidden', page)
        assert re.search(r'<pre class="shape">\{\s*document', page)
        assert "<td>sort</td><td>object</td>" in page
        assert "<td>hint</td><td>string or object</td>" in page
        assert " or </td>" not in page
