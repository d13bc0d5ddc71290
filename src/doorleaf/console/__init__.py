"""The pages for people: the console at ``/console``, and the documentation at ``/docs``, which sends requests too.

The files of the documentation lie beside this module. Those of the console are built from ``console/`` into the folder
``built``, which is in the package but in no commit. Both speak the public API and nothing else, under policies that let
no inline script and nothing from elsewhere in. What is typed into a page stays there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import NamedTuple

Headers = tuple[tuple[bytes, bytes], ...]


class Asset(NamedTuple):
    """A file as it is served. One with a ``file`` is read from there each time, and takes no memory meanwhile."""

    content_type: bytes
    content: bytes
    headers: Headers = ()
    status: int = 200
    file: Traversable | None = None


DOCS: dict[str, tuple[str, bytes]] = {
    "/docs": ("docs.html", b"text/html; charset=utf-8"),
    "/docs/docs.js": ("docs.js", b"text/javascript; charset=utf-8"),
    "/docs/docs.css": ("docs.css", b"text/css; charset=utf-8"),
    "/docs/icon.svg": ("icon.svg", b"image/svg+xml"),
}
"""Where each file of the documentation is served: its name here and its content type."""

TYPES = {
    "js": b"text/javascript; charset=utf-8",
    "css": b"text/css; charset=utf-8",
    "txt": b"text/plain; charset=utf-8",
}
"""The content types of the files of the console, by the ends of their names."""

_SAFE: Headers = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
)
_POLICY = b"content-security-policy"
_DOCS_POLICY = b"default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
_CONSOLE_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    b"form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
_FOR_EVER = (b"cache-control", b"public, max-age=31536000, immutable")
_ASK_AGAIN = (b"cache-control", b"no-cache")
_NAMED_BY_CONTENT = re.compile(r"-[A-Z0-9]{8}\.(?:js|css)")

_MISSING = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>The console is not built</title><link rel="stylesheet" href="docs/docs.css"></head>
<body><main class="missing"><h1>The console is not built</h1>
<p>The server runs, and everything else is served. This page is a program that is built once, with Node.js 20 or later
and packages of the npm registry. In the checkout, <code>make console</code> does so and says what it lacks; then start
the server anew.</p>{why}
<p>Until then: the <a href="docs">documentation of this server</a>, which sends requests too.</p></main></body></html>
"""


def assets() -> dict[str, Asset]:
    """Every file of every page by URL path."""
    folder = files(__name__)
    docs = {
        path: Asset(kind, (folder / name).read_bytes(), (*_SAFE, (_POLICY, _DOCS_POLICY)))
        for path, (name, kind) in DOCS.items()
    }
    return {**docs, **dict(_console(folder))}


def _console(folder: Traversable) -> Iterator[tuple[str, Asset]]:
    """The files of the console; where it was not built, a page that says so and why."""
    built = folder / "built"
    headers = (*_SAFE, (_POLICY, _CONSOLE_POLICY), _ASK_AGAIN)
    page = built / "index.html"
    if not page.is_file():
        yield "/console", Asset(b"text/html; charset=utf-8", _missing(folder), headers, 503)
        return
    yield "/console", Asset(b"text/html; charset=utf-8", page.read_bytes(), headers)
    for file in built.iterdir():
        kind = TYPES.get(file.name.rpartition(".")[2])
        if kind is not None:
            kept = _FOR_EVER if _NAMED_BY_CONTENT.search(file.name) else _ASK_AGAIN
            yield f"/console/{file.name}", Asset(kind, b"", (*_SAFE, kept), file=file)


def _missing(folder: Traversable) -> bytes:
    import html  # whose names of all characters take a third of a megabyte

    told = folder / "missing.txt"
    why = f"<p>The last time {html.escape(told.read_text(encoding='utf-8'))}</p>" if told.is_file() else ""
    return _MISSING.format(why=why).encode()
