"""Volumes join a pair and leave it, ordered at either host; the copy managers do the copying."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from controller.api.client import ControllerClient
from controller.api.lifecycle import MembersLeave
from controller.api.models import ServerState, VolumeCreate
from controller.errors import ConflictError, NotFoundError, UsageError
from hostagent.api.models import PairState
from hostagent.client import Agent
from tests.integration.hostagent.conftest import VOLUME_BYTES, Case
from tests.support.lifecycle import scribble
from tests.support.nbdkit import connected, read_all
from tests.support.waiting import wait_until

pytestmark = pytest.mark.e2e


def uri_of(agent: Agent, name: str) -> str:
    def served() -> str | None:
        volume = agent.volume(name)
        return volume.uri if volume.server is ServerState.RUNNING else None

    uri = wait_until(served, 20, f"{name} to be served")
    assert uri is not None
    return uri


def test_volumes_join_and_leave_from_either_host(case: Case) -> None:
    names = [f"{case.name}-{part}" for part in ("log", "index")]
    case.pair()
    for number, name in enumerate(names):
        case.tokyo.create_volume(VolumeCreate(name=name, size_bytes=VOLUME_BYTES // 4))
        scribble(uri_of(case.tokyo, name), VOLUME_BYTES // 4, number)
    with connected(uri_of(case.tokyo, case.name)) as host:  # of the first volume: it stays connected through it all
        case.osaka.add_volumes(case.name, names, names)
        case.wait_state(PairState.PAIR)
        case.tokyo.add_volumes(case.name, names, names)  # given again it is done
        status = case.wait_state(PairState.PAIR)
        assert [side.volumes for side in status.sides] == [[case.name, *names]] * 2
        for number, name in enumerate(names):
            scribble(uri_of(case.tokyo, name), VOLUME_BYTES // 4, 10 + number)
        host.pwrite(b"h" * 4096, 0)
        host.flush()
        with pytest.raises(ConflictError, match="client"), connected(uri_of(case.tokyo, names[0])):
            case.tokyo.remove_volumes(case.name, [names[0]])
        case.osaka.remove_volumes(case.name, [names[0]])
        host.pwrite(b"i" * 4096, 0)
        host.flush()
    left = [case.name, names[1]]
    for agent in (case.osaka, case.tokyo):
        status = case.wait_state(PairState.PAIR, agent)
        assert [side.volumes for side in status.sides] == [left] * 2
    assert read_all(uri_of(case.tokyo, names[0])) == read_all(uri_of(case.osaka, names[0]))
    case.wait_restored(int.from_bytes(b"iiii", "big"))
    store = Path(case.osaka.volume(names[1]).backing)
    wait_until(lambda: store.read_bytes() == read_all(uri_of(case.tokyo, names[1])), 30, "the SVOL to be equal")
    sides = {side: {"site": site, "volumes": left} for side, site in (("primary", "tokyo"), ("secondary", "osaka"))}
    assert case.osaka.create_pair(case.order(**sides)).state is PairState.PAIR  # of what it has become: it is there


def test_a_removal_that_the_secondary_refuses_changes_nothing(case: Case) -> None:
    name = f"{case.name}-b"
    case.pair()
    case.tokyo.create_volume(VolumeCreate(name=name, size_bytes=1 << 20))
    case.tokyo.add_volumes(case.name, [name], [name])
    case.wait_state(PairState.PAIR)
    wait_until(lambda: not case.status().sides[0].changed_bytes, 20, "the volume to be copied")
    case.osaka.start_drill(case.name)
    for agent in (case.tokyo, case.osaka):
        with pytest.raises(ConflictError, match="drill"):
            agent.remove_volumes(case.name, [name])
        for each in (case.tokyo, case.osaka):
            assert each.volume(name).group == case.name
    case.osaka.stop_drill(case.name)
    case.osaka.remove_volumes(case.name, [name])
    assert [side.volumes for side in case.wait_state(PairState.PAIR).sides] == [[case.name]] * 2


@pytest.mark.parametrize("both", [False, True])
def test_a_removal_that_was_cut_short_is_ended_by_the_same_command(case: Case, *, both: bool) -> None:
    """The primary has let it go, or both sites have; no agent has kept that."""
    name, partner = f"{case.name}-here", f"{case.name}-there"
    case.pair()
    case.tokyo.create_volume(VolumeCreate(name=name, size_bytes=1 << 20))
    case.tokyo.add_volumes(case.name, [name], [partner])
    case.wait_state(PairState.PAIR)
    with (
        closing(ControllerClient(case.linked.first.controller_address)) as tokyo,
        closing(ControllerClient(case.linked.second.controller_address)) as osaka,
    ):
        last = max(tokyo.leave_volumes(case.name, MembersLeave(volumes=[name])).retired.values())
        wait_until(lambda: osaka.state(case.name).pointers["already_restored"].sequence >= last, 20, f"journal {last}")
        if both:
            osaka.leave_volumes(case.name, MembersLeave(volumes=[partner], sequence=last))
    case.osaka.remove_volumes(case.name, [name])
    for agent in (case.tokyo, case.osaka):
        assert [side.volumes for side in case.wait_state(PairState.PAIR, agent).sides] == [[case.name]] * 2
    assert case.osaka.volume(partner).group is None
    with pytest.raises(NotFoundError, match="is not in group"):
        case.osaka.remove_volumes(case.name, [name])


def test_what_is_refused_says_why(case: Case) -> None:
    case.pair()
    with pytest.raises(NotFoundError, match="does not exist at the primary"):
        case.tokyo.add_volumes(case.name, ["missing"], ["missing"])
    with pytest.raises(NotFoundError, match="is not in group"):
        case.osaka.remove_volumes(case.name, ["missing"])
    with pytest.raises(UsageError, match="2 primary and 1 secondary"):
        case.tokyo.add_volumes(case.name, ["a", "b"], ["a"])
    with pytest.raises(ConflictError, match="it would be empty"):
        case.tokyo.remove_volumes(case.name, [case.name])
    case.tokyo.split_pair(case.name)
    case.tokyo.create_volume(VolumeCreate(name=f"{case.name}-b", size_bytes=1 << 20))
    with pytest.raises(ConflictError, match="changed regions"):
        case.tokyo.add_volumes(case.name, [f"{case.name}-b"], [f"{case.name}-b"])
