"""Writes the ledger while pairs are watched: state changes at once, lag once a minute, takeovers durably.

Owns the ledger files of this agent and what is not in them yet: the minute
under way. Must not judge: what a state is, and how far behind a secondary is,
it is told. An idle pair writes nothing. Any thread may call; a disk that
refuses is told once and hinders nobody.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from controller.errors import StorageError
from hostagent.api.history import TakeoverEntry
from hostagent.api.models import Pair, PairState
from hostagent.copy_manager.lag import Lag
from hostagent.copy_manager.side import Instant
from hostagent.history.book import Book, parsed
from hostagent.history.lines import EndLine, LagLine, Line, Spreading, StateLine, TakeoverLine
from hostagent.history.marks import Marks, in_memory
from hostagent.history.spread import Spread

PROTECTED: Final = (PairState.PAIR, PairState.PFUL)
SECONDS_FLOOR: Final = 0.001
BYTES_FLOOR: Final = 512.0
MINUTE_NS: Final = 60_000_000_000
GAP_SECONDS: Final = 180.0  # a pair that is not looked at for so long was not watched
FORGET_SECONDS: Final = 90 * 86400

_log = logging.getLogger("pairvol.agent")


@dataclass(slots=True)
class Minute:
    """The lag since a moment, weighed by time."""

    at_ns: int
    until_ns: int
    seconds: Spread = field(default_factory=lambda: Spread(SECONDS_FLOOR))
    data: Spread = field(default_factory=lambda: Spread(BYTES_FLOOR))

    @property
    def quiet(self) -> bool:
        return self.seconds.max == 0 and self.data.max == 0

    def add(self, lag: Lag, now: Instant, seconds: float) -> None:
        self.seconds.add(lag.seconds, seconds)
        self.data.add(lag.total_bytes, seconds)
        self.until_ns = max(self.until_ns, now.wall_ns)

    def line(self, pair: str) -> LagLine:
        return LagLine(
            pair=pair,
            at_ns=self.at_ns,
            until_ns=self.until_ns,
            seconds=round(self.seconds.total, 3),
            lag_seconds=_spreading(self.seconds),
            lag_bytes=_spreading(self.data),
        )


@dataclass(slots=True)
class Watched:
    """A pair as it was last seen."""

    pair: str
    state: PairState
    seen: Instant
    minute: Minute
    seconds: dict[PairState, float] = field(default_factory=dict)  # in each state, since this agent watches


class History:
    """One for each agent. `marks` None: no directory in memory."""

    def __init__(self, directory: Path, run_directory: Path | None = None) -> None:
        self._directory = directory
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._marks = Marks(run_directory / "history" if run_directory and in_memory(run_directory) else None)
        self._lock = threading.Lock()
        self._watched: dict[str, Watched] = {}
        self._refused = self._closed = False

    def note(self, pair: Pair, state: PairState, lag: Lag | None, now: Instant) -> None:
        """A pair is seen in a state, and so far behind (None: not known)."""
        with self._lock:
            if self._closed:
                return
            known = self._watched.get(pair.group)
            if known is None or known.pair != pair.uuid or now.seconds - known.seen.seconds > GAP_SECONDS:
                self._begin(pair, state, now, known)
                return
            elapsed = now.seconds - known.seen.seconds
            known.seconds[known.state] = known.seconds.get(known.state, 0.0) + elapsed
            if lag is not None and known.state in PROTECTED and state in PROTECTED:
                known.minute.add(lag, now, elapsed)
            if state is not known.state:
                self._end_minute(pair.group, known, now)
                self._write(pair.group, StateLine(pair=pair.uuid, at_ns=now.wall_ns, state=state))
            elif now.wall_ns // MINUTE_NS != known.minute.at_ns // MINUTE_NS:
                self._end_minute(pair.group, known, now)
            known.state, known.seen = state, now
            self._marks.set(pair.group, now.wall_ns if known.minute.quiet else known.minute.at_ns)

    def took_over(self, pair: Pair, entry: TakeoverEntry) -> None:
        """Durable when this returns; a generation is taken once, so the first entry of it counts.

        StorageError when the disk refuses: the takeover is as done as it was.
        """
        with self._lock:
            book = self._book(pair.group)
            known = {(line.pair, line.takeover.generation) for line in book.takeovers()}
            if (pair.uuid, entry.generation) in known:
                book.sync()  # who wrote it may have died before its sync
                return
            line = TakeoverLine(pair=pair.uuid, at_ns=entry.ended_ns, takeover=entry)
            book.append(line, synced=True)

    def lines(self, pair: Pair) -> tuple[list[Line], int]:
        """What is remembered of a pair, the minute under way too; and up to when it is known to last."""
        with self._lock:  # for a moment: pairs are watched meanwhile
            content = self._book(pair.group).content()
            known = self._watched.get(pair.group)
            watched = known is not None and known.pair == pair.uuid
            minute = known.minute.line(known.pair) if known and watched and not known.minute.quiet else None
            until = known.seen.wall_ns if known and watched else self._marks.get(pair.group) or 0
        found = [line for line in parsed(content) if line.pair == pair.uuid]
        return [*found, minute] if minute else found, until

    def state_seconds(self) -> list[tuple[str, PairState, float]]:
        """(group, state, seconds) since this agent watches: counters that begin at nothing with each agent."""
        with self._lock:
            return [
                (group, state, seconds)
                for group, known in sorted(self._watched.items())
                for state, seconds in known.seconds.items()
            ]

    def close(self) -> None:
        """The agent ends in order: nothing is lost, and the next one knows until when."""
        with self._lock:
            for group, known in self._watched.items():
                self._end_minute(group, known, known.seen)
                self._write(group, EndLine(pair=known.pair, at_ns=known.seen.wall_ns))
            self._watched.clear()
            self._marks.close()
            self._closed = True

    def forget_old(self, groups: set[str]) -> None:
        """Remove ledgers of pairs that ended long ago."""
        for path in self._directory.glob("*.jsonl"):
            if path.stem not in groups and time.time() - path.stat().st_mtime > FORGET_SECONDS:
                path.unlink(missing_ok=True)

    def _begin(self, pair: Pair, state: PairState, now: Instant, known: Watched | None) -> None:
        """Recording begins, or begins anew: what was up to when says the one before, its mark, or its last line."""
        if known is not None:
            self._end_minute(pair.group, known, known.seen)
            until = known.seen.wall_ns
        else:
            until = max(self._book(pair.group).last_end_ns(), self._marks.get(pair.group) or 0)
        line = StateLine(pair=pair.uuid, at_ns=now.wall_ns, state=state, recorded_until_ns=min(until, now.wall_ns))
        self._write(pair.group, line)
        watched = Watched(pair.uuid, state, now, Minute(now.wall_ns, now.wall_ns))
        if known is not None:
            watched.seconds = known.seconds
        self._watched[pair.group] = watched
        self._marks.set(pair.group, now.wall_ns)

    def _end_minute(self, group: str, known: Watched, now: Instant) -> None:
        if not known.minute.quiet:
            self._write(group, known.minute.line(known.pair))
        known.minute = Minute(now.wall_ns, now.wall_ns)

    def _write(self, group: str, line: Line) -> None:
        """A disk that refuses costs a line of the past, and stops nobody."""
        try:
            self._book(group).append(line)
            self._refused = False
        except StorageError as error:
            if not self._refused:
                _log.error("the past of %s has a gap: %s", group, error.message)
            self._refused = True

    def _book(self, group: str) -> Book:
        return Book(self._directory / f"{group}.jsonl")


def _spreading(spread: Spread) -> Spreading:
    weights = {bucket: round(seconds, 3) for bucket, seconds in sorted(spread.weights.items())}
    return Spreading(max=round(spread.max, 6), weights=weights)
