"""Builds the native transcoder along with the package, where there is a C compiler and Python's header files; and the
console, where it is not built yet and Node can be had.

Without them, and when compiling fails for any reason, the package is built without the transcoder: the Python that it
is a faster copy of gives the same answers. Without the console, its page says so.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCES = Path("src/doorleaf/ejson/native")
CONSOLE = Path("console/build.py")
TARGET = Path("src/doorleaf/ejson/_transcode.abi3.so")


class TranscoderHook(BuildHookInterface):  # type: ignore[type-arg]  # what it configures is nobody's business here
    """Compiles ``src/doorleaf/ejson/native`` to a module for the stable interface of Python 3.11 and later."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and say that the wheel is for this platform when that worked."""
        root = Path(self.root)
        if version == "standard" and (root / CONSOLE).is_file():  # a checkout that is only linked builds it by make
            done = subprocess.run(  # noqa: S603  # a program of our own
                [sys.executable, str(root / CONSOLE)], capture_output=True, text=True, check=False
            )
            if done.returncode != 0:
                self.app.display_warning(f"the console is not in the package: {done.stderr.strip()[-500:]}")
        (root / TARGET).unlink(missing_ok=True)
        command = compiler_command()
        if command is None:
            self.app.display_warning("no C compiler, or no Python.h: answers will be written in Python")
            return
        sources = [str(source) for source in sorted((root / SOURCES).glob("*.c"))]
        done = subprocess.run(  # noqa: S603  # the compiler that Python itself was made with
            [*command, *sources, "-lm", "-o", str(root / TARGET)], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            self.app.display_warning(f"the transcoder does not compile: {done.stderr.strip()[:500]}")
            return
        build_data["pure_python"] = False
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["tag"] = f"cp311-abi3-{platform}"


def compiler_command() -> list[str] | None:
    """The compiler with its flags, or None where there is none, or no header file of Python."""
    include = sysconfig.get_path("include")
    if sys.platform == "win32" or not (Path(include) / "Python.h").is_file():
        return None
    named = (os.environ.get("CC"), sysconfig.get_config_var("CC"), "cc")
    commands = [shlex.split(name) for name in named if name]
    command = next((command for command in commands if shutil.which(command[0])), None)
    if command is None:
        return None
    shared = ["-bundle", "-undefined", "dynamic_lookup"] if sys.platform == "darwin" else ["-shared", "-fPIC"]
    return [*command, "-std=c11", "-O2", "-Wall", "-Wextra", "-fvisibility=hidden", *shared, f"-I{include}"]
