#!/usr/bin/env python3
"""``doorleaf import`` and ``export`` beside ``insert_many`` and ``find`` of the driver, directly and over HTTP, on both
engines: rows a second, processor time of our processes for each row, and the most memory of all of them together.

``python bench/transfer.py`` takes 10,000, 100,000 and 1,000,000 rows (memory has to be the same) and a wire-protocol
server of its own (``--uri`` names a MongoDB); ``--rows 10000`` looks for a broken benchmark.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from pymongo import MongoClient

BESIDE = Path(sys.executable).parent
BATCH = 1_000
KEY = "bench-" + "k" * 32
GOAL = 0.6
"""The part of the driver's rate that an import has to have."""


def documents(rows: int) -> Iterator[dict[str, Any]]:
    """Documents as applications have them: about 250 bytes of JSON."""
    since = datetime.datetime(2024, 5, 31, 16, 8, 37, 171000)
    for number in range(rows):
        yield {
            "number": number,
            "name": f"Zoë Hansen-Okafor {number}",
            "email": f"person{number}@example.org",
            "rating": number / 7,
            "member": number % 3 == 0,
            "since": since,
            "home": {"town": "Trondheim", "code": f"{number % 10000:04}", "place": [63.43049, 10.39506]},
            "labels": ["early", "newsletter"],
        }


def write(path: Path, rows: int) -> None:
    with path.open("w", encoding="utf-8") as file:
        for document in documents(rows):
            document["since"] = {"$date": "2024-05-31T16:08:37.171Z"}
            file.write(json.dumps(document, ensure_ascii=False) + "\n")


@dataclass(slots=True)
class Measured:
    """Rows a second, microseconds of processor time for each row, and MiB."""

    rate: float
    processor: float
    memory: float = 0.0

    def told(self, title: str, base: Measured) -> None:
        memory = f"{self.memory:>6,.0f} MiB" if self.memory else " " * 10
        times = f"{self.rate:>9,.0f} rows/s {self.processor:>7.1f} µs/row"
        print(f"{title:<44}{times} {memory} {self.rate / base.rate:>6.2f}", flush=True)


def insert(uri: str, rows: int) -> Measured:
    """``insert_many`` of the driver, as an application calls it."""
    with MongoClient[dict[str, Any]](uri) as client:
        client.bench.driver.drop()
        began, processor, batch = time.monotonic(), time.process_time(), list[dict[str, Any]]()
        for document in documents(rows):
            batch.append(document)
            if len(batch) == BATCH:
                client.bench.driver.insert_many(batch)
                batch = []
        if batch:
            client.bench.driver.insert_many(batch)
        return Measured(rows / (time.monotonic() - began), (time.process_time() - processor) / rows * 1e6)


def find(uri: str, rows: int) -> Measured:
    """``find`` of the driver over all documents, each written as a line, and the end of the collection."""
    with MongoClient[dict[str, Any]](uri) as client, open(os.devnull, "w") as file:
        began, processor = time.monotonic(), time.process_time()
        for document in client.bench.driver.find():
            file.write(json.dumps(document, default=str))
        found = Measured(rows / (time.monotonic() - began), (time.process_time() - processor) / rows * 1e6)
        client.bench.driver.drop()
        return found


class Watch:
    """The memory of processes with all below them, looked at ten times a second; what they share counts once."""

    def __init__(self, *roots: int) -> None:
        self._roots = roots
        self.peak = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        while not self._over.wait(0.1):
            size = 0
            for root in self._roots:
                for part in tree(root):
                    with contextlib.suppress(psutil.Error):
                        size += part.memory_full_info().pss
            self.peak = max(self.peak, size)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def tree(root: int) -> list[psutil.Process]:
    """A process and all below it."""
    try:
        process = psutil.Process(root)
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def spent(root: int | None) -> float:
    """Seconds of processor time of commands that have ended, and of a server with all below it."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = ended.ru_utime + ended.ru_stime
    for part in tree(root) if root is not None else ():
        with contextlib.suppress(psutil.Error):
            seconds += sum(part.cpu_times())
    return seconds


def measured(folder: Path, rows: int, server: int | None, *args: str) -> Measured:
    """One command, its start included, with the server that it speaks to."""
    began, processor = time.monotonic(), spent(server)
    command = [str(BESIDE / "doorleaf"), *args]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    with Watch(process.pid, *([] if server is None else [server])) as watch:
        out = process.communicate()[0].decode()
    seconds = time.monotonic() - began
    if process.returncode or (args[0] == "import" and f"{rows:,} inserted" not in out):
        sys.exit(f"bench: doorleaf {' '.join(args)} failed: {out}")
    return Measured(rows / seconds, (spent(server) - processor) / rows * 1e6, watch.peak / 2**20)


@contextlib.contextmanager
def wire_server(folder: Path) -> Iterator[str]:
    """The URI of a wire-protocol server on ``folder``."""
    folder.mkdir()
    (folder / "empty.toml").touch()
    options = ("--config", str(folder / "empty.toml"), "--host", "127.0.0.1", "--port", "0")
    command = [str(BESIDE / "secantusd-py"), *options, "--storage-path", str(folder / "data")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert process.stdout is not None
        line = next((line for line in process.stdout if "listening on" in line), "")
        if not line:
            sys.exit("bench: the wire-protocol server did not start")
        yield f"mongodb://{line.split('listening on ')[1].split()[0]}/?directConnection=true&retryWrites=false"
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def serving(folder: Path, *place: str) -> Iterator[tuple[int, str]]:
    """The process of a server on ``place``, and its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(BESIDE / "doorleaf"), "serve", "--port", str(port), *place]
    with open(folder / "server.log", "wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, stdout=log, stderr=log, env={**os.environ, "DOORLEAF_DATA_API_KEY": KEY}
        )
    try:
        for _ in range(600):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            if process.poll() is not None:
                sys.exit(f"bench: the server did not start: {(folder / 'server.log').read_text()}")
            time.sleep(0.1)
        yield process.pid, f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def both_ways(folder: Path, rows: int, title: str, bases: tuple[Measured, Measured], place: tuple[str, ...]) -> None:
    """An import and exports on ``place``, beside what the driver does; each into a collection that is not there."""
    for way, collection in (("directly", "bench.rows"), ("over HTTP", "bench.more_rows")):
        with contextlib.ExitStack() as stack:
            server, at = None, place
            if way == "over HTTP":
                server, url = stack.enter_context(serving(folder, *place))
                at = ("--url", url, "--key", KEY)
            into = ("import", "rows.ndjson", collection, *at)
            measured(folder, rows, server, *into).told(f"import into {title}, {way}", bases[0])
            for name in ("out.ndjson", "out.bson"):
                out = measured(folder, rows, server, "export", collection, name, *at)
                out.told(f"export from {title}, {way}, {name[4:]}", bases[1])
                (folder / name).unlink()


def run(rows: int, uri: str | None, engines: list[str]) -> None:
    folder = Path(tempfile.mkdtemp(prefix="doorleaf-bench-"))
    try:
        with contextlib.ExitStack() as stack:
            write(folder / "rows.ndjson", rows)
            uri = uri or stack.enter_context(wire_server(folder / "server"))
            bases = insert(uri, rows), find(uri, rows)
            print(f"\n{rows:,} rows, {(folder / 'rows.ndjson').stat().st_size / 2**20:,.0f} MiB")
            bases[0].told("insert_many of the driver", bases[0])
            bases[1].told("find of the driver, as lines", bases[1])
            places = {"mongodb": ("a MongoDB", ("--uri", uri)), "embedded": ("a data folder", ("--data-dir", "data"))}
            for engine in engines:
                both_ways(folder, rows, places[engine][0], bases, places[engine][1])
    finally:
        shutil.rmtree(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--engine", choices=("mongodb", "embedded"), nargs="+", default=["mongodb", "embedded"])
    parser.add_argument("--uri", help="a MongoDB to use; its database bench is overwritten")
    given = parser.parse_args()
    for rows in given.rows:
        run(rows, given.uri, given.engine)
    print(f"\nthe last column is the part of the driver's rate; an import has to have {GOAL} over MongoDB")


if __name__ == "__main__":
    main()
