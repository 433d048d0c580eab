"""Markers and drills of real pairs: images of one moment while a writer goes on, and everything gone at the end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psutil
import pytest

from controller.api.client import ControllerClient
from controller.api.drills import DrillStart, DrillState
from controller.api.models import JournalState
from controller.errors import ConflictError, PairvolError, PeerError
from hostagent.api.drills import DrillOrder, DrillReport
from hostagent.api.models import PairState
from hostagent.cli.demo.sites import Daemon
from hostagent.cli.main import run as pairvol
from tests.integration.hostagent.conftest import BLOCK, VOLUME_BYTES, Case
from tests.support.filesystem import mounted_ext4
from tests.support.nbdkit import connected
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.root]

PIECE = 1 << 20
MOUNT_AND_READ = (
    "d=$(mktemp -d) && mount {device} $d && cat $d/hello; r=$?; umount $d; rmdir $d; echo at $PAIRVOL_SEQUENCE; exit $r"
)


def test_a_start_that_its_agent_did_not_finish_is_ended_by_the_next_one(case: Case) -> None:
    case.pair()
    host, osaka = "osaka", case.linked.second
    with ControllerClient(osaka.controller_address) as controller:

        def begin(opener: str) -> int:
            return controller.start_drill(case.name, DrillStart(opener=opener)).number

        def states() -> list[DrillState]:
            return [each.state for each in controller.drills(case.name)]

        begin(f"{host}/earlier")
        begin("another-host/earlier")
        whole = case.tokyo.start_drill(case.name)  # given again: what was begun is ended first
        assert states() == [DrillState.STOPPED, DrillState.OPEN, DrillState.OPEN]
        begin(f"{host}/earlier")
        osaka.kill(Daemon.AGENT)
        osaka.start(Daemon.AGENT)
        osaka.wait_ready()
        assert states() == [DrillState.STOPPED, DrillState.OPEN, DrillState.OPEN, DrillState.STOPPED]
        [kept] = [each for each in case.tokyo.drills(case.name).drills if each.number == whole.number]
        assert kept.devices == whole.devices
    assert len(case.tokyo.stop_drill(case.name)) == 2


def states(case: Case) -> list[DrillState]:
    return [each.state for each in case.tokyo.drills(case.name).drills]


@pytest.mark.parametrize("site", ["tokyo", "osaka"])
def test_a_drill_whose_client_was_killed_ends_by_itself(case: Case, short_path: Path, site: str) -> None:
    case.pair()
    asked = case.linked.second if site == "osaka" else case.linked.first
    begun, go = short_path / "begun", short_path / "go"
    check = f"touch {begun}; while ! test -e {go}; do sleep 0.1; done"
    words = ["-m", "hostagent.cli.main", "--agent", asked.agent_url, "drill", "start", case.name, "--check", check]
    with subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL) as client, drills_ended(case):
        wait_until(begun.exists, 30, "the check to begin")
        client.kill()
        client.wait()
        assert states(case) == [DrillState.OPEN]
        held = f'restore waits for 1 open drill ("pairvol drill stop {case.name}")'
        wait_until(lambda: held in case.status().line, 20, "the status to say so")
        go.touch()
        wait_until(lambda: states(case) == [DrillState.STOPPED], 60, "the drill to end")
        (over,) = case.osaka.drills(case.name).drills
        assert over.reason == "nobody confirmed it"
        case.write(4)
        case.wait_restored(4)
        wait_until(lambda: case.osaka.attachments() == [], 20, "its devices to be gone")


def test_a_drill_that_nobody_confirmed_stays_while_its_device_is_used_and_can_be_stopped(
    case: Case, short_path: Path
) -> None:
    case.pair()
    where, url = short_path / "look", f"{case.linked.second.agent_url}/v1/drills/{case.name}"
    where.mkdir()
    with mounted_ext4(case.tokyo, case.name, short_path / "mnt"):
        marker = case.tokyo.put_marker(case.name, "written").sequence
        wait_until(lambda: pointer(case, "already_restored") >= marker, 20, "the file system to be restored")
    with drills_ended(case):
        order = {"confirms": True, "check": f"mount {{device}} {where}"}  # which is left mounted
        number = httpx.post(url, json=order, timeout=60).json()["number"]
        try:
            assert httpx.post(url, json={"confirms": True}, timeout=60).json()["lease_seconds"]
            wait_until(lambda: states(case)[1] is DrillState.STOPPED, 60, "a later drill to end")
            assert states(case) == [DrillState.OPEN, DrillState.STOPPED]
            with pytest.raises(ConflictError, match="mounted at"):
                case.osaka.stop_drill(case.name, number)
        finally:
            subprocess.run(["umount", where], check=True)
        wait_until(lambda: states(case)[0] is DrillState.STOPPED, 60, "the drill to end")
    assert httpx.post(url, json={"confirms": True}, timeout=60).json()["lease_seconds"]
    assert [each.reason for each in case.tokyo.stop_drill(case.name)] == [""]
    late = httpx.post(f"{url}/{number}/confirm", timeout=60)
    assert (late.status_code, "nobody confirmed it" in late.text) == (409, True)


class Writer:
    """Writes ever higher numbers into the first blocks, one after the other, each acknowledged before the next."""

    def __init__(self, uri: str) -> None:
        self.number = 0
        self._uri = uri
        self._end = threading.Event()
        self._pace = threading.Event()
        self.resting = threading.Lock()  # held by who wants the volume to stand still
        self._thread = threading.Thread(target=self._write)

    def _write(self) -> None:
        with connected(self._uri) as handle:
            while not self._end.is_set():
                with self.resting:
                    self.number += 1
                    for block in (0, 1, 2 + self.number % 500):
                        handle.pwrite(self.number.to_bytes(4, "big") * (BLOCK // 4), block * BLOCK)
                self._pace.wait(0.005)

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()


def content_of(uri: str) -> bytes:
    with connected(uri) as handle:
        return b"".join(handle.pread(PIECE, offset) for offset in range(0, VOLUME_BYTES, PIECE))


def pvol(case: Case) -> str:
    uri = case.tokyo.volume(case.name).uri
    assert uri is not None
    return uri


def svol(case: Case) -> bytes:
    return Path(case.osaka.volume(case.name).backing).read_bytes()


def device_of(case: Case, drill: DrillReport) -> Path:
    return Path(drill.devices[case.name])


def secondary(case: Case) -> JournalState:
    state = case.tokyo.journal(case.name).secondary
    assert state is not None
    return state


def confirmed(case: Case) -> int:
    state = case.tokyo.journal(case.name).primary
    assert state is not None
    return state.pointers["confirmed"].sequence


def pointer(case: Case, name: str) -> int:
    return secondary(case).pointers[name].sequence


@contextmanager
def drills_ended(case: Case) -> Iterator[None]:
    try:
        yield
    finally:
        with suppress(PairvolError):
            case.osaka.stop_drill(case.name)


def overwrite(device: Path, block: int) -> None:
    file = os.open(device, os.O_RDWR)
    try:
        os.pwrite(file, b"\xee" * BLOCK, block * BLOCK)
        os.fsync(file)
    finally:
        os.close(file)


def test_markers_are_known_at_both_sites_in_order(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    case.pair()
    case.write(1, count=3)
    words = ["--agent", case.linked.second.agent_url, "marker"]  # given to the side that does not own it
    assert pairvol([*words, "put", case.name, "first", "--wait"]) == 0
    assert "first: sequence 5" in capsys.readouterr().out
    assert case.number_at(case.linked.second, 2) == 1  # everything before the marker is there when --wait is over
    case.write(2, count=3)
    second = case.tokyo.put_marker(case.name, "second")
    third = case.tokyo.put_marker(case.name, "second")  # a name may come again
    assert (second.sequence, third.sequence) == (9, 10)
    wait_until(lambda: pointer(case, "already_restored") >= 10, 20, "the markers to be restored")
    sides = case.osaka.markers(case.name)
    assert sides == case.tokyo.markers(case.name)
    assert sides.primary == sides.secondary
    named = [(each.name, each.sequence) for each in sides.primary or []]
    assert named == [("initial-copy-done", 1), ("first", 5), ("second", 9), ("second", 10)]
    times = [each.time_ns for each in sides.primary or []]
    assert times == sorted(times)
    assert pairvol([*words, "list", case.name]) == 0
    assert capsys.readouterr().out.count("yes") == 8


def test_a_drill_at_a_moment_that_is_ahead(case: Case) -> None:
    """At a marker that is put later, at a sequence, at a time, and by one command; what is behind is refused."""
    case.pair()
    with drills_ended(case), Writer(pvol(case)) as writer:
        wait_until(lambda: writer.number > 5, 20, "the writer to be at work")
        found: list[DrillReport] = []
        asked = threading.Thread(
            target=lambda: found.append(case.tokyo.start_drill(case.name, DrillOrder(at="release")))
        )
        asked.start()
        marker = case.tokyo.put_marker(case.name, "other")
        wait_until(lambda: pointer(case, "already_restored") > marker.sequence, 20, "restore to pass another marker")
        with writer.resting:
            marker = case.tokyo.put_marker(case.name, "release")
            content = content_of(pvol(case))
            asked.join(30)
        assert [each.sequence for each in found] == [marker.sequence]
        assert found[0].at == "release"
        assert device_of(case, found[0]).read_bytes() == content
        again = case.tokyo.start_drill(case.name, DrillOrder(at="release"))  # a second image of the same moment
        assert again.sequence == marker.sequence
        assert device_of(case, again) != device_of(case, found[0])
        with pytest.raises(ConflictError, match="a drill is open at journal"):
            case.tokyo.start_drill(case.name, DrillOrder(marker="blocked"))
        case.tokyo.stop_drill(case.name)

        wait_until(lambda: pointer(case, "already_restored") > marker.sequence, 20, "restore to go on")
        with pytest.raises(ConflictError, match="at marker release: it is behind"):
            case.tokyo.start_drill(case.name, DrillOrder(at="release"))
        ahead = pointer(case, "already_restored") + 300
        assert case.osaka.start_drill(case.name, DrillOrder(at=str(ahead))).sequence == ahead
        case.tokyo.stop_drill(case.name)

        drill = case.osaka.start_drill(case.name, DrillOrder(marker="exact"))
        marks = {each.name: each.sequence for each in case.tokyo.markers(case.name).primary or []}
        assert drill.sequence == marks["exact"]
        case.tokyo.stop_drill(case.name)
        assert case.osaka.start_drill(case.name, DrillOrder(at="+1s")).at == "+1s"
        case.tokyo.stop_drill(case.name)

        with pytest.raises(PeerError, match=r"marker never of .* was not restored within"):
            case.tokyo.start_drill(case.name, DrillOrder(at="never", wait_seconds=0.5))
    assert secondary(case).restore_end is None
    last = case.tokyo.put_marker(case.name, "last").sequence
    wait_until(lambda: pointer(case, "already_restored") >= last, 20, "restore to go on")


def test_images_of_one_moment_while_a_writer_goes_on(case: Case) -> None:
    case.pair()
    with drills_ended(case), Writer(pvol(case)) as writer:
        wait_until(lambda: writer.number > 20, 20, "the writer to be at work")
        with writer.resting:  # the PVOL as it is at this very sequence
            marker = case.tokyo.put_marker(case.name, "moment")
            content = content_of(pvol(case))
            wait_until(lambda: pointer(case, "already_restored") >= marker.sequence, 20, "the marker")
            drill = case.tokyo.start_drill(case.name, DrillOrder(check="test -b {device} && echo $PAIRVOL_DEVICES"))
        assert drill.sequence == marker.sequence
        assert drill.state is DrillState.OPEN
        assert drill.lag_seconds is not None
        assert drill.ready_seconds is not None
        device = device_of(case, drill)
        assert drill.check is not None
        assert drill.check.passed, drill.check
        assert (drill.check.output.strip(), drill.check.sequence) == (str(device), drill.sequence)
        assert device.read_bytes() == content

        read = pointer(case, "already_read")
        wait_until(lambda: pointer(case, "already_read") > read + 50, 20, "journals to arrive during the drill")
        wait_until(lambda: confirmed(case) > marker.sequence, 20, "the primary to hear of them")
        assert pointer(case, "already_restored") == marker.sequence
        assert secondary(case).drills == 1
        words = "restore waits for 1 open drill"
        wait_until(lambda: words in case.status().line, 20, "the status to say so")
        assert case.status().state is PairState.PAIR

        overwrite(device, 3)
        another = case.osaka.start_drill(case.name, DrillOrder(check="exit 3"))  # of the same moment
        assert another.sequence == drill.sequence
        assert another.check is not None
        assert (another.check.passed, another.check.exit_code) == (False, 3)
        assert device_of(case, another).read_bytes() == content
        assert device.read_bytes() != content
        assert svol(case)[:VOLUME_BYTES] == content
        assert b"\xee" * BLOCK not in content_of(pvol(case))

        assert [each.number for each in case.tokyo.stop_drill(case.name, drill.number)] == [drill.number]
        assert secondary(case).drills == 1  # the other one still holds
        assert pointer(case, "already_restored") == marker.sequence
        case.tokyo.stop_drill(case.name)
        wait_until(lambda: pointer(case, "already_restored") > marker.sequence, 20, "restore to go on")

        moving = case.tokyo.start_drill(case.name)  # at whatever moment this is
        first, second = (int.from_bytes(device_of(case, moving).read_bytes()[at : at + 4], "big") for at in (0, BLOCK))
        assert first - second in (0, 1), "the image is not a prefix of the writes"
        case.tokyo.stop_drill(case.name, moving.number)
    last = case.tokyo.put_marker(case.name, "last").sequence
    wait_until(lambda: pointer(case, "already_restored") >= last, 20, "the SVOL to catch up")
    assert svol(case)[:VOLUME_BYTES] == content_of(pvol(case))
    known = {each.number: each for each in case.osaka.drills(case.name).drills}
    assert {each.state for each in known.values()} == {DrillState.STOPPED}
    assert known[drill.number].check == drill.check
    assert case.osaka.attachments() == []
    assert case.linked.second.processes("nbdfuse") == []


def test_a_file_system_is_mounted_from_an_image(
    case: Case, short_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case.pair()
    with drills_ended(case), mounted_ext4(case.tokyo, case.name, short_path / "mnt") as point:
        (point / "hello").write_text("from tokyo\n")
        os.sync()
        marker = case.tokyo.put_marker(case.name, "written").sequence
        wait_until(lambda: pointer(case, "already_restored") >= marker, 20, "the file to be restored")
        words = ["--agent", case.linked.first.agent_url, "drill"]
        assert pairvol([*words, "start", case.name, "--check", MOUNT_AND_READ]) == 0
        said = capsys.readouterr().out
        (drill,) = case.tokyo.drills(case.name).drills
        assert f"from tokyo\nat {drill.sequence}\n" in said
        assert f"{case.name}: {device_of(case, drill)}" in said
        assert pairvol([*words, "start", case.name, "--check", "false"]) == 2
        assert "FAILED (1)" in capsys.readouterr().out
        with pytest.raises(ConflictError, match="is open"):
            case.osaka.delete_pair(case.name)
        capsys.readouterr()
        assert pairvol([*words, "stop", case.name]) == 0
        assert capsys.readouterr().out.count("stopped") == 2
        assert pairvol([*words, "list", case.name]) == 0
        assert len(capsys.readouterr().out.splitlines()) == 3


def test_images_outlive_the_controller_and_end_with_their_process_and_with_a_takeover(case: Case) -> None:
    case.pair()
    osaka = case.linked.second
    case.write(1, count=3)
    case.wait_restored(1, block=2)
    with drills_ended(case):
        drill = case.osaka.start_drill(case.name)
        overwrite(device_of(case, drill), 1)
        osaka.kill(Daemon.CONTROLLER)
        osaka.start(Daemon.CONTROLLER)
        osaka.wait_ready()
        read = wait_until(lambda: pointer(case, "already_read"), 20, "the secondary to be back")
        case.write(2, count=3)
        wait_until(lambda: pointer(case, "already_read") > read, 20, "journals to arrive")
        assert secondary(case).drills == 1
        assert case.number_at(osaka, 0) == 1  # still held
        content = device_of(case, drill).read_bytes()
        assert content[:4] == (1).to_bytes(4, "big")
        assert content[BLOCK : 2 * BLOCK] == b"\xee" * BLOCK

        (image,) = drill.images
        psutil.Process(int((osaka.directory / "run" / f"{image.server}.pid").read_text())).send_signal(signal.SIGKILL)
        case.wait_restored(2)  # nothing holds it any more
        (lost,) = [each for each in case.osaka.drills(case.name).drills if each.number == drill.number]
        assert lost.state is DrillState.LOST
        assert image.server in lost.reason
        wait_until(lambda: "drill.lost" in {event.name for event in case.osaka.events()}, 20, "the event")
        case.osaka.stop_drill(case.name, drill.number)  # takes the useless device away

        drill = case.osaka.start_drill(case.name)
        case.write(3, count=3)
        case.osaka.take_over(case.name)
        assert case.number_at(osaka, 2) == 3
        (over,) = [each for each in case.osaka.drills(case.name).drills if each.number == drill.number]
        assert (over.state, over.reason) == (DrillState.STOPPED, "the group was taken over")
        assert over.devices == {}
