"""Journal commands of an operator, carried out at the side that owns them.

Start, stop and purge belong to the primary, copy and restore to the
secondary; either agent takes any of them. Owns what each command means; the
copy manager goes on with its own work beside them.
"""

from __future__ import annotations

from enum import StrEnum

from controller.api.lifecycle import ServeOrder
from controller.api.models import (
    AcquisitionMode,
    AcquisitionOrder,
    CopyMode,
    JournalState,
    PurgeRequest,
    RestoreRequest,
)
from controller.errors import ConflictError, PeerError
from controller.journal.pointers import Pointer
from hostagent.api.models import JournalCommand, JournalSides, Pair
from hostagent.copy_manager.lag import position
from hostagent.copy_manager.primary import confirmed_sequence
from hostagent.copy_manager.runner import PairRunner
from hostagent.host import Host
from hostagent.limit import copy_order
from hostagent.pairs import PairEvent, next_state, refuse_taken_over


class Verb(StrEnum):
    START = "start"
    STOP = "stop"
    COPY = "copy"
    RESTORE = "restore"
    PURGE = "purge"


EVENTS = {
    Verb.START: PairEvent.START,
    Verb.STOP: PairEvent.STOP,
    Verb.COPY: PairEvent.COPY,
    Verb.RESTORE: PairEvent.RESTORE,
    Verb.PURGE: PairEvent.PURGE,
}
OF_THE_SECONDARY = (Verb.COPY, Verb.RESTORE)


def journal_sides(host: Host, group: str) -> JournalSides:
    """Both journals as they are now; a side that does not answer is None."""
    runner = host.runner(group)
    own, other = runner.look(), runner.exchange()
    primary_here = host.store.get(group).primary.site == host.site
    return JournalSides(primary=own if primary_here else other, secondary=other if primary_here else own)


def command(host: Host, group: str, verb: Verb, order: JournalCommand, *, forwarded: bool = False) -> JournalState:
    """Carry out the command here, or send it to the side that owns it."""
    pair = host.store.get(group)
    refuse_taken_over(pair, EVENTS[verb])
    owner = pair.secondary.site if verb in OF_THE_SECONDARY else pair.primary.site
    if owner != host.site:
        if forwarded:
            raise ConflictError(f"{host.site} does not own {verb} of {group}", hint='See "pairvol pair list".')
        state = host.peers.get(owner).journal_command(group, verb, order)
        host.runner(group).exchange()  # a status that is asked for next knows of it
        return state
    runner = host.runner(group)
    next_state(runner.status().state, EVENTS[verb], group)
    with host.locks.hold(groups=[group]):
        state = _COMMANDS[verb](host, runner, pair, order)
    runner.look()
    runner.awaken()
    return state


def _start(host: Host, runner: PairRunner, pair: Pair, order: JournalCommand) -> JournalState:
    """Acquisition on; where it was off, the secondary copies anew, and is told at once.

    A suspension is not ended so: its changes are tracked, and a resync copies those alone.

    A primary that refuses hosts (a planned takeover that was not ended, a
    return without word of the other site) serves again, on the operator's word.
    """
    state = runner.look()
    if state is not None and state.yields_to is not None:
        return _call_off(host, pair, state, force=order.force)
    if state is not None and (state.quiesced or state.awaits_serve):
        return host.controller.serve(pair.group, ServeOrder(generation=state.generation))
    if state is not None and state.acquisition and state.mode is AcquisitionMode.SUSPENDED:
        raise ConflictError(
            f"cannot start acquisition of {pair.group}: it is on; the pair is suspended and its changes are tracked",
            hint=f'Copy what changed with "pairvol pair resync {pair.group}"; to copy whole volumes anew, '
            f'"pairvol journal stop {pair.group}" comes first.',
            group=pair.group,
        )
    state = host.controller.set_acquisition(pair.group, AcquisitionOrder(on=True))
    runner.look()
    runner.exchange()
    return state


def _call_off(host: Host, pair: Pair, state: JournalState, *, force: bool) -> JournalState:
    """Take writes again that are refused for a takeover: the site that was to take over says that it did not."""
    group, there = pair.group, pair.secondary.site
    order = ServeOrder(generation=state.generation, successor=state.yields_to)
    try:
        return host.peers.get(there).call_off(group, order)
    except PeerError as error:
        if force:
            return host.controller.serve(group, order)
        raise PeerError(
            f"cannot start {group}: {there} may have taken over as generation {state.yields_to}, and cannot be asked: "
            f"{error.message}",
            hint=f"Give it again when {there} answers; if you know that nobody serves there, add --force.",
            group=group,
        ) from error


def _stop(host: Host, runner: PairRunner, pair: Pair, order: JournalCommand) -> JournalState:
    return host.controller.set_acquisition(pair.group, AcquisitionOrder(on=False))


def _copy(host: Host, runner: PairRunner, pair: Pair, order: JournalCommand) -> JournalState:
    """Copy up to a journal, or all that is durable at the primary now; the copy manager sees that it is done."""
    primary = runner.exchange()
    source = runner.ask(lambda facts: facts.source)
    if source is None:
        raise PeerError(
            f"cannot copy {pair.group}: {pair.primary.site} has not told where its journal is read",
            hint=f'See "pairvol pair status {pair.group}".',
        )
    durable = position(primary, Pointer.DURABLE).sequence if primary is not None else None
    goal = order.to_sequence if order.to_sequence is not None else durable
    if goal is not None:
        runner.copy_to(goal if durable is None else min(goal, durable))
    lease = host.config.copying.lease_seconds
    return host.controller.order_copy(pair.group, copy_order(pair, source, CopyMode.ONCE, lease, goal))


def _restore(host: Host, runner: PairRunner, pair: Pair, order: JournalCommand) -> JournalState:
    return host.controller.order_restore(pair.group, RestoreRequest(to_sequence=order.to_sequence))


def _purge(host: Host, runner: PairRunner, pair: Pair, order: JournalCommand) -> JournalState:
    """Free what the secondary has confirmed; asked for more, nothing is done."""
    if runner.exchange() is None:
        raise PeerError(
            f"cannot purge {pair.group}: {pair.secondary.site} does not say what it has",
            hint=f'See "pairvol pair status {pair.group}"; nothing is freed that is not known to be there.',
        )
    known = runner.ask(confirmed_sequence) or 0
    goal = known if order.to_sequence is None else order.to_sequence
    if goal > known:
        raise ConflictError(
            f"cannot purge {pair.group} up to journal {goal}: {pair.secondary.site} has them up to {known}",
            hint=f'Copy them first with "pairvol journal copy {pair.group} --to {goal}".',
            group=pair.group,
            confirmed=known,
        )
    return host.controller.purge(pair.group, PurgeRequest(reader=pair.secondary.site, to_sequence=goal))


_COMMANDS = {Verb.START: _start, Verb.STOP: _stop, Verb.COPY: _copy, Verb.RESTORE: _restore, Verb.PURGE: _purge}
