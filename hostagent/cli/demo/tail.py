"""What the dead primary's journal holds beyond the recovery point: the tail.

Reads a journal volume and changes nothing in it. The proof that a tail is
complete is to apply it: the secondary's volume as it was at the recovery
point, and the tail on top, must be the primary's volume as it was at its end.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from controller.journal.layout import BLOCK_BYTES, Records
from controller.journal.pointers import Position
from controller.journal.recovery import scan
from controller.journal.volume import JournalVolume
from controller.restore.apply import apply
from controller.volume.backing import Backing


@dataclass
class Tail:
    """Journals after `restored`, every one checked by sequence and both checksums."""

    restored: Position
    end: Position
    written_bytes: int = 0  # on the volume, so zeroes and trims count too

    @property
    def journals(self) -> int:
        return self.end.sequence - self.restored.sequence

    @property
    def seconds(self) -> float:
        """Time between the recovery point and the primary's last journal."""
        return max(0.0, (self.end.time_ns - self.restored.time_ns) / 1e9) if self.journals else 0.0


def read_tail(path: Path, restored_sequence: int, restored_time_ns: int) -> Tail:
    """Follow a journal from the recovery point to its last good record."""
    journal = JournalVolume.open(str(path), writable=False)
    try:
        restored = Position(restored_sequence, _data_position_after(journal, restored_sequence), restored_time_ns)
        tail = Tail(restored, restored)

        def add(batch: Records) -> None:
            tail.written_bytes += int(batch["block_count"].sum(dtype=np.uint64)) * BLOCK_BYTES

        tail.end, _ = scan(journal, restored, add)
        return tail
    finally:
        journal.close()


def _data_position_after(journal: JournalVolume, sequence: int) -> int:
    """Where the data of the journal after `sequence` begins."""
    following = journal.records(sequence + 1, sequence + 1)[0]
    return int(following["data_position"]) if int(following["sequence"]) == sequence + 1 else 0


def apply_tail(path: Path, tail: Tail, image: Path) -> None:
    """Apply a tail to an image of the one volume of its group, as it was at the recovery point."""
    if tail.journals == 0:
        return
    journal = JournalVolume.open(str(path), writable=False)
    target = Backing.open(str(image), image.stat().st_size)
    try:
        apply(journal, {0: target}, tail.restored.sequence + 1, tail.end.sequence)
        target.sync()
    finally:
        target.close()
        journal.close()
