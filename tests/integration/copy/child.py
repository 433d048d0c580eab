"""A secondary group in a process of its own, to be killed: it follows until a sequence is restored, then ends.

Arguments: directory of the secondary, JSON of an order, sequence. With an
initial copy order it copies and follows, with a copy order it follows only.
"""

from __future__ import annotations

import sys
from pathlib import Path

from controller.api.models import CopyOrder, InitialCopyOrder
from controller.copy.worker import SecondaryGroup
from controller.journal.pointers import Pointer
from tests.support.waiting import wait_until
from tests.unit.copy.parts import GROUP, follow, open_svols


def main(directory: Path, order: CopyOrder | InitialCopyOrder, target: int) -> None:
    group = SecondaryGroup(
        "db",
        GROUP,
        1,
        str(directory / "journal"),
        str(directory / "pointers"),
        open_svols(directory),
        directory / "copy.json",
        lambda level, name, message, facts: print(level, name, message, facts, flush=True),
    )
    group.order_copy(follow(order.source))
    copied = isinstance(order, CopyOrder)
    if isinstance(order, InitialCopyOrder):
        group.order_initial_copy(order)

    def arrived() -> bool:
        snapshot = group.snapshot()
        restored = snapshot.pointers[str(Pointer.ALREADY_RESTORED)].sequence
        return restored >= target and (copied or snapshot.consistent_sequence is not None)

    wait_until(arrived, 60)
    group.stop()


if __name__ == "__main__":
    kind = InitialCopyOrder if '"method"' in sys.argv[2] else CopyOrder
    main(Path(sys.argv[1]), kind.model_validate_json(sys.argv[2]), int(sys.argv[3]))
