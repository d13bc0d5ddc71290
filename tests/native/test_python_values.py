"""The parts that make Python's values and read them touch no byte that is not theirs, whatever they are given."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from native_values import NATIVE_SOURCES, SANITIZED, sanitizing_compiler

HERE = Path(__file__).parent


def test_no_byte_is_touched_that_is_not_its_own(tmp_path: Path) -> None:
    include = Path(sysconfig.get_path("include"))
    if sys.platform != "linux" or not (include / "Python.h").is_file():
        pytest.skip("takes Linux, and the header files of Python")
    compiler = sanitizing_compiler(tmp_path)
    asked = [compiler, "-print-file-name=libasan.so"]
    library = Path(subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip())
    if not library.is_absolute():
        pytest.skip("the compiler has no AddressSanitizer that can be loaded into Python")
    names = ("encode.c", "values.c", "text.c", "numbers.c", "transcode.c")
    sources = [HERE / "fuzz_python.c", *(NATIVE_SOURCES / name for name in names)]
    command = [compiler, *SANITIZED, "-shared", "-fPIC", f"-I{include}", f"-I{NATIVE_SOURCES}", *map(str, sources)]
    command += ["-lm", "-o", str(tmp_path / "fuzz_python.so")]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr[-2000:]

    rounds = os.environ.get("DOORLEAF_TEST_FUZZ_ROUNDS", "1000")
    # Python's own allocator would have objects beside each other in blocks that are known as a whole alone.
    environment = {"LD_PRELOAD": str(library), "PYTHONMALLOC": "malloc", "ASAN_OPTIONS": "detect_leaks=0"}
    program = [sys.executable, str(HERE / "fuzz_python.py"), str(tmp_path), rounds, "1"]
    done = subprocess.run(
        program, capture_output=True, text=True, timeout=3600, env={**os.environ, **environment}, check=False
    )
    assert done.returncode == 0, f"{shlex.join(program)}: {done.stderr[-3000:]}"
    encoded, left, read, declined = map(int, done.stdout.split())
    assert min(encoded, left, read, declined) > 200
