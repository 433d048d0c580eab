"""SIGTERM: end the server although clients are connected.

nbdkit by itself waits on SIGTERM until the last client goes, and a mounted
volume's client never does. So the signal is blocked in every thread and taken
by one of ours, which asks nbdkit to end and hangs up on all clients; nbdkit
then calls `cleanup`, where everything is brought to the stores.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Final

SIGNALS: Final = frozenset({signal.SIGTERM, signal.SIGINT})
AGAIN_SECONDS: Final = 0.05

# On import, in the main thread and before any other thread is started: all of them inherit it.
signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


class Ending:
    """The thread that waits for the signal. `shutdown` asks nbdkit to end."""

    def __init__(self, shutdown: Callable[[], None]) -> None:
        self._shutdown = shutdown
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ending", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def over(self) -> None:
        """The clients are gone: end the thread, whatever ended the server."""
        self._over.set()
        if self._thread.is_alive():
            assert self._thread.ident is not None
            with contextlib.suppress(ProcessLookupError):  # it may end by itself just now
                signal.pthread_kill(self._thread.ident, signal.SIGTERM)
            self._thread.join()

    def _run(self) -> None:
        signal.sigwait(SIGNALS)
        if self._over.is_set():
            return
        self._shutdown()
        # Again and again: one that was accepted a moment ago may only now be in its first read.
        while True:
            hang_up()
            if self._over.wait(AGAIN_SECONDS):
                return


def hang_up() -> None:
    """Break every connection that this process has accepted on nbdkit's listening sockets."""
    for file in _sockets():
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(file)) as link:
            if link.family == socket.AF_UNIX and not link.getsockname():
                continue  # one that we dialled, or half of a pair
            link.getpeername()  # raises for a listener
            link.shutdown(socket.SHUT_RDWR)


def _sockets() -> Iterator[int]:
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                yield int(name)
