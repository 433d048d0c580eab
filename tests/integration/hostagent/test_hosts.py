"""Two hosts at one appliance, and the other site's agent in place of both: real processes that die and return."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.api.client import ControllerClient
from controller.api.models import Role, VolumeCreate
from controller.errors import ConflictError, NotFoundError
from controller.journal.pointers import Pointer
from hostagent.api.models import AttachOrder, PairCreate, PairState, SiteVolumes, Verdict
from hostagent.cli.demo.sites import Daemon
from tests.support.filesystem import mounted_ext4
from tests.support.hosts import ThreeHosts
from tests.support.nbdkit import connected
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.root]

VOLUME_BYTES = 24 << 20
JOURNAL_BYTES = 4 << 20
BLOCK = 64 << 10
GROUP = "db"


@pytest.fixture(scope="module")
def three(session_directory: Path) -> Iterator[ThreeHosts]:
    with ThreeHosts(Path(tempfile.mkdtemp(prefix="h", dir=session_directory))) as hosts:
        agent = hosts.agent(hosts.a)
        for name in (GROUP, "home"):
            agent.create_volume(VolumeCreate(name=name, size_bytes=VOLUME_BYTES))
        for name in (GROUP, "home"):
            volumes = {"primary": "tokyo", "secondary": "osaka"}
            sides = {side: SiteVolumes(site=site, volumes=[name]) for side, site in volumes.items()}
            agent.create_pair(PairCreate(group=name, journal_bytes=JOURNAL_BYTES, **sides))
        for name in (GROUP, "home"):
            hosts.wait_status(hosts.a, name, PairState.PAIR)
        yield hosts


def write(three: ThreeHosts, journals: float, group: str = GROUP) -> None:
    """Write several times what the journal holds: it is purged meanwhile, or the group suspends."""
    with connected(served(three, group)) as handle:
        for number in range(int(journals * JOURNAL_BYTES / BLOCK)):
            handle.pwrite(number.to_bytes(4, "big") * (BLOCK // 4), number * BLOCK % VOLUME_BYTES)
        handle.flush()


def served(three: ThreeHosts, group: str) -> str:
    """The address of a volume of tokyo, asked at its controller."""
    with ControllerClient(three.a.controller_address) as client:
        uri = client.volume(group).uri
    assert uri is not None
    return uri


def protected_and_purged(three: ThreeHosts) -> None:
    """Everything written is at osaka and free at tokyo, and it never came to a suspension."""

    def empty() -> bool:
        sides = three.agent(three.osaka).journal(GROUP)
        assert sides.primary is not None
        assert sides.primary.epoch is None, "the journal was full"
        newest = sides.primary.pointers[Pointer.JOURNAL_IN].sequence
        return sides.primary.pointers[Pointer.CONFIRMED].sequence == newest

    wait_until(empty, 30, "the journal to be purged", interval=0.1)


def test_both_hosts_know_the_pair_and_mount_volumes_of_their_own(three: ThreeHosts, tmp_path: Path) -> None:
    one, other = three.agent(three.a), three.agent(three.b)
    wait_until(lambda: {pair.group for pair in other.pairs()} == {GROUP, "home"}, 20, "tokyo-b to know the pairs")
    three.wait_driver(GROUP, "tokyo-a")
    three.wait_status(three.b, GROUP, PairState.PAIR)
    with mounted_ext4(one, GROUP, tmp_path / "a") as first, mounted_ext4(other, "home", tmp_path / "b") as second:
        (first / "file").write_bytes(b"a" * 100_000)
        (second / "file").write_bytes(b"b" * 100_000)
        subprocess.run(["sync", "-f", first], check=True)
        with pytest.raises(ConflictError, match="host tokyo-a has it as /dev/"):
            other.attach(AttachOrder(volume=GROUP))
        marker = other.put_marker(GROUP, "still", freeze=True)
        assert marker.frozen == [f"tokyo-a:{first}"]
        marker = one.put_marker("home", "still", freeze=True)
        assert marker.frozen == [f"tokyo-b:{second}"]
        (first / "file").write_bytes(b"go on")
    device = one.attach(AttachOrder(volume="home"), on="tokyo-b").device
    assert [each.device for each in other.attachments()] == [device]
    assert one.attachments() == []
    one.detach("home", on="tokyo-b")
    assert other.attachments() == []
    with pytest.raises(NotFoundError, match="host kyoto is not known"):
        one.attach(AttachOrder(volume="home"), on="kyoto")


def test_a_command_given_to_the_stand_by_is_carried_out_by_the_driver(three: ThreeHosts) -> None:
    three.wait_driver(GROUP, "tokyo-a")
    other = three.agent(three.b)
    marker = other.put_marker(GROUP, "noon")
    assert [each.name for each in three.agent(three.a).markers(GROUP).primary or []] == [
        "initial-copy-done",
        "still",
        "noon",
    ]
    assert marker.sequence > 0
    assert other.split_pair(GROUP).state is PairState.PSUS
    assert "is split" in " ".join(event.message for event in three.agent(three.a).events())
    assert "is split" not in " ".join(event.message for event in other.events())
    other.resync_pair(GROUP)
    three.wait_status(three.b, GROUP, PairState.PAIR)
    wanted = ["initial-copy-done", "still", "noon", "suspended", "resumed"]
    for known in (three.agent(three.b).markers(GROUP).primary, three.agent(three.osaka).markers(GROUP).secondary):
        assert [each.name for each in known or []] == wanted


def test_the_other_host_drives_when_the_driver_dies(three: ThreeHosts) -> None:
    three.wait_driver(GROUP, "tokyo-a")
    three.a.kill(Daemon.AGENT)
    try:
        marker = three.agent(three.b).put_marker(GROUP, "failover")  # the lease of the dead is waited out
        assert marker.sequence > 0
        assert three.driver(GROUP) == "tokyo-b"
        write(three, 2.5)
        protected_and_purged(three)
        assert three.wait_status(three.osaka, GROUP, PairState.PAIR, "is protected").verdict is Verdict.OK
        assert three.wait_status(three.b, GROUP, PairState.PAIR).verdict is Verdict.OK
    finally:
        three.a.start(Daemon.AGENT)
        three.a.wait_ready()
    three.wait_status(three.a, GROUP, PairState.PAIR)
    assert three.driver(GROUP) == "tokyo-b"  # of the same rank: it goes on


def test_the_other_site_drives_when_no_host_is_left_and_gives_back(three: ThreeHosts) -> None:
    """A takeover is planned meanwhile; hosts that return learn from their controller that the pair was turned."""
    three.wait_status(three.osaka, "home", PairState.PAIR)
    for site in (three.a, three.b):
        site.kill(Daemon.AGENT)
    try:
        three.wait_driver(GROUP, "osaka")
        status = three.wait_status(three.osaka, GROUP, PairState.PAIR, "osaka drives the storage controller of tokyo")
        assert status.verdict is Verdict.WARN
        assert status.sides[0].state is PairState.PAIR  # never unknown: its controller answers
        assert status.cause == "the host agent of tokyo does not answer"
        write(three, 2.5)
        protected_and_purged(three)
        contact = {peer.site: peer for peer in three.agent(three.osaka).info().peers}["tokyo"]
        assert not contact.ok
        report = three.agent(three.osaka).take_over("home")
        assert (report.kind, report.missing_journals, report.reversed) == ("planned", 0, True)
    finally:
        for site in (three.a, three.b):
            site.start(Daemon.AGENT)
            site.wait_ready()
    wait_until(lambda: (three.driver(GROUP) or "").startswith("tokyo-"), 20, "a host of tokyo to drive")
    status = three.wait_status(three.osaka, GROUP, PairState.PAIR, "is protected")
    wait_until(lambda: three.agent(three.osaka).pair_status(GROUP).verdict is Verdict.OK, 20, "OK again")
    messages = [event.message for event in three.agent(three.osaka).events() if event.name == "pair.driver"]
    assert any("osaka drives" in message for message in messages)
    assert any("osaka no longer drives" in message for message in messages)
    write(three, 1.5)
    protected_and_purged(three)
    for site in (three.a, three.b):
        three.wait_status(site, "home", PairState.PAIR, "osaka -> tokyo")
    assert three.agent(three.b).volume("home").role is Role.SECONDARY


def test_a_site_that_is_gone_whole_is_taken_over_without_force(three: ThreeHosts) -> None:
    """The stand-in speaks only for a controller that answers. The last test: a new machine comes in place of a host."""
    three.wait_status(three.osaka, GROUP, PairState.PAIR)
    for site in (three.a, three.b):
        site.kill(Daemon.AGENT)
    three.wait_driver(GROUP, "osaka")
    three.a.kill(Daemon.CONTROLLER)
    report = three.agent(three.osaka).take_over(GROUP)
    assert report.kind == "forced"
    three.a.start(Daemon.CONTROLLER)
    (three.b.state_directory(Daemon.AGENT) / "pairs.json").unlink()
    three.b.start(Daemon.AGENT)
    three.b.wait_ready()
    wait_until(lambda: [each for each in three.agent(three.b).pairs() if each.group == GROUP], 20, "it to know db")
    status = three.wait_status(three.b, GROUP, PairState.SSWS)
    assert "osaka serves it" in status.line
