"""Notices when a volume server changes how it treats host writes, and says so once.

Owns the last mode seen of each group. The server changes mode by itself (a
full journal, a disk that refuses); it is seen when somebody asks for the
journal's state, which agents do all the time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final

from controller.api.models import AcquisitionMode
from controller.events import Events

_WORDS: Final = {
    AcquisitionMode.SUSPENDED: ("error", "group.suspended", "journaling is suspended; changed regions are tracked"),
    AcquisitionMode.FAILED: ("error", "group.failed", "a journal or volume disk refused; writes are refused"),
    AcquisitionMode.JOURNAL: ("info", "group.journaling", "writes go to the journal"),
    AcquisitionMode.DIRECT: ("warning", "group.direct", "writes go to no journal"),
}


class Modes:
    """Any thread may call."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._lock = threading.Lock()
        self._last: dict[str, AcquisitionMode] = {}

    def note(
        self, group: str, uuid: str, mode: AcquisitionMode, facts: dict[str, Any], ordered: Callable[[], bool]
    ) -> None:
        """What a server says now; an event when it said something else before, or when it begins badly.

        `ordered` is asked when that event is a suspension: whether an operator wanted it.
        """
        with self._lock:
            before = self._last.get(uuid)
            self._last[uuid] = mode
        bad = mode in (AcquisitionMode.SUSPENDED, AcquisitionMode.FAILED)
        if mode is not before and (before is not None or bad):
            level, name, words = _WORDS[mode]
            if mode is AcquisitionMode.SUSPENDED and ordered():
                level = "info"
            self._events.emit(level, name, f"group {group}: {words}", facts, group=group)
