"""Which of two records of one pair was decided later: takeovers, and changes of direction. Pure.

Both sites keep a record, and so may an appliance; wherever two of them meet,
the later decision counts.
"""

from __future__ import annotations

from controller.errors import ConflictError
from hostagent.api.models import Pair


def age(pair: Pair) -> tuple[int, int, bool]:
    """Which of two records of one pair is the newer: every takeover and every change of direction raises this."""
    return pair.turns, pair.generation, pair.taken_over


def decided_later(told: Pair, known: Pair) -> bool:
    """Whether a record of a pair says a direction that was decided after another's.

    Where both were decided at once, at the two sites, one named the site that is kept and raised the generation for it.
    """
    if told.turns != known.turns:
        return told.turns > known.turns
    return not same_direction(told, known) and told.generation > known.generation


def refuse_decided(present: Pair, known: Pair) -> None:
    """ConflictError when a pair's direction, generation or takeover is another than what a command was decided upon."""
    if age(present) != age(known):
        raise decided(known.group)


def decided(group: str) -> ConflictError:
    return ConflictError(
        f"the direction of {group} was decided by another command meanwhile",
        hint=f'Look at "pairvol pair status {group}"; then give the command again if it is still wanted.',
        group=group,
    )


def same_direction(one: Pair, other: Pair) -> bool:
    """Whether two records are of one pair, and no decision of its direction lies between them."""
    return one.uuid == other.uuid and one.turns == other.turns and one.primary.site == other.primary.site
