"""`python -m tests.crash.network.mutants MISTAKE ...`: a controller with a mistake that only a bad network shows.

The other words are those of `pairvol`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from controller.copy import in_flight, link, pull
from hostagent.cli.main import main


def no_deadlines() -> None:
    """Who reads over the data link waits for ever."""

    class Endless(in_flight.Deadline):
        def __init__(self, silence_seconds: float, *others: Any) -> None:
            super().__init__(1e9, *others)

    setattr(link, "Deadline", Endless)  # noqa: B010


def unchecked() -> None:
    """What arrives is believed: the checksums of data are not looked at."""
    setattr(pull, "check_bytes", lambda records, views: (len(records), ""))  # noqa: B010


MISTAKES: dict[str, Callable[[], None]] = {"no deadlines": no_deadlines, "checksums skipped": unchecked}

if __name__ == "__main__":
    MISTAKES[sys.argv.pop(1)]()
    main()
