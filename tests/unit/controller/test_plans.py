"""Which servers a state asks for."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from controller import plans
from controller.api.models import GroupVolume, OnFull, Role, SplitMode
from controller.config import Config, JournalSettings
from controller.paths import Paths
from controller.state import GroupRecord, Phase, StateDocument, VolumeRecord

CONFIG = Config(site="tokyo", state_directory=Path("/s"), run_directory=Path("/r"))
PATHS = Paths(Path("/s"), Path("/r"))


def document(role: Role, count: int, phase: Phase = Phase.READY) -> StateDocument:
    """Volumes v0 .. in group db, and a volume by itself."""
    names = [f"v{number}" for number in range(count)]
    volumes = {
        name: VolumeRecord(name=name, uuid="u", size_bytes=512, backing=f"/{name}", owned=True)
        for name in (*names, "single")
    }
    members = [GroupVolume(index=index, name=name, size_bytes=512) for index, name in enumerate(names)]
    group = GroupRecord(
        name="db",
        uuid="g",
        role=role,
        generation=1,
        peer_site="osaka",
        volumes=members,
        journal_path="/j",
        journal_bytes=512,
        acquisition=True,
        phase=phase,
    )
    return StateDocument(site="tokyo", volumes=volumes, groups={"db": group})


@pytest.mark.parametrize(
    ("role", "count", "expected"),
    [
        (Role.PRIMARY, 1, {"v-single": None, "v-v0": (True, "/j")}),
        (Role.PRIMARY, 2, {"v-single": None, "g-db": (True, "/j")}),
        (Role.FENCED, 1, {"v-single": None}),
        (Role.TAKEN_OVER, 2, {"v-single": None, "g-db": (True, None)}),
        (Role.SECONDARY, 1, {"v-single": None}),
    ],
)
def test_servers_by_role(role: Role, count: int, expected: dict[str, tuple[bool, str | None] | None]) -> None:
    found = dict(plans.documents(document(role, count), CONFIG, PATHS))
    assert set(found) == set(expected)
    for server, wanted in expected.items():
        if wanted is not None:
            told = found[server]
            assert all(volume["writable"] is wanted[0] for volume in told["volumes"])
            assert (told["journal"] or {"path": None})["path"] == wanted[1]
            assert [volume["index"] for volume in told["volumes"]] == list(range(count))


@pytest.mark.parametrize("mode", list(SplitMode))
def test_a_split_secondary_is_served(mode: SplitMode) -> None:
    state = document(Role.SECONDARY, 1)
    state.groups["db"].split = mode
    told = dict(plans.documents(state, CONFIG, PATHS)).get("v-v0")
    if mode is SplitMode.OFF:
        assert told is None
    else:
        assert told is not None
        assert (told["journal"], told["tracking"] is not None) == (None, mode is SplitMode.WRITE)
        assert told["volumes"][0]["writable"] is (mode is SplitMode.WRITE)


@pytest.mark.parametrize("phase", [Phase.CREATING, Phase.DELETING])
def test_a_group_in_mid_command_is_left_to_its_command(phase: Phase) -> None:
    assert set(dict(plans.documents(document(Role.PRIMARY, 1, phase), CONFIG, PATHS))) == {"v-single"}


def test_server_of_a_volume() -> None:
    assert plans.server_of(document(Role.PRIMARY, 1), "v0") == "v-v0"
    assert plans.server_of(document(Role.PRIMARY, 2), "v1") == "g-db"
    assert plans.server_of(document(Role.SECONDARY, 1), "v0") is None
    assert plans.server_of(document(Role.SECONDARY, 1), "single") == "v-single"


def test_servers_never_end_with_their_parent_and_readers_are_read_only() -> None:
    group = document(Role.PRIMARY, 1).group("db")
    group.journal_port, group.volume_port = 1001, 1002
    volume = plans.volume_command("v-v0", CONFIG, PATHS)
    journal = plans.journal_command(group, CONFIG, PATHS)
    source = plans.source_command(group, CONFIG, PATHS)
    for command in (volume, journal, source):
        assert "--exit-with-parent" not in command
        assert command[command.index("--pidfile") + 1].startswith("/r/")
    for command, port in ((journal, "1001"), (source, "1002")):
        assert "-r" in command
        assert command[command.index("-i") + 1] == "127.0.0.1"
        assert command[command.index("-p") + 1] == port


def test_what_volume_servers_are_told_is_what_they_understand() -> None:
    from controller.volume.settings import parse_server

    for role in (Role.PRIMARY, Role.TAKEN_OVER):
        for _, told in plans.documents(document(role, 2), CONFIG, PATHS):
            parse_server(told)


def test_a_pair_that_throttles_waits_longer_and_a_limit_beyond_the_clients_is_refused() -> None:
    group = next(iter(document(Role.PRIMARY, 1).groups.values()))
    told = plans.journal_settings(group, CONFIG, PATHS)
    assert (told["throttle"], told["full_wait_seconds"]) == (False, CONFIG.journal.full_wait_seconds)
    throttled = group.model_copy(update={"on_full": OnFull.THROTTLE})
    told = plans.journal_settings(throttled, CONFIG, PATHS)
    assert (told["throttle"], told["full_wait_seconds"]) == (True, CONFIG.journal.throttle_wait_seconds)
    with pytest.raises(ValidationError):
        JournalSettings(throttle_wait_seconds=28.5)
