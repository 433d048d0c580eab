"""A journal of several volumes behaves as one of their whole length, and refuses what is not in its place."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.errors import CapacityError, ConflictError, IntegrityError, NotFoundError
from controller.journal import spanned
from controller.journal.layout import ALIGN_BLOCKS, BLOCK_BYTES
from controller.journal.pointers import Pointer, PointerPage, Position
from controller.journal.recovery import scan
from controller.journal.spanned import SpannedJournal
from controller.journal.volume import JournalVolume
from controller.volume.write_path import WritePath
from tests.support.volume_server import GroupFiles

MIB = 1 << 20
GROUP = "5b0e6f0e-6c0e-4ff2-9a32-0d6f3a1f3d55"


def make(directory: Path, *sizes: int) -> list[Path]:
    members = [directory / f"member{number}" for number in range(len(sizes))]
    for path, size in zip(members, sizes, strict=True):
        path.write_bytes(random.Random(size).randbytes(size))  # used before
    spanned.create(str(directory / "journal"), [str(path) for path in members], GROUP, 1)
    return members


def opened(directory: Path, writable: bool = True) -> JournalVolume:
    return JournalVolume.open(str(directory / "journal"), writable=writable, group_uuid=GROUP)


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.lists(st.integers(MIB, MIB + 9 * 4096 + 17), min_size=2, max_size=4),
    writes=st.lists(st.tuples(st.integers(0, 12000), st.integers(1, 3000), st.booleans()), max_size=12),
)
def test_data_is_where_it_was_put_whichever_way_it_is_looked_at(
    sizes: list[int], writes: list[tuple[int, int, bool]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        make(directory, *sizes)
        journal = opened(directory)
        assert isinstance(journal, SpannedJournal)
        ring = bytearray(journal.data_blocks * BLOCK_BYTES)
        journal.read_into(0, ring)
        for number, (position, blocks, by_map) in enumerate(writes):
            blocks = min(blocks, journal.data_blocks)
            data = random.Random(number).randbytes(blocks * BLOCK_BYTES)
            if by_map:
                done = 0
                for view in journal.data_views(position, blocks):
                    view[:] = data[done : done + len(view)]
                    done += len(view)
            else:
                free = min(number * 3, journal.data_blocks - blocks)
                journal.write_data(position, data, free)
                tail = (position + blocks) % ALIGN_BLOCKS
                if 0 < tail <= blocks and ALIGN_BLOCKS - tail <= free:  # begins a page: filled with zeros
                    data += bytes((ALIGN_BLOCKS - tail) * BLOCK_BYTES)
            for block in range(len(data) // BLOCK_BYTES):
                at = (position + block) % journal.data_blocks * BLOCK_BYTES
                ring[at : at + BLOCK_BYTES] = data[block * BLOCK_BYTES : (block + 1) * BLOCK_BYTES]
        journal.sync()
        found = bytearray(len(ring))
        journal.read_into(0, found)
        assert found == ring
        journal.fetch(0, journal.data_blocks)
        views = journal.data_views(0, journal.data_blocks)
        assert b"".join(views) == ring
        journal.close()
        assert b"".join(views) == ring, "a view outlives the journal"
        del views
        again = opened(directory, writable=False)
        again.read_into(0, found)
        assert found == ring
        again.close()


def test_what_is_not_in_its_place_is_refused_by_name(tmp_path: Path) -> None:
    first, second, third = make(tmp_path, 2 * MIB, MIB, MIB)
    journal = opened(tmp_path)
    with pytest.raises(ConflictError, match="member0 is in use"):
        opened(tmp_path)
    journal.close()
    with pytest.raises(IntegrityError, match="member0 is truncated"):  # it is only a part of the journal
        JournalVolume.open(str(first), writable=False)
    shutil.copy(third, tmp_path / "kept")
    third.unlink()
    with pytest.raises(NotFoundError, match="is missing"):
        opened(tmp_path)
    shutil.copy(second, third)
    with pytest.raises(IntegrityError, match="member2 is number 1 of 3"):
        opened(tmp_path)
    third.write_bytes(bytes(MIB))
    with pytest.raises(IntegrityError, match="member2 carries no label"):
        opened(tmp_path)
    shutil.copy(tmp_path / "kept", third)
    os.truncate(third, MIB - 4096)
    with pytest.raises(IntegrityError, match="member2 is truncated"):
        opened(tmp_path)
    shutil.copy(tmp_path / "kept", third)
    opened(tmp_path).close()
    JournalVolume.create(str(first), 0, GROUP, 1)
    with pytest.raises(IntegrityError, match="member0 belongs to journal"):
        opened(tmp_path)
    with pytest.raises(CapacityError, match="is too small"):
        make(tmp_path, MIB, 64 * MIB)


def test_a_volume_server_journals_recovers_and_moves_over_several_volumes(tmp_path: Path) -> None:
    files = GroupFiles(tmp_path, {"data": 4 * MIB}, MIB, uuid=GROUP).create()
    make(tmp_path, MIB, MIB, MIB)
    dice, content = random.Random(1), bytearray(4 * MIB)

    def write(server: WritePath, count: int) -> None:
        for _ in range(count):
            data, offset = dice.randbytes(8192), dice.randrange(4 * MIB // 4096 - 1) * 4096
            server.write(server.volumes["data"], memoryview(data), offset)
            content[offset : offset + 8192] = data
        server.flush_all()

    def holds(server: WritePath) -> bool:
        found = bytearray(4 * MIB)
        server.read(server.volumes["data"], memoryview(found), 0)
        return found == content

    server = WritePath.open(files.settings)
    write(server, 250)
    assert holds(server)
    files.confirm_all()
    write(server, 250)  # round the end of the ring
    assert server._journaled is not None
    server._journaled.close()  # killed
    for volume in server.volumes.values():
        volume.backing.close()
    server = WritePath.open(files.settings)
    assert holds(server)
    assert server.status()["appended"]["sequence"] == 500
    for path in ("a", "b"):
        (tmp_path / path).write_bytes(bytes(4 * MIB))
    following = str(tmp_path / "journal.next")
    spanned.create(following, [str(tmp_path / "a"), str(tmp_path / "b")], GROUP, 1)
    assert files.settings.journal is not None
    server.move_journal(files.settings.journal, following, Position())
    write(server, 10)
    assert holds(server)
    server.close()
    journal = opened(tmp_path, writable=False)
    page = PointerPage.open(str(files.pointers))
    assert scan(journal, page.read(Pointer.JOURNAL_OUT))[0].sequence == 510
    page.close()
    journal.close()
