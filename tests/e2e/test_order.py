"""Order-stamped writes to two volumes of one group: at any cut, and over any link, the second site is a prefix.

A cut is restored to its end as a takeover does (tests/support/stamped.py), and
its images are held against the log of all writes.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from controller.journal.volume import JournalVolume
from tests.support.proxy import Faults, Proxy
from tests.support.replication import LinkedSites
from tests.support.stamped import StampedPair, apply_runs, check_copy, copy_frozen, finish_restore
from tests.support.stamps import StampLog

CUTS = 20
KILLED_CUTS = (6, 13)  # really killed, and started again

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.fixture
def stamped(linked: LinkedSites) -> Iterator[StampedPair]:
    with ExitStack() as stack:
        yield StampedPair(linked, stack)


def test_every_cut_of_the_second_site_is_a_prefix_of_the_writes(stamped: StampedPair, tmp_path: Path) -> None:
    newest: list[int] = []
    tails: list[int] = []
    left_to_restore = 0
    for number in range(CUTS):
        stamped.more_writes(60)
        stamped.wait_moving(tails[-1] if tails else 0)
        copy = tmp_path / f"cut{number}"
        copy_frozen(stamped, copy, kill=number in KILLED_CUTS)
        before, tail = finish_restore(copy)
        left_to_restore += tail > before
        tails.append(tail)
        report = check_copy(copy, stamped.log)
        assert report.clean, f"cut {number}: {report}"
        newest.append(report.newest)
        if number >= 2:
            shutil.rmtree(tmp_path / f"cut{number - 2}")
    assert len(set(newest)) == CUTS, f"the cuts are not {CUTS} different moments: {newest}"
    caught = control(tmp_path / f"cut{CUTS - 2}", tmp_path / f"cut{CUTS - 1}", tails[-2], tails[-1], stamped.log)
    print(f"{CUTS} cuts, writes seen up to {newest}; {left_to_restore} had journals left to restore; {caught}")
    stamped.end_equal()


def control(older: Path, newer: Path, older_tail: int, newer_tail: int, log: StampLog) -> str:
    """The checker's own proof on real files: the older cut restored on with one journal left out must be caught."""
    caught = tried = 0
    journal = JournalVolume.open(str(newer / "journal"), writable=True)
    try:
        for skip in range(older_tail + 1, min(older_tail + 11, newer_tail)):
            spoiled = older.with_name("spoiled")
            shutil.copytree(older, spoiled)
            apply_runs(journal, spoiled, [(older_tail + 1, skip - 1), (skip + 1, newer_tail)])
            tried += 1
            caught += not check_copy(spoiled, log).clean
            shutil.rmtree(spoiled)
        apply_runs(journal, older, [(older_tail + 1, newer_tail)])
        assert check_copy(older, log).clean
    finally:
        journal.close()
    assert caught, f"none of {tried} restores without one journal was seen"
    return f"control: {caught} of {tried} restores without one journal caught"


def test_a_faulty_link_leaves_no_trace(stamped: StampedPair) -> None:
    linked = stamped.linked

    def writes_under(faults: Faults, links: list[Proxy]) -> None:
        stamped.more_writes(100)
        for link in links:
            link.set(replace(faults))
        stamped.more_writes(500)  # writers never wait for the link
        broken = [link for link in links if link.faults != faults or link.corrupted]
        if faults.cut_after_bytes or faults.corrupt_at_byte:
            assert broken, f"{faults} was never reached"
        linked.set_links(Faults())
        linked.wait_restored("order", linked.newest("order"))
        linked.wait_protected("order")

    every = [*linked.control_links, *linked.data_links]
    writes_under(Faults(stalled=True), every)
    writes_under(Faults(cut_after_bytes=100_000), every)
    writes_under(Faults(latency_seconds=0.02), every)
    writes_under(Faults(corrupt_at_byte=50_000), linked.data_links)
    stamped.end_equal()
