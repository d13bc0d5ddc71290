"""The beginning of a JavaScript process: bounds that hold whatever happens, then Deno in its place.

Run as a program, ``launch.py DATA_BYTES PARENT COMMAND…``; it imports nothing of ours, so that it takes milliseconds.
"""

import ctypes
import os
import resource
import signal
import sys

NICE = 5
"""How much less of the processor it has than the server, which answers everybody else."""

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38


def main(data_bytes: int, parent: int, command: list[str]) -> None:
    """Bound this process and become ``command``; with ``parent`` it ends, also in the middle of a loop."""
    os.nice(NICE)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # what the server holds back as it starts is not held back here
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_DATA, (data_bytes, data_bytes))
        system = ctypes.CDLL(None)
        system.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        system.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:
            sys.exit(1)
    os.execv(command[0], command)  # noqa: S606  # the command is ours


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
