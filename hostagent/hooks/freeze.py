"""File systems of this host that stand still for a moment; the agent's side of `warden.py`."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from controller.errors import ConflictError
from hostagent.hooks import warden

WARDEN: Final = str(Path(warden.__file__).resolve())
END_SECONDS: Final = 10.0  # a thaw takes no time; a freeze under way is waited for


class Frozen:
    """From `freeze` until `thaw`, or until the time is over, or this process dies."""

    def __init__(self, points: Sequence[str], seconds: float) -> None:
        """ConflictError when one of them cannot be frozen within that time; none is, then."""
        self.points = list(points)
        self._seconds = seconds
        self._process = subprocess.Popen(
            [sys.executable, "-I", WARDEN, str(seconds), *points],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], seconds)
        if not ready or not os.read(self._process.stdout.fileno(), 64).startswith(b"frozen"):
            self._refuse(late=not ready)

    def _refuse(self, *, late: bool) -> None:
        words = f"it took longer than {self._seconds:g} s" if late else ""
        _, said = self._end()
        raise ConflictError(
            f"cannot freeze {', '.join(self.points)}: {words or said.strip() or 'it ended at once'}",
            hint="Nothing is frozen now. Look at the file system and at the journal's fill, then try again.",
        )

    def thaw(self) -> None:
        """Let them go on; ConflictError when they did before, because the time was over."""
        code, _ = self._end()
        if code != warden.DONE:
            raise ConflictError(
                f"{', '.join(self.points)} did not stand still to the end: thawed after {self._seconds:g} s",
                hint="Make the hooks faster, or raise timeout_seconds in [hooks].",
            )

    def _end(self) -> tuple[int | None, str]:
        process = self._process
        try:
            _, errors = process.communicate(timeout=END_SECONDS)  # closes its input: it thaws
        except subprocess.TimeoutExpired:  # in the middle of a freeze; it thaws when that comes back
            threading.Thread(target=process.communicate, name="warden", daemon=True).start()
            return None, "it is still at it"
        if process.returncode not in (warden.DONE, warden.LATE, warden.REFUSED):
            thaw_all(self.points)  # it was killed
        return process.returncode, errors.decode(errors="replace")


def thaw_all(points: Sequence[str]) -> None:
    """Thaw what an earlier agent and its warden left frozen; what is not frozen stays as it is."""
    for point in points:
        with suppress(OSError):
            descriptor = os.open(point, os.O_RDONLY | os.O_DIRECTORY)
            try:
                warden.thaw(descriptor)
            finally:
                os.close(descriptor)
