"""Permits: what a returning primary goes by."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from controller.api.models import GroupVolume, Role
from controller.config import ReturnSettings
from controller.groups import permits
from controller.groups.permits import Permits
from controller.paths import Paths
from controller.state import GroupRecord

GROUP = GroupRecord(
    name="db",
    uuid="g",
    role=Role.PRIMARY,
    generation=3,
    peer_site="osaka",
    volumes=[GroupVolume(index=0, name="data", size_bytes=512)],
    journal_path="/j",
    journal_bytes=512,
)


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(tmp_path, tmp_path)


def test_a_note_counts_for_its_boot_its_generation_and_a_minute(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(permits, "_boot_seconds", lambda: now)
    held = Permits(paths, ReturnSettings())
    assert not held.good(GROUP)
    held.note(GROUP)
    now += 60
    assert held.good(GROUP)
    assert Permits(paths, ReturnSettings()).good(GROUP), "it outlives the controller"
    assert not held.good(GROUP.model_copy(update={"generation": 4}))
    assert not held.good(GROUP.model_copy(update={"uuid": "another"}))
    now += 1
    assert not held.good(GROUP)
    held.note(GROUP)
    assert held.good(GROUP)
    monkeypatch.setattr(permits, "_boot", lambda: "another boot")
    assert not held.good(GROUP)
    paths.permit("db").write_text(json.dumps([]))
    assert not held.good(GROUP)


def test_without_word_it_serves_alone_only_when_that_was_chosen(paths: Paths) -> None:
    for alone in (True, False):
        held = Permits(paths, ReturnSettings(alone=alone, alone_after_seconds=0.0))
        served = threading.Event()
        held.wait("db", served.set)
        assert served.wait(10 if alone else 0.1) is alone
        assert held.awaits("db")
        held.note(GROUP)
        assert not held.awaits("db")
        held.close()


def test_word_in_time_stops_the_clock(paths: Paths) -> None:
    held = Permits(paths, ReturnSettings(alone_after_seconds=3600))
    held.wait("db", lambda: pytest.fail("it was told"))
    held.note(GROUP)
    held.wait("db", lambda: pytest.fail("it was fenced"))
    held.withdraw("db")
    assert not held.awaits("db")
    assert not held.good(GROUP)
    held.close()
