"""Freezes file systems and thaws them whatever happens: a small process beside the agent.

Run by path, `warden.py SECONDS POINT...`; imports nothing of ours, so that it
starts fast and outlives a broken installation. It says "frozen" on its output
when all of them stand still, and thaws when its input ends (the agent is done,
or was killed), when its time is over, or when it is told to end. Exit codes:
0 thawed in time, 3 its time was over first, 4 it could not freeze (its error
output says why; what it froze is thawed).
"""

import fcntl
import os
import select
import signal
import sys
import time
from types import FrameType

FIFREEZE = 0xC0045877
FITHAW = 0xC0045878
DONE, LATE, REFUSED = 0, 3, 4


class Told(Exception):  # noqa: N818 - not an error: somebody wants us to end
    pass


def main(seconds: float, points: list[str]) -> int:
    """Freeze, wait, thaw."""
    deadline = time.monotonic() + seconds
    held: list[int] = []

    def told(number: int, frame: FrameType | None) -> None:
        raise Told

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, told)
    try:
        for point in points:
            descriptor = os.open(point, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.ioctl(descriptor, FIFREEZE, 0)
            except OSError as error:
                print(f"{point}: {os.strerror(error.errno or 0).lower()}", file=sys.stderr, flush=True)
                return REFUSED
            held.append(descriptor)
        os.write(1, b"frozen\n")
        ended, _, _ = select.select([0], [], [], max(0.0, deadline - time.monotonic()))
        return DONE if ended and time.monotonic() < deadline else LATE
    except (Told, OSError):
        return LATE
    finally:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        for descriptor in reversed(held):
            thaw(descriptor)


def thaw(descriptor: int) -> None:
    """One that is not frozen any more is thawed."""
    try:
        fcntl.ioctl(descriptor, FITHAW, 0)
    except OSError:
        return


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), sys.argv[2:]))
