"""The copy manager (FIG. 6): from facts to actions, for one pair at one site.

A pure state machine: it does no I/O and has no clock. `step` looks at the
facts and gives the actions that are due now; whoever carries them out tells
how each `ended` and steps again. What it remembers between steps is only when
it acted last, so a manager that is lost and begun anew goes on: every action
may be repeated, and converges.

`primary.py` and `secondary.py` hold what differs between the roles. Both
sides learn a higher generation from each other here; to act on it they need
not have kept it (who forgets it hears it again).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hostagent.api.models import Pair
from hostagent.config import CopySettings
from hostagent.copy_manager.actions import Action, SavePair
from hostagent.copy_manager.facts import Facts
from hostagent.copy_manager.pace import Pace
from hostagent.copy_manager.primary import PrimaryRole
from hostagent.copy_manager.secondary import SecondaryRole
from hostagent.copy_manager.side import Instant
from hostagent.decisions import age, decided_later
from hostagent.limit import newest_limit


@dataclass(slots=True)
class CopyManager:
    """Decides for one pair; not for several threads at once."""

    settings: CopySettings
    pace: Pace = field(default_factory=Pace)
    primary: PrimaryRole = field(init=False)
    secondary: SecondaryRole = field(init=False)

    def __post_init__(self) -> None:
        self.primary = PrimaryRole(self.settings, self.pace)
        self.secondary = SecondaryRole(self.settings, self.pace)

    def step(self, now: Instant, facts: Facts) -> list[Action]:
        """The actions due now, in the order in which they are to be done; empty when there is none for the moment."""
        self.pace.begin(now.seconds)
        actions: list[Action] = []
        known = learnt(facts)
        if known != facts.pair and self.pace.due(SavePair):
            actions.append(SavePair(known))
        role = self.primary if facts.is_primary else self.secondary
        actions += role.step(now, facts)
        facts.wants(self.pace.wanted)
        return actions

    def ended(self, now: Instant, action: Action, good: bool) -> None:
        """An action that `step` gave was carried out, or failed."""
        self.pace.ended(type(action), now.seconds, good)

    def rest_seconds(self) -> float:
        """After a `step` that gave nothing: how long nothing is due unless something is heard."""
        return self.pace.rest_seconds(self.settings.idle_beat_seconds)

    def awaken(self) -> None:
        """A command changed something: look at once."""
        self.pace.awaken()
        self.primary.told = None


def learnt(facts: Facts) -> Pair:
    """The pair as it is kept here, with what was heard of direction, generation, takeover and limit since."""
    told = facts.peer_pair
    return newest_limit(newest_limit(_turned(facts, told), facts.pair), told)


def _turned(facts: Facts, told: Pair | None) -> Pair:
    if told is not None and told.uuid == facts.pair.uuid and decided_later(told, facts.pair):
        return max(told, told.model_copy(update={"generation": facts.generation_known}), key=age)
    return facts.pair.model_copy(update={"generation": facts.generation_known, "taken_over": facts.taken_over})
