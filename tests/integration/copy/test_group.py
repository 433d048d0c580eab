"""A secondary group against a real journal server: it follows, survives, and names what it cannot take."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.api.models import CopyState, InitialCopyMethod, InitialCopyOrder, RestoreMode
from controller.copy.journals import LINK_SECONDS_MAX
from controller.errors import ConflictError, IntegrityError
from controller.journal.layout import Flag
from controller.journal.pointers import Pointer
from tests.integration.copy.sites import JournalServer, Secondary, Writer, source_at
from tests.support.processes import Processes
from tests.support.proxy import Faults, Proxy
from tests.support.waiting import wait_until
from tests.unit.copy.parts import Primary, block, content, follow, initial, once


def files(primary: Primary) -> dict[int, Path]:
    """The PVOLs as files that the journal server also serves."""
    paths = {index: primary.directory / f"pvol{index}" for index in primary.volumes}
    for index, path in paths.items():
        path.write_bytes(bytes(primary.volumes[index]))
    return paths


def test_follows_while_the_lease_holds(primary: Primary, server: JournalServer, secondary: Secondary) -> None:
    primary.write(0, 3, block(1, 5))
    primary.marker(block(2))
    primary.clear(7, 0, 100, Flag.TRIM)
    primary.commit()
    secondary.group.order_copy(follow(source_at(primary, server.uri)))
    assert secondary.group.wait_already_read(2, 20).sequence == 3
    secondary.wait_restored(3)
    assert secondary.equals(primary.volumes)
    assert secondary.markers == [block(2)]
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


BAD = [
    ({"volume_lba": 99}, False, "record 5 fails its checksum"),
    ({"sequence": 6}, True, "record 5 is missing"),
    ({"generation": 0}, True, "generation 0, lower than 1"),
    ({"volume": 9}, True, "volume 9, which the group does not have"),
    ({"volume_lba": 1 << 40}, True, "lies outside volume 0"),
    ({"data_position": 3}, True, "has data at 3"),
    ({"block_count": 3}, True, "has 1 blocks of data for 3"),
    ({"kind": 7}, True, "unknown kind 7"),
    (None, True, "the data of record 5 fails its checksum"),
]


@pytest.mark.parametrize(("fields", "valid", "words"), BAD, ids=[row[2] for row in BAD])
def test_corruption_is_named_before_the_svol_is_touched(
    primary: Primary,
    server: JournalServer,
    secondary: Secondary,
    fields: dict[str, int] | None,
    valid: bool,
    words: str,
) -> None:
    for number in range(8):
        primary.write(0, number, block(number + 1))
    if fields is None:
        primary.spoil_data(5)
    else:
        primary.spoil_record(5, valid, **fields)
    primary.commit()
    secondary.group.order_copy(follow(source_at(primary, server.uri)))
    assert words in secondary.wait_failed()
    secondary.wait_restored(4)
    assert secondary.pointer(Pointer.ALREADY_READ) == 4
    assert content(secondary.svols[0]) == b"".join(block(n + 1) for n in range(4)).ljust(8 << 20, b"\0")
    secondary.group.order_copy(follow(source_at(primary, server.uri)))  # a renewal changes nothing
    assert secondary.group.snapshot().failure is not None


def test_explicit_order_tries_again_after_a_fault(
    primary: Primary, server: JournalServer, secondary: Secondary
) -> None:
    primary.write(0, 0, block(1))
    primary.commit()
    primary.spoil_data(1)
    source = source_at(primary, server.uri)
    secondary.group.order_copy(follow(source))
    secondary.wait_failed()
    primary.spoil_data(1)  # mended
    secondary.group.order_copy(follow(source))
    assert secondary.group.wait_already_read(0, 0.2).sequence == 0
    secondary.group.order_copy(once(source))
    secondary.wait_restored(1)
    assert secondary.group.snapshot().failure is None
    assert secondary.equals(primary.volumes)


def test_one_flipped_bit_on_the_wire_is_survived(primary: Primary, server: JournalServer, secondary: Secondary) -> None:
    with Proxy(("127.0.0.1", server.port)) as proxy:
        secondary.group.order_copy(follow(source_at(primary, f"nbd://127.0.0.1:{proxy.address[1]}")))
        primary.write(0, 0, block(1))
        primary.commit()
        secondary.wait_restored(1)
        for number in range(40):
            primary.write(0, 100 * number, block(number + 2, 20))
        proxy.set(Faults(corrupt_at_byte=100_000))
        primary.commit()
        secondary.wait_restored(41)
        assert proxy.corrupted == 1
        assert secondary.group.snapshot().checksum_errors == 1
        assert secondary.equals(primary.volumes)
        assert secondary.group.snapshot().failure is None


def test_journal_server_killed_and_started_again_in_the_middle(
    primary: Primary, server: JournalServer, secondary: Secondary
) -> None:
    writer = Writer(primary, secondary, files(primary), 3000)
    secondary.group.order_copy(follow(source_at(primary, server.uri)))
    writer.start()
    for part in range(1, 5):
        wait_until(lambda part=part: secondary.pointer(Pointer.ALREADY_READ) > 500 * part, 60)  # type: ignore[misc]
        server.kill()
        wait_until(lambda: secondary.group.snapshot().link_ok is False)
        assert secondary.group.snapshot().failure is None
        server.start()
    writer.join(120)
    assert writer.error is None
    secondary.wait_restored(primary.end.sequence)
    assert secondary.equals(primary.volumes)
    assert secondary.group.snapshot().link_ok
    assert {name for name, _ in secondary.events} >= {"copy.link_lost", "copy.link_back"}


def test_half_open_link_is_seen_and_left_when_it_heals(
    primary: Primary, server: JournalServer, secondary: Secondary
) -> None:
    with Proxy(("127.0.0.1", server.port)) as proxy:
        secondary.group.order_copy(follow(source_at(primary, f"nbd://127.0.0.1:{proxy.address[1]}")))
        primary.write(0, 0, block(1))
        primary.commit()
        secondary.wait_restored(1)
        contact = secondary.group.snapshot().link_contact_ns
        proxy.stall()
        wait_until(lambda: secondary.group.snapshot().link_ok is False, what="a silent link to be called down")
        assert LINK_SECONDS_MAX < 5, "an operator sees it within five seconds"
        assert contact <= secondary.group.snapshot().link_contact_ns
        primary.write(0, 1, block(2))
        primary.commit()
        proxy.heal()
        secondary.wait_restored(2)
        assert secondary.group.snapshot().link_ok


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


def test_initial_copy_beside_journals_and_restore(
    primary: Primary, server: JournalServer, secondary: Secondary, processes: Processes
) -> None:
    for index, volume in primary.volumes.items():  # initial data of which there is no journal, and much of nothing
        volume[4096 : 4096 + (len(volume) // 4)] = bytes(range(256)) * (len(volume) // 1024)
        volume[-512:] = block(index + 1000)
    pvols = files(primary)
    for index in pvols:
        secondary.svols[index].pwrite(b"x" * 65536, 1 << 19)  # a used SVOL
    source = source_at(primary, server.uri, {index: path.name for index, path in pvols.items()})
    writer = Writer(primary, secondary, pvols, 3000)
    secondary.group.order_copy(follow(source))
    writer.start()
    wait_until(lambda: secondary.pointer(Pointer.ALREADY_RESTORED) > 100, 60)
    secondary.group.order_initial_copy(initial(source))
    secondary.group.order_initial_copy(initial(source))  # the same again changes nothing
    wait_until(lambda: secondary.group.snapshot().initial_copy.state is CopyState.DONE, 60)
    consistent = secondary.group.snapshot().consistent_sequence
    writer.join(120)
    assert writer.error is None
    assert consistent is not None
    assert 100 < consistent <= primary.end.sequence
    secondary.wait_restored(primary.end.sequence)
    assert secondary.equals(primary.volumes)
    shown = secondary.group.snapshot().initial_copy
    assert shown.bytes_done == shown.bytes_total == sum(map(len, primary.volumes.values()))
    secondary.group.order_initial_copy(initial(source))
    assert secondary.group.snapshot().initial_copy.state is CopyState.DONE
    secondary.group.stop()
    secondary.open()
    assert secondary.group.snapshot().consistent_sequence == consistent


def test_initial_copy_goes_on_after_the_server_and_the_secondary_died(
    primary: Primary, server: JournalServer, secondary: Secondary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controller.copy.initial.WINDOW_BYTES_MAX", 1 << 18)
    monkeypatch.setattr("controller.copy.initial.SAVE_SECONDS", 0.0)
    for volume in primary.volumes.values():
        volume[:] = bytes(range(256)) * (len(volume) // 256)
    pvols = files(primary)
    with Proxy(("127.0.0.1", server.port)) as proxy:
        source = source_at(primary, f"nbd://127.0.0.1:{proxy.address[1]}", {i: p.name for i, p in pvols.items()})
        proxy.set(Faults(latency_seconds=0.002))
        secondary.group.order_initial_copy(initial(source))
        wait_until(lambda: secondary.group.snapshot().initial_copy.bytes_done > 1 << 20, 60)
        proxy.cut()
        wait_until(lambda: "initial_copy.link_lost" in {name for name, _ in secondary.events})
        assert secondary.group.snapshot().initial_copy.state is CopyState.RUNNING
        secondary.group.stop()
        proxy.heal()
        secondary.open()  # goes on by itself, at the cursor
        assert secondary.group.snapshot().initial_copy.bytes_done >= 1 << 20
        wait_until(lambda: secondary.group.snapshot().initial_copy.state is CopyState.DONE, 60)
    assert secondary.equals(primary.volumes)


def test_no_initial_copy_is_consistent_from_the_first_journal(primary: Primary, secondary: Secondary) -> None:
    secondary.group.order_initial_copy(InitialCopyOrder(source=primary.source(), method=InitialCopyMethod.NONE))
    snapshot = secondary.group.snapshot()
    assert (snapshot.initial_copy.state, snapshot.consistent_sequence) == (CopyState.DONE, 0)
