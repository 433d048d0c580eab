"""Mutants of the product's checks: a reader that is blind to one kind of damage."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final
from unittest.mock import patch

from controller.copy import pull
from controller.journal.layout import Records
from controller.journal.pointers import Position
from controller.restore import program, verify
from controller.restore.verify import Expectation
from tests.crash.hostile.mutations import MUTATIONS, make_run
from tests.crash.hostile.oracle import Group

# None whose acceptance would let the mutant eat the memory of the machine that tests it.
BLIND_TO: Final = (
    "wrong checksum",
    "gap",
    "other group",
    "lower generation",
    "shifted data",
    "unknown kind",
    "address past the end",
    "wrong data checksum",
    "large marker",
    "nested marker",
    "marker of wrong types",
)
MARKERS: Final = ("nested marker", "marker of wrong types", "marker that is no JSON")

Check = tuple[Any, Callable[[Any], str]]


@contextmanager
def blind_to(name: str) -> Iterator[None]:
    """Within this, every check that would notice the mutation is left out."""
    with ExitStack() as stack:
        if name == "wrong data checksum":
            stack.enter_context(patch.object(pull, "check_bytes", lambda records, views: (len(records), "")))
            stack.enter_context(patch.object(program, "check_data", lambda journal, records: (len(records), "")))
        elif name in MARKERS:
            stack.enter_context(patch.object(verify, "is_marker", lambda payload: True))
        else:
            kept, noticing = verify._checks, _noticing(name)

            def checks(records: Records, after: Position, expected: Expectation) -> list[Check]:
                return [check for i, check in enumerate(kept(records, after, expected)) if i not in noticing]

            stack.enter_context(patch.object(verify, "_checks", checks))
        yield


def _noticing(name: str) -> set[int]:
    """Which of the product's checks fail on a run with that mutation."""
    chooser = random.Random(1)
    group = Group(7, 7, 7, range(2, 3), {0: 64})
    found: set[int] = set()
    for _ in range(8):
        run = make_run(chooser, group, 8)
        MUTATIONS[name](run, 4, chooser)
        checks = verify._checks(run.records, Position(7, 7), Expectation(7, 2, 2, {0: 64}))
        found |= {index for index, (passed, _) in enumerate(checks) if not passed.all()}
    return found
