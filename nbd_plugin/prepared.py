"""A server that is started before it is known what it serves: it has loaded all it needs, and opened nothing."""

from __future__ import annotations

import os
import signal
from typing import Final

from nbd_plugin.ending import SIGNALS

INPUT: Final = 0


def await_word() -> None:
    """Wait until the controller says that server.json is there. Asked to end, or left alone, the process ends."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)  # nbdkit takes them only when it serves
    said = os.read(INPUT, 1)
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    if not said:
        os._exit(0)  # the controller is gone; the next one prepares another
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, INPUT)
    os.close(nothing)
