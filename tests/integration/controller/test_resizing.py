"""Journals and volumes of another size: hosts write on, the other site follows, deaths are settled.

With PAIRVOL_EVERY_STEP set, every step of each command is died at.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.api.lifecycle import JournalResize, VolumeResize
from controller.api.models import InitialCopyMethod, PoolAdd, VolumeCreate
from controller.errors import CapacityError, ConflictError, UsageError
from controller.journal.volume import JournalVolume
from tests.integration.controller.test_crashes import at_every_step
from tests.support.controllers import ControllerProcess, controllers
from tests.support.lifecycle import scribble
from tests.support.nbdkit import connected, read_all
from tests.support.pairs import ControllerPair
from tests.support.stamps import StampLog, check_order
from tests.support.waiting import wait_until
from tests.support.writers import StampedWriter

MIB = 1 << 20
SIZE = 4 * MIB
JOURNAL = 2 * MIB
AMPLE = 16 * MIB  # for a load that nobody confirms for seconds
STRIDE_GROWTH = 1 if os.environ.get("PAIRVOL_EVERY_STEP") else 5
STRIDE = 1 if os.environ.get("PAIRVOL_EVERY_STEP") else 6


@pytest.fixture(scope="module")
def both(session_directory: Path) -> Iterator[list[ControllerProcess]]:
    with controllers(session_directory / "resizing", "tokyo", "osaka", mortal=True) as made:
        yield made


@pytest.fixture
def sites(both: list[ControllerProcess]) -> Iterator[list[ControllerProcess]]:
    yield both
    for site in both:
        for group in site.client.groups():
            site.client.delete_group(group.name, force=True)
        for volume in site.client.volumes():
            site.client.delete_volume(volume.name)
        for pool_volume in site.client.pool():
            site.client.remove_from_pool(pool_volume.name)


def stored(site: ControllerProcess) -> str:
    """The journal volume that has the journal's name."""
    return JournalVolume.header_of(site.client.group("db").journal_path).journal_uuid


def test_journals_grow_under_load_and_the_other_site_goes_on(sites: list[ControllerProcess]) -> None:
    tokyo, osaka = sites
    volumes = {"data": SIZE, "log": SIZE}
    for name, size in volumes.items():
        tokyo.client.create_volume(VolumeCreate(name=name, size_bytes=size))
    pair = ControllerPair(tokyo, osaka, volumes, AMPLE)
    pair.order_initial_copy(InitialCopyMethod.NONE)
    pair.follow()
    log = StampLog()
    uris = [tokyo.wait_served(name) for name in volumes]
    writers = [StampedWriter(uri, index, log, index, pause_seconds=0.01) for index, uri in enumerate(uris)]
    with writers[0], writers[1]:
        wait_more(log, 100)
        before = tokyo.client.group("db").composition
        osaka.client.resize_journal("db", JournalResize(size_bytes=2 * AMPLE))
        pair.follow()
        wait_more(log, 100)
        tokyo.client.resize_journal("db", JournalResize(size_bytes=4 * AMPLE))
        after = tokyo.client.group("db")
        assert (after.journal_bytes, after.composition.journal_uuid != before.journal_uuid) == (4 * AMPLE, True)
        assert tokyo.client.state("db").journal_uuid == after.composition.journal_uuid == stored(tokyo)
        # The secondary has not been told yet: for it the link is lost, and nothing is damaged.
        wait_until(lambda: osaka.client.state("db").link_ok is False, 20, "the link to be lost")
        wait_more(log, 100)
        assert osaka.client.state("db").failure is None
        pair.follow()
        pair.confirm()
        wait_more(log, 100)
        tokyo.client.resize_journal("db", JournalResize(size_bytes=AMPLE + MIB))
        pair.follow()
        wait_more(log, 100)
    assert [writer.breaks for writer in writers] == [0, 0]
    pair.wait_restored()
    pair.confirm()
    stores = {index: Path(osaka.client.volume(name).backing) for index, name in enumerate(volumes)}
    report = check_order(stores, log.writes, acknowledged_up_to_ns=log.writes[-1].settled_ns + 1)
    assert report.clean, report
    for name in volumes:
        assert read_all(tokyo.wait_served(name)) == Path(osaka.client.volume(name).backing).read_bytes()


def wait_more(log: StampLog, count: int) -> None:
    target = log.acknowledged() + count
    wait_until(lambda: log.acknowledged() >= target, 30, f"{count} more acknowledged writes")


def test_into_the_pool_and_out_of_it_and_what_is_refused(sites: list[ControllerProcess]) -> None:
    tokyo, osaka = sites
    tokyo.client.create_volume(VolumeCreate(name="data", size_bytes=SIZE))
    tokyo.client.add_to_pool(PoolAdd(name="fast", size_bytes=2 * JOURNAL))
    tokyo.client.add_to_pool(PoolAdd(name="vast", size_bytes=4 * JOURNAL))
    pair = ControllerPair(tokyo, osaka, {"data": SIZE}, JOURNAL)  # takes the smaller pool volume
    pair.order_initial_copy(InitialCopyMethod.NONE)
    scribble(tokyo.wait_served("data"), SIZE, 1)
    with pytest.raises(ConflictError, match="fast holds the journal"):
        tokyo.client.resize_journal("db", JournalResize(journal_volumes=["fast"], size_bytes=4 * MIB))
    tokyo.client.resize_journal("db", JournalResize(journal_volumes=["vast"]))
    assert tokyo.client.group("db").journal_bytes == 4 * JOURNAL
    tokyo.client.remove_from_pool("fast")
    with pytest.raises(ConflictError, match="holds the journal"):
        tokyo.client.remove_from_pool("vast")
    scribble(tokyo.wait_served("data"), SIZE, 2)
    tokyo.restart()
    scribble(tokyo.wait_served("data"), SIZE, 3)
    with pytest.raises(CapacityError):
        tokyo.client.resize_journal("db", JournalResize(size_bytes=1 << 50))
    tokyo.client.resize_journal("db", JournalResize(size_bytes=6 * JOURNAL))
    tokyo.client.remove_from_pool("vast")
    pair.follow()
    pair.wait_restored()
    assert read_all(tokyo.wait_served("data")) == Path(osaka.client.volume("data").backing).read_bytes()


@pytest.mark.crash
@pytest.mark.slow
@pytest.mark.parametrize("at", ["tokyo", "osaka"])
def test_a_controller_that_dies_at_any_step(sites: list[ControllerProcess], at: str) -> None:
    tokyo, osaka = sites
    tokyo.client.create_volume(VolumeCreate(name="data", size_bytes=SIZE))
    pair = ControllerPair(tokyo, osaka, {"data": SIZE}, JOURNAL)
    pair.order_initial_copy(InitialCopyMethod.NONE)
    victim, wanted = (tokyo, osaka)[at == "osaka"], [4 * MIB]
    dice = random.Random(7)

    def write() -> None:
        scribble(tokyo.wait_served("data"), SIZE, dice.randrange(1 << 30), writes=20)

    def command() -> None:
        victim.client.resize_journal("db", JournalResize(size_bytes=wanted[0]))

    def check() -> None:
        group = victim.client.group("db")
        assert stored(victim) == group.composition.journal_uuid
        assert JournalVolume.header_of(group.journal_path).end_bytes <= group.journal_bytes
        assert not Path(group.journal_path).with_name("journal.next").exists()
        write()
        wait_until(lambda: tokyo.client.group("db").links is not None, 20, "the journal server to be back")
        pair.follow()
        pair.wait_restored()
        pair.confirm()
        assert read_all(tokyo.wait_served("data")) == Path(osaka.client.volume("data").backing).read_bytes()

    def back() -> None:
        wanted[0] = victim.client.group("db").journal_bytes + MIB
        write()

    write()
    hit = at_every_step(victim, command, check, back, stride=STRIDE)
    check()
    assert hit >= 1
    command()  # given again it is done
    assert victim.client.group("db").journal_bytes == wanted[0]


def grow(site: ControllerProcess, size_bytes: int, name: str = "data", group: str | None = "db") -> None:
    site.client.resize_volume(name, VolumeResize(size_bytes=size_bytes, group=group))


def test_a_volume_grows_and_who_is_connected_works_on(sites: list[ControllerProcess], tmp_path: Path) -> None:
    tokyo, _ = sites
    own = tmp_path / "own"
    own.write_bytes(b"\xff" * SIZE)
    tokyo.client.create_volume(VolumeCreate(name="data", size_bytes=SIZE))
    tokyo.client.create_volume(VolumeCreate(name="user", size_bytes=SIZE // 2, backing=str(own)))
    with connected(tokyo.wait_served("data")) as before:
        grow(tokyo, 2 * SIZE, group=None)
        grow(tokyo, 2 * SIZE, group=None)
        before.pwrite(b"o" * 512, SIZE - 512)
        assert before.get_size() == SIZE
        with connected(tokyo.wait_served("data")) as after:
            assert after.get_size() == 2 * SIZE
            after.pwrite(b"n" * 512, 2 * SIZE - 512)
            assert after.pread(1024, SIZE - 512) == b"o" * 512 + bytes(512)
    with pytest.raises(ConflictError, match="cannot shrink"):
        grow(tokyo, SIZE, group=None)
    with pytest.raises(UsageError, match="multiple of 512"):
        grow(tokyo, 2 * SIZE + 1, group=None)
    with pytest.raises(CapacityError, match="bytes long, the volume needs"):
        grow(tokyo, SIZE + 512, "user", None)
    with pytest.raises(ConflictError, match="alone: it is in no group"):
        grow(tokyo, SIZE, "user")
    grow(tokyo, SIZE, "user", None)
    assert read_all(tokyo.wait_served("user")) == b"\xff" * SIZE
    tokyo.restart()
    assert len(read_all(tokyo.wait_served("data"))) == 2 * SIZE


def test_a_pair_grows_under_load(sites: list[ControllerProcess]) -> None:
    tokyo, osaka = sites
    volumes = {"data": SIZE, "log": SIZE}
    for name, size in volumes.items():
        tokyo.client.create_volume(VolumeCreate(name=name, size_bytes=size))
    pair = ControllerPair(tokyo, osaka, volumes, AMPLE)
    with pytest.raises(ConflictError, match="a copy of group db is under way"):
        grow(osaka, 2 * SIZE)
    pair.order_initial_copy(InitialCopyMethod.NONE)
    pair.follow()
    log = StampLog()
    uris = [tokyo.wait_served(name) for name in volumes]
    writers = [StampedWriter(uri, index, log, index, pause_seconds=0.01) for index, uri in enumerate(uris)]
    with writers[0], writers[1]:
        wait_more(log, 100)
        grow(osaka, 2 * SIZE)
        pair.follow()
        grow(tokyo, 2 * SIZE)
        more = StampedWriter(uris[0], 0, log, 9, pause_seconds=0.01)  # a client that comes later sees the new size
        with more:
            wait_more(log, 200)
    assert [writer.breaks for writer in (*writers, more)] == [0, 0, 0]
    assert max(write.lba for write in log.writes if write.volume == 0) * 512 > SIZE
    pair.wait_restored()
    pair.confirm()
    stores = {index: Path(osaka.client.volume(name).backing) for index, name in enumerate(volumes)}
    report = check_order(stores, log.writes, acknowledged_up_to_ns=log.writes[-1].settled_ns + 1)
    assert report.clean, report
    for name, uri in zip(volumes, uris, strict=True):
        assert read_all(uri) == Path(osaka.client.volume(name).backing).read_bytes()
    tokyo.client.suspend("db")
    with pytest.raises(ConflictError, match="changed regions"):
        grow(tokyo, 3 * SIZE)


@pytest.mark.crash
@pytest.mark.slow
@pytest.mark.parametrize("at", ["tokyo", "osaka"])
def test_a_growth_cut_short_at_any_step(sites: list[ControllerProcess], at: str) -> None:
    tokyo, osaka = sites
    tokyo.client.create_volume(VolumeCreate(name="data", size_bytes=SIZE))
    pair = ControllerPair(tokyo, osaka, {"data": SIZE}, JOURNAL)
    pair.order_initial_copy(InitialCopyMethod.NONE)
    wanted = [SIZE + MIB]
    victim = tokyo if at == "tokyo" else osaka

    def command() -> None:
        if victim is tokyo:
            grow(osaka, wanted[0])
        grow(victim, wanted[0])

    def check() -> None:
        grow(osaka, wanted[0])
        grow(tokyo, wanted[0])
        pair.follow()
        uri = tokyo.wait_served("data")
        scribble(uri, wanted[0], wanted[0], writes=10, start=wanted[0] - MIB)
        pair.wait_restored()
        pair.confirm()
        content = read_all(uri)
        assert len(content) == wanted[0]
        assert content == Path(osaka.client.volume("data").backing).read_bytes()

    def back() -> None:
        wanted[0] += MIB

    hit = at_every_step(victim, command, check, back, stride=STRIDE_GROWTH)
    check()
    assert hit >= 1
