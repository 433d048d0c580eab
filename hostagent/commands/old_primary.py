"""A takeover's dealings with the old primary, when that answers: its writes stop, and its last journal arrives.

Owns the waiting, and what is known to be missing at its end. Each step is
refused rather than forced unless the command says so; then the primary serves
as before. The order of a takeover is in `takeover.py`.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Final

from controller.api.lifecycle import ServeOrder
from controller.api.models import CopyMode, FenceRequest, JournalState, Position, Role
from controller.errors import ConflictError, PairvolError
from controller.journal.pointers import Pointer
from controller.journal.sizes import BLOCK_BYTES
from controller.units import format_size
from hostagent.api.models import Pair
from hostagent.copy_manager.lag import position
from hostagent.copy_manager.runner import PairRunner
from hostagent.host import Host
from hostagent.life.missing import Missing, behind, stopped
from hostagent.limit import copy_order

CLOSE_SECONDS: Final = 10.0  # to get to where the primary was when the command came
STALL_SECONDS: Final = 3.0  # without a journal arriving: the link is down
DRAIN_SECONDS: Final = 20.0  # for the rest, once nobody writes any more
FORCED_DRAIN_SECONDS: Final = 3.0
LOOK_SECONDS: Final = 0.25  # of one wait at the own controller; then it is told again that there is something
LEASE_SECONDS: Final = 10.0


class OldPrimary:
    """The primary that one takeover is from. For the thread of the command."""

    def __init__(self, host: Host, runner: PairRunner, pair: Pair, force: bool) -> None:
        self._host, self._runner, self._pair, self._force = host, runner, pair, force
        self._group, self._primary = pair.group, pair.primary.site
        self._other = host.peers.get(self._primary)
        self.changed_bytes = 0  # there, in no journal
        self.untold = False  # it took writes of which nothing is known

    def says(self, state: JournalState) -> None:
        """What is only there, by what it says of itself."""
        self.changed_bytes, self.untold = state.dirty_bytes, not state.acquisition

    def hand_over(self, primary: JournalState, successor: int) -> tuple[bool, Missing | None]:
        """Get close, stop writes, drain: whether writes were stopped, and what is still missing then."""
        self._refuse_stopped(primary)
        if primary.role is not Role.PRIMARY:  # fenced by an earlier command
            return True, self._and_untold(
                primary, self._drain(primary, Pointer.JOURNAL_IN, self._patience(DRAIN_SECONDS))
            )
        self._refuse_changed(primary)
        near = self._drain(primary, Pointer.DURABLE, self._patience(CLOSE_SECONDS))
        if near is not None and not self._force:
            raise behind(self._group, self._primary, self._host.site, near)
        quiet = self.serve(primary.generation, successor, on=False)
        if quiet is None:
            return False, near
        try:
            missing = self._drain(quiet, Pointer.JOURNAL_IN, self._patience(DRAIN_SECONDS))
            if missing is not None and not self._force:
                raise behind(self._group, self._primary, self._host.site, missing)
        except PairvolError:
            self.serve(primary.generation, successor, on=True)
            raise
        if missing is None and self.changed_bytes:
            newest = position(quiet, Pointer.JOURNAL_IN).sequence
            missing = Missing(newest + 1, newest, self.changed_bytes)
        return True, self._and_untold(quiet, missing)

    def _refuse_stopped(self, primary: JournalState) -> None:
        self.untold = not primary.acquisition
        if self.untold and not self._force:
            raise stopped(self._group, self._primary, self._host.site)

    def _and_untold(self, primary: JournalState, missing: Missing | None) -> Missing | None:
        """Such a takeover is never planned, and what is missing cannot be counted."""
        if missing is not None or not self.untold:
            return missing
        newest = position(primary, Pointer.JOURNAL_IN).sequence
        return Missing(newest + 1, newest, 0)

    def _refuse_changed(self, primary: JournalState) -> None:
        """Regions that changed without journals at the primary are not here: only a resync brings them."""
        self.changed_bytes = primary.dirty_bytes
        if not primary.dirty_bytes or self._force:
            return
        size, resync = format_size(primary.dirty_bytes), f'"pairvol pair resync {self._group}"'
        if primary.changes_final:
            resync = f'"pairvol pair wait {self._group} --state PAIR"'
        raise ConflictError(
            f"cannot take over {self._group}: {self._primary} has {size} of changed regions not yet at "
            f"{self._host.site}; {self._primary} serves as before",
            hint=f"Bring them over first with {resync}, or add --force to drop them.",
            group=self._group,
            changed_bytes=primary.dirty_bytes,
        )

    def _patience(self, seconds: float) -> float:
        return min(seconds, FORCED_DRAIN_SECONDS) if self._force else seconds

    def serve(self, generation: int, successor: int, *, on: bool) -> JournalState | None:
        """Let the primary take or refuse host writes; None when it cannot and we go on without.

        `successor`, the generation of the takeover, is durable there too before anybody writes under it (I8).
        """
        order = ServeOrder(generation=generation, on=on, successor=successor)
        try:
            state = self._other.serve(self._group, order)
        except PairvolError as error:
            if self._force or on:
                return None
            raise ConflictError(
                f"cannot take over {self._group}: {self._primary} could not be told to refuse writes: {error.message}",
                hint="Give the command again, or add --force to go on without it.",
            ) from error
        self._runner.peer_state(state)
        return state

    def fence(self, generation: int) -> None:
        """Tell the old primary for good; one that does not hear it now is told by its own agent later."""
        request = FenceRequest(generation=generation, reason=f"{self._host.site} has taken over")
        with suppress(PairvolError):
            self._runner.peer_state(self._other.fence(self._group, request))

    def _drain(self, primary: JournalState, goal: Pointer, seconds: float) -> Missing | None:
        """Copy until the secondary has what the primary had in this answer; what is missing when it takes too long."""
        deadline = moved = time.monotonic()
        deadline += seconds
        last = position(primary, goal)
        read = Position()
        while True:
            self._follow()
            own = self._host.controller.state(self._group, read.sequence, LOOK_SECONDS)
            before, read = read, position(own, Pointer.ALREADY_READ)
            if read.sequence >= last.sequence:
                return None
            if read.sequence > before.sequence:
                moved = time.monotonic()
            if time.monotonic() >= min(deadline, moved + STALL_SECONDS):
                behind = max(0, last.data_position - read.data_position) * BLOCK_BYTES
                return Missing(read.sequence + 1, last.sequence, behind)

    def _follow(self) -> None:
        """Keep the copy going, whatever the pair's trigger; one that rests looks at once."""
        source = self._runner.ask(lambda facts: facts.source)
        if source is None:
            return
        order = copy_order(self._runner.pair, source, CopyMode.FOLLOW, LEASE_SECONDS)
        self._host.controller.order_copy(self._group, order)

    def mounted_there(self) -> list[str]:
        """Where the old primary's host still has these volumes mounted: writes that it held back are nowhere else."""
        points: list[str] = []
        with suppress(PairvolError):
            for attachment in self._other.attachments():
                if attachment.volume in self._pair.primary.volumes and not attachment.facts.get("readonly"):
                    points += attachment.facts.get("mounted_at", [])
        return points
