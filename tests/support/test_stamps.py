"""The order checker, with controls that it must catch: a checker that finds nothing proves nothing."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest

from tests.support.stamps import SECTOR_BYTES, StampLog, Write, check_order, stamp

SECTORS = 64


def history(count: int, seed: int, overlap: int = 1) -> tuple[StampLog, list[tuple[Write, bytes]]]:
    """Writes over two volumes, `overlap` of them in flight at a time, in arrival order."""
    chooser = random.Random(seed)
    log, arrived, flying = StampLog(), [], []
    for _ in range(count):
        lba = chooser.randrange(SECTORS - 4)
        flying.append(log.issue(chooser.randrange(2), lba, chooser.randint(1, 4)))
        if len(flying) == overlap:
            arrived.append(flying.pop(chooser.randrange(len(flying))))
            log.acknowledge(arrived[-1][0])
    for write, data in flying:
        log.acknowledge(write)
        arrived.append((write, data))
    return log, arrived


def images(arrived: Iterable[tuple[Write, bytes]]) -> dict[int, bytearray]:
    made = {volume: bytearray(SECTORS * SECTOR_BYTES) for volume in (0, 1)}
    for write, data in arrived:
        start = write.lba * SECTOR_BYTES
        made[write.volume][start : start + len(data)] = data
    return made


@pytest.mark.parametrize("overlap", [1, 4])
def test_every_prefix_of_the_arrival_order_is_clean(overlap: int) -> None:
    log, arrived = history(120, seed=7, overlap=overlap)
    for length in range(len(arrived) + 1):
        report = check_order(images(arrived[:length]), log.writes)
        assert report.clean, f"prefix of {length}: {report}"


def test_control_one_write_dropped_is_caught_whenever_it_shows() -> None:
    log, arrived = history(120, seed=11)
    caught = shown = 0
    for dropped in range(len(arrived) - 1):
        spoiled = images(arrived[:dropped] + arrived[dropped + 1 :])
        shown += spoiled != images(arrived)
        caught += not check_order(spoiled, log.writes).clean
    assert shown > 40
    assert caught == shown


def test_control_volumes_cut_at_different_moments_are_caught() -> None:
    log, arrived = history(60, seed=3)
    early, late = images(arrived[:20]), images(arrived)
    report = check_order({0: late[0], 1: early[1]}, log.writes)
    assert report.violations


def test_control_swapped_writes_are_caught() -> None:
    log = StampLog()
    first, second = log.issue(0, 8, 2), None
    log.acknowledge(first[0])
    second = log.issue(0, 8, 2)
    log.acknowledge(second[0])
    assert check_order(images([first, second]), log.writes).clean
    third = log.issue(1, 0, 1)
    log.acknowledge(third[0])
    assert check_order(images([second, first, third]), log.writes).violations == 2


def test_a_torn_write_is_told_from_a_missing_one() -> None:
    log = StampLog()
    write, data = log.issue(0, 4, 4)
    log.acknowledge(write)
    image = images([(write, data)])
    image[0][6 * SECTOR_BYTES : 7 * SECTOR_BYTES] = bytes(SECTOR_BYTES)
    report = check_order(image, log.writes)
    assert (report.violations, report.torn) == (0, 1)


def test_a_write_that_was_never_acknowledged_may_be_missing_or_there() -> None:
    log = StampLog()
    lost, late = log.issue(0, 0, 1), log.issue(0, 1, 1)
    log.abandon(lost[0])
    log.acknowledge(late[0])
    assert check_order(images([late]), log.writes).clean
    assert check_order(images([lost, late]), log.writes).clean


def test_what_was_acknowledged_by_a_moment_can_be_demanded() -> None:
    log, arrived = history(30, seed=5)
    moment = arrived[20][0].settled_ns
    assert check_order(images(arrived[:21]), log.writes, acknowledged_up_to_ns=moment + 1).clean
    assert not check_order(images(arrived[:5]), log.writes, acknowledged_up_to_ns=moment + 1).clean


@pytest.mark.parametrize("at", [3, 100, 511])
def test_any_flipped_bit_is_found(at: int) -> None:
    log = StampLog()
    write, data = log.issue(0, 0, 1)
    log.acknowledge(write)
    image = images([(write, data)])
    image[0][at] ^= 1
    assert check_order(image, log.writes).corrupt == 1


def test_a_stamp_in_the_wrong_place_is_found() -> None:
    image = images([])
    image[0][:SECTOR_BYTES] = stamp(1, 0, 1, 1)
    assert check_order(image, []).corrupt == 1
