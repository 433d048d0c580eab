"""What the readers of a primary's journal have confirmed.

Owns the minimum over readers, in memory: after a restart the readers confirm
again, and until then nothing more is freed. The pointer `confirmed` itself is
published in controller/groups/primary.py.
"""

from __future__ import annotations

from controller.state import GroupRecord


class Confirmations:
    """What each reader of each group has confirmed since we started; for use under the group's lock.

    A reader not heard of yet counts as having nothing more than before, so
    `confirmed` waits for the slowest.
    """

    def __init__(self) -> None:
        self._sequences: dict[tuple[str, int, str], int] = {}

    def note(self, group: GroupRecord, reader: str, sequence: int) -> int:
        """Take a confirmation; up to which sequence all readers have everything."""
        key = (group.uuid, group.generation, reader)  # sequences of another life as primary tell nothing
        self._sequences[key] = max(sequence, self._sequences.get(key, 0))
        return min(self._sequences.get((group.uuid, group.generation, each), 0) for each in group.readers)
