"""Commands of ``doorleaf`` as processes, and their reports."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import forked
from servers import _clean_environment

COMMAND = str(Path(sys.executable).parent / "doorleaf")


def command(folder: Path, *args: str, **env: str) -> dict[str, Any]:
    return {
        "args": [COMMAND, *args],
        "cwd": folder,
        "env": _clean_environment({"COLUMNS": "200", **env}),
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
    }


def run(folder: Path, *args: str, given: bytes = b"", code: int = 0, **env: str) -> tuple[str, str]:
    """What a command says on standard output and error."""
    done = forked.run(args, folder=folder, env=_clean_environment({"COLUMNS": "200", **env}), given=given)
    out, err = done.stdout.decode(), done.stderr.decode()
    assert done.returncode == code, out + err
    assert "Traceback" not in err
    return out, err


def report(folder: Path, *args: str, given: bytes = b"", code: int = 0, **env: str) -> dict[str, Any]:
    """The report of an import."""
    found: dict[str, Any] = json.loads(run(folder, "import", *args, "--json", given=given, code=code, **env)[0])
    return found


def counts(told: dict[str, Any]) -> dict[str, int]:
    names = ("rows", "inserted", "present", "matched", "modified", "upserted", "rejected")
    return {name: told[name] for name in names if told[name]}
