"""A serial history: one write at a time, so that what a volume may hold after a cut is known byte for byte."""

from __future__ import annotations

import random
import time
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise

from tests.support.stamps import NEVER_NS, SECTOR_BYTES, stamp


class Action(StrEnum):
    WRITE = "write"
    ZERO = "zero"
    TRIM = "trim"


@dataclass
class Operation:
    """One change of a volume; its number is the sequence of its journal."""

    number: int
    action: Action
    volume: int
    lba: int
    sectors: int
    fua: bool
    issued_ns: int
    acknowledged_ns: int = NEVER_NS

    @property
    def data(self) -> bytes:
        if self.action is Action.WRITE:
            return stamp(self.volume, self.lba, self.sectors, self.number)
        return bytes(self.sectors * SECTOR_BYTES)


SNAPSHOT_EVERY = 32


@dataclass
class History:
    """Operations in order, and what was promised when: (moment, number of operations durable from then on)."""

    volumes: int
    sectors: int  # of each volume
    operations: list[Operation] = field(default_factory=list)
    promises: list[tuple[int, int]] = field(default_factory=list)
    _snapshots: dict[int, list[bytearray]] = field(default_factory=dict)

    def issue(
        self, chooser: random.Random, uniform: bool, fua_chance: float, pages: Sequence[int] | None = None
    ) -> Operation:
        """The next operation, drawn at random. `uniform` ones are whole pages of one length, so that slots align.

        `pages` are those that uniform ones go to; None: any.
        """
        roll = chooser.random()
        action = Action.WRITE if uniform or roll < 0.9 else Action.ZERO if roll < 0.95 else Action.TRIM
        if uniform:
            sectors, lba = 8, chooser.choice(pages or range(self.sectors // 8)) * 8
        else:
            sectors = chooser.choice((1, 2, 7, 8, 8, 8, 16, 64))
            lba = chooser.randrange(self.sectors - sectors + 1)
        operation = Operation(
            number=len(self.operations) + 1,
            action=action,
            volume=chooser.randrange(self.volumes),
            lba=lba,
            sectors=sectors,
            fua=chooser.random() < fua_chance,
            issued_ns=time.monotonic_ns(),
        )
        self.operations.append(operation)
        return operation

    def acknowledge(self, operation: Operation) -> None:
        operation.acknowledged_ns = time.monotonic_ns()
        if operation.fua:
            self.promise(operation.number)

    def promise(self, number: int) -> None:
        """Everything up to `number` is durable from now on, says the server."""
        self.promises.append((time.monotonic_ns(), number))

    def promised(self, before_ns: int) -> int:
        """How many operations must have survived a cut at that moment."""
        index = bisect_right(self.promises, (before_ns, 0))
        return self.promises[index - 1][1] if index else 0

    def issued(self, before_ns: int) -> int:
        """How many operations can have left a trace by then."""
        return bisect_right(self.operations, before_ns, key=lambda operation: operation.issued_ns)

    def fork(self, count: int, promised: int) -> History:
        """The history of a life that began with the first `count` operations, `promised` of them for good."""
        return History(self.volumes, self.sectors, self.operations[:count], [(0, promised)])

    def images(self, count: int) -> list[bytearray]:
        """The volumes after the first `count` operations."""
        near = count // SNAPSHOT_EVERY * SNAPSHOT_EVERY
        if near not in self._snapshots:
            last = max((at for at in self._snapshots if at < near), default=0)
            start = self._snapshots.get(last) or [bytearray(self.sectors * SECTOR_BYTES) for _ in range(self.volumes)]
            self._snapshots[last] = start
            for low, high in pairwise(range(last, near + 1, SNAPSHOT_EVERY)):
                self._snapshots[high] = self._after(self._snapshots[low], low, high)
        return self._after(self._snapshots[near], near, count)

    def _after(self, images: list[bytearray], low: int, high: int) -> list[bytearray]:
        images = [bytearray(image) for image in images]
        for operation in self.operations[low:high]:
            data = operation.data
            at = operation.lba * SECTOR_BYTES
            images[operation.volume][at : at + len(data)] = data
        return images
