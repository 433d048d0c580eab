"""One mistake each, of a command or of a controller: the histories with an operator must catch every one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hostagent import takeover
from hostagent.life import commands
from tests.simulation.commands.site import SiteBase

MUTANTS: dict[str, tuple[Any, str, Any]] = {
    "takes over without the last journals": (takeover._Takeover, "_drain", lambda *words: None),
    "drops a tail unasked": (commands, "_refuse_loss", lambda *words, **named: None),
    "copies before it restored": (SiteBase, "begins_at_once", True),
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
