"""The page at /docs: whole, offline, and free of what its content security policy forbids."""

from __future__ import annotations

import re

from doorleaf import console

ASSETS = console.assets()
PAGE = ASSETS["/docs"][1].decode()
SCRIPT = ASSETS["/docs/docs.js"][1].decode()
STYLE = ASSETS["/docs/docs.css"][1].decode()


def test_assets() -> None:
    assert {path: kind.partition(b";")[0] for path, (kind, _) in ASSETS.items()} == {
        "/docs": b"text/html",
        "/docs/docs.js": b"text/javascript",
        "/docs/docs.css": b"text/css",
        "/docs/icon.svg": b"image/svg+xml",
    }
    assert all(content for _, content in ASSETS.values())


def test_everything_is_served_here() -> None:
    linked = set(re.findall(r'(?:src|href)="([^"#]+)"', PAGE))
    assert linked <= ASSETS.keys() | {"/openapi.json"}
    for text in (PAGE, SCRIPT, STYLE):
        assert not re.search(r"(?:https?:)?//[a-z]+\.", text)
    assert "@import" not in STYLE
    assert "url(" not in STYLE


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
