"""What the dead primary's journal holds beyond the recovery point: the tail.

Reads a journal volume and changes nothing in it. Owns the search for the
writer's records in journal data.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from controller.journal.layout import BLOCK_BYTES, Records
from controller.journal.pointers import Position
from controller.journal.recovery import scan
from controller.journal.volume import JournalVolume
from hostagent.cli.demo.workload import RECORD_BYTES, RECORD_MAGIC, make_record, record_number


@dataclass
class Tail:
    """Journals after `restored`, every one checked by sequence and both checksums."""

    restored: Position
    end: Position
    written_bytes: int = 0  # on the volume, so zeroes and trims count too
    records: set[int] = field(default_factory=set)  # numbers of the writer's records found whole

    @property
    def journals(self) -> int:
        return self.end.sequence - self.restored.sequence

    @property
    def seconds(self) -> float:
        """Time between the recovery point and the primary's last journal."""
        return max(0.0, (self.end.time_ns - self.restored.time_ns) / 1e9) if self.journals else 0.0


def read_tail(path: Path, restored_sequence: int, restored_time_ns: int, run: str) -> Tail:
    """Follow the journal from the recovery point to its last good record, looking for records of `run`."""
    journal = JournalVolume.open(str(path), writable=False)
    try:
        restored = Position(restored_sequence, _data_position_after(journal, restored_sequence), restored_time_ns)
        tail = Tail(restored, restored)

        def collect(batch: Records) -> None:
            tail.written_bytes += int(batch["block_count"].sum(dtype=np.uint64)) * BLOCK_BYTES
            for position, blocks in zip(batch["data_position"].tolist(), batch["data_blocks"].tolist(), strict=True):
                tail.records |= records_in(b"".join(journal.data_views(position, blocks)), run)

        tail.end, _ = scan(journal, restored, collect)
        return tail
    finally:
        journal.close()


def _data_position_after(journal: JournalVolume, sequence: int) -> int:
    """Where the data of the journal after `sequence` begins."""
    following = journal.records(sequence + 1, sequence + 1)[0]
    return int(following["data_position"]) if int(following["sequence"]) == sequence + 1 else 0


def records_in(data: bytes, run: str) -> set[int]:
    """Numbers of the records that lie whole in `data`, wherever they begin."""
    found = set()
    start = data.find(RECORD_MAGIC)
    while start >= 0:
        candidate = data[start : start + RECORD_BYTES]
        if len(candidate) == RECORD_BYTES and candidate == make_record(run, record_number(candidate)):
            found.add(record_number(candidate))
        start = data.find(RECORD_MAGIC, start + 1)
    return found
