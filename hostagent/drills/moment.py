"""The moment of a drill: which journal that is, and restore standing there.

Owns what may be written after `--at`, what is refused because it is behind,
and the wait. The controller's restore stands at its end only while that is
renewed here, so that a command that dies holds nothing up.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from controller.api.drills import RestoreEndOrder
from controller.api.models import JournalState, RestoreRequest
from controller.errors import ConflictError, PairvolError, PeerError, UsageError
from controller.journal.pointers import Pointer
from controller.units import parse_duration
from hostagent.api.drills import DrillOrder, MarkerPut
from hostagent.api.models import Pair
from hostagent.commands import markers
from hostagent.copy_manager.lag import position
from hostagent.copy_manager.runner import PairRunner
from hostagent.host import Host

HOLD_SECONDS: Final = 10.0  # how long restore stands without a word from here
LOOK_SECONDS: Final = 0.2
_RELATIVE: Final = re.compile(r"[-+]\d+(\.\d+)?(ms|[smhdw])")
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d[T ].*")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")


@dataclass(frozen=True, slots=True)
class Moment:
    """A journal, a marker of a name, or a time."""

    words: str
    sequence: int | None = None
    marker: str | None = None
    time_ns: int | None = None

    def end(self) -> RestoreEndOrder:
        return RestoreEndOrder(
            sequence=self.sequence, marker=self.marker, time_ns=self.time_ns, hold_seconds=HOLD_SECONDS
        )


def parse_moment(text: str, now_ns: int) -> Moment:
    """`4711`, `before-upgrade`, `2026-09-20T10:15:03Z`, `-15m`, `+30s`."""
    if text.isdecimal():
        return Moment(f"journal {text}", sequence=int(text))
    if _RELATIVE.fullmatch(text):
        nanoseconds = int(parse_duration(text[1:]) * 1e9)
        return Moment(text, time_ns=now_ns + (nanoseconds if text[0] == "+" else -nanoseconds))
    if _DATE.fullmatch(text):
        with suppress(ValueError):
            moment = datetime.fromisoformat(text)
            if moment.tzinfo is not None:
                return Moment(text, time_ns=int(moment.timestamp() * 1_000_000) * 1000)
        raise UsageError(f"{text!r} is not a time", hint="Write it with its zone, such as 2026-09-20T10:15:03Z.")
    if _NAME.fullmatch(text):
        return Moment(f"marker {text}", marker=text)
    raise UsageError(
        f"{text!r} is no moment", hint="Write a marker's name, a journal's sequence, a time with its zone, or -15m."
    )


@contextmanager
def standing(host: Host, runner: PairRunner, pair: Pair, order: DrillOrder) -> Iterator[None]:
    """Restore stands at the moment of the order within; it goes on afterwards unless something else holds it."""
    group = pair.group
    if order.at is None and order.marker is None:
        yield
        return
    if order.marker is not None:
        moment = Moment(f"marker {order.marker}", marker=order.marker)
    else:
        assert order.at is not None
        moment = _known(host, parse_moment(order.at, time.time_ns()), group)
    own = host.controller.state(group)
    _refuse_behind(moment, own)
    _refuse_held(moment, own)
    try:
        host.controller.set_restore_end(group, moment.end())
        if order.marker is None and moment.marker is not None:  # it may have come between the look and the order
            moment = _known(host, moment, group)
            _refuse_behind(moment, host.controller.state(group))
        if order.marker is not None:
            put = markers.put(host, group, MarkerPut(name=order.marker, freeze=order.freeze))
            moment = Moment(moment.words, sequence=put.sequence)
        _wait(host, runner, pair, moment, order.wait_seconds)
        yield
    finally:
        with suppress(PairvolError):  # it goes on by itself in a while
            host.controller.set_restore_end(group, RestoreEndOrder(hold_seconds=HOLD_SECONDS))


def _known(host: Host, moment: Moment, group: str) -> Moment:
    """A marker that is there has a journal; of several of one name the last is meant."""
    if moment.marker is None:
        return moment
    sides = markers.both(host, group)
    found = [each.sequence for each in (*(sides.primary or []), *(sides.secondary or [])) if each.name == moment.marker]
    return Moment(moment.words, sequence=max(found)) if found else moment


def _refuse_behind(moment: Moment, own: JournalState) -> None:
    """The past is not here any more: what is restored is in the volumes."""
    restored = position(own, Pointer.ALREADY_RESTORED)
    behind = moment.sequence is not None and moment.sequence < restored.sequence
    behind |= moment.time_ns is not None and moment.time_ns < restored.time_ns
    if behind:
        raise ConflictError(
            f"cannot start a drill of {own.group} at {moment.words}: it is behind, "
            f"journals up to {restored.sequence} are restored",
            hint=f'Open one at the present moment: "pairvol drill start {own.group}"; with --marker and a new name it '
            "puts that marker and is exactly there.",
            group=own.group,
            restored=restored.sequence,
        )


def _refuse_held(moment: Moment, own: JournalState) -> None:
    """Restore does not get on to a moment ahead while images are open."""
    restored = position(own, Pointer.ALREADY_RESTORED).sequence
    if own.drills and moment.sequence != restored:
        raise ConflictError(
            f"cannot start a drill of {own.group} at {moment.words}: a drill is open at journal {restored}, "
            "and restore waits for its end",
            hint=f'Stop it first: "pairvol drill stop {own.group}"; or open another at the same moment, without --at.',
            group=own.group,
            drills=own.drills,
        )


def _wait(host: Host, runner: PairRunner, pair: Pair, moment: Moment, seconds: float) -> None:
    """Until restore stands there; renewed at each look."""
    group, deadline = pair.group, time.monotonic() + seconds
    while True:
        state = host.controller.set_restore_end(group, moment.end())
        restored = position(state, Pointer.ALREADY_RESTORED).sequence
        if state.restore_end is not None and restored >= state.restore_end:
            return
        if moment.time_ns is not None and _nothing_later(runner, moment.time_ns, restored):
            return
        if state.failure is not None:
            raise ConflictError(f"restore of {group} stopped: {state.failure.message}", hint=state.failure.hint)
        if pair.policy.restore == "later":
            with suppress(PairvolError):
                host.controller.order_restore(group, RestoreRequest(to_sequence=state.restore_end))
        if time.monotonic() >= deadline:
            raise PeerError(
                f"{moment.words} of {group} was not restored within {seconds:g} s; restore is at journal {restored}",
                hint=f'See "pairvol journal status {group}"; or wait longer with --wait.',
                group=group,
                restored=restored,
            )
        runner.pause(LOOK_SECONDS)


def _nothing_later(runner: PairRunner, time_ns: int, restored: int) -> bool:
    """Whether that time has passed at the primary, and everything of it is here."""
    primary = runner.exchange()
    if primary is None or primary.time_ns <= time_ns:
        return False
    return position(primary, Pointer.JOURNAL_IN).sequence == restored
