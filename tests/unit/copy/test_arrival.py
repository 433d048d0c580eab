"""Memory between the wire and the journal volume, and what reaches the volume from it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from controller.copy.arrival import KEPT_BYTES, Arrival
from controller.copy.pull import REREADS_MAX
from controller.errors import IntegrityError
from tests.unit.copy.parts import block
from tests.unit.copy.test_pull import make_sides


def test_a_view_is_as_long_as_asked_and_keeps_what_is_put_in() -> None:
    arrival = Arrival(4096)
    view = arrival.view(100)
    view[:] = b"x" * 100
    assert (len(view), bytes(view[-1:])) == (100, b"x")
    assert len(arrival.view(4096)) == 4096


def test_at_rest_only_a_little_memory_is_kept() -> None:
    arrival = Arrival(4 * KEPT_BYTES)
    view = arrival.view(4 * KEPT_BYTES)
    view[0], view[-1] = 1, 1
    arrival.rest()
    assert (view[0], view[-1]) == (1, 0)  # the system gives a page that it took back as zeros


def test_data_that_fails_its_checksum_never_reaches_the_journal_volume(tmp_path: Path) -> None:
    sides = make_sides(tmp_path)
    for number in range(1, 4):
        sides.primary.write(0, number, block(number, 8))
    sides.primary.spoil_data(2)
    sides.primary.commit()
    with suppress(IntegrityError):
        for _ in range(REREADS_MAX + 2):
            sides.pull.step()
    assert sides.pull.read.sequence == 1
    held = b"".join(sides.journal.data_views(0, 24))
    assert held[: 8 * 512] == block(1, 8)
    assert not any(held[8 * 512 :])
    for part in (sides.pull, sides.primary, sides.pointers, sides.journal):
        part.close()
