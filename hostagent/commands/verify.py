"""`pair verify`: begun at the primary, which either agent hands it to; reported from what both controllers say.

Owns the command and the words of the report. What follows what is
`life/inband.py`'s; the manager of the primary's agent sees to it.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from controller.api.models import JournalState
from controller.api.runs import RunKind, RunOrder, RunPhase, RunState, VerifyState
from controller.errors import ConflictError
from controller.journal.pointers import Pointer
from controller.units import format_size
from hostagent.api.models import Pair, Verdict
from hostagent.api.verify import DifferentRange, VerifyOrder, VerifyPhase, VerifyReport
from hostagent.clock import now
from hostagent.commands.journals import journal_sides
from hostagent.copy_manager.lag import position
from hostagent.copy_manager.side import Instant
from hostagent.host import Host
from hostagent.life.inband import following, passed
from hostagent.life.steps import both
from hostagent.pairs import PairEvent, next_state, refuse_taken_over
from hostagent.status_words import clock

REGIONS_NAMED = 3
UNDER_WAY = (VerifyPhase.RUNNING, VerifyPhase.HELD)
Names = Mapping[int, str]  # of volumes, by their lasting numbers


def order(host: Host, group: str, order: VerifyOrder, *, forwarded: bool = False) -> VerifyReport:
    """Begin to compare both sides; while that goes on, the same command again tells how it stands."""
    pair = host.store.get(group)
    refuse_taken_over(pair, PairEvent.VERIFY)
    if pair.primary.site != host.site:
        if forwarded:
            raise ConflictError(f"{host.site} is not the primary of {group}", hint='See "pairvol pair list".')
        return host.peers.get(pair.primary.site).verify(group, order)
    runner = host.runner(group)
    if order.cancel:
        runner.look()
        return _cancel(host, group)
    both(host, runner, pair, "verify")
    next_state(runner.status().state, PairEvent.VERIFY, group)
    with host.locks.hold(groups=[group]):
        known = report(host, group)
        if known.phase in UNDER_WAY:
            if order.repair and not known.repair:
                raise ConflictError(
                    f"a verify of {group} without --repair is under way",
                    hint=f'Wait for its end, then give "pairvol pair verify {group} --repair" again.',
                )
            return known
        task = f"verify-{uuid.uuid4()}"
        host.controller.order_run(group, RunOrder(run=f"{task}.0", kind=RunKind.VERIFY, task=task, repair=order.repair))
    runner.awaken()
    return report(host, group)


def _cancel(host: Host, group: str) -> VerifyReport:
    """End the verify under way, in whatever state the pair is; without one nothing is done."""
    with host.locks.hold(groups=[group]):
        run = host.controller.state(group).run
        if run is not None and run.kind is not RunKind.BASE and run.phase is not RunPhase.INTERRUPTED:
            phase = report(host, group).phase
            if phase in (*UNDER_WAY, VerifyPhase.FAILED, VerifyPhase.UNKNOWN):
                host.controller.order_run(group, RunOrder(run=run.run, kind=run.kind, task=run.task, cancel=True))
    return report(host, group)


def report(host: Host, group: str) -> VerifyReport:
    """How the verify of a pair stands, or how the last one ended."""
    pair, sides = host.store.get(group), journal_sides(host, group)
    for site, state in ((pair.primary.site, sides.primary), (pair.secondary.site, sides.secondary)):
        if state is None:
            return unknown(pair, site, host.runner(group).unknown_since(site), now())
    assert sides.primary is not None
    assert sides.secondary is not None
    indices = sorted(volume.index for volume in host.controller.group(group).volumes)
    return report_of(pair, sides.primary, sides.secondary, indices)


def unknown(pair: Pair, site: str, since_ns: int, now: Instant) -> VerifyReport:
    """Nothing can be told while a side does not answer."""
    line = f"{pair.group} cannot be verified: {site} unknown since {clock(since_ns, now)}"
    command = f"pairvol pair status {pair.group}"
    return _report(pair, VerifyPhase.UNKNOWN, line, command, unknown_since_ns=since_ns)


def report_of(
    pair: Pair, primary: JournalState, secondary: JournalState, indices: Sequence[int] | None = None
) -> VerifyReport:
    """The report that the two states make. Pure.

    `indices`: the lasting numbers of the pair's volumes, in their order; None: 0, 1, ... as of a pair that no volume
    has left.
    """
    names = dict(zip(indices or range(len(pair.primary.volumes)), pair.primary.volumes, strict=False))
    run, found = primary.run, secondary.verify
    if run is None or run.kind is RunKind.BASE:
        if found is None:
            line = f"{pair.group} was never verified"
            return _report(pair, VerifyPhase.NONE, line, f"pairvol pair verify {pair.group}")
        return _ended(pair, found, names) if found.ended else _interrupted(pair, found, names)
    mine = found if found is not None and found.task == run.task else None
    facts: dict[str, Any] = {"task": run.task, "repair": run.repair, **_counts(names, mine)}
    if run.phase is RunPhase.FAILED:
        words = run.failure.message if run.failure else "no reason given"
        again = _again(pair, run.repair)
        return _report(
            pair, VerifyPhase.FAILED, f"verify of {pair.group} failed: {words}", again, failure=run.failure, **facts
        )
    if run.phase is RunPhase.INTERRUPTED:
        return _interrupted(pair, mine, names, **facts)
    if passed(run, mine) and following(run, mine) is None:
        assert mine is not None
        return _ended(pair, mine, names, **facts)
    step = "repairing" if run.kind is RunKind.REPAIR else "verifying" if run.round == 0 else "verifying again"
    done = mine.bytes_done if mine is not None and mine.run == run.run else 0
    percent = f" {int(100 * done / run.bytes_total)} %" if run.bytes_total else ""
    why, command = _held(pair, run, secondary)
    facts |= {"step": step, "bytes_done": done, "bytes_total": run.bytes_total, "waits": run.waits or why}
    if command is not None:
        line = f'verify of {pair.group} waits at journal {run.end_sequence}: {why}; after it, "{_again(pair)} --status"'
        return _report(pair, VerifyPhase.HELD, f"{line} tells the result", command, **facts)
    return _report(pair, VerifyPhase.RUNNING, f"{step} {pair.group}{percent}", _again(pair), **facts)


def _held(pair: Pair, run: RunState, secondary: JournalState) -> tuple[str | None, str | None]:
    """Why digests that have arrived are not looked at; once all have, the command that nothing goes on without."""
    read, restored = (position(secondary, each).sequence for each in (Pointer.ALREADY_READ, Pointer.ALREADY_RESTORED))
    end = run.end_sequence if run.phase is RunPhase.DONE else None
    arrived = end is not None and restored < end <= read
    if secondary.drills:
        return "a drill holds restore", f"pairvol drill stop {pair.group}" if arrived else None
    if secondary.waiting_epoch:
        return "restore waits for changed regions", None
    if pair.policy.restore == "later" and restored < read:
        return "restore is on command", f"pairvol journal restore {pair.group} --to {end}" if arrived else None
    return None, None


def _ended(pair: Pair, found: VerifyState, names: Names, **facts: Any) -> VerifyReport:
    """Both sides are done with the task, whatever came of it."""
    facts = {"task": found.task, **_counts(names, found), **facts}
    group, size = pair.group, format_size(found.bytes_verified)
    if found.different:
        regions = facts["different"]
        named = ", ".join(_words(each) for each in regions[:REGIONS_NAMED])
        more = f" and {len(regions) - REGIONS_NAMED} more" if len(regions) > REGIONS_NAMED else ""
        line = f"{group} differs in {format_size(found.different_bytes)} of {size}: {named}{more}"
        return _report(pair, VerifyPhase.DONE, line, f"pairvol pair verify {group} --repair", Verdict.CRIT, **facts)
    if found.unsure:
        line = f"{group}: {format_size(found.unsure_bytes)} of {size} could not be compared; the rest is identical"
        return _report(pair, VerifyPhase.INTERRUPTED, line, f"pairvol pair verify {group}", **facts)
    mended = f", {format_size(found.repaired_bytes)} of it repaired" if found.repaired_bytes else ""
    line = f"{group} is identical: {size} compared{mended}, up to journal {found.sequence}"
    return _report(pair, VerifyPhase.DONE, line, None, Verdict.OK, **facts)


def _interrupted(pair: Pair, found: VerifyState | None, names: Names, **facts: Any) -> VerifyReport:
    facts = {**_counts(names, found), **facts}
    line = f"verify of {pair.group} was interrupted"
    if found is not None and found.different:
        line += f"; {format_size(found.different_bytes)} were found different"
    again = _again(pair, bool(facts.get("repair")))
    return _report(pair, VerifyPhase.INTERRUPTED, line, again, **facts)


def _again(pair: Pair, repair: bool = False) -> str:
    return f"pairvol pair verify {pair.group}{' --repair' if repair else ''}"


def _counts(names: Names, found: VerifyState | None) -> dict[str, Any]:
    if found is None:
        return {}
    different = [
        DifferentRange(
            volume=names.get(each[0], str(each[0])),
            offset=each[1],
            length=each[2],
            sequence=each[3],
        )
        for each in found.different
    ]
    return {
        "different": different,
        "bytes_verified": found.bytes_verified,
        "sequence": found.sequence,
        "different_bytes": found.different_bytes,
        "unsure_bytes": found.unsure_bytes,
        "repaired_bytes": found.repaired_bytes,
    }


def _words(each: DifferentRange) -> str:
    return f"{each.volume} at {each.offset}+{each.length} (journal {each.sequence})"


def _report(
    pair: Pair, phase: VerifyPhase, line: str, command: str | None, verdict: Verdict = Verdict.WARN, **facts: Any
) -> VerifyReport:
    return VerifyReport(group=pair.group, phase=phase, verdict=verdict, line=line, next_command=command, **facts)
