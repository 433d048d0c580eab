"""How the secondary could be taken over as it stands, with a primary that does not answer. Pure.

Follows what the takeover command itself asks of the facts and of the controller
(`hostagent/commands/takeover.py`, `controller/groups/ways.py`), so that status names no command that is refused.
"""

from __future__ import annotations

from enum import StrEnum

from controller.api.models import Role, SplitMode
from controller.journal.pointers import Pointer
from hostagent.copy_manager.facts import Facts
from hostagent.copy_manager.observe import copied


class Alone(StrEnum):
    """What a takeover needs now."""

    NOTHING = "nothing"
    FORCE = "--force"  # the volumes are taken as hosts left them, or journals here are dropped
    FORCE_BACK = "--force, and goes back to the safe point"
    REFUSED = "refused: there is no whole copy"


def takeover_alone(facts: Facts) -> Alone:
    """Of the secondary that these facts are the own side of."""
    held = facts.own.state
    if held is None or held.role is not Role.SECONDARY or not (copied(facts) or held.safe_point.open):
        return Alone.REFUSED
    if held.split is SplitMode.WRITE:
        return Alone.FORCE
    consistent = held.consistent_sequence
    if consistent is not None and facts.own.position(Pointer.ALREADY_READ).sequence >= consistent:
        return Alone.FORCE if held.waiting_epoch is not None else Alone.NOTHING
    return Alone.FORCE_BACK if held.safe_point.open else Alone.REFUSED
