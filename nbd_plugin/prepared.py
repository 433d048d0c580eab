"""A server that is started before it is known what it serves: it has loaded all it needs, and opened nothing."""

from __future__ import annotations

import os
import signal
import time
from typing import Final

from controller.errors import UsageError
from nbd_plugin.ending import SIGNALS

POLL_SECONDS: Final = 0.002


def await_document(path: str, seconds: float) -> None:
    """Wait until server.json is there (it is whole then: it gets its name by a rename). Asked to end, the process ends.

    UsageError when it does not come in that time.
    """
    deadline = time.monotonic() + seconds
    while not os.path.exists(path):
        if time.monotonic() > deadline:
            raise UsageError(f"nothing to serve came within {seconds:g} s", hint=f"{path} is not there.")
        if signal.sigtimedwait(SIGNALS, POLL_SECONDS) is not None:
            os._exit(0)
