"""Block devices on a real nbdkit: nbdfuse and a loop device, from attach to the last trace gone."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from controller.api.models import Role, ServerState, Volume
from controller.errors import ConflictError, NotFoundError, PairvolError
from hostagent.api.models import AttachOrder
from hostagent.attach import methods, system
from hostagent.attach.devices import Devices
from tests.support.leftovers import leftovers
from tests.support.nbdkit import start_nbdkit, unix_uri
from tests.support.processes import Processes
from tests.support.waiting import wait_until

SIZE_BYTES = 64 << 20

pytestmark = pytest.mark.root


class Bench:
    """A volume served by nbdkit's memory plugin, and the attachments of one agent."""

    def __init__(self, directory: Path, processes: Processes) -> None:
        self.directory = directory
        self.processes = processes
        self.server = start_nbdkit(processes, directory / "v.sock", ["memory", str(SIZE_BYTES)], "server")
        self.devices = self.restarted()

    def restarted(self) -> Devices:
        """The devices as an agent that starts now finds them."""
        return Devices(self.directory / "attachments.json", self.directory / "run")

    def volume(self, **changes: object) -> Volume:
        uri = unix_uri(self.directory / "v.sock", "data")
        volume = Volume(name="data", uuid="u", size_bytes=SIZE_BYTES, backing="/b", uri=uri, server=ServerState.RUNNING)
        return volume.model_copy(update=changes)

    def attach(self, readonly: bool = False) -> str:
        attachment = self.devices.attach(self.volume(), AttachOrder(volume="data", readonly=readonly))
        assert attachment.device is not None
        return attachment.device


def test_an_address_that_was_asked_for_gives_way_to_a_device(bench: Bench) -> None:
    for _ in range(2):
        asked = bench.devices.attach(bench.volume(), AttachOrder(volume="data", uri_only=True))
        assert (asked.device, asked.method) == (None, "uri")
    assert bench.attach().startswith("/dev/")
    assert bench.attach().startswith("/dev/")
    with pytest.raises(ConflictError, match="it is attached as /dev/"):
        bench.devices.attach(bench.volume(), AttachOrder(volume="data", uri_only=True))


@pytest.mark.parametrize("readonly", [False, True])
def test_what_is_attached_otherwise_is_refused_and_stays(bench: Bench, readonly: bool) -> None:
    device = bench.attach(readonly=readonly)
    with pytest.raises(ConflictError, match=f"as {device}") as caught:
        bench.attach(readonly=not readonly)
    assert '"pairvol volume detach data"' in caught.value.hint
    assert bench.attach(readonly=readonly) == device


def test_a_program_that_fails_is_no_fault_of_a_disk() -> None:
    for command in (["false"], ["there-is-no-such-program"]):
        with pytest.raises(ConflictError) as caught:
            system.run(command)
        assert caught.value.hint


@pytest.fixture
def bench(short_path: Path, processes: Processes) -> Iterator[Bench]:
    made = Bench(short_path, processes)
    try:
        yield made
    finally:
        subprocess.run(["umount", str(short_path / "mnt")], capture_output=True, check=False)
        for record in made.restarted().shown():
            made.restarted().detach(record.volume)
    assert leftovers([short_path / "run"]) == []


def test_a_file_system_lives_on_an_attached_volume(bench: Bench) -> None:
    device = bench.attach()
    assert int(subprocess.check_output(["blockdev", "--getsize64", device])) == SIZE_BYTES
    subprocess.run(["mkfs.ext4", "-q", device], check=True)
    point = bench.directory / "mnt"
    point.mkdir()
    subprocess.run(["mount", device, str(point)], check=True)
    (point / "file").write_bytes(b"x" * 100_000)

    with pytest.raises(ConflictError, match="is mounted at") as caught:
        bench.devices.detach("data")
    assert f"umount {point}" in caught.value.hint
    assert bench.devices.shown()[0].facts["mounted_at"] == [str(point)]

    subprocess.run(["umount", str(point)], check=True)
    bench.devices.detach("data")
    assert bench.devices.shown() == []
    assert not (bench.directory / "run" / "data").exists()

    again = bench.attach()
    assert subprocess.run(["e2fsck", "-fn", again], capture_output=True, check=False).returncode == 0


def test_a_mount_that_another_namespace_keeps_is_named(bench: Bench, processes: Processes) -> None:
    device = bench.attach()
    subprocess.run(["mkfs.ext4", "-q", device], check=True)
    point = bench.directory / "mnt"
    point.mkdir()
    subprocess.run(["mount", device, str(point)], check=True)
    keeper = processes.start(["unshare", "--mount", "--propagation", "private", "sleep", "60"], "keeper")
    wait_until(lambda: system.mounted_elsewhere(device) is not None, 10, "a namespace of its own")
    subprocess.run(["umount", str(point)], check=True)

    with pytest.raises(ConflictError, match=f"process {keeper.pid} ") as caught:
        bench.devices.detach("data")
    assert f"umount {point}" in caught.value.hint
    keeper.kill()
    keeper.wait()
    wait_until(lambda: system.mounted_elsewhere(device) is None, 10, "the namespace to be gone")
    bench.devices.detach("data")


def test_attaching_again_answers_with_what_is_there(bench: Bench) -> None:
    assert bench.attach() == bench.attach()
    assert len(system.loops_on(str(bench.directory / "run" / "data" / "nbd"))) == 1


def test_a_device_survives_the_agent_and_is_adopted(bench: Bench) -> None:
    device = bench.attach()
    bench.devices = bench.restarted()
    assert bench.devices.adopt() == []
    assert bench.attach() == device
    bench.devices.detach("data")
    assert system.loops_on(str(bench.directory / "run" / "data" / "nbd")) == []


def test_readonly(bench: Bench) -> None:
    device = bench.attach(readonly=True)
    assert subprocess.check_output(["blockdev", "--getro", device]).strip() == b"1"


def test_a_dead_nbdfuse_is_reported_and_cleared_by_the_next_agent(bench: Bench) -> None:
    bench.attach()
    shown = bench.devices.shown()[0]
    process = psutil.Process(shown.facts["pid"])
    process.kill()
    wait_until(lambda: bench.devices.shown()[0].facts.get("stale") is not None, what="the attachment to be stale")
    assert bench.devices.shown()[0].facts["stale"] == "nbdfuse has ended"

    bench.devices = bench.restarted()
    assert bench.devices.adopt() == ["attachment of data cleared: nbdfuse has ended"]
    assert bench.devices.shown() == []


def test_attaching_over_a_stale_attachment_makes_a_new_one(bench: Bench) -> None:
    bench.attach()
    old = bench.devices.shown()[0].facts["pid"]
    psutil.Process(old).kill()
    wait_until(lambda: bench.devices.shown()[0].facts.get("stale") is not None, what="the attachment to be stale")
    bench.attach()
    shown = bench.devices.shown()[0]
    assert "stale" not in shown.facts
    assert shown.facts["pid"] != old


class CrashError(BaseException):
    """As if the process ended here: nothing behind it is done, nor undone."""


@pytest.mark.parametrize("step", ["put", "spawn", "_wait_file", "run"])
def test_after_a_crash_behind_any_step_the_next_agent_clears_up(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    owner = {"put": bench.devices._records, "run": system}.get(step, methods)
    original = getattr(owner, step)

    def done_and_crashed(*words: Any) -> None:
        done = original(*words)
        if step == "spawn":
            done.close()
        raise CrashError

    monkeypatch.setattr(owner, step, done_and_crashed)
    monkeypatch.setattr(bench.devices, "_undo", lambda record: None)
    with pytest.raises(CrashError):
        bench.attach()
    monkeypatch.undo()
    bench.devices = bench.restarted()
    assert bench.devices.adopt() == ["attachment of data cleared: it was not finished"]
    assert leftovers([bench.directory / "run"]) == []


def test_a_server_that_is_not_there_leaves_nothing(bench: Bench) -> None:
    bench.processes.stop(bench.server)
    with pytest.raises(PairvolError, match="nbdfuse ended"):
        bench.attach()
    assert bench.devices.shown() == []


def test_uri_only_needs_no_device(bench: Bench) -> None:
    attachment = bench.devices.attach(bench.volume(), AttachOrder(volume="data", uri_only=True))
    assert attachment.device is None
    assert attachment.method == "uri"
    assert attachment.uri == bench.volume().uri
    bench.devices.detach("data")


def test_what_replication_writes_is_not_attached(bench: Bench) -> None:
    with pytest.raises(ConflictError, match="replication writes to it") as caught:
        bench.devices.attach(bench.volume(role=Role.SECONDARY, group="db", uri=None), AttachOrder(volume="data"))
    assert "pairvol pair takeover db" in caught.value.hint
    for readonly in (False, True):
        fenced = bench.volume(role=Role.FENCED, group="db", uri=None)
        with pytest.raises(ConflictError, match="taken over by the other site"):
            bench.devices.attach(fenced, AttachOrder(volume="data", readonly=readonly))
    with pytest.raises(ConflictError, match="is not served"):
        bench.devices.attach(bench.volume(uri=None, failure="it crashed"), AttachOrder(volume="data"))


def test_a_split_secondary_is_attached_as_far_as_the_split_allows(bench: Bench) -> None:
    readable = bench.volume(role=Role.SECONDARY, group="db", writable=False)
    with pytest.raises(ConflictError, match="for writing: db is split, its secondary is readable") as caught:
        bench.devices.attach(readable, AttachOrder(volume="data", uri_only=True))
    assert "--readonly" in caught.value.hint
    for volume, readonly in ((readable, True), (bench.volume(role=Role.SECONDARY, group="db"), False)):
        order = AttachOrder(volume="data", uri_only=True, readonly=readonly)
        assert bench.devices.attach(volume, order).uri == volume.uri
        bench.devices.detach("data")


def test_detaching_what_is_not_attached(bench: Bench) -> None:
    with pytest.raises(NotFoundError):
        bench.devices.detach("data")


def test_a_loop_device_that_went_to_somebody_else_is_left_alone(bench: Bench) -> None:
    device = bench.attach()
    psutil.Process(bench.devices.shown()[0].facts["pid"]).kill()
    subprocess.run(["losetup", "-d", device], check=True)
    other = bench.directory / "other.img"
    other.write_bytes(bytes(1 << 20))
    # When another program was faster, it is the somebody else.
    ours = subprocess.run(["losetup", device, str(other)], capture_output=True, check=False).returncode == 0
    try:
        before = system.loop_backing(device)
        bench.devices = bench.restarted()
        bench.devices.adopt()
        assert not ours or system.loop_backing(device) == before == str(other)
        assert bench.devices.shown() == []
    finally:
        if ours:
            subprocess.run(["losetup", "-d", device], check=True)
