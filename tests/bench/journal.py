"""Rows 7 and 8: moving journals to the second site, and applying them there.

Library calls on a journal made for the purpose: 4k writes all over a volume.
The peers are what the machine can do at best with the same bytes.
"""

from __future__ import annotations

import os
import random
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from crc32c import crc32c

from controller.journal.layout import BLOCK_BYTES, Kind, group_tag, pack_record
from controller.journal.volume import JournalVolume
from controller.restore.apply import apply, merge
from controller.volume.backing import Backing
from tests.bench.peers import MIB, filled_file
from tests.bench.rows import Row, alternate, compare

ROWS = ("7", "8")
WRITE_BYTES = 4096
JOURNALS = 64 * 1024  # 256 MiB
VOLUME_BYTES = 512 * MIB
DECODED_GOAL = 300_000.0  # journals a second


@contextmanager
def random_journal(path: Path) -> Iterator[JournalVolume]:
    """A journal that holds JOURNALS random 4k writes, durable."""
    group = str(uuid.uuid4())
    JournalVolume.create(str(path), 320 * MIB, group, 1)
    journal = JournalVolume.open(str(path), writable=True, group_uuid=group)
    chooser, blocks, tag = random.Random(1), WRITE_BYTES // BLOCK_BYTES, group_tag(group)
    data = os.urandom(WRITE_BYTES)
    try:
        for sequence in range(1, JOURNALS + 1):
            position = (sequence - 1) * blocks
            journal.write_data(position, data)
            record = pack_record(
                sequence=sequence,
                time_ns=time.time_ns(),
                volume_lba=chooser.randrange(VOLUME_BYTES // WRITE_BYTES) * blocks,
                data_position=position,
                block_count=blocks,
                data_blocks=blocks,
                volume=0,
                kind=Kind.UPDATE,
                flags=0,
                generation=1,
                data_crc=crc32c(data),
                tag=tag,
            )
            journal.write_record(sequence, record)
        journal.sync()
        yield journal
    finally:
        journal.close()


def measure_rows(wanted: set[str], directory: Path, rounds: int) -> list[Row]:
    if not wanted & set(ROWS):
        return []
    with random_journal(directory / "journal") as journal:
        return list(restore_rows(journal, directory, rounds)) if "8" in wanted else []


def restore_rows(journal: JournalVolume, directory: Path, rounds: int) -> Iterator[Row]:
    backing = Backing.open(str(filled_file(directory / "restored.img", VOLUME_BYTES)), VOLUME_BYTES)
    plain = Backing.open(str(filled_file(directory / "sorted.img", VOLUME_BYTES)), VOLUME_BYTES)
    try:
        runs = list(merge(journal.records(1, JOURNALS)))
        merged_bytes = sum(blocks for _, sources in runs for _, blocks in sources) * BLOCK_BYTES

        def restore(_: int) -> float:
            os.sync()
            started = time.perf_counter()
            written = apply(journal, {0: backing}, 1, JOURNALS).bytes_written
            backing.sync()
            return written / (time.perf_counter() - started) / MIB

        def sorted_writes(_: int) -> float:
            os.sync()
            data = {count: os.urandom(count) for count in {sum(b for _, b in s) * BLOCK_BYTES for _, s in runs}}
            started = time.perf_counter()
            for lba, sources in runs:
                os.pwrite(plain.file, data[sum(blocks for _, blocks in sources) * BLOCK_BYTES], lba * BLOCK_BYTES)
            plain.sync()
            return merged_bytes / (time.perf_counter() - started) / MIB

        ours, theirs = alternate([restore, sorted_writes], rounds)
        yield compare("8", "restore of random 4k journals", "restore", "sorted pwrite", "MiB/s", ours, theirs, 0.9)

        def decode(_: int) -> float:
            started = time.perf_counter()
            assert list(merge(journal.records(1, JOURNALS)))
            return JOURNALS / (time.perf_counter() - started)

        decoded, goal = alternate([decode, lambda _: DECODED_GOAL], rounds)
        yield compare("8", "journals decoded and merged", "restore", "the goal", "1/s", decoded, goal, 1.0)
    finally:
        backing.close()
        plain.close()
