"""Applying journals against a bytearray: any cut into batches, any overlap, zero and trim, both ends equal."""

from __future__ import annotations

import os
import random
import tempfile
import uuid
from unittest.mock import patch

import crc32c
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.journal.layout import Flag, Kind, group_tag, pack_record
from controller.journal.volume import JournalVolume
from controller.restore import apply as engine
from controller.restore.apply import apply
from controller.volume.backing import Backing

GROUP = str(uuid.UUID(int=9))
VOLUME_BLOCKS = 256

writes = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.integers(0, VOLUME_BLOCKS - 1),
        st.integers(1, 40),
        st.sampled_from(["data", "data", "data", "zero", "trim", "marker"]),
    ),
    max_size=40,
)


WRITERS = {"plain": engine.write_pieces_plainly, "compiled": engine.write_pieces_compiled}


@pytest.mark.parametrize("backlog", [False, True])
@pytest.mark.parametrize("writer", WRITERS)
@settings(max_examples=80, deadline=None)
@given(writes=writes, cuts=st.sets(st.integers(1, 40)), aligned=st.booleans(), seed=st.integers(0, 99))
def test_apply_equals_the_writes(
    writer: str,
    backlog: bool,
    writes: list[tuple[int, int, int, str]],
    cuts: set[int],
    aligned: bool,
    seed: int,
) -> None:
    source = random.Random(seed)
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.object(engine, "write_pieces", WRITERS[writer]),
        patch.multiple(engine, BACKLOG_PIECES=2, PART_PIECES=3),
    ):
        JournalVolume.create(f"{folder}/journal", 1 << 20, GROUP, 1)
        journal = JournalVolume.open(f"{folder}/journal", writable=True)
        models = [bytearray(VOLUME_BLOCKS * 512) for _ in range(2)]
        position = 3 * journal.data_blocks - 100  # the batch wraps in the data area
        for sequence, (volume, lba, blocks, what) in enumerate(writes, 1):
            if aligned:
                lba, blocks = lba // 8 * 8, 8
            blocks = min(blocks, VOLUME_BLOCKS - lba)
            data = source.randbytes(blocks * 512) if what == "data" else b"mark" * 128 if what == "marker" else b""
            flags = {"zero": Flag.ZERO, "trim": Flag.TRIM}.get(what, Flag.NONE)
            journal.write_data(position, data)
            journal.write_record(sequence, pack_record(
                sequence=sequence, time_ns=sequence, volume_lba=0 if what == "marker" else lba,
                data_position=position, block_count=0 if what == "marker" else blocks,
                data_blocks=len(data) // 512, volume=volume, kind=Kind.MARKER if what == "marker" else Kind.UPDATE,
                flags=flags, generation=1, data_crc=crc32c.crc32c(data), tag=group_tag(GROUP),
            ))  # fmt: skip
            position += len(data) // 512
            if what != "marker":
                models[volume][lba * 512 : (lba + blocks) * 512] = data or bytes(blocks * 512)
        targets = {}
        for volume in range(2):
            with open(f"{folder}/{volume}", "wb") as file:
                file.truncate(VOLUME_BLOCKS * 512)
            targets[volume] = Backing.open(f"{folder}/{volume}", VOLUME_BLOCKS * 512)
        first = 1
        for last in [*sorted(cut for cut in cuts if cut < len(writes)), len(writes)]:
            if last >= first:
                done = apply(journal, targets, first, last, sync_follows=backlog)
                assert done.journals == last - first + 1
            first = last + 1
        for volume, backing in targets.items():
            assert os.pread(backing.file, VOLUME_BLOCKS * 512, 0) == bytes(models[volume])
            backing.close()
        journal.close()
