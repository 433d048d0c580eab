"""A secondary group survives what a link and a journal server do, and names what it cannot take."""

from __future__ import annotations

import pytest

from controller.copy.journals import LINK_SECONDS_MAX
from controller.journal.pointers import Pointer
from tests.integration.copy.sites import JournalServer, Secondary, Writer, files, source_at
from tests.support.proxy import Faults, Proxy
from tests.support.waiting import wait_until
from tests.unit.copy.parts import Primary, block, content, follow, once

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
        assert (secondary.group.snapshot().link_silent_seconds or 0) > 0.5
        assert LINK_SECONDS_MAX < 5, "an operator sees it within five seconds"
        assert contact <= secondary.group.snapshot().link_contact_ns
        primary.write(0, 1, block(2))
        primary.commit()
        proxy.heal()
        secondary.wait_restored(2)
        assert secondary.group.snapshot().link_ok
