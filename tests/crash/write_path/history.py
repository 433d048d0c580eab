"""What one client wrote, in order, and what a killed server's files must therefore hold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from controller.journal.pointers import Pointer, PointerPage
from tests.support.stamps import MAGIC, SECTOR, SECTOR_BYTES, stamp

Numbers = npt.NDArray[np.int64]


@dataclass
class Step:
    """One write, zero or trim. `number` is on every sector it wrote; 0 for zeros."""

    sequence: int  # of its journal, which is certain as there is one client
    volume: int
    lba: int
    sectors: int
    number: int
    data: bytes


class History:
    """All steps that took effect, and the one that the kill may have caught."""

    def __init__(self, sizes: list[int]) -> None:
        self.models = [bytearray(size) for size in sizes]  # what a client must read
        self.steps: list[Step] = []
        self.caught: Step | None = None  # sent, not acknowledged
        self.sequence = 0
        self._number = 0

    def send(self, volume: int, lba: int, sectors: int, zeros: bool) -> Step:
        """Note a step that is about to be sent."""
        self._number += 1
        number = 0 if zeros else self._number
        data = bytes(sectors * SECTOR_BYTES) if zeros else stamp(volume, lba, sectors, number)
        self.caught = Step(self.sequence + 1, volume, lba, sectors, number, data)
        return self.caught

    def acknowledged(self) -> None:
        """The step that was sent took effect."""
        assert self.caught is not None
        step, self.caught = self.caught, None
        self.steps.append(step)
        self.sequence = step.sequence
        start = step.lba * SECTOR_BYTES
        self.models[step.volume][start : start + len(step.data)] = step.data

    def settle(self, tail: int) -> str | None:
        """Hold the tail that recovery found against what was acknowledged; what is wrong, in words."""
        if tail < self.sequence:
            return f"acknowledged up to sequence {self.sequence}, recovered up to {tail}"
        if tail > self.sequence and self.caught is not None:
            self.acknowledged()
        self.caught = None
        if tail != self.sequence:
            return f"recovered up to {tail}, but only {self.sequence} were sent"
        return None

    def check_stores(self, volumes: list[Path], pointers: Path) -> str | None:
        """The stores as the kill left them: nothing that is not durable in the journal, all up to CHECKPOINT."""
        page = PointerPage.open(str(pointers))
        checkpoint, durable = page.read(Pointer.CHECKPOINT).sequence, page.read(Pointer.DURABLE).sequence
        page.close()
        for volume, path in enumerate(volumes):
            found = numbers_in(path.read_bytes())
            right = found == self._numbers_at(volume, checkpoint)
            for step in self._possible():
                if step.volume == volume and checkpoint < step.sequence <= durable:
                    area = slice(step.lba, step.lba + step.sectors)
                    right[area] |= found[area] == step.number
            if not right.all():
                lba = int(np.flatnonzero(~right)[0])
                return (
                    f"volume {volume} LBA {lba} holds write {found[lba]}: "
                    f"not of checkpoint {checkpoint}, not of a journal durable by {durable}"
                )
        return None

    def _possible(self) -> list[Step]:
        """What may be in the journal: with the step that was caught, which has the next sequence if it is there."""
        return self.steps if self.caught is None else [*self.steps, self.caught]

    def _numbers_at(self, volume: int, sequence: int) -> Numbers:
        numbers = np.zeros(len(self.models[volume]) // SECTOR_BYTES, np.int64)
        for step in self._possible():
            if step.volume == volume and step.sequence <= sequence:
                numbers[step.lba : step.lba + step.sectors] = step.number
        return numbers


def numbers_in(image: bytes) -> Numbers:
    """The write number on each sector: 0 for zeros, -1 for what nobody wrote."""
    rows = np.frombuffer(image, SECTOR)
    empty = ~rows.view(np.uint64).reshape(len(rows), -1).any(axis=1)
    numbers = np.where(rows["magic"] == MAGIC, rows["number"], np.uint64(0)).astype(np.int64)
    numbers[(rows["magic"] != MAGIC) & ~empty] = -1
    return numbers
