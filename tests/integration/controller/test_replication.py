"""Two controllers replicate with each other over real NBD: initial copy, journals, takeover."""

from __future__ import annotations

import random

import nbd
import pytest

from controller.api.models import (
    AcquisitionMode,
    AcquisitionOrder,
    FenceRequest,
    PurgeRequest,
    Role,
    ServerState,
    TakeoverRequest,
    VolumeCreate,
)
from controller.errors import ConflictError, NotFoundError
from controller.journal.pointers import Pointer, PointerPage, Position
from controller.journal.volume import JournalVolume
from controller.paths import GroupPaths, Paths
from tests.support.controllers import ControllerProcess
from tests.support.nbdkit import connected, read_all
from tests.support.pairs import ControllerPair
from tests.support.waiting import wait_until

SIZE = 32 << 20


@pytest.fixture
def pair(tokyo_and_osaka: list[ControllerProcess]) -> ControllerPair:
    """A pair of one volume that holds something before it is paired."""
    tokyo, osaka = tokyo_and_osaka
    volume = tokyo.client.create_volume(VolumeCreate(name="data", size_bytes=SIZE))
    assert volume.uri is not None
    with connected(volume.uri) as handle:
        handle.pwrite(random.Random(1).randbytes(4 << 20), 1 << 20)
        handle.flush()
    return ControllerPair(tokyo, osaka, {"data": SIZE})


def uri_of(controller: ControllerProcess, volume: str = "data") -> str:
    """Where a volume is served, once it is."""
    wait_until(lambda: controller.client.volume(volume).server is ServerState.RUNNING)
    uri = controller.client.volume(volume).uri
    assert uri is not None
    return uri


def scribble(uri: str, seed: int, writes: int = 200) -> None:
    """Random writes, zeroes and trims, then a flush."""
    dice = random.Random(seed)
    with connected(uri) as handle:
        for _ in range(writes):
            offset, length = dice.randrange(SIZE // 512) * 512, dice.choice((512, 4096, 65536))
            length = min(length, SIZE - offset)
            roll = dice.random()
            if roll < 0.8:
                handle.pwrite(dice.randbytes(length), offset)
            elif roll < 0.9:
                handle.zero(length, offset)
            else:
                handle.trim(length, offset)
        handle.flush()


def test_initial_copy_journals_and_takeover(pair: ControllerPair) -> None:
    tokyo, osaka = pair.primary, pair.secondary
    assert osaka.client.volume("data").uri is None
    assert osaka.client.volume("data").writable is False
    pair.order_initial_copy()
    pair.follow()
    scribble(uri_of(tokyo), 2)
    pair.wait_copied()
    scribble(uri_of(tokyo), 3)
    last = pair.wait_restored()
    assert pair.confirm() >= last
    assert tokyo.client.state("db").pointers["confirmed"].sequence >= last

    result = osaka.client.take_over("db", TakeoverRequest(generation=2))
    assert result.restored.sequence >= last
    served = osaka.client.volume("data")
    assert (served.role, served.writable, served.server) == (Role.TAKEN_OVER, True, ServerState.RUNNING)
    assert read_all(uri_of(osaka)) == read_all(uri_of(tokyo))
    scribble(uri_of(osaka), 4)

    again = osaka.client.take_over("db", TakeoverRequest(generation=2))
    assert (again.restored, again.journals_restored) == (result.restored, 0)
    with pytest.raises(ConflictError, match="is taken_over here at generation 2"):
        osaka.client.take_over("db", TakeoverRequest(generation=3))
    with pytest.raises(ConflictError, match="takes no journals"):
        pair.follow()


def test_controllers_killed_while_they_copy_go_on(pair: ControllerPair) -> None:
    pair.order_initial_copy()
    pair.follow()
    for round_ in range(3):
        scribble(uri_of(pair.primary), round_)
        pair.secondary.restart()
        pair.primary.restart()
        pair.follow()
    pair.wait_copied()
    pair.wait_restored()
    pair.secondary.client.take_over("db", TakeoverRequest(generation=2))
    assert read_all(uri_of(pair.secondary)) == read_all(uri_of(pair.primary))


def test_takeover_of_a_half_copied_volume_is_refused(pair: ControllerPair) -> None:
    with pytest.raises(ConflictError, match="initial copy is not complete"):
        pair.secondary.client.take_over("db", TakeoverRequest(generation=2, force=True))
    assert pair.secondary.client.group("db").role is Role.SECONDARY
    pair.order_initial_copy()
    pair.wait_copied()
    pair.follow()
    pair.wait_restored()
    assert pair.secondary.client.take_over("db", TakeoverRequest(generation=2)).generation == 2


def test_purge_is_monotonic_and_never_beyond_durable(pair: ControllerPair) -> None:
    tokyo = pair.primary
    scribble(uri_of(tokyo), 5, writes=20)
    durable = pair.durable()
    with pytest.raises(ConflictError, match="durable here is"):
        tokyo.client.purge("db", PurgeRequest(reader="osaka", to_sequence=durable + 1))
    with pytest.raises(ConflictError, match="kyoto is not a reader of group db"):
        tokyo.client.purge("db", PurgeRequest(reader="kyoto", to_sequence=1))
    for sequence, expected in ((7, 7), (3, 7), (durable, durable)):
        state = tokyo.client.purge("db", PurgeRequest(reader="osaka", to_sequence=sequence))
        assert state.pointers["confirmed"].sequence == expected


def test_a_fenced_primary_serves_nobody_over_restarts_and_keeps_its_tail(pair: ControllerPair) -> None:
    tokyo = pair.primary
    scribble(uri_of(tokyo), 6, writes=20)
    with pytest.raises(ConflictError, match="cannot fence group db: it is primary here at generation 1"):
        tokyo.client.fence("db", FenceRequest(generation=1, reason="not higher"))
    handle = nbd.NBD()
    handle.connect_uri(uri_of(tokyo))
    assert tokyo.client.fence("db", FenceRequest(generation=2, reason="taken over")).role is Role.FENCED
    with pytest.raises(nbd.Error):
        handle.pwrite(bytes(512), 0)
    tokyo.client.fence("db", FenceRequest(generation=2, reason="taken over"))
    for _ in range(2):
        state = tokyo.client.state("db")
        assert (state.role, state.serving, state.failure) == (Role.FENCED, False, None)
        volume = tokyo.client.volume("data")
        assert (volume.uri, volume.writable, volume.server) == (None, False, ServerState.STOPPED)
        assert tokyo.client.group("db").links is not None, "the other site may read the tail"
        tokyo.restart()
        wait_until(lambda: tokyo.client.group("db").links is not None, what="journal servers to be up")
    with pytest.raises(ConflictError, match="holds 20 journals that the other site has not"):
        tokyo.client.delete_group("db")
    tokyo.client.delete_group("db", force=True)
    with connected(uri_of(tokyo)) as handle:
        handle.pwrite(bytes(512), 0)


def test_a_fenced_primary_tells_all_that_is_in_its_journal(pair: ControllerPair) -> None:
    """A server that was killed told of what it had synced; what it had taken besides is in the journal as well."""
    tokyo = pair.primary
    scribble(uri_of(tokyo), 6, writes=20)
    tokyo.client.fence("db", FenceRequest(generation=2, reason="taken over"))
    files = GroupPaths(Paths(tokyo.state_directory, tokyo.run_directory).group("db"))
    page = PointerPage.open(str(files.pointers))
    end = page.read(Pointer.DURABLE)
    journal = JournalVolume.open(tokyo.client.group("db").journal_path, writable=False)
    record = journal.records(end.sequence - 5, end.sequence - 5)[0]
    told = Position(end.sequence - 5, int(record["data_position"] + record["data_blocks"]), int(record["time_ns"]))
    journal.close()
    for pointer in (Pointer.JOURNAL_IN, Pointer.DURABLE):
        page.publish(pointer, told)
    page.close()
    tokyo.client.fence("db", FenceRequest(generation=2, reason="taken over"))
    pointers = tokyo.client.state("db").pointers
    assert [pointers[name].sequence for name in ("journal_in", "durable")] == [20, 20]
    assert pointers["durable"].data_position == end.data_position


def test_deleting_a_pair_serves_both_volumes_again(pair: ControllerPair) -> None:
    tokyo, osaka = pair.primary, pair.secondary
    pair.order_initial_copy()
    pair.follow()
    pair.wait_copied()
    with connected(uri_of(tokyo)) as handle:
        handle.pwrite(b"live" * 128, 0)
        handle.flush()
        pair.wait_restored()
        for controller in (tokyo, osaka):
            controller.client.delete_group("db")
            with pytest.raises(NotFoundError):
                controller.client.group("db")
        handle.pwrite(b"more" * 128, 512)  # the connection outlives the group
        handle.flush()
        assert bytes(handle.pread(1024, 0)) == b"live" * 128 + b"more" * 128
    with connected(uri_of(osaka)) as handle:
        assert bytes(handle.pread(512, 0)) == b"live" * 128
    assert not (tokyo.state_directory / "groups" / "db").exists()
    tokyo.restart()
    assert bytes(read_all(uri_of(tokyo))[:512]) == b"live" * 128
    assert tokyo.client.volume("data").group is None


def test_acquisition_stops_and_starts_again_with_a_named_gap(pair: ControllerPair) -> None:
    tokyo = pair.primary
    scribble(uri_of(tokyo), 7, writes=10)
    durable = pair.durable()
    state = tokyo.client.set_acquisition("db", AcquisitionOrder(on=False))
    assert (state.acquisition, state.mode) == (False, AcquisitionMode.DIRECT)
    scribble(uri_of(tokyo), 8, writes=10)
    assert pair.durable() == durable
    for _ in range(2):
        state = tokyo.client.set_acquisition("db", AcquisitionOrder(on=True))
        assert (state.acquisition, state.mode, state.gap_sequence) == (True, AcquisitionMode.JOURNAL, durable + 1)
