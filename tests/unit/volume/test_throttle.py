"""How long a write is held back as the journal fills."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from controller.volume.journaled import JournaledPath
from controller.volume.settings import parse_server
from controller.volume.throttle import HELD_SECONDS_MAX, MARK_SHARE, Filling, held_seconds, hold_back
from controller.volume.write_path import WritePath
from tests.support.volume_server import GroupFiles


class Journal:
    """Fuller and emptier as a script says; whoever looks wakes the waiter."""

    def __init__(self, fills: list[float], changed: threading.Condition, released_seconds: float) -> None:
        self.looks = 0
        self.released_seconds = released_seconds
        self._fills: Iterator[float] = iter(fills)
        self._changed = changed

    @property
    def fill_share(self) -> float:
        self.looks += 1
        threading.Thread(target=self._wake, daemon=True).start()
        return next(self._fills)

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()


def looks(fills: list[float], ended: Callable[[], bool], released_seconds: float) -> int:
    """How often a write that is held back looked at the fill."""
    changed = threading.Condition()
    journal = Journal(fills, changed, released_seconds)
    with changed:
        hold_back(changed, journal, ended, 20.0)
    return journal.looks


def test_nothing_below_the_mark_and_ever_more_above() -> None:
    assert [held_seconds(share) for share in (0.0, 0.5, MARK_SHARE)] == [0.0, 0.0, 0.0]
    held = [held_seconds(MARK_SHARE + step / 100) for step in range(1, 21)]
    assert held == sorted(held)
    assert 0.0 < held[0] < 0.01, "a journal just above the mark costs almost nothing"
    assert held_seconds(1.0) == held_seconds(2.0) == HELD_SECONDS_MAX


def test_the_wait_ends_when_there_is_room_or_nothing_to_wait_for() -> None:
    now = time.monotonic()
    assert looks([1.0, 1.0, 0.5], lambda: False, now) == 3
    assert looks([], lambda: True, now) == 0, "the path ends"
    assert looks([], lambda: False, now - 100.0) == 0, "the other site takes nothing"


@pytest.mark.parametrize("throttle", [True, False])
def test_the_write_path_holds_back_above_the_mark_only_and_only_when_told_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, throttle: bool
) -> None:
    held: list[float] = []

    def record(changed: threading.Condition, journal: Filling, ended: object, patience_seconds: float) -> None:
        held.append(journal.fill_share)

    monkeypatch.setattr("controller.volume.entrance.hold_back", record)
    files = GroupFiles(tmp_path, {"data": 8 << 20}, 1 << 20).create()
    document = files.document
    document["journal"]["throttle"] = throttle
    server = WritePath.open(parse_server(document))
    path, page = server._path, memoryview(bytes(4096))
    assert isinstance(path, JournaledPath)
    fills = []
    while path.appender.has_room(8):
        fills.append(path.appender.fill_share)
        server.write(server.volumes["data"], page, 0)
    server.close()
    record_share = 4096 / ((1 << 20) * 31 / 32)
    assert [share for share in fills if share > MARK_SHARE] != []
    assert held == ([share for share in fills if share > MARK_SHARE - record_share] if throttle else [])
