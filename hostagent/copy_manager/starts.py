"""Which of two words of one controller is the newer one, and when that cannot be told from the words.

Owns what is known of the starts of that controller's machine. The name of a
start says nothing of its place among others, so a word that comes late can make
the start that runs now look like one that is over, and nothing which that says
later would count. Such words leave a doubt, and what ends it needs no clock of
the other site: the answer to a question that was asked after the known word had
come was said after it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from controller.api.models import JournalState, Position


@dataclass(slots=True)
class Starts:
    """Of the machine of one controller, as one agent heard them."""

    over: set[str] = field(default_factory=set)  # followed by another one
    doubted: bool = False  # one of these was heard again; ask, and the answer tells

    def takes(self, known: JournalState | None, state: JournalState, *, asked_since: bool) -> bool:
        """Whether `state` is newer than `known`, or the first; if so it is what is known from now on.

        `asked_since`: it answers a question that was asked after `known` had come.
        """
        again = state.boot in self.over
        older = known is not None and _older(state, known, over=again and not asked_since)
        if not older:
            if known is not None and known.boot is not None and known.boot != state.boot:
                self.over.add(known.boot)
            if state.boot is not None:
                self.over.discard(state.boot)
        self.doubted = not asked_since and (self.doubted or again)
        return not older


def said_later(state: JournalState | None, known: JournalState | None) -> bool:
    """Whether a controller said this later than what was known: an agent whose controller is silent repeats itself."""
    if state is None or known is None or state.uuid != known.uuid or state.boot != known.boot:
        return state is not None
    if state.boot is not None:
        return (state.steady_seconds or 0.0) > (known.steady_seconds or 0.0)
    return state.time_ns > known.time_ns


def _older(state: JournalState, known: JournalState, *, over: bool) -> bool:
    """Whether `state` was said before `known`, and overtaken on its way; `over`: by a start that another followed.

    The sender's steady clock tells, and which start of its machine that counts
    from. Of a sender without one the wall clock alone does not tell, since it
    may step; nor do pointers alone, since after a power cut some are found
    again. Both together do, mostly.
    """
    if known.uuid != state.uuid:
        return False
    if known.generation != state.generation:
        return state.generation < known.generation
    if state.boot is not None and known.boot is not None:
        if state.boot != known.boot:
            return over
        return (state.steady_seconds or 0.0) < (known.steady_seconds or 0.0)
    return state.time_ns < known.time_ns and (
        any(
            position.sequence < known.pointers.get(name, Position()).sequence
            for name, position in state.pointers.items()
        )
        or (known.consistent_sequence is not None and state.consistent_sequence is None)
    )
