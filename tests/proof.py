"""What is promised about safety, shown for one state of the code: ``python tests/proof.py --kills 100 --minutes 60``.

Attempts on what is not the caller's, with honest callers beside them; hostile requests beside somebody who must not
notice; kills of the server and of the processes that read, write and build indexes; and the mutating fuzzer. It ends
with a line for each and status 1 when one did not hold.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ATTEMPTS = (
    "tests/access/test_red_team_*.py",
    "tests/access/test_workspace_red_team.py",
    "tests/access/test_keeping_out.py",
    "tests/process/test_cube_attempts.py",
)
HOSTILE = ("tests/process/test_hostile.py",)
KILLS = ("tests/process/test_killing.py", "tests/process/test_killing_bulk.py", "tests/embedded")


def main() -> int:
    """Run as the arguments say; 1 when something did not hold."""
    parser = argparse.ArgumentParser(prog="python tests/proof.py", description=__doc__)
    parser.add_argument("--kills", type=int, default=100, help="how often each is killed (100), on MongoDB 3 times")
    parser.add_argument("--rounds", type=int, default=1, help="how often all hostile requests are sent (1)")
    parser.add_argument("--minutes", type=float, default=60.0, help="how long the fuzzer sends (60)")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="the fuzzer's seed (the time)")
    chosen = parser.parse_args()
    if chosen.kills < 1 or chosen.rounds < 1:
        parser.error("--kills and --rounds are 1 at least")
    fuzz = [str(ROOT / "tests" / "fuzz"), "--seconds", str(60 * chosen.minutes), "--seed", str(chosen.seed)]
    print(f"the code is {_version()}", flush=True)
    told = [
        _run("attempts", _pytest(*ATTEMPTS)),
        _run("hostile requests", _pytest(*HOSTILE), DOORLEAF_TEST_HOSTILE_ROUNDS=str(chosen.rounds)),
        _run(f"{chosen.kills} kills of each", [*_pytest(*KILLS), "-k", "killing"], DOORLEAF_KILLS=str(chosen.kills)),
        _run("fuzzer", fuzz),
    ]
    print(*(line for line, _ in told), sep="\n")
    return int(any(failed for _, failed in told))


def _pytest(*patterns: str) -> list[str]:
    files = []
    for pattern in patterns:
        found = sorted(ROOT.glob(pattern))
        assert found, f"no file is called {pattern}"
        files += [str(path) for path in found]
    return ["-m", "pytest", "-o", "faulthandler_timeout=0", "-p", "no:cacheprovider", *files]


def _run(name: str, arguments: list[str], **environment: str) -> tuple[str, bool]:
    """Run Python with ``arguments``; a line that tells of it, and whether it failed."""
    began, last = time.monotonic(), ""
    settings = {**os.environ, "PYTHONHASHSEED": "0", **environment}
    command = [sys.executable, *arguments]
    with subprocess.Popen(command, cwd=ROOT, env=settings, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            if re.search(r"\d+ (passed|failed|error|requests)", line):
                last = line.strip(" =\n")
    end = "held" if process.returncode == 0 else "DID NOT HOLD"
    return f"{name}: {end} ({last or 'it said nothing'}; {time.monotonic() - began:.0f} s)", process.returncode != 0


def _version() -> str:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return found.stdout.strip() or "of no commit"


if __name__ == "__main__":
    raise SystemExit(main())
