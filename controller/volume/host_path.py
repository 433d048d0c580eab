"""What host requests go through: the interface that the direct and the journaled path share.

Owns the served volume, the ways in which a path may turn a request away, and
the rule that a path's first failure stays until it is mended. Knows nothing of
how a path stores what it is given.
"""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from controller.api.words import AcquisitionMode
from controller.errors import PairvolError
from controller.journal.kinds import Flag
from controller.journal.sizes import BLOCK_BYTES
from controller.volume.backing import Backing

VOLUME_BLOCKS_BITS: Final = 43  # 4 PiB: each volume has its own range of block numbers in the overlay

Extent = tuple[int, int, bool]  # offset, length, is data

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class ServedVolume:
    """A volume of the group with its open backing store."""

    index: int
    name: str
    size_bytes: int
    backing: Backing
    writable: bool = True
    first_block: int = field(init=False)  # its number among all blocks of the group

    def __post_init__(self) -> None:
        self.first_block = self.index << VOLUME_BLOCKS_BITS


def part(buffer: memoryview, start: int, blocks: int) -> memoryview:
    """These blocks of a buffer."""
    return buffer[start * BLOCK_BYTES : (start + blocks) * BLOCK_BYTES]


class Refusal(Enum):
    """Why a path did not take a request; nothing of it was acknowledged."""

    FULL = auto()  # no journal space within the time set
    BROKEN = auto()  # the journal's disk refused, and the group is to be suspended for it
    SUPERSEDED = auto()  # the path is closed for a change of mode


class HostPath(ABC):
    """Takes host requests. Any thread may call; offsets and counts are whole blocks within the volume.

    A write is acknowledged by returning None: it survives the death of this
    process. With `fua`, and after `flush`, it survives a power cut too.
    After the first failure every write and flush raises it, until it is mended.
    """

    mode: AcquisitionMode

    def __init__(self) -> None:
        self.broken: PairvolError | None = None  # another path is about to take this one's place
        self.failure: PairvolError | None = None
        self.failure_ns = 0

    def fail(self, error: PairvolError) -> None:
        """Remember the first failure and say it once on stderr."""
        if self.failure is None:
            self.failure_ns = time.time_ns()
            self.failure = error
            log.error("pairvol: %s", error.message)

    def mend(self, error: PairvolError) -> None:
        """That failure is over, and nothing was lost by it. Any other one stays."""
        if self.failure is error:
            self.failure = None
            log.info("pairvol: over: %s", error.message)

    def check_failure(self) -> None:
        """Raise the failure, if there was one."""
        if self.failure is not None:
            raise self.failure

    @abstractmethod
    def read(self, volume: ServedVolume, buffer: memoryview, offset: int) -> None:
        """Fill the buffer with what the acknowledged writes left there."""

    @abstractmethod
    def write(self, volume: ServedVolume, data: memoryview, offset: int, fua: bool) -> Refusal | None:
        """Write a buffer."""

    @abstractmethod
    def clear(self, volume: ServedVolume, offset: int, count: int, flag: Flag, fua: bool) -> Refusal | None:
        """Make a range read as zeros: kept allocated (ZERO) or given back (TRIM)."""

    @abstractmethod
    def flush(self, volume: ServedVolume) -> None:
        """Everything acknowledged on any connection before this call becomes durable."""

    @abstractmethod
    def extents(self, volume: ServedVolume, offset: int, count: int) -> list[Extent]:
        """What of a range may hold data, covering it whole."""

    @abstractmethod
    def close_gate(self) -> None:
        """Turn away new writes as SUPERSEDED, and return when those under way are done."""

    @abstractmethod
    def open_gate(self) -> None:
        """Take writes again: the change of mode did not come about."""
