"""A secondary group against a real journal server: it follows, restores, and keeps what it has."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.api.models import RestoreMode
from controller.errors import ConflictError, IntegrityError
from controller.journal.layout import Flag
from controller.journal.pointers import Pointer
from tests.integration.copy.sites import JournalServer, Secondary, Writer, files, source_at
from tests.support.proxy import Proxy
from tests.support.waiting import wait_until
from tests.unit.copy.parts import Primary, block, content, follow, initial, marker_data, once


def test_follows_while_the_lease_holds(primary: Primary, server: JournalServer, secondary: Secondary) -> None:
    primary.write(0, 3, block(1, 5))
    primary.marker(marker_data(2))
    primary.clear(7, 0, 100, Flag.TRIM)
    primary.commit()
    secondary.group.order_copy(follow(source_at(primary, server.uri)))
    assert secondary.group.wait_already_read(2, 20).sequence == 3
    secondary.wait_restored(3)
    assert secondary.equals(primary.volumes)
    assert secondary.markers == [marker_data(2)]
    last = primary.write(7, 50, block(3, 9))
    primary.commit()
    secondary.wait_restored(last)
    assert secondary.equals(primary.volumes)
    snapshot = secondary.group.snapshot()
    assert snapshot.copy_order_active
    assert snapshot.link_ok
    assert snapshot.link_contact_ns > 0
    assert snapshot.failure is None
    assert (snapshot.records_used, snapshot.data_used_bytes, snapshot.fill_percent) == (0, 0, 0)


def test_an_order_beyond_its_lease_pulls_nothing_and_renewal_goes_on(
    primary: Primary, server: JournalServer, secondary: Secondary
) -> None:
    source = source_at(primary, server.uri)
    secondary.group.order_copy(follow(source, lease_seconds=0.05))
    wait_until(lambda: not secondary.group.snapshot().copy_order_active)
    primary.write(0, 0, block(1))
    primary.commit()
    assert secondary.group.wait_already_read(0, 0.3).sequence == 0
    secondary.group.order_copy(follow(source))
    assert secondary.group.wait_already_read(0, 20).sequence == 1


def test_once_stops_at_its_sequence_and_later_restores_on_request(
    primary: Primary, server: JournalServer, secondary: Secondary
) -> None:
    for number in range(10):
        primary.write(0, number, block(number + 1))
    primary.commit()
    source = source_at(primary, server.uri)
    secondary.group.order_copy(once(source, 6, RestoreMode.LATER))
    assert secondary.group.wait_already_read(5, 20).sequence == 6
    wait_until(lambda: not secondary.group.snapshot().copy_order_active)
    assert secondary.pointer(Pointer.ALREADY_READ) == 6
    assert secondary.pointer(Pointer.ALREADY_RESTORED) == 0
    assert secondary.group.snapshot().records_used == 6
    secondary.group.order_restore(4)
    secondary.wait_restored(4)
    assert secondary.pointer(Pointer.ALREADY_RESTORED) == 4
    secondary.group.order_copy(once(source, None, RestoreMode.LATER))
    wait_until(lambda: not secondary.group.snapshot().copy_order_active)
    assert secondary.pointer(Pointer.ALREADY_READ) == 10
    secondary.group.order_restore()
    secondary.wait_restored(10)
    assert secondary.equals(primary.volumes)


def test_rings_of_different_size_wrap_many_times(primary: Primary, server: JournalServer, secondary: Secondary) -> None:
    writer = Writer(primary, secondary, files(primary), 4000)
    secondary.group.order_copy(follow(source_at(primary, server.uri)))
    writer.start()
    writer.join(120)
    assert writer.error is None
    assert primary.end.data_position > 10 * primary.journal.data_blocks
    secondary.wait_restored(primary.end.sequence)
    assert secondary.equals(primary.volumes)
    assert secondary.group.snapshot().failure is None


def test_small_secondary_journal_waits_for_restore(primary: Primary, server: JournalServer, tmp_path: Path) -> None:
    small = Secondary(tmp_path / "small", {index: len(volume) for index, volume in primary.volumes.items()}, 1 << 20)
    try:
        for number in range(40):
            primary.write(0, 64 * number, block(number + 1, 64))
        primary.commit()
        small.group.order_copy(follow(source_at(primary, server.uri), restore=RestoreMode.LATER))
        wait_until(lambda: small.group.snapshot().fill_percent > 90)
        assert 0 < small.pointer(Pointer.ALREADY_READ) < 40
        small.group.order_restore(5)
        small.wait_restored(5)
        small.group.order_copy(follow(source_at(primary, server.uri)))
        small.wait_restored(40)
        assert small.equals(primary.volumes)
    finally:
        small.close()


def test_closed_and_opened_again_it_goes_on(primary: Primary, server: JournalServer, secondary: Secondary) -> None:
    source = source_at(primary, server.uri)
    for part in range(5):
        for number in range(20):
            primary.write(7, part * 20 + number, block(number + 1, 3))
        primary.commit()
        secondary.group.order_copy(follow(source))
        secondary.group.wait_already_read(primary.end.sequence - 10, 20)
        secondary.group.stop()
        secondary.open()
    secondary.group.order_copy(follow(source))
    secondary.wait_restored(primary.end.sequence)
    assert secondary.equals(primary.volumes)


def test_finish_restore_applies_what_is_here_and_ends_copying(
    primary: Primary, server: JournalServer, secondary: Secondary
) -> None:
    for number in range(30):
        primary.write(0, number, block(number + 1))
    primary.commit()
    source = source_at(primary, server.uri)
    secondary.group.order_copy(once(source, 20, RestoreMode.LATER))
    secondary.group.wait_already_read(19, 20)
    secondary.group.order_restore(5)
    secondary.wait_restored(5)
    finished = secondary.group.finish_restore()
    assert (finished.sequence, finished.journals) == (20, 15)
    assert content(secondary.svols[0])[: 20 * 512] == b"".join(block(n + 1) for n in range(20))
    with pytest.raises(ConflictError, match="taken over"):
        secondary.group.order_copy(follow(source))
    with pytest.raises(ConflictError, match="taken over"):
        secondary.group.order_initial_copy(initial(source))
    assert secondary.group.finish_restore().journals == 0


def test_finish_restore_does_not_wait_for_a_dead_primary(
    primary: Primary, server: JournalServer, secondary: Secondary
) -> None:
    with Proxy(("127.0.0.1", server.port)) as proxy:
        primary.write(0, 0, block(1))
        primary.commit()
        secondary.group.order_copy(follow(source_at(primary, f"nbd://127.0.0.1:{proxy.address[1]}")))
        secondary.group.wait_already_read(0, 20)
        proxy.stall()
        assert secondary.group.finish_restore(timeout=20).sequence == 1


def test_finish_restore_says_what_stops_it(primary: Primary, server: JournalServer, secondary: Secondary) -> None:
    for number in range(4):
        primary.write(0, number, block(number + 1))
    primary.commit()
    secondary.group.order_copy(once(source_at(primary, server.uri), None, RestoreMode.LATER))
    secondary.group.wait_already_read(3, 20)
    with (secondary.directory / "journal").open("r+b") as file:  # the disk forgets a bit of record 3
        header = secondary.group._journal.header
        file.seek((header.data_head_lba + 2) * 512)
        file.write(b"\xff")
    with pytest.raises(IntegrityError, match="the data of record 3"):
        secondary.group.finish_restore()
    assert content(secondary.svols[0])[: 3 * 512] == block(1) + block(2) + bytes(512)


def test_lower_generation_is_refused(primary: Primary, server: JournalServer, secondary: Secondary) -> None:
    secondary.group.stop()
    secondary.group = type(secondary.group)(
        "db",
        primary.source().uuid,
        2,
        str(secondary.directory / "journal"),
        str(secondary.directory / "pointers"),
        secondary.svols,
        secondary.directory / "copy.json",
        secondary._event,
    )
    with pytest.raises(ConflictError, match="generation 1"):
        secondary.group.order_copy(follow(source_at(primary, server.uri)))
    with pytest.raises(ConflictError, match="generation 1"):
        secondary.group.order_initial_copy(initial(source_at(primary, server.uri)))
