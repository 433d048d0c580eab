"""What is known of a pair now: nothing of a side that does not answer, and what follows from the rest.

Pure. Who is unknown is decided by `copy_manager/observe.py`; the words are those of
`status.py`.
"""

from __future__ import annotations

from dataclasses import replace

from controller.api.models import AcquisitionMode, CopyState, JournalState, Role
from hostagent.api.models import PairState
from hostagent.copy_manager.facts import Facts
from hostagent.copy_manager.lag import Lag
from hostagent.copy_manager.observe import Observed, Unknown
from hostagent.copy_manager.side import SideFacts


def answering(facts: Facts, unknown: tuple[Unknown, ...]) -> Facts:
    """The facts without the last words of sides that are unknown, or have no such pair or group any more.

    Decisions may count on what was once true, status must not: whoever words it gets these.
    """
    silent = {side.site for side in unknown}

    def now(side: SideFacts, *, gone: bool) -> SideFacts:
        return replace(side, state=None) if gone or side.absent else side

    return replace(
        facts,
        own=now(facts.own, gone=facts.site in silent),
        peer=now(facts.peer, gone=facts.peer_site in silent or facts.peer_lacks_pair),
        peer_generation=facts.generation_known,  # which never goes back
    )


def lag(facts: Facts, observed: Observed, state: PairState) -> Lag | None:
    """How far the secondary is behind; None where no such figure is true.

    After a takeover what never arrived is counted in words. What hosts write
    while acquisition is stopped is counted by nobody. And a secondary that never
    was a whole copy is behind by more than journals: see `bytes_to_copy`.
    """
    primary, secondary = facts.primary.state, facts.secondary.state
    if observed.unknown or state is PairState.SSWS or primary is None or secondary is None:
        return None
    return facts.behind if not untracked(primary) and _was_whole(primary, secondary) else None


def untracked(primary: JournalState) -> bool:
    """Whether hosts write with neither a journal nor a map of what changes."""
    return primary.role is Role.PRIMARY and (not primary.acquisition or primary.mode is AcquisitionMode.DIRECT)


def _was_whole(primary: JournalState, secondary: JournalState) -> bool:
    """Whether the secondary lacks nothing but journals and changed regions: a copy of all was done once."""
    if secondary.initial_copy.gap_sequence != primary.gap_sequence:
        return False  # acquisition was off since
    # One in the middle of a resync has a way back; one that was a primary has a map of its own.
    return secondary.consistent_sequence is not None or secondary.safe_point.open or secondary.epoch is not None


def seconds_to_full(facts: Facts) -> float | None:
    """Of the primary's journal, at the present rate; None when it does not fill, or is not written.

    The primary alone knows it: a secondary or a link that is down makes the journal fill.
    """
    state = facts.primary.state
    return state.seconds_to_full if state is not None and journals(state) else None


def journals(state: JournalState) -> bool:
    """Whether host writes go into the journal of this side."""
    return state.role is Role.PRIMARY and state.mode is AcquisitionMode.JOURNAL


def copy_percent(facts: Facts) -> float | None:
    """Of the initial copy or resync; None when that is not known."""
    state, primary = facts.secondary.state, facts.primary.state
    if state is None:
        return None
    if primary is not None and _about_to_begin(primary, state):
        return 0.0
    copy = state.initial_copy
    if copy.state is CopyState.DONE:
        return 100.0
    return 100.0 * copy.bytes_done / copy.bytes_total if copy.bytes_total else 0.0


def bytes_to_copy(facts: Facts) -> int:
    """That the copy under way still has to go through; 0 when there is none, or it has not begun."""
    state, primary = facts.secondary.state, facts.primary.state
    if state is None or state.initial_copy.state is not CopyState.RUNNING:
        return 0
    if primary is not None and _about_to_begin(primary, state):
        return 0
    return max(0, state.initial_copy.bytes_total - state.initial_copy.bytes_done)


def _about_to_begin(primary: JournalState, secondary: JournalState) -> bool:
    """Whether what the secondary says of a copy is of an earlier one."""
    copy = secondary.initial_copy
    return copy.gap_sequence != primary.gap_sequence or (primary.changes_final and copy.epoch != primary.epoch)
