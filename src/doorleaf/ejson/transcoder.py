"""The native part, ``native/*.c``: None where the package was built without a compiler."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

native: ModuleType | None
try:
    native = import_module("doorleaf.ejson._transcode")
    native.bson, native.document, native.documents, native.reply, native.request  # noqa: B018  # one that was built from other sources is none
except (ImportError, AttributeError):
    native = None
