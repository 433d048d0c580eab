"""The ledger of drills: one JSON line whenever something became known of one, never changed afterwards.

Owns the file of the whole appliance; the last line of a number counts. It
outlives the groups that it speaks of. A line that a crash cut is passed over.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

from controller import durable
from controller.api.drills import Drill
from controller.errors import StorageError
from controller.lines import append_line, parsed_lines

DRILLS_MAX: Final = 2000
FILE_BYTES_MAX: Final = 4 << 20


class Ledger:
    """Any thread may call."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._drills: dict[int, Drill] = {}
        for line in parsed_lines(path):
            with suppress(ValueError):
                drill = Drill.model_validate(line)
                self._drills[drill.number] = drill

    def write(self, drill: Drill) -> Drill:
        """Durable when this returns. StorageError: what is known of the drill is what was known before."""
        with self._lock:
            size = append_line(self._path, drill.model_dump_json())
            self._drills[drill.number] = drill  # what a restart finds is told
            if size > FILE_BYTES_MAX:
                with suppress(StorageError):  # the line is there; the next one tries again
                    self._compact()
        return drill

    def all(self, group: str | None = None) -> list[Drill]:
        """By number; of one group, or of all."""
        with self._lock:
            drills = [self._drills[number] for number in sorted(self._drills)]
        return [drill for drill in drills if group in (None, drill.group)]

    def next_number(self) -> int:
        with self._lock:
            return max(self._drills, default=0) + 1

    def _compact(self) -> None:
        kept = sorted(self._drills)[-DRILLS_MAX:]
        drills = {number: self._drills[number] for number in kept}
        lines = (drill.model_dump_json().encode() + b"\n" for drill in drills.values())
        durable.write_bytes(self._path, b"".join(lines))
        self._drills = drills
