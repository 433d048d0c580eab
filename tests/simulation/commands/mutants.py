"""One mistake each, of a command: the histories with an operator must catch every one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hostagent import takeover

MUTANTS: dict[str, tuple[Any, str, Any]] = {
    "takes over without the last journals": (takeover._Takeover, "_drain", lambda *words: None),
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
