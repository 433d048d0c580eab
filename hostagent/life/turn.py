"""The direction of a pair after a takeover: the other one, or the old one under the next generation. Pure."""

from __future__ import annotations

from hostagent.api.models import Pair


def turned(pair: Pair, generation: int, handed_ns: int | None = None) -> Pair:
    """What is kept of a pair that was taken over, once it runs the other way under the takeover's generation.

    `handed_ns`: of a planned takeover, which turns the pair by itself.
    """
    return pair.model_copy(
        update={
            "primary": pair.secondary,
            "secondary": pair.primary,
            "generation": generation,
            "taken_over": False,
            "turns": pair.turns + 1,
            "handed_ns": handed_ns,
        }
    )


def taken_back(pair: Pair, generation: int) -> Pair:
    """What is kept of a pair that was taken over, once it runs as before under a generation above the takeover's."""
    return pair.model_copy(
        update={"generation": generation, "taken_over": False, "turns": pair.turns + 1, "handed_ns": None}
    )
