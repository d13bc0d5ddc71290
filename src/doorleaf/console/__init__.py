"""The documentation page at ``/docs``: it renders ``/openapi.json`` and sends requests, offline.

Its files lie beside this module and are served as they are. The page works under a content security policy of
``default-src 'self'``: no inline script or style, nothing from elsewhere. A key that is typed stays in the page.
"""

from __future__ import annotations

from importlib.resources import files

PATHS: dict[str, tuple[str, bytes]] = {
    "/docs": ("docs.html", b"text/html; charset=utf-8"),
    "/docs/docs.js": ("docs.js", b"text/javascript; charset=utf-8"),
    "/docs/docs.css": ("docs.css", b"text/css; charset=utf-8"),
    "/docs/icon.svg": ("icon.svg", b"image/svg+xml"),
}
"""Where each file is served: its name here and its content type."""


def assets() -> dict[str, tuple[bytes, bytes]]:
    """Every file of the page by URL path: content type and content."""
    folder = files(__name__)
    return {path: (content_type, (folder / name).read_bytes()) for path, (name, content_type) in PATHS.items()}
