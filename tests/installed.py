"""Programs of others that tests run, from npm and PyPI, apart from the project's own packages.

Each is installed once, in a folder that is kept from one run of the tests to the next.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def npm(config: pytest.Config, factory: pytest.TempPathFactory, name: str, *packages: str) -> Path:
    """A folder with ``packages`` (``name@version`` each) in its ``node_modules``; skips where they cannot be had."""
    program = shutil.which("npm")
    if shutil.which("node") is None or program is None:
        pytest.skip("node and npm are not installed")
    folder = _folder(config, factory, name)
    if _is_there(folder, packages):
        return folder
    (folder / "package.json").write_text('{"private": true, "type": "module"}')
    _run(folder, program, "install", "--ignore-scripts", "--no-audit", "--no-fund", "--save-exact", *packages)
    return _done(folder, packages)


def pypi(config: pytest.Config, factory: pytest.TempPathFactory, name: str, *packages: str) -> Path:
    """The Python of a virtual environment that has ``packages`` (``name==version`` each)."""
    folder = _folder(config, factory, f"{name}-{sys.version_info.major}.{sys.version_info.minor}")
    python = folder / "bin" / "python"
    if not _is_there(folder, packages):
        _run(folder, sys.executable, "-m", "venv", "--clear", ".")
        _run(folder, str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages)
        _done(folder, packages)
    return python


def _folder(config: pytest.Config, factory: pytest.TempPathFactory, name: str) -> Path:
    cache = getattr(config, "cache", None)
    return factory.mktemp(name) if cache is None else Path(cache.mkdir(name))


def _is_there(folder: Path, packages: tuple[str, ...]) -> bool:
    mark = folder / "installed.txt"
    return mark.is_file() and mark.read_text() == "\n".join(packages)


def _done(folder: Path, packages: tuple[str, ...]) -> Path:
    (folder / "installed.txt").write_text("\n".join(packages))
    return folder


def _run(folder: Path, *command: str) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip("the package registry does not answer")
    if done.returncode != 0:
        pytest.skip(f"the package registry gives nothing: {done.stderr[-300:]}")
