"""The command line that replays one history."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Protocol


class Ended(Protocol):
    """A history that has run."""

    counts: Counter[str]

    def describe(self) -> str: ...


def replay(run: Callable[[int, str | None], Ended], mutants: Iterable[str]) -> None:
    parser = argparse.ArgumentParser(description="replay one history")
    parser.add_argument("seed", type=int)
    parser.add_argument("--mutant", choices=sorted(mutants))
    options = parser.parse_args()
    history = run(options.seed, options.mutant)
    print(history.describe())
    print(dict(history.counts))
