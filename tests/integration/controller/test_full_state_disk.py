"""A controller whose state disk is full: it starts, what it has is served, commands are refused until there is room."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from controller.api.models import GroupCreate, PoolAdd, Role, ServerState, VolumeCreate
from controller.errors import PairvolError
from controller.stopping import stop_all
from tests.support.controllers import ControllerProcess
from tests.support.nbdkit import connected
from tests.support.processes import Processes
from tests.support.waiting import wait_until

MIB = 1 << 20


@pytest.fixture
def site(directory: Path) -> Iterator[ControllerProcess]:
    """A controller with its documents alone on a tmpfs of 2 MiB; volume and journal are elsewhere."""
    state = directory / "tokyo" / "state"
    state.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", state], check=True)
    try:
        with Processes(directory / "logs") as processes:
            made = ControllerProcess(processes, directory / "tokyo", "tokyo", "[serve]\nalone_after_seconds = 0.2\n")
            made.start()
            try:
                yield made
            finally:
                made.stop()
    finally:
        subprocess.run(["umount", state], check=True)


def paired(site: ControllerProcess) -> None:
    """A primary with one volume."""
    for name, size in (("data", 4 * MIB), ("journal", 4 * MIB)):
        with (site.directory / name).open("wb") as file:
            file.truncate(size)
    request = VolumeCreate(name="data", size_bytes=4 * MIB, backing=str(site.directory / "data"))
    site.client.create_volume(request)
    site.client.add_to_pool(PoolAdd(name="journal", path=str(site.directory / "journal")))
    volume = {"index": 0, "name": "data", "size_bytes": 4 * MIB}
    site.client.create_group(
        GroupCreate(
            name="db",
            uuid="11111111-2222-4333-8444-555555555555",
            role=Role.PRIMARY,
            peer_site="osaka",
            volumes=[volume],
            journal_volumes=["journal"],
        )
    )


def fill(directory: Path) -> Path:
    """Take all the room that is left on a file system."""
    ballast = directory / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    return ballast


@pytest.mark.root
@pytest.mark.parametrize("after", ["a restart", "a boot"])
def test_it_starts_serves_refuses_and_recovers(site: ControllerProcess, after: str) -> None:
    paired(site)
    with connected(site.wait_served("data")) as handle:
        handle.pwrite(b"a" * 4096, 0)
        handle.flush()
    ballast = fill(site.state_directory)
    if after == "a boot":
        stop_all(site.state_directory)
        shutil.rmtree(site.run_directory)
    else:
        site.kill()
    site.start()
    with connected(site.wait_served("data")) as handle:
        assert handle.pread(4096, 0) == b"a" * 4096
        handle.pwrite(b"b" * 4096, 0)
        handle.flush()
    spare = site.directory / "spare"
    spare.write_bytes(bytes(MIB))
    orders: list[Callable[[], object]] = [
        lambda: site.client.create_volume(VolumeCreate(name="other", size_bytes=MIB, backing=str(spare))),
        lambda: site.client.add_to_pool(PoolAdd(name="other", path=str(spare))),
        lambda: site.client.delete_group("db", force=True),
    ]
    for order in orders:
        with pytest.raises(PairvolError, match="no space left") as refused:
            order()
        assert refused.value.exit_code == 30
        assert "space" in refused.value.hint
    assert [volume.name for volume in site.client.volumes()] == ["data"]
    assert site.client.volume("data").server is ServerState.RUNNING
    ballast.unlink()
    orders[0]()


@pytest.mark.root
def test_what_was_cut_short_is_finished_when_there_is_room(site: ControllerProcess) -> None:
    paired(site)
    path = site.state_directory / "state.json"
    site.kill()
    document = json.loads(path.read_text())
    document["groups"]["db"]["phase"] = "creating"
    record = {"name": "half", "uuid": "x", "size_bytes": MIB, "owned": True, "phase": "creating"}
    document["volumes"]["half"] = record | {"backing": str(site.directory / "half")}
    path.write_text(json.dumps(document))
    ballast = fill(site.state_directory)
    site.start()
    event = site.wait_event("group.unsettled")
    assert "no space left" in event.message
    assert [volume.name for volume in site.client.volumes()] == ["data", "half"]
    ballast.unlink()
    wait_until(lambda: not site.client.groups(), what="the creation to be undone")
    wait_until(lambda: [v.name for v in site.client.volumes()] == ["data"], what="the volume to be removed")
    site.wait_served("data")
