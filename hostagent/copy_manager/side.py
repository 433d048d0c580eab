"""What is known of the storage controller of one site, and since when."""

from __future__ import annotations

from dataclasses import dataclass, field

from controller.api.models import Failure, JournalState, Position
from controller.journal.pointers import Pointer
from hostagent.copy_manager.starts import Starts


@dataclass(frozen=True, slots=True, order=True)
class Instant:
    """A moment: seconds of a clock that never steps, and the wall clock for people."""

    seconds: float
    wall_ns: int


@dataclass(slots=True)
class SideFacts:
    """What is known of the storage controller of one site."""

    state: JournalState | None = None  # the last one, however old
    heard: Instant | None = None  # when that was had
    failure: Failure | None = None  # why there is no answer now; None while it answers
    absent: bool = False  # it answers, and has no such group
    quiesced: Instant | None = None  # since when it is known to refuse writes for a takeover, if it does
    starts: Starts = field(default_factory=Starts)

    def position(self, pointer: Pointer) -> Position:
        """Where a pointer stood when last heard of; the beginning when it never was."""
        if self.state is None:
            return Position()
        return self.state.pointers.get(pointer.value, Position())

    def takes(self, state: JournalState, begun: Instant | None) -> bool:
        """Whether this is newer than what is known; `begun`: when the question was asked that it answers."""
        asked_since = begun is not None and self.heard is not None and begun.seconds > self.heard.seconds
        return self.starts.takes(self.state, state, asked_since=asked_since)

    def told(self, now: Instant, state: JournalState) -> None:
        """It told this state."""
        self.state, self.heard = state, now
        self.quiesced = (self.quiesced or now) if state.quiesced else None
        self.failure, self.absent = None, False
