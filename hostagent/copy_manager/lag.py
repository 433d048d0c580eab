"""How far the secondary is behind: age and size of what is not there yet. Pure arithmetic on two answers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from controller.api.models import AcquisitionMode, JournalState, Position, Role
from controller.journal.pointers import Pointer
from controller.journal.sizes import BLOCK_BYTES
from hostagent.copy_manager.looks import UNSEEN, Missing

NANOSECONDS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Lag:
    """Of the oldest write acknowledged at the primary and not durable at the secondary; all 0 when there is none."""

    seconds: float
    data_bytes: int  # of journals
    journals: int
    changed_bytes: int = 0  # in regions that changed without journals
    lower_bound: bool = False  # nothing tells since when: the seconds are what the agent saw of it, maybe none

    @property
    def known_seconds(self) -> float | None:
        """None when that is not known."""
        return None if self.lower_bound else self.seconds

    @property
    def total_bytes(self) -> int:
        return self.data_bytes + self.changed_bytes


def measure(
    primary: JournalState,
    secondary: JournalState,
    covered: Iterable[tuple[int, int]],
    created_ns: int,
    seen: Missing = UNSEEN,
) -> Lag:
    """The lag at the moment of `primary`; `secondary` should have been asked after that one.

    The seconds are counted on the primary's clock, from the last moment up to
    which everything is known to be at the secondary: the time in the newest
    journal there, or a later moment at which the primary had no newer one
    (`covered`: sequence and moment of earlier looks). So the figure may be too
    large by the time since the last look, never too small. What changed while
    the primary wrote no journals counts until a resync has brought it over.

    Never fewer than the agent itself has `seen` something to be missing
    (`looks.py`). When that moment lies ahead of the primary's clock, the clock
    was set, and nothing is known from it: then they are what the agent has seen
    at most, and when it has seen too little to say that, a lower bound.
    """
    newest, read = position(primary, Pointer.JOURNAL_IN), position(secondary, Pointer.ALREADY_READ)
    changed = primary.dirty_bytes if primary.role is Role.PRIMARY else 0
    if read.sequence >= newest.sequence and not changed:
        return Lag(0.0, 0, 0)
    age = (primary.time_ns - reached_ns(secondary, covered, created_ns)) / NANOSECONDS
    most = age if age >= 0 else seen.at_most
    return Lag(
        seconds=max(seen.at_least, most or 0.0),
        data_bytes=max(0, newest.data_position - read.data_position) * BLOCK_BYTES,
        journals=max(0, newest.sequence - read.sequence),
        changed_bytes=changed,
        lower_bound=most is None,
    )


def tells_all(primary: JournalState) -> bool:
    """Whether every write that the primary took by now is in its journal, so that a look at it covers the moment."""
    return primary.mode is AcquisitionMode.JOURNAL and primary.epoch is None


def reached_ns(secondary: JournalState, covered: Iterable[tuple[int, int]], created_ns: int) -> int:
    """The last moment, on the primary's clock, up to which everything is known to be at the secondary."""
    read = position(secondary, Pointer.ALREADY_READ)
    moments = [time_ns for sequence, time_ns in covered if sequence <= read.sequence]
    return max([read.time_ns, *moments]) or created_ns


def position(state: JournalState, pointer: Pointer) -> Position:
    """Where a pointer stands in an answer; the beginning when it is not in it."""
    return state.pointers.get(pointer.value, Position())
