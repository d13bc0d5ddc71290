"""Every command block of the README and the documentation, run as it is written.

A page is read from top to bottom in shells of a temporary home, in a copy of the checkout that is installed already.
Who reads another page than the README and the quickstart has followed the quickstart: the command is on the path, a
server runs, and ``$KEY`` is set. What stands for something of the reader's is put in: the key, the database's address,
and the port, since 3000 may be taken.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from exported_app import FILES
from servers import _clean_environment, free_port, mongodb_uri_from_environment, secantus

ROOT = Path(__file__).parent.parent.parent
PAGES = ["README.md", "CONTRIBUTING.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))]
FIRST = ("README.md", "docs/quickstart.md")
"""Pages that begin with nothing; those of ``docs/deploy`` start servers of their own."""

NOT_RUN = {
    "make test": "it runs these tests",
    "docker ": "needs a container engine",
    "helm ": "needs a cluster",
    "kubectl ": "needs a cluster",
    "sudo ": "changes the machine",
}
"""Beginnings of lines that cannot be run here, and why."""

SERVES = re.compile(r"(?:make serve|(?:\.venv/bin/)?doorleaf serve)\b")
CURL = 'curl() { command curl --silent --show-error --fail-with-body --max-time 60 "$@"; }\n'


def blocks(page: str) -> list[str]:
    return re.findall(r"```sh\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)


WITH_BLOCKS = [page for page in PAGES if blocks(page)]


class Reader:
    """Somebody who follows a page in ``folder``."""

    def __init__(self, folder: Path, mongodb: str | None) -> None:
        self.checkout = folder / "doorleaf"
        self.state = folder / "state.sh"
        self.port = free_port()
        self.mongodb = mongodb
        self.key = ""
        self.server: subprocess.Popen[bytes] | None = None
        self.log = folder / "server.log"
        (folder / "home").mkdir()
        self.checkout.mkdir()
        for path in ROOT.iterdir():
            if path.is_file():
                shutil.copy2(path, self.checkout / path.name)
        for name in ("src", "docs", "console"):
            (self.checkout / name).symlink_to(ROOT / name)
        shutil.copytree(ROOT / "deploy", self.checkout / "deploy")
        self._install(Path(sys.prefix))
        self.environment = _clean_environment({"HOME": str(folder / "home"), "COLUMNS": "120", "BASH_ENV": None})
        self.environment.pop("VIRTUAL_ENV", None)
        beside = str(Path(sys.executable).parent)
        parts = [part for part in self.environment["PATH"].split(os.pathsep) if part != beside]
        self.environment["PATH"] = os.pathsep.join(parts)
        self.state.write_text(f"cd {self.checkout}\n{CURL}")

    def _install(self, there: Path) -> None:
        """An environment in ``.venv`` that is up to date for ``make``, with what is installed ``there``."""
        venv = self.checkout / ".venv"
        (venv / "bin").mkdir(parents=True)
        for name in ("python", "pip", "doorleaf"):
            (venv / "bin" / name).symlink_to(there / "bin" / name)
        (venv / "bin" / "activate").write_text(f'export PATH="{venv}/bin:$PATH"\n')
        for stamp in (".runtime", ".development"):
            (venv / stamp).touch()

    def put_in(self, text: str) -> str:
        """``text`` with what stands for something of the reader's."""
        if self.mongodb is not None:
            text = text.replace("localhost:27017", self.mongodb)
        return text.replace("127.0.0.1:3000", f"127.0.0.1:{self.port}").replace("dl_…", self.key)

    def run(self, text: str) -> str:
        """Run lines that end by themselves; what they print. The shell's variables and folder stay."""
        script = f'set -e\n. {self.state}\n{self.put_in(text)}\n{{ export -p; echo cd "$PWD"; }} >{self.state}.new\n'
        # Who is asked for a password types the same one each time.
        done = subprocess.run(
            ["bash", "-c", f"yes correct-horse-battery | bash -c {quoted(script)}"],
            env=self.environment, capture_output=True, text=True, timeout=400, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        self.state.write_text(CURL + Path(f"{self.state}.new").read_text())
        return done.stdout

    def serve(self, command: str) -> None:
        """Start a server as ``command`` says, instead of one that runs, and wait for it."""
        self.stop()
        script = f". {self.state}\nexport DOORLEAF_PORT={self.port}\nexec {self.put_in(command)}"
        with self.log.open("wb") as output:
            self.server = subprocess.Popen(
                ["bash", "-c", script], env=self.environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True,
            )  # fmt: skip
        until = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5) as answer:
                    assert answer.status == 200
                    break
            except OSError:
                assert self.server.poll() is None, self.log.read_text()
                assert time.monotonic() < until, self.log.read_text()
                time.sleep(0.05)
        found = re.search(r"dl_[A-Za-z0-9]{64}", self.log.read_text())
        self.key = found[0] if found else self.key

    def stop(self) -> None:
        if self.server is not None:
            if self.server.poll() is None:
                os.killpg(self.server.pid, signal.SIGTERM)
            self.server.wait(60)
            self.server = None

    def follow(self, block: str) -> None:
        """Run a block line by line where it serves, else at once."""
        waiting: list[str] = []
        for line in re.findall(r"(?:.*\\\n)*.*\n", block):  # with what it goes on with
            if any(line.startswith(beginning) for beginning in NOT_RUN):
                continue
            if SERVES.match(line):
                if waiting:
                    self.run("".join(waiting))
                waiting = []
                self.serve(line.partition(" #")[0].strip())
            else:
                waiting.append(line)
        if "".join(waiting).strip():
            self.run("".join(waiting))


def quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


@pytest.fixture(scope="module")
def mongodb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str | None]:
    """The address of a MongoDB whose user has the rights that the README names, and no other."""
    if mongodb_uri_from_environment():
        yield None
        return
    import asyncio

    from doorleaf.operations import Namespace, RunCommand
    from doorleaf.stores.mongo import MongoStore

    folder = tmp_path_factory.mktemp("mongodb") / "db"
    roles = [{"role": "readWrite", "db": name} for name in ("shop", "doorleaf")]

    async def user(uri: str) -> None:
        store = MongoStore(uri)
        await store.open()
        command = {"createUser": "user", "pwd": "password", "roles": roles}
        await store.execute(RunCommand(namespace=Namespace("admin"), command=command))
        await store.close()

    with secantus(folder) as server:
        asyncio.run(user(server.uri))
    with secantus(folder, "--auth") as server:
        yield server.uri.partition("://")[2].partition("/")[0]


@pytest.mark.timeout(900)  # a page may have twenty commands, and each starts a Python, however busy the machine is
@pytest.mark.parametrize("page", WITH_BLOCKS)
def test_commands_do_what_the_page_says(page: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    for program in ("bash", "curl", "make"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}")
    found = blocks(page)
    asks = any("localhost:27017" in block for block in found)
    address = request.getfixturevalue("mongodb") if asks else None
    if asks and address is None:
        pytest.skip("needs a MongoDB of its own, whose users it makes")
    runnable = [block for block in found if not all(_is_not_run(line) for line in block.splitlines())]
    if not runnable:
        pytest.skip("nothing on this page can run here: " + "; ".join(sorted(set(filter(None, map(_why, found))))))
    reader = Reader(tmp_path, address)
    try:
        if page not in FIRST and not page.startswith("docs/deploy/"):
            reader.run(". .venv/bin/activate\n")
            reader.serve("doorleaf serve")
            reader.run("export KEY=dl_…\n")
            write_app(reader.checkout / "my-app")
        for block in runnable:
            reader.follow(block)
        assert "Traceback" not in (reader.log.read_text() if reader.log.exists() else "")
    finally:
        reader.stop()


def write_app(folder: Path) -> None:
    """An exported app, for a page that takes one over."""
    import json

    for name, content in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content), encoding="utf-8")


def _is_not_run(line: str) -> bool:
    return not line.strip() or line.startswith((" ", "#")) or any(line.startswith(start) for start in NOT_RUN)


def _why(block: str) -> str:
    return next((why for start, why in NOT_RUN.items() if re.search(rf"^{start}", block, re.MULTILINE)), "")


def test_what_is_not_run_is_there() -> None:
    """A reason for a line that no page has is a reason too many."""
    text = "\n".join(block for page in PAGES for block in blocks(page))
    assert [start for start in NOT_RUN if not re.search(rf"^{start}", text, re.MULTILINE)] == []
