#!/usr/bin/env python3
"""``doorleaf import`` and ``export`` beside ``insert_many`` of the driver: rows a second, and the most memory.

``python bench/transfer.py`` takes a million rows and a wire-protocol server of its own (``--uri`` names a MongoDB);
``--rows 10000`` looks for a broken benchmark, and at memory: it has to be the same.
"""

from __future__ import annotations

import argparse
import datetime
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from pymongo import MongoClient

BESIDE = Path(sys.executable).parent
BATCH = 1_000
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


def driver(uri: str, rows: int) -> float:
    """Rows a second of ``insert_many``."""
    with MongoClient[dict[str, Any]](uri) as client:
        client.bench.driver.drop()
        began, batch = time.monotonic(), list[dict[str, Any]]()
        for document in documents(rows):
            batch.append(document)
            if len(batch) == BATCH:
                client.bench.driver.insert_many(batch)
                batch = []
        if batch:
            client.bench.driver.insert_many(batch)
        seconds = time.monotonic() - began
        client.bench.driver.drop()
    return rows / seconds


def measured(folder: Path, rows: int, *args: str) -> tuple[float, float]:
    """Rows a second of a command, its start included, and the most MiB that it and its workers had together."""
    began = time.monotonic()
    process = psutil.Popen(
        [str(BESIDE / "doorleaf"), *args], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    peak = 0
    while process.poll() is None:
        size = 0
        for part in (process, *_children(process)):
            try:
                size += part.memory_info().rss
            except psutil.Error:
                continue
        peak = max(peak, size)
        time.sleep(0.05)
    out = process.communicate()[0].decode()
    if process.returncode or (args[0] == "import" and f"{rows:,} inserted" not in out):
        sys.exit(f"bench: doorleaf {' '.join(args)} failed: {out}")
    return rows / (time.monotonic() - began), peak / 2**20


def _children(process: psutil.Popen) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)  # type: ignore[no-any-return]
    except psutil.Error:
        return []


def started(folder: Path) -> tuple[subprocess.Popen[str], str]:
    """A wire-protocol server on ``folder``."""
    folder.mkdir()
    (folder / "empty.toml").touch()
    command = [
        str(BESIDE / "secantusd-py"),
        "--config",
        str(folder / "empty.toml"),
        "--host",
        "127.0.0.1",
        "--port",
        "0",
    ]
    process = subprocess.Popen(
        [*command, "--storage-path", str(folder / "data")], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "listening on" in line:
            return (
                process,
                f"mongodb://{line.split('listening on ')[1].split()[0]}/?directConnection=true&retryWrites=false",
            )
    sys.exit("bench: the wire-protocol server did not start")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--uri", help="a MongoDB to use; its database bench is overwritten")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="doorleaf-bench-"))
    server = None
    try:
        write(folder / "rows.ndjson", given.rows)
        uri = given.uri
        if uri is None:
            server, uri = started(folder / "server")
        base = driver(uri, given.rows)
        print(f"{given.rows:,} rows\n{'insert_many of the driver':<40}{base:>10,.0f} rows/s", flush=True)
        places = {"a MongoDB": ("--uri", uri), "a data folder": ("--data-dir", "data")}
        for title, place in places.items():
            into = ("import", "rows.ndjson", "bench.rows", "--drop", *place)
            rate, peak = measured(folder, given.rows, *into)
            print(
                f"{f'import into {title}':<40}{rate:>10,.0f} rows/s {peak:>8,.0f} MiB {rate / base:>6.2f}", flush=True
            )
            for name in ("out.ndjson", "out.bson"):
                rate, peak = measured(folder, given.rows, "export", "bench.rows", name, *place)
                print(f"{f'export from {title}, {name}':<40}{rate:>10,.0f} rows/s {peak:>8,.0f} MiB", flush=True)
    finally:
        if server is not None:
            server.terminate()
            server.wait()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
