"""Takeover: the secondary site serves the volumes from now on, under a higher generation.

Either site's agent takes the command; the secondary's agent does the work, so
that nothing of the primary site is needed. What happens depends on what the
primary does:

| primary | without --force | with --force |
|---|---|---|
| agent and controller answer | planned: wait until the secondary is close, \
let the primary refuse writes, wait for its last journal, take over, fence the primary; nothing is lost. \
When the secondary does not get there: refused, and the primary serves as before | as without, \
but what does not arrive within a few seconds stays behind, counted |
| agent answers, its controller does not | refused: hosts may be writing there | forced |
| nothing answers | forced: what is here is what there is; what is missing cannot be known | the same |

Always refused: a secondary whose initial copy is not done. What was read is
always restored first, from the local journal.

Order (I8): the generation is durable at both controllers before the first
write under it: at the primary as the takeover that it refuses writes for, at
the secondary as its own. So whatever is cut, the primary takes no write under
the old one: `journal start` asks the secondary's agent, which calls a takeover
off only while its controller is a secondary and no command goes on. A primary
that could not be told is fenced by its own agent at its first exchange with
this one.

| step | a crash after it leaves | the same command again |
|---|---|---|
| 1 the primary refuses writes | PSUE, its status says how to end that either way | goes on |
| 2 drained: that nothing is lost is kept with the pair | the same | begins anew |
| 3 the own controller takes over | SSWS | planned: goes on with 4; forced: says what is missing |
| 4 the takeover kept, the old primary fenced | SSWS | the same |
| 5 planned: the turned pair kept | both managers make it so | with --to done; else refused for a while |
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Final

from controller.api.lifecycle import ServeOrder
from controller.api.models import JournalState, Role, TakeoverRequest, TakeoverResult
from controller.errors import ConflictError, PairvolError, PeerError
from hostagent.api.models import Pair, TakeoverOrder, TakeoverReport
from hostagent.clock import now
from hostagent.commands.old_primary import OldPrimary
from hostagent.copy_manager.facts import Facts
from hostagent.copy_manager.manager import learnt
from hostagent.copy_manager.observe import copied
from hostagent.copy_manager.runner import PairRunner
from hostagent.decisions import age
from hostagent.drills.commands import release_devices
from hostagent.history.commands import remember_takeover
from hostagent.host import Host
from hostagent.life.direction import turn
from hostagent.life.missing import Missing
from hostagent.life.served import already, refuse_blind_return, serves, silent

ANSWER_SECONDS: Final = 2.0


def take_over(host: Host, group: str, order: TakeoverOrder, *, forwarded: bool = False) -> TakeoverReport:
    """Carry out the command here, or send it to the secondary's agent."""
    pair = host.store.get(group)
    refuse_blind_return(pair, order, now().wall_ns)
    if order.to == pair.primary.site:
        # The other site may have taken over a moment ago; then its word is newer than what is kept here.
        runner = host.runner(group)
        heard = runner.exchange(ANSWER_SECONDS)
        pair = runner.ask(learnt)
        if serves(pair, order) and (runner.look() if host.site == order.to else heard) is None:
            raise silent(pair)
    if host.site != pair.secondary.site:
        if forwarded:
            raise ConflictError(f"{host.site} is not the secondary of {group}", hint='See "pairvol pair list".')
        if serves(pair, order):
            return already(pair)
        return host.peers.get(pair.secondary.site).take_over(group, order)
    if serves(pair, order):
        return already(pair)
    with host.locks.hold(groups=[group]):
        present = host.store.get(group)
        if present.turns != pair.turns and serves(present, order):
            return already(present)  # an earlier command to the same site has just ended
        if present.turns != pair.turns:
            raise ConflictError(
                f"cannot take over {group}: another command turned it meanwhile",
                hint=f'See "pairvol pair status {group}".',
                group=group,
            )
        report = _Takeover(host, host.runner(group), pair, order.force).run()
    release_devices(host, group)  # of drills, which it has ended
    return report


def call_off(host: Host, group: str, order: ServeOrder) -> JournalState:
    """Let the primary take writes again that it refuses for a takeover of this site, which was cut short.

    With the group held here, so that no takeover goes on meanwhile.
    """
    with host.locks.hold(groups=[group]):
        own = host.controller.group(group)
        if not own.ready or own.role is not Role.SECONDARY or own.generation >= (order.successor or 0):
            raise ConflictError(
                f"cannot call the takeover of {group} off: {host.site} is {own.role} under generation {own.generation}",
                hint=f'Go on with "pairvol pair takeover {group}"; see "pairvol pair status {group}".',
                group=group,
            )
        return host.peers.get(host.store.get(group).primary.site).serve(group, order)


class _Takeover:
    def __init__(self, host: Host, runner: PairRunner, pair: Pair, force: bool) -> None:
        self._host, self._runner, self._pair, self._force = host, runner, pair, force
        self._group, self._primary = pair.group, pair.primary.site
        self._old = OldPrimary(host, runner, pair, force)
        self._silent = False  # its agent did not answer
        self._began = time.monotonic()

    def run(self) -> TakeoverReport:
        own = self._runner.look()
        if own is None:
            raise PeerError(
                f"cannot take over {self._group}: the storage controller of {self._host.site} does not answer",
                hint='Start it ("pairvol controller run"), then give the command again.',
            )
        if own.role is Role.TAKEN_OVER:
            return self._finish(own.generation, None, planned=self._was_planned(own.generation), again=True)
        self._refuse_uncopied()
        generation = max(own.generation + 1, self._runner.ask(lambda facts: facts.generation_known))
        primary = self._runner.exchange(ANSWER_SECONDS)
        self._silent = self._runner.ask(lambda facts: facts.contact_failure is not None)
        half = not self._silent and not self._runner.ask(lambda facts: facts.peer_lacks_pair)
        if primary is None and half and not self._force:
            raise ConflictError(
                f"cannot take over {self._group}: {self._primary} answers, its storage controller does not, "
                "and hosts may be writing there",
                hint="Start that controller for a planned takeover, or add --force.",
            )
        if primary is None:
            return self._finish(generation, None, planned=False)
        quiet, missing = self._old.hand_over(primary, generation)
        try:
            return self._finish(generation, missing, planned=quiet and missing is None)
        except PeerError:
            raise  # not answered, so it may happen yet
        except PairvolError:
            if quiet and primary.role is Role.PRIMARY and self._nothing_happened():
                self._old.serve(primary.generation, generation, on=True)
            raise

    def _nothing_happened(self) -> bool:
        """Whether the own controller, having answered with an error, has not begun (or has called off) its takeover."""
        with suppress(PairvolError):
            group = self._host.controller.group(self._group)
            return group.ready and group.role is Role.SECONDARY
        return False

    def _was_planned(self, generation: int) -> bool:
        """Whether the takeover that made this generation, cut short or not, was one that loses nothing."""
        return self._runner.pair.planned_generation == generation

    def _refuse_uncopied(self) -> None:
        def way_back(facts: Facts) -> bool:
            return facts.own.state is not None and facts.own.state.safe_point.open

        if not self._runner.ask(copied) and not self._runner.ask(way_back):
            raise ConflictError(
                f"cannot take over {self._group}: the initial copy is not done, the volumes are no copy yet",
                hint=f'Wait with "pairvol pair wait {self._group} --state PAIR".',
            )

    def _finish(
        self, generation: int, missing: Missing | None, *, planned: bool, again: bool = False
    ) -> TakeoverReport:
        request = TakeoverRequest(generation=generation, force=self._force)
        if planned != self._was_planned(generation):  # durable first: whoever goes on must know it
            self._pair = self._pair.model_copy(update={"planned_generation": generation if planned else None})
            self._runner.keep(self._pair)
        result = self._host.controller.take_over(self._group, request)
        if planned:
            missing = Missing(1, 0, 0)
        if planned and (result.from_safe_point or result.journals_dropped):
            # Everything had arrived, and in the middle of a resync it was of no use.
            planned, self._pair = False, self._pair.model_copy(update={"planned_generation": None})
        served = self._pair.model_copy(update={"generation": result.generation, "taken_over": True})
        self._runner.keep(served)  # durable; and the other agent hears it at once, if it is there
        if missing is not None:
            self._old.fence(result.generation)
        self._runner.look()
        # Who was silent a moment ago is told by the pair's own thread; the command would wait as long once more.
        old = None if self._silent else self._runner.exchange(ANSWER_SECONDS)
        report = self._report(result, missing, planned, old if again else None)
        remember_takeover(self._host, self._runner, self._pair, report, again=again)
        quiet = self._runner.ask(lambda facts: facts.peer.state is not None and _quiet(facts.peer.state))
        if planned and quiet and age(self._runner.ask(learnt)) == age(served):
            # Nothing was lost, nor was it taken back from there meanwhile: nothing is to be decided, and the pair runs
            # in the other direction at once.
            reversed_now = turn(self._host, self._runner, self._runner.pair, now().wall_ns)
            report = report.model_copy(update={"reversed": reversed_now})
        if missing is not None:
            report = report.model_copy(update={"mounted_there": self._old.mounted_there()})
        self._host.events.emit(
            "warning",
            "pair.takeover",
            f"{self._group} taken over by {self._host.site} ({report.kind}), generation {report.generation}, "
            f"at journal {report.restored_sequence}",
            report.model_dump(mode="json"),
            group=self._group,
        )
        return report

    def _report(
        self, result: TakeoverResult, missing: Missing | None, planned: bool, old: JournalState | None
    ) -> TakeoverReport:
        """`missing`: what had not arrived; None when nobody could tell.

        `old`: what the old primary says now, of a takeover that was done before. What it said earlier, while it was
        still written, is not what is missing.
        """
        journals: int | None = None
        size: int | None = None
        if missing is None and old is not None:
            self._old.says(old)
        if self._old.untold:
            pass
        elif missing is not None:
            journals, size = missing.journals, missing.data_bytes
        elif old is not None:
            behind = self._runner.ask(lambda facts: facts.behind)
            journals, size = (behind.journals, behind.data_bytes) if behind else (None, None)
        return TakeoverReport(
            group=self._group,
            kind="planned" if planned else "forced",
            generation=result.generation,
            restored_sequence=result.restored.sequence,
            restored_time_ns=result.restored.time_ns,
            journals_restored=result.journals_restored,
            missing_journals=journals,
            missing_bytes=size,
            changed_bytes_missing=self._old.changed_bytes,
            unjournaled=self._old.untold,
            from_safe_point=result.from_safe_point,
            journals_dropped=result.journals_dropped,
            seconds=time.monotonic() - self._began,
        )


def _quiet(old: JournalState) -> bool:
    """Whether an old primary is fenced and has nothing that is only there."""
    return old.role is Role.FENCED and not old.dirty_bytes and old.acquisition
