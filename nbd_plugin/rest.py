"""Loads the rest of the program, once volumes are served.

A server that has no journal yet serves without what reads and writes one. It
must not find that on the disk only when it is asked to journal: by then the
disk may be bad, or hold another release than the one that runs.
"""

from __future__ import annotations

import threading
from importlib import import_module
from typing import Final

MODULES: Final = ("controller.volume.opening", "controller.journal.moving", "controller.inband.runs")


class Rest:
    """A thread of a tenth of a second."""

    def __init__(self) -> None:
        self._thread = threading.Thread(target=_load, name="load the rest")

    def start(self) -> None:
        self._thread.start()

    def wait(self) -> None:
        """Wait until nothing is loaded any more; the interpreter must not end before."""
        self._thread.join()


def _load() -> None:
    for name in MODULES:
        import_module(name)
