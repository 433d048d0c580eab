"""In-band runs of a pair: which run the primary's controller is to carry out next.

Pure; see `hostagent/copy_manager/manager.py`. Nothing is remembered here: a run and its
task are durable at the primary, what was found by it at the secondary, and
the next step follows from the two (controller/LIFECYCLE.md, "In-band runs").

| the primary's run | the secondary says | next |
|---|---|---|
| any other | its initial copy waits for run X | X, base |
| verify or repair, done | it was passed; ranges are unsure | verify of these |
| verify or repair, done, to repair | it was passed; ranges differ | repair of these |
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from controller.api.models import AcquisitionMode, CopyState, JournalState
from controller.api.runs import Found, Range, RunKind, RunOrder, RunPhase, RunState, VerifyState
from hostagent.copy_manager.actions import Action, OrderRun
from hostagent.copy_manager.facts import Facts
from hostagent.copy_manager.pace import Pace

REORDER_SECONDS: Final = 0.5
AGAIN_SECONDS: Final = 5.0  # a run that failed
ROUNDS_MAX: Final = 8


def of_primary(facts: Facts, state: JournalState, pace: Pace) -> list[Action]:
    """The run to order, when that is due."""
    peer = facts.peer.state
    if peer is None or peer.uuid != facts.pair.uuid or state.mode is not AcquisitionMode.JOURNAL:
        return []
    wanted = initial(state, peer) or following(state.run, peer.verify)
    failed = state.run is not None and state.run.phase is RunPhase.FAILED
    if wanted is None or not pace.due(OrderRun, every=AGAIN_SECONDS if failed else REORDER_SECONDS):
        return []
    return [OrderRun(wanted)]


def initial(state: JournalState, peer: JournalState) -> RunOrder | None:
    """The run that the secondary's initial copy waits for, when it is not under way or done."""
    copy, run = peer.initial_copy, state.run
    if copy.run is None or copy.state is not CopyState.RUNNING:
        return None
    if run is not None and run.run == copy.run and run.phase in (RunPhase.RUNNING, RunPhase.DONE):
        return None
    return RunOrder(run=copy.run, kind=RunKind.BASE, replace=True)


def passed(run: RunState, found: VerifyState | None) -> bool:
    """Whether the secondary has restored to the end of a run that is done."""
    return run.phase is RunPhase.DONE and found is not None and found.run == run.run and found.ended


def following(run: RunState | None, found: VerifyState | None) -> RunOrder | None:
    """What follows a run with digests that both sides are done with; None when the task is at its end."""
    if run is None or found is None or run.kind is RunKind.BASE or not passed(run, found) or run.round >= ROUNDS_MAX:
        return None
    if found.unsure:
        kind, ranges = RunKind.VERIFY, found.unsure
    elif found.different and run.repair:
        kind, ranges = RunKind.REPAIR, found.different
    else:
        return None
    return RunOrder(
        run=f"{run.task}.{run.round + 1}",
        kind=kind,
        task=run.task,
        ranges=_ranges(ranges),
        repair=run.repair,
        round=run.round + 1,
    )


def _ranges(found: Iterable[Found]) -> list[Range]:
    return [Range(each[0], each[1], each[2]) for each in found]
