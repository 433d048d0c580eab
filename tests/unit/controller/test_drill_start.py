"""A drill that does not start holds restore for nobody, whatever the disk of the state refuses."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from controller.api.drills import DrillStart
from controller.api.models import GroupVolume, Role
from controller.drills import commands, unattended
from controller.drills.leases import Leases
from controller.drills.ledger import Ledger
from controller.errors import StorageError
from controller.events import Events
from controller.journal.pointers import Pointer, Position
from controller.locks import KeyedLocks
from controller.paths import Paths
from controller.state import GroupRecord, StateStore, VolumeRecord
from tests.support.waiting import wait_until


class Images:
    """Nobody serves; the last one is ready when the disk begins to refuse."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch | None = None) -> None:
        self._disk = monkeypatch

    def start(self, images: object) -> None:
        if self._disk is not None:
            self._disk.setattr(os, "rename", lambda *paths: _refuse())

    def end(self, servers: object) -> None: ...

    def watch(self, on_dead: object) -> None: ...


def _refuse() -> None:
    raise OSError(errno.EIO, "Input/output error")


class Site:
    def __init__(self, directory: Path, images: Images) -> None:
        paths = Paths(directory / "state", directory / "run")
        paths.make()
        self.held = False
        snapshot = SimpleNamespace(pointers={str(Pointer.ALREADY_READ): Position(7, 0, 1)})
        worker = SimpleNamespace(hold_for_images=self._hold, snapshot=lambda: snapshot)
        self.appliance = cast(
            Any,
            SimpleNamespace(
                paths=paths,
                images=images,
                store=StateStore.open(directory / "state.json", "osaka"),
                locks=KeyedLocks(),
                leases=Leases(),
                ledger=Ledger(directory / "drills.jsonl"),
                events=Events(directory / "events.jsonl", "osaka"),
                workers=SimpleNamespace(get=lambda group: worker),
            ),
        )
        with self.appliance.store.change() as draft:
            draft.volumes["data"] = VolumeRecord(name="data", uuid="v", size_bytes=1 << 20, backing="/b", owned=True)
            draft.groups["db"] = GroupRecord(
                name="db",
                uuid="u",
                role=Role.SECONDARY,
                generation=1,
                peer_site="tokyo",
                volumes=[GroupVolume(index=0, name="data", size_bytes=1 << 20)],
                journal_path="/j",
                journal_bytes=1 << 20,
            )

    def _hold(self, hold: bool) -> Position:
        self.held = hold
        return Position(7, 0, 1)

    def close(self) -> None:
        self.appliance.leases.close()
        self.appliance.events.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path, Images())
    unattended.settle(made.appliance)
    yield made
    made.close()


def test_a_drill_whose_end_is_refused_too_ends_with_its_lease(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        site.appliance.images = Images(broken)
        with pytest.raises(StorageError):
            commands.start(site.appliance, "db", DrillStart(lease_seconds=0.05))
        assert site.held, "the record says that it is"
    wait_until(lambda: not site.held, what="restore to go on")
    assert site.appliance.store.document.group("db").drills == []
