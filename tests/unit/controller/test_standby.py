"""Which groups have a volume server kept loaded."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from controller.api.models import GroupVolume, Role, SplitMode
from controller.config import Config, ServerSettings
from controller.paths import Paths
from controller.standby import Standby, wanted
from controller.state import GroupRecord, Phase, StateDocument

READY = Phase.READY


def group(name: str, role: Role, phase: Phase = READY, split: SplitMode = SplitMode.OFF) -> GroupRecord:
    return GroupRecord(
        name=name,
        uuid=name,
        role=role,
        generation=1,
        peer_site="tokyo",
        volumes=[GroupVolume(index=index, name=f"{name}{index}", size_bytes=512) for index in range(2)],
        journal_path="/j",
        journal_bytes=512,
        acquisition=True,
        phase=phase,
        split=split,
    )


def document(*groups: GroupRecord) -> StateDocument:
    return StateDocument(site="osaka", groups={each.name: each for each in groups})


@pytest.mark.parametrize(
    ("one", "has"),
    [
        (group("a", Role.SECONDARY), True),
        (group("a", Role.SECONDARY, split=SplitMode.WRITE), False),
        (group("a", Role.SECONDARY, Phase.CREATING), False),
        (group("a", Role.SECONDARY, Phase.DELETING), False),
        (group("a", Role.PRIMARY), False),
        (group("a", Role.TAKEN_OVER), False),
        (group("a", Role.FENCED), False),
    ],
)
def test_one_that_could_be_taken_over_and_is_not_served_has_one(one: GroupRecord, has: bool) -> None:
    assert wanted(document(one), 4) == (["g-a"] if has else [])


def test_they_are_no_more_than_is_configured_and_the_first_by_name() -> None:
    many = document(*(group(name, Role.SECONDARY) for name in "dbca"))
    assert wanted(many, 2) == ["g-a", "g-b"]
    assert wanted(many, 0) == []


def test_a_look_ends_what_is_not_wanted_but_for_a_takeover_under_way() -> None:
    state = document(
        group("a", Role.SECONDARY), group("b", Role.SECONDARY), group("c", Role.SECONDARY, Phase.TAKING_OVER)
    )
    kept: list[set[str]] = []
    prepared: list[str] = []
    servers = SimpleNamespace(drop_prepared=kept.append, prepare=lambda plan: prepared.append(plan.id))
    config = Config(
        site="osaka", state_directory=Path("/s"), run_directory=Path("/r"), servers=ServerSettings(prepared=1)
    )
    appliance: Any = SimpleNamespace(
        store=SimpleNamespace(document=state), config=config, servers=servers, paths=Paths(Path("/s"), Path("/r"))
    )
    Standby(appliance).look()
    assert kept == [{"g-a", "g-c"}]
    assert prepared == ["g-a"]
