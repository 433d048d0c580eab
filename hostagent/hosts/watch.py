"""What an agent does for a pair that another host drives: it looks, and gives no orders.

Pure; see `copy_manager/manager.py`, whose place it takes while the agent stands by.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from hostagent.config import CopySettings
from hostagent.copy_manager.actions import Action, QueryGroup, QueryState
from hostagent.copy_manager.facts import Facts
from hostagent.copy_manager.pace import Pace
from hostagent.copy_manager.side import Instant

GROUP_SECONDS: Final = 30.0


@dataclass(slots=True)
class Watch:
    """Keeps the facts of the own controller fresh, so that other agents and persons are answered."""

    settings: CopySettings
    pace: Pace = field(default_factory=Pace)

    def step(self, now: Instant, facts: Facts) -> list[Action]:
        self.pace.begin(now.seconds)
        actions: list[Action] = []
        if self.pace.due(QueryState, every=self.settings.idle_beat_seconds):
            actions.append(QueryState())
        known = facts.own.state is not None and facts.own.failure is None
        if (
            facts.is_primary
            and known
            and self.pace.due(QueryGroup, every=GROUP_SECONDS if facts.links is not None else 1.0)
        ):
            actions.append(QueryGroup())
        return actions

    def rest_seconds(self) -> float:
        return self.pace.rest_seconds(self.settings.idle_beat_seconds)

    def ended(self, now: Instant, action: Action, good: bool) -> None:
        self.pace.ended(type(action), now.seconds, good)
