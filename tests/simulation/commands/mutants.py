"""One mistake each, of a command: the histories with an operator must catch every one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hostagent.commands import takeover
from hostagent.commands.old_primary import OldPrimary
from hostagent.copy_manager.facts import Facts


def _own_generation(facts: Facts) -> int:
    """Does not look at what generation the other site has reached."""
    return facts.own.state.generation if facts.own.state is not None else facts.pair.generation


MUTANTS: dict[str, tuple[Any, str, Any]] = {
    "takes over without the last journals": (OldPrimary, "_drain", lambda *words: None),
    "takes over while hosts write": (
        OldPrimary,
        "serve",
        lambda old, *words, on: old._runner.exchange(),
    ),
    "calls a takeover cut short planned": (takeover._Takeover, "_was_planned", lambda *words: True),
    "takes over without changed regions": (OldPrimary, "_refuse_changed", lambda *words: None),
    "checks no generation": (Facts, "generation_known", property(_own_generation)),
}


@contextmanager
def mutant(name: str) -> Iterator[None]:
    """The mistake, for a while."""
    owner, attribute, mistake = MUTANTS[name]
    honest = getattr(owner, attribute)
    setattr(owner, attribute, mistake)
    try:
        yield
    finally:
        setattr(owner, attribute, honest)
