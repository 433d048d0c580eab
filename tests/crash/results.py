"""What a crash suite answers: one row, the same for all of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

EXAMPLES_MAX = 10

Controls = Collection[str] | None
"""Which of a suite's mutants to run; None: all."""


def wanted(names: Iterable[str], controls: Controls) -> list[str]:
    """The mutants of a suite that are to be run."""
    return [name for name in names if controls is None or name in controls]


@dataclass
class Row:
    """`attempted` faults were planned, `reached` of them happened; only those prove anything.

    `lost` counts reached faults after which something acknowledged was
    missing or something wrong was taken; `order_violations` those after which
    what is there is no prefix of the history. `controls` are mutants of the
    product that the same check was run on; each must be caught.
    """

    suite: str
    seed: int
    attempted: int = 0
    reached: int = 0
    lost: int = 0
    order_violations: int = 0
    controls: int = 0
    controls_caught: int = 0
    examples: list[str] = field(default_factory=list)  # of failures, in words

    @property
    def holds(self) -> bool:
        """Nothing was lost, faults were reached, and every mutant was caught."""
        return (
            not self.lost and not self.order_violations and self.reached > 0 and self.controls == self.controls_caught
        )

    def lose(self, words: str) -> None:
        self.lost += 1
        self._note(words)

    def disorder(self, words: str) -> None:
        self.order_violations += 1
        self._note(words)

    def control(self, name: str, caught: bool) -> None:
        self.controls += 1
        self.controls_caught += caught
        if not caught:
            self._note(f"control not caught: {name}")

    def add(self, other: Row) -> None:
        """Count what another row found, of the same suite."""
        self.attempted += other.attempted
        self.reached += other.reached
        self.lost += other.lost
        self.order_violations += other.order_violations
        self.controls += other.controls
        self.controls_caught += other.controls_caught
        for words in other.examples:
            self._note(words)

    def _note(self, words: str) -> None:
        if len(self.examples) < EXAMPLES_MAX:
            self.examples.append(words)

    def __str__(self) -> str:
        text = (
            f"{self.suite}: seed {self.seed}, {self.reached} of {self.attempted} reached, {self.lost} lost, "
            f"{self.order_violations} out of order, {self.controls_caught} of {self.controls} controls caught"
        )
        return "\n".join([text, *self.examples])
