"""A journal that is damaged is named, keeps its own group down, and nobody else's."""

from __future__ import annotations

import os
import signal
import uuid
from pathlib import Path

import pytest

from controller.api.models import GroupCreate, GroupVolume, Role, ServerState, VolumeCreate
from controller.errors import IntegrityError
from tests.support.controllers import ControllerProcess
from tests.support.nbdkit import connected
from tests.support.waiting import wait_until

SIZE = 4 << 20


def make_group(controller: ControllerProcess, name: str, role: Role) -> Path:
    """A group over a volume of the same name; where its journal lies."""
    members = [GroupVolume(index=0, name=name, size_bytes=SIZE)]
    request = GroupCreate(
        name=name, uuid=str(uuid.uuid4()), role=role, peer_site="osaka", volumes=members, journal_bytes=SIZE
    )
    return Path(controller.client.create_group(request).journal_path)


@pytest.fixture
def two(tokyo: ControllerProcess) -> ControllerProcess:
    for name in ("bad", "good"):
        tokyo.client.create_volume(VolumeCreate(name=name, size_bytes=SIZE))
    return tokyo


def test_at_a_primary(two: ControllerProcess) -> None:
    journal = make_group(two, "bad", Role.PRIMARY)
    make_group(two, "good", Role.PRIMARY)
    os.truncate(journal, SIZE // 2)
    os.kill(two.server_pid("v-bad"), signal.SIGKILL)
    event = two.wait_event("server.failed", server="v-bad")
    assert "is truncated" in event.message
    assert two.client.volume("bad").server is ServerState.FAILED
    state = two.client.state("bad")
    assert state.failure is not None
    assert "is truncated" in state.failure.message
    two.restart()
    with connected(two.wait_served("good")) as handle:
        handle.pwrite(bytes(512), 0)
    wait_until(lambda: two.client.volume("bad").failure)
    assert {group.name for group in two.client.groups()} == {"bad", "good"}


@pytest.mark.parametrize("damage", ["missing", "truncated"])
def test_a_primary_whose_journal_is_lost_lets_go_of_its_volume_by_force(two: ControllerProcess, damage: str) -> None:
    journal = make_group(two, "bad", Role.PRIMARY)
    with connected(two.wait_served("bad")) as handle:
        handle.pwrite(b"here" * 128, 0)
        handle.flush()
    two.kill()
    os.kill(two.server_pid("v-bad"), signal.SIGKILL)
    if damage == "missing":
        journal.unlink()
    else:
        os.truncate(journal, SIZE // 2)
    two.start()
    wait_until(lambda: two.client.volume("bad").server is ServerState.FAILED)
    assert two.client.group("bad").name == "bad", "the group is there, whatever became of its files"
    two.client.delete_group("bad", force=True)
    assert "bad" not in {group.name for group in two.client.groups()}
    dropped = two.wait_event("group.journal_dropped")
    assert dropped.facts["journals"] is not None
    with connected(two.wait_served("bad")) as handle:
        handle.pwrite(bytes(512), 0)


def test_at_a_secondary(two: ControllerProcess) -> None:
    journal = make_group(two, "bad", Role.SECONDARY)
    make_group(two, "good", Role.SECONDARY)
    two.kill()
    with journal.open("r+b") as file:
        for offset in (0, 4096):
            file.seek(offset)
            file.write(b"\xff" * 512)
    two.start()
    assert two.client.state("good").failure is None
    state = two.client.state("bad")
    assert state.failure is not None
    assert state.failure.error == "IntegrityError"
    event = two.wait_event("group.unsettled")
    assert event.group == "bad"
    with pytest.raises(IntegrityError):
        two.client.delete_group("bad")
    two.client.delete_group("bad", force=True)
    with connected(two.wait_served("bad")) as handle:
        handle.pwrite(bytes(512), 0)
