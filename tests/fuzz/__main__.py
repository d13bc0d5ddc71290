"""The fuzzer over HTTP, for as long as wanted: ``python tests/fuzz --seconds 3600 --seed 5``.

Starts ``doorleaf serve`` on an empty folder (on a MongoDB with ``--mongodb URI``), sends mutated requests, and ends
with status 1 when an answer was a fault of the server's.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from contextlib import AbstractContextManager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fuzzing import SETTINGS, Fuzzer, report
from sending import OverHttp
from servers import Doorleaf, doorleaf

from doorleaf.settings.write import toml


def main() -> int:
    """Run as the arguments say; 1 when something is wrong."""
    parser = argparse.ArgumentParser(prog="python tests/fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long (60)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed sends the same requests (1)")
    parser.add_argument("--mongodb", help="the URI of a MongoDB to use in place of the embedded database")
    chosen = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="doorleaf-fuzz-") as folder,
        _server(Path(folder), chosen.mongodb) as server,
    ):
        send = OverHttp(server)
        fuzzer = Fuzzer(send, chosen.seed, server.key, embedded=not chosen.mongodb, live=True, talk=send.talk)
        until = time.monotonic() + chosen.seconds
        fuzzer.run(lambda: time.monotonic() > until)
        fuzzer.inspect()
        send.close()
        fuzzer.problems += send.problems
        log = server.output()
        if (at := log.find("Traceback")) >= 0:
            fuzzer.problems.append("the log has a traceback:\n" + log[max(0, at - 1000) : at + 6000])
    print(f"seed {chosen.seed}: {fuzzer.sent} requests, {fuzzer.accepted} accepted, slowest {fuzzer.slowest:.2f} s")
    print(report(fuzzer.problems))
    return 1 if fuzzer.problems else 0


def _server(folder: Path, mongodb: str | None) -> AbstractContextManager[Doorleaf]:
    config = folder / "settings.toml"
    config.write_text(toml(SETTINGS | ({"uri": mongodb} if mongodb else {})))
    return doorleaf(folder / "data", "--config", str(config))


if __name__ == "__main__":
    raise SystemExit(main())
