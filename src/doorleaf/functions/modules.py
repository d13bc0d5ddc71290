"""``require`` in JavaScript functions: packages of the app's own ``functions/node_modules``, read only.

Files are found as Node.js finds CommonJS modules (https://nodejs.org/api/modules.html), and nothing outside of the
folder is, whatever links say.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from doorleaf.errors import InvalidParameter, NotFound, Unsupported

MAX_BYTES = 5 * 1024 * 1024
MOST_FILES = 5000
"""Files that are remembered, of one version of the app."""

BUILT_IN = frozenset(
    [
        "assert",
        "async_hooks",
        "buffer",
        "child_process",
        "cluster",
        "console",
        "constants",
        "crypto",
        "dgram",
        "diagnostics_channel",
        "dns",
        "domain",
        "events",
        "fs",
        "http",
        "http2",
        "https",
        "inspector",
        "module",
        "net",
        "os",
        "path",
        "perf_hooks",
        "process",
        "punycode",
        "querystring",
        "readline",
        "repl",
        "stream",
        "string_decoder",
        "timers",
        "tls",
        "trace_events",
        "tty",
        "url",
        "util",
        "v8",
        "vm",
        "wasi",
        "worker_threads",
        "zlib",
    ]
)
_CONDITIONS = ("require", "node", "default")


class Modules:
    """The packages in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._root = folder.resolve()
        self._found: dict[tuple[str, str], tuple[str, str]] = {}

    def find(self, name: str, parent: str) -> tuple[str, str]:
        """The file that ``parent`` (a function's name or a module's file) means by ``name``, and what is in it.

        NotFound where there is none; Unsupported for the modules of Node.js itself.
        """
        known = self._found.get((name, parent))
        if known is not None:
            return known
        if len(name) > 500 or "\0" in name or "\\" in name:
            raise InvalidParameter("require: expected the name of a module")
        plain = name.removeprefix("node:")
        if plain != name or (plain.partition("/")[0] in BUILT_IN and not (self._root / plain).exists()):
            raise Unsupported(f"the module {plain!r} of Node.js is not available in a function")
        for path in self._candidates(name, parent):
            real = path.resolve()
            if real.is_file() and real.is_relative_to(self._root):
                if real.stat().st_size > MAX_BYTES:
                    raise InvalidParameter(f"the module {name!r} is larger than {MAX_BYTES // 1024 // 1024} MiB")
                file = f"node_modules/{real.relative_to(self._root).as_posix()}"
                found = file, real.read_text(encoding="utf-8")
                if len(self._found) < MOST_FILES:
                    self._found[name, parent] = found
                return found
        raise NotFound(f"there is no module {name!r} in functions/node_modules", code="FunctionNotFound")

    def _candidates(self, name: str, parent: str) -> Iterator[Path]:
        inside = parent.startswith("node_modules/")
        if name.startswith("."):
            if not inside:
                raise InvalidParameter(
                    "require: a function has packages alone; other functions: context.functions.execute"
                )
            beside = (self._root / parent.removeprefix("node_modules/")).parent / name
            yield from self._folder(beside) if name.endswith(("/", ".")) else self._files(beside)
            return
        parts = name.split("/")
        length = 2 if name.startswith("@") else 1
        package, rest = "/".join(parts[:length]), "/".join(parts[length:])
        folders = [self._root]
        if inside:  # a package may have packages of its own
            at = (self._root / parent.removeprefix("node_modules/")).parent
            while at != self._root and at.is_relative_to(self._root):
                folders.insert(-1, at / "node_modules")
                at = at.parent
        for folder in folders:
            yield from self._package(folder / package, rest)

    def _package(self, folder: Path, rest: str) -> Iterator[Path]:
        about = _about(folder)
        exported = about.get("exports")
        if exported is not None:
            target = _exported(exported, f"./{rest}" if rest else ".")
            if target is not None:
                yield folder / target
                return
        yield from self._files(folder / rest if rest else folder)

    def _files(self, path: Path) -> Iterator[Path]:
        yield path
        for ending in (".js", ".cjs", ".json"):
            yield path.with_name(path.name + ending)
        yield from self._folder(path)

    def _folder(self, path: Path) -> Iterator[Path]:
        if path.is_dir():
            main = _about(path).get("main")
            if isinstance(main, str) and main:
                yield from (path / main, path / f"{main}.js", path / main / "index.js")
            yield path / "index.js"
            yield path / "index.json"


def _about(folder: Path) -> dict[str, Any]:
    try:
        about = orjson.loads((folder / "package.json").read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return {}
    return about if isinstance(about, dict) else {}


def _exported(exported: Any, path: str) -> str | None:
    """The file that ``exports`` of a package has for ``path``; None where it has none."""
    if isinstance(exported, dict) and any(key.startswith(".") for key in exported):
        target = exported.get(path)
        if target is None:
            for pattern, inner in exported.items():
                before, star, after = pattern.partition("*")
                if star and path.startswith(before) and path.endswith(after) and len(path) >= len(pattern) - 1:
                    chosen = _conditional(inner)
                    middle = path[len(before) : len(path) - len(after)]
                    return None if chosen is None else chosen.replace("*", middle)
        return _conditional(target)
    return _conditional(exported) if path == "." else None


def _conditional(target: Any) -> str | None:
    if isinstance(target, str):
        return target
    if isinstance(target, list):
        return next((found for item in target if (found := _conditional(item)) is not None), None)
    if isinstance(target, dict):
        for condition, inner in target.items():
            if condition in _CONDITIONS and (found := _conditional(inner)) is not None:
                return found
    return None
