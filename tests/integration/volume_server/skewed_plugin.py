"""nbdkit script: the volume server on a machine whose clock runs ahead by the nanoseconds in the file PAIRVOL_CLOCK."""

from __future__ import annotations

import os
import time
from pathlib import Path

from controller.journal.pointers import Position
from controller.journal.volume import JournalVolume
from controller.volume import append, journaled

_offset = Path(os.environ["PAIRVOL_CLOCK"])


def _clock() -> int:
    return time.time_ns() + int(_offset.read_text())


def _open_appender(journal: JournalVolume, tail: Position) -> append.AnyAppender:
    kind = append.Appender if os.environ.get("PAIRVOL_APPEND") == "plain" else append.CompiledAppender
    return kind(journal, tail, _clock)


setattr(journaled, "open_appender", _open_appender)  # noqa: B010 - mypy forbids the plain assignment

from nbd_plugin.plugin import *  # noqa: E402, F403
