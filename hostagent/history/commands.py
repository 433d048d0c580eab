"""The past of a pair, asked at either site: its own ledger, and takeovers and drills of the other.

Also what a takeover leaves in the ledger."""

from __future__ import annotations

import time

from controller.errors import PairvolError, StorageError
from hostagent.api.drills import DrillReport
from hostagent.api.history import PairHistory, TakeoverEntry
from hostagent.api.models import Pair, TakeoverReport
from hostagent.clock import now
from hostagent.copy_manager.runner import PairRunner
from hostagent.drills import commands as drills
from hostagent.history.report import Figures, figures, of_values
from hostagent.history.takeovers import takeover_entry
from hostagent.host import Host


def history(host: Host, group: str, since_ns: int) -> PairHistory:
    """Since a moment, or since the pair was made; a site that does not answer is named."""
    pair = host.store.get(group)
    since = max(since_ns, pair.created_ns)
    until = max(time.time_ns(), since)
    own = _figures(host, pair, since, until)
    takeovers, silent = list(own.takeovers), set()
    other = pair.secondary.site if pair.primary.site == host.site else pair.primary.site
    try:
        takeovers += host.peers.get(other).takeovers(group, since)
    except PairvolError:
        silent.add(other)
    rehearsed = _drills(host, pair, since, silent)
    takeovers.sort(key=lambda each: each.ended_ns)
    unprotected = own.recorded_seconds - own.protected_seconds
    return PairHistory(
        group=group,
        site=host.site,
        since_ns=since,
        until_ns=until,
        recorded_seconds=round(own.recorded_seconds, 3),
        protected_seconds=round(own.protected_seconds, 3),
        unprotected_seconds=round(max(0.0, unprotected), 3),
        unprotected_seconds_max=round(own.unprotected_seconds_max, 3),
        states=own.states,
        changes=own.changes,
        lag_seconds=own.lag_seconds,
        lag_bytes=own.lag_bytes,
        takeovers=takeovers,
        takeover_seconds=of_values(each.seconds for each in takeovers),
        drills=rehearsed,
        drill_ready_seconds=of_values(each.ready_seconds for each in rehearsed),
        silent=sorted(silent),
    )


def remember_takeover(host: Host, runner: PairRunner, pair: Pair, report: TakeoverReport, *, again: bool) -> None:
    """Durable when this returns, or told as an event. `again`: the command found the takeover done."""
    entry = runner.ask(lambda facts: takeover_entry(host.site, report, facts, now(), again=again))
    try:
        host.history.took_over(pair, entry)
    except StorageError as error:  # must not make a takeover look as if it had failed
        words = f"the takeover of {pair.group} is missing from its past: {error.message}"
        host.events.emit("error", "history.failed", words, {"hint": error.hint}, group=pair.group)


def takeovers_here(host: Host, group: str, since_ns: int) -> list[TakeoverEntry]:
    """Those that this site carried out."""
    pair = host.store.get(group)
    return _figures(host, pair, since_ns, time.time_ns() + 1).takeovers


def _figures(host: Host, pair: Pair, since_ns: int, until_ns: int) -> Figures:
    lines, watched_until = host.history.lines(pair)
    return figures(lines, since_ns, until_ns, watched_until)


def _drills(host: Host, pair: Pair, since_ns: int, silent: set[str]) -> list[DrillReport]:
    """Those of this pair's sites that can be asked, own controller included."""
    try:
        found = drills.ledger(host, pair.group)
    except PairvolError:
        silent.add(host.site)
        return []
    silent |= {site for site in found.silent if site in (pair.primary.site, pair.secondary.site)}
    return [drill for drill in found.drills if drill.started_ns >= since_ns]
