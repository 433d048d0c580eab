"""A takeover that names the site which serves already: done, and nothing is turned back. Pure."""

from __future__ import annotations

from typing import Final

from controller.errors import ConflictError, PeerError
from hostagent.api.models import Pair, TakeoverOrder, TakeoverReport

BLIND_SECONDS: Final = 60.0  # after a takeover in which a command that names no site is taken for the same one


def serves(pair: Pair, order: TakeoverOrder) -> bool:
    """A command that names the site does not turn the pair back when it is given twice: it is done."""
    if order.to is None or order.to == pair.secondary.site:
        return False
    if order.to != pair.primary.site:
        raise ConflictError(
            f"cannot let {order.to} take over {pair.group}: it has no part in it",
            hint=f'Name {pair.primary.site} or {pair.secondary.site}; see "pairvol pair status {pair.group}".',
            group=pair.group,
        )
    if pair.taken_over:
        raise ConflictError(
            f"cannot let {order.to} take over {pair.group}: {pair.secondary.site} took it over from there",
            hint=f'Pair them again first with "pairvol pair resync {pair.group} --swap"; or give up what '
            f'{pair.secondary.site} wrote since, with "pairvol pair resync {pair.group}".',
            group=pair.group,
        )
    return True


def refuse_blind_return(pair: Pair, order: TakeoverOrder, now_ns: int) -> None:
    """ConflictError for a command that names no site and would turn back what has just been handed over.

    It may be the one that did that, cut short and given again.
    """
    goal, serving = pair.secondary.site, pair.primary.site
    if order.named or order.to not in (None, goal):
        return
    seconds = _just_handed(pair, now_ns)
    if seconds is not None:
        raise ConflictError(
            f"cannot take over {pair.group} again without a site's name: {serving} took over {seconds:.0f} s ago",
            hint=f'To go back say "pairvol pair takeover {pair.group} --to {goal}"; --to {serving} leaves it there.',
            group=pair.group,
            site=serving,
        )


def takeover_command(pair: Pair, now_ns: int) -> str:
    """What lets the secondary site take over now: it is named while a command that names none would be refused."""
    to = f" --to {pair.secondary.site}" if _just_handed(pair, now_ns) is not None else ""
    return f"pairvol pair takeover {pair.group}{to}"


def _just_handed(pair: Pair, now_ns: int) -> float | None:
    """Seconds since the last takeover, when the next one must name its site; else None."""
    if pair.taken_over or pair.handed_ns is None:
        return None
    seconds = max(0.0, (now_ns - pair.handed_ns) / 1e9)
    return seconds if seconds < BLIND_SECONDS else None


def silent(pair: Pair) -> PeerError:
    """A primary that does not answer may be dead: nobody can say that it serves, and nothing can be done there."""
    primary, secondary = pair.primary.site, pair.secondary.site
    return PeerError(
        f"cannot let {primary} take over {pair.group}: it is the primary, and does not answer; nothing was changed",
        hint=f'Start it, or let {secondary} serve: "pairvol pair takeover {pair.group} --to {secondary}".',
        group=pair.group,
    )


def already(pair: Pair) -> TakeoverReport:
    """Nothing was to be done, and nothing was."""
    return TakeoverReport(
        group=pair.group,
        kind="none",
        generation=pair.generation,
        restored_sequence=0,
        restored_time_ns=0,
        journals_restored=0,
        missing_journals=0,
        missing_bytes=0,
        seconds=0.0,
        already=True,
    )
