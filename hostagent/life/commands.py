"""Split and resync of a pair: any agent takes them, the primary's carries them out.

They change the state of controllers, and leave the rest to the copy managers
(resync.py); so a command that is cut short anywhere is simply given again.
What a resync means after a takeover is in direction.py.

| command | step | a crash after it leaves | the same command again |
|---|---|---|---|
| split | 1 the primary suspends | PSUS, the SVOL not served | goes on |
| | 2 the secondary restored everything | the same | goes on |
| | 3 the secondary serves its volumes | PSUS | done |
| resync | 0 what hosts wrote to the SVOL is counted; refused without force | PSUS | begins anew |
| | 1 the secondary ends its split | PSUS | goes on |
| | 2 the primary is let resume | PSUS, PFUS or COPY | goes on |
"""

from __future__ import annotations

from typing import Final

from controller.api.lifecycle import SplitOrder, SuspendOrder
from controller.api.models import (
    AcquisitionMode,
    AcquisitionOrder,
    JournalState,
    SplitMode,
)
from controller.errors import ConflictError
from controller.journal.pointers import Pointer
from hostagent.api.models import Pair, PairResync, PairSplit, PairStatus
from hostagent.copy_manager.lag import position
from hostagent.copy_manager.runner import PairRunner
from hostagent.host import Host
from hostagent.life.direction import becoming, swap, take_back, wait_become
from hostagent.life.missing import refuse_overwriting
from hostagent.life.steps import ANSWER_SECONDS, both, refuse_forwarded, wait_begun
from hostagent.pairs import PairEvent, next_state, refuse_taken_over

DRAIN_SECONDS: Final = 20.0  # until the SVOL has what was written before a split


def split(host: Host, group: str, order: PairSplit, *, forwarded: bool = False) -> PairStatus:
    """Stop replication where the SVOL is consistent, and let hosts use it."""
    pair = host.store.get(group)
    refuse_taken_over(pair, PairEvent.SPLIT)
    if pair.primary.site != host.site:
        refuse_forwarded(host, pair, forwarded)
        return host.peers.get(pair.primary.site).split(group, order)
    runner = host.runner(group)
    with host.locks.hold(groups=[group]):
        own, other = both(host, runner, pair, "split")
        next_state(runner.status().state, PairEvent.SPLIT, group)
        if not own.acquisition:
            raise ConflictError(
                f"cannot split {group}: acquisition at {host.site} is stopped, nothing is replicated",
                hint=f'Start it first with "pairvol journal start {group}".',
                group=group,
            )
        _refuse_drills(pair, other)
        own = host.controller.suspend(group, SuspendOrder())
        runner.awaken()
        last = position(own, Pointer.JOURNAL_IN).sequence
        if other.split is SplitMode.OFF and pair.policy.restore == "at_once":
            _wait_restored(runner, pair, last)
        mode = SplitMode.WRITE if order.writable else SplitMode.READ
        side = SplitOrder(mode=mode, force=order.force)
        runner.peer_state(host.peers.get(pair.secondary.site).split_side(group, side))
        runner.look()
        runner.exchange(ANSWER_SECONDS)
    use = "read and write" if order.writable else "read"
    words = f"{group} is split, hosts may {use} the volumes of {pair.secondary.site}"
    host.events.emit("info", "pair.split", words, group=group)
    return runner.status()


def resync(host: Host, group: str, order: PairResync, *, forwarded: bool = False) -> PairStatus:
    """Bring the pair back in step by what differs; after a takeover by keeping the primary that it had."""
    if order.swap:
        return swap(host, group, order, forwarded=forwarded)
    pair = host.store.get(group)
    if pair.primary.site != host.site:
        refuse_forwarded(host, pair, forwarded)
        return host.peers.get(pair.primary.site).resync(group, order)
    runner = host.runner(group)
    with host.locks.hold(groups=[group]):
        next_state(runner.status().state, PairEvent.RESYNC, group)
        own, other = both(host, runner, pair, "resync")
        if runner.ask(lambda facts: facts.taken_over):
            take_back(host, runner, other, force=order.force)
            return runner.status()
        if runner.ask(becoming):  # what was decided after a takeover goes on by itself
            wait_become(runner)
            return runner.status()
        refuse_overwriting(pair, other, force=order.force)
        peer = host.peers.get(pair.secondary.site)
        runner.peer_state(peer.split_side(group, SplitOrder(mode=SplitMode.OFF, force=order.force)))
        peer.resync_side(group)
        if not own.acquisition:
            host.controller.set_acquisition(group, AcquisitionOrder(on=True))
        runner.order_resync()
        wait_begun(runner, lambda: _journals(runner.look()))
        runner.exchange(ANSWER_SECONDS)
    return runner.status()


def _refuse_drills(pair: Pair, secondary: JournalState) -> None:
    """Restore stands until a drill is stopped, so a split would suspend the pair and serve nobody."""
    if secondary.drills and secondary.split is SplitMode.OFF:
        raise ConflictError(
            f"cannot split {pair.group}: a drill is open at {pair.secondary.site}, and restore waits for its end",
            hint=f'Stop it first: "pairvol drill stop {pair.group}".',
            group=pair.group,
            drills=secondary.drills,
        )


def _wait_restored(runner: PairRunner, pair: Pair, sequence: int) -> None:
    def restored() -> bool:
        other = runner.exchange(ANSWER_SECONDS)
        return other is not None and position(other, Pointer.ALREADY_RESTORED).sequence >= sequence

    if not wait_begun(runner, restored, DRAIN_SECONDS):
        raise ConflictError(
            f"{pair.group} is split, but {pair.secondary.site} has not restored journal {sequence} yet "
            "and serves nobody",
            hint="Give the same command again.",
            group=pair.group,
        )


def _journals(state: JournalState | None) -> bool:
    return state is not None and state.mode is AcquisitionMode.JOURNAL
