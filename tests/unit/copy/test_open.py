"""Opening a secondary group: the records say where it stands, the pointers are hints."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controller.api.models import ChangedRegions, CopyState, InitialCopyMethod, InitialCopyOrder
from controller.copy.progress import Progress, store
from controller.copy.worker import SecondaryGroup
from controller.errors import ConflictError, IntegrityError
from controller.journal.pointers import Pointer, PointerPage, Position
from controller.journal.volume import JournalVolume
from controller.volume.regions import REGION_BYTES
from tests.crash.links import copy_source
from tests.support.waiting import wait_until
from tests.unit.copy.parts import GROUP, Primary, block, content, open_svols, svol

SIZE = 1 << 20


class Left:
    """What a secondary process left behind: a journal with ten records, and pointers."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        primary = Primary(directory, 2 << 20, {0: SIZE})
        for number in range(1, 11):
            primary.write(0, number, block(number))
        self.ends = [Position(n, n, 0) for n in range(11)]
        primary.journal.sync()
        primary.close()
        svol(directory / "svol0", SIZE).close()
        self.opened: list[SecondaryGroup] = []

    def hint(self, **pointers: int) -> None:
        page = PointerPage.open(str(self.directory / "pointers"))
        for name, sequence in pointers.items():
            page.publish(Pointer(name), self.ends[sequence])
        page.close()

    def open(self, generation: int = 1, taking_over: bool = False) -> SecondaryGroup:
        def on_event(level: str, name: str, message: str, facts: dict[str, Any]) -> None:
            pass

        group = SecondaryGroup(
            "db",
            GROUP,
            generation,
            str(self.directory / "journal"),
            str(self.directory / "pointers"),
            open_svols(self.directory),
            self.directory / "copy.json",
            on_event,
            taking_over=taking_over,
        )
        self.opened.append(group)
        return group


@pytest.fixture
def left(tmp_path: Path) -> Iterator[Left]:
    left = Left(tmp_path / "left")
    yield left
    for group in left.opened:
        group.stop()


def pointers(group: SecondaryGroup) -> list[int]:
    return [position.sequence for position in group.snapshot().pointers.values()]


def test_records_beyond_the_hint_are_taken_when_they_are_right(left: Left, monkeypatch: pytest.MonkeyPatch) -> None:
    left.hint(read_scheduled=10, already_read=6, restore_scheduled=9, already_restored=4)
    synced: list[int] = []
    honest = JournalVolume.sync

    def sync(journal: JournalVolume) -> None:
        page = PointerPage.open(str(left.directory / "pointers"))
        synced.append(page.read(Pointer.ALREADY_READ).sequence)
        page.close()
        honest(journal)

    monkeypatch.setattr(JournalVolume, "sync", sync)
    group = left.open()
    assert synced == [6], "durable first, then the pointer"
    assert pointers(group) == [10, 10, 4, 4]
    finished = group.finish_restore()
    assert (finished.sequence, finished.journals) == (10, 6)


def test_bad_record_beyond_the_hint_is_the_end_and_is_wiped(left: Left) -> None:
    left.hint(already_read=6)
    journal = JournalVolume.open(str(left.directory / "journal"), writable=True)
    journal.data_views(8, 1)[0][0] ^= 1
    journal.close()
    group = left.open()
    assert pointers(group)[1] == 8
    group.stop()
    left.opened.clear()
    journal = JournalVolume.open(str(left.directory / "journal"), writable=False)
    assert journal.records(8, 10)["sequence"].tolist() == [8, 0, 0]
    journal.close()


def test_bad_record_that_was_durable_is_named_and_nothing_starts(left: Left) -> None:
    left.hint(already_read=6)
    journal = JournalVolume.open(str(left.directory / "journal"), writable=True)
    journal.data_views(4, 1)[0][0] ^= 1
    journal.close()
    for _ in range(2):  # and the files are let go of: the second time says the same
        with pytest.raises(IntegrityError, match="damaged at sequence 5"):
            left.open()
    assert not any(content(open_svols(left.directory)[0]))


def test_pointer_page_torn_by_a_power_cut(left: Left) -> None:
    left.hint(already_read=3, already_restored=7)  # two lines of a page, one newer than the other
    group = left.open()
    assert pointers(group) == [10, 10, 7, 7]


def test_generation_is_raised_and_never_lowered(left: Left) -> None:
    left.hint(already_read=10)
    group = left.open(generation=3)
    group.stop()
    left.opened.clear()
    with pytest.raises(ConflictError, match="generation 2 is lower than 3"):
        left.open(generation=2)


def test_other_group_is_refused(left: Left) -> None:
    with pytest.raises(IntegrityError, match="belongs to group"):
        SecondaryGroup(
            "db",
            "3b241101-e2bb-4255-8caf-4136c566a962",
            1,
            str(left.directory / "journal"),
            str(left.directory / "pointers"),
            {},
            left.directory / "copy.json",
            lambda level, name, message, facts: None,
        )


def ordered(left: Left) -> InitialCopyOrder:
    """A copy of changed regions that was ordered and has not begun; the group before it is consistent."""
    changed = ChangedRegions(epoch="e", region_bytes=REGION_BYTES, sequence=10, volumes={})
    order = InitialCopyOrder(
        source=copy_source(left.directory / "journal"), method=InitialCopyMethod.DIFFERENTIAL, regions=changed
    )
    store(left.directory / "copy.json", Progress(CopyState.DONE, consistent_sequence=0, pending=order))
    return order


def test_a_copy_that_was_ordered_begins_by_itself(left: Left) -> None:
    left.hint(already_read=10)
    ordered(left)
    group = left.open()
    group.order_restore()
    wait_until(lambda: not group.snapshot().initial_copy.pending, what="the copy to begin")


def test_no_copy_begins_in_a_takeover(left: Left) -> None:
    """Else journals behind its marker would be restored to volumes that the copy will never finish."""
    left.hint(already_read=10)
    order = ordered(left)
    group = left.open(taking_over=True)
    assert group.finish_restore(20).sequence == 10
    assert group.snapshot().initial_copy.pending
    group.stop()
    left.opened.clear()

    group = left.open()
    group.bar_copies(True)
    with pytest.raises(ConflictError, match="being taken over"):
        group.order_initial_copy(order.model_copy(update={"method": InitialCopyMethod.DIRECT, "regions": None}))
    assert group.finish_restore(20).sequence == 10
    assert group.snapshot().initial_copy.pending


def test_a_takeover_that_was_refused_lets_copies_begin(left: Left) -> None:
    left.hint(already_read=10)
    ordered(left)
    group = left.open(taking_over=True)
    group.bar_copies(False)
    group.order_restore()
    wait_until(lambda: not group.snapshot().initial_copy.pending, what="the copy to begin")
