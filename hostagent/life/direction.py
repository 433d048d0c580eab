"""After a takeover the operator names the site that is kept; the other one follows it from then on.

| command | step | a crash after it leaves | the same command again |
|---|---|---|---|
| swap: the new primary is kept | 1 what would be dropped is counted; refused without force | SSWS | begins anew |
| | 2 the turned pair is kept, and told to the other agent | both managers make it so | done |
| resync: the old primary is kept | 1 what would be dropped is counted; refused without force | SSWS | begins anew |
| | 2 the pair is kept in its old direction, under the next generation | both managers make it so | done |
| | 3 the site that took over is fenced by that generation | the same | done |

Each is carried out at the site that is kept, where the decision is durable
before anything follows from it. What the managers then do is in rejoin.py.
"""

from __future__ import annotations

from contextlib import suppress

from controller.api.models import FenceRequest, JournalState, Role
from controller.errors import ConflictError, PairvolError
from controller.journal.pointers import Pointer
from controller.units import counted, format_size
from hostagent.api.models import Attachment, Pair, PairResync, PairStatus
from hostagent.copy_manager.facts import Facts
from hostagent.copy_manager.lag import Lag, position
from hostagent.copy_manager.runner import PairRunner
from hostagent.decisions import decided
from hostagent.host import Host
from hostagent.life.missing import refuse_dropping
from hostagent.life.steps import ANSWER_SECONDS, both, refuse_forwarded, wait_begun
from hostagent.life.turn import taken_back, turned
from hostagent.pairs import PairEvent, next_state
from hostagent.status_words import clock


def swap(host: Host, group: str, order: PairResync, *, forwarded: bool = False) -> PairStatus:
    """After a takeover: the old primary follows; the pair runs in the other direction."""
    pair = host.store.get(group)
    runner = host.runner(group)
    if not runner.ask(lambda facts: facts.taken_over):
        both(host, runner, pair, "swap")  # a silent site may have taken over, or may not be what it was swapped to
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
        _, old = both(host, runner, pair, "swap")
        _refuse_loss(runner, pair, old, force=order.force)
        turn(host, runner, _taken_over_still(runner, pair))
    return runner.status()


def turn(host: Host, runner: PairRunner, present: Pair, handed_ns: int | None = None) -> bool:
    """Turn the pair that this site took over, and wait a while for both sides to become what it says.

    `present`: the pair as it was kept when that was decided; ConflictError when it is another by now.
    """
    # Under that of the takeover, also where a higher one is known by now: who raised it keeps another site.
    generation = runner.ask(lambda facts: facts.own.state.generation if facts.own.state is not None else 0)
    pair = turned(present, max(present.generation, generation), handed_ns)
    runner.keep(pair, present)  # durable: from here on it happens
    host.events.emit(
        "info",
        "pair.turned",
        f"{pair.group} runs from {pair.primary.site} to {pair.secondary.site} now, generation {pair.generation}",
        group=pair.group,
    )
    return wait_become(runner)


def take_back(host: Host, runner: PairRunner, new: JournalState, *, force: bool) -> None:
    """Keep the old primary, which is this site: what was written since the takeover at the other one is dropped."""
    pair, there = runner.pair, host.peers.get(runner.pair.secondary.site)
    _refuse_unfenced(runner, pair, "resync")
    attached: list[Attachment] = []
    with suppress(PairvolError):
        attached = [each for each in there.attachments() if each.volume in pair.secondary.volumes]
    if not force:
        refuse_dropping(pair, new, attached, _time_of_last(runner, new))
    present = _taken_over_still(runner, pair)
    pair = taken_back(present, runner.ask(lambda facts: facts.generation_known) + 1)
    runner.keep(pair, present)  # durable: from here on it happens
    host.events.emit(
        "warning",
        "pair.taken_back",
        f"{pair.group} runs from {pair.primary.site} to {pair.secondary.site} again, generation {pair.generation}; "
        f"{format_size(new.dirty_bytes)} written at {pair.secondary.site} is dropped",
        {
            "generation": pair.generation,
            "dropped_bytes": new.dirty_bytes,
            "attached": [f"{each.volume} as {each.device or each.uri}" for each in attached],
        },
        group=pair.group,
    )
    request = FenceRequest(generation=pair.generation, reason=f"{pair.primary.site} is kept as the primary")
    with suppress(PairvolError):  # the manager there goes on
        runner.peer_state(there.fence(pair.group, request))
    wait_become(runner)


def becoming(facts: Facts) -> bool:
    """Whether the kept pair was decided after a takeover, and a site is not yet what it says."""
    own, other, generation = facts.own.state, facts.peer.state, facts.pair.generation
    if not facts.pair.turns or facts.taken_over or own is None or other is None:
        return False
    primary, secondary = (own, other) if facts.is_primary else (other, own)
    return (primary.role, secondary.role, primary.generation, secondary.generation) != (
        Role.PRIMARY,
        Role.SECONDARY,
        generation,
        generation,
    )


def wait_become(runner: PairRunner) -> bool:
    """Wait a while for both sides to become what the kept pair says."""

    def become() -> bool:
        answered = runner.look() is not None and runner.exchange(ANSWER_SECONDS) is not None
        return answered and not runner.ask(becoming)

    return wait_begun(runner, become)


def _taken_over_still(runner: PairRunner, pair: Pair) -> Pair:
    """The pair as it is kept now; ConflictError when the other site's command has turned it or taken it back."""
    present = runner.pair
    if present.turns != pair.turns or not runner.ask(lambda facts: facts.taken_over):
        raise decided(pair.group)
    return present


def _refuse_unfenced(runner: PairRunner, pair: Pair, verb: str) -> None:
    old = runner.ask(lambda facts: facts.primary.state)
    if old is None or old.role is Role.PRIMARY:
        raise ConflictError(
            f"cannot {verb} {pair.group}: {pair.primary.site} is not fenced yet and may still take writes",
            hint="It is told at the next exchange; give the command again in a moment.",
            group=pair.group,
        )


def _time_of_last(runner: PairRunner, new: JournalState) -> str:
    """When the last journal was written that both sites have."""
    heard = runner.ask(lambda facts: facts.peer.heard)
    assert heard is not None
    return clock(position(new, Pointer.ALREADY_RESTORED).time_ns, heard)


def _refuse_loss(runner: PairRunner, pair: Pair, old: JournalState, *, force: bool) -> None:
    """Refuse to go on with writes at the old primary that never came over, unless they are given up."""
    group, site, new = pair.group, pair.primary.site, pair.secondary.site
    _refuse_unfenced(runner, pair, "swap")
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
