"""The dump of a journal: everything that is there, and what is wrong with it."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest

from controller.journal.dump import dump
from controller.journal.layout import Flag
from controller.journal.markers import MarkerKind, pack_marker
from controller.journal.pointers import Position
from controller.journal.volume import JournalVolume
from controller.volume.append import Appender


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A write, a trim, a marker, two more writes."""
    path = tmp_path / "journal"
    JournalVolume.create(str(path), 1 << 20, str(uuid.uuid4()), 2)
    journal = JournalVolume.open(str(path), writable=True)
    appender = Appender(journal, Position(40, 16, 7))
    appender.release(Position(40, 16, 7))
    appender.write(0, 8, b"a" * 4096, 8)
    appender.clear(1, 16, 32, Flag.TRIM)
    appender.marker(pack_marker(MarkerKind.RESUMED, epoch="e", sequence=42).ljust(512, b"\0"), 1)
    appender.write(1, 0, b"b" * 512, 1)
    appender.write(1, 1, b"c" * 512, 1)
    journal.close()
    return path


def test_every_record_in_order_and_its_data(path: Path, tmp_path: Path) -> None:
    found = list(dump(path, data_directory=tmp_path / "out"))
    json.dumps(found)
    assert [each["sequence"] for each in found] == [41, 42, 43, 44, 45]
    assert [each["kind"] for each in found] == ["update", "update", "marker", "update", "update"]
    assert all(each["problem"] is None and each["generation"] == 2 for each in found)
    assert (found[0]["volume"], found[0]["offset"], found[0]["bytes"]) == (0, 4096, 4096)
    assert (found[1]["flags"], found[1]["bytes"], found[1]["data_bytes"]) == (["trim"], 32 * 512, 0)
    assert found[2]["marker"] == {"what": "resumed", "epoch": "e", "sequence": 42}
    assert Path(found[0]["file"]).read_bytes() == b"a" * 4096
    assert [each["sequence"] for each in dump(path, 42, 44)] == [42, 43, 44]


def test_what_is_wrong_is_said_and_not_extracted(path: Path, tmp_path: Path) -> None:
    journal = JournalVolume.open(str(path), writable=True)
    journal.write_data(16 + 8 + 1, b"x" * 512)  # over the data of 44
    record = bytearray(journal.records(43, 43).tobytes())
    record[20] ^= 1
    journal.write_record(43, bytes(record))
    journal.write_record(42, bytes(64))
    journal.close()
    found = {each["sequence"]: each for each in dump(path, data_directory=tmp_path / "out")}
    assert found[43]["problem"] == "record fails its checksum"
    assert "data fails its checksum" in found[44]["problem"]
    assert (found[41]["problem"], "file" in found[44]) == (None, False)
    assert found[45]["problem"] is None
