"""Groups on one controller: made on live volumes, of several volumes, on pool volumes, or refused."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable

import pytest

from controller.api.client import ControllerClient
from controller.api.drivers import DriverClaim
from controller.api.models import (
    AcquisitionMode,
    AcquisitionOrder,
    Group,
    GroupCreate,
    PoolAdd,
    PurgeRequest,
    Role,
    VolumeCreate,
)
from controller.errors import CapacityError, ConflictError, NotFoundError, PairvolError, UsageError
from controller.journal.volume import JournalVolume
from tests.support.controllers import ControllerProcess
from tests.support.nbdkit import connected, read_all

SIZE = 8 << 20


def request(*names: str, **more: object) -> GroupCreate:
    size_bytes = more.pop("size_bytes", SIZE)
    members = [{"index": index, "name": name, "size_bytes": size_bytes} for index, name in enumerate(names)]
    fields = {"name": "db", "uuid": str(uuid.uuid4()), "role": Role.PRIMARY, "peer_site": "osaka", "volumes": members}
    return GroupCreate.model_validate({**fields, **more})


def make_volumes(controller: ControllerProcess, *names: str) -> None:
    for name in names:
        controller.client.create_volume(VolumeCreate(name=name, size_bytes=SIZE))


def test_a_client_writes_on_while_its_volume_is_paired_and_unpaired(tokyo: ControllerProcess) -> None:
    make_volumes(tokyo, "data")
    uri = tokyo.wait_served("data")
    stop, written, failures = threading.Event(), [], []

    def write() -> None:
        try:
            with connected(uri) as handle:
                number = 0
                while not stop.is_set():
                    number += 1
                    handle.pwrite(number.to_bytes(8, "little") * 64, number % (SIZE // 512) * 512)
                    written.append(number)
        except Exception as error:  # noqa: BLE001 - a thread's error is the test's
            failures.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(3):
            group = tokyo.client.create_group(request("data"))
            assert tokyo.client.state("db", after=0, wait=20).mode is AcquisitionMode.JOURNAL
            assert group.links is not None
            tokyo.client.delete_group("db")
    finally:
        stop.set()
        thread.join()
    assert failures == []
    content = read_all(uri)
    for number in written[-(SIZE // 512) :]:
        at = number % (SIZE // 512) * 512
        assert content[at : at + 8] == number.to_bytes(8, "little")


def test_the_same_request_again_answers_the_group_and_another_is_refused(tokyo: ControllerProcess) -> None:
    make_volumes(tokyo, "data", "more")
    first = request("data")
    assert tokyo.client.create_group(first) == tokyo.client.create_group(first)
    with pytest.raises(ConflictError, match="group db already exists as primary"):
        tokyo.client.create_group(request("more"))
    with pytest.raises(ConflictError, match="volume data is already in group db"):
        tokyo.client.create_group(request("data", name="other"))
    with pytest.raises(ConflictError, match="it is in group db"):
        tokyo.client.delete_volume("data")


def test_volumes_that_share_a_server_must_be_free_of_clients_once(tokyo: ControllerProcess) -> None:
    make_volumes(tokyo, "data", "log")
    with connected(tokyo.wait_served("log")), pytest.raises(ConflictError, match=r"connected to volume log"):
        tokyo.client.create_group(request("data", "log"))
    assert tokyo.client.groups() == []
    group = tokyo.client.create_group(request("data", "log"))
    assert group.links is not None
    assert set(group.links.volume_uris) == {"0", "1"}
    with connected(tokyo.wait_served("data")) as data, connected(tokyo.wait_served("log")) as log:
        data.pwrite(b"d" * 512, 0)
        log.pwrite(b"l" * 512, 0)
        log.flush()
        assert tokyo.client.state("db", after=1, wait=20).pointers["durable"].sequence == 2
        assert read_all(group.links.volume_uris["1"])[:512] == b"l" * 512
        with pytest.raises(ConflictError, match="cannot delete group db"):
            tokyo.client.delete_group("db")
    tokyo.client.delete_group("db")
    assert read_all(tokyo.wait_served("data"))[:512] == b"d" * 512
    assert read_all(tokyo.wait_served("log"))[:512] == b"l" * 512


def test_a_journal_lies_on_the_smallest_pool_volume_that_fits_or_on_the_named_one(tokyo: ControllerProcess) -> None:
    make_volumes(tokyo, "data", "more", "third")
    for name, size in (("small", 2), ("right", 16), ("large", 32)):
        tokyo.client.add_to_pool(PoolAdd(name=name, size_bytes=size << 20))
    paths = {volume.name: volume.path for volume in tokyo.client.pool()}
    chosen = tokyo.client.create_group(request("data", journal_bytes=8 << 20))
    named = tokyo.client.create_group(request("more", name="named", journal_volumes=["small"]))
    assert (chosen.journal_path, chosen.journal_bytes) == (paths["right"], 8 << 20)
    assert (named.journal_path, named.journal_bytes) == (paths["small"], 2 << 20)
    with pytest.raises(ConflictError, match="holds the journal of group named"):
        tokyo.client.remove_from_pool("small")
    with pytest.raises(ConflictError, match="holds the journal of group named"):
        tokyo.client.create_group(request("third", name="third", journal_volumes=["small"]))
    for name in ("db", "named"):
        tokyo.client.delete_group(name)
    again = tokyo.client.create_group(request("data", journal_bytes=8 << 20))
    assert again.journal_path == paths["right"]
    assert tokyo.client.state("db").pointers["durable"].sequence == 0


@pytest.mark.parametrize("visible", [True, False])
def test_a_journal_is_visible_to_hosts_only_when_asked(tokyo: ControllerProcess, visible: bool) -> None:
    make_volumes(tokyo, "data")
    group = tokyo.client.create_group(request("data", journal_visible=visible, journal_bytes=2 << 20))
    assert (group.journal_export is not None) is visible
    if group.journal_export is not None:
        with connected(group.journal_export) as handle:
            assert handle.is_read_only()
            assert handle.get_size() == 2 << 20


def test_the_composition_is_the_journals(tokyo: ControllerProcess) -> None:
    make_volumes(tokyo, "data")
    group = tokyo.client.create_group(request("data"))
    assert group.journal_bytes == 64 << 20
    journal = JournalVolume.open(group.journal_path, writable=False, group_uuid=group.uuid)
    header = journal.header
    journal.close()
    assert group.composition.journal_uuid == header.journal_uuid
    assert group.composition.metadata_head_lba == header.metadata_head_lba
    assert group.composition.data_block_count == header.data_block_count


@pytest.mark.parametrize(
    ("more", "kind", "words"),
    [
        ({"journal_bytes": 1 << 50}, CapacityError, "no room for the journal of group db"),
        ({"journal_bytes": 4096}, CapacityError, "too small"),
        ({"journal_bytes": 5000}, UsageError, "not a multiple of 512"),
        ({"journal_volumes": ["none"]}, NotFoundError, "pool volume none does not exist"),
        ({"journal_volumes": ["a", "b"]}, NotFoundError, "pool volume a does not exist"),
        ({"uuid": "x"}, UsageError, "is not a UUID"),
        ({"role": Role.FENCED}, UsageError, "cannot be created as fenced"),
        ({"size_bytes": 4096}, CapacityError, "has 8388608 bytes, the pair needs 4096"),
    ],
)
def test_what_cannot_be_made_leaves_nothing(
    tokyo: ControllerProcess, more: dict[str, object], kind: type[PairvolError], words: str
) -> None:
    make_volumes(tokyo, "data")
    with pytest.raises(kind, match=words):
        tokyo.client.create_group(request("data", **more))
    assert tokyo.client.groups() == []
    assert os.listdir(tokyo.state_directory / "groups") == []
    assert tokyo.client.volume("data").group is None


def test_a_volume_that_is_not_there_is_made_for_a_secondary_only(tokyo: ControllerProcess) -> None:
    with pytest.raises(NotFoundError, match="volume data does not exist"):
        tokyo.client.create_group(request("data"))
    group: Group = tokyo.client.create_group(request("data", role=Role.SECONDARY))
    assert group.links is None
    with pytest.raises(ConflictError, match="not a primary"):
        tokyo.client.purge("db", PurgeRequest(reader="osaka", to_sequence=1))
    volume = tokyo.client.volume("data")
    assert (volume.role, volume.uri, volume.writable) == (Role.SECONDARY, None, False)
    assert os.stat(volume.backing).st_size == SIZE
    tokyo.client.delete_group("db")
    assert len(read_all(tokyo.wait_served("data"))) == SIZE


def test_a_look_that_waits_ends_when_its_driver_looks_again_or_the_group_changes(tokyo: ControllerProcess) -> None:
    make_volumes(tokyo, "data")
    tokyo.client.create_group(request("data"))
    token = tokyo.client.claim_driver("db", DriverClaim(agent="tokyo", lease_seconds=600)).token
    assert token is not None
    ended = threading.Event()

    def wait() -> None:
        with ControllerClient(f"unix:{tokyo.run_directory}/controller.sock") as client:
            client.driving(token).state("db", after=1 << 40, wait=60)
        ended.set()

    changes: tuple[Callable[[], object], ...] = (
        lambda: tokyo.client.driving(token).state("db"),
        lambda: tokyo.client.set_acquisition("db", AcquisitionOrder(on=False)),
    )
    for change in changes:
        ended.clear()
        thread = threading.Thread(target=wait)
        thread.start()
        try:
            tokyo.client.driving("of another agent").state("db")  # is none of its business
            tokyo.client.state("db")
            assert not ended.wait(0.5)
            change()
            assert ended.wait(20)
        finally:
            thread.join(65)
