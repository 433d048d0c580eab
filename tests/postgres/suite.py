"""Which takeovers in which order: `make postgres` runs twenty, `make test` three."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from tests.crash.results import Row
from tests.postgres.control import run_with_controls
from tests.postgres.story import Kind, Story

TRANSACTIONS_MAX = 2000


def run(seed: int, takeovers: int, directory: Path, tell: Callable[[str], None] = print) -> Row:
    """The first is planned under load, the second forced, with the controls; the others by the seed."""
    row = Row("postgres", seed)
    chance = random.Random(seed)
    kinds = [Kind.UNDER_LOAD, Kind.FORCED, Kind.IN_ORDER]
    rest = [list(Kind)[n % len(Kind)] for n in range(takeovers - len(kinds))]
    chance.shuffle(rest)
    with Story(directory, row, tell) as story:
        for number, kind in enumerate([*kinds, *rest][:takeovers]):
            if number == 1:
                run_with_controls(story, directory)
            else:
                story.take_over(kind, chance.randrange(1, TRANSACTIONS_MAX if rest else 100))
        story.end_equal()
    return row
