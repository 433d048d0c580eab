"""Split, resync and swap of a pair: any agent takes them, the site that can carries them out.

Split and resync are carried out where hosts write, swap where the pair was
taken over to. They change the state of controllers, or turn the kept pair,
and leave the rest to the copy managers (resync.py, rejoin.py); so a command
that is cut short anywhere is simply given again.

| command | step | a crash after it leaves | the same command again |
|---|---|---|---|
| split | 1 the primary suspends | PSUS, the SVOL not served | goes on |
| | 2 the secondary restored everything | the same | goes on |
| | 3 the secondary serves its volumes | PSUS | done |
| resync | 0 what hosts wrote to the SVOL is counted; refused without force | PSUS | begins anew |
| | 1 the secondary ends its split | PSUS | goes on |
| | 2 the primary is let resume | PSUS, PFUS or COPY | goes on |
| swap | 1 what would be dropped is counted; refused without force | SSWS | begins anew |
| | 2 the turned pair is kept, and told to the other agent | both managers make it so | done |
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from controller.api.lifecycle import SplitOrder, SuspendOrder
from controller.api.models import (
    AcquisitionMode,
    AcquisitionOrder,
    JournalState,
    Role,
    SplitMode,
)
from controller.errors import ConflictError, PeerError
from controller.journal.pointers import Pointer
from controller.units import counted, format_size
from hostagent.api.models import Pair, PairResync, PairSplit, PairStatus
from hostagent.copy_manager.lag import Lag, position
from hostagent.copy_manager.runner import PairRunner
from hostagent.host import Host
from hostagent.life.missing import refuse_overwriting
from hostagent.life.turn import turned
from hostagent.pairs import PairEvent, next_state, refuse_taken_over

ANSWER_SECONDS: Final = 2.0
DRAIN_SECONDS: Final = 20.0  # until the SVOL has what was written before a split
BEGIN_SECONDS: Final = 10.0  # until a resync, or the other direction, has begun
LOOK_SECONDS: Final = 0.1


def split(host: Host, group: str, order: PairSplit, *, forwarded: bool = False) -> PairStatus:
    """Stop replication where the SVOL is consistent, and let hosts use it."""
    pair = host.store.get(group)
    refuse_taken_over(pair, PairEvent.SPLIT)
    if pair.primary.site != host.site:
        refuse_forwarded(host, pair, forwarded)
        return host.peers.get(pair.primary.site).split(group, order)
    runner = host.runner(group)
    with host.locks.hold(groups=[group]):
        own, other = _both(host, runner, pair, "split")
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
    """Bring the pair back in step by what differs."""
    if order.swap:
        return swap(host, group, order, forwarded=forwarded)
    pair = host.store.get(group)
    refuse_taken_over(pair, PairEvent.RESYNC)
    if pair.primary.site != host.site:
        refuse_forwarded(host, pair, forwarded)
        return host.peers.get(pair.primary.site).resync(group, order)
    runner = host.runner(group)
    with host.locks.hold(groups=[group]):
        next_state(runner.status().state, PairEvent.RESYNC, group)
        own, other = _both(host, runner, pair, "resync")
        refuse_overwriting(pair, other, force=order.force)
        peer = host.peers.get(pair.secondary.site)
        runner.peer_state(peer.split_side(group, SplitOrder(mode=SplitMode.OFF, force=order.force)))
        peer.resync_side(group)
        if not own.acquisition:
            host.controller.set_acquisition(group, AcquisitionOrder(on=True))
        runner.order_resync()
        _wait_begun(runner, lambda: _journals(runner.look()))
        runner.exchange(ANSWER_SECONDS)
    return runner.status()


def swap(host: Host, group: str, order: PairResync, *, forwarded: bool = False) -> PairStatus:
    """After a takeover: the old primary follows; the pair runs in the other direction."""
    pair = host.store.get(group)
    runner = host.runner(group)
    next_state(runner.status().state, PairEvent.SWAP, group)
    if not runner.ask(lambda facts: facts.taken_over):
        if pair.turns:
            return runner.status()  # it was swapped before
        raise ConflictError(
            f"cannot swap {group}: it was not taken over, {pair.primary.site} serves it",
            hint=f'Change the direction with "pairvol pair takeover {group}".',
            group=group,
        )
    if pair.secondary.site != host.site:
        refuse_forwarded(host, pair, forwarded)
        return host.peers.get(pair.secondary.site).resync(group, order)
    with host.locks.hold(groups=[group]):
        if not runner.ask(lambda facts: facts.taken_over):
            return runner.status()  # the same command, given twice, was faster
        _, old = _both(host, runner, pair, "swap")
        _refuse_loss(runner, pair, old, force=order.force)
        turn(host, runner)
    return runner.status()


def turn(host: Host, runner: PairRunner, handed_ns: int | None = None) -> bool:
    """Turn the pair that this site took over, and wait a while for both sides to become what it says."""
    pair = turned(runner.pair, runner.ask(lambda facts: facts.generation_known), handed_ns)
    runner.keep(pair)  # durable: from here on it happens
    host.events.emit(
        "info",
        "pair.turned",
        f"{pair.group} runs from {pair.primary.site} to {pair.secondary.site} now, generation {pair.generation}",
        group=pair.group,
    )

    def done() -> bool:
        own, other = runner.look(), runner.exchange(ANSWER_SECONDS)
        return bool(own and other and own.role is Role.PRIMARY and other.role is Role.SECONDARY)

    return _wait_begun(runner, done)


def _both(host: Host, runner: PairRunner, pair: Pair, verb: str) -> tuple[JournalState, JournalState]:
    """Both controllers' states now; PeerError names the one that does not answer."""
    own, other = runner.look(), runner.exchange(ANSWER_SECONDS)
    there = pair.secondary.site if pair.primary.site == host.site else pair.primary.site
    for site, state in ((host.site, own), (there, other)):
        if state is None:
            raise PeerError(
                f"cannot {verb} {pair.group}: {site} does not answer",
                hint=f'See "pairvol pair status {pair.group}"; nothing was changed.',
                group=pair.group,
            )
    assert own is not None
    assert other is not None
    return own, other


def _refuse_drills(pair: Pair, secondary: JournalState) -> None:
    """Restore stands until a drill is stopped, so a split would suspend the pair and serve nobody."""
    if secondary.drills and secondary.split is SplitMode.OFF:
        raise ConflictError(
            f"cannot split {pair.group}: a drill is open at {pair.secondary.site}, and restore waits for its end",
            hint=f'Stop it first: "pairvol drill stop {pair.group}".',
            group=pair.group,
            drills=secondary.drills,
        )


def _refuse_loss(runner: PairRunner, pair: Pair, old: JournalState, *, force: bool) -> None:
    """Refuse to go on with writes at the old primary that never came over, unless they are given up."""
    group, site, new = pair.group, pair.primary.site, pair.secondary.site
    if old.role is Role.PRIMARY:
        raise ConflictError(
            f"cannot swap {group}: {site} is not fenced yet and may still take writes",
            hint="It is told at the next exchange; give the command again in a moment.",
            group=group,
        )
    behind = runner.ask(lambda facts: facts.behind) or Lag(0.0, 0, 0)
    untold = not old.acquisition  # hosts wrote to it while acquisition was stopped
    if old.role is not Role.FENCED or force or not (behind.journals or old.dirty_bytes or untold):
        return
    lost = ["writes of the time when acquisition was stopped"] if untold else []
    if behind.journals:
        lost.append(f"{counted(behind.journals, 'journal')} ({format_size(behind.data_bytes)})")
    if old.dirty_bytes:
        lost.append(f"{format_size(old.dirty_bytes)} of changes that are in no journal")
    raise ConflictError(
        f"cannot swap {group}: {site} holds {' and '.join(lost)} that never reached {new}",
        hint="Add --force to overwrite that"
        + (
            f"; {site} keeps the journals as an orphan tail: "
            f'"pairvol journal dump {group} --orphan latest", typed there.'
            if behind.journals
            else f" at {site}."
        ),
        group=group,
        journals=behind.journals,
        data_bytes=behind.data_bytes,
        changed_bytes=old.dirty_bytes,
    )


def _wait_restored(runner: PairRunner, pair: Pair, sequence: int) -> None:
    def restored() -> bool:
        other = runner.exchange(ANSWER_SECONDS)
        return other is not None and position(other, Pointer.ALREADY_RESTORED).sequence >= sequence

    if not _wait_begun(runner, restored, DRAIN_SECONDS):
        raise ConflictError(
            f"{pair.group} is split, but {pair.secondary.site} has not restored journal {sequence} yet "
            "and serves nobody",
            hint="Give the same command again.",
            group=pair.group,
        )


def _wait_begun(runner: PairRunner, reached: Callable[[], bool], seconds: float = BEGIN_SECONDS) -> bool:
    """Look now and then until it is so; whether it became so in time."""
    deadline = time.monotonic() + seconds
    while not reached():
        if time.monotonic() >= deadline:
            return False
        runner.pause(LOOK_SECONDS)
    return True


def _journals(state: JournalState | None) -> bool:
    return state is not None and state.mode is AcquisitionMode.JOURNAL


def refuse_forwarded(host: Host, pair: Pair, forwarded: bool) -> None:
    if forwarded:
        raise ConflictError(
            f"the two agents of {pair.group} do not agree yet which site serves it",
            hint="They tell each other within seconds; give the command again.",
            group=pair.group,
            site=host.site,
        )
