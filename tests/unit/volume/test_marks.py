"""Named markers at the volume server: in their place in the order, and refused without a journal."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.errors import ConflictError
from controller.journal.layout import Kind
from controller.journal.markers import MarkerKind, pack_marker, parse_marker
from controller.volume.journaled import JournaledPath
from controller.volume.write_path import WritePath
from tests.support.volume_server import GroupFiles

PAGE = memoryview(b"\xa5" * 4096)


def test_a_marker_comes_after_every_acknowledged_write_and_is_durable(tmp_path: Path) -> None:
    server = WritePath.open(GroupFiles(tmp_path, {"data": 8 << 20}, 1 << 20).create().settings)
    try:
        data = server.volumes["data"]
        server.write(data, PAGE, 0)
        position = server.mark(pack_marker(MarkerKind.NAMED, name="here"))
        server.write(data, PAGE, 4096)
        path = server._path
        assert isinstance(path, JournaledPath)
        assert position.sequence == 2
        assert path.commit.durable.sequence >= 2
        records = path.journal.records(1, 3)
        assert [int(kind) for kind in records["kind"]] == [Kind.UPDATE, Kind.MARKER, Kind.UPDATE]
        views = path.journal.data_views(int(records[1]["data_position"]), int(records[1]["data_blocks"]))
        assert parse_marker(b"".join(views)) == {"what": "named", "name": "here"}
    finally:
        server.close()


def test_after_a_marker_writes_of_whole_pages_lie_on_whole_pages(tmp_path: Path) -> None:
    server = WritePath.open(GroupFiles(tmp_path, {"data": 8 << 20}, 1 << 20).create().settings)
    try:
        for blocks in (8, 3, 1, 8):
            server.write(server.volumes["data"], PAGE[: blocks * 512], 0)
            position = server.mark(pack_marker(MarkerKind.NAMED, name="here"))
            assert position.data_position % 8 == 0
    finally:
        server.close()


def test_without_a_journal_there_is_no_marker(tmp_path: Path) -> None:
    server = WritePath.open(GroupFiles(tmp_path, {"data": 8 << 20}, 1 << 20).create().settings)
    try:
        server.stop()
        with pytest.raises(ConflictError, match="no journal is written"):
            server.mark(pack_marker(MarkerKind.NAMED, name="here"))
    finally:
        server.close()
