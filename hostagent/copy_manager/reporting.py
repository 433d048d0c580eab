"""What events tell of one pair: that its state changed, that it was turned, that there are two primaries.

Owns what was told before, so that nothing is told twice. Must not call
anybody: the runner asks with its lock held, and tells when it has let it go.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from controller.errors import ConflictError
from hostagent.api.models import Pair, PairState, Verdict
from hostagent.config import CopySettings
from hostagent.copy_manager.facts import Facts
from hostagent.copy_manager.observe import observe, two_primaries
from hostagent.copy_manager.side import Instant
from hostagent.decisions import same_direction
from hostagent.pairs import next_state
from hostagent.status import pair_status

MAKING_NS: Final = 10 * 1_000_000_000
LEVELS: Final = {Verdict.OK: "info", Verdict.WARN: "warning", Verdict.CRIT: "error"}


@dataclass(frozen=True, slots=True)
class Telling:
    """An event to be."""

    level: str
    kind: str
    text: str
    facts: dict[str, Any] | None = None


class Reporter:
    """Of one pair; `state` is the one last told."""

    def __init__(self, pair: Pair, settings: CopySettings) -> None:
        self.state = PairState.SMPL
        self._settings = settings
        self._group = pair.group
        self._pair = pair  # as the last look for changes found it
        self._divided = 0  # the generation whose two primaries were told of

    def changes(self, now: Instant, facts: Facts) -> list[Telling]:
        """When the state has changed; nothing before both sides were asked once."""
        if not asked(facts):
            return []
        if facts.peer_lacks_pair and now.wall_ns - facts.pair.created_ns < MAKING_NS:
            return []  # the other side is just being made
        told: list[Telling] = []
        event = observe(facts, now, self._settings).event
        before = self.state
        turned, self._pair = not same_direction(facts.pair, self._pair), facts.pair
        try:
            self.state = next_state(PairState.COPY if turned else before, event, self._group)
        except ConflictError as error:
            self.state = next_state(PairState.SMPL, event, self._group)
            told.append(Telling("error", "pair.impossible", error.message))
        if self.state is not before:
            status = pair_status(facts, now, self._settings)
            words = {"from": before.value, "to": status.state.value, "seconds_to_full": status.seconds_to_full}
            told.append(Telling(LEVELS[status.verdict], "pair.state", status.line, words))
        return told

    def two(self, facts: Facts) -> list[Telling]:
        """When there are, or were, two primaries; once for a takeover."""
        words = two_primaries(facts)
        generation = facts.divided_generation
        if words is None or generation <= self._divided:
            return []
        self._divided = generation
        return [Telling("error", "pair.two_primaries", words, {"generation": generation})]


def kept(before: Pair, after: Pair) -> list[Telling]:
    """When what is kept of a pair says that it was turned, or is served by another site."""
    if not same_direction(after, before):
        words = f"{after.group} runs from {after.primary.site} to {after.secondary.site} now"
        return [Telling("info", "pair.turned", words)]
    if after.generation > before.generation or after.taken_over != before.taken_over:
        where = after.secondary.site if after.taken_over else after.primary.site
        words = f"{after.group} is served by {where}, generation {after.generation}"
        return [Telling("warning", "pair.generation", words)]
    return []


def asked(facts: Facts) -> bool:
    """Whether both sides were asked once, so that silence means something."""
    return facts.asked is not None and (facts.contact is not None or facts.contact_failure is not None)
