"""What a journal is, and how a range was written that has no data; for who speaks of journals and reads none."""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Final


class Kind(IntEnum):
    """What a journal is."""

    UPDATE = 1  # a host write
    BASE = 2  # initial data
    MARKER = 3  # control information carried in band


class Flag(IntFlag):
    """How the described range was written when there is no data."""

    NONE = 0
    ZERO = 1
    TRIM = 2


# As plain numbers, for arrays: a name of an enumeration takes longer to look up than a few records to compare.
MARKER: Final = int(Kind.MARKER)
BASE: Final = int(Kind.BASE)
CLEAR: Final = int(Flag.ZERO | Flag.TRIM)
