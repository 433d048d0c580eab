"""What hosts do with the pair of a fixture `life`, and what they then see."""

from __future__ import annotations

import random
from pathlib import Path

from tests.support.controllers import ControllerProcess
from tests.support.lifecycle import Life
from tests.support.nbdkit import connected, read_all

SIZE = 32 << 20
JOURNAL = 4 << 20
MIB = 1 << 20


def write(controller: ControllerProcess, offset: int, data: bytes) -> None:
    with connected(controller.wait_served("data")) as handle:
        handle.pwrite(data, offset)
        handle.flush()


def image(controller: ControllerProcess) -> bytes:
    """The volume as hosts read it."""
    return read_all(controller.wait_served("data"))


def backing(controller: ControllerProcess) -> bytes:
    """The volume of a site that serves it to nobody."""
    return Path(controller.client.volume("data").backing).read_bytes()


def fill_journal(life: Life) -> None:
    """Write until the journal is full and the group suspended, with nobody reading; then some more."""
    dice = random.Random(5)
    with connected(life.primary.wait_served("data")) as handle:
        for number in range(3 * JOURNAL // 65536):
            handle.pwrite(dice.randbytes(65536), number % 32 * 65536)
        handle.pwrite(b"direct" * 512, 20 * MIB)
        handle.flush()


def in_step(life: Life) -> None:
    life.catch_up()
    assert backing(life.secondary) == image(life.primary)
