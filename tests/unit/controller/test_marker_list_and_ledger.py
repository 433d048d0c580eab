"""The lists that only grow: what a crash and a repetition leave of them."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from controller.api.drills import Drill, DrillState
from controller.api.markers import NamedMarker
from controller.drills import ledger as ledgers
from controller.drills.ledger import Ledger
from controller.errors import DiskFullError, StorageError
from controller.groups import marker_list
from controller.groups.marker_list import MarkerList
from controller.journal.markers import MarkerKind, pack_marker
from controller.lines import append_line, parsed_lines
from controller.restore.program import Marker
from tests.support.disks import directory_sync_fails


def marker(sequence: int, name: str = "m") -> Marker:
    return Marker(sequence, 1000 + sequence, pack_marker(MarkerKind.NAMED, name=name).ljust(512, b"\0"))


def drill(number: int, group: str = "db", state: DrillState = DrillState.OPEN) -> Drill:
    return Drill(
        number=number,
        group=group,
        state=state,
        generation=1,
        sequence=7,
        sequence_time_ns=1,
        started_ns=number,
        images=[],
    )


def test_a_line_that_a_crash_cut_is_passed_over_and_the_next_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    append_line(path, '{"a":1}')
    with path.open("ab") as file:
        file.write(b'{"a":')
    append_line(path, '{"a":2}')
    assert list(parsed_lines(path)) == [{"a": 1}, {"a": 2}]
    assert list(parsed_lines(tmp_path / "none")) == []


def _fail(number: int) -> None:
    raise OSError(number, os.strerror(number))


def refuse(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every sync fails from here on."""
    monkeypatch.setattr(os, "fsync", lambda file: _fail(number))


@pytest.mark.parametrize(("number", "expected"), [(errno.EIO, StorageError), (errno.ENOSPC, DiskFullError)])
def test_a_line_that_the_disk_refused_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, expected: type[StorageError]
) -> None:
    path = tmp_path / "lines"
    append_line(path, '{"a":1}')
    before = path.read_bytes()
    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", lambda file: None if os.path.isdir(f"/proc/self/fd/{file}") else _fail(number))
        with pytest.raises(expected, match=r"cannot write .*lines"):
            append_line(path, '{"a":2}')
    assert path.read_bytes() == before


def test_a_file_whose_name_is_not_durable_takes_no_line_however_often_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lines"
    with directory_sync_fails(monkeypatch):
        for _ in range(2):
            with pytest.raises(StorageError, match=r"cannot write .*lines"):
                append_line(path, '{"a":1}')
    assert list(parsed_lines(path)) == []
    append_line(path, '{"a":2}')
    assert list(parsed_lines(path)) == [{"a": 2}]


def test_a_line_whose_sync_failed_is_not_found_by_who_tries_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    markers = MarkerList(tmp_path / "markers.jsonl")
    synced: list[int] = []
    markers.collect([marker(3)])
    with monkeypatch.context() as broken:
        refuse(errno.EIO, broken)
        with pytest.raises(StorageError, match="input/output error"):
            markers.collect([marker(9)])
    assert [each.sequence for each in markers.all()] == [3]
    monkeypatch.setattr(os, "fsync", synced.append)
    markers.collect([marker(9)])
    assert synced
    assert [each.sequence for each in markers.all()] == [3, 9]


def test_a_marker_that_restore_passes_again_is_synced_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who wrote it may have been killed before its sync: being readable says nothing."""
    markers = MarkerList(tmp_path / "markers.jsonl")
    markers.collect([marker(3)])
    with monkeypatch.context() as broken:
        refuse(errno.EIO, broken)
        with pytest.raises(StorageError):
            markers.collect([marker(3)])
    assert [each.sequence for each in markers.all()] == [3]


def test_a_ledger_that_the_disk_refused_tells_what_a_restart_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger(tmp_path / "drills.jsonl")
    ledger.write(drill(1))
    with monkeypatch.context() as broken:
        refuse(errno.EIO, broken)
        for each in (drill(1, state=DrillState.STOPPED), drill(2)):
            with pytest.raises(StorageError):
                ledger.write(each)
    assert ledger.all() == Ledger(tmp_path / "drills.jsonl").all() == [drill(1)]


def test_markers_that_restore_passes_again_are_listed_once_in_order(tmp_path: Path) -> None:
    markers = MarkerList(tmp_path / "markers.jsonl")
    markers.collect([marker(3, "first"), Marker(4, 1, pack_marker(MarkerKind.RESUMED, epoch="e")), marker(9, "last")])
    markers.collect([marker(3, "first"), marker(9, "last"), marker(12, "first")])
    markers.collect([Marker(13, 1, b"not JSON"), Marker(14, 1, pack_marker(MarkerKind.NAMED, name=7))])
    listed = [(each.name, each.sequence) for each in markers.all()]
    assert listed == [("first", 3), ("resumed", 4), ("last", 9), ("first", 12)]
    markers.cut(9)
    assert [each.sequence for each in markers.all()] == [3, 4, 9]
    markers.add(NamedMarker(name="other", sequence=12, time_ns=5))
    assert [each.name for each in markers.all()] == ["first", "resumed", "last", "other"]


def test_the_ledger_keeps_the_last_word_on_each_drill(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "drills.jsonl")
    assert ledger.next_number() == 1
    for each in (drill(1), drill(2, "web"), drill(1, state=DrillState.STOPPED)):
        ledger.write(each)
    for known in (ledger, Ledger(tmp_path / "drills.jsonl")):
        assert [(each.number, each.state) for each in known.all()] == [(1, DrillState.STOPPED), (2, DrillState.OPEN)]
        assert [each.number for each in known.all("web")] == [2]
        assert known.next_number() == 3


def test_a_line_is_written_although_the_file_cannot_be_shortened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next line tries again; what is done must not look as if it had failed."""
    monkeypatch.setattr(ledgers, "FILE_BYTES_MAX", 10)
    monkeypatch.setattr(ledgers, "DRILLS_MAX", 1)
    monkeypatch.setattr(marker_list, "FILE_BYTES_MAX", 10)
    monkeypatch.setattr(marker_list, "MARKERS_MAX", 1)
    ledger, markers = Ledger(tmp_path / "drills.jsonl"), MarkerList(tmp_path / "markers.jsonl")
    with monkeypatch.context() as broken:
        broken.setattr(os, "rename", lambda *paths: _fail(errno.ENOSPC))
        for number in (1, 2):
            ledger.write(drill(number))
            markers.collect([marker(number)])
    assert ledger.all() == Ledger(tmp_path / "drills.jsonl").all() == [drill(1), drill(2)]
    assert [each.sequence for each in markers.all()] == [1, 2]
    ledger.write(drill(3))
    markers.collect([marker(3)])
    assert ledger.all() == Ledger(tmp_path / "drills.jsonl").all() == [drill(3)]
    assert [each.sequence for each in markers.all()] == [3]


def test_the_ledger_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledgers, "FILE_BYTES_MAX", 2000)
    monkeypatch.setattr(ledgers, "DRILLS_MAX", 3)
    ledger = Ledger(tmp_path / "drills.jsonl")
    for number in range(1, 30):
        ledger.write(drill(number))
    assert (tmp_path / "drills.jsonl").stat().st_size < 4000
    assert Ledger(tmp_path / "drills.jsonl").next_number() == 30
